"""The connections of a listener: how many, how long they may be silent, and which gives way to a new one.

A client that connects and asks at once is always let in: for it, the connection closes that has waited longest without
a request, of the client that has most of them. aiohttp has no such limits.
"""

import asyncio
import logging
import resource
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from nat64d.control.faults import Fault, Faults
from nat64d.control.throttle import Throttle
from nat64d.host.descriptors import EXHAUSTED

# LIMITS
MOST, MOST_OF_ONE = 256, 64  # connections of the monitoring listener; of one client
SHARE = 8  # the listener gets at most one descriptor in SHARE, so that packets, control and files have the others
FEWEST = 4
QUEUE = 1024  # connections that wait in the kernel, at most
BATCH = 16  # accepted in one go: few, so that those of one go that ask are heard before they have to give way
REQUEST, IDLE, ANSWER = 5.0, 30.0, 30.0  # seconds
SUBSCRIBER = 64  # bits: an IPv6 client is this prefix
THIS_HOST = "this host"
NO_LOG = logging.getLogger("nat64d.api.access")
NO_LOG.disabled = True  # aiohttp writes no line a request


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a listener allows: `most` connections, `most_of_one` of them to one client, and the seconds for a first
    request, between an answer and the next request, and for the answer (None: any time)."""

    most: int
    most_of_one: int
    request: float = REQUEST
    idle: float = IDLE
    answer: float | None = ANSWER


def monitoring_bounds() -> Bounds:
    """The bounds of the monitoring listener under the limit of descriptors that this process has."""
    most = max(FEWEST, min(MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // SHARE))
    return Bounds(most, max(FEWEST // 2, min(MOST_OF_ONE, most // 2)))


def control_bounds() -> Bounds:
    """The bounds of the control socket, whose clients are root and its group: listings may take any time."""
    most = monitoring_bounds().most
    return Bounds(most, most, answer=None)


def client_of(peer: object) -> str:
    """Who connects, from a socket's peer name: an IPv4 address, an IPv6 /64, or THIS_HOST for loopback and unix
    sockets, which are for all local users together."""
    if not isinstance(peer, tuple):
        return THIS_HOST
    address = ip_address(peer[0].partition("%")[0])
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback:
        return THIS_HOST
    return str(address if address.version == 4 else ip_network((address, SUBSCRIBER), strict=False))


class Connections:
    """The open connections of one listener."""

    def __init__(self, bounds: Bounds, faults: Faults) -> None:
        self.bounds = bounds
        self.faults = faults
        self._of: dict[str, set[Connection]] = {}

    def admit(self, new: "Connection") -> bool:
        """Let a connection in, in the place of another one if there are too many; False: all are being answered."""
        own = self._of.get(new.client, set())
        if len(own) >= self.bounds.most_of_one:
            leaving = _longest_waiting(own)
        elif self._count() >= self.bounds.most:
            crowds = sorted(self._of.values(), key=len, reverse=True)
            leaving = next(filter(None, map(_longest_waiting, crowds)), None)
        else:
            leaving = new
        if leaving is None:
            self.faults.note(Fault.REFUSED, new.client)
            return False
        if leaving is not new:
            leaving.end(Fault.CROWDED)
            self.forget(leaving)
        self._of.setdefault(new.client, set()).add(new)
        return True

    def forget(self, gone: "Connection") -> None:
        """A connection is closed. May be called again."""
        own = self._of.get(gone.client, set())
        own.discard(gone)
        if not own:
            self._of.pop(gone.client, None)

    def _count(self) -> int:
        return sum(map(len, self._of.values()))


def _longest_waiting(connections: set["Connection"]) -> "Connection | None":
    """The one that may be closed: without a request so far rather than between two, and then for the longest time."""
    waiting = (connection for connection in connections if connection.waiting)
    return min(waiting, key=lambda connection: (connection.answered, connection.since), default=None)


class Connection(web.RequestHandler):
    """One connection of a listener; `marked` tells it when a request has arrived and when its answer is ready."""

    def __init__(self, server: web.Server, among: Connections, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, loop=loop, access_log=NO_LOG)
        self.client = THIS_HOST
        self.waiting = True  # for a request
        self.answered = False  # one at least
        self.since = loop.time()
        self._among = among
        self._clock = loop
        self._timer: asyncio.TimerHandle | None = None
        self._socket: asyncio.Transport | None = None  # None: refused, or gone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self.client = client_of(transport.get_extra_info("peername"))
        if not self._among.admit(self):
            transport.abort()
            return
        self._socket = transport
        super().connection_made(transport)
        self._limit(self._among.bounds.request, Fault.SILENT)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by asyncio."""
        self._limit(None, Fault.SILENT)
        if self._socket:
            self._socket = None
            self._among.forget(self)
            super().connection_lost(exc)

    def end(self, fault: Fault) -> None:
        """Close at once, whatever is still to be sent."""
        self._among.faults.note(fault, self.client)
        self.waiting = False
        if self._socket:
            self._socket.abort()

    def asked(self) -> None:
        """A request has arrived."""
        self.waiting = False
        self._limit(self._among.bounds.answer, Fault.UNREAD)

    def served(self) -> None:
        """Its answer is ready; the time for taking it and for the next request begins."""
        self.waiting, self.answered, self.since = True, True, self._clock.time()
        self._limit(self._among.bounds.idle, Fault.UNREAD)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP with a sentence; it is the client's fault, so the log gets no traceback."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        self._among.faults.note(Fault.MALFORMED, self.client)
        answer = web.json_response({"error": "this is not an HTTP request that nat64d understands"}, status=400)
        answer.force_close()
        return answer

    def _limit(self, seconds: float | None, fault: Fault) -> None:
        """End the connection in so many seconds, in place of what was to end it before."""
        if self._timer:
            self._timer.cancel()
        self._timer = self._clock.call_later(seconds, self._expired, fault) if seconds is not None else None

    def _expired(self, fault: Fault) -> None:
        if self._socket and fault is Fault.UNREAD and self.waiting and not self._socket.get_write_buffer_size():
            self._socket.abort()  # between two requests: no fault
            return
        self.end(fault)


