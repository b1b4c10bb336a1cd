"""The listings: LISTINGS has all of them; routes (streaming.py), OpenAPI and commands follow from it.

Commands import this file: it has nothing that takes time to import.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from nat64d.control import rows as shapes
from nat64d.control.filters import Filters
from nat64d.control.rows import Gateway, Lines, Row

CHUNK = 1000  # rows encoded by a thread at a time
COMMON = ("limit", "fields")  # filters of every listing
PAGED = (*COMMON, "cursor")

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Listing:
    """One listing, at /v1/`name`: `lines` yields its rows as JSON Lines, some at a time, as the filters of the names
    `filters` say; each is a TypedDict of type `row`."""

    name: str
    summary: str
    row: type
    lines: Callable[[Gateway, Filters], Lines]
    filters: tuple[str, ...] = COMMON

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of a row."""
        return tuple(self.row.__annotations__)


def lines_of(rows: Iterable[Row], filters: Filters) -> Lines:
    """Rows as JSON Lines, without the fields that are not wanted."""
    wanted = islice(rows, filters.limit)
    if names := filters.fields:
        wanted = ({name: row[name] for name in names} for row in wanted)  # type: ignore[assignment]
    while chunk := "".join(f"{_encode(row)}\n" for row in islice(wanted, CHUNK)):
        yield chunk.encode()


def _rows(rows: Callable[[Gateway, Filters], Iterable[Row]]) -> Callable[[Gateway, Filters], Lines]:
    """The lines of a listing whose rows are few, and ready at once."""

    def lines(gateway: Gateway, filters: Filters) -> Lines:
        yield from lines_of(rows(gateway, filters), filters)

    return lines


ENDS = ("host", "port", "proto")
LISTINGS = (
    Listing(
        "counters",
        "Packets by direction and verdict, zeros included.",
        shapes.Counter,
        _rows(lambda gateway, _: gateway.counters()),
    ),
    Listing(
        "event-counts",
        "What is counted besides the verdicts of packets, zeros included.",
        shapes.Event,
        _rows(lambda gateway, _: gateway.events()),
    ),
    Listing(
        "conditions",
        "What may be wrong with the host, and how often it is, zeros included.",
        shapes.Condition,
        _rows(lambda gateway, _: gateway.conditions()),
    ),
    Listing(
        "sessions",
        "The open sessions.",
        shapes.Session,
        lambda gateway, filters: gateway.sessions(filters),
        (*ENDS, "state", "host6", "host4", "mapped4", "service", *PAGED),
    ),
    Listing(
        "bib",
        "The Binding Information Base.",
        shapes.Bib,
        lambda gateway, filters: gateway.bib(filters),
        (*ENDS, "host6", "mapped4", "service", *PAGED),
    ),
    Listing(
        "hosts",
        "The IPv6 hosts that have mappings.",
        shapes.Host,
        lambda gateway, filters: gateway.hosts(filters),
        ("host", "host6", "mapped4", "top", *PAGED),
    ),
    Listing(
        "blocks",
        "The blocks of ports that subscribers have ([limits] port_block).",
        shapes.Block,
        lambda gateway, filters: gateway.blocks(filters),
        ("host", "host6", "mapped4", *PAGED),
    ),
    Listing(
        "pools",
        "How much of each pool4 is in use.",
        shapes.Pool,
        _rows(lambda gateway, _: gateway.pools()),
    ),
    Listing(
        "mappings",
        "What is configured to be translated to what: [[eam]], [clat], [[forward]].",
        shapes.Mapped,
        _rows(lambda gateway, filters: gateway.mappings(filters)),
        (*ENDS, *COMMON),
    ),
    Listing(
        "services",
        "The endpoints of each [[service]], whether they serve, and how many sessions they have.",
        shapes.ServiceEndpoint,
        _rows(lambda gateway, filters: gateway.services(filters)),
        (*ENDS, "service", *COMMON),
    ),
    Listing(
        "services/summary",
        "Each [[service]]: how many of its endpoints are ready, its sessions, and what it was asked and refused.",
        shapes.ServiceSummary,
        _rows(lambda gateway, filters: gateway.service_summary(filters)),
        (*ENDS, "service", *COMMON),
    ),
    Listing(
        "dns64/queries",
        "DNS queries by outcome, zeros included; empty without [dns64].",
        shapes.Query,
        _rows(lambda gateway, _: shapes.queries(gateway.dns64())),
    ),
    Listing(
        "dns64/servers",
        "The upstream name servers of [dns64].",
        shapes.NameServer,
        _rows(lambda gateway, _: shapes.name_servers(gateway.dns64())),
    ),
)
BY_NAME = {listing.name: listing for listing in LISTINGS}
FLUSH_FILTERS = (*(name for name in BY_NAME["sessions"].filters if name not in PAGED), "all")
