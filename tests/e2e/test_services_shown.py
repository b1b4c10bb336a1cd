"""[[service]], shown: two gateways with the same services, and servers that do all that real ones do.

The network of topology.py, with `gateway2` beside `gateway`, between the same routers. The servers are addresses of
client6b; clients are addresses of server4.
"""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from nat64d.cli.lab import Lab, Namespace
from tests.bench.paths import entered
from tests.e2e.nameserver import unbound
from tests.e2e.test_services import SERVERS, ask, start
from tests.e2e.topology import CLIENT6B, GATEWAY6, POOL4, SERVER4, Daemon, Topology, embed, eventually, hear, run, serve

pytestmark = pytest.mark.e2e

VIP, OTHER, EAM4 = "192.0.2.80", "192.0.2.81", "192.0.2.90"
CLIENTS = [f"203.0.114.{number}" for number in range(1, 5)]  # of another /24 than SERVER4
ONE, TWO = SERVERS[:2]
FEW = 12  # packets that are shown
CONFIG = f"""
pool6 = "64:ff9b::/96"
strict_well_known_prefix = false

[[pool4]]
addresses = "{{pool}}"

[[eam]]
ipv4 = "{EAM4}"
ipv6 = "{TWO}"

[services]
drain = 0

[tun]
ipv4 = "{{own}}"

[dns64]
listen = ["[{GATEWAY6}]:53"]
upstream = ["{SERVER4}"]
clients = ["2001:db8::/32"]
"""


def service(name: str, front: str, members: list[str], protocol: str = "tcp", more: str = "") -> str:
    return f"""
[[service]]
name = "{name}"
protocol = "{protocol}"
ipv4 = "{front}"
endpoints = {json.dumps(members)}
{more}
"""


def at(port: int, *servers: str) -> list[str]:
    return [f"[{server}]:{port}" for server in servers]


WEB = service("web", f"{VIP}:80", at(8080, *SERVERS))
ALONE = service("alone", f"{VIP}:82", at(8080, ONE)) + service("with-eam", f"{VIP}:83", at(8080, TWO))
AGAIN = service("again", f"{OTHER}:80", at(8080, ONE)) + service("third", f"{VIP}:81", at(8080, ONE))
ALL = WEB + ALONE + AGAIN


def dns(*servers: str) -> str:
    return service("dns", f"{VIP}:53", at(53, *servers), "udp")


