"""RFC 6146 section 3.4, RFC 7915 section 4.5: datagrams that are translated only when all their fragments are there."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.packet import Raw

from tests import invariants
from tests.case import check_checksums
from tests.datagrams import every, in_pieces, joined, orders
from tests.packets import (
    FROM_HOST6,
    HOST6,
    HOST6_PORT,
    MAPPED4_PORT,
    NEIGHBOUR6,
    ROUTER4,
    ROUTER4_IN6,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    answer4,
    fragment_of,
    from4,
    from6,
    in6,
    payload,
    ping4,
    ping6,
    seen4,
    seen6,
    whole,
)
from tests.sessions import Sessions
from translator.verdict import Verdict

PASS, HELD, OVERLAP = Verdict.TRANSLATED, Verdict.HELD, Verdict.FRAGMENT_OVERLAP
ICMP, UDP_NUMBER, ICMPV6 = 1, 17, 58


def fates(nat64: Sessions, packets) -> list[Verdict]:
    return [nat64.say(packet).verdict for packet in packets]


def sent_out(nat64: Sessions, packets) -> list[bytes]:
    """What leaves for the fragments of one datagram: nothing before the last of them."""
    *before, last = [nat64.say(packet) for packet in packets]
    assert [(outcome.verdict, outcome.packets) for outcome in before] == [(HELD, [])] * len(before)
    assert last.verdict == PASS
    assert nat64.events()["FRAGMENTS_RELEASED"] == len(before)
    assert invariants.check_fragments(nat64.tables) == []
    return last.packets


def echoes(size: int):
    """Direction: an echo of so many octets as it is sent, and as it is received."""
    data = payload(size)
    return {
        "down": (from4() / ping4(True, data), seen6() / ping6(True, data)),
        "up": (from6() / ping6(False, data), seen4() / ping4(False, data)),
    }


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize("way", ["down", "up"])
def test_rfc6146_3_4_echo_in_fragments_passes_when_it_is_whole(way, order):
    sent, seen = echoes(3000)[way]
    parts = in_pieces(sent, 1024, 2048)
    out = sent_out(Sessions(), [parts[at] for at in order])
    datagram = joined(out)
    assert datagram.data == bytes(whole(seen).payload)
    assert (datagram.src, datagram.dst, datagram.identification) == (whole(seen).src, whole(seen).dst, 0x1234)
    if way == "up":
        (packet,) = map(IP, out)
        assert (packet.flags, packet.ttl) == (0, 63)
    else:
        assert [len(piece) for piece in out] == [1280, 1280, 3008 - 2 * 1232 + 48]


@pytest.mark.parametrize("order", range(5))
@pytest.mark.parametrize("way", ["down", "up"])
def test_rfc6146_3_4_the_largest_echo_in_fragments_passes(way, order):
    sent, seen = echoes(65507)[way]
    out = sent_out(Sessions(), orders(every(sent, 1448))[order])
    assert len(out) == (54 if way == "down" else 1)
    assert joined(out).data == bytes(whole(seen).payload)


@pytest.mark.parametrize("way", ["down", "up"])
def test_rfc7915_4_1_echo_that_is_small_enough_leaves_in_one_piece(way):
    """And in IPv6 without a Fragment header."""
    sent, seen = echoes(100)[way]
    if way == "up":
        seen.id = 0x1234
    assert sent_out(Sessions(), in_pieces(sent, 8, 56)[::-1]) == [bytes(seen)]


DATA = payload(100)
WHOLES = {
    "echo_down": from4() / ping4(True, DATA),
    "echo_up": from6() / ping6(True, DATA),
    "error_down": from4(src=ROUTER4) / Icmp(type=3, code=1) / seen4() / UDP(sport=MAPPED4_PORT, dport=53) / DATA,
    "error_up": from6() / Icmp(type=1, code=4) / seen6() / UDP(**TO_HOST6) / DATA,
    "udp_down": from4() / UDP(**TO_MAPPED, chksum=0) / DATA,
}


@pytest.mark.parametrize(("seconds", "config"), [(10, {}), (2, {"timeouts": {"fragment": 2}})], ids=["default", "set"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)], ids=str)
@pytest.mark.parametrize("name", WHOLES)
def test_rfc6146_4_fragment_min_is_how_long_a_datagram_may_take_to_be_whole(name, order, seconds, config):
    for late, verdict in ((0.0, PASS), (0.001, HELD)):
        nat64 = Sessions(**config)
        first, second, third = (in_pieces(whole(WHOLES[name]), 40, 80)[at] for at in order)
        assert fates(nat64, [first]) == [HELD]
        nat64.wait(1)
        assert fates(nat64, [second]) == [HELD]
        nat64.wait(seconds - 1.001 + late)
        assert fates(nat64, [third]) == [verdict]


def test_rfc6146_3_4_echo_in_fragments_opens_a_session_once_it_is_whole():
    nat64 = Sessions(forward=[])
    parts = every(from6() / ping6(True, payload(100)), 40)
    assert fates(nat64, parts[:-1]) == [HELD] * 2
    assert nat64.sessions() == []
    assert nat64.say(parts[-1]).verdict == PASS
    assert nat64.session().protocol == "icmp"


def test_rfc8200_4_5_headers_are_those_of_the_first_fragment():
    """Hop limit and traffic class; extension headers before the Fragment header are skipped (RFC 7915 section 5.1)."""
    data = bytes(whole(from6() / ping6(True, payload(24))).payload)
    first = from6(hlim=33, tc=0x40) / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(nh=ICMPV6, id=7, m=1) / Raw(data[:16])
    last = from6(hlim=44, tc=0x80) / IPv6ExtHdrFragment(nh=ICMPV6, id=7, offset=2) / Raw(data[16:])
    for parts in ((first, last), (last, first)):
        (out,) = sent_out(Sessions(), map(bytes, parts))
        assert out == bytes(seen4(ttl=32, tos=0x40, id=7) / ping4(True, payload(24)))


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize(("marks", "mark"), [((1, 3, 1), 3), ((3, 1, 1), 3), ((1, 1, 3), 3), ((2, 2, 2), 2)])
def test_rfc3168_5_3_congestion_that_one_fragment_met_is_that_of_the_packet(marks, mark, order):
    parts = [IP(piece) for piece in in_pieces(from4() / ping4(True, payload(100)), 40, 80)]
    for part, own in zip(parts, marks, strict=True):
        part.tos, part.chksum = 0x48 | own, None
    (out,) = sent_out(Sessions(), [bytes(parts[at]) for at in order])
    assert IPv6(out).tc == 0x48 | mark


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_rfc6146_3_4_udp_without_checksum_in_fragments_gets_one(order):
    sent = whole(from4() / UDP(**TO_MAPPED, chksum=0) / payload(3000))
    parts = in_pieces(sent, 1000, 2000)
    out = sent_out(Sessions(), [parts[at] for at in order])
    datagram = joined(out)
    assert datagram.data == bytes(whole(seen6() / UDP(**TO_HOST6) / payload(3000)).payload)
    assert [len(piece) for piece in out] == [1280, 1280, 3008 - 2 * 1232 + 48]


def test_rfc7915_4_5_udp_without_checksum_in_fragments_as_it_is_configured():
    parts = in_pieces(whole(from4() / UDP(**TO_MAPPED, chksum=0) / payload(100)), 40)
    for option, first in (("drop", Verdict.ZERO_UDP_CHECKSUM), ("forward", PASS)):
        nat64 = Sessions(translation={"udp_zero_checksum": option})
        assert fates(nat64, parts) == [first, PASS if option == "forward" else HELD]


def test_rfc8200_8_1_udp_without_checksum_in_ipv6_fragments_is_dropped():
    parts = in_pieces(whole(from6() / UDP(**FROM_HOST6, chksum=0) / payload(100)), 40)
    assert fates(Sessions(), parts) == [Verdict.ZERO_UDP_CHECKSUM, HELD]


def test_rfc7915_4_3_error_in_fragments_is_translated_whole():
    quoted, restored = seen4() / UDP(sport=MAPPED4_PORT, dport=53), from6(hlim=63) / UDP(**FROM_HOST6)
    sent = from4(src=ROUTER4) / Icmp(type=3, code=1) / quoted / payload(300)
    seen = seen6(src=ROUTER4_IN6) / Icmp(type=1, code=0) / restored / payload(300)
    for parts in orders(every(sent, 80)):
        assert sent_out(Sessions(), parts) == [bytes(seen)]


def test_rfc4443_2_4_error_in_fragments_is_cut_to_its_largest_size():
    quoted = whole(seen4(flags="DF") / UDP(sport=MAPPED4_PORT, dport=53) / payload(1400))
    nat64 = Sessions()
    (out,) = sent_out(nat64, every(from4(src=ROUTER4) / Icmp(type=3, code=1) / quoted, 1000)[::-1])
    assert len(out) == 1280
    check_checksums(out)


def test_rfc7915_5_3_error_in_fragments_from_ipv6():
    quoted, restored = seen6() / UDP(**TO_HOST6), from4(ttl=63, id=0) / UDP(**TO_MAPPED)
    sent = from6() / Icmp(type=1, code=4) / quoted / payload(300)
    seen = seen4(id=0x1234) / Icmp(type=3, code=3) / restored / payload(300)
    assert sent_out(Sessions(), every(sent, 80)[::-1]) == [bytes(seen)]


def test_rfc7915_4_1_error_in_fragments_may_have_an_illegal_source():
    """Only when it is whole it is known to be an error; a ping of that source is not translated."""
    quoted = seen4() / UDP(sport=MAPPED4_PORT, dport=53)
    error = from4(src="127.0.0.1") / Icmp(type=3, code=1) / quoted / payload(100)
    (out,) = sent_out(Sessions(), every(error, 64))
    assert IPv6(out).dst == HOST6
    assert fates(Sessions(), every(from4(src="127.0.0.1") / ping4(True, payload(100)), 64)) == [
        HELD,
        Verdict.NOT_UNICAST,
    ]


DOOR4 = "192.0.2.77"  # outside pool4


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_rfc6146_3_8_echo_in_fragments_hairpins(order):
    """Without DF, as any packet that comes with a Fragment header (RFC 7915 section 5.1.1): so it is cut again."""
    _, identifier = Sessions(forward=[]).opened("icmp", HOST6_PORT, (DOOR4, 0))  # on both sides of the door
    door = {"protocol": "icmp", "ipv4": f"{DOOR4}:{identifier}", "ipv6": f"[{NEIGHBOUR6}]:7"}
    nat64 = Sessions(forward=[door])
    parts = in_pieces(from6(dst=in6(DOOR4)) / ping6(True, payload(3000)), 1440, 2880)
    outcomes = [nat64.say(parts[at]) for at in order]
    assert [outcome.verdict for outcome in outcomes] == [HELD, HELD, Verdict.HAIRPINNED]
    datagram = joined(outcomes[-1].packets)
    assert (datagram.dst, datagram.identification, len(datagram.data)) == (NEIGHBOUR6, 0x1234, 3008)
    assert max(len(out) for out in outcomes[-1].packets) == 1280
    check_checksums(datagram.packet())


def test_rfc6146_3_5_whole_datagram_is_refused_as_any_packet():
    """The fragment that made it whole has its verdict; the answer quotes the whole."""
    nat64 = Sessions()
    sent = from4() / ping4(True, payload(100), id=9)
    *before, last = every(sent, 40)
    assert fates(nat64, before) == [HELD, HELD]
    outcome = nat64.say(last)
    together = from4(id=0x1234) / ping4(True, payload(100), id=9)
    assert (outcome.verdict, outcome.answer) == (Verdict.NO_BIB_ENTRY, bytes(answer4(together, 3, 1)))
    assert nat64.worker.counters.sum() == 3


def test_drop_icmp_info_discards_echoes_in_fragments():
    parts = every(from6() / ping6(True, payload(100)), 40)
    assert fates(Sessions(filtering={"drop_icmp_info": True}), parts) == [HELD, HELD, Verdict.FILTERED_ICMP_INFO]


PING = whole(from6() / ping6(True, payload(100)))  # 108 octets of ICMPv6


def part(at: int, size: int, identification: int = 0x1234) -> bytes:
    """[at, at + size) of it, the last if it reaches its end."""
    return bytes(fragment_of(PING, at, size, identification))


def test_rfc5722_3_duplicates_do_no_harm():
    nat64 = Sessions()
    assert fates(nat64, [part(0, 40), part(0, 40), part(80, 40), part(80, 40)]) == [HELD] * 4
    assert nat64.say(part(40, 40)).verdict == PASS
    assert nat64.say(part(40, 40)).verdict == HELD  # of a datagram that has been sent already


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((0, 40), (32, 40)),  # the end of another
        ((40, 40), (8, 40)),  # the beginning
        ((40, 40), (48, 16)),  # in the midst of another
        ((48, 16), (40, 40)),  # around another
        ((40, 40), (40, 32)),  # as far from the beginning, but shorter
        ((40, 40), (48, 32)),  # as far from the end
    ],
    ids=str,
)
def test_rfc5722_3_fragments_that_overlap_discard_their_datagram(before, after):
    nat64 = Sessions()
    rest = [part(0, 40), part(40, 40), part(80, 40)]
    assert fates(nat64, [part(*before), part(*after), *rest]) == [HELD] + [OVERLAP] * 4
    assert invariants.check_fragments(nat64.tables) == []
    assert fates(nat64, [part(0, 40, 7), part(40, 40, 7), part(80, 40, 7)]) == [HELD, HELD, PASS]
    nat64.wait(10)
    assert fates(nat64, rest) == [HELD, HELD, PASS]


def ending(at: int, size: int) -> bytes:
    """[at, at + size) of the ping as if it ended there."""
    data = bytes(PING.payload)[at : at + size]
    return bytes(from6() / IPv6ExtHdrFragment(nh=ICMPV6, id=0x1234, offset=at // 8) / Raw(data))


@pytest.mark.parametrize(
    "sent",
    [
        (ending(32, 8), part(40, 40)),  # behind the end
        (part(40, 40), ending(32, 8)),
        (ending(40, 8), ending(80, 8)),  # two ends
        (ending(80, 8), ending(40, 8)),
    ],
    ids=["beyond", "short", "two", "two_back"],
)
def test_rfc5722_3_fragments_of_two_lengths_discard_their_datagram(sent):
    assert fates(Sessions(), sent) == [HELD, OVERLAP]


def test_rfc5722_3_overlap_counts_once_it_is_known_that_the_datagram_has_to_be_whole():
    """Of UDP, the first fragment tells; those of a datagram with a checksum are the receiver's to judge."""
    bare = whole(from4() / UDP(**TO_MAPPED, chksum=0) / payload(100))
    later = [bytes(fragment_of(bare, at, 40, 0x1234)) for at in (40, 72)]
    nat64 = Sessions()
    assert fates(nat64, [*later, fragment_of(bare, 0, 40)]) == [HELD, HELD, OVERLAP]
    assert fates(nat64, later) == [OVERLAP, OVERLAP]
    assert nat64.say(fragment_of(whole(from4() / UDP(**TO_MAPPED) / payload(100)), 0, 40)).verdict == PASS
    assert fates(nat64, later) == [PASS, PASS]


