"""What others than the file have said of the configuration, kept over a restart of the daemon.

The first line is the checksum of the second, which is JSON: the rows of each source as the API takes them. Two lines
more for each change of services since then: COUNTS and a checksum, and what was removed and set. The file is replaced
as a whole, and a change counts when one octet is written, so that a kill leaves what was before or what is after.
"""

import errno
import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from nat64d.config.errors import ConfigError, Problem
from nat64d.config.models import Config
from nat64d.config.sources import SECTIONS, Names, Rows, Sources, rows_in
from nat64d.control.unixsocket import make_directory
from nat64d.gateway.state_file import ASIDE, ASIDE_EVENT

SUFFIX = ".sources"  # behind the name of [state] file
NEW = ".new"  # behind that of the file, until it takes its place
COUNTS, PENDING = b"+", b"-"  # before the checksum of a change
# LIMITS
LARGEST = 64 << 20  # octets
FEW = 5  # mistakes in a sentence
LITTLE = 1 << 20  # octets of changes that are there in any case before the file is written anew

log = logging.getLogger("nat64d")


def take_up_sources(name: str, file: Config) -> tuple[Sources, str | None]:
    """What the file says, under its name, and what others have set beside it in the run before; where these do not go
    together with the file or with this host, the file alone, and a sentence that says so."""
    kept = KeptSources(file.state_path)
    alone = Sources(name, file, {})
    sources = alone._replace(rows=kept.read())
    try:
        config = sources.combined()
    except ConfigError as error:
        kept.set_aside(f"it does not go together with {name}: {_clauses(error.problems)}")
        return alone, kept.complaint
    if config is not file and (errors := _errors_of(sources, config, file, name)):
        kept.set_aside(f"it does not fit this host: {_clauses(errors)}")
        return alone, kept.complaint
    return sources, kept.complaint


def _errors_of(sources: Sources, config: Config, file: Config, name: str) -> list[Problem]:
    """What of them does not fit this host, where the file alone does."""
    from nat64d.host.checks import check_host  # noqa: PLC0415  slow to import, and packets wait for this module

    return [] if check_host(file, name).errors else check_host(config, sources.names).errors


def with_kept_sources(name: str, file: Config) -> tuple[Config, str | None]:
    """What the file says, with what others have set beside it, for one who only looks; a sentence if that could not be
    taken into account. Nothing is changed."""
    kept = KeptSources(file.state_path)
    try:
        return Sources(name, file, kept.look()).combined(), None
    except FileNotFoundError:
        return file, None
    except ConfigError as error:
        why = f"it does not go together with {name}: {_clauses(error.problems)}"
    except (OSError, DamagedError) as error:
        why = _why(error)
    return file, f"{kept.path}: what is set beside the configuration file is not taken into account, because {why}"


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _clauses(problems: Iterable[Problem]) -> str:
    return "; ".join(map(str, islice(problems, FEW)))


class DamagedError(Exception):
    """The file is not as it was written; its text says why."""


class Written(NamedTuple):
    """The file as this process has written it: which one, its octets, and those of them that are no changes."""

    inode: int
    octets: int
    whole: int


