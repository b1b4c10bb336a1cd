"""The sockets of clients: UDP drained in batches, TCP with many questions a connection (RFC 7766)."""

import asyncio
import contextlib
import socket
import struct
from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from nat64d.dns64.resolver import Resolver, fit

# LIMITS
DRAIN = 64  # datagrams read in one go
RUNNING = 8192  # queries that wait for a server; more are dropped
CONNECTIONS = 256
IDLE = 10.0  # seconds a TCP client may be silent
QUESTIONS = 128  # of one TCP connection at a time
LARGEST = 65535
CLIENTS = 4096  # whose rates are remembered

# SPEC: ip(7), ipv6(7)
IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)
_ancillary = socket.CMSG_SPACE(20)


class Rates:
    """A token bucket a client, one second deep (of an IPv6 client: its /64)."""

    def __init__(self, rate: int) -> None:
        """`rate`: queries a second; 0: no limit."""
        self._rate = rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, client: str, now: float) -> bool:
        """Whether one more query is within the client's rate."""
        if not self._rate:
            return True
        key = _subscriber(client)
        tokens, since = self._buckets.pop(key, (float(self._rate), now))
        tokens = min(tokens + (now - since) * self._rate, float(self._rate))
        self._buckets[key] = (tokens - (tokens >= 1), now)
        if len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)
        return tokens >= 1


@lru_cache(CLIENTS)
def _subscriber(client: str) -> str:
    """The IPv4 address, or the /64 of an IPv6 one."""
    address = ip_address(client.partition("%")[0])
    return client if address.version == 4 else str(IPv6Address(int(address) >> 64 << 64))


class Server:
    """Listens at one transport address by UDP and TCP."""

    def __init__(self, resolver: Resolver, rates: Rates, shared: bool = False) -> None:
        """`shared`: other processes listen there too (SO_REUSEPORT)."""
        self._resolver, self._rates, self._shared = resolver, rates, shared
        self._udp: socket.socket | None = None
        self._tcp: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._connections = 0

    async def listen(self, address: IPv4Address | IPv6Address, port: int) -> None:
        """Raises OSError where the port is taken."""
        six = address.version == 6
        family = socket.AF_INET6 if six else socket.AF_INET
        self._udp = udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if six:
                udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                udp.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(self._shared))
            udp.bind((str(address), port))
            bound = udp.getsockname()[1]
            self._tcp = await asyncio.start_server(
                self._connected, str(address), bound, limit=LARGEST + 2, reuse_port=self._shared
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
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _drain(self) -> None:
        assert self._udp is not None
        now = asyncio.get_running_loop().time()
        for _ in range(DRAIN):
            try:
                octets, control, _, source = self._udp.recvmsg(LARGEST, _ancillary)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue
            client = source[0]
            if not self._rates.allows(client, now):
                self._resolver.counters.add("limited")
                continue
            answer, query, number = self._resolver.at_once(octets, client)
            if answer is not None:
                self._send(fit(answer, octets), control, source)
            elif query is not None and len(self._running) < RUNNING:
                self._run(self._answer(octets, query, number, control, source))
            elif query is not None:
                self._resolver.counters.add("overloaded")

    async def _answer(self, octets, query, number, control, source) -> None:  # type: ignore[no-untyped-def]
        self._send(fit(await self._resolver.resolve(query, number), octets), control, source)

    def _run(self, coroutine) -> None:  # type: ignore[no-untyped-def]
        task = asyncio.ensure_future(coroutine)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _send(self, answer: bytes, control: list[tuple[int, int, bytes]], source: tuple[str, int]) -> None:
        """From the address it was asked at, also where we listen at all of them."""
        assert self._udp is not None
        with contextlib.suppress(OSError):  # a client that went away, or a full queue: it asks again
            self._udp.sendmsg(
                [answer], [(level, kind, _reply_info(kind, data)) for level, kind, data in control], 0, source
            )

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = writer.get_extra_info("peername")[0]
        if self._connections >= CONNECTIONS:
            writer.close()
            return
        self._connections += 1
        waiting: set[asyncio.Task[None]] = set()
        try:
            while True:
                async with asyncio.timeout(IDLE):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    octets = await reader.readexactly(size)
                if len(waiting) >= QUESTIONS or not self._rates.allows(client, asyncio.get_running_loop().time()):
                    self._resolver.counters.add("limited")
                    break
                task = asyncio.ensure_future(self._answer_tcp(octets, client, writer))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
        except (OSError, EOFError, TimeoutError):
            pass
        finally:
            self._connections -= 1
            await asyncio.gather(*waiting, return_exceptions=True)
            writer.close()

    async def _answer_tcp(self, octets: bytes, client: str, writer: asyncio.StreamWriter) -> None:
        answer, query, number = self._resolver.at_once(octets, client)
        if answer is None and query is not None:
            answer = await self._resolver.resolve(query, number)
        if answer is not None:
            writer.write(len(answer).to_bytes(2, "big") + answer)


def listener_in(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    """Address and port of "[::]:53" or "127.0.0.1:53"."""
    host, _, port = text.rpartition(":")
    return ip_address(host.strip("[]")), int(port)


def _reply_info(kind: int, data: bytes) -> bytes:
    """The packet information of a reply: our address as it came, any interface."""
    if kind == IP_PKTINFO and len(data) == 12:
        _, local, _ = struct.unpack("=i4s4s", data)
        return struct.pack("=i4s4s", 0, local, bytes(4))
    return data
