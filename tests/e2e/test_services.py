"""[[service]]: IPv4 clients, real servers with IPv6 addresses only, the kernels between them."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from nat64d.cli.lab import Lab, Namespace
from tests.e2e.test_page import DESKTOP, PHONE, SCREENSHOTS, browser, cells, forwarded, until
from tests.e2e.topology import CLIENT6A, POOL4, SERVER4, Daemon, Topology, embed, hear

__all__ = ["browser"]
pytestmark = pytest.mark.e2e

PROGRAM = str(Path(__file__).with_name("balanced.py"))
VIP, OTHER = "192.0.2.80", "192.0.2.81"
SERVERS = [f"2001:db8:b::{number}" for number in (21, 22, 23, 24, 25)]
CONNECTIONS = 10_000


def endpoints(port: int, *weights: int) -> str:
    rows = [f'{{ address = "[{server}]:{port}", weight = {n} }}' for server, n in zip(SERVERS, weights, strict=False)]
    return f"[{', '.join(rows)}]"


def config(*weights: int) -> str:
    """Five equal servers, and two of the weights given."""
    return f"""
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
endpoints = {endpoints(8080, 1, 1, 1, 1, 1)}

[[service]]
name = "weighted"
ipv4 = "{OTHER}:80"
endpoints = {endpoints(8081, *weights)}

[[service]]
name = "nobody"
ipv4 = "{OTHER}:81"

