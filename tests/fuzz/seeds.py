"""What is mutated: packets of every kind, all of which mean something to the gateway of `World`; and captures."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

from scapy.utils import RawPcapReader

from tests.packets import HOST4, HOST6, HOST6_PORT, MAPPED4, MAPPED4_PORT, NEIGHBOUR6, ROUTER4, ROUTER6
from tests.reference import packets as make
from tests.reference.addresses import embed

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
PCAPS = Path(__file__).parents[2] / "pcaps"
PORTS = (MAPPED4_PORT, 2000, 2001, 2002, 2003)  # of the [[forward]] and of the tiny pools in run.py
FLAGS = (0x02, 0x12, 0x10, 0x11, 0x04)
SIZES = (0, 1, 40, 1212, 1233, 1400, 1473, 3000)
POOLED = ("192.0.2.0", "192.0.2.1", "192.0.2.2", "192.0.2.3")
CHAINS = (  # of extension headers
    (make.options_header(0),),
    (make.options_header(60), make.routing_header(0)),
    (make.routing_header(1),),
    (make.fragment_header(0, False, 7),),
    (make.fragment_header(0, True, 8),),
    (make.fragment_header(24, True, 8),),
    (make.fragment_header(1232, False, 8),),
)
STATIC4 = "192.0.2.16"  # of NEIGHBOUR6, where there is an explicit mapping


def seeds(pool6: IPv6Network) -> list[bytes]:
    """Built packets and those of pcaps/."""
    built = (*conversations6(pool6), *oddities6(pool6), *conversations4(), *oddities4(), *errors6(pool6), *errors4())
    return [*built, *captured()]


def conversations6(pool6: IPv6Network) -> Iterator[bytes]:
    """Packets of IPv6 hosts to a server, and to hosts of ours (hairpin)."""
    for host in (IPv6Address(HOST6), IPv6Address(NEIGHBOUR6)):
        for peer, port in ((HOST4, 53), (MAPPED4, MAPPED4_PORT), (STATIC4, 53)):
            dst = embed(pool6, IPv4Address(peer))
            yield make.ipv6(host, dst, UDP, make.udp(HOST6_PORT, port, b"data"))
            yield make.ipv6(host, dst, ICMPV6, make.echo(128, HOST6_PORT, b"data"))
            for flags in FLAGS:
                yield make.ipv6(host, dst, TCP, make.tcp(HOST6_PORT, port, flags, options=b"\2\4\5\xb4"))
            for chain in CHAINS:
                yield make.ipv6(host, dst, UDP, make.udp(HOST6_PORT, port, bytes(40)), extensions=chain)


def oddities6(pool6: IPv6Network) -> Iterator[bytes]:
    """Packets of an IPv6 host that are large, or that somebody has something against."""
    host, neighbour, server = IPv6Address(HOST6), IPv6Address(NEIGHBOUR6), embed(pool6, IPv4Address(HOST4))
    for size in SIZES:
        yield make.ipv6(host, server, UDP, make.udp(HOST6_PORT, 53, bytes(size)))
        yield make.ipv6(host, server, TCP, make.tcp(HOST6_PORT, 80, 0x10, bytes(size)))
    yield make.ipv6(host, server, UDP, make.udp(1, 53), covered=False)
    yield make.ipv6(host, server, UDP, make.udp(2, 53), hop_limit=1)
    yield make.ipv6(server, server, UDP, make.udp(2, 53))
    for dst in (neighbour, *(embed(pool6, IPv4Address(text)) for text in ("10.0.0.1", "127.0.0.1", ROUTER4))):
        yield make.ipv6(host, dst, UDP, make.udp(2, 53))
    yield make.ipv6(host, server, ICMPV6, make.echo(129, HOST6_PORT))
    for other in (host, neighbour):
        yield make.ipv6(other, server, 132, bytes(12))
        yield make.ipv6(other, server, TCP, make.tcp(HOST6_PORT, 80, 0x10, bytes(60000)))


def conversations4() -> Iterator[bytes]:
    """Packets of an IPv4 host to our [[forward]], to ports of the pools, to a mapped host, to nobody."""
    server = IPv4Address(HOST4)
    for address in POOLED:
        for port in PORTS:
            yield make.ipv4(server, IPv4Address(address), UDP, make.udp(53, port, b"data"))
    for address in (MAPPED4, STATIC4):
        door = IPv4Address(address)
        for port in PORTS[:2]:
            yield make.ipv4(server, door, ICMP, make.echo(8, port, b"data"))
            yield make.ipv4(server, door, ICMP, make.echo(0, port, b"data"))
            for flags in FLAGS:
                yield make.ipv4(server, door, TCP, make.tcp(53, port, flags))
        for more, offset, size in ((True, 0, 40), (True, 0, 1400), (True, 24, 40), (False, 1400, 40)):
            yield make.ipv4(server, door, UDP, make.udp(53, MAPPED4_PORT, bytes(size)), more=more, offset=offset)


def oddities4() -> Iterator[bytes]:
    """Packets of an IPv4 host that are large, or that somebody has something against."""
    server, door = IPv4Address(HOST4), IPv4Address(MAPPED4)
    for size in SIZES:
        for segment, protocol in (
            (make.udp(53, MAPPED4_PORT, bytes(size)), UDP),
            (make.tcp(53, MAPPED4_PORT, 0x10, bytes(size)), TCP),
        ):
            yield make.ipv4(server, door, protocol, segment, dont_fragment=True)
            yield make.ipv4(server, door, protocol, segment, dont_fragment=False)
    for options in (b"\1" * 4, b"\x83\x07\x04" + server.packed + b"\0", b"\x94\4\0\0"):
        yield make.ipv4(server, door, UDP, make.udp(53, MAPPED4_PORT), options=options)
    yield make.ipv4(server, door, UDP, make.udp(53, MAPPED4_PORT, b"x"), covered=False)
    yield make.ipv4(server, door, UDP, make.udp(53, MAPPED4_PORT), ttl=1)
    for source in ("127.0.0.1", "10.0.0.1", ROUTER4):
        yield make.ipv4(IPv4Address(source), door, UDP, make.udp(53, MAPPED4_PORT))
    for other in (door, IPv4Address(STATIC4)):
        yield make.ipv4(server, other, 132, bytes(12))
        yield make.ipv4(server, other, TCP, make.tcp(53, MAPPED4_PORT, 0x10, bytes(60000)))


def errors6(pool6: IPv6Network) -> Iterator[bytes]:
    """ICMPv6 errors of every type from hosts and routers, about packets of every kind, whole and cut."""
    server = embed(pool6, IPv4Address(HOST4))
    segments = {
        UDP: make.udp(53, HOST6_PORT, bytes(600)),
        TCP: make.tcp(53, HOST6_PORT, 0x10, bytes(40)),
        ICMPV6: make.echo(129, HOST6_PORT, b"data"),
    }
    kinds = [(1, 0, 0), (1, 4, 16 << 24), (2, 0, 1280), (3, 0, 0), (4, 0, 6), (4, 1, 40), (5, 0, 0)]
    for protocol, segment in segments.items():
        for host in (IPv6Address(HOST6), IPv6Address(NEIGHBOUR6)):
            quoted = make.ipv6(server, host, protocol, segment)
            for kind, code, word in kinds:
                for src, size in ((host, 2000), (IPv6Address(ROUTER6), 48)):
                    yield make.ipv6(src, server, ICMPV6, make.error(kind, code, quoted[:size], word.to_bytes(4)))


def errors4() -> Iterator[bytes]:
    """ICMP errors of every type from hosts and routers, about packets of every kind, whole and cut."""
    server = IPv4Address(HOST4)
    segments = {
        UDP: make.udp(MAPPED4_PORT, 53, bytes(600)),
        TCP: make.tcp(MAPPED4_PORT, 53, 0x10, bytes(40)),
        ICMP: make.echo(8, MAPPED4_PORT, b"data"),
        132: bytes(12),
    }
    kinds = [(3, 1, 0), (3, 3, 0x200000), (3, 4, 1400), (3, 4, 0), (11, 0, 0), (12, 0, 8 << 24), (5, 0, 0)]
    for protocol, segment in segments.items():
        for door in (IPv4Address(MAPPED4), IPv4Address(STATIC4)):
            quoted = make.ipv4(door, server, protocol, segment)
            for kind, code, word in kinds:
                for src, size in ((server, 2000), (IPv4Address(ROUTER4), 28)):
                    yield make.ipv4(src, door, ICMP, make.error(kind, code, quoted[:size], word.to_bytes(4)))
            yield make.ipv4(
                server, door, ICMP, make.error(3, 1, make.ipv4(door, server, ICMP, make.error(3, 1, quoted)))
            )


def captured() -> Iterator[bytes]:
    """The packets of pcaps/*.pcap (raw IP), if there are any."""
    for file in sorted(PCAPS.glob("*.pcap")):
        if not file.name.endswith(".expected.pcap"):
            with RawPcapReader(str(file)) as reader:
                yield from (bytes(octets) for octets, _ in reader)
