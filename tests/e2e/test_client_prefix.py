"""[services] client_prefix: servers see their clients under a prefix of its own, and filter them by that.

10.1.2.3, 203.0.113.10 = server4 ── router4 ── gateway (nat64d) ── router6 ── client6b, which serves
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from nat64d.cli.lab import Lab, Namespace
from tests.e2e.topology import CLIENT6A, CLIENT6B, POOL4, ROUTER4, SERVER4, Daemon, Topology, hear

pytestmark = pytest.mark.e2e

PROGRAM = str(Path(__file__).with_name("balanced.py"))
PREFIX, OTHER = "2001:db8:c::", "2001:db8:64:1::"
VIP, VIP_OF_OTHER = "192.0.2.80", "192.0.2.81"
PRIVATE4 = "10.1.2.3"
CONFIG = f"""
pool6 = "64:ff9b::/96"

[[pool4]]
addresses = "{POOL4[0]}-{POOL4[-1]}"

[services]
drain = 0
client_prefix = "{PREFIX}/96"

[[service]]
name = "web"
protocol = ["tcp", "udp"]
ipv4 = "{VIP}:80"
endpoints = ["[{CLIENT6B}]:8080"]

[[service]]
name = "again"
ipv4 = "{VIP_OF_OTHER}:80"
endpoints = ["[{CLIENT6B}]:8080"]
client_prefix = "{OTHER}/64"

[[service]]
name = "elsewhere"
protocol = "udp"
ipv4 = "{VIP}:9"
endpoints = ["[{CLIENT6B}]:9090"]

[filtering]
reset_unknown = 0

[tun]
ipv4 = "192.0.2.254"
"""


def under(prefix: str, address: str) -> str:
    """An IPv4 address under one of both prefixes (RFC 6052 section 2.2)."""
    shift = 0 if prefix == PREFIX else 24
    return str(IPv6Address(int(IPv6Address(prefix)) + (int(IPv4Address(address)) << shift)))


@pytest.fixture(scope="module")
def served(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Topology, Daemon]]:
    """The network, its server, a client with two addresses, and a daemon."""
    with Lab("prefix") as lab:
        net = Topology(lab)
        net.server4.ip("address", "add", f"{PRIVATE4}/32", "dev", "lo")
        net.router4.route("10.1.2.0/24", SERVER4)
        servers = net.client6b.popen(sys.executable, PROGRAM, "servers", "8080", CLIENT6B, stdout=subprocess.PIPE)
        assert hear(servers) == "listening"
        daemon = Daemon(net.gateway, tmp_path_factory.mktemp("prefix"), CONFIG).start()
        yield net, daemon
        assert daemon.stop() == 0, daemon.said()


def ask(host: Namespace, *words: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(host.run(sys.executable, PROGRAM, *words, timeout=60).stdout)
    return answer


def connect(net: Topology, source: str, first: int, vip: str = VIP) -> dict[str, Any]:
    """Ten connections from an address of server4."""
    for one in (VIP, VIP_OF_OTHER):
        net.server4.ip("route", "replace", one, "via", ROUTER4, "src", source)
    return ask(net.server4, "connections", vip, "80", str(first), "10")


def test_the_server_sees_its_clients_under_the_prefix(served: tuple[Topology, Daemon]) -> None:
    net, daemon = served
    for first, source in ((20000, SERVER4), (21000, PRIVATE4)):
        found = connect(net, source, first)
        assert found["failed"] == {}, daemon.said()
        assert found["clients"] == {under(PREFIX, source): 10}
        assert connect(net, source, first, VIP_OF_OTHER)["clients"] == {under(OTHER, source): 10}
    listed = daemon.rows("sessions", "--service", "web")
    assert {row["host4"] for row in listed} == {SERVER4, PRIVATE4}
    assert ask(net.server4, "datagram", VIP, "80", "22000", "4000")["client"] == under(PREFIX, PRIVATE4)


SEND = """
import socket
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
    one.bind(("{source}", {port}))
    one.sendto(b"answer", ("{to}", 23999))
