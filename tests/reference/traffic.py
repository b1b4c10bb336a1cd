"""Packets of both families, right and wrong ones, and the fragments of them."""

from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from random import Random

from tests.reference import packets as make
from tests.reference.addresses import embed
from tests.reference.bib import Entry
from tests.reference.error_traffic import foreign_error, hairpinned_error, icmp_error, illegal_error, too_big
from tests.reference.reading import DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ICMP, ICMPV6, ROUTING, TCP, UDP
from tests.reference.segments import data, numbers, segment
from tests.reference.world import ELSEWHERE, PORTS, PROTOCOLS, SPECIAL, World, coin, one_in, peer_of

# Sums of these never meet a timeout exactly, where RFC 6146 does not say which of two things happens first.
PAUSES = (0.013,) * 12 + (
    *(0.0, 0.013, 0.513, 1.013, 5.013, 7.013, 30.013, 59.013, 62.013, 130.013, 238.013, 242.013, 298.013, 302.013),
    *(3600.013, 7438.013, 7442.013),
)
HOP_LIMITS = (64,) * 17 + (255, 2, 1, 0)
IPV4_OPTIONS = (b"",) * 40 + (
    b"\x07\x07\x04\0\0\0\0\0",
    b"\x44\x08\x05\0\0\0\0\0",
    b"\x01\x01\x01\0",
    b"\x83\x07\x08\x01\x02\x03\x04\0",
    b"\x83\x07\x04\x01\x02\x03\x04\0",
    b"\x01\x89\x07\x04\x01\x02\x03\x04",
    b"\0\x83\x07\x04\x01\x02\x03\x04",
    b"\x07\x00\0\0",
)  # RFC 791: none mostly; record route, timestamp, padding; source routes expired and not; nonsense


def zero_checksum(rng: Random, protocol: str) -> bool:
    return protocol == "udp" and one_in(rng, 10)


def echo(rng: Random, kind: int, identifier: int) -> bytes:
    """At times one that is all zero but for its type, which the answer to it has not in IPv4."""
    return (
        make.echo(kind, 0, bytes(rng.choice((0, 9))), sequence=0)
        if one_in(rng, 8)
        else make.echo(kind, identifier, data(rng))
    )


def extension_headers(rng: Random) -> tuple[tuple[int, bytes], ...]:
    """RFC 8200 4.1: mostly none; a Fragment Header (often of an atomic fragment) last, but for a wrong one at times."""
    if not one_in(rng, 8):
        return ()
    chain = []
    if coin(rng):
        chain.append(make.options_header(HOP_BY_HOP, rng.choice((8, 16))))
    if coin(rng):
        chain.append(make.options_header(DESTINATION_OPTIONS, 8))
    if one_in(rng, 3):
        chain.append(make.routing_header(rng.choice((0, 0, 1, 255))))
    if coin(rng):
        chain.append(make.fragment_header(rng.choice((0, 0, 0, 8, 1232)), coin(rng), rng.choice((1, 0x12345678))))
    if one_in(rng, 6):
        chain.append(make.options_header(DESTINATION_OPTIONS, 8))
    return tuple(chain)


def fields6(rng: Random) -> dict[str, object]:
    return {
        "hop_limit": rng.choice(HOP_LIMITS),
        "traffic_class": rng.choice((0, 0, 0xB8, 0xFF)),
        "flow_label": rng.choice((0, 0xABCDE)),
        "extensions": extension_headers(rng),
    }


def fields4(rng: Random) -> dict[str, object]:
    return {
        "ttl": rng.choice(HOP_LIMITS),
        "tos": rng.choice((0, 0, 0xB8, 0xFF)),
        "identification": rng.choice((1, 0xFFFF)),
        "dont_fragment": coin(rng),
        "more": one_in(rng, 30),
        "offset": rng.choice((0,) * 28 + (8, 1480)),
        "options": rng.choice(IPV4_OPTIONS),
    }


