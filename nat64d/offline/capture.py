"""Read pcap and pcapng files as IP packets with times, and write pcap files.

A file that is cut off or contradicts itself is an error with its place; scapy's readers treat that as the end of the
file.
"""

import struct
from collections.abc import Iterator
from io import BufferedReader, FileIO
from pathlib import Path
from typing import NamedTuple, Self

from nat64d.offline.link_types import LINK_TYPES, LINKTYPE_RAW, unreadable

# SPEC: the PCAP and pcapng drafts of the IETF's opsawg
SECOND = 10**9  # times are nanoseconds since the epoch
PCAP = {  # first octets -> byte order, nanoseconds in a unit of the time's fraction
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
PCAPNG = b"\x0a\x0d\x0d\x0a"  # also the type of a Section Header Block, the same in either byte order
BYTE_ORDER = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
VERSION = 2  # of pcap, the major one; its first had other headers
INTERFACE, OLD_PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 1, 2, 3, 6  # block types
END_OF_OPTIONS, IF_TSRESOL, IF_TSOFFSET = 0, 9, 14  # options of an interface
PACKETS = {OLD_PACKET: "HHIIII", ENHANCED_PACKET: "IIIII"}  # interface, high and low half of the time, two sizes
LINKTYPE_MASK = 0xFFFF  # above it, a pcap header tells the length of the frame check sequence
LATEST = (1 << 32) * SECOND - 1  # what a pcap record can hold
# LIMITS
LARGEST_RECORD = 1 << 24  # octets of a record; more is damage


class CaptureError(Exception):
    """The capture cannot be used; its text is one sentence."""


class CutOffError(CaptureError):
    """The capture ends within a record, as when its writer was killed or the disk was full."""


class Interface(NamedTuple):
    """An interface of a pcapng file, as far as its packets depend on it."""

    link_type: int
    snap_length: int
    resolution: int  # ticks in a second
    offset: int  # seconds


Packet = tuple[int, bytes]  # time, octets of an IP packet (empty: the frame carried something else)
Record = tuple[int, int, bytes, int]  # link type, time, frame, its length on the wire


class _File(BufferedReader):
    """A file, or a pipe, that is read in whole records."""

    at = 0  # octets taken so far

    def take(self, count: int, optional: bool = False) -> bytes:
        """Read `count` octets; with `optional`, none at the end of the file. Raises CaptureError if there are fewer."""
        if not 0 <= count <= LARGEST_RECORD:
            raise CaptureError(f"{self.name} is damaged: a record of {count} octets at octet {self.at}")
        octets = self.read(count)
        self.at += len(octets)
        if len(octets) < count and (octets or not optional):
            raise CutOffError(f"{self.name} is cut off: it ends within a record, at octet {self.at}")
        return octets


def _pcap(file: _File) -> Iterator[Record]:
    order, unit = PCAP[file.take(4)]
    version, minor, *_, link_type = struct.unpack(order + "HHiIII", file.take(20))
    if version != VERSION:
        raise CaptureError(f"{file.name} is pcap of version {version}.{minor}: expected {VERSION}.x")
    unpack, take = struct.Struct(order + "IIII").unpack, file.take
    while header := take(16, optional=True):
        seconds, fraction, size, length = unpack(header)
        yield link_type, seconds * SECOND + fraction * unit, take(size), length


def _pcapng(file: _File) -> Iterator[Record]:
    order, interfaces = "", list[Interface]()
    while start := file.take(8, optional=True):
        mark = file.take(4) if start[:4] == PCAPNG else b""
        if mark:
            order, interfaces = BYTE_ORDER.get(mark, ""), []
        kind, length = struct.unpack(order + "II", start)
        body = file.take(length - 12 - len(mark))
        if not order or file.take(4) != start[4:]:
            raise ValueError
        if kind == INTERFACE:
            interfaces.append(_interface(order, body))
        elif kind in PACKETS:
            number, *_, high, low, size, length = struct.unpack_from(order + PACKETS[kind], body)
            link_type, _, resolution, offset = interfaces[number]
            time, data = (high << 32 | low) * SECOND // resolution + offset * SECOND, struct.calcsize(PACKETS[kind])
            if data + size > len(body):
                raise ValueError
            yield link_type, time, body[data : data + size], length
        elif kind == SIMPLE_PACKET:  # it has no time, so it gets that of the packet before it
            (length,) = struct.unpack_from(order + "I", body)
            yield interfaces[0].link_type, 0, body[4 : 4 + min(length, interfaces[0].snap_length or length)], length


def _interface(order: str, body: bytes) -> Interface:
    """Parse the body of an Interface Description Block."""
    link_type, _, snap_length = struct.unpack_from(order + "HHI", body)
    resolution, offset, at = 10**6, 0, 8
    while at < len(body):
        code, size = struct.unpack_from(order + "HH", body, at)
        if code == END_OF_OPTIONS:
            break
        if code == IF_TSRESOL:
            exponent = body[at + 4]
            resolution = 2 ** (exponent & 0x7F) if exponent & 0x80 else 10**exponent
        elif code == IF_TSOFFSET:
            (offset,) = struct.unpack_from(order + "q", body, at + 4)
        at += 4 + (size + 3) // 4 * 4
    return Interface(link_type, snap_length, resolution, offset)


class Reader:
    """Iterates once over the packets of a capture; raises CaptureError. A time that goes back is replaced by the last.

    `size`: octets of the file; `incomplete`: packets so far that were not captured whole (snap length). After the last
    packet, or an error, `count` is their number and `latest` the time of the last one.
    """

    def __init__(self, path: Path) -> None:
        self.incomplete = self.count = self.latest = 0
        try:
            self._file = _File(FileIO(path))
            self.size = path.stat().st_size
            magic = self._file.peek(4)[:4]
        except OSError as error:
            raise CaptureError(f"{path} cannot be read: {error.strerror}") from error
        if magic != PCAPNG and magic not in PCAP:
            self._file.close()
            raise CaptureError(f"{path} is not a capture: expected pcap or pcapng")
        self._records = (_pcapng if magic == PCAPNG else _pcap)(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def position(self) -> int:
        """How many octets of the file have been read."""
        return self._file.at

    def __iter__(self) -> Iterator[Packet]:
        count = latest = 0
        try:
            for link_type, time, frame, length in self._records:
                packet = LINK_TYPES[link_type & LINKTYPE_MASK](frame)
                count += 1
                if time > latest:
                    latest = min(time, LATEST)
                self.incomplete += length > len(frame)
                yield latest, packet
        except KeyError as error:
            raise CaptureError(f"{self._file.name} {unreadable(error.args[0])}") from None
        except (struct.error, IndexError, ValueError):
            raise CaptureError(f"{self._file.name} is damaged at octet {self._file.at}") from None
        finally:
            self.count, self.latest = count, latest


class Writer:
    """Writes a pcap file of IP packets (LINKTYPE_RAW, nanosecond times, little-endian); raises CaptureError."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise CaptureError(f"{path} cannot be written: {error.strerror}") from error
        self._file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 1 << 18, LINKTYPE_RAW))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, time: int, octets: bytes) -> None:
        """Append a packet; `time` is in nanoseconds since the epoch."""
        header = struct.pack("<IIII", time // SECOND, time % SECOND, len(octets), len(octets))
        self._file.write(header + octets)
