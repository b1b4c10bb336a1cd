"""RFC 6146 section 3.4: the fragments after the first go where the first one went."""

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment

from tests.packets import (
    FROM_HOST6,
    HOST4,
    HOST4_IN6,
    HOST6,
    HOST6_PORT,
    MAPPED4,
    MAPPED4_PORT,
    NEIGHBOUR6,
    TO_MAPPED,
    fragment_of,
    from4,
    from6,
    in6,
    payload,
    whole,
)
from tests.sessions import Sessions
from translator.packet.tuples import tuple_of
from translator.session.reassembly import is_datagram, recall, remember, set_of
from translator.tables import FRAGMENT_WAYS, FRAGMENTS
from translator.verdict import Verdict

DATA = payload(64)
UP = whole(from6() / UDP(**FROM_HOST6) / DATA)
DOWN = whole(from4() / UDP(**TO_MAPPED) / DATA)


def pieces(packet, identification=0x1234):
    """First, middle and last fragment; the first holds a whole TCP header."""
    return [bytes(fragment_of(packet, at, size, identification)) for at, size in ((0, 24), (24, 24), (48, 65535))]


def fates(nat64: Sessions, packets) -> list[Verdict]:
    return [nat64.say(packet).verdict for packet in packets]


PASS, LOST = Verdict.TRANSLATED, Verdict.FRAGMENT_UNKNOWN


@pytest.mark.parametrize("packet", [UP, DOWN, whole(from6() / TCP(**FROM_HOST6) / DATA)], ids=["up", "down", "tcp"])
def test_rfc6146_3_4_later_fragments_follow_the_first(packet):
    assert fates(Sessions(), pieces(packet)) == [PASS, PASS, PASS]


def test_rfc6146_3_4_later_fragment_gets_the_addresses_of_the_binding():
    nat64 = Sessions(forward=[])
    address, _ = nat64.opened("udp", HOST6_PORT)
    _, last = [IP(nat64.say(packet).packets[0]) for packet in pieces(UP)[::2]]
    assert (last.src, last.dst, last.id, last.frag * 8, last.flags.MF) == (address, HOST4, 0x1234, 48, 0)
    assert bytes(last.payload) == bytes(UP[UDP])[48:]


def test_rfc6146_3_4_later_fragment_towards_ipv6_keeps_offset_and_identification():
    nat64 = Sessions()
    _, middle, _ = [IPv6(nat64.say(packet).packets[0]) for packet in pieces(DOWN)]
    assert (middle.src, middle.dst) == (IPv6(src=HOST4_IN6).src, HOST6)
    header = middle[IPv6ExtHdrFragment]
    assert (header.id, header.offset * 8, header.m, header.nh) == (0x1234, 24, 1, 17)


@pytest.mark.parametrize("packet", [UP, DOWN], ids=["up", "down"])
def test_rfc6146_3_4_fragment_before_its_first_one_is_dropped_in_silence(packet):
    nat64 = Sessions()
    first, middle, last = pieces(packet)
    outcome = nat64.say(middle)
    assert (outcome.verdict, outcome.answer) == (LOST, None)
    assert fates(nat64, [first, last, middle]) == [PASS, PASS, PASS]


def test_rfc6146_3_4_fragment_belongs_to_a_datagram_by_addresses_identification_and_protocol():
    nat64 = Sessions()
    nat64.say(pieces(UP)[0])
    others = (
        pieces(UP, 0x1235)[1],
        pieces(UP, 0x11234)[1],  # IPv6 has 32 bits of it
        pieces(whole(from6(src=NEIGHBOUR6) / UDP(**FROM_HOST6) / DATA))[1],
        pieces(whole(from6(dst=in6("198.51.100.9")) / UDP(**FROM_HOST6) / DATA))[1],
        pieces(whole(from6() / TCP(**FROM_HOST6) / DATA))[1],
        pieces(DOWN)[1],
    )
    assert fates(nat64, others) == [LOST] * len(others)
    assert fates(nat64, [pieces(UP)[1]]) == [PASS]


