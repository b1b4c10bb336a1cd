"""Captures in and out: pcap and pcapng, reduced to IP packets and their times.

scapy reads the records. It takes a file that breaks off for one that ends; here that is an error, told in one sentence.
"""

from collections.abc import Callable, Iterator
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any, NamedTuple, Self

from scapy.error import Scapy_Exception
from scapy.utils import RawPcapNgReader, RawPcapReader, RawPcapWriter

# SPEC: first octets of a file
PCAP = (b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1")
PCAPNG = b"\x0a\x0d\x0d\x0a"
LINKTYPE_RAW = 101
LINKTYPE_MASK = 0xFFFF  # above it, a pcap header tells the length of the frame check sequence
SECOND = 10**9  # times are nanoseconds since the epoch
LATEST = (1 << 32) * SECOND - 1  # what a pcap record can hold
# LIMITS
LARGEST = 1 << 18  # octets of a frame
LARGEST_BLOCK = 1 << 24  # octets of a pcapng block; more is damage


class CaptureError(Exception):
    """The capture cannot be used; one sentence."""


class Packet(NamedTuple):
    """An IP packet of a capture; without octets when the frame carries something else."""

    time: int
    octets: bytes


# Link types, each with the offset of its EtherType and the length of its header.
_ETHERNET, _SLL, _SLL2 = (12, 14), (14, 16), (0, 20)
_IPV4, _IPV6 = 0x0800, 0x86DD
_TAGS = (0x8100, 0x88A8, 0x9100)  # IEEE 802.1Q, 802.1ad, and what was used before
_ADDRESS_FAMILIES = (2, 10, 24, 28, 30)  # AF_INET; AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, macOS


def _whole(frame: bytes) -> bytes:
    """LINKTYPE_RAW and the like: the frame is the packet."""
    return frame


def _behind_ethertype(kind: int, header: int) -> Callable[[bytes], bytes]:
    def packet(frame: bytes) -> bytes:
        ethertype, start = frame[kind : kind + 2], header
        while int.from_bytes(ethertype) in _TAGS:
            ethertype, start = frame[start + 2 : start + 4], start + 4
        return frame[start:] if int.from_bytes(ethertype) in (_IPV4, _IPV6) else b""

    return packet


def _behind_family(frame: bytes) -> bytes:
    """LINKTYPE_NULL is in the byte order of the machine that captured, LINKTYPE_LOOP big-endian."""
    little, big = int.from_bytes(frame[:4], "little"), int.from_bytes(frame[:4])
    return frame[4:] if little in _ADDRESS_FAMILIES or big in _ADDRESS_FAMILIES else b""


LINK_TYPES: dict[int, Callable[[bytes], bytes]] = {
    0: _behind_family,
    1: _behind_ethertype(*_ETHERNET),
    12: _whole,  # LINKTYPE_RAW as some older programs write it
    LINKTYPE_RAW: _whole,
    108: _behind_family,
    113: _behind_ethertype(*_SLL),
    228: _whole,
    229: _whole,
    276: _behind_ethertype(*_SLL2),
}


class _File(BufferedReader):
    """A file that tells an end between two records, where `between` has been set, from one within."""

    def __init__(self, path: Path) -> None:
        super().__init__(FileIO(path))
        self.between = self.ended = False

    def read(self, size: int | None = -1, /) -> bytes:
        """`size` octets; raises CaptureError if there are fewer, but for none between two records."""
        assert size is not None
        if size > LARGEST_BLOCK:
            raise CaptureError(f"{self.name} is damaged at octet {self.tell()}: a block of {size} octets")
        octets = super().read(size)
        if len(octets) < size:
            if octets or not self.between:
                raise CaptureError(f"{self.name} is cut off: it ends within a record, at octet {self.tell()}")
            self.ended = True
        self.between = False
        return octets


class _Pcap(RawPcapReader):
    def _read_packet(self, size: int = LARGEST) -> Any:
        assert isinstance(self.f, _File)
        self.f.between = True
        return super()._read_packet(size)


class _Pcapng(RawPcapNgReader):
    def _read_packet(self, size: int = LARGEST) -> Any:
        return super()._read_packet(size)

    def _read_block(self, size: int = LARGEST) -> Any:
        assert isinstance(self.f, _File)
        self.f.between = True
        return super()._read_block(size)


class Reader:
    """The packets of a capture, in order; raises CaptureError. A time that goes back counts as the last one.

    `size`: octets of the file; `incomplete`: packets so far whose end was not captured (snap length).
    """

    def __init__(self, path: Path) -> None:
        self.incomplete = 0
        self._path = path
        try:
            self._file = _File(path)
            self.size = path.stat().st_size
        except OSError as error:
            raise CaptureError(f"{path} cannot be read: {error.strerror}") from error
        magic = self._file.peek(4)[:4]
        if magic != PCAPNG and magic not in PCAP:
            raise CaptureError(f"{path} is no capture: expected pcap or pcapng")
        try:
            self._records = (_Pcapng if magic == PCAPNG else _Pcap)(self._file)  # type: ignore[arg-type]  # its metaclass opens files
        except Scapy_Exception as error:
            raise CaptureError(f"{path} is damaged: its first block cannot be read") from error
        self._link_type, self._time = _of_pcapng if magic == PCAPNG else _of_pcap(self._records)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def position(self) -> int:
        """Octets read so far."""
        return self._file.tell()

    def __iter__(self) -> Iterator[Packet]:
        latest = 0
        for frame, about in self._records:
            latest = min(max(latest, self._time(about)), LATEST)
            self.incomplete += about.wirelen > len(frame)
            yield Packet(latest, self._link(self._link_type(about))(frame))
        if not self._file.ended:
            raise CaptureError(f"{self._path} is damaged at octet {self._file.tell()}")

    def _link(self, number: int) -> Callable[[bytes], bytes]:
        link = LINK_TYPES.get(number & LINKTYPE_MASK)
        if link is None:
            known = ", ".join(map(str, LINK_TYPES))
            raise CaptureError(f"{self._path} has link type {number & LINKTYPE_MASK}: expected one of {known}")
        return link


# What a record's metadata says: (link type, time).
_About = tuple[Callable[[Any], int], Callable[[Any], int]]


def _of_pcap(reader: Any) -> _About:
    unit = 1 if reader.nano else 1000
    return lambda _: int(reader.linktype), lambda about: int(about.sec * SECOND + about.usec * unit)


def _pcapng_time(about: Any) -> int:
    """Ticks of the interface's resolution; a Simple Packet Block has no time, which counts as one that goes back."""
    if about.tshigh is None:
        return 0
    return int((about.tshigh << 32 | about.tslow) * SECOND // about.tsresol)


_of_pcapng: _About = (lambda about: int(about.linktype), _pcapng_time)


class Writer:
    """A pcap of IP packets (LINKTYPE_RAW), nanosecond times, little-endian on every machine."""

    def __init__(self, path: Path) -> None:
        try:
            self._pcap = RawPcapWriter(str(path), linktype=LINKTYPE_RAW, nano=True, endianness="<", bufsz=1 << 16)
        except OSError as error:
            raise CaptureError(f"{path} cannot be written: {error.strerror}") from error
        self._pcap.write_header(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pcap.close()

    def write(self, time: int, octets: bytes) -> None:
        """Add one packet."""
        seconds, nanoseconds = divmod(time, SECOND)
        self._pcap.write_packet(octets, seconds, nanoseconds)
