"""Two instances on one host: the stop of one cuts off neither the other nor, at the end, what was there before.

client6 ── 2001:db8:1::/64 ── gateway ── 198.51.100.0/24 ── server4
      ::10                   ::1       .1                .10
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nat64d.cli.lab import Lab, Namespace
from tests.e2e.topology import Daemon, serve, traces

pytestmark = pytest.mark.e2e

PATIENCE = 300  # seconds for a start, which may compile
SERVER4 = "198.51.100.10"
ONE = 'pool6 = "2001:db8:64::/96"\n[[pool4]]\naddresses = "192.0.2.1"\n'
TWO = ONE.replace("64::", "65::").replace("2.1", "2.2") + '[tun]\nname = "nat65"\nipv6 = "fd6e:6174:3634::2"\n'


@pytest.fixture(scope="module")
def network(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Namespace]]:
    """The three hosts drawn above."""
    with Lab("two") as lab:
        client, gateway, server = (lab.namespace(name) for name in ("client6", "gateway", "server4"))
        lab.link(client, ["2001:db8:1::10/64"], gateway, ["2001:db8:1::1/64"])
        lab.link(gateway, ["198.51.100.1/24"], server, [f"{SERVER4}/24"])
        client.route("default", "2001:db8:1::1")
        server.route("192.0.2.0/24", "198.51.100.1")
        serve(server, "http", SERVER4, "80", str(tmp_path_factory.mktemp("offered")))
        yield {host.name: host for host in lab.namespaces}


def seen_as(client: Namespace, pool6: str) -> str:
    curl = ("curl", "-s", "--max-time", "10", f"http://[{pool6}{SERVER4}]/whoami")
    return client.run(*curl, check=False).stdout


def test_the_one_that_stays_goes_on_and_the_last_leaves_nothing(network: dict[str, Namespace], tmp_path: Path) -> None:
    client, gateway = network["client6"], network["gateway"]
    before = traces(gateway)
    daemons = []
    for name, config in (("one", ONE), ("two", TWO)):
        (tmp_path / name).mkdir()
        daemon = Daemon(gateway, tmp_path / name, config)
        daemon.socket = tmp_path / f"{name}.sock"  # beside that of the other, and so are the notes about the host
        daemons.append(daemon.start(PATIENCE))
    one, two = daemons
    assert seen_as(client, "2001:db8:64::") == "192.0.2.1"
    assert one.stop() == 0, one.said()
    assert "Forwarding stays on" in one.said()
    assert seen_as(client, "2001:db8:65::") == "192.0.2.2"
    assert two.stop() == 0, two.said()
    assert traces(gateway) == before
