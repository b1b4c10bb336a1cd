"""The machine of the tests leaves nothing behind, whatever becomes of the test."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture import ROOT
from tests.e2e.topology import Topology
from tests.systemd.machine import BOOT, LIMIT, Machine, hear, name_of, wait

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LIMIT)]

HOLDER = """
import sys, types
from pathlib import Path
from tests.systemd.machine import LIMIT, Machine
tree, netns, directory = sys.argv[1:]
with Machine(Path(tree), types.SimpleNamespace(netns=netns), Path(directory)) as machine:
    print(machine.leader, flush=True)
    sys.stdin.read()
"""


def test_it_ends_with_a_test_that_is_killed(debian: Path, net: Topology, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(debian), net.gateway.netns, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        leader = int(hear(holder, BOOT) or 0)
        assert name_of(leader) == "systemd"
        holder.kill()
    wait(lambda: not Path(f"/proc/{leader}").exists(), 30, lambda: f"process {leader} still runs")


def test_it_ends_with_an_error_in_a_test(debian: Path, net: Topology, tmp_path: Path) -> None:
    leaders = []

    def fail() -> None:
        with Machine(debian, net.gateway, tmp_path) as machine:
            leaders.append(machine.leader)
            assert Path(f"/proc/{machine.leader}").exists()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not Path(f"/proc/{leaders[0]}").exists()
    assert not (tmp_path / "tun").exists()
