"""Cached answers (RFC 1035 section 7.4, RFC 2308), also used after they have expired if there is no other (RFC 8767).

The clock is an argument, in seconds. Memory is bounded in octets; the answer that was asked for longest ago goes first.
"""

from collections import OrderedDict
from typing import NamedTuple

from nat64d.dns64.message.reply import Reply

# LIMITS
# Octets of memory for an entry and for each of its records, beside the message and the name: what the resident set of
# a process grows by, with what the allocator and the hash table leave unused (measured; tests/dns64/test_memory.py).
OVERHEAD, OVERHEAD_RECORD = 800, 40


class Key(NamedTuple):
    """What makes two questions the same. `policy` is the number of the policy that made the answer."""

    name: bytes
    type: int
    class_: int
    dnssec: bool
    checking_disabled: bool
    policy: int


class Cache:
    """At most `capacity` octets of memory."""

    def __init__(self, capacity: int) -> None:
        self.size = 0
        self.hits = self.misses = 0
        self.capacity = capacity
        self._entries: OrderedDict[Key, Reply] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key, now: float) -> Reply | None:
        """The answer to a client's question, counted as a hit or a miss."""
        reply = self.find(key, now)
        if reply is None:
            self.misses += 1
        else:
            self.hits += 1
        return reply

    def find(self, key: Key, now: float) -> Reply | None:
        """The answer to a question, if it has not expired."""
        reply = self._entries.get(key)
        if reply is None or reply.expires <= now:
            return None
        self._entries.move_to_end(key)
        return reply

    def put(self, key: Key, reply: Reply) -> None:
        """Keep an answer that has a lifetime; one that has none ends what it takes the place of (RFC 8767 section 4). A
        failure does not replace an answer that may still be used when expired."""
        kept = self._entries.get(key)
        if kept is reply or (reply.failed and kept is not None and kept.stale_until > reply.stored):
            return
        if reply.expires > reply.stored:
            self._enter(key, reply)
        elif kept is not None and not reply.failed:
            self._drop(key)

    def stale(self, key: Key, now: float) -> Reply | None:
        """An expired answer that may still be used, valid for another 30 seconds; None if there is none."""
        kept = self._entries.get(key)
        if kept is None or kept.failed or kept.stale_until <= now:
            return None
        reply = kept.stale(now)
        self._enter(key, reply)
        return reply

    def clear(self) -> None:
        """Forget all answers."""
        self._entries.clear()
        self.size = 0

    def _enter(self, key: Key, reply: Reply) -> None:
        if key in self._entries:
            self._drop(key)
        self._entries[key] = reply
        self.size += _cost(key, reply)
        while self.size > self.capacity:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: Key) -> None:
        self.size -= _cost(key, self._entries.pop(key))


def _cost(key: Key, reply: Reply) -> int:
    return len(reply.octets) + len(key.name) + OVERHEAD + OVERHEAD_RECORD * len(reply.ttls)
