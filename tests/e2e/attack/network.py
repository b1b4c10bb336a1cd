"""The hosts of the attacks.

    attacker6 ──────┐                                   2001:db8:a::/48, in whose name attacker6 sends
    neighbour6 ─────┤                                   2001:db8:a::10, in a /64 of these
    victim6 ────────┤ gateway ──┬── server4             203.0.113.10: echo, "who am I?", the world's name server
    2001:db8:b::10  │ nat64d    └── attacker4           anybody's addresses
                                                        203.0.113.128/25: silence

nat64d has its default configuration, with a name server and one of the pools.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from nat64d.cli import lab
from nat64d.cli.lab import Lab, Namespace
from nat64d.control.client import Client
from tests.e2e.nameserver import unbound
from tests.e2e.topology import embed, serve

ROOT = Path(__file__).parents[3]  # where the tests are packages

ATTACKERS6, ATTACKER6 = "2001:db8:a::/48", tuple(f"2001:db8:a:{number}::66" for number in range(10))
NEIGHBOUR6, VICTIM6 = "2001:db8:a::10", "2001:db8:b::10"
RESOLVER, SERVER4 = "2001:db8:b::1", "203.0.113.10"
SERVER6 = embed(SERVER4)
ECHO, WHOAMI = "7", "3478"
VIP = "198.51.100.80"  # of a service, whose only server is victim6
POOLS = {"/32": "192.0.2.1/32", "/29": "192.0.2.0/29", "/24": "192.0.2.0/24", "/20": "198.18.0.0/20"}

CONFIG = """
pool6 = "64:ff9b::/96"

[[pool4]]
addresses = "{pool}"

[services]
drain = 0

[[service]]
name = "echo"
ipv4 = "{vip}:7"
endpoints = ["[{victim}]:7"]

[dns64]
listen = ["[{resolver}]:53"]
upstream = ["{server}"]
clients = ["2001:db8::/32"]
"""
WORLD = f"""
  local-zone: "example." redirect
  local-data: "example. 300 IN A {SERVER4}"
"""


class Daemon(lab.Daemon):
    """nat64d as it is without a configuration, but for what CONFIG says."""

    def __init__(self, host: Namespace, directory: Path, pool: str) -> None:
        super().__init__(
            host, directory, CONFIG.format(pool=pool, resolver=RESOLVER, server=SERVER4, vip=VIP, victim=VICTIM6)
        )

    def command(self) -> list[str]:
        file = self.directory / "nat64d.toml"
        file.write_text(f'{self.config}\n[api]\nsocket = "{self.socket}"\n[state]\nkeep = false\n', "utf-8")
        return [*lab.NAT64D, "run", "-c", str(file)]

    def sessions(self) -> int:
        """How many there are."""
        return int(Client(str(self.socket)).document("/v1/status")["sessions"])

    def packets(self, verdict: str) -> int:
        """How many ended so."""
        return sum(row["packets"] for row in self.rows("counters") if row.get("verdict") == verdict)

    def overflowed(self) -> int:
        """Packets that found the queue of the TUN device full."""
        (device,) = json.loads(self.host.ip("-s", "-j", "link", "show", "dev", "nat64"))
        return int(device["stats64"]["tx"]["dropped"])

    def rows(self, listing: str, **filters: str) -> list[dict[str, Any]]:
        """The rows of a listing."""
        return list(Client(str(self.socket)).rows(f"/v1/{listing}", filters))


class Network:
    """The hosts drawn above, and what serves at server4."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        names = ("attacker6", "neighbour6", "victim6", "gateway", "server4", "attacker4")
        self.hosts = {name: lab.namespace(name) for name in names}
        self.attacker6, self.neighbour6, self.victim6, self.gateway, self.server4, self.attacker4 = self.hosts.values()
        self.link_inside(lab)
        self.link_outside(lab)
        serve(self.server4, "tcp_echo", SERVER4, ECHO)
        serve(self.server4, "udp_echo", SERVER4, ECHO)
        serve(self.server4, "udp_whoami", SERVER4, WHOAMI)
        serve(self.victim6, "tcp_echo", VICTIM6, ECHO)
        unbound(self.server4, directory, SERVER4, WORLD)

    def link_inside(self, lab: Lab) -> None:
        lab.link(self.victim6, [f"{VICTIM6}/64"], self.gateway, [f"{RESOLVER}/64"])
        self.victim6.route("default", RESOLVER)
        links = (
            (self.attacker6, "2001:db8:e", ATTACKER6, ATTACKERS6),
            (self.neighbour6, "2001:db8:f", (NEIGHBOUR6,), f"{NEIGHBOUR6}/128"),
        )
        for host, link, addresses, prefix in links:
            lab.link(host, [f"{link}::2/64"], self.gateway, [f"{link}::1/64"])
            for address in addresses:
                host.add_address(f"{address}/128", "lo")
            host.route("default", f"{link}::1", "src", addresses[0])
            self.gateway.route(prefix, f"{link}::2")

    def link_outside(self, lab: Lab) -> None:
        lab.link(self.gateway, ["198.51.100.1/30"], self.server4, ["198.51.100.2/30"])
        lab.link(self.gateway, ["198.51.100.5/30"], self.attacker4, ["198.51.100.6/30"])
        for interface in ("all", self.attacker4.name):
            self.gateway.sysctl(f"net.ipv4.conf.{interface}.rp_filter", 0)
        self.gateway.route("default", "198.51.100.2")
        self.server4.add_address(f"{SERVER4}/32", "lo")
        self.server4.ip("route", "add", "blackhole", "default")
        for pool in ("192.0.2.0/24", POOLS["/20"], f"{VIP}/32"):
            self.server4.route(pool, "198.51.100.1", "src", SERVER4)

    def way(self, host: str) -> tuple[str, str]:
        """How frames get from a host to the gateway: its interface, and the address of the other end."""
        (link,) = json.loads(self.gateway.ip("-j", "link", "show", "dev", host))
        return self.gateway.name, link["address"]


def start(host: Namespace, module: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a program of this package, with pipes. It has a session of its own, and so (autogroup of sched(7)) the CPU
    time that a host would have: what one host does is not taken from another one, or from the gateway."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 1, "cwd": ROOT}
    return host.popen(sys.executable, "-m", f"{__package__}.{module}", *arguments, start_new_session=True, **pipes)
