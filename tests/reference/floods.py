"""Histories that fill small tables: subscribers that take all they can get, and one mapping flooded from outside."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from random import Random

from tests.reference import packets as make
from tests.reference.bib import CARRIED, Entry, Host4
from tests.reference.reading import ICMP, ICMPV6, TCP, UDP
from tests.reference.tcp import ACK, FIN, RST, SYN
from tests.reference.world import World, coin, one_in, peer_of

# Two hosts of one /64, and one each of another and of another /48; the first takes more than its share.
HOSTS = tuple(IPv6Address(text) for text in ("2001:db8:6::1", "2001:db8:6::2", "2001:db8:6:1::1", "2001:db8:7::1"))
WEIGHTS = (6, 2, 1, 1)
PAUSES = (0.0,) * 150 + (0.013, 5.013, 29.013, 31.013, 58.013, 62.013, 151.013, 239.013, 299.013)
CROWD = tuple(HOSTS[0] + n for n in range(16, 80))  # of the first /64
OUTSIDE = tuple(IPv4Address(f"8.8.8.{n}") for n in range(1, 30))
PORTS = tuple(range(5000, 5024))
Send = Callable[[float, bytes], None]


def flood(rng: Random, world: World, send: Send) -> None:
    """Much from inside, mostly of one protocol, much from outside to few mappings, some answers."""
    usual = rng.choice(CARRIED)
    for _ in range(rng.randint(20, 70)):
        kind = rng.choice((outward,) * 7 + (inward,) * 4 + (answer,) * 2)
        packet = kind(rng, world, rng.choice(CARRIED) if one_in(rng, 6) else usual)
        if packet is not None:
            send(rng.choice(PAUSES), packet)


def many_hosts(rng: Random, world: World, send: Send) -> None:
    """A subscriber that has a new address for nearly every flow, of TCP mostly, beside the hosts of a flood."""
    for _ in range(rng.randint(20, 50)):
        host = CROWD[rng.randrange(len(CROWD))] if not one_in(rng, 4) else rng.choice(HOSTS)
        peer = rng.choice(OUTSIDE[:3]), 80
        send(rng.choice(PAUSES), from_host(rng, world, "tcp", (host, rng.choice(PORTS)), peer))
        packet = answer(rng, world, "tcp") if one_in(rng, 4) else None
        if packet is not None:
            send(0.0, packet)


def outward(rng: Random, world: World, protocol: str) -> bytes:
    """A flow, mostly a new one; at times one from the port of a configured entry."""
    (host,), port = rng.choices(HOSTS, WEIGHTS), rng.choice(PORTS)
    configured = [entry for entry in world.mapped if entry.static]
    if configured and one_in(rng, 6):
        entry = rng.choice(configured)
        protocol, (host, port) = entry.protocol, entry.host6
    return from_host(rng, world, protocol, (host, port), (rng.choice(OUTSIDE[:3]), rng.choice((53, 80))))


def inward(rng: Random, world: World, _: str) -> bytes | None:
    """A packet of somebody new to a mapping, mostly the same one."""
    known = [entry for entry in world.mapped if entry.mapped4 is not None]
    if not known:
        return None
    entry = known[0] if coin(rng) else rng.choice(known)
    return to_mapping(rng, entry, (rng.choice(OUTSIDE), rng.choice(PORTS)))


def answer(rng: Random, world: World, _: str) -> bytes | None:
    """A packet of a session, from either side."""
    known = [entry for entry in world.mapped if entry.mapped4 is not None and entry.sessions]
    if not known:
        return None
    entry = rng.choice(known)
    peer = peer_of(rng, world, entry)
    return to_mapping(rng, entry, peer) if coin(rng) else from_host(rng, world, entry.protocol, entry.host6, peer)


def flags_of(rng: Random) -> int:
    return rng.choice((SYN, SYN, SYN, SYN | ACK, ACK, FIN | ACK, RST))


def from_host(rng: Random, world: World, protocol: str, host6: tuple[IPv6Address, int], peer: Host4) -> bytes:
    (host, port), destination = host6, world.seen_from_ipv6(peer[0])
    if protocol == "icmp":
        return make.ipv6(host, destination, ICMPV6, make.echo(128, port, b"x"))
    if protocol == "udp":
        return make.ipv6(host, destination, UDP, make.udp(port, peer[1], b"x"))
    return make.ipv6(host, destination, TCP, make.tcp(port, peer[1], flags_of(rng)))


def to_mapping(rng: Random, entry: Entry, peer: Host4) -> bytes:
    assert entry.mapped4 is not None
    (mapped4, port), (source, source_port) = entry.mapped4, peer
    if entry.protocol == "icmp":
        return make.ipv4(source, mapped4, ICMP, make.echo(0, port, b"x"))
    if entry.protocol == "udp":
        return make.ipv4(source, mapped4, UDP, make.udp(source_port, port, b"x"))
    return make.ipv4(source, mapped4, TCP, make.tcp(source_port, port, flags_of(rng)))
