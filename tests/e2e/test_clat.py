"""464XLAT (RFC 6877): IPv4 programs of a host that has IPv6 only, over two translators.

customer ── 2001:db8:c::/64 ── provider ── 2001:db8:6::/64 ── plat ── 203.0.113.0/24 ── server4
::2, and ::464 for 192.0.0.1   ::1                            ::2  .1                   .10
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nat64d.cli.lab import Lab, Namespace
from tests.e2e.topology import Daemon, embed, eventually, random_file, run, serve, sha256, traces

pytestmark = pytest.mark.e2e

CLAT6, SERVER4, POOL4, PLAT4 = "2001:db8:c::464", "203.0.113.10", "192.0.2.1", "192.0.2.254"
RESOLVER = "2001:db8:c::1"
PLAT = f"""
pool6 = "64:ff9b::/96"

[[pool4]]
addresses = "{POOL4}"

[tun]
ipv4 = "{PLAT4}"
"""
GIVEN = f"""
[clat]
ipv6 = "{CLAT6}"
plat = "64:ff9b::/96"
"""
DISCOVERED = GIVEN.replace("64:ff9b::/96", "discover")


@pytest.fixture(scope="module")
def network(namespaces: None) -> Iterator[dict[str, Namespace]]:
    """The four hosts drawn above."""
    with Lab("clat") as lab:
        customer, provider, plat, server = (lab.namespace(n) for n in ("customer", "provider", "plat", "server4"))
        lab.link(customer, ["2001:db8:c::2/64"], provider, [f"{RESOLVER}/64"])
        lab.link(provider, ["2001:db8:6::1/64"], plat, ["2001:db8:6::2/64"])
        lab.link(plat, ["203.0.113.1/24"], server, [f"{SERVER4}/24"])
        customer.route("default", RESOLVER)
        provider.route("64:ff9b::/96", "2001:db8:6::2")
        plat.route("2001:db8:c::/64", "2001:db8:6::1")
        server.route("192.0.2.0/24", "203.0.113.1")
        provider.forward()
        provider.sysctl("net.ipv6.icmp.ratelimit", 0)
        yield {host.name: host for host in lab.namespaces}


@pytest.fixture(scope="module")
def plat(network: dict[str, Namespace], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The provider's NAT64."""
    daemon = Daemon(network["plat"], tmp_path_factory.mktemp("plat"), PLAT).start()
    yield daemon
    assert daemon.stop() == 0, daemon.said()


