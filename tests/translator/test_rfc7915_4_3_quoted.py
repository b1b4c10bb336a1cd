"""RFC 7915 sections 4.3 and 5.3: the packet an ICMP error quotes; whose error it is."""

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting
from scapy.packet import Raw

from tests.case import Case, Nat64, Step
from tests.mapped import ALONE, as_eam4, at_eam6, of_eam6, to_eam4
from tests.packets import (
    FROM_HOST6,
    FROM_MAPPED,
    HOST4_IN6,
    MAPPED4,
    OUR6,
    ROUTER6,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    cut,
    flip_checksum,
    fragment_of,
    from4,
    from6,
    in6,
    patch,
    payload,
    seen4,
    seen6,
    sent4,
    sent6,
    whole,
    with_options,
)
from tests.quotes import (
    INWARD,
    LONG4,
    LONG4_IN,
    LONG6,
    LONG6_IN,
    OPENING,
    OUTWARD,
    UDP4,
    UDP4_IN,
    UDP6,
    UDP6_IN,
    error4,
    error4_seen,
    error6,
    error6_seen,
)
from translator.verdict import Verdict

HALF_A_CHECKSUM = ("tcp", 17)  # cannot be mended
TRANSPORT4, TRANSPORT6 = 20, 40  # where the transport header of a quoted packet begins


def inward4(name, sent, expect=None, verdict=Verdict.TRANSLATED, **more):
    return Case(f"rfc7915_4_3_{name}", steps=OPENING, sent=sent, expect=expect, verdict=verdict, **more)


def outward6(name, sent, expect=None, verdict=Verdict.TRANSLATED, **more):
    return Case(f"rfc7915_5_3_{name}", steps=OPENING, sent=sent, expect=expect, verdict=verdict, **more)


def wrong_by_one(quoted):
    """A packet whose transport checksum is one more than the right one, in whichever family."""
    quoted = whole(quoted)
    name = next(name for name in ("chksum", "cksum") if name in quoted.payload.fields)
    setattr(quoted.payload, name, getattr(quoted.payload, name) + 1)
    return quoted


def behind_options(count):
    """UDP6_IN behind so many extension headers."""
    headers = seen6()
    for _ in range(count):
        headers /= IPv6ExtHdrDestOpt()
    return headers / UDP(**TO_HOST6) / payload(21)


ROUTER_LIES = flip_checksum(error4(UDP4)), flip_checksum(error6(UDP6_IN))
REDIRECT = Icmp(type=5, code=1) / Raw(bytes(UDP4))