class Both(Topology):
    """The network with two gateways, of which `use` says by which one the services are reached."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.gateway2 = lab.namespace("gateway2")
        lab.link(self.router6, ["2001:db8:7::1/64"], self.gateway2, ["2001:db8:7::2/64"])
        lab.link(self.gateway2, ["198.51.101.1/24"], self.router4, ["198.51.101.2/24"])
        self.gateway2.route("2001:db8:b::/64", "2001:db8:7::1")
        self.gateway2.route("default", "198.51.101.2")
        self.router4.route("203.0.114.0/24", SERVER4)
        for server in SERVERS:
            self.client6b.ip("address", "add", f"{server}/64", "dev", "router6", "nodad")
        for client in CLIENTS:
            self.server4.add_address(f"{client}/32", "lo")

    def use(self, second: bool) -> None:
        """Reach the services by the one gateway or the other, and so back."""
        self.router4.route("192.0.2.80/31", "198.51.101.1" if second else "198.51.100.1")
        self.router6.route("64:ff9b::/96", "2001:db8:7::2" if second else GATEWAY6)


class Gateways:
    """Their daemons."""

    def __init__(self, net: Both, directory: Path) -> None:
        self.daemons = []
        for host, pool in ((net.gateway, f"{POOL4[0]}-{POOL4[-1]}"), (net.gateway2, "192.0.2.64")):
            own = directory / host.name
            own.mkdir()
            base = CONFIG.format(pool=pool, own="192.0.2.254" if host is net.gateway else "192.0.2.253")
            if host is not net.gateway:
                base = base.partition("[dns64]")[0]
            self.daemons.append((Daemon(host, own, base + ALL + dns(*SERVERS)).start(), base))

    def serve(self, *services: str) -> None:
        """Both have these services from now on."""
        for daemon, base in self.daemons:
            daemon.config = base + "".join(services)
            daemon.command()
            told = daemon.ask("reload")
            assert told.returncode == 0, told.stderr


@pytest.fixture(scope="module")
def net(namespaces: None) -> Iterator[Both]:
    with Lab("shown") as lab:
        net = Both(lab)
        for port in (8080, 53):
            assert hear(start(net.client6b, "servers", str(port), *SERVERS)) == "listening"
        serve(net.server4, "udp_whoami", SERVER4, "3478")
        yield net


@pytest.fixture(scope="module")
def gateways(net: Both, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    gateways = Gateways(net, tmp_path_factory.mktemp("shown"))
    yield gateways
    for daemon, _ in gateways.daemons:
        assert daemon.stop() == 0, daemon.said()


@pytest.fixture(autouse=True)
def as_they_were(net: Both, gateways: Gateways) -> Iterator[None]:
    yield
    net.use(second=False)
    if not all(daemon.config == base + ALL + dns(*SERVERS) for daemon, base in gateways.daemons):
        gateways.serve(ALL, dns(*SERVERS))


def went_to(net: Both, client: str, first: int, count: int, front: str = VIP, port: str = "80") -> dict[str, int]:
    """How many connections of a client each server had; none failed, and they saw the client."""
    found = ask(net.server4, "connections", front, port, str(first), str(count), client)
    assert (found["failed"], found["clients"]) == ({}, {embed(client): count})
    servers: dict[str, int] = found["servers"]
    return servers


def asked(net: Both, port: int, front_port: str = "53") -> dict[str, Any]:
    """The answer to a datagram from this port."""
    return ask(net.server4, "datagram", VIP, front_port, str(port), "60")


End = tuple[str, int]


class Shown(NamedTuple):
    """A packet: who sent it, to whom, and what else must be the same on both sides."""

    src: End
    dst: End
    content: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.src[0]} {self.src[1]} > {self.dst[0]} {self.dst[1]} {self.content[0]}"


class Taps:
    """What passes meanwhile the link of the IPv4 client, and that of the servers."""

    def __init__(self, net: Both) -> None:
        self.taps = []
        for host, device in ((net.server4, "router4"), (net.client6b, "router6")):
            with entered(host):
                tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
                tap.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
                tap.bind((device, 3))  # ETH_P_ALL
            self.taps.append(tap)
        self.seen: tuple[list[Shown], list[Shown]] = [], []

    def look(self) -> None:
        for tap, seen in zip(self.taps, self.seen, strict=True):
            while True:
                try:
                    octets = tap.recv(65535)
                except BlockingIOError:
                    break
                if found := shown(octets):
                    seen.append(found)

    def compare(self, gateways: Gateways, ends: dict[End, End], ports: set[int] | None = None) -> None:
        """Each packet of one side is one of the other, of those with one of the `ends`, and with one of some ports.
        `ends`: what a transport address of the IPv4 side is on the other one, where others are written under pool6."""

        def as6(end: End) -> End:
            return ends.get(end, (embed(end[0]), end[1]))

        def same() -> bool:
            self.look()
            four, six = (
                [
                    one
                    for one in side
                    if {one.src, one.dst} & known and (ports is None or {one.src[1], one.dst[1]} & ports)
                ]
                for side, known in zip(self.seen, (set(ends), set(ends.values())), strict=True)
            )
            pairs[:] = [(one, Shown(as6(one.src), as6(one.dst), one.content)) for one in four]
            return len(four) > 0 and sorted(other for _, other in pairs) == sorted(six)

        pairs: list[tuple[Shown, Shown]] = []
        try:
            eventually(same, gateways.daemons[0][0], 10)
        finally:
            for tap in self.taps:
                tap.close()
            for one, other in pairs[:FEW]:
                print(f"{one!s:60} | {other}")


def shown(octets: bytes) -> Shown | None:
    """A TCP segment or a UDP datagram."""
    if octets[0] >> 4 not in {4, 6}:
        return None
    packet = (IP if octets[0] >> 4 == 4 else IPv6)(octets)
    for kind, about in ((TCP, ("flags", "seq", "ack")), (UDP, ("len",))):
        if kind in packet:
            over = packet[kind]
            content = (*(str(over.getfieldval(name)) for name in about), bytes(over.payload))
            return Shown((packet.src, over.sport), (packet.dst, over.dport), content)
    return None


def test_a_filter_for_a_prefix_of_clients_at_a_server_stops_exactly_those(net: Both, gateways: Gateways) -> None:
    rule = f"ip6 daddr {ONE} ip6 saddr {embed('203.0.114.0')}/120 tcp dport 8080 reject with tcp reset"
    before = went_to(net, CLIENTS[0], 20000, 200)
    chain = f"table ip6 filter {{\n chain input {{\n type filter hook input priority 0\n {rule}\n }}\n }}\n"
    net.client6b.run("nft", "-f", "-", stdin=chain)
    try:
        found = ask(net.server4, "connections", VIP, "80", "21000", "200", CLIENTS[0])
        other = went_to(net, SERVER4, 21000, 200)
    finally:
        net.client6b.run("nft", "delete table ip6 filter")
    assert ONE not in found["servers"]
    assert 20 < found["failed"]["ConnectionRefusedError"] < 60, found
    assert sum(found["servers"].values()) == 200 - found["failed"]["ConnectionRefusedError"]
    assert set(before) == set(other) == set(SERVERS)


def test_a_client_stays_at_its_server_through_another_gateway_and_when_servers_are_added(
    net: Both, gateways: Gateways
) -> None:
    def sticky(*servers: str) -> str:
        return service("web", f"{VIP}:80", at(8080, *servers), more='affinity = "client"')

    gateways.serve(sticky(*SERVERS[:3]))
    (home,) = went_to(net, CLIENTS[0], 10000, 1000)
    homes = [home, *(next(iter(went_to(net, client, 10000, 50))) for client in CLIENTS[1:])]
    net.use(second=True)
    assert went_to(net, CLIENTS[0], 12000, 1000) == {home: 1000}
    gateways.serve(sticky(*SERVERS))
    for client, there in zip(CLIENTS, homes, strict=True):
        assert next(iter(went_to(net, client, 14000, 1))) in ({there} if client == CLIENTS[0] else SERVERS)
    net.use(second=False)
    assert went_to(net, CLIENTS[0], 15000, 1000) == {home: 1000}
    assert [went_to(net, client, 17000, 20) for client in CLIENTS] == [{there: 20} for there in homes]
    said = gateways.daemons[0][0].ask("explain", "--live", f"{CLIENTS[1]} > {VIP} tcp 999 80 flags S").stdout
    assert "where this client has been before (affinity)" in said
    gateways.serve(ALL)
    spread = [went_to(net, client, 18000, 20) for client in CLIENTS]
    assert all(len(servers) > 1 for servers in spread)


def test_a_name_server_is_replaced_and_the_last_one_goes(net: Both, gateways: Gateways) -> None:
    gateways.serve(dns(ONE))
    assert [asked(net, port)["server"] for port in (30000, 30001)] == [ONE, ONE]
    gateways.serve(dns(TWO))
    assert [asked(net, port)["server"] for port in (30000, 30001)] == [TWO, TWO]
    gateways.serve(dns(), service("web", f"{VIP}:80", []))
    daemon = gateways.daemons[0][0]
    arrived = received(net.client6b)
    assert [asked(net, port) for port in (30000, 30002)] == [{"failed": "ConnectionRefusedError"}] * 2
    assert ask(net.server4, "connections", VIP, "80", "30000", "1")["failed"] == {"ConnectionRefusedError": 1}
    assert received(net.client6b) == arrived
    assert daemon.rows("sessions", "--mapped4", VIP, "--proto", "udp") == []
    gateways.serve(dns(TWO), service("web", f"{VIP}:80", at(8080, TWO)))
    assert asked(net, 30000)["server"] == TWO
    assert went_to(net, SERVER4, 30000, 1) == {TWO: 1}


def received(host: Namespace) -> int:
    """Packets that a host has received over IPv6."""
    text = host.run("cat", "/proc/net/snmp6").stdout
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Udp6InDatagrams "))


def test_a_server_that_asks_from_its_service_port_is_two_things(net: Both, gateways: Gateways) -> None:
    """It answers as the service, and what it asks itself leaves by pool4, or as its [[eam]] says."""
    gateways.serve(service("odd", f"{VIP}:5300", at(5300, ONE, TWO), "udp"))
    for server, seen in ((ONE, POOL4), (TWO, [EAM4])):
        taps = Taps(net)
        peer = net.client6b.popen("python3", "-c", PEER, server, embed(SERVER4), stdin=-1, stdout=-1, bufsize=1)
        address, port = json.loads(hear(peer))
        assert address in seen
        assert port == 5300 or server == ONE
        ports = [port for port in range(31000, 31010) if asked_peer(net, port) == server]
        assert len(ports) > 1
        taps.look()
        taps.compare(gateways, {(VIP, 5300): (server, 5300), (address, port): (server, 5300)}, {*ports, 3478})
        peer.kill()
        peer.communicate()


PEER = """
import json, socket, sys
own, other = sys.argv[1:]
peer = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
peer.bind((own, 5300))
peer.settimeout(10)
peer.sendto(b"who am I?", (other, 3478))
print(peer.recv(100).decode(), flush=True)
peer.settimeout(None)
while True:
    data, client = peer.recvfrom(2000)
    peer.sendto(json.dumps([own, client[0]]).encode(), client)
