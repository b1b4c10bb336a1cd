"""Router advertisements of our own (RFC 8781, RFC 4861 section 6.2): octets and times. What hosts on a link
hear is in test_advertise_links.py."""

import struct
from collections.abc import Callable
from contextlib import nullcontext
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

from nat64d.advertise.advertiser import announcement, withdrawal
from nat64d.advertise.message import LENGTHS, Advertisement, Pref64, built, is_solicitation, parsed, solicitation
from nat64d.advertise.timing import Timing
from nat64d.config.errors import ConfigError
from nat64d.config.load import loads
from nat64d.config.models import Config
from translator.static.arithmetic import LENGTHS as TRANSLATED

POOL6, OTHER6 = IPv6Network("64:ff9b::/96"), IPv6Network("2001:db8:64::/96")
SENDER = IPv6Address("fe80::2")
ROUTER = IPv6Address("fe80::1")
LONG = IPv6Address("2001:db8:1122:3344:55:6677::")  # its last 32 bits are zero, and bits 64 to 71


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


@pytest.mark.parametrize("units", [1, 3, 4, 31, 255])
def test_rfc8781_4_an_option_of_another_length_is_ignored_and_those_beside_it_are_not(units: int) -> None:
    other = option("2001:db8::", 0, units=units).ljust(8 * units, b"\0")[: 8 * units]
    for message in (advertisement(other, ONE), advertisement(ONE, other)):
        assert parsed(message) == Advertisement(1800, (Pref64(POOL6, 600),))


@pytest.mark.parametrize("code", [6, 7])
def test_rfc8781_4_an_option_with_a_code_of_no_length_is_ignored_and_those_beside_it_are_not(code: int) -> None:
    other = option("2001:db8::", code)
    for message in (advertisement(other, ONE), advertisement(ONE, other)):
        assert parsed(message) == Advertisement(1800, (Pref64(POOL6, 600),))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("scaled", [0, 1, 2, 255, 256, 4095, 4096, 8190, 8191])
def test_rfc8781_4_1_the_scaled_lifetime_is_multiplied_by_8_and_the_prefix_has_96_bits(
    scaled: int, length: int
) -> None:
    """As scapy writes it."""
    sent = ICMPv6NDOptPREF64(scaledlifetime=scaled, plc=LENGTHS.index(length), prefix=str(LONG))
    said = parsed(bytes(ICMPv6ND_RA(cksum=0) / sent))
    assert said
    assert said.pref64 == (Pref64(IPv6Network((LONG, length), strict=False), 8 * scaled),)


@pytest.mark.parametrize("interval", [4, 5, 6, 7, 8, 30, 600, 601, 1799, 1800])
def test_rfc8781_4_1_the_scaled_lifetime_is_by_default_three_intervals_in_eights(interval: int) -> None:
    for router in ("false", "true"):
        config = config_of(f'interface = ["far0"]\ninterval = {interval}\ndefault_router = {router}')
        read = ICMPv6ND_RA(built(announcement(config, forwards=True)))
        scaled = read[ICMPv6NDOptPREF64].scaledlifetime
        assert (scaled - 1) * 8 < 3 * interval <= scaled * 8
        assert read.routerlifetime == (3 * interval if router == "true" else 0)  # no longer than that of the prefix
        assert read.routerlifetime <= min(8 * scaled, 9000)


def test_rfc8781_4_every_prefix_that_can_be_translated_can_be_announced() -> None:
    assert sorted(LENGTHS) == sorted(TRANSLATED)


LIFETIMES = {0: 0, 1: 1, 7: 1, 8: 1, 9: 2, 1800: 225, 65528: 8191, 70000: 8191}


@pytest.mark.parametrize(("lifetime", "scaled"), LIFETIMES.items())
@pytest.mark.parametrize(("code", "length"), [*enumerate(LENGTHS)])
def test_rfc8781_4_1_scapy_reads_what_is_announced(lifetime: int, scaled: int, code: int, length: int) -> None:
    prefix = IPv6Network((LONG, length), strict=False)
    servers = tuple(map(IPv6Address, ("2001:db8::53", "fe80::53")))
    read = ICMPv6ND_RA(built(Advertisement(30, (Pref64(prefix, lifetime),), servers, 90)))
    assert (read.routerlifetime, read.chlim, read.M, read.O, read.reachabletime, read.retranstimer) == (30, *[0] * 5)
    pref64, rdnss = read[ICMPv6NDOptPREF64], read[ICMPv6NDOptRDNSS]
    assert (pref64.type, pref64.len, len(built(Advertisement(0, (Pref64(prefix, 0),))))) == (38, 2, 16 + 16)
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
    "with_one_from_nobody_behind_another_option": (
        bytes(ICMPv6ND_RS(cksum=0)) + bytes([14, 1, *range(6)]) + bytes(ICMPv6NDOptSrcLLAddr()),
        IPv6Address("::"),
        False,
    ),
    "of_another_code": (bytes(ICMPv6ND_RS(code=1, cksum=0)), ROUTER, False),
    "cut_off": (solicitation()[:7], ROUTER, False),
    "an_option_without_length": (solicitation() + bytes(8), ROUTER, False),
    "another_type": (bytes(ICMPv6ND_RA(cksum=0)), ROUTER, False),
}


