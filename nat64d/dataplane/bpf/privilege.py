"""CAP_BPF of a thread, which is in effect only while bpf(2) is called (capabilities(7)).

It stays permitted, as every reload loads another program. Threads have what the one that started them had.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

CAP_BPF = 39  # linux/capability.h
VERSION = 0x20080522  # of capget(2): two words for each set
EFFECTIVE, PERMITTED = 0, 1  # of the three numbers of a word
_libc = ctypes.CDLL(None, use_errno=True)


def _set(wanted: bool) -> bool:
    """Put CAP_BPF into effect, or take it out; returns whether that has changed something."""
    header, sets = (ctypes.c_uint32 * 2)(VERSION, 0), (ctypes.c_uint32 * 6)()
    if _libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    word, bit = 3 * (CAP_BPF // 32), 1 << CAP_BPF % 32
    if bool(sets[word + EFFECTIVE] & bit) == wanted or not sets[word + PERMITTED] & bit:
        return False
    sets[word + EFFECTIVE] ^= bit
    return bool(_libc.capset(header, sets) == 0)  # a filter of system calls may refuse: then it stays as it is


def lay_down() -> None:
    """Take CAP_BPF out of effect, for this thread and those it starts. Raises OSError."""
    _set(False)


@contextmanager
def taken_up() -> Iterator[None]:
    """CAP_BPF is in effect, if this thread may have it. Raises OSError."""
    changed = _set(True)
    try:
        yield
    finally:
        if changed:
            _set(False)
