"""The first page of [state] file (state_file.py): what wrote it, in which boot, and what follows."""

import hashlib
import struct
from typing import Any, NamedTuple

import numpy as np

from translator.static.rfc6052 import LENGTH
from translator.tables.layout import AFFINITY, BLOCK, CLIENT, SESSION, WAITING_PORT

PAGE = 4096
MAGIC = b"nat64d\0\0"
FIELDS = struct.Struct("<8s32s36s32s8Q")
CHECKSUM = 32
MEMORY = struct.Struct("<Q")
PREFIXES = 64 * 24  # octets for rows of Settings.prefixes, zeros behind the last

Rows = np.ndarray[Any, Any]


class Header(NamedTuple):
    """What the first page says."""

    magic: bytes
    layout: bytes
    boot: bytes
    config: bytes  # digest of what MATTERS
    sessions: int  # records
    quarantine: int
    blocks: int
    affinities: int
    clients6: int
    statics: int  # BIB entries for members of services and of [[forward]]
    clean: int  # whether the daemon has stopped, and was not killed
    attempts: int  # starts that tried to take the records over, since the last one that did
    prefixes: bytes  # octets of Settings.prefixes, PREFIXES of them; none: they are damaged
    memory: int = 0  # its number, where the sessions are not in the file

    @property
    def page(self) -> bytes:
        """The page that says so."""
        parts = FIELDS.pack(*self[:-2]), self.prefixes, MEMORY.pack(self.memory)
        return b"".join(part + hashlib.sha256(part).digest() for part in parts).ljust(PAGE, b"\0")

    @property
    def numbered(self) -> Rows:
        """The prefixes as Settings.prefixes has them."""
        rows: Rows = np.frombuffer(self.prefixes, "<i8").reshape(-1, 3)
        living: Rows = rows[rows[:, LENGTH] != 0]
        return living

    @property
    def quarantine_at(self) -> int:
        """Where in the file the second table begins."""
        return PAGE + pages(self.sessions * SESSION.itemsize)

    @property
    def blocks_at(self) -> int:
        """Where in the file the third table begins."""
        return self.quarantine_at + pages(self.quarantine * WAITING_PORT.itemsize)

    @property
    def affinities_at(self) -> int:
        """Where in the file the fourth table begins."""
        return self.blocks_at + pages(self.blocks * BLOCK.itemsize)

    @property
    def clients6_at(self) -> int:
        """Where in the file the fifth table begins."""
        return self.affinities_at + pages(self.affinities * AFFINITY.itemsize)

    @property
    def size(self) -> int:
        """Octets of the file."""
        return self.clients6_at + pages(self.clients6 * CLIENT.itemsize)


def pages(octets: int) -> int:
    """Octets of the pages that so many octets take."""
    return -(-octets // PAGE) * PAGE


def header_in(page: bytes) -> Header | None:
    """The header in the first page of a file, None if there is none, or a damaged one."""
    packed = _sound(page, 0, FIELDS.size)
    if not packed.startswith(MAGIC):
        return None
    prefixes_at, memory_at = FIELDS.size + CHECKSUM, FIELDS.size + PREFIXES + 2 * CHECKSUM
    (memory,) = MEMORY.unpack(_sound(page, memory_at, MEMORY.size) or bytes(MEMORY.size))
    return Header._make((*FIELDS.unpack(packed), _sound(page, prefixes_at, PREFIXES), memory))


def _sound(page: bytes, at: int, size: int) -> bytes:
    """So many octets that their checksum follows; none if it is another one."""
    part, checksum = page[at : at + size], page[at + size : at + size + CHECKSUM]
    return part if hashlib.sha256(part).digest() == checksum else b""
