"""Hosts with an address of their own in both families (RFC 7757), for the tests; the others are those of packets.py.

    EAM6 is EAM4, OTHER_EAM6 is OTHER_EAM4; both are reached from IPv4 without a session, and from IPv6 under POOL6.

The mapped host and HOST4: to_eam4() -> at_eam6(), of_eam6() -> as_eam4(). Configurations: BESIDE the sessions of
CONFIG, ALONE (without them), SIIT (pool6 and nothing else).
"""

from typing import Any

from scapy.packet import Packet

from tests.case import Nat64
from tests.packets import (
    from4,
    from6,
    in6,
    payload,
    seen4,
    seen6,
)
from translator.verdict import Verdict

EAM4, EAM6 = "198.51.100.65", "2001:db8:e::41"
OTHER_EAM4, OTHER_EAM6 = "198.51.100.152", "2001:db8:f:0:6000::"
EAM_IN6, OTHER_EAM_IN6 = in6(EAM4), in6(OTHER_EAM4)
EAM = [
    {"ipv4": "198.51.100.64/28", "ipv6": "2001:db8:e::40/124"},
    {"ipv4": "198.51.100.128/26", "ipv6": "2001:db8:f::/64"},
]
NO_SESSIONS: dict[str, Any] = {"pool4": [], "forward": []}
BESIDE = {"eam": EAM}  # the sessions of CONFIG
ALONE = {"eam": EAM, **NO_SESSIONS}
SIIT = NO_SESSIONS  # pool6 and nothing else: hosts with IPv4-translatable addresses
TRANSLATABLE4 = "198.51.100.200"
TRANSLATABLE6 = in6(TRANSLATABLE4)
ROUTERS_HAVE = "203.0.113.128/25"
HAIRPINNED = Verdict.HAIRPINNED


def to_eam4(**fields: Any) -> Packet:
    """HOST4 to the mapped host, as sent."""
    return from4(**{"dst": EAM4} | fields)


def at_eam6(**fields: Any) -> Packet:
    """to_eam4() as it arrives."""
    return seen6(**{"dst": EAM6} | fields)


def of_eam6(**fields: Any) -> Packet:
    """The mapped host to HOST4, as sent."""
    return from6(**{"src": EAM6} | fields)


def as_eam4(**fields: Any) -> Packet:
    """of_eam6() as it arrives."""
    return seen4(**{"src": EAM4} | fields)


def opened(nat64: Nat64) -> tuple[int, int]:
    """How many BIB entries, but for those of [[forward]], and sessions there have been."""
    events = nat64.events()
    return events.get("BIB_CREATED", 0) - len(nat64.config.forward), events.get("SESSION_CREATED", 0)


ASK, REPLY = {"sport": 4000, "dport": 80}, {"sport": 80, "dport": 4000}
BIG = payload(2000)
FRAGMENT = 0x1234
