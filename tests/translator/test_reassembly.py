"""RFC 6146 section 3.4: the fragments of a datagram pass in any order, by way of the first one."""

from ipaddress import IPv4Address
from itertools import permutations

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw

from tests import invariants
from tests.case import check_checksums
from tests.datagrams import every, in_pieces, joined
from tests.packets import (
    FROM_HOST6,
    HOST4,
    HOST4_IN6,
    HOST6,
    HOST6_PORT,
    MAPPED4,
    MAPPED4_PORT,
    NEIGHBOUR6,
    OTHER4_IN6,
    TO_MAPPED,
    fragment_of,
    from4,
    from6,
    in6,
    patch,
    payload,
    ping4,
    whole,
)
from tests.sessions import Sessions
from translator.fragments.reassembly import (
    FIRST_AWAITED,
    find_datagram,
    is_datagram,
    open_datagram,
    remember,
    set_of,
)
from translator.packet.addresses import address4, address6
from translator.packet.tuples import Tuple, tuple_of
from translator.tables.layout import FRAGMENT_WAYS, FRAGMENTS, NONE
from translator.verdict import Verdict

DATA = payload(64)
UP = whole(from6() / UDP(**FROM_HOST6) / DATA)
DOWN = whole(from4() / UDP(**TO_MAPPED) / DATA)
TCP_UP = whole(from6() / TCP(**FROM_HOST6) / DATA)
TCP_DOWN = whole(from4() / TCP(**TO_MAPPED) / DATA)
WAYS = {"up": UP, "down": DOWN, "tcp": TCP_UP, "tcp_down": TCP_DOWN}
FRAGMENT_MIN = 10  # seconds, the default

PASS, HELD, LOST = Verdict.TRANSLATED, Verdict.HELD, Verdict.FRAGMENT_UNKNOWN


def pieces(packet, identification=0x1234):
    """First, middle and last fragment; the first holds a whole TCP header."""
    return in_pieces(packet, 24, 48, identification=identification)


def fates(nat64: Sessions, packets) -> list[Verdict]:
    return [nat64.say(packet).verdict for packet in packets]


def results(packets) -> dict[bytes, list[bytes]]:
    """What becomes of each packet if they come in this order."""
    nat64 = Sessions()
    return {packet: nat64.say(packet).packets for packet in packets}


@pytest.fixture(params=WAYS)
def packet(request):
    return WAYS[request.param]


@pytest.mark.no_cover
@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_rfc6146_3_4_fragments_pass_in_any_order(packet, order):
    """Those before the first one follow it, in the order they came; each as if it had come in its turn."""
    nat64, in_turn = Sessions(), results(pieces(packet))
    first, *_ = pieces(packet)
    waiting: list[bytes] | None = []
    for piece in (pieces(packet)[at] for at in order):
        outcome = nat64.say(piece)
        if piece != first and waiting is not None:
            assert (outcome.verdict, outcome.packets, outcome.answer) == (HELD, [], None)
            waiting += in_turn[piece]
        else:
            assert (outcome.verdict, outcome.packets) == (PASS, in_turn[piece] + (waiting or []))
            waiting = None
    kept = order.index(0)
    assert nat64.events().get("FRAGMENTS_RELEASED", 0) == kept
    assert nat64.worker.counters[:, HELD].sum() == kept
    assert not living(nat64)


def test_rfc6146_3_4_what_was_kept_follows_a_first_fragment_that_is_cut_again():
    first, *others = in_pieces(whole(from4() / UDP(**TO_MAPPED) / payload(3000)), 1400, 2800)
    nat64, in_turn = Sessions(), results([first, *others])
    assert fates(nat64, others) == [HELD] * 2
    assert [len(packets) for packets in in_turn.values()] == [2, 2, 1]
    assert nat64.say(first).packets == [packet for packets in in_turn.values() for packet in packets]


def living(nat64: Sessions) -> list[int]:
    """The numbers of the fragments that are kept for a datagram that still waits for something."""
    return invariants.check_fragments(nat64.tables)


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


def test_rfc6146_3_4_duplicate_of_a_kept_fragment_is_kept_once(packet):
    nat64 = Sessions()
    first, middle, last = pieces(packet)
    assert fates(nat64, [middle, last, middle, middle]) == [HELD] * 4
    assert len(living(nat64)) == 2
    assert len(nat64.say(first).packets) == 3
    assert fates(nat64, [middle, first]) == [PASS, PASS]


def test_rfc6146_3_4_kept_fragments_that_overlap_are_the_receivers_to_judge():
    """Nothing is put together here, so RFC 5722 is for whoever does."""
    nat64 = Sessions()
    first = pieces(UP)[0]
    overlapping = [bytes(fragment_of(UP, at, 16, 0x1234)) for at in (24, 32, 40)]
    assert fates(nat64, overlapping) == [HELD] * 3
    assert len(nat64.say(first).packets) == 4


