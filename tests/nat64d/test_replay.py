"""`nat64d replay`: the compiled chunk against the engine, what is told of a difference, and the command."""

import json
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from nat64d.config.load import load, loads
from nat64d.offline import replay as replaying
from nat64d.offline.capture import SECOND, Reader, Writer
from nat64d.offline.compare import TOLD, WINDOW, Comparison, Output, differing_fields
from nat64d.offline.engine import Engine
from nat64d.offline.replay import START, Replay, main
from tests import golden
from tests.scenarios import PCAPS, STANDARD
from translator.tables.gateway import HEADROOM, SLOT
from translator.verdict import Verdict

CONFIG = PCAPS / "nat64d.toml"
PING, PONGS = PCAPS / "ping_from_ipv6.pcap", PCAPS / "ping_from_ipv6.expected.pcap"
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


def damage(octets: bytes, chance: random.Random) -> bytes:
    changed = bytearray(octets)
    for _ in range(chance.randrange(3)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed[: chance.choice((len(changed), len(changed), chance.randrange(len(changed) + 1)))])


def history(seed: int) -> list[tuple[int, bytes]]:
    """Packets of all scenarios in a random order, many of them damaged, with pauses."""
    chance, time = random.Random(seed), 5 * SECOND
    sent = [octets for capture in golden.captures() for _, octets in read(capture) if octets]
    packets = []
    for _ in range(400):
        time += chance.choice((0, 1_000_000, SECOND, 70 * SECOND, 400 * SECOND))
        packets.append((time, damage(chance.choice(sent), chance)))
    return [*packets, (time, b""), (time, SIX + b"\0" * 70_000), (time, b"\x45" * (SLOT - HEADROOM + 1))]


def replayed(packets: list[tuple[int, bytes]]) -> list[tuple]:
    replay = Replay(load(CONFIG))
    found = [ended for ends in replay.run(packets) for ended in ends]
    assert [ended.number for ended in found] == list(range(1, len(packets) + 1))
    assert [ended.time for ended in found] == [time for time, _ in packets]
    assert sum(replay.totals().values()) == len(packets)
    return [(ended.verdict, ended.direction.label, ended.answered, ended.due, ended.outputs) for ended in found]


