"""Router advertisements of our own (RFC 8781, RFC 4861 section 6.2): octets, times, what a host on the link hears."""

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptPREF64,
    ICMPv6NDOptRDNSS,
    ICMPv6NDOptSrcLLAddr,
)

from nat64d.advertise import timing, wire
from nat64d.advertise.advertiser import UNPRIVILEGED, Advertiser, announcement, withdrawal
from nat64d.advertise.listener import INTERVAL, OFFERS, SOLICITATIONS, Listener
from nat64d.advertise.message import LENGTHS, Advertisement, Pref64, built, is_solicitation, parsed, solicitation
from nat64d.advertise.timing import Timing
from nat64d.config.load import loads
from nat64d.config.models import Config
from nat64d.host.conditions import Announcing
from tests.nat64d.hosts import fixtures
from tests.nat64d.netns import Namespace, ip
from translator.static.arithmetic import LENGTHS as TRANSLATED

namespace, server, _text, _config = fixtures()

LOG = logging.getLogger("test")
POOL6, OTHER6 = IPv6Network("64:ff9b::/96"), IPv6Network("2001:db8:64::/96")
SENDER = IPv6Address("fe80::2")
ROUTER = IPv6Address("fe80::1")


def config_of(ra: str = 'interface = ["far0"]', pool6: IPv6Network = POOL6) -> Config:
    return loads(f'pool6 = "{pool6}"\n' + (f"[ra]\n{ra}\n" if ra else ""))


# ---- octets


def option(prefix: str, code: int, lifetime: int = 600, units: int = 2) -> bytes:
    return struct.pack("!BBH", 38, units, lifetime >> 3 << 3 | code) + IPv6Address(prefix).packed[:12]


def advertisement(*options: bytes, kind: int = 134, code: int = 0) -> bytes:
    return struct.pack("!BBHBBHII", kind, code, 0, 64, 0, 1800, 0, 0) + b"".join(options)


ONE = option("64:ff9b::", 0)
PREFIXES: dict[str, tuple[bytes, list[tuple[str, int]] | None]] = {
    "one": (advertisement(ONE), [("64:ff9b::/96", 600)]),
    "every_length": (
        advertisement(*(option("2001:db8::", code) for code in range(6))),
        [(f"2001:db8::/{length}", 600) for length in (96, 64, 56, 48, 40, 32)],
    ),
    "among_others": (advertisement(b"\x01\x01" + bytes(6), ONE), [("64:ff9b::/96", 600)]),
    "bits_beyond_the_length": (advertisement(option("2001:db8::1:0:0", 5)), [("2001:db8::/32", 600)]),
    "taken_back": (advertisement(option("64:ff9b::", 0, 0)), [("64:ff9b::/96", 0)]),
    "the_longest_lifetime": (advertisement(option("64:ff9b::", 0, 65528)), [("64:ff9b::/96", 65528)]),
    "no_such_length": (advertisement(option("64:ff9b::", 6), option("64:ff9b::", 7)), []),
    "of_another_size": (advertisement(option("64:ff9b::", 0, units=1)[:8]), []),
    "none": (advertisement(), []),
    "cut_off": (advertisement(ONE[:12]), None),
    "without_end": (advertisement(b"\x26\x00" + bytes(14)), None),
    "half_an_option": (advertisement(ONE, b"\x26"), None),
    "of_another_code": (advertisement(ONE, code=1), None),
    "a_solicitation": (advertisement(ONE, kind=133), None),
    "a_header_cut_off": (advertisement()[:15], None),
    "nothing": (b"", None),
}


@pytest.mark.parametrize(("message", "prefixes"), PREFIXES.values(), ids=PREFIXES)
def test_rfc8781_4_the_prefixes_of_an_advertisement(message: bytes, prefixes: list[tuple[str, int]] | None) -> None:
    said = parsed(message)
    assert (said and [(str(prefix), lifetime) for prefix, lifetime in said.pref64]) == prefixes or said is None
    assert (said is None) == (prefixes is None)


def test_rfc8781_4_every_prefix_that_can_be_translated_can_be_announced() -> None:
    assert sorted(LENGTHS) == sorted(TRANSLATED)


LIFETIMES = {0: 0, 1: 1, 7: 1, 8: 1, 9: 2, 1800: 225, 65528: 8191, 70000: 8191}