@pytest.fixture(scope="module")
def offered(network: dict[str, Namespace], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that server4 offers by HTTP; it also echoes UDP."""
    directory = tmp_path_factory.mktemp("offered")
    random_file(directory / "file", 20)
    serve(network["server4"], "http", SERVER4, "80", str(directory))
    serve(network["server4"], "udp_echo", SERVER4, "7")
    return directory


@pytest.fixture(scope="module", params=["given", "discovered"])
def clat(
    network: dict[str, Namespace],
    plat: Daemon,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Daemon]:
    """The customer's translator; afterwards there is no trace of it."""
    customer = network["customer"]
    before = traces(customer) | {"proxies": customer.ip("-6", "neighbour", "show", "proxy")}
    directory = tmp_path_factory.mktemp("clat")
    customer.use_resolver(RESOLVER, directory)
    daemon = Daemon(customer, directory, GIVEN if request.param == "given" else DISCOVERED)
    if request.param == "discovered":
        begin_discovery(daemon, network["provider"])
    else:
        daemon.start()
    yield daemon
    assert daemon.stop() == 0, daemon.said()
    assert traces(customer) | {"proxies": customer.ip("-6", "neighbour", "show", "proxy")} == before


def begin_discovery(daemon: Daemon, resolver: Namespace) -> None:
    """RFC 7050: start the daemon before there is a resolver, and the resolver when it is missed."""
    daemon.launch()
    missed = "waiting for the prefix of the provider's NAT64: no answer about ipv4only.arpa."
    eventually(lambda: missed in daemon.said(), daemon)
    assert json.loads(daemon.ask("status", "--json").stdout)["state"].startswith("waiting for the prefix")
    serve(resolver, "dns64", RESOLVER, "53", embed("192.0.0.170"), embed("192.0.0.171"))
    eventually(lambda: daemon.ask("status").returncode == 0, daemon, 120)
    assert "The provider's NAT64 prefix is 64:ff9b::/96, for 300 s" in daemon.said()


def test_the_prefix_is_shown(clat):
    assert json.loads(clat.ask("status", "--json").stdout)["pool6"] == "64:ff9b::/96"


def test_a_program_that_knows_ipv4_only_reaches_an_ipv4_server(network, clat, plat, offered, tmp_path):
    customer = network["customer"]
    customer.run("curl", "-sS", "--max-time", "60", f"http://{SERVER4}/file", "-o", str(tmp_path / "file"), timeout=65)
    assert sha256(tmp_path / "file") == sha256(offered / "file")
    assert customer.run("curl", "-sS", "--max-time", "10", f"http://{SERVER4}/whoami").stdout == POOL4
    assert {session["host6"] for session in plat.rows("sessions")} == {CLAT6}
    assert clat.rows("sessions") == []


def test_an_upload_and_datagrams_of_all_sizes(network, clat, plat, offered):
    upload = ("curl", "-sS", "--max-time", "60", "-T", str(offered / "file"), f"http://{SERVER4}/")
    assert network["customer"].run(*upload, timeout=65).stdout == sha256(offered / "file")
    sizes = ("0", "1", "1200", "1232", "1233", "1452", "3000")
    assert run(network["customer"], "udp_sizes", SERVER4, "7", *sizes)["failed"] == []


def test_ping_and_traceroute(network, clat, plat, offered):
    customer = network["customer"]
    customer.run("ping", "-c", "2", "-i", "0.2", "-W", "5", SERVER4)
    customer.run("ping", "-c", "2", "-i", "0.2", "-W", "5", "-s", "3000", SERVER4)
    said = customer.run("traceroute", "-n", "-q1", "-w2", "-m8", "-z20", SERVER4, timeout=40).stdout
    hops = [line.split()[1] for line in said.splitlines()[1:]]
    assert (hops[0], hops[-2:]) == ("192.0.0.8", [PLAT4, SERVER4]), hops
    assert set(hops[:-2]) == {"192.0.0.8"}, "what has no IPv4 address (RFC 7600)"


def test_errors_of_the_server_arrive(network, clat, plat, offered):
    closed = run(network["customer"], "udp_error", SERVER4, "9", "64", "100")
    assert (closed["type"], closed["code"], closed["offender"]) == (3, 3, SERVER4)
    assert closed["same"]


@pytest.fixture
def narrow(network: dict[str, Namespace]) -> Iterator[None]:
    """A link of MTU 1400 inside the provider's network."""
    ends = (network["provider"], "plat"), (network["plat"], "provider")
    for host, link in ends:
        host.ip("link", "set", link, "mtu", "1400")
    yield
    for host, link in ends:
        host.ip("link", "set", link, "mtu", "1500")
    network["customer"].ip("-4", "route", "flush", "cache")
    network["customer"].ip("-6", "route", "flush", "cache")


def test_the_path_mtu_is_learnt_as_ipv4_sees_it(network, clat, plat, offered, narrow):
    customer = network["customer"]
    assert learnt(customer) == 1480
    done = customer.run("ping", "-M", "do", "-c", "2", "-i", "0.2", "-W", "1", "-s", "1440", SERVER4, check=False)
    assert "mtu=1380" in (done.stdout + done.stderr).replace("mtu = ", "mtu=")
    assert learnt(customer) == 1380
    upload = ("curl", "-sS", "--max-time", "30", "-T", str(offered / "file"), f"http://{SERVER4}/")
    assert customer.run(*upload, timeout=35).stdout == sha256(offered / "file")


def learnt(host: Namespace) -> int | None:
    """The MTU by which the host sends to the server."""
    (route,) = json.loads(host.ip("-j", "route", "get", SERVER4))
    return next((int(metrics["mtu"]) for metrics in route["metrics"] if "mtu" in metrics), None)