@pytest.mark.parametrize(("message", "source", "valid"), ASKS.values(), ids=ASKS)
def test_rfc4861_6_1_1_a_solicitation_is_checked(message: bytes, source: IPv6Address, valid: bool) -> None:
    assert is_solicitation(message, source) == valid


@pytest.mark.parametrize("kind", [0, 2, 3, 4, 5, 24, 31, 37, 39, 255])
def test_rfc4861_6_1_an_option_that_is_not_known_changes_nothing(kind: int) -> None:
    """Nor what is in it; nor one that is for other messages."""
    other = bytes((kind, 2)) + ONE[2:]
    for message in (advertisement(other, ONE), advertisement(ONE, other)):
        assert parsed(message) == Advertisement(1800, (Pref64(POOL6, 600),))
    assert is_solicitation(solicitation() + other, ROUTER)
    assert is_solicitation(solicitation() + other, IPv6Address("::"))


def test_rfc4861_6_1_reserved_fields_change_nothing() -> None:
    assert is_solicitation(solicitation()[:4] + b"\xff" * 4, ROUTER)
    said = bytearray(advertisement(ONE))
    said[5] |= 0x3F  # beside M and O
    assert parsed(bytes(said)) == Advertisement(1800, (Pref64(POOL6, 600),))


# ---- what is announced


@pytest.mark.parametrize(("interval", "valid"), [(3, False), (4, True), (1800, True), (1801, False)])
def test_rfc4861_6_2_1_the_interval_has_from_4_to_1800_seconds(interval: int, valid: bool) -> None:
    with nullcontext() if valid else pytest.raises(ConfigError, match="expected a whole number from 4 to 1800"):
        assert config_of(f'interface = ["far0"]\ninterval = {interval}').ra
    ra = config_of().ra
    assert ra
    assert ra.interval == 600


def servers_in(message: bytes) -> list[tuple[int, tuple[IPv6Address, ...]]]:
    """Lifetime and addresses of each RDNSS option, as scapy reads them."""
    options = [each for each in ICMPv6ND_RA(message).iterpayloads() if isinstance(each, ICMPv6NDOptRDNSS)]
    return [(option.lifetime, tuple(map(IPv6Address, option.dns))) for option in options]


ANNOUNCED = {
    "by_default": ("", Advertisement(0, (Pref64(POOL6, 1800),), (), 1800)),
    "more_often": ("interval = 30", Advertisement(0, (Pref64(POOL6, 90),), (), 90)),
    "with_name_servers": (
        'rdnss = ["2001:db8::53"]',
        Advertisement(0, (Pref64(POOL6, 1800),), (IPv6Address("2001:db8::53"),), 1800),
    ),
    "as_seldom_as_can_be": (
        'interval = 1800\nrdnss = ["2001:db8::53"]\ndefault_router = true',
        Advertisement(5400, (Pref64(POOL6, 5400),), (IPv6Address("2001:db8::53"),), 5400),
    ),
    "a_default_router": ("default_router = true", Advertisement(1800, (Pref64(POOL6, 1800),), (), 1800)),
}


@pytest.mark.parametrize(("keys", "wanted"), ANNOUNCED.values(), ids=ANNOUNCED)
def test_rfc8781_4_1_lifetimes_are_three_intervals(keys: str, wanted: Advertisement) -> None:
    assert announcement(config_of(f'interface = ["far0"]\n{keys}'), forwards=True) == wanted


def test_rfc8106_5_1_name_servers_that_are_gone_have_an_option_of_their_own() -> None:
    here, gone = IPv6Address("2001:db8::53"), IPv6Address("2001:db8::54")
    one, other = servers_in(built(Advertisement(0, (), (here,), 1800, (gone,))))
    assert (one, other) == ((1800, (here,)), (0, (gone,)))
    assert servers_in(built(Advertisement(0, (), (), 1800, (gone,)))) == [(0, (gone,))]


def test_rfc4861_6_2_5_who_does_not_forward_is_no_default_router() -> None:
    config = config_of('interface = ["far0"]\ndefault_router = true')
    assert announcement(config, forwards=False).router_lifetime == 0


@pytest.mark.parametrize("count", [1, 2, 8])
def test_rfc8106_5_1_the_octets_of_name_servers(count: int) -> None:
    servers = [f"2001:db8::{number}" for number in range(1, count + 1)]
    config = config_of(f'interface = ["far0"]\ninterval = 100\nrdnss = {servers}')
    (one,) = [
        each
        for each in ICMPv6ND_RA(built(announcement(config, forwards=False))).iterpayloads()
        if isinstance(each, ICMPv6NDOptRDNSS)
    ]
    assert (one.type, one.len, one.res, one.lifetime, one.dns) == (25, 1 + 2 * count, 0, 300, servers)


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
    one = Timing(600, 0.0, chances(1.0, 0.4, 0.0, 0.6))
    one.sent(0.0)
    one.solicited(10.0)
    for moment in (10.01, 10.1):  # the first one who asks counts, whatever chance would have said of these
        one.solicited(moment)
    assert one.due == 10.2
    one.sent(10.2)
    one.solicited(20.0)
    assert one.due == 20.3


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
