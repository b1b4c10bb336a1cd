"""`nat64d run` without a configuration, on a host with one IPv4 address.

    client6 ── 2001:db8:1::/64 ── gateway ── 192.31.196.0/24 ── server4
       ::10                   ::1         .1                .10

Nobody outside has a route to the pool: the gateway masquerades it. The servers are in 192.31.196.0/24, which is set
aside for AS112 and yet global, as RFC 6052 section 3.1 lets the well-known prefix carry global addresses only.
"""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from nat64d.cli import lab
from nat64d.cli.lab import Lab, Namespace
from tests.e2e.topology import Daemon, embed, run, serve, traces

pytestmark = pytest.mark.e2e

GATEWAY4, SERVER4 = "192.31.196.1", "192.31.196.10"


class Unconfigured(Daemon):
    """The built-in default, whose files lie in fixed places: the daemon sees its own directory as /run."""

    def __init__(self, host: Namespace, directory: Path) -> None:
        super().__init__(host, directory)
        self.socket = directory / "nat64d/api.sock"

    def command(self) -> list[str]:
        """`nat64d run`, and nothing else."""
        hide = f'mount --bind {self.directory} /run; ! [ -d /etc/nat64d ] || mount -t tmpfs none /etc/nat64d; exec "$@"'
        return ["unshare", "--mount", "sh", "-c", hide, "sh", *lab.NAT64D, "run"]


@pytest.fixture(scope="module")
def network(namespaces: None) -> Iterator[dict[str, Namespace]]:
    """The three hosts drawn above."""
    with Lab("default") as lab:
        client, gateway, server = (lab.namespace(name) for name in ("client6", "gateway", "server4"))
        lab.link(client, ["2001:db8:1::10/64"], gateway, ["2001:db8:1::1/64"])
        lab.link(gateway, [f"{GATEWAY4}/24"], server, [f"{SERVER4}/24"])
        client.route("default", "2001:db8:1::1")
        gateway.route("default", "192.31.196.254")
        yield {host.name: host for host in lab.namespaces}


@pytest.fixture(scope="module", autouse=True)
def daemon(network: dict[str, Namespace], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that was given no configuration, started again after a kill -9; after its end nothing of it is left."""
    before = traces(network["gateway"])
    daemon = Unconfigured(network["gateway"], tmp_path_factory.mktemp("default")).start()
    assert "masquerade" in traces(network["gateway"])["nftables"]
    daemon.stop(signal.SIGKILL)
    daemon.start()
    yield daemon
    assert daemon.stop() == 0, daemon.said()
    assert traces(network["gateway"]) == before


def test_the_client_reaches_a_server_that_knows_no_route_to_the_pool(
    network: dict[str, Namespace], tmp_path: Path
) -> None:
    (tmp_path / "page").write_text("over IPv4")
    serve(network["server4"], "http", SERVER4, "80", str(tmp_path))
    curl = ("curl", "-sS", "--fail", "--max-time", "10")
    assert network["client6"].run(*curl, f"http://[{embed(SERVER4)}]/page").stdout == "over IPv4"
    assert network["client6"].run(*curl, f"http://[{embed(SERVER4)}]/whoami").stdout == GATEWAY4


def test_udp_and_ping_are_masqueraded_too(network: dict[str, Namespace]) -> None:
    serve(network["server4"], "udp_echo", SERVER4, "7")
    assert run(network["client6"], "udp_sizes", embed(SERVER4), "7", "0", "1200", "1452", "3000")["failed"] == []
    ping = network["client6"].run("ping", "-6", "-n", "-c3", "-i0.2", "-W2", embed(SERVER4), check=False)
    assert "3 received" in ping.stdout, ping.stdout


def test_private_addresses_are_refused_under_the_well_known_prefix(network: dict[str, Namespace]) -> None:
    ping = network["client6"].run("ping", "-6", "-n", "-c1", "-W2", embed("10.0.0.1"), check=False)
    assert ping.returncode != 0
    assert "unreachable" in ping.stdout.lower(), ping.stdout


def test_the_name_server_is_there_too(network: dict[str, Namespace], daemon: Daemon) -> None:
    dig = ("dig", "@2001:db8:1::1", "+short", "+tries=1")
    assert "64:ff9b::c000:aa" in network["client6"].run(*dig, "AAAA", "ipv4only.arpa").stdout.split()
    assert network["client6"].run(*dig, "-x", "64:ff9b::c000:aa").stdout.split() == ["ipv4only.arpa."]
    assert json.loads(daemon.ask("status", "--json").stdout)["dns64"]["listening"] == ["[::]:53"]
