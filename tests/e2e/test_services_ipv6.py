"""[[service]] ipv6: IPv6 clients of the same servers, with fullnat, and with dnat.

client6c ── 2001:db8:c::/64 ── gateway ── … ── router6 ── client6b, where the servers are
"""

import sys
from collections.abc import Iterator

import pytest

from nat64d.cli.lab import Lab, Namespace
from tests.e2e.test_services import PROGRAM, SERVERS, ask, endpoints, start
from tests.e2e.topology import POOL4, Daemon, Topology, hear, learnt

pytestmark = pytest.mark.e2e

VIP6, VIP4, CLIENT6C = "2001:db8:ff::80", "192.0.2.80", "2001:db8:c::10"
SOURCE6 = "2001:db8:f::/64"
DNAT = 'ipv6_front = "dnat"'
FULLNAT = f'ipv6_front = "fullnat"\nsource6 = "{SOURCE6}"'


def config(front: str, more: str = "") -> str:
    return f"""
pool6 = "64:ff9b::/96"
strict_well_known_prefix = false

[[pool4]]
addresses = "{POOL4[0]}-{POOL4[-1]}"

[services]
drain = 0
{front}

[[service]]
name = "web"
protocol = ["tcp", "udp"]
ipv4 = "{VIP4}:80"
ipv6 = "[{VIP6}]:80"
endpoints = {endpoints(8080, 1, 1, 1, 1, 1)}

[[service]]
name = "nobody"
ipv6 = "[{VIP6}]:81"

[[service]]
name = "staff"
ipv6 = "[{VIP6}]:22"
endpoints = {endpoints(8080, 1)}
sources = ["2001:db8:a::/64"]
{more}
[tun]
ipv4 = "192.0.2.254"
"""


@pytest.fixture(scope="module")
def lab(namespaces: None) -> Iterator[tuple[Topology, Namespace]]:
    """The network, its servers, and a client beyond the gateway."""
    with Lab("front6") as lab:
        net = Topology(lab)
        client = lab.namespace("client6c")
        lab.link(client, [f"{CLIENT6C}/64"], net.gateway, ["2001:db8:c::1/64"])
        client.route("default", "2001:db8:c::1")
        for server in SERVERS:
            net.client6b.ip("address", "add", f"{server}/64", "dev", "router6", "nodad")
        assert hear(start(net.client6b, "servers", "8080", *SERVERS)) == "listening"
        yield net, client


Front = tuple[Topology, Namespace, Daemon]
WAYS = {"fullnat": (FULLNAT, "2001:db8:f:0:"), "dnat": (DNAT, CLIENT6C)}
DNAT_ONLY = pytest.mark.parametrize("front", ["dnat"], indirect=True)


