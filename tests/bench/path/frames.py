"""Flows with random ports (RFC 4814), and their frames, UDP over IPv6 or IPv4, many at a time in arrays.

The payload of a frame that opens a flow begins with the number of the flow. That of a tagged frame has the time at
which it was sent and the complement of that time, so that the checksum holds whatever the time.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tests.bench.traffic import ETHERNET, IPV4, IPV6, UDP, Address

Octets = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]

FCS = 4  # octets behind a frame, which no interface of ours counts
SMALLEST = 18  # octets of payload: of a frame of 64 octets of IPv4, 84 of IPv6
FIRST_PORT = 1024
TAG_PORT = 1023  # the server's port of the flow that has the tagged frames
PROTOCOL_UDP = 17


class Flows(NamedTuple):
    """Flows by number: which client, its port, and the server's."""

    host: Numbers
    client_port: Numbers
    server_port: Numbers

    @property
    def number(self) -> int:
        """How many."""
        return len(self.host)


class Ends(NamedTuple):
    """Where frames come from and go to, a row each; the addresses are 16 or 4 octets long."""

    source: Octets
    source_port: Numbers
    target: Octets
    target_port: Numbers


def draw(count: int, hosts: int, seed: int) -> Flows:
    """So many flows of so many clients; no two are alike. One more comes first: that of the tagged frames."""
    random = np.random.default_rng(seed)
    ports = 65536 - FIRST_PORT
    chosen = random.choice(hosts * ports * ports, size=count + 1, replace=False)
    host, rest = np.divmod(chosen, ports * ports)
    client, server = np.divmod(rest, ports)
    server_port = server + FIRST_PORT
    server_port[0] = TAG_PORT
    return Flows(host, client + FIRST_PORT, server_port)


def some(columns: tuple[npt.NDArray[Any], ...], rows: slice) -> Iterator[npt.NDArray[Any]]:
    """Some rows of each column; a column of one row is the same for all."""
    return (column if len(column) == 1 else column[rows] for column in columns)


def addresses(of: list[Address]) -> Octets:
    """A row for each address."""
    return np.array([list(address.packed) for address in of], np.uint8)


def build(macs: bytes, ends: Ends, payload: Octets) -> Octets:
    """A frame for each row of `payload`: `macs` are the addresses of its Ethernet header."""
    count, length = payload.shape
    width = ends.source.shape[1]
    header = IPV6 if width == 16 else IPV4
    l4 = ETHERNET + header
    rows = np.zeros((count, l4 + UDP + length), np.uint8)
    rows[:, :12] = list(macs)
    if width == 16:
        rows[:, 12:14] = 0x86, 0xDD
        rows[:, 14] = 0x60
        _put(rows, 18, UDP + length)
        rows[:, 20:22] = PROTOCOL_UDP, 64
        rows[:, 22:38], rows[:, 38:54] = ends.source, ends.target
    else:
        rows[:, 12:14] = 0x08, 0x00
        rows[:, 14] = 0x45
        _put(rows, 16, IPV4 + UDP + length)
        rows[:, 20] = 0x40  # DF
        rows[:, 22:24] = 64, PROTOCOL_UDP
        rows[:, 26:30], rows[:, 30:34] = ends.source, ends.target
        _put(rows, 24, checksum(rows[:, 14:34]))
    _put(rows, l4, ends.source_port)
    _put(rows, l4 + 2, ends.target_port)
    _put(rows, l4 + 4, UDP + length)
    rows[:, l4 + UDP :] = payload
    pseudo = l4 - 2 * width  # the addresses are the end of both headers
    _put(rows, l4 + 6, checksum(rows[:, pseudo:], PROTOCOL_UDP + UDP + length))
    return rows


def checksum(rows: Octets, more: int = 0) -> Numbers:
    """RFC 1071 of each row, `more` added; never zero, as UDP has it."""
    even = rows if rows.shape[1] % 2 == 0 else np.pad(rows, ((0, 0), (0, 1)))
    total = np.ascontiguousarray(even).view(">u2").sum(axis=1, dtype=np.int64) + more
    for _ in range(2):
        total = (total & 0xFFFF) + (total >> 16)
    return np.where(total == 0xFFFF, 0xFFFF, total ^ 0xFFFF)


def opening(count: int) -> Octets:
    """Payloads with the numbers 0 to count − 1."""
    payload = np.zeros((count, SMALLEST), np.uint8)
    payload[:, :4] = np.arange(count, dtype=">u4").view(np.uint8).reshape(count, 4)
    return payload


def tag(row: Octets, at: int, nanoseconds: int) -> None:
    """Write a time into the payload at `at` of a frame that was built with `tagged`."""
    row[at : at + 16].view("<u8")[:] = nanoseconds, ~nanoseconds & 0xFFFFFFFFFFFFFFFF


def tagged(length: int) -> Octets:
    """One payload to be tagged: the time 0."""
    payload = np.zeros((1, length), np.uint8)
    tag(payload[0], 0, 0)
    return payload


class Seen(NamedTuple):
    """What was captured: where frames came from and went to, and the first 16 octets of their payload."""

    ends: Ends
    payload: Octets

    @property
    def numbers(self) -> Numbers:
        """Of frames that open flows: which."""
        return np.ascontiguousarray(self.payload[:, :4]).view(">u4")[:, 0].astype(np.int64)

    @property
    def times(self) -> Numbers:
        """Of tagged frames: when they were sent."""
        return np.ascontiguousarray(self.payload[:, :8]).view("<i8")[:, 0]


def read(rows: Octets, width: int) -> tuple[Seen, npt.NDArray[np.bool_]]:
    """The UDP datagrams among captured frames of one family, and which rows they were."""
    header = IPV6 if width == 16 else IPV4
    protocol, version = (20, 0x60) if width == 16 else (23, 0x45)
    mine = (rows[:, protocol] == PROTOCOL_UDP) & (rows[:, 14] & (0xF0 if width == 16 else 0xFF) == version)
    rows = rows[mine]
    l4 = ETHERNET + header
    middle = l4 - width
    ports = np.ascontiguousarray(rows[:, l4 : l4 + 4]).view(">u2").astype(np.int64)
    ends = Ends(rows[:, middle - width : middle], ports[:, 0], rows[:, middle:l4], ports[:, 1])
    return Seen(ends, rows[:, l4 + UDP : l4 + UDP + 16]), mine


def _put(rows: Octets, at: int, value: Numbers | int) -> None:
    """A 16-bit field of every row."""
    rows[:, at] = np.asarray(value) >> 8
    rows[:, at + 1] = np.asarray(value) & 0xFF
