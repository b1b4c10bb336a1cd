"""The client-facing sockets: UDP, read in batches, and TCP."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from nat64d.dns64.clients.accounts import Account, account
from nat64d.dns64.clients.batch import in_turn
from nat64d.dns64.clients.connections import Connection, Connections
from nat64d.dns64.clients.opened import Opened, taken
from nat64d.dns64.clients.rates import Rates
from nat64d.dns64.clients.turns import Turns
from nat64d.dns64.message.endings import Ending
from nat64d.dns64.message.wire import Message, write
from nat64d.dns64.resolver import Resolver
from nat64d.dns64.rules.queries import UDP_WITHOUT_EDNS, cut_short, fit

# LIMITS
READ = 256  # datagrams read in one go
BEHIND = 2  # times in a row that more than READ are waiting, until some are dropped
STEPS = 3  # times that what is read in one go is doubled, and what is dealt with is halved
# Answers in one go to clients that are over their shares, while more than READ are waiting or the queue is full; and
# queries of clients with most in a full queue that are looked at in one go.
SPARED = 4
RECEIVE_OCTETS = 1 << 21  # octets of the socket buffer; without CAP_NET_ADMIN net.core.rmem_max bounds it
QUERY_OCTETS = 4096  # octets of a query; a longer one arrives truncated

# SPEC: ip(7), ipv6(7), socket(7)
SO_RCVBUFFORCE = 33
IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)
_ancillary = socket.CMSG_SPACE(20)
_link_local = b"\xfe\x80"

Ancillary = tuple[int, int, bytes]
Peer = tuple[Any, ...]  # as recvfrom() gives it
Path = tuple[Peer, Ancillary | None]  # where a reply goes, and from which local address
Arrived = tuple[Account, tuple[bytes, Path]]


class Desk:
    """What the addresses that a process listens on have in common: the shares of clients."""

    def __init__(self, resolver: Resolver, rates: Rates) -> None:
        self.resolver, self.rates, self.turns = resolver, rates, Turns()
        self.connections = Connections(resolver, rates, self.turns)


class Listener:
    """Listens on one transport address by UDP and TCP."""

    def __init__(self, desk: Desk, shared: bool = False) -> None:
        """`shared`: other processes listen on the same address (SO_REUSEPORT)."""
        self._desk, self._resolver, self._shared = desk, desk.resolver, shared
        self._connections: set[Connection] = set()
        self._udp: socket.socket | None = None
        self._tcp: asyncio.Server | None = None
        self._everywhere = False
        self._behind = 0  # times in a row that datagrams were left in the socket
        self._running: set[asyncio.Task[None]] = set()

    async def listen(self, address: IPv4Address | IPv6Address, port: int, there: Opened | None = None) -> None:
        """Open the sockets, or listen on those that are `there`. Raises OSError if the address or port cannot be
        used."""
        six = address.version == 6
        family = socket.AF_INET6 if six else socket.AF_INET
        self._everywhere = address.is_unspecified
        self._udp = udp = taken(there.udp) if there else socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        loop = asyncio.get_running_loop()
        try:
            if six:
                udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                udp.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            _enlarge(udp)
            if there:
                self._tcp = await loop.create_server(self._connection, sock=taken(there.tcp))
            else:
                self._bind(udp, address, port)
                self._tcp = await loop.create_server(
                    self._connection, str(address), udp.getsockname()[1], reuse_port=self._shared
                )
        except OSError:
            udp.close()
            raise
        loop.add_reader(udp, self._drain)

    def _bind(self, udp: socket.socket, address: IPv4Address | IPv6Address, port: int) -> None:
        if address.version == 6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(self._shared))
        udp.bind((str(address), port))

    @property
    def port(self) -> int:
        """The port that was opened."""
        assert self._udp is not None
        return int(self._udp.getsockname()[1])

    async def close(self) -> None:
        """Close the sockets and cancel the queries that are being resolved."""
        if self._udp is not None:
            asyncio.get_running_loop().remove_reader(self._udp)
            self._udp.close()
            self._udp = None
        if self._tcp is not None:
            self._tcp.close()
        for one in list(self._connections):
            one.abort()
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _connection(self) -> Connection:
        """A protocol object for a connection that is being accepted."""
        return Connection(self._desk.connections, self._connections)

    def _drain(self) -> None:
        """Read datagrams and answer what can be answered at once; the others wait for their turn.

        If this falls behind, which is when it leaves datagrams in the socket several times in a row, it reads more of
        them and deals with fewer, until it keeps up. It drops the others: those of the clients that sent most.
        """
        steps = max(self._behind - BEHIND, 0)
        came, over = self._read(asyncio.get_running_loop().time(), READ << steps)
        full = len(came) + len(over) == READ << steps
        self._behind = min(self._behind + 1, BEHIND + STEPS) if full else max(self._behind - 1, 0)
        if steps:
            came = in_turn(came)
            self._drop(Ending.OVERLOADED, came, READ >> steps)
        for who, (octets, path) in self._worth(came):
            self._take(who, octets, path)
        if self._behind or not self._desk.turns.has_room():
            self._drop(Ending.LIMITED, over, SPARED)
        for _, (octets, path) in over:
            self._spare(octets, path)
        self._desk.turns.go_on()

    def _worth(self, came: list[Arrived]) -> Iterator[Arrived]:
        """The datagrams, but for what would only push out other queries of the same client: all of that but a few is
        dropped before it costs more than to be read."""
        turns, spared = self._desk.turns, SPARED
        if turns.has_room(len(came)):
            yield from came
            return
        for who, datagram in came:
            if turns.is_greedy(who):
                spared -= 1
                if spared < 0:
                    self._resolver.counters.add(Ending.OVERLOADED)
                    continue
            yield who, datagram

    def _drop(self, ending: Ending, some: list[Arrived], kept: int) -> None:
        """Drop all but the first of some datagrams."""
        if len(some) > kept:
            self._resolver.counters.add(ending, len(some) - kept)
            del some[kept:]

    def _read(self, now: float, most: int) -> tuple[list[Arrived], list[Arrived]]:
        """Datagrams that are waiting: those within the shares of their clients, and the others."""
        came: list[Arrived] = []
        over: list[Arrived] = []
        rates = self._desk.rates
        for _ in range(most):
            try:
                octets, path = self._receive()
            except BlockingIOError:
                break
            except OSError:  # an ICMP error for an earlier reply
                continue
            who = account(path[0][0])
            mine = rates.turn_of(who, now)
            if mine is None:
                over.append((who, (octets, path)))
            else:
                came.append((mine, (octets, path)))
        return came, over

    def _take(self, who: Account, octets: bytes, path: Path) -> None:
        answer, query, number = self._resolver.at_once(octets, path[0][0])
        if answer is not None:
            self._send(answer, octets, path)
        elif query is not None:
            self._desk.turns.offer(who, _Query(self, query, number, octets, path))

    def _spare(self, octets: bytes, path: Path) -> None:
        """Send a client that is over its share to TCP, where no other client can use up its share. That answer is no
        larger than the query, so that it is of no use to an attacker who forges source addresses."""
        answer = self._resolver.by_tcp(octets, path[0][0])
        if answer is not None:
            self._send(answer, octets, path)

    def _receive(self) -> tuple[bytes, Path]:
        assert self._udp is not None
        if not self._everywhere:
            octets, source = self._udp.recvfrom(QUERY_OCTETS)
            return octets, (source, None)
        octets, ancillary, _, source = self._udp.recvmsg(QUERY_OCTETS, _ancillary)
        return octets, (source, ancillary[0] if ancillary else None)

    def begin(self, query: "_Query") -> asyncio.Task[None] | None:
        """Resolve and answer a query whose turn it is, if this has not been closed."""
        if self._udp is None:
            return None
        task = asyncio.get_running_loop().create_task(self._answer(query))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def refuse(self, query: "_Query") -> None:
        """Answer a query that is dropped with TC, if there is time: its client may ask again by TCP."""
        self._resolver.counters.add(Ending.OVERLOADED)
        if not self._behind:
            self._send(write(cut_short(query.query)), query.octets, query.path)

    async def _answer(self, query: "_Query") -> None:
        self._send(await self._resolver.resolve(query.query, query.number), query.octets, query.path)

    def _send(self, answer: bytes, query: bytes, path: Path) -> None:
        """Reply from the address that the query was sent to, also where this listens on all addresses."""
        if self._udp is None:
            return
        if len(answer) > UDP_WITHOUT_EDNS:
            answer = fit(answer, query)
        source, ancillary = path
        with contextlib.suppress(OSError):  # the client is gone, or the queue is full: it will ask again
            if ancillary is None:
                self._udp.sendto(answer, source)
            else:
                self._udp.sendmsg([answer], [_from(ancillary)], 0, source)


def _enlarge(udp: socket.socket) -> None:
    """Let more datagrams wait while this process waits for a CPU."""
    try:
        udp.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_OCTETS)
    except PermissionError:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_OCTETS)


class _Query:
    """One query by UDP, which waits for its turn."""

    __slots__ = ("_listener", "number", "octets", "path", "query")

    def __init__(self, listener: Listener, query: Message, number: int, octets: bytes, path: Path) -> None:
        self._listener, self.query, self.number, self.octets, self.path = listener, query, number, octets, path

    def begin(self) -> asyncio.Task[None] | None:
        return self._listener.begin(self)

    def refuse(self) -> None:
        self._listener.refuse(self)


@lru_cache(256)
def _from(ancillary: Ancillary) -> Ancillary:
    """The packet information for a reply, from that of the query: the same local address, and any interface unless the
    address is link-local."""
    level, kind, data = ancillary
    if kind == IP_PKTINFO and len(data) == 12:
        _, local, _ = struct.unpack("=i4s4s", data)
        return level, kind, struct.pack("=i4s4s", 0, local, bytes(4))
    if not data.startswith(_link_local) and len(data) == 20:
        return level, kind, data[:16] + bytes(4)
    return ancillary
