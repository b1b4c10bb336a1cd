"""RFC 7757 section 3: the row with the longest prefix, either way, and what it makes of an address."""

import random
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat64d.config.models import Config
from nat64d.config.words import address6, words
from nat64d.offline.engine import Engine
from tests.translator.test_pool4_work import Counted
from translator.jit.compile import COMPILED, in_plain_python, int64
from translator.packet.addresses import address4 as transport4
from translator.packet.addresses import address6 as transport6
from translator.static import eam as module
from translator.static.eam import eam_hash4, eam_hash6, eam_to_ipv4, eam_to_ipv6, find_eam4, find_eam6
from translator.tables import hashing
from translator.tables.gateway import Gateway
from translator.tables.hashing import first_candidate, insert
from translator.tables.layout import EAM, NONE, records

Row = tuple[IPv4Network, IPv6Network]
SECRET = bytes(range(16))


def rows_of(*texts: str) -> list[Row]:
    """Rows written "IPv4 prefix  IPv6 prefix"."""
    pairs = [text.split() for text in texts]
    return [(IPv4Network(ipv4), IPv6Network(ipv6)) for ipv4, ipv6 in pairs]


def gateway_with(rows: list[Row]) -> Gateway:
    """The translator with a table."""
    config = Config.model_validate({"eam": [{"ipv4": str(a), "ipv6": str(b)} for a, b in rows]})
    return Engine(config, SECRET).gateway


def to_ipv6(gateway: Gateway, address: IPv4Address) -> IPv6Address | None:
    """What the translator makes of an IPv4 address; None: no row covers it."""
    given = transport4(int(address), 0)
    row = find_eam4(gateway, given)
    return None if row == NONE else address6(*eam_to_ipv6(gateway.settings.eam[row], given)[:2])


def to_ipv4(gateway: Gateway, address: IPv6Address) -> IPv4Address | None:
    """What the translator makes of an IPv6 address."""
    given = transport6(*words(address), 0)
    row = find_eam6(gateway, given)
    return None if row == NONE else IPv4Address(int(eam_to_ipv4(gateway.settings.eam[row], given).lo))


def plain_to_ipv6(rows: list[Row], address: IPv4Address) -> IPv6Address | None:
    """Section 3.3.1 in whole numbers: every row is looked at."""
    covering = [row for row in rows if address in row[0]]
    if not covering:
        return None
    ipv4, ipv6 = max(covering, key=lambda row: row[0].prefixlen)
    suffix = int(address) - int(ipv4[0])
    return IPv6Address(int(ipv6[0]) + (suffix << (128 - ipv6.prefixlen - (32 - ipv4.prefixlen))))


def plain_to_ipv4(rows: list[Row], address: IPv6Address) -> IPv4Address | None:
    """Section 3.3.2 likewise."""
    covering = [row for row in rows if address in row[1]]
    if not covering:
        return None
    ipv4, ipv6 = max(covering, key=lambda row: row[1].prefixlen)
    suffix = int(address) - int(ipv6[0])
    return IPv4Address(int(ipv4[0]) + (suffix >> (128 - ipv6.prefixlen - (32 - ipv4.prefixlen))))


# The table of appendix B
APPENDIX_B = rows_of(
    "192.0.2.1/32   2001:db8:aaaa::/128",
    "192.0.2.2/32   2001:db8:bbbb::b/128",
    "192.0.2.16/28  2001:db8:cccc::/124",
    "192.0.2.128/26 2001:db8:dddd::/64",
    "192.0.2.192/29 2001:db8:eeee:8::/62",
    "192.0.2.224/31 64:ff9b::/127",
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
    ],
)
def test_rfc7757_appendix_b_examples(ipv4, ipv6):
    gateway = gateway_with(APPENDIX_B)
    assert to_ipv6(gateway, IPv4Address(ipv4)) == IPv6Address(ipv6)
    assert to_ipv4(gateway, IPv6Address(ipv6)) == IPv4Address(ipv4)


