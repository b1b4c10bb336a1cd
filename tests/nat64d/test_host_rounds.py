"""The rounds of the watch: what it sets up again, what it leaves to the operator, and what wakes it."""

import asyncio
import logging
from dataclasses import replace

import pytest

from nat64d.config.load import loads
from nat64d.host.board import Board
from nat64d.host.changes import Difference
from nat64d.host.standing import Standing
from nat64d.host.wanted import Wanted
from nat64d.host.watch import CONTESTED, RECENT, Watch, drain, subscribe
from tests.nat64d.netns import fresh_namespace, ip, run, sysctl
from tests.nat64d.test_host_conditions import DROPPED, GATEWAY, SOUND, WANTED

namespace = pytest.fixture(fresh_namespace)


class FakeHost:
    """A host whose routes come back when they are set up again, unless it refuses."""

    def __init__(self) -> None:
        self.config = loads(GATEWAY)
        self.standing = SOUND
        self.restored: list[list[Difference]] = []
        self.refusal: str | None = None

    def wanted_at(self, _standing: Standing) -> Wanted:
        return WANTED

    def restore(self, found: list[Difference]) -> dict[str, str]:
        self.restored.append(found)
        if self.refusal:
            return {difference.name: self.refusal for difference in found}
        self.standing = SOUND
        return {}


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def board() -> Board:
    return Board(logging.getLogger("test"))


@pytest.fixture
def watch(host, board) -> Watch:
    return Watch(host, board, logging.getLogger("test"), lambda host: host.standing)


GONE = replace(SOUND, networks=frozenset())


def test_what_was_set_up_again_is_no_condition(host, board, watch, caplog):
    host.standing = GONE
    watch.check(0.0)
    assert (len(host.restored), board.standing(0.0)) == (1, [])
    (record,) = caplog.records
    assert record.getMessage() == (
        "Set up again: the route for 2001:db8:64::/96 to nat64 was gone; the route for 203.0.113.0/28 to nat64 was gone"
    )


def test_what_cannot_be_set_up_again_is_one_until_it_can(host, board, watch):
    host.standing, host.refusal = GONE, "No."
    watch.check(0.0)
    assert [row["sentence"] for row in board.standing(0.0)] == ["No."]
    assert len(host.restored) == 3
    host.refusal = None
    watch.check(60.0)
    assert board.standing(60.0) == []


def test_a_program_that_undoes_it_again_and_again_is_named_until_it_stops(host, board, watch):
    for second in range(CONTESTED):
        host.standing = GONE
        assert board.standing(0.0) == []
        watch.check(float(second))
    assert [row["condition"] for row in board.standing(10.0)] == ["contested"]
    assert watch.contested
    watch.check(CONTESTED + RECENT)
    assert board.standing(100.0) == []
    assert not watch.contested


def test_an_uplink_that_changes_often_is_nobodys_fault(host, watch):
    for second in range(CONTESTED):
        host.standing = replace(SOUND, masquerade=("wan0",))
        watch.check(float(second))
    assert len(host.restored) == CONTESTED
    assert not watch.contested


def test_a_look_that_fails_is_told_once_and_changes_nothing(host, board, caplog):
    def fail(_host):
        raise error

    error = OSError(105, "No buffer space available")
    watch = Watch(host, board, logging.getLogger("test"), fail)
    board.update(DROPPED, 0.0)
    caplog.clear()
    for now in (1.0, 2.0):
        watch.check(now)
    (record,) = caplog.records
    assert (record.getMessage(), record.exc_info) == ("Cannot look at this host: " + str(error), None)
    assert board.blocking() == ["firewall"]
    assert watch.warnings() == [f"This host cannot be looked at, and its conditions are those of before: {error}"]
    error = KeyError("RTA_OIF")
    watch.check(3.0)
    assert caplog.records[-1].exc_info is not None
    watch = Watch(host, board, logging.getLogger("test"), lambda _: host.standing)
    watch.check(4.0)
    assert watch.warnings() == []


def test_after_the_end_nothing_is_set_up_again(host, watch):
    host.standing = GONE
    watch.close()
    watch.check(0.0)
    assert host.restored == []


EVENTS = {
    "link": "ip link add d0 type veth peer name d1",
    "up": "ip link set lo mtu 60000",
    "address": "ip address add 192.0.2.1/32 dev lo",
    "address6": "ip address add 2001:db8::1/128 dev lo",
    "route": "ip route add blackhole 192.0.2.0/24",
    "route6": "ip -6 route add blackhole 2001:db8::/64",
    "rule": "ip rule add to 192.0.2.0/24 lookup 7",
    "rule6": "ip -6 rule add to 2001:db8::/64 lookup 7",
    "forwarding4": "sysctl -qw net.ipv4.ip_forward=1",
    "forwarding6": "sysctl -qw net.ipv6.conf.all.forwarding=1",
    "filter": "sysctl -qw net.ipv4.conf.all.rp_filter=1",
    "nftables": "nft add table inet f",
}


@pytest.mark.parametrize("command", EVENTS.values(), ids=EVENTS)
def test_every_kind_of_change_wakes_the_watch(namespace, host, board, command):
    """The first look comes after a change: without one there would be none for a minute."""
    sysctl("net/ipv4/conf/all/rp_filter", 0)
    looks: list[int] = []

    async def wake() -> None:
        looked = asyncio.Event()
        loop = asyncio.get_running_loop()

        def read(_host):
            looks.append(1)
            loop.call_soon_threadsafe(looked.set)
            return SOUND

        running = asyncio.ensure_future(Watch(host, board, logging.getLogger("test"), read).run())
        await asyncio.sleep(0)
        assert looks == []
        run(*command.split())
        await asyncio.wait_for(looked.wait(), 30)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(wake())


def test_a_look_is_as_long_as_it_takes_of_a_processor(host, board, monkeypatch):
    """Not as long as others kept it from one: then it would rest for seconds while packets do not pass."""
    times = iter((7.0, 7.25))
    monkeypatch.setattr("time.thread_time", lambda: next(times))
    assert Watch(host, board, logging.getLogger("test"), lambda _: SOUND)._spend() == 0.25


def test_messages_that_were_lost_count_as_a_change(namespace):
    (routes, *others) = subscribe()
    for one in others:
        one.close()
    with routes:
        routes.setsockopt(1, 8, 1)  # SO_RCVBUF, the smallest there is
        for number in range(200):
            ip("route", "add", "blackhole", f"198.51.{number}.0/24")
        changed = asyncio.Event()
        drain(routes, changed)
        assert changed.is_set()
