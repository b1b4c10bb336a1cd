"""Hypothesis strategies: packets of both families and histories of them.

A packet from IPv4 only matters when it goes to a mapping the translator has made, so packets are drawn with the
mappings known so far; `World` holds the few hosts and ports that everything is drawn from, so that packets meet.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from hypothesis import strategies as st

from tests.reference import packets as make
from tests.reference.addresses import embed
from tests.reference.bib import Entry
from tests.reference.icmp import EXTENSIBLE, LEAST_DATAGRAM, LENGTH_AT, WORD
from tests.reference.reading import DESTINATION_OPTIONS, HOP_BY_HOP, ICMP, ICMPV6, TCP, UDP

FLAGS = (
    0x02,
    0x12,
    0x10,
    0x18,
    0x11,
    0x01,
    0x04,
    0x14,
    0x03,
    0x06,
    0x05,
    0x00,
)  # SYN, SYN-ACK, ACK, PSH, FIN-ACK, FIN, RST, …
PORTS = (53, 80, 1023, 1024, 5000, 5001, 65535)
# Sums of these never meet a timeout exactly, where RFC 6146 does not say which of two things happens first.
PAUSES = (0.0, 0.013, 0.513, 1.013, 5.013, 7.013, 30.013, 59.013, 62.013, 130.013, 238.013, 242.013, 298.013, 302.013)
LONG_PAUSES = (3600.013, 7438.013, 7442.013)
HOP_LIMITS = (64,) * 17 + (255, 2, 1, 0)
PROTOCOLS = {"udp": UDP, "tcp": TCP}


@dataclass(frozen=True)
class World:
    """The hosts on both sides."""

    pool6: IPv6Network
    hosts6: tuple[IPv6Address, ...] = (IPv6Address("2001:db8:6::1"), IPv6Address("2001:db8:6::2"))
    hosts4: tuple[IPv4Address, ...] = (IPv4Address("8.8.8.8"), IPv4Address("9.9.9.9"))
    routers6: tuple[IPv6Address, ...] = (IPv6Address("2001:db8:7::1"),)
    routers4: tuple[IPv4Address, ...] = (IPv4Address("1.1.1.1"),)
    mapped: list[Entry] = field(default_factory=list)
    extensions: bool = False  # RFC 4884 in ICMP errors

    def seen_from_ipv6(self, host4: IPv4Address) -> IPv6Address:
        return embed(self.pool6, host4)


def sizes(draw: st.DrawFn) -> int:
    """Octets of data: mostly few, odd as often as even, and around the limits of RFC 7915."""
    around = st.sampled_from((1212, 1213, 1220, 1231, 1232, 1233, 1240, 1252, 1260, 1400, 1440, 1452, 1453, 1472))
    return draw(st.one_of(st.integers(0, 40), st.integers(0, 40), around))


def data(draw: st.DrawFn) -> bytes:
    """Octets that differ, so that a lost or doubled one shows, and that sum to 0xFFFF now and then (checksum 0)."""
    start = draw(st.integers(0, 255))
    return bytes((start + 7 * at) % 256 for at in range(sizes(draw)))


def segment(draw: st.DrawFn, protocol: str, source: int, destination: int) -> bytes:
    if protocol == "udp":
        return make.udp(source, destination, data(draw))
    options = draw(st.sampled_from((b"", b"\x01\x01\x01\0")))
    return make.tcp(source, destination, draw(st.sampled_from(FLAGS)), data(draw), options)


def zero_checksum(draw: st.DrawFn, protocol: str) -> bool:
    return protocol == "udp" and draw(st.integers(0, 9)) == 0


def extension_headers(draw: st.DrawFn) -> tuple[tuple[int, bytes], ...]:
    """RFC 8200 4.1: mostly none; a Fragment Header (often of an atomic fragment) last, but for a wrong one at times."""
    if draw(st.integers(0, 7)) != 0:
        return ()
    chain = []
    if draw(st.booleans()):
        chain.append(make.options_header(HOP_BY_HOP, draw(st.sampled_from((8, 16)))))
    if draw(st.booleans()):
        chain.append(make.options_header(DESTINATION_OPTIONS, 8))
    if draw(st.integers(0, 2)) == 0:
        chain.append(make.routing_header(draw(st.sampled_from((0, 0, 1, 255)))))
    if draw(st.booleans()):
        chain.append(fragment(draw))
    if draw(st.integers(0, 5)) == 0:
        chain.append(make.options_header(DESTINATION_OPTIONS, 8))
    return tuple(chain)


def fragment(draw: st.DrawFn) -> tuple[int, bytes]:
    identification = draw(st.sampled_from((1, 0x12345678)))
    return make.fragment_header(draw(st.sampled_from((0, 0, 0, 8, 1232))), draw(st.booleans()), identification)


def ipv4_options(draw: st.DrawFn) -> bytes:
    """RFC 791: none mostly; record route, timestamp, padding; source routes expired and not; nonsense."""
    return draw(
        st.sampled_from(
            (b"",) * 40
            + (
                b"\x07\x07\x04\0\0\0\0\0",
                b"\x44\x08\x05\0\0\0\0\0",
                b"\x01\x01\x01\0",
                b"\x83\x07\x08\x01\x02\x03\x04\0",
                b"\x83\x07\x04\x01\x02\x03\x04\0",
                b"\x01\x89\x07\x04\x01\x02\x03\x04",
                b"\0\x83\x07\x04\x01\x02\x03\x04",
                b"\x07\x00\0\0",
            )
        )
    )


@st.composite
def from_ipv6(draw: st.DrawFn, world: World) -> bytes:
    """A packet of an IPv6 host: to an IPv4 host, or to a mapped address (hairpin)."""
    host6 = draw(st.sampled_from(world.hosts6))
    peer, peer_port = draw(st.sampled_from(world.hosts4)), draw(st.sampled_from(PORTS))
    if world.mapped and draw(st.integers(0, 5)) == 0:
        peer, peer_port = draw(st.sampled_from(world.mapped)).mapped4
    fields = {
        "hop_limit": draw(st.sampled_from(HOP_LIMITS)),
        "traffic_class": draw(st.sampled_from((0, 0, 0xB8, 0xFF))),
        "flow_label": draw(st.sampled_from((0, 0xABCDE))),
        "extensions": extension_headers(draw),
    }
    destination = world.seen_from_ipv6(peer)
    protocol = draw(st.sampled_from(("udp", "tcp", "tcp", "icmp")))
    port = draw(st.sampled_from(PORTS))
    if protocol == "icmp":
        kind = draw(st.sampled_from((128, 128, 128, 129, 129, 130, 135)))
        return make.ipv6(host6, destination, ICMPV6, make.echo(kind, port, data(draw)), **fields)
    payload = segment(draw, protocol, port, peer_port)
    covered = not zero_checksum(draw, protocol)
    return make.ipv6(host6, destination, PROTOCOLS[protocol], payload, covered=covered, **fields)


@st.composite
def from_ipv4(draw: st.DrawFn, world: World) -> bytes:
    """A packet of an IPv4 host, to a mapping if there is one, to its neighbourhood sometimes."""
    entry = draw(st.sampled_from(world.mapped)) if world.mapped else None
    mapped4, port = entry.mapped4 if entry else (IPv4Address("192.0.2.1"), 2000)
    protocol = entry.protocol if entry else draw(st.sampled_from(("udp", "tcp", "icmp")))
    if draw(st.integers(0, 9)) == 0:
        port = draw(st.sampled_from((port ^ 1, 80, 65535)))
    source, source_port = draw(st.sampled_from(world.hosts4)), draw(st.sampled_from(PORTS))
    if entry and entry.sessions and draw(st.booleans()):
        source, source_port = draw(st.sampled_from(sorted(entry.sessions)))
    fields = {
        "ttl": draw(st.sampled_from(HOP_LIMITS)),
        "tos": draw(st.sampled_from((0, 0, 0xB8, 0xFF))),
        "identification": draw(st.sampled_from((1, 0xFFFF))),
        "dont_fragment": draw(st.booleans()),
        "more": draw(st.integers(0, 29)) == 0,
        "offset": draw(st.sampled_from((0,) * 28 + (8, 1480))),
        "options": ipv4_options(draw),
    }
    if protocol == "icmp":
        kind = draw(st.sampled_from((0, 0, 0, 0, 8, 8, 13, 9)))
        return make.ipv4(source, mapped4, ICMP, make.echo(kind, port, data(draw)), **fields)
    payload = segment(draw, protocol, source_port, port)
    covered = not zero_checksum(draw, protocol)
    return make.ipv4(source, mapped4, PROTOCOLS[protocol], payload, covered=covered, **fields)


@st.composite
def other_protocol(draw: st.DrawFn, world: World) -> bytes:
    """GRE, ESP, SCTP, AH, ICMP of the wrong family, no next header."""
    protocol = draw(st.sampled_from((47, 50, 132, 51, 59, 2, 41, 253)))
    payload = bytes(draw(st.integers(0, 24)))
    host4, host6 = draw(st.sampled_from(world.hosts4)), draw(st.sampled_from(world.hosts6))
    if draw(st.booleans()):
        protocol = draw(st.sampled_from((protocol, ICMP)))
        return make.ipv6(host6, world.seen_from_ipv6(host4), protocol, payload or b"\0", covered=False)
    return make.ipv4(host4, IPv4Address("192.0.2.1"), draw(st.sampled_from((protocol, ICMPV6))), payload, covered=False)


@st.composite
def quoted_in_error(draw: st.DrawFn, entry: Entry, world: World, in_ipv4: bool) -> bytes:
    """What a router of that side has seen of the entry's traffic on its way to it, whole or cut (RFC 792: 8 octets are
    sure).
    """
    peers = [host for host in entry.sessions if host[1] or entry.protocol == "icmp"]
    peer, port = draw(st.sampled_from(sorted(peers))) if peers else (world.hosts4[0], 53)
    ttl = draw(st.sampled_from((0, 1, 64)))
    more = draw(st.integers(0, 9)) == 0
    if in_ipv4:
        here, there = entry.mapped4, (peer, port)
        options = draw(st.sampled_from((b"", b"", b"\x01\x01\x01\0")))
        fields = {"ttl": ttl, "dont_fragment": draw(st.booleans()), "options": options, "more": more}
        fields["offset"] = draw(st.sampled_from((0,) * 9 + (8,)))
        payload = quoted_segment(draw, entry, here[1], there[1], (8, 0))
        packet = make.ipv4(here[0], there[0], PROTOCOLS.get(entry.protocol, ICMP), payload, **fields)
        cut_at = 20 + len(options)
    else:
        here, there = (world.seen_from_ipv6(peer), port), entry.host6
        chain = draw(st.sampled_from(((), (), (), (make.fragment_header(0, more, 7),), (make.options_header(60),))))
        payload = quoted_segment(draw, entry, here[1], there[1], (128, 129))
        protocol = PROTOCOLS.get(entry.protocol, ICMPV6)
        packet = make.ipv6(here[0], there[0], protocol, payload, hop_limit=ttl, extensions=chain)
        cut_at = 40 + sum(1 + len(body) for _, body in chain)
    room = draw(st.sampled_from((8, 12, 20, 28, 64, 548, 1232, 5000, 5000, 2, 0)))
    return packet[: cut_at + room]


def quoted_segment(draw: st.DrawFn, entry: Entry, source: int, destination: int, echo_types: tuple[int, int]) -> bytes:
    if entry.protocol == "icmp":
        identifier = source or destination
        kinds = (*echo_types, *echo_types, 3, 13) if echo_types[0] == 8 else (*echo_types, *echo_types, 1, 133)
        return make.echo(draw(st.sampled_from(kinds)), identifier, data(draw))
    return segment(draw, entry.protocol, source, destination)


@st.composite
def icmp_error(draw: st.DrawFn, world: World) -> bytes:
    """An ICMP error about traffic of a known mapping, from a router or the other end, of every type and code."""
    entry = draw(st.sampled_from(world.mapped))
    in_ipv4 = draw(st.booleans())
    quoted = draw(quoted_in_error(entry, world, in_ipv4))
    if in_ipv4:
        kind = draw(st.sampled_from((3, 3, 3, 11, 12, 4, 5)))
        code = draw(st.integers(0, 16)) if kind == 3 else draw(st.integers(0, 3))
        word = draw(st.sampled_from((0, 1, 68, 576, 1259, 1260, 1280, 1480, 1500, 65535)))
        if kind == 12:
            word = draw(st.integers(0, 21)) << 24
        source = draw(st.sampled_from((*world.routers4, *world.hosts4, IPv4Address("127.0.0.1"))))
        body = make.error(kind, code, quoted, word.to_bytes(4))
        if world.extensions and kind in EXTENSIBLE[4] and draw(st.booleans()):
            body = with_extension(body, 4)
        return make.ipv4(source, entry.mapped4[0], ICMP, body, tos=draw(st.sampled_from((0, 0xC0))))
    kind = draw(st.sampled_from((1, 1, 2, 3, 4, 4, 100)))
    code = draw(st.integers(0, 7)) if kind == 1 else draw(st.integers(0, 3))
    word = draw(st.sampled_from((0, 1260, 1280, 1400, 1500, 65535, 100000)))
    if kind == 4:
        word = draw(st.sampled_from((*range(42), 0x06000000)))
    elif kind != 2:
        word = 0
    source = draw(st.sampled_from((*world.routers6, entry.host6[0])))
    destination = IPv6Address(quoted[8:24]) if len(quoted) >= 24 else world.seen_from_ipv6(world.hosts4[0])
    body = make.error(kind, code, quoted, word.to_bytes(4))
    if world.extensions and kind in EXTENSIBLE[6] and draw(st.booleans()):
        body = with_extension(body, 6)
    return make.ipv6(source, destination, ICMPV6, body)


def with_extension(message: bytes, family: int) -> bytes:
    """RFC 4884: the quote cut or padded to 128 octets, its length told, an object of RFC 4950 behind it."""
    word = bytearray(message[4:8])
    word[LENGTH_AT[family]] = LEAST_DATAGRAM // WORD[family]
    quoted = message[8 : 8 + LEAST_DATAGRAM].ljust(LEAST_DATAGRAM, b"\0")
    return message[:4] + bytes(word) + quoted + b"\x20\x00\x9e\x8e\x00\x08\x01\x01\x00\x3e\x81\x01"


@st.composite
def odd_address(draw: st.DrawFn, world: World) -> bytes:
    """Sources and destinations that no packet should have, RFC 1812 5.3.7, RFC 6052 3.1, RFC 6146 3.5."""
    payload = make.udp(5000, 53, b"x")
    if draw(st.booleans()):
        texts = ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "10.0.0.1", "192.0.2.9", "169.254.1.1")
        odd = IPv4Address(draw(st.sampled_from(texts)))
        ends = [odd, world.mapped[0].mapped4[0] if world.mapped else IPv4Address("192.0.2.1")]
        port = world.mapped[0].mapped4[1] if world.mapped else 2000
        if draw(st.integers(0, 4)) == 0:
            ends = [world.hosts4[0], odd]
        return make.ipv4(*ends, UDP, make.udp(53, port, b"x"))
    inside = [world.seen_from_ipv6(IPv4Address(text)) for text in ("127.0.0.1", "224.0.0.1", "10.1.2.3", "0.0.0.0")]
    outside = [IPv6Address(text) for text in ("::1", "::", "ff02::1", "fe80::1", "2001:db8:ffff::1")]
    if draw(st.booleans()):
        return make.ipv6(world.hosts6[0], draw(st.sampled_from(inside + outside)), UDP, payload)
    source = draw(st.sampled_from([*outside[:4], inside[2]]))
    return make.ipv6(source, world.seen_from_ipv6(world.hosts4[0]), UDP, payload)


@st.composite
def damaged(draw: st.DrawFn, packet: bytes) -> bytes:
    """The packet cut, with octets behind it, or with one octet of its first hundred changed."""
    how = draw(st.integers(0, 2))
    if how == 0:
        return packet[: draw(st.integers(0, max(0, len(packet) - 1)))]
    if how == 1:
        return packet + draw(st.binary(min_size=1, max_size=9))
    at = draw(st.integers(0, min(len(packet), 100) - 1))
    return packet[:at] + bytes([packet[at] ^ draw(st.integers(1, 255))]) + packet[at + 1 :]


@st.composite
def packets(draw: st.DrawFn, world: World) -> list[bytes]:
    """One packet, or the fragments of one, for the state the world is in."""
    kinds = [from_ipv6(world)] * 8 + [from_ipv4(world)] * 8 + [other_protocol(world), odd_address(world)]
    if world.mapped:
        kinds += [icmp_error(world)] * 6
    packet = draw(draw(st.sampled_from(kinds)))
    choice = draw(st.integers(0, 11))
    if choice == 0 and packet:
        return [draw(damaged(packet))]
    if choice == 1:
        return in_fragments(draw, packet)
    return [packet]


def in_fragments(draw: st.DrawFn, packet: bytes) -> list[bytes]:
    """In order, at times without the first, at times doubled; only of packets without options or extension headers."""
    size = draw(st.sampled_from((24, 48, 1232)))
    identification = draw(st.integers(1, 0xFFFF))
    if packet[0] == 0x45 and packet[6:8] in (b"\0\0", b"\x40\0"):
        pieces = make.fragments4(packet, size, identification)
    elif packet[0] >> 4 == 6 and packet[6] in (TCP, UDP, ICMPV6):
        pieces = make.fragments6(packet, size, identification << 16 | 1)
    else:
        return [packet]
    pieces = pieces[:4]
    how = draw(st.integers(0, 5))
    return pieces[1:] or pieces if how == 0 else pieces + pieces[:1] if how == 1 else pieces


def pauses(long: bool) -> st.SearchStrategy[float]:
    return st.sampled_from((0.013,) * 12 + PAUSES + (LONG_PAUSES if long else ()))


@dataclass(frozen=True)
class Turn:
    """One segment of a TCP conversation, `pause` seconds after the one before."""

    from_v6: bool
    flags: int
    pause: float


def conversations() -> st.SearchStrategy[list[Turn]]:
    """What a session may live to see: both ends, every flag, pauses around each lifetime of RFC 6146 4."""
    turn = st.builds(
        Turn,
        from_v6=st.booleans(),
        flags=st.sampled_from((0x02, 0x12, 0x10, 0x10, 0x11, 0x11, 0x01, 0x04, 0x14, 0x03, 0x06, 0x05)),
        pause=st.sampled_from((0.013, 0.013, 0.013, 5.013, 7.013, 238.013, 242.013, 3600.013, 7438.013, 7442.013)),
    )
    opening = st.sampled_from(([Turn(True, 0x02, 0.013)], [Turn(True, 0x02, 0.013), Turn(False, 0x12, 0.013)]))
    return st.builds(list.__add__, opening, st.lists(turn, max_size=8))


def segment_of(world: World, turn: Turn) -> bytes:
    """The turn as a packet between the first hosts of both sides, ports 5000 and 80; from IPv4 to their mapping."""
    host6, host4 = world.hosts6[0], world.hosts4[0]
    if turn.from_v6:
        return make.ipv6(host6, world.seen_from_ipv6(host4), TCP, make.tcp(5000, 80, turn.flags))
    mapped4, port = world.mapped[0].mapped4 if world.mapped else (IPv4Address("192.0.2.1"), 1)
    return make.ipv4(host4, mapped4, TCP, make.tcp(80, port, turn.flags))