def test_rfc6146_3_4_fragment_belongs_to_a_datagram_by_addresses_identification_and_protocol():
    nat64 = Sessions()
    nat64.say(pieces(UP)[0])
    others = (
        pieces(UP, 0x1235)[1],
        pieces(UP, 0x11234)[1],  # IPv6 has 32 bits of it
        pieces(whole(from6(src=NEIGHBOUR6) / UDP(**FROM_HOST6) / DATA))[1],
        pieces(whole(from6(dst=in6("198.51.100.9")) / UDP(**FROM_HOST6) / DATA))[1],
        pieces(TCP_UP)[1],
        pieces(DOWN)[1],
    )
    assert fates(nat64, others) == [HELD] * len(others)
    assert fates(nat64, [pieces(UP)[1]]) == [PASS]


def test_rfc6146_3_4_datagrams_may_be_interleaved():
    """Each first fragment lets its own go: of two hosts with the same Identification, of two datagrams of one host."""
    nat64 = Sessions()
    neighbours = whole(from6(src=NEIGHBOUR6) / UDP(**FROM_HOST6) / payload(100))
    datagrams = [pieces(UP), pieces(UP, 0x1235), pieces(neighbours)]
    later = [datagram[part] for part in (2, 1) for datagram in datagrams]
    assert fates(nat64, later) == [HELD] * 6
    for datagram, packet in zip(datagrams, (UP, UP, neighbours), strict=True):
        out = nat64.say(datagram[0]).packets
        assert len(out) == 3
        assert joined(out).data[8:] == bytes(packet)[48:]


TIMES = [(10, {}), *((seconds, {"timeouts": {"fragment": seconds}}) for seconds in (2, 60))]


@pytest.mark.parametrize(("seconds", "config"), TIMES, ids=["default", "least", "most"])
def test_rfc6146_4_fragment_min_is_how_long_the_rest_may_take(packet, seconds, config):
    nat64 = Sessions(**config)
    first, middle, last = pieces(packet)
    nat64.say(first)
    nat64.wait(seconds - 0.001)
    assert fates(nat64, [middle]) == [PASS]
    nat64.wait(0.001)
    assert fates(nat64, [last]) == [HELD]


@pytest.mark.parametrize(("seconds", "config"), TIMES, ids=["default", "least", "most"])
def test_rfc6146_4_fragment_min_is_how_long_the_first_may_take(packet, seconds, config):
    """From the first of its fragments that came, whichever it is."""
    for late, follow in ((0.0, 2), (0.001, 0)):
        nat64 = Sessions(**config)
        first, middle, last = pieces(packet)
        nat64.say(last)
        nat64.wait(1)
        nat64.say(middle)
        nat64.wait(seconds - 1.001 + late)
        assert len(nat64.say(first).packets) == 1 + follow


def test_rfc6146_3_4_what_was_kept_too_long_does_not_join_what_comes_now():
    nat64 = Sessions()
    first, middle, last = pieces(UP)
    nat64.say(middle)
    nat64.wait(FRAGMENT_MIN)
    assert fates(nat64, [last]) == [HELD]
    assert len(living(nat64)) == 1
    assert len(nat64.say(first).packets) == 2


def test_rfc6146_3_4_first_fragment_sent_again_starts_the_time_anew():
    nat64 = Sessions()
    first, middle, _ = pieces(UP)
    nat64.say(first)
    nat64.wait(6)
    nat64.say(first)
    nat64.wait(6)
    assert fates(nat64, [middle]) == [PASS]
    assert np.count_nonzero(nat64.tables.fragments.expires) == 1


def test_rfc6146_3_4_first_fragment_that_is_refused_lets_nothing_go():
    nat64 = Sessions(forward=[])
    first, middle, last = pieces(DOWN)
    assert fates(nat64, [middle, first, last]) == [HELD, Verdict.NO_BIB_ENTRY, HELD]


def test_rfc6146_3_4_first_fragment_that_is_too_big_lets_nothing_go():
    """Its sender is told, and will send a smaller one."""
    nat64 = Sessions(translation={"mtu6": 1400})
    large = whole(from4(flags="DF") / UDP(**TO_MAPPED) / payload(2000))
    for piece in in_pieces(large, 1480)[::-1]:
        outcome = nat64.say(patch(piece, 6, bytes([piece[6] | 0x40])))
    assert (outcome.verdict, outcome.packets) == (Verdict.TOO_BIG, [])
    assert len(nat64.say(fragment_of(large, 0, 1232)).packets) == 2


