"""[services] announce = "neighbours": two gateways with the same services on one link, and clients there.

server ── gateway_a ──┐
   └───── gateway_b ──┤ 198.51.100.0/24, a switch
            client ───┘
"""

import json
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nat64d.cli.lab import Lab, Namespace
from tests.e2e.test_services import PROGRAM
from tests.e2e.topology import Daemon, eventually, hear, traces

pytestmark = pytest.mark.e2e

CLIENT, VIP, FAR = "198.51.100.10", "198.51.100.80", "203.0.113.80"
LINK6, VIP6 = "2001:db8:f::", "2001:db8:f::80"
LEFT, RIGHT = ("2001:db8:a::1", "2001:db8:a::10"), ("2001:db8:b::1", "2001:db8:b::10")
SERVER = "2001:db8:9::80"
POOL6, SOURCE6 = "64:ff9b::/96", "fd00:64::/64"


def config(drain: int = 0, vip: str = VIP) -> str:
    """With an IPv6 address beside the one in the subnet."""
    six = f'ipv6 = "[{VIP6}]:80"' if vip == VIP else ""
    return f"""
pool6 = "{POOL6}"
strict_well_known_prefix = false

[services]
announce = "neighbours"
drain = {drain}
ipv6_front = "fullnat"
source6 = "{SOURCE6}"

[[service]]
name = "web"
ipv4 = "{vip}:80"
{six}
endpoints = ["[{SERVER}]:8080"]

[limits]
sessions = 10000
"""


