"""[[service]] under load: servers come, go and are drained while 200 connections a second are opened and 100 stay.

`make shows-services` runs it, with what each line of clients got.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nat64d.cli.lab import Lab
from tests.e2e.test_services import SERVERS, VIP
from tests.e2e.topology import CLIENT6B, POOL4, Daemon, Topology, hear, random_file, sha256

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PROGRAM = str(Path(__file__).with_name("load.py"))
RATE, HELD, SECONDS = 200, 100, 25.0
TEN = [f"2001:db8:b::{number:x}" for number in range(0x31, 0x3B)]
NEXT = [f"2001:db8:b::{number:x}" for number in range(0x41, 0x4B)]
LARGE = 100  # megabytes
Members = dict[str, int]  # address to weight


def config(members: Members, port: int = 8080) -> str:
    rows = [f'{{ address = "[{one}]:{port}", weight = {weight} }}' for one, weight in members.items()]
    return f"""
pool6 = "64:ff9b::/96"
strict_well_known_prefix = false

[[pool4]]
addresses = "{POOL4[0]}-{POOL4[-1]}"

[[service]]
name = "web"
ipv4 = "{VIP}:80"
endpoints = [{", ".join(rows)}]

[services]
drain = 0

[tun]
ipv4 = "192.0.2.254"
"""


def all_of(*members: str) -> Members:
    return dict.fromkeys(members, 1)


@pytest.fixture
def net(namespaces: None) -> Iterator[Topology]:
    with Lab("load") as lab:
        net = Topology(lab)
        for server in (*SERVERS, *TEN, *NEXT):
            net.client6b.ip("address", "add", f"{server}/64", "dev", "router6", "nodad")
        net.server4.sysctl("net.ipv4.tcp_tw_reuse", 1)
        yield net


class Show:
    """A daemon and clients that do not stop."""

    def __init__(self, net: Topology, directory: Path, members: Members, rate: int, held: int) -> None:
        servers = net.client6b.popen(sys.executable, PROGRAM, "servers", "8080", *SERVERS, *TEN, *NEXT, stdout=-1)
        assert hear(servers) == "listening"
        self.daemon = Daemon(net.gateway, directory, config(members)).start()
        words = ("client", VIP, "80", str(rate), "9000", str(held))
        self.client: subprocess.Popen[str] = net.server4.popen(
            sys.executable, PROGRAM, *words, stdin=-1, stdout=-1, bufsize=1
        )
        assert hear(self.client, 60) == "settled"

    def change(self, members: Members) -> None:
        self.phase("a change", 0)
        self.daemon.config = config(members)
        self.daemon.command()
        told = self.daemon.ask("reload")
        assert told.returncode == 0, told.stderr

    def phase(self, name: str, seconds: float = SECONDS) -> dict[str, Any]:
        """What came of all before; the phase of this name lasts so long."""
        assert self.client.stdin is not None
        self.client.stdin.write(f"{name}\n")
        self.client.stdin.flush()
        told: dict[str, Any] = json.loads(hear(self.client, 60))
        time.sleep(seconds)
        return told

    def end(self) -> dict[str, Any]:
        said, _ = self.client.communicate(timeout=120)
        assert self.daemon.stop() == 0, self.daemon.said()
        told: dict[str, Any] = json.loads(said.splitlines()[-1])
        return told


def shares(told: dict[str, Any], phase: str) -> dict[str, float]:
    """Percent of the new connections of a phase, by server."""
    counts: dict[str, int] = told["new"][phase]
    whole = sum(counts.values())
    return {server: round(100 * count / whole, 1) for server, count in sorted(counts.items())}


def test_servers_go_come_and_are_drained_under_load(net: Topology, tmp_path: Path) -> None:
    every, gone, drained = SERVERS, SERVERS[4], SERVERS[0]
    show = Show(net, tmp_path, all_of(*every), RATE, HELD)
    show.phase("all")
    show.change(all_of(*every[:4]))
    show.phase("removed")
    show.change(all_of(*every))
    show.phase("added")
    show.change(all_of(*every) | {drained: 0})
    show.phase("draining")
    told = show.end()
    print(json.dumps({phase: shares(told, phase) for phase in told["new"]} | {"lost": told["lost"]}, indent=1))
    assert told["failed"] == []
    assert told["moved"] == []
    homes = {int(number): home for number, home in told["homes"].items()}
    assert {homes[int(number)] for number in told["lost"]} <= {gone}
    expected = {
        "all": dict.fromkeys(every, 20),
        "removed": dict.fromkeys(every[:4], 25),
        "added": dict.fromkeys(every, 20),
        "draining": dict.fromkeys(every[1:], 25),
    }
    for phase, wanted in expected.items():
        found = shares(told, phase)
        assert found.keys() == wanted.keys(), (phase, found)
        assert all(abs(found[server] - wanted[server]) <= 2 for server in wanted), (phase, found)


def test_ten_servers_are_replaced_one_by_one(net: Topology, tmp_path: Path) -> None:
    members = all_of(*TEN)
    show = Show(net, tmp_path, members, 100, 0)
    show.phase("before", 2)
    for old, new in zip(TEN, NEXT, strict=True):
        show.change(members := {**members, old: 0, new: 1})
        show.phase(f"{old} drains", 2)
        del members[old]
        show.change(members)
    show.phase("after", 3)
    told = show.end()
    assert told["failed"] == []
    assert told["new"]["after"].keys() == set(NEXT)


@pytest.mark.parametrize("narrow", ["IPv4 1400", "IPv6 1280"])
def test_a_large_file_passes_a_narrow_link_both_ways(net: Topology, tmp_path: Path, narrow: str) -> None:
    """The link is two hops away from the gateway, and both ends announce the segment size of an ordinary one."""
    (offered := tmp_path / "offered").mkdir()
    digest = random_file(offered / "large", LARGE)
    programs = str(Path(__file__).with_name("programs.py"))
    server = net.client6b.popen(sys.executable, programs, "http", CLIENT6B, "8088", str(offered), stdout=-1)
    assert hear(server) == "listening"
    daemon = Daemon(net.gateway, tmp_path, config(all_of(CLIENT6B), 8088)).start()
    if narrow == "IPv4 1400":
        net.set_mtu(net.router4, net.server4, 1400)
        net.server4.route("default", "203.0.113.1", "advmss", "1460")
    else:
        net.set_mtu(net.client6b, net.router6, 1280)
        net.client6b.route("default", "2001:db8:b::1", "advmss", "1440")
    web, got = f"http://{VIP}/large", tmp_path / "got"
    net.server4.run("curl", "-sS", "--max-time", "200", "-o", str(got), web, timeout=210)
    assert sha256(got) == digest
    put = net.server4.run("curl", "-sS", "--max-time", "200", "-T", str(got), web, timeout=210)
    assert put.stdout == digest
    assert daemon.stop() == 0, daemon.said()