"""


def asked_peer(net: Both, port: int) -> str | None:
    """Who answers at VIP:5300; nobody where it is the server that does not run."""
    answer = asked(net, port, "5300")
    assert answer.get("client", embed(SERVER4)) == embed(SERVER4)
    server: str | None = answer.get("server")
    return server


def test_one_server_of_two_addresses_and_of_two_ports_of_one(net: Both, gateways: Gateways) -> None:
    fronts = (VIP, "82"), (OTHER, "80"), (VIP, "81")
    taps = Taps(net)
    for number, (front, port) in enumerate(fronts):
        assert went_to(net, SERVER4, 32000 + 100 * number, 50, front, port) == {ONE: 50}
    assert went_to(net, SERVER4, 33000, 50, VIP, "83") == {TWO: 50}  # it has an [[eam]], and answers as the service
    ends = {(front, int(port)): (ONE, 8080) for front, port in fronts}
    taps.compare(gateways, {**ends, (VIP, 83): (TWO, 8080)})


def test_a_server_reaches_its_own_service_by_name(net: Both, gateways: Gateways, tmp_path: Path) -> None:
    zone = f'local-zone: "example." redirect\nlocal-data: "example. 300 IN A {VIP}"'
    unbound(net.server4, tmp_path, SERVER4, zone)
    net.client6b.use_resolver(GATEWAY6, tmp_path)
    curl = ("curl", "-sS", "--max-time", "10", "--interface", ONE, "http://web.example:82/")
    server, client = json.loads(net.client6b.run(*curl).stdout)
    assert server == ONE
    assert client in {embed(address) for address in POOL4}


@pytest.mark.parametrize("order", ["2,1,0", "1,2,0"])
def test_a_datagram_whose_first_fragment_comes_last(net: Both, gateways: Gateways, order: str) -> None:
    gateways.serve(service("echo", f"{VIP}:7", at(7007, CLIENT6B), "udp"))
    echo = serve(net.client6b, "udp_echo", CLIENT6B, "7007")
    try:
        assert run(net.server4, "udp_pieces", VIP, "7", "4000", order, "with")["came_back"]
    finally:
        echo.kill()
        echo.communicate()


def test_mtr_and_a_large_ping_end_at_the_address(net: Both, gateways: Gateways) -> None:
    for how in (("-T", "-P", "80"), ("-u",)):
        told = net.server4.run(
            "mtr", "-4", "-n", "-j", "-c", "1", "-i", "0.2", "-G", "2", "-m", "10", *how, VIP, timeout=60
        )
        hubs = json.loads(told.stdout)["report"]["hubs"]
        assert hubs[-1]["host"] == VIP, hubs
        assert float(hubs[-1]["Loss%"]) == 0, hubs
    ping = ("ping", "-c", "2", "-i", "0.2", "-M", "do", "-s")
    assert " 0% packet loss" in net.server4.run(*ping, "1472", VIP).stdout
    net.set_mtu(net.router4, net.gateway, 1400)
    try:
        assert "mtu = 1400" in net.server4.run(*ping, "1472", VIP, check=False).stdout
        assert " 0% packet loss" in net.server4.run(*ping, "1372", VIP).stdout
    finally:
        net.set_mtu(net.router4, net.gateway, 1500)
        net.forget_paths()
