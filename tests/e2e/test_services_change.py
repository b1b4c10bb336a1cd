"""Services that change while clients connect: servers replaced, drained, removed and back, from a source of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from nat64d.cli.lab import Lab
from nat64d.control.client import Client, RequestRefusedError
from tests.e2e.test_services import PROGRAM, ask, start
from tests.e2e.topology import Daemon, Topology, hear, tell

pytestmark = pytest.mark.e2e

VIP = "192.0.2.80"
SERVERS = [f"2001:db8:b::{number}" for number in range(31, 51)]
OLD, NEW = SERVERS[:10], SERVERS[10:]
SOURCE = "/v1/sources/kubernetes"
CONFIG = """
pool6 = "64:ff9b::/96"
strict_well_known_prefix = false

[services]
drain = 0
"""


@pytest.fixture(scope="module")
def served(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Topology, Daemon]]:
    """The network, twenty servers, and a daemon whose file has no service."""
    with Lab("change") as lab:
        net = Topology(lab)
        for server in SERVERS:
            net.client6b.ip("address", "add", f"{server}/64", "dev", "router6", "nodad")
        assert hear(start(net.client6b, "servers", "8080", *SERVERS)) == "listening"
        config = CONFIG + '[[eam]]\nipv4 = "192.0.2.99"\nipv6 = "2001:db8:b::99"\n[[pool4]]\naddresses = "192.0.2.20"\n'
        daemon = Daemon(net.gateway, tmp_path_factory.mktemp("change"), config).start()
        yield net, daemon
        assert daemon.stop() == 0, daemon.said()


def put(daemon: Daemon, *servers: str, port: int = 80, **more: Any) -> dict[str, Any]:
    """Let the source say that these are the servers."""
    row = {"name": "web", "ipv4": f"{VIP}:{port}", "protocol": ["tcp", "udp"], **more}
    row["endpoints"] = [f"[{server}]:8080" for server in servers]
    return Client(str(daemon.socket)).sent("PUT", SOURCE, {"service": [row]})


def hold(net: Topology, own: int) -> subprocess.Popen[str]:
    process: subprocess.Popen[str] = net.server4.popen(
        sys.executable, PROGRAM, "held", VIP, "80", str(own), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert hear(process) == "open"
    return process


def told(process: subprocess.Popen[str]) -> dict[str, str]:
    tell(process, "now")
    answer: dict[str, str] = json.loads(hear(process))
    process.wait(10)
    return answer


def servers_of(daemon: Daemon, own: int) -> list[str]:
    return [row["host6"] for row in daemon.rows("sessions", "--port", str(own))]


def test_ten_servers_are_replaced_one_by_one_and_no_request_fails(served: tuple[Topology, Daemon]) -> None:
    net, daemon = served
    assert put(daemon, *OLD)["changes"]
    clients = start(net.server4, "connections", VIP, "80", "10000", "5000")
    for count in range(1, 11):
        answer = put(daemon, *OLD[count:], *NEW[:count])
        assert answer["pause"] == 0.0, answer
        time.sleep(0.1)  # what the clients do meanwhile is what is tested
    found = json.loads(clients.communicate(timeout=300)[0])
    assert found["failed"] == {}, daemon.said()
    assert sum(found["servers"].values()) == 5000
    assert len(found["servers"]) > 12
    found = ask(net.server4, "connections", VIP, "80", "40000", "200")
    assert (found["failed"], set(found["servers"]) <= set(NEW)) == ({}, True)


def test_a_connection_outlives_its_server_in_the_list_and_datagrams_do_not(served: tuple[Topology, Daemon]) -> None:
    net, daemon = served
    put(daemon, *NEW)
    connection = hold(net, 50001)
    (there,) = servers_of(daemon, 50001)
    asked = ask(net.server4, "datagram", VIP, "80", "50001", "100")["server"]
    put(daemon, *(server for server in NEW if server not in {there, asked}))
    assert ask(net.server4, "datagram", VIP, "80", "50001", "100")["server"] not in {there, asked}
    assert told(connection) == {"server": there}
    put(daemon, *NEW)
    assert ask(net.server4, "datagram", VIP, "80", "50002", "100")["server"] in NEW


def test_where_nothing_serves_a_client_is_refused_at_once_and_soon_connected_after_a_server_is_back(
    served: tuple[Topology, Daemon],
) -> None:
    """At once: to the first segment, as another one would be sent after a second."""
    net, daemon = served
    waited = []
    for _ in range(3):
        put(daemon)
        client = start(net.server4, "until_open", VIP, "80")
        assert hear(client) == "refused"
        asked = time.monotonic()
        put(daemon, NEW[0])
        answered = time.monotonic()
        found = json.loads(hear(client))
        assert found["slowest"] < 1, found
        waited.append(found["open"] - answered)
        print(f"{1000 * (found['open'] - asked):.0f} ms after the request, {1000 * waited[-1]:.0f} ms after its answer")
    assert min(waited) < 0.5, waited


def test_or_is_reset_where_that_is_wanted(served: tuple[Topology, Daemon]) -> None:
    net, daemon = served
    put(daemon, *NEW)
    connection = hold(net, 50011)
    (there,) = servers_of(daemon, 50011)
    daemon.config = daemon.config.replace("drain = 0", 'drain = 0\nendpoint_gone = "reset"')
    daemon.command()
    assert daemon.ask("reload").returncode == 0
    put(daemon, *(server for server in NEW if server != there))
    assert told(connection) == {"failed": "ConnectionResetError"}


def test_a_list_of_an_older_generation_and_one_that_is_wrong_change_nothing(served: tuple[Topology, Daemon]) -> None:
    net, daemon = served
    version = put(daemon, *NEW)["version"]
    client = Client(str(daemon.socket))
    put(daemon, *OLD)
    for patch, status in (({"generation": version, "unset": {"service": [{"name": "web"}]}}, 409), ({"set": 7}, 400)):
        with pytest.raises(RequestRefusedError) as refused:
            client.sent("PATCH", SOURCE, patch)
        assert refused.value.status == status
    with pytest.raises(RequestRefusedError, match="expected an IPv6 host outside pool6"):
        put(daemon, "64:ff9b::1")
    assert set(ask(net.server4, "connections", VIP, "80", "51000", "100")["servers"]) <= set(OLD)
    assert {row["source"] for row in daemon.rows("services", "--endpoints")} == {"kubernetes"}


def test_a_fleet_is_put_in_seconds(served: tuple[Topology, Daemon]) -> None:
    net, daemon = served
    rows = [
        {
            "name": f"fleet/{number}",
            "ipv4": f"192.0.2.81:{1000 + number}",
            "endpoints": [f"[2001:db8:b:{number:x}::{n:x}]:80" for n in range(1, 101)],
        }
        for number in range(100)
    ]
    client = Client(str(daemon.socket), 120)
    clients = start(net.server4, "connections", VIP, "80", "20000", "5000")
    web = {"name": "web", "ipv4": f"{VIP}:80", "endpoints": [f"[{server}]:8080" for server in OLD]}
    began = time.monotonic()
    assert client.sent("PUT", SOURCE, {"service": [web, *rows]})["changes"]
    print(f"10,000 endpoints: {time.monotonic() - began:.2f} s")
    rows[7]["endpoints"] = rows[7]["endpoints"][1:]
    began = time.monotonic()
    answer = client.sent("PUT", SOURCE, {"service": [web, *rows]})
    print(f"one of them: {time.monotonic() - began:.2f} s")
    assert len(answer["changes"]) == 2
    assert json.loads(clients.communicate(timeout=300)[0])["failed"] == {}
    there = [row for row in daemon.rows("services", "--endpoints") if row["state"] != "gone"]
    assert len(there) == 10 + 100 * 100 - 1
