"""`nat64d replay A.pcap B.pcap ...`: the files of a rotating capture are one history."""

import json
from pathlib import Path

import pytest

from nat64d.offline import replay as replaying
from nat64d.offline.capture import SECOND, CaptureError, Packet
from nat64d.offline.history import OVERLAP, History
from nat64d.offline.replay import main
from tests import golden
from tests.nat64d.test_replay import FOUR, SIX, read, write
from tests.scenarios import PCAPS

CONFIG = PCAPS / "nat64d.toml"
CAPTURE = PCAPS / "udp_session_ends_after_300_seconds.pcap"  # three packets keep a session, one comes too late
EXPECTED = golden.beside(CAPTURE, ".expected.pcap")


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """CAPTURE as a rotating capture writes it: one file after the other, the third without a packet."""
    packets = read(CAPTURE)
    cuts = (packets[:2], packets[2:3], [], packets[3:])
    return [write(tmp_path / f"cap.pcap{number}", some) for number, some in enumerate(cuts)]


def history(paths: list[Path]) -> list[Packet]:
    with History(paths) as packets:
        return list(packets)


def test_many_files_are_one_history(parts, tmp_path, capsys):
    out = tmp_path / "out.pcap"
    assert main(parts, CONFIG, out, EXPECTED, False) == 0
    assert out.read_bytes() == EXPECTED.read_bytes()
    told = capsys.readouterr()
    assert told.err == f"{EXPECTED}: the same\n"
    assert told.out.startswith(f"{parts[3]}:2 no_bib_entry\nVERDICT")


def test_json_names_the_file_and_the_place_in_it(parts, capsys):
    assert main(parts, CONFIG, None, None, True) == 0
    *rows, _ = map(json.loads, capsys.readouterr().out.splitlines())
    places = [(parts[0], 1), (parts[0], 2), (parts[1], 1), (parts[3], 1), (parts[3], 2)]
    assert [(row["file"], row["number"]) for row in rows] == [(str(path), place) for path, place in places]


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_where_chunks_end_makes_no_difference(parts, capsys, monkeypatch, limit):
    monkeypatch.setattr(replaying, "CHUNK_PACKETS", limit)
    assert main(parts, CONFIG, None, EXPECTED, False) == 0
    assert capsys.readouterr().out.startswith(f"{parts[3]}:2 no_bib_entry\n")


def test_a_difference_names_the_file(parts, tmp_path, capsys):
    packets = read(EXPECTED)
    changed = write(tmp_path / "golden.pcap", [*packets[:2], (packets[2][0], SIX), *packets[3:]])
    assert main(parts, CONFIG, None, changed, False) == 1
    assert f"{parts[1]}:1 translated: differs from golden packet 3\n" in capsys.readouterr().err


def test_a_file_that_begins_before_the_last_one_ends_is_2_and_one_sentence(parts, capsys):
    assert main([parts[1], parts[0]], CONFIG, None, None, False) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"nat64d: {parts[0]} begins 598")
    assert err.endswith(f" s before {parts[1]} ends: expected the files of one capture, in their order\n")
    assert main([parts[0], parts[0]], CONFIG, None, None, False) == 2


def test_files_that_overlap_a_little_go_on_where_the_last_one_ended(tmp_path):
    first = write(tmp_path / "a", [(5 * SECOND, SIX), (9 * SECOND, SIX)])
    second = write(tmp_path / "b", [(9 * SECOND - OVERLAP, FOUR), (9 * SECOND - 1, FOUR), (9 * SECOND + 1, FOUR)])
    third = write(tmp_path / "c", [(9 * SECOND, SIX)])
    assert [time for time, _ in history([first, second, third])] == [
        5 * SECOND,
        9 * SECOND,
        9 * SECOND,
        9 * SECOND,
        9 * SECOND + 1,
        9 * SECOND + 1,
    ]
    early = write(tmp_path / "d", [(9 * SECOND - OVERLAP - 1, FOUR)])
    with pytest.raises(CaptureError, match=r"d begins 1 s before .*a ends"):
        history([first, early])


def test_files_without_packets_have_no_time(tmp_path):
    empty, full = write(tmp_path / "a", []), write(tmp_path / "b", [(SECOND, SIX)])
    assert history([empty, full, empty]) == [(SECOND, SIX)]


def test_a_file_that_cannot_be_read_is_told_before_the_first_is_replayed(parts, tmp_path, capsys):
    assert main([*parts, tmp_path / "none"], CONFIG, tmp_path / "out.pcap", None, False) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"nat64d: {tmp_path}/none cannot be read: No such file or directory\n")
    assert not (tmp_path / "out.pcap").exists()


def test_no_input_is_overwritten(parts, capsys):
    before = parts[1].read_bytes()
    assert main(parts, CONFIG, parts[1], None, False) == 2
    assert capsys.readouterr().err == f"nat64d: {parts[1]} is being read: write to another file\n"
    assert parts[1].read_bytes() == before


def test_packets_not_captured_whole_are_told_by_file(parts, capsys):
    octets = parts[1].read_bytes()
    parts[1].write_bytes(octets[:36] + (1000).to_bytes(4, "little") + octets[40:])
    assert main(parts, CONFIG, None, None, False) == 0
    assert capsys.readouterr().err == (
        f"{parts[1]}: packets not captured whole (snap length), which lack their end: 1\n"
    )


def test_progress_is_that_of_all_files(parts):
    with History(parts) as packets:
        assert packets.size == sum(path.stat().st_size for path in parts)
        assert packets.position() == 0
        assert len(list(packets)) == 5
        assert packets.position() == packets.size