@pytest.mark.parametrize(("size", "fate"), [(8, Verdict.TRUNCATED), (16, Verdict.TRUNCATED), (24, Verdict.BAD_LENGTH)])
@pytest.mark.parametrize(("ip", "ports"), [(from6(), FROM_HOST6), (from4(), TO_MAPPED)], ids=["up", "down"])
def test_rfc1858_a_first_fragment_too_small_for_its_header_lets_nothing_go(ip, ports, size, fate):
    nat64 = Sessions()
    tiny, rest = in_pieces(whole(ip / TCP(**ports, options=[("NOP", None)] * 8) / DATA), size)
    assert fates(nat64, [rest, tiny]) == [HELD, fate]
    assert nat64.sessions() == []


def test_rfc6146_3_4_later_fragment_refreshes_no_session():
    nat64 = Sessions()
    first, middle, _ = pieces(UP)
    nat64.say(first)
    nat64.wait(5)
    nat64.say(middle)
    assert nat64.session().left == 295


def test_rfc6146_3_5_fragment_to_nobody_of_ours_is_not_kept():
    nat64 = Sessions(pool4=[{"addresses": MAPPED4}])
    stray = whole(from4(dst="192.0.2.2") / UDP(**TO_MAPPED) / DATA)
    elsewhere = whole(from6(dst=NEIGHBOUR6) / UDP(**FROM_HOST6) / DATA)
    spoofed = whole(from6(src=OTHER4_IN6) / UDP(**FROM_HOST6) / DATA)
    got = fates(nat64, [pieces(packet)[1] for packet in (stray, elsewhere, spoofed)])
    assert got == [LOST, Verdict.NOT_OUR_PREFIX, Verdict.SOURCE_IN_POOL6]
    assert living(nat64) == []


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_rfc6146_3_8_fragments_hairpin_in_any_order(order):
    door = {"protocol": "udp", "ipv4": f"{MAPPED4}:{MAPPED4_PORT}", "ipv6": f"[{NEIGHBOUR6}]:8000"}
    nat64 = Sessions(forward=[door])
    packets = pieces(whole(from6(dst=in6(MAPPED4)) / UDP(sport=HOST6_PORT, dport=MAPPED4_PORT) / DATA))
    outcomes = [nat64.say(packets[at]) for at in order]
    kept = order.index(0)
    assert [outcome.verdict for outcome in outcomes] == [HELD] * kept + [Verdict.HAIRPINNED] * (3 - kept)
    assert {outcome.direction for outcome in outcomes} == {"6to4"}
    datagram = joined(out for outcome in outcomes for out in outcome.packets)
    assert (datagram.dst, datagram.data[8:]) == (NEIGHBOUR6, DATA)
    assert check_checksums(datagram.packet()) is None


def test_what_is_larger_than_a_quarter_of_the_memory_is_not_kept():
    large = whole(from4() / UDP(**TO_MAPPED) / payload(2000))
    for memory, fate in ((0, LOST), (4 * 1020, HELD), (4 * 1019, LOST)):
        nat64 = Sessions(limits={"fragments_memory": memory})
        assert fates(nat64, [fragment_of(large, 800, 1000)]) == [fate]


def test_full_memory_loses_the_oldest_first():
    """Seven fragments of 516 octets fit into it, of the twelve that come."""
    nat64 = Sessions(limits={"fragments_memory": 4096})
    long = whole(from4() / UDP(**TO_MAPPED) / payload(1976))
    datagrams = [every(long, 496, number) for number in range(4)]
    for datagram in datagrams:
        assert fates(nat64, datagram[1:]) == [HELD] * 3
    assert [len(nat64.say(datagram[0]).packets) - 1 for datagram in datagrams] == [0, 1, 3, 3]


def test_memory_of_what_has_gone_is_used_again():
    nat64 = Sessions(limits={"fragments_memory": 4096})
    long = whole(from4() / UDP(**TO_MAPPED) / payload(1976))
    for number in range(20):
        first, *later = every(long, 496, number)
        assert fates(nat64, later) == [HELD] * 3
        assert len(nat64.say(first).packets) == 4


def test_many_small_fragments_fill_the_memory_by_their_number():
    """There is room for one in 256 octets of it."""
    nat64 = Sessions(limits={"fragments_memory": 4096})
    datagrams = [in_pieces(DOWN, 24, 48, identification=number) for number in range(10)]
    for datagram in datagrams:
        assert fates(nat64, datagram[1:]) == [HELD, HELD]
    assert [len(nat64.say(datagram[0]).packets) - 1 for datagram in datagrams] == [0, 0] + [2] * 8


