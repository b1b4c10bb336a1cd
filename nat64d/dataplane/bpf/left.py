"""What a process before has left of a fast path: the program at its device, and the records of sessions it works by.
Both live as long as somebody has them: the service manager, by descriptors (gateway/descriptor_store.py), or elsewhere
the kernel itself, by pins (pins.py).

While there is no daemon the program goes on with the tables as they were in the last moment; nobody changes them any
more but itself, which gives sessions their time anew. The next daemon never works in them: it judges a copy of the
records, and has tables of its own. Its program takes the place of the old one, or the old one is taken away, before its
queues change the first of them. So no packet is translated by a record that has become another one's.
"""

import mmap
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nat64d.dataplane.bpf import system
from nat64d.dataplane.worker import now
from nat64d.host.errors import HostError
from translator.tables.layout import SESSION
from translator.tables.records import as_records
from translator.tables.tables import NEVER_USED, Tables
from translator.tables.tables import SESSIONS as KIND

SESSIONS, PROGRAM = "sessions", "program"  # by which names they are kept
ABOUT = Path("/proc/self/fdinfo")


class Keeper(Protocol):
    """Who has maps and links over the end of this process."""

    @property
    def where(self) -> str | None:
        """By whom, or at which place, something is kept; None: nothing is."""

    @property
    def why(self) -> str | None:
        """Why flows do not outlive this process, as a sentence, if they do not."""

    def keep(self, fds: list[int], name: str) -> None:
        """Have these by this name instead of those that are."""


class Nobody:
    """Keeps nothing."""

    where: None = None
    why: None = None

    def keep(self, fds: list[int], name: str) -> None:
        """Let go with the process."""


def about(fd: int) -> dict[str, str]:
    """What the kernel tells of a descriptor; nothing of one that is none."""
    try:
        lines = (ABOUT / str(fd)).read_text("ascii").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def identity(fd: int) -> int:
    """The number of a map, which no other one has until the host is started again; 0: it is none."""
    return int(about(fd).get("map_id", 0))


def living(memory: mmap.mmap, count: int) -> np.ndarray[Any, Any]:
    """A copy of the records that live, of so many."""
    rows = np.frombuffer(memory, SESSION, count)
    return as_records(rows[rows["live"] != 0])


def _detach(fd: int, interface: int) -> None:
    try:
        system.detach(fd)
    except OSError as error:
        why = f"cannot be taken away: {os.strerror(error.errno or 0)}"
        help_ = f"Run 'ip link delete {socket.if_indextoname(interface)}', with which it goes, and start again"
        raise HostError(f"The fast path of an earlier process {why}. {help_}") from None


class Left:
    """Descriptors of maps and of links, each closed once it is of no use any more, and who keeps those of this process
    for the next one."""

    def __init__(self, fds: Iterable[int] = (), keeper: Keeper | None = None) -> None:
        self._fds, self.keeper = list(fds), Nobody() if keeper is None else keeper
        self._looked = now()

    def __bool__(self) -> bool:
        return bool(self._fds)

    def add(self, fds: Iterable[int]) -> None:
        """There are these, too."""
        self._fds += fds

    def records(self, number: int, count: int) -> np.ndarray[Any, Any] | None:
        """A copy of the records that live in the map of that number, None if it is not there, or has others."""
        self._looked = now()
        wanted = {"map_id": str(number), "value_size": str(SESSION.itemsize), "max_entries": str(count)}
        for fd in self._fds:
            if number and wanted.items() <= about(fd).items():
                size = -(-count * SESSION.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
                with mmap.mmap(fd, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ) as memory:
                    return living(memory, count)
        return None

    def stands_at(self, interface: int) -> bool:
        """Whether a program translates packets of that interface."""
        return any(about(fd).get("ifindex") == str(interface) for fd in self._fds)

    def give_time(self, tables: Tables, spare: int = 0) -> None:
        """Let sessions live as much longer as it is since they were copied: so long the program gave the old ones their
        time anew, not these; and `spare` milliseconds more, which it will yet do so."""
        tables.sessions["expires"][: int(tables.free[KIND, NEVER_USED])] += now() - self._looked + spare

    def drop(self) -> None:
        """Take the program away, and let go of all. Raises HostError where it stays."""
        while self._fds:
            if interface := int(about(self._fds[-1]).get("ifindex", 0)):
                _detach(self._fds[-1], interface)
            fd = self._fds.pop()
            with suppress(OSError):
                os.close(fd)

    def give_up(self) -> None:
        """The same, and have nobody keep any of it."""
        self.drop()
        for name in (SESSIONS, PROGRAM):
            self.keeper.keep([], name)
