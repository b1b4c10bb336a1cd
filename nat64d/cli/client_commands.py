"""The commands that ask a running daemon.

Neither this file nor what it imports may import numba, numpy or pydantic: each command must answer within 0.2 s. HTTP
is imported when it is used, as this file is loaded for the other commands too.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nat64d.config import defaults
from nat64d.control import output as text
from nat64d.control.rows import BIB_FILTERS, HOST_FILTERS, SESSION_FILTERS, FilterError, parse_filters
from nat64d.exitcode import ExitCode
from nat64d.explain.packet_text import PacketError, packets
from nat64d.offline.capture import CaptureError

if TYPE_CHECKING:
    from nat64d.control.client import Client

ConfigOption = Annotated[Path | None, typer.Option("-c", metavar="FILE", help="Configuration file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON Lines: one object per line.")]
_ConfigOption = Annotated[
    Path | None,
    typer.Option("-c", metavar="FILE", exists=True, dir_okay=False, help="Configuration file that names the socket."),
]
SocketOption = Annotated[str | None, typer.Option("--socket", metavar="PATH", help="The daemon's control socket.")]
_ProtocolOption = Annotated[
    str | None, typer.Option("--protocol", metavar="tcp|udp|icmp|NUMBER", help="Only this protocol.")
]
_Host6Option = Annotated[str | None, typer.Option("--host6", metavar="PREFIX", help="Only these IPv6 hosts.")]
_Host4Option = Annotated[str | None, typer.Option("--host4", metavar="PREFIX", help="Only with these IPv4 hosts.")]
_Mapped4Option = Annotated[str | None, typer.Option("--mapped4", metavar="PREFIX", help="Only these pool addresses.")]
_LimitOption = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Print at most N rows.")]


def status(
    wait: Annotated[
        float | None,
        typer.Option("--wait", metavar="SECONDS", min=0, help="Wait until the daemon is ready; exit 3 if it is not."),
    ] = None,
    as_json: JsonOption = False,
    config: _ConfigOption = None,
    socket: SocketOption = None,
) -> None:
    """Show the state and limits of the daemon, and what is wrong; exit 1 while it is not ready."""
    with _asking(config, socket) as daemon:
        document = daemon.document("/v1/status") if wait is None else daemon.wait_until_ready(wait)
        _print([json.dumps(document)] if as_json else text.status(document))
    if document["state"] != "ready":
        raise typer.Exit(ExitCode.WRONG)


def counters(
    everything: Annotated[bool, typer.Option("--all", help="Also rows whose count is 0.")] = False,
    as_json: JsonOption = False,
    config: _ConfigOption = None,
    socket: SocketOption = None,
) -> None:
    """Count packets by verdict, DNS queries by outcome, and other events."""
    with _asking(config, socket) as daemon:
        packets = [row for row in daemon.rows("/v1/counters", {}) if everything or row["packets"]]
        queries = [row for row in daemon.rows("/v1/dns64/queries", {}) if everything or row["queries"]]
        events = [row for row in daemon.rows("/v1/events", {}) if everything or row["count"]]
        if as_json:
            _print(json.dumps(row) for row in (*packets, *queries, *events))
        else:
            tables = ((text.COUNTERS, packets), (text.QUERIES, queries), (text.EVENTS, events))
            lines = []
            for columns, rows in tables:
                if rows or columns is not text.QUERIES:  # there may be no name server
                    lines += ["", *text.table(columns, rows)]
            _print(lines[1:])


def sessions(
    protocol: _ProtocolOption = None,
    host6: _Host6Option = None,
    host4: _Host4Option = None,
    mapped4: _Mapped4Option = None,
    limit: _LimitOption = None,
    as_json: JsonOption = False,
    config: _ConfigOption = None,
    socket: SocketOption = None,
) -> None:
    """List the open sessions."""
    filters = _filters(SESSION_FILTERS, protocol=protocol, host6=host6, host4=host4, mapped4=mapped4, limit=limit)
    _list("/v1/sessions", filters, text.SESSIONS, as_json, config, socket)


def bib(
    protocol: _ProtocolOption = None,
    host6: _Host6Option = None,
    mapped4: _Mapped4Option = None,
    limit: _LimitOption = None,
    as_json: JsonOption = False,
    config: _ConfigOption = None,
    socket: SocketOption = None,
) -> None:
    """List the BIB: IPv6 hosts and ports, and the pool4 ports they have."""
    filters = _filters(BIB_FILTERS, protocol=protocol, host6=host6, mapped4=mapped4, limit=limit)
    _list("/v1/bib", filters, text.BIB, as_json, config, socket)


def hosts(
    host6: _Host6Option = None,
    top: Annotated[
        int | None, typer.Option("--top", metavar="N", min=1, help="Only the N with most sessions, those first.")
    ] = None,
    limit: _LimitOption = None,
    as_json: JsonOption = False,
    config: _ConfigOption = None,
    socket: SocketOption = None,
) -> None:
    """List the IPv6 hosts that have mappings, and what each of them uses."""
    _list("/v1/hosts", _filters(HOST_FILTERS, host6=host6, top=top, limit=limit), text.HOSTS, as_json, config, socket)


def pools(as_json: JsonOption = False, config: _ConfigOption = None, socket: SocketOption = None) -> None:
    """Show how many ports of each [[pool4]] are in use."""
    _list("/v1/pools", {}, text.POOLS, as_json, config, socket)


def servers(as_json: JsonOption = False, config: _ConfigOption = None, socket: SocketOption = None) -> None:
    """List the upstream name servers, with their answers, failures and delays."""
    _list("/v1/dns64/servers", {}, text.NAME_SERVERS, as_json, config, socket)


def reload(as_json: JsonOption = False, config: _ConfigOption = None, socket: SocketOption = None) -> None:
    """Let the daemon read its configuration again and change to it; print the difference.

    All or nothing. Exit 2 if there is a mistake in the configuration, 1 if it does not fit this host or takes a
    restart; then nothing has changed.
    """
    with _asking(config, socket) as daemon:
        document = daemon.posted("/v1/reload", b"")
        _print([json.dumps(document)] if as_json else text.reloaded(document))


def explain_live(packet: str, as_json: bool, config: Path | None, socket: str | None) -> None:
    """Ask the daemon what would happen to a packet now; of a capture it gets the named packet only."""
    try:
        octets = packets(packet)[-1][1]
    except (PacketError, CaptureError) as error:
        raise _failure(error, ExitCode.USAGE) from None
    with _asking(config, socket) as daemon:
        document = daemon.posted("/v1/explain", octets)
        _print(text.explanation_as_json(document) if as_json else text.explanation(document))


def _filters(allowed: Sequence[str], **given: str | int | None) -> dict[str, str]:
    """The filters that were given; a usage error if the daemon would not understand them."""
    filters = {name: str(value) for name, value in given.items() if value is not None}
    try:
        parse_filters(filters.items(), allowed)
    except FilterError as error:
        raise typer.BadParameter(f"--{error}") from None
    return filters


def _list(
    path: str,
    filters: dict[str, str],
    columns: Sequence[text.Column],
    as_json: bool,
    config: Path | None,
    socket: str | None,
) -> None:
    """Print the rows of a listing of the API as they arrive."""
    with _asking(config, socket) as daemon:
        if as_json:
            _print(line.decode() for line in daemon.lines(path, filters))
        else:
            _print(text.table(columns, daemon.rows(path, filters)))


def _print(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


@contextmanager
def _asking(config: Path | None, socket: str | None) -> Iterator["Client"]:
    """The daemon meant by -c or --socket. An error while it is asked becomes one sentence and an exit code."""
    from http import HTTPStatus  # noqa: PLC0415

    from nat64d.control.client import Client, DaemonUnreachableError, RequestRefusedError  # noqa: PLC0415  HTTP

    if config and socket:
        raise typer.BadParameter("-c and --socket both name a daemon; give only one of them")
    try:
        yield Client(socket or defaults.socket_path(config))
    except DaemonUnreachableError as error:
        raise _failure(error, ExitCode.UNREACHABLE) from None
    except RequestRefusedError as error:
        is_usage = error.status == HTTPStatus.BAD_REQUEST
        raise _failure(error, ExitCode.USAGE if is_usage else ExitCode.WRONG) from None
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush, at exit


def _failure(error: Exception, code: ExitCode) -> typer.Exit:
    sys.stdout.flush()
    for line in str(error).splitlines():
        typer.echo(f"nat64d: {line}", err=True)
    return typer.Exit(code)
