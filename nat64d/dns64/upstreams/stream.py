"""DNS over TCP (RFC 7766) and TLS (RFC 7858): many messages at a time over one connection, each behind its length."""

import asyncio
import socket
import ssl

from nat64d.dns64.upstreams.exchange import ExchangeError, Pending, Query, ServerAddress, StrayCounters, Waiter

# LIMITS
CONNECT = 3.0  # seconds for opening a connection, including the TLS handshake
RETRY_AFTER = 0.5  # seconds until an unreachable server is tried again
IDLE = 30.0  # seconds for which a connection without answers is kept
UNACKNOWLEDGED = 2000  # milliseconds until the kernel gives up a connection whose peer is gone (RFC 5482)


class Framed(asyncio.Protocol):
    """Splits a stream into messages (RFC 1035 section 4.2.2)."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._partial = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Pass on each message that is complete."""
        rest, at = self._partial, 0
        rest += data
        while len(rest) >= at + 2 and self.reading():
            end = at + 2 + (rest[at] << 8 | rest[at + 1])
            if end > len(rest):
                break
            self.received(bytes(rest[at + 2 : end]))
            at = end
        del rest[:at]

    def send(self, octets: bytes) -> None:
        """Send one message."""
        if self.transport is not None:
            self.transport.write(len(octets).to_bytes(2, "big") + octets)

    def reading(self) -> bool:
        """Whether further messages are wanted."""
        return self.transport is not None and not self.transport.is_closing()

    def received(self, octets: bytes) -> None:
        """Handle one message."""
        raise NotImplementedError


class _Connection(Framed):
    """One connection to a server."""

    def __init__(self, stream: "Stream") -> None:
        super().__init__()
        self.kept = False  # something has been answered over it
        self._stream = stream
        self._heard = 0.0
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED)
        self._heard = asyncio.get_running_loop().time()
        self._rest_awhile(IDLE)

    def received(self, octets: bytes) -> None:
        self.kept = True
        self._heard = asyncio.get_running_loop().time()
        self._stream.take(octets)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._stream.lost(self, reason_of(exc) if exc else "the server closed the connection")

    def _rest_awhile(self, seconds: float) -> None:
        self._idle = asyncio.get_running_loop().call_later(seconds, self._rested)

    def _rested(self) -> None:
        left = self._heard + IDLE - asyncio.get_running_loop().time()
        if left > 0:
            self._rest_awhile(left)
        elif self.transport is not None:
            self.transport.abort()


class Stream(Pending):
    """Questions over a connection that is opened when there are some."""

    exact = False  # a forger cannot inject answers here

    def __init__(self, server: ServerAddress, counters: StrayCounters, context: ssl.SSLContext | None = None) -> None:
        super().__init__(counters)
        self._server = server
        self._context = context or (_context() if server.tls else None)
        self._connection: _Connection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._trouble, self._again = "", 0.0  # why it was unreachable, and when to try again

    def ask(self, query: Query, waiter: Waiter) -> tuple[Pending, int]:
        """Send a question: (where it waits, its ID). Raises ExchangeError."""
        if self._trouble and asyncio.get_running_loop().time() < self._again:
            raise ExchangeError(self._trouble)
        number, octets = self.add(query, waiter)
        if self._connection is not None:
            self._connection.send(octets)
        else:
            self._call()
        return self, number

    def close(self) -> None:
        """Close the connection."""
        if self._opening is not None:
            self._opening.cancel()
        connection, self._connection = self._connection, None
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        self.fail("closed")

    def lost(self, connection: _Connection, reason: str) -> None:
        """A connection has ended. RFC 7766 section 6.2.4: its unanswered questions are repeated once over a new one, if
        the server had answered over it before."""
        if self._connection is not connection:
            return
        self._connection = None
        waiting, self.waiting = self.waiting, {}
        for number, asked in waiting.items():
            if connection.kept and not asked.again and asked.waiter.may_repeat():
                asked.again = True
                self.waiting[number] = asked
            else:
                asked.waiter.failed(reason)
        if self.waiting:
            self._call()

    def _call(self) -> None:
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        loop, name = asyncio.get_running_loop(), self._server.tls if self._context else None
        address = str(self._server.address), self._server.port
        try:
            async with asyncio.timeout(CONNECT):
                _, self._connection = await loop.create_connection(
                    lambda: _Connection(self), *address, ssl=self._context, server_hostname=name
                )
        except OSError as error:  # also TimeoutError and SSLError
            self._trouble, self._again = reason_of(error), loop.time() + RETRY_AFTER
            self.fail(self._trouble)
            return
        finally:
            self._opening = None
        self._trouble = ""
        for asked in list(self.waiting.values()):
            self._connection.send(asked.octets)


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["dot"])  # RFC 7858 registers it
    return context


def reason_of(error: Exception) -> str:
    """An error as a message for the operator."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or f"no connection within {CONNECT:g} s"
