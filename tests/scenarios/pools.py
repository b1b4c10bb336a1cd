"""Who gets which address and port (RFC 6146 section 3.5.1.1, RFC 6888), and what each limit says when it is reached."""

from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, IPv6
from scapy.packet import Raw

from tests.scenarios import (
    HOST6,
    MAPPED4,
    MAPPED_PORT,
    OTHER6,
    SERVER4,
    SERVER6,
    STANDARD,
    Scenario,
    Step,
    drops,
    passes,
    tell4,
    tell6,
)

ONE = 'ports = "40000-40000"\n'
THIRD6 = "2001:db8:3::30"


def ports(first: int, last: int, more: str = "") -> str:
    """The standard configuration with another range of ports."""
    return STANDARD.replace(ONE, f'ports = "{first}-{last}"\n{more}')


def udp(host6: str, port: int, mapped: int, after: float = 0.001) -> Step:
    """A datagram of a host's port, and the port of the pool that it gets."""
    return passes(
        IPv6(src=host6, dst=SERVER6) / UDP(sport=port, dport=53) / b"query",
        IP(src=MAPPED4, dst=SERVER4, ttl=63) / UDP(sport=mapped, dport=53) / b"query",
        after=after,
    )


def tcp(host6: str, port: int, mapped: int) -> Step:
    return passes(
        IPv6(src=host6, dst=SERVER6) / TCP(sport=port, dport=80, flags="S"),
        IP(src=MAPPED4, dst=SERVER4, ttl=63) / TCP(sport=mapped, dport=80, flags="S"),
    )


def ping(host6: str, identifier: int, mapped: int) -> Step:
    return passes(
        IPv6(src=host6, dst=SERVER6) / ICMPv6EchoRequest(id=identifier),
        IP(src=MAPPED4, dst=SERVER4, ttl=63) / ICMP(type=8, id=mapped),
    )


def refused(verdict: str, host6: str, transport: Any, code: int = 3, after: float = 0.001) -> Step:
    """A packet of a host that is told why not: 3 address unreachable, 1 prohibited."""
    sent = IPv6(src=host6, dst=SERVER6) / transport
    return drops(verdict, sent, tell6(sent, ICMPv6DestUnreach(code=code), to=host6), after=after)


QUERY = UDP(sport=6000, dport=53) / b"query"
GRE, ESP, AH = 47, 50, 51
TUNNEL = Raw(b"\0\0\x08\0" + bytes(range(20)))
TENANTS = STANDARD.replace(
    ONE,
    ONE
    + 'source = "2001:db8::/32"\n'
    + "".join(
        f'\n[[pool4]]\naddresses = "203.0.113.{k}"\nports = "{k}0000-{k}0000"\nsource = "{source}"\n'
        for k, source in ((2, "2001:db8:2::/48"), (3, "2001:db8:2::20/128"))
    ),
)

