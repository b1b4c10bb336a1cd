"""The scenarios behind pcaps/: what is sent, and what has to come of it, both written by hand from the RFCs.

    HOST6 ──────────── [ nat64d ] ──────────── SERVER4
    port 5000      OWN6         OWN4           port 53 or 80
                           MAPPED4:40000
    ROUTER6                                    ROUTER4

`python -m tests.golden --write` makes the captures from them. The pool has one port: it is known which one a host gets.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import IPv6

HOST6, OTHER6, ROUTER6, OWN6 = "2001:db8:1::10", "2001:db8:2::20", "2001:db8:1::ffff", "2001:db8:64::1"
SERVER4, OTHER4, ROUTER4, OWN4 = "198.51.100.7", "198.51.100.9", "192.0.2.33", "192.0.2.254"
MAPPED4, MAPPED_PORT = "203.0.113.1", 40000
POOL6 = "64:ff9b::"
SERVER6, ELSEWHERE6, MAPPED6 = POOL6 + SERVER4, POOL6 + OTHER4, POOL6 + MAPPED4

PCAPS = Path(__file__).parents[2] / "pcaps"
STANDARD = (PCAPS / "nat64d.toml").read_text("utf-8")  # what a scenario with a configuration of its own adds to
LONG_UP = STANDARD + "\n[filtering]\nreset_unknown = 0  # as long after a start\n"

Sent = Any  # a scapy packet, or octets


@dataclass(frozen=True)
class Step:
    """One packet, `after` so many seconds, its verdict, and the packets that leave for it.

    `due` are the translator's own, which leave before because of the time.
    """

    sent: Sent
    verdict: str
    out: tuple[Sent, ...]
    after: float = 0.001
    due: tuple[Sent, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """A story. `shows`: a line for pcaps/README.md; `config`: TOML if it is not STANDARD."""

    name: str
    shows: str
    steps: list[Step]
    config: str | None = field(default=None, repr=False)


def passes(sent: Sent, *out: Sent, after: float = 0.001) -> Step:
    return Step(sent, "translated", out, after)


def hairpins(sent: Sent, *out: Sent, after: float = 0.001) -> Step:
    return Step(sent, "hairpinned", out, after)


def drops(verdict: str, sent: Sent, *answer: Sent, after: float = 0.001) -> Step:
    return Step(sent, verdict, answer, after)


def to_server6(transport: Sent, **ip: Any) -> Sent:
    """As HOST6 sends it."""
    return IPv6(src=HOST6, dst=SERVER6, **ip) / transport


def to_server4(transport: Sent, **ip: Any) -> Sent:
    """As SERVER4 gets it."""
    return IP(**{"src": MAPPED4, "dst": SERVER4, "ttl": 63} | ip) / transport


def to_host4(transport: Sent, **ip: Any) -> Sent:
    """As SERVER4 sends it."""
    return IP(**{"src": SERVER4, "dst": MAPPED4} | ip) / transport


def to_host6(transport: Sent, **ip: Any) -> Sent:
    """As HOST6 gets it."""
    return IPv6(**{"src": SERVER6, "dst": HOST6, "hlim": 63} | ip) / transport


def tell6(sent: Sent, message: Sent, to: str = HOST6) -> Sent:
    """Our ICMPv6 error: as much of the packet as fits 1280 octets (RFC 4443 2.4 c)."""
    return IPv6(src=OWN6, dst=to) / message / bytes(sent)[: 1280 - 48]


def tell4(sent: Sent, type: int, code: int, to: str = SERVER4, src: str = OWN4, **rest: int) -> Sent:
    """Our ICMPv4 error: as much of the packet as fits 576 octets, precedence 6 (RFC 1812 4.3.2)."""
    return (
        IP(src=src, dst=to, tos=0xC0, id=0, flags="DF") / ICMP(type=type, code=code, **rest) / bytes(sent)[: 576 - 28]
    )
