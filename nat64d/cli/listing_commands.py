"""The commands that list what a running daemon has: a row of LISTS each, and `counters`, which is several listings.

Their options are the filters that the API has for the listing, with the same words.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from inspect import Parameter, Signature
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from nat64d.cli.asking import DaemonOption, JsonOption, SocketOption, asking, show
from nat64d.control import output as text
from nat64d.control.filters import FILTERS, FLAG, STATES, FilterError, parse_filters
from nat64d.control.listings import BY_NAME, Listing
from nat64d.control.rows import Row

if TYPE_CHECKING:
    from nat64d.control.client import Client


@dataclass(frozen=True, slots=True)
class List:
    """A command: which listing of the API it prints, the columns of its table, and its help."""

    listing: Listing
    columns: Sequence[text.Column]
    help: str


LISTS = {
    "sessions": List(BY_NAME["sessions"], text.SESSIONS, "List the open sessions."),
    "bib": List(BY_NAME["bib"], text.BIB, "List the BIB: IPv6 hosts and ports, and the pool4 ports they have."),
    "hosts": List(BY_NAME["hosts"], text.HOSTS, "List the IPv6 hosts that have mappings, and what each of them uses."),
    "blocks": List(BY_NAME["blocks"], text.BLOCKS, "List the blocks of ports that subscribers have, and since when."),
    "pools": List(BY_NAME["pools"], text.POOLS, "Show how many ports of each [[pool4]] are in use."),
    "mappings": List(
        BY_NAME["mappings"], text.MAPPINGS, "List what is configured to be translated to what, without a session."
    ),
    "services": List(BY_NAME["services"], text.SERVICES, ""),
    "dns64 servers": List(
        BY_NAME["dns64/servers"],
        text.NAME_SERVERS,
        "List the upstream name servers, with their answers, failures and delays.",
    ),
}
AT_A_GLANCE = List(
    BY_NAME["services/summary"],
    text.SERVICES_AT_A_GLANCE,
    """List the services: how many of their endpoints are ready, their sessions, and what came to them since the start.

    With --endpoints each endpoint, whether it serves, why not, and its sessions; with --json and --fields always so.
    """,
)
NO_MORE: Mapping[str, tuple[object, object]] = MappingProxyType({})
WORDS = {"proto": ("tcp", "udp", "icmp"), "state": STATES}  # what a shell completes


def _command(which: List) -> Callable[..., None]:
    """The command as typer wants it: a function whose signature has an option for each filter."""

    def command(as_json: bool, config: Path | None, socket: str | None, **given: str | None) -> None:
        _list(which, as_json, config, socket, given)

    return with_options(command, which.listing, which.listing.filters, which.help)


def _list(which: List, as_json: bool, config: Path | None, socket: str | None, given: Mapping[str, str | None]) -> None:
    filters = _filters(which.listing, given)
    fields = filters.get("fields")
    columns = text.fields(fields.split(",")) if fields else which.columns
    path = f"/v1/{which.listing.name}"
    with asking(config, socket) as daemon:
        if as_json:
            for block in daemon.blocks(path, filters):
                sys.stdout.buffer.write(block)
            sys.stdout.flush()
        else:
            show(text.table(columns, daemon.rows(path, filters)))


def _services(endpoints: bool, as_json: bool, config: Path | None, socket: str | None, **given: str | None) -> None:
    which = LISTS["services"] if endpoints or as_json or given["fields"] else AT_A_GLANCE
    _list(which, as_json, config, socket, given)


def with_options(
    command: Callable[..., None],
    listing: Listing,
    filters: Iterable[str],
    help_: str,
    more: Mapping[str, tuple[object, object]] = NO_MORE,
) -> Callable[..., None]:
    """The same function with a signature that has an option for each of these filters, those of every command, and
    more: annotations and defaults by name."""
    options = {name: _option(listing, name) for name in filters}
    own = {**more, "as_json": (JsonOption, False), "config": (DaemonOption, None), "socket": (SocketOption, None)}
    parameters = [
        *(Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=kind) for name, kind in options.items()),
        *(Parameter(name, Parameter.KEYWORD_ONLY, default=d, annotation=kind) for name, (kind, d) in own.items()),
    ]
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__doc__ = help_
    return command


def _option(listing: Listing, name: str) -> object:
    """A filter as an option; shells complete those of its values that have names."""
    kind = FILTERS[name]

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        if name != "fields":
            words = _names(ctx) if name == "service" else WORDS.get(name, ())
            return [word for word in words if word.startswith(incomplete)]
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{field}" for field in listing.fields if field.startswith(last)]

    if kind.metavar == FLAG:
        return Annotated[bool | None, typer.Option(f"--{name}", help=kind.help)]
    return Annotated[
        str | None,
        typer.Option(f"--{name}", metavar=kind.metavar, help=kind.help, autocompletion=complete),
    ]


def _names(ctx: typer.Context) -> list[str]:
    """The names of the services that the daemon has; none if it does not answer."""
    rows: set[str] = set()
    with suppress(typer.Exit, typer.BadParameter), asking(ctx.params.get("config"), ctx.params.get("socket")) as daemon:
        rows = {row["service"] for row in daemon.rows("/v1/services", {"fields": "service"}) if row["service"]}
    return sorted(rows)


def _filters(listing: Listing, given: Mapping[str, str | None]) -> dict[str, str]:
    """The filters that were given; a usage error if the daemon would not understand them."""
    filters = {name: value for name, value in given.items() if value is not None}
    try:
        parse_filters(filters.items(), listing.filters, listing.fields)
    except FilterError as error:
        raise typer.BadParameter(f"--{error}") from None
    return filters


EndpointsOption = Annotated[bool, typer.Option("--endpoints", help="Each endpoint, instead of each service.")]
COMMANDS = {name: _command(which) for name, which in LISTS.items() if which.help}
_of_endpoints = BY_NAME["services"]
COMMANDS["services"] = with_options(
    _services, _of_endpoints, _of_endpoints.filters, AT_A_GLANCE.help, {"endpoints": (EndpointsOption, False)}
)


@dataclass(frozen=True, slots=True)
class _Counted:
    """A listing of counts: the columns of its table, and which of its fields count."""

    path: str
    columns: Sequence[text.Column]
    counts: tuple[str, ...]


COUNTED = (
    _Counted("/v1/counters", text.COUNTERS, ("packets", "octets")),
    _Counted("/v1/dns64/queries", text.QUERIES, ("queries",)),
    _Counted("/v1/event-counts", text.EVENTS, ("count",)),
)


def counters(
    everything: Annotated[bool, typer.Option("--all", help="Also rows whose count is 0.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print what is counted from now on, per second, until interrupted.")
    ] = False,
    interval: Annotated[
        float, typer.Option("--interval", metavar="SECONDS", min=0.1, help="With --follow: how often.")
    ] = 1.0,
    times: Annotated[
        int | None, typer.Option("--times", metavar="N", min=1, help="With --follow: end after so many intervals.")
    ] = None,
    as_json: JsonOption = False,
    config: DaemonOption = None,
    socket: SocketOption = None,
) -> None:
    """Count packets by verdict, DNS queries by outcome, and other events."""
    with asking(config, socket) as daemon:
        if follow:
            _follow(daemon, interval, times, as_json)
            return
        tables = [(c, [row for row in daemon.rows(c.path, {}) if everything or row[c.counts[0]]]) for c in COUNTED]
        if as_json:
            show(json.dumps(row) for _, rows in tables for row in rows)
        else:
            lines = []
            for counted, rows in tables:
                if rows or counted.columns is not text.QUERIES:  # there may be no name server
                    lines += ["", *text.table(counted.columns, rows)]
            show(lines[1:])


def _follow(daemon: "Client", interval: float, times: int | None, as_json: bool) -> None:
    """Print rates after each interval, those that are not zero, until Ctrl-C."""
    before, then = _counts(daemon), time.monotonic()
    with suppress(KeyboardInterrupt):
        for _ in count() if times is None else range(times):
            time.sleep(interval)
            after, now = _counts(daemon), time.monotonic()
            rows = _rates(before, after, now - then)
            show(map(json.dumps, rows) if as_json else map(text.rate, rows))
            before, then = after, now


_Key = tuple[object, ...]


def _counts(daemon: "Client") -> dict[_Key, Row]:
    """Every row of COUNTED by what does not count in it."""
    return {
        (c.path, *(value for name, value in row.items() if name not in c.counts)): row
        for c in COUNTED
        for row in daemon.rows(c.path, {})
    }


def _rates(before: dict[_Key, Row], after: dict[_Key, Row], seconds: float) -> Iterator[Row]:
    """What was counted between the two, per second."""
    moment = {"time": round(time.time(), 3)}
    counts = [name for c in COUNTED for name in c.counts]
    for key, row in after.items():
        grown = {name: row[name] - before.get(key, {}).get(name, 0) for name in counts if name in row}
        if any(number > 0 for number in grown.values()):
            rates = {f"{name}_per_second": round(number / seconds, 1) for name, number in grown.items()}
            named = {name: value for name, value in row.items() if name not in {*counts, "help", "rfc"}}
            yield {**moment, **named, **rates}
