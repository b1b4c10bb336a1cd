"""Which gateways are alive, and by which one a node goes: before the fake API server, and a kernel."""

import asyncio
import time
from dataclasses import replace
from ipaddress import IPv6Network
from itertools import count
from math import inf
from pathlib import Path

import pytest

from nat64d.cli.lab import obstacle
from nat64d.control.client import DaemonUnreachableError
from nat64d.kubernetes import command
from nat64d.kubernetes.daemon import RefusedError
from nat64d.kubernetes.leases import Seen
from nat64d.kubernetes.members import Renewals
from nat64d.kubernetes.next_hops import NextHops, in_order
from tests.kubernetes.controlled import SHORT, Gateway, Watching
from tests.kubernetes.fake.kinds import LEASES
from tests.kubernetes.fake.server import Fake
from tests.kubernetes.mirrored import QUICK, until
from tests.nat64d.netns import Namespace, fresh_namespace, ip

namespace = pytest.fixture(fresh_namespace)

# ---- Leases, by a clock that is given


def lease(version: int = 1, name: str = "g1", held: bool = True) -> Seen:
    return Seen(name, str(version), 0, "", held, "2001:db8::1")


def names(renewals: Renewals, now: float) -> list[str]:
    return [one.seen.gateway for one in renewals.good(now)]


def test_a_lease_is_over_when_nobody_renews_it():
    renewals = Renewals(10)
    assert renewals.see(("n", "g1"), lease(), 100)
    assert not renewals.see(("n", "g1"), lease(), 109), "read anew, and not renewed"
    assert (names(renewals, 109), renewals.next_end()) == (["g1"], 110)
    assert not renewals.see(("n", "g1"), lease(2), 109), "no news"
    assert (names(renewals, 118), renewals.next_end()) == (["g1"], 119)
    renewals.end(119)
    assert (names(renewals, 119), renewals.next_end()) == ([], inf)
    renewals.forgive(120)
    assert names(renewals, 120) == [], "what is over stays so"
    assert renewals.see(("n", "g1"), lease(3), 130), "it is back"
    assert names(renewals, 130) == ["g1"]
    assert renewals.see(("n", "g1"), lease(4, held=False), 131), "it is taken back"
    assert (names(renewals, 131), renewals.next_end()) == ([], inf)


def test_while_nobody_could_renew_it_none_is_over():
    renewals = Renewals(10)
    renewals.see(("n", "g1"), lease(), 100)
    renewals.forgive(109)
    assert (names(renewals, 118), renewals.next_end()) == (["g1"], 119)
    renewals.leave(("n", "g1"))
    assert (names(renewals, 118), renewals.keys()) == ([], set())


# ---- before an API server


def gateway(fake: Fake, folder: Path, number: int) -> Gateway:
    return Gateway(fake, folder / f"g{number}", f"g{number}", address=f"2001:db8::{number}")


def test_gateways_come_are_killed_and_are_stopped(fake, tmp_path):
    changes = count()
    watching = Watching(tmp_path / "g1", lambda: next(changes))
    with gateway(fake, tmp_path, 1), gateway(fake, tmp_path, 2) as second, watching:
        members = watching.members
        until(lambda: members.alive == {"g1": "2001:db8::1", "g2": "2001:db8::2"})
        with gateway(fake, tmp_path, 3):
            until(lambda: "g3" in members.alive)
        until(lambda: {*members.alive} == {"g1", "g2"})
        second.kill()
        until(lambda: [*members.alive] == ["g1"])
        assert next(changes) >= 3, "told of each"
        asked = len(fake.requests)
        time.sleep(0.2)
        assert len(fake.requests) < asked + 20, "what is over is asked for again and again"


def test_one_that_is_found_dead_is_never_alive(fake, tmp_path):
    """Or a start would lead nodes to it."""
    seen: list[str] = []
    with gateway(fake, tmp_path, 1), gateway(fake, tmp_path, 2) as second:
        until(lambda: len([key for key in fake.store.objects if key.kind is LEASES]) == 2)
        second.kill()
        watching = Watching(tmp_path / "g1", lambda: seen.extend(watching.members.alive))
        with watching:
            until(lambda: bool(seen))
            time.sleep(SHORT.gateway_holds)
    assert {*seen} == {"g1"}


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_none_is_dead_because_the_api_server_is_away(fake, tmp_path, how):
    """Nor before the watch is found to be half open."""
    changes: list[dict[str, str]] = []
    pace = QUICK if how == "killed" else replace(QUICK, quiet=60.0)
    watching = Watching(tmp_path / "g1", lambda: changes.append(watching.members.alive), pace)
    with gateway(fake, tmp_path, 1), gateway(fake, tmp_path, 2), watching:
        until(lambda: len(watching.members.alive) == 2)
        changes.clear()
        fake.kill() if how == "killed" else fake.freeze()
        time.sleep(1.5 * SHORT.gateway_holds)
        fake.start() if how == "killed" else fake.thaw()
        time.sleep(SHORT.gateway_holds / 2)
        assert changes == []


