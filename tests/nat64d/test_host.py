"""The host around the TUN device: what is set up, and what the kernel then makes of packets."""

import os
import re
import select
import socket
import time
from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_RA, IPv6
from scapy.layers.l2 import Ether

from nat64d.config.load import loads
from nat64d.config.models import Config
from nat64d.dataplane.tun import Tun
from tests.nat64d.hosts import GATEWAY, SERVER, addresses, existing_device, fixtures, gateway
from tests.nat64d.netns import Namespace, ip, run, snapshot
from tests.nat64d.netns import sysctl as parameter

namespace, server, text, config = fixtures()
NO_VNET_HEADER = bytes(10)


def test_the_device_is_up_with_its_addresses_and_no_other(namespace, config):
    with gateway(config) as (_, host, lines):
        assert "Device nat64 is up, MTU 1500, addresses: 169.254.64.254/32, fd6e:6174:3634::1/128" in lines
        link = ip("-details", "link", "show", "nat64")
        assert ",UP," in link
        assert "mtu 1500" in link
        assert "addrgenmode none" in link
        assert addresses("nat64") == ["169.254.64.254/32", "fd6e:6174:3634::1/128"]
        assert host.mtu == 1500


def test_the_mtu_is_that_of_the_configuration(namespace, text):
    config = loads(text.replace("[tun]\n", "[tun]\nmtu = 9000\n"))
    with gateway(config) as (_, host, _lines):
        assert "mtu 9000" in ip("link", "show", "nat64")
        assert host.mtu == 9000


def test_routes_lead_to_the_device_and_are_marked_as_ours(namespace, config):
    with gateway(config) as (_, _, lines):
        assert "Routes to nat64: 64:ff9b::/96, 169.254.64.0/28" in lines
        assert ip("route", "show", "proto", "64").split("\n")[:-1] == ["169.254.64.0/28 dev nat64 scope link "]
        assert ip("-6", "route", "show", "proto", "64").startswith("64:ff9b::/96 dev nat64 ")


def test_routes_cover_every_pool_and_forwarded_addresses_outside(namespace, tmp_path):
    config = loads(
        f"""
        pool6 = "2001:db8:64::/96"
        [[pool4]]
        addresses = "203.0.113.5-203.0.113.8"
        [[pool4]]
        addresses = "203.0.113.6/32"
        ports = "1-1023"
        [[pool4]]
        addresses = "198.51.100.0/24"
        [[forward]]
        protocol = "tcp"
        ipv4 = "192.0.2.99:80"
        ipv6 = "[2001:db8::1]:80"
        [[forward]]
        protocol = "tcp"
        ipv4 = "198.51.100.7:80"
        ipv6 = "[2001:db8::2]:80"
        [api]
        socket = "{tmp_path}/api.sock"
        """
    )
    with gateway(config):
        routes = {line.split()[0] for line in ip("route", "show", "proto", "64").splitlines()}
    assert routes == {"192.0.2.99", "198.51.100.0/24", "203.0.113.5", "203.0.113.6/31", "203.0.113.8"}


def test_nothing_is_routed_when_told_so(namespace, text):
    with gateway(loads(text.replace("[host]\n", "[host]\nroutes = false\n"))):
        assert ip("route", "show", "proto", "64") + ip("-6", "route", "show", "proto", "64") == ""


def test_the_host_forwards_both_families(server, config):
    with gateway(config) as (_, _, lines):
        keys = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv4/conf/nat64/forwarding")
        assert [parameter(key) for key in keys] == ["1", "1", "1"]
        assert any("net.ipv4.ip_forward = 1 (was 0)" in line for line in lines)


def test_the_device_forwards_where_the_host_does_but_new_devices_do_not(namespace, config):
    parameter("net/ipv4/ip_forward", 1)
    parameter("net/ipv6/conf/all/forwarding", 1)
    parameter("net/ipv4/conf/default/forwarding", 0)
    parameter("net/ipv6/conf/default/forwarding", 0)
    with gateway(config):
        assert [parameter(f"net/{family}/conf/nat64/forwarding") for family in ("ipv4", "ipv6")] == ["1", "1"]


