"""What there was not enough of, or soon will not be, for the log of sessions and for IPFIX (RFC 8158 section 4.3).

2026-03-01T12:00:00.123Z addresses-exhausted pool 1
2026-03-01T12:00:00.123Z ports-exhausted udp 198.51.100.1
2026-03-01T12:00:00.123Z sessions-exceeded 1048576
2026-03-01T12:00:00.123Z host-exceeded 2001:db8::10 1000
2026-03-01T12:00:00.123Z ports-threshold pool 1 57600
"""

from enum import Enum
from socket import AF_INET6, inet_ntoa, inet_ntop
from typing import NamedTuple

from nat64d.natlog.entries import NAMES, stamp

# SPEC: RFC 8158 tables 2, 3 and 4
_ADDRESSES, _PORTS, _QUOTA, _THRESHOLD = 3, 12, 13, 18


class What(Enum):
    """natEvent, and the kind of it: natQuotaExceededEvent or natThresholdEvent."""

    ADDRESSES_EXHAUSTED = (_ADDRESSES, 0)
    PORTS_EXHAUSTED = (_PORTS, 0)
    SESSIONS_EXCEEDED = (_QUOTA, 1)
    HOST_EXCEEDED = (_QUOTA, 3)
    PORTS_THRESHOLD = (_THRESHOLD, 3)


class Shortage(NamedTuple):
    """One of them; what does not belong to it is 0."""

    time: int  # milliseconds since 1970
    what: What
    pool: int = 0  # natPoolId: which [[pool4]], from 1
    mapped4: bytes = bytes(4)
    protocol: int = 0
    host6: bytes = bytes(16)
    most: int = 0  # entries: the limit that was reached, or the threshold


def fields(one: Shortage) -> dict[str, object]:
    """A shortage as fields of a record of the daemon's log."""
    said: dict[str, object] = {"event": one.what.name.lower().replace("_", "-"), "at": stamp(one.time)}
    if one.pool:
        said["pool"] = one.pool
    if one.protocol:
        said |= {"protocol": NAMES.get(one.protocol, str(one.protocol)), "mapped4": inet_ntoa(one.mapped4)}
    if any(one.host6):
        said["host6"] = inet_ntop(AF_INET6, one.host6)
    return said | ({"most": one.most} if one.most else {})


def sentence(one: Shortage) -> str:
    """A shortage as a line has it behind the time."""
    said = fields(one)
    return " ".join(f"pool {said[key]}" if key == "pool" else str(said[key]) for key in said if key != "at")


def line(one: Shortage) -> str:
    """A shortage as a line, without its end."""
    return f"{stamp(one.time)} {sentence(one)}"
