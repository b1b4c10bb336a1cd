"""A replay gives the same octets every time: again, in another process, compiled for another processor."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nat64d.config.load import loads
from nat64d.offline.capture import Reader
from nat64d.offline.replay import Replay
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


SERVED = golden.PCAPS / "a_service_of_three_endpoints.pcap"


def of_services(change: Callable[[str], str]) -> list[bytes]:
    """What comes of a capture with services, by its configuration with a change to the text of it."""
    before = golden.config_of(SERVED).read_text("utf-8")
    with Reader(SERVED) as reader:
        chunks = Replay(loads(change(before))).run(reader)
        return [octets for chunk in chunks for ended in chunk for octets in ended.outputs]


def test_endpoints_are_chosen_as_on_any_gateway_of_the_same_seed():
    """By the seed alone, which follows from pool6 where none is given: not by the order of the file, nor by chance."""
    kept = of_services(str)

    def reversed_(text: str) -> str:
        lists = re.sub(r"endpoints = \[(.*)\]", lambda m: f"endpoints = [{', '.join(m[1].split(', ')[::-1])}]", text)
        assert lists != text
        return lists

    assert of_services(reversed_) == kept
    assert of_services(lambda text: f'{text}\n[services]\nseed = "64:ff9b::/96"\n') == kept
    other = of_services(lambda text: f'{text}\n[services]\nseed = "b"\n')
    assert len(other) > 0
    assert other != kept
    assert of_services(lambda text: f'{text}\n[services]\nseed = "b"\n') == other
