"""Explicit address mappings (RFC 7757) beside sessions, in one daemon.

    server6 ── 2001:db8:a::/64 ─┐
       ::10 is 192.0.2.65       gateway ── 203.0.113.0/24 ── host4
    client6 ── 2001:db8:b::/64 ─┘       .1               .10
       ::10 shares 192.0.2.1

host4 is client of server6 and server of client6. Everything is the same whether two hosts of ours meet inside the
daemon ("intrinsic") or by way of the kernel's routes ("simple").
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nat64d.cli.lab import Lab, Namespace
from tests.e2e.topology import Daemon, embed, random_file, run, serve, sha256

pytestmark = pytest.mark.e2e

SERVER6, CLIENT6 = "2001:db8:a::10", "2001:db8:b::10"
HOST4, MAPPED4, SHARED4 = "203.0.113.10", "192.0.2.65", "192.0.2.1"
ROUTERS4 = "192.0.2.128/25"
CONFIG = f"""
pool6 = "64:ff9b::/96"
strict_well_known_prefix = false

[[eam]]
ipv4 = "{MAPPED4}"
ipv6 = "{SERVER6}"

[[pool4]]
addresses = "{SHARED4}"

[tun]
ipv4 = "192.0.2.254"
ipv6 = "2001:db8:64::1"

[translation]
rfc6791_ipv4 = ["{ROUTERS4}"]
"""


@pytest.fixture(scope="module")
def network(namespaces: None) -> Iterator[dict[str, Namespace]]:
    """The four hosts drawn above."""
    with Lab("eam") as lab:
        server, client, gateway, host4 = (lab.namespace(name) for name in ("server6", "client6", "gateway", "host4"))
        lab.link(server, [f"{SERVER6}/64"], gateway, ["2001:db8:a::1/64"])
        lab.link(client, [f"{CLIENT6}/64"], gateway, ["2001:db8:b::1/64"])
        lab.link(gateway, ["203.0.113.1/24"], host4, [f"{HOST4}/24"])
        server.route("default", "2001:db8:a::1")
        client.route("default", "2001:db8:b::1")
        host4.route("192.0.2.0/24", "203.0.113.1")
        yield {host.name: host for host in lab.namespaces}


@pytest.fixture(scope="module", params=["intrinsic", "simple"])
def daemon(
    network: dict[str, Namespace], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Daemon]:
    """nat64d in the gateway."""
    config = f'{CONFIG}eam_hairpin = "{request.param}"\n'
    daemon = Daemon(network["gateway"], tmp_path_factory.mktemp("eam"), config).start()
    yield daemon
    assert daemon.stop() == 0, daemon.said()


@pytest.fixture(scope="module")
def offered(network: dict[str, Namespace], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that server6 and host4 both offer by HTTP; both also echo UDP."""
    directory = tmp_path_factory.mktemp("offered")
    random_file(directory / "file", 20)
    for host, address in ((network["server6"], SERVER6), (network["host4"], HOST4)):
        serve(host, "http", address, "80", str(directory))
        serve(host, "udp_echo", address, "7")
    return directory


def fetch(host: Namespace, url: str, to: Path) -> subprocess.Popen[str]:
    """Begin to fetch a URL."""
    return host.popen("curl", "-sS", "--max-time", "60", url, "-o", str(to))


def test_an_ipv4_client_and_an_ipv6_client_at_the_same_time(network, daemon, offered, tmp_path):
    inward = fetch(network["host4"], f"http://{MAPPED4}/file", tmp_path / "inward")
    outward = fetch(network["client6"], f"http://[{embed(HOST4)}]/file", tmp_path / "outward")
    assert (inward.wait(65), outward.wait(65)) == (0, 0)
    assert sha256(tmp_path / "inward") == sha256(tmp_path / "outward") == sha256(offered / "file")
    (session,) = daemon.rows("sessions")
    assert (session["host6"], session["host4"]) == (CLIENT6, HOST4)
    assert daemon.rows("sessions", "--host6", SERVER6) == []


def test_everyone_sees_the_addresses_that_the_table_says(network, daemon, offered):
    def whoami(host: str, url: str) -> str:
        seen: str = network[host].run("curl", "-sS", "--max-time", "10", f"{url}/whoami").stdout
        return seen

    assert whoami("host4", f"http://{MAPPED4}") == embed(HOST4)
    assert whoami("server6", f"http://[{embed(HOST4)}]") == MAPPED4
    assert whoami("client6", f"http://[{embed(HOST4)}]") == SHARED4
    assert whoami("client6", f"http://[{embed(MAPPED4)}]") == embed(SHARED4), (
        "a hairpin: one host with sessions, one without"
    )
    assert whoami("server6", f"http://[{embed(MAPPED4)}]") == embed(MAPPED4), "a hairpin without sessions, to itself"


def test_datagrams_of_all_sizes(network, daemon, offered):
    sizes = ("0", "1", "1200", "1232", "1233", "1452", "3000", "20000")
    assert run(network["host4"], "udp_sizes", MAPPED4, "7", *sizes)["failed"] == []
    assert run(network["server6"], "udp_sizes", embed(HOST4), "7", *sizes)["failed"] == []


def test_ping_and_errors_with_a_hop_each_way(network, daemon, offered):
    before = len(daemon.rows("sessions"))
    network["host4"].run("ping", "-c", "2", "-i", "0.2", "-W", "5", MAPPED4)
    network["server6"].run("ping", "-6", "-c", "2", "-i", "0.2", "-W", "5", embed(HOST4))
    closed = run(network["host4"], "udp_error", MAPPED4, "9", "64", "100")
    assert (closed["type"], closed["code"], closed["offender"]) == (3, 3, MAPPED4)
    assert closed["same"]
    closed = run(network["server6"], "udp_error", embed(HOST4), "9", "64", "100")
    assert (closed["type"], closed["code"], closed["offender"]) == (1, 4, embed(HOST4))
    assert closed["same"]
    assert len(daemon.rows("sessions")) == before
