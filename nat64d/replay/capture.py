"""Captures in and out: pcap and pcapng, reduced to IP packets and their times.

A file that breaks off or contradicts itself is an error, told in one sentence with the place. (scapy's readers take
that for its end, and need twice the time of all the rest of a replay.)
"""

import struct
from collections.abc import Callable, Iterator
from io import BufferedReader, FileIO
from pathlib import Path
from typing import NamedTuple, Self

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
LINKTYPE_RAW = 101
LINKTYPE_MASK = 0xFFFF  # above it, a pcap header tells the length of the frame check sequence
LATEST = (1 << 32) * SECOND - 1  # what a pcap record can hold
# LIMITS
LARGEST = 1 << 24  # octets of a record; more is damage


class CaptureError(Exception):
    """The capture cannot be used; one sentence."""


class Interface(NamedTuple):
    """What a pcapng file says of where its packets were captured."""

    link_type: int
    snap_length: int
    resolution: int  # ticks in a second
    offset: int  # seconds


Packet = tuple[int, bytes]  # time, octets of an IP packet (none: the frame carried something else)
Record = tuple[int, int, bytes, int]  # link type, time, frame, octets it had on the wire


class _File(BufferedReader):
    """A file that is read in whole records; it may be a pipe."""

    at = 0  # octets taken so far

    def take(self, count: int, optional: bool = False) -> bytes:
        """`count` octets, if `optional` or none at the end of the file; raises CaptureError if there are fewer."""
        if not 0 <= count <= LARGEST:
            raise CaptureError(f"{self.name} is damaged: a record of {count} octets at octet {self.at}")
        octets = self.read(count)
        self.at += len(octets)
        if len(octets) < count and (octets or not optional):
            raise CaptureError(f"{self.name} is cut off: it ends within a record, at octet {self.at}")
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
        elif kind == SIMPLE_PACKET:  # it has no time: that of the packet before it
            (length,) = struct.unpack_from(order + "I", body)
            yield interfaces[0].link_type, 0, body[4 : 4 + min(length, interfaces[0].snap_length or length)], length


def _interface(order: str, body: bytes) -> Interface:
    """An Interface Description Block."""
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


IPV4, IPV6 = 0x0800, 0x86DD  # EtherTypes
TAGS = (0x8100, 0x88A8, 0x9100)  # IEEE 802.1Q, 802.1ad, and what was used before
ADDRESS_FAMILIES = (2, 10, 24, 28, 30)  # AF_INET; AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, macOS


def _whole(frame: bytes) -> bytes:
    """The frame is the packet."""
    return frame


def _behind_ethertype(kind: int, header: int) -> Callable[[bytes], bytes]:
    """What is behind a link header of `header` octets with its EtherType at `kind`."""

    def packet(frame: bytes) -> bytes:
        ethertype, start = int.from_bytes(frame[kind : kind + 2]), header
        while ethertype in TAGS:
            ethertype, start = int.from_bytes(frame[start + 2 : start + 4]), start + 4
        return frame[start:] if ethertype in (IPV4, IPV6) else b""

    return packet


def _behind_family(frame: bytes) -> bytes:
    """What is behind an address family; LINKTYPE_NULL has it in the byte order of the machine that captured."""
    families = int.from_bytes(frame[:4], "little"), int.from_bytes(frame[:4])
    return frame[4:] if any(family in ADDRESS_FAMILIES for family in families) else b""


LINK_TYPES: dict[int, Callable[[bytes], bytes]] = {
    0: _behind_family,  # NULL
    1: _behind_ethertype(12, 14),  # ETHERNET
    12: _whole,  # RAW as some older programs write it
    LINKTYPE_RAW: _whole,
    108: _behind_family,  # LOOP
    113: _behind_ethertype(14, 16),  # LINUX_SLL
    228: _whole,  # IPV4
    229: _whole,  # IPV6
    276: _behind_ethertype(0, 20),  # LINUX_SLL2
}


class Reader:
    """The packets of a capture, in order, once; raises CaptureError. A time that goes back counts as the last one.

    `size`: octets of the file; `incomplete`: packets so far whose end was not captured (snap length). When all are
    read, `count` is how many there were and `latest` the time of the last one.
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
            raise CaptureError(f"{path} is no capture: expected pcap or pcapng")
        self._records = (_pcapng if magic == PCAPNG else _pcap)(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def position(self) -> int:
        """Octets read so far."""
        return self._file.at

    def __iter__(self) -> Iterator[Packet]:
        count = latest = 0
        try:
            for link_type, time, frame, length in self._records:
                count += 1
                if time > latest:
                    latest = min(time, LATEST)
                self.incomplete += length > len(frame)
                yield latest, LINK_TYPES[link_type & LINKTYPE_MASK](frame)
        except KeyError as error:
            known = ", ".join(map(str, LINK_TYPES))
            raise CaptureError(f"{self._file.name} has link type {error}: expected one of {known}") from None
        except (struct.error, IndexError, ValueError):
            raise CaptureError(f"{self._file.name} is damaged at octet {self._file.at}") from None
        self.count, self.latest = count, latest


class Writer:
    """A pcap of IP packets (LINKTYPE_RAW), nanosecond times, little-endian on every machine."""

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
        """Add one packet."""
        header = struct.pack("<IIII", time // SECOND, time % SECOND, len(octets), len(octets))
        self._file.write(header + octets)
