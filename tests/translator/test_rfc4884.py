"""RFC 4884: extensions behind the packet that an ICMP error quotes, and the length attribute (RFC 7915 4.2, 5.2)."""

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop
from scapy.packet import Raw

from tests.case import Case, Nat64, Step
from tests.kinds import MAPPED_BY
from tests.mapped import ASK
from tests.packets import (
    FROM_HOST6,
    FROM_MAPPED,
    HOST6_PORT,
    MAPPED4_IN6,
    MAPPED4_PORT,
    NEIGHBOUR6,
    ROUTER6,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    cut,
    fragment_of,
    from4,
    from6,
    payload,
    seen4,
    seen6,
    sent4,
    sent6,
    whole,
    with_options,
)
from tests.quotes import (
    LONG4,
    LONG4_IN,
    LONG6,
    LONG6_IN,
    OPENING,
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

MPLS = bytes.fromhex("2000dead 00080101 0badcafe")  # its checksum is wrong, which is the reader's business


def case(name, sent, expect=None, **more):
    return Case(name, steps=OPENING, sent=sent, expect=expect, **more)


def extended(quoted, size, extension=MPLS, padding=b"\0"):
    """A datagram field of `size` octets, zeros at its end, and an extension."""
    assert len(quoted) <= size
    return bytes(quoted).ljust(size, padding) + extension


def words4(size):
    """The length attribute of an ICMP error."""
    return size // 4 << 16


def words6(size):
    """The length attribute of an ICMPv6 error."""
    return size // 8 << 24


def longer(name, size4, size6, extension=MPLS):
    """A long packet, quoted in a field of `size4` octets, goes into one of `size6`."""
    quoted = cut(LONG6, min(size4 + 20, size6))
    return case(
        name,
        error4(cut(LONG4, size4) + extension, rest=words4(size4)),
        error6_seen(extended(quoted, size6, extension), rest=words6(size6)),
    )


def shorter(name, size6, size4, extension=MPLS):
    """A long packet, quoted in a field of `size6` octets, goes into one of `size4`."""
    quoted = cut(LONG4_IN, min(size6 - 20, size4))
    return case(
        name,
        error6(cut(LONG6_IN, size6) + extension, rest=words6(size6)),
        error4_seen(extended(quoted, size4, extension), rest=words4(size4)),
    )


OPTIONS = with_options(UDP4, b"\x07\x27" + bytes(37))
HEADERS = seen6() / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / UDP(**TO_HOST6) / payload(21)
HEADERS_ALONE = seen6(nh=60) / Raw(b"\x11\x0b" + bytes(94)) / UDP(**TO_HOST6)
FRAGMENT4 = fragment_of(seen4() / UDP(**FROM_MAPPED) / payload(800), 0, 400, 0x1234)
FRAGMENT6 = fragment_of(sent6() / UDP(**FROM_HOST6) / payload(800), 0, 400, 0x1234)
# The messages of both families that have a length attribute: types in ICMP and ICMPv6, and what is added to a name.
EITHER = ((3, 1, ""), (11, 3, "_in_time_exceeded"))

CASES = [
    # Section 4: at least 128 octets, zeros up to them; in words of 4 octets in ICMP, of 8 in ICMPv6.
    case(
        "rfc4884_4_a_short_quote_is_padded_to_128_octets_in_ipv6",
        error4(extended(UDP4, 128), rest=words4(128)),
        error6_seen(extended(UDP6, 128), rest=words6(128)),
    ),
    case(
        "rfc4884_4_a_short_quote_is_padded_to_128_octets_in_ipv4",
        error6(extended(UDP6_IN, 128), rest=words6(128)),
        error4_seen(extended(UDP4_IN, 128), rest=words4(128)),
    ),
    longer("rfc4884_4_a_quote_of_128_octets_becomes_148_padded_to_152_in_ipv6", 128, 152),
    longer("rfc4884_4_a_quote_of_132_octets_becomes_152_in_ipv6", 132, 152),
    longer("rfc4884_4_a_quote_of_140_octets_becomes_160_in_ipv6", 140, 160),
    case(
        "rfc4884_4_a_quote_of_130_octets_is_padded_to_132_in_ipv4",
        error6(extended(seen6() / UDP(**TO_HOST6) / payload(102), 152), rest=words6(152)),
        error4_seen(extended(sent4() / UDP(**TO_MAPPED) / payload(102), 132), rest=words4(132)),
    ),
    *(
        case(
            f"rfc4884_4_what_pads_a_quote_of_{size4}_octets_is_0_in_ipv4",
            error6(
                extended(seen6() / UDP(**TO_HOST6) / payload(size4 - 28), field6, padding=b"\xff"), rest=words6(field6)
            ),
            error4_seen(extended(sent4() / UDP(**TO_MAPPED) / payload(size4 - 28), field4), rest=words4(field4)),
        )
        for size4, field6, field4 in ((49, 128, 128), (129, 152, 132), (130, 152, 132), (131, 152, 132))
    ),
    *(
        case(
            f"rfc4884_4_what_pads_a_quote_of_{size6}_octets_is_0_in_ipv6",
            error4(
                extended(seen4() / UDP(**FROM_MAPPED) / payload(size6 - 48), field4, padding=b"\xff"),
                rest=words4(field4),
            ),
            error6_seen(extended(sent6() / UDP(**FROM_HOST6) / payload(size6 - 48), field6), rest=words6(field6)),
        )
        for size6, field4, field6 in ((69, 128, 128), (153, 136, 160), (157, 140, 160), (159, 140, 160))
    ),
    shorter("rfc4884_4_a_quote_of_128_octets_becomes_108_padded_to_128_in_ipv4", 128, 128),
    shorter("rfc4884_4_a_quote_of_152_octets_becomes_132_in_ipv4", 152, 132),
    case(
        "rfc4884_4_a_field_longer_than_its_quote_shrinks_in_ipv6",
        error4(extended(UDP4, 300), rest=words4(300)),
        error6_seen(extended(UDP6, 128), rest=words6(128)),
    ),
    case(
        "rfc4884_4_a_field_longer_than_its_quote_shrinks_in_ipv4",
        error6(extended(UDP6_IN, 304), rest=words6(304)),
        error4_seen(extended(UDP4_IN, 128), rest=words4(128)),
    ),
    case(
        "rfc4884_4_time_exceeded_has_one_too_in_ipv6",
        error4(extended(UDP4, 128), type_=11, rest=words4(128)),
        error6_seen(extended(UDP6, 128), type_=3, rest=words6(128)),
    ),
    case(
        "rfc4884_4_time_exceeded_has_one_too_in_ipv4",
        error6(extended(UDP6_IN, 128), type_=3, rest=words6(128)),
        error4_seen(extended(UDP4_IN, 128), type_=11, rest=words4(128)),
    ),
    case(
        "rfc4884_4_a_quoted_fragment_gets_a_fragment_header_more_in_ipv6",
        error4(cut(FRAGMENT4, 128) + MPLS, rest=words4(128)),
        error6_seen(extended(cut(FRAGMENT6, 156), 160), rest=words6(160)),
    ),
    case(
        "rfc4884_4_options_of_the_quoted_packet_vanish_in_ipv6",
        error4(extended(OPTIONS, 128), rest=words4(128)),
        error6_seen(extended(UDP6, 128), rest=words6(128)),
    ),
    case(
        "rfc4884_4_extension_headers_of_the_quoted_packet_vanish_in_ipv4",
        error6(extended(HEADERS, 128), rest=words6(128)),
        error4_seen(extended(UDP4_IN, 128), rest=words4(128)),
    ),
    case(
        "rfc4884_9_a_quoted_header_does_not_go_on_in_the_extension_in_ipv4",
        error6(cut(HEADERS_ALONE, 128) + bytes(HEADERS_ALONE)[128:], rest=words6(128)),
        verdict=Verdict.QUOTED_PACKET,
    ),
    # Section 4.6: types without the attribute.
    case(
        "rfc4884_4_6_packet_too_big_has_none_in_ipv6",
        from4() / Icmp(type=3, code=4, rest=words4(128) | 1400) / extended(UDP4, 128),
        seen6() / Icmp(type=2, rest=1420) / UDP6,
    ),
    case(
        "rfc4884_4_6_protocol_unreachable_has_none_in_ipv6",
        from4() / Icmp(type=3, code=2, rest=words4(128)) / extended(UDP4, 128),
        seen6() / Icmp(type=4, code=1, rest=6) / UDP6,
    ),
    case(
        "rfc4884_4_6_parameter_problem_has_none_in_ipv6",
        from4() / Icmp(type=12, rest=words4(128) | 8 << 24) / extended(UDP4, 128),
        seen6() / Icmp(type=4, rest=7) / UDP6,
    ),
    *(
        case(
            f"rfc4884_4_6_{name}_about_a_long_packet_has_none_in_ipv6",
            from4() / Icmp(type=kind4[0], code=kind4[1], rest=words4(128) | rest4) / (cut(LONG4, 128) + MPLS),
            seen6() / Icmp(type=kind6[0], code=kind6[1], rest=rest6) / cut(LONG6, 148),
        )
        for name, kind4, rest4, kind6, rest6 in (
            ("packet_too_big", (3, 4), 1400, (2, 0), 1420),
            ("protocol_unreachable", (3, 2), 0, (4, 1), 6),
            ("parameter_problem", (12, 0), 8 << 24, (4, 0), 7),
        )
    ),
    case(
        "rfc4884_4_6_packet_too_big_has_no_length_in_ipv4",
        from6(src=ROUTER6) / Icmp(type=2, rest=0x10000500) / extended(UDP6_IN, 128),
        seen4() / Icmp(type=3, code=4, rest=0xFFFF) / UDP4_IN,
    ),
    case(
        "rfc4884_4_6_parameter_problem_has_no_length_in_ipv4",
        from6(src=ROUTER6) / Icmp(type=4, code=1, rest=words6(128)) / extended(cut(LONG6_IN, 128), 128),
        seen4() / Icmp(type=3, code=2) / (cut(LONG4_IN, 108) + MPLS),
    ),
    # Sections 5.4 and 9: no attribute, or one that cannot be.
    *(
        case(
            f"rfc4884_9_a_length_of_{size}_octets{where}_is_none_in_ipv6",
            error4(cut(LONG4, 140) + MPLS, type_=type4, rest=words4(size)),
            error6_seen(cut(LONG6, 160) + MPLS, type_=type6),
        )
        for type4, type6, where in EITHER
        for size in (0, 4, 124, 152, 156, 1020)
    ),
    *(
        case(
            f"rfc4884_9_a_length_of_{size}_octets{where}_is_none_in_ipv4",
            error6(cut(LONG6_IN, 140) + MPLS, type_=type6, rest=words6(size)),
            error4_seen(cut(LONG4_IN, 120) + MPLS, type_=type4),
        )
        for type4, type6, where in EITHER
        for size in (0, 8, 120, 152, 160, 2040)
    ),
    *(
        case(
            f"rfc4884_9_a_length_of_{size}_octets_in_parameter_problem_is_none_in_ipv6",
            from4() / Icmp(type=12, rest=8 << 24 | words4(size)) / (cut(LONG4, 140) + MPLS),
            seen6() / Icmp(type=4, rest=7) / (cut(LONG6, 160) + MPLS),
        )
        for size in (4, 124, 152, 156, 1020)
    ),
    case(
        "rfc4884_5_4_a_length_of_0_octets_in_parameter_problem_is_none_in_ipv6",
        from4() / Icmp(type=12, rest=8 << 24) / (cut(LONG4, 128) + MPLS),
        seen6() / Icmp(type=4, rest=7) / (cut(LONG6, 148) + MPLS),
    ),
    # Section 5.5: what lies behind a short quote without the attribute, where it began before RFC 4884.
    *(
        case(
            f"rfc4884_5_5_what_follows_a_short_quote_without_length{where}_is_left_out_in_ipv6",
            error4(extended(UDP4, 128), type_=type4),
            error6_seen(UDP6, type_=type6),
        )
        for type4, type6, where in EITHER
    ),
    *(
        case(
            f"rfc4884_5_5_what_follows_a_short_quote_without_length{where}_is_left_out_in_ipv4",
            error6(extended(UDP6_IN, 128), type_=type6),
            error4_seen(UDP4_IN, type_=type4),
        )
        for type4, type6, where in EITHER
    ),
    # Section 7, RFC 7915 section 4.2: whatever the extension is, and as long as it fits.
    *(
        longer(f"rfc4884_7_an_extension_of_{len(octets)}_octets_is_passed_as_it_is_in_ipv6", 140, 160, octets)
        for octets in (b"\xff", b"\x20\0\0", bytes(4), payload(333))
    ),
    *(
        shorter(f"rfc4884_7_an_extension_of_{len(octets)}_octets_is_passed_as_it_is_in_ipv4", 200, 180, octets)
        for octets in (b"\xff", b"\x20\0\0", bytes(4), payload(333))
    ),
    longer("rfc4884_7_the_quote_gives_way_to_the_extension_in_ipv6", 1000, 232, payload(1000)),
    shorter("rfc4884_7_the_quote_gives_way_to_the_extension_in_ipv4", 400, 248, payload(300)),
    longer("rfc4884_7_the_quote_gives_way_by_whole_words_in_ipv6", 1000, 224, payload(1001)),
    shorter("rfc4884_7_the_quote_gives_way_by_whole_words_in_ipv4", 400, 244, payload(301)),
    longer("rfc4884_7_the_largest_extension_that_fits_in_ipv6", 1000, 128, payload(1104)),
    shorter("rfc4884_7_the_largest_extension_that_fits_in_ipv4", 400, 128, payload(420)),
    case(
        "rfc4884_7_a_larger_extension_is_left_out_in_ipv6",
        error4(cut(LONG4, 1000) + payload(1105), rest=words4(1000)),
        error6_seen(cut(LONG6, 1020)),
    ),
    case(
        "rfc4884_7_a_larger_extension_is_left_out_in_ipv4",
        error6(cut(LONG6_IN, 400) + payload(421), rest=words6(400)),
        error4_seen(cut(LONG4_IN, 380)),
    ),
    case(
        "rfc4884_7_what_is_left_of_the_quote_fills_the_message_in_ipv4",
        error6(cut(LONG6_IN, 800) + payload(421), rest=words6(800)),
        error4_seen(cut(LONG4_IN, 576 - 28)),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rfc4884(case):
    case.check()


def test_rfc4884_4_an_extension_goes_along_whatever_the_code(nat64):
    """Where the message that it becomes has a length attribute (section 4.6)."""
    for step in OPENING:
        nat64.check(step)
    unreachable4 = {0: 0, 1: 0, 3: 4, **dict.fromkeys((5, 6, 7, 8, 11, 12), 0), **dict.fromkeys((9, 10, 13, 15), 1)}
    unreachable6, exceeded = {0: 1, 1: 10, 2: 1, 3: 1, 4: 3}, {code: code for code in (0, 1, 255)}
    for type4, type6, codes in ((3, 1, unreachable4), (11, 3, exceeded)):
        for code, becomes in codes.items():
            sent = from4() / Icmp(type=type4, code=code, rest=words4(128)) / extended(UDP4, 128)
            seen = Icmp(type=type6, code=becomes, rest=words6(128)) / extended(UDP6, 128)
            nat64.check(Step(sent, seen6() / seen))
    for type6, type4, codes in ((1, 3, unreachable6), (3, 11, exceeded)):
        for code, becomes in codes.items():
            sent = from6() / Icmp(type=type6, code=code, rest=words6(128)) / extended(UDP6_IN, 128)
            seen = Icmp(type=type4, code=becomes, rest=words4(128)) / extended(UDP4_IN, 128)
            nat64.check(Step(sent, seen4() / seen))
    for code in (0, 2):
        sent = from4() / Icmp(type=12, code=code, rest=words4(128) | 8 << 24) / extended(UDP4, 128)
        nat64.check(Step(sent, seen6() / Icmp(type=4, rest=7) / UDP6))


@pytest.mark.parametrize("way", MAPPED_BY.values(), ids=MAPPED_BY)
def test_rfc4884_4_an_extension_goes_along_however_a_host_is_mapped(way):
    config, came4, left6, came6, left4 = way
    nat64, body = Nat64(**config), UDP(**ASK) / payload(1000)
    for type4, type6, _ in EITHER:
        sent = came4() / Icmp(type=type4, rest=words4(140)) / Raw(cut(left4() / body, 140) + MPLS)
        quoted = Raw(cut(came6(hlim=63) / body, 160) + MPLS)
        nat64.check(Step(sent, left6() / Icmp(type=type6, rest=words6(160)) / quoted))
        sent = came6() / Icmp(type=type6, rest=words6(152)) / Raw(cut(left6() / body, 152) + MPLS)
        quoted = Raw(cut(came4(ttl=63, id=0) / body, 132) + MPLS)
        nat64.check(Step(sent, left4() / Icmp(type=type4, code=int(type4 == 3), rest=words4(132)) / quoted))


@pytest.mark.parametrize("size", [128, 200, 1000])
@pytest.mark.parametrize("type_", [1, 3])
def test_rfc4884_a_hairpinned_error_keeps_its_extension(nat64, size, type_):
    sent = from6(src=NEIGHBOUR6, dst=MAPPED4_IN6) / UDP(sport=6000, dport=MAPPED4_PORT) / payload(1100)
    (got,) = nat64.send(sent).packets
    quoted = sent.copy()
    quoted.hlim = 63
    error = Icmp(type=type_, rest=words6(size)) / (cut(got, size) + MPLS)
    expect = Icmp(type=type_, rest=words6(size)) / (cut(quoted, size) + MPLS)
    there, back = from6(src=ROUTER6, dst=whole(got).src), seen6(src=MAPPED4_IN6, dst=NEIGHBOUR6)
    nat64.check(Step(there / error, back / expect, Verdict.HAIRPINNED))


@pytest.mark.parametrize(("octets", "size", "fits"), [(0, 2000, 128), (1100, 1000, 232)])
def test_rfc4884_a_hairpinned_error_within_its_limit(octets, size, fits):
    """Zeros behind a short quote go first, then the end of a long one."""
    nat64 = Nat64()
    sent = from6(src=NEIGHBOUR6, dst=MAPPED4_IN6) / UDP(sport=6000, dport=MAPPED4_PORT) / payload(octets)
    (got,) = nat64.send(sent).packets
    assert whole(got).dport == HOST6_PORT
    error = Icmp(type=1, rest=words6(size)) / extended(cut(got, size), size, payload(1000))
    quoted = sent.copy()
    quoted.hlim = 63
    expect = Icmp(type=1, rest=words6(fits)) / extended(cut(quoted, fits), fits, payload(1000))
    there, back = from6(src=ROUTER6, dst=whole(got).src), seen6(src=MAPPED4_IN6, dst=NEIGHBOUR6)
    nat64.check(Step(there / error, back / expect, Verdict.HAIRPINNED))
