"""RFC 7050 section 3: which prefixes the addresses of ipv4only.arpa show."""

from ipaddress import IPv6Address, IPv6Network

import pytest

from nat64d.gateway.clat_prefix import prefixes_in
from tests.nat64d.test_discovery import ODD, OTHER, PREFIXES, WELL_KNOWN, WKP, embedded


@pytest.mark.parametrize("prefix", [*PREFIXES, "2001:db8:122:344::/96", "64:ff9b::/96"])
@pytest.mark.parametrize("which", [WELL_KNOWN, WELL_KNOWN[:1], WELL_KNOWN[1:]], ids=["both", "170", "171"])
def test_rfc7050_3_the_prefix_is_what_stands_around_the_well_known_address(prefix, which):
    assert prefixes_in(embedded(prefix, *which)) == (IPv6Network(prefix),)


def test_rfc7050_3_several_prefixes_in_the_order_of_the_answer():
    assert prefixes_in(embedded(OTHER) + embedded(WKP)) == (OTHER, WKP)
    assert prefixes_in(embedded(WKP) + embedded(OTHER)) == (WKP, OTHER)
    assert prefixes_in([ODD, *embedded(OTHER), ODD, *embedded(WKP)]) == (OTHER, WKP)


@pytest.mark.parametrize("prefix", ["2001:db8:c000:aa::/96", "2001:db8:c000:ab::/96", "2001:dbc:0:aac0:0:ab::/96"])
def test_rfc7050_3_a_prefix_that_holds_one_of_the_addresses_itself(prefix):
    assert prefixes_in(embedded(prefix)) == (IPv6Network(prefix),)


@pytest.mark.parametrize("prefix", ["2001:db8:c000:{}::/96", "2001:dbc0:0:{}00::/96"])
@pytest.mark.parametrize("last", ["aa", "ab"])
def test_rfc7050_3_an_address_that_holds_the_well_known_one_twice_shows_no_prefix_alone(prefix, last):
    assert prefixes_in(embedded(prefix.format(last), WELL_KNOWN[last == "ab"])) == ()


def test_rfc7050_3_addresses_with_both_at_two_places_show_no_prefix() -> None:
    last = ("aa", "ab")
    assert prefixes_in([IPv6Address(f"2001:db8:c000:{a}::c000:{b}") for a in last for b in last]) == ()


@pytest.mark.parametrize(
    "address",
    ["2001:db8:c000:aa:0:c0:0:aa00", "2001:db8:122:c000:0:aac0:0:aa00", "2001:db8:122:c000:0:ab00:c000:ab"],
)
def test_rfc7050_3_nor_does_one_that_holds_it_again_behind_its_place(address):
    assert prefixes_in([IPv6Address(address)]) == ()


@pytest.mark.parametrize(
    "address",
    [
        *("2001:db8::c000:a9", "2001:db8::c000:ac", "2001:db8::1", "2001:db8:aa:c000::"),
        # 192.0.0.170 whole, at the octets that are no place for it: 0 to 3, 5 to 8, 10, 11
        *("c000:aa::1", "20c0:0:aa00::1", "2001:c000:aa::1", "2001:dc0:0:aa00::1"),
        *("2001:db8:c0:0:aa00::", "2001:db8:0:c000:aa::", "2001:db8:0:c0:0:aa00::", "2001:db8::c000:aa:0:0"),
        *("2001:db8::c000:aa:0", "2001:db8::c0:0:aa00"),
        "2001:db8::aa:0:c000",
        "2001:db8:0:0:100::c000:aa",  # bits 64 to 71 of a prefix are zero (RFC 6052 section 2.2)
        "::ffff:192.0.0.170",
        "fe80::192.0.0.170",
    ],
)
def test_rfc7050_3_what_is_no_prefix(address):
    assert prefixes_in([IPv6Address(address)]) == ()


@pytest.mark.parametrize("length", [32, 40, 48, 56, 64])
def test_rfc6052_2_1_the_well_known_prefix_has_96_bits(length):
    addresses = embedded(f"64:ff9b::/{length}")
    assert prefixes_in(addresses) == ()
    assert prefixes_in(addresses + embedded(WKP)) == (WKP,)
