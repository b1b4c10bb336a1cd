"""Router advertisements on a link: who is heard, what is compared, where nothing is sent."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network
from itertools import pairwise
from pathlib import Path

import pytest

from nat64d.advertise import timing, wire
from nat64d.advertise.advertiser import Advertiser, Link
from nat64d.advertise.listener import Listener
from nat64d.advertise.message import (
    SOLICITATION,
    Advertisement,
    Pref64,
    built,
    is_solicitation,
    parsed,
    solicitation,
)
from nat64d.gateway.neighbours import advertise
from nat64d.gateway.state import Live
from nat64d.host.board import Board
from nat64d.host.watch import Watch
from tests.nat64d.hosts import fixtures, wait_until_up
from tests.nat64d.netns import Namespace, ip, sysctl
from tests.nat64d.test_advertise import ASKS, OTHER6, POOL6, ROUTER, SENDER, config_of
from tests.nat64d.test_advertise_links import LOG, PATIENCE, Neighbour, advertising, fast, neighbour, until
from tests.nat64d.test_host_rounds import FakeHost

__all__ = ["fast", "neighbour"]
namespace, server, _text, _config = fixtures()

THIRD6 = IPv6Network("2001:db8:65::/96")


def test_rfc8781_5_2_what_is_compared_is_a_prefix_in_its_time_of_a_neighbour(
    neighbour: Neighbour, server: Namespace
) -> None:
    now = 1000.0

    def rivals() -> list[str]:
        return sorted(prefix for _, _, prefix in advertiser.announcing().rivals)

    advertiser = Advertiser(LOG, clock=lambda: now)

    async def go() -> None:
        nonlocal now
        advertiser.use(config_of('interface = ["eth0"]'))
        task = asyncio.ensure_future(advertiser.run())
        await neighbour.hear()
        message = built(Advertisement(0, (Pref64(IPv6Network("2001:db8:f::/96"), 600),)))
        wire.send(neighbour.socket, message, wire.ALL_NODES, neighbour.link, IPv6Address("2001:db8:1::1"))
        neighbour.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 64)
        neighbour.say(message)
        neighbour.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        neighbour.say(built(Advertisement(0, (Pref64(OTHER6, 600), Pref64(POOL6, 600), Pref64(THIRD6, 1800)))))
        async with asyncio.timeout(PATIENCE):
            while not rivals():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert rivals() == sorted(map(str, (OTHER6, THIRD6)))
        now += 599
        assert len(rivals()) == 2
        now += 1
        assert rivals() == [str(THIRD6)]
        advertiser.use(config_of('interface = ["eth0"]', THIRD6))  # there is nothing to complain about any more
        assert rivals() == []
        task.cancel()
        await asyncio.wait([task])

    with server:
        ip("address", "add", "2001:db8:1::1/64", "dev", "far0", "nodad")
    asyncio.run(go())


def test_rfc8781_5_2_each_link_is_compared_by_itself(neighbour: Neighbour) -> None:
    """eth5 is announced on as well, eth6 is not."""
    for name in ("5", "6"):
        ip("link", "add", f"eth{name}", "type", "veth", "peer", "name", f"far{name}")
        for end, address in ((f"eth{name}", ROUTER), (f"far{name}", SENDER)):
            ip("link", "set", end, "addrgenmode", "none", "up")
            ip("address", "add", f"{address}/64", "dev", end, "nodad")
        wait_until_up(f"eth{name}")

    def offer(link: str, prefix: IPv6Network) -> None:
        message = built(Advertisement(0, (Pref64(prefix, 600),)))
        wire.send(others, message, wire.ALL_NODES, socket.if_nametoindex(link), SENDER)

    async def go() -> None:
        async with advertising(config_of('interface = ["eth0", "eth5"]')) as (advertiser, changed):
            await neighbour.hear()
            offer("far6", THIRD6)
            neighbour.say(malformed)
            offer("far5", OTHER6)
            neighbour.offer(OTHER6)
            rivals = (await until(advertiser, changed, lambda now: len(now.rivals) > 1)).rivals
            assert rivals == tuple((link, str(SENDER), str(OTHER6)) for link in ("eth0", "eth5"))

    malformed = built(Advertisement(0, (Pref64(THIRD6, 600),))) + bytes([1, 0])  # an option without a length
    with wire.open_socket([SOLICITATION]) as others:
        asyncio.run(go())


def test_rfc4861_6_1_1_who_asks_from_beyond_a_router_is_not_heard(
    neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(timing.Timing, "solicited", lambda _, now: asked.append(now))

    async def go() -> None:
        async with advertising(config_of('interface = ["eth0"]')) as (advertiser, changed):
            await neighbour.hear()
            for hops, count in ((64, 0), (254, 0), (255, 1)):
                neighbour.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, hops)
                neighbour.say(solicitation(), wire.ALL_ROUTERS)
                neighbour.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
                prefix = IPv6Network((f"2001:db8:{hops:x}::", 96))  # what comes next has been heard
                neighbour.offer(prefix)
                await until(advertiser, changed, lambda now, prefix=prefix: str(prefix) in str(now.rivals))
                assert len(asked) == count

    asyncio.run(go())


def test_rfc4861_6_2_2_nothing_is_sent_on_an_interface_that_is_not_named(
    neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[int, IPv6Address, int]] = []

    def send(_: object, message: bytes, to: IPv6Address, link: int, __: object) -> None:
        said = parsed(message)
        assert said
        sent.append((link, to, said.pref64[0].lifetime))

    monkeypatch.setattr(wire, "send", send)
    ip("link", "add", "eth5", "type", "veth", "peer", "name", "far5")
    for name in ("eth5", "far5"):
        ip("link", "set", name, "up")
    ip("address", "add", "fe80::5/64", "dev", "eth5", "nodad")

    async def go() -> None:
        for names in ([], ["eth0"], ["eth5"], ["eth0", "eth5"]):
            async with advertising(config_of(f"interface = {names}" if names else "")):
                await asyncio.sleep(0.05)
                async with asyncio.timeout(PATIENCE):
                    while len(sent) < len(names):  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
            links = [socket.if_nametoindex(name) for name in names]
            assert {*sent} == {(link, wire.ALL_NODES, lifetime) for link in links for lifetime in (1800, 0)}
            sent.clear()

    asyncio.run(go())


def test_rfc8781_5_2_what_others_announce_is_in_the_log_of_the_daemon(
    neighbour: Neighbour, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, though it comes twice."""
    live, host, board = Live(config_of('interface = ["eth0"]')), FakeHost(), Board(LOG)
    watch = Watch(host, board, LOG, lambda host: host.standing)  # type: ignore[arg-type]

    async def go() -> None:
        task = asyncio.ensure_future(advertise(live, watch))
        await neighbour.hear()
        for _ in range(2):
            neighbour.offer(OTHER6)
            async with asyncio.timeout(PATIENCE):
                while not watch.announcing().rivals:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            watch.check(0.0)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(go())
    (record,) = [record for record in caplog.records if getattr(record, "condition", "") == "ra_rival"]
    assert record.levelno == logging.WARNING
    assert f"{SENDER} on eth0, announces the NAT64 prefix {OTHER6}" in record.getMessage()


