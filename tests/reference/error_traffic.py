"""ICMP errors about the traffic of a mapping, of every type and code, with quotes whole, cut and wrong."""

from ipaddress import IPv4Address, IPv6Address
from random import Random

from tests.reference import packets as make
from tests.reference.bib import Entry, Host4
from tests.reference.icmp import EXTENSIBLE, LEAST_DATAGRAM, LENGTH_AT, WORD
from tests.reference.reading import ICMP, ICMPV6
from tests.reference.segments import data, segment
from tests.reference.world import NOBODYS, PROTOCOLS, SPECIAL, World, coin, one_in, peer_of

# Around what no link has below (68, 1280) and what the other family makes of it (20 or 28 less or more).
MTUS = (0, 0, 1, 48, 67, 68, 87, 88, 95, 96, 576, 1000, 1259, 1260, 1279, 1280, 1300, 1400, 1480, 1500, 65535, 100000)
LENGTHS = (0, 0, 600, 1006, 1007, 1300, 1492, 1493, 1512, 2002, 2003, 9000)  # around plateaus (RFC 1191 7)
ILLEGAL6 = tuple(IPv6Address(text) for text in ("::1", "::", "fe80::1", "ff02::1"))  # RFC 7915 5.1
OBJECT = b"\x20\x00\x9e\x8e\x00\x08\x01\x01\x00\x3e\x81\x01"  # RFC 4884 7 and 8, RFC 4950: a label stack entry


def icmp_error(rng: Random, world: World) -> bytes:
    """From a router or the other end."""
    entry = rng.choice(world.targets)
    return error_from_ipv4(rng, world, entry) if coin(rng) else error_from_ipv6(rng, world, entry)


def illegal_error(rng: Random, world: World) -> bytes:
    """From a source that no packet should have: RFC 7915 4.1 has an ICMPv4 error of one translated all the same."""
    entry = rng.choice(world.targets)
    if one_in(rng, 3):
        return error_from_ipv6(rng, world, entry, source=rng.choice(ILLEGAL6))
    return error_from_ipv4(rng, world, entry, source=rng.choice(SPECIAL))


def too_big(rng: Random, world: World) -> bytes:
    """A router cannot pass a packet on: of an MTU that no link may have, as often as not, or of 0."""
    entry, mtu = rng.choice(world.targets), rng.choice((0, rng.choice(MTUS), rng.choice(MTUS)))
    if coin(rng):
        quoted = longer(rng, quoted_in_ipv4(rng, world, entry), 2)
        return error_from_ipv4(rng, world, entry, 3, 4, mtu, quoted)
    quoted = quoted_in_ipv6(rng, world, entry, target_of(rng, world) if one_in(rng, 3) else None)
    return error_from_ipv6(rng, world, entry, 2, 0, mtu, longer(rng, quoted, 4))


def longer(rng: Random, quoted: bytes, at: int) -> bytes:
    """The packet with a length field that says more, mostly: who quotes it leaves octets out."""
    length = max(int.from_bytes(quoted[at : at + 2]), rng.choice(LENGTHS))
    return quoted[:at] + length.to_bytes(2) + quoted[at + 2 :]


def hairpinned_error(rng: Random, world: World) -> bytes:
    """From an IPv6 host or router, about a packet of another IPv6 host, that knows it by its IPv4 address."""
    kind, code = rng.choice(((1, 0), (1, 4), (2, 0), (3, 0), (4, 0), (4, 1)))
    word = rng.choice(MTUS) if kind == 2 else rng.randrange(42)
    entry = rng.choice(world.targets)
    return error_from_ipv6(
        rng, world, entry, kind, code, word, quoted_in_ipv6(rng, world, entry, target_of(rng, world))
    )


def foreign_error(rng: Random, world: World) -> bytes:
    """For one host, about the packet of another one, or of nobody."""
    here, there = target_of(rng, world), target_of(rng, world)
    if one_in(rng, 3):
        there = NOBODYS, 5000
    entry = rng.choice(world.targets)
    if coin(rng):
        quoted = bytearray(quoted_in_ipv4(rng, world, entry))
        quoted[12:16] = there[0].packed
        body = make.error(*rng.choice(((3, 1), (3, 3), (3, 4), (11, 0))), bytes(quoted), rng.choice(MTUS).to_bytes(4))
        return make.ipv4(rng.choice((*world.routers4, *world.hosts4)), here[0], ICMP, body)
    about = quoted_in_ipv6(rng, world, entry, there if coin(rng) else None)
    body = make.error(*rng.choice(((1, 0), (1, 4), (2, 0), (3, 0))), about, rng.choice(MTUS).to_bytes(4))
    to = rng.choice((here[0], *world.hosts4))
    return make.ipv6(rng.choice((*world.routers6, entry.host6[0])), world.seen_from_ipv6(to, rng), ICMPV6, body)


def target_of(rng: Random, world: World) -> Host4:
    """The IPv4 side of an IPv6 host."""
    return rng.choice(world.targets).mapped4 or (IPv4Address("192.0.2.1"), 0)


