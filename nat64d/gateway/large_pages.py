"""A file in memory, mapped in pages of 2 MiB where the kernel can: a record that is in no cache is then found in little
more than half of the time, as where it lies has not to be looked up in tables that are in no cache either.

The kernel (since Linux 6.1) makes them of the pages that the file has: it takes no more memory, and the next process
that maps the file finds them there. Elsewhere the pages stay as they are.
"""

import ctypes
import mmap
import os
from contextlib import suppress

PAGE = 2 << 20  # octets; of another size on some machines, where nothing comes of it
COLLAPSE = 25  # MADV_COLLAPSE
FIXED = 0x10  # MAP_FIXED
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


def map_file(fd: int, size: int, is_new: bool) -> memoryview:
    """So many octets of a file, shared with whoever maps it, from a boundary of large pages on; `is_new`: it has none
    yet. Raises OSError."""
    place = mmap.mmap(-1, size + PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(place))
    begin = -address % PAGE
    flags = mmap.MAP_SHARED | mmap.MAP_POPULATE | FIXED
    if _libc.mmap(address + begin, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, fd, 0) != address + begin:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    if is_new:
        with suppress(OSError):
            place.madvise(COLLAPSE, begin, size)
    return memoryview(place)[begin : begin + size]
