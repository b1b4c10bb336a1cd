"""How many queries a client may ask, counted for all processes of the name server together.

The kernel spreads a client's queries over the processes by port, so the counts are in memory that all of them map. Two
processes that count a query of the same client within the same microsecond may count it once.

A subscriber (a /64) is a queue that is served at its rate, shared by its addresses. An address may enter while it has
less than ALPHA times the places that are free (dynamic threshold; Choudhury and Hahne, IEEE/ACM ToN 6 (2), 1998). So
one address alone gets the whole rate, several get equal parts, and one that asks little always finds a place.
"""

import mmap
import os
from functools import lru_cache
from hashlib import blake2b
from math import exp, log
from typing import NamedTuple

from nat64d.dns64.clients.accounts import Account, stranger

# LIMITS
SETS, WAYS = 2048, 4  # a row is in one of the four places of its set
ROWS = SETS * WAYS  # subscribers, and addresses, that are remembered
KNOWN = 4096  # accounts whose places are remembered by each process
DIGESTS = 1024  # of names, that are remembered
KEY = 16  # octets of the key that places depend on, so that no client can choose them
SUBSCRIBER, ADDRESS = 4, 4  # numbers of a row, of 8 octets each
OCTETS = KEY + 8 * ROWS * (SUBSCRIBER + ADDRESS)
ALPHA = 4.0
DEPTH = 1.0 + 1 / ALPHA  # seconds of the rate that a queue holds; an address alone fills one second of it
EMPTIED = 50.0  # "faded" that is added when a queue has been empty: exp(-50) of what was there is nothing


def shared_memory() -> int:
    """A file descriptor of memory for counts; processes that inherit it share them."""
    descriptor = os.memfd_create("nat64d-rates", 0)
    os.ftruncate(descriptor, OCTETS)
    os.pwrite(descriptor, os.urandom(KEY), 0)
    return descriptor


class _Place(NamedTuple):
    """Where the rows of an account are, and the tags that are there as long as they are its own."""

    subscriber: int
    tag: int
    address: int
    mark: int
    is_known: bool  # False: the address has no row, this is the one of all like it


class Rates:
    """The queue of each subscriber, by a clock that is the same in all processes.

    A row of a subscriber: its tag, when its queue will be empty, when that was counted last, and `faded`, by which the
    logarithm of every part of the queue has shrunk so far (all parts shrink alike, as in a queue served in order). A
    row of an address: its tag, its part in queries, `faded` at that time, and the time.

    An address that is not remembered counts as one client with all others like it, so that invented addresses in a /64
    do not push out those that are in use. Where there is no place for a row, the one that was used first gives way.
    """

    def __init__(self, rate: int, descriptor: int | None = None) -> None:
        """`rate`: queries per second of a subscriber, 0 for no limit; `descriptor`: of `shared_memory`, else this
        process counts alone."""
        self._rate = rate
        memory = memoryview(bytearray(OCTETS) if descriptor is None else mmap.mmap(descriptor, OCTETS))
        columns = [memory[KEY + 8 * ROWS * at : KEY + 8 * ROWS * (at + 1)] for at in range(SUBSCRIBER + ADDRESS)]
        self._tags, self._marks = columns[0].cast("Q"), columns[SUBSCRIBER].cast("Q")
        self._empty, self._at, self._faded = (column.cast("d") for column in columns[1:SUBSCRIBER])
        self._part, self._part_faded, self._seen = (column.cast("d") for column in columns[SUBSCRIBER + 1 :])
        self._key = bytes(memory[:KEY])
        self._known: dict[Account, _Place] = {}
        self._places = lru_cache(DIGESTS)(self._digest)

    def allows(self, who: Account, now: float) -> bool:
        """Whether one more query is within the client's share; it is counted then."""
        return self.turn_of(who, now) is not None

    def turn_of(self, who: Account, now: float) -> Account | None:
        """The account that takes turns for one more query, which is counted; None if it is not within the client's
        share. An address that was not remembered, because it asks for the first time, takes turns as one client with
        all others like it; without a limit nothing is remembered, and each is a client."""
        rate = self._rate
        if not rate:
            return who
        place = self._known.get(who)
        if place is None or self._tags[place.subscriber] != place.tag or self._marks[place.address] != place.mark:
            place = self._find(who)
        at, own = place.subscriber, place.address
        empty, faded = self._empty[at], self._faded[at]
        if empty <= now:
            queue, empty, faded = 0.0, now, faded + EMPTIED
        else:
            queue = (empty - now) * rate
            faded += log(max((empty - self._at[at]) / (empty - now), 1.0))
        room = DEPTH * rate - queue
        part = self._part[own] * exp(min(self._part_faded[own] - faded, 0.0))
        if room < 0.75 or part >= ALPHA * room - 0.5:  # a query is 1; fractions are for rounding
            return None
        self._empty[at], self._at[at], self._faded[at] = empty + 1 / rate, now, faded
        self._part[own], self._part_faded[own], self._seen[own] = part + 1, faded, now
        if place.is_known:
            return who
        self._enter(who, faded, now)
        return stranger(who)

    def _find(self, who: Account) -> _Place:
        """The place of an account; its subscriber gets a row if it has none."""
        at, tag = self._row(self._tags, self._at, who.subscriber)
        if self._tags[at] != tag:
            self._tags[at], self._empty[at] = tag, 0.0
        own, mark = self._row(self._marks, self._seen, who.address)
        is_known = self._marks[own] == mark
        if not is_known:
            own, mark = self._row(self._marks, self._seen, f"{who.subscriber} others")
            if self._marks[own] != mark:
                self._marks[own], self._part[own] = mark, 0.0
        place = _Place(at, tag, own, mark, is_known)
        if is_known:
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known[who] = place
        return place

    def _enter(self, who: Account, faded: float, now: float) -> None:
        """Give an address a row of its own, after its first query."""
        own, self._marks[own] = self._row(self._marks, self._seen, who.address)
        self._part[own], self._part_faded[own], self._seen[own] = 1.0, faded, now

    def _row(self, tags: "memoryview[int]", used: "memoryview[float]", text: str) -> tuple[int, int]:
        """(row, tag) of a name: the row with its tag, else the one of its set that was used first."""
        first, tag = self._places(text)
        rows = range(first, first + WAYS)
        for at in rows:
            if tags[at] == tag:
                return at, tag
        return min(rows, key=used.__getitem__), tag

    def _digest(self, text: str) -> tuple[int, int]:
        """(first row of its set, tag) of a name."""
        digest = blake2b(text.encode(), key=self._key, digest_size=16).digest()
        return int.from_bytes(digest[:8], "big") % SETS * WAYS, int.from_bytes(digest[8:], "big")
