"""A flush: as many sessions as there are, a few at a time, between reloads."""

import asyncio
from ipaddress import IPv6Network

import numpy as np
import pytest

from nat64d.control.filters import Filters
from nat64d.control.rows import BusyError, NotReadyError
from nat64d.gateway import flush as module
from nat64d.gateway import reload as reloading
from nat64d.gateway.flush import flush
from nat64d.gateway.reload import Reload
from tests.case import BEGIN
from tests.nat64d.test_measure import live_of
from tests.nat64d.test_reload import Scene, here, scene
from tests.packets import HOST6, NEIGHBOUR6
from tests.sessions import Sessions

__all__ = ["here", "scene"]


@pytest.fixture
def nat64(monkeypatch: pytest.MonkeyPatch) -> Sessions:
    nat64 = Sessions()
    monkeypatch.setattr(module, "now", lambda: round((BEGIN + nat64.now) * 1000))
    return nat64


def test_what_matches_ends_a_slice_at_a_time(nat64, monkeypatch):
    monkeypatch.setattr(module, "SLICE", 4)
    monkeypatch.setattr(module, "AT_ONCE", 3)
    live, sizes = live_of(nat64), []
    live.settings = nat64.settings
    end_those = live.code.end_those

    def noted(gateway, now, rows, places):
        sizes.append(len(rows))
        return end_those(gateway, now, rows, places)

    live.code = live.code._replace(end_those=noted)
    for port in range(6000, 6020):
        nat64.opened("udp", port, host=HOST6 if port % 2 else NEIGHBOUR6)
    nat64.opened("tcp", 6001)
    assert flush(live, Filters(proto="udp", host6=IPv6Network(HOST6))) == 10
    assert max(sizes) <= 3
    assert {(row.protocol, row.host6[0]) for row in nat64.sessions()} == {("udp", NEIGHBOUR6), ("tcp", HOST6)}
    assert flush(live, Filters(port=9)) == 0
    assert flush(live, Filters(all=True)) == 11
    assert np.count_nonzero(nat64.tables.sessions.live) == 0
    nat64.check_invariants()


def test_a_reload_waits_and_its_lost_sessions_are_reset_for_a_while(scene, monkeypatch, caplog):
    monkeypatch.setattr(reloading, "flush", lambda *_: 7)
    monkeypatch.setattr(module, "now", lambda: 5000)
    answer = scene.run(lambda reload: asyncio.to_thread(reload.flush, Filters(all=True)))
    assert answer == {"ended": 7}
    assert caplog.messages == ["Ended 7 sessions on request"]
    assert scene.live.settings.reset_until == 65_000
    monkeypatch.setattr(reloading, "flush", lambda *_: 0)
    monkeypatch.setattr(module, "now", lambda: 6000)
    scene.run(lambda reload: asyncio.to_thread(reload.flush, Filters(all=True)))
    assert scene.live.settings.reset_until == 65_000


@pytest.mark.parametrize("seconds", [60, 5])
def test_lost_sessions_are_reset_for_a_while_on_request(scene, monkeypatch, caplog, seconds):
    monkeypatch.setattr(module, "now", lambda: 5000)
    filtering = scene.live.config.filtering.model_copy(update={} if seconds == 60 else {"reset_unknown": seconds})
    scene.live.config = scene.live.config.model_copy(update={"filtering": filtering})
    assert scene.run(lambda reload: asyncio.to_thread(reload.flush, None)) == {"seconds": seconds}
    assert scene.live.settings.reset_until == 5000 + 1000 * seconds
    assert [one.event for one in caplog.records] == ["grace"]


def test_one_at_a_time_and_only_while_packets_pass(scene: Scene):
    async def twice(reload: Reload) -> None:
        with reload._lock:
            await asyncio.to_thread(reload.flush, Filters(all=True))

    with pytest.raises(BusyError):
        scene.run(twice)
    with pytest.raises(NotReadyError):
        scene.run(lambda reload: asyncio.to_thread(reload.flush, Filters()), begun=False)
    scene.live.flusher = None
    with pytest.raises(NotReadyError, match=r"^the gateway is ready$"):
        scene.live.flush(Filters())
