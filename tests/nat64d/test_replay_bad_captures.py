"""Captures that cannot be used: one sentence with the place, exit 2, never a traceback; and odd ones that can."""

import os
import random
import struct
import threading
from pathlib import Path

import pytest

from nat64d.offline.capture import SECOND, CaptureError, Reader
from nat64d.offline.replay import main
from tests.nat64d.test_replay_captures import (
    FOUR,
    SIX,
    block,
    enhanced,
    header,
    interface,
    read,
    record,
    section,
    simple,
    write,
)
from tests.scenarios import PCAPS

CONFIG = PCAPS / "nat64d.toml"
PING = PCAPS / "ping_from_ipv6.pcap"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.pcap"


NG = section() + interface(101) + enhanced(0, 0, SIX)
BAD_CAPTURES = {
    "nothing": (b"", "is not a capture: expected pcap or pcapng"),
    "text": (b"hello world\n", "is not a capture: expected pcap or pcapng"),
    "a part of the file header": (header(101)[:23], "is cut off: it ends within a record, at octet 23"),
    "a part of a record header": (header(101) + b"\0" * 15, "is cut off: it ends within a record, at octet 39"),
    "no packet": (header(101) + record(SIX)[:16], "is cut off: it ends within a record, at octet 40"),
    "a part of a packet": (
        header(101) + record(SIX)[:-1],
        f"is cut off: it ends within a record, at octet {39 + len(SIX)}",
    ),
    "a giant": (header(101) + b"\xff" * 16, "is damaged: a record of 4294967295 octets at octet 40"),
    "wireless": (
        header(105) + record(SIX),
        "has link type 105, IEEE802_11 (wireless), which nat64d does not read: capture on ",
    ),
    "a part of a block": (NG[:-4], f"is cut off: it ends within a record, at octet {len(NG) - 4}"),
    "a block without its second length": (NG[:-4] + b"\1\2\3\4", f"is damaged at octet {len(NG)}"),
    "no byte order": (section()[:8] + b"abcd" + section()[12:], "is damaged at octet "),
    "a packet of no interface": (section() + enhanced(0, 0, SIX), "is damaged at octet "),
    "a simple packet of no interface": (section() + simple(SIX), "is damaged at octet "),
    "more packet than block": (section() + interface(101) + enhanced(0, 0, SIX, size=99), "is damaged at octet "),
    "an interface of two octets": (section() + block(1, b""), "is damaged at octet "),
    "an option without value": (section() + interface(101, (9, b"")), "is damaged at octet "),
    "half a magic": (header(101)[:3], "is not a capture: expected pcap or pcapng"),
    "compressed": (b"\x1f\x8b\x08\x00" + bytes(100), "is not a capture: expected pcap or pcapng"),
    "snoop": (b"snoop\0\0\0" + bytes(100), "is not a capture: expected pcap or pcapng"),
    "the magic of another record header": (header(101, 0xA1B2CD34), "is not a capture: expected pcap or pcapng"),
    "the magic alone": (header(101)[:4], "is cut off: it ends within a record, at octet 4"),
    "an archaic version": (
        struct.pack("<IHHiIII", 0xA1B2C3D4, 1, 2, 0, 0, 65535, 101),
        "is pcap of version 1.2: expected 2.x",
    ),
    "swapped fields": (
        header(101, order=">")[:4] + header(101)[4:] + record(SIX),
        "is pcap of version 512.1024: expected 2.x",
    ),
    "the records of another byte order": (
        header(101) + record(SIX, order=">"),
        f"is damaged: a record of {len(SIX) << 24} octets at octet 40",
    ),
    "a length above all memory": (
        header(101) + struct.pack("<IIII", 1, 0, 1 << 31, 1 << 31),
        "is damaged: a record of 2147483648 octets at octet 40",
    ),
    "USB": (
        header(189) + record(SIX),
        "has link type 189, USB_LINUX, which nat64d does not read: it carries no IP packets",
    ),
    "FDDI over pcapng": (section() + interface(10) + enhanced(0, 0, SIX), "has link type 10, FDDI, which nat64d "),
    "one without a name": (header(147) + record(SIX), "has link type 147, which nat64d does not read: cut its header"),
    "a packet before its section": (enhanced(0, 0, SIX), "is not a capture: expected pcap or pcapng"),
    "an old packet of no interface": (section() + block(2, bytes(20)), "is damaged at octet "),
    "an old packet larger than its block": (
        section() + interface(101) + block(2, struct.pack("<HHIIII", 0, 0, 0, 0, 99, 99) + SIX),
        "is damaged at octet ",
    ),
    "a packet block of four octets": (section() + interface(101) + block(6, b"abcd"), "is damaged at octet "),
    "a clock offset of four octets": (section() + interface(101, (14, b"abcd")), "is damaged at octet "),
}


