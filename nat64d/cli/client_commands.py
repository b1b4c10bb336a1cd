"""The commands that ask a running daemon, but for those that list or change something: listing_commands.py,
change_commands.py."""

import json
from pathlib import Path
from typing import Annotated

import typer

from nat64d.cli.asking import DaemonOption, JsonOption, SocketOption, asking, failure, show
from nat64d.control import output as text
from nat64d.exitcode import ExitCode
from nat64d.explain.packet_text import PacketError, packets
from nat64d.offline.capture import CaptureError


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


def explain_live(packet: str, as_json: bool, config: Path | None, socket: str | None) -> None:
    """Ask the daemon what would happen to a packet now; of a capture it gets the named packet only."""
    try:
        octets = packets(packet)[-1][1]
    except (PacketError, CaptureError) as error:
        raise failure(error, ExitCode.USAGE) from None
    with asking(config, socket) as daemon:
        document = daemon.posted("/v1/explain", octets)
        show(text.explanation_as_json(document) if as_json else text.explanation(document))
