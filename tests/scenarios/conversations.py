"""Sessions (RFC 6146 section 3.5): conversations of UDP, TCP and ping, who may begin them, and when they end."""

from dataclasses import replace

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, IPv6

from tests.scenarios import (
    ELSEWHERE6,
    HOST6,
    LONG_UP,
    MAPPED4,
    MAPPED6,
    MAPPED_PORT,
    OTHER4,
    OTHER6,
    SERVER4,
    SERVER6,
    STANDARD,
    Scenario,
    Step,
    drops,
    hairpins,
    passes,
    tell4,
    tell6,
    to_host4,
    to_host6,
    to_server4,
    to_server6,
)


def asks(after: float = 0.001, **ip: int) -> Step:
    """HOST6 asks SERVER4 by UDP; opens the mapping."""
    return passes(
        to_server6(UDP(sport=5000, dport=53) / b"query", **ip),
        to_server4(UDP(sport=MAPPED_PORT, dport=53) / b"query"),
        after=after,
    )


def answers(after: float = 0.001) -> Step:
    """SERVER4 answers."""
    return passes(
        to_host4(UDP(sport=53, dport=MAPPED_PORT) / b"answer"),
        to_host6(UDP(sport=53, dport=5000) / b"answer"),
        after=after,
    )


def out(flags: str, seq: int, ack: int, data: bytes = b"", after: float = 0.001) -> Step:
    """A TCP segment from HOST6."""
    segment = {"dport": 80, "flags": flags, "seq": seq, "ack": ack}
    return passes(
        to_server6(TCP(sport=5000, **segment) / data), to_server4(TCP(sport=MAPPED_PORT, **segment) / data), after=after
    )


def back(flags: str, seq: int, ack: int, data: bytes = b"", after: float = 0.001) -> Step:
    """A TCP segment from SERVER4."""
    segment = {"sport": 80, "flags": flags, "seq": seq, "ack": ack}
    return passes(
        to_host4(TCP(dport=MAPPED_PORT, **segment) / data), to_host6(TCP(dport=5000, **segment) / data), after=after
    )


HANDSHAKE = [out("S", 100, 0), back("SA", 900, 101), out("A", 101, 901)]


# What the translator sends to HOST6 when the connection has been silent for too long (RFC 6146 3.5.2.2).
PROBE = IPv6(src=SERVER6, dst=HOST6) / TCP(sport=80, dport=5000, flags="A", seq=0, ack=0, window=0)


# Nobody expects it.
LONELY = to_host4(TCP(sport=33000, dport=MAPPED_PORT, flags="S", seq=1))


def late(after: float) -> Step:
    """A segment from SERVER4 for a connection nobody remembers; no answer, or it would tell a stranger so."""
    return drops("no_session", to_host4(TCP(sport=80, dport=MAPPED_PORT, flags="A", seq=901, ack=101)), after=after)


def unsolicited(source: str = SERVER4, after: float = 0.001) -> Step:
    """UDP to a mapping that is not there (any more): RFC 6146 3.5.1 allows an answer of type 3; 1, host unreachable."""
    sent = to_host4(UDP(sport=53, dport=MAPPED_PORT) / b"answer", src=source)
    return drops("no_bib_entry", sent, tell4(sent, 3, 1, to=source), after=after)


PING6, PONG6 = ICMPv6EchoRequest(id=5000, seq=1, data=b"ping"), ICMPv6EchoReply(id=5000, seq=1, data=b"ping")
PING4, PONG4 = ICMP(type=8, id=MAPPED_PORT, seq=1) / b"ping", ICMP(type=0, id=MAPPED_PORT, seq=1) / b"ping"
FORWARDED_PING, FORWARDED_PONG = ICMP(type=8, id=7, seq=1) / b"ping", ICMP(type=0, id=7, seq=1) / b"ping"

TENANTS = STANDARD.replace(
    'ports = "40000-40000"\n',
    """\
ports = "40000-40000"
source = "2001:db8:1::/48"

[[pool4]]
addresses = "203.0.113.2"
ports = "50000-50000"
source = "2001:db8:2::/48"
""",
)