# ---- the daemon is told


class Daemon:
    """Which answers after so many attempts, or refuses."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.asked = [*errors], 0

    async def grace(self) -> None:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)


def test_the_daemon_is_asked_again_while_it_is_busy(caplog):
    daemon = Daemon(DaemonUnreachableError("busy"), DaemonUnreachableError("busy"))
    asyncio.run(command.grace(daemon))  # type: ignore[arg-type]
    assert (daemon.asked, caplog.messages) == (3, [])
    daemon = Daemon(RefusedError("no such path"))
    asyncio.run(command.grace(daemon))  # type: ignore[arg-type]
    assert daemon.asked == 1
    assert caplog.messages == ["TCP of other gateways is not answered: no such path"]


# ---- the choice


def test_one_that_ends_moves_its_own_nodes_and_no_others():
    gateways, nodes = [f"g{number}" for number in range(5)], [f"node-{number}" for number in range(1000)]
    first = {node: in_order(node, gateways)[0] for node in nodes}
    shares = [[*first.values()].count(one) for one in gateways]
    assert all(150 < share < 250 for share in shares), shares
    for node in nodes:
        after = in_order(node, [one for one in gateways if one != "g2"])[0]
        assert after == first[node] or first[node] == "g2"
    assert in_order("node-1", reversed(gateways)) == in_order("node-1", gateways)


class Known:
    """Members, as they are said to be."""

    def __init__(self, **alive: str) -> None:
        self.alive = alive


PREFIX, OTHER = IPv6Network("64:ff9b::/96"), IPv6Network("2001:db8:c::/96")


def routes() -> dict[str, str]:
    """Ours: prefix and next hop."""
    rows = (line.split() for line in ip("-6", "route", "show", "proto", "65").splitlines())
    return {words[0]: words[2] for words in rows}


@pytest.fixture
def node(namespace: Namespace) -> None:
    if why := obstacle():
        pytest.skip(why)
    ip("link", "add", "eth0", "type", "veth", "peer", "name", "far")
    for link in ("eth0", "far"):
        ip("link", "set", link, "up")
    ip("address", "add", "2001:db8::9/64", "dev", "eth0", "nodad")


def lead(*steps: dict[str, str], prefixes: tuple[IPv6Network, ...] = (PREFIX,)) -> list[dict[str, str]]:
    """What routes there are after each set of gateways that are alive."""
    found = []

    async def go() -> None:
        hops = NextHops(prefixes, "node", Known(**steps[0]))  # type: ignore[arg-type]
        running = asyncio.create_task(hops.run())
        await asyncio.sleep(0.1)
        for step in steps:
            hops.members.alive = step
            await hops.change()
            found.append(routes())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(go())
    return found


TWO = {"g1": "2001:db8::1", "g2": "2001:db8::2"}


@pytest.mark.usefixtures("node")
def test_the_next_hop_is_one_that_is_alive_and_stays_if_none_is(caplog):
    first, second = in_order("node", TWO)
    both, one, none, back = lead(TWO, {second: TWO[second]}, {}, TWO)
    assert both == back == {str(PREFIX): TWO[first]}
    assert one == none == {str(PREFIX): TWO[second]}
    assert routes() == both, "the end changes nothing"
    ip("-6", "route", "add", "192:db8::/64", "dev", "eth0")
    assert lead(TWO, prefixes=(OTHER,)) == [{str(OTHER): TWO[first]}]
    assert "192:db8::/64" in ip("-6", "route", "show")


@pytest.mark.usefixtures("node")
def test_one_that_is_not_on_a_link_is_none_of_ours(caplog):
    first, second = in_order("node", TWO)
    behind = {**TWO, first: "2001:db8:1::1"}
    assert lead(behind) == [{str(PREFIX): TWO[second]}]
    assert lead({**TWO, first: "2001:db8::9"}) == [{str(PREFIX): TWO[second]}], "this node itself"
    ip("-6", "route", "flush", "proto", "65")
    assert lead({first: "2001:db8:1::1"}) == [{}]
    assert "is it on a link of this node?" in caplog.text
    for text in ("", "192.0.2.1", "a", "fe80::1%eth0"):
        assert lead({first: text}) == [{}], text
    assert "no gateway has said its IPv6 address" in caplog.text


@pytest.mark.usefixtures("node")
def test_the_route_of_a_daemon_on_the_node_goes_first():
    ip("-6", "route", "add", str(PREFIX), "dev", "far", "proto", "64")
    first = in_order("node", TWO)[0]
    assert lead(TWO) == [{str(PREFIX): TWO[first]}]
    assert " dev far " in ip("-6", "route", "get", "64:ff9b::1")
    ip("-6", "route", "del", str(PREFIX), "proto", "64")
    assert f"via {TWO[first]} " in ip("-6", "route", "get", "64:ff9b::1")
