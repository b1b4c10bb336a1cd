"""What others than the file have said of the configuration, kept over a restart of the daemon.

One line is the checksum of all that follows, which is JSON: the rows of each source as the API takes them. The file is
replaced as a whole, so that a kill leaves the one before or the one after.
"""

import errno
import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

from nat64d.config.errors import ConfigError, Problem
from nat64d.config.models import Config
from nat64d.config.sources import Rows, Sources, rows_in
from nat64d.control.unixsocket import make_directory
from nat64d.gateway.state_file import ASIDE, ASIDE_EVENT

SUFFIX = ".sources"  # behind the name of [state] file
NEW = ".new"  # behind that of the file, until it takes its place
# LIMITS
LARGEST = 64 << 20  # octets
FEW = 5  # mistakes in a sentence

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


class KeptSources:
    """The file beside [state] file."""

    def __init__(self, state: Path) -> None:
        self.path = state.with_name(state.name + SUFFIX)
        self._new = self.path.with_name(self.path.name + NEW)
        self.complaint: str | None = None  # why what was kept is not in use

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
        said = {source: rows.model_dump(mode="json", exclude_defaults=True) for source, rows in sources.items()}
        body = json.dumps(said).encode()
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

    def commit(self) -> None:
        """From now on the file is what was prepared."""
        self._new.replace(self.path)

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
        checksum, _, body = octets.partition(b"\n")
        if checksum != _checksum(body):
            raise DamagedError("its checksum is wrong")
        try:
            return {source: rows_in(raw, source) for source, raw in json.loads(body).items()}
        except (ValueError, AttributeError, RecursionError, ConfigError) as error:
            raise DamagedError(f"it is of another version: {' '.join(str(error).splitlines()[:1])}") from None


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
