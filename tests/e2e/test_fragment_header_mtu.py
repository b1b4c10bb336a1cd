"""The 8 octets of a Fragment header in path MTU discovery (RFC 7915 section 5.2).

server4 sends datagrams in IPv4 fragments without DF; the operator lets them pass in fragments of up to 1500 octets
(`lowest_ipv6_mtu`), and router6 has a narrower link behind it. Were the header forgotten, server4 would be told an MTU
with which its fragments are still 8 octets too large, again and again.
"""

from collections.abc import Iterator

import pytest

from nat64d.cli.lab import Lab
from tests.e2e.topology import CLIENT6B, CONFIG, FORWARD4, Daemon, Topology, learnt, run, serve

pytestmark = pytest.mark.e2e

IPV6_MTU = 1400
WIDE = CONFIG.replace("[translation]\n", "[translation]\nlowest_ipv6_mtu = 1500\n")


@pytest.fixture
def net(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    """A network and a daemon of its own, client6b behind a link of 1400 octets."""
    with Lab("wide") as lab:
        net = Topology(lab)
        net.set_mtu(net.client6b, net.router6, IPV6_MTU)
        daemon = Daemon(net.gateway, tmp_path_factory.mktemp("wide"), WIDE).start()
        serve(net.client6b, "udp_echo", CLIENT6B, "7007")
        yield net
        assert daemon.stop() == 0, daemon.said()


def test_an_ipv4_host_learns_an_mtu_that_leaves_room_for_a_fragment_header(net: Topology) -> None:
    assert learnt(net.server4, FORWARD4) is None
    assert run(net.server4, "udp_sizes", FORWARD4, "7", "4000", "4000", "2000", "20000")["failed"] == [4000]
    assert learnt(net.server4, FORWARD4) == IPV6_MTU - 28
