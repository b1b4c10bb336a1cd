"""An IPv6-only network whose only resolver is nat64d, with the programs that people have.

    customer ─┐
              ├─ 2001:db8:1::/64, /64 each ── gateway ── 203.0.113.0/24 ── server4
    client6 ──┘                               nat64d               web, and the world's name server (unbound)

client6 has IPv6 and nat64d's address in resolv.conf, and nothing else; customer runs a nat64d of its own as CLAT.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nat64d.cli.lab import NAT64D, Lab, Namespace
from tests.e2e.nameserver import unbound, wait_for
from tests.e2e.topology import Daemon, serve

pytestmark = pytest.mark.e2e

RESOLVER, SERVER4, POOL6 = "2001:db8:1::1", "203.0.113.10", "2001:db8:64::"
SERVER6 = "cb00:710a"  # SERVER4 behind the prefix
MAPPED4, MAPPED6 = "192.0.2.77", "2001:db8:1::77"
CONFIG = f"""
pool6 = "{POOL6}/96"

[[pool4]]
addresses = "192.0.2.1"

[tun]
ipv4 = "192.0.2.254"

[[eam]]
ipv4 = "{MAPPED4}"
ipv6 = "{MAPPED6}"

[dns64]
listen = ["[::]:53", "0.0.0.0:53"]
upstream = ["{SERVER4}"]
dns46 = true
"""
CLAT = '[clat]\nipv6 = "2001:db8:2::464"\n'
WORLD = f"""
  local-zone: "." static
  local-data: ". 60 IN SOA ns. admin. 1 3600 600 86400 60"
  local-data: "v4.example. 300 IN A {SERVER4}"
  local-data: "v6.example. 300 IN AAAA {MAPPED6}"
  local-data: "private.example. 300 IN A 127.0.0.1"
  local-data-ptr: "{SERVER4} 300 v4.example."
  local-data-ptr: "{MAPPED6} 300 v6.example."
"""


@pytest.fixture(scope="module")
def network(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Namespace]]:
    """The hosts drawn above, with a web server and the world's name server."""
    with Lab("dns64") as lab:
        client, customer, gateway, server = (lab.namespace(n) for n in ("client6", "customer", "gateway", "server4"))
        lab.link(client, ["2001:db8:1::2/64", f"{MAPPED6}/64"], gateway, [f"{RESOLVER}/64"])
        lab.link(customer, ["2001:db8:2::2/64"], gateway, ["2001:db8:2::1/64"])
        lab.link(gateway, ["203.0.113.1/24"], server, [f"{SERVER4}/24"])
        client.route("default", RESOLVER)
        customer.route("default", "2001:db8:2::1")
        server.route("192.0.2.0/24", "203.0.113.1")
        world = tmp_path_factory.mktemp("world")
        (world / "page").write_text("over IPv4")
        client.use_resolver(RESOLVER, world)
        customer.use_resolver("2001:db8:2::1", world)
        server.use_resolver("203.0.113.1", world)
        serve(server, "http", SERVER4, "80", str(world))
        serve(client, "http", MAPPED6, "80", str(world))
        unbound(server, world, SERVER4, WORLD)
        yield {host.name: host for host in lab.namespaces}