@pytest.mark.parametrize(
    ("sent", "lost", "follow"), [(UDP(**TO_MAPPED), LOST, 1 + 256), (ping4(True), Verdict.FRAGMENTED_ICMP, 0)]
)
def test_no_more_than_256_fragments_of_a_datagram_are_kept(sent, lost, follow):
    nat64 = Sessions()
    first, *later = every(whole(from4() / sent / payload(8 * 256 + 80)), 8)
    got = fates(nat64, later)
    assert got == [HELD] * 256 + [lost] * (len(later) - 256)
    assert len(nat64.say(first).packets) == follow


@pytest.mark.parametrize(("at", "size", "more"), [(65528, 8, 0), (24, 20, 1), (65512, 8, 1)])
def test_rfc8200_4_5_fragment_that_no_datagram_can_have_is_not_kept(at, size, more):
    """Beyond the largest datagram, or with more to follow and not of eight octets."""
    nat64 = Sessions()
    piece = from4(proto=17, id=0x1234, frag=at // 8, flags="MF" if more else 0) / Raw(payload(size))
    assert fates(nat64, [piece]) == [Verdict.BAD_LENGTH]
    assert living(nat64) == []


def neighbours(nat64: Sessions, count: int, t: Tuple) -> list[int]:
    """Identifications that stand in one set of the memory."""
    wanted = set_of(nat64.settings, t, 0)
    found = (number for number in range(10_000_000) if set_of(nat64.settings, t, number) == wanted)
    return [next(found) for _ in range(count)]


def datagram(out: int) -> Tuple:
    return tuple_of(4, 17, address4(1, 0), address4(out, 0))


def known(nat64: Sessions, numbers: list[int]) -> list[bool]:
    """Of which of these datagrams something is known."""
    return [find_datagram(nat64.gateway, 100, datagram(1), number) != NONE for number in numbers]


def test_memory_is_bounded_and_a_new_datagram_takes_the_place_of_the_one_that_ends_first():
    nat64 = Sessions()
    numbers = neighbours(nat64, FRAGMENT_WAYS + 1, datagram(1))
    assert len(nat64.tables.fragments) == FRAGMENTS == 8192
    t = datagram(1)
    for at, number in enumerate(numbers):
        remember(nat64.gateway, at, t, number, datagram(number))
    assert known(nat64, numbers) == [False] + [True] * FRAGMENT_WAYS
    # The oldest of those that are left is sent again: now the second oldest goes.
    remember(nat64.gateway, 50, t, numbers[1], datagram(1))
    remember(nat64.gateway, 51, t, numbers[0], datagram(1))
    assert known(nat64, numbers) == [True, True, False, True, True]


def test_what_waits_for_its_first_fragment_never_takes_the_place_of_what_has_it():
    """Anybody may send later fragments; where they all went to one set, they would push the others out."""
    nat64 = Sessions()
    numbers, t = neighbours(nat64, FRAGMENT_WAYS + 2, datagram(1)), datagram(1)
    for at, number in enumerate(numbers[: FRAGMENT_WAYS - 1]):
        remember(nat64.gateway, at, t, number, t)
    for number in numbers[FRAGMENT_WAYS - 1 : -1]:
        assert open_datagram(nat64.gateway, 50, t, number, FIRST_AWAITED) != NONE
    assert known(nat64, numbers) == [True] * (FRAGMENT_WAYS - 1) + [False, True, False]
    remember(nat64.gateway, 51, t, numbers[-1], t)
    assert known(nat64, numbers) == [True] * (FRAGMENT_WAYS - 1) + [False, False, True]
    assert open_datagram(nat64.gateway, 52, t, numbers[-2], FIRST_AWAITED) == NONE
    over = 52 + 1000 * FRAGMENT_MIN
    assert open_datagram(nat64.gateway, over, t, numbers[-2], FIRST_AWAITED) != NONE


def test_fragment_for_which_its_set_has_no_place_is_dropped():
    nat64 = Sessions()
    t = tuple_of(4, 17, address4(int(IPv4Address(HOST4)), 0), address4(int(IPv4Address(MAPPED4)), 0))
    *numbers, last = neighbours(nat64, FRAGMENT_WAYS + 1, t)
    assert fates(nat64, [pieces(DOWN, number)[0] for number in numbers]) == [PASS] * FRAGMENT_WAYS
    assert fates(nat64, pieces(DOWN, last)[1::-1]) == [LOST, PASS]


@pytest.mark.parametrize("field", ["src_hi", "src_lo", "dst_hi", "dst_lo", "protocol", "family", "identification"])
def test_every_field_tells_datagrams_apart(field):
    """Also those that stand in the same set."""
    nat64 = Sessions()
    t = tuple_of(6, 17, address6(1, 2, 0), address6(3, 4, 0))
    remember(nat64.gateway, 0, t, 5, t)
    row = nat64.tables.fragments[int(nat64.tables.fragments.expires.argmax())]
    assert is_datagram(row, t, 5)
    row[field] += 1
    assert not is_datagram(row, t, 5)
