"""nat64d/gateway/large_pages.py: in which pages a file is mapped."""

import ctypes
import mmap
import os
import re
from pathlib import Path

import numpy as np
import pytest

from nat64d.gateway import large_pages
from nat64d.gateway.large_pages import COLLAPSE, PAGE, map_file

SIZE = 2 * PAGE


def in_large_pages(address: int) -> int:
    """Octets of the mapping that begins there which the processor finds by one entry for 2 MiB."""
    text = Path("/proc/self/smaps").read_text("ascii")
    mapping = re.search(rf"^0*{address:x}-.*?^ShmemPmdMapped: +(\d+) kB", text, re.DOTALL | re.MULTILINE)
    return int(mapping[1]) * 1024 if mapping else 0


def can_be_large() -> bool:
    """Whether this kernel makes large pages when it is asked to."""
    with mmap.mmap(-1, 2 * SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.write(bytes(2 * SIZE))
        begin = -ctypes.addressof(ctypes.c_char.from_buffer(memory)) % PAGE
        try:
            memory.madvise(COLLAPSE, begin, SIZE)
        except OSError:
            return False
    return True


def test_a_file_in_memory_is_in_large_pages_for_this_process_and_the_next():
    fd = os.memfd_create("large")
    os.posix_fallocate(fd, 0, SIZE + 100)
    for is_new in (True, False):
        octets = np.frombuffer(map_file(fd, SIZE + 100, is_new), np.uint8)
        assert octets.ctypes.data % PAGE == 0
        assert in_large_pages(octets.ctypes.data) == (SIZE if can_be_large() else 0)
        octets[-1] += 1
        del octets
    assert os.pread(fd, 1, SIZE + 99) == b"\2"
    os.close(fd)


def test_a_kernel_that_makes_none_maps_the_file_all_the_same(monkeypatch):
    monkeypatch.setattr(large_pages, "COLLAPSE", 9999)
    fd = os.memfd_create("small")
    os.posix_fallocate(fd, 0, SIZE)
    octets = np.frombuffer(map_file(fd, SIZE, True), np.uint8)
    octets[0] = 7
    assert os.pread(fd, 1, 0) == b"\7"
    os.close(fd)


def test_a_file_that_cannot_be_mapped_is_an_error():
    with pytest.raises(OSError, match="Bad file descriptor"):
        map_file(-1, SIZE, True)