CASES = [
    *(inward4(f"quoted_{name}_is_translated", error4(q4), error6_seen(q6)) for name, (q4, q6) in OUTWARD.items()),
    *(outward6(f"quoted_{name}_is_translated", error6(q6), error4_seen(q4)) for name, (q6, q4) in INWARD.items()),
    *(
        inward4(
            f"quoted_ttl_{ttl}_is_neither_checked_nor_decremented",
            error4(seen4(ttl=ttl) / UDP(**FROM_MAPPED)),
            error6_seen(from6(hlim=ttl) / UDP(**FROM_HOST6)),
        )
        for ttl in (0, 1, 255)
    ),
    *(
        outward6(
            f"quoted_hop_limit_{ttl}_is_neither_checked_nor_decremented",
            error6(seen6(hlim=ttl) / UDP(**TO_HOST6)),
            error4_seen(from4(ttl=ttl, id=0) / UDP(**TO_MAPPED)),
        )
        for ttl in (0, 1, 255)
    ),
    *(
        inward4(
            f"quoted_{name}_cut_to_{size}_octets_of_transport",
            error4(cut(q4, TRANSPORT4 + size)),
            error6_seen(cut(q6, TRANSPORT6 + size)),
        )
        for name, (q4, q6) in OUTWARD.items()
        for size in range(8, len(q4) - TRANSPORT4)
        if (name, size) != HALF_A_CHECKSUM
    ),
    *(
        outward6(
            f"quoted_{name}_cut_to_{size}_octets_of_transport",
            error6(cut(q6, TRANSPORT6 + size)),
            error4_seen(cut(q4, TRANSPORT4 + size)),
        )
        for name, (q6, q4) in INWARD.items()
        for size in range(8, len(q4) - TRANSPORT4)
        if (name, size) != HALF_A_CHECKSUM
    ),
    *(
        inward4(
            f"quote_of_{size}_octets_does_not_tell_whose_packet_it_was",
            error4(cut(UDP4, size)),
            verdict=Verdict.QUOTED_PACKET,
        )
        for size in range(TRANSPORT4 + 8)
    ),
    *(
        outward6(
            f"quote_of_{size}_octets_does_not_tell_whose_packet_it_was",
            error6(cut(UDP6_IN, size)),
            verdict=Verdict.QUOTED_PACKET,
        )
        for size in range(TRANSPORT6 + 8)
    ),
    inward4(
        "options_of_the_quoted_packet_vanish",
        error4(with_options(UDP4, b"\x07\x27" + bytes(37))),
        error6_seen(UDP6),
    ),
    inward4(
        "quoted_packet_with_options_cut_before_its_ports",
        error4(with_options(UDP4, b"\x07\x27" + bytes(37))[:66]),
        verdict=Verdict.QUOTED_PACKET,
    ),
    inward4(
        "header_checksum_of_the_quoted_packet_is_not_looked_at",
        error4(patch(UDP4, 10, b"\0\0", mend=False)),
        error6_seen(UDP6),
    ),
    inward4(
        "transport_checksum_of_the_quoted_packet_is_not_looked_at",
        error4(wrong_by_one(UDP4)),
        error6_seen(wrong_by_one(UDP6)),
        damaged=True,
    ),
    outward6(
        "transport_checksum_of_the_quoted_packet_is_not_looked_at",
        error6(wrong_by_one(UDP6_IN)),
        error4_seen(wrong_by_one(UDP4_IN)),
        damaged=True,
    ),
    *(
        inward4(
            f"transport_checksum_of_the_quoted_{name}_is_not_looked_at",
            error4(wrong_by_one(OUTWARD[name][0])),
            error6_seen(wrong_by_one(OUTWARD[name][1])),
            damaged=True,
        )
        for name in ("tcp", "echo")
    ),
    *(
        outward6(
            f"transport_checksum_of_the_quoted_{name}_is_not_looked_at",
            error6(wrong_by_one(INWARD[name][0])),
            error4_seen(wrong_by_one(INWARD[name][1])),
            damaged=True,
        )
        for name in ("tcp", "echo")
    ),
    outward6(
        "extension_headers_of_the_quoted_packet_vanish",
        error6(seen6() / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / UDP(**TO_HOST6) / payload(21)),
        error4_seen(UDP4_IN),
    ),
    outward6("eight_extension_headers_of_the_quoted_packet_vanish", error6(behind_options(8)), error4_seen(UDP4_IN)),
    outward6(
        "nine_extension_headers_of_the_quoted_packet_are_too_many",
        error6(behind_options(9)),
        verdict=Verdict.QUOTED_PACKET,
    ),
    outward6(
        "source_route_of_the_quoted_packet_vanishes",
        error6(seen6() / IPv6ExtHdrRouting(addresses=["2001:db8:9::9"], segleft=0) / UDP(**TO_HOST6) / payload(21)),
        error4_seen(UDP4_IN),
    ),
    outward6(
        "quoted_packet_cut_in_its_extension_headers",
        error6(cut(seen6() / IPv6ExtHdrHopByHop() / UDP(**TO_HOST6), 47)),
        verdict=Verdict.QUOTED_PACKET,
    ),
    inward4(
        "quoted_first_fragment_gets_a_fragment_header",
        error4(fragment_of(seen4() / UDP(**FROM_MAPPED) / payload(800), 0, 400, 0x1234)),
        error6_seen(fragment_of(sent6() / UDP(**FROM_HOST6) / payload(800), 0, 400, 0x1234)),
    ),
    outward6(
        "quoted_first_fragment_keeps_its_identification",
        error6(fragment_of(seen6() / UDP(**TO_HOST6) / payload(800), 0, 400, 0xABCD1234)),
        error4_seen(fragment_of(sent4() / UDP(**TO_MAPPED) / payload(800), 0, 400, 0x1234)),
    ),
    outward6(
        "quoted_atomic_fragment_is_a_whole_packet",
        error6(seen6() / IPv6ExtHdrFragment(id=0xABCD1234) / UDP(**TO_HOST6) / payload(21)),
        error4_seen(sent4(id=0x1234) / UDP(**TO_MAPPED) / payload(21)),
    ),
    inward4(
        "quoted_later_fragment_does_not_tell_whose_packet_it_was",
        error4(fragment_of(seen4() / UDP(**FROM_MAPPED) / payload(800), 400, 400)),
        verdict=Verdict.QUOTED_PACKET,
    ),
    outward6(
        "quoted_later_fragment_does_not_tell_whose_packet_it_was",
        error6(fragment_of(seen6() / UDP(**TO_HOST6) / payload(800), 400, 400)),
        verdict=Verdict.QUOTED_PACKET,
    ),
    inward4(
        "quoted_tcp_cut_within_its_checksum_leaves_half_of_it_alone",
        error4(cut(OUTWARD["tcp"][0], TRANSPORT4 + 16) + b"\x5a"),
        error6_seen(cut(OUTWARD["tcp"][1], TRANSPORT6 + 16) + b"\x5a"),
    ),
    inward4("more_than_one_embedded_header", error4(seen4() / Icmp(type=3) / UDP6), verdict=Verdict.ERROR_IN_ERROR),
    outward6("more_than_one_embedded_header", error6(seen6() / Icmp(type=1) / UDP4), verdict=Verdict.ERROR_IN_ERROR),
    inward4("quoted_query_that_is_no_echo", error4(seen4() / Icmp(type=13) / UDP6), verdict=Verdict.ERROR_IN_ERROR),
    inward4("quoted_packet_of_another_protocol", error4(seen4(proto=47) / payload(20)), verdict=Verdict.PROTOCOL),
    outward6("quoted_packet_of_another_protocol", error6(seen6(nh=47) / payload(20)), verdict=Verdict.PROTOCOL),
    inward4("quoted_packet_of_the_other_family", error4(UDP6_IN), verdict=Verdict.QUOTED_PACKET),
    outward6("quoted_packet_of_the_other_family", error6(UDP4), verdict=Verdict.QUOTED_PACKET),
    inward4("broken_checksum_is_not_healed", ROUTER_LIES[0], verdict=Verdict.ICMP_CHECKSUM),
    outward6("broken_checksum_is_not_healed", ROUTER_LIES[1], verdict=Verdict.ICMP_CHECKSUM),
    inward4(
        "error_is_at_most_1280_octets_in_ipv6",
        error4(LONG4),
        error6_seen(cut(LONG6, 1280 - 48)),
    ),
    outward6(
        "error_is_at_most_576_octets_in_ipv4",
        error6(cut(LONG6_IN, 1232)),
        error4_seen(cut(LONG4_IN, 576 - 28)),
    ),
    inward4("ttl_of_the_error_is_decremented", error4(UDP4, ttl=2), error6_seen(UDP6, hlim=1)),
    outward6("hop_limit_of_the_error_is_decremented", error6(UDP6_IN, hlim=2), error4_seen(UDP4_IN, ttl=1)),
    inward4(
        "ttl_1_of_an_error_is_not_answered",
        error4(UDP4, ttl=1),
        verdict=Verdict.HOP_LIMIT_EXPIRED,
    ),
    inward4(
        "type_of_service_of_the_error_is_copied",
        error4(seen4(tos=0x28) / UDP(**FROM_MAPPED), tos=0xD7),
        error6_seen(sent6(tc=0x28) / UDP(**FROM_HOST6), tc=0xD7),
    ),
    outward6(
        "traffic_class_of_the_error_is_copied",
        error6(seen6(tc=0x28) / UDP(**TO_HOST6), tc=0x14),
        error4_seen(sent4(tos=0x28) / UDP(**TO_MAPPED), tos=0x14),
    ),
    inward4(
        "traffic_class_of_the_operator_holds_for_errors",
        error4(UDP4, tos=0xC0),
        error6_seen(sent6(tc=4) / UDP(**FROM_HOST6) / payload(21), tc=4),
        config={"translation": {"traffic_class": 4}},
    ),
    outward6(
        "type_of_service_of_the_operator_holds_for_errors",
        error6(UDP6_IN, tc=0xC0),
        error4_seen(sent4(tos=4) / UDP(**TO_MAPPED) / payload(21), tos=4),
        config={"translation": {"traffic_class": 4}},
    ),
    inward4("a_fragment_of_an_error", fragment_of(error4(LONG4), 0, 400), verdict=Verdict.HELD),
    outward6(
        "an_error_in_an_atomic_fragment_keeps_its_identification",
        from6(src=ROUTER6) / IPv6ExtHdrFragment(id=0x12345678) / Icmp(type=1, code=4) / UDP6_IN,
        error4_seen(UDP4_IN, id=0x5678),
    ),
    outward6("a_fragment_of_an_error", fragment_of(error6(UDP6_IN), 0, 40), verdict=Verdict.HELD),
    inward4("a_later_fragment_of_an_error", fragment_of(error4(LONG4), 400, 400), verdict=Verdict.HELD),
    outward6(
        "quoted_packet_above_1260_octets_has_df",
        error6(cut(seen6() / UDP(**TO_HOST6) / payload(1233), 200)),
        error4_seen(cut(sent4(flags="DF") / UDP(**TO_MAPPED) / payload(1233), 180)),
    ),
    outward6(
        "quoted_packet_of_1260_octets_has_no_df",
        error6(cut(seen6() / UDP(**TO_HOST6) / payload(1232), 200)),
        error4_seen(cut(sent4() / UDP(**TO_MAPPED) / payload(1232), 180)),
    ),
]

