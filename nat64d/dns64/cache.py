"""Answers kept (RFC 1035 section 7.4, RFC 2308), and used after their time when there is no other (RFC 8767).

The clock is an argument, in seconds. Memory is bounded in octets; the answer that was asked for longest ago goes first.
"""

from collections import OrderedDict
from typing import NamedTuple

from nat64d.dns64.reply import Reply

# LIMITS
OVERHEAD, OVERHEAD_RECORD = 480, 40  # octets that an entry, and each of its records, costs beside its message


class Key(NamedTuple):
    """What makes two questions the same: `policy` is whose policy made the answer."""

    name: bytes
    type: int
    class_: int
    dnssec: bool
    checking_disabled: bool
    policy: int


class Cache:
    """At most `capacity` octets of answers."""

    def __init__(self, capacity: int) -> None:
        self.size = 0
        self.hits = self.misses = 0
        self._capacity = capacity
        self._entries: OrderedDict[Key, Reply] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key, now: float) -> Reply | None:
        """The answer to a client's question, counted."""
        reply = self.find(key, now)
        if reply is None:
            self.misses += 1
        else:
            self.hits += 1
        return reply

    def find(self, key: Key, now: float) -> Reply | None:
        """The answer to a question, while it is good."""
        reply = self._entries.get(key)
        if reply is None or reply.expires <= now:
            return None
        self._entries.move_to_end(key)
        return reply

    def put(self, key: Key, reply: Reply) -> None:
        """Keep an answer, if it is good for any time; one that failed takes no place of one that could be used yet."""
        kept = self._entries.get(key)
        if kept is reply:
            return
        if reply.expires <= reply.stored or (reply.failed and kept is not None and kept.stale_until > reply.stored):
            return
        self._enter(key, reply)

    def stale(self, key: Key, now: float) -> Reply | None:
        """The answer that was good not long ago, good again for half a minute, if there is one."""
        kept = self._entries.get(key)
        if kept is None or kept.failed or kept.stale_until <= now:
            return None
        reply = kept.stale(now)
        self._enter(key, reply)
        return reply

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.size = 0

    def _enter(self, key: Key, reply: Reply) -> None:
        if key in self._entries:
            self._drop(key)
        self._entries[key] = reply
        self.size += _cost(reply)
        while self.size > self._capacity:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: Key) -> None:
        self.size -= _cost(self._entries.pop(key))


def _cost(reply: Reply) -> int:
    return len(reply.octets) + OVERHEAD + OVERHEAD_RECORD * len(reply.ttls)
