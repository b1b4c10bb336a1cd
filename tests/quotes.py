"""Words for tests about ICMP errors: what a router on the way says about a packet, and what becomes of it.

error4(quoted), about what HOST6 sent -> error6_seen(quoted); error6(quoted), about what HOST4 sent ->
error4_seen(quoted).
OUTWARD and INWARD are such packets as both sides see them; LONG4 ... are the same of more octets than an error holds.
"""

from typing import Any

from scapy.layers.inet import TCP, UDP
from scapy.packet import Packet, Raw

from tests.case import Sent, Step
from tests.packets import (
    FROM_HOST6,
    FROM_MAPPED,
    ROUTER4,
    ROUTER4_IN6,
    ROUTER6,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    from4,
    from6,
    payload,
    ping4,
    ping6,
    seen4,
    seen6,
    sent4,
    sent6,
)

SYN = {"flags": "S", "seq": 1000}
OPENING = [
    Step(from6() / UDP(**FROM_HOST6)),
    Step(from6() / TCP(**FROM_HOST6, **SYN)),
    Step(from6() / ping6(True)),
]
# What HOST6 sent, as the two sides see it in a quote; and what HOST4 sent.
OUTWARD = {
    "udp": (seen4() / UDP(**FROM_MAPPED) / payload(21), sent6() / UDP(**FROM_HOST6) / payload(21)),
    "udp_without_checksum": (
        seen4() / UDP(**FROM_MAPPED, chksum=0) / b"x",
        sent6() / UDP(**FROM_HOST6, chksum=0) / b"x",
    ),
    "tcp": (seen4() / TCP(**FROM_MAPPED, **SYN) / b"x", sent6() / TCP(**FROM_HOST6, **SYN) / b"x"),
    "echo": (seen4() / ping4(True, b"abc"), sent6() / ping6(True, b"abc")),
    "echo_reply": (seen4() / ping4(False, b"abc"), sent6() / ping6(False, b"abc")),
}
INWARD = {
    "udp": (seen6() / UDP(**TO_HOST6) / payload(21), sent4() / UDP(**TO_MAPPED) / payload(21)),
    "udp_without_checksum": (
        seen6() / UDP(**TO_HOST6, chksum=0) / b"x",
        sent4() / UDP(**TO_MAPPED, chksum=0) / b"x",
    ),
    "tcp": (seen6() / TCP(**TO_HOST6, **SYN) / b"x", sent4() / TCP(**TO_MAPPED, **SYN) / b"x"),
    "echo": (seen6() / ping6(True, b"abc"), sent4() / ping4(True, b"abc")),
    "echo_reply": (seen6() / ping6(False, b"abc"), sent4() / ping4(False, b"abc")),
}
UDP4, UDP6 = OUTWARD["udp"]
UDP6_IN, UDP4_IN = INWARD["udp"]
LONG4, LONG6 = seen4(flags="DF") / UDP(**FROM_MAPPED) / payload(1600), sent6() / UDP(**FROM_HOST6) / payload(1600)
LONG6_IN, LONG4_IN = seen6() / UDP(**TO_HOST6) / payload(1600), sent4(flags="DF") / UDP(**TO_MAPPED) / payload(1600)


def error4(quoted: Sent, type_: int = 3, rest: int = 0, **fields: Any) -> Packet:
    """From the IPv4 router, on its way to HOST6."""
    return (
        from4(**{"src": ROUTER4} | fields)
        / Icmp(type=type_, code=1 if type_ == 3 else 0, rest=rest)
        / Raw(bytes(quoted))
    )


def error6_seen(quoted: Sent, type_: int = 1, rest: int = 0, **fields: Any) -> Packet:
    """error4() as HOST6 gets it."""
    return seen6(**{"src": ROUTER4_IN6} | fields) / Icmp(type=type_, rest=rest) / Raw(bytes(quoted))


def error6(quoted: Sent, type_: int = 1, rest: int = 0, **fields: Any) -> Packet:
    """From the IPv6 router, on its way to HOST4."""
    return (
        from6(**{"src": ROUTER6} | fields)
        / Icmp(type=type_, code=4 if type_ == 1 else 0, rest=rest)
        / Raw(bytes(quoted))
    )


def error4_seen(quoted: Sent, type_: int = 3, rest: int = 0, **fields: Any) -> Packet:
    """error6() as HOST4 gets it."""
    return seen4(**fields) / Icmp(type=type_, code=3 if type_ == 3 else 0, rest=rest) / Raw(bytes(quoted))
