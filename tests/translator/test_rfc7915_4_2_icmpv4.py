"""RFC 7915 section 4.2: type, code, pointer and MTU of an ICMPv4 message in ICMPv6."""

import itertools

import pytest
from scapy.layers.inet import UDP

from tests.case import Case, Nat64, Step
from tests.kinds import MAPPED_BY
from tests.mapped import ASK
from tests.packets import (
    FROM_HOST6,
    FROM_MAPPED,
    ROUTER4,
    ROUTER4_IN6,
    Icmp,
    answer4,
    from4,
    from6,
    payload,
    ping4,
    ping6,
    seen4,
    seen6,
    sent6,
    with_options,
)
from translator.verdict import Verdict

OPENING = Step(from6() / UDP(**FROM_HOST6))
QUOTED4, QUOTED6 = seen4() / UDP(**FROM_MAPPED) / b"x", sent6() / UDP(**FROM_HOST6) / b"x"

# (type, code) -> (type, code), word for word; whatever is missing is silently dropped.
UNREACHABLE = {
    0: (1, 0),
    1: (1, 0),
    2: (4, 1),
    3: (1, 4),
    4: (2, 0),
    5: (1, 0),
    6: (1, 0),
    7: (1, 0),
    8: (1, 0),
    9: (1, 1),
    10: (1, 1),
    11: (1, 0),
    12: (1, 0),
    13: (1, 1),
    15: (1, 1),
}
ERRORS = {
    **{(3, code): translated for code, translated in UNREACHABLE.items()},
    **{(11, code): (3, code) for code in (0, 1, 2, 255)},
    (12, 0): (4, 0),
    (12, 2): (4, 0),
}
NEXT_HEADER = 6  # where the octet "protocol" of IPv4 stands in an IPv6 header
RESTS = {(3, 2): NEXT_HEADER, (3, 4): 1280}
UNTRANSLATED = [(3, code) for code in (14, 16, 17, 255)] + [(12, code) for code in (1, 3, 255)]
NOT_ECHO = [type_ for type_ in range(256) if type_ not in {0, 8, 3, 11, 12}]

# Figure 3: octet of the IPv4 header -> octet of the IPv6 header; no other octet has a counterpart.
POINTERS = {
    0: 0,
    1: 1,
    2: 4,
    3: 4,
    8: 7,
    9: 6,
    12: 8,
    13: 8,
    14: 8,
    15: 8,
    16: 24,
    17: 24,
    18: 24,
    19: 24,
}
NO_POINTERS = [pointer for pointer in (*range(24), 40, 127, 128, 255) if pointer not in POINTERS]
# RFC 1191 section 7, and the largest packet there is; from 1280 on.
PLATEAUS = (1492, 2002, 4352, 8166, 17914, 32000, 65535)
POINTED = ((0, "pointer", ""), (2, "bad_length_at", "an_erroneous_header_at_"))  # codes of Parameter Problem


def error4(type_, code, rest=0, quoted=QUOTED4):
    return from4(src=ROUTER4) / Icmp(type=type_, code=code, rest=rest) / quoted


def error6(type_, code, rest=0, quoted=QUOTED6):
    return seen6(src=ROUTER4_IN6) / Icmp(type=type_, code=code, rest=rest) / quoted


def too_big(name, given, told, length=29, options=b"", **translation):
    """A "fragmentation needed" about a packet of `length` octets that gives one MTU and must leave with another."""
    data = payload(length - 28 - len(options))
    quoted = seen4(options=options) / UDP(**FROM_MAPPED) / data, sent6() / UDP(**FROM_HOST6) / data
    cut4, cut6 = (bytes(packet)[:size] for packet, size in zip(quoted, (548, 568 - len(options)), strict=True))
    return Case(
        f"rfc7915_4_2_mtu_{name}",
        config={"translation": translation},
        steps=[OPENING],
        sent=error4(3, 4, given, cut4),
        expect=error6(2, 0, told, cut6),
    )