@pytest.mark.parametrize(
    "address", ["192.0.2.0", "192.0.2.3", "192.0.2.15", "192.0.2.32", "192.0.2.200", "192.0.2.248"]
)
def test_rfc7757_3_3_1_an_address_that_no_row_covers_has_none(address):
    assert to_ipv6(gateway_with(APPENDIX_B), IPv4Address(address)) is None


@pytest.mark.parametrize("address", ["2001:db8:aaaa::1", "2001:db8:cccc::10", "2001:db8:dddd:1::", "64:ff9b::2", "::"])
def test_rfc7757_3_3_2_an_address_that_no_row_covers_has_none(address):
    assert to_ipv4(gateway_with(APPENDIX_B), IPv6Address(address)) is None


@pytest.mark.parametrize(
    ("ipv6", "ipv4"),
    [
        ("2001:db8:dddd:0:6000::1", "192.0.2.152"),
        ("2001:db8:dddd:0:63ff:ffff:ffff:ffff", "192.0.2.152"),
        ("2001:db8:eeee:9:8000:1234:5678:9abc", "192.0.2.195"),
    ],
)
def test_rfc7757_3_3_2_bits_behind_the_suffix_are_ignored(ipv6, ipv4):
    assert to_ipv4(gateway_with(APPENDIX_B), IPv6Address(ipv6)) == IPv4Address(ipv4)


# Section 5: rows within rows; the longest prefix of the way a packet goes decides, whatever the other side says.
OVERLAPPING = rows_of(
    "0.0.0.0/0          2001:db8:ff00::/40",
    "198.51.100.0/24    2001:db8:1::/120",
    "198.51.100.64/26   2001:db8:2::/64",
    "198.51.100.64/32   2001:db8::abcd/128",
    "203.0.113.0/24     2001:db8:1::80/121",
)


@pytest.mark.parametrize(
    ("ipv4", "ipv6"),
    [
        ("198.51.100.64", "2001:db8::abcd"),
        ("198.51.100.65", "2001:db8:2:0:400::"),
        ("198.51.100.1", "2001:db8:1::1"),
        ("198.51.101.1", "2001:db8:ffc6:3365:100::"),
        ("255.255.255.255", "2001:db8:ffff:ffff:ff00::"),
        ("0.0.0.0", "2001:db8:ff00::"),
    ],
)
def test_rfc7757_5_the_longest_ipv4_prefix_wins(ipv4, ipv6):
    assert to_ipv6(gateway_with([row for row in OVERLAPPING if "203" not in str(row[0])]), IPv4Address(ipv4)) == (
        IPv6Address(ipv6)
    )


def test_rfc7757_5_the_longest_ipv6_prefix_wins_though_the_ipv4_side_says_another():
    """Section 5's own example: there and back are not the same address, and that is right."""
    rows = rows_of("0.0.0.0/0 2001:db8:ff00::/40", "198.51.100.64/32 2001:db8::abcd/128")
    gateway = gateway_with(rows)
    assert to_ipv4(gateway, IPv6Address("2001:db8:ffc6:3364:4000::")) == IPv4Address("198.51.100.64")
    assert to_ipv6(gateway, IPv4Address("198.51.100.64")) == IPv6Address("2001:db8::abcd")


def test_rfc7757_5_an_ipv6_prefix_within_another():
    rows = rows_of("198.51.100.0/24 2001:db8:1::/120", "203.0.113.0/25 2001:db8:1::80/121")
    gateway = gateway_with(rows)
    assert to_ipv4(gateway, IPv6Address("2001:db8:1::7f")) == IPv4Address("198.51.100.127")
    assert to_ipv4(gateway, IPv6Address("2001:db8:1::80")) == IPv4Address("203.0.113.0")
    assert to_ipv6(gateway, IPv4Address("198.51.100.128")) == IPv6Address("2001:db8:1::80")