@pytest.mark.parametrize(("lifetime", "scaled"), LIFETIMES.items())
@pytest.mark.parametrize(("code", "length"), [*enumerate(LENGTHS)])
def test_rfc8781_4_1_scapy_reads_what_is_announced(lifetime: int, scaled: int, code: int, length: int) -> None:
    prefix = IPv6Network(f"2001:db8::/{length}")
    servers = tuple(map(IPv6Address, ("2001:db8::53", "fe80::53")))
    read = ICMPv6ND_RA(built(Advertisement(30, (Pref64(prefix, lifetime),), servers, 90)))
    assert (read.routerlifetime, read.chlim, read.M, read.O, read.reachabletime) == (30, 0, 0, 0, 0)
    pref64, rdnss = read[ICMPv6NDOptPREF64], read[ICMPv6NDOptRDNSS]
    assert (pref64.scaledlifetime, pref64.plc, IPv6Address(pref64.prefix)) == (scaled, code, prefix[0])
    assert (rdnss.lifetime, rdnss.len, tuple(map(IPv6Address, rdnss.dns))) == (90, 5, servers)


@given(st.lists(st.tuples(st.sampled_from(LENGTHS), st.integers(0, 8191)), max_size=4), st.integers(0, 65535))
def test_what_is_announced_is_understood(offers: list[tuple[int, int]], router: int) -> None:
    pref64 = tuple(Pref64(IPv6Network(f"2001:db8::/{length}"), 8 * scaled) for length, scaled in offers)
    assert parsed(built(Advertisement(router, pref64))) == Advertisement(router, pref64)


@given(st.binary(max_size=80), st.sampled_from([b"", b"\x85\0", b"\x86\0"]))
def test_whatever_comes_is_read_or_discarded(octets: bytes, begin: bytes) -> None:
    said = parsed(begin + octets)
    assert said is None or all(one.prefix.prefixlen in LENGTHS for one in said.pref64)
    is_solicitation(begin + octets, ROUTER)


ASKS = {
    "plain": (solicitation(), ROUTER, True),
    "from_nobody": (solicitation(), IPv6Address("::"), True),
    "with_a_link_layer_address": (bytes(ICMPv6ND_RS(cksum=0) / ICMPv6NDOptSrcLLAddr()), ROUTER, True),
    "with_one_from_nobody": (bytes(ICMPv6ND_RS(cksum=0) / ICMPv6NDOptSrcLLAddr()), IPv6Address("::"), False),
    "of_another_code": (bytes(ICMPv6ND_RS(code=1, cksum=0)), ROUTER, False),
    "cut_off": (solicitation()[:7], ROUTER, False),
    "an_option_without_length": (solicitation() + bytes(8), ROUTER, False),
    "another_type": (bytes(ICMPv6ND_RA(cksum=0)), ROUTER, False),
}


@pytest.mark.parametrize(("message", "source", "valid"), ASKS.values(), ids=ASKS)
def test_rfc4861_6_1_1_a_solicitation_is_checked(message: bytes, source: IPv6Address, valid: bool) -> None:
    assert is_solicitation(message, source) == valid


# ---- what is announced

ANNOUNCED = {
    "by_default": ("", Advertisement(0, (Pref64(POOL6, 1800),), (), 1800)),
    "more_often": ("interval = 30", Advertisement(0, (Pref64(POOL6, 90),), (), 90)),
    "with_name_servers": (
        'rdnss = ["2001:db8::53"]',
        Advertisement(0, (Pref64(POOL6, 1800),), (IPv6Address("2001:db8::53"),), 1800),
    ),
    "a_default_router": ("default_router = true", Advertisement(1800, (Pref64(POOL6, 1800),), (), 1800)),
}


@pytest.mark.parametrize(("keys", "wanted"), ANNOUNCED.values(), ids=ANNOUNCED)
def test_rfc8781_4_1_lifetimes_are_three_intervals(keys: str, wanted: Advertisement) -> None:
    assert announcement(config_of(f'interface = ["far0"]\n{keys}'), forwards=True) == wanted


def test_rfc4861_6_2_5_who_does_not_forward_is_no_default_router() -> None:
    config = config_of('interface = ["far0"]\ndefault_router = true')
    assert announcement(config, forwards=False).router_lifetime == 0


