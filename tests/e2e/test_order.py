"""RFC 7915 sections 4 and 5: packets of one flow leave in the order they came, over one queue or several.

The order is that at the TUN device: beyond it a busy kernel with several processors may change it.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nat64d.cli.lab import Lab
from tests.e2e import WITH_FASTPATH
from tests.e2e.topology import CLIENT6B, CONFIG, FORWARD4, SERVER4, Daemon, Topology, embed, hear, run, serve, tell

ORDER, LINES = (Path(__file__).with_name(name) for name in ("order.py", "lines.py"))

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", params=[1, 4], ids=["one queue", "four queues"])
def net(
    namespaces: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Topology]:
    """A network and a daemon of its own."""
    with Lab("order") as lab:
        net = Topology(lab)
        directory = tmp_path_factory.mktemp("order")
        daemon = Daemon(net.gateway, directory, f"{CONFIG}\nqueues = {request.param}\n").start()
        serve(net.server4, "udp_echo", SERVER4, "7")
        serve(net.server4, "tcp_echo", SERVER4, "7")
        serve(net.client6b, "udp_echo", CLIENT6B, "7007")
        serve(net.client6b, "tcp_echo", CLIENT6B, "9009")
        yield net
        assert daemon.stop() == 0, daemon.said()


@pytest.mark.parametrize("size", ["0", "100"])
@pytest.mark.parametrize("to", ["an ipv4 host", "an ipv6 host"])
def test_datagrams_of_a_flow_stay_in_order(net: Topology, to: str, size: str) -> None:
    device = listening_at_the_device(net)
    sender, address = (net.client6a, embed(SERVER4)) if to == "an ipv4 host" else (net.server4, FORWARD4)
    counted = run(sender, "udp_numbers", address, "7", "100", size)
    assert counted["received"] > counted["sent"] / 2
    late = counted_by(device, "udp")
    assert late["got"] <= late["given"]


@pytest.mark.skipif(
    WITH_FASTPATH, reason="segments may change places when a connection changes its way (docs/fastpath.md)"
)
@pytest.mark.parametrize("net", [1], ids=["one queue"], indirect=True)
@pytest.mark.parametrize("to", ["an ipv4 host", "an ipv6 host"])
def test_segments_of_a_connection_stay_in_order(net: Topology, to: str) -> None:
    """Fifty connections at once, their data and its echo."""
    device = listening_at_the_device(net)
    sender, end = (net.client6a, (embed(SERVER4), "7")) if to == "an ipv4 host" else (net.server4, (FORWARD4, "9"))
    done = sender.run(sys.executable, str(LINES), *end, "50", "100000", timeout=60)
    assert json.loads(done.stdout) == {"sent": 50, "received": 50}
    late = counted_by(device, "tcp")
    assert late["seen"] >= 200
    assert late["got"] <= late["given"]


def listening_at_the_device(net: Topology) -> "subprocess.Popen[str]":
    """order.py of the device."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 1}
    device = net.gateway.popen(sys.executable, str(ORDER), "nat64", **pipes)
    assert hear(device) == "listening"
    return device


def counted_by(device: "subprocess.Popen[str]", protocol: str) -> dict[str, int]:
    """What it has counted, and no more."""
    tell(device, "count")
    counts: dict[str, dict[str, int]] = json.loads(hear(device))
    return counts[protocol]
