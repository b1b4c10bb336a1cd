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
from tests.e2e.topology import CLIENT6B, CONFIG, FORWARD4, SERVER4, Daemon, Topology, embed, hear, run, serve, tell

ORDER = Path(__file__).with_name("order.py")

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
        serve(net.client6b, "udp_echo", CLIENT6B, "7007")
        yield net
        assert daemon.stop() == 0, daemon.said()


@pytest.mark.parametrize("size", ["0", "100"])
@pytest.mark.parametrize("to", ["an ipv4 host", "an ipv6 host"])
def test_datagrams_of_a_flow_stay_in_order(net: Topology, to: str, size: str) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 1}
    device = net.gateway.popen(sys.executable, str(ORDER), "nat64", **pipes)
    assert hear(device) == "listening"
    sender, address = (net.client6a, embed(SERVER4)) if to == "an ipv4 host" else (net.server4, FORWARD4)
    counted = run(sender, "udp_numbers", address, "7", "100", size)
    assert counted["received"] > counted["sent"] / 2
    tell(device, "count")
    late = json.loads(hear(device))
    assert late["got"] <= late["given"]
