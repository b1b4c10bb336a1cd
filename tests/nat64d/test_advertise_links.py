"""Router advertisements on a link: what hosts hear of ours (RFC 4861 section 6.2), what we hear of others."""

import asyncio
import errno
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from ipaddress import IPv6Address, IPv6Network

import pytest

from nat64d.advertise import advertiser as module
from nat64d.advertise import timing, wire
from nat64d.advertise.advertiser import UNPRIVILEGED, Advertiser
from nat64d.advertise.listener import OFFERS, Listener, Offer
from nat64d.advertise.message import SOLICITATION, Advertisement, Pref64, built, parsed, solicitation
from nat64d.config.models import Config
from nat64d.host.conditions import Announcing
from tests.nat64d.hosts import fixtures
from tests.nat64d.netns import Namespace, ip
from tests.nat64d.test_advertise import OTHER6, POOL6, ROUTER, SENDER, config_of, servers_in

namespace, server, _text, _config = fixtures()

LOG = logging.getLogger("test")
PATIENCE = 30.0  # seconds


class Neighbour:
    """A host at the other end of eth0, whose address is SENDER."""

    def __init__(self) -> None:
        self.socket = wire.open_socket([134])
        self.socket.settimeout(PATIENCE)
        self.link = socket.if_nametoindex("far0")

    def say(self, message: bytes, to: IPv6Address = wire.ALL_NODES) -> None:
        wire.send(self.socket, message, to, self.link)

    def offer(self, prefix: IPv6Network, lifetime: int = 600) -> None:
        self.say(built(Advertisement(0, (Pref64(prefix, lifetime),))))

    async def hear(self, wanted: Callable[[Advertisement], object] = lambda _: True) -> Advertisement:
        """The next advertisement that is as wanted."""
        while True:
            heard = await asyncio.to_thread(wire.receive, self.socket)
            assert heard is not None
            assert heard.source == ROUTER
            said = parsed(heard.message)
            assert said is not None
            if wanted(said):
                return said

    async def hear_all(self) -> tuple[Advertisement | None, list[tuple[int, tuple[IPv6Address, ...]]]]:
        """The next advertisement, and its RDNSS options."""
        heard = await asyncio.to_thread(wire.receive, self.socket)
        assert heard is not None
        return parsed(heard.message), servers_in(heard.message)

    async def hear_of_servers(self, *wanted: tuple[int | str, ...]) -> None:
        """Until an advertisement has these RDNSS options, each its lifetime and addresses."""
        found: list[tuple[int | str, ...]] = []
        while found != [*wanted]:
            heard = await asyncio.to_thread(wire.receive, self.socket)
            assert heard is not None
            found = [(lifetime, *map(str, servers)) for lifetime, servers in servers_in(heard.message)]


