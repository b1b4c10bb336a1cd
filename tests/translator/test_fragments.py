"""Sizes: RFC 7915 section 4 (DF, cutting into IPv6 fragments), section 4.1 (fragments of IPv4), the later fragments."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6ExtHdrFragment
from scapy.packet import Packet, Raw

from tests.case import Case, Nat64, Step, compare
from tests.mapped import ALONE, ASK, as_eam4, at_eam6, of_eam6, to_eam4
from tests.packets import (
    FROM_HOST6,
    FROM_MAPPED,
    HOST4,
    TO_HOST6,
    TO_MAPPED,
    answer4,
    answer6,
    fragment_of,
    from4,
    from6,
    payload,
    ping4,
    ping6,
    seen4,
    seen6,
    whole,
)
from tests.translator.test_rfc6877_464xlat import CLAT, CLAT4, CLAT6
from translator.verdict import Verdict

IDENTIFICATION = 0x1234
PIECE = 1232  # what a fragment of 1280 octets carries: a multiple of 8


def datagram4(size, **fields):
    """An IPv4 packet of `size` octets."""
    return from4(**{"id": IDENTIFICATION} | fields) / UDP(**TO_MAPPED) / payload(size - 28)


def datagram6(size):
    """datagram4(size) in IPv6."""
    return seen6() / UDP(**TO_HOST6) / payload(size - 28)


def pieces6(size, length=PIECE):
    """datagram6(size) in fragments."""
    return [fragment_of(datagram6(size), at, length, IDENTIFICATION) for at in range(0, size - 20, length)]


FIRST4, SECOND4, LAST4 = (fragment_of(datagram4(3000), at, 1480) for at in (0, 1480, 2960))
SMALL4 = [fragment_of(datagram4(3000), at, 1000) for at in (0, 1000, 2000)]
SMALL6 = [fragment_of(datagram6(3000), at, 1000) for at in (0, 1000, 2000)]
MTU1500 = {"translation": {"mtu6": 1500}}
TOO_BIG = datagram4(1481, flags="DF")


def with_df(size: int) -> Packet:
    """A first fragment of `size` octets of payload that may not be cut."""
    piece = fragment_of(datagram4(3000), 0, size)
    piece.flags, piece.chksum = "MF+DF", None
    return piece


LARGE_FRAGMENT, FITTING_FRAGMENT = with_df(1456), with_df(1448)
# Of other protocols: octets of IPv4 that are no payload, configuration, and the packet on both sides.
OTHERS = {
    "tcp": (40, {}, from4(id=IDENTIFICATION) / TCP(**TO_MAPPED, flags="A"), seen6() / TCP(**TO_HOST6, flags="A")),
    "an_echo": (28, {}, from4(id=IDENTIFICATION) / ping4(True), seen6() / ping6(True)),
    "esp": (21, ALONE, to_eam4(id=IDENTIFICATION, proto=50) / b"x", at_eam6(nh=50) / b"x"),
}


# UDP where nothing keeps sessions.
WITHOUT_SESSIONS = {
    "udp_without_sessions": (28, ALONE, to_eam4(id=IDENTIFICATION) / UDP(**ASK), at_eam6() / UDP(**ASK)),
    "udp_of_a_clat": (
        28,
        CLAT,
        IP(src=CLAT4, dst=HOST4, id=IDENTIFICATION) / UDP(**ASK),
        from6(src=CLAT6, hlim=63) / UDP(**ASK),
    ),
}


def of_others(size: int, kinds: Any = OTHERS, **fields: Any) -> Iterator[tuple[str, dict[str, Any], Packet, Packet]]:
    """Name, configuration, and a packet of so many octets of IPv4 with fields of its own, on both sides."""
    for name, (rest, config, four, six) in kinds.items():
        sent = four / payload(size - rest)
        for field, value in fields.items():
            setattr(sent, field, value)
        yield name, config, sent, six / payload(size - rest)


# The same towards IPv4; what a packet of IPv6 with a Fragment header leaves as has no DF, so that the host may cut it.
MTU1400 = {"translation": {"mtu4": 1400}}
OTHERS4 = {
    "udp": (28, {}, from6(), UDP(**FROM_HOST6), seen4(), UDP(**FROM_MAPPED)),
    "tcp": (40, {}, from6(), TCP(**FROM_HOST6, flags="A"), seen4(), TCP(**FROM_MAPPED, flags="A")),
    "an_echo": (28, {}, from6(), ping6(True), seen4(), ping4(True)),
    "esp": (21, ALONE, of_eam6(nh=50), Raw(b"x"), as_eam4(proto=50), Raw(b"x")),
}


def to_ipv4(size: int, cut: bool = False) -> Iterator[tuple[str, dict[str, Any], Packet, Packet]]:
    """Name, configuration, and a packet that has so many octets in IPv4, on both sides."""
    for name, (rest, config, header6, six, header4, four) in OTHERS4.items():
        sent, seen = header6 / six / payload(size - rest), header4 / four / payload(size - rest)
        if cut:
            header, extra = header6.copy(), IPv6ExtHdrFragment(nh=whole(sent).nh, id=IDENTIFICATION)
            header.nh = 44
            sent = header / extra / six / payload(size - rest)
            seen.id = IDENTIFICATION
        else:
            seen.flags = "DF"
        yield name, config, sent, seen


TCP_FIRST4 = fragment_of(from4() / TCP(**TO_MAPPED, flags="A") / payload(800), 0, 400)
TCP_FIRST6 = fragment_of(seen6() / TCP(**TO_HOST6, flags="A") / payload(800), 0, 400)

CASES = [
    Case("rfc7915_4_1280_octets_without_df_need_no_fragment_header", sent=datagram4(1260), expect=datagram6(1260)),
    Case("rfc7915_4_1281_octets_without_df_are_cut", sent=datagram4(1261), expect=pieces6(1261)),
    *(
        Case(
            f"rfc7915_4_1280_octets_of_{name}_without_df_need_no_fragment_header", config=config, sent=four, expect=six
        )
        for name, config, four, six in of_others(1260)
    ),
    *(
        Case(
            f"rfc7915_4_1281_octets_of_{name}_without_df_are_cut",
            config=config,
            sent=four,
            expect=[fragment_of(six, at, PIECE, IDENTIFICATION) for at in (0, PIECE)],
        )
        for name, config, four, six in of_others(1261)
    ),
    *(
        Case(f"rfc7915_4_df_of_{name}_is_passed_whole", config=config, sent=four, expect=six)
        for name, config, four, six in of_others(1500, flags="DF")
    ),
    *(
        Case(f"rfc7915_4_1_df_of_{name}_and_as_large_as_the_next_mtu", config=config | MTU1500, sent=four, expect=six)
        for name, config, four, six in of_others(1480, flags="DF")
    ),
    *(
        Case(
            f"rfc7915_4_1_later_fragment_with_df_of_{name}_and_larger_than_the_next_mtu_goes_nowhere",
            config=ALONE | MTU1500,
            sent=to_eam4(proto=number, flags="DF+MF", frag=100) / Raw(payload(1456)),
            verdict=Verdict.TOO_BIG,
        )
        for name, number in (("udp", 17), ("tcp", 6), ("esp", 50))
    ),
    *(
        Case(
            f"rfc7915_4_1_df_of_{name}_and_larger_than_the_next_mtu",
            config=config | MTU1500,
            sent=four,
            verdict=Verdict.TOO_BIG,
            answer=answer4(four, 3, 4, 1480),
        )
        for name, config, four, _ in of_others(1481, flags="DF")
    ),
    Case("rfc7915_4_1500_octets_without_df_are_cut_in_two", sent=datagram4(1500), expect=pieces6(1500)),
    Case("rfc7915_4_pieces_are_multiples_of_8", sent=datagram4(20 + 2 * PIECE), expect=pieces6(20 + 2 * PIECE)),
    Case("rfc7915_4_the_largest_packet_is_cut_too", sent=datagram4(65535), expect=pieces6(65535)),
    Case(
        "rfc7915_4_lowest_ipv6_mtu_of_the_operator",
        config={"translation": {"lowest_ipv6_mtu": 1500}},
        sent=datagram4(1500),
        expect=pieces6(1500, 1448),
    ),
    Case(
        "rfc7915_4_what_fits_lowest_ipv6_mtu_is_not_cut",
        config={"translation": {"lowest_ipv6_mtu": 1520}},
        sent=datagram4(1500),
        expect=datagram6(1500),
    ),
    *(
        Case(
            f"rfc7915_4_lowest_ipv6_mtu_of_the_operator_for_{name}",
            config=config | {"translation": {"lowest_ipv6_mtu": 1500}},
            sent=four,
            expect=[fragment_of(six, at, 1448, IDENTIFICATION) for at in (0, 1448)],
        )
        for name, config, four, six in of_others(1500, OTHERS | WITHOUT_SESSIONS)
    ),
    *(
        Case(
            f"rfc7915_4_{name}_that_fits_lowest_ipv6_mtu_is_not_cut",
            config=config | {"translation": {"lowest_ipv6_mtu": 1520}},
            sent=four,
            expect=six,
        )
        for name, config, four, six in of_others(1500, OTHERS | WITHOUT_SESSIONS)
    ),
    Case("rfc7915_4_df_is_passed_whole", sent=datagram4(1500, flags="DF"), expect=datagram6(1500)),
    Case(
        "rfc7915_4_1_df_and_as_large_as_the_next_mtu",
        config=MTU1500,
        sent=datagram4(1480, flags="DF"),
        expect=datagram6(1480),
    ),
    Case(
        "rfc7915_4_1_df_and_larger_than_the_next_mtu",
        config=MTU1500,
        sent=TOO_BIG,
        verdict=Verdict.TOO_BIG,
        answer=answer4(TOO_BIG, 3, 4, 1480),
    ),
    Case(
        "rfc7915_4_1_fragment_with_df_and_larger_than_the_next_mtu",
        config=MTU1500,
        sent=LARGE_FRAGMENT,
        verdict=Verdict.TOO_BIG,
        answer=answer4(LARGE_FRAGMENT, 3, 4, 1472),
    ),
    Case(
        "rfc7915_4_1_fragment_with_df_that_fits",
        config=MTU1500,
        sent=FITTING_FRAGMENT,
        expect=fragment_of(datagram6(3000), 0, 1448),
    ),
    Case(
        "rfc7915_4_1_fragments_keep_offset_and_identification",
        steps=[Step(four, six) for four, six in zip(SMALL4, SMALL6, strict=True)],
    ),
    *(
        Case(
            f"rfc7915_4_1_a_fragment_at_{offset}_of_identification_{identification:#x}",
            config=ALONE,
            sent=to_eam4(proto=17, frag=offset // 8, flags="MF" if more else 0, id=identification) / Raw(payload(8)),
            expect=at_eam6() / IPv6ExtHdrFragment(nh=17, offset=offset // 8, m=more, id=identification) / payload(8),
        )
        for offset, more, identification in (
            (8, 1, 0xFEDC),
            (0x8000, 1, 0xFFFF),
            (0x5550, 1, 0),
            (0xAAA8, 0, 0x8000),
            (65504, 0, 1),
        )
    ),
    Case(
        "rfc7915_4_1_fragment_that_fills_1280_octets_with_its_header_is_not_cut",
        sent=fragment_of(datagram4(3000), 0, 1232),
        expect=fragment_of(datagram6(3000), 0, 1232),
    ),
    Case(
        "rfc7915_4_1_fragment_of_8_octets_more_is_cut",
        sent=fragment_of(datagram4(3000), 0, 1240),
        expect=[fragment_of(datagram6(3000), 0, 1232), fragment_of(datagram6(3000), 1232, 8)],
    ),
    Case("rfc7915_4_1_first_fragment_of_tcp", sent=TCP_FIRST4, expect=TCP_FIRST6),
    Case(
        "rfc7915_4_fragments_are_cut_again_with_their_offsets",
        steps=[
            Step(FIRST4, [fragment_of(datagram6(3000), 0, 1232), fragment_of(datagram6(3000), 1232, 248)]),
            Step(SECOND4, [fragment_of(datagram6(3000), 1480, 1232), fragment_of(datagram6(3000), 2712, 248)]),
            Step(LAST4, fragment_of(datagram6(3000), 2960, 1232)),
        ],
    ),
    Case("rfc6146_3_4_a_later_fragment_alone", sent=SECOND4, verdict=Verdict.HELD),
    Case(
        "rfc6146_3_4_a_later_fragment_after_fragment_min",
        steps=[Step(SMALL4[0], SMALL6[0]), Step(SMALL4[1], SMALL6[1], at=9.9)],
        sent=None,
    ),
    Case(
        "rfc6146_3_4_a_later_fragment_too_late",
        steps=[Step(SMALL4[0], SMALL6[0]), Step(SMALL4[1], verdict=Verdict.HELD, at=10)],
    ),
    Case(
        "rfc6146_3_4_a_later_fragment_of_another_datagram",
        steps=[
            Step(SMALL4[0], SMALL6[0]),
            Step(fragment_of(datagram4(3000), 1000, 1000, 0x4321), verdict=Verdict.HELD),
        ],
    ),
    Case(
        "rfc7915_5_1_1_1280_octets_pass_any_ipv4_mtu_without_df",
        config={"translation": {"mtu4": 576}},
        sent=from6() / UDP(**FROM_HOST6) / payload(1232),
        expect=seen4() / UDP(**FROM_MAPPED) / payload(1232),
    ),
    Case(
        "rfc7915_5_1_as_large_as_the_next_mtu",
        config={"translation": {"mtu4": 1400}},
        sent=from6() / UDP(**FROM_HOST6) / payload(1372),
        expect=seen4(flags="DF") / UDP(**FROM_MAPPED) / payload(1372),
    ),
    *(
        Case(f"rfc7915_5_1_{name}_as_large_as_the_next_mtu", config=config | MTU1400, sent=six, expect=four)
        for name, config, six, four in to_ipv4(1400)
    ),
    *(
        Case(
            f"rfc7915_5_1_{name}_larger_than_the_next_mtu",
            config=config | MTU1400,
            sent=six,
            verdict=Verdict.TOO_BIG,
            answer=answer6(six, 2, 0, 1420),
        )
        for name, config, six, _ in to_ipv4(1401)
    ),
    *(
        Case(
            f"rfc7915_5_1_1_{name}_that_may_be_cut_and_is_larger_than_the_next_mtu",
            config=config | MTU1400,
            sent=six,
            expect=four,
        )
        for name, config, six, four in to_ipv4(1401, cut=True)
    ),
    Case(
        "rfc7915_5_1_65535_octets_are_the_largest_in_ipv4",
        sent=from6() / UDP(**FROM_HOST6) / Raw(bytes(65515 - 8)),
        expect=seen4(flags="DF") / UDP(**FROM_MAPPED) / Raw(bytes(65515 - 8)),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fragments(case):
    case.check()


@given(size=st.integers(28, 4000), lowest=st.integers(1280, 1500))
def test_pieces_fit_and_joined_are_the_packet(size, lowest):
    nat64 = Nat64(translation={"lowest_ipv6_mtu": lowest})
    out = nat64.send(datagram4(size)).packets
    assert all(len(piece) <= lowest for piece in out)
    if size + 20 <= lowest:
        compare(out, [datagram6(size)])
    else:
        assert b"".join(piece[48:] for piece in out) == bytes(datagram6(size))[40:]
        assert all(len(piece) % 8 == 0 for piece in out[:-1])
