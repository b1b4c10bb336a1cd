"""traceroute and ICMP errors, as the kernels at both ends understand them."""

import json
import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from nat64d.cli.lab import Namespace
from tests.e2e.topology import (
    CLIENT6A,
    FORWARD4,
    GATEWAY4,
    GATEWAY6,
    NAT64D4,
    NAT64D6,
    RFC6791,
    ROUTER4,
    ROUTER4_OUTSIDE,
    ROUTER6,
    SERVER4,
    Topology,
    embed,
    hear,
    learnt,
    run,
    serve,
)

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers")]

CLOSED = "9"  # nobody listens on this UDP port of server4, nor on client6b behind the forward
UNREACHABLE4, PROHIBITED4 = "203.0.113.98", "203.0.113.99"

# The gateway is three hops: its kernel forwards into and out of the TUN device, and nat64d is a hop in between.
HOPS_TO_IPV4 = [ROUTER6, GATEWAY6, NAT64D6, embed(NAT64D4), embed(ROUTER4_OUTSIDE), embed(SERVER4)]
# The other way two of them are IPv6 hops, and so is router6: they appear under RFC 6791 addresses.
HOPS_TO_IPV6 = [ROUTER4, GATEWAY4, NAT64D4, RFC6791, RFC6791, FORWARD4]


def hops(host: Namespace, *arguments: str) -> list[str]:
    """The hops `traceroute` prints; "*" for a silent one."""
    done = host.run("traceroute", "-n", "-q1", "-w2", "-m10", "-z20", *arguments, timeout=40)
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    return [words[1] for words in lines if re.fullmatch(r"\d+", words[0])]


def shown(address: str) -> str:
    """An address, or the prefix of RFC 6791 addresses it is from."""
    return RFC6791 if IPv4Address(address) in IPv4Network(RFC6791) else address


@pytest.mark.parametrize("method", [["-I"], ["-U", "-p", CLOSED], ["-T", "-p", "80"]], ids=["icmp", "udp", "tcp"])
def test_traceroute_to_an_ipv4_host(net: Topology, method: list[str]) -> None:
    assert hops(net.client6a, "-6", *method, embed(SERVER4)) == HOPS_TO_IPV4


@pytest.mark.parametrize("method", [["-U", "-p", CLOSED], ["-T", "-p", "80"]], ids=["udp", "tcp"])
def test_traceroute_to_an_ipv6_host(net: Topology, method: list[str]) -> None:
    assert [shown(hop) for hop in hops(net.server4, "-4", *method, FORWARD4)] == HOPS_TO_IPV6


@pytest.fixture(autouse=True, scope="module")
def full_checksums(net: Topology) -> Iterator[None]:
    """Let the ends finish their checksums, as a router that quotes an unfinished one quotes garbage."""
    ends = ((net.client6a, "router6"), (net.server4, "router4"))
    for host, device in ends:
        host.run("ethtool", "-K", device, "tx", "off")
    yield
    for host, device in ends:
        host.run("ethtool", "-K", device, "tx", "on")


@pytest.fixture(autouse=True, scope="module")
def refusals(net: Topology) -> Iterator[None]:
    """Two IPv4 addresses that router4 refuses to reach."""
    rules = f"""
        table ip refusals {{
            chain forward {{
                type filter hook forward priority 0;
                ip daddr {UNREACHABLE4} reject with icmp host-unreachable
                ip daddr {PROHIBITED4} reject with icmp admin-prohibited
            }}
        }}"""
    net.router4.run("nft", "-f", "-", stdin=rules)
    yield
    net.router4.run("nft", "delete", "table", "ip", "refusals")


def assert_quotes(quoted: Packet, address: str, port: str, error: dict[str, Any]) -> None:
    """The quoted packet is the one that was sent, with the addresses, ports, lengths and checksum it had."""
    source, source_port = error["source"]
    payload = bytes.fromhex(error["payload"])
    assert (ip_address(quoted.src), ip_address(quoted.dst)) == (ip_address(source), ip_address(address))
    udp = quoted[UDP]
    assert (udp.sport, udp.dport, udp.len) == (source_port, int(port), 8 + len(payload))
    whole = type(quoted)(src=quoted.src, dst=quoted.dst) / UDP(sport=udp.sport, dport=udp.dport) / payload
    assert udp.chksum == type(quoted)(bytes(whole))[UDP].chksum
    assert payload.startswith(bytes(quoted[Raw])) if Raw in quoted else not payload


TO_IPV4 = [
    pytest.param("3", SERVER4, (NAT64D6, 3, 0), id="hop limit expired in nat64d"),
    pytest.param("4", SERVER4, (embed(NAT64D4), 3, 0), id="ttl expired in the gateway"),
    pytest.param("5", SERVER4, (embed(ROUTER4_OUTSIDE), 3, 0), id="ttl expired beyond"),
    pytest.param("64", SERVER4, (embed(SERVER4), 1, 4), id="port unreachable"),
    pytest.param("64", UNREACHABLE4, (embed(ROUTER4_OUTSIDE), 1, 0), id="host unreachable"),
    pytest.param("64", PROHIBITED4, (embed(ROUTER4_OUTSIDE), 1, 1), id="prohibited"),
]


