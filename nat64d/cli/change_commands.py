"""The commands that change a running daemon."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from nat64d.cli.asking import DaemonOption, JsonOption, SocketOption, asking, show
from nat64d.cli.listing_commands import with_options
from nat64d.control import output as text
from nat64d.control.listings import BY_NAME, FLUSH_FILTERS

# The values of a row, in this order; those that are lists are written with commas.
VALUES = {
    "eam": ("ipv4", "ipv6"),
    "forward": ("protocol", "ipv4", "ipv6"),
    "pool4": ("addresses", "ports", "protocols", "source"),
}
USAGE = "; ".join(" ".join((section, *map(str.upper, values))) for section, values in VALUES.items())

RowsArgument = Annotated[list[str], typer.Argument(metavar="SECTION VALUE...", help=USAGE)]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only print what would change.")]


def reload(as_json: JsonOption = False, config: DaemonOption = None, socket: SocketOption = None) -> None:
    """Let the daemon read its configuration again and change to it; print the difference.

    All or nothing. Exit 2 if there is a mistake in the configuration, 1 if it does not fit this host or takes a
    restart; then nothing has changed.
    """
    with asking(config, socket) as daemon:
        document = daemon.sent("POST", "/v1/reload")
        show([json.dumps(document)] if as_json else text.reloaded(document))


def set_(
    rows: RowsArgument,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config: DaemonOption = None,
    socket: SocketOption = None,
) -> None:
    """Add mappings, forwards and pools beside those of the configuration file, all or nothing; print the difference.

    A row takes the place of the one that was set for the same IPv4 address (and protocol, and port). It is kept over a
    reload and a restart of the daemon, not over one of the host. Exit 2 if there is a mistake in it, 1 if it does not
    fit this host or takes a restart; then nothing has changed.
    """
    _change("set", rows, dry_run, as_json, config, socket)


def unset(
    rows: RowsArgument,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config: DaemonOption = None,
    socket: SocketOption = None,
) -> None:
    """Remove what was set beside the configuration file, all or nothing; print the difference.

    The IPv6 side can be left out. Exit 2 if there is no such row; then nothing has changed.
    """
    _change("unset", rows, dry_run, as_json, config, socket)


def log(
    level: Annotated[str, typer.Argument(metavar="debug|info|warning|error")],
    as_json: JsonOption = False,
    config: DaemonOption = None,
    socket: SocketOption = None,
) -> None:
    """Let the daemon write its log from another level on, until [log] changes or it stops."""
    with asking(config, socket) as daemon:
        document = daemon.sent("PUT", "/v1/log", {"level": level})
        show([json.dumps(document) if as_json else f"{document['level']} (was {document['before']})"])


FLUSH = "End sessions: those that match the options, or with --all all; prints how many. Packets pass meanwhile."


def _flush(as_json: bool, config: Path | None, socket: str | None, **given: str | bool | None) -> None:
    filters = {name: "true" if value is True else str(value) for name, value in given.items() if value is not None}
    with asking(config, socket) as daemon:
        document = daemon.sent("DELETE", "/v1/sessions", query=filters)
        show([json.dumps(document) if as_json else f"Ended {document['ended']} sessions"])


flush = with_options(_flush, BY_NAME["sessions"], FLUSH_FILTERS, FLUSH)


def _change(
    verb: str, rows: Sequence[str], dry_run: bool, as_json: bool, config: Path | None, socket: str | None
) -> None:
    change, query = {verb: _rows(rows)}, {"dry_run": "true"} if dry_run else {}
    with asking(config, socket) as daemon:
        document = daemon.sent("POST", "/v1/changes", change, query)
        show([json.dumps(document)] if as_json else text.reloaded(document))


def _rows(words: Sequence[str]) -> dict[str, list[dict[str, str | list[str]]]]:
    """Rows of the API, by section, from words; the daemon judges the values."""
    rows: dict[str, list[dict[str, str | list[str]]]] = {}
    keys: Iterator[str] = iter(())
    for word in words:
        if word in VALUES:
            keys = iter(VALUES[word])
            rows.setdefault(word, []).append({})
            row = rows[word][-1]
        elif key := next(keys, None):
            row[key] = word.split(",") if key == "protocols" or (key == "protocol" and "," in word) else word
        else:
            raise typer.BadParameter(f"{word}: expected {USAGE}")
    return rows
