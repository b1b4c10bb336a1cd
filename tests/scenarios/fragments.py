"""Fragments (RFC 6146 section 3.4, RFC 7915 sections 4.1 and 5.1.1), and packets that have to become some."""

from typing import Any

from scapy.layers.inet import ICMP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.packet import Raw

from tests.scenarios import (
    MAPPED_PORT,
    STANDARD,
    Scenario,
    Step,
    drops,
    passes,
    tell4,
    to_host4,
    to_host6,
    to_server4,
    to_server6,
)

QUERY6, QUERY4 = UDP(sport=5000, dport=53) / b"query", UDP(sport=MAPPED_PORT, dport=53) / b"query"
OPEN = passes(to_server6(QUERY6), to_server4(QUERY4))
ID4, ID6 = 0x1234, 0xABCD1234


def data(octets: int) -> bytes:
    """A payload in which every place looks different."""
    return b"".join(at.to_bytes(2) for at in range(octets // 2 + 1))[:octets]


def answer(octets: int) -> tuple[bytes, bytes]:
    """A datagram of so many octets after the IP header: these octets as SERVER4 sends them and HOST6 gets them."""
    ports4, ports6 = UDP(sport=53, dport=MAPPED_PORT), UDP(sport=53, dport=5000)
    payload = data(octets - 8)
    return bytes(to_host4(ports4 / payload))[20:], bytes(to_host6(ports6 / payload))[40:]


def query(octets: int) -> tuple[bytes, bytes]:
    """The same from HOST6 to SERVER4."""
    ports6, ports4 = UDP(sport=5000, dport=53), UDP(sport=MAPPED_PORT, dport=53)
    payload = data(octets - 8)
    return bytes(to_server6(ports6 / payload))[40:], bytes(to_server4(ports4 / payload))[20:]


def part4(transport: bytes, start: int, end: int, flags: str = "", identification: int = ID4) -> Any:
    """Octets [start, end) of a datagram in a packet from SERVER4; "MF" unless it ends there."""
    more = "MF" if end < len(transport) else ""
    flags = "+".join(filter(None, (flags, more))) or 0  # type: ignore[assignment]
    return to_host4(Raw(transport[start:end]), proto=17, id=identification, flags=flags, frag=start // 8)


def part6(transport: bytes, start: int, end: int, identification: int = ID4) -> Any:
    """The same as HOST6 gets it."""
    fragment = IPv6ExtHdrFragment(nh=17, offset=start // 8, m=int(end < len(transport)), id=identification)
    return to_host6(fragment / Raw(transport[start:end]))


def out6(transport: bytes, start: int, end: int, identification: int = ID6, protocol: int = 17) -> Any:
    """Octets [start, end) of a datagram in a packet from HOST6."""
    fragment = IPv6ExtHdrFragment(nh=protocol, offset=start // 8, m=int(end < len(transport)), id=identification)
    return to_server6(fragment / Raw(transport[start:end]))


def out4(transport: bytes, start: int, end: int, identification: int = ID4) -> Any:
    """The same as SERVER4 gets it: DF clear, the low half of the Identification."""
    flags = "MF" if end < len(transport) else 0
    return to_server4(Raw(transport[start:end]), proto=17, id=identification, flags=flags, frag=start // 8)


def cut(octets: int, *pieces: tuple[int, int]) -> Step:
    """An IPv4 packet of so many octets without DF, and the IPv6 fragments it has to become; none: it passes whole."""
    sent, got = answer(octets - 20)
    whole = to_host4(Raw(sent), proto=17, id=ID4)
    return passes(whole, *(part6(got, *piece) for piece in pieces) if pieces else (to_host6(Raw(got), nh=17),))


def again(octets: int, start: int, end: int, *pieces: tuple[int, int], flags: str = "") -> Step:
    """One IPv4 fragment of a datagram of so many octets, and the IPv6 fragments it has to become."""
    sent, got = answer(octets)
    return passes(part4(sent, start, end, flags), *(part6(got, *piece) for piece in pieces))


LONG4, LONG6 = answer(1408)
QUERY_LONG6, QUERY_LONG4 = query(1408)
HALF_PING6 = bytes(to_server6(ICMPv6EchoRequest(id=5000, data=data(80))))[40:]
HALF_PING4 = bytes(to_host4(ICMP(type=8, id=MAPPED_PORT) / data(80)))[20:]
HALF_TCP = bytes(to_server6(TCP(sport=5000, dport=80, flags="S") / data(80)))[40:]
UNCHECKED = bytes(UDP(sport=53, dport=MAPPED_PORT, len=1408, chksum=0)) + data(1400)
LARGE = to_host4(Raw(answer(2912)[0][:1456]), proto=17, id=ID4, flags="DF+MF")

NO_MEMORY = STANDARD + "\n[limits]\nfragments_memory = 0\n"

SCENARIOS = [
    Scenario(
        "ipv4_fragments_to_ipv6",
        "Each gets a Fragment header with its offset and the Identification. The first one has the checksum.",
        [OPEN, again(1408, 0, 800, (0, 800)), again(1408, 800, 1408, (800, 1408))],
    ),
    Scenario(
        "ipv4_fragments_with_df",
        "DF and MF together: treated as fragments.",
        [OPEN, again(1408, 0, 800, (0, 800), flags="DF"), again(1408, 800, 1408, (800, 1408), flags="DF")],
    ),
    Scenario(
        "ipv6_fragments_to_ipv4",
        "DF clear, the low half of the Identification. The first one opens the session.",
        [
            passes(out6(QUERY_LONG6, 0, 800), out4(QUERY_LONG4, 0, 800)),
            passes(out6(QUERY_LONG6, 800, 1408), out4(QUERY_LONG4, 800, 1408)),
        ],
    ),
    Scenario(
        "an_atomic_fragment",
        "A Fragment header on a whole packet (RFC 6946): an IPv4 packet with DF clear, whatever its size.",
        [
            passes(out6(query(100)[0], 0, 100), out4(query(100)[1], 0, 100)),
            passes(out6(QUERY_LONG6, 0, 1408), out4(QUERY_LONG4, 0, 1408)),
        ],
    ),
    Scenario(
        "ipv4_without_df_is_cut_to_1280_octets",
        "IPv4 of 1260 octets passes whole, 1261 in two fragments, the largest packet in 54.",
        [
            OPEN,
            cut(1260),
            cut(1261, (0, 1232), (1232, 1241)),
            cut(1400, (0, 1232), (1232, 1380)),
            cut(65535, *((at, min(at + 1232, 65515)) for at in range(0, 65515, 1232))),
        ],
    ),
    Scenario(
        "an_ipv4_fragment_is_cut_again",
        "One of 1232 octets fits, one of 1400 is split: the parts continue its offset and keep its "
        "More Fragments flag.",
        [
            OPEN,
            again(1608, 0, 1232, (0, 1232)),
            again(1608, 1232, 1608, (1232, 1608)),
            again(2808, 0, 1400, (0, 1232), (1232, 1400)),
            again(2808, 1400, 2808, (1400, 2632), (2632, 2808)),
        ],
    ),
    Scenario(
        "a_fragment_too_big_for_the_ipv6_path",
        "mtu6 = 1500: DF and MF, 1476 octets. With its Fragment header it is too big; the answer is 28 less.",
        [
            OPEN,
            again(2912, 0, 1448, (0, 1448), flags="DF"),
            drops("too_big", LARGE, tell4(LARGE, 3, 4, nexthopmtu=1472)),
        ],
        STANDARD + "\n[translation]\nmtu6 = 1500\n",
    ),
    Scenario(
        "a_later_fragment_without_its_first",
        "fragments_memory = 0: dropped before the first fragment, and again ten seconds after it. Others too.",
        [
            OPEN,
            drops("fragment_unknown", part4(LONG4, 800, 1408)),
            again(1408, 0, 800, (0, 800)),
            drops("fragment_unknown", part4(LONG4, 800, 1408, identification=ID4 + 1)),
            again(1408, 800, 1408, (800, 1408)),
            drops("fragment_unknown", part4(LONG4, 800, 1408), after=11),
            drops("fragment_unknown", out6(QUERY_LONG6, 800, 1408)),
        ],
        NO_MEMORY,
    ),
    Scenario(
        "fragments_that_cannot_pass",
        "Without a whole TCP header, or with extension headers; without memory, of ICMP and of UDP without checksum.",
        [
            OPEN,
            drops("fragmented_icmp", out6(HALF_PING6, 0, 40, protocol=58)),
            drops("fragmented_icmp", to_host4(Raw(HALF_PING4[:40]), proto=1, id=ID4, flags="MF")),
            drops("truncated", out6(HALF_TCP, 0, 16, protocol=6)),
            drops("extension_headers", to_server6(IPv6ExtHdrFragment(m=1, id=ID6) / IPv6ExtHdrDestOpt() / QUERY6)),
            drops("zero_udp_checksum", part4(UNCHECKED, 0, 800)),
        ],
        NO_MEMORY,
    ),
]
