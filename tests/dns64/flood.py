"""Floods without a network: a server with a scripted resolver, datagrams and connections from any address."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any

import dns.message

from nat64d.dns64.clients.connections import Connection
from nat64d.dns64.clients.listener import Desk, Listener
from nat64d.dns64.clients.rates import Rates
from nat64d.dns64.message.endings import QueryCounters
from nat64d.dns64.message.wire import Message, read
from tests.dns64 import clock

TC = 0x02  # in the third octet


def query(name: str = "www.example.", number: int = 7) -> bytes:
    """A query; names below "kept." have a cached answer."""
    return dns.message.make_query(name, "AAAA", id=number).to_wire()


class Resolver:
    """Answers after `seconds`, or at once from its cache, with the octets of the query. It takes the process `work`
    seconds to resolve a name, half of it when upstream servers have answered, and `glance` seconds to read a query."""

    work = glance = 0.0

    def __init__(self, seconds: float) -> None:
        self.counters, self.seconds = QueryCounters(), seconds

    def at_once(self, octets: bytes, _client: str) -> tuple[bytes | None, Message | None, int]:
        clock.skip(self.glance)
        if b"\4kept" in octets:
            return octets, None, 0
        return None, read(octets), 0

    def by_tcp(self, octets: bytes, _client: str) -> bytes:
        return octets[:2] + bytes([octets[2] | TC]) + octets[3:]

    async def resolve(self, query: Message, _number: int) -> bytes:
        clock.skip(self.work / 2)
        await asyncio.sleep(self.seconds)
        clock.skip(self.work / 2)
        return query.id.to_bytes(2, "big") + bytes(10)


class Socket:
    """A UDP socket: what came and was not read yet, and what was answered to whom. A datagram takes `work` seconds."""

    work = 0.0

    def __init__(self) -> None:
        self.came: deque[tuple[bytes, tuple[str, int]]] = deque()
        self.answered: Counter[str] = Counter()
        self.cut: Counter[str] = Counter()

    def recvfrom(self, _size: int) -> tuple[bytes, tuple[str, int]]:
        if not self.came:
            raise BlockingIOError
        clock.skip(self.work)
        return self.came.popleft()

    def sendto(self, octets: bytes, peer: tuple[str, int]) -> None:
        clock.skip(self.work)
        (self.cut if octets[2] & TC else self.answered)[peer[0]] += 1


LITTLE, TURN = 0.0001, 0.01  # seconds


class Pipe(asyncio.Transport):
    """The transport of a connection."""

    def __init__(self, server: "Server", client: str) -> None:
        super().__init__({"peername": (client, 1)})
        self.sent: list[bytes] = []
        self.is_open, self.unread = True, 0
        self.protocol = Connection(server.desk.connections, server.listener._connections)
        self.protocol.connection_made(self)

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return not self.is_open

    def pause_reading(self) -> None:
        pass

    def abort(self) -> None:
        if self.is_open:
            self.is_open = False
            self.protocol.connection_lost(None)

    close = abort

    def ask(self, octets: bytes) -> None:
        """Send a query."""
        self.protocol.data_received(len(octets).to_bytes(2, "big") + octets)


class Server:
    """A listener, and its resolver and socket."""

    def __init__(self, seconds: float, rate: int) -> None:
        self.resolver, self.socket = Resolver(seconds), Socket()
        self.counts = self.resolver.counters.counts
        self.desk = Desk(self.resolver, Rates(rate))  # type: ignore[arg-type]
        self.listener = Listener(self.desk)
        self.listener._udp = self.socket  # type: ignore[assignment]

    def slow_down(self, name: float, datagram: float) -> None:
        """Let time pass while names are resolved, and while datagrams are read, understood and sent."""
        self.resolver.work, self.resolver.glance, self.socket.work = name, datagram, datagram

    def send(self, client: str, octets: bytes, count: int = 1) -> None:
        """Datagrams arrive."""
        self.socket.came.extend([(octets, (client, 53))] * count)

    def connect(self, client: str) -> Pipe:
        """A connection arrives, a little later than what came before; it may be closed at once."""
        clock.skip(LITTLE)
        return Pipe(self, client)

    async def turn(self) -> None:
        """One turn of the event loop, which reads the socket once; it takes a while."""
        clock.skip(TURN)
        self.listener._drain()
        await asyncio.sleep(0)


def served(body: Callable[[Server], Awaitable[None]], *, seconds: float = 0.01, rate: int = 0) -> None:
    """Run `body` with a server."""

    async def inside() -> None:
        server = Server(seconds, rate)
        await body(server)
        for one in list(server.desk.connections.open):
            one.abort()
        server.listener._udp = None
        await server.listener.close()

    clock.run(inside())
