"""The host around the TUN device: what is set up works, and is put back exactly, whatever happened in between."""

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyroute2.netlink.exceptions import NetlinkError
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_RA, IPv6
from scapy.layers.l2 import Ether

from nat64d.config import DEFAULT, Config, loads
from nat64d.config.models import Tun as TunConfig
from nat64d.dataplane import host as module
from nat64d.dataplane import nft, rtnetlink, sysctl
from nat64d.dataplane.host import Host, HostError
from nat64d.dataplane.tun import Tun, open_tun
from tests.nat64d.netns import Namespace, fresh_namespace, ip, run, snapshot
from tests.nat64d.netns import sysctl as parameter

namespace = pytest.fixture(fresh_namespace)
LOG = logging.getLogger("test")
SERVER, GATEWAY = "192.0.2.1", "192.0.2.2"
NO_VNET_HEADER = bytes(10)

# Sets the host up as nat64d would, says so, and waits for the kill.
HOLDER = """
import logging, sys, time
from pathlib import Path
from nat64d.config import load
from nat64d.dataplane.host import Host
from nat64d.dataplane.tun import open_tun
config = load(Path(sys.argv[1]))
tun = open_tun(config.tun)
Host(config, tun.name, logging.getLogger()).setup()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def text(tmp_path) -> str:
    """The built-in default, with its control socket in a folder of the test."""
    return f'{DEFAULT}\n[api]\nsocket = "{tmp_path}/run/api.sock"\n'


@pytest.fixture
def config(text) -> Config:
    return loads(text)


@pytest.fixture
def server(namespace) -> Iterator[Namespace]:
    """Another host, at the other end of eth0, where the default route of this one leads."""
    peer = Namespace()
    ip("link", "add", "eth0", "type", "veth", "peer", "name", "far0")
    ip("address", "add", f"{GATEWAY}/24", "dev", "eth0")
    ip("link", "set", "far0", "netns", f"/proc/{os.getpid()}/fd/{peer.fd}")
    ip("link", "set", "eth0", "up")
    with peer:
        ip("address", "add", f"{SERVER}/24", "dev", "far0")
        ip("link", "set", "far0", "up")
    ip("route", "add", "default", "via", SERVER)
    yield peer
    peer.close()


@contextmanager
def gateway(config: Config) -> Iterator[tuple[Tun, Host, list[str]]]:
    """A device and a host set up for it, until the block ends."""
    tun = open_tun(config.tun)
    host = Host(config, tun.name, LOG)
    try:
        yield tun, host, host.setup()
    finally:
        host.undo()
        tun.close()


def journal(config: Config) -> Path:
    return Path(config.api.socket).with_name("nat64.host.json")


def killed_gateway(config_file: Path) -> None:
    """Have a process set the host up, and kill it with signal 9."""
    command = [sys.executable, "-c", HOLDER, str(config_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout.readline() == b"ready\n"
        finally:
            holder.send_signal(signal.SIGKILL)


def addresses(device: str) -> list[str]:
    """The addresses of a device, with their prefix lengths."""
    return [word for word in ip("address", "show", "dev", device).split() if re.fullmatch(r"[0-9a-f.:]+/\d+", word)]


# What is set up.


def test_the_device_is_up_with_its_addresses_and_no_other(namespace, config):
    with gateway(config) as (_, host, lines):
        assert "nat64: up, MTU 1500, addresses 169.254.64.254/32, fd6e:6174:3634::1/128" in lines
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
        assert "routes to nat64: 64:ff9b::/96, 169.254.64.0/28" in lines
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
    """What the kernel hands over within two seconds."""
    end = time.monotonic() + 2
    while time.monotonic() < end:
        try:
            packet = os.read(tun.fds[0], 65536)[10:]
        except BlockingIOError:
            time.sleep(0.01)
        else:
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


# Masquerade.


def rules() -> list[str]:
    """The rules of our table as nft shows them; none without the table."""
    listing = run("nft", "list", "ruleset")
    return [line.strip() for line in listing.splitlines() if "masquerade" in line]


def test_masquerade_is_a_table_of_our_own(server, config):
    with gateway(config) as (_, host, lines):
        assert rules() == [
            'oifname "eth0" ip saddr 169.254.64.0-169.254.64.15 masquerade',
            'oifname "eth0" ip saddr 169.254.64.254 masquerade',
        ]
        assert "table ip nat64d_nat64" in run("nft", "list", "tables")
        assert "type nat hook postrouting priority srcnat; policy accept;" in run("nft", "list", "ruleset")
        assert host.masquerade == ["eth0"]
        assert "masquerade: 169.254.64.0/28, 169.254.64.254/32 behind the address of eth0" in lines
    assert host.masquerade == []
    assert run("nft", "list", "ruleset") == ""


def test_masquerade_outlives_the_flush_of_a_firewall(server, config):
    with gateway(config):
        run("nft", "flush", "ruleset")
        assert len(rules()) == 2


def test_masquerade_on_a_kernel_whose_tables_have_no_owner(server, config, monkeypatch):
    monkeypatch.setattr(nft, "NFT_TABLE_F_OWNER", 1 << 30)  # a flag this kernel does not know either
    with gateway(config):
        assert len(rules()) == 2
        run("nft", "flush", "ruleset")
    with gateway(config):
        assert len(rules()) == 2
    assert run("nft", "list", "ruleset") == ""


def test_a_table_left_behind_is_replaced(server, config):
    run("nft", "add table ip nat64d_nat64; add chain ip nat64d_nat64 old; add rule ip nat64d_nat64 old drop")
    with gateway(config):
        assert len(rules()) == 2
        assert "drop" not in run("nft", "list", "ruleset")
    assert run("nft", "list", "ruleset") == ""


def test_other_tables_are_left_alone(server, config):
    run("nft", "add table ip nat64d; add chain ip nat64d c { type nat hook postrouting priority 0; }")
    before = run("nft", "list", "ruleset")
    with gateway(config):
        pass
    assert run("nft", "list", "ruleset") == before


def test_without_a_default_route_there_is_no_masquerade(server, config):
    ip("route", "del", "default")
    with gateway(config) as (_, host, lines):
        assert "no IPv4 default route: running without masquerade" in lines
        assert host.masquerade == []
        assert rules() == []


def test_a_named_interface_is_taken_even_before_it_exists(namespace, text):
    with gateway(loads(text.replace('masquerade = "auto"', 'masquerade = "wan0"'))) as (_, host, _lines):
        assert [rule.split()[1] for rule in rules()] == ['"wan0"', '"wan0"']
        assert host.masquerade == ["wan0"]


@pytest.mark.parametrize(
    ("routes", "interfaces"),
    [
        ([("default", "via", SERVER, "metric", "100"), ("default", "via", "198.51.100.1", "metric", "50")], ["eth1"]),
        ([("default", "via", SERVER), ("default", "via", "198.51.100.1", "metric", "50")], ["eth0"]),
        ([("unreachable", "default", "metric", "10"), ("default", "dev", "eth1", "metric", "20")], ["eth1"]),
        ([("default", "nexthop", "via", SERVER, "nexthop", "via", "198.51.100.1")], ["eth0", "eth1"]),
        ([("default", "via", SERVER, "table", "7")], []),
    ],
    ids=["lowest_metric", "no_metric_is_lowest", "unreachable_does_not_count", "two_next_hops", "another_table"],
)
def test_auto_is_the_interface_of_the_best_default_route(server, config, routes, interfaces):
    ip("link", "add", "eth1", "type", "veth", "peer", "name", "far1")
    ip("address", "add", "198.51.100.2/24", "dev", "eth1")
    ip("link", "set", "eth1", "up")
    ip("link", "set", "far1", "up")
    ip("route", "del", "default")
    for route in routes:
        ip("route", "add", *route)
    with gateway(config) as (_, host, _lines):
        assert host.masquerade == interfaces


# Everything is put back.


def unusual_host() -> None:
    """Settings that enabling and disabling forwarding would lose, were they not noted."""
    parameter("net/ipv4/conf/eth0/forwarding", 1)
    parameter("net/ipv6/conf/eth0/forwarding", 1)
    parameter("net/ipv6/conf/default/forwarding", 1)
    parameter("net/ipv4/conf/all/accept_redirects", 0)
    parameter("net/ipv6/conf/lo/accept_ra", 2)


def router() -> None:
    parameter("net/ipv4/ip_forward", 1)
    parameter("net/ipv6/conf/all/forwarding", 1)
    parameter("net/ipv4/conf/eth0/forwarding", 0)


@pytest.mark.parametrize("prepare", [lambda: None, unusual_host, router], ids=["plain", "unusual", "router"])
def test_undo_leaves_the_host_exactly_as_it_was(server, config, prepare):
    prepare()
    before = snapshot()
    with gateway(config) as (_, host, _lines):
        assert snapshot() != before
        assert journal(config).exists()
    assert snapshot() == before
    assert not journal(config).exists()
    host.undo()
    assert snapshot() == before


def test_undo_before_setup_does_nothing(namespace, config):
    before = snapshot()
    journal(config).parent.mkdir()
    journal(config).write_text("of another process")
    Host(config, "nat64", LOG).undo()
    assert snapshot() == before
    assert journal(config).exists()


def test_undo_copes_with_things_that_are_gone(server, config, caplog):
    before = snapshot()
    tun = open_tun(config.tun)
    host = Host(config, tun.name, LOG)
    host.setup()
    tun.close()
    host.undo()
    assert snapshot() == before
    assert caplog.records == []


def test_undo_says_what_it_cannot_put_back_and_goes_on(server, config, caplog, monkeypatch):
    before = snapshot()

    def refuse(key, value):
        if key == "net/ipv4/ip_forward":
            raise PermissionError(13, "Permission denied")
        restore(key, value)

    restore = sysctl.restore
    with gateway(config):
        monkeypatch.setattr(module.sysctl, "restore", refuse)
    assert [record.getMessage() for record in caplog.records] == [
        "could not put back sysctl net/ipv4/ip_forward: Permission denied"
    ]
    monkeypatch.undo()
    parameter("net/ipv4/ip_forward", 0)
    assert snapshot() == before


STEPS = [
    (rtnetlink, "change_device", 1),
    (rtnetlink, "add_address", 2),
    (rtnetlink, "add_route", 2),
    (nft, "Masquerade", 1),
    (sysctl, "write", 2),
]


@pytest.mark.parametrize(
    ("exception", "seen"),
    [
        (NetlinkError(95), HostError),
        (OSError(95, "Operation not supported"), HostError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["netlink", "file", "control_c"],
)
@pytest.mark.parametrize(("room", "step", "at_call"), STEPS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_setup_that_fails_half_way_undoes_itself(server, config, monkeypatch, room, step, at_call, exception, seen):
    before, original, calls = snapshot(), getattr(room, step), []

    def fail(*arguments):
        calls.append(arguments)
        if len(calls) == at_call:
            monkeypatch.undo()  # putting back must work
            raise exception
        return original(*arguments)

    tun = open_tun(config.tun)
    monkeypatch.setattr(room, step, fail)
    with pytest.raises(seen) as caught:
        Host(config, tun.name, LOG).setup()
    tun.close()
    assert len(calls) == at_call
    assert seen is KeyboardInterrupt or "Operation not supported" in str(caught.value)
    assert snapshot() == before
    assert not journal(config).exists()


# After kill -9.


def test_after_kill_9_the_next_stop_restores_the_true_originals(server, text, config, tmp_path):
    unusual_host()
    before = snapshot()
    file = tmp_path / "nat64d.toml"
    file.write_text(text)
    for _ in range(2):
        killed_gateway(file)
        assert parameter("net/ipv4/ip_forward") == "1"
    assert journal(config).exists()
    with gateway(config):
        assert parameter("net/ipv4/ip_forward") == "1"
        assert len(rules()) == 2
    assert snapshot() == before
    assert not journal(config).exists()


def test_after_kill_9_an_existing_device_is_cleaned_too(server, text, config, tmp_path):
    existing_device()
    before = snapshot()
    (tmp_path / "nat64d.toml").write_text(text)
    killed_gateway(tmp_path / "nat64d.toml")
    assert "proto 64" in ip("route")
    other_pool = loads(text.replace("169.254.64.0/28", "169.254.64.32/28"))
    with gateway(other_pool):
        assert [line.split()[0] for line in ip("route", "show", "proto", "64").splitlines()] == ["169.254.64.32/28"]
    assert snapshot() == before


def test_the_kernel_removes_masquerade_with_the_process(server, text, tmp_path):
    (tmp_path / "nat64d.toml").write_text(text)
    killed_gateway(tmp_path / "nat64d.toml")
    assert rules() == []


# The journal is not believed blindly.


def leave_journal(config: Config, change: object = None, **more: object) -> None:
    """A journal as a killed process would have left it, of this boot and namespace unless `more` says otherwise."""
    with gateway(config):
        content = json.loads(journal(config).read_text())
    content["changes"] = [change or ["sysctl", "net/ipv4/ip_forward", "0"]]
    journal(config).write_text(json.dumps(content | more))


def test_a_journal_of_this_boot_and_namespace_counts(namespace, config):
    leave_journal(config)
    parameter("net/ipv4/ip_forward", 1)
    with gateway(config):
        pass
    assert parameter("net/ipv4/ip_forward") == "0"


@pytest.mark.parametrize("where", [["another-boot", 1], [1], None])
def test_a_journal_from_elsewhere_does_not(namespace, config, where):
    leave_journal(config, where=where)
    parameter("net/ipv4/ip_forward", 1)
    with gateway(config):
        pass
    assert parameter("net/ipv4/ip_forward") == "1"


def test_a_journal_of_another_user_does_not(namespace, config, caplog):
    leave_journal(config)
    os.chown(journal(config), 65534, 65534)
    parameter("net/ipv4/ip_forward", 1)
    with gateway(config):
        pass
    assert parameter("net/ipv4/ip_forward") == "1"
    assert "is not ours" in caplog.text


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"changes": [1]}', '{"changes": [["sysctl"]], "where": []}', "\udc80"]
)
def test_a_damaged_journal_is_said_and_ignored(namespace, config, caplog, content):
    before = snapshot()
    journal(config).parent.mkdir()
    journal(config).write_bytes(content.encode("utf-8", "surrogateescape"))
    with gateway(config):
        pass
    assert "is damaged" in caplog.text
    assert snapshot() == before


def test_a_journal_that_is_a_link_is_not_followed(namespace, config, tmp_path, caplog):
    journal(config).parent.mkdir()
    (tmp_path / "elsewhere").write_text("precious")
    journal(config).symlink_to(tmp_path / "elsewhere")
    with gateway(config):
        pass
    assert (tmp_path / "elsewhere").read_text() == "precious"
    assert "is not read" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        ["address", None, None],
        ["device", "nat64", "up"],
        ["device", "nat64", {"up": "x"}],
        ["sysctl", "net/ipv4/ip_forward", None],
        ["sysctl", "net/../kernel/hostname", "x"],
        ["sysctl", "kernel/hostname", "x"],
        ["unheard-of", "x", None],
    ],
    ids=str,
)
def test_a_journal_with_what_we_never_write_is_damaged(namespace, config, caplog, change):
    before, name = snapshot(), parameter("kernel/hostname")
    leave_journal(config, change)
    with gateway(config):
        pass
    assert "is damaged" in caplog.text
    assert snapshot() == before
    assert parameter("kernel/hostname") == name


def test_a_line_of_the_journal_that_makes_no_sense_is_said(namespace, config, caplog):
    leave_journal(config, ["address", "not an address", None])
    with gateway(config):
        pass
    assert "could not put back address not an address" in caplog.text


# An existing device.


def existing_device() -> None:
    """Make a device that stays; it has been open and up, which the kernel shows for the rest of its days."""
    ip("tuntap", "add", "dev", "nat64", "mode", "tun")
    open_tun(TunConfig()).close()
    ip("link", "set", "nat64", "mtu", "1400", "addrgenmode", "none", "up")
    ip("link", "set", "nat64", "down", "addrgenmode", "eui64")


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
    ip("address", "add", "fd6e:6174:3634::1/128", "dev", "nat64")
    ip("route", "add", "169.254.64.0/28", "dev", "nat64")
    before = addresses("nat64")
    with gateway(config):
        pass
    assert addresses("nat64") == before
    assert "169.254.64.0/28 dev nat64" in ip("route")
    assert "64:ff9b::/96" not in ip("-6", "route")


# What stands in the way, in one sentence.


def refusal(config: Config) -> str:
    """The sentence with which setup is refused; the host is as it was."""
    before = snapshot()
    tun = open_tun(config.tun)
    try:
        with pytest.raises(HostError) as caught:
            Host(config, tun.name, LOG).setup()
    finally:
        tun.close()
    assert snapshot() == before
    return str(caught.value)


def test_a_route_of_somebody_else_is_not_replaced(server, config):
    ip("-6", "route", "add", "64:ff9b::/96", "dev", "eth0")
    assert refusal(config).startswith("A route for 64:ff9b::/96 leads to eth0 already: remove it, or")


def test_a_black_hole_of_somebody_else_is_not_replaced(server, config):
    ip("route", "add", "blackhole", "169.254.64.0/28")
    assert refusal(config).startswith("A route for 169.254.64.0/28 leads nowhere already: remove it, or")


def test_an_address_of_the_host_in_the_pool_is_said(server, text):
    config = loads(text.replace("169.254.64.0/28", f"{GATEWAY}/32"))
    with gateway(config) as (_, _, lines):
        assert any(line.startswith(f"{GATEWAY} is an address of this host (eth0)") for line in lines)


def test_a_device_that_is_not_there_is_said(namespace, config):
    with pytest.raises(HostError, match="TUN device nat64 is not there"):
        Host(config, "nat64", LOG).setup()


def test_a_folder_that_cannot_be_written_is_said(namespace, config, tmp_path):
    (tmp_path / "run").write_text("a file, not a folder")
    assert f"Cannot write {tmp_path}/run/nat64.host.json (File exists)" in refusal(config)


READ_ONLY = """
mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@"
"""
SETUP_AND_UNDO = HOLDER.replace(
    "Host(config, tun.name, logging.getLogger()).setup()",
    "host = Host(config, tun.name, logging.getLogger()); host.setup(); host.undo()",
).replace("time.sleep(60)", "")


def in_read_only_proc_sys(file: Path) -> subprocess.CompletedProcess[str]:
    """Set up and undo where /proc/sys cannot be written, as in most containers."""
    command = ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", sys.executable, "-c", SETUP_AND_UNDO, str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_a_read_only_proc_sys_is_said_with_the_command_to_paste(namespace, text, tmp_path):
    (tmp_path / "nat64d.toml").write_text(text)
    before = snapshot()
    done = in_read_only_proc_sys(tmp_path / "nat64d.toml")
    assert done.stderr.splitlines()[-1] == (
        "nat64d.dataplane.host.HostError: Cannot set net.ipv6.conf.default.accept_ra to 2 (Read-only file system): run "
        "'sysctl -w net.ipv6.conf.default.accept_ra=2 net.ipv6.conf.all.forwarding=1 net.ipv4.ip_forward=1' "
        "where it is allowed, then start again."
    )
    assert snapshot() == before


def test_a_read_only_proc_sys_with_the_right_values_is_fine(server, text, tmp_path):
    (tmp_path / "nat64d.toml").write_text(text)
    parameter("net/ipv4/ip_forward", 1)
    parameter("net/ipv6/conf/all/forwarding", 1)
    before = snapshot()
    done = in_read_only_proc_sys(tmp_path / "nat64d.toml")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ready\n", "")
    assert snapshot() == before


def test_without_the_capability_the_sentence_says_so(namespace, text, tmp_path):
    (tmp_path / "nat64d.toml").write_text(text)
    ip("tuntap", "add", "dev", "nat64", "mode", "tun", "user", "root")
    drop = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    command = [*drop, sys.executable, "-c", HOLDER, str(tmp_path / "nat64d.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.stderr.splitlines()[-1] == (
        "nat64d.dataplane.host.HostError: No permission to set up nat64: run as root or with CAP_NET_ADMIN."
    )


# Router advertisements.


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
