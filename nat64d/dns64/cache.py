"""Answers kept as octets (RFC 1035 section 7.4, RFC 2308): a hit is a copy with another ID and smaller TTLs.

The clock is an argument, in seconds. Memory is bounded in octets; the answer that was asked for longest ago goes first.
"""

from collections import OrderedDict
from typing import NamedTuple

from nat64d.dns64.wire import NOERROR, NXDOMAIN, SOA, Message, least_ttl, read_question, ttls, write

# LIMITS
OVERHEAD = 400  # octets an entry costs beside its message, about
LONGEST, LONGEST_NEGATIVE = 86400, 900  # seconds; RFC 8767 section 4, RFC 2308 section 5 advises 1 to 3 hours at most


class Key(NamedTuple):
    """What makes two queries the same: `policy` is whose policy made the answer."""

    name: bytes
    type: int
    class_: int
    dnssec: bool
    checking_disabled: bool
    edns: bool
    policy: int


class _Entry(NamedTuple):
    octets: bytes
    question_end: int
    ttls: tuple[int, ...]  # offsets of TTL fields
    stored: float
    expires: float


class Cache:
    """At most `capacity` octets of answers."""

    def __init__(self, capacity: int) -> None:
        self.size = 0
        self.hits = self.misses = 0
        self._capacity = capacity
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key, query: bytes, now: float) -> bytes | None:
        """The answer to the octets of a query, its ID and the case of its name included; None if there is none."""
        entry = self._entries.get(key)
        if entry is None or entry.expires <= now:
            self.misses += 1
            if entry is not None:
                self._drop(key)
            return None
        self._entries.move_to_end(key)
        self.hits += 1
        answer, age = bytearray(entry.octets), int(now - entry.stored)
        answer[:2] = query[:2]
        answer[12 : entry.question_end] = query[12 : entry.question_end]
        if age:
            for at in entry.ttls:
                ttl = int.from_bytes(answer[at : at + 4], "big") - age
                answer[at : at + 4] = max(ttl, 0).to_bytes(4, "big")
        return bytes(answer)

    def put(self, key: Key, message: Message, now: float) -> None:
        """Keep an answer as long as its records allow, if they do."""
        seconds = lifetime(message)
        if seconds <= 0 or message.truncated:
            return
        octets = write(message)
        end = read_question(octets).end
        if key in self._entries:
            self._drop(key)
        self._entries[key] = _Entry(octets, end, tuple(ttls(octets, end)), now, now + seconds)
        self.size += len(octets) + OVERHEAD
        while self.size > self._capacity:
            self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.size = 0

    def _drop(self, key: Key) -> None:
        self.size -= len(self._entries.pop(key).octets) + OVERHEAD


def lifetime(message: Message) -> int:
    """Seconds an answer may be kept: the least TTL; of a negative one what its SOA record says (RFC 2308 section 5)."""
    answers, authority, _ = message.sections
    if message.rcode not in {NOERROR, NXDOMAIN}:
        return 0
    if any(record.type == message.question.type for record in answers):
        return min(least_ttl((*answers, *authority), 0), LONGEST)
    negative = [min(soa.ttl, int.from_bytes(soa.data[-4:], "big")) for soa in authority if soa.type == SOA]
    return min(*negative, least_ttl(answers, LONGEST), LONGEST_NEGATIVE) if negative else 0