class Clocked:
    """An advertiser on one interface, in a time that moves by tenths of a second, and when it has sent what."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.sent = 0.0, []
        self.advertiser = Advertiser(LOG, clock=lambda: self.now, chance=lambda: 1.0)
        monkeypatch.setattr(wire, "send", lambda _, message, *__: self.sent.append((self.now, parsed(message))))
        monkeypatch.setattr(wire, "link_local", lambda _: ROUTER)
        monkeypatch.setattr("nat64d.advertise.advertiser.sysctl.read", lambda _: "0")
        self.advertiser.use(config_of('interface = ["eth0"]'))
        self.advertiser._socket = socket.socket()
        self.advertiser._links["eth0"] = Link(7, timing.Timing(600, self.now, lambda: 1.0))

    def until(self, moment: float) -> list[float]:
        """When something was sent until then; it is asked ten times a second whether something is due."""
        self.sent.clear()
        while self.now < moment:
            wait = self.advertiser._advertise()
            assert wait > 0
            self.now = round(self.now + 0.1, 1)
        return [when for when, _ in self.sent]

    def ask(self) -> None:
        self.advertiser._hear(wire.Heard(solicitation(), SENDER, 7))


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clocked]:
    one = Clocked(monkeypatch)
    yield one
    assert one.advertiser._socket
    one.advertiser._socket.close()


def test_rfc4861_6_2_4_the_advertiser_sends_three_soon_and_then_by_its_intervals(clocked: Clocked) -> None:
    assert clocked.until(2000) == [0, 16, 32, 632, 1232, 1832]
    clocked.advertiser.use(config_of('interface = ["eth0"]'))  # a reload that changes nothing of it
    assert clocked.until(3100) == [2432, 3032]
    clocked.advertiser.use(config_of('interface = ["eth0"]\ninterval = 100', OTHER6))
    assert clocked.until(3400) == [3100, 3116, 3132, 3232, 3332]
    both = (Pref64(OTHER6, 304), Pref64(POOL6, 0))
    assert [said.pref64 for _, said in clocked.sent] == [both] * 3 + [both[:1]] * 2
    clocked.advertiser.use(config_of('interface = ["eth0"]\ninterval = 100', POOL6))  # another prefix alone
    assert clocked.until(3500) == [3400, 3416, 3432]
    named = 'interface = ["eth0"]\ninterval = 100\nrdnss = ["2001:db8::53"]'
    clocked.advertiser.use(config_of(named, POOL6))  # other name servers alone
    assert clocked.until(3600) == [3500, 3516, 3532]
    for prefix in (OTHER6, THIRD6):  # one change soon after the other
        clocked.advertiser.use(config_of(named, prefix))
    assert clocked.until(3610) == [3600]
    assert clocked.sent[0][1].pref64 == (Pref64(THIRD6, 304), Pref64(POOL6, 0), Pref64(OTHER6, 0))


@pytest.mark.parametrize(("message", "source", "valid"), ASKS.values(), ids=ASKS)
def test_rfc4861_6_1_1_who_asks_in_a_valid_way_is_answered(
    clocked: Clocked, message: bytes, source: IPv6Address, valid: bool
) -> None:
    clocked.until(100)
    clocked.advertiser._hear(wire.Heard(message, source, 7))
    assert clocked.until(102) == ([100.5] if valid else [])


def test_rfc4861_6_2_6_the_advertiser_answers_many_who_ask_once_and_no_sooner_than_after_three_seconds(
    clocked: Clocked,
) -> None:
    clocked.until(100)
    for _ in range(3):
        clocked.ask()
    assert clocked.until(100.3) == []
    clocked.ask()
    assert clocked.until(102) == [100.5]  # half a second after the first one
    clocked.ask()
    assert clocked.until(700) == [104]  # three seconds after that one, and half a second
    assert clocked.until(1000) == [704]  # as after any other
    times = []
    for _ in range(600):
        clocked.ask()
        times += clocked.until(clocked.now + 0.1)
    assert min(later - before for before, later in pairwise(times)) >= 3
    assert len(times) > 15


@pytest.mark.usefixtures("fast")
def test_rfc4861_6_2_6_what_is_due_does_not_wait_for_the_pause(
    neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither longer than until it is due: within half a second of who asks."""
    monkeypatch.setattr("nat64d.advertise.advertiser.PAUSE", 10 * PATIENCE)

    async def go() -> None:
        async with advertising(config_of('interface = ["eth0"]')):
            for _ in range(3):
                await neighbour.hear()

    asyncio.run(go())


