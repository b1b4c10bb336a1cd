"""Serves the page, its scripts and the JSON that they ask for."""

from collections.abc import Awaitable, Callable
from functools import partial
from importlib.resources import files

from aiohttp import web

from nat64d.control.history import History
from nat64d.control.keys import GATEWAY, RECORDER, SHARED, WHOLE
from nat64d.control.openapi import JSON, Route
from nat64d.control.page.summary import Summary, summary

HTML, CSS, SCRIPT = "text/html", "text/css", "text/javascript"
# No script, style, font or picture from elsewhere, no frame, no form, and nothing kept: the page is always that of the
# daemon that answers.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
FILES = (
    ("/", "index.html", HTML),
    ("/page/page.css", "page.css", CSS),
    ("/page/icon.svg", "icon.svg", "image/svg+xml"),
    ("/page/page.js", "page.js", SCRIPT),
    ("/page/charts.js", "charts.js", SCRIPT),
    ("/page/listings.js", "listings.js", SCRIPT),
    ("/page/explain.js", "explain.js", SCRIPT),
)


def _file(name: str, media: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A handler that answers with a file of this folder."""
    body = files(__package__).joinpath(name).read_bytes()

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=media, charset="utf-8", headers=HEADERS)

    return handler


async def _summary(request: web.Request) -> web.StreamResponse:
    make = partial(summary, request.app[GATEWAY], request.app[WHOLE])
    return web.json_response(await request.app[SHARED].answer("summary", make), headers=HEADERS)


async def _history(request: web.Request) -> web.StreamResponse:
    return web.json_response(request.app[RECORDER].history(), headers=HEADERS)


PAGE = tuple(Route(path, f"The page: {name}.", _file(name, media), media, public=True) for path, name, media in FILES)
DATA = (
    Route("/page/summary.json", "What the page shows.", _summary, JSON, Summary, public=True),
    Route("/page/history.json", "Totals of the last hour.", _history, JSON, History, public=True),
)