"""
HEAR = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    one.bind(("", 23999))
    one.settimeout(30)
    print("listening", flush=True)
    print(one.recvfrom(100)[1][:2])
"""


def test_answers_pass_whichever_gateway_has_their_session(served: tuple[Topology, Daemon]) -> None:
    net, daemon = served
    before = counted(daemon, "no_service_flow")
    hears = net.server4.popen(sys.executable, "-c", HEAR, stdout=subprocess.PIPE)
    assert hear(hears) == "listening"
    for source, port in ((CLIENT6A, 9090), (CLIENT6B, 9091), (CLIENT6B, 9090)):
        sends = SEND.format(source=source, port=port, to=under(PREFIX, SERVER4))
        (net.client6a if source == CLIENT6A else net.client6b).run(sys.executable, "-c", sends)
    assert hear(hears) == f"('{VIP}', 9)"
    assert counted(daemon, "no_service_flow") == before + 2  # of another host, and from another port
    assert daemon.rows("sessions", "--port", "23999") == []


def counted(daemon: Daemon, verdict: str) -> int:
    return sum(row["packets"] for row in daemon.rows("counters") if row.get("verdict") == verdict)


def test_a_filter_of_the_server_stops_some_clients_and_no_others(served: tuple[Topology, Daemon]) -> None:
    net, _ = served
    rules = f"""
    table ip6 filter {{
        chain input {{
            type filter hook input priority 0;
            ip6 saddr {under(PREFIX, "10.1.2.0")}/120 tcp dport 8080 reject with tcp reset
        }}
    }}
    """
    net.client6b.run("nft", "-f", "-", stdin=rules)
    refused = {"ConnectionRefusedError": 10}
    assert connect(net, PRIVATE4, 24000)["failed"] == refused
    assert connect(net, SERVER4, 25000)["clients"] == {under(PREFIX, SERVER4): 10}
    assert connect(net, PRIVATE4, 26000, VIP_OF_OTHER)["clients"] == {under(OTHER, PRIVATE4): 10}
    net.client6b.run("nft", "delete", "table", "ip6", "filter")
    assert connect(net, PRIVATE4, 27000)["failed"] == {}


def test_the_prefixes_are_routed_to_the_device_and_explained(served: tuple[Topology, Daemon]) -> None:
    net, daemon = served
    routes = net.gateway.run("ip", "-6", "route", "show", "dev", "nat64").stdout
    assert f"{PREFIX}/96" in routes
    assert f"{OTHER}/64" in routes
    said = daemon.ask("explain", "--live", f"{CLIENT6B} > {PREFIX}{SERVER4} tcp 8080 28000 flags A").stdout
    assert f"clients under {PREFIX}/96 answers, and no session here" in said
    assert f"{VIP}:80 > {SERVER4}:28000 TCP" in said


def test_sessions_keep_their_prefix_over_a_reload_and_a_restart(served: tuple[Topology, Daemon]) -> None:
    net, daemon = served
    connect(net, SERVER4, 29000)
    ask(net.server4, "datagram", VIP, "80", "29500", "10")
    daemon.config = CONFIG.replace(f'client_prefix = "{PREFIX}/96"\n', "", 1).replace(
        'name = "web"\n', f'name = "web"\nclient_prefix = "{PREFIX}/96"\n'
    ) + service_in_front("2001:db8:e::/96")
    daemon.command()
    assert daemon.ask("reload").returncode == 0
    kept = [row for row in daemon.rows("sessions", "--service", "web") if row["host4_port"] in {29000, 29500}]
    assert len(kept) == 2
    assert ask(net.server4, "datagram", VIP, "80", "29500", "10")["client"] == under(PREFIX, SERVER4)


def service_in_front(prefix: str) -> str:
    """One more service, which takes a number."""
    return f'\n[[service]]\nname = "more"\nipv4 = "{VIP}:81"\nclient_prefix = "{prefix}"\n'
