"""The maps of the program. Those of sessions are the daemon's own tables, in memory that both sides see: what it
writes, the program reads; there is no second table to fill, to expire or to remove from.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

import numpy as np

from nat64d.dataplane.bpf import system
from nat64d.dataplane.bpf.numbers import arrays_of
from nat64d.dataplane.drained import rows_of
from translator.fastpath.kernel import COUNTED, SINCE
from translator.fastpath.reasons import Reason
from translator.tables.records import as_records
from translator.tables.settings import Settings
from translator.tables.tables import Tables

SHARED = ("sessions", "sessions6", "sessions4", "accounts")


class Maps:
    """Descriptors of maps by their names, and the tables that are in them."""

    def __init__(self) -> None:
        self.fds: dict[str, int] = {}

    def array(self, name: str, like: np.ndarray) -> np.ndarray:
        """An array of zeros like another one, in a new map. Raises OSError."""
        width = like.nbytes // len(like)
        fd = self._put(name, system.create_map(name, width, len(like), flags=system.MMAPABLE))
        flat = np.frombuffer(system.memory(fd, like.nbytes), like.dtype, like.size).reshape(like.shape)
        return as_records(flat) if like.dtype.fields else flat

    def _put(self, name: str, fd: int) -> int:
        """A map in place of the one of that name."""
        if name in self.fds:
            os.close(self.fds[name])
        self.fds[name] = fd
        return fd

    def share(self, tables: Tables, names: Iterable[str] = SHARED) -> Tables:
        """The same tables, those of these names in new maps. Raises OSError."""
        arrays = {}
        for name in names:
            given = getattr(tables, name)
            arrays[name] = self.array(name, given)
            if given.view(np.uint8).any():  # else there is nothing to copy, and no page to be touched
                arrays[name][:] = given
        return replace(tables, **arrays)

    def fill(self, settings: Settings, sessions: int) -> None:
        """Make all other maps, for a configuration and so many sessions; what is counted is counted on. Raises
        OSError."""
        for name, array in arrays_of(settings).items():
            self.array(name, array)[:] = array
        self._put("since", system.create_map("since", SINCE, sessions))
        if "counters" not in self.fds:
            self._put("counters", system.create_map("counters", COUNTED, len(Reason), system.PERCPU_ARRAY))

    def hear(self, queues: int) -> np.ndarray:
        """Rows in which the workers of so many queues say how far they have got. Raises OSError."""
        return self.array("drained", rows_of(queues))

    def counted(self) -> np.ndarray:
        """int64[Reason, 3]: packets, octets and super-frames, of all CPUs. Raises OSError."""
        if "counters" not in self.fds:
            return np.zeros((len(Reason), COUNTED // 8), np.int64)
        cpus = system.possible_cpus()
        rows = [system.read(self.fds["counters"], row, COUNTED * cpus) for row in range(len(Reason))]
        each = np.frombuffer(b"".join(rows), np.int64).reshape(len(Reason), cpus, COUNTED // 8)
        return np.asarray(each.sum(axis=1))

    def close(self) -> None:
        """Let go of the maps; tables that are in them stay as long as their arrays do."""
        for fd in self.fds.values():
            with suppress(OSError):
                os.close(fd)
        self.fds.clear()
