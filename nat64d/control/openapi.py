"""The OpenAPI 3.1 document, made from the table the API is served from and from the TypedDicts of its rows."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from aiohttp import web

from nat64d.control.gateway import FILTERS

JSON, JSONL, TEXT, OCTETS = "application/json", "application/jsonl", "text/plain", "application/octet-stream"

Schema = dict[str, Any]
_ERROR: Schema = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
_FREE: dict[str, Schema] = {JSON: {"type": "object"}, TEXT: {"type": "string"}}
_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


@dataclass(frozen=True, slots=True)
class Route:
    """One path of the API: how it is answered, and all that is said about it.  Nothing of it changes the gateway: what
    takes no body is read (GET), what takes one is asked about it (POST)."""

    path: str
    summary: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    media: str = TEXT
    row: type | None = None  # TypedDict of the object, or of each line, that is answered
    filters: tuple[str, ...] = ()
    public: bool = False  # also on the monitoring listener
    body: str = ""  # what has to be posted; its media type is OCTETS

    @property
    def method(self) -> str:
        """How it is asked."""
        return "POST" if self.body else "GET"


def document(routes: Iterable[Route], version: str) -> Schema:
    """The OpenAPI document of these routes."""
    routes = list(routes)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nat64d",
            "version": version,
            "summary": "What a running nat64d can be asked.",
            "description": "application/jsonl is one JSON object a line; the schema given for it is that of a line.",
        },
        "paths": {route.path: {route.method.lower(): _operation(route)} for route in routes},
        "components": {
            "schemas": {"Error": _ERROR} | {route.row.__name__: schema(route.row) for route in routes if route.row}
        },
    }


def schema(shape: Any, description: str = "") -> Schema:
    """The JSON Schema of a TypedDict or of the type of one of its keys."""
    if get_origin(shape) is Annotated:
        inner, description = get_args(shape)
        return schema(inner, description)
    return _bare(shape) | ({"description": description} if description else {})


def _bare(shape: Any) -> Schema:
    origin, arguments = get_origin(shape), get_args(shape)
    if shape is Any:
        return {}
    if shape in _TYPES:
        return {"type": _TYPES[shape]}
    if origin in (Union, UnionType):
        if all(part in _TYPES for part in arguments):
            return {"type": [_TYPES[part] for part in arguments]}
        return {"anyOf": [schema(part) for part in arguments]}
    if origin is Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": schema(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema(arguments[1])}
    return {
        "type": "object",
        "description": shape.__doc__,
        "properties": {key: schema(part) for key, part in get_type_hints(shape, include_extras=True).items()},
        "required": sorted(shape.__required_keys__),
    }


def _operation(route: Route) -> Schema:
    answer = {"$ref": f"#/components/schemas/{route.row.__name__}"} if route.row else _FREE[route.media]
    parameters = [
        {"name": name, "in": "query", "description": FILTERS[name].expected, "schema": dict(FILTERS[name].schema)}
        for name in route.filters
    ]
    return {
        "summary": route.summary,
        "operationId": route.path.rpartition("/")[2].partition(".")[0],
        **({"parameters": parameters} if parameters else {}),
        **({"requestBody": _body(route.body)} if route.body else {}),
        "responses": {
            "200": {"description": route.summary, "content": {route.media: {"schema": answer}}},
            "default": {
                "description": "Why not: 400 a filter is not understood, 429 one at a time, 503 not ready yet.",
                "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }


def _body(description: str) -> Schema:
    return {"description": description, "required": True, "content": {OCTETS: {"schema": {}}}}
