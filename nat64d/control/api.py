"""The daemon's HTTP interface: JSON on a unix socket, and a read-only listener for monitoring.

The two share nothing that a client of the listener could use up: each has connections (connections.py) and threads of
its own.

The table ROUTES defines what is served and is the source of the OpenAPI document; its listings are in listings.py.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web

from nat64d import __version__
from nat64d.control import rows as shapes
from nat64d.control import streaming
from nat64d.control.changes import OutdatedError
from nat64d.control.connections import Bounds, Connections, Site, control_bounds, marked, monitoring_bounds
from nat64d.control.event_stream import EVENTS_ROUTE
from nat64d.control.exposition import Exposition
from nat64d.control.faults import Fault, Faults
from nat64d.control.filters import FilterError, parse_filters
from nat64d.control.history import Recorder
from nat64d.control.hosts import NAME, Hosts, foreign_page
from nat64d.control.keys import FOLLOWING, GATEWAY, RECORDER, SHARED, THREADS, WHOLE, in_thread
from nat64d.control.listings import LISTINGS
from nat64d.control.openapi import JSON, TEXT, Route, document
from nat64d.control.page.routes import DATA, PAGE
from nat64d.control.rows import (
    BusyError,
    ExplanationError,
    Gateway,
    GoneError,
    NoPacketError,
    NotReadyError,
    RefusedError,
    WrongConfigurationError,
)
from nat64d.control.shared import Shared
from nat64d.control.unixsocket import OWN_GROUP, Access, UnixSocket
from nat64d.control.writes import WRITES

SHUTDOWN = 0.5  # seconds a listing may continue after close()
MISDIRECTED = 421  # RFC 9110 section 15.5.20
# LIMITS
THREADS_OF_CONTROL = 8  # requests that the gateway works on at once; the monitoring listener has one thread

log = logging.getLogger("nat64d.api")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Server:
    """A running API server, as `serve` returns it."""

    socket: UnixSocket
    recorder: Recorder
    http: str = ""  # "host:port" of the monitoring listener, with the real port if 0 was asked for; "": there is none
    warnings: list[str] = field(default_factory=list)  # sentences for the operator, already logged
    runners: list[web.AppRunner] = field(default_factory=list)
    threads: list[ThreadPoolExecutor] = field(default_factory=list)  # where the handlers ask the gateway
    recording: "asyncio.Task[None] | None" = None

    async def close(self) -> None:
        """Stop serving, abort listings in progress, remove the socket file. May be called more than once."""
        self.socket.remove()
        if self.recording:
            self.recording.cancel()
        for runner in self.runners:
            await runner.cleanup()
        self.runners.clear()
        for threads in self.threads:
            threads.shutdown(wait=False, cancel_futures=True)
        self.threads.clear()
        self.socket.listening.close()


EXPOSITION = web.AppKey("EXPOSITION", Exposition)
SERVER = web.AppKey("SERVER", Server)
HOSTS = web.AppKey("HOSTS", Hosts)
FAULTS = web.AppKey("FAULTS", Faults)


async def _status(request: web.Request) -> web.StreamResponse:
    server = request.app[SERVER]
    status = dict(await in_thread(request, request.app[GATEWAY].status))
    warnings = [*status.pop("warnings"), *server.warnings]
    return web.json_response({**status, "http": server.http or None, "warnings": warnings})


async def _openapi(_: web.Request) -> web.StreamResponse:
    return web.json_response(document(ROUTES, __version__))


async def _healthz(_: web.Request) -> web.StreamResponse:
    return web.Response(text="ok\n")


async def _readyz(request: web.Request) -> web.StreamResponse:
    if not await in_thread(request, request.app[GATEWAY].ready):
        standing = (row for row in await in_thread(request, request.app[GATEWAY].conditions) if row["standing"])
        names = ", ".join(row["condition"] for row in standing if row["blocks"])
        raise NotReadyError(f"packets cannot pass: {names}" if names else "not ready yet")
    return web.Response(text="ready\n")


async def _metrics(request: web.Request) -> web.StreamResponse:
    exposition, accept = request.app[EXPOSITION], request.headers.get("Accept", "")
    answer = request.app[SHARED].answer(exposition.content_type(accept), partial(exposition.render, accept))
    body, content_type = await answer
    return web.Response(body=body, headers={"Content-Type": content_type})


async def _explain(request: web.Request) -> web.StreamResponse:
    body = await request.read()
    packet = body.decode("utf-8", "replace") if request.content_type == TEXT else body
    return web.json_response(await in_thread(request, request.app[GATEWAY].explain, packet))


ROUTES = (
    Route(
        "/v1/status", "State, limits, warnings of the daemon, and conditions of its host.", _status, JSON, shapes.Status
    ),
    *map(streaming.route, LISTINGS),
    Route(
        "/v1/explain",
        "What nat64d would do with a packet now, and why; nothing is changed.",
        _explain,
        JSON,
        shapes.Explanation,
        body="The octets of one IP packet; as text/plain, what `nat64d explain` takes but for files.",
        method="POST",
    ),
    EVENTS_ROUTE,
    *WRITES,
    *DATA,
    Route("/v1/openapi.json", "This document.", _openapi, JSON),
    Route("/metrics", "All counters and gauges, for Prometheus.", _metrics, public=True),
    Route("/healthz", "200 while the daemon runs.", _healthz, public=True),
    Route("/readyz", "200 while packets are translated and can pass, otherwise 503.", _readyz, public=True),
)


def _checked(route: Route) -> Handler:
    """The handler of a route, behind a check that the request has no parameter that it does not know."""

    async def handler(request: web.Request) -> web.StreamResponse:
        parse_filters(request.query.items(), route.filters, route.fields)
        return await route.handler(request)

    return handler


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into the same JSON object; once rows have been sent, aiohttp logs it and closes the connection
    instead."""
    try:
        return await handler(request)
    except (FilterError, NoPacketError, WrongConfigurationError) as error:
        status, sentence = 400, str(error)
    except RefusedError as error:
        status, sentence = 409, str(error)
    except GoneError as error:
        status, sentence = 410, str(error)
    except OutdatedError as error:
        status, sentence = 412, str(error)
    except BusyError as error:
        status, sentence = 429, str(error)
    except ExplanationError as error:
        status, sentence = 500, str(error)
    except NotReadyError as error:
        status, sentence = 503, str(error)
    except web.HTTPException as error:
        status, sentence = error.status, f"{request.method} {request.path}: {error.reason}"
    except Exception:
        if request.writer.output_size:
            raise
        log.exception("%s %s", request.method, request.path)
        status, sentence = 500, f"{request.method} {request.path}: internal error; see the log of the daemon"
    return web.json_response({"error": sentence}, status=status)