def test_identification_that_is_used_again_starts_a_datagram_anew():
    """With a checksum first, without one then, with one again."""
    nat64 = Sessions()
    checked, bare = (in_pieces(whole(from4() / UDP(**TO_MAPPED, **none) / payload(100)), 40) for none in ({}, NONE))
    assert fates(nat64, checked) == [PASS, PASS]
    assert fates(nat64, bare) == [HELD, PASS]
    assert fates(nat64, [bare[0], *checked]) == [HELD, PASS, PASS]


NONE = {"chksum": 0}


def test_rfc6146_3_4_fragment_that_was_lost_from_memory_may_come_again():
    nat64 = Sessions(limits={"fragments_memory": 4096})
    large = in_pieces(from4() / ping4(True, payload(1400)), 700 & ~7)
    assert nat64.say(large[0]).verdict == HELD
    others = [in_pieces(from4() / ping4(True, payload(1400)), 696, identification=number)[0] for number in range(5)]
    assert fates(nat64, others) == [HELD] * 5
    assert fates(nat64, [large[1], large[0]]) == [HELD, PASS]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_rfc791_3_2_datagram_beyond_65535_octets_is_refused(order):
    """As an IPv4 packet: an IPv6 one may have 20 octets more."""
    long = [(0, 32768, 1), (32768, 32736, 1), (65504, 12, 0)]
    data = payload(65516)
    parts = [
        bytes(from6() / IPv6ExtHdrFragment(nh=ICMPV6, id=1, offset=at // 8, m=more) / Raw(data[at : at + size]))
        for at, size, more in long
    ]
    got = fates(Sessions(), [parts[at] for at in order])
    assert [got[order.index(at)] for at in range(3)] == [HELD, HELD, Verdict.BAD_LENGTH]


@pytest.mark.parametrize("others", [{}, {"pool4": [], "forward": []}], ids=["beside sessions", "alone"])
def test_rfc7915_4_2_host_with_a_static_mapping_gets_no_icmp_in_fragments(others):
    """Nor UDP without a checksum; a ping of it is no different, nor one whose way goes through sessions only then."""
    nat64 = Sessions(eam=[{"ipv4": "203.0.113.77", "ipv6": NEIGHBOUR6}], **others)
    down = in_pieces(from4(dst="203.0.113.77") / ping4(True, payload(100)), 40)
    up = in_pieces(from6(src=NEIGHBOUR6) / ping6(True, payload(100)), 40)
    assert fates(nat64, down + up) == [Verdict.FRAGMENTED_ICMP] * 4
    bare = in_pieces(whole(from4(dst="203.0.113.77") / UDP(**TO_MAPPED, chksum=0) / payload(100)), 40)
    assert fates(nat64, bare) == [Verdict.ZERO_UDP_CHECKSUM, PASS]


def test_rfc6146_3_4_without_memory_nothing_is_put_together():
    nat64 = Sessions(limits={"fragments_memory": 0})
    bare = in_pieces(whole(from4() / UDP(**TO_MAPPED, chksum=0) / payload(100)), 40)
    ping = in_pieces(from6() / ping6(True, payload(100)), 40)
    lost = [Verdict.ZERO_UDP_CHECKSUM, Verdict.FRAGMENT_UNKNOWN, Verdict.FRAGMENTED_ICMP, Verdict.FRAGMENTED_ICMP]
    assert fates(nat64, bare + ping) == lost


@st.composite
def cut_up(draw) -> tuple[bytes, bytes, list[bytes]]:
    """A datagram as one packet, the same as it has to arrive, and its fragments in some order."""
    data = payload(draw(st.integers(24, 4000)))
    down = draw(st.booleans())
    kind = draw(st.sampled_from(["udp", "tcp", "ping", "bare"]))
    ip, seen = (from4(id=0x1234), seen6()) if down else (from6(), seen4())
    there, here = (TO_MAPPED, TO_HOST6) if down else (FROM_HOST6, {"sport": MAPPED4_PORT, "dport": 53})
    if kind == "ping":
        sent, got = (ping4(True, data), ping6(True, data)) if down else (ping6(True, data), ping4(True, data))
    elif kind == "tcp":
        sent, got = TCP(**there) / data, TCP(**here) / data
    else:
        sent, got = UDP(**there, **(NONE if kind == "bare" and down else {})) / data, UDP(**here) / data
    packet = whole(ip / sent)
    end = len(bytes(packet.payload)) - 1
    edges = draw(st.sets(st.integers(3, end // 8), min_size=1, max_size=12))
    parts = in_pieces(packet, *(8 * edge for edge in sorted(edges)))
    return bytes(packet), bytes(whole(seen / got).payload), draw(st.permutations(parts))


@given(cut_up())
def test_any_order_of_the_fragments_of_any_datagram_is_that_datagram(example):
    packet, expected, parts = example
    nat64 = Sessions()
    outcomes = [nat64.say(one) for one in parts]
    assert {outcome.verdict for outcome in outcomes} <= {PASS, HELD}
    datagram = joined(out for outcome in outcomes for out in outcome.packets)
    assert datagram.data == expected
    ends = whole(seen6() if packet[0] >> 4 == 4 else seen4())
    assert (datagram.src, datagram.dst) == (ends.src, ends.dst)
    check_checksums(datagram.packet())
    assert invariants.check_fragments(nat64.tables) == []