SCENARIOS = [
    Scenario(
        "udp_there_and_back",
        "A query and its reply. Traffic Class is copied, Flow Label is not. A second query uses the same mapping.",
        [
            passes(
                to_server6(UDP(sport=5000, dport=53) / b"query", tc=0xB9, fl=0x12345),
                to_server4(UDP(sport=MAPPED_PORT, dport=53) / b"query", tos=0xB9),
            ),
            passes(
                to_host4(UDP(sport=53, dport=MAPPED_PORT) / b"answer", tos=0x28, id=77),
                to_host6(UDP(sport=53, dport=5000) / b"answer", tc=0x28),
            ),
            asks(),
            answers(),
        ],
    ),
    Scenario(
        "udp_mapping_is_endpoint_independent",
        "One port of a host keeps one mapping whatever it sends to, and a third host may use it (RFC 4787).",
        [
            asks(),
            passes(
                IPv6(src=HOST6, dst=ELSEWHERE6) / UDP(sport=5000, dport=3478) / b"query",
                IP(src=MAPPED4, dst=OTHER4, ttl=63) / UDP(sport=MAPPED_PORT, dport=3478) / b"query",
            ),
            passes(
                IP(src="198.51.100.200", dst=MAPPED4) / UDP(sport=99, dport=MAPPED_PORT) / b"hello",
                IPv6(src="64:ff9b::198.51.100.200", dst=HOST6, hlim=63) / UDP(sport=99, dport=5000) / b"hello",
            ),
        ],
    ),
    Scenario(
        "udp_session_ends_after_300_seconds",
        "Packets of either side keep the session alive. When it ends, its BIB entry is removed.",
        [asks(), answers(after=299), answers(after=299), asks(after=299), unsolicited(after=301)],
    ),
    Scenario(
        "udp_nobody_asked_for",
        "A datagram without a BIB entry is answered with host unreachable, inside and outside the pool.",
        [
            unsolicited(),
            drops(
                "no_bib_entry",
                to_host4(UDP(sport=53, dport=5000) / b"x", dst="203.0.113.77"),
                tell4(to_host4(UDP(sport=53, dport=5000) / b"x", dst="203.0.113.77"), 3, 1),
            ),
        ],
    ),
    Scenario(
        "tcp_from_handshake_to_both_fins",
        "Open, data, close. Four minutes after the second FIN the session ends.",
        [
            *HANDSHAKE,
            out("PA", 101, 901, b"GET /"),
            back("PA", 901, 106, b"page"),
            out("FA", 106, 905),
            back("FA", 905, 107),
            out("A", 107, 906),
            back("A", 906, 107, after=238),
            late(after=3),
        ],
    ),
    Scenario(
        "tcp_established_lives_7440_seconds",
        "Every segment of either side restarts the timer. Then the IPv6 host is probed and has 240 s to answer.",
        [
            *HANDSHAKE,
            out("A", 101, 901, after=7439),
            back("A", 901, 101, after=7439),
            replace(out("A", 101, 901, after=7450), due=(PROBE,)),
            replace(late(after=7681), due=(PROBE,)),
        ],
    ),
    Scenario(
        "tcp_half_open_lives_240_seconds",
        "A SYN without a reply for four minutes. A second SYN restarts the timer.",
        [
            out("S", 100, 0),
            out("S", 100, 0, after=239),
            back("SA", 900, 101, after=239),
            out("R", 101, 0),
            late(after=241),
            out("S", 100, 0),
            late(after=241),
        ],
    ),
    Scenario(
        "tcp_reset_leaves_240_seconds",
        "After a RST the session is kept for four minutes. Another segment establishes it again.",
        [
            *HANDSHAKE,
            back("R", 901, 0),
            out("A", 101, 901, after=239),
            back("A", 901, 101, after=7000),
            out("RA", 101, 901),
            back("R", 901, 0, after=239),
            late(after=2),
        ],
    ),
    Scenario(
        "tcp_without_a_session",
        "From IPv6, only a SYN opens a session.",
        [
            drops("no_session", to_server6(TCP(sport=5000, dport=80, flags="A", seq=1, ack=1))),
            drops("no_session", to_server6(TCP(sport=5000, dport=80, flags="R", seq=1))),
        ],
        LONG_UP,
    ),
    Scenario(
        "tcp_syn_from_outside_waits_6_seconds",
        "An unexpected SYN is kept for a simultaneous open, and answered after 6 s: port unreachable (RFC 5382 REQ-4).",
        [
            drops("syn_held", LONELY),
            drops("syn_held", LONELY, after=3),
            replace(asks(after=3), due=(tell4(LONELY, 3, 3, src=MAPPED4),)),
        ],
    ),
    Scenario(
        "tcp_simultaneous_open",
        "Two hosts connect to each other at once: a SYN that waits establishes nothing, the next one does.",
        [
            drops("syn_held", to_host4(TCP(sport=80, dport=MAPPED_PORT, flags="S", seq=900))),
            out("S", 100, 0),
            back("S", 900, 0),
            out("SA", 100, 901),
            back("SA", 900, 101),
            out("A", 101, 901, after=7439),
        ],
    ),
    Scenario(
        "tcp_inbound_through_a_forward",
        "[[forward]]: an IPv4 client opens a connection to an IPv6 host.",
        [
            passes(
                IP(src=OTHER4, dst=MAPPED4) / TCP(sport=33000, dport=80, flags="S", seq=1),
                IPv6(src=ELSEWHERE6, dst=OTHER6, hlim=63) / TCP(sport=33000, dport=8080, flags="S", seq=1),
            ),
            passes(
                IPv6(src=OTHER6, dst=ELSEWHERE6) / TCP(sport=8080, dport=33000, flags="SA", seq=9, ack=2),
                IP(src=MAPPED4, dst=OTHER4, ttl=63) / TCP(sport=80, dport=33000, flags="SA", seq=9, ack=2),
            ),
            passes(
                IP(src=OTHER4, dst=MAPPED4) / TCP(sport=33000, dport=80, flags="A", seq=2, ack=10) / b"GET /",
                IPv6(src=ELSEWHERE6, dst=OTHER6, hlim=63)
                / TCP(sport=33000, dport=8080, flags="A", seq=2, ack=10)
                / b"GET /",
            ),
        ],
    ),
    Scenario(
        "tcp_from_outside_is_dropped_when_asked",
        "[filtering] drop_inbound_tcp: replies pass, a connection opened by a third host does not.",
        [
            *HANDSHAKE,
            back("A", 901, 101),
            drops("filtered_inbound_tcp", to_host4(TCP(sport=1, dport=MAPPED_PORT, flags="S", seq=1), src=OTHER4)),
        ],
        STANDARD + "\n[filtering]\ndrop_inbound_tcp = true\n",
    ),
    Scenario(
        "ping_from_ipv6",
        "Echo request and reply; the identifier is translated like a port. After 60 seconds the session ends.",
        [
            passes(to_server6(PING6), to_server4(PING4)),
            passes(to_host4(PONG4), to_host6(PONG6)),
            passes(to_server6(PING6), to_server4(PING4), after=59),
            passes(to_host4(PONG4), to_host6(PONG6), after=59),
            drops("no_bib_entry", to_host4(PONG4), tell4(to_host4(PONG4), 3, 1), after=61),
        ],
    ),
    Scenario(
        "ping_from_ipv4",
        "Echo request to the identifier of a [[forward]], and its reply. Another identifier: host unreachable.",
        [
            passes(
                IP(src=OTHER4, dst=MAPPED4) / FORWARDED_PING,
                IPv6(src=ELSEWHERE6, dst=OTHER6, hlim=63) / ICMPv6EchoRequest(id=7, seq=1, data=b"ping"),
            ),
            passes(
                IPv6(src=OTHER6, dst=ELSEWHERE6) / ICMPv6EchoReply(id=7, seq=1, data=b"ping"),
                IP(src=MAPPED4, dst=OTHER4, ttl=63) / FORWARDED_PONG,
            ),
            drops("no_bib_entry", to_host4(PING4), tell4(to_host4(PING4), 3, 1)),
        ],
    ),
    Scenario(
        "ping_is_dropped_when_asked",
        "[filtering] drop_icmp_info: no echo in either direction.",
        [
            drops("filtered_icmp_info", to_server6(PING6)),
            drops("filtered_icmp_info", IP(src=OTHER4, dst=MAPPED4) / FORWARDED_PING),
        ],
        STANDARD + "\n[filtering]\ndrop_icmp_info = true\n",
    ),
    Scenario(
        "address_dependent_filtering",
        "A host that was sent to may send back from any port. Another host is dropped without an answer.",
        [
            asks(),
            passes(
                to_host4(UDP(sport=1234, dport=MAPPED_PORT) / b"hello"),
                to_host6(UDP(sport=1234, dport=5000) / b"hello"),
            ),
            drops("filtered_adf", to_host4(UDP(sport=53, dport=MAPPED_PORT) / b"hello", src=OTHER4)),
        ],
        STANDARD + "\n[filtering]\naddress_dependent = true\n",
    ),
    Scenario(
        "hairpin_udp",
        "Two IPv6 hosts talk through the pool address: each sees the other under pool6, one hop away. Errors too.",
        [
            hairpins(
                IPv6(src=HOST6, dst=MAPPED6) / UDP(sport=5000, dport=53) / b"query",
                IPv6(src=MAPPED6, dst=OTHER6, hlim=63) / UDP(sport=MAPPED_PORT, dport=5353) / b"query",
            ),
            hairpins(
                IPv6(src=OTHER6, dst=MAPPED6) / UDP(sport=5353, dport=MAPPED_PORT) / b"answer",
                IPv6(src=MAPPED6, dst=HOST6, hlim=63) / UDP(sport=53, dport=5000) / b"answer",
            ),
            hairpins(
                IPv6(src=OTHER6, dst=MAPPED6)
                / ICMPv6DestUnreach(code=4)
                / IPv6(src=MAPPED6, dst=OTHER6, hlim=63)
                / UDP(sport=MAPPED_PORT, dport=5353)
                / b"query",
                IPv6(src=MAPPED6, dst=HOST6, hlim=63)
                / ICMPv6DestUnreach(code=4)
                / IPv6(src=HOST6, dst=MAPPED6, hlim=63)
                / UDP(sport=5000, dport=53)
                / b"query",
            ),
        ],
    ),
    Scenario(
        "pool_is_exhausted",
        "The only port is in use: address unreachable. It is free again when its session ends.",
        [
            asks(),
            drops(
                "pool4_exhausted",
                IPv6(src=OTHER6, dst=SERVER6) / UDP(sport=6000, dport=53) / b"query",
                tell6(
                    IPv6(src=OTHER6, dst=SERVER6) / UDP(sport=6000, dport=53) / b"query",
                    ICMPv6DestUnreach(code=3),
                    to=OTHER6,
                ),
            ),
            passes(
                IPv6(src=OTHER6, dst=SERVER6) / UDP(sport=6000, dport=53) / b"query",
                IP(src=MAPPED4, dst=SERVER4, ttl=63) / UDP(sport=MAPPED_PORT, dport=53) / b"query",
                after=301,
            ),
        ],
    ),
    Scenario(
        "a_host_has_its_fill_of_sessions",
        "[limits] per_host_sessions: another session is refused, the existing one continues.",
        [
            asks(),
            drops(
                "host_sessions",
                IPv6(src=HOST6, dst=ELSEWHERE6) / UDP(sport=5000, dport=53) / b"query",
                tell6(
                    IPv6(src=HOST6, dst=ELSEWHERE6) / UDP(sport=5000, dport=53) / b"query",
                    ICMPv6DestUnreach(code=3),
                ),
            ),
            asks(),
        ],
        STANDARD + "\n[limits]\nper_host_sessions = 1\n",
    ),
    Scenario(
        "the_source_prefix_chooses_the_pool",
        "[[pool4]] source: two tenants, two addresses. A host without a pool is told: prohibited.",
        [
            asks(),
            passes(
                IPv6(src=OTHER6, dst=SERVER6) / UDP(sport=5000, dport=53) / b"query",
                IP(src="203.0.113.2", dst=SERVER4, ttl=63) / UDP(sport=50000, dport=53) / b"query",
            ),
            drops(
                "no_pool4",
                IPv6(src="2001:db8:3::30", dst=SERVER6) / UDP(sport=5000, dport=53) / b"query",
                tell6(
                    IPv6(src="2001:db8:3::30", dst=SERVER6) / UDP(sport=5000, dport=53) / b"query",
                    ICMPv6DestUnreach(code=1),
                    to="2001:db8:3::30",
                ),
            ),
        ],
        TENANTS,
    ),
]