@web.middleware
async def _own_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what was asked of another name than this listener's, and what another site's page asks for."""
    version = request.version.major, request.version.minor
    names = request.headers.getall("Host", [])
    refusal = request.app[HOSTS].refusal(names, version) or foreign_page(names, request.headers.get("Origin"))
    if refusal is None:
        return await handler(request)
    if refusal[0] == MISDIRECTED:
        request.app[FAULTS].note(Fault.FOREIGN_HOST, request.remote or "this host")
    return web.json_response({"error": refusal[1]}, status=refusal[0])


@dataclass(frozen=True)
class _Listener:
    """What one of the two listeners has for itself; `hosts`: the names it answers to, `whole`: whether it has all
    routes."""

    faults: Faults
    bounds: Bounds
    threads: int
    hosts: Hosts
    whole: bool


async def _start(server: Server, gateway: Gateway, listener: _Listener, **where: Any) -> None:
    """Serve where asyncio's create_server is told to listen; `server.close` ends it. Raises OSError, ValueError,
    OverflowError."""
    app = web.Application(middlewares=[marked, _own_pages, _errors])
    threads = ThreadPoolExecutor(listener.threads, "api")
    server.threads.append(threads)
    app[GATEWAY], app[SERVER], app[THREADS], app[FAULTS] = gateway, server, threads, listener.faults
    app[FOLLOWING] = set()
    app[EXPOSITION], app[SHARED] = Exposition(gateway), Shared(threads)
    app[HOSTS], app[WHOLE], app[RECORDER] = listener.hosts, listener.whole, server.recorder
    routes = [route for route in (*ROUTES, *PAGE) if listener.whole or route.public]
    app.add_routes([web.route(route.method, route.path, _checked(route)) for route in routes])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN)
    server.runners.append(runner)
    await runner.setup()
    await Site(runner, Connections(listener.bounds, listener.faults), **where).start()


async def serve(
    gateway: Gateway, socket_path: str, http: str, hosts: Iterable[str] = (), access: Access = OWN_GROUP
) -> Server:
    """Serve the whole API on a unix socket, to those who have access, and, if `http` ("host:port") is not "", the
    public routes there; both to requests for their own names and `hosts`.

    Raises SocketError if the control socket cannot be opened: the gateway could not be operated, and another daemon may
    be running. A `http` address that is in use is only a warning, in the log and in the status: translating without
    metrics is better than not translating, and the scrape that fails tells the operator.
    """
    server = Server(await asyncio.to_thread(UnixSocket, socket_path, access), Recorder(gateway, asyncio.to_thread))
    loop = asyncio.get_running_loop()
    faults, names = Faults(f"[api] socket {socket_path}", log, loop), Hosts("", (NAME, *hosts))
    control = _Listener(faults, control_bounds(), THREADS_OF_CONTROL, names, whole=True)
    await _start(server, gateway, control, sock=server.socket.listening)
    server.recording = loop.create_task(server.recorder.run())
    if http:
        try:
            server.http = await _monitoring(server, gateway, http, hosts)
        except (OSError, ValueError, OverflowError) as error:
            server.warnings.append(f"[api] http = {http}: {_reason(error)}; no metrics until nat64d is restarted.")
            log.warning(server.warnings[-1])
    return server


async def _monitoring(server: Server, gateway: Gateway, http: str, hosts: Iterable[str]) -> str:
    """Serve the public routes at `http`; returns the address with the real port. Raises OSError, ValueError,
    OverflowError."""
    host, _, port = http.rpartition(":")
    address = host.strip("[]")
    faults = Faults(f"[api] http {http}", log, asyncio.get_running_loop())
    listener = _Listener(faults, monitoring_bounds(), 1, Hosts(address, hosts), whole=False)
    await _start(server, gateway, listener, host=address or None, port=int(port))
    return f"{host}:{server.runners[-1].addresses[0][1]}"


def _reason(error: Exception) -> str:
    """The text of an error of the operating system, without what asyncio adds."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number).lower() if number and number > 0 else str(error)
