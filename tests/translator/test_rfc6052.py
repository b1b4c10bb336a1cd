"""RFC 6052: IPv4-embedded IPv6 addresses of all six prefix lengths; what the well-known prefix may not carry."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import TCP, UDP

from nat64d.config.words import address6, words
from tests.case import Case, Nat64, Step
from tests.mapped import SIIT, TRANSLATABLE4, TRANSLATABLE6
from tests.packets import (
    FROM_HOST6,
    FROM_MAPPED,
    NEIGHBOUR6,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    answer4,
    answer6,
    from4,
    from6,
    in6,
    ping4,
    ping6,
    seen4,
    seen6,
    sent4,
)
from translator.static.rfc6052 import embed, extract, matches
from translator.verdict import Verdict

# RFC 6052 section 2.4: 192.0.2.33 under each prefix.
EXAMPLES = {
    "2001:db8::/32": "2001:db8:c000:221::",
    "2001:db8:100::/40": "2001:db8:1c0:2:21::",
    "2001:db8:122::/48": "2001:db8:122:c000:2:2100::",
    "2001:db8:122:300::/56": "2001:db8:122:3c0:0:221::",
    "2001:db8:122:344::/64": "2001:db8:122:344:c0:2:2100::",
    "2001:db8:122:344::/96": "2001:db8:122:344::192.0.2.33",
    "64:ff9b::/96": "64:ff9b::192.0.2.33",
}
SERVER4 = "192.0.2.33"
# Bits 72 to 95 of a prefix may be set.
PREFIXES6 = EXAMPLES | {"2001:db8:122:344:ab:cdef::/96": "2001:db8:122:344:ab:cdef:192.0.2.33"}
# The same with all bits set that are neither prefix nor IPv4 address, apart from our hosts.
FILLED = {
    "3fff:db8::/32": "3fff:db8:c000:221:ffff:ffff:ffff:ffff",
    "3fff:db8:100::/40": "3fff:db8:1c0:2:ff21:ffff:ffff:ffff",
    "3fff:db8:122::/48": "3fff:db8:122:c000:ff02:21ff:ffff:ffff",
    "3fff:db8:122:300::/56": "3fff:db8:122:3c0:ff00:221:ffff:ffff",
    "3fff:db8:122:344::/64": "3fff:db8:122:344:ffc0:2:21ff:ffff",
}
PREFIXES = {name: IPv6Network(name) for name in PREFIXES6}
# RFC 6052 section 3.1, RFC 1918, RFC 6890: first and last address of each block that is not global.
NON_GLOBAL = (
    *("10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255"),
    *("172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.255", "192.168.0.0", "192.168.255.255"),
    *("198.18.0.0", "198.19.255.255"),
)
GLOBAL = (
    *("1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0"),
    *("169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0"),
    *("192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255"),
)
NO_HOST = (
    *("0.0.0.0", "0.255.255.255", "127.0.0.1", "127.255.255.255", "169.254.0.0", "169.254.255.255"),
    *("224.0.0.1", "239.255.255.255", "255.255.255.255"),
)
UDP6, UDP4 = UDP(**FROM_HOST6) / b"x", UDP(**TO_MAPPED) / b"x"
NON_GLOBAL_ADDRESS = Verdict.NON_GLOBAL_ADDRESS
OWN_PREFIX = {"pool6": "2001:db8:6464::/96"}
OWN = "2001:db8:6464::"


def pool6_of(prefix: IPv6Network) -> tuple[int, int, int]:
    return *words(prefix[0]), prefix.prefixlen


@pytest.mark.parametrize("name", EXAMPLES)
def test_rfc6052_2_4_examples(name):
    hi, lo, length = pool6_of(PREFIXES[name])
    assert address6(*embed(hi, lo, length, int(IPv4Address(SERVER4)))) == IPv6Address(EXAMPLES[name])
    assert IPv4Address(int(extract(length, *words(IPv6Address(EXAMPLES[name]))))) == IPv4Address(SERVER4)


@pytest.mark.parametrize("name", PREFIXES6)
@given(addr4=st.ip_addresses(v=4))
def test_rfc6052_2_2_what_is_embedded_is_in_the_prefix_and_comes_out_again(name, addr4):
    prefix = PREFIXES[name]
    hi, lo, length = pool6_of(prefix)
    words6 = embed(hi, lo, length, int(addr4))
    embedded = address6(*words6)
    assert embedded in prefix
    assert int(embedded) >> 56 & 0xFF == 0 or prefix.prefixlen == 96  # octet 8, "u"
    assert matches(hi, lo, length, *words6)
    assert extract(length, *words6) == int(addr4)


@pytest.mark.parametrize("name", PREFIXES6)
@given(address=st.ip_addresses(v=6), inside=st.booleans())
def test_rfc6052_2_2_an_address_is_in_the_prefix_or_not(name, address, inside):
    prefix = PREFIXES[name]
    if inside:
        address = prefix[int(address) % prefix.num_addresses]
    hi, lo, length = pool6_of(prefix)
    assert bool(matches(hi, lo, length, *words(address))) == (address in prefix)


@pytest.mark.parametrize("name", PREFIXES6)
def test_rfc6052_2_2_packets_of_every_prefix_length(name):
    server6 = PREFIXES6[name].replace("2001:db8:", "3fff:db8:")  # apart from our hosts
    nat64 = Nat64(pool6=name.replace("2001:db8:", "3fff:db8:"))
    for out6, out4, back4, back6 in (
        (UDP6, UDP(**FROM_MAPPED) / b"x", UDP4, UDP(**TO_HOST6) / b"x"),
        *[[TCP(**ports, flags="S") for ports in (FROM_HOST6, FROM_MAPPED, TO_MAPPED, TO_HOST6)]],
        (ping6(True, b"x"), ping4(True, b"x"), ping4(False, b"x"), ping6(False, b"x")),
    ):
        nat64.check(Step(from6(dst=server6) / out6, seen4(dst=SERVER4) / out4))
        nat64.check(Step(from4(src=SERVER4) / back4, seen6(src=server6) / back6))


@pytest.mark.parametrize("name", PREFIXES6)
def test_rfc6052_3_3_without_sessions_both_addresses_are_under_a_prefix_of_any_length(name):
    """Section 2.2: with a suffix of zeros on the way out, with any on the way in, also in what an error quotes."""
    pool6, server6 = (text.replace("2001:db8:", "3fff:db8:") for text in (name, PREFIXES6[name]))
    hi, lo, length = pool6_of(IPv6Network(pool6))
    host6 = address6(*embed(hi, lo, length, int(IPv4Address(TRANSLATABLE4))))
    suffix = (1 << max(128 - 40 - length, 0)) - 1  # all that is neither prefix, IPv4 address nor octet "u"
    nat64 = Nat64(pool6=pool6, **SIIT)
    for host, server in ((host6, server6), (host6 + suffix, IPv6Address(server6) + suffix)):
        there, here = {"src": str(host), "dst": str(server)}, {"src": str(server), "dst": str(host)}
        for six, four in ((UDP6, UDP6), (TCP(**FROM_HOST6), TCP(**FROM_HOST6)), (ping6(True, id=7), ping4(True, id=7))):
            nat64.check(Step(from6(**there) / six, seen4(src=TRANSLATABLE4, dst=SERVER4) / four))
            error6 = Icmp(type=1, code=3) / seen6(**here) / six
            error4 = Icmp(type=3, code=1) / sent4(src=SERVER4, dst=TRANSLATABLE4) / four
            nat64.check(Step(from6(**there) / error6, seen4(src=TRANSLATABLE4, dst=SERVER4) / error4))
            back = seen6(src=server6, dst=str(host6)) / six
            nat64.check(Step(from4(src=SERVER4, dst=TRANSLATABLE4) / four, back))


CASES = [
    *(
        Case(
            f"rfc6052_2_2_suffix_and_u_octet_are_ignored_on_the_way_in_of_{prefix}",
            config={"pool6": prefix},
            sent=from6(dst=address) / UDP6,
            expect=seen4(dst=SERVER4) / UDP(**FROM_MAPPED) / b"x",
        )
        for prefix, address in FILLED.items()
    ),
    *(
        Case(
            f"rfc6052_3_1_{address}_is_not_reached_through_the_well_known_prefix",
            sent=(sent := from6(dst=in6(address)) / UDP6),
            verdict=NON_GLOBAL_ADDRESS,
            answer=answer6(sent, 1, 1),
        )
        for address in NON_GLOBAL
    ),
    *(
        Case(
            f"rfc6052_3_1_{address}_does_not_reach_us_through_the_well_known_prefix",
            sent=(sent := from4(src=address) / UDP4),
            verdict=NON_GLOBAL_ADDRESS,
            answer=answer4(sent, 3, 13),
        )
        for address in NON_GLOBAL
    ),
    *(
        Case(
            f"rfc6052_3_1_{name}_does_not_reach_a_private_server_through_the_well_known_prefix",
            sent=(sent := from6(dst=in6("10.0.0.1")) / message),
            verdict=NON_GLOBAL_ADDRESS,
            answer=answer6(sent, 1, 1),
        )
        for name, message in (("tcp", TCP(**FROM_HOST6, flags="S")), ("ping", ping6(True, b"x")))
    ),
    *(
        Case(
            f"rfc6052_3_1_{name}_of_a_private_server_does_not_reach_us_through_the_well_known_prefix",
            sent=(sent := from4(src="10.0.0.1") / message),
            verdict=NON_GLOBAL_ADDRESS,
            answer=answer4(sent, 3, 13),
        )
        for name, message in (("tcp", TCP(**TO_MAPPED, flags="S")), ("ping", ping4(True, b"x")))
    ),
    *(
        Case(
            f"rfc6052_3_1_{address}_and_a_translatable_host_do_not_meet_under_the_well_known_prefix",
            config=SIIT,
            steps=[
                Step(
                    sent := from6(src=TRANSLATABLE6, dst=in6(address)) / UDP6,
                    verdict=NON_GLOBAL_ADDRESS,
                    answer=answer6(sent, 1, 1),
                ),
                Step(
                    sent := from4(src=address, dst=TRANSLATABLE4) / UDP4,
                    verdict=NON_GLOBAL_ADDRESS,
                    answer=answer4(sent, 3, 13),
                ),
            ],
        )
        for address in NON_GLOBAL
    ),
    Case(
        "rfc6052_3_1_an_error_to_a_private_address_about_a_packet_of_another_is_dropped",
        config=SIIT,
        steps=[
            Step(
                from6(src=TRANSLATABLE6, dst=in6("10.0.0.1")) / Icmp(type=1) / seen6(dst=TRANSLATABLE6) / UDP4,
                verdict=NON_GLOBAL_ADDRESS,
            ),
            Step(
                from4(dst="10.0.0.1") / Icmp(type=3, code=1) / seen4(src=TRANSLATABLE4) / UDP4,
                verdict=NON_GLOBAL_ADDRESS,
            ),
        ],
    ),
    *(
        Case(f"no_packet_comes_from_{address}", sent=from4(src=address) / UDP4, verdict=Verdict.NOT_UNICAST)
        for address in NO_HOST
    ),
    *(
        Case(
            f"rfc6052_3_1_{address}_is_global",
            sent=from6(dst=in6(address)) / UDP6,
            expect=seen4(dst=address) / UDP(**FROM_MAPPED) / b"x",
        )
        for address in GLOBAL
    ),
    *(
        Case(
            f"rfc6052_3_1_a_prefix_of_the_operator_reaches_{address}",
            config=OWN_PREFIX,
            sent=from6(dst=in6(address, OWN)) / UDP6,
            expect=seen4(dst=address) / UDP(**FROM_MAPPED) / b"x",
        )
        for address in NON_GLOBAL
    ),
    Case(
        "rfc6052_3_1_the_operator_may_allow_it",
        config={"strict_well_known_prefix": False},
        sent=from6(dst=in6("10.0.0.1")) / UDP6,
        expect=seen4(dst="10.0.0.1") / UDP(**FROM_MAPPED) / b"x",
    ),
    Case(
        "rfc6052_3_1_our_own_private_addresses_may_be_reached",
        config={
            "pool4": [{"addresses": "10.0.0.0/24"}],
            "forward": [{"protocol": "udp", "ipv4": "10.0.0.1:40000", "ipv6": "[2001:db8:1::10]:5000"}],
        },
        sent=from6(src=NEIGHBOUR6, dst=in6("10.0.0.1")) / UDP(sport=7, dport=40000),
        verdict=Verdict.HAIRPINNED,
    ),
    *(
        Case(
            f"rfc6052_3_1_a_private_address_of_a_{section}_may_be_reached",
            config={"forward": []} | {section: [{"protocol": "udp", "ipv4": "10.0.0.1:40000", **keys}]},
            sent=from6(src=NEIGHBOUR6, dst=in6("10.0.0.1")) / UDP(sport=7, dport=40000),
            verdict=Verdict.HAIRPINNED,
        )
        for section, keys in (
            ("forward", {"ipv6": "[2001:db8:1::10]:5000"}),
            ("service", {"name": "dns", "endpoints": ["[2001:db8:1::10]:5000"]}),
        )
    ),
    *(
        Case(
            f"no_host_has_the_address_{address}",
            sent=(sent := from6(dst=in6(address)) / UDP6),
            verdict=Verdict.NOT_UNICAST,
            answer=answer6(sent, 1, 1),
        )
        for address in NO_HOST
    ),
    *(
        Case(
            f"no_host_has_the_address_{address}_under_a_prefix_of_the_operator",
            config=OWN_PREFIX,
            sent=(sent := from6(dst=in6(address, OWN)) / UDP6),
            verdict=Verdict.NOT_UNICAST,
            answer=answer6(sent, 1, 1),
        )
        for address in NO_HOST
    ),
    Case(
        "denylist4_holds_in_both_directions",
        config={"translation": {"denylist4": ["198.51.100.0/25", "203.0.113.0/24"]}},
        steps=[
            Step(sent := from6(dst=in6("198.51.100.127")) / UDP6, None, Verdict.DENIED_ADDRESS, answer6(sent, 1, 1)),
            Step(sent := from6(dst=in6("203.0.113.0")) / UDP6, None, Verdict.DENIED_ADDRESS, answer6(sent, 1, 1)),
            Step(sent := from4(src="198.51.100.0") / UDP4, None, Verdict.DENIED_ADDRESS, answer4(sent, 3, 13)),
            Step(from6(dst=in6("198.51.100.128")) / UDP6, seen4(dst="198.51.100.128") / UDP(**FROM_MAPPED) / b"x"),
        ],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rfc6052(case):
    case.check()


@pytest.mark.parametrize("address", ["2001:db8:1::1", "64:ff9b:0:0:0:1::", "64:ff9a:ffff:ffff::", "64:ff9b:1::"])
def test_rfc6146_3_5_a_destination_beside_the_prefix_is_not_ours(nat64, address):
    nat64.check(Step(from6(dst=address) / UDP6, verdict=Verdict.NOT_OUR_PREFIX))


@pytest.mark.parametrize("name", [*FILLED, OWN_PREFIX["pool6"]])
def test_rfc6146_3_5_a_prefix_of_any_length_tells_whose_packets_are_processed(name):
    """Its first and last addresses are in it, the ones before and behind are not."""
    nat64, prefix = Nat64(pool6=name), IPv6Network(name)
    inside, outside = (prefix[0], prefix[-1]), (prefix[0] - 1, prefix[-1] + 1)
    server6 = str(address6(*embed(*pool6_of(prefix), int(IPv4Address(SERVER4)))))
    for body in (UDP6, TCP(**FROM_HOST6, flags="S"), ping6(True, b"x")):
        for address in inside:
            nat64.check(Step(from6(src=str(address), dst=server6) / body, verdict=Verdict.SOURCE_IN_POOL6))
        for address in outside:
            assert nat64.send(from6(src=str(address), dst=server6) / body).verdict == Verdict.TRANSLATED
            nat64.check(Step(from6(dst=str(address)) / body, verdict=Verdict.NOT_OUR_PREFIX))
