"""The listings of sessions, BIB entries and hosts: records of the tables in, JSON Lines out, a slice at a time.

A record stays in its place as long as it lives, and a listing goes through the places in order. So a cursor is a place,
and whatever changes between two requests, who follows it sees everything that is there all the time, and nothing twice.
Other tables, after a restart or a reload, have other places: a cursor also says of which tables it is.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from typing import Any, NamedTuple

import numpy as np

from nat64d.config.words import PROTOCOLS, words
from nat64d.control.filters import Filters
from nat64d.control.rows import GoneError, Lines
from nat64d.gateway.handles import in_network6, text46
from nat64d.gateway.lines import Part, joined, seconds, text6, whole
from translator.session.tcp_state import State
from translator.tables.layout import BIB, BLOCK, HOST, OF_SERVICE, SESSION, records
from translator.tables.tables import BIBS, BLOCKS, HOSTS, SESSIONS, Tables, has_accounts

ACCOUNTS = ("packets_6to4", "octets_6to4", "packets_4to6", "octets_4to6")  # columns of Tables.accounts
SLICE = 1024  # records copied each time the lock is held


class Slice(NamedTuple):
    """Some records of a table."""

    rows: np.ndarray
    places: np.ndarray  # of each: int64[n]
    now: int  # milliseconds of the data plane's clock
    tables: str  # of which tables a cursor is
    of: Tables | None = None  # that have the addresses handles stand for

    def only(self, which: np.ndarray) -> "Slice":
        """Some of them: bool[n] or int64[m]."""
        return self._replace(rows=self.rows[which], places=self.places[which])


Column = Callable[[Slice], list[Part]]


@dataclass(frozen=True, slots=True)
class Listed:
    """A table of Tables that can be listed: its number, its name, its records, and the columns of a row."""

    kind: int
    name: str
    dtype: np.dtype
    columns: Mapping[str, Column]


def _number(key: str) -> Column:
    return lambda part: whole(part.rows[key])


def _address4(key: str) -> Column:
    return lambda part: text46(part.of, part.rows[key])


def _word(key: str, words_: list[str]) -> Column:
    table = np.array([word.encode() for word in words_])
    return lambda part: [table[part.rows[key]]]


def _host6(part: Slice) -> list[Part]:
    return text6(part.rows["host6_hi"], part.rows["host6_lo"])


def _account(column: int) -> Column:
    def cells(part: Slice) -> list[Part]:
        if part.of is None or not has_accounts(part.of):
            return [b"null"]
        return whole(part.of.accounts[part.places, column])

    return cells


def _cursor(part: Slice) -> list[Part]:
    return [b'"' + part.tables.encode() + b"-", *whole(part.places), b'"']


NAMES = {number: name for name, number in PROTOCOLS.items()}
_PROTOCOL = _word("protocol", [f'"{NAMES.get(number, number)}"' for number in range(256)])
_ENDS: Mapping[str, Column] = {
    "protocol": _PROTOCOL,
    "host6": _host6,
    "host6_port": _number("host6_port"),
    "mapped4": _address4("mapped4"),
    "mapped4_port": _number("mapped4_port"),
}
LISTED = {
    "sessions": Listed(
        SESSIONS,
        "sessions",
        SESSION,
        {
            **_ENDS,
            "host4": _address4("host4"),
            "host4_port": _number("host4_port"),
            "state": _word("state", [f'"{state.name}"' if state else "null" for state in State]),
            "expires_in": lambda part: seconds(part.rows["expires"] - part.now),
            **{name: _account(column) for column, name in enumerate(ACCOUNTS)},
            "cursor": _cursor,
        },
    ),
    "bib": Listed(
        BIBS,
        "bibs",
        BIB,
        {
            **_ENDS,
            "static": _word("static", ["false", "true", "true"]),
            "sessions": _number("sessions"),
            "cursor": _cursor,
        },
    ),
    "hosts": Listed(
        HOSTS,
        "hosts",
        HOST,
        {
            "host6": _host6,
            "mapped4": _address4("mapped4"),
            "sessions": _number("sessions"),
            "bib": _number("bibs"),
            **{name: _number(name) for name in ("tcp", "udp", "icmp", "other")},
            "cursor": _cursor,
        },
    ),
    "blocks": Listed(
        BLOCKS,
        "blocks",
        BLOCK,
        {
            "subscriber": _host6,
            "mapped4": _address4("mapped4"),
            "first_port": _number("first"),
            "last_port": _number("last"),
            "mappings": _number("ports"),
            "seconds": lambda part: seconds(part.now - part.rows["since"]),
            "cursor": _cursor,
        },
    ),
}


# Where the addresses of filters stand that may be handles.
_ENDS4: Mapping[str, tuple[str, ...]] = {
    "host": ("mapped4", "host4"),
    "mapped4": ("mapped4",),
    "host4": ("host4",),
}


def listed(
    name: str,
    tables: Tables,
    filters: Filters,
    copy_live: Callable[..., tuple[int, int, bool]],
    now: Callable[[], int],
    generation: str,
) -> Lines:
    """The rows of a listing that match the filters, as JSON Lines, some at a time; raises GoneError. `generation`:
    what cursors call these tables."""
    which = LISTED[name]
    if filters.cursor and filters.cursor[0] != generation:
        raise GoneError("cursor: its tables have been replaced, by a restart or a reload; begin again without a cursor")
    left, start = filters.limit, filters.cursor[1] + 1 if filters.cursor else 0
    parts = (part.only(wanted(part, filters)) for part in _slices(which, tables, start, copy_live, now, generation))
    for part in _top(parts, filters.top) if filters.top else parts:
        chosen = part if left is None else part.only(np.arange(min(left, len(part.rows))))
        if len(chosen.rows):
            yield _lines(chosen, which.columns, filters.fields)
        if left is not None:
            left -= len(chosen.rows)
            if not left:
                return


def _slices(
    which: Listed,
    tables: Tables,
    start: int,
    copy_live: Callable[..., tuple[int, int, bool]],
    now: Callable[[], int],
    generation: str,
) -> Iterator[Slice]:
    """Copies of the records in use, SLICE at a time."""
    rows, places, more = records(SLICE, which.dtype), np.empty(SLICE, np.int64), True
    source = getattr(tables, which.name)
    while more:
        start, count, more = copy_live(tables, which.kind, source, start, rows, places)
        yield Slice(rows[:count].view(np.ndarray), places[:count], now(), generation, tables)


def _top(parts: Iterator[Slice], count: int) -> Iterator[Slice]:
    """The rows with most sessions, those first, and of equals the one whose place is first; SLICE at a time."""
    kept: list[Slice] = []
    size = 0
    for part in parts:
        kept.append(part)
        size += len(part.rows)
        if size > 2 * count:
            kept = [_best(kept, count)]
            size = len(kept[0].rows)
    best = _best(kept, count)
    yield from (best.only(np.arange(at, min(at + SLICE, len(best.rows)))) for at in range(0, len(best.rows), SLICE))


def _best(parts: list[Slice], count: int) -> Slice:
    """So many of the rows with most sessions, in the order of `_top`; what is equal is in the order of the parts."""
    rows, places = (np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "places"))
    return parts[0]._replace(rows=rows, places=places).only(np.argsort(-rows["sessions"], kind="stable")[:count])


def _lines(part: Slice, columns: Mapping[str, Column], fields: tuple[str, ...] | None) -> bytes:
    parts: list[Part] = []
    for number, name in enumerate(fields or columns):
        parts += [f'{"," if number else "{"}"{name}":'.encode(), *columns[name](part)]
    return joined([*parts, b"}\n"], len(part.rows))


def wanted(part: Slice, filters: Filters) -> np.ndarray:
    """Which of n records match the filters, and are not over: bool[n]."""
    rows = part.rows
    wanted = rows["expires"] > part.now if "expires" in (rows.dtype.names or ()) else np.ones(len(rows), bool)
    for name, test in _TESTS.items():
        if (value := getattr(filters, name)) is not None:
            matches = test(rows, value)
            if isinstance(value, IPv6Network) and name in _ENDS4:
                for key in (one for one in _ENDS4[name] if one in (rows.dtype.names or ())):
                    matches = matches | in_network6(part.of, rows[key], value)
            wanted = wanted & matches
    return wanted


def _in_network(rows: np.ndarray, network: IPv4Network | IPv6Network, keys: tuple[str, ...]) -> np.ndarray:
    """Whether one of the addresses with these names is in the network."""
    if isinstance(network, IPv6Network):
        return np.zeros(len(rows), bool) if keys in (("mapped4",), ("host4",)) else _in_network6(rows, network)
    first, last = int(network[0]), int(network[-1])
    return _any(rows, keys, lambda addresses: (addresses >= first) & (addresses <= last))


def _in_network6(rows: np.ndarray, network: IPv6Network) -> np.ndarray:
    hi, lo = words(network[0])
    mask_hi, mask_lo = words(network.netmask)
    inside: np.ndarray = ((rows["host6_hi"] ^ hi) & mask_hi == 0) & ((rows["host6_lo"] ^ lo) & mask_lo == 0)
    return inside


def _any(rows: np.ndarray, keys: tuple[str, ...], test: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Whether one of those of these columns that there are passes the test: bool[n]."""
    found = [test(rows[key]) for key in keys if key in (rows.dtype.names or ())]
    either: np.ndarray = np.logical_or.reduce(found) if found else np.zeros(len(rows), bool)
    return either


