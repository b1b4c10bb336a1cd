"""[fastpath] interfaces: packets of established flows are translated as they come in, and are forwarded once."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nat64d.cli.lab import Lab
from tests.e2e.test_fastpath import ATTACHED_BY
from tests.e2e.topology import CONFIG, SERVER4, Daemon, Topology, embed, random_file, serve, sha256

pytestmark = pytest.mark.e2e

MEGABYTES = 24
PATIENCE = 300  # seconds
LATER = "later"  # an interface that comes and goes
FASTPATH = f"""
[fastpath]
mode = "on"
interfaces = ["router6", "router4", "{LATER}"]
"""
# What is forwarded to the device, and from it.
COUNTERS = """
table inet seen {
    chain forward {
        type filter hook forward priority 0
        oifname "nat64" counter
        iifname "nat64" counter
    }
}
"""


@pytest.fixture(scope="module")
def net(namespaces: None) -> Iterator[Topology]:
    """A network of its own, whose gateway counts."""
    with Lab("fastif") as lab:
        net = Topology(lab)
        net.gateway.run("nft", "-f", "-", stdin=COUNTERS)
        yield net


@pytest.fixture(scope="module")
def daemon(net: Topology, memory: Path) -> Iterator[Daemon]:
    """A daemon that has the fast path at its interfaces."""
    directory = memory / "fastif"
    directory.mkdir()
    daemon = Daemon(net.gateway, directory, CONFIG + FASTPATH)
    yield daemon.start()
    daemon.stop()


def status(daemon: Daemon) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(daemon.ask("status", "--json").stdout)
    return told


def forwarded(net: Topology) -> list[int]:
    """Packets to the device, and from it."""
    listed = json.loads(net.gateway.run("nft", "-j", "list", "table", "inet", "seen").stdout)["nftables"]
    rules = [entry["rule"]["expr"] for entry in listed if "rule" in entry]
    return [part["counter"]["packets"] for expressions in rules for part in expressions if "counter" in part]


def test_packets_of_a_transfer_are_forwarded_once(net: Topology, daemon: Daemon, memory: Path, tmp_path: Path) -> None:
    (memory / "fastif-offered").mkdir()
    offered, got = random_file(memory / "fastif-offered" / "file", MEGABYTES), tmp_path / "got"
    serve(net.server4, "http", SERVER4, "80", str(memory / "fastif-offered"))
    # Or the file may be in the buffers of who does not read it.
    net.client6a.run("sh", "-c", "echo 4096 131072 1000000 >/proc/sys/net/ipv4/tcp_rmem")
    url = f"http://[{embed(SERVER4)}]/file"
    net.client6a.run("curl", "-gsS", "--limit-rate", "10M", "-m", str(PATIENCE), "-o", str(got), url)
    assert sha256(got) == offered
    packets, (to, out) = status(daemon)["fastpath"]["packets"], forwarded(net)
    taken = packets["six_to_four"] + packets["four_to_six"]
    assert taken - packets.get("young", 0) > to  # most were not forwarded to the device
    assert out >= taken
    assert daemon.rows("counters")


def interface(daemon: Daemon, is_there: bool) -> dict[str, Any]:
    """What is told of the last interface, once it is there, or no more."""
    deadline = time.monotonic() + PATIENCE
    while True:
        told = status(daemon)
        found: dict[str, Any] = told["fastpath"]["interfaces"][-1]
        stands = any(row["condition"] == "fastpath_interface" for row in told["conditions"])
        if (found["attached"] is not None, stands) == (is_there, not is_there):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_an_interface_that_comes_later_goes_and_comes_back(net: Topology, daemon: Daemon) -> None:
    assert [row["attached"] for row in status(daemon)["fastpath"]["interfaces"]][:2] == [ATTACHED_BY, ATTACHED_BY]
    for _ in range(2):
        assert interface(daemon, is_there=False)["why"] == "there is no such interface"
        net.gateway.ip("link", "add", LATER, "type", "veth", "peer", "name", f"{LATER}-peer")
        assert interface(daemon, is_there=True)["why"] is None
        net.gateway.ip("link", "del", LATER)
