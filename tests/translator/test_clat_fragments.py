"""A CLAT (RFC 6877) puts ICMP in fragments together: it has all fragments of its host, as other translators without
sessions may not have them (RFC 7915 section 1.2)."""

from itertools import permutations
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP

from tests import invariants
from tests.datagrams import in_pieces, joined
from tests.packets import HOST4, HOST4_IN6, POOL6, from6, payload, ping4, ping6, seen4, whole
from tests.sessions import Sessions
from translator.verdict import Verdict

CLAT4, CLAT6 = "192.0.0.1", "2001:db8:1::464"
CLAT: dict[str, Any] = {"pool6": None, "pool4": [], "forward": [], "clat": {"ipv6": CLAT6, "plat": POOL6}}
ASK, ANSWER = IP(src=CLAT4, dst=HOST4, id=0x1234), from6(src=HOST4_IN6, dst=CLAT6)
DATA = payload(3000)
ECHOES = {
    "ask": (ASK / ping4(True, DATA, id=7), from6(src=CLAT6, hlim=63) / ping6(True, DATA, id=7)),
    "answer": (ANSWER / ping6(False, DATA, id=7), seen4(src=HOST4, dst=CLAT4) / ping4(False, DATA, id=7)),
}


def fates(nat64: Sessions, packets) -> list[Verdict]:
    return [nat64.say(packet).verdict for packet in packets]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize("way", list(ECHOES))
def test_rfc6877_2_a_large_ping_is_put_together(way, order):
    sent, seen = ECHOES[way]
    nat64, parts = Sessions(**CLAT), in_pieces(sent, 1024, 2048)
    *waiting, last = [nat64.say(parts[at]) for at in order]
    assert [(outcome.verdict, outcome.packets) for outcome in waiting] == [(Verdict.HELD, [])] * 2
    datagram = joined(last.packets)
    assert datagram.data == bytes(whole(seen).payload)
    assert (datagram.src, datagram.dst) == (whole(seen).src, whole(seen).dst)
    assert invariants.check_fragments(nat64.tables) == []


@pytest.mark.parametrize(
    ("sent", "verdict"),
    [
        (IP(src="192.168.9.9", dst=HOST4) / ping4(True, payload(100)), Verdict.CLAT_SOURCE),
        (IP(src="192.168.9.9", dst=HOST4) / UDP(sport=1, dport=2) / payload(100), Verdict.CLAT_SOURCE),
        (from6(src=HOST4_IN6, dst="2001:db8:1::465") / ping6(False, payload(100)), Verdict.NO_MAPPING),
    ],
    ids=["from a foreign host", "UDP from a foreign host", "to a foreign host"],
)
def test_rfc6877_2_what_is_refused_does_not_wait(sent, verdict):
    nat64 = Sessions(**CLAT)
    assert fates(nat64, in_pieces(sent, 40)) == [verdict] * 2
    assert invariants.check_fragments(nat64.tables) == []


def test_rfc6877_2_nor_what_would_turn_round_from_a_foreign_host():
    """Both addresses are the provider's, and the destination stands for a host of ours: its source is none of ours."""
    own = {"ipv4": "192.168.7.0/29", "ipv6": "2001:db8:c::/125", "plat": "2001:db8:46::/96"}
    nat64 = Sessions(**{**CLAT, "clat": own})
    sent = from6(src="2001:db8:46::cb00:7132", dst="2001:db8:46::c0a8:700") / ping6(False, payload(100))
    assert fates(nat64, in_pieces(sent, 40)) == [Verdict.CLAT_SOURCE] * 2
    assert invariants.check_fragments(nat64.tables) == []


def test_rfc7915_4_5_udp_without_a_checksum_does_not_wait():
    """Its later fragments do not say that they are of such a datagram, and pass at once."""
    bare = in_pieces(whole(IP(src=CLAT4, dst=HOST4) / UDP(sport=1, dport=2, chksum=0) / payload(100)), 40)
    assert fates(Sessions(**CLAT), bare) == [Verdict.ZERO_UDP_CHECKSUM, Verdict.TRANSLATED]


def test_rfc7915_1_2_without_memory_it_is_dropped():
    nat64 = Sessions(**CLAT, limits={"fragments_memory": 0})
    assert fates(nat64, in_pieces(ECHOES["ask"][0], 1024)) == [Verdict.FRAGMENTED_ICMP] * 2