@pytest.fixture
def neighbour(server: Namespace) -> Iterator[Neighbour]:
    """A host that hears of routers and is one."""
    ip("address", "add", f"{ROUTER}/64", "dev", "eth0", "nodad")
    with server:
        ip("address", "add", f"{SENDER}/64", "dev", "far0", "nodad")
        one = Neighbour()
    with one.socket:
        yield one


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seconds are a moment, so are sixteen."""
    monkeypatch.setattr(timing, "LEAST", 0.01)
    monkeypatch.setattr(timing, "FIRST_INTERVAL", 0.02)
    monkeypatch.setattr(timing, "LONGEST_DELAY", 0.01)


@asynccontextmanager
async def advertising(config: Config) -> AsyncIterator[tuple[Advertiser, asyncio.Event]]:
    """An advertiser at work, and what it sets when there is something new to say."""
    changed = asyncio.Event()
    advertiser = Advertiser(LOG, changed.set)
    advertiser.use(config)
    task = asyncio.ensure_future(advertiser.run())
    try:
        yield advertiser, changed
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(advertiser: Advertiser, changed: asyncio.Event, wanted: Callable[[Announcing], object]) -> Announcing:
    """What stands in the way, as soon as it is as wanted."""
    async with asyncio.timeout(PATIENCE):
        while not wanted(advertiser.announcing()):
            await changed.wait()
            changed.clear()
    return advertiser.announcing()


def test_rfc4861_6_2_a_host_is_told_and_in_the_end_that_it_is_over(neighbour: Neighbour) -> None:
    async def go() -> None:
        async with advertising(config_of('interface = ["eth0"]')) as (advertiser, _):
            assert await neighbour.hear() == Advertisement(0, (Pref64(POOL6, 1800),))
            assert advertiser.announcing() == Announcing()
        assert await neighbour.hear() == Advertisement(0, (Pref64(POOL6, 0),))

    asyncio.run(go())


def test_nothing_is_taken_back_where_another_process_goes_on(
    neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []

    async def go(goes_on: bool) -> list[bytes]:
        advertiser = Advertiser(LOG)
        advertiser.use(config_of('interface = ["eth0"]'))
        task = asyncio.ensure_future(advertiser.run(lambda: goes_on))
        await neighbour.hear(lambda said: said.pref64[0].lifetime)
        with monkeypatch.context() as patch:
            patch.setattr(wire, "send", lambda _, message, *__: sent.append(message))
            task.cancel()
            await asyncio.wait([task])
        said, sent[:] = [*sent], []
        return said

    assert asyncio.run(go(goes_on=True)) == []
    assert len(asyncio.run(go(goes_on=False))) == 1


@pytest.mark.usefixtures("fast")
def test_rfc4861_6_2_6_a_host_that_asks_is_answered_also_in_a_flood(neighbour: Neighbour) -> None:
    async def go() -> None:
        config = config_of('interface = ["eth0"]\ninterval = 1800\nrdnss = ["2001:db8::53"]')
        everything = Advertisement(0, (Pref64(POOL6, 5400),)), [(5400, (IPv6Address("2001:db8::53"),))]
        async with advertising(config):
            for _ in range(3):
                assert await neighbour.hear_all() == everything
            for _ in range(200):
                neighbour.say(solicitation(), wire.ALL_ROUTERS)
            assert await neighbour.hear_all() == everything

    asyncio.run(go())


@pytest.mark.usefixtures("fast")
def test_rfc4861_6_2_4_another_prefix_is_told_with_the_old_one_taken_back(neighbour: Neighbour) -> None:
    async def go() -> None:
        async with advertising(config_of('interface = ["eth0"]')) as (advertiser, _):
            await neighbour.hear()
            advertiser.use(config_of('interface = ["eth0"]\ninterval = 4', OTHER6))
            both = (Pref64(OTHER6, 16), Pref64(POOL6, 0))  # RFC 8781 section 4.1: in eights
            for _ in range(3):
                await neighbour.hear(lambda said: said.pref64 == both)
            await neighbour.hear(lambda said: said.pref64 == both[:1])
            advertiser.use(config_of("", OTHER6))
            await neighbour.hear(lambda said: said.pref64 == (Pref64(OTHER6, 0),))

    asyncio.run(go())


@pytest.mark.usefixtures("fast")
def test_rfc8106_5_1_a_name_server_that_a_reload_removes_is_taken_back(neighbour: Neighbour) -> None:
    def config(*servers: str) -> Config:
        return config_of(f'interface = ["eth0"]\ninterval = 4\nrdnss = {list(servers)}')

    one, other = "2001:db8::53", "2001:db8::54"

    async def go() -> None:
        async with advertising(config(one, other)) as (advertiser, _):
            await neighbour.hear_of_servers((12, one, other))
            advertiser.use(config(other))
            await neighbour.hear_of_servers((12, other), (0, one))
            await neighbour.hear_of_servers((12, other))
            advertiser.use(config())
            await neighbour.hear_of_servers((0, other))
            advertiser.use(config(other))
            await neighbour.hear_of_servers((12, other))

    asyncio.run(go())


def test_what_cannot_be_sent_is_said_until_something_is(neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch) -> None:
    link_local = wire.link_local

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    async def go() -> None:
        config, looked = config_of('interface = ["eth0"]'), asyncio.Event()
        with monkeypatch.context() as patch:
            patch.setattr(wire, "send", refuse)
            patch.setattr(wire, "link_local", lambda link: looked.set() or link_local(link))
            async with advertising(config) as (advertiser, changed):
                ((name, why),) = (await until(advertiser, changed, lambda now: now.silent)).silent
                assert (name, why.partition(".")[0]) == ("eth0", "Operation not permitted")
                changed.clear()
                looked.clear()
                advertiser.use(config)
                async with asyncio.timeout(PATIENCE):
                    await looked.wait()
                assert advertiser.announcing().silent
                patch.undo()
                neighbour.say(solicitation(), wire.ALL_ROUTERS)
                await until(advertiser, changed, lambda now: not now.silent)

    asyncio.run(go())


def test_a_link_that_cannot_be_heard_on_is_told_as_that(neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    async def go() -> None:
        async with advertising(config_of('interface = ["eth0"]')) as (advertiser, changed):
            ((_, why),) = (await until(advertiser, changed, lambda now: now.silent)).silent
            assert why.endswith("Cannot allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(wire, "join", refuse)
        asyncio.run(go())


def test_interfaces_come_and_go(neighbour: Neighbour) -> None:
    async def go() -> None:
        async with advertising(config_of('interface = ["eth0", "eth7"]')) as (advertiser, changed):
            await neighbour.hear()
            ((name, why),) = advertiser.announcing().silent
            assert (name, why) == ("eth7", "there is no such interface")
            ip("link", "set", "eth0", "down")
            silent = await until(advertiser, changed, lambda now: len(now.silent) == 2)
            assert silent.silent[0][0] == "eth0"
            ip("link", "set", "eth0", "up")
            ip("address", "add", f"{ROUTER}/64", "dev", "eth0", "nodad")
            await until(advertiser, changed, lambda now: len(now.silent) == 1)
            await neighbour.hear()

    asyncio.run(go())


def test_rfc8781_5_2_other_routers_with_other_prefixes_are_noted(neighbour: Neighbour) -> None:
    async def go() -> None:
        async with advertising(config_of('interface = ["eth0"]')) as (advertiser, changed):
            await neighbour.hear()
            neighbour.offer(POOL6)
            neighbour.offer(OTHER6)
            now = await until(advertiser, changed, lambda now: now.rivals)
            assert now.rivals == (("eth0", str(SENDER), str(OTHER6)),)
            neighbour.offer(OTHER6, 0)
            await until(advertiser, changed, lambda now: not now.rivals)

    asyncio.run(go())


def test_without_the_privilege_that_is_said(neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise PermissionError

    async def go() -> None:
        async with advertising(config_of('interface = ["eth0"]')) as (advertiser, changed):
            now = await until(advertiser, changed, lambda now: now.silent)
            assert now.silent == (("eth0", UNPRIVILEGED),)

    with monkeypatch.context() as patch:
        patch.setattr(wire, "open_socket", refuse)
        asyncio.run(go())


def test_without_descriptors_that_is_said_and_tried_again(
    neighbour: Neighbour, fast: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What looks at an interface takes a descriptor as well: it is no interface that is gone."""
    full = OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def refuse(*_: object) -> None:
        raise full

    async def go() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(wire, "open_socket", refuse)
            async with advertising(config_of('interface = ["eth0"]')) as (advertiser, changed):
                now = await until(advertiser, changed, lambda now: now.silent)
                assert now.silent == (("eth0", "there is no socket to be had: Too many open files"),)
                patch.undo()
                with monkeypatch.context() as other:
                    other.setattr(wire, "link_local", refuse)
                    now = await until(advertiser, changed, lambda now: "looked at" in str(now.silent))
                    assert now.silent == (("eth0", "it cannot be looked at: Too many open files"),)
                await until(advertiser, changed, lambda now: not now.silent)
                await neighbour.hear()
                with monkeypatch.context() as other:
                    other.setattr(module.socket, "if_nametoindex", refuse)
                    other.setattr(wire, "link_local", refuse)
                    advertiser.use(config_of('interface = ["eth0"]', OTHER6))
                    now = await until(advertiser, changed, lambda now: now.silent)
                    assert now.silent == (("eth0", "Too many open files"),)
                await until(advertiser, changed, lambda now: not now.silent)

    monkeypatch.setattr(module, "AGAIN", 0.1)
    monkeypatch.setattr(module, "LOOK", 0.1)
    asyncio.run(go())


