"""[state]: the records that outlive the daemon, in one file that it works in while it runs.

    header      4096 octets: what wrote the file, in which boot, how many records follow, and a checksum of all that;
                and, with one of its own each, which prefix has which number, and where sessions are instead
    sessions    SESSION records
    quarantine  WAITING_PORT records
    blocks      BLOCK records
    affinities  AFFINITY records
    clients6    CLIENT records: not by what lives, but by their numbers

The file is mapped, so what a killed daemon has written is there for the next one; nothing is saved at the end, but for
sessions where there is a [fastpath]: while packets pass these are in memory that the kernel has, and the file says in
which (Live.serve, close_state_file); the next one has them from there, if it was left (dataplane/bpf/left.py). All of
it is allocated before it is used: a file system that fills up is an error at the start, not a signal in between.
Records are not trusted, restore.py looks at each. Times in them are those of the boot's clock: another boot begins with
none.
"""

import errno
import fcntl
import hashlib
import logging
import mmap
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nat64d.config.fronts import prefixes_of
from nat64d.config.models import Config
from nat64d.control.unixsocket import make_directory
from nat64d.dataplane.code import Code
from nat64d.dataplane.worker import now
from nat64d.gateway.large_pages import map_file
from nat64d.gateway.state_header import MAGIC, PAGE, PREFIXES, Header, header_in
from translator.session.fates import Fate
from translator.session.kept_prefixes import renumber, renumbered
from translator.session.pool4 import NEXT
from translator.session.restore import NOTHING, Kept
from translator.tables.gateway import Gateway, new_worker
from translator.tables.layout import AFFINITY, BLOCK, CLIENT, LOGGED, SESSION, WAITING_PORT, records
from translator.tables.records import as_records
from translator.tables.settings import Settings
from translator.tables.tables import Tables

LAYOUT = 5  # to be raised when a field changes its meaning; what the records look like counts by itself
ATTEMPTS = 3  # starts that may end before they have taken the records over: it may be the records that end them
MOUNTS = Path("/proc/self/mountinfo")
IN_MEMORY = ("tmpfs", "ramfs")
BOOT = Path("/proc/sys/kernel/random/boot_id")
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
ASIDE = ".damaged"  # behind the name of a file that was set aside
ASIDE_EVENT = {"event": "set_aside"}
# What of the configuration says which sessions there may be.
MATTERS = {
    *("pool6", "strict_well_known_prefix", "pool4", "eam", "forward", "service", "services"),
    *("limits", "translation"),
}


log = logging.getLogger("nat64d")

RECORDS = {"sessions": SESSION, "quarantine": WAITING_PORT, "blocks": BLOCK, "affinities": AFFINITY, "clients6": CLIENT}

# Of sessions that are not kept, in the order of Fate.
REASONS = ("whose time was over", "that the configuration has no mapping for", "beyond its limits", "damaged")

Rows = np.ndarray[Any, Any]
Elsewhere = Callable[[int, int], Rows | None]  # a copy of so many sessions in memory of that number, if it is there


class StateError(Exception):
    """The file cannot be used; its text is one sentence that names it and says what to do."""

    def __init__(self, sentence: str, is_full: bool = False) -> None:
        """`is_full`: there is no room for it."""
        super().__init__(sentence)
        self.is_full = is_full


def _sizes(header: "Header") -> tuple[int, ...]:
    """What two files have alike if the records of one can stay where they are for the other."""
    return header.size, header.sessions, header.clients6


def _living(rows: "Rows") -> "Rows":
    """A copy of the records that live, or of all where nothing says so."""
    living: Rows = rows[rows["live"] != 0] if "live" in (rows.dtype.names or ()) else rows.copy()
    return living


def header_for(config: Config, tables: Tables) -> Header:
    """The header of a file for these tables, as long as it is in use."""
    layout = hashlib.sha256(repr((LAYOUT, *(dtype.descr for dtype in RECORDS.values()))).encode()).digest()
    sizes = {name: len(getattr(tables, name)) for name in RECORDS}
    boot, statics = BOOT.read_bytes().strip(), len(tables.bibs) - len(tables.sessions)
    return Header(
        MAGIC,
        layout,
        boot,
        digest_of(config),
        **sizes,
        statics=statics,
        clean=0,
        attempts=0,
        prefixes=_prefixes(config),
    )


def _prefixes(config: Config) -> bytes:
    return prefixes_of(config).astype("<i8").tobytes().ljust(PREFIXES, b"\0")