class KeptSources:
    """The file beside [state] file."""

    def __init__(self, state: Path) -> None:
        self.path = state.with_name(state.name + SUFFIX)
        self._new = self.path.with_name(self.path.name + NEW)
        self.complaint: str | None = None  # why what was kept is not in use
        self._written: Written | None = None
        self._change = 0  # octets of the change that is prepared; 0: it is the file as a whole

    def read(self) -> dict[str, Rows]:
        """The rows by source. A file that is damaged is set aside, and there are none."""
        try:
            return self.look()
        except FileNotFoundError:
            return {}
        except (OSError, DamagedError) as error:
            self.set_aside(_why(error))
            return {}

    def look(self) -> dict[str, Rows]:
        """The rows by source. Raises OSError, DamagedError."""
        return self._sources(self._octets())

    def prepare(self, sources: Mapping[str, Rows]) -> None:
        """Write these beside the file; `commit` lets them take its place. Raises OSError."""
        self._change = 0
        body = b"{%b}" % b",".join(b'"%b":%b' % (source.encode(), _text(rows)) for source, rows in sources.items())
        octets = _checksum(body) + b"\n" + body
        if len(octets) > LARGEST:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        make_directory(self.path.parent)
        with suppress(FileNotFoundError):
            self._new.unlink()
        fd = os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(fd)

    def prepare_change(self, source: str, unset: Names, given: Rows) -> bool:
        """Write what a source changes of its services behind what is in the file; `commit` lets it count. Whether that
        is possible: if not, all of it has to be prepared. Raises OSError."""
        written, others = self._written, SECTIONS[:-1]
        if written is None or any(getattr(rows, section) for rows in (unset, given) for section in others):
            return False
        names = json.dumps([row.name for row in unset.service]).encode()
        body = b'{"source":"%b","unset":%b,"set":%b}' % (source.encode(), names, _list(given))
        octets = b"\n" + PENDING + _checksum(body) + b"\n" + body
        if written.octets + len(octets) > min(LARGEST, written.whole + max(written.whole, LITTLE)):
            return False
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return False
        with os.fdopen(fd, "wb", 0) as file:
            about = os.fstat(fd)
            if about.st_ino != written.inode or about.st_size < written.octets:
                return False
            file.truncate(written.octets)  # one that was prepared and came to nothing
            file.seek(written.octets)
            if file.write(octets) != len(octets):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(fd)
        self._change = len(octets)
        return True

    def commit(self) -> str | None:
        """From now on the file is what was prepared. Where that cannot be, it is as before: a sentence that says so, as
        the log does."""
        try:
            self._written = self._changed(self._written) if self._written and self._change else self._replaced()
        except OSError as error:
            self._written = None
            unkept = (
                f"{self.path}: what was set last is in use, but not kept ({error.strerror}): a restart goes back to "
                "what was set before. Make the file writable, and set it again."
            )
            log.error(unkept)  # noqa: TRY400
            return unkept
        return None

    def _replaced(self) -> Written:
        self._new.replace(self.path)
        about = self.path.stat()
        return Written(about.st_ino, about.st_size, about.st_size)

    def _changed(self, written: Written) -> Written:
        fd = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, "wb", 0):
            os.pwrite(fd, COUNTS, written.octets + 1)
        return written._replace(octets=written.octets + self._change)

    def set_aside(self, why: str) -> None:
        """Rename the file, over the one that was set aside before."""
        aside = self.path.with_name(self.path.name + ASIDE)
        try:
            self.path.rename(aside)
            what = f"is now {aside.name}"
        except OSError as error:
            what = f"stays ({error.strerror}) and is not used"
        self.complaint = f"{self.path} {what}, because {why}. What was set beside the configuration file is not in use."
        log.error(self.complaint, extra=ASIDE_EVENT)

    def _octets(self) -> bytes:
        fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            about = os.fstat(fd)
            if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid():
                raise DamagedError("it is no file of this user")
            if about.st_size > LARGEST:
                raise DamagedError(f"it has {about.st_size} octets, and never more than {LARGEST}")
            return file.read()

    @staticmethod
    def _sources(octets: bytes) -> dict[str, Rows]:
        lines = octets.split(b"\n")
        checksum, body, bodies = lines[0], b"".join(lines[1:2]), list(_counting(lines[2:]))
        if checksum != _checksum(body):
            raise DamagedError("its checksum is wrong")
        try:
            said = json.loads(body)
            for change in map(json.loads, bodies):
                _apply(change, said.setdefault(change["source"], {}))
            return {source: rows_in(raw, source) for source, raw in said.items()}
        except (ValueError, AttributeError, LookupError, TypeError, RecursionError, ConfigError) as error:
            raise DamagedError(f"it is of another version: {' '.join(str(error).splitlines()[:1])}") from None


def _text(rows: Rows) -> bytes:
    """What a source says, as JSON."""
    others = rows.model_dump_json(exclude={"service"}, exclude_defaults=True).encode()
    if not rows.service:
        return others
    return b"{%b%b}" % (others[1:-1] + b"," * (others != b"{}"), b'"service":%b' % _list(rows))


def _list(rows: Rows) -> bytes:
    return b"[%b]" % b",".join(service.text for service in rows.service)


def _counting(lines: list[bytes]) -> Iterator[bytes]:
    """The changes that count, of lines that are the head and the body of each. Raises DamagedError."""
    for at in range(0, len(lines), 2):
        if lines[at].startswith(PENDING):
            return
        if lines[at] != COUNTS + _checksum(b"".join(lines[at + 1 : at + 2])):
            raise DamagedError("its checksum is wrong")
        yield lines[at + 1]


def _apply(change: dict[str, Any], said: dict[str, Any]) -> None:
    """Change the services of what a source says, as with_changes does: what is set comes last."""
    rows = {row["name"]: row for row in said.get("service", ())}
    for name in (*change["unset"], *(row["name"] for row in change["set"])):
        rows.pop(name, None)
    said["service"] = [*rows.values(), *change["set"]]


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