# A packet can be read, then no more.
BROKEN_CAPTURES = {
    "a tiny block": (NG + struct.pack("<II", 6, 8), f"is damaged: a record of -4 octets at octet {len(NG) + 8}"),
    "a part of the second packet": (
        header(101) + record(SIX) + record(FOUR)[:-3],
        f"is cut off: it ends within a record, at octet {24 + 16 + len(SIX) + 16 + len(FOUR) - 3}",
    ),
    "a block above all memory": (NG + struct.pack("<II", 6, 0xFFFFFFF0), "is damaged: a record of 4294967268 octets"),
    "a block of no octets": (NG + bytes(8), "is damaged: a record of -12 octets at octet "),
    "the packet of an interface of the section before": (
        NG + section() + enhanced(0, 0, SIX),
        "is damaged at octet ",
    ),
    "another link type": (
        section() + interface(101) + interface(10) + enhanced(0, 0, SIX) + enhanced(1, 0, SIX),
        "has link type 10, FDDI, which nat64d does not read: ",
    ),
}


@pytest.mark.parametrize(("octets", "sentence"), BROKEN_CAPTURES.values(), ids=list(BROKEN_CAPTURES))
def test_a_capture_that_breaks_off_has_totals_a_sentence_and_1(file, capsys, octets, sentence):
    file.write_bytes(octets)
    output = file.with_name("out.pcap")
    assert main([file], CONFIG, output, None, False) == 1
    told = capsys.readouterr()
    assert told.err.startswith(f"nat64d: {file} {sentence}")
    assert told.err.endswith("; packets before that: 1\n")
    assert told.err.count("\n") == 1
    assert told.out.splitlines()[1].split()[:2] == ["translated", "1"]
    assert len(read(output)) == 1
    assert main([file], CONFIG, None, None, True) == 1
    assert capsys.readouterr().out.endswith('{"totals": {"translated": 1}}\n')
    assert main([PING], CONFIG, None, file, False) == 2


def test_after_a_capture_that_is_cut_off_the_next_one_follows(file, capsys):
    file.write_bytes(header(101) + record(SIX) + record(SIX)[:-3])
    second = write(file.with_name("second.pcap"), [(2 * SECOND, SIX)])
    assert main([file, second], CONFIG, None, None, False) == 1
    told = capsys.readouterr()
    assert told.out.splitlines()[1].split()[:2] == ["translated", "2"]
    sentence = f"is cut off: it ends within a record, at octet {24 + 32 + 2 * len(SIX) - 3}"
    assert told.err == f"nat64d: {file} {sentence}; packets before that: 1\n"


def test_after_a_capture_that_is_damaged_nothing_follows(file, capsys):
    file.write_bytes(header(101) + record(SIX) + b"\xff" * 16)
    second = write(file.with_name("second.pcap"), [(2 * SECOND, SIX)])
    assert main([file, second], CONFIG, None, None, False) == 1
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["translated", "1"]


@pytest.mark.parametrize(("octets", "sentence"), BAD_CAPTURES.values(), ids=list(BAD_CAPTURES))
def test_a_bad_capture_is_one_sentence_and_2(file, capsys, octets, sentence):
    file.write_bytes(octets)
    assert main([file], CONFIG, None, None, False) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"nat64d: {file} {sentence}")
    assert told.err.count("\n") == 1
    assert main([PING], CONFIG, None, file, False) == 2


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (PCAPS, "cannot be read: Is a directory"),
        (PCAPS / "none.pcap", "cannot be read: No such file or directory"),
        (PING / "none.pcap", "cannot be read: Not a directory"),
        (Path("/dev/null"), "is not a capture: expected pcap or pcapng"),
        (Path("/dev/zero"), "is not a capture: expected pcap or pcapng"),
    ],
    ids=str,
)
def test_what_is_no_file_is_one_sentence_and_2(path, sentence, capsys):
    for inputs, expect in (([path], None), ([PING, path], None), ([PING], path)):
        assert main(inputs, CONFIG, None, expect, False) == 2
        assert capsys.readouterr().err == f"nat64d: {path} {sentence}\n"


