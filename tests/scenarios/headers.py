"""Network headers (RFC 7915 sections 4.1 and 5.1): hop limits, DF, options, extension headers; broken packets."""

from typing import Any

from scapy.layers.inet import IP, TCP, UDP, IPOption_LSRR, IPOption_NOP, IPOption_RR, IPOption_SSRR
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.packet import Raw

from tests.scenarios import (
    MAPPED_PORT,
    OTHER6,
    ROUTER4,
    STANDARD,
    Scenario,
    Step,
    drops,
    passes,
    tell4,
    tell6,
    to_host4,
    to_host6,
    to_server4,
    to_server6,
)

QUERY6, QUERY4 = UDP(sport=5000, dport=53) / b"query", UDP(sport=MAPPED_PORT, dport=53) / b"query"
ANSWER4, ANSWER6 = UDP(sport=53, dport=MAPPED_PORT) / b"answer", UDP(sport=53, dport=5000) / b"answer"
OPEN = passes(to_server6(QUERY6), to_server4(QUERY4))


def sized(octets: int) -> tuple[Any, Any]:
    """A datagram that makes an IPv4 packet of so many octets, as HOST6 sends it and as SERVER4 gets it."""
    data = bytes(range(256)) * 6
    return tuple(UDP(sport=port, dport=53) / data[: octets - 28] for port in (5000, MAPPED_PORT))


def sized_out(octets: int, flags: str | int) -> Step:
    sent, got = sized(octets)
    return passes(to_server6(sent), to_server4(got, flags=flags))


def inbound(octets: int, **ip: Any) -> tuple[Any, Any]:
    """An IPv4 packet of so many octets from SERVER4, and what HOST6 gets of it."""
    data = bytes(range(256)) * 6
    return (
        to_host4(UDP(sport=53, dport=MAPPED_PORT) / data[: octets - 28], **ip),
        to_host6(UDP(sport=53, dport=5000) / data[: octets - 28]),
    )


def damaged(packet: Any, **header: Any) -> bytes:
    """The packet with a field of its network header wrong and everything else, checksum too, as it was."""
    whole = packet.__class__(bytes(packet))
    for name, value in header.items():
        setattr(whole, name, value)
    return bytes(whole)


def off_by_one(packet: Any) -> Any:
    """The same UDP packet with a checksum that is one too high."""
    wrong = packet.copy()
    wrong[UDP].chksum = packet.__class__(bytes(packet))[UDP].chksum + 1
    return wrong


# scapy takes the last address of a source route for the destination, also when the route has expired.
ROUTED = UDP(sport=53, dport=MAPPED_PORT, chksum=IP(bytes(to_host4(ANSWER4)))[UDP].chksum) / b"answer"
WIDE, NARROW = inbound(1481, flags="DF"), inbound(1480, flags="DF")
WIDE6, FITTING6 = sized(1401)[0], sized(1400)

