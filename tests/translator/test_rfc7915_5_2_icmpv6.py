"""RFC 7915 section 5.2: type, code, pointer and MTU of an ICMPv6 message in ICMPv4."""

import itertools

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6ExtHdrFragment, IPv6ExtHdrRouting
from scapy.packet import Raw

from tests.case import Case, Nat64, Step
from tests.kinds import MAPPED_BY
from tests.mapped import ASK, SIIT, TRANSLATABLE4, TRANSLATABLE6
from tests.packets import (
    FROM_HOST6,
    ROUTER6,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    answer6,
    cut,
    fragment_of,
    from6,
    payload,
    ping4,
    ping6,
    seen4,
    seen6,
    sent4,
)
from translator.verdict import Verdict

OPENING = Step(from6() / UDP(**FROM_HOST6))
QUOTED6, QUOTED4 = seen6() / UDP(**TO_HOST6) / b"x", sent4(ttl=63) / UDP(**TO_MAPPED) / b"x"
LARGE6 = seen6() / UDP(**TO_HOST6) / payload(1465)
LARGE4 = sent4(ttl=63, flags="DF") / UDP(**TO_MAPPED) / payload(1465)
PLATEAU6 = seen6() / UDP(**TO_HOST6) / payload(1464)  # 1492 octets in IPv4
PLATEAU4 = sent4(ttl=63, flags="DF") / UDP(**TO_MAPPED) / payload(1464)
FRAGMENTED6 = seen6() / IPv6ExtHdrFragment(id=7) / UDP(**TO_HOST6) / b"x"
FRAGMENTED4 = sent4(id=7) / UDP(**TO_MAPPED) / b"x"

# (type, code) -> (type, code), word for word; whatever is missing is silently dropped.
ERRORS = {
    (1, 0): (3, 1),
    (1, 1): (3, 10),
    (1, 2): (3, 1),
    (1, 3): (3, 1),
    (1, 4): (3, 3),
    (2, 0): (3, 4),
    (3, 0): (11, 0),
    (3, 1): (11, 1),
    (3, 2): (11, 2),
    (3, 255): (11, 255),
    (4, 0): (12, 0),
    (4, 1): (3, 2),
}
UNTRANSLATED = [(1, code) for code in (5, 6, 7, 255)] + [(4, code) for code in (2, 3, 255)]
UNTRANSLATED += [(type_, 0) for type_ in (0, 5, 15, 16, 100, 127)]
NOT_ECHO = range(130, 256)
ROUTED = IPv6ExtHdrRouting(addresses=["2001:db8:9::9"], segleft=1)

PLATEAUS = (68, 296, 508, 1006, 1492, 2002, 4352, 8166, 17914, 32000, 65535)  # RFC 1191 section 7
# Figure 6: octet of the IPv6 header -> octet of the IPv4 header; no other octet has a counterpart.
POINTERS = {
    0: 0,
    1: 1,
    4: 2,
    5: 2,
    6: 9,
    7: 8,
    **dict.fromkeys(range(8, 24), 12),
    **dict.fromkeys(range(24, 40), 16),
}
NO_POINTERS = (2, 3, 40, 41, 48, 255, 256, 0x01000000, 0x80000000, 0xFFFFFFFF)


def error6(type_, code, rest=0, quoted=QUOTED6):
    return from6(src=ROUTER6) / Icmp(type=type_, code=code, rest=rest) / quoted


def error4(type_, code, rest=0, quoted=QUOTED4):
    """RFC 6146 section 3.7: an IPv6 router speaks with the address of the host behind it."""
    return seen4() / Icmp(type=type_, code=code, rest=rest) / quoted


def about(length):
    """A packet of so many octets in IPv4, as it is quoted on both sides: no more of it than an error of IPv4 holds."""
    quoted4 = sent4(ttl=63, flags="DF" if length > 1260 else 0) / UDP(**TO_MAPPED) / payload(length - 28)
    return cut(seen6() / UDP(**TO_HOST6) / payload(length - 28), 568), cut(quoted4, 548)


def too_big(name, given, told, quoted=(QUOTED6, QUOTED4), **translation):
    return Case(
        f"rfc7915_5_2_mtu_{name}",
        config={"translation": translation},
        steps=[OPENING],
        sent=error6(2, 0, given, quoted[0]),
        expect=error4(3, 4, told, quoted[1]),
    )


