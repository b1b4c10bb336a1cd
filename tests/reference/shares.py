"""RFC 6888 REQ-4 and REQ-5: what one customer may take of the session table, and how long what nobody answers stays.

The RFC asks for limits and leaves open which. Here one may take another of something as long as it has less than four
times what is free of it; a host in the same way of what its subscriber (a prefix) could still take, alone.
"""

from __future__ import annotations

from bisect import bisect_left
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.reference.bib import Bibs, Entry

FACTOR = 4
SHORTENED = 30.0  # seconds, when all is taken


def prefix_of(host: IPv6Address, length: int) -> IPv6Network:
    """The subscriber."""
    return IPv6Network((host, length), strict=False)


def room(free: int, taken: int) -> int:
    """How many times in a row one that has `taken` could take another, if nobody else does."""
    return bisect_left(range(max(free, 0) + 1), 1, key=lambda more: taken + more >= FACTOR * (free - more))


def is_within(free: int, of_subscriber: int, of_host: int, length: int) -> bool:
    """Whether the host may; a subscriber that is one host has no second threshold."""
    left = room(free, of_subscriber)
    return left > 0 and (length == 128 or of_host < FACTOR * left)


def may_open(bibs: Bibs, size: int, host: IPv6Address, length: int) -> bool:
    """A session from inside, of a mapping that packets made."""
    subscriber, own = prefix_of(host, length), [entry for entry in bibs.entries() if not entry.static]
    of_subscriber = sum(entry.outbound for entry in own if entry.host6[0] in subscriber)
    of_host = sum(entry.outbound for entry in own if entry.host6[0] == host)
    return is_within(size - bibs.count(), of_subscriber, of_host, length)


def may_be_opened(bibs: Bibs, size: int, entry: Entry, length: int) -> bool:
    """A session of this mapping from outside, or any of a configured one: all of them have a quarter of the table."""
    subscriber = prefix_of(entry.host6[0], length)
    known = [one for one in bibs.entries() if not one.of_service]
    taken = {id(one): len(one.sessions) - one.outbound for one in known}
    free = min(size // 4 - sum(taken.values()), size - bibs.count())
    of_subscriber = sum(taken[id(one)] for one in known if one.host6[0] in subscriber)
    return free > 0 and taken[id(entry)] < FACTOR * room(free, of_subscriber)


def shortened(lifetime: float, size: int, used: int) -> float:
    """Of a session that one side only has sent to: from half of the table on, in proportion."""
    over = used - size // 2
    if over <= 0 or lifetime <= SHORTENED:
        return lifetime
    whole, least = round(lifetime * 1000), round(SHORTENED * 1000)
    return (whole - (whole - least) * over // (size - size // 2)) / 1000
