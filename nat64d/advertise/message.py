"""Router solicitations and advertisements as octets (RFC 4861 section 4), with PREF64 (RFC 8781) and RDNSS (RFC 8106).

Pure. What comes from the network is malformed until the contrary is shown: a parser returns None, it raises nothing.
"""

import struct
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network
from typing import NamedTuple

# SPEC: RFC 4861 sections 4.1, 4.2 and 4.6, RFC 8781 section 4, RFC 8106 section 5.1
SOLICITATION, ADVERTISEMENT = 133, 134
SOURCE_LINK_LAYER, RDNSS, PREF64 = 1, 25, 38
SOLICITATION_HEADER, ADVERTISEMENT_HEADER, UNIT = 8, 16, 8  # octets; of options, lengths are in units
LENGTHS = (96, 64, 56, 48, 40, 32)  # of prefixes, by prefix length code
SCALE, LONGEST = 8, 65528  # seconds of a PREF64: they come in eights
HEADER = struct.Struct("!BBHBBHII")  # type, code, checksum, hop limit, flags, router lifetime, reachable, retransmit
UNSPECIFIED = IPv6Address("::")


class Pref64(NamedTuple):
    """A NAT64 prefix and for how many seconds it may be used; 0: it must not be used any more."""

    prefix: IPv6Network
    lifetime: int


class Advertisement(NamedTuple):
    """What a router announces; lifetimes in seconds. A router lifetime of 0: it is no default router. `rdnss_gone` are
    name servers that must not be asked any more."""

    router_lifetime: int = 0
    pref64: tuple[Pref64, ...] = ()
    rdnss: tuple[IPv6Address, ...] = ()
    rdnss_lifetime: int = 0
    rdnss_gone: tuple[IPv6Address, ...] = ()


def solicitation() -> bytes:
    """RFC 4861 section 4.1, without a link-layer address; the kernel writes the checksum."""
    return struct.pack("!BBHI", SOLICITATION, 0, 0, 0)


def built(one: Advertisement) -> bytes:
    """The octets of an advertisement that says nothing else: no hop limit, no flags, no timers, no on-link prefix. The
    kernel writes the checksum. The lengths of its prefixes must be among LENGTHS."""
    header = HEADER.pack(ADVERTISEMENT, 0, 0, 0, 0, one.router_lifetime, 0, 0)
    options = [_pref64(prefix, lifetime) for prefix, lifetime in one.pref64]
    options += [_rdnss(*each) for each in ((one.rdnss, one.rdnss_lifetime), (one.rdnss_gone, 0)) if each[0]]
    return header + b"".join(options)


def _pref64(prefix: IPv6Network, lifetime: int) -> bytes:
    """RFC 8781 section 4.1: lifetimes are rounded up to eights, as far as there is room."""
    scaled = min(-(-lifetime // SCALE), LONGEST // SCALE)
    return struct.pack("!BBH", PREF64, 2, scaled << 3 | LENGTHS.index(prefix.prefixlen)) + prefix[0].packed[:12]


def _rdnss(servers: tuple[IPv6Address, ...], lifetime: int) -> bytes:
    """RFC 8106 section 5.1."""
    head = struct.pack("!BBHI", RDNSS, 1 + 2 * len(servers), 0, lifetime)
    return head + b"".join(address.packed for address in servers)


def parsed(message: bytes) -> Advertisement | None:
    """A router advertisement, or None if it must be discarded (RFC 4861 section 6.1.2); an option of another form than
    we know is passed over (RFC 8781 section 4)."""
    options = _options(message[ADVERTISEMENT_HEADER:])
    if len(message) < ADVERTISEMENT_HEADER or message[:2] != bytes((ADVERTISEMENT, 0)) or options is None:
        return None
    pref64 = tuple(found for kind, octets in options if kind == PREF64 for found in _prefix_in(octets))
    return Advertisement(HEADER.unpack_from(message)[5], pref64)


def _prefix_in(option: bytes) -> Iterator[Pref64]:
    """The prefix of a PREF64 option; bits beyond its length are ignored."""
    field = int.from_bytes(option[2:4])
    if len(option) == 2 * UNIT and field & 7 < len(LENGTHS):
        prefix = IPv6Network((option[4:16] + bytes(4), LENGTHS[field & 7]), strict=False)
        yield Pref64(prefix, (field >> 3) * SCALE)


def is_solicitation(message: bytes, source: IPv6Address) -> bool:
    """Whether a router has to answer it (RFC 4861 section 6.1.1); that its hop limit is 255 is known by now."""
    options = _options(message[SOLICITATION_HEADER:])
    if len(message) < SOLICITATION_HEADER or message[:2] != bytes((SOLICITATION, 0)) or options is None:
        return False
    return source != UNSPECIFIED or all(kind != SOURCE_LINK_LAYER for kind, _ in options)


def _options(octets: bytes) -> list[tuple[int, bytes]] | None:
    """Type and octets of each option; None if one has no length, or goes beyond the end."""
    found = []
    while octets:
        size = octets[1] * UNIT if len(octets) >= 2 else 0
        if not 0 < size <= len(octets):
            return None
        found.append((octets[0], octets[:size]))
        octets = octets[size:]
    return found
