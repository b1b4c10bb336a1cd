"""A replay gives the same octets every time: again, in another process, compiled for another processor."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import golden
from tests.architecture import ROOT

CAPTURES = golden.captures()
SOME = CAPTURES[::20]


def golden_captures(**environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m tests.golden` in a process of its own: every capture, byte for byte what is kept."""
    return subprocess.run(
        [sys.executable, "-m", "tests.golden"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=590,
        check=False,
    )


def test_a_second_replay_in_the_same_process_is_the_first():
    """tests/test_golden.py compares every capture with its recording; this finds state that outlives a replay."""
    assert [golden.replayed(capture) for capture in SOME] == [golden.replayed(capture) for capture in SOME]


def test_another_process_with_other_hashes_gives_the_same_octets():
    done = golden_captures(PYTHONHASHSEED="7", TZ="Pacific/Auckland", LC_ALL="C")
    assert (done.stdout, done.returncode) == (f"{len(CAPTURES)} golden captures, 0 differences\n", 0), done.stderr


@pytest.mark.slow  # a cold compile, about a minute of CPU; `make replay-generic` is the same without pytest
def test_code_for_another_processor_gives_the_same_octets(tmp_path: Path):
    done = golden_captures(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="", NAT64D_CACHE=str(tmp_path))
    assert (done.stdout, done.returncode) == (f"{len(CAPTURES)} golden captures, 0 differences\n", 0), done.stderr
    assert list(tmp_path.rglob("*.nbc")), "nothing was compiled"
