"""Where it is measured: a client, a server, and between them what is compared, side by side.

    client  2001:db8:1::2 ---- 2001:db8:1::1  gateway  2001:db8:2::1 ---- 2001:db8:2::2  server
                                                       203.0.113.1   ---- 203.0.113.2
    client  198.18.1.2 ------- 198.18.1.1     nat44    198.18.2.1 ------- 198.18.2.2     server

    forwarding   clients send to 2001:db8:2::2, and the kernel routes
    masquerade   clients send to 198.18.2.2; the kernel makes sessions on 198.18.2.1 (nftables, NAT44)
    tayga        clients send to 2001:db8:a::203.0.113.2; tayga maps each to an address of 192.0.2.0/24, statically
    nat64d       clients send to 2001:db8:b::203.0.113.2; sessions on 198.51.100.0/25, without a fast path
    fast path    clients send to 2001:db8:c::203.0.113.2; sessions on 198.51.100.128/25, with one
    fast path at interfaces   to 2001:db8:e::203.0.113.2; sessions on 198.19.0.128/25, also where packets come in
    before       clients send to 2001:db8:d::203.0.113.2; sessions on 198.19.0.0/25, of another checkout of nat64d

Clients are CLIENTS addresses behind the client: hosts of a network that it routes. Masquerading has a gateway of its
own, as it has the kernel look at the connection of every packet that a gateway forwards. What is not measured waits.
The program at the interfaces looks at the frames of other ways as well: some 2 % of what forwarding takes.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path
from typing import NamedTuple

from pyroute2 import NFCTSocket

from nat64d.cli.lab import NAT64D, Daemon, Lab, LabError, Namespace
from nat64d.control.client import WORKING, Client
from tests.bench.path.wire import End
from tests.bench.paths import CLIENT6, NAT64D_POOL6, MissingError, embed, entered, running
from tests.bench.traffic import Address

CLIENTS = 100
CLIENTS6, CLIENTS4 = IPv6Address("2001:db8:c1::1"), IPv4Address("198.18.64.1")  # the first of them
COMPILING = 900.0  # seconds that a cold start may take
SERVER6 = IPv6Address("2001:db8:2::2")
SERVER4, SERVER44 = IPv4Address("203.0.113.2"), IPv4Address("198.18.2.2")
TAYGA_POOL6 = IPv6Network("2001:db8:a::/96")

# UDP ends at the interfaces of both ends, after it has been counted and captured: no stack answers it.
DROP = """
table netdev bench {{
    chain ingress {{
        type filter hook ingress devices = {{ {devices} }} priority 0
        meta l4proto udp drop
    }}
}}"""
MASQUERADE = """
table ip bench {
    chain postrouting {
        type nat hook postrouting priority 100
        oifname "server" masquerade
    }
}"""
TAYGA = """\
tun-device nbtayga
ipv4-addr 192.0.2.254
ipv6-addr 2001:db8:64::1
prefix {pool6}
map 192.0.2.250 {client6}
{maps}
"""
CONFIG = """\
pool6 = "{pool6}"
strict_well_known_prefix = false

[[pool4]]
addresses = "{pool4}"
ports = "1024-65535"

[tun]
name = "{tun}"
ipv6 = "{address}"

