"""What operators do all day: web, many connections, datagrams of all sizes, ping."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nat64d.cli.lab import Namespace
from tests.e2e.topology import (
    CLIENT6A,
    CLIENT6B,
    FORWARD4,
    POOL4,
    SERVER4,
    Daemon,
    Topology,
    embed,
    hear,
    run,
    sha256,
    talk,
)

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers")]

WEB = f"http://[{embed(SERVER4)}]"
LARGE = 120  # seconds for the large file
COULD_NOT_CONNECT = 7  # curl's exit status when refused; 28 when nothing came within --max-time
SIZES = (0, 1, 7, 8, 63, 64, 512, 1199, 1200, 1231, 1232, 1233, 1260, 1400, 1451, 1452)


def curl(host: Namespace, *arguments: str, seconds: int = 30) -> str:
    return host.run("curl", "-sS", "--fail", "--max-time", str(seconds), *arguments, timeout=seconds + 5).stdout


def superframes(nat64d: Daemon) -> int:
    return sum(row["count"] for row in nat64d.rows("counters") if row.get("event") == "superframes")


def received(ping: str) -> int:
    found = re.search(r"(\d+) received", ping)
    return int(found[1]) if found else 0


def test_a_large_download_has_the_same_sha256(
    net: Topology, nat64d: Daemon, memory: Path, files: dict[str, str]
) -> None:
    before = superframes(nat64d)
    curl(net.client6a, f"{WEB}/large", "-o", str(memory / "downloaded"), seconds=LARGE)
    assert sha256(memory / "downloaded") == files["large"]
    (memory / "downloaded").unlink()
    status = json.loads(nat64d.ask("status", "--json").stdout)
    assert superframes(nat64d) > before or "tso4" not in status["offloads"]


def test_a_large_upload_has_the_same_sha256(net: Topology, memory: Path, files: dict[str, str]) -> None:
    assert curl(net.client6a, "-T", str(memory / "offered/large"), f"{WEB}/", seconds=LARGE) == files["large"]


def test_a_download_from_an_ipv6_host_through_forward(net: Topology, memory: Path, files: dict[str, str]) -> None:
    curl(net.server4, f"http://{FORWARD4}/medium", "-o", str(memory / "forwarded"))
    assert sha256(memory / "forwarded") == files["medium"]


def test_an_upload_to_an_ipv6_host_through_forward(net: Topology, memory: Path, files: dict[str, str]) -> None:
    assert curl(net.server4, "-T", str(memory / "offered/medium"), f"http://{FORWARD4}/") == files["medium"]


def test_the_server_sees_a_pool4_address(net: Topology) -> None:
    assert curl(net.client6a, f"{WEB}/whoami") in POOL4


def test_a_forwarded_client_is_seen_under_pool6(net: Topology) -> None:
    assert curl(net.server4, f"http://{FORWARD4}/whoami") == embed(SERVER4)


def test_traffic_of_the_gateway_itself_is_translated(net: Topology, memory: Path, files: dict[str, str]) -> None:
    assert curl(net.gateway, f"{WEB}/whoami") in POOL4
    curl(net.gateway, f"{WEB}/medium", "-o", str(memory / "own"))
    assert sha256(memory / "own") == files["medium"]


def test_500_connections_at_once(net: Topology, nat64d: Daemon) -> None:
    client = talk(net.client6a, "tcp_hold", embed(SERVER4), "7", "500")
    assert hear(client, 60) == '{"held": 500, "echoed": 500}'
    # Those of earlier tests are there, too; where a port is used again, its session may be one that ends.
    rows = nat64d.rows("sessions", "--proto", "tcp", "--host6", CLIENT6A)
    mapped = [(row["mapped4"], row["mapped4_port"]) for row in rows if row["host4_port"] == 7]
    assert len(set(mapped)) == len(mapped) >= 500
    assert {address for address, _ in mapped} < set(POOL4), "paired pooling keeps a host on one pool4 address"
    client.communicate(timeout=20)
    assert client.returncode == 0


def test_udp_datagrams_of_all_sizes_come_back(net: Topology) -> None:
    assert run(net.client6a, "udp_sizes", embed(SERVER4), "7", *map(str, SIZES))["failed"] == []


def test_udp_datagrams_of_all_sizes_come_back_through_forward(net: Topology) -> None:
    assert run(net.server4, "udp_sizes", FORWARD4, "7", *map(str, SIZES))["failed"] == []


def test_udp_datagrams_larger_than_the_mtu_come_back(net: Topology) -> None:
    sizes = ("1473", "2000", "2960", "4000", "8000")
    assert run(net.client6a, "udp_sizes", embed(SERVER4), "7", *sizes)["failed"] == []


@pytest.mark.parametrize(("size", "count"), [("1", "64"), ("512", "64"), ("1200", "50"), ("1452", "44")])
@pytest.mark.parametrize("to", ["an ipv4 host", "an ipv6 host"])
def test_udp_super_frames(net: Topology, nat64d: Daemon, to: str, size: str, count: str) -> None:
    before = superframes(nat64d)
    sender, address = (net.client6a, embed(SERVER4)) if to == "an ipv4 host" else (net.server4, FORWARD4)
    echoed = run(sender, "udp_segments", address, "7", size, count)
    assert echoed == {"sent": int(count), "received": int(count), "same": True}
    status = json.loads(nat64d.ask("status", "--json").stdout)
    assert superframes(nat64d) > before or not {"uso4", "uso6"} <= set(status["offloads"])


def test_a_closed_tcp_port_refuses_at_once(net: Topology) -> None:
    for host, url in ((net.client6a, f"http://[{embed(SERVER4)}]:9/"), (net.server4, f"http://{FORWARD4}:9/")):
        assert host.run("curl", "-sS", "--max-time", "5", url, check=False).returncode == COULD_NOT_CONNECT


def test_rfc5382_req_4_a_syn_that_nobody_expects_is_refused_after_six_seconds(net: Topology) -> None:
    end = run(net.server4, "tcp_dial", POOL4[3], "41000", "40000")
    assert end["error"] == "ECONNREFUSED"
    assert end["after"] >= 6


@contextmanager
def deaf(host: Namespace, port: str) -> Iterator[None]:
    """A host that takes no notice of SYNs to a port, as one that is about to dial from it would not refuse them."""
    rule = f"tcp dport {port} tcp flags & (syn | ack) == syn drop"
    chain = f"chain in {{\ntype filter hook input priority 0\n{rule}\n}}"
    host.run("nft", "-f", "-", stdin=f"table ip6 deaf {{\n{chain}\n}}\n")
    try:
        yield
    finally:
        host.run("nft", "delete", "table", "ip6", "deaf")


def test_rfc5382_req_2_two_hosts_that_dial_each_other_meet(net: Topology, nat64d: Daemon) -> None:
    """The IPv6 host has a mapping, as after a talk with a server that tells peers of each other."""
    assert run(net.client6a, "tcp_dial", embed(SERVER4), "40009", "6001")["error"] == "ECONNREFUSED"
    rows = map(json.loads, nat64d.ask("bib", "--json", "--host6", CLIENT6A).stdout.splitlines())
    row = next(row for row in rows if (row["protocol"], row["host6_port"]) == ("tcp", 6001))
    with deaf(net.client6a, "6001"):
        outside = talk(net.server4, "tcp_dial", row["mapped4"], str(row["mapped4_port"]), "40001")
        time.sleep(0.5)
        inside = run(net.client6a, "tcp_dial", embed(SERVER4), "40001", "6001")
    assert (inside["error"], inside["heard"]) == (0, "40001")
    assert json.loads(hear(outside))["heard"] == "6001"


@pytest.mark.parametrize("size", ["0", "56", "1232", "1452"])
def test_ping_an_ipv4_host(net: Topology, size: str) -> None:
    ping = net.client6a.run("ping", "-6", "-n", "-c5", "-i0.2", "-W2", "-s", size, embed(SERVER4), check=False)
    assert received(ping.stdout) == 5, ping.stdout


@pytest.mark.parametrize("size", ["0", "56", "1232", "1452"])
def test_ping_an_ipv6_host_through_forward(net: Topology, size: str) -> None:
    ping = net.server4.run("ping", "-4", "-n", "-c5", "-i0.2", "-W2", "-e4242", "-s", size, FORWARD4, check=False)
    assert received(ping.stdout) == 5, ping.stdout


def test_replies_to_ping_carry_the_hops_of_the_way(net: Topology) -> None:
    ping = net.client6a.run("ping", "-6", "-n", "-c1", "-W2", embed(SERVER4), check=False)
    assert "ttl=59" in ping.stdout, "64 less router4, gateway twice, nat64d and router6"


@pytest.fixture(params=["client", "server", "client and server"])
def without_offload(net: Topology, request: pytest.FixtureRequest) -> Iterator[None]:
    """No checksum or segmentation offload at these ends."""
    ends = [(net.client6a, "router6")] if "client" in request.param else []
    ends += [(net.server4, "router4")] if "server" in request.param else []
    switches = ("tx", "rx", "tso", "gso", "gro")

    def switch(to: str) -> None:
        for host, device in ends:
            host.run("ethtool", "-K", device, *(word for name in switches for word in (name, to)))

    switch("off")
    yield
    switch("on")


@pytest.mark.usefixtures("without_offload")
def test_the_same_bytes_without_offload(net: Topology, memory: Path, files: dict[str, str]) -> None:
    curl(net.client6a, f"{WEB}/medium", "-o", str(memory / "plain"))
    assert sha256(memory / "plain") == files["medium"]
    assert curl(net.client6a, "-T", str(memory / "offered/medium"), f"{WEB}/") == files["medium"]
    assert run(net.client6a, "udp_sizes", embed(SERVER4), "7", *map(str, SIZES))["failed"] == []


def test_bib_shows_static_and_dynamic_entries(net: Topology, nat64d: Daemon) -> None:
    curl(net.client6a, f"{WEB}/whoami")
    bib = nat64d.rows("bib")
    static = {(row["protocol"], row["mapped4"], row["mapped4_port"], row["host6_port"]) for row in bib if row["static"]}
    assert static == {
        ("tcp", FORWARD4, 80, 8080),
        ("tcp", FORWARD4, 9, 9009),
        ("udp", FORWARD4, 7, 7007),
        ("udp", FORWARD4, 9, 9009),
        ("icmp", FORWARD4, 4242, 4242),
    }
    assert {row["host6"] for row in bib if row["static"]} == {CLIENT6B}
    assert any(not row["static"] and row["mapped4"] in POOL4 for row in bib)
