"""[services] announce = "neighbours": what neighbours and the kernel make of it."""

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from nat64d.config.load import loads
from nat64d.config.models import Config
from nat64d.host import facts as look
from nat64d.host import vips
from nat64d.host.board import Board
from nat64d.host.changes import differences
from nat64d.host.errors import HostError
from nat64d.host.host import Host
from nat64d.host.standing import Standing
from nat64d.host.vips import Claiming, Vip, on_links
from nat64d.host.wanted import Wanted
from nat64d.host.watch import Watch
from nat64d.services import announcer as module
from nat64d.services import claim as claims
from nat64d.services.announcer import UNPRIVILEGED, Announcer
from nat64d.services.messages import Heard, announcements, question
from nat64d.services.wire import Wire
from tests.nat64d.announcing import OTHER, OURS, PATIENCE, VIP4, VIP6, a_config, text_of
from tests.nat64d.hosts import LOG, SERVER, fixtures, gateway
from tests.nat64d.netns import Namespace, ip

namespace, server, _text, _config = fixtures()

config = pytest.fixture(a_config)


# ---- at work


class Scene:
    """A gateway with an announcer, its watch and its conditions."""

    def __init__(self, host: Host) -> None:
        self.board, self.changed = Board(LOG), asyncio.Event()
        self.watch = Watch(host, self.board, LOG)
        self.announcer = Announcer(LOG, host.answer, self.changed.set)
        self.watch.claiming = self.announcer.claiming

    async def conditions(self) -> set[str]:
        await asyncio.to_thread(self.watch.check, 1.0)
        assert self.watch.seen
        self.announcer.see(self.watch.seen)
        return {row["condition"] for row in self.board.standing(1.0)}

    async def until(self, wanted: Callable[[set[str]], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not wanted(await self.conditions()):
                self.changed.clear()
                try:
                    await asyncio.wait_for(self.changed.wait(), 0.2)
                except TimeoutError:
                    continue


@asynccontextmanager
async def at_work(config: Config, host: Host) -> AsyncIterator[Scene]:
    scene = Scene(host)
    scene.announcer.use(config)
    task = asyncio.ensure_future(scene.announcer.run(host.wanted.answered))
    await scene.conditions()
    try:
        yield scene
    finally:
        task.cancel()
        await asyncio.wait([task])


def run(config: Config, story: Callable[[Scene], object]) -> None:
    async def go(host: Host) -> None:
        async with at_work(config, host) as scene:
            await story(scene)  # type: ignore[misc]

    with gateway(config) as (_, host, _lines), pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "AGAIN", 0.2)
        asyncio.run(go(host))


def proxied(address: str = VIP4) -> bool:
    return address in ip("neighbour", "show", "proxy")


@pytest.fixture
def neighbour(server: Namespace) -> Namespace:
    """A host on the link that knows the address under another hardware address."""
    with server:
        ip("neighbour", "replace", VIP4, "lladdr", "02:00:00:00:00:09", "dev", "far0", "nud", "stale")
    return server


def known_as(host: Namespace, address: str = VIP4) -> str:
    with host:
        return ip("neighbour", "show", address)


def test_neighbours_learn_of_it_at_once(neighbour, config):
    own = ip("link", "show", "eth0").split("link/ether ")[1].split()[0]

    async def story(scene: Scene) -> None:
        await scene.until(lambda found: not found and own in known_as(neighbour))
        assert proxied()
        scene.announcer.end()

    run(config, story)
    with neighbour:
        ip("neighbour", "flush", "all")


def test_an_address_that_another_host_has_is_left_to_it(server, config, caplog):
    caplog.set_level(logging.INFO)
    with server:
        ip("address", "add", f"{VIP4}/32", "dev", "far0")
        far = ip("link", "show", "far0").split("link/ether ")[1].split()[0]

    async def story(scene: Scene) -> None:
        await scene.until(lambda found: found == {"vip_taken"})
        (row,) = scene.board.standing(1.0)
        assert far in row["sentence"]
        assert "it is left to that one" in row["sentence"]
        assert not proxied()
        with server:
            ip("address", "del", f"{VIP4}/32", "dev", "far0")
        await scene.until(lambda found: not found and "takeover" in events())
        assert proxied()

    def events() -> set[str]:
        return {getattr(record, "event", "") for record in caplog.records}

    run(config, story)
    assert events() == {"condition", "condition_over", "takeover"}


def test_who_claims_it_later_is_a_condition(neighbour, config):
    own = ip("link", "show", "eth0").split("link/ether ")[1].split()[0]

    async def story(scene: Scene) -> None:
        await scene.until(lambda _: proxied() and own in known_as(neighbour))
        with neighbour:
            wire = Wire("far0", 4)
        with wire.socket:
            for one in announcements(IPv4Address(VIP4), b"\xfe" + bytes(5), IPv4Address(SERVER)):
                wire.send(one)
            await scene.until(lambda found: found == {"vip_taken"})
            assert "so does this gateway" in scene.board.standing(1.0)[0]["sentence"]
            assert proxied()
            for one in announcements(IPv4Address(VIP4), bytes(6), IPv4Address(SERVER)):
                wire.send(one)
            await scene.until(lambda _: not proxied())

    run(config, story)


def test_an_ipv6_address_is_answered_for_and_announced(server, config, monkeypatch):
    monkeypatch.setattr(vips, "addresses", lambda _: [ip_address(VIP6)])
    ip("address", "add", "2001:db8:1::2/64", "dev", "eth0", "nodad")
    ip("address", "add", "fe80::2/64", "dev", "eth0", "nodad")
    with server:
        ip("address", "add", "2001:db8:1::1/64", "dev", "far0", "nodad")
        ip("address", "add", f"{VIP6}/128", "dev", "far0", "nodad")

    async def story(scene: Scene) -> None:
        await scene.until(lambda found: "vip_taken" in found)
        with server:
            ip("address", "del", f"{VIP6}/128", "dev", "far0")
            ip("neighbour", "replace", VIP6, "lladdr", "02:00:00:00:00:09", "dev", "far0", "nud", "stale")
        own = ip("link", "show", "eth0").split("link/ether ")[1].split()[0]
        await scene.until(lambda _: proxied(VIP6) and own in known_as(server, VIP6))

    run(config, story)


def test_a_link_that_is_down_is_told(server, config):
    async def story(scene: Scene) -> None:
        await scene.until(lambda _: proxied())
        ip("link", "set", "eth0", "down")
        ip("link", "set", "eth0", "up")
        await scene.until(lambda _: proxied())
        ip("link", "set", "eth0", "down")
        claim = scene.announcer._claims[OURS]
        claim.due = 0.0
        await scene.until(lambda found: "vip_silent" in found)
        row = next(row for row in scene.board.standing(1.0) if row["condition"] == "vip_silent")
        assert row["command"] == "ip link set eth0 up"
        ip(*row["command"].split()[1:])
        claim.due = 0.0
        scene.announcer.use(config)
        await scene.until(lambda found: "vip_silent" not in found)

    run(config, story)


def test_without_the_right_it_is_answered_for_and_that_is_told(server, config, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    async def story(scene: Scene) -> None:
        await scene.until(lambda found: found == {"vip_silent"} and proxied())
        assert scene.announcer.claiming() == Claiming(silent=(("eth0", UNPRIVILEGED),))
        (row,) = scene.board.standing(1.0)
        assert row["command"].endswith("systemctl restart nat64d")
        monkeypatch.undo()
        scene.announcer.use(config)
        await scene.until(lambda found: not found)

    monkeypatch.setattr(module, "Wire", refuse)
    run(config, story)


def test_what_cannot_be_set_up_is_logged_once_and_tried_again(server, config, caplog, monkeypatch):
    monkeypatch.setattr(module, "AGAIN", 0.05)
    tried: list[object] = []

    async def story(scene: Scene) -> None:
        answer = scene.announcer._answer

        def refuse(ours: frozenset[Vip]) -> None:
            tried.append(ours)
            if len(tried) < 3:
                raise HostError("No room.")
            answer(ours)

        scene.announcer._answer = refuse
        await scene.until(lambda _: proxied())

    run(config, story)
    assert [record.message for record in caplog.records].count("No room.") == 1
    assert len(tried) == 3


@pytest.mark.parametrize("ticks", range(8))
def test_it_ends_whenever_it_is_cancelled(namespace, config, monkeypatch, ticks):
    """A wait that is over at the moment at which it is cancelled is no reason to go on."""
    monkeypatch.setattr(module, "PAUSE", 0)

    async def go() -> None:
        announcer = Announcer(LOG, lambda _: None)
        announcer.use(config)
        task = asyncio.ensure_future(announcer.run(()))
        for _ in range(5):
            await asyncio.sleep(0)
        announcer.use(config)
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=1)
        assert done

    asyncio.run(go())


def test_links_and_services_come_and_go(server, config, tmp_path):
    async def story(scene: Scene) -> None:
        await scene.until(lambda _: proxied())
        ip("link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
        ip("address", "add", "198.51.100.1/24", "dev", "lan0")
        for name in ("lan0", "lan1"):
            ip("link", "set", name, "up")
        scene.announcer.use(loads(text_of(tmp_path, "198.51.100.80")))
        await scene.until(lambda _: proxied("198.51.100.80") and not proxied())
        ip("link", "del", "lan0")
        await scene.until(lambda _: not proxied("198.51.100.80"))
        scene.announcer.use(config)
        await scene.until(lambda _: proxied())

    run(config, story)


def test_a_flood_of_messages_is_read_with_pauses(server, config):
    async def story(scene: Scene) -> None:
        await scene.until(lambda _: proxied())
        with server:
            wire = Wire("far0", 4)
        with wire.socket:
            probe = question(IPv4Address(VIP4), OTHER, IPv4Address(0))
            for _ in range(5 * module.BATCH):
                wire.send(probe)
        await asyncio.sleep(0.05)
        await scene.until(lambda found: not found)
        assert proxied()

    run(config, story)


def test_only_ethernet_can_be_spoken_on(namespace):
    with pytest.raises(OSError, match="no Ethernet"):
        Wire("lo", 4)
    with pytest.raises(OSError, match="no interface"):
        Wire("eth7", 4)


def test_a_wire_hears_advertisements_and_nothing_else_of_ipv6(server):
    with server:
        far = Wire("far0", 6)
    near = Wire("eth0", 6)
    with far.socket, near.socket:
        assert near.source6() is None
        far.send(question(IPv6Address(VIP6), OTHER, IPv6Address("fe80::9")))
        (one,) = announcements(IPv6Address(VIP6), OTHER, IPv6Address("fe80::9"))
        far.send(one)
        near.socket.settimeout(PATIENCE)
        assert near.receive() == Heard(IPv6Address(VIP6), OTHER)
        assert not near.is_gone()
        assert socket.if_nametoindex("eth0") == near.index


def test_facts_are_those_of_the_host(server, config):
    assert on_links(config, look.read()) == {OURS: ip_address("192.0.2.2")}
    assert differences(Wanted("nat64", {}), Standing()) == []