def digest_of(config: Config) -> bytes:
    """The digest of what MATTERS."""
    return hashlib.sha256(config.model_dump_json(include=MATTERS).encode()).digest()


class StateFile:
    """The file, open and locked, and mapped: `tables` are those of this run, by the names of RECORDS.

    `before` is the header of the run before, None if it has left nothing; `kept` are its records, often the same.
    """

    def __init__(self, config: Config, tables: Tables, elsewhere: Elsewhere = lambda *_: None) -> None:
        """Open, or make, [state] file for tables of these sizes. Raises StateError."""
        self.path = config.state_path
        self._header = header_for(config, tables)
        self.fates: dict[str, int] = {}  # how many sessions of the run before had which Fate
        self.ended = records(0, LOGGED)  # what the log is to be told of them
        try:
            make_directory(self.path.parent)
            self._fd = self._open()
            try:
                self.before = self._examine()
                self.tables, self.kept = self._take(self.before, elsewhere)
            except OSError:
                os.close(self._fd)
                raise
        except OSError as error:
            raise StateError(self._sentence(error), error.errno in FULL) from error

    @property
    def living(self) -> int:
        """How many sessions are kept."""
        return int(np.count_nonzero(self.kept.sessions["live"]))

    def taken(self) -> None:
        """Note that what was kept has been taken over; `kept` is of no use any more."""
        self.kept = NOTHING
        self._write(self._header)

    def have_sessions_in(self, memory: int) -> None:
        """Have no sessions in it: those there are lie elsewhere, and may end before anybody copies them back."""
        self._header = self._header._replace(memory=memory)
        self._write(self._header)
        self.tables["sessions"]["live"][:] = 0

    def change_to(self, config: Config, statics: int) -> None:
        """Note that the records are those of another configuration, with so many BIB entries that are not of hosts."""
        self._header = self._header._replace(config=digest_of(config), statics=statics, prefixes=_prefixes(config))
        self._write(self._header)

    def close(self) -> None:
        """Note that the daemon has stopped; nobody works in the tables any more."""
        self._write(self._header._replace(clean=1))
        fcntl.flock(self._fd, fcntl.LOCK_UN)  # the mapping has the file open, too
        os.close(self._fd)

    @property
    def is_of_other_configuration(self) -> bool:
        """Whether the run before had another configuration, as far as sessions are concerned."""
        return self.before is not None and self.before.config != self._header.config

    def _write(self, header: Header) -> None:
        os.pwrite(self._fd, header.page, 0)

    def _sentence(self, error: OSError) -> str:
        """What is wrong, and what helps."""
        if error.errno in FULL:
            return (
                f"{self.path}: no room for {self._header.size >> 20} MiB of sessions: free some, lower [limits] "
                "sessions, set another [state] file, or [state] keep = false"
            )
        if error.errno == errno.EWOULDBLOCK:
            return f"{self.path}: another nat64d keeps its sessions there; set another [state] file"
        return f"{self.path}: cannot keep sessions there: {error.strerror}; set another [state] file, or keep = false"

    def _open(self) -> int:
        """The descriptor of the file, which nobody else has open, and which may be empty."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        return fd

    def _examine(self) -> Header | None:
        """The header of the run before, None if there are no records of it; a file that is not ours is set aside."""
        about = os.fstat(self._fd)
        ours = stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid()
        if ours and about.st_size == 0:
            return None
        header = header_in(os.pread(self._fd, PAGE, 0)) if ours else None
        if header is None:
            self._set_aside("it is damaged, or no state file of this user")
        elif header.layout != self._header.layout:
            log.info("%s is of another version of nat64d: starting without sessions", self.path)
        elif header.boot != self._header.boot:
            log.info("%s is from before this host was last started: starting without sessions", self.path)
        elif header.size != about.st_size:
            self._set_aside(f"it has {about.st_size} octets, not {header.size}")
        elif not header.prefixes:
            self._set_aside("it does not say any more which prefix has which number")
        elif header.attempts >= ATTEMPTS:
            self._set_aside(f"{header.attempts} starts ended before they had taken it over")
        else:
            return header
        return None

    def _set_aside(self, why: str) -> None:
        """Rename the file, over the one that was set aside before, and open a new one."""
        aside = self.path.with_name(self.path.name + ASIDE)
        self.path.rename(aside)
        fd, self._fd = self._fd, self._open()
        os.close(fd)
        log.warning(
            "%s is now %s, because %s: starting without sessions", self.path, aside.name, why, extra=ASIDE_EVENT
        )

    def _take(self, before: Header | None, elsewhere: Elsewhere) -> tuple[dict[str, Rows], Kept]:
        """Map the file; returns its tables and what is kept. If they are of another size, or prefixes have other
        numbers, what lived in them is copied; so are sessions that are elsewhere."""
        header, kept = self._header, NOTHING
        sessions = elsewhere(before.memory, before.sessions) if before else None
        numbers = renumbered(before.numbered, header.numbered) if before else None
        fits = before is not None and _sizes(before) == _sizes(header)
        fits = fits and numbers is None
        if before is not None and not fits:
            mapped = _tables_in(mmap.mmap(self._fd, before.size, mmap.MAP_PRIVATE), before)
            mapped["sessions"] = mapped["sessions"] if sessions is None else sessions
            kept = Kept(statics=before.statics, **{name: _living(rows) for name, rows in mapped.items()})
            renumber(kept.sessions, numbers)
        if not fits:
            os.ftruncate(self._fd, 0)
        os.posix_fallocate(self._fd, 0, header.size)
        attempts, memory = (before.attempts + 1, before.memory if fits else 0) if before else (0, 0)
        self._write(header._replace(attempts=attempts, memory=memory))
        tables = _tables_in(map_file(self._fd, header.size, is_new=not fits), header)
        if before is not None and fits:
            kept = Kept(statics=before.statics, **tables)
            if sessions is not None:
                tables["sessions"]["live"][:] = 0
                kept = kept._replace(sessions=_living(sessions))
        return tables, kept


def _tables_in(memory: mmap.mmap | memoryview, header: Header) -> dict[str, Rows]:
    """The tables of the file."""
    places = PAGE, header.quarantine_at, header.blocks_at, header.affinities_at, header.clients6_at
    return {
        name: as_records(np.frombuffer(memory, dtype, getattr(header, name), place))
        for (name, dtype), place in zip(RECORDS.items(), places, strict=True)
    }


def file_system_of(directory: Path) -> str:
    """The type of the file system that a directory is on."""
    number = directory.stat().st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    rows = [line.partition(" - ") for line in MOUNTS.read_text("utf-8").splitlines()]
    return next((kind.split()[0] for mount, _, kind in rows if mount.split()[2] == device), "a file system")


def take_up(
    config: Config,
    settings: Settings,
    tables: Tables,
    code_for: Callable[[int], Code],
    elsewhere: Elsewhere = lambda *_: None,
) -> tuple[Tables, StateFile]:
    """Empty tables, but for what the run before has left in [state] file, and the file, in which they are from now on;
    says what became of it. `code_for`: the code that takes so many sessions over. Raises StateError."""
    file = StateFile(config, tables, elsewhere)
    if (kind := file_system_of(file.path.parent)) not in IN_MEMORY:
        log.warning("%s is on %s: packets can wait for the disk; set a [state] file in memory", file.path, kind)
    tables = replace(tables, **file.tables)
    fates, file.ended = code_for(file.living).restore(Gateway(settings, tables, new_worker(0)), now(), file.kept)
    file.fates = {fate.name.lower(): int(fates[fate]) for fate in Fate}
    if file.before is not None:
        log.info("%s", story(file, fates.tolist(), int(tables.quarantine_at[NEXT])), extra=file.fates)
    file.taken()
    return tables, file


def take_up_if_there_is_room(
    config: Config,
    settings: Settings,
    tables: Tables,
    code_for: Callable[[int], Code],
    elsewhere: Elsewhere = lambda *_: None,
) -> tuple[Tables, StateFile | None]:
    """The same; but where nobody has chosen the place, and it has no room, the empty tables alone. Half of the hosts
    with 1 GB of memory have less than 105 MB in /run, and translate all the same. Raises StateError."""
    try:
        return take_up(config, settings, tables, code_for, elsewhere)
    except StateError as error:
        if config.state.file != "auto" or not error.is_full:
            raise
        log.warning("Sessions do not outlive this run: %s", error)
        code_for(0)
        return tables, None


def story(file: StateFile, fates: list[int], waiting: int) -> str:
    """What was kept, as a sentence; `fates` are those of restore()."""
    assert file.before is not None
    kept, *lost = fates
    why = [f"{count} {reason}" for count, reason in zip(lost, REASONS, strict=True) if count]
    ended = f"; ended {sum(lost)}: {', '.join(why)}" if why else ""
    changed = ", under another configuration" if file.is_of_other_configuration else ""
    stop = "a stop" if file.before.clean else "a kill or crash"
    return f"Kept {kept} sessions and {waiting} waiting ports over {stop}{changed}{ended}"
