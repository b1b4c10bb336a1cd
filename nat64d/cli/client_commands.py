"""The commands that ask a running daemon, but for those that list or change something: listing_commands.py,
change_commands.py."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from nat64d.cli.asking import DaemonOption, JsonOption, SocketOption, asking, failure, show
from nat64d.control import output as text
from nat64d.exitcode import ExitCode
from nat64d.explain.packet_text import PacketError, packets
from nat64d.offline.capture import CaptureError

AN_AGE = 1e9  # seconds


def status(
    wait: Annotated[
        float | None,
        typer.Option("--wait", metavar="SECONDS", min=0, help="Wait until the daemon is ready; exit 3 if it is not."),
    ] = None,
    as_json: JsonOption = False,
    config: DaemonOption = None,
    socket: SocketOption = None,
) -> None:
    """Show the state and limits of the daemon, and what is wrong; exit 1 while it is not ready."""
    with asking(config, socket) as daemon:
        document = daemon.document("/v1/status") if wait is None else daemon.wait_until_ready(wait)
        show([json.dumps(document)] if as_json else text.status(document))
    if document["state"] != "ready":
        raise typer.Exit(ExitCode.WRONG)


def top(
    interval: Annotated[float, typer.Option("--interval", metavar="SECONDS", min=0.1, help="How often.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print what passes within one interval, and end.")] = False,
    as_json: JsonOption = False,
    config: DaemonOption = None,
    socket: SocketOption = None,
) -> None:
    """Show what passes now: rates, sessions, pools, verdicts, hosts, DNS64 and what is wrong; q ends it.

    Where there is no terminal it prints once.
    """
    from nat64d.cli import top as view  # noqa: PLC0415  rich

    with asking(config, socket) as daemon:
        if as_json and not once:
            view.stream(daemon, interval)
        elif once or not (sys.stdin.isatty() and sys.stdout.isatty()):
            view.once(daemon, interval, as_json)
        else:
            view.live(daemon, interval)


def events(
    follow: Annotated[bool, typer.Option("--follow", help="Go on with those that come, until Ctrl-C.")] = False,
    since: Annotated[int, typer.Option("--since", metavar="N", min=0, help="Only those after number N.")] = 0,
    as_json: JsonOption = False,
    config: DaemonOption = None,
    socket: SocketOption = None,
) -> None:
    """List what has happened: reloads and changes, conditions of the host, flushes, failures."""
    query, timeout = {"since": str(since)}, None
    if follow:
        query, timeout = {**query, "follow": "true"}, AN_AGE
    with asking(config, socket) as daemon:
        for block in daemon.blocks("/v1/events", query, timeout):
            lines = block.decode().splitlines()
            show(lines if as_json else map(text.happening, map(json.loads, lines)))


def explain_live(packet: str, as_json: bool, config: Path | None, socket: str | None) -> None:
    """Ask the daemon what would happen to a packet now; of a capture it gets the named packet only."""
    try:
        octets = packets(packet)[-1][1]
    except (PacketError, CaptureError) as error:
        raise failure(error, ExitCode.USAGE) from None
    with asking(config, socket) as daemon:
        document = daemon.posted("/v1/explain", octets)
        show(text.explanation_as_json(document) if as_json else text.explanation(document))