class Network:
    """The network drawn above."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        names = ("switch", "client", "gateway_a", "gateway_b", "server")
        self.switch, self.client, self.a, self.b, self.server = (lab.namespace(name) for name in names)
        self.switch.ip("link", "add", "bridge", "type", "bridge")
        self.switch.ip("link", "set", "bridge", "up")
        for host, own in ((self.client, CLIENT), (self.a, "198.51.100.1"), (self.b, "198.51.100.2")):
            lab.link(host, [f"{own}/24", f"{LINK6}{own.rpartition('.')[2]}/64"], self.switch, [])
            self.switch.ip("link", "set", host.name, "master", "bridge")
        for gateway, (near, far) in ((self.a, LEFT), (self.b, RIGHT)):
            lab.link(gateway, [f"{near}/64"], self.server, [f"{far}/64"])
            gateway.route(f"{SERVER}/128", far)
        self.server.ip("address", "add", f"{SERVER}/128", "dev", "lo")
        self.daemons = []
        for name, host in (("a", self.a), ("b", self.b)):
            (directory / name).mkdir()
            self.daemons.append(Daemon(host, directory / name, config()))
        assert hear(self.server.popen(sys.executable, PROGRAM, "servers", "8080", SERVER, stdout=-1)) == "listening"

    def hardware(self, gateway: Namespace) -> str:
        return str(json.loads(gateway.ip("-j", "link", "show", "switch"))[0]["address"])

    def lead(self, router: str) -> None:
        """What the server answers goes by this gateway."""
        for prefix in (POOL6, SOURCE6):
            self.server.route(prefix, router)

    def neighbour(self, vip: str = VIP) -> str:
        """The hardware address that the client has for the service."""
        told = json.loads(self.client.ip("-j", "neighbour", "show", vip))
        return str(told[0].get("lladdr", "")) if told else ""

    def asks(self, first: int, vip: str = VIP) -> dict[str, int]:
        """Ten connections of the client, what failed of them."""
        done = self.client.run(sys.executable, PROGRAM, "connections", vip, "80", str(first), "10", timeout=60)
        failed: dict[str, int] = json.loads(done.stdout)["failed"]
        return failed


@pytest.fixture
def network(namespaces: None, tmp_path: Path) -> Iterator[Network]:
    with Lab("announce") as lab:
        yield Network(lab, tmp_path)


def conditions(daemon: Daemon) -> dict[str, str]:
    return {
        row["condition"]: row["sentence"] for row in json.loads(daemon.ask("status", "--json").stdout)["conditions"]
    }


def proxies(gateway: Namespace) -> str:
    return gateway.ip("neighbour", "show", "proxy")


def test_who_takes_over_has_the_neighbours_at_once_and_a_stop_loses_no_connection(network: Network) -> None:
    a, b = network.daemons
    a.config = config(drain=60)
    before = traces(network.a)
    network.lead(LEFT[0])
    a.start()
    eventually(lambda: VIP in proxies(network.a), a)
    eventually(lambda: VIP6 in proxies(network.a), a)
    assert network.asks(20000) == {}
    assert network.asks(20100, VIP6) == {}
    assert network.neighbour() == network.neighbour(VIP6) == network.hardware(network.a)

    taken_over(network)
    assert a.process is not None
    network.client.ip("neighbour", "replace", VIP, "lladdr", network.hardware(network.a), "dev", "switch")
    assert network.asks(21000) == {}, a.said()  # by the gateway that is about to end
    a.process.send_signal(signal.SIGTERM)
    assert a.process.wait(10) == 0
    assert {name: text for name, text in traces(network.a).items() if name != "sysctls"} == {
        name: text for name, text in before.items() if name != "sysctls"
    }

    network.client.ip("neighbour", "del", VIP, "dev", "switch")
    network.lead(RIGHT[0])
    assert network.asks(22000) == {}, b.said()
    assert network.asks(22100, VIP6) == {}, b.said()
    assert b.stop() == 0


def taken_over(network: Network) -> None:
    """The second gateway stands by, and has the addresses when the first one is about to stop."""
    a, b = network.daemons
    b.start()
    eventually(lambda: "vip_taken" in conditions(b), b)
    assert network.hardware(network.a) in conditions(b)["vip_taken"]
    assert VIP not in proxies(network.b)
    assert network.neighbour() == network.hardware(network.a)
    assert a.process is not None
    a.process.send_signal(signal.SIGTERM)
    eventually(lambda: "packets pass for 60 s more" in a.said(), a)
    assert proxies(network.a) == ""
    assert VIP not in network.a.ip("route", "show")
    assert VIP in network.a.ip("route", "show", "table", "all", "proto", "64")
    eventually(lambda: VIP in proxies(network.b), b)
    for vip in (VIP, VIP6):  # told, by an unsolicited advertisement in IPv6
        eventually(lambda at=vip: network.neighbour(at) == network.hardware(network.b), b, seconds=5)  # type: ignore[misc]
    eventually(lambda: conditions(b) == {}, b)


def test_what_a_killed_gateway_leaves_is_taken_over_and_removed(network: Network) -> None:
    a, b = network.daemons
    network.server.route(POOL6, LEFT[0])
    a.start()
    eventually(lambda: VIP in proxies(network.a), a)
    assert network.asks(20000) == {}
    b.start()
    eventually(lambda: "vip_taken" in conditions(b), b)
    assert a.process is not None
    a.process.send_signal(signal.SIGKILL)
    a.process.wait()
    assert VIP in proxies(network.a)
    eventually(lambda: network.neighbour() == network.hardware(network.b), b)
    a.config = config(vip=FAR)  # in no subnet
    a.start()
    assert proxies(network.a) == ""
    assert "ip address add" in conditions(a)["vip_off_link"]
    network.a.ip("address", "add", "203.0.113.1/24", "dev", "switch")
    eventually(lambda: FAR in proxies(network.a), a)
    eventually(lambda: conditions(a) == {}, a)
    network.a.ip("address", "del", "203.0.113.1/24", "dev", "switch")
    eventually(lambda: proxies(network.a) == "", a)
    assert (a.stop(), b.stop()) == (0, 0)


def test_a_service_that_comes_and_goes_with_a_reload(network: Network) -> None:
    a, _ = network.daemons
    a.config = config(vip=VIP.replace(".80", ".81"))
    a.start()
    eventually(lambda: ".81 " in proxies(network.a), a)
    a.config = config()
    a.command()
    assert a.ask("reload").returncode == 0
    eventually(lambda: re.findall(r"\.8\d ", proxies(network.a)) == [".80 "], a)
    begun = time.monotonic()
    assert a.stop() == 0
    assert time.monotonic() - begun < 5
