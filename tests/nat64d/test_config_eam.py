"""[[eam]] in the configuration, and what can do without sessions: accepted, refused, written back."""

import gc
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network

import pytest

from nat64d.config.errors import ConfigError
from nat64d.config.load import dump, loads
from nat64d.config.models import Config
from nat64d.config.warnings import warnings

POOL6 = 'pool6 = "64:ff9b::/96"\n'
POOL4 = '[[pool4]]\naddresses = "192.0.2.1/32"\n'


def eam(ipv4: str, ipv6: str) -> str:
    return f'[[eam]]\nipv4 = "{ipv4}"\nipv6 = "{ipv6}"\n'


def complaints(text: str) -> list[str]:
    """What is expected instead of what, a line each."""
    with pytest.raises(ConfigError) as caught:
        loads(text, "x.toml")
    return [str(problem).removeprefix("x.toml: ") for problem in caught.value.problems]


ACCEPTED = {
    "rfc7757_3_2_a_prefix_length_left_out_is_that_of_one_address": eam("198.51.100.10", "2001:db8:1::10"),
    "equal_suffixes": eam("198.51.100.0/24", "2001:db8:1::/120"),
    "rfc7757_3_2_a_longer_suffix_in_ipv6": eam("198.51.100.0/24", "2001:db8:1::/48"),
    "all_of_ipv4": eam("0.0.0.0/0", "2001:db8:1::/96"),
    "rfc7757_5_rows_within_rows": eam("198.51.100.0/24", "2001:db8:1::/120") + eam("198.51.100.7", "2001:db8:1::7"),
    "rfc7757_5_an_ipv4_prefix_within_another_elsewhere_in_ipv6": eam("198.51.100.0/24", "2001:db8:1::/120")
    + eam("198.51.100.0/25", "2001:db8:2::/64"),
}


@pytest.mark.parametrize("rows", ACCEPTED.values(), ids=ACCEPTED)
def test_rows_that_are_accepted_without_pool6_and_written_back(rows):
    config = loads(rows)
    assert config.pool6 is None
    assert len(config.eam) == rows.count("[[eam]]")
    assert loads(dump(config)) == config


def test_rfc7757_3_2_a_row_in_numbers():
    first, second = loads(eam("198.51.100.10", "2001:db8:1::10") + eam("198.51.100.64/28", "2001:db8:2::/64")).eam
    assert (first.ipv4, first.ipv6) == (IPv4Network("198.51.100.10/32"), IPv6Network("2001:db8:1::10/128"))
    assert (second.ipv4, second.ipv6) == (IPv4Network("198.51.100.64/28"), IPv6Network("2001:db8:2::/64"))


@pytest.mark.parametrize(
    "text",
    [
        POOL6,
        'pool6 = "2001:db8:64::/96"\n',
        POOL6 + eam("198.51.100.10", "2001:db8:1::10"),
        POOL6 + POOL4 + eam("198.51.100.10", "2001:db8:1::10"),
        POOL6 + '[[forward]]\nprotocol = "tcp"\nipv4 = "192.0.2.9:80"\nipv6 = "[2001:db8::1]:80"\n',
    ],
    ids=[
        "the_prefix_alone",
        "another_prefix_alone",
        "the_prefix_and_rows",
        "rows_beside_sessions",
        "forwards_without_pool4",
    ],
)
def test_what_is_left_out_is_left_out(text):
    config = loads(text)
    assert isinstance(config, Config)
    alone = text == POOL6
    assert [warning.startswith("pool6 is 64:ff9b::/96 and there is no [[pool4]]") for warning in warnings(config)] == (
        [True] if alone else []
    ), "RFC 6052 section 3.1: no host of ours has an address under it"
    assert (len(config.pool4), len(config.eam)) == (text.count("[[pool4]]"), text.count("[[eam]]"))


AROUND = {
    "2001:db8:63:ffff:ffff:ffff:ffff:ffff": True,
    "2001:db8:63:ffff:ffff:ffff:ffff::/112": True,
    "2001:db8:64::": False,
    "2001:db8:64::ffff:ffff": False,
    "2001:db8:64::/96": False,
    "2001:db8:64::/64": False,
    "2001:db8::/40": False,
    "2001:db8:64::1:0:0": True,
    "2001:db8:64:1::/64": True,
}


@pytest.mark.parametrize(("ipv6", "outside"), AROUND.items(), ids=AROUND)
@pytest.mark.parametrize("section", ["eam", "clat"])
def test_rfc6877_2_the_prefix_and_what_is_ours_have_no_address_in_common(section, ipv6, outside):
    pool6 = "2001:db8:64::/96"
    clat = f'[clat]\nplat = "{pool6}"\nipv4 = "192.168.1.1"\nipv6 = "{ipv6}"\n'
    text = clat if section == "clat" else f'pool6 = "{pool6}"\n{eam("198.51.100.7", ipv6)}'
    if outside:
        assert loads(text).pool6 == IPv6Network(pool6)
    else:
        (complaint,) = complaints(text)
        assert complaint.endswith(f'ipv6 = "{ipv6}": expected IPv6 hosts outside pool6, {pool6}')


