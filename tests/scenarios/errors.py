"""ICMP errors (RFC 7915 sections 4.2 to 4.4, 5.2 to 5.4): types, codes, pointers, MTUs, and the packet they quote."""

from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrFragment,
)
from scapy.packet import Raw

from tests.scenarios import (
    HOST6,
    MAPPED4,
    MAPPED_PORT,
    OTHER6,
    OWN6,
    POOL6,
    ROUTER4,
    ROUTER6,
    SERVER4,
    SERVER6,
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
# What is quoted, where it was when it failed: the hop limit of a quoted packet is not touched.
QUOTED_QUERY4, QUOTED_QUERY6 = bytes(to_server4(QUERY4, ttl=60)), bytes(to_server6(QUERY6, hlim=60))
QUOTED_ANSWER6, QUOTED_ANSWER4 = bytes(to_host6(ANSWER6, hlim=60)), bytes(to_host4(ANSWER4, ttl=60, id=0))


def error4(message: Any, quoted: bytes = QUOTED_QUERY4, source: str = ROUTER4) -> Any:
    """An error from IPv4 about what HOST6 sent."""
    return to_host4(message / quoted, src=source)


def error6(message: Any, quoted: bytes = QUOTED_ANSWER6, source: str = ROUTER6) -> Any:
    """An error from IPv6 about what SERVER4 sent."""
    return IPv6(src=source, dst=SERVER6) / message / quoted


def inwards(message4: Any, message6: Any) -> Step:
    """A router's error on its way to HOST6; it is seen under pool6, so that traceroute shows it."""
    return passes(error4(message4), to_host6(message6 / QUOTED_QUERY6, src=POOL6 + ROUTER4))


def outwards(message6: Any, message4: Any) -> Step:
    """A router's error on its way to SERVER4; it has no IPv4 address but that of the host (RFC 6146 3.7)."""
    return passes(error6(message6), to_server4(message4 / QUOTED_ANSWER4))


def not_inwards(message4: Any, verdict: str = "icmp_type") -> Step:
    return drops(verdict, error4(message4))


def not_outwards(message6: Any, verdict: str = "icmp_type") -> Step:
    return drops(verdict, error6(message6))


def pointed4(pointer: int) -> Any:
    return ICMP(type=12, code=0, ptr=pointer)


def pointed6(pointer: int) -> Any:
    return ICMPv6ParamProblem(code=0, ptr=pointer)


def unreachable4(code: int, mtu: int = 0) -> Any:
    return ICMP(type=3, code=code, nexthopmtu=mtu)


def needs_fragmentation(quoted: bytes, mtu: int, quoted6: bytes, mtu6: int) -> Step:
    return passes(
        error4(unreachable4(4, mtu), quoted),
        to_host6(ICMPv6PacketTooBig(mtu=mtu6) / quoted6, src=POOL6 + ROUTER4),
    )


# A quoted packet of 1500 octets of which a router sent back the least it must.
LARGE4 = bytes(to_server4(UDP(sport=MAPPED_PORT, dport=53) / (b"x" * 1472)))[:28]
LARGE6 = bytes(to_server6(UDP(sport=5000, dport=53) / (b"x" * 1472), hlim=63))[:48]
SMALL4 = bytes(to_server4(UDP(sport=MAPPED_PORT, dport=53) / (b"x" * 972)))[:28]
SMALL6 = bytes(to_server6(UDP(sport=5000, dport=53) / (b"x" * 972), hlim=63))[:48]
# A first fragment of 1480 octets of transport, quoted whole.
LONG4 = bytes(to_host4(UDP(sport=53, dport=MAPPED_PORT) / (b"y" * 1992)))[20:500]
LONG6 = bytes(to_host6(UDP(sport=53, dport=5000) / (b"y" * 1992)))[40:520]
FRAGMENT6 = bytes(to_host6(IPv6ExtHdrFragment(nh=17, m=1, id=0x1234) / Raw(LONG6)))
FRAGMENT4 = bytes(to_host4(Raw(LONG4), proto=17, id=0x1234, flags="MF", ttl=63))
# A packet of 1400 octets each way, for what does not fit an error.
FULL4, FULL6 = (ANSWER / (b"z" * 1380) for ANSWER in (UDP(sport=53, dport=MAPPED_PORT), UDP(sport=53, dport=5000)))
FULL_OUT6, FULL_OUT4 = (
    QUERY / (b"z" * 1380) for QUERY in (UDP(sport=5000, dport=53), UDP(sport=MAPPED_PORT, dport=53))
)

SYN6, SYN4 = (TCP(sport=port, dport=80, flags="S", seq=100) for port in (5000, MAPPED_PORT))
PING6 = ICMPv6EchoRequest(id=5000, seq=1, data=b"ping")
PING4 = ICMP(type=8, id=MAPPED_PORT, seq=1) / b"ping"

LATE6, BIG6 = to_server6(UDP(sport=5000, dport=53), hlim=1), to_server6(UDP(sport=5000, dport=53) / Raw(bytes(1400)))
ELSE6 = IPv6(src=OTHER6, dst=SERVER6, hlim=1) / UDP(sport=5000, dport=53)

SCENARIOS = [
    Scenario(
        "port_unreachable_from_ipv4",
        "3/3 becomes 1/4. The quoted packet is HOST6's own again with its checksum, also if only 8 octets are quoted.",
        [
            OPEN,
            passes(
                error4(unreachable4(3), source=SERVER4),
                to_host6(ICMPv6DestUnreach(code=4) / QUOTED_QUERY6, src=SERVER6),
            ),
            passes(
                error4(unreachable4(3), QUOTED_QUERY4[:28], SERVER4),
                to_host6(ICMPv6DestUnreach(code=4) / QUOTED_QUERY6[:48], src=SERVER6),
            ),
        ],
    ),
    Scenario(
        "port_unreachable_from_ipv6",
        "1/4 becomes 3/3, from the mapped address, quoting what SERVER4 sent.",
        [
            OPEN,
            passes(error6(ICMPv6DestUnreach(code=4), source=HOST6), to_server4(unreachable4(3) / QUOTED_ANSWER4)),
            passes(
                error6(ICMPv6DestUnreach(code=4), QUOTED_ANSWER6[:48], HOST6),
                to_server4(unreachable4(3) / QUOTED_ANSWER4[:28]),
            ),
        ],
    ),
    Scenario(
        "unreachable_from_ipv4_routers",
        "Every code of type 3 (RFC 7915 4.2).",
        [
            OPEN,
            *(inwards(unreachable4(code), ICMPv6DestUnreach(code=0)) for code in (0, 1, 5, 6, 7, 8, 11, 12)),
            inwards(unreachable4(2), ICMPv6ParamProblem(code=1, ptr=6)),
            inwards(unreachable4(3), ICMPv6DestUnreach(code=4)),
            *(inwards(unreachable4(code), ICMPv6DestUnreach(code=1)) for code in (9, 10, 13, 15)),
            *(not_inwards(unreachable4(code)) for code in (14, 16, 255)),
        ],
    ),
    Scenario(
        "unreachable_from_ipv6_routers",
        "Every code of type 1 (RFC 7915 5.2).",
        [
            OPEN,
            *(outwards(ICMPv6DestUnreach(code=code), unreachable4(1)) for code in (0, 2, 3)),
            outwards(ICMPv6DestUnreach(code=1), unreachable4(10)),
            outwards(ICMPv6DestUnreach(code=4), unreachable4(3)),
            *(not_outwards(ICMPv6DestUnreach(code=code)) for code in (5, 6, 7, 255)),
        ],
    ),
    Scenario(
        "time_exceeded_from_routers",
        "What traceroute needs, in both directions. The code does not change.",
        [
            OPEN,
            inwards(ICMP(type=11, code=0), ICMPv6TimeExceeded(code=0)),
            inwards(ICMP(type=11, code=1), ICMPv6TimeExceeded(code=1)),
            outwards(ICMPv6TimeExceeded(code=0), ICMP(type=11, code=0)),
            outwards(ICMPv6TimeExceeded(code=1), ICMP(type=11, code=1)),
        ],
    ),
    Scenario(
        "routers_with_addresses_that_do_not_travel",
        "A private IPv4 router under the well-known prefix: our own address. An IPv6 router: one of rfc6791_ipv4.",
        [
            OPEN,
            passes(
                error4(ICMP(type=11, code=0), source="10.9.9.9"),
                to_host6(ICMPv6TimeExceeded() / QUOTED_QUERY6, src=OWN6),
            ),
            passes(
                error6(ICMPv6TimeExceeded()),
                to_server4(ICMP(type=11, code=0) / QUOTED_ANSWER4, src="203.0.113.99"),
            ),
        ],
        STANDARD + '\n[translation]\nrfc6791_ipv4 = ["203.0.113.99"]\n',
    ),
    Scenario(
        "fragmentation_needed_becomes_packet_too_big",
        "20 more, never below 1280. For an MTU of 0, the plateau below the quoted length (RFC 1191).",
        [
            OPEN,
            needs_fragmentation(LARGE4, 1400, LARGE6, 1420),
            needs_fragmentation(LARGE4, 1260, LARGE6, 1280),
            needs_fragmentation(LARGE4, 576, LARGE6, 1280),
            needs_fragmentation(LARGE4, 0, LARGE6, 1512),
            needs_fragmentation(SMALL4, 0, SMALL6, 1280),
        ],
    ),
    Scenario(
        "packet_too_big_becomes_fragmentation_needed",
        "20 less; 28 less if the quoted packet has a Fragment header, which IPv4 does not have.",
        [
            OPEN,
            outwards(ICMPv6PacketTooBig(mtu=1400), unreachable4(4, 1380)),
            outwards(ICMPv6PacketTooBig(mtu=1280), unreachable4(4, 1260)),
            outwards(ICMPv6PacketTooBig(mtu=1400, code=9), unreachable4(4, 1380)),
            passes(error6(ICMPv6PacketTooBig(mtu=1400), FRAGMENT6), to_server4(unreachable4(4, 1372) / FRAGMENT4)),
        ],
    ),
    Scenario(
        "parameter_problem_from_ipv4",
        "The pointer moves to the same field of the other header, or the error is dropped (RFC 7915 figure 3).",
        [
            OPEN,
            *(
                inwards(pointed4(at), pointed6(to))
                for at, to in ((0, 0), (1, 1), (2, 4), (3, 4), (8, 7), (9, 6), (12, 8), (15, 8), (16, 24), (19, 24))
            ),
            *(not_inwards(pointed4(at)) for at in (4, 5, 6, 7, 10, 11, 20, 255)),
            inwards(ICMP(type=12, code=2, ptr=1), pointed6(1)),
            not_inwards(ICMP(type=12, code=1)),
        ],
    ),
    Scenario(
        "parameter_problem_from_ipv6",
        "The other way (figure 6). An unknown Next Header is protocol unreachable, an unknown option is dropped.",
        [
            OPEN,
            *(
                outwards(pointed6(at), pointed4(to))
                for at, to in ((0, 0), (1, 1), (4, 2), (5, 2), (6, 9), (7, 8), (8, 12), (23, 12), (24, 16), (39, 16))
            ),
            *(not_outwards(pointed6(at)) for at in (2, 3, 40, 48, 0xFFFFFFFF)),
            outwards(ICMPv6ParamProblem(code=1, ptr=6), unreachable4(2)),
            not_outwards(ICMPv6ParamProblem(code=2, ptr=40)),
        ],
    ),
    Scenario(
        "errors_about_tcp_and_ping",
        "The quoted port, sequence number and identifier are those of the host.",
        [
            passes(to_server6(SYN6), to_server4(SYN4)),
            passes(
                error4(ICMP(type=11, code=0), bytes(to_server4(SYN4, ttl=1))[:28]),
                to_host6(ICMPv6TimeExceeded() / bytes(to_server6(SYN6, hlim=1))[:48], src=POOL6 + ROUTER4),
            ),
            passes(to_server6(PING6), to_server4(PING4)),
            passes(
                error4(ICMP(type=11, code=0), bytes(to_server4(PING4, ttl=1))),
                to_host6(ICMPv6TimeExceeded() / bytes(to_server6(PING6, hlim=1)), src=POOL6 + ROUTER4),
            ),
        ],
    ),
    Scenario(
        "a_long_quoted_packet_is_shortened",
        "An ICMPv4 error has at most 576 octets, an ICMPv6 error 1280. Lengths in the quoted headers stay true.",
        [
            OPEN,
            passes(
                error6(ICMPv6DestUnreach(code=4), bytes(to_host6(FULL6, hlim=60))[:1232], HOST6),
                to_server4(unreachable4(3) / bytes(to_host4(FULL4, ttl=60, id=0, flags="DF"))[:548]),
            ),
            passes(
                error4(unreachable4(3), bytes(to_server4(FULL_OUT4, ttl=60)), SERVER4),
                to_host6(ICMPv6DestUnreach(code=4) / bytes(to_server6(FULL_OUT6, hlim=60))[:1232], src=SERVER6),
            ),
        ],
    ),
    Scenario(
        "errors_that_cannot_pass",
        "About an error, of an unknown packet, with a wrong checksum, with an unreadable quote, of an unknown type.",
        [
            OPEN,
            drops("error_in_error", error4(unreachable4(1), bytes(to_server4(unreachable4(3) / QUOTED_ANSWER4)))),
            drops("error_in_error", error6(ICMPv6TimeExceeded(), bytes(to_host6(ICMPv6DestUnreach() / QUOTED_QUERY6)))),
            drops("no_session", error4(unreachable4(1), bytes(IP(src=MAPPED4, dst=ROUTER4) / UDP(sport=9) / b"x"))),
            drops(
                "no_session", error6(ICMPv6TimeExceeded(), bytes(IPv6(src=SERVER6, dst=HOST6) / UDP(dport=9) / b"x"))
            ),
            not_inwards(ICMP(type=3, code=1, chksum=0x1234), "icmp_checksum"),
            not_outwards(ICMPv6TimeExceeded(cksum=0x1234), "icmp_checksum"),
            drops("quoted_packet", error4(unreachable4(1), QUOTED_QUERY4[:27])),
            drops("quoted_packet", error6(ICMPv6TimeExceeded(), QUOTED_ANSWER6[:47])),
            drops("quoted_packet", error4(unreachable4(1), QUOTED_QUERY6)),
            not_inwards(ICMP(type=4, code=0)),
            not_inwards(ICMP(type=5, code=1)),
            *(
                drops("icmp_type", to_host4(ICMP(type=kind, ts_ori=0, ts_rx=0, ts_tx=0) / b"octets"))
                for kind in (9, 10, 13, 14, 15, 16, 17, 18, 200)
            ),
            *(
                drops("icmp_type", to_server6(ICMPv6DestUnreach(type=kind) / b"octets"))
                for kind in (130, 134, 135, 200)
            ),
        ],
    ),
    Scenario(
        "no_error_about_an_error",
        "RFC 1122 3.2.2, RFC 4443 2.4: an expired error or later fragment is dropped without an answer.",
        [
            OPEN,
            drops("hop_limit_expired", to_host4(unreachable4(1) / QUOTED_QUERY4, src=ROUTER4, ttl=1)),
            drops("hop_limit_expired", IPv6(src=ROUTER6, dst=SERVER6, hlim=1) / ICMPv6TimeExceeded() / QUOTED_ANSWER6),
            drops("hop_limit_expired", to_host4(Raw(b"later"), proto=17, frag=100, ttl=1)),
        ],
    ),
    Scenario(
        "our_errors_are_limited",
        "[limits] icmp_errors_per_second = 2: the third is not sent; a second later two more are.",
        [
            *(drops("no_bib_entry", to_host4(ANSWER4), tell4(to_host4(ANSWER4), 3, 1)) for _ in range(2)),
            drops("no_bib_entry", to_host4(ANSWER4)),
            drops("no_bib_entry", to_host4(ANSWER4), tell4(to_host4(ANSWER4), 3, 1), after=1),
            drops("no_bib_entry", to_host4(ANSWER4), tell4(to_host4(ANSWER4), 3, 1)),
            drops("no_bib_entry", to_host4(ANSWER4)),
        ],
        STANDARD + "\n[limits]\nicmp_errors_per_second = 2\n",
    ),
    Scenario(
        "packet_too_big_is_limited_apart",
        "Errors of other kinds use up no packet too big, and one receiver gets a tenth of a kind (at least three).",
        [
            *(drops("hop_limit_expired", LATE6, tell6(LATE6, ICMPv6TimeExceeded())) for _ in range(3)),
            drops("hop_limit_expired", LATE6),
            *(drops("hop_limit_expired", ELSE6, tell6(ELSE6, ICMPv6TimeExceeded(), to=OTHER6)) for _ in range(3)),
            drops("hop_limit_expired", ELSE6),
            drops("too_big", BIG6, tell6(BIG6, ICMPv6PacketTooBig(mtu=1320))),
            drops("too_big", BIG6, tell6(BIG6, ICMPv6PacketTooBig(mtu=1320))),
        ],
        STANDARD + "\n[translation]\nmtu4 = 1300\n[limits]\nicmp_errors_per_second = 6\n",
    ),
]
