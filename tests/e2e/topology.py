"""The networks of the end-to-end tests, and the daemon in the middle of them.

    client6a
       │::10
       │    2001:db8:a::/64
       │::1                              nat64d
    router6 ── 2001:db8:6::/64 ── gateway ── 198.51.100.0/24 ── router4 ── 203.0.113.0/24 ── server4
       │::1   ::1             ::2         .1                .2         .1               .10
       │    2001:db8:b::/64
       │::10
    client6b                      pool4 is 192.0.2.1–4; nat64d itself is 192.0.2.254 and 2001:db8:64::1

IPv6 only to the left of the gateway, IPv4 only to the right. The link between two neighbours is called by their names,
so `router6` is also the gateway's interface towards it.
"""

import hashlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from nat64d.cli import lab
from nat64d.cli.lab import Lab, Namespace

CLIENT6A, CLIENT6B = "2001:db8:a::10", "2001:db8:b::10"
ROUTER6, GATEWAY6 = "2001:db8:a::1", "2001:db8:6::2"  # as client6a sees them
GATEWAY4, ROUTER4, SERVER4 = "198.51.100.1", "203.0.113.1", "203.0.113.10"
ROUTER4_OUTSIDE = "198.51.100.2"
POOL4 = ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
FORWARD4 = "192.0.2.1"  # the pool4 address with the static entries
NAT64D6, NAT64D4 = "2001:db8:64::1", "192.0.2.254"
RFC6791 = "192.0.2.128/26"  # stands for IPv6 routers, which have no IPv4 address
POOL6 = "64:ff9b::"

PROGRAMS = Path(__file__).with_name("programs.py")

CONFIG = f"""
pool6 = "{POOL6}/96"
strict_well_known_prefix = false  # the addresses of this network are documentation addresses

[[pool4]]
addresses = "{POOL4[0]}-{POOL4[-1]}"

[[forward]]
protocol = "tcp"
ipv4 = "{FORWARD4}:80"
ipv6 = "[{CLIENT6B}]:8080"

[[forward]]
protocol = "tcp"
ipv4 = "{FORWARD4}:9"
ipv6 = "[{CLIENT6B}]:9009"

[[forward]]
protocol = "udp"
ipv4 = "{FORWARD4}:7"
ipv6 = "[{CLIENT6B}]:7007"

[[forward]]
protocol = "udp"
ipv4 = "{FORWARD4}:9"
ipv6 = "[{CLIENT6B}]:9009"

[[forward]]
protocol = "icmp"
ipv4 = "{FORWARD4}:4242"
ipv6 = "[{CLIENT6B}]:4242"

[translation]
rfc6791_ipv4 = ["{RFC6791}"]

[tun]
ipv4 = "{NAT64D4}"
ipv6 = "{NAT64D6}"
"""


def embed(address: str) -> str:
    """The IPv6 address that stands for an IPv4 address (RFC 6052)."""
    return str(IPv6Address(int(IPv6Address(POOL6)) + int(IPv4Address(address))))


class Topology:
    """The network drawn above, without its daemon."""

    def __init__(self, lab: Lab) -> None:
        names = ("client6a", "client6b", "router6", "gateway", "router4", "server4")
        hosts = [lab.namespace(name) for name in names]
        self.client6a, self.client6b, self.router6, self.gateway, self.router4, self.server4 = hosts
        lab.link(self.client6a, [f"{CLIENT6A}/64"], self.router6, [f"{ROUTER6}/64"])
        lab.link(self.client6b, [f"{CLIENT6B}/64"], self.router6, ["2001:db8:b::1/64"])
        lab.link(self.router6, ["2001:db8:6::1/64"], self.gateway, [f"{GATEWAY6}/64"])
        lab.link(self.gateway, [f"{GATEWAY4}/24"], self.router4, [f"{ROUTER4_OUTSIDE}/24"])
        lab.link(self.router4, [f"{ROUTER4}/24"], self.server4, [f"{SERVER4}/24"])
        self.client6a.route("default", ROUTER6)
        self.client6b.route("default", "2001:db8:b::1")
        self.router6.route("default", GATEWAY6)
        self.gateway.route("2001:db8:a::/64", "2001:db8:6::1")
        self.gateway.route("2001:db8:b::/64", "2001:db8:6::1")
        self.gateway.route("default", ROUTER4_OUTSIDE)
        self.router4.route("192.0.2.0/24", GATEWAY4)
        self.server4.route("default", ROUTER4)
        self.router6.forward()
        self.router4.forward()
        for router in (self.router6, self.router4):  # traceroute asks faster than routers like to answer
            router.sysctl("net.ipv4.icmp_ratelimit", 0)
            router.sysctl("net.ipv6.icmp.ratelimit", 0)

    def set_mtu(self, left: Namespace, right: Namespace, mtu: int) -> None:
        """Set the MTU of the link between two neighbours."""
        left.ip("link", "set", right.name, "mtu", str(mtu))
        right.ip("link", "set", left.name, "mtu", str(mtu))

    def forget_paths(self) -> None:
        """Let every host forget the path MTUs it has learnt."""
        for host in (self.client6a, self.client6b, self.gateway, self.server4):
            host.ip("-4", "route", "flush", "cache")
            host.ip("-6", "route", "flush", "cache")


