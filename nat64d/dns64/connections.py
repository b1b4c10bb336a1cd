"""The TCP clients (RFC 7766): many questions a connection, answered in the order in which the answers come."""

import asyncio
from collections import Counter

from nat64d.dns64.outcome import Outcome
from nat64d.dns64.rates import Rates, subscriber
from nat64d.dns64.resolver import Resolver
from nat64d.dns64.stream import Framed
from nat64d.dns64.wire import Message

# LIMITS
CONNECTIONS = 256
SUBSCRIBER_CONNECTIONS = 32  # of one IPv4 address or one /64
IDLE = 10.0  # seconds until a message must be complete, counted from the one before
QUESTIONS = 128  # of one connection at a time
UNREAD = 1 << 18  # octets of answers that a client leaves unread


class Connections:
    """All of them, of all addresses we listen at."""

    def __init__(self, resolver: Resolver, rates: Rates) -> None:
        self.resolver, self.rates = resolver, rates
        self.open: set[Connection] = set()
        self._of: Counter[str] = Counter()

    def new(self) -> "Connection":
        """One that was accepted."""
        return Connection(self)

    def admit(self, one: "Connection") -> bool:
        """Whether there is room for it."""
        key = subscriber(one.client)
        if len(self.open) >= CONNECTIONS or self._of[key] >= SUBSCRIBER_CONNECTIONS:
            return False
        self.open.add(one)
        self._of[key] += 1
        return True

    def leave(self, one: "Connection") -> None:
        """It ended."""
        if one in self.open:
            self.open.remove(one)
            key = subscriber(one.client)
            self._of[key] -= 1
            if not self._of[key]:
                del self._of[key]

    def close(self) -> None:
        """End them all."""
        for one in list(self.open):
            one.abort()


class Connection(Framed):
    """One client's."""

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self.client = ""
        self._connections = connections
        self._resolver, self._rates = connections.resolver, connections.rates
        self._waiting: set[asyncio.Task[None]] = set()
        self._leaving = False  # nothing more is read; it ends with the last answer
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is accepted, or not."""
        super().connection_made(transport)
        self.client = transport.get_extra_info("peername")[0]
        if self._connections.admit(self):
            self._rest()
        else:
            self._resolver.counters.turned_away += 1
            self.abort()

    def received(self, octets: bytes) -> None:
        """A query."""
        self._rest()
        if len(self._waiting) >= QUESTIONS or not self._rates.allows(self.client, asyncio.get_running_loop().time()):
            self._resolver.counters.add(Outcome.LIMITED)
            self._leave()
            return
        answer, query, number = self._resolver.at_once(octets, self.client)
        if answer is not None:
            self._answer(answer)
        elif query is not None:
            self._waiting.add(asyncio.get_running_loop().create_task(self._resolve(query, number)))

    def eof_received(self) -> bool:
        """The client has no more questions, but may wait for answers."""
        self._leave()
        return True

    def reading(self) -> bool:
        """Whether its questions are taken."""
        return not self._leaving and super().reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        """It ended."""
        self._connections.leave(self)
        if self._idle is not None:
            self._idle.cancel()
        for task in self._waiting:
            task.cancel()

    def abort(self) -> None:
        """End it at once."""
        if self.transport is not None:
            self.transport.abort()

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
        if self.transport is not None and self.transport.get_write_buffer_size() > UNREAD:
            self._resolver.counters.unread += 1
            self.abort()

    def _leave(self) -> None:
        assert self.transport is not None
        self._leaving = True
        if self._waiting:
            self.transport.pause_reading()
        else:
            self.transport.close()

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE, self._rested)

    def _rested(self) -> None:
        """Silent since the last query: what is unread by now will not be read. Who waits for us may be silent."""
        if self._waiting:
            self._rest()
        else:
            self.abort()
