"""Datagrams side by side in memory, sent many in a system call (sendmmsg(2)): as fast as Python can load a network."""

import ctypes
import errno
import os
import time

import numpy as np
import numpy.typing as npt

BATCH = 64  # datagrams per sendmmsg
SURVIVABLE = {errno.ENOBUFS, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EAGAIN}  # a datagram lost, not the run
TURNS = 500  # of the loop per second, at most: a slow flood sends less in each

# struct iovec and struct mmsghdr on 64-bit Linux.
IOVEC = np.dtype([("base", "u8"), ("length", "u8")])
MMSGHDR = np.dtype(
    [
        ("name", "u8"),
        ("name_length", "u4"),
        ("iov", "u8"),
        ("iov_length", "u8"),
        ("control", "u8"),
        ("control_length", "u8"),
        ("flags", "i4"),
        ("sent", "u8"),  # unsigned int, and the padding to the next one
    ],
    align=True,
)

_libc = ctypes.CDLL(None, use_errno=True)


class Deck:
    """Datagrams of one length, the rows of an array of octets, which are sent in turn, over and over."""

    def __init__(self, rows: npt.NDArray[np.uint8]) -> None:
        self.rows = np.ascontiguousarray(rows)
        count, length = self.rows.shape
        self._vectors = np.zeros(count, IOVEC)
        self._vectors["base"] = self.rows.ctypes.data + length * np.arange(count, dtype=np.uint64)
        self._vectors["length"] = length
        self._messages = np.zeros(count, MMSGHDR)
        self._messages["iov"] = self._vectors.ctypes.data + IOVEC.itemsize * np.arange(count, dtype=np.uint64)
        self._messages["iov_length"] = 1
        self.next = 0  # the row that is sent next

    def send(self, descriptor: int, most: int = BATCH) -> int:
        """Send the next rows, `most` of them unless the deck ends; returns how many the kernel took. OSError."""
        count = min(most, len(self.rows) - self.next)
        place = self._messages.ctypes.data + MMSGHDR.itemsize * self.next
        self.next = (self.next + count) % len(self.rows)
        done = _libc.sendmmsg(descriptor, ctypes.c_void_p(place), count, 0)
        if done < 0 and (number := ctypes.get_errno()) not in SURVIVABLE:
            raise OSError(number, os.strerror(number))
        return max(int(done), 0)

    def flood(self, descriptor: int, seconds: float, rate: int = 0) -> int:
        """Send for so long, `rate` a second or (0) as fast as it goes; returns how many the kernel took. OSError."""
        start = now = time.monotonic()
        most = min(BATCH, max(1, rate // TURNS)) if rate else BATCH
        sent = 0
        while now - start < seconds:
            if rate and sent > (now - start) * rate:
                time.sleep(1 / TURNS)
            else:
                sent += self.send(descriptor, most)
            now = time.monotonic()
        return sent
