"""Who gets what synthesised: RFC 6147 sections 5.1.4 and 5.2, RFC 6052 section 3.1, RFC 8215."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

from nat64d.dns64.wire import ends_with

# Never a host beyond the translator: RFC 6890, "this network", loopback, link-local, multicast, reserved.
NO_HOSTS4 = tuple(map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")))
MAPPED = IPv6Network("::ffff:0:0/96")  # RFC 6147 section 5.1.4: excluded by default
_U_OCTET = 8  # RFC 6052 section 2.2: bits 64 to 71 are zero


@dataclass(frozen=True)
class Range:
    """IPv4 addresses and the prefix they are written under; None: they are not written at all."""

    ipv4: IPv4Network
    pool6: IPv6Network | None


@dataclass(frozen=True)
class Policy:
    """What one kind of client is answered."""

    clients: tuple[IPv4Network | IPv6Network, ...]
    ranges: tuple[Range, ...]  # the first that covers an address decides
    exclude: tuple[IPv6Network, ...] = (MAPPED,)  # AAAA records taken for none
    exclude_names: tuple[bytes, ...] = ()  # keys of names at and below which nothing is synthesised
    force_names: tuple[bytes, ...] = ()  # ... and below which real AAAA records are replaced
    synthesise: bool = True

    def serves(self, client: IPv4Address | IPv6Address) -> bool:
        """Whether this policy is the client's."""
        return any(client in network for network in self.clients)

    def synthesises(self, key: bytes) -> bool:
        """Whether a name may be given AAAA records."""
        return self.synthesise and not _below(key, self.exclude_names)

    def forces(self, key: bytes) -> bool:
        """Whether a name's own AAAA records are taken for none."""
        return _below(key, self.force_names)

    def excludes(self, data: bytes) -> bool:
        """Section 5.1.4: whether the 16 octets of an AAAA record are taken for none."""
        address = IPv6Address(data)
        return any(address in network for network in self.exclude)

    def embed(self, data: bytes) -> bytes | None:
        """The 16 octets that stand for the 4 of an A record, None if nothing does."""
        address = IPv4Address(data)
        for row in self.ranges:
            if address in row.ipv4:
                return embed(row.pool6, data) if row.pool6 else None
        return None

    def discovery(self, well_known4: Iterable[bytes]) -> list[bytes]:
        """RFC 7050 section 3: the AAAA records by which hosts find the prefix, of that for the whole of IPv4."""
        pool6 = self.ranges[-1].pool6 if self.ranges and self.synthesise else None
        return [embed(pool6, data) for data in well_known4] if pool6 else []

    def extract(self, address: IPv6Address) -> bytes | None:
        """The 4 octets in an address that this policy could have written, None if it could not."""
        for row in self.ranges:
            if row.pool6 and address in row.pool6:
                return extract(row.pool6, address)
        return None


def _below(key: bytes, names: Iterable[bytes]) -> bool:
    return any(ends_with(key, name) for name in names)


def embed(pool6: IPv6Network, data: bytes) -> bytes:
    """RFC 6052 section 2.2: the 4 octets behind the prefix, around the octet that stays zero."""
    octets, at = bytearray(pool6.network_address.packed), pool6.prefixlen // 8
    for octet in data:
        at += at == _U_OCTET
        octets[at] = octet
        at += 1
    return bytes(octets)


def extract(pool6: IPv6Network, address: IPv6Address) -> bytes:
    """The 4 octets behind the prefix; the suffix is not looked at (section 2.2)."""
    octets, at, data = address.packed, pool6.prefixlen // 8, bytearray()
    while len(data) < 4:
        at += at == _U_OCTET
        data.append(octets[at])
        at += 1
    return bytes(data)


def ranges_for(pool6: IPv6Network, strict: Iterable[IPv4Network], private: IPv6Network | None) -> tuple[Range, ...]:
    """The rows of an ordinary gateway.

    `strict`: non-global blocks that its prefix must not carry (RFC 6052 section 3.1), written under `private` (RFC
    8215) if there is one.
    """
    rows = [Range(block, None) for block in NO_HOSTS4]
    rows += [Range(block, private) for block in strict]
    return (*rows, Range(IPv4Network("0.0.0.0/0"), pool6))


def policy_in(document: dict[str, Any]) -> Policy:
    """A policy as it was."""
    return Policy(
        clients=tuple(ip_network(text) for text in document["clients"]),
        ranges=tuple(Range(IPv4Network(a), IPv6Network(b) if b else None) for a, b in document["ranges"]),
        exclude=tuple(IPv6Network(text) for text in document["exclude"]),
        exclude_names=tuple(bytes.fromhex(text) for text in document["exclude_names"]),
        force_names=tuple(bytes.fromhex(text) for text in document["force_names"]),
        synthesise=document["synthesise"],
    )
