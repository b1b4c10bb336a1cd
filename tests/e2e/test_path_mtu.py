"""Path MTU discovery through the translator: what a narrow link says must reach the sender on the other side."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.topology import (
    CLIENT6A,
    CLIENT6B,
    FORWARD4,
    POOL4,
    ROUTER4,
    ROUTER4_OUTSIDE,
    ROUTER6,
    SERVER4,
    Daemon,
    Topology,
    embed,
    hear,
    learnt,
    run,
    serve,
    sha256,
    tell,
)

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers")]

WEB = f"http://[{embed(SERVER4)}]"
IPV4_MTU, IPV6_MTU = 1400, 1280
HEADER_DIFFERENCE = 20  # IPv6 header less IPv4 header
FAR4, FARTHER4 = "203.0.113.70", "203.0.113.80"
MTU_OF = {FAR4: 1300, FARTHER4: 1400, CLIENT6A: 1290, CLIENT6B: 1390}


@pytest.fixture(params=["next to the gateway", "further away"])
def narrow_ipv4(net: Topology, request: pytest.FixtureRequest) -> Iterator[None]:
    """An IPv4 link of MTU 1400. Far away, the server still announces the segment size of an ordinary link."""
    near = request.param == "next to the gateway"
    link = (net.gateway, net.router4) if near else (net.router4, net.server4)
    net.set_mtu(*link, IPV4_MTU)
    net.server4.route("default", ROUTER4, "advmss", "1460")
    net.forget_paths()
    yield
    net.set_mtu(*link, 1500)
    net.server4.route("default", ROUTER4)
    net.forget_paths()


@pytest.fixture(params=["next to the gateway", "further away"])
def narrow_ipv6(net: Topology, request: pytest.FixtureRequest) -> Iterator[None]:
    """An IPv6 link of MTU 1280. Far away, the client still announces the segment size of an ordinary link."""
    near = request.param == "next to the gateway"
    link = (net.router6, net.gateway) if near else (net.client6a, net.router6)
    net.set_mtu(*link, IPV6_MTU)
    net.client6a.route("default", ROUTER6, "advmss", "1440")
    net.forget_paths()
    yield
    net.set_mtu(*link, 1500)
    net.client6a.route("default", ROUTER6)
    net.forget_paths()


@pytest.mark.usefixtures("narrow_ipv4")
def test_an_upload_over_a_narrow_ipv4_link(net: Topology, memory: Path, files: dict[str, str]) -> None:
    assert learnt(net.client6a, embed(SERVER4)) is None
    upload = net.client6a.run(
        "curl", "-sS", "--max-time", "30", "-T", str(memory / "offered/medium"), f"{WEB}/", timeout=35
    )
    assert upload.stdout == files["medium"]
    assert learnt(net.client6a, embed(SERVER4)) == IPV4_MTU + HEADER_DIFFERENCE


@pytest.mark.usefixtures("narrow_ipv4")
def test_a_datagram_too_big_for_a_narrow_ipv4_link(net: Topology) -> None:
    error = run(net.client6a, "udp_error", embed(SERVER4), "7", "64", "1452")
    assert (error["type"], error["code"], error["info"]) == (2, 0, IPV4_MTU + HEADER_DIFFERENCE)


@pytest.mark.usefixtures("narrow_ipv6")
def test_a_download_over_a_narrow_ipv6_link(net: Topology, nat64d: Daemon, memory: Path, files: dict[str, str]) -> None:
    assert [learnt(net.server4, address) for address in POOL4] == [None] * len(POOL4)
    net.client6a.run("curl", "-sS", "--max-time", "30", f"{WEB}/medium", "-o", str(memory / "narrow"), timeout=35)
    assert sha256(memory / "narrow") == files["medium"]
    assert IPV6_MTU - HEADER_DIFFERENCE in [learnt(net.server4, address) for address in POOL4]


def test_a_datagram_too_big_for_a_narrow_ipv6_link(net: Topology) -> None:
    net.set_mtu(net.client6b, net.router6, IPV6_MTU)
    try:
        error = run(net.server4, "udp_error", FORWARD4, "7", "64", "1400")
        assert (error["type"], error["code"], error["info"]) == (3, 4, IPV6_MTU - HEADER_DIFFERENCE)
    finally:
        net.set_mtu(net.client6b, net.router6, 1500)
        net.forget_paths()


def test_a_datagram_too_big_for_the_translator(net: Topology) -> None:
    error = run(net.server4, "udp_error", FORWARD4, "7", "64", "1472")
    assert (error["type"], error["code"], error["info"]) == (3, 4, 1500 - HEADER_DIFFERENCE)
    net.forget_paths()


def test_a_server_learns_that_its_datagrams_are_too_big(net: Topology) -> None:
    net.forget_paths()  # the client sends 1453 octets in two fragments; the server's one answer is too big for IPv6
    assert run(net.client6a, "udp_sizes", embed(SERVER4), "7", "1453", "1453", "1472")["failed"] == [1453]
    net.forget_paths()


def test_a_datagram_without_df_is_fragmented_for_a_narrow_ipv6_link(net: Topology) -> None:
    net.set_mtu(net.client6b, net.router6, IPV6_MTU)
    try:  # the sizes the kernel sends without DF: those beyond its own MTU
        assert run(net.server4, "udp_sizes", FORWARD4, "7", "1473", "2000", "4000")["failed"] == []
    finally:
        net.set_mtu(net.client6b, net.router6, 1500)
        net.forget_paths()


@pytest.fixture(params=["next to the gateway", "further away"])
def narrowest_ipv4(net: Topology, request: pytest.FixtureRequest) -> Iterator[Callable[[int], None]]:
    """An IPv4 link of any MTU, below what an IPv6 packet of 1280 octets becomes. Nobody knows of it beforehand."""
    near = request.param == "next to the gateway"
    link = (net.gateway, net.router4) if near else (net.router4, net.server4)
    net.server4.route("default", ROUTER4, "advmss", "1460")
    net.forget_paths()
    yield lambda mtu: net.set_mtu(*link, mtu)
    net.set_mtu(*link, 1500)
    net.server4.route("default", ROUTER4)
    net.forget_paths()


@pytest.mark.parametrize("mtu", [1000, 576])
def test_an_ipv4_link_below_1260_octets_is_no_black_hole(
    net: Topology, narrowest_ipv4: Callable[[int], None], mtu: int, memory: Path, files: dict[str, str]
) -> None:
    narrowest_ipv4(mtu)
    # The first answer may be lost, as the server has to learn its own IPv4 path. Datagrams of 1280 octets and less pass
    # as they are; the first larger one is lost, and makes the client cut the others.
    run(net.client6a, "udp_sizes", embed(SERVER4), "7", "1200")
    assert run(net.client6a, "udp_sizes", embed(SERVER4), "7", "1000", "1231", "1232")["failed"] == []
    assert run(net.client6a, "udp_sizes", embed(SERVER4), "7", "1400", "1400", "4000")["failed"] == [1400]
    assert learnt(net.client6a, embed(SERVER4)) == 1280
    net.forget_paths()
    upload = net.client6a.run("curl", "-sS", "--max-time", "30", "-T", f"{memory}/offered/small", f"{WEB}/", timeout=35)
    assert upload.stdout == files["small"]
    net.client6a.run("curl", "-sS", "--max-time", "30", f"{WEB}/small", "-o", f"{memory}/narrowest", timeout=35)
    assert sha256(memory / "narrowest") == files["small"]


@pytest.fixture
def black_hole(net: Topology) -> Iterator[None]:
    """An IPv4 link of MTU 1400 far away, whose router tells nobody that packets are too big."""
    rules = "add table ip hole; add chain ip hole out { type filter hook output priority 0; }; "
    rules += "add rule ip hole out icmp type destination-unreachable drop"
    net.set_mtu(net.router4, net.server4, IPV4_MTU)
    net.server4.route("default", ROUTER4, "advmss", "1460")
    net.router4.run("nft", rules)
    net.forget_paths()
    yield
    net.router4.run("nft", "delete table ip hole")
    net.set_mtu(net.router4, net.server4, 1500)
    net.server4.route("default", ROUTER4)
    net.forget_paths()


def uploaded(net: Topology, file: Path, patience: str) -> tuple[int, str]:
    """The exit status of curl, 28 if `patience` seconds were not enough, and the server's answer."""
    upload = net.client6a.run(
        "curl", "-sS", "--max-time", patience, "-T", str(file), f"{WEB}/", check=False, timeout=35
    )
    return upload.returncode, upload.stdout


