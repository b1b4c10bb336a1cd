"""What the attackers send: for each name a function that makes the frames, of which every one is another flow."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address

import numpy as np

from tests.e2e.attack.frames import (
    TCP,
    UDP,
    Dice,
    Numbers,
    Octets,
    big_endian,
    embedded,
    ipv4,
    ipv6,
    syns,
    udp,
)

FRAMES = 1 << 20  # of a deck, unless its flows shall come again sooner
PAYLOAD = 12  # octets of UDP payload: with it a datagram is as long as a SYN
ANYWHERE = (64 << 24, 80 << 24)  # IPv4 addresses without special blocks among them
SILENT = (int(IPv4Address("203.0.113.128")), int(IPv4Address("203.0.113.255")))  # nobody answers there
PORTS = (1024, 65536)


def flows(sources: str, protocol: str = "udp", count: int = 0) -> Octets:
    """New flows of hosts in a prefix, from any port to silent addresses and any port."""
    count = count or FRAMES
    dice = Dice(count)
    hosts, to = dice.hosts(sources), embedded(dice.numbers(*SILENT))
    ports = dice.numbers(*PORTS), dice.numbers(*PORTS)
    if protocol == "udp":
        return ipv6(hosts, to, UDP, udp(*ports, padding(count)))
    return ipv6(hosts, to, TCP, syns(*ports, dice.numbers(0, 1 << 32)))


def mixed_flows(sources: str) -> Octets:
    """The same, UDP and TCP in turn."""
    both = np.empty((FRAMES, 74), np.uint8)
    both[0::2], both[1::2] = (flows(sources, protocol, FRAMES // 2) for protocol in ("udp", "tcp"))
    return both


def crowd(prefix: str, hosts: int) -> Octets:
    """New flows of so many hosts, each in a /64 of its own of a /48, UDP and TCP in turn."""
    both = np.empty((FRAMES, 74), np.uint8)
    network = np.frombuffer(IPv6Address(prefix).packed, np.uint8)
    for first, protocol in enumerate((UDP, TCP)):
        dice = Dice(FRAMES // 2)
        subnets = big_endian(dice.numbers(0, hosts), 2, dice.count)
        ends = [np.broadcast_to(part, (dice.count, len(part))) for part in (network[:6], network[8:])]
        ports = dice.numbers(*PORTS), dice.numbers(*PORTS)
        rest = udp(*ports, padding(dice.count)) if protocol == UDP else syns(*ports, dice.numbers(0, 1 << 32))
        to = embedded(dice.numbers(*SILENT))
        both[first::2] = ipv6(np.hstack([ends[0], subnets, ends[1]]), to, protocol, rest)
    return both


def even_ports(sources: str) -> Octets:
    """Flows from even ports, which want even ports (RFC 4787 REQ-4)."""
    dice = Dice(FRAMES)
    ports = dice.numbers(512, 32768) * 2
    return ipv6(dice.hosts(sources), embedded(dice.numbers(*SILENT)), UDP, udp(ports, 9, padding(FRAMES)))


def last_hop(source: str) -> Octets:
    """Packets of one host that end at the translator, which must say so."""
    dice = Dice(1 << 14)
    to = embedded(dice.numbers(*SILENT))
    return ipv6(same6(source, dice.count), to, UDP, udp(dice.numbers(*PORTS), 9, padding(dice.count)), hops=2)


def from_outside(mapped: str, port: int) -> Octets:
    """Datagrams from addresses that nobody has to one mapped transport address."""
    dice = Dice(FRAMES)
    datagrams = udp(dice.numbers(*PORTS), port, padding(FRAMES))
    return ipv4(big_endian(dice.numbers(*ANYWHERE), 4, FRAMES), same4(mapped, FRAMES), UDP, datagrams)


def syns_from_anywhere(address: str, port: int) -> Octets:
    """SYNs from addresses that nobody has to one transport address."""
    dice = Dice(FRAMES)
    segments = syns(dice.numbers(*PORTS), port, dice.numbers(0, 1 << 32))
    return ipv4(big_endian(dice.numbers(*ANYWHERE), 4, FRAMES), same4(address, FRAMES), TCP, segments)


def held_syns(server: str, server_port: int, pool: str, port: int) -> Octets:
    """SYNs that look as if a server had sent them, to a pool: half to any port, half to one port."""
    dice = Dice(1 << 16)
    network = IPv4Network(pool)
    mapped = int(network.network_address) + dice.numbers(0, network.num_addresses)
    ports = np.where(dice.numbers(0, 2) == 1, dice.numbers(*PORTS), port)
    datagrams = syns(server_port, ports, dice.numbers(0, 1 << 32))
    return ipv4(same4(server, dice.count), big_endian(mapped, 4, dice.count), TCP, datagrams)


def forged_pairs(mapped: str, one: int, other: int) -> Octets:
    """Datagrams that each of two inside hosts with an echo server seems to have sent to the other one."""
    count = 1 << 8
    turns = np.arange(count) % 2
    ports: tuple[Numbers, Numbers] = np.where(turns == 0, one, other), np.where(turns == 0, other, one)
    return ipv4(same4(mapped, count), same4(mapped, count), UDP, udp(*ports, padding(count)))


def queries(sources: list[str], resolver: str) -> Octets:
    """AAAA queries of hosts in some prefixes in turn, each for a name that no cache knows."""
    dice = Dice(1 << 16)
    prefixes = np.arange(dice.count) % len(sources)
    hosts = np.stack([dice.hosts(prefix) for prefix in sources])[prefixes, np.arange(dice.count)]
    text = [f"{number:08x}".encode() for number in range(dice.count)]
    questions = b"".join(b"\x08" + name + b"\x07example\x00\x00\x1c\x00\x01" for name in text)
    header = np.frombuffer(bytes.fromhex("0100 0001 0000 0000 0000"), np.uint8)
    messages = np.hstack(
        [
            big_endian(dice.numbers(0, 1 << 16), 2, dice.count),
            np.broadcast_to(header, (dice.count, 10)),
            np.frombuffer(questions, np.uint8).reshape(dice.count, -1),
        ]
    )
    return ipv6(hosts, same6(resolver, dice.count), UDP, udp(dice.numbers(*PORTS), 53, messages))


def padding(count: int) -> Octets:
    return np.zeros((count, PAYLOAD), np.uint8)


def same6(address: str, count: int) -> Octets:
    return np.broadcast_to(np.frombuffer(IPv6Address(address).packed, np.uint8), (count, 16))


def same4(address: str, count: int) -> Octets:
    return np.broadcast_to(np.frombuffer(IPv4Address(address).packed, np.uint8), (count, 4))


DECKS = {
    deck.__name__: deck
    for deck in (
        flows,
        mixed_flows,
        crowd,
        even_ports,
        last_hop,
        from_outside,
        syns_from_anywhere,
        held_syns,
        forged_pairs,
        queries,
    )
}
