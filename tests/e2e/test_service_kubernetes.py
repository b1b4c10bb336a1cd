"""A cluster before a gateway: a fake API server, `nat64d kubernetes`, the daemon, real servers and clients.

The API server and the mirror are outside the network: one has loopback, the other the daemon's socket.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from nat64d.cli.lab import Lab
from nat64d.control.client import Client, DaemonUnreachableError, RequestRefusedError
from nat64d.kubernetes.leases import APPLIED, REFUSED
from tests.e2e.nameserver import unbound
from tests.e2e.test_services import ask, start
from tests.e2e.topology import GATEWAY4, GATEWAY6, SERVER4, Daemon, Topology, embed, hear
from tests.kubernetes.fake.faults import Refusal
from tests.kubernetes.fake.kinds import LEASES, SERVICES, SLICES
from tests.kubernetes.fake.server import Fake
from tests.kubernetes.mirrored import until, write_kubeconfig
from tests.kubernetes.objects import DRAINING, OUR_KINDS, STATIC, TRANSLATOR, end, mapping, port, service, slice_

pytestmark = pytest.mark.e2e

VIP, OTHER = "192.0.2.80", "192.0.2.81"
SERVERS = [f"2001:db8:b::{number}" for number in (31, 32, 33)]
SHARED4, OWN4, MAPPED4 = "192.0.2.20", "192.0.2.24/30", "192.0.2.90"
MANY4, MANY6, OF_MANY4, OF_MANY6 = "10.64.1.0/24", "2001:db8:b::1:0/120", "10.64.1.49", "2001:db8:b::1:31"
PREFIX = "2001:db8:c::/96"
CLIENT_THERE = str(IPv6Address(int(IPv6Address("2001:db8:c::")) + int(IPv4Address(SERVER4))))
PORTS = [{"name": "http", "port": 8080, "protocol": "TCP"}]
CONFIG = """
pool6 = "64:ff9b::/96"
strict_well_known_prefix = false

[services]
drain = 0
"""


EGRESS = f"""
[[pool4]]
addresses = "{SHARED4}"

[dns64]
listen = ["[{GATEWAY6}]:53"]
upstream = ["{SERVER4}"]
clients = ["2001:db8::/32"]
"""
WORLD = f"""
  local-zone: "." static
  local-data: ". 60 IN SOA ns. admin. 1 3600 600 86400 60"
  local-data: "v4.example. 300 IN A {SERVER4}"
  local-data: "web.example. 300 IN A {VIP}"
