"""What `nat64d doctor` reads: of the kernel in a namespace, of a daemon on a socket, of routers on a link."""

import os
import socket
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network, ip_network
from pathlib import Path

import pytest

from nat64d.advertise import wire
from nat64d.advertise.listener import Listener
from nat64d.advertise.message import Advertisement, Pref64, built
from nat64d.config.load import loads
from nat64d.doctor import advertisements, conditions, daemon, kernel, links, names, privileges
from nat64d.doctor.advertisements import Announced
from nat64d.doctor.daemon import Answer
from nat64d.doctor.links import Offloads
from nat64d.doctor.look import Look, UnseenError
from nat64d.doctor.names import Made
from nat64d.doctor.readers import READERS
from nat64d.host.presence import Presence
from nat64d.services.announcer import DROP_IN
from tests import pages
from tests.architecture import ROOT
from tests.nat64d.fake_gateway import FakeGateway, serving, standing
from tests.nat64d.hosts import fixtures, gateway
from tests.nat64d.netns import Namespace, ip, run
from tests.nat64d.netns import sysctl as parameter

namespace, server, text, config = fixtures()

NO_SYSCTLS = """
pool6 = "64:ff9b::/96"
[[pool4]]
addresses = "203.0.113.0/28"
[host]
sysctls = false
"""


@pytest.fixture
def look(config):
    return Look(config, READERS)


def test_the_drop_in_for_router_advertisements_grants_what_they_need():
    name = "test_the_drop_in_for_router_advertisements_grants_what_they_need"
    (block,) = (each for each in pages.blocks(ROOT / "docs/install.md") if f"::{name}:" in each.how)
    wanted = privileges.needed_for(loads('pool6 = "64:ff9b::/96"\n[ra]\ninterface = ["eth0"]\n'))
    more = {privileges.CAPABILITIES[number] for number in wanted} - {"CAP_NET_ADMIN"}
    granted = [line.partition("=")[::2] for line in block.text.splitlines()[1:]]
    assert granted == [(kind, " ".join(more)) for kind in ("CapabilityBoundingSet", "AmbientCapabilities")]


def test_the_drop_in_for_services_grants_what_announcing_them_needs():
    name = "test_the_drop_in_for_services_grants_what_announcing_them_needs"
    (block,) = (each for each in pages.blocks(ROOT / "docs/install.md") if f"::{name}:" in each.how)
    granted = dict(line.partition("=")[::2] for line in block.text.splitlines()[1:])
    assert granted == {"RestrictAddressFamilies": privileges.PACKET} | dict.fromkeys(privileges.SETS, "CAP_NET_RAW")
    assert all(f"{kind}={value}" in DROP_IN for kind, value in granted.items())


def test_the_command_is_light():
    code = "import sys, nat64d.doctor.command; print(*{'numba', 'numpy', 'aiohttp', 'dns', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# ---- the daemon


@pytest.fixture
def answering(tmp_path):
    """A daemon, and a look at it."""
    fake = FakeGateway()
    config = loads(f'pool6 = "64:ff9b::/96"\n[api]\nsocket = "{tmp_path}/api.sock"\n')
    with serving(fake, tmp_path / "api.sock"):
        yield fake, Look(config, READERS)


def test_a_daemon_that_answers(answering):
    fake, look = answering
    assert look["answer"].status["version"] == fake.status()["version"]
    assert [row["used"] for row in look["pools"]] == [1, 0]
    assert look["pid"] == os.getpid()
    assert look["process"].daemon


def test_its_conditions_are_taken_over(answering):
    fake, look = answering
    fake.state, fake.standing = "blocked", [standing("firewall"), standing("on_link")]
    assert [row["condition"] for row in look["conditions"]] == ["firewall", "on_link"]


def test_while_it_compiles_the_host_is_looked_at_from_here(answering, monkeypatch):
    fake, look = answering
    fake.state, fake.standing = "compiling", [standing("firewall")]
    monkeypatch.setattr(conditions, "locally", lambda *_, **__: ["from here"])
    assert look["conditions"] == ["from here"]
    with pytest.raises(UnseenError, match="the daemon is compiling"):
        _ = look["pools"]


def test_no_daemon(look):
    assert look["answer"].status is None
    assert "no daemon answers here" in look["answer"].why
    assert not look["process"].daemon
    with pytest.raises(UnseenError, match="no daemon answers"):
        _ = look["status"]


def test_a_daemon_that_runs_but_answers_elsewhere(namespace, look):
    presence = Presence("nat64")
    presence.begin()
    assert look["answer"].runs
    presence.end()
    assert not daemon.answer(look).runs


def test_a_socket_of_others_needs_root(look, monkeypatch):
    def refused(*_):
        raise daemon.DaemonUnreachableError("no") from PermissionError(13, "Permission denied")

    monkeypatch.setattr(daemon.Client, "document", refused)
    with pytest.raises(UnseenError, match=r"needs root, or the group of .*/api.sock"):
        _ = look["answer"]


# ---- the host without a daemon


