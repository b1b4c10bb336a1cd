"""The API beside traffic: many clients at once that do everything wrong, and a listing of a million sessions."""

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

import numpy as np
import pytest

from nat64d.cli.lab import NAT64D, Lab, Namespace
from nat64d.control.client import Client
from nat64d.dataplane.worker import now
from nat64d.gateway.state_header import PAGE
from tests.e2e.topology import POOL4, SERVER4, Daemon, Topology, embed
from tests.nat64d.test_api_flood import SENT, clients
from translator.packet.fields import TCP
from translator.session.tcp_state import State
from translator.tables.layout import NONE, SESSION

pytestmark = pytest.mark.e2e

MEMORY = 50 << 20  # octets that a listing or a crowd may cost the daemon
PORTS, EACH, PEERS = 62_500, 20, 4  # mappings of each pool address, of each host, and sessions of each mapping
MILLION = len(POOL4) * PORTS * PEERS


@contextmanager
def no_loss(host: Namespace) -> Iterator[None]:
    """Meanwhile every echo request is answered."""
    with host.popen("ping", "-6", "-n", "-q", "-i0.02", embed(SERVER4), stdout=subprocess.PIPE) as ping:
        try:
            yield
        finally:
            ping.send_signal(2)
            said = ping.communicate(timeout=30)[0]
    assert " 0% packet loss" in said, said


def octets_of(process: subprocess.Popen[str]) -> int:
    """Anonymous memory of a process."""
    status = Path(f"/proc/{process.pid}/status").read_text("utf-8")
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


def crowd(net: Topology, daemon: Daemon, number: int) -> int:
    """So many clients at once; the octets by which the daemon has grown."""
    sessions, config = len(daemon.rows("sessions")), daemon.rows("mappings")
    before = octets_of(daemon.process)
    with no_loss(net.client6a):
        outcomes = clients(str(daemon.socket), number)
    grown = octets_of(daemon.process) - before
    assert {outcome for outcome in outcomes if outcome[0] != outcome[1]} <= {(status, 0) for _, status in SENT}
    assert daemon.rows("mappings") == config
    assert len(daemon.rows("sessions")) <= sessions + 1
    assert daemon.ask("status").returncode == 0
    assert "Traceback" not in daemon.said()
    return grown


def test_many_wrong_clients_do_not_disturb_packets(net: Topology, nat64d: Daemon, servers: None) -> None:
    crowd(net, nat64d, 20 * len(SENT))


@pytest.mark.slow
def test_ten_thousand_wrong_clients_do_not_disturb_packets(net: Topology, nat64d: Daemon, servers: None) -> None:
    grown = crowd(net, nat64d, 10_000)
    print(f"the daemon grew by {grown:,} octets")
    assert grown < MEMORY


def million() -> np.ndarray:
    """Records of established sessions."""
    number = np.arange(MILLION)
    mapping = number // PEERS
    rows = np.zeros(MILLION, SESSION)
    rows["host6_hi"], rows["host6_lo"] = 0x20010DB8_10000000 + mapping // EACH, 0x10
    rows["host6_port"] = 2000 + mapping % EACH
    rows["mapped4"] = int(IPv4Address(POOL4[0])) + mapping // PORTS
    rows["mapped4_port"] = 1024 + mapping % PORTS
    rows["host4"], rows["host4_port"] = int(IPv4Address(SERVER4)) + 1 + number % PEERS, 443
    rows["expires"], rows["protocol"], rows["state"] = now() + 7_000_000, TCP, State.ESTABLISHED
    rows["bib"], rows["live"] = NONE, 1
    return rows


@pytest.fixture
def full(namespaces: None, memory: Path) -> Iterator[tuple[Topology, Daemon]]:
    """A network of its own with a daemon that has a million sessions, as if from its run before."""
    directory = memory / "full"
    directory.mkdir()
    with Lab("full") as lab:
        net = Topology(lab)
        daemon = Daemon(net.gateway, directory, keep=True).start()
        assert daemon.stop() == 0
        with (directory / "state").open("r+b") as file:
            file.seek(PAGE)
            file.write(million().tobytes())
        yield net, daemon.start()
        assert daemon.stop() == 0, daemon.said()


class Asking(threading.Thread):
    """Asks for the status again and again; the seconds it took, and the most memory the daemon had."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self.most = 0
        self.over = threading.Event()
        self._daemon = daemon

    def run(self) -> None:
        while not self.over.wait(0.1):
            begun = time.monotonic()
            Client(str(self._daemon.socket)).document("/v1/status")
            self.seconds.append(time.monotonic() - begun)
            self.most = max(self.most, octets_of(self._daemon.process))


@pytest.mark.slow
def test_a_million_sessions_are_listed_while_packets_pass(full: tuple[Topology, Daemon]) -> None:
    net, daemon = full
    assert Client(str(daemon.socket)).document("/v1/status")["sessions"] == MILLION
    before, asking = octets_of(daemon.process), Asking(daemon)
    with no_loss(net.client6a):
        asking.start()
        begun = time.monotonic()
        command = [*NAT64D, "sessions", "--json", "--proto", "tcp", "--socket", str(daemon.socket)]
        with daemon.host.popen(*command, stdout=subprocess.PIPE) as listing:
            lines = most = 0
            while lines < MILLION and (block := listing.stdout.buffer.read1(1 << 20)):
                lines, most = lines + block.count(b"\n"), max(most, octets_of(listing))
            assert listing.wait(30) == 0
        took = time.monotonic() - begun
        asking.over.set()
        asking.join()
    worst, median = max(asking.seconds), sorted(asking.seconds)[len(asking.seconds) // 2]
    print(f"{lines:,} lines in {took:.1f} s; the daemon grew by {asking.most - before:,} octets, the command took")
    print(f"{most:,}; status took {1000 * median:.0f} ms, {1000 * worst:.0f} at worst")
    assert lines == MILLION
    assert asking.most - before < MEMORY
    assert most < MEMORY
