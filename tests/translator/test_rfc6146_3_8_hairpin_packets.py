"""RFC 6146 section 3.8: what a hairpinned packet and the errors about it look like. One hop, one translation."""

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6ExtHdrFragment
from scapy.packet import Packet

from tests.case import Nat64, Step
from tests.datagrams import joined
from tests.packets import (
    HOST6,
    HOST6_PORT,
    MAPPED4_IN6,
    MAPPED4_PORT,
    NEIGHBOUR6,
    ROUTER6,
    Icmp,
    fragment_of,
    from6,
    in6,
    payload,
    ping6,
    seen6,
    whole,
)
from translator.verdict import Verdict

PORT = 6000
SENT = from6(src=NEIGHBOUR6, dst=MAPPED4_IN6) / UDP(sport=PORT, dport=MAPPED4_PORT) / b"hello"
HAIRPINNED = Verdict.HAIRPINNED


@pytest.fixture
def met(nat64) -> tuple[Nat64, Packet]:
    """A gateway through which NEIGHBOUR6 has sent SENT to HOST6, and what HOST6 got."""
    outcome = nat64.send(SENT)
    assert outcome.verdict == HAIRPINNED
    (got,) = outcome.packets
    return nat64, whole(got)


def test_rfc6146_3_8_the_neighbour_is_seen_under_its_mapped_address(met):
    _, got = met
    assert got.src.startswith("64:ff9b::c000:20")
    expect = seen6(src=got.src, dst=HOST6, hlim=63) / UDP(sport=got.sport, dport=HOST6_PORT) / b"hello"
    assert bytes(got) == bytes(expect)


def test_rfc6146_3_8_the_answer_comes_from_where_the_packet_went(met):
    nat64, got = met
    answer = from6(dst=got.src) / UDP(sport=HOST6_PORT, dport=got.sport) / b"world"
    expect = seen6(src=MAPPED4_IN6, dst=NEIGHBOUR6) / UDP(sport=MAPPED4_PORT, dport=PORT) / b"world"
    nat64.check(Step(answer, expect, HAIRPINNED))


def test_rfc6146_3_8_fragments_follow_their_first_one(nat64):
    sent = from6(src=NEIGHBOUR6, dst=MAPPED4_IN6) / UDP(sport=PORT, dport=MAPPED4_PORT) / payload(2000)
    (first,) = nat64.send(fragment_of(sent, 0, 1232, 0x12345678)).packets
    got = whole(first)
    whole_packet = seen6(src=got.src) / UDP(sport=got.sport, dport=HOST6_PORT) / payload(2000)
    assert bytes(got) == bytes(fragment_of(whole_packet, 0, 1232, 0x12345678))
    later = fragment_of(whole_packet, 1232, 1232, 0x12345678)
    nat64.check(Step(fragment_of(sent, 1232, 1232, 0x12345678), later, HAIRPINNED))


def test_rfc6146_3_8_an_echo_to_the_own_mapped_address_comes_back(met):
    """The identifier the sender is given is also the one of its destination, so nobody else can be meant."""
    nat64, got = met
    sent = from6(src=NEIGHBOUR6, dst=got.src) / ping6(True, b"abc", id=77)
    nat64.check(Step(sent, seen6(src=got.src, dst=NEIGHBOUR6) / ping6(True, b"abc", id=77), HAIRPINNED))


@pytest.mark.parametrize(
    ("type_", "code", "rest"),
    [*((1, code, 0) for code in range(5)), (2, 0, 1300), (3, 0, 0), (3, 1, 0), (4, 0, 8), (4, 1, 6)],
    ids=str,
)
@pytest.mark.parametrize("source", [HOST6, ROUTER6], ids=["host", "router"])
def test_rfc6146_3_8_an_error_reaches_the_neighbour_unchanged_but_for_addresses(met, source, type_, code, rest):
    nat64, got = met
    error = from6(src=source, dst=got.src) / Icmp(type=type_, code=code, rest=rest) / got
    quoted = SENT.copy()
    quoted.hlim = 63
    expect = seen6(src=MAPPED4_IN6, dst=NEIGHBOUR6) / Icmp(type=type_, code=code, rest=rest) / quoted
    nat64.check(Step(error, expect, HAIRPINNED))


@pytest.mark.parametrize("mtu", [0, 1, 68, 1200, 1279])
def test_rfc7915_4_2_too_big_about_a_hairpinned_packet_is_never_below_1280(met, mtu):
    nat64, got = met
    quoted = SENT.copy()
    quoted.hlim = 63
    error = from6(src=ROUTER6, dst=got.src) / Icmp(type=2, rest=mtu) / got
    nat64.check(Step(error, seen6(src=MAPPED4_IN6, dst=NEIGHBOUR6) / Icmp(type=2, rest=1280) / quoted, HAIRPINNED))


def test_rfc6791_a_router_on_a_hairpinned_path_has_an_address_of_the_operator():
    nat64 = Nat64(translation={"rfc6791_ipv4": ["203.0.113.200/32"]})
    (got,) = nat64.send(SENT).packets
    quoted = SENT.copy()
    quoted.hlim = 63
    error = from6(src=ROUTER6, dst=whole(got).src) / Icmp(type=3) / got
    nat64.check(Step(error, seen6(src=in6("203.0.113.200"), dst=NEIGHBOUR6) / Icmp(type=3) / quoted, HAIRPINNED))


@pytest.mark.parametrize(("type_", "code", "rest"), [(1, 5, 0), (4, 0, 40), (4, 2, 41), (100, 0, 0)])
def test_rfc6146_3_8_an_error_that_ipv4_cannot_say_is_dropped(met, type_, code, rest):
    nat64, got = met
    error = from6(src=HOST6, dst=got.src) / Icmp(type=type_, code=code, rest=rest) / got
    nat64.check(Step(error, verdict=Verdict.ICMP_TYPE))


@pytest.mark.parametrize(("size", "atomic"), [(1240, True), (1241, True), (1500, True), (1500, False)])
def test_rfc7915_5_1_1_a_hairpinned_packet_that_may_be_cut_fits_lowest_ipv6_mtu(nat64, size, atomic):
    """As it came with a Fragment header, which in IPv4 would be a packet without DF; one without passes whole."""
    to = from6(src=NEIGHBOUR6, dst=MAPPED4_IN6)
    to = to / IPv6ExtHdrFragment(id=7) if atomic else to
    sent = whole(to / UDP(sport=PORT, dport=MAPPED4_PORT) / payload(size - 8))
    outcome = nat64.send(bytes(sent))
    assert outcome.verdict == HAIRPINNED
    assert [len(packet) <= 1280 for packet in outcome.packets] == ([True] * (1 + (size > 1240)) if atomic else [False])
    datagram = joined(outcome.packets)
    assert (datagram.dst, datagram.data[8:]) == (HOST6, payload(size - 8))


def test_rfc6146_3_8_mtu6_holds_for_both_hosts():
    nat64 = Nat64(translation={"mtu6": 1400})
    sent = from6(src=NEIGHBOUR6, dst=MAPPED4_IN6) / UDP(sport=PORT, dport=MAPPED4_PORT) / payload(1353)
    outcome = nat64.send(sent)
    assert outcome.verdict == Verdict.TOO_BIG
    assert int.from_bytes(outcome.answer[44:48]) == 1400