def destination6(rng: Random, world: World) -> tuple[IPv6Address, int]:
    """An IPv4 host; a mapped address (hairpin), at times another port of it; beside the mapped ones; a row's own IPv6
    side; nobody's address.
    """
    peer, port = rng.choice(world.hosts4), rng.choice(PORTS)
    if world.targets and one_in(rng, 3 if world.rows else 6):
        target = rng.choice(world.targets)
        peer, port = target.mapped4 or (peer, port)
        if one_in(rng, 3):
            port = rng.choice(PORTS)
        if world.rows and one_in(rng, 6):
            return target.host6
        if world.rows and one_in(rng, 6):
            peer = IPv4Address((int(peer) + rng.choice((-1, 1))) % (1 << 32))
    if world.rows and one_in(rng, 30):
        return ELSEWHERE, port
    return world.seen_from_ipv6(peer, rng), port


def of_endpoint(rng: Random, world: World, entry: Entry) -> bytes:
    """What an endpoint of a service sends from its port to one who may be a client, with a session or without."""
    there, port = peer_of(rng, world, entry)
    destination = embed(entry.prefix or world.pool6, there) if rng.randrange(4) else world.seen_from_ipv6(there, rng)  # type: ignore[arg-type]
    payload = segment(rng, entry.protocol, entry.host6[1], port)
    return make.ipv6(entry.host6[0], destination, PROTOCOLS[entry.protocol], payload, **fields6(rng))  # type: ignore[arg-type]


def from_ipv6(rng: Random, world: World) -> bytes:
    """A packet of an IPv6 host."""
    members = [entry for entry in world.mapped if entry.of_service]
    if members and one_in(rng, 3):
        return of_endpoint(rng, world, rng.choice(members))
    host6 = rng.choice(world.hosts6)
    destination, peer_port = destination6(rng, world)
    fields = fields6(rng)
    protocol = rng.choice(("udp", "tcp", "tcp", "icmp"))
    port = rng.choice(PORTS)
    if protocol == "icmp":
        kind = rng.choice((128, 128, 128, 129, 129, 130, 135))
        return make.ipv6(host6, destination, ICMPV6, echo(rng, kind, port), **fields)  # type: ignore[arg-type]
    payload = segment(rng, protocol, port, peer_port)
    covered = not zero_checksum(rng, protocol)
    return make.ipv6(host6, destination, PROTOCOLS[protocol], payload, covered=covered, **fields)  # type: ignore[arg-type]


def from_ipv4(rng: Random, world: World) -> bytes:
    """A packet of an IPv4 host, to a mapping if there is one, to its neighbourhood sometimes."""
    entry = rng.choice(world.mapped if world.mapped and one_in(rng, 3) else world.targets) if world.targets else None
    mapped4, port = (entry and entry.mapped4) or (IPv4Address("192.0.2.1"), 2000)
    protocol = entry.protocol if entry else rng.choice(("udp", "tcp", "icmp"))
    number = PROTOCOLS[protocol] if protocol in PROTOCOLS else 0 if protocol == "icmp" else int(protocol)
    if one_in(rng, 10):
        port = rng.choice((port ^ 1, 80, 65535))
    if world.rows and one_in(rng, 10):
        mapped4 = IPv4Address((int(mapped4) + rng.choice((-1, 1))) % (1 << 32))
    source, source_port = peer_of(rng, world, entry)
    # an IPv4 host with an address of its own in IPv6, RFC 6877
    if world.rows and (not one_in(rng, 3) if world.is_customer else one_in(rng, 5)):
        source, source_port, mapped4, port = mapped4, port, source, source_port
    fields = fields4(rng)
    if protocol == "icmp":
        kind = rng.choice((0, 0, 0, 0, 8, 8, 13, 9))
        return make.ipv4(source, mapped4, ICMP, echo(rng, kind, port), **fields)  # type: ignore[arg-type]
    payload = segment(rng, protocol, source_port, port)
    covered = not zero_checksum(rng, protocol)
    return make.ipv4(source, mapped4, number, payload, covered=covered, **fields)  # type: ignore[arg-type]