CASES = [
    Case(
        "rfc7915_5_2_code_of_an_echo_is_unchanged",
        sent=from6() / ping6(True, code=7),
        expect=seen4() / ping4(True, code=7),
    ),
    Case(
        "rfc7915_5_2_echo_request_128_becomes_8",
        sent=from6() / ping6(True, b"abc"),
        expect=seen4() / ping4(True, b"abc"),
    ),
    Case(
        "rfc7915_5_2_echo_reply_129_becomes_0",
        sent=from6() / ping6(False, payload(57)),
        expect=seen4() / ping4(False, payload(57)),
    ),
    *(
        Case(
            f"rfc7915_5_2_echo_reply_of_{octets}_zeros_has_a_checksum",
            config=SIIT,
            sent=from6(src=TRANSLATABLE6) / ping6(False, bytes(octets), id=0, seq=0),
            expect=seen4(src=TRANSLATABLE4) / ping4(False, bytes(octets), id=0, seq=0),
        )
        for octets in (0, 1, 56)
    ),
    Case(
        "rfc7915_5_2_echo_reply_with_a_checksum_of_zero_keeps_it",
        config=SIIT,
        sent=from6(src=TRANSLATABLE6) / ping6(False, b"", id=0xFFFF, seq=0),
        expect=seen4(src=TRANSLATABLE4) / ping4(False, b"", id=0xFFFF, seq=0),
    ),
    *(
        Case(
            f"rfc7915_5_2_informational_type_{type_}_is_silently_dropped",
            sent=from6() / Icmp(type=type_) / Raw(bytes(48)),
            verdict=Verdict.ICMP_TYPE,
        )
        for type_ in NOT_ECHO
    ),
    *(
        Case(
            f"rfc7915_5_2_type_{type_}_{name}_is_answered",
            sent=(sent := packet / Icmp(type=type_) / Raw(bytes(48))),
            verdict=verdict,
            answer=answer6(sent, *answer),
        )
        for type_ in (*range(130, 137), 143, 200)
        for name, packet, verdict, answer in (
            ("whose_hop_limit_ends_here", from6(hlim=1), Verdict.HOP_LIMIT_EXPIRED, (3, 0)),
            ("with_a_routing_header", from6() / ROUTED, Verdict.ROUTING_HEADER, (4, 0, 43)),
        )
    ),
    *(
        Case(
            f"rfc7915_5_2_error_{type_}_{code}_becomes_{new_type}_{new_code}",
            steps=[OPENING],
            sent=error6(type_, code, 1500 if type_ == 2 else 0),
            expect=error4(new_type, new_code, 1480 if type_ == 2 else 0),
        )
        for (type_, code), (new_type, new_code) in ERRORS.items()
    ),
    *(
        Case(
            f"rfc7915_5_2_error_{type_}_{code}_is_silently_dropped",
            steps=[OPENING],
            sent=error6(type_, code),
            verdict=Verdict.ICMP_TYPE,
        )
        for type_, code in UNTRANSLATED
    ),
    Case(
        "rfc7915_5_2_unused_octets_of_an_error_become_0",
        steps=[OPENING],
        sent=error6(1, 1, 0x00123456),
        expect=error4(3, 10, 0),
    ),
    *(
        Case(
            f"rfc7915_5_2_unrecognized_next_header_at_{pointer}_is_protocol_unreachable",
            steps=[OPENING],
            sent=error6(4, 1, pointer),
            expect=error4(3, 2, 0),
        )
        for pointer in (6, 40, 1000, 0xFFFFFFFF)
    ),
    *(
        Case(
            f"rfc7915_5_2_pointer_{pointer}_becomes_{translated}",
            steps=[OPENING],
            sent=error6(4, 0, pointer),
            expect=error4(12, 0, translated << 24),
        )
        for pointer, translated in POINTERS.items()
    ),
    *(
        Case(
            f"rfc7915_5_2_pointer_{pointer}_has_no_counterpart",
            steps=[OPENING],
            sent=error6(4, 0, pointer),
            verdict=Verdict.ICMP_TYPE,
        )
        for pointer in NO_POINTERS
    ),
    too_big("shrinks_by_20", 1400, 1380),
    too_big("1280_becomes_1260", 1280, 1260),
    too_big("shrinks_by_28_where_the_packet_had_a_fragment_header", 1400, 1372, (FRAGMENTED6, FRAGMENTED4)),
    too_big(
        "shrinks_by_28_where_a_fragment_was_too_large",
        1400,
        1372,
        (
            fragment_of(seen6() / UDP(**TO_HOST6) / payload(800), 0, 400),
            fragment_of(sent4(ttl=63) / UDP(**TO_MAPPED) / payload(800), 0, 400),
        ),
    ),
    too_big("is_that_of_the_message_where_routes_have_theirs", 9000, 8980),
    too_big("is_no_larger_than_mtu4", 9000, 1400, mtu4=1400),
    too_big("is_no_larger_than_mtu6_less_20", 9000, 1480, mtu6=1500),
    too_big("is_the_smallest_of_all_three", 1300, 1280, mtu4=1400, mtu6=1500),
    too_big("is_mtu4_where_it_is_the_smallest", 9000, 1400, mtu4=1400, mtu6=1500),
    too_big("is_mtu6_less_20_where_it_is_the_smallest", 9000, 1380, mtu4=1500, mtu6=1400),
    too_big("beyond_16_bits_is_65535", 0x7FFFFFFF, 65535),
    too_big("beyond_31_bits_is_65535", 0xFFFFFFFF, 65535),
    *(too_big(f"of_{mtu}_is_never_below_68", mtu, 68) for mtu in (1, 20, 67, 68, 87, 88)),
    too_big("of_89_is_69", 89, 69),
    too_big("of_0_is_the_plateau_below_the_quoted_length", 0, 1492, (cut(LARGE6, 100), cut(LARGE4, 80))),
    too_big("of_0_is_not_the_plateau_of_the_quoted_length_itself", 0, 1006, (cut(PLATEAU6, 100), cut(PLATEAU4, 80))),
    *(
        too_big(f"of_0_is_the_plateau_of_{plateau}_just_below_{length}", 0, plateau, about(length))
        for plateau, above in itertools.pairwise(PLATEAUS)
        for length in (plateau + 1, min(above, 65535))
    ),
    too_big("of_0_about_the_smallest_packet_is_68", 0, 68),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rfc7915_5_2(case):
    case.check()


@pytest.mark.no_cover
def test_rfc7915_5_2_every_other_type_and_code_is_silently_dropped():
    nat64 = Nat64()
    nat64.check(OPENING)
    codes = {type_: range(256) if type_ in {1, 2, 3, 4} else (0, 1, 255) for type_ in range(128)}
    keys = [(type_, code) for type_ in codes for code in codes[type_]]
    verdicts = {key: nat64.send(error6(*key)).verdict for key in keys}
    expected = {key for key in verdicts if key in ERRORS or key[0] in {2, 3}}
    assert {key for key, verdict in verdicts.items() if verdict == Verdict.TRANSLATED} == expected
    assert set(verdicts.values()) == {Verdict.TRANSLATED, Verdict.ICMP_TYPE}


@pytest.mark.no_cover
@pytest.mark.parametrize("way", MAPPED_BY.values(), ids=MAPPED_BY)
def test_rfc7915_5_2_type_code_pointer_and_mtu_without_state(way):
    config, came4, left6, came6, left4 = way
    nat64 = Nat64(**config)
    told = {(*key, 0): (*to, 0) for key, to in ERRORS.items() if key != (2, 0)}
    told |= {(4, 0, at): (12, 0, to << 24) for at, to in POINTERS.items()}
    told |= {(2, 0, mtu): (3, 4, min(max(68, mtu - 20), 65535)) for mtu in (1, 88, 89, 1280, 1400, 0xFFFFFFFF)}
    told |= dict.fromkeys([(type_, code, 0) for type_, code in UNTRANSLATED])
    told |= dict.fromkeys([(4, 0, at) for at in NO_POINTERS])
    told |= dict.fromkeys([(type_, 0, 0) for type_ in NOT_ECHO])
    for (type_, code, rest), to in told.items():
        sent = came6() / Icmp(type=type_, code=code, rest=rest) / left6() / UDP(**ASK)
        seen = to and left4() / Icmp(type=to[0], code=to[1], rest=to[2]) / came4(ttl=63, id=0) / UDP(**ASK)
        nat64.check(Step(sent, seen, Verdict.TRANSLATED if to else Verdict.ICMP_TYPE))


def test_rfc7915_5_2_any_code_of_time_exceeded_is_unchanged():
    nat64 = Nat64()
    nat64.check(OPENING)
    for code in (2, 3, 4, 8, 16, 32, 64, 100, 128, 254):
        nat64.check(Step(error6(3, code), error4(11, code)))