TAKEN = "expected a prefix that is not mapped yet; an earlier row maps"
OUTSIDE_POOL6 = "expected IPv6 hosts outside pool6, 64:ff9b::/96"
REFUSED = {
    "rfc7757_3_2_fewer_suffix_bits_in_ipv6_than_in_ipv4": (
        eam("198.51.100.0/24", "2001:db8:1::/121"),
        ['[[eam]] #1 ipv6 = "2001:db8:1::/121": expected at least 8 host bits, as many as ipv4 has, not 7'],
    ),
    "one_ipv6_address_for_many": (
        eam("0.0.0.0/0", "2001:db8::1"),
        ['[[eam]] #1 ipv6 = "2001:db8::1": expected at least 32 host bits, as many as ipv4 has, not 0'],
    ),
    "rfc7757_5_an_ipv4_prefix_twice": (
        eam("198.51.100.10", "2001:db8:1::10") + eam("198.51.100.10/32", "2001:db8:1::11"),
        [f'[[eam]] #2 ipv4 = "198.51.100.10/32": {TAKEN} 198.51.100.10/32'],
    ),
    "rfc7757_5_an_ipv6_prefix_twice": (
        eam("198.51.100.10", "2001:db8:1::10") + eam("198.51.100.11", "2001:db8:1::10"),
        [f'[[eam]] #2 ipv6 = "2001:db8:1::10": {TAKEN} 2001:db8:1::10/128'],
    ),
    "the_same_row_twice": (
        eam("198.51.100.10", "2001:db8:1::10") * 2,
        [
            f'[[eam]] #2 ipv4 = "198.51.100.10": {TAKEN} 198.51.100.10/32',
            f'[[eam]] #2 ipv6 = "2001:db8:1::10": {TAKEN} 2001:db8:1::10/128',
        ],
    ),
    "in_pool6": (
        eam("198.51.100.10", "64:ff9b::1"),
        [f'[[eam]] #1 ipv6 = "64:ff9b::1": {OUTSIDE_POOL6}'],
    ),
    "around_pool6": (
        eam("198.51.100.0/24", "64:ff9b::/64"),
        [f'[[eam]] #1 ipv6 = "64:ff9b::/64": {OUTSIDE_POOL6}'],
    ),
    "in_pool4": (
        POOL4 + eam("192.0.2.1", "2001:db8:1::10"),
        ['[[eam]] #1 ipv4 = "192.0.2.1": expected addresses outside [[pool4]]'],
    ),
    "around_pool4": (
        POOL4 + eam("0.0.0.0/0", "2001:db8:1::/96"),
        ['[[eam]] #1 ipv4 = "0.0.0.0/0": expected addresses outside [[pool4]]'],
    ),
    "no_ipv6": (
        '[[eam]]\nipv4 = "198.51.100.10"\n',
        ["[[eam]] #1 ipv6 = (absent): expected an IPv6 prefix such as 2001:db8::/32"],
    ),
    "the_families_swapped": (
        eam("2001:db8:1::10", "198.51.100.10"),
        [
            '[[eam]] #1 ipv4 = "2001:db8:1::10": expected an IPv4 prefix such as 192.0.2.0/24',
            '[[eam]] #1 ipv6 = "198.51.100.10": expected an IPv6 prefix such as 2001:db8::/32',
        ],
    ),
    "a_key_of_another_section": (
        eam("198.51.100.10", "2001:db8:1::10") + 'protocol = "tcp"\n',
        ['[[eam]] #1 protocol = "tcp": unknown key; protocol belongs in [[forward]] or in [[service]]'],
    ),
    "only_the_last_of_three_rows": (
        eam("198.51.100.10", "2001:db8:1::10")
        + eam("198.51.100.11", "2001:db8:1::11")
        + eam("198.51.100.0/24", "2001:db8:2::/128"),
        ['[[eam]] #3 ipv6 = "2001:db8:2::/128": expected at least 8 host bits, as many as ipv4 has, not 0'],
    ),
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.values(), ids=REFUSED)
def test_rows_that_are_refused_and_the_words_for_it(text, expected):
    assert complaints(POOL6 + text) == expected


def test_rfc7757_4_2_1_simple_hairpinning_needs_the_prefix():
    text = eam("198.51.100.10", "2001:db8:1::10") + '[translation]\neam_hairpin = "simple"\n'
    expected = '"intrinsic" or "off" without pool6: "simple" writes every IPv4 source under it'
    assert complaints(text) == [f'[translation] eam_hairpin = "simple": expected {expected}']
    assert loads(POOL6 + text).translation.eam_hairpin == "simple"


def test_10_000_rows_load():
    rows = "".join(eam(f"11.0.{at >> 8}.{at & 255}", f"2001:db8:1::{at:x}") for at in range(10_000))
    config = loads(rows)
    assert len(config.eam) == 10_000
    assert config.eam[-1].ipv6 == IPv6Network("2001:db8:1::270f")


@pytest.mark.parametrize("text", [eam("198.51.100.10", "2001:db8:1::10"), "no configuration"])
def test_the_garbage_collector_is_as_it_was_after_a_file_is_read(text):
    assert gc.isenabled()
    with suppress(ConfigError):
        loads(text)
    assert gc.isenabled()
    gc.disable()
    try:
        loads(eam("198.51.100.10", "2001:db8:1::10"))
        assert not gc.isenabled()
    finally:
        gc.enable()