@pytest.fixture(scope="module")
def nat64d(network: dict[str, Namespace], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The gateway's daemon."""
    daemon = Daemon(network["gateway"], tmp_path_factory.mktemp("gateway"), CONFIG).start()
    yield daemon
    assert daemon.stop() == 0, daemon.said()


@pytest.fixture
def client(network: dict[str, Namespace], nat64d: Daemon) -> Callable[..., str]:
    """Run a program on client6: what it printed."""
    return lambda *command: network["client6"].run(*command, timeout=30).stdout


def test_curl_fetches_a_page_by_a_name_that_has_only_an_ipv4_address(client: Callable[..., str]) -> None:
    assert client("curl", "-sS", "--max-time", "10", "http://v4.example/page") == "over IPv4"


def test_glibc_and_python_find_the_synthetic_address(client: Callable[..., str]) -> None:
    made = f"{POOL6}{SERVER6}"
    assert client("getent", "ahostsv6", "v4.example").split()[:2] == [made, "STREAM"]
    code = "import socket; print(sorted({i[4][0] for i in socket.getaddrinfo('v4.example', 80, socket.AF_INET6)}))"
    assert client("python3", "-c", code).strip() == f"['{made}']"
    assert client("getent", "ahostsv6", "v6.example").split()[0] == MAPPED6


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_dig_asks_for_addresses_and_names_by_udp_and_tcp(client: Callable[..., str], transport: str) -> None:
    dig = ("dig", transport, "+short", "+tries=1", "+time=5")
    assert client(*dig, "AAAA", "v4.example").split() == [f"{POOL6}{SERVER6}"]
    assert client(*dig, "A", "v4.example").split() == [SERVER4]
    assert client(*dig, "AAAA", "private.example").split() == []
    assert client(*dig, "-x", f"{POOL6}{SERVER6}").split() == ["10.113.0.203.in-addr.arpa.", "v4.example."]
    assert client(*dig, "-x", MAPPED6).split() == ["v6.example."]
    assert "NXDOMAIN" in client("dig", transport, "AAAA", "nobody.example")


def test_the_prefix_is_found_by_a_clat(
    network: dict[str, Namespace], nat64d: Daemon, tmp_path: Path, client: Callable[..., str]
) -> None:
    assert sorted(client("dig", "+short", "AAAA", "ipv4only.arpa").split()) == [f"{POOL6}c000:aa", f"{POOL6}c000:ab"]
    customer = network["customer"]
    clat = Daemon(customer, tmp_path, CLAT).start()
    try:
        assert json.loads(clat.ask("status", "--json").stdout)["pool6"] == f"{POOL6}/96"
        page = customer.run("curl", "-4", "-sS", "--max-time", "10", f"http://{SERVER4}/page").stdout
        assert page == "over IPv4"
    finally:
        assert clat.stop() == 0, clat.said()


def test_who_is_on_no_link_of_ours_is_refused(network: dict[str, Namespace], nat64d: Daemon) -> None:
    network["client6"].add_address("2001:db8:99::1/128", "lo")
    network["gateway"].route("2001:db8:99::1", "2001:db8:1::2")
    said = network["client6"].run("dig", "-b", "2001:db8:99::1", f"@{RESOLVER}", "+tries=1", "AAAA", "v4.example")
    assert "status: REFUSED" in said.stdout


def test_an_ipv4_host_finds_a_mapped_ipv6_host_by_its_name(network: dict[str, Namespace], nat64d: Daemon) -> None:
    server = network["server4"]
    assert server.run("getent", "ahostsv4", "v6.example").stdout.split()[0] == MAPPED4
    assert server.run("dig", "+short", "+tries=1", "-x", MAPPED4).stdout.split()[-1] == "v6.example."
    page = server.run("curl", "-sS", "--max-time", "10", "http://v6.example/whoami").stdout
    assert page == f"{POOL6}{SERVER6}"


def test_what_happened_is_counted(nat64d: Daemon, client: Callable[..., str]) -> None:
    client("dig", "AAAA", "v4.example")
    counted = {row["outcome"]: row["queries"] for row in nat64d.rows("counters") if "outcome" in row}
    assert counted["synthesised"] >= 1
    assert counted["cached"] + counted["synthesised"] >= 2
    servers = nat64d.ask("dns64", "servers").stdout.splitlines()
    assert servers[1].split()[0] == f"{SERVER4}:53"
    status = json.loads(nat64d.ask("status", "--json").stdout)["dns64"]
    assert status == {"listening": ["[::]:53", "0.0.0.0:53"], "upstream": [f"{SERVER4}:53"], "synthesises": True}


def test_a_trace_says_why(network: dict[str, Namespace], nat64d: Daemon) -> None:
    file = nat64d.directory / "nat64d.toml"
    said = network["gateway"].run(*NAT64D, "dns64", "trace", "v4.example", "-c", str(file)).stdout
    assert said.splitlines()[-2:] == ["answer: NOERROR", f"  v4.example. 60 IN AAAA {POOL6}{SERVER6}"]
    assert "RFC 6147" in said


def test_where_the_port_is_taken_it_says_by_whom_and_listens_when_it_is_free(
    network: dict[str, Namespace], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    customer = network["customer"]
    other = unbound(customer, tmp_path, "::", WORLD)
    config = 'pool6 = "2001:db8:64::/96"\n[dns64]\nupstream = ["2001:db8:2::1"]\n'
    daemon = Daemon(customer, tmp_path_factory.mktemp("taken"), config).start()
    try:
        (warning,) = json.loads(daemon.ask("status", "--json").stdout)["warnings"]
        assert warning == f"[dns64] listen = [::]:53: UDP port 53 is taken by unbound (process {served_by(other)})."
        other.send_signal(signal.SIGTERM)
        wait_for(lambda: json.loads(daemon.ask("status", "--json").stdout)["warnings"] == [], daemon.log)
        assert "64::c000:aa" in customer.run("dig", "@::1", "+short", "AAAA", "ipv4only.arpa").stdout
    finally:
        assert daemon.stop() == 0, daemon.said()
    assert customer.run("dig", "@::1", "+tries=1", "+time=1", "AAAA", "ipv4only.arpa", check=False).returncode != 0


def served_by(process: subprocess.Popen[str]) -> int:
    """The process behind the commands that lead into the namespace."""
    assert Path(f"/proc/{process.pid}/comm").read_text().strip() == "unbound", os.fspath(process.args[0])
    return process.pid