@pytest.mark.parametrize("seed", range(3))
def test_a_chunk_does_what_the_engine_does(seed):
    packets, engine, expected = history(seed), Engine(load(CONFIG)), []
    for time, octets in packets:
        outcome = engine.send(octets, (START + (time - packets[0][0]) // 1_000_000) / 1000)
        outputs = outcome.packets or ([outcome.answer] if outcome.answer else [])
        expected.append((outcome.verdict, outcome.direction, outcome.answer is not None, outcome.due, outputs))
    assert replayed(packets) == expected
    assert len({verdict for verdict, *_ in expected}) > 12


@pytest.mark.parametrize("limits", [{"CHUNK_PACKETS": 1}, {"CHUNK_PACKETS": 7}, {"CHUNK_OCTETS": 1000}])
def test_where_chunks_end_makes_no_difference(limits, monkeypatch):
    whole = replayed(history(4))
    for name, value in limits.items():
        monkeypatch.setattr(replaying, name, value)
    assert replayed(history(4)) == whole


def test_chunks_are_bounded(monkeypatch):
    monkeypatch.setattr(replaying, "CHUNK_PACKETS", 3)
    monkeypatch.setattr(replaying, "CHUNK_OCTETS", 100)
    sizes = [len(list(ends)) for ends in Replay(load(CONFIG)).run([(0, SIX)] * 3 + [(0, b"\x45")] * 7)]
    assert sizes == [2, 3, 3, 2]


def test_the_largest_packets_have_room_in_the_result():
    config = loads(STANDARD + "\n[limits]\nicmp_errors_per_second = 1000000\n", "test")
    largest = bytes(IP(src="198.51.100.7", dst="203.0.113.1", len=65535) / UDP(sport=53, dport=40000, len=65515))
    packets = [(0, SIX), *[(0, largest + b"\0" * (65535 - len(largest)))] * 4]
    packets += [(0, bytes(IPv6(src="2001:db8:1::10", dst="64:ff9b::10.0.0.1") / UDP()))] * 100
    ends = [ended for chunk in Replay(config).run(packets) for ended in chunk]
    assert {len(ended.outputs) for ended in ends[1:5]} == {54}
    assert {(ended.verdict, ended.answered, len(ended.outputs)) for ended in ends[5:]} == {
        (Verdict.NON_GLOBAL_ADDRESS, True, 1)
    }


def compared(expected: list[tuple[int, bytes]], got: list[tuple[int, bytes]]) -> list[str]:
    told: list[str] = []
    comparison = Comparison(expected, told.append)
    for number, (time, octets) in enumerate(got, 1):
        comparison.add(Output(time, octets, number, Verdict.TRANSLATED))
    assert (comparison.finish() > 0) == bool(told)
    return told


def numbered(count: int) -> list[tuple[int, bytes]]:
    return [(at, bytes(IP(id=at) / UDP(sport=at))) for at in range(count)]


def test_the_same_is_no_difference():
    assert compared(numbered(100), numbered(100)) == []
    assert compared([], []) == []


@pytest.mark.parametrize("at", [0, 50, 99])
def test_a_missing_packet_is_told_once(at):
    packets = numbered(100)
    (told,) = compared(packets, packets[:at] + packets[at + 1 :])
    assert told.startswith(f"golden packet {at + 1} is missing: IP / UDP 127.0.0.1:")


@pytest.mark.parametrize("at", [0, 50, 99])
def test_an_extra_packet_is_told_once(at):
    packets = numbered(100)
    (told,) = compared(packets[:at] + packets[at + 1 :], packets)
    assert told.startswith(f"#{at + 1} translated: a packet that is not in the golden capture: IP / UDP ")


def test_a_wrong_packet_is_told_field_by_field():
    packets = numbered(50)
    wrong = IP(packets[20][1])
    wrong.ttl, wrong[UDP].dport = 9, 54
    (told,) = compared(packets, [*packets[:20], (20, bytes(wrong)), *packets[21:]])
    assert told.splitlines() == [
        "#21 translated: differs from golden packet 21",
        "-  IP ttl = 64",
        "+  IP ttl = 9",
        "-  UDP dport = 53",
        "+  UDP dport = 54",
    ]


def test_a_wrong_time_is_told():
    assert compared([(1, SIX)], [(2, SIX)]) == [
        "#1 translated: differs from golden packet 1\n-  time = 0.000000001\n+  time = 0.000000002"
    ]


def test_a_run_of_missing_packets_longer_than_the_window():
    packets = numbered(4 * WINDOW)
    told = compared(packets, packets[:1] + packets[2 * WINDOW :])
    assert any(line.startswith("golden packet 2") or "golden packet 2\n" in line for line in told)
    assert len(told) > TOLD
    assert told[-1].startswith("... and more: ")


def test_octets_that_scapy_shows_alike_are_told_as_octets():
    assert differing_fields(b"", b"") == ["-  ", "+  "]
    told = differing_fields(FOUR[:3], FOUR[:4])
    assert told
    assert all(line[0] in "-+" for line in told)


def test_what_was_dropped_and_how_many(capsys):
    assert main([PING], CONFIG, None, None, False) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert [line.split()[:2] for line in told.out.splitlines()] == [
        ["#5", "no_bib_entry"],
        ["VERDICT", "PACKETS"],
        ["translated", "4"],
        ["no_bib_entry", "1"],
    ]


def test_as_json_every_packet(capsys):
    assert main([PING], CONFIG, None, None, True) == 0
    *rows, last = map(json.loads, capsys.readouterr().out.splitlines())
    keys = {"file", "number", "time", "verdict", "direction", "answered", "due", "outputs"}
    assert [set(row) for row in rows] == [keys] * 5
    assert [row["number"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["verdict"] for row in rows] == ["translated"] * 4 + ["no_bib_entry"]
    assert [row["direction"] for row in rows] == ["6to4", "4to6", "6to4", "4to6", "4to6"]
    assert [row["answered"] for row in rows] == [False] * 4 + [True]
    assert rows[1]["time"] == 1_700_000_000.001
    assert [bytes.fromhex(octets) for row in rows for octets in row["outputs"]] == [octets for _, octets in read(PONGS)]
    assert last == {"totals": {"translated": 4, "no_bib_entry": 1}}


def test_the_output_is_the_golden_capture_to_the_octet(file, capsys):
    assert main([PING], CONFIG, file, PONGS, False) == 0
    assert file.read_bytes() == PONGS.read_bytes()
    assert capsys.readouterr().err == f"{PONGS}: the same\n"


def test_a_difference_is_1(file, capsys):
    packets = read(PONGS)
    write(file, [packets[0], (packets[1][0], packets[1][1][:7] + b"\x09" + packets[1][1][8:]), *packets[3:]])
    assert main([PING], CONFIG, None, file, False) == 1
    summary = "IP / ICMP 203.0.113.1 > 198.51.100.7 echo-request 0 / Raw"
    assert capsys.readouterr().err.splitlines() == [
        "#2 translated: differs from golden packet 2",
        "-  IPv6 hlim = 9",
        "+  IPv6 hlim = 63",
        f"#3 translated: a packet that is not in the golden capture: {summary}",
        f"{file}: differences: 2",
    ]


def test_without_a_configuration_the_built_in_default(capsys):
    assert main([PING], None, None, PONGS, False) == 1
    assert "\n+  IP src = 169.254.64." in capsys.readouterr().err


def test_a_capture_with_snap_length_is_told(file, capsys):
    times_and_lengths = struct.pack("<IIII", 1, 0, 50, len(SIX))
    file.write_bytes(PING.read_bytes()[:24] + times_and_lengths + SIX[:50])
    assert main([file], CONFIG, None, None, False) == 0
    told = capsys.readouterr()
    assert told.out.startswith("#1 truncated\n")
    assert told.err == f"{file}: packets not captured whole (snap length), which lack their end: 1\n"


def test_a_capture_without_packets(file, capsys):
    assert main([write(file, [])], CONFIG, None, None, False) == 0
    assert capsys.readouterr().out == "VERDICT  PACKETS  RFC  HELP\n"


@pytest.mark.parametrize("place", ["in", "golden"])
def test_what_is_read_is_not_overwritten(tmp_path, capsys, place):
    files = {"in": tmp_path / "in.pcap", "golden": tmp_path / "golden.pcap"}
    for name, source in (("in", PING), ("golden", PONGS)):
        files[name].write_bytes(source.read_bytes())
    assert main([files["in"]], CONFIG, files[place], files["golden"], False) == 2
    assert capsys.readouterr().err == f"nat64d: {files[place]} is being read: write to another file\n"
    assert [files[name].read_bytes() for name in files] == [PING.read_bytes(), PONGS.read_bytes()]


def test_an_output_that_cannot_be_written_is_2(tmp_path, capsys):
    assert main([PING], CONFIG, tmp_path / "none" / "out.pcap", None, False) == 2
    assert capsys.readouterr().err == f"nat64d: {tmp_path}/none/out.pcap cannot be written: No such file or directory\n"
    assert main([PING], CONFIG, Path("/dev/full"), None, False) == 2
    assert capsys.readouterr().err.startswith("nat64d: a capture could not be read or written to its end: No space ")


def test_scapy_is_loaded_for_a_difference_only():
    code = f"""
import sys
from pathlib import Path
from nat64d.offline.replay import main
assert main([Path({str(PING)!r})], Path({str(CONFIG)!r}), None, Path({str(PONGS)!r}), False) == 0
sys.exit("scapy" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
