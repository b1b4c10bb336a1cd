"""[[service]] health: an endpoint that stops serving loses new flows and those of UDP, and gets its share again."""

import json
import signal
import subprocess
from collections.abc import Iterator

import pytest

from nat64d.cli.lab import Lab
from tests.e2e.test_services import SERVERS, VIP, ask, start
from tests.e2e.topology import POOL4, Daemon, Topology, eventually, hear

pytestmark = pytest.mark.e2e

ONE, OTHER = SERVERS[:2]
CONFIG = f"""
pool6 = "64:ff9b::/96"
strict_well_known_prefix = false

[[pool4]]
addresses = "{POOL4[0]}-{POOL4[-1]}"

[services]
drain = 0

[[service]]
name = "web"
protocol = ["tcp", "udp"]
ipv4 = "{VIP}:80"
endpoints = ["[{ONE}]:8080", "[{OTHER}]:8080"]
health = {{ kind = "http", path = "/ready", interval = 1, timeout = 20, rise = 1, fall = 2 }}

[tun]
ipv4 = "192.0.2.254"
"""


@pytest.fixture(scope="module")
def net(namespaces: None) -> Iterator[Topology]:
    with Lab("health") as lab:
        net = Topology(lab)
        for server in (ONE, OTHER):
            net.client6b.ip("address", "add", f"{server}/64", "dev", "router6", "nodad")
        yield net


@pytest.fixture(scope="module")
def one(net: Topology) -> subprocess.Popen[str]:
    """The first endpoint."""
    return listening(net, ONE)


@pytest.fixture(scope="module")
def daemon(net: Topology, one: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    listening(net, OTHER)
    daemon = Daemon(net.gateway, tmp_path_factory.mktemp("health"), CONFIG).start()
    yield daemon
    assert daemon.stop() == 0, daemon.said()


def listening(net: Topology, address: str) -> subprocess.Popen[str]:
    server: subprocess.Popen[str] = start(net.client6b, "servers", "8080", address)
    assert hear(server) == "listening"
    return server


def test_flows_leave_an_endpoint_that_stops_serving_and_come_back(
    net: Topology, one: subprocess.Popen[str], daemon: Daemon
) -> None:
    def warnings() -> str:
        return " ".join(json.loads(daemon.ask("status", "--json").stdout)["warnings"])

    def servers(first: int) -> set[str]:
        found = ask(net.server4, "connections", VIP, "80", str(first), "100")
        assert found["failed"] == {}, (found, daemon.said())
        return set(found["servers"])

    assert servers(10000) == {ONE, OTHER}
    ports = [str(port) for port in range(20000, 20016)]
    pinned = [ask(net.server4, "datagram", VIP, "80", port, "10")["server"] for port in ports]
    assert set(pinned) == {ONE, OTHER}

    one.send_signal(signal.SIGKILL)
    one.wait(10)
    eventually(lambda: f"of its 2 endpoints [{ONE}]:8080 does not serve: connection refused" in warnings(), daemon)
    states = {(row["ipv6"], row["state"]) for row in daemon.rows("services", "--fields", "ipv6,state")}
    assert states == {(ONE, "down"), (OTHER, "up")}
    assert servers(30000) == {OTHER}
    assert [ask(net.server4, "datagram", VIP, "80", port, "10")["server"] for port in ports] == [OTHER] * len(ports)

    listening(net, ONE)
    eventually(lambda: not warnings(), daemon)
    assert servers(40000) == {ONE, OTHER}
    kinds = [row["event"] for row in daemon.rows("events")]
    assert [kind for kind in kinds if kind.startswith("endpoint")] == ["endpoint_down", "endpoint_up"]
