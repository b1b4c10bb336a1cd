"""Queries that upstream servers must be asked for: they wait their turn, so that no client keeps the others waiting.

Subscribers come in turn, and the addresses of a subscriber in turn among themselves. A client with more queries than
can be resolved, or with many slow names, loses its own: where too many wait, who waits with most loses one, and what
runs are `Shares`.
"""

import asyncio
from functools import partial
from typing import NamedTuple, Protocol

from nat64d.dns64.clients.accounts import Account
from nat64d.dns64.clients.queues import Queues
from nat64d.dns64.clients.shares import Shares

# LIMITS
WAITING = 1024  # queries that wait for their turn
RUNNING = 2048  # queries that wait for upstream servers
# Queries that were started within so many seconds and are not answered yet: so many a second can always be started, and
# what upstream servers cannot keep up with waits here, where clients take turns, and not in their queues.
FRESH, FRESH_FOR = 256, 0.2
# Queries started in a turn of the event loop: one more than in the last turn, or half as many if that took too long. So
# a process reads its sockets in time, however slow it is, and starts what it gets done.
STARTED, LEAST = 32, 4
LONG = 0.02  # seconds
PATIENCE = 2.0  # seconds until a query that waits for its turn is dropped: its client has repeated it


class Resolvable(Protocol):
    """A query, by whatever transport it came."""

    def begin(self) -> "asyncio.Task[None] | None":
        """Start to resolve it; None if its client waits no more."""

    def refuse(self) -> None:
        """It is dropped: its client has too many that wait."""


class _Waiting(NamedTuple):
    query: Resolvable
    until: float


class Turns:
    """The queries of a process that wait for their turn, and the number of those that run."""

    def __init__(self) -> None:
        self.running = Shares(RUNNING)
        self.fresh: set[asyncio.Task[None]] = set()
        self._queues: Queues[_Waiting] = Queues()
        self._soon: asyncio.Handle | None = None
        self._at_once = STARTED  # in this turn

    @property
    def waiting(self) -> int:
        """The number of queries that wait for their turn."""
        return self._queues.waiting

    def has_room(self, number: int = 1) -> bool:
        """Whether so many more may wait."""
        return self._queues.waiting + number <= WAITING

    def is_greedy(self, who: Account) -> bool:
        """Whether a client has so many waiting that one more is as good as lost."""
        return not self.has_room() and self._queues.is_long(who)

    def offer(self, who: Account, query: Resolvable) -> None:
        """Let a query wait until `go_on` comes to it. Where too many wait, one of the client with most is refused."""
        self._queues.append(who, _Waiting(query, asyncio.get_running_loop().time() + PATIENCE))
        if self._queues.waiting > WAITING:
            self._queues.pop_of_most().query.refuse()

    def go_on(self) -> None:
        """Start the next queries, and the others in the next turns of the event loop: some in a turn, however often
        this is called in it. A turn ends when all is done that can be done for those that have begun."""
        if self._soon is not None:
            return
        now = asyncio.get_running_loop().time()
        for _ in range(self._at_once):
            who = self._next()
            if who is None:
                return
            self._start(who, now)
            self._later()

    def _later(self) -> None:
        """Go on in the next turn of the event loop, and not before."""
        if self._soon is None:
            loop = asyncio.get_running_loop()
            self._soon = loop.call_soon(self._turned, loop.time())

    def _turned(self, since: float) -> None:
        self._soon = None
        took = asyncio.get_running_loop().time() - since
        self._at_once = max(self._at_once // 2, LEAST) if took > LONG else min(self._at_once + 1, STARTED)
        self.go_on()

    def _next(self) -> Account | None:
        """Whose turn it is, of those that may have one more query running."""
        if len(self.fresh) >= FRESH:
            return None
        for subscriber in self._queues.subscribers():
            for who in self._queues.accounts(subscriber) if self.running.room(subscriber) > 0 else ():
                if self.running.has_room(who):
                    return who
        return None

    def _start(self, who: Account, now: float) -> None:
        query, until = self._queues.pop(who)
        if until < now:
            query.refuse()
            return
        task = query.begin()
        if task is not None:
            self.running.take(who)
            self.fresh.add(task)
            aging = asyncio.get_running_loop().call_later(FRESH_FOR, self._aged, task)
            task.add_done_callback(partial(self._ended, who, aging))

    def _ended(self, who: Account, aging: asyncio.TimerHandle, task: "asyncio.Task[None]") -> None:
        aging.cancel()
        self.running.give_back(who)
        self._aged(task)

    def _aged(self, task: "asyncio.Task[None]") -> None:
        self.fresh.discard(task)
        if self._queues.waiting:
            self._later()
