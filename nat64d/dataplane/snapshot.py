"""The tables as they were at one moment, in a file in memory, for another process to look at.

Copying a million sessions takes as long as some hundred thousand packets, and half a copy is none. So the process forks
under the lock, which takes 4 to 10 ms however many sessions there are: the child has the tables as they are, the
kernel copies a page when it is written to, and translation goes on. The child writes to the file what is not zero,
and ends. In the child of a process with threads only async-signal-safe functions may be called; this compiled code
calls no others, and the interpreter never wakes up in it.

Sessions and waiting ports lie in a file that both processes share, where they are kept (gateway/state_file.py): a row
is as it is when it is written out, milliseconds later. That does no harm: whoever follows an index or a list to a
session compares its addresses, and one that has been another's since then is not found.
"""

import mmap
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
from numba import types

from nat64d.dataplane.worker import monotonic
from translator.jit.compile import jit
from translator.jit.lock import acquire, release
from translator.tables.records import as_records
from translator.tables.tables import Tables

# LIMITS
BLOCK = 4096  # octets; a block of zeros is a hole in the file
PATIENCE = 5.0  # seconds the child has

_fork = types.ExternalFunction("fork", types.int32())
_exit = types.ExternalFunction("_exit", types.void(types.int32))
_memcmp = types.ExternalFunction("memcmp", types.int32(types.uintp, types.uintp, types.uintp))
_pwrite = types.ExternalFunction("pwrite", types.intp(types.int32, types.uintp, types.uintp, types.int64))


class SnapshotError(Exception):
    """There is no memory, or no time, for a copy; one sentence."""


class Part(NamedTuple):
    """One array, and where in the file it begins."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    place: int


class Snapshot(NamedTuple):
    """Tables in the file of a descriptor."""

    fd: int
    parts: list[Part]
    size: int  # octets of the file
    now: int  # milliseconds of the data plane's clock

    def tables(self) -> Tables:
        """The tables, for the caller to change as he likes: the file stays as it is."""
        memory = mmap.mmap(self.fd, self.size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        tables = Tables(**{part.name: _array(memory, part) for part in self.parts})
        tables.lock[:] = 0  # the thread that made the copy held it
        return tables


@contextmanager
def snapshot(tables: Tables) -> Iterator[Snapshot]:
    """A copy of the tables, for as long as the context lasts; raises SnapshotError."""
    arrays = {field.name: getattr(tables, field.name) for field in fields(tables)}
    places = np.cumsum([0, *(-(-array.nbytes // BLOCK) * BLOCK for array in arrays.values())]).tolist()
    parts = [Part(name, a.dtype, a.shape, place) for (name, a), place in zip(arrays.items(), places, strict=False)]
    copies = [(a.ctypes.data, a.nbytes, place) for a, place in zip(arrays.values(), places, strict=False)]
    fd = _file(places[-1])
    try:
        process, now = freeze(tables, np.array(copies, np.int64), fd, *_scratch())
        _wait(process)
        yield Snapshot(fd, parts, places[-1], int(now))
    finally:
        os.close(fd)


def _file(size: int) -> int:
    """A file in memory of that many zeros."""
    try:
        fd = os.memfd_create("nat64d-tables")
        os.ftruncate(fd, size)
    except OSError as error:
        raise SnapshotError(f"no file for a copy of the tables: {error.strerror}") from error
    return fd


def warm_up(tables: Tables) -> None:
    """Compile what makes a copy, by making one of nothing."""
    with suppress(SnapshotError):
        _wait(freeze(tables, np.zeros((0, 3), np.int64), -1, *_scratch())[0])


def _scratch() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return np.zeros(BLOCK, np.uint8), np.zeros(2, np.int64)


@jit()
def freeze(tables, copies, fd, zeros, clock):
    """(process that writes the tables to `fd`, negative if there is none; milliseconds of the clock at that moment).

    `copies`: int64[n, 3], address, octets and place in the file of each array; `zeros`: uint8[BLOCK]; `clock`:
    int64[2] to write to.
    """
    acquire(tables.lock)
    now = monotonic(clock)
    process = _fork()
    if process == 0:
        _exit(write_out(copies, fd, zeros))
    release(tables.lock)
    return process, now


@jit()
def write_out(copies, fd, zeros):
    """Write the arrays; 0, or 1 when the file takes no more."""
    for n in range(len(copies)):
        address, size, place = copies[n, 0], copies[n, 1], copies[n, 2]
        for at in range(0, size, BLOCK):
            octets = min(BLOCK, size - at)
            if _memcmp(address + at, zeros.ctypes.data, octets) == 0:
                continue
            if _pwrite(fd, address + at, octets, place + at) != octets:
                return 1
    return 0


def _wait(process: int) -> None:
    """Wait for the child, not for ever."""
    if process < 0:
        raise SnapshotError("no memory for a copy of the tables")
    ended = os.pidfd_open(process)
    in_time = select.select([ended], [], [], PATIENCE)[0]
    os.close(ended)
    if not in_time:
        os.kill(process, signal.SIGKILL)
    if os.waitpid(process, 0)[1] != 0:
        raise SnapshotError(
            "no memory for a copy of the tables" if in_time else f"no copy of the tables within {PATIENCE:g} s"
        )


def _array(memory: mmap.mmap, part: Part) -> np.ndarray[Any, Any]:
    array = np.ndarray(part.shape, part.dtype, memory, part.place)
    return as_records(array) if part.dtype.fields else array