@pytest.mark.parametrize("ends", [True, False], ids=["taken back", "gone by itself"])
def test_rfc4861_6_2_6_an_interface_that_is_back_at_once_waits_three_seconds(
    clocked: Clocked, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    monkeypatch.setattr(socket, "if_nametoindex", lambda _: 8)
    monkeypatch.setattr(wire, "join", lambda *_: None)
    assert clocked.until(1) == [0]
    if ends:
        clocked.advertiser.use(config_of('interface = ["eth1"]'))
        clocked.advertiser.use(config_of('interface = ["eth0"]'))
    else:
        monkeypatch.setattr(wire, "link_local", lambda _: None)
        clocked.advertiser._look()
        monkeypatch.setattr(wire, "link_local", lambda _: ROUTER)
    clocked.advertiser._look()
    clocked.ask()
    last = 1 if ends else 0
    assert clocked.until(30) == [last + 3, last + 19]


@pytest.mark.usefixtures("fast")
def test_rfc4861_6_2_5_whether_this_host_forwards_is_read_for_each_advertisement(neighbour: Neighbour) -> None:
    async def go() -> None:
        config = config_of('interface = ["eth0"]\ninterval = 4\ndefault_router = true')
        async with advertising(config):
            for value, lifetime in (("0", 0), ("1", 12), ("0", 0)):
                sysctl("net/ipv6/conf/eth0/forwarding", value)
                await neighbour.hear(lambda said, lifetime=lifetime: said.router_lifetime == lifetime)

    asyncio.run(go())


def test_rfc4861_6_3_7_a_listener_that_knows_a_prefix_asks_nobody_until_its_time_is_over(
    neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr("nat64d.advertise.listener.PATIENCE", 0.0)
    monkeypatch.setattr(Listener, "solicit", lambda _, links: asked.append(links))
    now = 1000.0
    with Listener(lambda: now) as listener:
        neighbour.offer(POOL6)
        while not listener.look():
            pass
        before = len(asked)
        for seconds in (1, 10, 100, 488):
            now += seconds
            assert listener.look()
        assert len(asked) == before
        now += 1
        assert listener.look() == []
        assert len(asked) == before + 1 <= 3


def test_rfc4861_6_3_7_a_listener_asks_all_routers_of_its_links(neighbour: Neighbour, server: Namespace) -> None:
    with server:
        router = wire.open_socket([SOLICITATION])
        wire.join(router, wire.ALL_ROUTERS, neighbour.link)
    router.settimeout(PATIENCE)
    with router, Listener() as listener:
        listener.look()
        while (heard := wire.receive(router)) is None or len(heard.message) > len(solicitation()):
            pass  # the kernel asks as well, with its link-layer address
    assert heard.source == ROUTER
    assert is_solicitation(heard.message, heard.source)


def groups(name: str) -> set[str]:
    """The groups that an interface of this namespace is in."""
    rows = (line.split() for line in Path("/proc/thread-self/net/igmp6").read_text("ascii").splitlines())
    return {row[2] for row in rows if row[1] == name}


def test_rfc4861_6_2_5_the_group_of_all_routers_is_left_with_the_last_advertisement(neighbour: Neighbour) -> None:
    """By the advertiser; the kernel is in it as well as long as it forwards."""
    all_routers = wire.ALL_ROUTERS.packed.hex()

    async def go() -> None:
        async with advertising(config_of('interface = ["eth0", "eth7"]')) as (advertiser, changed):
            await neighbour.hear()
            assert all_routers in groups("eth0")
            advertiser.use(config_of('interface = ["eth7"]'))
            await until(advertiser, changed, lambda now: len(now.silent) == 1)
            await neighbour.hear(lambda said: said.pref64[0].lifetime == 0)
            assert all_routers not in groups("eth0")

    asyncio.run(go())


def test_rfc4861_6_2_5_so_it_is_on_an_interface_that_is_down_by_then(neighbour: Neighbour) -> None:
    async def go() -> None:
        async with advertising(config_of('interface = ["eth0", "eth7"]')) as (advertiser, changed):
            await neighbour.hear()
            ip("link", "set", "eth0", "down")
            await until(advertiser, changed, lambda now: len(now.silent) == 2)
            advertiser.use(config_of('interface = ["eth7"]'))
            await until(advertiser, changed, lambda now: len(now.silent) == 1)
            ip("link", "set", "eth0", "up")
            assert wire.ALL_ROUTERS.packed.hex() not in groups("eth0")

    asyncio.run(go())


def test_rfc8781_5_2_thirty_two_prefixes_of_others_are_remembered(clocked: Clocked) -> None:
    prefixes = [IPv6Network((f"2001:db8:{number:x}::", 96)) for number in range(33)]
    for prefix in prefixes:
        said = built(Advertisement(0, (Pref64(prefix, 600),)))
        clocked.advertiser._hear(wire.Heard(said, SENDER, 7))
    found = {prefix for _, _, prefix in clocked.advertiser.announcing().rivals}
    assert found == {*map(str, prefixes[:32])}


def test_rfc4861_6_3_7_a_listener_asks_on_sixteen_links(monkeypatch: pytest.MonkeyPatch, neighbour: Neighbour) -> None:
    asked: list[str] = []
    monkeypatch.setattr("nat64d.advertise.listener.PATIENCE", 0.0)
    monkeypatch.setattr(wire, "links", lambda: [f"eth{number}" for number in range(20)])
    monkeypatch.setattr(Listener, "solicit", lambda _, links: asked.extend(links))
    with Listener() as listener:
        listener.look()
    assert asked == [f"eth{number}" for number in range(16)]