def test_a_socket_that_cannot_be_set_up_is_closed(neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "ICMP6_FILTER", 99)
    with pytest.raises(OSError, match="not available"):  # and a warning of a socket that is left open is an error
        wire.open_socket([SOLICITATION])


# ---- heard


def offered(listener: Listener) -> list[tuple[str, bool]]:
    """What may be used, and whether it is for ten minutes."""
    return [(str(offer.prefix), 590 < offer.lifetime <= 600) for offer in listener.look()]


def test_rfc4861_6_3_7_a_listener_asks_as_long_as_nobody_answers(
    neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr("nat64d.advertise.listener.PATIENCE", 0.0)
    monkeypatch.setattr(Listener, "solicit", lambda _, links: asked.append(links))
    now = 0.0
    with Listener(lambda: now) as listener:
        for seconds in range(40):
            now = seconds / 2
            assert listener.look() == []
            assert len(asked) == min(1 + now // 4, 3)
    assert asked == [["eth0"]] * 3


def test_rfc8781_a_listener_keeps_what_routers_offer_until_it_is_over(neighbour: Neighbour) -> None:
    now = 1000.0
    with Listener(lambda: now) as listener:
        neighbour.offer(POOL6)
        assert offered(listener) == [(str(POOL6), True)]
        neighbour.offer(OTHER6)
        neighbour.offer(POOL6, 1800)
        offered_once(listener, lambda offers: [offer.lifetime for offer in offers] == [1800, 600])
        neighbour.offer(POOL6, 0)
        left = offered_once(listener, lambda offers: len(offers) < 2)
        assert [(offer.prefix, offer.router, offer.lifetime) for offer in left] == [(OTHER6, SENDER, 600)]
        now += 600
        assert offered(listener) == []


def offered_once(listener: Listener, wanted: Callable[[list[Offer]], bool]) -> list[Offer]:
    """What is offered as soon as it is wanted so: a packet takes a moment from one end of a link to the other."""
    end = time.monotonic() + PATIENCE
    while not wanted(offers := listener.look()):
        assert time.monotonic() < end, offers
    return offers


def test_a_listener_remembers_no_more_than_so_much(neighbour: Neighbour) -> None:
    with Listener() as listener:
        neighbour.offer(POOL6)
        assert offered(listener)
        for number in range(2 * OFFERS):
            neighbour.offer(IPv6Network((f"2001:db8:{number:x}::", 96)))
        neighbour.offer(POOL6, 0)
        offered_once(listener, lambda offers: POOL6 not in {offer.prefix for offer in offers})
        assert len(listener.look()) < OFFERS


@pytest.mark.usefixtures("neighbour")
def test_a_link_that_goes_down_offers_nothing_to_a_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    def receive(_: object) -> None:
        raise OSError(100, "Network is down")

    monkeypatch.setattr(wire, "receive", receive)
    with Listener() as listener:
        assert listener.look() == []