@pytest.mark.parametrize("size", ["0", "100", "1400"])
@pytest.mark.parametrize(("hop_limit", "to", "expected"), TO_IPV4)
def test_errors_reach_the_ipv6_sender(
    net: Topology, hop_limit: str, to: str, expected: tuple[str, int, int], size: str
) -> None:
    error = run(net.client6a, "udp_error", embed(to), CLOSED, hop_limit, size)
    assert error["type"] is not None, "no error came"
    assert (error["offender"], error["type"], error["code"]) == expected
    assert (ip_address(error["destination"][0]), error["destination"][1]) == (ip_address(embed(to)), int(CLOSED))
    assert error["same"]
    quoted = IPv6(bytes.fromhex(error["icmp"])[8:])
    assert error["source"][0] == CLIENT6A
    assert quoted.plen == 8 + int(size)
    assert_quotes(quoted, embed(to), CLOSED, error)


TO_IPV6 = [
    pytest.param("3", (NAT64D4, 11, 0), id="ttl expired in nat64d"),
    pytest.param("4", (RFC6791, 11, 0), id="hop limit expired in the gateway"),
    pytest.param("5", (RFC6791, 11, 0), id="hop limit expired beyond"),
    pytest.param("64", (FORWARD4, 3, 3), id="port unreachable"),
]


@pytest.mark.parametrize("size", ["0", "100", "1400"])
@pytest.mark.parametrize(("ttl", "expected"), TO_IPV6)
def test_errors_reach_the_ipv4_sender(net: Topology, ttl: str, expected: tuple[str, int, int], size: str) -> None:
    error = run(net.server4, "udp_error", FORWARD4, CLOSED, ttl, size)
    assert error["type"] is not None, "no error came"
    assert (shown(error["offender"]), error["type"], error["code"]) == expected
    assert error["destination"] == [FORWARD4, int(CLOSED)]
    assert error["same"]
    quoted = IP(bytes.fromhex(error["icmp"])[8:])
    assert error["source"][0] == SERVER4
    assert quoted.len == 28 + int(size)
    assert_quotes(quoted, FORWARD4, CLOSED, error)


def test_nat64d_answers_ping_under_its_own_addresses(net: Topology) -> None:
    for address in (NAT64D6, embed(NAT64D4)):
        assert "1 received" in net.client6a.run("ping", "-6", "-n", "-c1", "-W2", address, check=False).stdout
    assert "1 received" in net.server4.run("ping", "-4", "-n", "-c1", "-W2", NAT64D4, check=False).stdout


PINGS = [
    pytest.param("server4", ["-4", "-e4242", FORWARD4], "client6b", embed(ROUTER4_OUTSIDE), (3, 0, 129), id="of IPv6"),
    pytest.param("client6a", ["-6", embed(SERVER4)], "server4", RFC6791, (11, 0, 0), id="of IPv4"),
]


@pytest.mark.parametrize(("host", "ping", "replier", "router", "expected"), PINGS)
def test_an_error_about_an_echo_reply_reaches_the_replier(
    net: Topology, host: str, ping: list[str], replier: str, router: str, expected: tuple[int, int, int]
) -> None:
    sender, version = getattr(net, replier), "6" if replier == "client6b" else "4"
    via = "2001:db8:b::1" if version == "6" else ROUTER4
    sender.route("default", via, "hoplimit", "5")  # as far as the router beyond the gateway
    try:
        listener = serve(sender, "icmp_errors", version)
        pinged = getattr(net, host).run("ping", "-n", "-c1", "-W2", *ping, check=False)
        assert "0 received" in pinged.stdout, "the reply should not have come"
        error = json.loads(hear(listener))
        listener.kill()
    finally:
        sender.route("default", via)
    icmp = bytes.fromhex(error["icmp"])
    offender = error["sender"] if version == "6" else shown(error["sender"])
    quoted_type = icmp[8 + (40 if version == "6" else 20)]
    assert (offender, (icmp[0], icmp[1], quoted_type)) == (router, expected)


def test_an_echo_reply_that_is_too_big_is_made_smaller(net: Topology) -> None:
    """client6b answers a ping whose request passes, and whose answer does not."""
    net.router4.ip("route", "replace", "203.0.113.0/24", "dev", "server4", "mtu", "1300")
    net.forget_paths()
    try:
        net.server4.run("ping", "-4", "-n", "-c1", "-W2", "-e4242", "-s1400", "-Mdont", FORWARD4, check=False)
        assert learnt(net.client6b, embed(SERVER4)) == 1300 + 20
    finally:
        net.router4.ip("route", "replace", "203.0.113.0/24", "dev", "server4")
        net.forget_paths()
