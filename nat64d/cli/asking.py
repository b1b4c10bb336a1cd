"""What the commands that ask a running daemon share: their options, whom they ask, and how they fail.

Neither this file nor what it imports may import numba, numpy or pydantic: each command must answer within 0.2 s. HTTP
is imported when it is used, as this file is loaded for the other commands too.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nat64d.config import defaults
from nat64d.exitcode import ExitCode

if TYPE_CHECKING:
    from nat64d.control.client import Client

ConfigOption = Annotated[Path | None, typer.Option("-c", metavar="FILE", help="Configuration file.")]
DaemonOption = Annotated[
    Path | None,
    typer.Option("-c", metavar="FILE", exists=True, dir_okay=False, help="Configuration file that names the socket."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON Lines: one object per line.")]
SocketOption = Annotated[str | None, typer.Option("--socket", metavar="PATH", help="The daemon's control socket.")]


def show(lines: Iterable[str]) -> None:
    """Print lines as they come."""
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


@contextmanager
def asking(config: Path | None, socket: str | None) -> Iterator["Client"]:
    """The daemon meant by -c or --socket. An error while it is asked becomes one sentence and an exit code."""
    from http import HTTPStatus  # noqa: PLC0415

    from nat64d.control.client import Client, DaemonUnreachableError, RequestRefusedError  # noqa: PLC0415  HTTP

    if config and socket:
        raise typer.BadParameter("-c and --socket both name a daemon; give only one of them")
    try:
        yield Client(socket or defaults.socket_path(config))
    except DaemonUnreachableError as error:
        raise failure(error, ExitCode.UNREACHABLE) from None
    except RequestRefusedError as error:
        is_usage = error.status == HTTPStatus.BAD_REQUEST
        raise failure(error, ExitCode.USAGE if is_usage else ExitCode.WRONG) from None
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush, at exit


def failure(error: Exception, code: ExitCode) -> typer.Exit:
    """The exit of a command, after the sentences of an error."""
    sys.stdout.flush()
    for line in str(error).splitlines():
        typer.echo(f"nat64d: {line}", err=True)
    return typer.Exit(code)
