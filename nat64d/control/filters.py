"""Which rows of a listing are asked for, and which of their fields: the same words in the API and on the command line.

The table FILTERS has each of them once: how its text is read, what errors and OpenAPI say of it, and the help of the
option.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Literal, get_args

# LIMITS
MOST_ROWS = 10**9  # that can be asked for
SHOWN = 80  # characters of a filter in a sentence

StateName = Literal[
    "V4_INIT", "V6_INIT", "ESTABLISHED", "V4_FIN_RCV", "V6_FIN_RCV", "V4_FIN_V6_FIN_RCV", "TRANS"
]  # RFC 6146 section 3.5.2.2
FLAG = "BOOLEAN"  # the metavar of those that are true or false
STATES: tuple[str, ...] = get_args(StateName)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which rows of a listing to return, and which of their fields; None means no restriction."""

    host: IPv4Network | IPv6Network | None = None  # at any end
    port: int | None = None  # at any end
    proto: str | None = None
    state: str | None = None
    host6: IPv6Network | None = None
    host4: IPv4Network | IPv6Network | None = None
    mapped4: IPv4Network | IPv6Network | None = None
    service: str | None = None  # its name
    fronts: tuple[tuple[int, int, int], ...] | None = None  # what it means: protocol, IPv4 address and port of each
    top: int | None = None
    limit: int | None = None
    cursor: tuple[str, int] | None = None  # rows after this one: which tables it is from, and its place there
    fields: tuple[str, ...] | None = None
    since: int | None = None
    follow: bool = False
    all: bool = False  # whether none of them is meant
    dry_run: bool = False


class FilterError(ValueError):
    """An invalid filter; its text is one line with the key, the value and what was expected."""


@dataclass(frozen=True, slots=True)
class FilterKind:
    """One filter: how its text is parsed, its description in error messages and in OpenAPI, and its option."""

    parse: Callable[[str], Any]
    expected: str
    schema: Mapping[str, Any]
    metavar: str
    help: str


_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_PREFIX4 = rf"({_OCTET}\.){{3}}{_OCTET}(/([12]?[0-9]|3[0-2]))?"
_PROTOCOL = "tcp|udp|icmp|[01]?[0-9]{1,2}|2[0-4][0-9]|25[0-5]"
_SERVICE = "[A-Za-z0-9][A-Za-z0-9._/-]{0,252}"
_CURSOR = "[0-9a-f]{8}-[0-9]{1,10}"