def test_what_a_start_sets_up_is_not_missed(namespace, look):
    assert parameter("net/ipv4/ip_forward", 0) == "0"
    assert [row["condition"] for row in look["conditions"]] == ["masquerade_without_route"]


def test_nor_are_routes_to_a_device_that_is_there_already(namespace, look):
    ip("tuntap", "add", "dev", "nat64", "mode", "tun")
    assert look["host"].device is not None
    assert [row["condition"] for row in look["conditions"]] == ["masquerade_without_route"]


def test_what_is_left_to_the_operator_is(server):
    parameter("net/ipv4/ip_forward", 0)
    look = Look(loads(NO_SYSCTLS), READERS)
    assert [row["condition"] for row in look["conditions"]] == ["forwarding_off"]


def test_a_firewall_is_found_without_a_daemon_unless_a_start_opens_it(server, text):
    run("nft", "add table inet f; add chain inet f out { type filter hook forward priority 0; policy drop; }")
    names = {}
    for firewall in ("off", "auto"):
        config = loads(text.replace("[host]", f'[host]\nfirewall = "{firewall}"'))
        names[firewall] = [row["condition"] for row in Look(config, READERS)["conditions"]]
    assert names == {"off": ["firewall"], "auto": []}


def test_rules_that_cannot_be_read_are_said(namespace, look, monkeypatch):
    assert look["nft"] == ""
    hidden = {"answer": lambda _: Answer(None, "", False), "host": lambda _: replace(look["host"], ruleset=None)}
    assert conditions.obstacle(Look(look.config, hidden)) == "needs root"
    monkeypatch.setattr(conditions, "which", lambda _: None)
    assert "there is no program nft" in conditions.obstacle(look)


# ---- kernel, privileges, links


def test_the_tun_driver(look, monkeypatch, tmp_path):
    assert look["tun"] & kernel.VNET_HDR
    assert look["tun"] & kernel.MULTI_QUEUE
    monkeypatch.setattr(kernel, "TUN", tmp_path / "tun")
    assert kernel.tun_features(look) == 0


def test_the_kernel_is_asked_whether_it_masquerades(namespace, look, monkeypatch):
    before = run("nft", "list", "ruleset")
    assert look["masquerade"] == ""
    assert run("nft", "list", "ruleset") == before
    monkeypatch.setattr(kernel, "RULE", kernel.RULE.replace("postrouting", "forward"))
    assert kernel.masquerade(look).startswith("Error: ")


def test_tracked_connections(namespace, look):
    assert kernel.tracked(look) is None or kernel.tracked(look)[1] > 0


def test_the_clock(look):
    assert look["clock"].now > look["clock"].installed


def test_ipv6_of_the_namespace(namespace, look):
    assert kernel.ipv6(look) == "0"
    parameter(kernel.IPV6, 1)
    assert kernel.ipv6(look) == "1"


def test_the_privileges_of_a_process(look):
    assert look["process"].number == os.getpid()
    assert f"CapEff:\t{look['process'].capabilities:016x}\n" in Path("/proc/self/status").read_text()
    assert look["process"].files > 0


def test_what_a_configuration_needs(namespace):
    assert privileges.needed_for(loads(NO_SYSCTLS)) == [privileges.NET_ADMIN]
    assert privileges.needed_for(loads(NO_SYSCTLS + "[dns64]")) == [privileges.NET_ADMIN, privileges.NET_BIND_SERVICE]
    parameter("net/ipv4/ip_unprivileged_port_start", 53)
    assert privileges.needed_for(loads(NO_SYSCTLS + "[dns64]")) == [privileges.NET_ADMIN]


