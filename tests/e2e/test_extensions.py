"""RFC 4884 extensions of ICMP errors, from a router of one family to a host of the other: here an MPLS label stack."""

from collections.abc import Iterator

import pytest

from tests.e2e.programs import LABELS
from tests.e2e.topology import CLIENT6B, FORWARD4, ROUTER4_OUTSIDE, Topology, embed, run, serve

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers")]

LABELLED4 = "203.0.113.97"  # an address that router4 hides behind a label
SHOWN = "<MPLS:L=1234,E=5,S=1,T=1>"  # what traceroute makes of LABELS


@pytest.fixture(scope="module", autouse=True)
def label_routers(net: Topology) -> Iterator[None]:
    """Both routers answer for one destination beyond them, and let nothing through to it."""
    hidden = {net.router4: ("ip", LABELLED4), net.router6: ("ip6", CLIENT6B)}
    answering = []
    for router, (family, address) in hidden.items():
        rules = f"""
            table {family} labels {{
                chain forward {{
                    type filter hook forward priority 0;
                    {family} daddr {address} udp dport 9000-40000 drop
                }}
            }}"""
        router.run("nft", "-f", "-", stdin=rules)
        answering.append(serve(router, "label_router", "gateway", address))
    yield
    for program in answering:
        program.kill()
        program.wait()
    for router, (family, _) in hidden.items():
        router.run("nft", "delete", "table", family, "labels")


@pytest.mark.parametrize("size", ["0", "60", "1200"])
def test_an_ipv6_host_sees_the_labels_of_an_ipv4_router(net: Topology, size: str) -> None:
    error = run(net.client6a, "udp_error", embed(LABELLED4), "33434", "64", size)
    assert (error["offender"], error["type"], error["code"]) == (embed(ROUTER4_OUTSIDE), 3, 0)
    icmp = bytes.fromhex(error["icmp"])
    assert icmp[8 + icmp[4] * 8 :] == bytes.fromhex(LABELS)


@pytest.mark.parametrize("size", ["0", "60", "1200"])
def test_an_ipv4_host_sees_the_labels_of_an_ipv6_router(net: Topology, size: str) -> None:
    error = run(net.server4, "udp_error", FORWARD4, "9", "64", size)
    assert (error["type"], error["code"]) == (11, 0)
    icmp = bytes.fromhex(error["icmp"])
    assert icmp[8 + icmp[5] * 4 :] == bytes.fromhex(LABELS)


def test_traceroute_shows_the_labels(net: Topology) -> None:
    traced = net.client6a.run("traceroute", "-6", "-n", "-e", "-q1", "-w2", "-f6", "-m6", embed(LABELLED4), timeout=40)
    assert f"{embed(ROUTER4_OUTSIDE)} {SHOWN}" in traced.stdout
