"""Who gets what synthesised: RFC 6147 sections 5.1.4 and 5.2, RFC 6052 section 3.1, RFC 8215."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

from nat64d.dns64.maps import Maps
from nat64d.dns64.wire import AAAA, A, ends_with

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
    force_names: tuple[bytes, ...] = ()  # ... and below which real AAAA records are replaced, but for those
    synthesise: bool = True
    filter_a: bool = False  # A records are not shown
    maps: Maps | None = None  # A records are made of AAAA records by these (DNS46)

    def serves(self, client: IPv4Address | IPv6Address) -> bool:
        """Whether this policy is the client's."""
        return any(client in network for network in self.clients)

    def makes(self, type_: int) -> bool:
        """Whether records of a type are made, of those of the other family."""
        return self.synthesise if type_ == AAAA else type_ == A and self.maps is not None and not self.filter_a

    def spares(self, key: bytes) -> bytes | None:
        """The name, if any, for which nothing is made at this one."""
        return _above(key, self.exclude_names)

    def forces(self, key: bytes) -> bytes | None:
        """The name, if any, for which this one's own AAAA records are taken for none."""
        return None if self.spares(key) else _above(key, self.force_names)

    def excludes(self, data: bytes) -> IPv6Network | None:
        """Section 5.1.4: the prefix, if any, for which the 16 octets of an AAAA record are taken for none."""
        number = int.from_bytes(data, "big")
        return next((network for first, mask, network in self._exclude if number & mask == first), None)

    def range_of(self, data: bytes) -> Range | None:
        """The row that decides for the 4 octets of an A record."""
        number = int.from_bytes(data, "big")
        return next((row for first, mask, row in self._ranges if number & mask == first), None)

    @cached_property
    def _exclude(self) -> list[tuple[int, int, IPv6Network]]:
        return [(*_bits(network), network) for network in self.exclude]

    @cached_property
    def _ranges(self) -> list[tuple[int, int, Range]]:
        return [(*_bits(row.ipv4), row) for row in self.ranges]

    def made(self, type_: int, data: bytes) -> bytes | None:
        """The address of a record of a type, made of the other family's; None if there is none."""
        if type_ == AAAA:
            return self.embed(data)
        return self.maps.to4(data) if self.maps else None

    def embed(self, data: bytes) -> bytes | None:
        """The 16 octets that stand for the 4 of an A record, None if nothing does."""
        row = self.range_of(data)
        return embed(row.pool6, data) if row and row.pool6 else None

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


def _bits(network: IPv4Network | IPv6Network) -> tuple[int, int]:
    """An address, and the bits of it that count."""
    return int(network.network_address), int(network.netmask)


def _above(key: bytes, names: Iterable[bytes]) -> bytes | None:
    return next((name for name in names if ends_with(key, name)), None)


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
    rows += [Range(block, private) for block in strict if not any(block.subnet_of(other) for other in NO_HOSTS4)]
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
        filter_a=document["filter_a"],
    )