def test_the_unit_of_systemd(look, monkeypatch, tmp_path):
    monkeypatch.setattr(privileges, "SYSTEMD", tmp_path / "none")
    assert privileges.unit(look) == {}
    monkeypatch.setattr(privileges, "SYSTEMD", tmp_path)
    systemctl = tmp_path / "systemctl"
    systemctl.write_text("#!/bin/sh\necho LoadState=loaded\necho 'User=a=b'\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert privileges.unit(look) == {"LoadState": "loaded", "User": "a=b"}
    systemctl.write_text("#!/bin/sh\necho LoadState=not-found\n")
    assert privileges.unit(look) == {}
    systemctl.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(UnseenError, match="systemctl does not answer"):
        privileges.unit(look)


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("0::/system.slice/system-nat64d.slice/nat64d@wan.service", "nat64d@wan.service"),
        ("12:pids:/system.slice/nat64d.service\n0::/system.slice/nat64d.service", "nat64d.service"),
        ("0::/user.slice/user-0.slice/session-1.scope", None),
        ("0::/user.slice/user-0.slice/user@0.service/init.scope", None),
    ],
)
def test_the_unit_that_a_daemon_is_in(answering, monkeypatch, tmp_path, group, name):
    _, look = answering
    for folder in (tmp_path / str(os.getpid()), tmp_path / "bin"):
        folder.mkdir()
    (tmp_path / str(os.getpid()) / "cgroup").write_text(f"{group}\n")
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.write_text('#!/bin/sh\necho LoadState=loaded\necho "Id=$2"\n')
    systemctl.chmod(0o755)
    assert look["process"].number == os.getpid()
    monkeypatch.setattr(privileges, "PROC", tmp_path)
    monkeypatch.setattr(privileges, "SYSTEMD", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    assert privileges.unit(look).get("Id") == name


def test_offloads_of_every_interface_but_our_own(server, config):
    run("ethtool", "-K", "eth0", "gro", "on")
    with gateway(config):
        assert links.offloads(Look(config, READERS)) == {"eth0": Offloads(False, True)}
        run("ethtool", "-K", "eth0", "gro", "off")
        assert links.offloads(Look(config, READERS)) == {"eth0": Offloads(False, False)}


def test_mtus_of_links_and_routes(server, look):
    ip("address", "add", "2001:db8:1::1/64", "dev", "eth0", "nodad")
    parameter("net/ipv6/conf/eth0/mtu", 1400)
    ip("-6", "route", "add", "default", "via", "2001:db8:1::2", "mtu", "1380", "advmss", "1300")
    assert look["mtus6"]["eth0"] == 1400
    (route,) = [one for one in look["host"].facts.defaults if one.network.version == 6]
    assert (route.mtu, route.advmss) == (1380, 1300)
    (link,) = [one for one in look["host"].facts.links if one.name == "eth0"]
    assert (link.mtu, link.hardware) == (1500, False)


# ---- names


def test_a_name_server_that_is_asked(namespace):
    status = {"state": "ready", "dns64": {"listening": ["127.0.0.1:5353", "[::]:5353"]}}
    look = Look(loads(NO_SYSCTLS + "[dns64]"), {"status": lambda _: status})
    with answering_dns("127.0.0.1", 5353, "64:ff9b::c000:aa", "64:ff9b::c000:ab"):
        first, second = names.made(look)
    assert first == Made("127.0.0.1:5353", True, (ip_network("64:ff9b::/96"),))
    assert (second.server, second.prefixes) == ("[::1]:5353", ())
    assert "ipv4only.arpa" in second.why


@contextmanager
def answering_dns(address: str, port: int, *addresses: str):
    """Answer one question with these AAAA records."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind((address, port))
        one.settimeout(30)

        def answer() -> None:
            query, client = one.recvfrom(512)
            end = query.index(b"\0", 12) + 5
            records = b"".join(
                struct.pack("!HHHIH", 0xC00C, 28, 1, 60, 16) + IPv6Address(text).packed for text in addresses
            )
            head = query[:2] + struct.pack("!HHHHH", 0x8180, 1, len(addresses), 0, 0)
            one.sendto(head + query[12:end] + records, client)

        thread = threading.Thread(target=answer)
        thread.start()
        yield
        thread.join()


def test_ports_that_are_taken(namespace):
    look = Look(loads(NO_SYSCTLS + '[dns64]\nlisten = ["127.0.0.1:53"]'), READERS)
    assert names.taken(look) == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 53))
        (taken,) = names.taken(look)
    assert "UDP port 53 is taken by" in taken.why


# ---- advertisements


def test_a_router_that_is_asked_answers_and_what_was_forwarded_does_not_count(server: Namespace):
    ip("address", "add", "fe80::2/64", "dev", "eth0", "nodad")
    with server:
        ip("address", "add", "fe80::1/64", "dev", "far0", "nodad")
        ip("address", "add", "2001:db8:1::1/64", "dev", "far0", "nodad")
        router = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        router.setsockopt(socket.IPPROTO_ICMPV6, wire.ICMP6_FILTER, wire.passing([133]))
        group = IPv6Address("ff02::2").packed + struct.pack("i", socket.if_nametoindex("far0"))
        router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        router.settimeout(30)
    with router, Listener() as one:
        answers = advertisements.asked(one, ["eth0"], 30)
        one.solicit(["eth0"])
        _, host = router.recvfrom(512)
        for source, hops, prefix in (
            ("fe80::1", 64, "2001:db8:a::"),
            ("2001:db8:1::1", 255, "2001:db8:b::"),
            ("fe80::1", 255, "64:ff9b::"),
        ):
            router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
            sender = IPv6Address(source).packed + struct.pack("i", 0)
            about = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, sender)]
            router.sendmsg([built(Advertisement(0, (Pref64(IPv6Network((prefix, 96)), 600),)))], about, 0, host)
        first = next(answers)
    assert first == Announced("eth0", IPv6Address("fe80::1"), ip_network("64:ff9b::/96"))


def test_links_with_neighbours_are_asked(server, look, monkeypatch):
    ip("address", "add", "fe80::2/64", "dev", "eth0", "nodad")
    asked = []
    monkeypatch.setattr(advertisements, "PATIENCE", 0.0)
    monkeypatch.setattr(Listener, "solicit", lambda _, links: asked.append(list(links)))
    assert advertisements.announced(look) == []
    assert asked == [["eth0"]]
