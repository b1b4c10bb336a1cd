"""A flow that moves between the daemon and the kernel, again and again under load, stays in order.

`make shows-fastpath` runs it, with what it has seen. Each reload takes the program away for a moment: all
flows are the daemon's, and go back one after the other.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nat64d.cli.lab import Lab, Namespace
from tests.e2e.test_order import counted_by, listening_at_the_device
from tests.e2e.topology import CONFIG, SERVER4, Daemon, Topology, embed, hear, serve

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NUMBERED, TRANSFER = (Path(__file__).with_name(name) for name in ("numbered.py", "transfer.py"))
# Flows, datagrams a second of all of them, how many at once, and the first number.
SPARSE, DENSE = (32, 1280, 4, 0), (4, 2000, 1, 1 << 30)
TRANSFERS = 4  # 16 KB each 5 ms, and their echo
MOVES = 1000
ROUND = 1.6  # seconds, in which all of them are back in the kernel
SEEN = ("TCPOFOQueue", "TCPSACKReorder", "TCPTSReorder", "TCPDSACKRecv", "TCPTimeouts", "TCPFastRetrans")


@pytest.fixture(scope="module")
def net(namespaces: None) -> Iterator[Topology]:
    with Lab("moves") as lab:
        net = Topology(lab)
        for program in ("udp_echo", "tcp_echo"):
            serve(net.server4, program, SERVER4, "7")
        yield net


def seen_by(host: Namespace) -> dict[str, int]:
    """What TCP has seen of segments that came late, or were sent again."""
    found: dict[str, int] = {}
    for file in ("netstat", "snmp"):
        lines = [line.split() for line in host.run("cat", f"/proc/net/{file}").stdout.splitlines()]
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            found |= {n: int(v) for n, v in zip(names[1:], values[1:], strict=True) if n in (*SEEN, "RetransSegs")}
    return found


def running(net: Topology, path: Path, *arguments: object) -> "subprocess.Popen[str]":
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 1}
    command = sys.executable, str(path), embed(SERVER4), "7", *map(str, arguments)
    started = net.client6a.popen(*command, **pipes)
    assert hear(started, 60) in {"sending", "listening"}
    return started


def packets(daemon: Daemon) -> dict[str, int]:
    found: dict[str, int] = json.loads(daemon.ask("status", "--json").stdout)["fastpath"]["packets"]
    return found


@pytest.mark.timeout(900)
def test_flows_that_move_between_the_daemon_and_the_kernel_stay_in_order(net: Topology, tmp_path: Path) -> None:
    daemon = Daemon(net.gateway, tmp_path, f'{CONFIG}\n[fastpath]\nmode = "on"\n').start()
    file, device = tmp_path / "nat64d.toml", listening_at_the_device(net)
    text = file.read_text("utf-8")
    flows = [running(net, NUMBERED, *SPARSE), running(net, NUMBERED, *DENSE)]
    transfers = [running(net, TRANSFER) for _ in range(TRANSFERS)]
    time.sleep(2 * ROUND)
    before = [seen_by(host) for host in (net.client6a, net.server4)]
    rounds = -(-MOVES // (SPARSE[0] + DENSE[0] + TRANSFERS) // 2)
    for number in range(rounds):
        file.write_text(f"{text}\n[timeouts]\nudp = {301 + number % 2}\n", "utf-8")
        assert daemon.ask("reload").returncode == 0
        time.sleep(ROUND)
    after = [seen_by(host) for host in (net.client6a, net.server4)]
    left = packets(daemon)
    told = []
    for program in (*flows, *transfers):
        assert program.stdin is not None
        program.stdin.close()
        told.append(json.loads(hear(program, 60)))
    counts = {name: counted_by(device, name) for name in ("udp", "tcp")}
    changed = [{name: new[name] - old[name] for name in new} for old, new in zip(before, after, strict=True)]
    print(f"\n{rounds} times there and back; {told}; at the device: {counts}; client, server: {changed}; {left}")
    assert daemon.stop() == 0, daemon.said()
    assert all(row["same"] and not row["failures"] for row in told[len(flows) :])
    assert left["six_to_four"] > 0
    assert [count["overtaken"] for count in counts.values()] == [0, 0]
    assert counts["udp"]["got"] <= counts["udp"]["given"]