def test_no_parameter_is_touched_when_told_so(server, text):
    before = snapshot()
    with gateway(loads(text.replace("[host]\n", "[host]\nsysctls = false\n"))) as (_, _, lines):
        during = snapshot()
        changed = {key for key in before if key.startswith("/proc") and before[key] != during[key]}
        assert changed == set()
        assert parameter("net/ipv4/conf/nat64/accept_local") == "0"
    assert any("net.ipv4.ip_forward=1" in line and "sysctl -w" in line for line in lines)


@pytest.mark.parametrize(("everywhere", "on_the_device"), [("0", "0"), ("1", "2"), ("2", "2")])
def test_the_reverse_path_filter_is_off_or_else_loose(namespace, config, everywhere, on_the_device):
    parameter("net/ipv4/conf/all/rp_filter", everywhere)
    with gateway(config):
        assert parameter("net/ipv4/conf/nat64/rp_filter") == on_the_device
    assert parameter("net/ipv4/conf/all/rp_filter") == everywhere


def test_ipv6_is_admitted_to_the_device_where_new_devices_have_none(namespace, config):
    parameter("net/ipv6/conf/default/disable_ipv6", 1)
    with gateway(config):
        assert "fd6e:6174:3634::1/128" in ip("address", "show", "dev", "nat64")
    assert parameter("net/ipv6/conf/default/disable_ipv6") == "1"


def test_an_existing_device_keeps_its_mtu_and_is_put_back(server, config):
    existing_device()
    before = snapshot()
    with gateway(config) as (_, host, lines):
        assert host.mtu == 1400
        assert any("MTU 1400" in line for line in lines)
        assert "mtu 1400" in ip("link", "show", "nat64")
        assert "fd6e:6174:3634::1/128" in ip("address", "show", "dev", "nat64")
    assert snapshot() == before


def test_addresses_and_routes_of_an_existing_device_stay(server, config):
    existing_device()
    ip("link", "set", "nat64", "addrgenmode", "none", "up")
    ip("address", "add", "169.254.64.254/32", "dev", "nat64")
    ip("address", "add", "203.0.113.9/32", "dev", "nat64")
    ip("address", "add", "fd6e:6174:3634::1/128", "dev", "nat64", "nodad")
    ip("route", "add", "169.254.64.0/28", "dev", "nat64")
    before = addresses("nat64")
    with gateway(config):
        pass
    assert addresses("nat64") == before
    assert "169.254.64.0/28 dev nat64" in ip("route")
    assert "64:ff9b::/96" not in ip("-6", "route")


# What the kernel makes of packets then.


def receive(config: Config, server: Namespace, packet: IP) -> tuple[str, int] | None:
    """Who the server sees as the sender of a datagram to its port 9 that comes out of the TUN device."""
    with server:
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind((SERVER, 9))
    listener.settimeout(1.0)
    with listener, gateway(config) as (tun, _, _lines):
        os.write(tun.fds[0], NO_VNET_HEADER + bytes(packet))
        try:
            return listener.recvfrom(100)[1]
        except TimeoutError:
            return None


@pytest.mark.parametrize("filter_everywhere", ["0", "1", "2"])
def test_pool4_leaves_with_the_address_of_the_default_interface(server, config, filter_everywhere):
    parameter("net/ipv4/conf/all/rp_filter", filter_everywhere)
    packet = IP(src="169.254.64.3", dst=SERVER) / UDP(sport=40000, dport=9) / b"x"
    assert receive(config, server, packet) == (GATEWAY, 40000)


@pytest.mark.parametrize("filter_everywhere", ["0", "1", "2"])
def test_the_translators_own_address_is_no_martian(server, config, filter_everywhere):
    parameter("net/ipv4/conf/all/rp_filter", filter_everywhere)
    packet = IP(src="169.254.64.254", dst=SERVER) / UDP(sport=40000, dport=9) / b"x"
    assert receive(config, server, packet) == (GATEWAY, 40000)


