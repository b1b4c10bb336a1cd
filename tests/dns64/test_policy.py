"""Which IPv6 address stands for an IPv4 one (RFC 6052), and under which prefix of a policy."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat64d.dns64.message.wire import AAAA
from nat64d.dns64.rules.policy import NOT_BEYOND_A_ROUTER4, Policy, Range, embed, extract, ranges_for
from translator.static.blocks import NON_GLOBAL4

POOL6 = IPv6Network("64:ff9b::/96")
ALL = (IPv6Network("::/0"),)
PRIVATE = (IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16"))

prefixes6 = st.tuples(st.sampled_from([32, 40, 48, 56, 64, 96]), st.integers(0, (1 << 128) - 1)).map(
    lambda pair: IPv6Network((pair[1] >> 128 - pair[0] << 128 - pair[0] & ~(0xFF << 56), pair[0]))
)


@given(prefixes6, st.binary(min_size=4, max_size=4))
def test_rfc6052_2_2_every_address_comes_back(pool6: IPv6Network, data: bytes) -> None:
    made = embed(pool6, data)
    assert IPv6Address(made) in pool6
    assert made[8] == 0
    assert extract(pool6, IPv6Address(made)) == data


ranges = st.tuples(
    st.builds(
        lambda length, bits: IPv4Network((bits >> 32 - length << 32 - length, length)),
        st.integers(0, 32),
        st.integers(0, (1 << 32) - 1),
    ),
    st.none() | prefixes6,
)


@given(st.lists(ranges, max_size=4), st.lists(st.ip_addresses(v=4), min_size=1, max_size=8))
def test_no_record_is_made_but_under_a_prefix_of_the_policy_nor_private_under_the_well_known_one(
    rows: list[tuple[IPv4Network, IPv6Network | None]], addresses: list[IPv4Address]
) -> None:
    before = [Range(*row) for row in rows]
    policy = Policy(ALL, (*before, *ranges_for(POOL6, PRIVATE, None)))
    for address in addresses:
        data = policy.made(AAAA, address.packed)
        if data is None:
            continue
        made = IPv6Address(data)
        assert any(made in row.pool6 for row in policy.ranges if row.pool6)
        if made in POOL6 and not any(row.pool6 and row.pool6.overlaps(POOL6) for row in before):
            assert not any(address in network for network in (*PRIVATE, *NOT_BEYOND_A_ROUTER4))


@pytest.mark.parametrize(
    ("pool6", "expected"),
    [  # RFC 6052 section 2.4
        ("2001:db8::/32", "2001:db8:c000:221::"),
        ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
        ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
        ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
    ],
)
def test_rfc6052_2_4_examples_there_and_back(pool6: str, expected: str) -> None:
    data = embed(IPv6Network(pool6), bytes([192, 0, 2, 33]))
    assert IPv6Address(data) == IPv6Address(expected)
    assert extract(IPv6Network(pool6), IPv6Address(data)) == bytes([192, 0, 2, 33])


def test_no_range_stands_behind_one_that_covers_it() -> None:
    blocks = [row.ipv4 for row in ranges_for(POOL6, NON_GLOBAL4, None)]
    assert not any(later.subnet_of(earlier) for earlier, later in combinations(blocks, 2))
