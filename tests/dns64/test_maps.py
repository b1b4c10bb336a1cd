"""RFC 7757 section 3: the mappings as the name server looks them up, and as the translator does."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat64d.dns64.rules.maps import BITS4, BITS6, Maps, Row

PAIRS = [  # RFC 7757 appendix B, and a host within a prefix
    ("192.0.2.1/32", "2001:db8:aaaa::/128"),
    ("192.0.2.2/32", "2001:db8:bbbb::b/128"),
    ("192.0.2.16/28", "2001:db8:cccc::/124"),
    ("192.0.2.128/26", "2001:db8:dddd::/64"),
    ("192.0.2.192/29", "2001:db8:eeee:8::/62"),
    ("192.0.2.224/31", "64:ff9b::/127"),
    ("192.0.2.18/32", "2001:db8:cccc::f/128"),
]


@pytest.mark.parametrize(
    ("ipv4", "ipv6"),
    [
        ("192.0.2.1", "2001:db8:aaaa::"),
        ("192.0.2.2", "2001:db8:bbbb::b"),
        ("192.0.2.16", "2001:db8:cccc::"),
        ("192.0.2.24", "2001:db8:cccc::8"),
        ("192.0.2.128", "2001:db8:dddd::"),
        ("192.0.2.152", "2001:db8:dddd:0:6000::"),
        ("192.0.2.183", "2001:db8:dddd:0:dc00::"),
        ("192.0.2.192", "2001:db8:eeee:8::"),
        ("192.0.2.199", "2001:db8:eeee:b:8000::"),
        ("192.0.2.224", "64:ff9b::"),
        ("192.0.2.225", "64:ff9b::1"),
        ("192.0.2.18", "2001:db8:cccc::f"),
    ],
)
def test_rfc7757_b_examples_there_and_back(ipv4: str, ipv6: str) -> None:
    maps = Maps.of(PAIRS)
    assert maps.to4(IPv6Address(ipv6).packed) == IPv4Address(ipv4).packed
    assert maps.to6(IPv4Address(ipv4).packed) == IPv6Address(ipv6).packed


def test_rfc7757_3_3_the_longest_prefix_decides() -> None:
    maps = Maps.of(PAIRS)
    assert maps.to6(IPv4Address("192.0.2.18").packed) == IPv6Address("2001:db8:cccc::f").packed
    assert maps.to4(IPv6Address("2001:db8:cccc::2").packed) == IPv4Address("192.0.2.18").packed


def test_rfc7757_3_2_the_rest_of_an_ipv6_address_is_ignored() -> None:
    assert Maps.of(PAIRS).to4(IPv6Address("2001:db8:dddd:0:dc00::1").packed) == IPv4Address("192.0.2.183").packed


@pytest.mark.parametrize("pairs", [PAIRS, []])
def test_what_no_row_covers_has_no_other_address(pairs: list[tuple[str, str]]) -> None:
    maps = Maps.of(pairs)
    assert maps.to4(IPv6Address("2001:db8:ffff::1").packed) is None
    assert maps.to6(IPv4Address("198.51.100.1").packed) is None


@st.composite
def rows(draw: st.DrawFn) -> Row:
    length4 = draw(st.integers(0, BITS4))
    length6 = draw(st.integers(0, BITS6 - (BITS4 - length4)))
    ipv4 = draw(st.integers(0, (1 << length4) - 1)) << BITS4 - length4
    return Row(ipv4, length4, draw(st.integers(0, (1 << length6) - 1)) << BITS6 - length6, length6)


@given(rows(), st.integers(0, (1 << BITS4) - 1))
def test_every_ipv4_address_of_a_row_comes_back(row: Row, suffix: int) -> None:
    ipv4 = row.ipv4 | suffix & (1 << BITS4 - row.length4) - 1
    there = Maps([row]).to6(ipv4.to_bytes(4, "big"))
    assert there is not None
    assert int.from_bytes(there, "big") >> BITS6 - row.length6 == row.ipv6 >> BITS6 - row.length6
    assert Maps([row]).to4(there) == ipv4.to_bytes(4, "big")


@given(st.lists(rows(), max_size=8), st.integers(0, (1 << BITS6) - 1))
def test_rfc7757_3_3_no_row_that_covers_has_a_longer_prefix(some: list[Row], address: int) -> None:
    covering = [row.length6 for row in some if row.ipv6 >> BITS6 - row.length6 == address >> BITS6 - row.length6]
    found = Maps(some).row_of_ipv6(address.to_bytes(16, "big"))
    assert (found.length6 if found else None) == max(covering, default=None)
