"""Fragments between kernel stacks: in the wrong order, of ICMP, of UDP without a checksum (RFC 6146 section 3.4)."""

from itertools import permutations

import pytest

from nat64d.cli.lab import Namespace
from tests.e2e.test_traffic import received
from tests.e2e.topology import FORWARD4, SERVER4, Daemon, Topology, embed, run

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers")]

ORDERS = [",".join(map(str, order)) for order in permutations(range(3))]


def ends(net: Topology, to: str) -> tuple[Namespace, str]:
    """Who sends, and the address of the echo server."""
    return (net.client6a, embed(SERVER4)) if to == "an ipv4 host" else (net.server4, FORWARD4)


def counted(nat64d: Daemon, **wanted: str) -> int:
    """A counter."""
    rows = nat64d.rows("counters")
    return sum(row.get("count", row.get("packets")) for row in rows if wanted.items() <= row.items())


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("to", ["an ipv4 host", "an ipv6 host"])
def test_udp_fragments_come_back_whatever_their_order(net: Topology, nat64d: Daemon, to: str, order: str) -> None:
    sender, address = ends(net, to)
    before = counted(nat64d, event="fragments_released")
    assert run(sender, "udp_pieces", address, "7", "3000", order, "with") == {"came_back": True}
    assert counted(nat64d, event="fragments_released") - before >= order.split(",").index("0")


@pytest.mark.parametrize("order", ORDERS)
def test_udp_fragments_without_checksum_come_back_whatever_their_order(net: Topology, order: str) -> None:
    assert run(net.server4, "udp_pieces", FORWARD4, "7", "3000", order, "without") == {"came_back": True}


@pytest.mark.parametrize("size", ["3000", "8000", "65000"])
def test_a_ping_larger_than_the_mtu_to_an_ipv4_host(net: Topology, nat64d: Daemon, size: str) -> None:
    before = counted(nat64d, verdict="held")
    ping = net.client6a.run("ping", "-6", "-n", "-c3", "-i0.2", "-W3", "-s", size, embed(SERVER4), check=False)
    assert received(ping.stdout) == 3, ping.stdout
    assert counted(nat64d, verdict="held") > before


@pytest.mark.parametrize("size", ["3000", "8000", "65000"])
def test_a_ping_larger_than_the_mtu_to_an_ipv6_host_through_forward(net: Topology, size: str) -> None:
    ping = net.server4.run("ping", "-4", "-n", "-c3", "-i0.2", "-W3", "-e4242", "-s", size, FORWARD4, check=False)
    assert received(ping.stdout) == 3, ping.stdout
