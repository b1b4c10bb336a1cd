"""Where lines of the log of sessions go: the daemon's log, or a file of their own."""

import logging
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from nat64d.natlog import entries as of_entries
from nat64d.natlog import shortage as of_shortages
from nat64d.natlog.entries import Entry
from nat64d.natlog.place import Moment, Taken
from nat64d.natlog.shortage import Shortage

log = logging.getLogger("nat64d.sessions")


class DaemonLog:
    """The daemon's log: each entry is a record of level INFO, with fields, and each shortage one of level WARNING."""

    failure: str | None = None

    def write(self, entries: Sequence[Entry | Shortage], moment: Moment) -> Taken:  # noqa: ARG002  a place of several
        """Write entries."""
        for entry in entries:
            if isinstance(entry, Shortage):
                log.warning("%s", of_shortages.sentence(entry), extra=of_shortages.fields(entry))
            else:
                log.info("%s", of_entries.sentence(entry), extra=of_entries.fields(entry))
        return Taken(len(entries), 0)

    def close(self) -> None:
        """Nothing is open."""


def _line(entry: Entry | Shortage) -> str:
    return of_shortages.line(entry) if isinstance(entry, Shortage) else of_entries.line(entry)


class LineFile:
    """A file that lines are appended to. One that was moved away, by logrotate for instance, is left to itself, and
    another one begun under its name. `failure`: why the last entries could not be written, a sentence."""

    def __init__(self, path: str) -> None:
        self.failure: str | None = None
        self._path = Path(path)
        self._fd: int | None = None
        self._torn = False  # the last line was cut off

    def write(self, entries: Sequence[Entry | Shortage], moment: Moment) -> Taken:  # noqa: ARG002  as above
        """Append entries, a line each."""
        lines = [f"{_line(entry)}\n".encode() for entry in entries]
        octets, written = b"".join(lines), 0
        try:
            self._follow()
            assert self._fd is not None
            if self._torn:
                os.write(self._fd, b"\n")
                self._torn = False
            while written < len(octets):
                written += os.write(self._fd, octets[written:])
            if octets:
                self.failure = None
        except OSError as error:
            self.failure = f"Cannot write the log of sessions to {self._path}: {error.strerror}."
        whole = octets.count(b"\n", 0, written)
        self._torn = written != sum(map(len, lines[:whole])) or (self._torn and written == 0)
        return Taken(whole, len(lines) - whole)

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _follow(self) -> None:
        """Have the file open that the path names now."""
        if self._fd is not None:
            try:
                if os.path.samestat(os.fstat(self._fd), self._path.stat()):
                    return
            except FileNotFoundError:
                pass
            self.close()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(self._path, flags, 0o640)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(0, "it is no regular file")
        self._fd, self._torn = fd, False