"""


class Cluster:
    """All of it; `mirror` is the process."""

    def __init__(self, net: Topology, daemon: Daemon, fake: Fake, folder: Path) -> None:
        self.net, self.daemon, self.fake, self.folder = net, daemon, fake, folder
        self.config = write_kubeconfig(folder / "kubeconfig", fake.url)

    def mirrors(self) -> None:
        """Start `nat64d kubernetes`."""
        command = [Path(sys.executable).with_name("nat64d"), "kubernetes", "--gateway"]
        words = ["--kubeconfig", self.config, "--socket", self.daemon.socket, "--name", "g1"]
        with (self.folder / "mirror.log").open("ab") as log:
            self.mirror = subprocess.Popen([*command, *words], stderr=log)

    def stop(self) -> int:
        self.mirror.terminate()
        return self.mirror.wait(20)

    def said(self) -> str:
        return (self.folder / "mirror.log").read_text() + self.daemon.said()

    def has(self, *servers: str, name: str = "default/web/http") -> bool:
        """Whether the daemon has these endpoints, and no others."""
        try:
            rows = [*Client(str(self.daemon.socket)).rows("/v1/services", {"service": name})]
        except (DaemonUnreachableError, RequestRefusedError):  # refused: there is no such service
            rows = []
        return {row["ipv6"] for row in rows if row["weight"]} == {*servers}

    def asked(self, count: int = 100, address: str = VIP, first: int = 20000, port: int = 80) -> dict[str, Any]:
        """What came of so many connections of the IPv4 client."""
        words = [address, str(port), str(first), str(count)]
        found: dict[str, Any] = ask(self.net.server4, "connections", *words)
        return found

    def asks(self, pod: str, name: str, first: int) -> tuple[dict[str, int], list[str], dict[str, int]]:
        """The same of a pod: servers, whom they saw, failures."""
        found = ask(self.net.client6b, "connections", name, "80", str(first), "20", pod)
        return found["servers"], [*found["clients"]], found["failed"]


@pytest.fixture(scope="module")
def cluster(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("kubernetes")
    with Lab("kube") as lab, Fake(second=1.0) as fake:
        net = Topology(lab)
        for server in (*SERVERS, OF_MANY6):
            net.client6b.ip("address", "add", f"{server}/64", "dev", "router6", "nodad")
        assert hear(start(net.client6b, "servers", "8080", *SERVERS, OF_MANY6)) == "listening"
        assert hear(start(net.server4, "servers", "80", SERVER4)) == "listening"
        unbound(net.server4, folder, SERVER4, WORLD)
        net.client6b.use_resolver(GATEWAY6, folder)
        net.router4.route(MANY4, GATEWAY4)
        fake.kinds += OUR_KINDS
        daemon = Daemon(net.gateway, folder, CONFIG + EGRESS, keep=True).start()
        there = Cluster(net, daemon, fake, folder)
        there.mirrors()
        try:
            yield there
        finally:
            there.stop()
        assert daemon.stop() == 0, daemon.said()


def test_a_service_of_a_cluster_is_served(cluster: Cluster) -> None:
    cluster.fake.set(SERVICES, service("web", VIP))
    cluster.fake.set(SLICES, slice_("web-1", *SERVERS[:2], ports=PORTS))
    until(lambda: cluster.has(*SERVERS[:2]))
    found = cluster.asked()
    assert (found["failed"], {*found["servers"]}) == ({}, {*SERVERS[:2]}), cluster.said()
    assert [*found["clients"]] == [embed(SERVER4)]


def test_the_daemon_runs_without_the_libraries_of_the_mirror(cluster: Cluster) -> None:
    """Of these msgspec is machine code, which a process shows that has imported it."""
    ours, theirs = (Path(f"/proc/{one.pid}/maps").read_text() for one in (cluster.daemon.process, cluster.mirror))
    assert ("/msgspec/" in ours, "/msgspec/" in theirs) == (False, True)


def test_pods_reach_ipv4_servers_by_name_and_their_own_service_by_its_ipv4_address(cluster: Cluster) -> None:
    """By way of DNS64. The one endpoint of the service is the very pod that asks: it sees the address of the pool."""
    cluster.fake.set(SLICES, slice_("web-1", SERVERS[0], ports=PORTS))
    until(lambda: cluster.has(SERVERS[0]))
    assert cluster.asks(SERVERS[0], "v4.example", 22000) == ({SERVER4: 20}, [SHARED4], {}), cluster.said()
    assert cluster.asks(SERVERS[0], "web.example", 23000) == ({SERVERS[0]: 20}, [embed(SHARED4)], {}), cluster.said()


def test_what_the_file_contradicts_is_named_in_the_lease_of_the_gateway(cluster: Cluster) -> None:
    """And counts as seen: it keeps no other Service from being shown as applied."""

    def lease() -> dict[str, str]:
        notes: dict[str, str] = cluster.fake.get(LEASES, "nat64d-gateway-g1", "nat64d")["metadata"]["annotations"]
        return notes

    cluster.fake.set(SERVICES, service("taken", SHARED4, port(2000)))
    version = cluster.fake.store.version
    until(lambda: REFUSED in lease() and int(lease()[APPLIED]) >= version)
    ((what, why),) = json.loads(lease()[REFUSED]).items()
    assert what == "Service default/taken"
    assert why.startswith(f'ipv4 = "{SHARED4}:2000": expected'), why
    cluster.fake.delete(SERVICES, "taken")
    until(lambda: REFUSED not in lease())


def pools(cluster: Cluster) -> set[str]:
    return {row["addresses"] for row in cluster.daemon.rows("pools")}


def test_a_static_mapping_of_a_pod_and_of_a_prefix_needs_no_sessions(cluster: Cluster) -> None:
    """Both ways, beside a service; nobody notices that mappings, and addresses of a Translator, come and go."""
    clients = start(cluster.net.server4, "connections", VIP, "80", "45000", "1000")
    cluster.fake.set(STATIC, mapping("pod", f"{MAPPED4}/32", f"{SERVERS[1]}/128"))
    cluster.fake.set(STATIC, mapping("many", MANY4, MANY6))
    pool4 = [{"gateway": name, "addresses": [block]} for name, block in (("g1", OWN4), ("g2", "192.0.2.28/30"))]
    cluster.fake.set(TRANSLATOR, {"metadata": {"name": "all"}, "spec": {"pool6": "64:ff9b::/96", "pool4": pool4}})
    pairs = {MAPPED4: SERVERS[1], OF_MANY4: OF_MANY6}
    until(lambda: len(cluster.daemon.rows("mappings")) == 2 and pools(cluster) == {SHARED4, OWN4})
    for number, (mapped, pod) in enumerate(pairs.items()):
        found = cluster.asked(20, mapped, 24000 + 100 * number, port=8080)
        assert (found["servers"], [*found["clients"]], found["failed"]) == ({pod: 20}, [embed(SERVER4)], {})
        assert cluster.asks(pod, "v4.example", 25000 + 100 * number) == ({SERVER4: 20}, [mapped], {}), cluster.said()
    assert not [row for row in cluster.daemon.rows("sessions") if row["mapped4"] in pairs]
    for name in ("pod", "many"):
        cluster.fake.delete(STATIC, name)
    cluster.fake.delete(TRANSLATOR, "all")
    until(lambda: not cluster.daemon.rows("mappings") and pools(cluster) == {SHARED4})
    found = json.loads(clients.communicate(timeout=300)[0])
    assert (found["failed"], sum(found["servers"].values())) == ({}, 1000), cluster.said()


def test_endpoints_see_clients_under_the_prefix_of_a_translator(cluster: Cluster) -> None:
    spec, ports = {"pool6": "64:ff9b::/96", "clientPrefix": PREFIX}, count(25000)
    for given, seen, first in ((spec, CLIENT_THERE, 26000), (None, embed(SERVER4), 27000)):
        if given:
            cluster.fake.set(TRANSLATOR, {"metadata": {"name": "prefix"}, "spec": given})
        else:
            cluster.fake.delete(TRANSLATOR, "prefix")
        until(lambda: [*cluster.asked(1, first=next(ports))["clients"]] == [seen])  # noqa: B023
        until(lambda: (PREFIX in cluster.net.gateway.ip("-6", "route")) == bool(given))  # noqa: B023
        found = cluster.asked(20, first=first)
        assert ([*found["clients"]], found["failed"]) == ([seen], {}), cluster.said()


def test_an_endpoint_that_drains_gets_no_new_connections(cluster: Cluster) -> None:
    cluster.fake.set(SLICES, slice_("web-1", SERVERS[0], end(SERVERS[1], DRAINING), SERVERS[2], ports=PORTS))
    until(lambda: cluster.has(SERVERS[0], SERVERS[2]))
    found = cluster.asked(first=21000)
    assert (found["failed"], {*found["servers"]}) == ({}, {SERVERS[0], SERVERS[2]}), cluster.said()


def test_without_an_api_server_packets_pass_over_restarts_of_both(cluster: Cluster) -> None:
    """Killed, half open, busy, broken; daemon and mirror start anew meanwhile. What was missed is made up for."""
    fake = cluster.fake
    fake.set(SERVICES, service("gone", OTHER))
    fake.set(SLICES, slice_("gone-1", SERVERS[0], of="gone", ports=PORTS))
    until(lambda: cluster.has(SERVERS[0], name="default/gone/http"))
    until(lambda: "TCP of no session is answered with RST" in cluster.daemon.log.read_text())  # it is new to others
    clients = start(cluster.net.server4, "connections", VIP, "80", "30000", "2000")
    fake.kill()
    fake.delete(SERVICES, "gone")
    fake.start()
    until(lambda: cluster.has(name="default/gone/http"))
    fake.freeze()
    fake.set(SERVICES, service("back", OTHER, port(80)))
    fake.thaw()
    fake.faults.refusal = Refusal(429, "0")
    fake.kill()
    assert cluster.stop() == 0
    cluster.mirrors()
    until(lambda: "the API server is lost" in (cluster.folder / "mirror.log").read_text())
    found = json.loads(clients.communicate(timeout=300)[0])
    assert (found["failed"], sum(found["servers"].values())) == ({}, 2000), cluster.said()
    assert cluster.daemon.stop() == 0
    cluster.daemon.start()
    assert cluster.has(SERVERS[0], SERVERS[2])
    assert cluster.asked(first=40000)["failed"] == {}
    fake.start()
    fake.faults.refusal = None
    fake.set(SLICES, slice_("web-1", SERVERS[2], ports=PORTS))
    until(lambda: cluster.has(SERVERS[2]))
    assert [*cluster.asked(first=41000)["servers"]] == [SERVERS[2]]


def test_after_an_uninstall_a_daemon_is_told_that_there_is_nothing(cluster: Cluster) -> None:
    """And an install begins anew."""
    assert cluster.stop() == 0
    assert cluster.has(SERVERS[2])
    Client(str(cluster.daemon.socket)).sent("PUT", "/v1/sources/kubernetes", {})
    assert {row["state"] for row in cluster.daemon.rows("services")} <= {"gone"}  # and has connections
    assert VIP not in cluster.net.gateway.ip("route")
    cluster.mirrors()
    until(lambda: cluster.has(SERVERS[2]))