def test_what_is_taken_back_has_no_lifetime() -> None:
    one = Advertisement(1800, (Pref64(POOL6, 1800),), (ROUTER,), 1800)
    assert withdrawal(one) == Advertisement(0, (Pref64(POOL6, 0),), (ROUTER,), 0)


# ---- when


def chances(*numbers: float) -> Callable[[], float]:
    rest = iter(numbers)
    return lambda: next(rest)


def test_rfc4861_6_2_4_the_first_three_come_soon_then_at_random() -> None:
    one = Timing(600, 1000.0, chances(1.0, 0.5, 0.0, 1.0, 1.0))
    times = []
    for _ in range(5):
        times.append(one.due)
        one.sent(one.due)
    assert times == [1000.0, 1016.0, 1032.0, 1232.0, 1832.0]  # 200 to 600 seconds


def test_rfc4861_6_2_1_never_more_often_than_every_three_seconds() -> None:
    one = Timing(4, 0.0, chances(0.0, 0.0))
    one.sent(0.0)
    assert one.due == 3.0


def test_rfc4861_6_2_6_an_answer_comes_after_a_moment_for_all_who_ask() -> None:
    one = Timing(600, 0.0, chances(1.0, 0.4, 0.9))
    one.sent(0.0)
    one.solicited(10.0)
    one.solicited(10.1)
    assert one.due == 10.2


def test_rfc4861_6_2_6_an_answer_comes_no_sooner_than_three_seconds_after_another() -> None:
    one = Timing(600, 0.0, chances(1.0, 0.4))
    one.sent(0.0)
    one.solicited(1.0)
    assert one.due == 3.2


def test_rfc4861_6_2_6_what_is_due_sooner_is_not_put_off() -> None:
    one = Timing(600, 0.0, chances(1.0, 1.0))
    one.sent(0.0)
    one.solicited(15.9)
    assert one.due == 16.0


def test_rfc4861_6_2_4_another_content_is_sent_three_times_soon() -> None:
    one = Timing(600, 0.0, chances(*[1.0] * 8))
    for _ in range(4):
        one.sent(0.0)
    one.restart(60, 1.0)
    times = []
    for _ in range(4):
        times.append(one.due)
        one.sent(one.due)
    assert times == [3.0, 19.0, 35.0, 95.0]


# ---- on a link

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


@pytest.mark.usefixtures("fast")
def test_rfc4861_6_2_6_a_host_that_asks_is_answered_also_in_a_flood(neighbour: Neighbour) -> None:
    async def go() -> None:
        config = config_of('interface = ["eth0"]\ninterval = 1800')
        async with advertising(config):
            for _ in range(3):
                await neighbour.hear()
            for _ in range(200):
                neighbour.say(solicitation(), wire.ALL_ROUTERS)
            await neighbour.hear()

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
        for seconds in range(3 * INTERVAL * SOLICITATIONS):
            now = seconds / 2
            assert listener.look() == []
            assert len(asked) == min(1 + now // INTERVAL, SOLICITATIONS)
    assert asked == [["eth0"]] * SOLICITATIONS


def test_rfc8781_a_listener_keeps_what_routers_offer_until_it_is_over(neighbour: Neighbour) -> None:
    now = 1000.0
    with Listener(lambda: now) as listener:
        neighbour.offer(POOL6)
        assert offered(listener) == [(str(POOL6), True)]
        neighbour.offer(OTHER6)
        neighbour.offer(POOL6, 1800)
        until_both(listener)
        neighbour.offer(POOL6, 0)
        while len(left := listener.look()) == 2:
            pass
        assert [(offer.prefix, offer.router, offer.lifetime) for offer in left] == [(OTHER6, SENDER, 600)]
        now += 600
        assert offered(listener) == []


def until_both(listener: Listener) -> None:
    """A packet takes a moment from one end of a link to the other."""
    while len(listener.look()) < 2:
        pass


def test_a_listener_remembers_no_more_than_so_much(neighbour: Neighbour) -> None:
    with Listener() as listener:
        neighbour.offer(POOL6)
        assert offered(listener)
        for number in range(2 * OFFERS):
            neighbour.offer(IPv6Network((f"2001:db8:{number:x}::", 96)))
        neighbour.offer(POOL6, 0)
        while (str(POOL6), True) in offered(listener):
            pass
        assert len(listener.look()) < OFFERS