@pytest.mark.parametrize("seconds", [10, 2])
def test_rfc6146_4_fragment_min_is_how_long_the_rest_may_take(seconds):
    nat64 = Sessions(timeouts={"fragment": seconds})
    first, middle, last = pieces(UP)
    nat64.say(first)
    nat64.wait(seconds - 0.001)
    assert fates(nat64, [middle]) == [PASS]
    nat64.wait(0.001)
    assert fates(nat64, [last]) == [LOST]


def test_rfc6146_3_4_first_fragment_sent_again_starts_the_time_anew():
    nat64 = Sessions()
    first, middle, _ = pieces(UP)
    nat64.say(first)
    nat64.wait(6)
    nat64.say(first)
    nat64.wait(6)
    assert fates(nat64, [middle]) == [PASS]
    assert np.count_nonzero(nat64.tables.fragments.expires) == 1


def test_rfc6146_3_4_first_fragment_that_is_refused_leaves_nothing_for_the_rest():
    nat64 = Sessions(forward=[])
    assert fates(nat64, pieces(DOWN)) == [Verdict.NO_BIB_ENTRY, LOST, LOST]


def test_rfc6146_3_4_later_fragment_refreshes_no_session():
    nat64 = Sessions()
    first, middle, _ = pieces(UP)
    nat64.say(first)
    nat64.wait(5)
    nat64.say(middle)
    assert nat64.session().left == 295


def test_rfc6146_3_8_fragments_hairpin():
    door = {"protocol": "udp", "ipv4": f"{MAPPED4}:{MAPPED4_PORT}", "ipv6": f"[{NEIGHBOUR6}]:8000"}
    nat64 = Sessions(forward=[door])
    packets = pieces(whole(from6(dst=in6(MAPPED4)) / UDP(sport=HOST6_PORT, dport=MAPPED4_PORT) / DATA))
    outcomes = [nat64.say(packet) for packet in packets]
    assert [(outcome.verdict, outcome.direction) for outcome in outcomes] == [(Verdict.HAIRPINNED, "6to4")] * 3
    assert {IPv6(outcome.packets[0]).dst for outcome in outcomes} == {NEIGHBOUR6}
    assert len({IPv6(outcome.packets[0]).src for outcome in outcomes}) == 1


def neighbours(nat64: Sessions, count: int) -> list[int]:
    """Identifications that stand in one set of the memory."""
    t = datagram(1)
    wanted = set_of(nat64.settings, t, 0)
    found = (number for number in range(10_000_000) if set_of(nat64.settings, t, number) == wanted)
    return [next(found) for _ in range(count)]


def datagram(out: int):
    return tuple_of(4, 17, 0, 1, 0, 0, out, 0)


def test_memory_is_bounded_and_a_new_datagram_takes_the_place_of_the_one_that_ends_first():
    nat64 = Sessions()
    numbers = neighbours(nat64, FRAGMENT_WAYS + 1)
    assert len(nat64.tables.fragments) == FRAGMENTS
    t = datagram(1)
    for at, number in enumerate(numbers):
        remember(nat64.settings, nat64.tables, at, t, number, datagram(number))
    known = [recall(nat64.settings, nat64.tables, 100, t, number) for number in numbers]
    assert [found for found, _ in known] == [False] + [True] * FRAGMENT_WAYS
    assert [out.dst_lo for found, out in known if found] == numbers[1:]
    # The oldest of those that are left is sent again: now the second oldest goes.
    remember(nat64.settings, nat64.tables, 50, t, numbers[1], datagram(1))
    remember(nat64.settings, nat64.tables, 51, t, numbers[0], datagram(1))
    found = [recall(nat64.settings, nat64.tables, 100, t, number)[0] for number in numbers]
    assert found == [True, True, False, True, True]


@pytest.mark.parametrize("field", ["src_hi", "src_lo", "dst_hi", "dst_lo", "protocol", "family", "identification"])
def test_every_field_tells_datagrams_apart(field):
    """Also those that stand in the same set."""
    nat64 = Sessions()
    t = tuple_of(6, 17, 1, 2, 0, 3, 4, 0)
    remember(nat64.settings, nat64.tables, 0, t, 5, t)
    row = nat64.tables.fragments[int(nat64.tables.fragments.expires.argmax())]
    assert is_datagram(row, t, 5)
    row[field] += 1
    assert not is_datagram(row, t, 5)