@pytest.mark.parametrize("filter_everywhere", ["0", "1", "2"])
def test_an_address_without_a_route_of_its_own_passes_the_filter(server, config, filter_everywhere):
    parameter("net/ipv4/conf/all/rp_filter", filter_everywhere)
    packet = IP(src="192.0.0.8", dst=SERVER) / UDP(sport=40000, dport=9) / b"x"
    assert receive(config, server, packet) == ("192.0.0.8", 40000)


def test_without_masquerade_the_address_stays(server, text):
    config = loads(text.replace('masquerade = "auto"', 'masquerade = "off"'))
    packet = IP(src="169.254.64.3", dst=SERVER) / UDP(sport=40000, dport=9) / b"x"
    assert receive(config, server, packet) == ("169.254.64.3", 40000)


def test_answers_come_back_to_the_device(server, config):
    with server:
        answerer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        answerer.bind((SERVER, 9))
    answerer.settimeout(1.0)
    with answerer, gateway(config) as (tun, _, _lines):
        packet = IP(src="169.254.64.3", dst=SERVER) / UDP(sport=40000, dport=9) / b"question"
        os.write(tun.fds[0], NO_VNET_HEADER + bytes(packet))
        answerer.sendto(b"answer", answerer.recvfrom(100)[1])
        answer = next(packet for packet in packets(tun) if packet.version == 4)
    assert (answer.src, answer.dst, answer[UDP].dport, bytes(answer[UDP].payload)) == (
        SERVER,
        "169.254.64.3",
        40000,
        b"answer",
    )


def packets(tun: Tun) -> Iterator[IP]:
    """What the kernel hands over within two seconds, on any queue."""
    end = time.monotonic() + 2
    while (left := end - time.monotonic()) > 0:
        for fd in select.select(tun.fds, [], [], left)[0]:
            packet = os.read(fd, 65536)[10:]
            yield IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)


def test_the_hosts_own_packets_to_pool6_take_the_translators_address(server, config):
    with gateway(config) as (tun, _, _lines), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("64:ff9b::c000:201", 9))
        packet = next(packet for packet in packets(tun) if UDP in packet)
    assert (packet.src, packet.dst) == ("fd6e:6174:3634::1", "64:ff9b::c000:201")


def test_the_translators_addresses_answer_ping(server, config):
    with gateway(config), server:
        ip("route", "add", "169.254.64.254", "via", GATEWAY)
        assert " 0% packet loss" in run("ping", "-c1", "-W2", "169.254.64.254")


# Router advertisements.


def test_an_interface_that_ignores_advertisements_goes_on_ignoring_them(server, config):
    parameter("net/ipv6/conf/eth0/forwarding", 1)
    with gateway(config):
        assert parameter("net/ipv6/conf/eth0/accept_ra") == "1"


def test_a_default_route_learned_from_an_advertisement_stays(server, config):
    with server:
        advertise()
    wait_for(lambda: "default via fe80:" in ip("-6", "route"))
    before = without_lifetimes(ip("-6", "route", "show", "default"))
    with gateway(config):
        assert parameter("net/ipv6/conf/eth0/accept_ra") == "2"
        assert without_lifetimes(ip("-6", "route", "show", "default")) == before
    assert without_lifetimes(ip("-6", "route", "show", "default")) == before
    assert parameter("net/ipv6/conf/eth0/accept_ra") == "1"


def advertise() -> None:
    """Send a router advertisement out of far0."""
    hardware = word_after("link/ether", ip("link", "show", "far0"))
    address = word_after("inet6", ip("-6", "address", "show", "dev", "far0")).split("/")[0]
    frame = (
        Ether(src=hardware, dst="33:33:00:00:00:01")
        / IPv6(src=address, dst="ff02::1", hlim=255)
        / ICMPv6ND_RA(routerlifetime=1800)
    )
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("far0", 0))
        wire.send(bytes(frame))


def word_after(word: str, text: str) -> str:
    words = text.split()
    return words[words.index(word) + 1]


def wait_for(condition) -> None:
    for _ in range(100):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("did not come about within 5 s")


def without_lifetimes(routes: str) -> str:
    return re.sub(r"expires \d+sec", "", routes)
