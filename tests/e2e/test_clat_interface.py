"""[clat] ipv6 = "interface:…": the address follows those that the interface has, while programs go on.

customer ── 2001:db8:c::/64 ── plat ── 203.0.113.0/24 ── server4
::2/128, nothing else          ::1  .1                   .10
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nat64d.cli.lab import Lab, Namespace
from tests.e2e.topology import Daemon, eventually, serve, traces

pytestmark = pytest.mark.e2e

ROUTER, ONE, SERVER4 = "2001:db8:c::1", "2001:db8:c::2", "203.0.113.10"
PLAT = """
pool6 = "64:ff9b::/96"
[[pool4]]
addresses = "192.0.2.1"
[tun]
ipv4 = "192.0.2.254"
"""
CLAT = """
[clat]
ipv6 = "interface:plat"
plat = "64:ff9b::/96"
"""


@pytest.fixture(scope="module")
def network(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Namespace]]:
    """The hosts drawn above; the customer has one address, as a virtual machine of a cloud has."""
    with Lab("own") as lab:
        customer, plat, server = (lab.namespace(name) for name in ("customer", "plat", "server4"))
        lab.link(customer, [f"{ONE}/128"], plat, [f"{ROUTER}/64"])
        lab.link(plat, ["203.0.113.1/24"], server, [f"{SERVER4}/24"])
        customer.ip("-6", "route", "add", ROUTER, "dev", "plat")
        customer.route("default", ROUTER)
        server.route("192.0.2.0/24", "203.0.113.1")
        serve(server, "http", SERVER4, "80", str(tmp_path_factory.mktemp("offered")))
        yield {host.name: host for host in lab.namespaces}


@pytest.fixture(scope="module")
def plat(network: dict[str, Namespace], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The provider's NAT64, which says who comes."""
    daemon = Daemon(network["plat"], tmp_path_factory.mktemp("plat"), PLAT).start()
    yield daemon
    assert daemon.stop() == 0, daemon.said()


@pytest.fixture
def clat(network: dict[str, Namespace], plat: Daemon, tmp_path: Path) -> Iterator[Daemon]:
    """The customer's translator; afterwards there is no trace of it, nor of the addresses of the test."""
    customer = network["customer"]
    before = traces(customer) | {"proxies": customer.ip("-6", "neighbour", "show", "proxy")}
    daemon = Daemon(customer, tmp_path, CLAT).start()
    yield daemon
    assert daemon.stop() == 0, daemon.said()
    assert traces(customer) | {"proxies": customer.ip("-6", "neighbour", "show", "proxy")} == before


def comes_from(customer: Namespace, plat: Daemon) -> Callable[[str], set[str]]:
    """A function: the IPv6 addresses of this prefix that the customer's programs have come from, after one more."""

    def ask(prefix: str) -> set[str]:
        asked = customer.run("curl", "-sS", "--max-time", "5", f"http://{SERVER4}/whoami", check=False)
        seen = {session["host6"] for session in plat.rows("sessions", "--host6", prefix)}
        return seen if asked.returncode == 0 and asked.stdout == "192.0.2.1" else set()

    return ask


def test_the_address_follows_the_interface(network, plat, clat):
    customer, router = network["customer"], network["plat"]
    seen = comes_from(customer, plat)
    assert seen("2001:db8::/32") == {ONE}, "one address alone: what CLAT translates is hidden behind it"

    customer.ip("address", "add", "2001:db8:c::3/64", "dev", "plat", "nodad")
    eventually(lambda: bool(seen("2001:db8:c::/64") - {ONE}), clat)

    router.ip("address", "add", "2001:db8:d::1/64", "dev", "customer", "nodad")
    customer.ip("address", "add", "2001:db8:d::3/64", "dev", "plat", "nodad")
    customer.ip("address", "del", "2001:db8:c::3/64", "dev", "plat")
    eventually(lambda: bool(seen("2001:db8:d::/64")), clat)

    customer.ip("address", "del", "2001:db8:d::3/64", "dev", "plat")
    router.ip("address", "del", "2001:db8:d::1/64", "dev", "customer")
    already = seen("2001:db8::/32")
    assert clat.ask("status").returncode == 0
    eventually(lambda: bool(seen("2001:db8::/32")), clat)
    assert ONE in already | seen("2001:db8::/32")
