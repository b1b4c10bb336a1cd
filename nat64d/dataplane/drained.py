"""How far the workers have got, for the program in the kernel that takes packets of their flows: what was queued for
them before this moment has been written.

A worker says so of its own queue after a batch that found it empty. One that is about to sleep says it of the others,
too, whose workers sleep: their queues are empty, and what was read was written before they lay down. Of a queue whose
worker stands still nobody says anything: what was said last stays true.
"""

from typing import Any

import numpy as np
from numba import types

from translator.jit.compile import jit
from translator.jit.lock import exchange

WORDS = 8  # a cache line each
MOMENT, ASLEEP = 0, 1  # nanoseconds of CLOCK_MONOTONIC; whether all is written, and nothing read until this is 0

_poll = types.ExternalFunction("poll", types.int32(types.uintp, types.uint64, types.int32))


def rows_of(queues: int) -> np.ndarray[Any, Any]:
    """A row for each queue."""
    return np.zeros((queues, WORDS), np.int64)


@jit()
def tell(row, clock):
    """The queue was empty after the moment of `clock` (struct timespec)."""
    row[MOMENT] = clock[0] * 1000000000 + clock[1]


@jit()
def vouch(rows, polls, clock):
    """Say of all queues whose workers sleep, or are about to, that they were empty after the moment of `clock`, if they
    are; `polls`: a struct pollfd each. First whether a queue is empty, then whether its worker sleeps: what it had read
    is written."""
    count, moment = len(rows), clock[0] * 1000000000 + clock[1]
    _poll(polls.ctypes.data, count, 0)
    for number in range(count):
        said, is_empty = rows[number, MOMENT], polls[2 * number + 1] >> 16 == 0
        if is_empty and rows[number, ASLEEP] != 0 and said < moment:
            exchange(rows[number], said, moment)  # its worker may have woken up, and be further
