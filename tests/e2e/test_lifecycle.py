"""Starting, stopping, dying, refusing: what the daemon leaves behind on a host."""

import os
import pty
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nat64d.cli.lab import NAT64D, Lab, Namespace
from tests.e2e.topology import SERVER4, Daemon, Topology, embed, run, serve, traces

pytestmark = pytest.mark.e2e

PATIENCE = 300  # seconds for a start, which may compile

FIVE_MISTAKES = """
pool6 = "64:ff9b::/97"
colour = "blue"

[[pool4]]
addresses = "192.0.2.0/33"
ports = "70000"

[timeouts]
udp = "soon"
"""


@pytest.fixture(scope="module")
def fresh(namespaces: None) -> Iterator[Topology]:
    """A network of its own: here daemons come and go."""
    with Lab("life") as lab:
        net = Topology(lab)
        serve(net.server4, "udp_echo", SERVER4, "7")
        yield net


@pytest.fixture
def daemon(fresh: Topology, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon not yet started."""
    daemon = Daemon(fresh.gateway, tmp_path)
    yield daemon
    if daemon.process is not None and daemon.process.poll() is None:
        daemon.process.kill()
        daemon.process.wait()


def reaches(host: Namespace) -> bool:
    ping = host.run("ping", "-6", "-n", "-c1", "-W2", embed(SERVER4), check=False)
    return ping.returncode == 0


def becomes_ready(daemon: Daemon) -> bool:
    """Whether a daemon that was started in another way than with `start` gets ready."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if daemon.ask("status", "--wait", "2").returncode == 0:
            return True
    return False


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_leaves_nothing(fresh: Topology, daemon: Daemon, by: signal.Signals) -> None:
    before = traces(fresh.gateway)
    daemon.start()
    assert reaches(fresh.client6a)
    assert traces(fresh.gateway) != before
    assert daemon.stop(by) == 0, daemon.said()
    assert traces(fresh.gateway) == before
    assert not daemon.socket.exists()
    assert not reaches(fresh.client6a)


def test_signals_during_the_stop_do_not_hinder_the_undo(fresh: Topology, daemon: Daemon) -> None:
    before = traces(fresh.gateway)
    process = daemon.start().process
    assert process is not None
    process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + 10
    while process.poll() is None:
        assert time.monotonic() < deadline, daemon.said()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process.send_signal(number)
        time.sleep(0.001)
    assert "stopping already, please wait" in daemon.said()
    assert traces(fresh.gateway) == before


def test_a_closed_terminal_leaves_nothing(fresh: Topology, daemon: Daemon) -> None:
    """The daemon is what runs in a terminal: the kernel sends it SIGHUP, and what it writes from then on is lost."""
    before = traces(fresh.gateway)
    terminal, inside = pty.openpty()
    daemon.process = fresh.gateway.popen(
        "setsid", "--ctty", *daemon.command(), stdin=inside, stdout=inside, stderr=inside
    )
    os.close(inside)
    assert becomes_ready(daemon)
    assert traces(fresh.gateway) != before
    os.close(terminal)
    daemon.process.wait(10)
    assert traces(fresh.gateway) == before
    assert not daemon.socket.exists()
    assert not list(daemon.directory.glob("*.host.json"))


def test_under_nohup_a_closed_terminal_changes_nothing(fresh: Topology, daemon: Daemon) -> None:
    with daemon.log.open("w") as log:
        daemon.process = fresh.gateway.popen("nohup", *daemon.command(), stdout=log, stderr=log)
    assert becomes_ready(daemon)
    daemon.process.send_signal(signal.SIGHUP)
    assert reaches(fresh.client6a)
    assert daemon.stop() == 0, daemon.said()


def test_a_killed_daemon_does_not_hinder_the_next(fresh: Topology, daemon: Daemon) -> None:
    before = traces(fresh.gateway)
    daemon.start()
    daemon.stop(signal.SIGKILL)
    daemon.start()
    assert reaches(fresh.client6a)
    assert daemon.stop() == 0, daemon.said()
    assert traces(fresh.gateway) == before


def test_a_killed_daemon_whose_notes_are_lost_does_not_hinder_the_next(fresh: Topology, daemon: Daemon) -> None:
    before = traces(fresh.gateway)
    daemon.start()
    daemon.stop(signal.SIGKILL)
    for notes in daemon.directory.glob("*.json"):
        notes.unlink()
    daemon.start()
    assert reaches(fresh.client6a)
    assert daemon.stop() == 0, daemon.said()
    # What was set before the kill nobody knows any more: it stays a router.
    for parameter in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        fresh.gateway.sysctl(parameter, 0)
    after = traces(fresh.gateway)
    assert {**after, "sysctls": ""} == {**before, "sysctls": ""}


def test_a_stop_during_the_start_leaves_nothing(fresh: Topology, daemon: Daemon) -> None:
    before = traces(fresh.gateway)
    daemon.launch()
    deadline = time.monotonic() + 20
    while "TUN device nat64" not in daemon.said():
        assert time.monotonic() < deadline, daemon.said()
        time.sleep(0.01)
    assert daemon.stop() == 0, daemon.said()
    assert traces(fresh.gateway) == before


def test_a_device_taken_away_ends_the_daemon_with_a_sentence(fresh: Topology, daemon: Daemon) -> None:
    before = traces(fresh.gateway)
    process = daemon.start().process
    fresh.gateway.ip("link", "delete", "nat64")
    assert process is not None
    assert process.wait(10) == 1
    (sentence,) = [line for line in daemon.said().splitlines() if " INFO " not in line and " WARNING " not in line]
    assert "gone" in sentence
    assert traces(fresh.gateway) == before


def test_a_second_instance_is_refused(fresh: Topology, daemon: Daemon, tmp_path: Path) -> None:
    daemon.start()
    before = traces(fresh.gateway)
    (tmp_path / "second").mkdir()
    second = Daemon(fresh.gateway, tmp_path / "second")
    assert second.launch().wait(30) == 1
    (sentence,) = [line for line in second.said().splitlines() if " INFO " not in line and " WARNING " not in line]
    assert "nat64 is used by another nat64d" in sentence
    assert traces(fresh.gateway) == before
    assert reaches(fresh.client6a)


def test_five_mistakes_are_five_lines(fresh: Topology, tmp_path: Path) -> None:
    before = traces(fresh.gateway)
    file = tmp_path / "nat64d.toml"
    file.write_text(FIVE_MISTAKES)
    for command in ("run", "check"):
        done = fresh.gateway.run(*NAT64D, command, "-c", str(file), check=False, timeout=60)
        lines = done.stderr.splitlines()
        assert done.returncode == 2, done.stderr
        assert len(lines) == 5, done.stderr
        for word in ("64:ff9b::/97", "colour", "192.0.2.0/33", "70000", "soon"):
            assert sum(word in line for line in lines) == 1, f"{word} in {done.stderr}"
        assert all(str(file) in line and ("expected" in line or "unknown key" in line) for line in lines), done.stderr
    assert traces(fresh.gateway) == before


def test_ready_means_ready(fresh: Topology, daemon: Daemon) -> None:
    """The first packet after "ready" is translated."""
    daemon.start()
    assert run(fresh.client6a, "udp_sizes", embed(SERVER4), "7", "64")["failed"] == []