@web.middleware
async def marked(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    """Tell the Connection of a request when it begins and ends; the outermost middleware."""
    connection = request.protocol
    assert isinstance(connection, Connection)
    connection.asked()
    try:
        answer: web.StreamResponse = await handler(request)
        return answer
    finally:
        connection.served()


class Site(web.BaseSite):
    """A listener with bounds: `where` are the arguments of asyncio's create_server that say where it listens."""

    def __init__(self, runner: web.AppRunner, connections: Connections, **where: Any) -> None:
        super().__init__(runner)
        self._connections = connections
        self._where = where

    @property
    def name(self) -> str:
        """What the log calls it."""
        return self._connections.faults.name

    async def start(self) -> None:
        """Listen; raises OSError, ValueError, OverflowError."""
        await super().start()
        server, loop = self._runner.server, asyncio.get_running_loop()
        assert server is not None
        self._server = await loop.create_server(
            lambda: Connection(server, self._connections, loop), backlog=BATCH, **self._where
        )
        for listening in self._server.sockets:
            with socket.fromfd(listening.fileno(), listening.family, listening.type) as same:
                same.listen(QUEUE)  # asyncio has one number for both

    async def stop(self) -> None:
        """Stop listening."""
        self._connections.faults.close()
        await super().stop()


def quiet_about_descriptors(log: logging.Logger) -> Callable[..., None]:
    """An exception handler for an event loop: a lack of descriptors or memory is a line, at most one in ten seconds,
    and not a traceback for each connection that cannot be accepted."""
    missed = Throttle()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in EXHAUSTED:
            loop.default_exception_handler(context)
            return
        missed.count += 1
        if due := missed.due(loop.time()):
            log.error(
                "Connections not accepted, %s (%d times): raise the limit of open files (LimitNOFILE=, ulimit -n)",
                (error.strerror or str(error)).lower(),
                due.times,
            )

    return handle
