"""A cluster before a gateway: a fake API server, `nat64d kubernetes`, the daemon, real servers and clients.

The API server and the mirror are outside the network: one has loopback, the other the daemon's socket.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nat64d.cli.lab import Lab
from nat64d.control.client import Client, DaemonUnreachableError, RequestRefusedError
from tests.e2e.test_services import ask, start
from tests.e2e.topology import SERVER4, Daemon, Topology, embed, hear
from tests.kubernetes.fake.faults import Refusal
from tests.kubernetes.fake.kinds import SERVICES, SLICES
from tests.kubernetes.fake.server import Fake
from tests.kubernetes.mirrored import until, write_kubeconfig
from tests.kubernetes.objects import DRAINING, end, port, service, slice_

pytestmark = pytest.mark.e2e

VIP, OTHER = "192.0.2.80", "192.0.2.81"
SERVERS = [f"2001:db8:b::{number}" for number in (31, 32, 33)]
PORTS = [{"name": "http", "port": 8080, "protocol": "TCP"}]
CONFIG = """
pool6 = "64:ff9b::/96"
strict_well_known_prefix = false

[services]
drain = 0
"""


class Cluster:
    """All of it; `mirror` is the process."""

    def __init__(self, net: Topology, daemon: Daemon, fake: Fake, folder: Path) -> None:
        self.net, self.daemon, self.fake, self.folder = net, daemon, fake, folder
        self.config = write_kubeconfig(folder / "kubeconfig", fake.url)

    def mirrors(self) -> None:
        """Start `nat64d kubernetes`."""
        command = [Path(sys.executable).with_name("nat64d"), "kubernetes", "--gateway"]
        words = ["--kubeconfig", self.config, "--socket", self.daemon.socket]
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

    def asked(self, count: int = 100, address: str = VIP, first: int = 20000) -> dict[str, Any]:
        found: dict[str, Any] = ask(self.net.server4, "connections", address, "80", str(first), str(count))
        return found


@pytest.fixture(scope="module")
def cluster(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("kubernetes")
    with Lab("kube") as lab, Fake(second=1.0) as fake:
        net = Topology(lab)
        for server in SERVERS:
            net.client6b.ip("address", "add", f"{server}/64", "dev", "router6", "nodad")
        assert hear(start(net.client6b, "servers", "8080", *SERVERS)) == "listening"
        daemon = Daemon(net.gateway, folder, CONFIG, keep=True).start()
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
