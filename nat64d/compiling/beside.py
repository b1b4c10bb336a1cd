"""The other half of a first start: a second process compiles, at the same time, what this one does not need.

So whichever command comes first leaves nothing to compile for the next, and two processors share the work. The two
meet in the compile cache; without one that can be written, each process compiles for itself alone.
"""

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from translator.jit import cache
from translator.jit.compile import COMPILED

ALONE = "--alone"  # argument of a process that was started so


class Part(StrEnum):
    """What is compiled: code that is called from Python by one kind of command."""

    DAEMON = "daemon"
    OFFLINE = "offline"
    EVERYTHING = "everything"


def is_complete() -> bool:
    """Whether all parts have been compiled and kept, where nobody else can have said so."""
    return not cache.distrust(cache.cache_directory()) and _mark().exists()


def _mark() -> Path:
    return cache.cache_directory() / "complete"


@contextmanager
def beside(log: logging.Logger, part: Part) -> Iterator[None]:
    """While one part is compiled here, have the others compiled by another process, and wait for it at the end.

    It ends when this process does, however that comes: it watches its standard input. A failure of it is logged, with
    the command that shows why.
    """
    if not COMPILED or ALONE in sys.argv or part == Part.EVERYTHING or is_complete() or not cache.is_writable():
        yield
        return
    other = Part.OFFLINE if part == Part.DAEMON else Part.DAEMON
    command = [sys.executable, "-m", "nat64d.compiling.entries", other.value, ALONE]
    with subprocess.Popen(  # noqa: S603  it is this program
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        try:
            yield
            if child.wait() == 0:
                complete()
            else:
                log.warning("Not all code is compiled; to see why: %s", " ".join(command))
        finally:
            child.kill()


def complete() -> None:
    """All parts are compiled; said where later starts see it."""
    if cache.is_writable():
        _mark().touch()
