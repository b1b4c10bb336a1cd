"""RFC 7915 section 5.1.1: an IPv6 packet with a Fragment header."""

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting
from scapy.packet import Raw

from tests.case import Case, Step
from tests.mapped import ALONE, EAM4, as_eam4, of_eam6
from tests.packets import FROM_HOST6, FROM_MAPPED, answer6, fragment_of, from6, payload, ping4, ping6, seen4, whole
from translator.verdict import Verdict

DATA = UDP(**FROM_HOST6) / b"x"
SEEN = UDP(**FROM_MAPPED) / b"x"
DATA8 = UDP(**FROM_HOST6) / payload(8)
LONG6, LONG4 = (from6() / UDP(**FROM_HOST6) / payload(3000), seen4() / UDP(**FROM_MAPPED) / payload(3000))
PIECES = (0, 1232, 2464)
LARGE = payload(1400)
VISITED = IPv6ExtHdrRouting(addresses=["2001:db8::9"], segleft=0)


def atomic(identification: int = 0) -> IPv6ExtHdrFragment:
    """RFC 6946: a Fragment header on a whole packet."""
    return IPv6ExtHdrFragment(id=identification, offset=0, m=0)


BEHIND = {
    "options_behind_a_first_fragment": from6() / IPv6ExtHdrFragment(m=1) / IPv6ExtHdrDestOpt() / DATA,
    "options_behind_a_later_fragment": from6() / IPv6ExtHdrFragment(offset=100) / IPv6ExtHdrDestOpt() / DATA,
    "hop_by_hop_behind_a_first_fragment": from6() / IPv6ExtHdrFragment(m=1) / IPv6ExtHdrHopByHop() / DATA,
    "hop_by_hop_behind_a_later_fragment": from6() / IPv6ExtHdrFragment(offset=100) / IPv6ExtHdrHopByHop() / DATA,
    "routing_behind_a_first_fragment": from6() / IPv6ExtHdrFragment(m=1) / VISITED / DATA,
    "routing_behind_a_later_fragment": from6() / IPv6ExtHdrFragment(offset=100) / VISITED / DATA,
    "a_second_fragment_header": from6() / atomic() / atomic() / DATA,
    "a_fragment_header_behind_a_fragment": from6() / IPv6ExtHdrFragment(m=1) / atomic() / DATA,
    "nine_extension_headers": from6() / IPv6ExtHdrFragment(nh=60) / Raw(bytes([60, 0, 1, 4, 0, 0, 0, 0]) * 9),
}
PASSED_ON = {"authentication": 51, "mobility": 135, "host_identity": 139, "shim6": 140}
PLACES = {"a_first": IPv6ExtHdrFragment(m=1), "a_later": IPv6ExtHdrFragment(offset=100)}
BEHIND |= {
    f"{name}_behind_{place}_fragment": from6() / header.copy() / Raw(payload(16))
    for name, number in PASSED_ON.items()
    for place, plain in PLACES.items()
    for header in [IPv6ExtHdrFragment(nh=number, m=plain.m, offset=plain.offset)]
}
ENCAPSULATED6, ENCAPSULATED4 = (header / Raw(payload(3000)) for header in (of_eam6(nh=50), as_eam4(proto=50)))
ROUTED = from6() / IPv6ExtHdrFragment(m=1, id=9) / IPv6ExtHdrRouting(addresses=["2001:db8::9"], segleft=1) / DATA