[limits]
sessions = {sessions}
"""
MODE = """
[fastpath]
mode = "{mode}"
"""


class Instance(NamedTuple):
    """What one nat64d in the gateway has to itself."""

    name: str
    tun: str
    address: IPv6Address
    pool6: IPv6Network
    pool4: str


TUN = Instance("nat64d", "nboff", IPv6Address("2001:db8:64::2"), NAT64D_POOL6, "198.51.100.0/25")
FAST = Instance("fast path", "nbon", IPv6Address("2001:db8:64::3"), IPv6Network("2001:db8:c::/96"), "198.51.100.128/25")
AT = Instance(
    *("fast path at interfaces", "nbat"),
    *(IPv6Address("2001:db8:64::5"), IPv6Network("2001:db8:e::/96"), "198.19.0.128/25"),
)
BEFORE = Instance("before", "nbbefore", IPv6Address("2001:db8:64::4"), IPv6Network("2001:db8:d::/96"), "198.19.0.0/25")


class Network(NamedTuple):
    """The namespaces, and the ends of their links."""

    client: Namespace
    gateway: Namespace
    nat44: Namespace
    server: Namespace
    ends: dict[tuple[str, str], End]  # by namespace and the one at the other end


class Way(NamedTuple):
    """One way to compare."""

    name: str
    hosts: list[Address]  # the clients
    target: Address  # the server, as clients see it
    server: Address  # the server, as it sees itself
    client_end: End
    server_end: End
    client_gateway: bytes  # Ethernet addresses of what is between them
    server_gateway: bytes
    forget: Callable[[], None] | None = None  # ends all sessions

    @property
    def width(self) -> tuple[int, int]:
        """Octets of an address at the client and at the server."""
        return len(self.target.packed), len(self.server.packed)


@contextmanager
def network() -> Iterator[Network]:
    """The topology above, routed."""
    with Lab("path") as lab:
        client, gateway, nat44, server = (lab.namespace(name) for name in ("client", "gateway", "nat44", "server"))
        lab.link(client, [f"{CLIENT6}/64"], gateway, ["2001:db8:1::1/64"])
        lab.link(server, [f"{SERVER6}/64", f"{SERVER4}/24"], gateway, ["2001:db8:2::1/64", "203.0.113.1/24"])
        lab.link(client, ["198.18.1.2/24"], nat44, ["198.18.1.1/24"])
        lab.link(server, ["198.18.2.2/24"], nat44, ["198.18.2.1/24"])
        client.route("default", "2001:db8:1::1")
        client.route("198.18.2.0/24", "198.18.1.1")
        server.route("default", "2001:db8:2::1")
        for pool4 in ("192.0.2.0/24", "198.51.100.0/24", AT.pool4, BEFORE.pool4):
            server.route(pool4, "203.0.113.1")
        gateway.route(f"{CLIENTS6}/112".replace("::1/", "::/"), str(CLIENT6))
        nat44.route(f"{CLIENTS4}/24".replace(".1/", ".0/"), "198.18.1.2")
        gateway.forward()
        nat44.forward()
        ends = {}
        for host in (client, server):
            host.run("nft", "-f", "-", stdin=DROP.format(devices="gateway, nat44"))
        for host, other in ((client, gateway), (client, nat44), (server, gateway), (server, nat44)):
            for at, towards in ((host, other), (other, host)):
                with entered(at):
                    ends[at.name, towards.name] = End(towards.name)
        try:
            yield Network(client, gateway, nat44, server, ends)
        finally:
            for end in ends.values():
                end.close()


def way(network: Network, name: str, target: Address, server: Address, forget: Callable[[], None] | None = None) -> Way:
    """A way through the gateway, or through the other one where the target is an IPv4 address."""
    middle = "gateway" if target.version == 6 else "nat44"
    first: Address = CLIENTS6 if target.version == 6 else CLIENTS4
    ends = network.ends
    return Way(
        name,
        [first + number for number in range(CLIENTS)],
        target,
        server,
        ends["client", middle],
        ends["server", middle],
        ends[middle, "client"].mac(),
        ends[middle, "server"].mac(),
        forget,
    )


@contextmanager
def forwarding(network: Network, directory: Path, sessions: int) -> Iterator[Way]:
    """IPv6 forwarding by the kernel. No translation: the limit."""
    yield way(network, "forwarding", SERVER6, SERVER6)


@contextmanager
def masquerade(network: Network, directory: Path, sessions: int) -> Iterator[Way]:
    """NAT44 by the kernel."""
    if not shutil.which("nft"):
        raise MissingError("nft is not installed (apt-get install nftables)")
    network.nat44.run("nft", "-f", "-", stdin=MASQUERADE)

    def forget() -> None:
        with entered(network.nat44), NFCTSocket() as conntrack:
            conntrack.flush()

    yield way(network, "masquerade", SERVER44, SERVER44, forget)


@contextmanager
def tayga(network: Network, directory: Path, sessions: int) -> Iterator[Way]:
    """Debian's tayga, a static mapping for each client. MissingError if it is not installed."""
    if not shutil.which("tayga"):
        raise MissingError("tayga is not installed (apt-get install tayga)")
    config = directory / "tayga.conf"
    maps = "\n".join(f"map 192.0.2.{number + 1} {CLIENTS6 + number}" for number in range(CLIENTS))
    config.write_text(TAYGA.format(pool6=TAYGA_POOL6, client6=CLIENT6, maps=maps))
    network.gateway.run("tayga", "--mktun", "-c", str(config))
    network.gateway.ip("link", "set", "nbtayga", "up")
    for prefix in (str(TAYGA_POOL6), "192.0.2.0/24"):
        network.gateway.ip("route", "add", prefix, "dev", "nbtayga")
    with running(network.gateway, directory / "tayga.log", "tayga", "--nodetach", "-c", str(config)):
        yield way(network, "tayga", embed(TAYGA_POOL6, SERVER4), SERVER4)


def nat64d(network: Network, directory: Path, sessions: int) -> AbstractContextManager[Way]:
    """nat64d, stateful, as its defaults have it."""
    return _instance(network, directory, sessions, TUN, MODE.format(mode="off"))


def fastpath(network: Network, directory: Path, sessions: int) -> AbstractContextManager[Way]:
    """The same with a fast path."""
    return _instance(network, directory, sessions, FAST, MODE.format(mode="on"))


def at_interfaces(network: Network, directory: Path, sessions: int) -> AbstractContextManager[Way]:
    """The same with one that takes packets where they come in."""
    return _instance(network, directory, sessions, AT, MODE.format(mode="on") + 'interfaces = ["client", "server"]\n')


def before(checkout: Path, network: Network, directory: Path, sessions: int) -> AbstractContextManager[Way]:
    """nat64d of another checkout, without a fast path."""
    known = (checkout / "config/nat64d.toml").read_text("utf-8")  # has every key there is
    mode = MODE.format(mode="off") if "[fastpath]" in known else ""
    return _instance(network, directory, sessions, BEFORE, mode, [str(checkout / ".venv/bin/nat64d")])


@contextmanager
def _instance(
    network: Network, directory: Path, sessions: int, its: Instance, more: str, program: Sequence[str] = NAT64D
) -> Iterator[Way]:
    """nat64d, compiled: a first start translates in plain Python. MissingError if it does not become ready."""
    directory = directory / its.tun
    directory.mkdir()
    config = CONFIG.format(**its._asdict(), sessions=sessions) + more
    daemon = Daemon(network.gateway, directory, config, program=program)
    try:
        try:
            network.gateway.run(*program, "compile", timeout=COMPILING)
            daemon.start()
        except LabError as error:
            raise MissingError(str(error)) from error

        def forget() -> None:
            Client(str(daemon.socket), WORKING).sent("DELETE", "/v1/sessions", query={"all": "true"})

        yield way(network, its.name, embed(its.pool6, SERVER4), SERVER4, forget)
    finally:
        if daemon.process is not None:
            daemon.stop()


Make = Callable[[Network, Path, int], AbstractContextManager[Way]]
WAYS: dict[str, Make] = {
    "forwarding": forwarding,
    "masquerade": masquerade,
    "tayga": tayga,
    "nat64d": nat64d,
    "fast path": fastpath,
    "fast path at interfaces": at_interfaces,
}
