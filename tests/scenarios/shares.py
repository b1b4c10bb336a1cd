"""Shares (RFC 6888 REQ-4, REQ-5): in tables so small that one host reaches its own with a dozen packets."""

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6

from tests.scenarios import (
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
    to_host4,
    to_host6,
    to_server4,
    to_server6,
)

SMALL = STANDARD + "\n[limits]\nsessions = 16\n"


def udp(server: int) -> tuple[IPv6, IP]:
    """A datagram of HOST6 to a port of the server, as it comes and as it goes."""
    return to_server6(UDP(sport=5000, dport=server) / b"query"), to_server4(
        UDP(sport=MAPPED_PORT, dport=server) / b"query"
    )


GIVEN = (40006, 40001, 40004, 40005, 40000)  # as the secret of the captures has it; the parity is the host port's


def query(port: int) -> IPv6:
    """A datagram from a port of HOST6."""
    return to_server6(UDP(sport=port, dport=53) / b"query")


def one_port(port: int, mapped: int) -> Step:
    """That datagram, and the port of the pool it leaves from."""
    return passes(query(port), to_server4(UDP(sport=mapped, dport=53) / b"query"))


def tcp(port: int, flags: str, passed: bool = True) -> Step:
    """A segment of a port of the server to the mapping of HOST6; refused, it is answered."""
    sent = to_host4(TCP(sport=port, dport=MAPPED_PORT, flags=flags))
    if passed:
        return passes(sent, to_host6(TCP(sport=port, dport=5000, flags=flags)))
    return drops("inbound_sessions", sent, tell4(sent, 3, 1))


SCENARIOS = [
    Scenario(
        "a_host_has_its_share_of_the_sessions",
        "A host alone in a table of 16 sessions gets 11 of them; what it has goes on, and another host finds room.",
        [
            *(passes(*udp(server)) for server in range(1, 12)),
            drops("subscriber_sessions", udp(12)[0], tell6(udp(12)[0], ICMPv6DestUnreach(code=3))),
            passes(*udp(11)),
            passes(
                IPv6(src=OTHER6, dst=SERVER6) / TCP(sport=5000, dport=80, flags="S"),
                IP(src=MAPPED4, dst=SERVER4, ttl=63) / TCP(sport=MAPPED_PORT, dport=80, flags="S"),
            ),
        ],
        SMALL,
    ),
    Scenario(
        "a_host_has_its_share_of_the_ports",
        "A host alone gets five of seven UDP ports; what it has goes on.",
        [
            *(one_port(5000 + k, mapped) for k, mapped in enumerate(GIVEN)),
            drops("subscriber_ports", query(5005), tell6(query(5005), ICMPv6DestUnreach(code=3))),
            one_port(5000, GIVEN[0]),
        ],
        STANDARD.replace("40000-40000", "40000-40006"),
    ),
    Scenario(
        "datagrams_from_outside_need_no_session",
        "Sessions opened from outside get a quarter of the table, here four; more datagrams to a mapping pass without.",
        [
            passes(*udp(53)),
            *(
                passes(
                    to_host4(UDP(sport=port, dport=MAPPED_PORT) / b"hello"),
                    to_host6(UDP(sport=port, dport=5000) / b"hello"),
                )
                for port in range(1, 9)
            ),
        ],
        SMALL,
    ),
    Scenario(
        "connections_from_outside_have_a_share",
        "TCP connections opened from outside to a host's mapping get four sessions of 16; its own go on.",
        [
            passes(
                to_server6(TCP(sport=5000, dport=80, flags="S")),
                to_server4(TCP(sport=MAPPED_PORT, dport=80, flags="S")),
            ),
            *(tcp(port, "S") for port in range(1001, 1005)),
            tcp(1005, "S", passed=False),
            tcp(80, "SA"),
            tcp(1004, "S"),
        ],
        SMALL,
    ),
]
