"""Sessions of services over a restart (session/restore.py) and a reload (session/draft.py)."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP

from nat64d.gateway.takeover import STAYS, carry_counts, statics_of
from tests.case import BEGIN, engines_of
from tests.engines import Engines
from tests.packets import HOST4, whole
from tests.translator.services import DNS, VIP, WEB, E, Serving, endpoints, service, udp6
from translator.session import draft
from translator.session.fates import Fate
from translator.session.restore import Kept, restore
from translator.session.tcp_state import State
from translator.tables.gateway import Gateway, new_worker
from translator.tables.layout import OF_SERVICE
from translator.tables.listing import usage

NOW = round(BEGIN * 1000)
BOTH: dict[str, Any] = {"service": [WEB, DNS], "forward": []}


def scene() -> Serving:
    """Six connections, one of them answered, and two flows of datagrams."""
    nat64 = Serving(WEB, DNS)
    for port in range(1, 7):
        nat64.client(port)
    nat64.answer(nat64.client(6), 6)
    nat64.datagram(1)
    nat64.send(udp6(nat64.datagram(2), 53, 2))
    return nat64


def restart(nat64: Serving, **changes: Any) -> dict[Fate, int]:
    """The gateway after a restart with another secret; how many sessions had which fate."""
    engines = Engines(engines_of(**BOTH | changes).config, bytes(range(16)))
    kept = Kept(nat64.tables.sessions, nat64.tables.quarantine, statics_of(nat64.tables), nat64.tables.blocks)
    tables = replace(engines.tables(), sessions=kept.sessions, quarantine=kept.quarantine, blocks=kept.blocks)
    nat64.gateway = Gateway(engines.predictable, tables, nat64.worker)
    return fates_of(restore(nat64.gateway, NOW, kept).fates)


def reload(nat64: Serving, **changes: Any) -> dict[Fate, int]:
    """The gateway after a reload; how many sessions that are not kept had which fate."""
    engines, before = engines_of(**BOTH | changes), nat64.tables
    tables = replace(engines.tables(), **{name: getattr(before, name) for name in STAYS})
    begun = draft.begin(Gateway(engines.predictable, tables, new_worker(0)), before, NOW)
    nat64.client(7)
    draft.catch_up(begun, NOW)
    opened = usage(before)
    nat64.gateway = Gateway(engines.predictable, replace(tables, sessions=before.sessions), nat64.worker)
    fates = draft.finish(begun, nat64.gateway, NOW).fates
    carry_counts(before, nat64.tables, opened, usage(nat64.tables))
    return fates_of(fates)


def fates_of(fates: Any) -> dict[Fate, int]:
    return {fate: int(fates[fate]) for fate in Fate if fates[fate]}


def test_all_are_there_again_after_a_restart():
    nat64 = scene()
    rows = nat64.rows()
    assert restart(nat64) == {Fate.KEPT: 8}
    assert nat64.rows() == rows
    assert nat64.client(6, "A") == next(row[0] for row in rows if row[2:] == (6, "ESTABLISHED"))
    assert nat64.tables.inbound.tolist() == [0, 6]
    assert nat64.rows() == rows


def test_all_are_there_after_a_reload_and_more_members_move_none():
    nat64 = scene()
    nat64.client(7)
    rows = nat64.rows()
    many = [service("web", f"{VIP}:80", endpoints(8080, *range(1, 9))), DNS]
    assert reload(nat64, service=many) == {}
    assert sorted(nat64.rows()) == sorted(rows)
    for endpoint, _, port, state in rows:
        assert state == "NONE" or port <= 2 or nat64.client(port) == endpoint
    assert len({nat64.client(port) for port in range(20, 28)}) > 3


@pytest.mark.parametrize("over", [restart, reload])
def test_those_of_a_member_that_is_gone_end(over):
    nat64 = scene()
    gone = [row for row in nat64.rows() if row[0] == E(1)]
    left = [service("web", f"{VIP}:80", endpoints(8080, 2, 3)), service("dns", f"{VIP}:53", endpoints(53, 2, 3), "udp")]
    fates = over(nat64, service=left)
    assert fates[Fate.UNMAPPED] >= len(gone) > 0
    assert all(row[0] != E(1) for row in nat64.rows())
    assert nat64.client() in {E(2), E(3)}
    assert nat64.rows()


@pytest.mark.parametrize("over", [restart, reload])
def test_those_that_new_sources_exclude_end(over):
    nat64 = scene()
    assert over(nat64, service=[WEB | {"sources": ["192.0.2.0/24"]}, DNS])[Fate.UNMAPPED] >= 6
    assert {row[3] for row in nat64.rows()} == {"V4_INIT", "NONE"}


@pytest.mark.parametrize("over", [restart, reload])
def test_those_of_a_service_that_is_gone_end(over):
    nat64 = scene()
    assert over(nat64, service=[DNS])[Fate.UNMAPPED] >= 6
    assert len(nat64.rows()) == 2
    with pytest.raises(AssertionError):
        nat64.client()


def test_an_endpoint_that_gets_an_eam_keeps_them():
    nat64 = scene()
    rows = nat64.rows()
    assert restart(nat64, eam=[{"ipv4": "203.0.113.99", "ipv6": E(1)}]) == {Fate.KEPT: 8}
    assert nat64.rows() == rows


def test_of_two_that_contradict_each_other_the_first_holds():
    nat64 = scene()
    rows = nat64.tables.sessions
    first, second, third = np.flatnonzero(rows.live)[:3]
    rows[second].host4_port = rows[first].host4_port  # the same flow, perhaps by another member
    rows[third] = rows[first]
    assert restart(nat64) == {Fate.KEPT: 6, Fate.DAMAGED: 2}
    nat64.client(30)


def test_a_session_of_the_endpoints_own_contradicts_one_of_a_service():
    nat64 = Serving(service("dns", f"{VIP}:53", endpoints(53, 1), "udp"))
    nat64.send(udp6(E(1), 53, 9))
    nat64.datagram(8)
    own, served = nat64.tables.sessions[0], nat64.tables.sessions[1]
    assert (own.inbound, served.inbound) == (0, OF_SERVICE)
    served.host4_port = own.host4_port
    one = {"service": [service("dns", f"{VIP}:53", endpoints(53, 1), "udp")]}
    assert restart(nat64, **one) == {Fate.KEPT: 1, Fate.DAMAGED: 1}
    nat64 = Serving(service("dns", f"{VIP}:53", endpoints(53, 1), "udp"))
    nat64.datagram(8)
    nat64.send(udp6(E(1), 53, 9))
    nat64.tables.sessions[1].host4_port = 8
    assert restart(nat64, **one) == {Fate.KEPT: 1, Fate.DAMAGED: 1}


def test_there_may_be_no_room():
    nat64 = scene()
    nat64.tables.sessions.state[nat64.tables.sessions.protocol == 6] = State.ESTABLISHED
    kept = Kept(nat64.tables.sessions.copy(), nat64.tables.quarantine, statics_of(nat64.tables), nat64.tables.blocks)
    engines = engines_of(**BOTH, limits={"sessions": 16})
    tables = engines.tables()
    tables = replace(tables, sessions=tables.sessions[:6])
    gateway = Gateway(engines.predictable, tables, new_worker(0))
    assert fates_of(restore(gateway, NOW, kept).fates) == {Fate.KEPT: 6, Fate.LIMITED: 2}


def test_answers_go_on_from_the_service_after_a_restart():
    nat64 = scene()
    there = next(row[0] for row in nat64.rows() if row[3] == "NONE")
    restart(nat64)
    assert whole(nat64.send(udp6(there, 53, 2)).packets[0])[IP].src == VIP
    assert HOST4 in {row[1] for row in nat64.rows()}
