"""What the program asks of a kernel, in plain Python: memory, maps, helpers (include/uapi/linux/bpf.h). For `nat64d
explain`, and for tests.

An address is the number of an area and an offset in it; outside of an area nothing is read or written, on the stack
nothing is read that was not written.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

AREA = 32  # bits of an offset
CONTEXT = 192  # octets of struct __sk_buff
LENGTH, MARK, PROTOCOL, IFINDEX, DATA, DATA_END, GSO_SIZE = 0, 8, 16, 40, 76, 80, 176  # in it
PSEUDO, MANGLED_0 = 0x10, 0x20
REDIRECT = 7

Order = Literal["little", "big"]


class Kernel:
    """One CPU, one packet at a time. `areas`: octets, and which of them may be read."""

    def __init__(self, maps: dict[str, np.ndarray], numbers: dict[str, int]) -> None:
        self.areas: list[tuple[np.ndarray, np.ndarray | None]] = [(np.zeros(0, np.uint8), None)] * 3
        self.symbols, self.widths = dict(numbers), dict[int, int]()
        self.fixed = 3 + len(maps)
        self.full = self.partial = False  # there is no room for a larger header; the checksum lacks the data
        self.complete = 0  # CHECKSUM_COMPLETE: the sum of what is behind the header of the link, not folded
        for name, array in maps.items():
            self.widths[len(self.areas)] = array.nbytes // len(array)
            self.symbols[name] = len(self.areas)
            self.areas.append((array.reshape(-1).view(np.uint8), None))

    def receive(self, frame: bytes, now: int, gso_size: int, linear: int | None = None) -> int:
        """Lay a frame and its context down; returns the address of the context. `linear`: octets that can be read."""
        del self.areas[self.fixed :]
        self.areas[1] = np.zeros(CONTEXT, np.uint8), None
        self.frame = frame
        self.complete = words_of(frame[self.symbols["link_header"] :], 0)
        self._lay(linear)
        context = 1 << AREA
        for at, value in ((LENGTH, len(frame)), (MARK, now), (IFINDEX, 3), (GSO_SIZE, gso_size)):
            self.write(context + at, 32, "little", value)
        self.write(context + PROTOCOL, 32, "little", int.from_bytes(frame[12:14], "little"))
        return context

    def _lay(self, linear: int | None) -> None:
        octets = np.frombuffer(self.frame[:linear], np.uint8).copy()
        self.areas[2] = octets, None
        # Two fields of 32 bits: an address in the area of the packet fits, as its number is left out.
        self.write((1 << AREA) + DATA, 32, "little", 0x80000000)
        self.write((1 << AREA) + DATA_END, 32, "little", 0x80000000 + len(octets))

    def _at(self, address: int, bits: int) -> tuple[np.ndarray, np.ndarray | None, int]:
        area, at = (2, address - 0x80000000) if address < 1 << AREA else (address >> AREA, address & (1 << AREA) - 1)
        octets, known = self.areas[area]
        assert 0 <= at <= len(octets) - bits // 8, f"{bits} bits at {address:#x}"
        return octets, known, at

    def read(self, address: int, bits: int, order: Order, signed: bool) -> int:
        """A number of so many bits."""
        octets, known, at = self._at(address, bits)
        assert known is None or known[at : at + bits // 8].all(), "nothing was written there"
        return int.from_bytes(octets[at : at + bits // 8].tobytes(), order, signed=signed)

    def write(self, address: int, bits: int, order: Order, value: int) -> None:
        """Its low bits."""
        octets, known, at = self._at(address, bits)
        octets[at : at + bits // 8] = list((int(value) & (1 << bits) - 1).to_bytes(bits // 8, order))
        if known is not None:
            known[at : at + bits // 8] = True

    def stack(self, size: int) -> int:
        """So many octets that were not written."""
        self.areas.append((np.zeros(size, np.uint8), np.zeros(size, bool)))
        return len(self.areas) - 1 << AREA

    def symbol(self, name: str) -> int:
        """A number, or a map."""
        return self.symbols[name]

    def call(self, number: int, *arguments: int) -> int:
        """A helper."""
        helpers: dict[int, Callable[..., int]] = {
            1: self._lookup,
            5: lambda: 10**9,
            8: lambda: 0,
            9: self._store,
            11: self._replace,
            23: self._redirect,
            31: self._change,
            40: self._update,
            160: lambda: 10**9,
        }
        return helpers[number](*map(int, arguments))

    def _lookup(self, area: int, key: int) -> int:
        row, width = self.read(key, 32, "little", False), self.widths[area]
        return area << AREA | row * width if (row + 1) * width <= len(self.areas[area][0]) else 0

    def _store(self, context: int, at: int, address: int, size: int, flags: int) -> int:
        assert (context, flags) == (1 << AREA, 1)
        stored = bytes(self.read(address + k, 8, "little", False) for k in range(size))
        assert at + size <= len(self.frame)
        self.complete += words_of(stored, at) - words_of(self.frame[at : at + size], at)
        self.frame = self.frame[:at] + stored + self.frame[at + size :]
        return 0

    def _replace(self, context: int, at: int, old: int, change: int, flags: int) -> int:
        """A change of the sum, in the order of this machine. One that lacks the data has its pseudo-header's alone."""
        assert (context, old) == (1 << AREA, 0)
        field = int.from_bytes(self.frame[at : at + 2], "little")
        if self.partial:
            new = folded(field + change) if flags & PSEUDO else field
        elif flags & MANGLED_0 and field == 0:
            new = 0
        else:
            new = 0xFFFF - folded(0xFFFF - field + change)
            new = 0xFFFF if flags & MANGLED_0 and new == 0 else new
        self.frame = self.frame[:at] + new.to_bytes(2, "little") + self.frame[at + 2 :]
        self.complete -= change if flags & PSEUDO else 0
        return 0

    def _update(self, context: int, change: int) -> int:
        """Of the sum that a network card has made."""
        assert context == 1 << AREA
        self.complete += change
        return 0

    def _change(self, context: int, protocol: int, flags: int) -> int:
        """Another header size behind that of the link, which keeps its place."""
        assert (context, flags) == (1 << AREA, 0)
        if self.full:
            return -12
        link = self.symbols["link_header"]
        room = bytes(20) if protocol == 0xDD86 else b""
        self.complete -= 0 if room else words_of(self.frame[link : link + 20], link)
        self.frame = self.frame[:link] + room + self.frame[link if room else link + 20 :]
        return 0

    def _redirect(self, interface: int, flags: int) -> int:
        assert (interface, flags) == (self.symbols["device"] or 3, 1)
        return REDIRECT


def words_of(octets: bytes, at: int) -> int:
    """The sum of octets that begin at an offset, as words in the order of this machine."""
    padded = bytes(at % 2) + octets
    return sum(memoryview(padded + bytes(len(padded) % 2)).cast("H"))


def folded(total: int) -> int:
    """A sum of words in 16 bits."""
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