CASES = [
    Case(
        "rfc7915_4_2_code_of_an_echo_is_unchanged",
        sent=from4() / ping4(True, code=7),
        expect=seen6() / ping6(True, code=7),
    ),
    Case(
        "rfc7915_4_2_echo_request_8_becomes_128",
        sent=from4() / ping4(True, b"abc"),
        expect=seen6() / ping6(True, b"abc"),
    ),
    Case(
        "rfc7915_4_2_echo_reply_0_becomes_129",
        sent=from4() / ping4(False, payload(57)),
        expect=seen6() / ping6(False, payload(57)),
    ),
    Case(
        "rfc7915_4_2_code_of_an_echo_is_kept",
        sent=from4() / ping4(True, b"abc", code=9),
        expect=seen6() / ping6(True, b"abc", code=9),
    ),
    *(
        Case(f"rfc7915_4_2_type_{type_}_is_silently_dropped", sent=from4() / Icmp(type=type_), verdict=verdict)
        for type_ in NOT_ECHO
        for verdict in [Verdict.QUOTED_PACKET if type_ in {4, 5} else Verdict.ICMP_TYPE]
    ),
    *(
        Case(
            f"rfc7915_4_2_type_{type_}_{name}_is_answered",
            sent=(sent := with_options(packet / Icmp(type=type_), options)),
            verdict=verdict,
            answer=answer4(sent, *answer),
        )
        for type_ in (9, 10, 13, 14, 15, 16, 17, 18, 40)
        for name, packet, options, verdict, answer in (
            ("whose_ttl_ends_here", from4(ttl=1), b"", Verdict.HOP_LIMIT_EXPIRED, (11, 0)),
            ("with_a_source_route", from4(), b"\x83\x07\x04\xcb\x00\x71\x01\x00", Verdict.SOURCE_ROUTED, (3, 5)),
            ("to_nobody", from4(dst="169.254.1.1"), b"", Verdict.NOT_UNICAST, (3, 13)),
        )
    ),
    *(
        Case(
            f"rfc7915_4_2_type_{type_}_is_silently_dropped_whatever_it_quotes",
            steps=[OPENING],
            sent=error4(type_, 0),
            verdict=Verdict.ICMP_TYPE,
        )
        for type_ in (4, 5, 13, 30, 40, 42)
    ),
    *(
        Case(
            f"rfc7915_4_2_error_{type_}_{code}_becomes_{new_type}_{new_code}",
            steps=[OPENING],
            sent=error4(type_, code),
            expect=error6(new_type, new_code, RESTS.get((type_, code), 0)),
        )
        for (type_, code), (new_type, new_code) in ERRORS.items()
    ),
    *(
        Case(
            f"rfc7915_4_2_error_{type_}_{code}_is_silently_dropped",
            steps=[OPENING],
            sent=error4(type_, code),
            verdict=Verdict.ICMP_TYPE,
        )
        for type_, code in UNTRANSLATED
    ),
    Case(
        "rfc7915_4_2_unused_octets_of_an_error_become_0",
        steps=[OPENING],
        sent=error4(3, 1, 0x00001234),
        expect=error6(1, 0, 0),
    ),
    *(
        Case(
            f"rfc7915_4_2_{fault}_{pointer}_becomes_{counterpart}{translated}",
            steps=[OPENING],
            sent=error4(12, code, pointer << 24),
            expect=error6(4, 0, translated),
        )
        for code, fault, counterpart in POINTED
        for pointer, translated in POINTERS.items()
    ),
    *(
        Case(
            f"rfc7915_4_2_{fault}_{pointer}_has_no_counterpart",
            steps=[OPENING],
            sent=error4(12, code, pointer << 24),
            verdict=Verdict.ICMP_TYPE,
        )
        for code, fault, _ in POINTED
        for pointer in NO_POINTERS
    ),
    too_big("grows_by_20", 1400, 1420),
    too_big("is_never_below_1280", 576, 1280),
    too_big("1_becomes_1280", 1, 1280),
    too_big("1259_becomes_1280", 1259, 1280),
    too_big("1260_becomes_1280", 1260, 1280),
    too_big("1261_becomes_1281", 1261, 1281),
    too_big("65535_does_not_wrap", 65535, 65555),
    too_big("upper_16_bits_are_unused", 0x00FF0000 | 1400, 1420),
    too_big("is_that_of_the_message_where_routes_have_theirs", 9000, 9020),
    too_big("is_no_larger_than_mtu6", 9000, 1500, mtu6=1500),
    too_big("is_no_larger_than_mtu4_and_20", 9000, 1520, mtu4=1500),
    too_big("is_that_of_the_message_where_it_is_the_smallest", 1300, 1320, mtu4=1400, mtu6=1500),
    too_big("is_mtu6_where_it_is_the_smallest", 9000, 1400, mtu4=1500, mtu6=1400),
    too_big("is_mtu4_and_20_where_it_is_the_smallest", 9000, 1420, mtu4=1400, mtu6=1500),
    too_big("is_never_below_1280_even_if_mtu4_is", 9000, 1280, mtu4=1000),
    too_big("0_is_the_plateau_below_the_quoted_length", 0, 1512, length=2000),
    too_big("0_is_not_the_plateau_of_the_quoted_length_itself", 0, 1512, length=2002),
    too_big("0_is_the_plateau_just_below_the_quoted_length", 0, 2022, length=2003),
    *(
        too_big(f"0_is_the_plateau_of_{plateau}_just_below_{length}", 0, plateau + 20, length)
        for plateau, above in itertools.pairwise(PLATEAUS)
        for length in (plateau + 1, min(above, 65535))
    ),
    too_big("0_is_1280_where_no_plateau_is_larger", 0, 1280, length=1300),
    too_big("0_is_1280_where_no_plateau_is_smaller", 0, 1280, length=60),
    too_big("0_is_the_plateau_below_a_length_that_has_options", 0, 1512, 1493, b"\x01" * 40),
    too_big("0_is_not_the_plateau_of_a_length_that_has_options", 0, 1280, 1492, b"\x01" * 40),
    too_big("0_is_the_plateau_of_the_operator", 0, 1420, length=1500, mtu_plateaus=[1400, 1300]),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rfc7915_4_2(case):
    case.check()


@pytest.mark.no_cover
def test_rfc7915_4_2_every_other_type_and_code_is_silently_dropped():
    nat64 = Nat64()
    nat64.check(OPENING)
    verdicts = {(type_, code): nat64.send(error4(type_, code)).verdict for type_ in (3, 11, 12) for code in range(256)}
    expected = {key for key in verdicts if key in ERRORS or key[0] == 11}
    assert {key for key, verdict in verdicts.items() if verdict == Verdict.TRANSLATED} == expected
    assert set(verdicts.values()) == {Verdict.TRANSLATED, Verdict.ICMP_TYPE}


@pytest.mark.no_cover
@pytest.mark.parametrize("way", MAPPED_BY.values(), ids=MAPPED_BY)
def test_rfc7915_4_2_type_code_pointer_and_mtu_without_state(way):
    config, came4, left6, came6, left4 = way
    nat64 = Nat64(**config)
    told = {(*key, 0): (*to, RESTS.get(key, 0)) for key, to in ERRORS.items()}
    told |= {(12, code, at << 24): (4, 0, to) for code in (0, 2) for at, to in POINTERS.items()}
    told |= {(3, 4, mtu): (2, 0, max(1280, mtu + 20)) for mtu in (576, 1260, 1261, 1400, 65535)}
    told |= dict.fromkeys([(type_, code, 0) for type_, code in UNTRANSLATED])
    told |= dict.fromkeys([(12, code, at << 24) for code in (0, 2) for at in NO_POINTERS])
    told |= dict.fromkeys([(type_, 0, 0) for type_ in NOT_ECHO])
    for (type_, code, rest), to in told.items():
        sent = came4() / Icmp(type=type_, code=code, rest=rest) / left4() / UDP(**ASK)
        seen = to and left6() / Icmp(type=to[0], code=to[1], rest=to[2]) / came6(hlim=63) / UDP(**ASK)
        nat64.check(Step(sent, seen, Verdict.TRANSLATED if to else Verdict.ICMP_TYPE))


@pytest.mark.parametrize("type_", [4, 5])
def test_rfc7915_4_2_source_quench_and_redirect_of_any_code_are_silently_dropped(type_):
    nat64 = Nat64()
    nat64.check(OPENING)
    for code in (*range(8), 255):
        nat64.check(Step(error4(type_, code), verdict=Verdict.ICMP_TYPE))


def test_rfc7915_4_2_any_code_of_time_exceeded_is_unchanged():
    nat64 = Nat64()
    nat64.check(OPENING)
    for code in (2, 3, 4, 8, 16, 32, 64, 100, 128, 254):
        nat64.check(Step(error4(11, code), error6(3, code)))
