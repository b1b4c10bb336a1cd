"""The oracle has the tables and examples that the RFCs print: addresses, mappings, ICMP maps, TCP states, SIIT."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment

from tests.reference import packets as make
from tests.reference.addresses import Eamt, Mapping, embed, extract
from tests.reference.headers import Path as NextHop
from tests.reference.icmp import Message as Error
from tests.reference.icmp import map_4to6, map_6to4, packet_too_big_mtu
from tests.reference.outcome import Refusal
from tests.reference.reading import ICMPV6, read
from tests.reference.reading import UDP as UDP_
from tests.reference.stateless import Back, Stateless
from tests.reference.tcp import FIN, RST, SYN, Segment, State, Timer, step

ACK = 16
PLATEAUS = [65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68]

H1 = IPv6Address("2001:db8::1")
H2_IN_6 = IPv6Address("2001:db8:122:344::203.0.113.1")


@pytest.mark.parametrize(
    ("prefix", "address"),
    [
        ("2001:db8::/32", "2001:db8:c000:221::"),
        ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
        ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
        ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
        ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
    ],
)
def test_rfc6052_2_4_examples(prefix: str, address: str) -> None:
    ipv4 = IPv4Address("192.0.2.33")
    assert embed(IPv6Network(prefix), ipv4) == IPv6Address(address)
    assert extract(IPv6Network(prefix), IPv6Address(address)) == ipv4


@given(st.ip_addresses(v=4), st.sampled_from((32, 40, 48, 56, 64)))
def test_rfc6052_2_2_suffix_and_octet_u_are_ignored_on_the_way_back(ipv4: IPv4Address, length: int) -> None:
    prefix = (
        IPv6Network("2001:db8::/32") if length == 32 else IPv6Network((f"2001:db8:122:344::{''}", length), strict=False)
    )
    embedded = embed(prefix, ipv4)
    assert embedded.packed[8] == 0
    with_suffix = IPv6Address(int(embedded) | 0xFF << 56 | 0xFF)
    assert extract(prefix, with_suffix) == ipv4


EXAMPLE_EAMT = Eamt(
    [
        Mapping(IPv4Network(ipv4), IPv6Network(ipv6))
        for ipv4, ipv6 in (
            ("192.0.2.1", "2001:db8:aaaa::"),
            ("192.0.2.2/32", "2001:db8:bbbb::b/128"),
            ("192.0.2.16/28", "2001:db8:cccc::/124"),
            ("192.0.2.128/26", "2001:db8:dddd::/64"),
            ("192.0.2.192/29", "2001:db8:eeee:8::/62"),
            ("192.0.2.224/31", "64:ff9b::/127"),
        )
    ]
)


@pytest.mark.parametrize(
    ("ipv4", "ipv6"),
    [
        ("192.0.2.1", "2001:db8:aaaa::"),
        ("192.0.2.2", "2001:db8:bbbb::b"),
        ("192.0.2.16", "2001:db8:cccc::"),
        ("192.0.2.24", "2001:db8:cccc::8"),
        ("192.0.2.31", "2001:db8:cccc::f"),
        ("192.0.2.128", "2001:db8:dddd::"),
        ("192.0.2.152", "2001:db8:dddd:0:6000::"),
        ("192.0.2.183", "2001:db8:dddd:0:dc00::"),
        ("192.0.2.191", "2001:db8:dddd:0:fc00::"),
        ("192.0.2.195", "2001:db8:eeee:9:8000::"),
        ("192.0.2.225", "64:ff9b::1"),
        ("192.0.2.248", None),
    ],
)
def test_rfc7757_appendix_b_examples(ipv4: str, ipv6: str | None) -> None:
    assert EXAMPLE_EAMT.to_ipv6(IPv4Address(ipv4)) == (IPv6Address(ipv6) if ipv6 else None)
    if ipv6:
        assert EXAMPLE_EAMT.to_ipv4(IPv6Address(ipv6)) == IPv4Address(ipv4)


def test_rfc7757_5_overlapping_mappings_are_matched_by_the_longest_prefix() -> None:
    eamt = Eamt(
        [
            Mapping(IPv4Network("0.0.0.0/0"), IPv6Network("2001:db8:ff00::/40")),
            Mapping(IPv4Network("198.51.100.64"), IPv6Network("2001:db8::abcd")),
        ]
    )
    assert eamt.to_ipv4(IPv6Address("2001:db8:ffc6:3364:4000::")) == IPv4Address("198.51.100.64")
    assert eamt.to_ipv6(IPv4Address("198.51.100.64")) == IPv6Address("2001:db8::abcd")


TCP_STEPS = [
    (State.V4_INIT, True, SYN, State.ESTABLISHED, Timer.TCP_EST),
    (State.V4_INIT, False, SYN, State.V4_INIT, Timer.KEEP),
    (State.V6_INIT, False, SYN | ACK, State.ESTABLISHED, Timer.TCP_EST),
    (State.V6_INIT, True, SYN, State.V6_INIT, Timer.TCP_OPENING),
    (State.V6_INIT, False, RST, State.V6_INIT, Timer.KEEP),
    (State.ESTABLISHED, True, ACK, State.ESTABLISHED, Timer.TCP_EST),
    (State.ESTABLISHED, True, FIN | ACK, State.V6_FIN_RCV, Timer.KEEP),
    (State.ESTABLISHED, False, FIN, State.V4_FIN_RCV, Timer.KEEP),
    (State.ESTABLISHED, False, RST, State.TRANS, Timer.TCP_TRANS),
    (State.V4_FIN_RCV, True, FIN, State.V4_FIN_V6_FIN_RCV, Timer.TCP_CLOSING),
    (State.V4_FIN_RCV, False, FIN, State.V4_FIN_RCV, Timer.TCP_EST),
    (State.V4_FIN_RCV, True, RST, State.V4_FIN_RCV, Timer.KEEP),
    (State.V4_FIN_RCV, False, RST, State.V4_FIN_RCV, Timer.TCP_EST),
    (State.V6_FIN_RCV, False, FIN, State.V4_FIN_V6_FIN_RCV, Timer.TCP_CLOSING),
    (State.V4_FIN_V6_FIN_RCV, True, SYN, State.V4_FIN_V6_FIN_RCV, Timer.KEEP),
    (State.TRANS, True, ACK, State.ESTABLISHED, Timer.TCP_EST),
    (State.TRANS, False, FIN, State.ESTABLISHED, Timer.TCP_EST),
    (State.TRANS, False, RST, State.TRANS, Timer.KEEP),
]


@pytest.mark.parametrize(("state", "from_v6", "flags", "following", "timer"), TCP_STEPS)
def test_rfc6146_3_5_2_2_steps(state: State, from_v6: bool, flags: int, following: State, timer: Timer) -> None:
    assert step(state, Segment(from_v6, flags)) == (following, timer)


@pytest.mark.parametrize(
    ("kind", "code", "word", "mapped"),
    [
        *((3, code, 0, (1, 0, 0)) for code in (0, 1, 5, 6, 7, 8, 11, 12)),
        (3, 2, 0, (4, 1, 6)),
        (3, 3, 0, (1, 4, 0)),
        *((3, code, 0, (1, 1, 0)) for code in (9, 10, 13, 15)),
        (3, 14, 0, None),
        (3, 16, 0, None),
        (3, 4, 1400, (2, 0, 1420)),
        (11, 1, 0, (3, 1, 0)),
        (12, 0, 9 << 24, (4, 0, 6)),
        (12, 2, 3 << 24, (4, 0, 4)),
        (12, 1, 0, None),
        (12, 0, 4 << 24, None),
        (12, 0, 20 << 24, None),
        (4, 0, 0, None),
        (5, 1, 0, None),
    ],
)
def test_rfc7915_4_2_errors(kind: int, code: int, word: int, mapped: tuple[int, int, int] | None) -> None:
    quoted = read(bytes(IP(src="192.0.2.1", dst="203.0.113.1") / UDP()))
    new = map_4to6(Error(kind, code, word.to_bytes(4), b""), quoted, NextHop(), PLATEAUS)
    assert (new and (new.type, new.code, int.from_bytes(new.second_word))) == mapped


@pytest.mark.parametrize(
    ("kind", "code", "word", "mapped"),
    [
        *((1, code, 0, (3, 1, 0)) for code in (0, 2, 3)),
        (1, 1, 0, (3, 10, 0)),
        (1, 4, 0, (3, 3, 0)),
        (1, 5, 0, None),
        (2, 0, 1400, (3, 4, 1380)),
        (2, 0, 9000, (3, 4, 1480)),
        (3, 0, 0, (11, 0, 0)),
        (4, 0, 7, (12, 0, 8 << 24)),
        (4, 0, 23, (12, 0, 12 << 24)),
        (4, 0, 24, (12, 0, 16 << 24)),
        (4, 0, 2, None),
        (4, 0, 40, None),
        (4, 0, 7 << 24, None),
        (4, 1, 6, (3, 2, 0)),
        (4, 2, 0, None),
        (100, 0, 0, None),
    ],
)
def test_rfc7915_5_2_errors(kind: int, code: int, word: int, mapped: tuple[int, int, int] | None) -> None:
    quoted = read(bytes(IPv6(src=str(H2_IN_6), dst=str(H1)) / UDP()))
    new = map_6to4(Error(kind, code, word.to_bytes(4), b""), quoted, NextHop(), PLATEAUS)
    assert (new and (new.type, new.code, int.from_bytes(new.second_word))) == mapped


def test_rfc7915_5_2_too_big_about_a_fragment_is_8_less() -> None:
    quoted = read(bytes(IPv6(src=str(H2_IN_6), dst=str(H1)) / IPv6ExtHdrFragment(m=1) / UDP()))
    new = map_6to4(Error(2, 0, (1400).to_bytes(4), b""), quoted, NextHop(), PLATEAUS)
    assert new is not None
    assert int.from_bytes(new.second_word) == 1372


@pytest.mark.parametrize(
    ("mtu", "payload", "path", "told"),
    [
        (1280, 1460, NextHop(), 1260),
        (1279, 1460, NextHop(), 1259),
        (88, 1460, NextHop(), 68),
        (87, 1460, NextHop(), 68),
        (1, 1460, NextHop(), 68),
        (100_000, 1460, NextHop(mtu4=70_000, mtu6=99_000), 65535),
        (0, 1460, NextHop(), 1006),  # 1492 is not below 1480
        (0, 1473, NextHop(mtu4=9000, mtu6=9000), 1492),
        (0, 60, NextHop(), 68),
        (0, 8, NextHop(), 68),  # no plateau is below 28
    ],
)
def test_rfc1191_an_mtu_that_no_ipv4_link_has_is_not_told(mtu: int, payload: int, path: NextHop, told: int) -> None:
    quoted = read(make.ipv6(H2_IN_6, H1, UDP_, make.udp(53, 5000, bytes(payload - 8))))
    new = map_6to4(Error(2, 0, mtu.to_bytes(4), b""), quoted, path, PLATEAUS)
    assert new is not None
    assert int.from_bytes(new.second_word) == told


@pytest.mark.parametrize(
    ("mtu", "total_length", "path", "told"),
    [
        (1400, 1500, NextHop(), 1420),
        (1500, 1600, NextHop(mtu4=9000), 1500),  # MTU_of_IPv6_nexthop
        (1500, 1600, NextHop(mtu4=1400, mtu6=9000), 1420),  # MTU_of_IPv4_nexthop + 20
        (576, 1500, NextHop(), 1280),  # never below the IPv6 minimum
        (0, 1500, NextHop(mtu4=9000, mtu6=9000), 1512),  # plateau 1492
        (0, 1492, NextHop(mtu4=9000, mtu6=9000), 1280),  # plateau below the length, none at least 1280
        (0, 2003, NextHop(mtu4=9000, mtu6=9000), 2022),
    ],
)
def test_rfc7915_4_2_mtu(mtu: int, total_length: int, path: NextHop, told: int) -> None:
    assert packet_too_big_mtu(mtu, total_length, path, PLATEAUS) == told


def there_and_back(siit: Stateless, packet: bytes) -> tuple[list[Refusal], list[bytes]]:
    """Through IPv4 to another IPv6 host of ours, RFC 7757 4.2.2."""
    arrived = read(packet)
    is_error = arrived.protocol == ICMPV6
    half = siit.error_from_ipv6(arrived, []) if is_error else siit.from_ipv6(arrived)
    assert half.packet is not None
    assert half.returns
    if is_error:
        return siit.error_from_ipv4(read(half.packet), back=Back(b"", None))
    return siit.from_ipv4(read(half.packet), hairpinned=True)


SIIT = Stateless(IPv6Network("64:ff9b::/96"), EXAMPLE_EAMT, rfc6791_ipv4=(IPv4Network("198.51.100.1/32"),))
A6, B6 = IPv6Address("2001:db8:aaaa::"), IPv6Address("2001:db8:bbbb::b")
A4_IN_6, B4_IN_6 = (embed(IPv6Network("64:ff9b::/96"), IPv4Address(f"192.0.2.{n}")) for n in (1, 2))


def test_rfc7757_figure_8_a_packet_between_two_mapped_hosts_hairpins() -> None:
    packet = make.ipv6(A6, B4_IN_6, UDP_, make.udp(5000, 53, b"x"), hop_limit=9)
    assert there_and_back(SIIT, packet) == ([], [make.ipv6(A4_IN_6, B6, UDP_, make.udp(5000, 53, b"x"), hop_limit=8)])


@pytest.mark.parametrize("router", [True, False])
def test_rfc7757_figures_9_and_10_an_error_about_it_hairpins(router: bool) -> None:
    """From a router in between, whose address is not mapped, and from the host itself."""
    quoted = make.ipv6(A4_IN_6, B6, UDP_, make.udp(5000, 53, b"x"))
    source = IPv6Address("2001:db8::1234") if router else B6
    error = make.ipv6(source, A4_IN_6, ICMPV6, make.error(1, 4, quoted))
    seen_as = embed(IPv6Network("64:ff9b::/96"), IPv4Address("198.51.100.1" if router else "192.0.2.2"))
    inner = make.ipv6(A6, B4_IN_6, UDP_, make.udp(5000, 53, b"x"))
    wanted = make.ipv6(seen_as, A6, ICMPV6, make.error(1, 4, inner), hop_limit=63)
    assert there_and_back(SIIT, error) == ([], [wanted])


def test_rfc7757_a_1_clat_maps_one_end_and_embeds_the_other() -> None:
    clat = Stateless(
        IPv6Network("64:ff9b::/96"), Eamt([Mapping(IPv4Network("192.0.0.1"), IPv6Network("2001:db8::464"))])
    )
    packet = read(make.ipv4(IPv4Address("192.0.0.1"), IPv4Address("8.8.8.8"), 47, b"gre"))
    wanted = make.ipv6(IPv6Address("2001:db8::464"), IPv6Address("64:ff9b::808:808"), 47, b"gre", hop_limit=63)
    assert clat.from_ipv4(packet) == ([], [wanted])
