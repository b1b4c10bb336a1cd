"""Listings over HTTP: JSON Lines that are made while they are sent.

A thread makes a slice of a listing at a time, and the next one when the reader has taken it: a long listing needs
little memory and does not block the event loop.
"""

import asyncio

from aiohttp import web

from nat64d.control.filters import parse_filters
from nat64d.control.keys import GATEWAY, in_thread
from nat64d.control.listings import Listing
from nat64d.control.openapi import JSONL, Route


def route(listing: Listing) -> Route:
    """The route that answers with a listing."""

    async def handler(request: web.Request) -> web.StreamResponse:
        filters = parse_filters(request.query.items(), listing.filters, listing.fields)
        chunks = listing.lines(request.app[GATEWAY], filters)
        chunk = await in_thread(request, next, chunks, b"")  # before the headers are sent: it may still be a 503
        response = web.StreamResponse(headers={"Content-Type": JSONL})
        transport = request.transport
        try:
            await response.prepare(request)
            while chunk:
                await response.write(chunk)
                chunk = await in_thread(request, next, chunks, b"")
            await response.write_eof()
        except ConnectionError:
            await in_thread(request, chunks.close)  # the reader closed the connection, as `head` does
        except asyncio.CancelledError:
            if transport:  # the daemon is stopping and does not wait for a slow reader
                transport.abort()
            raise
        return response

    return Route(f"/v1/{listing.name}", listing.summary, handler, JSONL, listing.row, listing.filters)