def test_the_order_of_the_rows_does_not_matter():
    addresses = [IPv4Address(0xC6336400 + at) for at in range(0, 256, 7)]
    there, back = gateway_with(OVERLAPPING[:4]), gateway_with(OVERLAPPING[3::-1])
    assert [to_ipv6(there, address) for address in addresses] == [to_ipv6(back, address) for address in addresses]


EVERY_SHAPE = [(length4, length6) for length4 in range(33) for length6 in range(129) if 32 - length4 <= 128 - length6]


def test_rfc7757_3_3_every_pair_of_prefix_lengths_there_and_back():
    """Suffixes at either end, at bit 64 and across it; what is behind the suffix stays zero, and is not looked at."""
    row = records(1, EAM)[0]
    for length4, length6 in EVERY_SHAPE:
        prefix4 = IPv4Network((0xA5C3F00F >> 32 - length4 << 32 - length4, length4))
        prefix6 = IPv6Network((0x20010DB8_5A5A3C3C_9669A55A_C3C30FF0 >> 128 - length6 << 128 - length6, length6))
        row.ipv4, row.length4 = int(prefix4[0]), length4
        (row.ipv6_hi, row.ipv6_lo), row.length6 = words(prefix6[0]), length6
        ignored = (1 << 128 - length6 - (32 - length4)) - 1
        for number in {int(prefix4[0]), int(prefix4[-1]), int(prefix4[0]) | 0x5A3C96C3 & int(prefix4.hostmask)}:
            wanted = plain_to_ipv6([(prefix4, prefix6)], IPv4Address(number))
            assert address6(*eam_to_ipv6(row, transport4(number, 0))[:2]) == wanted, (prefix4, prefix6)
            assert eam_to_ipv4(row, transport6(*words(wanted), 0)).lo == number, (prefix4, prefix6)
            beyond = transport6(*words(IPv6Address(int(wanted) | ignored)), 0)
            assert eam_to_ipv4(row, beyond).lo == number, (prefix4, prefix6)


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    """A few rows near one another, no prefix twice."""
    rows: dict[object, Row] = {}
    for _ in range(draw(st.integers(1, 8))):
        length4 = draw(st.integers(0, 32))
        length6 = draw(st.integers(0, 128 - (32 - length4)))
        bits4, bits6 = draw(st.integers(0, 15)), draw(st.integers(0, 15))
        number4 = (0xC6336400 | bits4 << 4) >> 32 - length4 << 32 - length4
        number6 = (0x20010DB8 << 96 | bits6 << 60 | bits4 << 12) >> 128 - length6 << 128 - length6
        row = IPv4Network((number4, length4)), IPv6Network((number6, length6))
        if not set(row) & set(rows):
            rows |= dict.fromkeys(row, row)
    return list(dict.fromkeys(rows.values()))


@given(tables(), st.data())
def test_rfc7757_3_3_as_a_plain_reading_of_it(rows, data):
    gateway = gateway_with(rows)
    near4 = st.sampled_from(rows).flatmap(lambda row: st.integers(int(row[0][0]), int(row[0][-1])))
    near6 = st.sampled_from(rows).flatmap(lambda row: st.integers(int(row[1][0]), int(row[1][-1])))
    for number in data.draw(st.lists(near4 | st.integers(0, (1 << 32) - 1), min_size=1, max_size=8)):
        address = IPv4Address(number)
        assert to_ipv6(gateway, address) == plain_to_ipv6(rows, address), address
    for number in data.draw(st.lists(near6 | st.integers(0, (1 << 128) - 1), min_size=1, max_size=8)):
        address = IPv6Address(number)
        assert to_ipv4(gateway, address) == plain_to_ipv4(rows, address), address


def test_no_rows_no_match():
    gateway = Engine(Config.model_validate({"pool6": "64:ff9b::/96"}), SECRET).gateway
    assert to_ipv6(gateway, IPv4Address("0.0.0.0")) is None
    assert to_ipv4(gateway, IPv6Address("::")) is None