@pytest.fixture(scope="module", params=WAYS)
def front(
    lab: tuple[Topology, Namespace], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    """And a daemon that has servers see clients in one of the ways."""
    net, client = lab
    daemon = Daemon(
        net.gateway, tmp_path_factory.mktemp(request.param), config(WAYS[request.param][0]), keep=True
    ).start()
    yield net, client, daemon
    assert daemon.stop() == 0, daemon.said()
    assert "nat64d" not in net.gateway.run("nft", "list", "ruleset").stdout
    assert "fwmark" not in net.gateway.ip("-6", "rule")


def test_connections_and_datagrams_of_any_size(front: Front) -> None:
    net, client, daemon = front
    seen = next(seen for way, seen in WAYS.values() if way in daemon.config)
    found = ask(client, "connections", VIP6, "80", "10000", "200")
    assert found["failed"] == {}, daemon.said()
    assert found["servers"].keys() == set(SERVERS)
    assert len(found["clients"]) == 1
    assert next(iter(found["clients"])).startswith(seen)
    for size in ("100", "1400", "4000"):
        answer = ask(client, "datagram", VIP6, "80", "51000", size)
        assert answer.get("octets") == int(size), (answer, daemon.said())
        assert answer["client"].startswith(seen)
    assert ask(net.server4, "connections", VIP4, "80", "10000", "50")["failed"] == {}
    assert ask(client, "connections", VIP6, "81", "20000", "5")["failed"] == {"ConnectionRefusedError": 5}
    assert ask(client, "connections", VIP6, "82", "20000", "5")["failed"] == {"ConnectionRefusedError": 5}
    assert ask(client, "datagram", VIP6, "7", "50000", "10") == {"failed": "ConnectionRefusedError"}


def test_pings_and_traceroute_end_at_the_address(front: Front) -> None:
    client = front[1]
    for size in ("56", "1400", "3000"):
        assert " 0% packet loss" in client.run("ping", "-c", "2", "-i", "0.2", "-s", size, VIP6, timeout=30).stdout
    hops = client.run("traceroute", "-6", "-n", "-q1", "-w2", "-T", "-p", "80", VIP6, timeout=60).stdout.splitlines()
    assert VIP6 in hops[-1], hops


def test_clients_are_listed_and_found_by_their_own_addresses(front: Front) -> None:
    _, client, daemon = front
    server = ask(client, "datagram", VIP6, "80", "52000", "100")["server"]
    (row,) = daemon.rows("sessions", "--host4", f"{CLIENT6C}/64", "--port", "52000")
    assert (row["host6"], row["host4"], row["mapped4"]) == (server, CLIENT6C, VIP6)
    (same,) = daemon.rows("sessions", "--host", VIP6, "--port", "52000")
    assert same["cursor"] == row["cursor"]
    assert daemon.rows("sessions", "--host4", "2001:db8:dead::/64", "--port", "52000") == []
    said = daemon.ask("explain", "--live", f"{CLIENT6C} > {VIP6} udp 52000 80").stdout
    assert f"service web, [{VIP6}]:80: member [{server}]:8080, where its session is pinned" in said
    assert f"session with [{CLIENT6C}]:52000" in said


def test_packet_too_big_reaches_the_client_of_a_router_and_of_the_gateways_own_kernel(front: Front) -> None:
    net, client, _ = front
    for left, right in ((net.router6, net.client6b), (net.router6, net.gateway)):
        net.set_mtu(left, right, 1400)
        try:
            for _ in range(2):
                ask(client, "datagram", VIP6, "80", "53000", "1400", timeout=60)
            assert learnt(client, VIP6) == 1400
        finally:
            net.set_mtu(left, right, 1500)
            for host in (client, net.client6b, net.gateway):
                host.ip("-6", "route", "flush", "cache")


def test_it_serves_whom_it_may(front: Front) -> None:
    net, client, daemon = front
    before = refused(daemon)
    client.run("timeout", "1", sys.executable, PROGRAM, "connections", VIP6, "22", "10000", "1", check=False)
    assert refused(daemon) > before
    assert ask(net.gateway, "connections", VIP6, "80", "10000", "20")["failed"] == {}


def refused(daemon: Daemon) -> int:
    return sum(row["packets"] for row in daemon.rows("counters") if row.get("verdict") == "source_range")


@pytest.mark.parametrize("front", ["fullnat"], indirect=True)
def test_fullnat_serves_clients_whose_servers_are_beside_them(front: Front) -> None:
    """Their answers do not pass the gateway by themselves."""
    net = front[0]
    assert ask(net.client6a, "connections", VIP6, "22", "10000", "5")["failed"] == {}
    assert ask(net.client6b, "connections", VIP6, "80", "10000", "20")["failed"] == {}


@DNAT_ONLY
def test_dnat_leaves_direct_access_as_it_is(front: Front) -> None:
    net, client, daemon = front
    for server in SERVERS[:2]:
        found = ask(client, "connections", server, "8080", "30000", "50")
        assert (found["failed"], found["clients"], found["servers"]) == ({}, {CLIENT6C: 50}, {server: 50}), (
            daemon.said()
        )
        for size in ("100", "4000"):
            assert ask(client, "datagram", server, "8080", "31000", size)["octets"] == int(size)
    assert ask(net.gateway, "connections", SERVERS[0], "8080", "30000", "5")["failed"] == {}
    counted = {row["verdict"]: row["packets"] for row in daemon.rows("counters") if "verdict" in row}
    assert counted["passed"] > 0
    assert counted.get("not_our_prefix", 0) == 0


@DNAT_ONLY
def test_dnat_serves_programs_of_the_gateway_and_endpoints_there(front: Front) -> None:
    net, client, daemon = front
    assert ask(net.gateway, "connections", VIP6, "80", "10000", "20")["failed"] == {}
    own = "2001:db8:c::1"
    server = start(net.gateway, "servers", "8080", own)
    assert hear(server) == "listening"
    daemon.config = config(DNAT, f'\n[[service]]\nname = "own"\nipv6 = "[{VIP6}]:8000"\nendpoints = ["[{own}]:8080"]\n')
    daemon.command()
    told = daemon.ask("reload")
    assert told.returncode == 0, told.stderr
    found = ask(client, "connections", VIP6, "8000", "10000", "20")
    assert (found["failed"], found["clients"]) == ({}, {CLIENT6C: 20}), daemon.said()
    assert ask(client, "connections", own, "8080", "30000", "5")["failed"] == {}
    server.terminate()
    server.wait()


@DNAT_ONLY
def test_dnat_goes_on_over_a_restart(front: Front) -> None:
    _, client, daemon = front
    before = ask(client, "datagram", VIP6, "80", "54000", "100")["server"]
    assert daemon.stop() == 0, daemon.said()
    daemon.start()
    (row,) = daemon.rows("sessions", "--host4", CLIENT6C, "--port", "54000")
    assert row["host6"] == before
    assert ask(client, "datagram", VIP6, "80", "54000", "100")["server"] == before
