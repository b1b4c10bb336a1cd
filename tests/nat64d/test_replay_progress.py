"""The progress bar of `nat64d replay`: for large captures, on a terminal, and nowhere else."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from nat64d.explain.packet_text import packets
from tests.architecture import ROOT
from tests.nat64d.test_replay_captures import write
from tests.scenarios import PCAPS

DATAGRAM = packets("2001:db8::1 > 64:ff9b::192.0.2.1 udp 5000 53 len 600")[0][1]
LARGE = 8000  # octets, here: the real limit would take plain Python seconds
REPLAY = f"""
import sys
from pathlib import Path
from nat64d.offline import replay
replay.LARGE = {LARGE}
sys.exit(replay.main([*map(Path, sys.argv[1:])], Path({str(PCAPS / "nat64d.toml")!r}), None, None, False))
"""


def capture(path: Path, octets: int) -> Path:
    """A capture of about so many octets, all at once."""
    return write(path, [(0, DATAGRAM)] * (octets // len(DATAGRAM) + 1))


def replay(files: list[Path], terminal: bool) -> bytes:
    """What a replay writes to standard error, which is a terminal or a pipe."""
    reader, writer = pty.openpty() if terminal else os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", REPLAY, *files],
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm", "NUMBA_DISABLE_JIT": "1"},  # a few packets are not worth the compiler
        stdout=subprocess.DEVNULL,
        stderr=writer,
    )
    os.close(writer)
    said = b""
    try:
        while block := os.read(reader, 65536):
            said += block
    except OSError:  # how a terminal says that nobody is at its other end
        pass
    os.close(reader)
    assert process.wait(60) == 0
    return said


@pytest.mark.parametrize("files", [1, 3])
def test_it_is_shown_for_large_captures_on_a_terminal(tmp_path, files):
    paths = [capture(tmp_path / f"cap{number}", LARGE // files) for number in range(files)]
    said = replay(paths, terminal=True)
    assert b"replaying" in said
    assert b"%" in said


def test_it_is_not_shown_for_small_captures(tmp_path):
    assert replay([capture(tmp_path / "cap", LARGE // 2)], terminal=True) == b""


def test_it_is_not_shown_on_a_pipe(tmp_path):
    assert replay([capture(tmp_path / "cap", LARGE)], terminal=False) == b""
