"""Captures as `nat64d replay` reads and writes them: pcap and pcapng, link types, times, and files that are damaged."""

import struct
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.ppp import HDLC, PPP, PPPoE
from scapy.utils import RawPcapNgWriter, RawPcapReader, RawPcapWriter

from nat64d.offline.capture import LATEST, SECOND, Reader, Writer
from nat64d.offline.link_types import LINK_TYPES, NAMES, unreadable

SIX = bytes(IPv6(src="2001:db8:1::10", dst="64:ff9b::198.51.100.7") / UDP(sport=5000, dport=53) / b"query")
FOUR = bytes(IP(src="198.51.100.7", dst="203.0.113.1") / UDP(sport=53, dport=40000) / b"answer")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.pcap"


def read(path: Path) -> list[tuple[int, bytes]]:
    with Reader(path) as reader:
        return list(reader)


def write(path: Path, packets: list[tuple[int, bytes]]) -> Path:
    with Writer(path) as writer:
        for time, octets in packets:
            writer.write(time, octets)
    return path


def header(link_type: int, magic: int = 0xA1B2C3D4, order: str = "<") -> bytes:
    return struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link_type)


def record(frame: bytes, seconds: int = 1, fraction: int = 0, length: int | None = None, order: str = "<") -> bytes:
    return struct.pack(order + "IIII", seconds, fraction, len(frame), length or len(frame)) + frame


def nflog(order: str, *attributes: tuple[int, bytes]) -> bytes:
    """A netfilter log message (linux/netfilter/nfnetlink_log.h)."""
    padded = (struct.pack(order + "HH", 4 + len(v), kind) + v + bytes(-len(v) % 4) for kind, v in attributes)
    return b"\x0a\0\0\0" + b"".join(padded)


ETHERNET = bytes.fromhex("020000000001 020000000002")
FRAMES = [
    (101, SIX, SIX),
    (101, FOUR, FOUR),
    (12, SIX, SIX),
    (228, FOUR, FOUR),
    (229, SIX, SIX),
    (1, bytes(Ether() / IPv6(SIX)), SIX),
    (1, bytes(Ether() / IP(FOUR)) + b"\0" * 6, FOUR + b"\0" * 6),
    (1, bytes(Ether() / Dot1Q(vlan=7) / IPv6(SIX)), SIX),
    (1, bytes(Ether(type=0x88A8) / Dot1Q(vlan=7) / Dot1Q(vlan=8) / IP(FOUR)), FOUR),
    (1, ETHERNET + b"\x91\x00\x00\x07\x08\x00" + FOUR, FOUR),
    (1, ETHERNET + b"\x08\x06" + b"\x45" * 28, b""),
    (1, ETHERNET + b"\x00\x26" + b"\x42" * 38, b""),
    (1, ETHERNET + b"\x81\x00", b""),
    (1, b"\x02", b""),
    (1 | 0x10000000, ETHERNET + b"\x86\xdd" + SIX, SIX),
    (113, b"\0" * 14 + b"\x86\xdd" + SIX, SIX),
    (113, b"\0" * 14 + b"\x81\x00\x00\x07\x08\x00" + FOUR, FOUR),
    (113, b"\0" * 14 + b"\x00\x04" + SIX, b""),
    (276, b"\x08\x00" + b"\0" * 18 + FOUR, FOUR),
    (276, b"\x08\x06" + b"\0" * 18 + FOUR, b""),
    (0, b"\x02\0\0\0" + FOUR, FOUR),
    (0, b"\0\0\0\x1e" + SIX, SIX),
    (0, b"\x0a\0\0\0" + SIX, SIX),
    (0, b"\x07\0\0\0" + SIX, b""),
    (108, b"\0\0\0\x18" + SIX, SIX),
    (108, b"\0\0\0\x02" + FOUR, FOUR),
    (1, bytes(Ether() / PPPoE(sessionid=7) / PPP() / IPv6(SIX)), SIX),
    (1, bytes(Ether() / Dot1Q(vlan=7) / PPPoE(sessionid=7) / PPP() / IP(FOUR)), FOUR),
    (1, bytes(Ether() / PPPoE(sessionid=7) / PPP(proto=0xC021) / (b"\x09\0" * 4)), b""),
    (1, ETHERNET + b"\x88\x64", b""),
    (9, bytes(PPP(proto=0x57)) + SIX, SIX),
    (9, bytes(HDLC() / PPP(proto=0x21)) + FOUR, FOUR),
    (9, b"\x57" + SIX, SIX),
    (9, b"\xff\x03\x21" + FOUR, FOUR),
    (9, bytes(PPP(proto=0xC021)) + SIX, b""),
    (9, b"", b""),
    (14, FOUR, FOUR),
    (50, bytes(HDLC() / PPP(proto=0x57)) + SIX, SIX),
    (50, b"\x0f\0\x08\0" + FOUR, FOUR),
    (51, bytes(PPPoE(sessionid=7) / PPP(proto=0x21)) + FOUR, FOUR),
    (104, b"\x8f\0\x86\xdd" + SIX, SIX),
    (104, b"\x0f\0\x80\x35" + SIX, b""),
    (109, struct.pack("<III", 24, 1, 2) + SIX, SIX),
    (109, struct.pack(">III", 2, 1, 2) + FOUR, FOUR),
    (109, struct.pack("<III", 7, 1, 2) + FOUR, b""),
    (138, bytes(16) + b"\x08\0" + FOUR, FOUR),
    (204, b"\1\xff\x03\0\x57" + SIX, SIX),
    (205, b"\0\x0f\0\x08\0" + FOUR, FOUR),
    (239, nflog("<", (10, b"prefix\0"), (9, SIX)), SIX),
    (239, nflog(">", (5, b"\0\0\0\1"), (9, FOUR)), FOUR),
    (239, nflog("<", (10, b"none\0")), b""),
    (239, nflog("<") + b"\xff\xff\x09\0", b""),
    (239, b"\x02", b""),
]