def _of_pattern(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^({pattern})$"}


def _protocol(text: str) -> str:
    if not re.fullmatch(_PROTOCOL, text, re.ASCII):
        raise ValueError
    return text


def _network(text: str) -> IPv4Network | IPv6Network:
    return _network6(text) if ":" in text else _network4(text)


def _network6(text: str) -> IPv6Network:
    if not re.fullmatch(r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?", text, re.ASCII):  # no zone, which no row has, and no mask
        raise ValueError
    return IPv6Network(text, strict=False)


def _network4(text: str) -> IPv4Network:
    if not re.fullmatch(_PREFIX4, text, re.ASCII):
        raise ValueError
    return IPv4Network(text, strict=False)


def _state(text: str) -> str:
    if text not in STATES:
        raise ValueError
    return text


def _service(text: str) -> str:
    if not re.fullmatch(_SERVICE, text, re.ASCII):
        raise ValueError
    return text


def _cursor(text: str) -> tuple[str, int]:
    if not re.fullmatch(_CURSOR, text, re.ASCII):
        raise ValueError
    tables, _, place = text.partition("-")
    return tables, int(place)


def _flag(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError
    return text == "true"


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    """What reads a whole number in digits; the function raises ValueError."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) <= len(str(highest))):
            raise ValueError
        if not lowest <= int(text) <= highest:
            raise ValueError
        return int(text)

    return read


def _number(lowest: int, highest: int, help_: str) -> FilterKind:
    schema = {"type": "integer", "minimum": lowest, "maximum": highest}
    return FilterKind(whole(lowest, highest), f"a whole number from {lowest} to {highest}", schema, "N", help_)


def _yes(help_: str) -> FilterKind:
    return FilterKind(_flag, "true or false", {"type": "boolean"}, FLAG, help_)


_EXPECTED, _EXPECTED6 = "an IPv4 or IPv6 address or prefix", "an IPv6 address or prefix"
_SCHEMA4, _SCHEMA6 = _of_pattern(_PREFIX4), {"type": "string", "format": "ipv6-prefix"}
_SCHEMA = {"anyOf": [_SCHEMA4, _SCHEMA6]}
FILTERS: Mapping[str, FilterKind] = {
    "host": FilterKind(
        _network,
        _EXPECTED,
        _SCHEMA,
        "PREFIX",
        "Only rows with this address, at any end.",
    ),
    "port": _number(0, 65535, "Only rows with this port, at any end."),
    "proto": FilterKind(
        _protocol,
        "tcp, udp, icmp or a number below 256",
        _of_pattern(_PROTOCOL),
        "tcp|udp|icmp|NUMBER",
        "Only this protocol.",
    ),
    "state": FilterKind(
        _state,
        f"one of {', '.join(STATES)}",
        {"type": "string", "enum": list(STATES)},
        "STATE",
        "Only sessions in this state.",
    ),
    "host6": FilterKind(_network6, _EXPECTED6, _SCHEMA6, "PREFIX", "Only these IPv6 hosts."),
    "host4": FilterKind(_network, _EXPECTED, _SCHEMA, "PREFIX", "Only with these hosts, IPv6 for IPv6 clients."),
    "mapped4": FilterKind(_network, _EXPECTED, _SCHEMA, "PREFIX", "Only these pool addresses, or those of services."),
    "service": FilterKind(
        _service, "the name of a [[service]]", _of_pattern(_SERVICE), "NAME", "Only what belongs to this [[service]]."
    ),
    "top": _number(1, MOST_ROWS, "Only the N with most sessions, those first."),
    "limit": _number(1, MOST_ROWS, "At most N rows."),
    "cursor": FilterKind(
        _cursor,
        "the cursor of a row",
        _of_pattern(_CURSOR),
        "CURSOR",
        "Only rows after the one that has this cursor.",
    ),
    "since": _number(0, MOST_ROWS, "Only what has happened after number N."),
    "follow": _yes("Whether to go on with what will happen."),
    "all": _yes("Whether all are meant, where no other filter is given."),
    "dry_run": _yes("Whether only to say what would change."),
    "fields": FilterKind(str, "names of fields", {}, "NAME,…", "Only these fields, in this order."),
}


def _shown(key: str, text: str) -> str:
    return shown(f"{key}={text}")


def shown(text: str) -> str:
    """What was given, in one line that is not too long."""
    given = "".join(letter if letter.isprintable() else "�" for letter in text[: SHOWN + 1])
    return given if len(given) <= SHOWN else given[: SHOWN - 1] + "…"


def _fields(key: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in known:
            raise FilterError(f"{_shown(key, text)}: no field {_shown(name, '')[:-1]}, expected {', '.join(known)}")
    if len(set(names)) < len(names):
        raise FilterError(f"{_shown(key, text)}: expected each field once")
    return names


def parse_filters(given: Iterable[tuple[str, str]], allowed: Sequence[str], known: Sequence[str] = ()) -> Filters:
    """Filters from (key, text) pairs; `known` are the fields of a row. Raises FilterError for the first key that is not
    allowed or given twice, the first text that is not valid, and filters that exclude each other."""
    values: dict[str, Any] = {}
    for key, text in given:
        if key not in allowed:
            raise FilterError(f"{_shown(key, text)}: unknown filter, expected {', '.join(allowed) or 'none'}")
        if key in values:
            raise FilterError(f"{_shown(key, text)}: given twice")
        if key == "fields":
            values[key] = _fields(key, text, known)
            continue
        try:
            values[key] = FILTERS[key].parse(text)
        except ValueError:
            raise FilterError(f"{_shown(key, text)}: expected {FILTERS[key].expected}") from None
    if "top" in values and "cursor" in values:
        raise FilterError("cursor: rows in the order of `top` have no place to go on from, expected one of the two")
    return Filters(**values)