SCENARIOS = [
    Scenario(
        "ports_keep_their_side_of_1024",
        "A port below 1024 gets one below, any other one above; when its own side is full it gets one of the other.",
        [tcp(HOST6, 5000, 1024), tcp(HOST6, 53, 1023), tcp(HOST6, 22, 1024 + 1)],
        ports(1023, 1025),
    ),
    Scenario(
        "udp_ports_keep_their_parity",
        "RTP wants an even port and the odd one above it; when those are used up, any will do.",
        [udp(HOST6, 5001, 40001), udp(HOST6, 5003, 40000), udp(HOST6, 5001, 40001)],
        ports(40000, 40001),
    ),
    Scenario(
        "a_udp_port_keeps_side_and_parity",
        "The side of 1024 is worth more than the parity.",
        [udp(HOST6, 500, 1022), udp(HOST6, 502, 1023), udp(HOST6, 5000, 1024), udp(HOST6, 5002, 1025)],
        ports(1022, 1025),
    ),
    Scenario(
        "protocols_have_ports_of_their_own",
        "One pool port for each of TCP, UDP and ICMP: three mappings, none in the way of another.",
        [
            tcp(HOST6, 5000, MAPPED_PORT),
            udp(OTHER6, 6000, MAPPED_PORT),
            ping(THIRD6, 7000, MAPPED_PORT),
            udp(OTHER6, 6000, MAPPED_PORT),
        ],
    ),
    Scenario(
        "a_pool_for_udp_only",
        "[[pool4]] protocols: for the others there is no pool, which is prohibited, not exhausted.",
        [
            udp(HOST6, 5000, MAPPED_PORT),
            refused("no_pool4", HOST6, TCP(sport=5000, dport=80, flags="S"), code=1),
            refused("no_pool4", HOST6, ICMPv6EchoRequest(id=5000), code=1),
        ],
        ports(MAPPED_PORT, MAPPED_PORT, 'protocols = ["udp"]\n'),
    ),
    Scenario(
        "protocols_without_ports",
        '[[pool4]] protocols with "other": one host has GRE of the address, another one ESP; nobody has AH.',
        [
            *(
                step
                for host6, protocol in ((HOST6, GRE), (OTHER6, ESP))
                for step in (
                    passes(
                        IPv6(src=host6, dst=SERVER6, nh=protocol) / TUNNEL,
                        IP(src=MAPPED4, dst=SERVER4, ttl=63, proto=protocol) / TUNNEL,
                    ),
                    passes(
                        IP(src=SERVER4, dst=MAPPED4, proto=protocol) / TUNNEL,
                        IPv6(src=SERVER6, dst=host6, hlim=63, nh=protocol) / TUNNEL,
                    ),
                )
            ),
            drops(
                "pool4_exhausted",
                IPv6(src=THIRD6, dst=SERVER6, nh=GRE) / TUNNEL,
                tell6(IPv6(src=THIRD6, dst=SERVER6, nh=GRE) / TUNNEL, ICMPv6DestUnreach(code=3), to=THIRD6),
            ),
            drops(
                "protocol",
                IPv6(src=HOST6, dst=SERVER6, nh=AH) / TUNNEL,
                tell6(IPv6(src=HOST6, dst=SERVER6, nh=AH) / TUNNEL, ICMPv6DestUnreach(code=4)),
            ),
        ],
        ports(MAPPED_PORT, MAPPED_PORT, 'protocols = ["tcp", "udp", "icmp", "other"]\n'),
    ),
    Scenario(
        "a_forwarded_port_is_not_given_away",
        "[[forward]] of UDP port 53 lies in the pool: who wants an odd port below 1024 gets the even one.",
        [
            udp(HOST6, 55, 54),
            refused("pool4_exhausted", OTHER6, QUERY),
            tcp(HOST6, 55, 53),
        ],
        ports(53, 54),
    ),
    Scenario(
        "a_host_has_its_fill_of_ports",
        "[limits] per_host_ports: another port is refused, another server of the same port is not, nor another host.",
        [
            udp(HOST6, 5000, 40000),
            refused("host_ports", HOST6, QUERY),
            passes(
                IPv6(src=HOST6, dst=SERVER6) / UDP(sport=5000, dport=54) / b"query",
                IP(src=MAPPED4, dst=SERVER4, ttl=63) / UDP(sport=40000, dport=54) / b"query",
            ),
            udp(THIRD6, 5001, 40001),
        ],
        ports(40000, 40001) + "\n[limits]\nper_host_ports = 1\n",
    ),
    Scenario(
        "the_session_table_is_full",
        "[limits] sessions: nobody is put out; when the one that is there ends, there is room.",
        [
            *(
                passes(
                    IPv6(src=HOST6, dst=SERVER6) / UDP(sport=5000, dport=server) / b"query",
                    IP(src=MAPPED4, dst=SERVER4, ttl=63) / UDP(sport=40000, dport=server) / b"query",
                )
                for server in range(53, 53 + 16)
            ),
            refused("session_table_full", OTHER6, QUERY),
            udp(HOST6, 5000, 40000, after=299),
            udp(OTHER6, 6001, 40001, after=2),
        ],
        ports(40000, 40001) + "\n[limits]\nsessions = 16\n",
    ),
    Scenario(
        "a_udp_port_rests_120_seconds",
        "RFC 6888 REQ-8: what a host no longer uses is not given to another at once, if there is something else.",
        [
            udp(HOST6, 5000, 40000),
            udp(OTHER6, 6000, 40001, after=301),
            udp(THIRD6, 7000, 40000, after=120),
        ],
        ports(40000, 40001),
    ),
    Scenario(
        "the_longest_source_prefix_chooses_the_pool",
        "[[pool4]] source: a host within a network within the operator's prefix.",
        [
            *(
                passes(
                    IPv6(src=host6, dst=SERVER6) / QUERY,
                    IP(src=f"203.0.113.{k}", dst=SERVER4, ttl=63) / UDP(sport=port, dport=53) / b"query",
                )
                for host6, k, port in ((HOST6, 1, 40000), ("2001:db8:2::21", 2, 20000), (OTHER6, 3, 30000))
            ),
            refused("no_pool4", "3fff::1", QUERY, code=1),
        ],
        TENANTS,
    ),
    Scenario(
        "no_errors_at_all",
        "[limits] icmp_errors_per_second = 0: what is dropped is dropped in silence.",
        [
            drops("no_bib_entry", IP(src=SERVER4, dst=MAPPED4) / UDP(sport=53, dport=9) / b"x"),
            drops("hop_limit_expired", IPv6(src=HOST6, dst=SERVER6, hlim=1) / QUERY),
        ],
        STANDARD + "\n[limits]\nicmp_errors_per_second = 0\n",
    ),
    Scenario(
        "errors_of_the_two_families_are_limited_apart",
        "Each family has its own allowance: who floods the one does not silence the other.",
        [
            drops(
                "no_bib_entry",
                IP(src=SERVER4, dst=MAPPED4) / UDP(sport=53, dport=9) / b"x",
                tell4(IP(src=SERVER4, dst=MAPPED4) / UDP(sport=53, dport=9) / b"x", 3, 1),
            ),
            drops("no_bib_entry", IP(src=SERVER4, dst=MAPPED4) / UDP(sport=53, dport=9) / b"x"),
            refused("no_pool4", HOST6, QUERY, code=1),
        ],
        ports(MAPPED_PORT, MAPPED_PORT, 'protocols = ["tcp"]\n') + "\n[limits]\nicmp_errors_per_second = 1\n",
    ),
]
