"""The lists of special address blocks, and what compiled code makes of them in its own way."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat64d.config.words import words
from tests.reference import addresses as reference
from translator.packet.addresses import address4, address6, is_unicast
from translator.static import blocks
from translator.static.addresses import NON_GLOBAL
from translator.tables.ranges import within

NOT_UNICAST6 = (blocks.UNSPECIFIED6, blocks.LOOPBACK6, blocks.LINK_LOCAL6, blocks.MULTICAST6)


def edges(prefixes):
    """The first and last address of each prefix, and the ones before and after."""
    numbers = {
        (IPv4Address if prefix.version == 4 else IPv6Address, number)
        for prefix in prefixes
        for first, last in [(int(prefix[0]), int(prefix[-1]))]
        for number in (first - 1, first, last, last + 1)
        if 0 <= number < 1 << prefix.max_prefixlen
    }
    return [kind(number) for kind, number in numbers]


def check(address):
    if address.version == 4:
        here, no_host = address4(int(address), 0), blocks.NO_HOSTS4
        assert within(NON_GLOBAL, int(address)) == any(address in block for block in blocks.NON_GLOBAL4)
    else:
        here, no_host = address6(*words(address), 0), NOT_UNICAST6
    assert bool(is_unicast(address.version, here)) == (not any(address in block for block in no_host))


@pytest.mark.parametrize("address", edges((*blocks.NON_GLOBAL4, *NOT_UNICAST6)), ids=str)
def test_compiled_code_and_lists_agree_at_the_edges_of_each_block(address):
    check(address)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_compiled_code_and_lists_agree_everywhere(address):
    check(address)


def test_rfc6052_3_1_the_blocks_under_no_well_known_prefix_are_those_of_the_oracle():
    assert set(blocks.NON_GLOBAL4) == set(reference.NON_GLOBAL)


def test_documentation_addresses_may_stand_under_the_well_known_prefix():
    documentation = map(IPv4Network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"))
    assert not any(each.overlaps(block) for each in documentation for block in blocks.NON_GLOBAL4)


def test_there_are_more_addresses_of_no_host_beyond_a_router_than_of_no_host():
    assert set(blocks.NO_HOSTS4) < set(blocks.NOT_BEYOND_A_ROUTER4) < set(blocks.NON_GLOBAL4)
