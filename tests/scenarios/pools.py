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
    POOL6,
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
THIRD6, FOURTH6 = "2001:db8:3::30", "2001:db8:4::40"
SECOND4 = "203.0.113.2"


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


def asked(host6: str, mapped4: str, port: int, server: int, after: float = 0.001) -> Step:
    """A datagram to a port of the server; the address of the pool has port 40000 only."""
    return passes(
        IPv6(src=host6, dst=SERVER6) / UDP(sport=port, dport=server) / b"query",
        IP(src=mapped4, dst=SERVER4, ttl=63) / UDP(sport=40000, dport=server) / b"query",
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
        "A port below 1024 is mapped to one below, any other to one above. If that range is full, the other is used.",
        [tcp(HOST6, 5000, 1025), tcp(HOST6, 53, 1023), tcp(HOST6, 22, 1024)],
        ports(1023, 1025),
    ),
    Scenario(
        "udp_ports_keep_their_parity",
        "RTP needs an even port and the odd one above it. When those are in use, any port is taken.",
        [udp(HOST6, 5001, 40001), udp(HOST6, 5003, 40000), udp(HOST6, 5001, 40001)],
        ports(40000, 40001),
    ),
    Scenario(
        "a_udp_port_keeps_side_and_parity",
        "Staying below or above 1024 takes precedence over parity.",
        [udp(HOST6, 500, 1022), udp(HOST6, 502, 1023), udp(HOST6, 5000, 1024), udp(HOST6, 5002, 1025)],
        ports(1022, 1025),
    ),
    Scenario(
        "protocols_have_ports_of_their_own",
        "One pool port for each of TCP, UDP and ICMP: three mappings that do not collide.",
        [
            tcp(HOST6, 5000, MAPPED_PORT),
            udp(OTHER6, 6000, MAPPED_PORT),
            ping(THIRD6, 7000, MAPPED_PORT),
            udp(OTHER6, 6000, MAPPED_PORT),
        ],
    ),
    Scenario(
        "a_pool_for_udp_only",
        "[[pool4]] protocols: for other protocols there is no pool, so the answer is prohibited, not exhausted.",
        [
            udp(HOST6, 5000, MAPPED_PORT),
            refused("no_pool4", HOST6, TCP(sport=5000, dport=80, flags="S"), code=1),
            refused("no_pool4", HOST6, ICMPv6EchoRequest(id=5000), code=1),
        ],
        ports(MAPPED_PORT, MAPPED_PORT, 'protocols = ["udp"]\n'),
    ),
    Scenario(
        "protocols_without_ports",
        '[[pool4]] protocols with "other": one host has GRE on the address, another has ESP. AH never passes.',
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
        "A [[forward]] of UDP port 53 inside the pool: a host that wants an odd port below 1024 gets an even one; "
        "TCP has both.",
        [
            udp(HOST6, 55, 54),
            refused("pool4_exhausted", OTHER6, QUERY),
            tcp(HOST6, 55, 54),
            tcp(HOST6, 56, 53),
        ],
        ports(53, 54),
    ),
    Scenario(
        "a_host_has_its_fill_of_ports",
        "[limits] per_host_ports: a second port is refused; the first port to another server, and "
        "other hosts, are not.",
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
        "a_host_keeps_to_its_address_when_that_is_full",
        "RFC 7857 section 4: the pool has another address with a free port, but only another host gets it.",
        [
            asked(HOST6, SECOND4, 5000, 53),
            refused("paired_full", HOST6, QUERY),
            asked(HOST6, SECOND4, 5000, 54),
            asked(THIRD6, MAPPED4, 5000, 53),
            refused("pool4_exhausted", OTHER6, QUERY),
        ],
        STANDARD.replace(f'"{MAPPED4}"', f'"{MAPPED4}-{SECOND4}"'),
    ),
    Scenario(
        "a_host_opens_sessions_too_fast",
        "[limits] per_host_rate: two sessions in a second, and after half a second another one.",
        [
            asked(HOST6, MAPPED4, 5000, 53),
            asked(HOST6, MAPPED4, 5000, 54),
            refused("host_rate", HOST6, UDP(sport=5000, dport=55) / b"query"),
            asked(HOST6, MAPPED4, 5000, 54),
            asked(HOST6, MAPPED4, 5000, 55, after=0.5),
            refused("host_rate", HOST6, UDP(sport=5000, dport=56) / b"query"),
        ],
        STANDARD + "\n[limits]\nper_host_rate = 2\n",
    ),
    Scenario(
        "the_session_table_is_full",
        "[limits] sessions: no session is evicted. Four hosts have four each; when those of one end, there is room.",
        [
            *(asked(HOST6, MAPPED4, 5000, server) for server in range(53, 57)),
            *(
                passes(
                    IPv6(src=THIRD6, dst=f"{POOL6}198.51.100.{k}") / ICMPv6EchoRequest(id=7000),
                    IP(src=MAPPED4, dst=f"198.51.100.{k}", ttl=63) / ICMP(type=8, id=40000),
                )
                for k in range(1, 5)
            ),
            *(
                passes(
                    IPv6(src=FOURTH6, dst=SERVER6) / TCP(sport=5000, dport=server, flags="S"),
                    IP(src=MAPPED4, dst=SERVER4, ttl=63) / TCP(sport=40000, dport=server, flags="S"),
                )
                for server in range(80, 84)
            ),
            *(
                passes(
                    IP(src=SERVER4, dst=MAPPED4) / TCP(sport=port, dport=80, flags="S"),
                    IPv6(src=SERVER6, dst=OTHER6, hlim=63) / TCP(sport=port, dport=8080, flags="S"),
                )
                for port in range(1001, 1005)
            ),
            refused("session_table_full", OTHER6, QUERY),
            asked(HOST6, MAPPED4, 5000, 56),
            asked(HOST6, MAPPED4, 5000, 57, after=61),
        ],
        STANDARD + "\n[limits]\nsessions = 16\n",
    ),
    Scenario(
        "a_udp_port_rests_120_seconds",
        "RFC 6888 REQ-8: a released port is not given to another host at once if another port is free.",
        [
            udp(HOST6, 5000, 40000),
            udp(OTHER6, 6000, 40001, after=301),
            udp(THIRD6, 7000, 40000, after=120),
        ],
        ports(40000, 40001),
    ),
    Scenario(
        "the_longest_source_prefix_chooses_the_pool",
        "[[pool4]] source: a host in a network in the prefix of the operator.",
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
        "[limits] icmp_errors_per_second = 0: drops are not answered.",
        [
            drops("no_bib_entry", IP(src=SERVER4, dst=MAPPED4) / UDP(sport=53, dport=9) / b"x"),
            drops("hop_limit_expired", IPv6(src=HOST6, dst=SERVER6, hlim=1) / QUERY),
        ],
        STANDARD + "\n[limits]\nicmp_errors_per_second = 0\n",
    ),
    Scenario(
        "errors_of_the_two_families_are_limited_apart",
        "IPv4 and IPv6 have separate limits: flooding one does not silence the other.",
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
