"""`/v1/events`: what has happened, and with `follow` what happens from then on, an object a line."""

import asyncio
import json
import logging
from collections.abc import Iterable
from contextlib import suppress

from aiohttp import web

from nat64d.control.events import Events, Happening
from nat64d.control.filters import parse_filters
from nat64d.control.keys import FOLLOWING, GATEWAY
from nat64d.control.openapi import JSONL, Route
from nat64d.control.rows import BusyError

log = logging.getLogger("nat64d.api")

FILTERS = ("since", "limit", "follow")
LOOK = 1.0  # seconds between two looks whether the reader is still there
# LIMITS
FOLLOWERS = 16  # at once; each has a connection that does not give way to others
PATIENCE = 30.0  # seconds for a reader to take what it is sent


async def _events(request: web.Request) -> web.StreamResponse:
    filters, events = parse_filters(request.query.items(), FILTERS), request.app[GATEWAY].happened
    following, before = request.app[FOLLOWING], events.newest() if filters.follow else 0
    seen = before if filters.since is None else filters.since
    if not filters.follow:
        return web.Response(body=_lines(events.after(seen)[: filters.limit]), content_type=JSONL)
    if len(following) >= FOLLOWERS:
        raise BusyError(f"{FOLLOWERS} others follow the events already, and no more can")
    response = web.StreamResponse(headers={"Content-Type": JSONL})
    following.add(response)
    try:
        await _follow(request, response, events, seen, filters.limit)
    finally:
        following.remove(response)
    return response


async def _follow(
    request: web.Request, response: web.StreamResponse, events: Events, seen: int, limit: int | None
) -> None:
    """Send the events after one with this number as they come, until `limit` of them are sent or the reader is gone;
    one that does not read is cut off."""
    transport, left = request.transport, limit
    with events.woken() as wake:
        try:
            await response.prepare(request)
            while left != 0 and transport and not transport.is_closing():
                wake.clear()
                if rows := events.after(seen)[:left]:
                    seen, left = rows[-1]["number"], None if left is None else left - len(rows)
                    await asyncio.wait_for(response.write(_lines(rows)), PATIENCE)
                else:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(wake.wait(), LOOK)
            await response.write_eof()
        except ConnectionError:
            pass  # the reader has seen enough
        except (TimeoutError, asyncio.CancelledError) as error:  # it does not read; or the daemon stops
            if transport:
                transport.abort()
            if not isinstance(error, TimeoutError):
                raise
            sentence = "A reader of events has taken nothing for %g s and is cut off"
            log.warning(sentence, PATIENCE, extra={"event": "reader_cut_off"})


def _lines(rows: Iterable[Happening]) -> bytes:
    return "".join(f"{json.dumps(row, default=str)}\n" for row in rows).encode()


EVENTS_ROUTE = Route(
    "/v1/events",
    "What has happened to the daemon, the last thousand events after `since`; with `follow` those to come as well.",
    _events,
    JSONL,
    Happening,
    FILTERS,
)
