"""What ICMP errors are about (RFC 7915 sections 4.3 and 5.3): quoted packets of every kind, whole or hardly begun."""

from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
)
from scapy.packet import Raw

from tests.scenarios import (
    ELSEWHERE6,
    HOST6,
    MAPPED4,
    MAPPED_PORT,
    OTHER4,
    OTHER6,
    POOL6,
    ROUTER4,
    ROUTER6,
    SERVER4,
    SERVER6,
    Scenario,
    Step,
    drops,
    passes,
    to_host4,
    to_host6,
    to_server4,
    to_server6,
)
from tests.scenarios.conversations import HANDSHAKE, asks
from tests.scenarios.errors import (
    ANSWER4,
    ANSWER6,
    OPEN,
    QUERY4,
    QUERY6,
    QUOTED_ANSWER4,
    QUOTED_ANSWER6,
    QUOTED_QUERY4,
    QUOTED_QUERY6,
    error4,
    error6,
    pointed4,
    pointed6,
    unreachable4,
)
from tests.scenarios.options import with_octets

EXPIRED4, EXPIRED6 = ICMP(type=11, code=0), ICMPv6TimeExceeded()


def to_host(quoted4: Any, quoted6: Any, length4: int = 1500, length6: int = 1500) -> Step:
    """A router's "time exceeded" on its way to HOST6."""
    return passes(
        error4(EXPIRED4, bytes(quoted4)[:length4]),
        to_host6(EXPIRED6 / bytes(quoted6)[:length6], src=POOL6 + ROUTER4),
    )


def to_server(quoted6: Any, quoted4: Any, length6: int = 1500, length4: int = 1500) -> Step:
    """A router's "time exceeded" on its way to SERVER4."""
    return passes(error6(EXPIRED6, bytes(quoted6)[:length6]), to_server4(EXPIRED4 / bytes(quoted4)[:length4]))


SEGMENT = {"seq": 7, "flags": "A"}
TCP_OUT6, TCP_OUT4 = (TCP(sport=port, dport=80, **SEGMENT) / b"data" for port in (5000, MAPPED_PORT))
TCP_IN4, TCP_IN6 = (TCP(sport=80, dport=port, **SEGMENT) / b"data" for port in (MAPPED_PORT, 5000))
PING6, PONG6 = ICMPv6EchoRequest(id=5000, seq=1, data=b"ping"), ICMPv6EchoReply(id=5000, seq=1, data=b"ping")
PING4, PONG4 = ICMP(type=8, id=MAPPED_PORT, seq=1) / b"ping", ICMP(type=0, id=MAPPED_PORT, seq=1) / b"ping"
PINGED = [passes(to_server6(PING6), to_server4(PING4)), passes(to_host4(PONG4), to_host6(PONG6))]
OPTIONS = IP(bytes(with_octets(to_server4(QUERY4, ttl=9), "94 04 0000 07 07 04 00000000 01")))
HEADERS6 = bytes(to_host6(Raw(bytes.fromhex("11 00 01 04 00000000") + QUOTED_ANSWER6[40:]), nh=0, hlim=60))
# The octet of the other header's field of the same meaning, for each octet of one's own; None: there is none.
POINTERS4 = [0, 1, 4, 4, None, None, None, None, 7, 6, None, None, *[8] * 4, *[24] * 4, None]
POINTERS6 = [0, 1, None, None, 2, 2, 9, 8, *[12] * 16, *[16] * 16, None]
# An error about what came through a [[forward]].
CALL4 = IP(src=OTHER4, dst=MAPPED4, ttl=60, id=0) / UDP(sport=33000, dport=53) / b"query"
CALL6 = IPv6(src=ELSEWHERE6, dst=OTHER6, hlim=60) / UDP(sport=33000, dport=5353) / b"query"

