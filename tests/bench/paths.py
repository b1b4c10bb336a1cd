"""The ways from client to server that are compared, side by side in one gateway, idle while another is measured.

    client  2001:db8:1::2 ------ 2001:db8:1::1  gateway  2001:db8:2::1 ------ 2001:db8:2::2  server
                                                         203.0.113.1   ------ 203.0.113.2

    forwarding   the client sends to 2001:db8:2::2              the kernel routes
    tayga        the client sends to 2001:db8:a::203.0.113.2    tayga maps it to 192.0.2.1, statically
    nat64d       the client sends to 2001:db8:b::203.0.113.2    nat64d makes sessions on 192.0.2.2

The well-known prefix would not do: documentation addresses are not global (RFC 6052 3.1).
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path
from typing import NamedTuple

from pyroute2 import netns

from nat64d.cli.lab import Lab, Namespace
from tests.bench.traffic import ETHERNET, IPV4, IPV6, UDP, Address, Cpu, process_cpu

CLIENT6, SERVER6 = IPv6Address("2001:db8:1::2"), IPv6Address("2001:db8:2::2")
SERVER4 = IPv4Address("203.0.113.2")
TAYGA_POOL6, NAT64D_POOL6 = IPv6Network("2001:db8:a::/96"), IPv6Network("2001:db8:b::/96")
READY_WITHIN = 240  # seconds nat64d may take to start: a cold start compiles

TAYGA = """\
tun-device nbtayga
ipv4-addr 192.0.2.254
ipv6-addr 2001:db8:64::1
prefix {pool6}
map 192.0.2.1 {client6}
"""
NAT64D = """\
pool6 = "{pool6}"
strict_well_known_prefix = false

[[pool4]]
addresses = "192.0.2.2/32"
ports = "1024-65535"

[tun]
name = "nbnat64d"
ipv6 = "2001:db8:64::2"

[state]
keep = false  # the file would be on a disk

[host]
masquerade = "off"

[api]
socket = "{directory}/api.sock"
http = ""
"""


class Hosts(NamedTuple):
    """The three namespaces."""

    client: Namespace
    gateway: Namespace
    server: Namespace


class Way(NamedTuple):
    """One way to compare: where the client sends to, and what the translator costs."""

    name: str
    target: Address  # the server, as the client sees it
    server: Address  # the server, as it sees itself
    cpu: Cpu

    @property
    def server_header(self) -> int:
        """Octets before the payload of a UDP frame that arrives at the server; at the client it is always IPv6."""
        return ETHERNET + (IPV4 if self.server.version == 4 else IPV6) + UDP


class MissingError(Exception):
    """A way that cannot be measured here, in one sentence."""


def build(lab: Lab) -> Hosts:
    """The topology above, routed."""
    hosts = Hosts(lab.namespace("client"), lab.namespace("gateway"), lab.namespace("server"))
    lab.link(hosts.client, [f"{CLIENT6}/64"], hosts.gateway, ["2001:db8:1::1/64"])
    lab.link(hosts.server, [f"{SERVER6}/64", f"{SERVER4}/24"], hosts.gateway, ["2001:db8:2::1/64", "203.0.113.1/24"])
    hosts.client.route("default", "2001:db8:1::1")
    hosts.server.route("2001:db8:1::/64", "2001:db8:2::1")
    hosts.server.route("192.0.2.0/24", "203.0.113.1")
    hosts.gateway.forward()
    return hosts


@contextmanager
def entered(namespace: Namespace) -> Iterator[None]:
    """This thread in a namespace; sockets made meanwhile stay there."""
    netns.pushns(namespace.netns)
    try:
        yield
    finally:
        netns.popns()


def embed(pool6: IPv6Network, host4: IPv4Address) -> IPv6Address:
    """RFC 6052 2.2 for a /96."""
    return IPv6Address(int(pool6.network_address) | int(host4))


@contextmanager
def running(namespace: Namespace, log: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A program in a namespace, ended at the end; what it prints goes to a file."""
    with log.open("w") as output:
        process = namespace.popen(*command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def forwarding(hosts: Hosts, directory: Path) -> Iterator[Way]:
    """No translation: the limit."""
    yield Way("forwarding", SERVER6, SERVER6, lambda: 0.0)


@contextmanager
def tayga(hosts: Hosts, directory: Path) -> Iterator[Way]:
    """Debian's tayga, one static mapping. MissingError if it is not installed."""
    if not shutil.which("tayga"):
        raise MissingError("tayga is not installed (apt-get install tayga)")
    config = directory / "tayga.conf"
    config.write_text(TAYGA.format(pool6=TAYGA_POOL6, client6=CLIENT6))
    hosts.gateway.run("tayga", "--mktun", "-c", str(config))
    hosts.gateway.ip("link", "set", "nbtayga", "up")
    for prefix in (str(TAYGA_POOL6), "192.0.2.1/32"):
        hosts.gateway.ip("route", "add", prefix, "dev", "nbtayga")
    with running(hosts.gateway, directory / "tayga.log", "tayga", "--nodetach", "-c", str(config)) as process:
        yield Way("tayga", embed(TAYGA_POOL6, SERVER4), SERVER4, lambda: process_cpu(process.pid))


@contextmanager
def nat64d(hosts: Hosts, directory: Path) -> Iterator[Way]:
    """nat64d, stateful, as its defaults have it. MissingError with the end of its log if it does not become ready."""
    config, log = directory / "nat64d.toml", directory / "nat64d.log"
    config.write_text(NAT64D.format(pool6=NAT64D_POOL6, directory=directory))
    program = (sys.executable, "-m", "nat64d")
    with running(hosts.gateway, log, *program, "run", "-c", str(config)) as process:
        ready = [*program, "status", "--wait", "2", "--socket", f"{directory}/api.sock"]
        give_up = time.monotonic() + READY_WITHIN
        while subprocess.run(ready, check=False, capture_output=True).returncode:
            if process.poll() is not None or time.monotonic() > give_up:
                raise MissingError(f"nat64d did not start: {log.read_text()[-2000:].strip() or 'it printed nothing'}")
        yield Way("nat64d", embed(NAT64D_POOL6, SERVER4), SERVER4, lambda: process_cpu(process.pid))


WAYS: dict[str, Callable[[Hosts, Path], AbstractContextManager[Way]]] = {
    f.__name__: f for f in (forwarding, tayga, nat64d)
}