CASES = [
    Case(
        "rfc7915_5_1_1_identification_is_the_low_16_bits",
        sent=from6() / atomic(0x12345678) / DATA,
        expect=seen4(id=0x5678) / SEEN,
    ),
    Case(
        "rfc7915_5_1_1_next_header_58_becomes_1",
        sent=from6() / atomic(7) / ping6(True, b"x"),
        expect=seen4(id=7, proto=1) / ping4(True, b"x"),
    ),
    Case(
        "rfc7915_5_1_1_df_is_0_whatever_the_size",
        sent=from6() / atomic(7) / UDP(**FROM_HOST6) / payload(1400),
        expect=seen4(id=7, flags=0) / UDP(**FROM_MAPPED) / payload(1400),
    ),
    Case(
        "rfc7915_5_1_1_df_of_a_fragment_is_0_whatever_the_size",
        steps=[Step(fragment_of(LONG6, at, 1400), fragment_of(LONG4, at, 1400)) for at in (0, 1400)],
    ),
    *(
        Case(
            f"rfc7915_5_1_1_df_of_{name}_is_0_whatever_the_size",
            config=config,
            sent=came / IPv6ExtHdrFragment(nh=number, id=7) / Raw(bytes(whole(came / body).payload)),
            expect=seen4(id=7, flags=0, **left) / as_body,
        )
        for name, config, came, number, body, left, as_body in (
            ("tcp", {}, from6(), 6, TCP(**FROM_HOST6, flags="S") / LARGE, {}, TCP(**FROM_MAPPED, flags="S") / LARGE),
            ("an_echo", {}, from6(), 58, ping6(True, LARGE), {}, ping4(True, LARGE)),
            ("esp", ALONE, of_eam6(), 50, Raw(LARGE), {"src": EAM4, "proto": 50}, Raw(LARGE)),
        )
    ),
    Case(
        "rfc7915_5_1_1_it_passes_an_ipv4_mtu_that_is_smaller",
        config={"translation": {"mtu4": 1000}},
        sent=from6() / atomic(7) / UDP(**FROM_HOST6) / payload(1400),
        expect=seen4(id=7, flags=0) / UDP(**FROM_MAPPED) / payload(1400),
    ),
    Case(
        "rfc7915_5_1_1_more_fragments_and_offset_are_copied",
        steps=[Step(fragment_of(LONG6, at, 1232, 0xABCD1234), fragment_of(LONG4, at, 1232, 0x1234)) for at in PIECES],
    ),
    Case(
        "rfc7915_5_1_1_first_fragment_of_tcp",
        sent=fragment_of(from6() / TCP(**FROM_HOST6, flags="A") / payload(800), 0, 400),
        expect=fragment_of(seen4() / TCP(**FROM_MAPPED, flags="A") / payload(800), 0, 400),
    ),
    *(
        Case(
            f"rfc7915_5_1_1_a_fragment_at_{offset}_of_identification_{identification:#x}",
            config=ALONE,
            sent=of_eam6() / IPv6ExtHdrFragment(nh=17, offset=offset // 8, m=more, id=identification) / Raw(payload(8)),
            expect=as_eam4(proto=17, frag=offset // 8, flags="MF" if more else 0, id=low) / Raw(payload(8)),
        )
        for offset, more, identification, low in (
            (8, 1, 0x0000FEDC, 0xFEDC),
            (0x8000, 1, 0xFFFFFEDC, 0xFEDC),
            (0x5550, 1, 0x0001FFFF, 0xFFFF),
            (0xAAA8, 0, 0xFFFF0000, 0),
            (65504, 0, 0x7FFF8000, 0x8000),
        )
    ),
    Case(
        "rfc7915_5_1_1_total_length_is_without_extension_headers_in_front_of_the_fragment_header",
        sent=from6() / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(m=1, id=7) / DATA8,
        expect=seen4(id=7, flags="MF") / UDP(**FROM_MAPPED) / payload(8),
    ),
    Case(
        "rfc7915_5_1_1_authentication_in_a_fragment_is_dropped_without_sessions",
        config=ALONE,
        sent=of_eam6() / IPv6ExtHdrFragment(nh=51, m=1) / Raw(payload(16)),
        verdict=Verdict.EXTENSION_HEADERS,
    ),
    Case(
        "rfc7915_5_1_1_encapsulating_security_payload_in_fragments_passes",
        config=ALONE,
        steps=[
            Step(fragment_of(ENCAPSULATED6, at, 1232, 0xABCD1234), fragment_of(ENCAPSULATED4, at, 1232, 0x1234))
            for at in PIECES
        ],
    ),
    Case(
        "rfc7915_5_1_1_reserved_bits_are_not_the_m_flag",
        config=ALONE,
        sent=of_eam6() / IPv6ExtHdrFragment(nh=17, res1=0xFF, offset=100, res2=3, m=0, id=7) / Raw(payload(8)),
        expect=as_eam4(proto=17, frag=100, id=7) / Raw(payload(8)),
    ),
    Case(
        "rfc7915_5_1_1_options_behind_the_fragment_header_of_a_whole_packet_are_skipped",
        sent=from6() / atomic(7) / IPv6ExtHdrDestOpt() / DATA,
        expect=seen4(id=7) / SEEN,
    ),
    Case(
        "rfc7915_5_1_1_authentication_behind_the_fragment_header_of_a_whole_packet_passes",
        config=ALONE,
        sent=of_eam6() / IPv6ExtHdrFragment(nh=51, id=7) / Raw(payload(16)),
        expect=as_eam4(id=7, proto=51) / Raw(payload(16)),
    ),
    *(
        Case(
            f"rfc7915_5_1_1_extension_header_behind_the_fragment_header_is_dropped_{name}",
            sent=sent,
            verdict=Verdict.EXTENSION_HEADERS,
        )
        for name, sent in BEHIND.items()
    ),
    Case(
        "rfc7915_5_1_routing_header_of_a_first_fragment_is_answered",
        sent=ROUTED,
        verdict=Verdict.ROUTING_HEADER,
        answer=answer6(ROUTED, 4, 0, 40 + 8 + 3),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rfc7915_5_1_1(case):
    case.check()