def error_from_ipv4(
    rng: Random,
    world: World,
    entry: Entry,
    kind: int = 0,
    code: int = 0,
    word: int | None = None,
    quoted: bytes | None = None,
    source: IPv4Address | None = None,
) -> bytes:
    """About a packet of `entry`; of any kind, unless one is given."""
    quoted = quoted or quoted_in_ipv4(rng, world, entry)
    if not kind:
        kind = rng.choice((3, 3, 3, 11, 12, 4, 5))
        code = rng.randint(0, 16) if kind == 3 else rng.randint(0, 3)
    if word is None:
        word = rng.randint(0, 21) << 24 if kind == 12 else rng.choice(MTUS)
    here = entry.mapped4 or (IPv4Address("192.0.2.1"), 0)
    target = IPv4Address(quoted[16:20])
    special = rng.choice(SPECIAL)
    source = source or rng.choice((*world.routers4, *world.hosts4, special, special, target, target_of(rng, world)[0]))
    body = make.error(kind, code, quoted, word.to_bytes(4))
    if world.extensions and kind in EXTENSIBLE[4] and coin(rng):
        body = with_extension(rng, body, 4)
    return make.ipv4(source, here[0], ICMP, body, tos=rng.choice((0, 0xC0)))


def error_from_ipv6(
    rng: Random,
    world: World,
    entry: Entry,
    kind: int = 0,
    code: int = 0,
    word: int | None = None,
    quoted: bytes | None = None,
    source: IPv6Address | None = None,
) -> bytes:
    """About a packet for `entry`; of any kind, unless one is given."""
    quoted = quoted or quoted_in_ipv6(rng, world, entry)
    if not kind:
        kind = rng.choice((1, 1, 2, 3, 4, 4, 100))
        code = rng.randint(0, 7) if kind == 1 else rng.randint(0, 3)
    if word is None:
        word = rng.choice(MTUS) if kind == 2 else rng.choice((*range(42), 0x06000000)) if kind == 4 else 0
    usual = rng.choice(ILLEGAL6) if one_in(rng, 12) else rng.choice((*world.routers6, entry.host6[0]))
    body = make.error(kind, code, quoted, word.to_bytes(4))
    if world.extensions and kind in EXTENSIBLE[6] and coin(rng):
        body = with_extension(rng, body, 6)
    return make.ipv6(source or usual, IPv6Address(quoted[8:24]), ICMPV6, body)


def room(rng: Random) -> int:
    """Octets of the quoted packet's payload: RFC 792 is sure of 8."""
    return rng.choice((8, 12, 20, 28, 64, 548, 1232, 5000, 5000, 2, 0))


def peer_for(rng: Random, world: World, entry: Entry) -> Host4:
    sessions = [host for host in entry.sessions if host[1] or entry.protocol not in ("tcp", "udp")]
    if not sessions and not world.rows:
        return world.hosts4[0], 53
    return rng.choice(sorted(sessions)) if sessions else peer_of(rng, world, entry)


def quoted_in_ipv4(rng: Random, world: World, entry: Entry) -> bytes:
    """What an IPv4 router has seen of the traffic on its way out."""
    peer, port = peer_for(rng, world, entry)
    here, here_port = entry.mapped4 or (IPv4Address("192.0.2.1"), 0)
    options = rng.choice((b"", b"", b"\x01\x01\x01\0"))
    payload = quoted_segment(rng, entry, here_port, port, (8, 0))
    packet = make.ipv4(
        here,
        peer,
        number_of(entry.protocol, ICMP),
        payload,
        ttl=rng.choice((0, 1, 64)),
        dont_fragment=coin(rng),
        options=options,
        more=one_in(rng, 10),
        offset=8 if one_in(rng, 10) else 0,
    )
    return packet[: 20 + len(options) + room(rng)]


def quoted_in_ipv6(rng: Random, world: World, entry: Entry, known: Host4 | None = None) -> bytes:
    """What an IPv6 router, or the host itself, has seen of the traffic on its way in."""
    peer, port = known or peer_for(rng, world, entry)
    host6, port6 = entry.host6
    offset, more = 8 if one_in(rng, 6) else 0, one_in(rng, 10)
    chain = rng.choice(((), (), (), (make.fragment_header(offset, more, 0x10007),), (make.options_header(60),)))
    payload = quoted_segment(rng, entry, port, port6, (128, 129))
    packet = make.ipv6(
        world.seen_from_ipv6(peer, rng),
        host6,
        number_of(entry.protocol, ICMPV6),
        payload,
        hop_limit=rng.choice((0, 1, 64)),
        extensions=chain,
    )
    return packet[: 40 + sum(1 + len(body) for _, body in chain) + room(rng)]


def number_of(protocol: str, icmp: int) -> int:
    if protocol == "icmp":
        return icmp
    return PROTOCOLS[protocol] if protocol in PROTOCOLS else int(protocol)


def quoted_segment(rng: Random, entry: Entry, source: int, destination: int, echo_types: tuple[int, int]) -> bytes:
    if entry.protocol != "icmp":
        return segment(rng, entry.protocol, source, destination)
    identifier = source or destination
    kinds = (*echo_types, *echo_types, 3, 13) if echo_types[0] == 8 else (*echo_types, *echo_types, 1, 133)
    return make.echo(rng.choice(kinds), identifier, data(rng))


def with_extension(rng: Random, message: bytes, family: int) -> bytes:
    """RFC 4884: the quote cut or padded, its length told (not always truly), an object of RFC 4950 behind it."""
    size = rng.choice((LEAST_DATAGRAM, LEAST_DATAGRAM, 136, 200, 512))
    word = bytearray(message[4:8])
    word[LENGTH_AT[family]] = rng.choice((size,) * 8 + (8, 64, 2000)) // WORD[family] % 256
    quoted = message[8 : 8 + size].ljust(size, b"\0")
    return message[:4] + bytes(word) + quoted + OBJECT * rng.choice((1, 1, 1, 2, 40))
