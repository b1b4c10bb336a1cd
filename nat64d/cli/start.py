"""Where the command begins: `nat64d run` without what reads command lines, all others in app.py.

Packets wait while a service restarts, and that takes a twentieth of a second to import.
"""

import faulthandler
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nat64d.config import defaults
from nat64d.config.errors import ConfigError
from nat64d.exitcode import ExitCode

UNUSED = {"coverage", "yaml"}  # what numba imports if it happens to be installed, as with the tools of developers


def main() -> None:
    """The command `nat64d`; does not return."""
    match sys.argv[1:]:
        case ["run"]:
            sys.exit(run(None))
        case ["run", "-c", file]:
            sys.exit(run(Path(file)))
    from nat64d.cli.app import app  # noqa: PLC0415  typer

    app(prog_name="nat64d")


def run(config: Path | None) -> ExitCode:
    """The daemon, until it has stopped."""
    faulthandler.enable(2)  # where each thread was, should one crash, or systemd's watchdog end the daemon
    try:
        with imports():
            from nat64d.gateway import run as daemon  # noqa: PLC0415  numba

        return finished(daemon.main, defaults.config_file(config))
    except KeyboardInterrupt:  # before there is somebody to stop
        return ExitCode.INTERRUPTED


@contextmanager
def imports() -> Iterator[None]:
    """For what is large to import: it all stays, so the garbage collector is not to look through it meanwhile, which
    takes a sixth of a start, nor ever after. Nor is pydantic to look through all installed packages for plugins."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    gc.disable()
    absent = UNUSED - sys.modules.keys()
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
    gc.freeze()
    gc.enable()


def finished(main: Callable[..., ExitCode], *arguments: object) -> ExitCode:
    """Run a command to its exit code; mistakes in the configuration go to standard error, one a line."""
    try:
        return main(*arguments)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.USAGE
