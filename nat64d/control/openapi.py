"""The OpenAPI 3.1 document, generated from the routes of the API and the TypedDicts of its rows."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from aiohttp import web

from nat64d.control.filters import FILTERS

JSON, JSONL, TEXT, OCTETS = "application/json", "application/jsonl", "text/plain", "application/octet-stream"

Schema = dict[str, Any]
_ERROR: Schema = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
_FREE: dict[str, Schema] = {JSON: {"type": "object"}, TEXT: {"type": "string"}}
_ETAG: Schema = {"description": "The version of the rows of the source.", "schema": {"type": "string"}}
_IF_MATCH: Schema = {
    "name": "If-Match",
    "in": "header",
    "description": "Only if the source still has this version, its ETag, or * for any; else 412.",
    "schema": {"type": "string"},
}
_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


@dataclass(frozen=True, slots=True)
class Route:
    """One path of the API with one method: its handler and its description. GET changes nothing."""

    path: str
    summary: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    media: str = TEXT
    row: type | None = None  # TypedDict of the object, or of each line, in the response
    filters: tuple[str, ...] = ()
    public: bool = False  # also served on the monitoring listener
    body: str = ""  # description of the request body; "": there is none
    takes: type | None = None  # TypedDict of that body; None: octets
    method: str = "GET"
    versioned: bool = False  # it answers with an ETag, and a change takes If-Match

    @property
    def fields(self) -> tuple[str, ...]:
        """The names that the filter `fields` may have."""
        return tuple(self.row.__annotations__) if self.row and "fields" in self.filters else ()

    @property
    def operation(self) -> str:
        """Its name, which no other route has: `sessions`, `put_sources_api`."""
        words = self.path.removeprefix("/v1").replace("/", " ").partition(".")[0].split()
        return "_".join(words if self.method == "GET" else (self.method.lower(), *words))


def document(routes: Iterable[Route], version: str) -> Schema:
    """The OpenAPI document that describes these routes, as a JSON object."""
    routes, paths = list(routes), dict[str, Schema]()
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    shapes = {shape.__name__: schema(shape) for route in routes for shape in (route.row, route.takes) if shape}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nat64d",
            "version": version,
            "summary": "State, listings and explanations of a running nat64d.",
            "description": "application/jsonl is one JSON object per line; its schema is that of one line.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR} | shapes},
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
        if (named := arguments[0]) and get_origin(named) is Literal and arguments[1:] == (NoneType,):
            return {"type": ["string", "null"], "enum": [*get_args(named), None]}
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
    answer = _reference(route.row) if route.row else _FREE[route.media]
    parameters = [_parameter(name, route.fields) for name in route.filters]
    if route.versioned and route.method != "GET":
        parameters.append(_IF_MATCH)
    return {
        "summary": route.summary,
        "operationId": route.operation,
        **({"parameters": parameters} if parameters else {}),
        **({"requestBody": _body(route)} if route.body else {}),
        "responses": {
            "200": {
                "description": route.summary,
                **({"headers": {"ETag": _ETAG}} if route.versioned else {}),
                "content": {route.media: {"schema": answer}},
            },
            "default": {
                "description": "Refused, nothing is changed: 400 invalid filter, body or configuration, 409 not "
                "possible on this host or without a restart, 410 a cursor of tables that have been replaced, 412 not "
                "the version of If-Match, 413 too large a body, 429 another such request is running, 503 not ready.",
                "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }


def _parameter(name: str, fields: Iterable[str]) -> Schema:
    kind = FILTERS[name]
    about = {"name": name, "in": "query", "description": f"{kind.help} Expects {kind.expected}."}
    if name != "fields":
        return {**about, "schema": dict(kind.schema)}
    items = {"type": "array", "items": {"type": "string", "enum": list(fields)}, "minItems": 1, "uniqueItems": True}
    return {**about, "style": "form", "explode": False, "schema": items}


def _body(route: Route) -> Schema:
    media, shape = (OCTETS, {}) if route.takes is None else (JSON, _reference(route.takes))
    return {"description": route.body, "required": True, "content": {media: {"schema": shape}}}


def _reference(shape: type) -> Schema:
    return {"$ref": f"#/components/schemas/{shape.__name__}"}