[tun]
ipv4 = "192.0.2.254"
"""


@pytest.fixture(scope="module")
def served(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Topology, Daemon]]:
    """The network, its servers, and a daemon."""
    with Lab("services") as lab:
        net = Topology(lab)
        for server in SERVERS:
            net.client6b.ip("address", "add", f"{server}/64", "dev", "router6", "nodad")
        for port in (8080, 8081):
            assert hear(start(net.client6b, "servers", str(port), *SERVERS)) == "listening"
        daemon = Daemon(net.gateway, tmp_path_factory.mktemp("services"), config(9, 1)).start()
        yield net, daemon
        assert daemon.stop() == 0, daemon.said()


def start(host: Namespace, *words: str) -> Any:
    return host.popen(sys.executable, PROGRAM, *words, stdout=-1)


def ask(host: Namespace, *words: str, timeout: float = 300) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(host.run(sys.executable, PROGRAM, *words, timeout=timeout).stdout)
    return answer


def reload(daemon: Daemon, text: str) -> None:
    daemon.config = text
    daemon.command()
    told = daemon.ask("reload")
    assert told.returncode == 0, told.stderr


def test_connections_are_shared_equally_and_servers_see_their_clients(served: tuple[Topology, Daemon]) -> None:
    net, daemon = served
    found = ask(net.server4, "connections", VIP, "80", "10000", str(CONNECTIONS))
    assert found["failed"] == {}, daemon.said()
    assert found["clients"] == {embed(SERVER4): CONNECTIONS}
    assert found["servers"].keys() == set(SERVERS)
    assert all(0.18 < count / CONNECTIONS < 0.22 for count in found["servers"].values()), found


def test_or_by_weight_and_none_goes_to_one_of_weight_0(served: tuple[Topology, Daemon]) -> None:
    net, daemon = served
    found = ask(net.server4, "connections", OTHER, "80", "30000", "2000")["servers"]
    assert 0.88 < found[SERVERS[0]] / 2000 < 0.92, found
    reload(daemon, config(9, 0))
    assert ask(net.server4, "connections", OTHER, "80", "40000", "100")["servers"] == {SERVERS[0]: 100}


def test_what_is_not_there_is_refused_at_once(served: tuple[Topology, Daemon]) -> None:
    net, _ = served
    for port in ("81", "82"):
        assert ask(net.server4, "connections", OTHER, port, "50000", "20")["failed"] == {"ConnectionRefusedError": 20}
    assert ask(net.server4, "datagram", OTHER, "7", "50000", "10") == {"failed": "ConnectionRefusedError"}


@pytest.mark.parametrize("size", ["10", "4000"])
def test_datagrams_and_their_fragments(served: tuple[Topology, Daemon], size: str) -> None:
    net, _ = served
    answer = ask(net.server4, "datagram", VIP, "80", "51000", size)
    assert answer["server"] in SERVERS
    assert (answer["client"], answer["octets"]) == (embed(SERVER4), int(size) if size != "10" else answer["octets"])
    assert ask(net.server4, "datagram", VIP, "80", "51000", size)["server"] == answer["server"]


def test_ping_and_traceroute_end_at_the_address(served: tuple[Topology, Daemon]) -> None:
    net, daemon = served
    assert " 0% packet loss" in net.server4.run("ping", "-c", "3", "-i", "0.2", "-s", "3000", VIP, timeout=30).stdout
    assert " 0% packet loss" in net.client6a.run("ping", "-c", "3", "-i", "0.2", embed(VIP), timeout=30).stdout
    for how in (("-U", "-p", "33434"), ("-T", "-p", "80"), ("-T", "-p", "82"), ("-I",)):
        hops = net.server4.run("traceroute", "-n", "-q1", "-w2", *how, VIP, timeout=60).stdout.splitlines()
        assert VIP in hops[-1], hops
        assert len(hops) <= 8, hops  # TCP of an open port goes on to the server, whose routers have no address in IPv4
    counted = [row["packets"] for row in daemon.rows("counters") if row.get("verdict") == "echoed"]
    assert sum(counted) >= 7


def test_hosts_behind_the_gateway_reach_it_and_so_does_the_gateway(served: tuple[Topology, Daemon]) -> None:
    net, _ = served
    found = ask(net.client6a, "connections", embed(VIP), "80", "20000", "50")
    assert found["failed"] == {}
    assert set(found["clients"]) <= {embed(address) for address in POOL4}
    assert ask(net.client6b, "connections", embed(VIP), "80", "20000", "50")["failed"] == {}
    assert CLIENT6A not in found["clients"]
    assert ask(net.gateway, "connections", VIP, "80", "20000", "50")["failed"] == {}


def test_listings_and_explain_tell_of_it(served: tuple[Topology, Daemon]) -> None:
    net, daemon = served
    ask(net.server4, "datagram", VIP, "80", "52000", "10")
    (row,) = daemon.rows("sessions", "--mapped4", VIP, "--port", "52000")
    assert row["host6"] in SERVERS
    members = [row for row in daemon.rows("bib", "--mapped4", VIP) if row["protocol"] == "udp"]
    assert {row["host6"] for row in members} == set(SERVERS)
    assert sum(row["sessions"] for row in members) > 0
    said = daemon.ask("explain", "--live", f"{SERVER4} > {VIP} udp 52000 80").stdout
    assert f"service web, {VIP}:80: member [{row['host6']}]:8080, where its session is pinned" in said
    said = daemon.ask("explain", "--live", f"{SERVER4} > {VIP} tcp 52001 80 flags S").stdout
    assert "chosen by the hash of the flow among 5 members" in said


def test_what_services_do_is_counted(served: tuple[Topology, Daemon]) -> None:
    net, daemon = served

    def counts(name: str) -> dict[str, Any]:
        (row,) = (
            row for row in daemon.rows("top", "--once", "--interval", "0.1")[0]["services"] if row["service"] == name
        )
        return dict(row)

    before, nobody = counts("web"), counts("nobody")
    assert ask(net.server4, "connections", VIP, "80", "24000", "50")["failed"] == {}
    ask(net.server4, "connections", OTHER, "81", "24000", "20")
    assert counts("web")["flows"] == before["flows"] + 50
    assert counts("nobody")["refused"] == nobody["refused"] + 20
    assert (nobody["ready"], nobody["endpoints"], before["ready"], before["endpoints"]) == (0, 0, 5, 5)
    ports = {row["host4_port"] for row in daemon.rows("sessions", "--service", "web", "--proto", "tcp")}
    assert set(range(24000, 24050)) <= ports
    assert counts("web")["sessions"] == len(daemon.rows("sessions", "--service", "web"))
    refused = daemon.ask("sessions", "--service", "wob")
    told = "service=wob: no [[service]] has this name, expected web, weighted, nobody"
    assert (refused.returncode, told in refused.stderr) == (2, True), refused.stderr
    heads, *lines = daemon.ask("services").stdout.splitlines()
    assert heads.split()[4:7] == ["READY", "ENDPOINTS", "SESSIONS"]
    assert [line.split()[0] for line in lines] == ["web", "weighted", "nobody"]
    assert lines[2].endswith("it has no endpoint")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_shows_services(
    served: tuple[Topology, Daemon], browser: webdriver.Chrome, size: tuple[int, int]
) -> None:
    net, daemon = served
    first = 25000 if size == DESKTOP else 28000
    with forwarded(daemon.socket) as address:
        browser.set_window_size(*size)
        browser.get(address)
        until(browser, lambda page: len(cells(page, "services")) == 3)
        clients = start(net.server4, "connections", VIP, "80", str(first), "3000")
        until(browser, lambda page: any(row[0] == "web" and row[3] != "0" for row in cells(page, "services")))
        rows = cells(browser, "services")
        assert rows[0][:2] == ["nobody", "0 of 0"]  # the one that is in trouble
        assert rows[1][:2] == ["web", "5 of 5"]
        assert rows[2][0] == "weighted"
        assert browser.find_elements(By.CSS_SELECTOR, "#services tr.drop")
        width, seen = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert width <= seen
        if SCREENSHOTS:
            browser.execute_script("document.querySelector('#services-section').scrollIntoView()")
            browser.save_screenshot(f"{SCREENSHOTS}/services-{'phone' if size == PHONE else 'desktop'}.png")
        clients.communicate()
        kept = [line for line in browser.get_log("browser") if line["level"] != "INFO"]
    assert not kept, kept


def test_sessions_stay_over_a_reload(served: tuple[Topology, Daemon]) -> None:
    net, daemon = served
    before = ask(net.server4, "datagram", VIP, "80", "53000", "10")["server"]
    fewer = config(9, 1).replace(endpoints(8080, 1, 1, 1, 1, 1), f'["[{before}]:8080", "[{CLIENT6A}]:8080"]')
    reload(daemon, fewer)
    assert ask(net.server4, "datagram", VIP, "80", "53000", "10")["server"] == before
    reload(daemon, config(9, 1))
