"""The laboratory itself, and the demonstration that runs in one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nat64d.cli import demo, lab
from nat64d.cli.lab import NETNS, Lab, LabError

pytestmark = pytest.mark.e2e

KILLED = """
import os, signal, subprocess
from nat64d.cli.lab import Lab
with Lab("killed") as lab:
    host = lab.namespace("host")
    program = host.popen("sh", "-c", "echo up; exec sleep 60", stdout=subprocess.PIPE)
    program.stdout.readline()
    print(host.netns, program.pid, flush=True)
    signal.pause()
"""


def ends(pid: int) -> bool:
    """Whether a process is over, or a zombie, within five seconds."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.usefixtures("namespaces")
def test_what_a_killed_process_leaves_is_taken_down_by_the_next() -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        netns, pid = killed.stdout.readline().split()
        killed.send_signal(signal.SIGKILL)
        killed.wait(5)
    assert (NETNS / netns).exists()
    with Lab("next"):
        assert not (NETNS / netns).exists()
    assert ends(int(pid)), "programs die with the process that started them"


@pytest.mark.usefixtures("namespaces")
def test_everything_is_taken_down_on_an_exception() -> None:
    made = []

    def interrupted() -> None:
        with Lab("broken") as broken:
            made.append(broken.namespace("host"))
            made[0].popen("sleep", "60")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert made[0].processes[0].returncode == -signal.SIGKILL
    assert not (NETNS / made[0].netns).exists()


@pytest.mark.usefixtures("namespaces")
def test_failures_are_one_sentence() -> None:
    with Lab("failing") as failing:
        host = failing.namespace("host")
        with pytest.raises(LabError, match=r"^`.* false` failed with 1: no output$"):
            host.run("false")
        with pytest.raises(LabError, match=r"^`.* sleep 5` did not finish within 0.1 s\.$"):
            host.run("sleep", "5", timeout=0.1)


@pytest.mark.usefixtures("namespaces")
def test_the_demonstration_shows_the_page_and_leaves_nothing() -> None:
    command = [*lab.NAT64D, "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        shown, complaints = process.communicate(timeout=lab.START)
    assert process.returncode == 0, complaints
    assert complaints == ""
    assert "Hello 203.0.113." in shown
    assert "tcp       [2001:db8:1::10]:" in shown, "the session list"
    assert "translated" in shown, "the counters"
    assert not list(NETNS.glob(f"nat64d-{process.pid}-*"))


def test_the_demonstration_wants_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert demo.main() == 1
    assert capsys.readouterr().err == "nat64d demo: Network namespaces need root.\n"


def test_the_demonstration_wants_a_tun_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(lab, "TUN", tmp_path / "tun")
    assert demo.main() == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"nat64d demo: {tmp_path / 'tun'} does not exist: ")
    assert complaint.count("\n") == 1