def through_a_pipe(path: Path, octets: bytes) -> threading.Thread:
    """Make `path` a named pipe that gives these octets to its reader."""
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(octets,))
    writer.start()
    return writer


def test_a_pipe_is_a_capture_like_any_other(file, capsys):
    writer = through_a_pipe(file, PING.read_bytes())
    assert main([file], CONFIG, None, PCAPS / "ping_from_ipv6.expected.pcap", False) == 0
    writer.join(10)
    assert capsys.readouterr().err.endswith(": the same\n")


def test_a_pipe_that_breaks_off_has_totals_and_1(file, capsys):
    octets = PING.read_bytes()[:-1]
    writer = through_a_pipe(file, octets)
    assert main([file], CONFIG, None, None, False) == 1
    writer.join(10)
    told = capsys.readouterr()
    assert told.err.startswith(f"nat64d: {file} is cut off: it ends within a record, at octet {len(octets)}; ")
    assert told.out.startswith("VERDICT ")


# Odd, and read.


def test_pcapng_old_packet_blocks(file):
    old = struct.pack("<HHIIII", 0, 7, 0, 3_000_000, len(SIX), len(SIX)) + SIX
    file.write_bytes(section() + interface(101) + block(2, old) + enhanced(0, 4_000_000, FOUR))
    assert read(file) == [(3 * SECOND, SIX), (4 * SECOND, FOUR)]


def test_pcapng_what_follows_the_end_of_the_options_is_none(file):
    options = ((9, b"\x09"), (0, b""), (9, b"\x03"))
    file.write_bytes(section() + interface(101, *options) + enhanced(0, SECOND, SIX))
    assert read(file) == [(SECOND, SIX)]


@pytest.mark.parametrize(
    ("tsresol", "ticks", "time"),
    [(0, 7, 7 * SECOND), (3, 7001, 7_001_000_000), (12, 7 * 10**12 + 1, 7 * SECOND), (0x80, 7, 7 * SECOND)],
)
def test_pcapng_clocks_of_every_resolution(file, tsresol, ticks, time):
    file.write_bytes(section() + interface(101, (9, bytes([tsresol]))) + enhanced(0, ticks, SIX))
    assert read(file) == [(time, SIX)]


def test_pcapng_blocks_nobody_knows_are_passed_over(file):
    odd = b"".join(block(kind, b"what") for kind in (4, 5, 10, 0x0BAD, 0x80000001))
    file.write_bytes(section() + odd + interface(101) + odd + enhanced(0, 0, SIX) + odd)
    assert read(file) == [(0, SIX)]


def test_packets_without_octets_and_longer_than_on_the_wire(file):
    file.write_bytes(header(101) + record(b"") + record(SIX, length=1))
    assert read(file) == [(SECOND, b""), (SECOND, SIX)]


@pytest.mark.parametrize("seed", range(8))
def test_damaged_captures_are_read_or_refused(file, seed):
    """Whatever octets are wrong: packets, or a CaptureError of one line."""
    chance = random.Random(seed)
    sound = (
        header(1) + record(SIX) + record(FOUR),
        section() + interface(101, (9, b"\x09"), (14, bytes(8))) + enhanced(0, 5, SIX) + simple(FOUR) + NG,
        section(">") + interface(229, order=">") + enhanced(0, 6, SIX, ">"),
    )
    refused = []
    for _ in range(400):
        octets = bytearray(chance.choice(sound))
        for _ in range(chance.randrange(1, 6)):
            octets[chance.randrange(4, len(octets))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        file.write_bytes(octets[: chance.choice((len(octets), chance.randrange(len(octets)) + 1))])
        try:
            write(file, read(file))
        except CaptureError as error:
            refused.append(str(error))
    assert len(refused) > 50
    assert all(sentence.startswith(f"{file} ") and "\n" not in sentence for sentence in refused)


def test_a_capture_is_closed_when_it_is_none(file, recwarn):
    file.write_bytes(b"hello")
    with pytest.raises(CaptureError):
        Reader(file)
    assert not recwarn.list