SCENARIOS = [
    Scenario(
        "df_is_set_above_1260_octets",
        "IPv4 of 1260 octets has DF clear, as 1280 octets of IPv6 pass every path. IPv4 of 1261 octets has DF set.",
        [sized_out(1259, 0), sized_out(1260, 0), sized_out(1261, "DF"), sized_out(1480, "DF")],
    ),
    Scenario(
        "hop_limit_expires",
        "0 or 1 is answered with time exceeded, in the IP version of the packet. 2 leaves as 1.",
        [
            passes(to_server6(QUERY6, hlim=2), to_server4(QUERY4, ttl=1)),
            passes(to_host4(ANSWER4, ttl=2), to_host6(ANSWER6, hlim=1)),
            drops(
                "hop_limit_expired", to_server6(QUERY6, hlim=1), tell6(to_server6(QUERY6, hlim=1), ICMPv6TimeExceeded())
            ),
            drops(
                "hop_limit_expired", to_server6(QUERY6, hlim=0), tell6(to_server6(QUERY6, hlim=0), ICMPv6TimeExceeded())
            ),
            drops("hop_limit_expired", to_host4(ANSWER4, ttl=1), tell4(to_host4(ANSWER4, ttl=1), 11, 0)),
            drops("hop_limit_expired", to_host4(ANSWER4, ttl=0), tell4(to_host4(ANSWER4, ttl=0), 11, 0)),
        ],
    ),
    Scenario(
        "too_big_for_the_ipv6_path",
        "mtu6 = 1500: IPv4 of 1480 octets with DF passes, for 1481 the answer is 1480 and has 576 octets.",
        [
            OPEN,
            passes(NARROW[0], NARROW[1]),
            drops("too_big", WIDE[0], tell4(WIDE[0], 3, 4, nexthopmtu=1480)),
        ],
        STANDARD + "\n[translation]\nmtu6 = 1500\n",
    ),
    Scenario(
        "too_big_for_the_ipv4_path",
        "mtu4 = 1400: IPv6 of 1420 octets passes, for 1421 the answer is 1420 and has 1280 octets.",
        [
            passes(to_server6(FITTING6[0]), to_server4(FITTING6[1], flags="DF")),
            drops("too_big", to_server6(WIDE6), tell6(to_server6(WIDE6), ICMPv6PacketTooBig(mtu=1420))),
        ],
        STANDARD + "\n[translation]\nmtu4 = 1400\n",
    ),
    Scenario(
        "an_ipv4_path_below_1260_octets",
        "mtu4 = 1000: 1280 octets of IPv6 pass with DF clear, for routers to fragment. Larger ones are told 1280.",
        [
            sized_out(1260, 0),
            drops(
                "too_big", to_server6(sized(1261)[0]), tell6(to_server6(sized(1261)[0]), ICMPv6PacketTooBig(mtu=1280))
            ),
        ],
        STANDARD + "\n[translation]\nmtu4 = 1000\n",
    ),
    Scenario(
        "ipv4_options",
        "Options and used-up source routes are left out. A source route with hops left: source route failed.",
        [
            OPEN,
            passes(to_host4(ANSWER4, options=[IPOption_RR(routers=[ROUTER4]), IPOption_NOP()]), to_host6(ANSWER6)),
            passes(to_host4(ROUTED, options=[IPOption_LSRR(pointer=8, routers=[ROUTER4])]), to_host6(ANSWER6)),
            *(
                drops("source_routed", sent, tell4(sent, 3, 5))
                for sent in (
                    to_host4(ANSWER4, options=[IPOption_LSRR(pointer=4, routers=[ROUTER4])]),
                    to_host4(ANSWER4, options=[IPOption_NOP(), IPOption_SSRR(pointer=8, routers=[ROUTER4, ROUTER4])]),
                )
            ),
        ],
    ),
    Scenario(
        "ipv6_extension_headers",
        "Hop-by-hop and destination options, and a Routing header without segments left, are skipped.",
        [
            passes(to_server6(IPv6ExtHdrHopByHop(options=PadN(optdata=b"\0" * 4)) / QUERY6), to_server4(QUERY4)),
            passes(to_server6(IPv6ExtHdrDestOpt(options=PadN(optdata=b"\0" * 12)) / QUERY6), to_server4(QUERY4)),
            passes(
                to_server6(
                    IPv6ExtHdrHopByHop()
                    / IPv6ExtHdrRouting(segleft=0, addresses=[OTHER6])
                    / IPv6ExtHdrDestOpt()
                    / QUERY6
                ),
                to_server4(QUERY4),
            ),
        ],
    ),
    Scenario(
        "ipv6_routing_header",
        "With segments left: parameter problem that points at Segments Left, also after another extension header.",
        [
            *(
                drops("routing_header", sent, tell6(sent, ICMPv6ParamProblem(code=0, ptr=pointer)))
                for sent, pointer in (
                    (to_server6(IPv6ExtHdrRouting(segleft=1, addresses=[OTHER6]) / QUERY6), 43),
                    (to_server6(IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting(segleft=1, addresses=[OTHER6]) / QUERY6), 51),
                )
            ),
        ],
    ),
    Scenario(
        "other_protocols",
        "Neither TCP nor UDP nor ICMP: port unreachable for IPv6 (RFC 6146 3.4), protocol unreachable for IPv4.",
        [
            drops(
                "protocol",
                to_server6(Raw(b"sctp" * 3), nh=132),
                tell6(to_server6(Raw(b"sctp" * 3), nh=132), ICMPv6DestUnreach(code=4)),
            ),
            drops(
                "protocol",
                to_host4(Raw(b"gre." * 3), proto=47),
                tell4(to_host4(Raw(b"gre." * 3), proto=47), 3, 2),
            ),
        ],
    ),
    Scenario(
        "udp_without_checksum",
        "UDP over IPv4 with a checksum of zero gets one, calculated over the whole datagram.",
        [
            OPEN,
            passes(to_host4(UDP(sport=53, dport=MAPPED_PORT, chksum=0) / b"answer"), to_host6(ANSWER6)),
        ],
    ),
    Scenario(
        "udp_without_checksum_by_port",
        "[translation] udp_zero_checksum_ports: one port is dropped, one passes unchanged, one gets a checksum.",
        [
            OPEN,
            drops("zero_udp_checksum", to_server6(UDP(sport=5000, dport=53, chksum=0) / b"query")),
            passes(
                to_server6(UDP(sport=5000, dport=4789, chksum=0) / b"query"),
                to_server4(UDP(sport=MAPPED_PORT, dport=4789, chksum=0) / b"query"),
            ),
            passes(
                to_server6(UDP(sport=5000, dport=4790, chksum=0) / b"query"),
                to_server4(UDP(sport=MAPPED_PORT, dport=4790) / b"query"),
            ),
        ],
        STANDARD + '\n[translation]\nudp_zero_checksum_ports = { drop = ["1-53"], forward = ["4789"] }\n',
    ),
    Scenario(
        "udp_without_checksum_is_dropped_when_asked",
        '[translation] udp_zero_checksum = "drop".',
        [OPEN, drops("zero_udp_checksum", to_host4(UDP(sport=53, dport=MAPPED_PORT, chksum=0) / b"answer"))],
        STANDARD + '\n[translation]\nudp_zero_checksum = "drop"\n',
    ),
    Scenario(
        "traffic_class_is_overruled",
        "[translation] traffic_class = 0: not copied, in either direction.",
        [
            passes(to_server6(QUERY6, tc=0xB8), to_server4(QUERY4)),
            passes(to_host4(ANSWER4, tos=0xB8), to_host6(ANSWER6)),
        ],
        STANDARD + "\n[translation]\ntraffic_class = 0\n",
    ),
    Scenario(
        "a_damaged_transport_checksum_stays_damaged",
        "Checksums are updated, not recalculated: one that is off by one stays off by one.",
        [
            passes(off_by_one(to_server6(QUERY6)), off_by_one(to_server4(QUERY4))),
            passes(off_by_one(to_host4(ANSWER4)), off_by_one(to_host6(ANSWER6))),
        ],
    ),
    Scenario(
        "truncated_packets",
        "Cut in the network header, the transport header, the payload. Octets after the packet are left out.",
        [
            OPEN,
            *(drops("truncated", bytes(to_server6(QUERY6))[:size]) for size in (1, 39, 40, 47, 52)),
            *(drops("truncated", bytes(to_host4(ANSWER4))[:size]) for size in (1, 19, 20, 27, 33)),
            drops("truncated", to_host4(Raw(b"\0\x35\x9c\x40"), proto=17)),
            drops("truncated", to_server6(Raw(bytes(TCP(dport=80))[:19]), nh=6)),
            passes(bytes(to_host4(ANSWER4)) + b"\0" * 12, to_host6(ANSWER6)),
        ],
    ),
    Scenario(
        "packets_that_contradict_themselves",
        "An unknown version, wrong header and packet lengths, a wrong IPv4 header checksum.",
        [
            drops("not_ip", b"\x00" * 40),
            drops("not_ip", b"\x50" + bytes(to_server6(QUERY6))[1:]),
            drops("not_ip", b""),
            drops("bad_length", damaged(to_host4(ANSWER4), ihl=4)),
            drops("bad_length", damaged(to_host4(ANSWER4), len=19)),
            drops("bad_length", to_server6(UDP(sport=5000, dport=53, len=7) / b"query")),
            drops("bad_length", to_server6(UDP(sport=5000, dport=53, len=99) / b"query")),
            drops("bad_length", to_server6(TCP(sport=5000, dport=53, dataofs=4))),
            drops("bad_length", to_server6(TCP(sport=5000, dport=53, dataofs=6))),
            drops("header_checksum", damaged(to_host4(ANSWER4), chksum=0x1234)),
            drops("header_checksum", damaged(to_host4(ANSWER4), ttl=9)),
        ],
    ),
]