def other_protocol(rng: Random, world: World) -> bytes:
    """GRE, ESP, SCTP, AH and its like, ICMP of the wrong family, no next header; headers alone; fragments from IPv6;
    to nobody's address too.
    """
    protocol = rng.choice((47, 50, 132, 51, 51, 135, 139, 140, 59, 59, 2, 41, 253))
    payload = bytes(0 if one_in(rng, 3) else rng.randint(0, 24))
    if coin(rng):
        protocol = rng.choice((protocol, protocol, ICMP, UDP, TCP, ICMPV6))
        destination = ELSEWHERE if one_in(rng, 4) else destination6(rng, world)[0]
        fragment = make.fragment_header(rng.choice((0, 8, 1232)), coin(rng), 1)
        extensions = () if protocol in (UDP, TCP, ICMPV6) else rng.choice(((), (), (fragment,)))
        return make.ipv6(rng.choice(world.hosts6), destination, protocol, payload, extensions=extensions, covered=False)
    mapped4 = rng.choice(world.rows).mapped4 if world.rows and coin(rng) else None
    protocol = rng.choice((protocol, protocol, ICMPV6, UDP, TCP, ICMP))
    there = mapped4[0] if mapped4 else IPv4Address("192.0.2.1")
    return make.ipv4(rng.choice(world.hosts4), there, protocol, payload, covered=False)


def odd_address(rng: Random, world: World) -> bytes:
    """Sources and destinations that no packet should have, RFC 1812 5.3.7, RFC 3927 2.7, RFC 6052 3.1, RFC 6146 3.5,
    and hosts that nothing maps.
    """
    payload, odd = make.udp(5000, 53, b"x"), rng.choice(SPECIAL)
    if coin(rng):
        target = rng.choice(world.targets).mapped4 if world.targets else None
        mapped4, port = target or (IPv4Address("192.0.2.1"), 2000)
        ends = (odd, mapped4), (odd, mapped4), (mapped4, odd), (world.hosts4[0], odd), (mapped4, mapped4)
        source, destination = rng.choice(ends)
        return make.ipv4(source, destination, UDP, make.udp(rng.choice((53, port)), port, b"x"))
    outside = *(IPv6Address(text) for text in ("::1", "::", "ff02::1", "fe80::1")), ELSEWHERE, ELSEWHERE
    embedded = world.seen_from_ipv6(odd, rng)
    if coin(rng):
        return make.ipv6(rng.choice(world.hosts6), rng.choice((embedded, rng.choice(outside))), UDP, payload)
    there, _ = destination6(rng, world)
    return make.ipv6(there if one_in(rng, 6) else rng.choice((embedded, *outside)), there, UDP, payload)


def forged(rng: Random, world: World) -> bytes:
    """From where no host with sessions can be, and refused for something that its sender is told of: a hop limit, a
    source route, a protocol.
    """
    protocol, payload = rng.choice(((UDP, make.udp(5000, 53, b"x")), (TCP, make.tcp(5000, 80, 0x02)), (47, b"xxxx")))
    hop_limit, is_routed = rng.choice((64, 1, 0)), one_in(rng, 3)
    if coin(rng):
        source = destination6(rng, world)[0] if coin(rng) else world.seen_from_ipv6(rng.choice(world.hosts4), rng)
        extensions = (make.routing_header(1),) if is_routed else ()
        there = destination6(rng, world)[0]
        return make.ipv6(source, there, protocol, payload, hop_limit=hop_limit, extensions=extensions)
    ends = [entry.mapped4[0] for entry in world.targets if entry.mapped4] or [IPv4Address("192.0.2.1")]
    options = IPV4_OPTIONS[-4] if is_routed else b""
    source4, there4 = rng.choice(ends), rng.choice((*ends, IPv4Address("192.0.2.1"), world.hosts4[0]))
    return make.ipv4(source4, there4, protocol, payload, ttl=hop_limit, options=options, more=one_in(rng, 9))