# RFC 7915 section 4.1: an error is translated even from an illegal source; RFC 6791: from one without an IPv4 form.
CASES += [
    inward4("error_of_the_host_itself", error4(UDP4, src="198.51.100.7"), error6_seen(UDP6, src=HOST4_IN6)),
    *(
        inward4(f"error_from_{source}_comes_from_us", error4(UDP4, src=source), error6_seen(UDP6, src=OUR6))
        for source in ("127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "10.0.0.1", "192.168.1.1")
    ),
    inward4(
        "error_from_private_addresses_keeps_its_source_under_a_prefix_of_the_operator",
        error4(UDP4, src="10.0.0.1"),
        error6_seen(UDP6, src=in6("10.0.0.1")),
        config={"strict_well_known_prefix": False},
    ),
    outward6("error_of_the_host_itself", error6(UDP6_IN, src="2001:db8:1::10"), error4_seen(UDP4_IN, src=MAPPED4)),
    outward6(
        "error_of_a_router_comes_from_the_address_of_rfc6791",
        error6(UDP6_IN),
        error4_seen(UDP4_IN, src="203.0.113.99"),
        config={"translation": {"rfc6791_ipv4": ["203.0.113.99/32"]}},
    ),
    outward6(
        "error_of_a_router_with_a_mapping_comes_from_its_own_address",
        error6(UDP6_IN),
        error4_seen(UDP4_IN, src="203.0.113.77"),
        config={
            "eam": [{"ipv4": "203.0.113.77", "ipv6": ROUTER6}],
            "translation": {"rfc6791_ipv4": ["203.0.113.99/32"]},
        },
    ),
    outward6(
        "error_of_the_host_itself_is_none_of_rfc6791",
        error6(UDP6_IN, src="2001:db8:1::10"),
        error4_seen(UDP4_IN, src=MAPPED4),
        config={"translation": {"rfc6791_ipv4": ["203.0.113.99/32"]}},
    ),
]
# RFC 7915 section 5.1 excuses no error: an illegal IPv6 source is nobody's.
CASES += [
    *(
        outward6(f"error_from_{source}_is_silently_dropped", error6(UDP6_IN, src=source), verdict=Verdict.NOT_UNICAST)
        for source in ("::", "::1", "fe80::1", "febf::1", "ff02::1", "ff0e::1")
    ),
    outward6(
        "fragment_of_an_error_from_::1_is_silently_dropped",
        fragment_of(error6(UDP6_IN, src="::1"), 0, 40),
        verdict=Verdict.NOT_UNICAST,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rfc7915_4_3(case):
    case.check()


def test_rfc7915_4_3_a_second_embedded_header_of_any_type(nat64):
    alone = Nat64(**ALONE)
    for type_ in set(range(256)) - {0, 8}:
        nat64.check(Step(error4(seen4() / Icmp(type=type_) / UDP4), verdict=Verdict.ERROR_IN_ERROR))
        sent = to_eam4() / Icmp(type=3) / as_eam4() / Icmp(type=type_) / UDP4
        alone.check(Step(sent, verdict=Verdict.ERROR_IN_ERROR))


def test_rfc7915_5_3_a_second_embedded_header_of_any_type(nat64):
    alone = Nat64(**ALONE)
    for type_ in set(range(256)) - {128, 129}:
        nat64.check(Step(error6(seen6() / Icmp(type=type_) / UDP6_IN), verdict=Verdict.ERROR_IN_ERROR))
        sent = of_eam6() / Icmp(type=1) / at_eam6() / Icmp(type=type_) / UDP6_IN
        alone.check(Step(sent, verdict=Verdict.ERROR_IN_ERROR))


def test_rfc6791_3_the_routers_of_a_path_get_addresses_of_the_whole_pool():
    nat64 = Nat64(translation={"rfc6791_ipv4": ["203.0.113.96/30", "198.51.100.200/31"]})
    nat64.check(OPENING[0])
    sources = [nat64.send(error6(UDP6_IN, src=f"2001:db8:9::{n:x}")).packets[0][12:16] for n in range(1, 60)]
    pool = {bytes([203, 0, 113, last]) for last in (96, 97, 98, 99)} | {
        bytes([198, 51, 100, last]) for last in (200, 201)
    }
    assert set(sources) == pool
    assert nat64.send(error6(UDP6_IN, src="2001:db8:9::1")).packets[0][12:16] == sources[0]
