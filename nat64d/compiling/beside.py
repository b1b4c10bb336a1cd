"""Other processes that compile at a first start: what this one does not need, or all of it while this one has other
work.

So whichever command comes first leaves nothing to compile for the next, and two processors share the work. They meet
in the compile cache; without one that can be written, each process compiles for itself alone.
"""

import functools
import hashlib
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from translator.jit import cache
from translator.jit.compile import COMPILED

INCOMPLETE = "Not all code is compiled, so the next start compiles again; to see why: nat64d compile"
ALONE = "--alone"  # argument of a process that was started so
HERE = Path(__file__).parent.parent
FOLDERS = (HERE / "dataplane", HERE / "offline")  # of this package: where there is code that is compiled


class Part(StrEnum):
    """What is compiled: code that is called from Python by one kind of command."""

    DAEMON = "daemon"
    OFFLINE = "offline"
    EVERYTHING = "everything"


def is_complete() -> bool:
    """Whether all parts have been compiled and kept, where nobody else can have said so."""
    if cache.distrust(cache.cache_directory()):
        return False
    try:
        return _installation() in _mark().read_text("ascii").split()
    except (OSError, ValueError):
        return False


def _mark() -> Path:
    """The file that has a word for each installation that found all compiled."""
    return cache.cache_directory() / "complete"


@functools.cache
def _installation() -> str:
    """What numba's cache tells this installation from another one with the same translator/ by: where its files are,
    and what the other folders with compiled code hold."""
    found = [str(cache.PACKAGE), *(f"{folder} {cache.digest_of(sorted(folder.glob('*.py')))}" for folder in FOLDERS)]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]


def _start(part: Part) -> subprocess.Popen[str]:
    """A process that compiles a part, and no other. It ends when this process does, however that comes: it watches its
    standard input. What it logs is its standard output."""
    command = [sys.executable, "-m", "nat64d.compiling.entries", part.value, ALONE]
    return subprocess.Popen(  # noqa: S603  it is this program
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


@contextmanager
def beside(log: logging.Logger, part: Part) -> Iterator[None]:
    """While one part is compiled here, have the others compiled by another process, and wait for it at the end.

    A failure of it is logged.
    """
    if not COMPILED or ALONE in sys.argv or part == Part.EVERYTHING or is_complete() or not cache.is_writable():
        yield
        return
    other = Part.OFFLINE if part == Part.DAEMON else Part.DAEMON
    with _start(other) as child:
        try:
            yield
            if child.wait() == 0:
                complete()
            else:
                log.warning(INCOMPLETE)
        finally:
            child.kill()


class Compilers:
    """Processes that compile all parts, while this one has other work."""

    def __init__(self) -> None:
        self.killed = False
        self._starting = threading.Lock()
        self._children: list[subprocess.Popen[str]] = []

    @property
    def used(self) -> bool:
        """Whether there are any."""
        return bool(self._children)

    def run(self, tell: Callable[[str], None]) -> None:
        """Start them, unless killed already, and wait for the daemon's part; what that one logs is told line by
        line."""
        with self._starting:
            if self.killed:
                return
            self._children = [_start(part) for part in (Part.DAEMON, Part.OFFLINE)]
        output = self._children[0].stdout
        assert output is not None
        for line in output:
            tell(line.rstrip("\n"))

    def wait(self) -> bool:
        """Wait for all; whether all parts are compiled and kept."""
        return self.used and [child.wait() for child in self._children] == [0] * len(self._children)

    def kill(self) -> None:
        """End them, whatever they do, and start none."""
        with self._starting:
            self.killed = True
        for child in self._children:
            child.kill()
            child.wait()


def complete() -> None:
    """All parts are compiled; said where later starts see it."""
    if cache.is_writable() and not is_complete():
        with _mark().open("a", encoding="ascii") as mark:
            mark.write(f"{_installation()}\n")