def _of_fronts(rows: np.ndarray, fronts: tuple[tuple[int, int, int], ...]) -> np.ndarray:
    """Whether a session, or a BIB entry, is of a service with these transport addresses."""
    kind = rows["static" if "static" in (rows.dtype.names or ()) else "inbound"]
    ours = np.zeros(len(rows), bool)
    for protocol, address, port in fronts:
        ours |= (rows["protocol"] == protocol) & (rows["mapped4"] == address) & (rows["mapped4_port"] == port)
    of_service: np.ndarray = ours & (kind >= OF_SERVICE)
    return of_service


_TESTS: Mapping[str, Callable[[np.ndarray, Any], np.ndarray]] = {
    "proto": lambda rows, name: rows["protocol"] == (PROTOCOLS.get(str(name)) or int(str(name))),
    "state": lambda rows, name: rows["state"] == State[str(name)],
    "port": lambda rows, port: _any(
        rows, ("host6_port", "mapped4_port", "host4_port"), lambda ports: np.asarray(ports == port)
    ),
    "host": partial(_in_network, keys=_ENDS4["host"]),
    "host6": partial(_in_network, keys=()),
    "mapped4": partial(_in_network, keys=_ENDS4["mapped4"]),
    "host4": partial(_in_network, keys=_ENDS4["host4"]),
    "fronts": _of_fronts,
}
