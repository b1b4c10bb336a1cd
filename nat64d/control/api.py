"""The daemon's HTTP interface: JSON on a unix socket, and a read-only listener for monitoring.

One table, ROUTES, is what is served and what the OpenAPI document describes.  Listings are JSON Lines, written while a
thread advances the Gateway's iterator a thousand rows at a time: neither memory nor the event loop feels their length.
"""

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Generator, Iterable
from dataclasses import dataclass, field
from itertools import islice

from aiohttp import web

from nat64d import __version__
from nat64d.control import gateway as shapes
from nat64d.control.gateway import (
    BIB_FILTERS,
    SESSION_FILTERS,
    BusyError,
    ExplanationError,
    FilterError,
    Filters,
    Gateway,
    NotReadyError,
    Row,
    parse_filters,
)
from nat64d.control.metrics import Exposition
from nat64d.control.openapi import JSON, JSONL, Route, document
from nat64d.control.unixsocket import UnixSocket

CHUNK = 1000  # rows encoded by a thread at a time
SHUTDOWN = 0.5  # seconds a listing may go on after close()

log = logging.getLogger("nat64d.api")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass
class Server:
    """What `serve` started."""

    socket: UnixSocket
    http: str = ""  # where monitoring is answered, with the port the system gave for 0; "" = not
    warnings: list[str] = field(default_factory=list)  # sentences for the operator, already logged
    runners: list[web.AppRunner] = field(default_factory=list)

    async def close(self) -> None:
        """Stop answering, break off what is still being listed, remove the socket file.  May be called twice."""
        self.socket.remove()
        for runner in self.runners:
            await runner.cleanup()
        self.runners.clear()
        self.socket.listening.close()


GATEWAY = web.AppKey("GATEWAY", Gateway)
EXPOSITION = web.AppKey("EXPOSITION", Exposition)
SERVER = web.AppKey("SERVER", Server)


async def _status(request: web.Request) -> web.StreamResponse:
    server = request.app[SERVER]
    status = dict(await asyncio.to_thread(request.app[GATEWAY].status))
    warnings = [*status.pop("warnings"), *server.warnings]
    return web.json_response({**status, "http": server.http or None, "warnings": warnings})


async def _openapi(_: web.Request) -> web.StreamResponse:
    return web.json_response(document(ROUTES, __version__))


async def _healthz(_: web.Request) -> web.StreamResponse:
    return web.Response(text="ok\n")


async def _readyz(request: web.Request) -> web.StreamResponse:
    if not await asyncio.to_thread(request.app[GATEWAY].ready):
        raise NotReadyError("not ready yet")
    return web.Response(text="ready\n")


async def _metrics(request: web.Request) -> web.StreamResponse:
    accept = request.headers.get("Accept", "")
    body, content_type = await asyncio.to_thread(request.app[EXPOSITION].render, accept)
    return web.Response(body=body, headers={"Content-Type": content_type})


async def _explain(request: web.Request) -> web.StreamResponse:
    packet = await request.read()
    return web.json_response(await asyncio.to_thread(request.app[GATEWAY].explain, packet))


def _chunks(rows: Iterable[Row], limit: int | None) -> Generator[bytes, None, None]:
    wanted = islice(rows, limit)
    while chunk := "".join(f"{_encode(row)}\n" for row in islice(wanted, CHUNK)):
        yield chunk.encode()


def _listing(
    path: str,
    summary: str,
    row: type,
    rows: Callable[[Gateway, Filters], Iterable[Row]],
    allowed: tuple[str, ...] = (),
) -> Route:
    """The route that answers with these rows as JSON Lines."""

    async def handler(request: web.Request) -> web.StreamResponse:
        filters = parse_filters(request.query.items(), allowed)
        chunks = _chunks(await asyncio.to_thread(rows, request.app[GATEWAY], filters), filters.limit)
        chunk = await asyncio.to_thread(next, chunks, b"")  # before the headers are sent: it may still be a 503
        response = web.StreamResponse(headers={"Content-Type": JSONL})
        transport = request.transport
        await response.prepare(request)
        try:
            while chunk:
                await response.write(chunk)
                chunk = await asyncio.to_thread(next, chunks, b"")
            await response.write_eof()
        except ConnectionError:
            await asyncio.to_thread(chunks.close)  # the reader has left, as `head` does: so may the gateway's iterator
        except asyncio.CancelledError:
            if transport:  # the daemon stops, and cannot wait for a reader that does not read
                transport.abort()
            raise
        return response

    return Route(path, summary, handler, JSONL, row, allowed)


