"""A restart with a fast path: while there is no daemon the kernel goes on with established flows, and the next daemon
has their sessions. `make shows-fastpath` runs it, with what was lost."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nat64d.cli.lab import Lab
from nat64d.dataplane.bpf.left import PROGRAM, SESSIONS, about
from nat64d.gateway.link_drops import dropped_by
from tests.e2e.managed import Managed
from tests.e2e.pinned import Passing, Pinned
from tests.e2e.topology import CONFIG, SERVER4, Topology, embed, hear, serve, tell

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NUMBERED = Path(__file__).with_name("numbered.py")
LOAD = Path(__file__).parents[1] / "systemd" / "programs.py"
FASTPATH = f'{CONFIG}\n[fastpath]\nmode = "on"\n'
FLOWS, RATE, TRANSFERS = 1000, 2000, 20
SETTLES = 6.0  # seconds, after which the kernel has all flows
AWAY = 3.0  # seconds without a daemon


@pytest.fixture(scope="module")
def net(namespaces: None) -> Iterator[Topology]:
    with Lab("again") as lab:
        net = Topology(lab)
        for program, port in (("udp_echo", "7"), ("tcp_echo", "7"), ("udp_whoami", "3478")):
            serve(net.server4, program, SERVER4, port)
        yield net


Kept = Managed | Pinned  # under a service manager with a store of descriptors, and elsewhere


@pytest.fixture
def daemon(request: pytest.FixtureRequest, net: Topology, memory: Path, tmp_path: Path) -> Iterator[Kept]:
    directory = memory / f"kept-{tmp_path.name}"
    directory.mkdir()
    daemon: Kept = request.param(net.gateway, directory, FASTPATH, keep=True)
    try:
        yield daemon
    finally:
        daemon.close()


either = pytest.mark.parametrize("daemon", [Managed, Pinned], indirect=True)


def fastpath(daemon: Kept) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(daemon.ask("status", "--json").stdout)["fastpath"]
    return found


def program(net: Topology, path: Path, *arguments: str) -> "subprocess.Popen[str]":
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 1}
    started = net.client6a.popen(sys.executable, str(path), *arguments, **pipes)
    assert hear(started, 60) in {"sending", "running"}
    return started


def counts(numbered: "subprocess.Popen[str]") -> dict[str, Any]:
    tell(numbered, "counts")
    told: dict[str, Any] = json.loads(hear(numbered))
    return told


def finish(running: "subprocess.Popen[str]") -> dict[str, Any]:
    assert running.stdin is not None
    running.stdin.close()
    told: dict[str, Any] = json.loads(hear(running, 120))
    return told


def resent(net: Topology) -> int:
    """TCP segments that the ends have sent again."""
    total = 0
    for host in (net.client6a, net.server4):
        lines = host.run("cat", "/proc/net/snmp").stdout.splitlines()
        names, values = (line.split() for line in lines if line.startswith("Tcp:"))
        total += int(values[names.index("RetransSegs")])
    return total


def dropped(net: Topology) -> int:
    """Packets for which there was no room in the queue of the device."""
    return dropped_by("nat64", net.gateway.run("cat", "/proc/net/dev").stdout) or 0


@pytest.mark.parametrize(
    ("daemon", "how"), [(Managed, "kill"), (Managed, "restart"), (Pinned, "kill")], indirect=["daemon"]
)
def test_established_flows_go_on_without_a_daemon(net: Topology, daemon: Kept, how: str) -> None:
    daemon.start()
    load = program(net, LOAD, "load", embed(SERVER4), str(TRANSFERS), str(FLOWS))
    numbered = program(net, NUMBERED, embed(SERVER4), "7", str(FLOWS), str(RATE))
    time.sleep(SETTLES)
    before, sessions, again = counts(numbered), len(daemon.rows("sessions")), resent(net)
    full = dropped(net)
    daemon.end(how)
    gone, began = counts(numbered), time.monotonic()
    time.sleep(AWAY)
    away = counts(numbered)
    daemon.start()
    back, took = counts(numbered), time.monotonic() - began - AWAY
    time.sleep(SETTLES)
    after, seen = finish(numbered), finish(load)
    lost, full = after["sent"] - after["received"], dropped(net) - full
    missing = away["sent"] - away["received"]  # some of them wait, or are on their way
    print(
        f"\n{how}: {away['received'] - gone['received']} of {away['sent'] - gone['sent']} datagrams back while there "
        f"was no daemon for {AWAY:g} s; ready {took:.2f} s after its start; longest gap {gone['longest']:.3f}, "
        f"{away['longest']:.3f}, {back['longest']:.3f}, {after['longest']:.3f} s; {lost} of {after['sent']} lost, "
        f"{missing} missing before the start, no room for {full} in the queue; "
        f"{after['late'] - before['late']} late; {resent(net) - again} TCP segments sent again; transfers: {seen}; "
        f"{fastpath(daemon)['packets']}"
    )
    assert away["received"] - gone["received"] > 0.95 * (away["sent"] - gone["sent"])
    assert lost <= full + (0 if isinstance(daemon, Managed) else missing)  # a queue that nobody has open is lost
    assert (seen["broken"], seen["moved"], seen["silent"]) == (0, 0, 0)
    assert len(daemon.rows("sessions")) >= sessions
    assert fastpath(daemon)["packets"]["six_to_four"] > 0


@either
def test_a_stop_leaves_nothing(daemon: Kept) -> None:
    daemon.start()
    assert daemon.kept() == {SESSIONS, PROGRAM}
    daemon.end("stop")
    assert daemon.kept() == set()


@either
def test_a_daemon_without_a_fast_path_takes_the_program_away_and_keeps_the_sessions(
    net: Topology, daemon: Kept
) -> None:
    daemon.start()
    numbered = program(net, NUMBERED, embed(SERVER4), "7", "20", "200")
    time.sleep(2)
    link = daemon.link()
    daemon.end("kill")
    assert int(about(link)["ifindex"])
    daemon.config = CONFIG
    daemon.start()
    assert about(link)["ifindex"] == "0"
    os.close(link)
    assert fastpath(daemon) is None
    assert len(daemon.rows("sessions")) >= 20
    assert daemon.kept() == set()
    told = finish(numbered)
    assert told["sent"] == told["received"]


@pytest.mark.parametrize(
    ("daemon", "by"), [(Managed, "clsact"), (Pinned, "clsact"), (Passing, "tcx")], indirect=["daemon"]
)
def test_where_the_program_goes_with_the_process_the_sessions_are_kept(
    net: Topology, daemon: Kept, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.program = (sys.executable, "-m", "tests.e2e.with_fastpath")
    monkeypatch.setenv("NAT64D_E2E_FASTPATH", by)
    daemon.start()
    assert (fastpath(daemon)["attached"], daemon.kept()) == (by, {SESSIONS})
    assert ("ip tuntap add dev nat64" in (fastpath(daemon)["not_kept"] or "")) == isinstance(daemon, Passing)
    numbered = program(net, NUMBERED, embed(SERVER4), "7", "20", "200")
    time.sleep(2)
    before = {row["mapped4_port"] for row in daemon.rows("sessions")}
    daemon.end("kill")
    daemon.start()
    assert before <= {row["mapped4_port"] for row in daemon.rows("sessions")}
    told = finish(numbered)
    assert told["received"] > 0
