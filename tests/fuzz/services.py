"""Gateways with services: packets of their clients and endpoints; members, weights, sources and fronts that change
while packets pass."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import product
from typing import Any

from nat64d.config.fronts import NoRoomError, change_fronts, fronts_of, keys_of
from nat64d.config.models import Config
from nat64d.config.services import Endpoint, Service
from tests.packets import HOST4, HOST6, ROUTER4, ROUTER6
from tests.reference import packets as make
from tests.reference.addresses import embed
from translator.session import members
from translator.tables.gateway import Gateway

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
VIP, VIP6, CLIENT6 = IPv4Address("203.0.113.80"), IPv6Address("2001:db8:ff::1"), IPv6Address("2001:db8:9::9")
ENDPOINTS = [IPv6Address(f"2001:db8:5::{number}") for number in (1, 2, 3)]
PREFIX, OWN = "2001:db8:c0::/96", "2001:db8:c1::/96"
SOURCES: tuple[tuple[IPv4Network | IPv6Network, ...], ...] = (
    (),
    (IPv4Network("198.51.100.0/24"), IPv6Network("2001:db8:9::/64")),
    (IPv4Network("192.0.2.0/24"),),
)
FLAGS = (0x02, 0x12, 0x10, 0x11, 0x04)


def _service(name: str, port: int, target: int, protocol: list[str], **keys: Any) -> dict[str, Any]:
    ends = [f"[{address}]:{target}" for address in ENDPOINTS]
    row = {"name": name, "ipv4": f"{VIP}:{port}", "ipv6": f"[{VIP6}]:{port}", "protocol": protocol, "endpoints": ends}
    return {key: value for key, value in {**row, **keys}.items() if value is not None}


SERVICES = [
    _service("web", 80, 8080, ["tcp"]),
    _service("dns", 53, 53, ["tcp", "udp"], affinity="client"),
    _service("again", 8080, 8080, ["tcp"]),
    _service("own", 81, 8080, ["tcp", "udp"], client_prefix=OWN, ipv6=None),
]
DNAT: dict[str, Any] = {"service": SERVICES, "services": {"client_prefix": PREFIX, "ipv6_front": "dnat"}}
FULLNAT: dict[str, Any] = {"service": SERVICES, "services": {"ipv6_front": "fullnat", "source6": "fd00:64::/64"}}


def packets(config: Config, written: IPv6Address) -> list[bytes]:
    """Packets that mean something to services; `written`: whom endpoints see of CLIENT6."""
    client4, prefixes = IPv4Address(HOST4), [prefix for prefix in config.prefixes if prefix]
    peers = [written, *(embed(prefix, client4) for prefix in prefixes)]
    ends = list(product(ENDPOINTS, (8080, 53), (7, 8)))
    built = [*_from_clients(client4, VIP), *_from_clients(CLIENT6, VIP6), *_from_clients(IPv6Address(HOST6), VIP6)]
    if config.pool6:
        built += _from_clients(IPv6Address(HOST6), embed(config.pool6, VIP))
    for endpoint, sport, dport in ends:
        for peer in peers:
            built += _from_endpoint(endpoint, peer, sport, dport)
    return built


def _from_clients(client: Any, vip: Any) -> Iterator[bytes]:
    packet, router = (make.ipv4, IPv4Address(ROUTER4)) if client.version == 4 else (make.ipv6, IPv6Address(ROUTER6))
    icmp, request, error = (ICMP, 8, 3) if client.version == 4 else (ICMPV6, 128, 1)
    for port, sport in product((80, 53, 81, 8080, 9), (7, 8)):
        yield packet(client, vip, UDP, make.udp(sport, port, b"question"))
        for flags in FLAGS:
            yield packet(client, vip, TCP, make.tcp(sport, port, flags, options=b"\2\4\5\xb4"))
        quoted = packet(vip, client, TCP, make.tcp(port, sport, 0x10, bytes(40)))
        yield packet(client, vip, icmp, make.error(error, 4, quoted))
        yield packet(router, vip, icmp, make.error(error, 1, quoted))
    for size in (8, 1500, 3000):
        yield packet(client, vip, icmp, make.echo(request, 7, bytes(size)))
    datagram = packet(client, vip, UDP, make.udp(7, 53, bytes(1600)))
    yield from make.fragments4(datagram, 800, 9) if client.version == 4 else make.fragments6(datagram, 800, 9)


def _from_endpoint(endpoint: IPv6Address, peer: IPv6Address, sport: int, dport: int) -> Iterator[bytes]:
    yield make.ipv6(endpoint, peer, UDP, make.udp(sport, dport, b"answer"))
    for flags in FLAGS:
        yield make.ipv6(endpoint, peer, TCP, make.tcp(sport, dport, flags))
    quoted = make.ipv6(peer, endpoint, TCP, make.tcp(dport, sport, 0x10, bytes(40)))
    for src in (endpoint, IPv6Address(ROUTER6)):
        yield make.ipv6(src, peer, ICMPV6, make.error(2, 0, quoted, (1280).to_bytes(4)))


class Between:
    """session/members.py, with something that happens after each of its steps: the lock is free then."""

    def __init__(self, happens: Callable[[], None]) -> None:
        self._happens = happens

    def __getattr__(self, name: str) -> Callable[..., Any]:
        step = getattr(members, name)

        def call(*given: Any) -> Any:
            result = step(*given)
            self._happens()
            return result

        return call


def change(gateway: Gateway, config: Config, now: int, draw: Callable[[int], int], happens: Callable[[], None]) -> None:
    """Some of the services are otherwise from now on, or gone, or there again; nothing changes where there is no
    room."""
    services = [_drawn(service, draw) for service in config.service if draw(2)]
    fronts = fronts_of(config, lambda _, endpoint: _weight(endpoint, draw), services)
    gone = {key for service in services if draw(4) == 0 for key, _, _ in keys_of(config, service)}
    wanted = {key: None if key in gone else front for key, front in fronts.items()}
    with suppress(NoRoomError):
        change_fronts(Between(happens), gateway, now, wanted, (members.KEEP, members.RESET)[draw(2)])


def _drawn(service: Service, draw: Callable[[int], int]) -> Service:
    ends = tuple(one for one in service.endpoints if draw(3))
    return service.model_copy(update={"endpoints": ends, "sources": SOURCES[draw(len(SOURCES))]})


def _weight(endpoint: Endpoint, draw: Callable[[int], int]) -> int:
    """As endpoints.py gives them: none, -1, where it does not serve, 0 where only if nobody else does."""
    return endpoint.weight if draw(2) else draw(4) - 1