@pytest.mark.usefixtures("black_hole")
def test_a_narrow_link_that_tells_nobody_needs_clamp_mss(
    net: Topology, nat64d: Daemon, memory: Path, files: dict[str, str]
) -> None:
    small, before = memory / "offered/small", nat64d.config
    assert uploaded(net, small, "2")[0] == 28
    nat64d.config = before.replace("[translation]", f"[translation]\nclamp_mss = {IPV4_MTU - 40}")
    try:
        nat64d.command()
        assert nat64d.ask("reload").returncode == 0
        assert uploaded(net, small, "30") == (0, files["small"])
    finally:
        nat64d.config = before
        nat64d.command()
        assert nat64d.ask("reload").returncode == 0


@pytest.fixture
def routes_of_many_mtus(net: Topology) -> Iterator[None]:
    """Routes of the gateway with an MTU of their own, in both families."""
    for address, mtu in MTU_OF.items():
        via = ROUTER4_OUTSIDE if "." in address else "2001:db8:6::1"
        net.gateway.route(address, via, "mtu", str(mtu))
    net.forget_paths()
    yield
    for address in MTU_OF:
        net.gateway.ip("route", "delete", address)
    net.forget_paths()


@pytest.mark.usefixtures("routes_of_many_mtus")
def test_a_packet_too_big_has_the_mtu_of_its_own_route(net: Topology) -> None:
    for address in (FAR4, FARTHER4):
        error = run(net.client6a, "udp_error", embed(address), "7", "64", "1452")
        assert (error["type"], error["code"], error["info"]) == (2, 0, MTU_OF[address] + HEADER_DIFFERENCE)
    whoami = serve(net.client6a, "udp_talk", CLIENT6A)
    tell(whoami, "send", embed(SERVER4), 3478, "who am I?")
    tell(whoami, "receive")
    mapped = json.loads(json.loads(hear(whoami))["text"])
    for address, (to, port) in {CLIENT6A: mapped, CLIENT6B: (FORWARD4, 7)}.items():
        error = run(net.server4, "udp_error", to, str(port), "64", "1440")
        assert (error["type"], error["code"], error["info"]) == (3, 4, MTU_OF[address] - HEADER_DIFFERENCE)
    whoami.kill()
