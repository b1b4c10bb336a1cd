"""RFC 7757: explicit address mappings, the longest match both ways, suffixes of unequal length."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat64d.settings import address6, words
from tests.case import Nat64
from translator.static.eam import eam_to_ipv4, eam_to_ipv6, find_eam4, find_eam6
from translator.static.mapping import map_to_ipv4, map_to_ipv6
from translator.tables import NONE

Rows = list[tuple[IPv4Network, IPv6Network]]
# Whole addresses, equal suffixes, unequal ones below, above and across bit 64, rows within rows, everything.
TABLE: Rows = [
    (IPv4Network(four), IPv6Network(six))
    for four, six in {
        "192.0.2.1/32": "2001:db8:aaaa::/128",
        "192.0.2.2/32": "2001:db8:bbbb::b/128",
        "192.0.2.16/28": "2001:db8:cccc::/124",
        "192.0.2.128/26": "2001:db8:dddd::/64",
        "192.0.2.192/29": "2001:db8:eeee:8::/62",
        "192.0.2.224/31": "3fff:64::/127",
        "192.0.2.20/32": "2001:db8:cccc::5/128",
        "198.18.0.0/15": "3fff:1::/32",
        "198.19.0.0/16": "3fff:1:0:0:8000::/80",
        "0.0.0.0/0": "3fff:2::/96",
    }.items()
]
# By hand: the suffix bits of the IPv4 address directly behind the IPv6 prefix (section 3.3).
EXAMPLES = {
    "192.0.2.1": "2001:db8:aaaa::",
    "192.0.2.2": "2001:db8:bbbb::b",
    "192.0.2.16": "2001:db8:cccc::",
    "192.0.2.24": "2001:db8:cccc::8",
    "192.0.2.31": "2001:db8:cccc::f",
    "192.0.2.20": "2001:db8:cccc::5",
    "192.0.2.128": "2001:db8:dddd::",
    "192.0.2.152": "2001:db8:dddd:0:6000::",
    "192.0.2.183": "2001:db8:dddd:0:dc00::",
    "192.0.2.191": "2001:db8:dddd:0:fc00::",
    "192.0.2.193": "2001:db8:eeee:8:8000::",
    "192.0.2.195": "2001:db8:eeee:9:8000::",
    "192.0.2.199": "2001:db8:eeee:b:8000::",
    "192.0.2.224": "3fff:64::",
    "192.0.2.225": "3fff:64::1",
    "198.18.0.1": "3fff:1:0:8000::",
    "198.19.0.1": "3fff:1::8000:1:0:0",
    "203.0.113.7": "3fff:2::cb00:7107",
}


def gateway(rows: Rows) -> Nat64:
    """A gateway with these mappings and nothing else."""
    eam = [{"ipv4": str(four), "ipv6": str(six)} for four, six in rows]
    return Nat64(eam=eam, pool6=None, pool4=None, forward=None)


def expected6(rows: Rows, address: IPv4Address) -> IPv6Address | None:
    """Section 3.3.1 in plain arithmetic."""
    covering = [row for row in rows if address in row[0]]
    if not covering:
        return None
    four, six = max(covering, key=lambda row: row[0].prefixlen)
    suffix = int(address) - int(four[0])
    return six[0] + (suffix << 128 - six.prefixlen - (32 - four.prefixlen))


def expected4(rows: Rows, address: IPv6Address) -> IPv4Address | None:
    """Section 3.3.2 in plain arithmetic."""
    covering = [row for row in rows if address in row[1]]
    if not covering:
        return None
    four, six = max(covering, key=lambda row: row[1].prefixlen)
    suffix = int(address) - int(six[0])
    return four[0] + (suffix >> 128 - six.prefixlen - (32 - four.prefixlen))


def mapped6(nat64: Nat64, address: IPv4Address) -> IPv6Address | None:
    at = find_eam4(nat64.settings, int(address))
    return None if at == NONE else address6(*eam_to_ipv6(nat64.settings.eam[at], int(address)))


def mapped4(nat64: Nat64, address: IPv6Address) -> IPv4Address | None:
    at = find_eam6(nat64.settings, *words(address))
    return None if at == NONE else IPv4Address(int(eam_to_ipv4(nat64.settings.eam[at], *words(address))))


@pytest.fixture(scope="module")
def table() -> Nat64:
    return gateway(TABLE)


@pytest.mark.parametrize("four", EXAMPLES)
def test_rfc7757_3_3_examples(table, four):
    six = IPv6Address(EXAMPLES[four])
    assert mapped6(table, IPv4Address(four)) == six
    assert mapped4(table, six) == IPv4Address(four)


def test_rfc7757_3_3_1_the_longest_ipv4_prefix_wins(table):
    assert mapped6(table, IPv4Address("192.0.2.20")) == IPv6Address("2001:db8:cccc::5")
    assert mapped6(table, IPv4Address("192.0.2.21")) == IPv6Address("2001:db8:cccc::5")


def test_rfc7757_3_3_2_the_longest_ipv6_prefix_wins(table):
    assert mapped4(table, IPv6Address("2001:db8:cccc::5")) == IPv4Address("192.0.2.20")
    assert mapped4(table, IPv6Address("3fff:1::8000:1:0:0")) == IPv4Address("198.19.0.1")
    assert mapped4(table, IPv6Address("3fff:1::7000:1:0:0")) == IPv4Address("198.18.0.0")


def test_rfc7757_3_3_2_the_bits_behind_the_suffix_are_ignored(table):
    assert mapped4(table, IPv6Address("2001:db8:dddd:0:6123:4567:89ab:cdef")) == IPv4Address("192.0.2.152")
    assert mapped4(table, IPv6Address("2001:db8:eeee:9:ffff::")) == IPv4Address("192.0.2.195")


@pytest.mark.parametrize("address", ["2001:db8:aaaa::1", "2001:db8:eeee:c::", "3fff:64::2", "2001:db8::", "::"])
def test_rfc7757_3_3_2_an_address_beside_every_row_has_no_mapping(table, address):
    assert mapped4(table, IPv6Address(address)) is None


@st.composite
def tables(draw: st.DrawFn) -> Rows:
    """Up to eight rows, no prefix twice, whose IPv6 suffix has room for the IPv4 suffix (section 3.2)."""
    rows: Rows = []
    for _ in range(draw(st.integers(1, 8))):
        length4 = draw(st.integers(0, 32))
        length6 = draw(st.integers(0, 96 + length4))
        four = IPv4Network((draw(st.integers(0, 2**32 - 1)), length4), strict=False)
        six = IPv6Network((draw(st.integers(0, 2**128 - 1)), length6), strict=False)
        if four not in [row[0] for row in rows] and six not in [row[1] for row in rows]:
            rows.append((four, six))
    return rows


@given(rows=tables(), data=st.data())
def test_rfc7757_3_3_any_table_both_ways(rows, data):
    nat64 = gateway(rows)
    four, six = data.draw(st.sampled_from(rows))
    for addr4 in (four[0], four[-1], four[data.draw(st.integers(0, four.num_addresses - 1))], IPv4Address("192.0.2.1")):
        assert mapped6(nat64, addr4) == expected6(rows, addr4)
    for addr6 in (six[0], six[-1], six[data.draw(st.integers(0, six.num_addresses - 1))], IPv6Address("2001:db8::1")):
        assert mapped4(nat64, addr6) == expected4(rows, addr6)


def test_rfc7757_3_3_without_a_match_the_prefix_of_rfc6052_holds():
    nat64 = Nat64(eam=[{"ipv4": "203.0.113.9", "ipv6": "2001:db8:5::9"}])
    inside, beside = (int(IPv4Address(address)) for address in ("203.0.113.9", "203.0.113.8"))
    assert address6(*map_to_ipv6(nat64.settings, inside, False)[1:]) == IPv6Address("2001:db8:5::9")
    assert address6(*map_to_ipv6(nat64.settings, inside, True)[1:]) == IPv6Address("64:ff9b::203.0.113.9")
    assert address6(*map_to_ipv6(nat64.settings, beside, False)[1:]) == IPv6Address("64:ff9b::203.0.113.8")
    assert map_to_ipv4(nat64.settings, *words(IPv6Address("2001:db8:5::9"))) == (True, inside)
    assert map_to_ipv4(nat64.settings, *words(IPv6Address("64:ff9b::203.0.113.8"))) == (True, beside)
    assert not map_to_ipv4(nat64.settings, *words(IPv6Address("2001:db8:5::8")))[0]