@pytest.mark.parametrize(("link_type", "frame", "packet"), FRAMES)
def test_the_packet_is_found_behind_its_link_header(file, link_type, frame, packet):
    file.write_bytes(header(link_type) + record(frame))
    assert read(file) == [(SECOND, packet)]


def test_every_link_type_has_a_case():
    assert {link_type & 0xFFFF for link_type, *_ in FRAMES} == set(LINK_TYPES)


@pytest.mark.parametrize("number", [*NAMES, 147, 65535])
def test_a_link_type_that_is_not_read_is_refused_by_name_with_a_remedy(number):
    assert number not in LINK_TYPES
    sentence = unreadable(number)
    assert sentence.startswith(
        f"has link type {number}, {NAMES[number]}," if number in NAMES else f"has link type {number},"
    )
    assert "which nat64d does not read: " in sentence
    assert "capture on the " in sentence or "tcpdump" in sentence


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_pcap_of_either_byte_order_and_resolution(file, order, magic, unit):
    octets = header(101, magic, order) + record(SIX, 7, 123456, order=order) + record(FOUR, 8, 5, order=order)
    file.write_bytes(octets)
    assert read(file) == [(7 * SECOND + 123456 * unit, SIX), (8 * SECOND + 5 * unit, FOUR)]


def test_a_time_that_goes_back_counts_as_the_last_one(file):
    file.write_bytes(header(101) + record(SIX, 7) + record(FOUR, 6, 999) + record(SIX, 8))
    assert [time for time, _ in read(file)] == [7 * SECOND, 7 * SECOND, 8 * SECOND]


def test_a_time_no_record_can_hold_counts_as_the_last_that_one_can(file):
    file.write_bytes(header(101) + record(SIX, 0xFFFFFFFF, 0xFFFFFFFF))
    assert read(file) == [(LATEST, SIX)]
    assert read(write(file, [(LATEST, SIX)])) == [(LATEST, SIX)]


def test_packets_not_captured_whole_are_counted(file):
    file.write_bytes(header(101) + record(SIX[:40], length=len(SIX)) + record(SIX))
    with Reader(file) as reader:
        assert [len(octets) for _, octets in reader] == [40, len(SIX)]
        assert reader.incomplete == 1
        assert reader.position() == reader.size == 24 + 16 + 40 + 16 + len(SIX)


def test_scapy_reads_what_is_written(file):
    packets = [(1_700_000_000 * SECOND + 1, SIX), (1_700_000_000 * SECOND + 999_999_999, FOUR)]
    reader = RawPcapReader(str(write(file, packets)))
    assert (reader.linktype, reader.nano, reader.endian) == (101, True, "<")
    assert [(about.sec * SECOND + about.usec, octets) for octets, about in reader] == packets
    reader.close()


def test_what_scapy_writes_is_read(file):
    with RawPcapWriter(str(file), linktype=1, endianness=">", nano=True) as writer:
        writer.write_header(None)
        writer.write_packet(bytes(Ether() / IP(FOUR)), sec=5, usec=6)
    assert read(file) == [(5 * SECOND + 6, FOUR)]
    writer = RawPcapNgWriter(str(file))
    writer.linktype = 1
    writer.write_header(None)
    writer.write_packet(bytes(Ether() / IP(FOUR)), sec=5.5)
    writer.close()
    assert read(file) == [(5 * SECOND + SECOND // 2, FOUR)]


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += b"\0" * (-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link_type: int, *options: tuple[int, bytes], snap_length: int = 0, order: str = "<") -> bytes:
    body = struct.pack(order + "HHI", link_type, 0, snap_length)
    for code, value in options:
        body += struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)
    return block(1, body, order)


def enhanced(number: int, ticks: int, frame: bytes, order: str = "<", size: int | None = None) -> bytes:
    size = len(frame) if size is None else size
    return block(6, struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, size, size) + frame, order)


def simple(frame: bytes, length: int | None = None) -> bytes:
    return block(3, struct.pack("<I", length or len(frame)) + frame)


@pytest.mark.parametrize("order", "<>")
def test_pcapng_with_interfaces_of_their_own_link_types_and_clocks(file, order):
    end = (0, b"")
    offset = (14, struct.pack(order + "q", 1_000_000_000))
    file.write_bytes(
        section(order)
        + interface(101, order=order)
        + interface(1, (2, b"eth0"), (9, b"\x09"), end, order=order)
        + interface(229, (9, bytes([0x80 | 10])), offset, end, order=order)
        + block(4, b"names", order)
        + enhanced(0, 7_000_001, SIX, order)
        + enhanced(1, 8_000_000_001, bytes(Ether() / IP(FOUR)), order)
        + enhanced(2, 1024 + 512, SIX, order)
        + block(5, b"statistics", order)
    )
    times = [7 * SECOND + 1000, 8 * SECOND + 1, 1_000_000_001 * SECOND + SECOND // 2]
    assert read(file) == list(zip(times, [SIX, FOUR, SIX], strict=True))


def test_pcapng_packets_without_a_time_have_that_of_the_one_before(file):
    file.write_bytes(
        section()
        + interface(101, snap_length=45)
        + enhanced(0, 5_000_000, FOUR)
        + simple(SIX[:45], len(SIX))
        + simple(FOUR)
        + section(">")
        + interface(229, order=">")
        + enhanced(0, 6_000_000, SIX, ">")
    )
    assert read(file) == [(5 * SECOND, FOUR), (5 * SECOND, SIX[:45]), (5 * SECOND, FOUR), (6 * SECOND, SIX)]