def test_two_rows_of_one_hash_are_told_apart():
    """A candidate of the index is only that: the row decides."""
    gateway = gateway_with(rows_of(*(f"198.51.100.{at}/32 2001:db8::{at}/128" for at in range(8))))
    for address4, address6_, other in (("198.51.100.8", "2001:db8::8", 0), ("198.51.100.9", "2001:db8::9", 1)):
        hi, lo = words(IPv6Address(address6_))
        hash4 = eam_hash4(gateway.settings.secret, int64(int(IPv4Address(address4))), int64(32))
        hash6 = eam_hash6(gateway.settings.secret, int64(hi), int64(lo), int64(128))
        insert(gateway.settings.eam_index4, hash4, other)
        insert(gateway.settings.eam_index6, hash6, other)
        assert first_candidate(gateway.settings.eam_index4, hash4) != NONE
        assert first_candidate(gateway.settings.eam_index6, hash6) != NONE
        assert to_ipv6(gateway, IPv4Address(address4)) is None
        assert to_ipv4(gateway, IPv6Address(address6_)) is None


ROWS = 20_000 if COMPILED else 1_000  # a hash takes its time in plain Python


def test_of_20_000_rows_each_is_found_and_its_neighbour_is_not():
    chosen = random.Random(7757)
    hosts = chosen.sample(range(0x0B000000, 0x0C000000, 2), ROWS)  # even addresses of 11.0.0.0/8
    rows = [(IPv4Network(host), IPv6Network((0x20010DB8 << 96 | host * 2654435761, 128))) for host in hosts]
    rows += rows_of("11.128.0.0/9 2001:db8:ffff::/64", "11.129.0.0/24 2001:db8:eeee::/120")
    gateway = gateway_with(rows)
    for ipv4, ipv6 in chosen.sample(rows[:-2], 300):
        assert to_ipv6(gateway, ipv4[0]) == ipv6[0]
        assert to_ipv4(gateway, ipv6[0]) == ipv4[0]
        neighbour = IPv4Address(int(ipv4[0]) + 1)
        assert to_ipv6(gateway, neighbour) == plain_to_ipv6(rows[-2:], neighbour)
        assert to_ipv4(gateway, IPv6Address(int(ipv6[0]) ^ 1 << 70)) is None
    assert len(gateway.settings.eam_lengths4) == 3
    assert len(gateway.settings.eam_lengths6) == 3


@pytest.mark.parametrize("count", [16, ROWS // 4])
def test_a_lookup_reads_as_little_of_a_large_table_as_of_a_small_one(count, monkeypatch):
    """Words of the index: with a prefix length in use, a handful on the average, as it is five eighths full at most."""
    first = int(IPv4Address("11.0.0.0"))
    rows = [
        (IPv4Network(first + 2 * at), IPv6Network((0x20010DB8 << 96 | at * 2654435761, 128))) for at in range(count)
    ]
    gateway = gateway_with(rows)
    for where in (module, hashing):
        for name, value in vars(where).items():
            if callable(value) and not isinstance(value, type | ModuleType):
                monkeypatch.setattr(where, name, in_plain_python(value))
    counted = {name: getattr(gateway.settings, name).view(Counted) for name in ("eam_index4", "eam_index6")}
    gateway = replace(gateway, settings=replace(gateway.settings, **counted))
    Counted.reads, lookups = 0, 0
    for at in range(0, count, max(count // 100, 1)):
        for number in (first + 2 * at, first + 2 * at + 1):
            module.find_eam4(gateway, transport4(number, 0))
        for address in (rows[at][1][0], IPv6Address(int(rows[at][1][0]) ^ 1 << 70)):
            module.find_eam6(gateway, transport6(*words(address), 0))
        lookups += 4
    assert Counted.reads / lookups < 8
