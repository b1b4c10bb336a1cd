"""A host that is changed while the daemon runs: packets pass again, or a condition says why not.

                                          ┌── 198.51.100.0/24 ── wan_a ── 203.0.113.0/28 ───┐
    client6 ── 2001:db8:1::/64 ── gateway ┤ .1                 .2      .1                .10 ├ server4, 203.0.113.100
          ::10                   ::1      └── 192.0.2.0/24 ───── wan_b ── 203.0.113.16/28 ──┘
                                            .1                 .2      .17               .26

Nobody outside has a route to the pool: the gateway masquerades it behind the address of the uplink it uses.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from nat64d.cli.lab import Lab, Namespace
from tests.e2e.topology import Daemon, eventually, serve, traces

pytestmark = pytest.mark.e2e

PATIENCE = 60.0  # seconds until a change must have been noticed; usually it takes one
SERVER4, POOL6 = "203.0.113.100", "2001:db8:64::"
ROUTER_A, ROUTER_B, GATEWAY_A, GATEWAY_B = "198.51.100.2", "192.0.2.2", "198.51.100.1", "192.0.2.1"
CONFIG = f"""
pool6 = "{POOL6}/96"

[[pool4]]
addresses = "169.254.64.0/29"

[host]
masquerade = "auto"
"""


@pytest.fixture(scope="module")
def network(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Namespace]]:
    """The hosts drawn above."""
    with Lab("watch") as lab:
        client, gateway, wan_a, wan_b, server = (
            lab.namespace(name) for name in ("client6", "gateway", "wan_a", "wan_b", "server4")
        )
        lab.link(client, ["2001:db8:1::10/64"], gateway, ["2001:db8:1::1/64"])
        lab.link(gateway, [f"{GATEWAY_A}/24"], wan_a, [f"{ROUTER_A}/24"])
        lab.link(gateway, [f"{GATEWAY_B}/24"], wan_b, [f"{ROUTER_B}/24"])
        lab.link(wan_a, ["203.0.113.1/28"], server, ["203.0.113.10/28"])
        lab.link(wan_b, ["203.0.113.17/28"], server, ["203.0.113.26/28"])
        server.ip("address", "add", f"{SERVER4}/32", "dev", "lo")
        client.route("default", "2001:db8:1::1")
        gateway.route("default", ROUTER_A)
        for router, outside, inside, link in (
            (wan_a, "203.0.113.10", "203.0.113.1", "198.51.100.0/24"),
            (wan_b, "203.0.113.26", "203.0.113.17", "192.0.2.0/24"),
        ):
            router.forward()
            router.route(f"{SERVER4}/32", outside)
            server.route(link, inside)
        serve(server, "http", SERVER4, "80", str(tmp_path_factory.mktemp("offered")))
        yield {host.name: host for host in lab.namespaces}


@pytest.fixture(scope="module")
def daemon(network: dict[str, Namespace], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The daemon whose host is changed; after its end nothing of it is left."""
    before = traces(network["gateway"])
    daemon = Daemon(network["gateway"], tmp_path_factory.mktemp("daemon"), CONFIG).start()
    yield daemon
    assert daemon.stop() == 0, daemon.said()
    assert traces(network["gateway"]) == before


def status(daemon: Daemon) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(daemon.ask("status", "--json").stdout)
    return document


def readyz(daemon: Daemon) -> str:
    """What a probe is told: code and text."""
    curl = ("curl", "-s", "-w", " %{http_code}", "--unix-socket", str(daemon.socket), "http://localhost/readyz")
    return daemon.host.run(*curl).stdout


def setup(gateway: Namespace) -> dict[str, str]:
    """What is set up on the gateway. A device that had lost IPv6 gets the accept_ra that new devices get."""
    seen = {**traces(gateway), "links": gateway.ip("-br", "link", "show", "nat64")}
    seen["sysctls"] = "\n".join(line for line in seen["sysctls"].splitlines() if "/nat64/accept_ra:" not in line)
    return seen


def seen_as(network: dict[str, Namespace]) -> str:
    """The address that the server sees of the client; "" if it sees none."""
    curl = ("curl", "-s", "--max-time", "2", f"http://[{POOL6}{SERVER4}]/whoami")
    return network["client6"].run(*curl, check=False).stdout


REPAIRED = {
    "routes_deleted": ("ip route flush dev nat64 proto 64", "ip -6 route flush dev nat64 proto 64"),
    "device_down": ("ip link set nat64 down",),
    "device_down_and_up": ("ip link set nat64 down", "ip link set nat64 up"),
    "mtu_changed": ("ip link set nat64 mtu 1300",),
    "mtu_too_small_for_ipv6": ("ip link set nat64 mtu 1000",),
    "addresses_flushed": ("ip address flush dev nat64",),
    "forwarding_off": ("sysctl -qw net.ipv4.ip_forward=0", "sysctl -qw net.ipv6.conf.all.forwarding=0"),
    "ruleset_flushed": ("nft flush ruleset",),
}


@pytest.mark.parametrize("commands", REPAIRED.values(), ids=REPAIRED)
def test_what_was_set_up_comes_back(network: dict[str, Namespace], daemon: Daemon, commands: tuple[str, ...]) -> None:
    gateway = network["gateway"]
    assert seen_as(network) == GATEWAY_A
    before = setup(gateway)
    for command in commands:
        gateway.run(*command.split())
    eventually(lambda: setup(gateway) == before, daemon)
    eventually(lambda: seen_as(network) == GATEWAY_A, daemon)
    eventually(lambda: status(daemon)["state"] == "ready", daemon)


def test_masquerade_follows_the_default_route(network: dict[str, Namespace], daemon: Daemon) -> None:
    gateway = network["gateway"]
    gateway.ip("route", "replace", "default", "via", ROUTER_B)
    eventually(lambda: seen_as(network) == GATEWAY_B, daemon)
    assert status(daemon)["masquerade"] == "wan_b"
    gateway.ip("route", "del", "default")
    eventually(lambda: status(daemon)["state"] == "blocked", daemon)
    blocking = [row["condition"] for row in status(daemon)["conditions"] if row["blocks"]]
    assert blocking == ["masquerade_without_route"]
    gateway.ip("route", "add", "default", "via", ROUTER_A)
    eventually(lambda: seen_as(network) == GATEWAY_A, daemon)
    eventually(lambda: status(daemon)["state"] == "ready", daemon)


def test_a_firewall_that_drops_is_a_condition_until_its_command_was_run(
    network: dict[str, Namespace], daemon: Daemon
) -> None:
    gateway = network["gateway"]
    assert readyz(daemon) == "ready\n 200"
    gateway.run("nft", "add table inet f; add chain inet f out { type filter hook forward priority 0; policy drop; }")
    eventually(lambda: readyz(daemon) == '{"error": "packets cannot pass: firewall"} 503', daemon)
    assert seen_as(network) == ""
    assert daemon.ask("status").returncode == 1
    (condition,) = [row for row in status(daemon)["conditions"] if row["blocks"]]
    for command in condition["command"].split(" && "):
        gateway.run(*command.split())
    eventually(lambda: readyz(daemon) == "ready\n 200", daemon)
    assert seen_as(network) == GATEWAY_A
    gateway.run("nft", "delete", "table", "inet", "f")
    log = daemon.log.read_text("utf-8")
    assert log.count(" firewall (packets cannot pass): ") == 1
    assert log.count(": firewall: The firewall drops ") == 1
