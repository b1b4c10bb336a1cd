"""Fragments that wait for others of their datagram (RFC 6146 section 3.4)."""

from typing import Any

from scapy.layers.inet import ICMP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrFragment,
)
from scapy.packet import Raw

from tests.scenarios import (
    HOST6,
    MAPPED6,
    MAPPED_PORT,
    OTHER6,
    POOL6,
    ROUTER4,
    STANDARD,
    Scenario,
    Step,
    drops,
    hairpins,
    passes,
    tell4,
    to_host4,
    to_host6,
    to_server4,
    to_server6,
)
from tests.scenarios.fragments import ID4, ID6, OPEN, UNCHECKED, answer, data, out4, out6, part4, part6, query

ICMP4, ICMP6 = 1, 58


def waits(sent: Any, after: float = 0.001) -> Step:
    return Step(sent, "held", (), after)


def from_server(message: bytes, start: int, end: int, **ip: Any) -> Any:
    """Octets [start, end) of an ICMP message, in a packet from SERVER4."""
    flags = "MF" if end < len(message) else 0
    return to_host4(Raw(message[start:end]), **{"proto": ICMP4, "id": ID4, "flags": flags, "frag": start // 8} | ip)


def at_host(message: bytes, start: int, end: int, **ip: Any) -> Any:
    """The same as HOST6 gets it."""
    fragment = IPv6ExtHdrFragment(nh=ICMP6, offset=start // 8, m=int(end < len(message)), id=ID4)
    return to_host6(fragment / Raw(message[start:end]), **ip)


ANSWER4, ANSWER6 = answer(1408)
QUERY6, QUERY4 = query(1408)
ECHO = {"seq": 1, "data": data(3000)}
PING6 = bytes(to_server6(ICMPv6EchoRequest(id=5000, **ECHO)))[40:]
PING4 = bytes(to_server4(ICMP(type=8, id=MAPPED_PORT, seq=1) / data(3000)))[20:]
PONG4 = bytes(to_host4(ICMP(type=0, id=MAPPED_PORT, seq=1) / data(3000)))[20:]
PONG6 = bytes(to_host6(ICMPv6EchoReply(id=5000, **ECHO)))[40:]
PINGED = [
    waits(out6(PING6, 1448, 2896, protocol=ICMP6)),
    waits(out6(PING6, 0, 1448, protocol=ICMP6)),
    passes(out6(PING6, 2896, 3008, protocol=ICMP6), to_server4(Raw(PING4), proto=ICMP4, id=ID4)),
]
SMALL_PING4 = bytes(to_host4(ICMP(type=8, id=7, seq=1) / data(120)))[20:]
SMALL_PING6 = bytes(to_host6(ICMPv6EchoRequest(id=7, seq=1, data=data(120)), dst=OTHER6))[40:]
QUOTED4 = bytes(to_server4(UDP(sport=MAPPED_PORT, dport=53) / data(400), ttl=60))
QUOTED6 = bytes(to_server6(UDP(sport=5000, dport=53) / data(400), hlim=60))
ERROR4 = bytes(to_host4(ICMP(type=3, code=1) / QUOTED4, src=ROUTER4))[20:]
DOOR6 = bytes(IPv6(src=HOST6, dst=MAPPED6) / UDP(sport=5000, dport=53) / data(1400))[40:]
DOOR_SEEN6 = bytes(IPv6(src=MAPPED6, dst=OTHER6) / UDP(sport=MAPPED_PORT, dport=5353) / data(1400))[40:]
NOBODY4 = bytes(to_host4(ICMP(type=8, id=9, seq=1) / data(120)))[20:]


def door(start: int, end: int) -> Any:
    """Octets [start, end) of a datagram from HOST6 to the [[forward]] of OTHER6."""
    return IPv6(src=HOST6, dst=MAPPED6) / part_header(start, end) / Raw(DOOR6[start:end])


def door_seen(start: int, end: int) -> Any:
    """The same as OTHER6 gets it."""
    return IPv6(src=MAPPED6, dst=OTHER6, hlim=63) / part_header(start, end) / Raw(DOOR_SEEN6[start:end])


def part_header(start: int, end: int) -> IPv6ExtHdrFragment:
    return IPv6ExtHdrFragment(nh=17, offset=start // 8, m=int(end < len(DOOR6)), id=ID6)


SCENARIOS = [
    Scenario(
        "ipv4_fragments_in_the_wrong_order",
        "Kept until the first one arrives, then sent after it in the order of arrival. A duplicate is not kept.",
        [
            OPEN,
            waits(part4(ANSWER4, 1200, 1408)),
            waits(part4(ANSWER4, 800, 1200)),
            waits(part4(ANSWER4, 1200, 1408)),
            passes(
                part4(ANSWER4, 0, 800),
                *(part6(ANSWER6, *piece) for piece in ((0, 800), (1200, 1408), (800, 1200))),
            ),
            passes(part4(ANSWER4, 800, 1200), part6(ANSWER6, 800, 1200)),
        ],
    ),
    Scenario(
        "ipv6_fragments_in_the_wrong_order",
        "The last one arrives first. The first one opens the session and releases it.",
        [
            waits(out6(QUERY6, 800, 1408)),
            passes(out6(QUERY6, 0, 800), out4(QUERY4, 0, 800), out4(QUERY4, 800, 1408)),
        ],
    ),
    Scenario(
        "a_fragment_that_waits_too_long",
        "Ten seconds after the first arrival of a datagram, its fragments are discarded.",
        [
            OPEN,
            waits(part4(ANSWER4, 1200, 1408)),
            waits(part4(ANSWER4, 800, 1200), after=9),
            passes(part4(ANSWER4, 0, 800), part6(ANSWER6, 0, 800), after=1),
            passes(part4(ANSWER4, 800, 1200), part6(ANSWER6, 800, 1200)),
        ],
    ),
    Scenario(
        "fragments_hairpin_in_the_wrong_order",
        "RFC 6146 3.8: between two IPv6 hosts, with their Identification.",
        [
            waits(door(800, 1408)),
            hairpins(door(0, 800), door_seen(0, 800), door_seen(800, 1408)),
        ],
    ),
    Scenario(
        "a_ping_of_3000_octets",
        "The checksum covers all fragments: one IPv4 packet without DF, and fragments of 1280 octets on the way back.",
        [
            *PINGED,
            waits(from_server(PONG4, 2960, 3008)),
            waits(from_server(PONG4, 1480, 2960)),
            passes(
                from_server(PONG4, 0, 1480),
                *(at_host(PONG6, *piece) for piece in ((0, 1232), (1232, 2464), (2464, 3008))),
            ),
        ],
    ),
    Scenario(
        "a_small_ping_in_fragments",
        "To an ICMP [[forward]]: what fits 1280 octets leaves as one packet. Identifier 9 is not mapped.",
        [
            waits(from_server(SMALL_PING4, 64, 128)),
            passes(from_server(SMALL_PING4, 0, 64), to_host6(Raw(SMALL_PING6), dst=OTHER6, nh=ICMP6)),
            waits(from_server(NOBODY4, 0, 64)),
            drops(
                "no_bib_entry",
                from_server(NOBODY4, 64, 128),
                tell4(to_host4(Raw(NOBODY4), proto=ICMP4, id=ID4), 3, 1),
            ),
        ],
    ),
    Scenario(
        "an_icmp_error_in_fragments",
        "Reassembled and translated as one packet, with the packet it quotes.",
        [
            OPEN,
            waits(from_server(ERROR4, 224, 456, src=ROUTER4)),
            passes(
                from_server(ERROR4, 0, 224, src=ROUTER4),
                to_host6(ICMPv6DestUnreach(code=0) / QUOTED6, src=POOL6 + ROUTER4),
            ),
        ],
    ),
    Scenario(
        "udp_without_checksum_in_fragments",
        "RFC 6146 3.4: reassembled, as the checksum that IPv6 needs covers the whole datagram.",
        [
            OPEN,
            waits(part4(UNCHECKED, 800, 1408)),
            passes(part4(UNCHECKED, 0, 800), part6(ANSWER6, 0, 1232), part6(ANSWER6, 1232, 1408)),
        ],
    ),
    Scenario(
        "fragments_that_overlap",
        "RFC 5722: if the datagram must be reassembled, all of it is discarded. A duplicate is harmless.",
        [
            waits(out6(PING6, 0, 1448, protocol=ICMP6)),
            waits(out6(PING6, 0, 1448, protocol=ICMP6)),
            drops("fragment_overlap", out6(PING6, 1440, 2896, protocol=ICMP6)),
            drops("fragment_overlap", out6(PING6, 1448, 2896, protocol=ICMP6)),
            drops("fragment_overlap", out6(PING6, 2896, 3008, protocol=ICMP6)),
            waits(out6(PING6, 0, 1448, protocol=ICMP6), after=11),
        ],
    ),
    Scenario(
        "a_ping_in_fragments_to_a_mapped_host",
        "[[eam]] keeps no state, so the fragments cannot be reassembled (RFC 7915 4.2).",
        [
            drops("fragmented_icmp", from_server(SMALL_PING4, 0, 64, dst="203.0.113.9")),
            drops("fragmented_icmp", from_server(SMALL_PING4, 64, 128, dst="203.0.113.9")),
        ],
        STANDARD + '\n[[eam]]\nipv4 = "203.0.113.9"\nipv6 = "2001:db8:3::9"\n',
    ),
]
