"""DNS over TCP from clients (RFC 7766): many queries per connection, answered in the order in which answers arrive."""

import asyncio
from collections import Counter

from nat64d.dns64.clients.accounts import Account, account
from nat64d.dns64.clients.rates import Rates
from nat64d.dns64.clients.turns import Turns
from nat64d.dns64.message.endings import Ending
from nat64d.dns64.message.wire import Message
from nat64d.dns64.resolver import Resolver
from nat64d.dns64.upstreams.stream import Framed

# LIMITS
CONNECTIONS = 256
IDLE = 10.0  # seconds from one complete query to the next
QUESTIONS = 128  # of one connection at a time
QUERY_OCTETS = 4096  # octets of a query
UNREAD = 1 << 18  # octets of answers that a client leaves unread ...
UNREAD_TOGETHER = 1 << 23  # ... and that all leave unread
UNREAD_FREELY = 1 << 14  # octets that a connection may leave unread whatever the others do


class Connections:
    """The connections to all addresses that a process listens on."""

    def __init__(self, resolver: Resolver, rates: Rates, turns: Turns) -> None:
        self.resolver, self.rates, self.turns = resolver, rates, turns
        self.open: set[Connection] = set()

    def admit(self, one: "Connection") -> bool:
        """Add a connection; False if it has to go. Where there are too many, the greediest client loses one: first one
        on which no answer is due, the longest idle first (RFC 7766 section 6.2.3)."""
        self.open.add(one)
        if len(self.open) <= CONNECTIONS:
            return True
        subscribers = Counter(each.who.subscriber for each in self.open)
        addresses = Counter(each.who.address for each in self.open)
        last = max(
            self.open - {one},
            key=lambda each: (
                subscribers[each.who.subscriber],
                addresses[each.who.address],
                not each.is_busy,
                -each.active,
            ),
            default=one,
        )
        if last.is_busy and subscribers[last.who.subscriber] <= subscribers[one.who.subscriber]:
            last = one
        self.open.discard(last)
        if last is one:
            self.resolver.counters.turned_away += 1
            return False
        self.resolver.counters.displaced += 1
        last.abort()
        return True

    def may_leave_unread(self, octets: int) -> bool:
        """Whether so much of a connection may wait to be read: what is left of the whole memory bounds it too."""
        if octets <= UNREAD_FREELY:
            return True
        return octets <= UNREAD and octets <= UNREAD_TOGETHER - sum(each.unread for each in self.open)

    def close(self, some: "set[Connection]") -> None:
        """Abort some of the connections."""
        for one in list(some):
            one.abort()


class Connection(Framed):
    """One connection of a client."""

    def __init__(self, connections: Connections, mine: "set[Connection]") -> None:
        """`mine`: those to the same local address."""
        super().__init__()
        self.client = ""
        self.who = Account("", "")
        self.active = 0.0  # when the last complete query came
        self._connections, self._mine = connections, mine
        self._resolver, self._rates = connections.resolver, connections.rates
        self._queued = 0  # queries that wait for their turn
        self._waiting: set[asyncio.Task[None]] = set()
        self._leaving = False  # no more queries are read; the connection closes after the last answer
        self._idle: asyncio.TimerHandle | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the client waits for answers."""
        return self._queued + len(self._waiting) > 0

    @property
    def unread(self) -> int:
        """Octets of answers that the client has not read."""
        return self.transport.get_write_buffer_size() if self.transport is not None else 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection, or abort it if there are too many."""
        super().connection_made(transport)
        self.client = transport.get_extra_info("peername")[0]
        self.who = account(self.client, tcp=True)
        self._mine.add(self)
        self._rest()
        if not self._connections.admit(self):
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Take queries; disconnect a client that announces one of too many octets."""
        super().data_received(data)
        if not self.reading():
            self._partial.clear()
        elif len(self._partial) >= 2 and int.from_bytes(self._partial[:2], "big") > QUERY_OCTETS:
            self._resolver.counters.overlong += 1
            self.abort()
        self._connections.turns.go_on()

    def received(self, octets: bytes) -> None:
        """Answer a query at once, or let it wait for its turn; close the connection if the client is over a limit."""
        self._rest()
        if self._queued + len(self._waiting) >= QUESTIONS or not self._rates.allows(self.who, self.active):
            self._resolver.counters.add(Ending.LIMITED)
            self._leave()
            return
        answer, query, number = self._resolver.at_once(octets, self.client)
        if answer is not None:
            self._answer(answer)
        elif query is not None:
            self._queued += 1
            self._connections.turns.offer(self.who, _Query(self, query, number))

    def eof_received(self) -> bool:
        """The client sends no more queries, but may still wait for answers."""
        self._leave()
        return True

    def reading(self) -> bool:
        """Whether further queries are read."""
        return not self._leaving and super().reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Forget the connection, and the queries whose answers are not needed any more."""
        self._connections.open.discard(self)
        self._mine.discard(self)
        if self._idle is not None:
            self._idle.cancel()
        for task in self._waiting:
            task.cancel()

    def abort(self) -> None:
        """Close the connection at once."""
        if self.transport is not None:
            self.transport.abort()

    def begin(self, query: Message, number: int) -> asyncio.Task[None] | None:
        """Start to resolve a query whose turn it is."""
        self._queued -= 1
        if self.transport is None or self.transport.is_closing():
            return None
        task = asyncio.get_running_loop().create_task(self._resolve(query, number))
        self._waiting.add(task)
        return task

    def refuse(self) -> None:
        """A query is dropped: close the connection after the answers to the others."""
        self._queued -= 1
        self._resolver.counters.add(Ending.OVERLOADED)
        self._leave()

    async def _resolve(self, query: Message, number: int) -> None:
        try:
            self._answer(await self._resolver.resolve(query, number))
        finally:
            task = asyncio.current_task()
            assert task is not None
            self._waiting.discard(task)
            if self._leaving:
                self._leave()

    def _answer(self, octets: bytes) -> None:
        self.send(octets)
        if not self._connections.may_leave_unread(self.unread):
            self._resolver.counters.unread += 1
            self.abort()

    def _leave(self) -> None:
        assert self.transport is not None
        self._leaving = True
        if self.is_busy:
            self.transport.pause_reading()
        else:
            self.transport.close()

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        self.active = loop.time()
        self._idle = loop.call_later(IDLE, self._rested)

    def _rested(self) -> None:
        """No query for IDLE seconds: abort, unless the client is waiting for answers, and may therefore be silent."""
        if self.is_busy:
            self._rest()
        else:
            self.abort()


class _Query:
    """One query of a connection, which waits for its turn."""

    __slots__ = ("_connection", "_number", "_query")

    def __init__(self, connection: Connection, query: Message, number: int) -> None:
        self._connection, self._query, self._number = connection, query, number

    def begin(self) -> asyncio.Task[None] | None:
        return self._connection.begin(self._query, self._number)

    def refuse(self) -> None:
        self._connection.refuse()