class Daemon(lab.Daemon):
    """nat64d with the configuration above, unless told otherwise."""

    def __init__(self, host: Namespace, directory: Path, config: str = CONFIG, keep: bool = False) -> None:
        super().__init__(host, directory, config, keep)

    def rows(self, listing: str, *filters: str) -> list[dict[str, Any]]:
        """The rows of a listing: sessions, bib, pools, counters."""
        listed = self.ask(listing, "--json", *filters)
        assert listed.returncode == 0, listed.stderr
        return [json.loads(line) for line in listed.stdout.splitlines()]


def eventually(holds: Callable[[], bool], daemon: Daemon, seconds: float = 60.0) -> None:
    """Fail, with what the daemon says, unless it comes true in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{daemon.said()}\n{daemon.ask('status').stdout}"
        time.sleep(0.1)


def learnt(host: Namespace, destination: str) -> int | None:
    """The path MTU a host has learnt for a destination, None when it has learnt none."""
    (route,) = json.loads(host.ip("-j", "route", "get", destination))
    for metrics in route.get("metrics", []):
        if "mtu" in metrics:
            return int(metrics["mtu"])
    return None


def serve(host: Namespace, program: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a server of programs.py and wait until it listens."""
    server = talk(host, program, *arguments)
    assert hear(server) == "listening"
    return server


def talk(host: Namespace, program: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a program of programs.py whose standard input and output are pipes."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 1}
    return host.popen(sys.executable, str(PROGRAMS), program, *arguments, **pipes)


def hear(program: subprocess.Popen[str], timeout: float = 20.0) -> str:
    """The next line a program prints."""
    assert program.stdout is not None
    readable, _, _ = select.select([program.stdout], [], [], timeout)
    assert readable, f"{program.args!r} printed nothing within {timeout:g} s"
    return program.stdout.readline().strip()


def tell(program: subprocess.Popen[str], *words: str | float) -> None:
    """Give an interactive program a line."""
    assert program.stdin is not None
    program.stdin.write(json.dumps(words) + "\n")
    program.stdin.flush()


def run(host: Namespace, program: str, *arguments: str, timeout: float = 60.0) -> dict[str, Any]:
    """Run a program of programs.py to its end and give back the object it printed."""
    done = host.run(sys.executable, str(PROGRAMS), program, *arguments, timeout=timeout)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def random_file(path: Path, megabytes: int) -> str:
    """Write that many MB (10^6 octets) of random octets, no two blocks alike; gives back their SHA-256."""
    digest, block = hashlib.sha256(), os.urandom(1_000_000 - 8)
    with path.open("wb") as file:
        for number in range(megabytes):
            chunk = number.to_bytes(8, "big") + block
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def sha256(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def traces(host: Namespace) -> dict[str, str]:
    """Everything in a namespace that a daemon might leave behind, as text to compare."""
    commands = {
        "links": "ip -d link show",
        "addresses": "ip address show",
        "routes": "ip -4 route show table all",
        "routes6": "ip -6 route show table all",
        "rules": "ip -4 rule show",
        "rules6": "ip -6 rule show",
        "nftables": "nft list ruleset",
        "sysctls": "grep -rs . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf /proc/sys/net/ipv4/ip_forward",
    }
    return {name: host.run(*command.split(), check=name != "sysctls").stdout for name, command in commands.items()}