def damaged(rng: Random, packet: bytes) -> bytes:
    """The packet cut, with octets behind it, or with one octet of its first hundred changed."""
    how = rng.randint(0, 2)
    if how == 0:
        return packet[: rng.randint(0, max(0, len(packet) - 1))]
    if how == 1:
        return packet + bytes(rng.randrange(256) for _ in range(rng.randint(1, 9)))
    at = rng.randint(0, min(len(packet), 100) - 1)
    return packet[:at] + bytes([packet[at] ^ rng.randint(1, 255)]) + packet[at + 1 :]


Kind = Callable[[Random, World], bytes]
PLAIN: tuple[Kind, ...] = (from_ipv6,) * 8 + (from_ipv4,) * 8 + (other_protocol,) * 2 + (odd_address,) * 3 + (forged,)
WITH_ERRORS: tuple[Kind, ...] = (
    PLAIN + (icmp_error,) * 5 + (too_big, foreign_error, hairpinned_error) * 2 + (illegal_error,)
)


def packets(rng: Random, world: World) -> list[bytes]:
    """One packet, or the fragments of one, for the state the world is in."""
    kind = rng.choice(WITH_ERRORS if world.targets else PLAIN)
    packet = kind(rng, world)
    choice = rng.randint(0, 11)
    if choice == 0 and packet:
        return [damaged(rng, packet)]
    if choice == 1 or (kind is illegal_error and coin(rng)):
        return in_fragments(rng, packet)
    return [packet]


def in_fragments(rng: Random, packet: bytes) -> list[bytes]:
    """In order, at times without the first, doubled, in another order, mixed with others that overlap; only of packets
    without options or extension headers.
    """
    size = rng.choice((24, 48, 1232))
    identification = rng.randint(1, 0xFFFF)
    if packet[0] == 0x45 and packet[6:8] in (b"\0\0", b"\x40\0"):
        cut = partial(make.fragments4, packet, identification=identification)
    elif packet[0] >> 4 == 6 and packet[6] not in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS):
        cut = partial(make.fragments6, packet, identification=identification << 16 | 1)
    else:
        return [packet]
    pieces = cut(size)[:4] if coin(rng) else cut(size)
    how = rng.randint(0, 8)
    if how == 8:
        pieces += cut(40)[1:2]
    if how > 5:
        rng.shuffle(pieces)
    return pieces[1:] or pieces if how == 0 else pieces + pieces[:1] if how == 1 else pieces


def history(rng: Random, world: World, send: Callable[[float, bytes], None], steps: int) -> None:
    """Send packets, each drawn when it is known what became of the one before; a pause in front of some."""
    for _ in range(steps):
        pause = rng.choice(PAUSES)
        for packet in packets(rng, world):
            send(pause, packet)
            pause = 0.0


TURN_FLAGS = (0x02, 0x12, 0x10, 0x10, 0x11, 0x11, 0x01, 0x04, 0x14, 0x03, 0x06, 0x05)
TURN_PAUSES = (0.013, 0.013, 0.013, 5.013, 7.013, 238.013, 242.013, 3600.013, 7438.013, 7442.013)


def conversation(rng: Random, world: World, send: Callable[[float, bytes], None]) -> None:
    """What a TCP session may live to see: both ends, every flag, pauses around each lifetime of RFC 6146 4."""
    send(0.013, turn(rng, world, True, 0x02))
    if coin(rng):
        send(0.013, turn(rng, world, False, 0x12))
    for _ in range(rng.randint(0, 8)):
        send(rng.choice(TURN_PAUSES), turn(rng, world, coin(rng), rng.choice(TURN_FLAGS)))


def turn(rng: Random, world: World, from_v6: bool, flags: int) -> bytes:
    """A segment between the first hosts of both sides, ports 5000 and 80; from IPv4 to their mapping."""
    host6, host4, told = world.hosts6[0], world.hosts4[0], numbers(rng)
    if from_v6:
        return make.ipv6(host6, world.seen_from_ipv6(host4), TCP, make.tcp(5000, 80, flags, numbers=told))
    mapped4, port = (world.mapped[0].mapped4 if world.mapped else None) or (IPv4Address("192.0.2.1"), 1)
    return make.ipv4(host4, mapped4, TCP, make.tcp(80, port, flags, numbers=told))
