"""ICMP errors that are sent to one host and quote a packet of another one (RFC 7915 sections 4.1 and 5.1)."""

from typing import Any

from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6

from tests.scenarios import (
    HOST6,
    MAPPED4,
    MAPPED_PORT,
    OTHER4,
    POOL6,
    ROUTER4,
    STANDARD,
    Scenario,
    drops,
    passes,
    to_server4,
    to_server6,
)
from tests.scenarios.mappings import EAM4, NEIGHBOUR4, NEIGHBOUR6, QUERY, SIIT, in4, in6, out4, out6

NOBODY = "192.0.2.77"
HOST_UNREACHABLE, NO_ROUTE = ICMP(type=3, code=1), ICMPv6DestUnreach(code=0)
MAPPED_QUERY = UDP(sport=MAPPED_PORT, dport=53) / b"query"


def quoted4(source: str) -> bytes:
    """A packet to SERVER4, as a router saw it."""
    return bytes(out4(QUERY, src=source, ttl=60))


def quoted6(source: str) -> bytes:
    return bytes(out6(QUERY, src=source, hlim=60))


def error4(quoted: bytes, destination: str) -> Any:
    return IP(src=ROUTER4, dst=destination) / HOST_UNREACHABLE / quoted


def error6(quoted: bytes, **ip: Any) -> Any:
    return IPv6(**{"src": POOL6 + ROUTER4, "dst": HOST6, "hlim": 63} | ip) / NO_ROUTE / quoted


ANSWERED6 = bytes(in6(UDP(sport=53, dport=5000) / b"answer", hlim=60))
ANSWERED4 = bytes(in4(UDP(sport=53, dport=5000) / b"answer", ttl=60, id=0))
SESSIONS = STANDARD + f'\n[[eam]]\nipv4 = "{EAM4}"\nipv6 = "2001:db8:e::10"\n'

SCENARIOS = [
    Scenario(
        "errors_go_where_they_were_sent",
        "[[eam]]: an error for one host that quotes the packet of another one: each address is translated on its own.",
        [
            passes(error4(quoted4(NEIGHBOUR4), EAM4), error6(quoted6(NEIGHBOUR6))),
            passes(error4(quoted4(NOBODY), EAM4), error6(quoted6(POOL6 + NOBODY))),
            passes(
                IPv6(src=HOST6, dst=POOL6 + OTHER4) / NO_ROUTE / ANSWERED6,
                IP(src=EAM4, dst=OTHER4, ttl=63) / HOST_UNREACHABLE / ANSWERED4,
            ),
        ],
        SIIT,
    ),
    Scenario(
        "errors_about_the_session_of_another_host",
        "An error that quotes the packet of a session, but is sent to another address, is dropped.",
        [
            passes(to_server6(QUERY), to_server4(MAPPED_QUERY)),
            drops("no_session", error4(bytes(to_server4(MAPPED_QUERY)), EAM4)),
            drops("no_session", error4(quoted4(EAM4), MAPPED4)),
            drops("no_session", IPv6(src=HOST6, dst=POOL6 + OTHER4) / NO_ROUTE / ANSWERED6),
            passes(
                error4(bytes(to_server4(MAPPED_QUERY)), MAPPED4),
                error6(bytes(to_server6(QUERY, hlim=63))),
            ),
        ],
        SESSIONS,
    ),
]