SCENARIOS = [
    Scenario(
        "errors_about_tcp",
        "Whole or 8 octets: ports and sequence number are those of the sender.",
        [
            *HANDSHAKE,
            to_host(to_server4(TCP_OUT4, ttl=1), to_server6(TCP_OUT6, hlim=1)),
            to_host(to_server4(TCP_OUT4, ttl=1), to_server6(TCP_OUT6, hlim=1), 28, 48),
            to_server(to_host6(TCP_IN6, hlim=1), to_host4(TCP_IN4, ttl=1, id=0)),
            to_server(to_host6(TCP_IN6, hlim=1), to_host4(TCP_IN4, ttl=1, id=0), 48, 28),
        ],
    ),
    Scenario(
        "errors_about_udp",
        "Whole, 8 octets, and every length in between.",
        [
            OPEN,
            *(to_host(QUOTED_QUERY4, QUOTED_QUERY6, size, size + 20) for size in (33, 32, 31, 29, 28)),
            *(to_server(QUOTED_ANSWER6, QUOTED_ANSWER4, size + 20, size) for size in (34, 33, 31, 29, 28)),
        ],
    ),
    Scenario(
        "errors_about_echoes_and_their_replies",
        "The identifier is that of the sender, for requests and replies, in both directions.",
        [
            *PINGED,
            to_host(to_server4(PING4, ttl=1), to_server6(PING6, hlim=1)),
            to_host(to_server4(PONG4, ttl=1), to_server6(PONG6, hlim=1)),
            to_server(to_host6(PONG6, hlim=1), to_host4(PONG4, ttl=1, id=0)),
            to_server(to_host6(PING6, hlim=1), to_host4(PING4, ttl=1, id=0)),
        ],
    ),
    Scenario(
        "errors_about_what_nobody_sent",
        "Ports or identifiers without a mapping: dropped (RFC 6146 3.5).",
        [
            OPEN,
            drops("no_session", error4(EXPIRED4, bytes(to_server4(UDP(sport=9, dport=53) / b"x")))),
            drops("no_session", error4(EXPIRED4, bytes(to_server4(PING4)))),
            drops("no_session", error4(EXPIRED4, bytes(to_server4(TCP(sport=MAPPED_PORT, dport=80))))),
            drops("no_session", error6(EXPIRED6, bytes(to_host6(UDP(sport=53, dport=9) / b"x")))),
        ],
    ),
    Scenario(
        "errors_about_inbound_connections",
        "A packet that came in through a [[forward]] and could not be delivered.",
        [
            passes(
                IP(src=OTHER4, dst=MAPPED4) / UDP(sport=33000, dport=53) / b"query",
                IPv6(src=ELSEWHERE6, dst=OTHER6, hlim=63) / UDP(sport=33000, dport=5353) / b"query",
            ),
            passes(
                IPv6(src=OTHER6, dst=ELSEWHERE6) / ICMPv6DestUnreach(code=4) / bytes(CALL6),
                IP(src=MAPPED4, dst=OTHER4, ttl=63) / unreachable4(3) / bytes(CALL4),
            ),
        ],
    ),
    Scenario(
        "quoted_ipv4_options",
        "A router quotes a header with options: they are left out of the quote, as of any packet.",
        [OPEN, to_host(OPTIONS, to_server6(QUERY6, hlim=9))],
    ),
    Scenario(
        "quoted_ipv6_extension_headers",
        "They are left out of the quote, as of any packet.",
        [OPEN, to_server(HEADERS6, QUOTED_ANSWER4)],
    ),
    Scenario(
        "quoted_hop_limits",
        "The hop limit of a quoted packet is neither checked nor decremented.",
        [
            OPEN,
            *(to_host(to_server4(QUERY4, ttl=hops), to_server6(QUERY6, hlim=hops)) for hops in (0, 1, 255)),
            to_server(bytes(to_host6(ANSWER6, hlim=0)), to_host4(ANSWER4, ttl=0, id=0)),
        ],
    ),
    Scenario(
        "errors_of_hosts_and_of_routers",
        "Into IPv6 each shows its own address under pool6; into IPv4 all show that of the host (RFC 6146 3.7).",
        [
            OPEN,
            *(
                passes(
                    error4(EXPIRED4, source=router),
                    to_host6(EXPIRED6 / QUOTED_QUERY6, src=POOL6 + router),
                )
                for router in (ROUTER4, SERVER4, "192.0.2.1", "198.51.100.254")
            ),
            *(
                passes(
                    IPv6(src=router, dst=SERVER6) / EXPIRED6 / QUOTED_ANSWER6,
                    to_server4(EXPIRED4 / QUOTED_ANSWER4),
                )
                for router in (ROUTER6, HOST6, "2001:db8:1::fffe")
            ),
        ],
    ),
    Scenario(
        "errors_keep_the_session_neither_alive_nor_dead",
        "RFC 6146 3.5: an ICMP error changes neither state nor lifetime.",
        [
            asks(),
            passes(
                error4(unreachable4(1)),
                to_host6(ICMPv6DestUnreach(code=0) / QUOTED_QUERY6, src=POOL6 + ROUTER4),
                after=299,
            ),
            drops("no_session", error4(unreachable4(1)), after=2),
        ],
    ),
    Scenario(
        "pointers_at_the_edges_of_fields",
        "RFC 7915 figures 3 and 6: every octet of either header, and the first after it.",
        [
            OPEN,
            *(
                passes(error4(pointed4(at)), to_host6(pointed6(to) / QUOTED_QUERY6, src=POOL6 + ROUTER4))
                if to is not None
                else drops("icmp_type", error4(pointed4(at)))
                for at, to in enumerate(POINTERS4)
            ),
            *(
                passes(error6(pointed6(at)), to_server4(pointed4(to) / QUOTED_ANSWER4))
                if to is not None
                else drops("icmp_type", error6(ICMPv6ParamProblem(code=0, ptr=at)))
                for at, to in enumerate(POINTERS6)
            ),
        ],
    ),
]
