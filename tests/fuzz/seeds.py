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
STATIC4 = "192.0.2.16"  # of NEIGHBOUR6, where there is an explicit mapping


def seeds(pool6: IPv6Network) -> list[bytes]:
    """Built packets and those of pcaps/."""
    return [*from_host6(pool6), *from_host4(), *errors(pool6), *captured()]


def from_host6(pool6: IPv6Network) -> Iterator[bytes]:
    """Packets of IPv6 hosts: to a server, to a door of ours (hairpin), and elsewhere."""
    hosts = [IPv6Address(text) for text in (HOST6, NEIGHBOUR6)]
    server, door, static, private, denied = (
        embed(pool6, IPv4Address(text)) for text in (HOST4, MAPPED4, STATIC4, "10.0.0.1", ROUTER4)
    )
    extensions = (
        (make.options_header(0),),
        (make.options_header(60), make.routing_header(0)),
        (make.routing_header(1),),
        (make.fragment_header(0, False, 7),),
        (make.fragment_header(0, True, 8),),
        (make.fragment_header(24, True, 8),),
        (make.fragment_header(1232, False, 8),),
    )
    for host in hosts:
        for dst, port in ((server, 53), (door, MAPPED4_PORT), (static, 53)):
            yield make.ipv6(host, dst, UDP, make.udp(HOST6_PORT, port, b"data"))
            yield make.ipv6(host, dst, ICMPV6, make.echo(128, HOST6_PORT, b"data"))
            for flags in FLAGS:
                yield make.ipv6(host, dst, TCP, make.tcp(HOST6_PORT, port, flags, options=b"\2\4\5\xb4"))
            for chain in extensions:
                yield make.ipv6(host, dst, UDP, make.udp(HOST6_PORT, port, bytes(40)), extensions=chain)
    for size in SIZES:
        yield make.ipv6(hosts[0], server, UDP, make.udp(HOST6_PORT, 53, bytes(size)))
        yield make.ipv6(hosts[0], server, TCP, make.tcp(HOST6_PORT, 80, 0x10, bytes(size)))
    yield make.ipv6(hosts[0], server, UDP, make.udp(1, 53), covered=False)
    yield make.ipv6(hosts[0], server, UDP, make.udp(2, 53), hop_limit=1)
    yield make.ipv6(hosts[0], server, 132, bytes(12))
    yield make.ipv6(server, server, UDP, make.udp(2, 53))
    for dst in (hosts[1], private, denied):
        yield make.ipv6(hosts[0], dst, UDP, make.udp(2, 53))
    yield make.ipv6(hosts[0], server, ICMPV6, make.echo(129, HOST6_PORT))
    yield make.ipv6(hosts[0], server, TCP, make.tcp(HOST6_PORT, 80, 0x10, bytes(60000)))


def from_host4() -> Iterator[bytes]:
    """Packets of an IPv4 host to our [[forward]], to ports of the pools, to nobody."""
    server = IPv4Address(HOST4)
    for address in (*POOLED, STATIC4):
        for port in PORTS:
            yield make.ipv4(server, IPv4Address(address), UDP, make.udp(53, port, b"data"))
    door = IPv4Address(MAPPED4)
    for port in PORTS[:2]:
        yield make.ipv4(server, door, ICMP, make.echo(8, port, b"data"))
        yield make.ipv4(server, door, ICMP, make.echo(0, port, b"data"))
        for flags in FLAGS:
            yield make.ipv4(server, door, TCP, make.tcp(53, port, flags))
    for size in SIZES:
        for dont_fragment in (False, True):
            segment = make.udp(53, MAPPED4_PORT, bytes(size))
            yield make.ipv4(server, door, UDP, segment, dont_fragment=dont_fragment)
            yield make.ipv4(
                server, door, TCP, make.tcp(53, MAPPED4_PORT, 0x10, bytes(size)), dont_fragment=dont_fragment
            )
    for more, offset in ((True, 0), (True, 24), (False, 1400)):
        for size in (40, 1400):
            yield make.ipv4(server, door, UDP, make.udp(53, MAPPED4_PORT, bytes(size)), more=more, offset=offset)
    for options in (b"\1" * 4, b"\x83\x07\x04" + server.packed + b"\0", b"\x94\4\0\0"):
        yield make.ipv4(server, door, UDP, make.udp(53, MAPPED4_PORT), options=options)
    yield make.ipv4(server, door, UDP, make.udp(53, MAPPED4_PORT, b"x"), covered=False)
    yield make.ipv4(server, door, UDP, make.udp(53, MAPPED4_PORT), ttl=1)
    yield make.ipv4(server, door, 132, bytes(12))
    yield make.ipv4(IPv4Address("127.0.0.1"), door, UDP, make.udp(53, MAPPED4_PORT))
    yield make.ipv4(server, door, TCP, make.tcp(53, MAPPED4_PORT, 0x10, bytes(60000)))


def errors(pool6: IPv6Network) -> Iterator[bytes]:
    """ICMP errors of every type from hosts and routers, about packets of every kind, whole and cut."""
    host6, router6 = IPv6Address(HOST6), IPv6Address(ROUTER6)
    host4, router4, door = IPv4Address(HOST4), IPv4Address(ROUTER4), IPv4Address(MAPPED4)
    server = embed(pool6, host4)
    for protocol, protocol6 in ((UDP, UDP), (TCP, TCP), (ICMP, ICMPV6)):
        segment = {
            UDP: make.udp(53, HOST6_PORT, bytes(600)),
            TCP: make.tcp(53, HOST6_PORT, 0x10, bytes(40)),
            ICMP: make.echo(129, HOST6_PORT, b"data"),
        }[protocol]
        quoted = make.ipv6(server, host6, protocol6, segment)
        for kind, code, word in ((1, 0, 0), (1, 4, 0), (2, 0, 1280), (3, 0, 0), (4, 0, 6), (4, 1, 40), (5, 0, 0)):
            for src, size in ((host6, 2000), (router6, 48)):
                message = make.error(kind, code, quoted[:size], word.to_bytes(4))
                yield make.ipv6(src, server, ICMPV6, message)
        segment = {
            UDP: make.udp(MAPPED4_PORT, 53, bytes(600)),
            TCP: make.tcp(MAPPED4_PORT, 53, 0x10, bytes(40)),
            ICMP: make.echo(8, MAPPED4_PORT, b"data"),
        }[protocol]
        quoted = make.ipv4(door, host4, protocol, segment)
        for kind, code, word in (
            (3, 1, 0),
            (3, 3, 0x200000),
            (3, 4, 1400),
            (3, 4, 0),
            (11, 0, 0),
            (12, 0, 8 << 24),
            (5, 0, 0),
        ):
            for src, size in ((host4, 2000), (router4, 28)):
                message = make.error(kind, code, quoted[:size], word.to_bytes(4))
                yield make.ipv4(src, door, ICMP, message)
    nested = make.ipv4(door, host4, ICMP, make.error(3, 1, make.ipv4(host4, door, UDP, make.udp(1, 2))))
    yield make.ipv4(host4, door, ICMP, make.error(3, 1, nested))


def captured() -> Iterator[bytes]:
    """The packets of pcaps/*.pcap (raw IP), if there are any."""
    for file in sorted(PCAPS.glob("*.pcap")):
        if not file.name.endswith(".expected.pcap"):
            with RawPcapReader(str(file)) as reader:
                yield from (bytes(octets) for octets, _ in reader)