ROUTES = (
    Route("/v1/status", "The daemon at a glance.", _status, JSON, shapes.Status),
    _listing(
        "/v1/counters",
        "Packets by direction and verdict, zeros included.",
        shapes.Counter,
        lambda gateway, _: gateway.counters(),
    ),
    _listing(
        "/v1/events",
        "What happened beside the end of a packet, zeros included.",
        shapes.Event,
        lambda gateway, _: gateway.events(),
    ),
    _listing(
        "/v1/sessions",
        "The open sessions.",
        shapes.Session,
        lambda gateway, filters: gateway.sessions(filters),
        SESSION_FILTERS,
    ),
    _listing(
        "/v1/bib",
        "The Binding Information Base.",
        shapes.Bib,
        lambda gateway, filters: gateway.bib(filters),
        BIB_FILTERS,
    ),
    _listing("/v1/pools", "How much of each pool4 is in use.", shapes.Pool, lambda gateway, _: gateway.pools()),
    _listing(
        "/v1/dns64/queries",
        "DNS queries by how they ended, zeros included; nothing without [dns64].",
        shapes.Query,
        lambda gateway, _: shapes.queries(gateway.dns64()),
    ),
    _listing(
        "/v1/dns64/servers",
        "The name servers that [dns64] asks.",
        shapes.NameServer,
        lambda gateway, _: shapes.name_servers(gateway.dns64()),
    ),
    Route(
        "/v1/explain",
        "What would become of a packet now, and why; nothing is changed.",
        _explain,
        JSON,
        shapes.Explanation,
        body="The octets of one IP packet.",
    ),
    Route("/v1/openapi.json", "This document.", _openapi, JSON),
    Route("/metrics", "Everything counted, for Prometheus.", _metrics, public=True),
    Route("/healthz", "200 while the daemon answers at all.", _healthz, public=True),
    Route("/readyz", "200 while packets are translated, 503 before.", _readyz, public=True),
)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal is the same JSON object, unless rows are already on the way: then aiohttp logs why and hangs up."""
    try:
        return await handler(request)
    except FilterError as error:
        status, sentence = 400, str(error)
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
        status, sentence = 500, f"{request.method} {request.path}: a fault in the daemon; its log says more"
    return web.json_response({"error": sentence}, status=status)


async def _start(server: Server, gateway: Gateway, routes: Iterable[Route]) -> web.AppRunner:
    """A runner of these routes, closed with the server; it listens nowhere yet."""
    app = web.Application(middlewares=[_errors])
    app[GATEWAY], app[EXPOSITION], app[SERVER] = gateway, Exposition(gateway), server
    app.add_routes([web.route(route.method, route.path, route.handler) for route in routes])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN)
    server.runners.append(runner)
    await runner.setup()
    return runner


async def serve(gateway: Gateway, socket_path: str, http: str) -> Server:
    """Answer the whole API on a unix socket and, unless `http` ("host:port") is "", the public routes there.

    Raises SocketError when the control socket cannot be had: without it nobody could tell what the gateway does, and a
    second daemon may be running.  A taken http port is a warning, in the log and in the status: a gateway that
    translates unmeasured is worth more than one that does not start, and whoever scrapes it notices the failure.
    """
    server = Server(await asyncio.to_thread(UnixSocket, socket_path))
    await web.SockSite(await _start(server, gateway, ROUTES), server.socket.listening).start()
    if http:
        try:
            server.http = await _monitoring(server, gateway, http)
        except (OSError, ValueError, OverflowError) as error:
            server.warnings.append(f"[api] http = {http}: {_reason(error)}; running without metrics until restarted")
            log.warning(server.warnings[-1])
    return server


async def _monitoring(server: Server, gateway: Gateway, http: str) -> str:
    """Serve the public routes; the address as bound.  Raises OSError, ValueError or OverflowError."""
    host, _, port = http.rpartition(":")
    runner = await _start(server, gateway, (route for route in ROUTES if route.public))
    await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
    return f"{host}:{runner.addresses[0][1]}"


def _reason(error: Exception) -> str:
    """The system's own words; asyncio wraps them in its own."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number).lower() if number and number > 0 else str(error)
