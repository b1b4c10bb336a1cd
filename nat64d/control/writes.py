"""The requests that change something: their handlers, and their routes."""

import json
from collections.abc import Callable
from typing import Any, get_args

from aiohttp import web

from nat64d.control.changes import (
    API,
    SOURCES,
    Changed,
    ChangeSet,
    Flushed,
    Grace,
    Level,
    LogLevel,
    LogLevelChanged,
    Patch,
    Reloaded,
    Source,
    SourceRows,
    Wish,
)
from nat64d.control.filters import FilterError, parse_filters, shown
from nat64d.control.keys import GATEWAY, in_thread
from nat64d.control.listings import FLUSH_FILTERS
from nat64d.control.openapi import JSON, Route
from nat64d.control.rows import Row, WrongConfigurationError

DRY_RUN = ("dry_run",)
BODY = "request body"
LARGEST = 1 << 24  # LIMIT: octets of a body; 100,000 endpoints take half of it


async def _reload(request: web.Request) -> web.StreamResponse:
    return web.json_response(await in_thread(request, request.app[GATEWAY].reload))


async def _change(request: web.Request) -> web.StreamResponse:
    given = await _body(request)
    if unknown := [key for key in given if key not in ChangeSet.__optional_keys__]:
        raise WrongConfigurationError(f"{BODY}: {shown(unknown[0])}: unknown key, expected set or unset")
    return await _wish(request, Wish(API, given.get("set", {}), given.get("unset", {})))


async def _flush(request: web.Request) -> web.StreamResponse:
    if not (request.query.keys() - {"all"} or parse_filters(request.query.items(), FLUSH_FILTERS).all):
        raise FilterError(f"expected which sessions are to end: {', '.join(FLUSH_FILTERS[:-1])}; or all=true")
    filters = parse_filters(request.query.items(), FLUSH_FILTERS)
    return web.json_response(await in_thread(request, request.app[GATEWAY].flush, filters))


async def _grace(request: web.Request) -> web.StreamResponse:
    return web.json_response(await in_thread(request, request.app[GATEWAY].flush, None))


async def _log(request: web.Request) -> web.StreamResponse:
    given = await _body(request)
    if given.keys() != {"level"} or given["level"] not in get_args(Level):
        raise WrongConfigurationError(f'{BODY}: expected {{"level": …}}: {", ".join(get_args(Level))}')
    return web.json_response(await in_thread(request, request.app[GATEWAY].set_log_level, given["level"]))


async def _wish(request: web.Request, wish: Wish) -> web.StreamResponse:
    """Do what a client wants, for the version that it names and only if it is not a dry run."""
    filters = parse_filters(request.query.items(), DRY_RUN)
    match = request.headers.get("If-Match")
    wish = wish._replace(match=match and match.strip().strip('"'), dry_run=filters.dry_run)
    return _versioned(await in_thread(request, request.app[GATEWAY].change, wish))


def _versioned(answer: Row) -> web.StreamResponse:
    return web.json_response(answer, headers={"ETag": f'"{answer["version"]}"'})


def _replacing(source: str) -> Callable[[web.Request], Any]:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await _wish(request, Wish(source, await _body(request), {}, replaces=True))

    return handler


def _showing(source: str) -> Callable[[web.Request], Any]:
    async def handler(request: web.Request) -> web.StreamResponse:
        return _versioned(await in_thread(request, request.app[GATEWAY].said_by, source))

    return handler


def _patching(source: str) -> Callable[[web.Request], Any]:
    async def handler(request: web.Request) -> web.StreamResponse:
        given = await _body(request)
        if unknown := [key for key in given if key not in Patch.__optional_keys__]:
            raise WrongConfigurationError(
                f"{BODY}: {shown(unknown[0])}: unknown key, expected set, unset or generation"
            )
        generation = given.get("generation")
        if not isinstance(generation, str | None):
            raise WrongConfigurationError(f"{BODY}: generation: expected a version, as an answer has it")
        wish = Wish(source, given.get("set", {}), given.get("unset", {}), generation=generation)
        return await _wish(request, wish)

    return handler


async def _body(request: web.Request) -> dict[str, Any]:
    """The object in the body. Raises WrongConfigurationError."""
    given: dict[str, Any] = await in_thread(request, _object, await request.clone(client_max_size=LARGEST).read())
    return given


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise WrongConfigurationError(f"{BODY}: expected JSON: {error}") from None
    if not isinstance(given, dict):
        raise WrongConfigurationError(f"{BODY}: expected an object")
    return given


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, each of whose keys is there once."""
    given: dict[str, Any] = {}
    for key, value in pairs:
        if key in given:
            raise ValueError(f"{shown(key)} is there twice")
        given[key] = value
    return given


WRITES = (
    Route(
        "/v1/reload",
        "Read the configuration again and change to it, all or nothing; answers with the difference.",
        _reload,
        JSON,
        Reloaded,
        method="POST",
    ),
    Route(
        "/v1/changes",
        "Remove and add rows beside those of the file, all or nothing; answers with the difference.",
        _change,
        JSON,
        Changed,
        DRY_RUN,
        body="Rows that go and rows that come.",
        takes=ChangeSet,
        method="POST",
        versioned=True,
    ),
    *(
        Route(
            f"/v1/sources/{source}",
            f"The rows that {source} has beside those of the file, with their version as ETag.",
            _showing(source),
            JSON,
            Source,
            versioned=True,
        )
        for source in SOURCES
    ),
    *(
        Route(
            f"/v1/sources/{source}",
            f"Let {source} have these rows beside those of the file, and no others, all or nothing.",
            _replacing(source),
            JSON,
            Changed,
            DRY_RUN,
            body="All rows of the source.",
            takes=SourceRows,
            method="PUT",
            versioned=True,
        )
        for source in SOURCES
    ),
    *(
        Route(
            f"/v1/sources/{source}",
            f"Remove and add rows of {source}, all or nothing, if its version is still the generation; else 409.",
            _patching(source),
            JSON,
            Changed,
            DRY_RUN,
            body="Rows that go and rows that come.",
            takes=Patch,
            method="PATCH",
            versioned=True,
        )
        for source in SOURCES
    ),
    Route(
        "/v1/sessions",
        "End the sessions that match the filters; all of them only with all=true.",
        _flush,
        JSON,
        Flushed,
        FLUSH_FILTERS,
        method="DELETE",
    ),
    Route(
        "/v1/grace",
        "Answer TCP of no session with RST for [filtering] reset_unknown seconds, as after a start without sessions.",
        _grace,
        JSON,
        Grace,
        method="POST",
    ),
    Route(
        "/v1/log",
        "Write the log from another level on, until [log] changes or the daemon stops.",
        _log,
        JSON,
        LogLevelChanged,
        body="The level.",
        takes=LogLevel,
        method="PUT",
    ),
)
