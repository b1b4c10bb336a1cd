"""The sockets of clients: UDP drained in batches, and TCP."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Coroutine
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from nat64d.dns64.connections import Connections
from nat64d.dns64.outcome import Outcome
from nat64d.dns64.queries import UDP_WITHOUT_EDNS, fit
from nat64d.dns64.rates import Rates
from nat64d.dns64.resolver import Resolver
from nat64d.dns64.wire import Message

# LIMITS
DRAIN = 64  # datagrams read in one go
RUNNING = 8192  # queries that wait for a server; more are dropped
LARGEST = 4096  # octets of a query; what is longer is read as cut off

# SPEC: ip(7), ipv6(7)
IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)
_ancillary = socket.CMSG_SPACE(20)
_link_local = b"\xfe\x80"

Ancillary = tuple[int, int, bytes]
Peer = tuple[Any, ...]  # as recvfrom() gives it
Path = tuple[Peer, Ancillary | None]  # where a reply goes, and from which address of ours


class Listener:
    """Listens at one transport address by UDP and TCP."""

    def __init__(self, resolver: Resolver, rates: Rates, shared: bool = False) -> None:
        """`shared`: other processes listen there too (SO_REUSEPORT)."""
        self._resolver, self._rates, self._shared = resolver, rates, shared
        self._connections = Connections(resolver, rates)
        self._udp: socket.socket | None = None
        self._tcp: asyncio.Server | None = None
        self._everywhere = False
        self._running: set[asyncio.Task[None]] = set()

    async def listen(self, address: IPv4Address | IPv6Address, port: int) -> None:
        """Raises OSError where the port is taken."""
        six = address.version == 6
        family = socket.AF_INET6 if six else socket.AF_INET
        self._everywhere = address.is_unspecified
        self._udp = udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if six:
                udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                udp.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(self._shared))
            udp.bind((str(address), port))
            self._tcp = await asyncio.get_running_loop().create_server(
                self._connections.new, str(address), udp.getsockname()[1], reuse_port=self._shared
            )
        except OSError:
            udp.close()
            raise
        asyncio.get_running_loop().add_reader(udp, self._drain)

    @property
    def port(self) -> int:
        """The port it listens at."""
        assert self._udp is not None
        return int(self._udp.getsockname()[1])

    async def close(self) -> None:
        """Stop listening; queries that wait are given up."""
        if self._udp is not None:
            asyncio.get_running_loop().remove_reader(self._udp)
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        self._connections.close()
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _drain(self) -> None:
        assert self._udp is not None
        now = asyncio.get_running_loop().time()
        for _ in range(DRAIN):
            try:
                octets, path = self._receive()
            except BlockingIOError:
                return
            except OSError:  # of an earlier reply: nobody is at home there
                continue
            client = path[0][0]
            if not self._rates.allows(client, now):
                self._resolver.counters.add(Outcome.LIMITED)
                continue
            answer, query, number = self._resolver.at_once(octets, client)
            if answer is not None:
                self._send(answer, octets, path)
            elif query is not None:
                self._run(self._answer(query, number, octets, path))

    def _receive(self) -> tuple[bytes, Path]:
        assert self._udp is not None
        if not self._everywhere:
            octets, source = self._udp.recvfrom(LARGEST)
            return octets, (source, None)
        octets, ancillary, _, source = self._udp.recvmsg(LARGEST, _ancillary)
        return octets, (source, ancillary[0] if ancillary else None)

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        if len(self._running) >= RUNNING:
            coroutine.close()
            self._resolver.counters.add(Outcome.OVERLOADED)
            return
        self._running.add(asyncio.get_running_loop().create_task(coroutine))

    async def _answer(self, query: Message, number: int, octets: bytes, path: Path) -> None:
        try:
            self._send(await self._resolver.resolve(query, number), octets, path)
        finally:
            task = asyncio.current_task()
            assert task is not None
            self._running.discard(task)

    def _send(self, answer: bytes, query: bytes, path: Path) -> None:
        """From the address that was asked, also where we listen at all of them."""
        assert self._udp is not None
        if len(answer) > UDP_WITHOUT_EDNS:
            answer = fit(answer, query)
        source, ancillary = path
        with contextlib.suppress(OSError):  # a client that went away, or a full queue: it asks again
            if ancillary is None:
                self._udp.sendto(answer, source)
            else:
                self._udp.sendmsg([answer], [_from(ancillary)], 0, source)


@lru_cache(256)
def _from(ancillary: Ancillary) -> Ancillary:
    """The packet information of a reply to a query with this one: our address as it came, any interface."""
    level, kind, data = ancillary
    if kind == IP_PKTINFO and len(data) == 12:
        _, local, _ = struct.unpack("=i4s4s", data)
        return level, kind, struct.pack("=i4s4s", 0, local, bytes(4))
    if not data.startswith(_link_local) and len(data) == 20:
        return level, kind, data[:16] + bytes(4)
    return ancillary
