"""[fastpath]: established flows go through the kernel's program, and nobody can tell but by the counters."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nat64d.cli.lab import Lab
from tests.e2e.topology import CONFIG, SERVER4, Daemon, Topology, embed, hear, random_file, serve, sha256, tell

pytestmark = pytest.mark.e2e

MEGABYTES = 24
BEFORE_TCX = [int(number) for number in re.findall(r"\d+", os.uname().release)[:2]] < [6, 6]
ATTACHED_BY = "clsact" if BEFORE_TCX or os.environ.get("NAT64D_E2E_FASTPATH") == "clsact" else "tcx"
PATIENCE = 300  # seconds that a transfer may take


@pytest.fixture(scope="module")
def offered(memory: Path) -> str:
    """The SHA-256 of the file that server4 offers."""
    (memory / "fastpath").mkdir()
    return random_file(memory / "fastpath" / "file", MEGABYTES)


@pytest.fixture(scope="module")
def net(namespaces: None, memory: Path, offered: str) -> Iterator[Topology]:
    """A network of its own."""
    with Lab("fast") as lab:
        net = Topology(lab)
        # Or the file may be in the buffers of who does not read it.
        net.client6a.run("sh", "-c", "echo 4096 131072 1000000 >/proc/sys/net/ipv4/tcp_rmem")
        serve(net.server4, "http", SERVER4, "80", str(memory / "fastpath"))
        yield net


@pytest.fixture
def daemon(net: Topology, memory: Path, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon with a fast path, or none at all."""
    directory = memory / f"fastpath-{tmp_path.name}"
    directory.mkdir()
    daemon = Daemon(net.gateway, directory, f'{CONFIG}\n[fastpath]\nmode = "on"\n[log]\naccounting = true\n', keep=True)
    try:
        yield daemon.start()
    finally:
        if daemon.process is not None:
            daemon.process.kill()
            daemon.process.wait()


def status(daemon: Daemon) -> dict[str, Any]:
    fastpath: dict[str, Any] = json.loads(daemon.ask("status", "--json").stdout)["fastpath"]
    return fastpath


def begin(net: Topology, got: Path, rate: str) -> Any:
    url = f"http://[{embed(SERVER4)}]/file"
    return net.client6a.popen("curl", "-gsS", "--limit-rate", rate, "-m", str(PATIENCE), "-o", str(got), url)


def translated(daemon: Daemon) -> dict[str, int]:
    rows = daemon.rows("counters")
    return {row["direction"]: row["packets"] for row in rows if row.get("verdict") == "translated"}


ATTACHED = """
import errno, socket, sys
from nat64d.dataplane.bpf import system
from nat64d.dataplane.bpf.attach import Attached
def without_links(*_):
    raise system.SystemCallError(errno.EINVAL, "as before Linux 6.6")
system.attach = without_links
DROP = bytes([0xB7, 0, 0, 0, 2, 0, 0, 0]) + bytes([0x95, 0, 0, 0, 0, 0, 0, 0])  # r0 = TC_ACT_SHOT; exit
attached = Attached(system.load(DROP), socket.if_nametoindex("router6"))
print(attached.how, flush=True)
sys.stdin.readline()
attached.close()
print("away", flush=True)
"""


def test_a_filter_that_a_killed_process_leaves_passes_every_packet(net: Topology) -> None:
    """As on kernels without TCX; a device that stays. The program drops what it meets."""
    host, pipes = net.client6b, {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}

    def passes() -> bool:
        return host.run("ping", "-c1", "-W1", "2001:db8:b::1", check=False).returncode == 0

    assert passes()
    for ends in ("is killed", "takes it away"):
        process = host.popen(sys.executable, "-c", ATTACHED, **pipes)
        assert hear(process) == "clsact"
        assert not passes(), ends
        if ends == "is killed":
            process.kill()
        else:
            tell(process)
            assert hear(process) == "away"
        assert process.wait(PATIENCE) == (0 if ends == "takes it away" else -signal.SIGKILL)
        assert passes(), ends
    assert "nat64d" not in host.run("tc", "filter", "show", "dev", "router6", "egress").stdout


def test_a_transfer_goes_through_the_kernel(net: Topology, daemon: Daemon, tmp_path: Path, offered: str) -> None:
    assert begin(net, tmp_path / "got", "20M").wait(PATIENCE) == 0
    assert sha256(tmp_path / "got") == offered
    told, counted = status(daemon), translated(daemon)
    assert (told["state"], told["why"], told["attached"]) == ("on", None, ATTACHED_BY)
    assert told["packets"]["four_to_six"] > 0
    assert told["packets"]["six_to_four"] > 0
    assert counted["4to6"] > told["packets"]["four_to_six"]  # the first packets of a flow are the daemon's
    (session,) = daemon.rows("sessions")
    assert session["octets_4to6"] > (tmp_path / "got").stat().st_size
    assert told["packets"]["four_to_six"] < session["packets_4to6"] <= translated(daemon)["4to6"]


def test_a_transfer_goes_on_over_a_reload_and_a_restart_and_a_kill_leaves_no_session(
    net: Topology, daemon: Daemon, tmp_path: Path, offered: str
) -> None:
    got = tmp_path / "got"
    curl = begin(net, got, "5M")
    deadline = time.monotonic() + PATIENCE
    while not got.exists() or got.stat().st_size < 1_000_000:
        assert curl.poll() is None
        assert time.monotonic() < deadline, daemon.said()
        time.sleep(0.05)
    curl.send_signal(signal.SIGSTOP)  # or on a slow machine there would be nothing left to transfer
    file = daemon.directory / "nat64d.toml"
    file.write_text(f"{file.read_text('utf-8')}\n[timeouts]\nudp = 301\n", "utf-8")
    assert daemon.ask("reload").returncode == 0
    assert status(daemon)["state"] == "on"
    daemon.stop()
    daemon.start()
    curl.send_signal(signal.SIGCONT)
    assert curl.wait(PATIENCE) == 0
    assert sha256(got) == offered
    assert status(daemon)["packets"]["four_to_six"] > 0
    assert daemon.rows("sessions")  # this one was in the state file when the daemon started
    daemon.stop(signal.SIGKILL)
    daemon.start()
    assert not daemon.rows("sessions")
