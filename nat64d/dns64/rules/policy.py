"""What is synthesised for which clients: RFC 6147 sections 5.1.4 and 5.2, RFC 6052 section 3.1, RFC 8215."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

from nat64d.dns64.message.wire import AAAA, A, ends_with
from nat64d.dns64.rules.maps import Maps
from translator.static import arithmetic
from translator.static.blocks import MAPPED, NOT_BEYOND_A_ROUTER4, WELL_KNOWN

WORD = (1 << 64) - 1


@dataclass(frozen=True)
class Range:
    """IPv4 addresses and the prefix under which they are synthesised; None: they are not."""

    ipv4: IPv4Network
    pool6: IPv6Network | None


@dataclass(frozen=True)
class Policy:
    """The rules for some clients."""

    clients: tuple[IPv4Network | IPv6Network, ...]
    ranges: tuple[Range, ...]  # the first that covers an address decides
    exclude: tuple[IPv6Network, ...] = (MAPPED,)  # AAAA records that are ignored
    exclude_names: tuple[bytes, ...] = ()  # keys of names; nothing is synthesised at and below these
    force_names: tuple[
        bytes, ...
    ] = ()  # keys of names; real AAAA records at and below these are ignored, unless excluded above
    synthesise: bool = True
    filter_a: bool = False  # IPv4 addresses are hidden
    maps: Maps | None = None  # for A records made from AAAA records (DNS46)

    def serves(self, client: IPv4Address | IPv6Address) -> bool:
        """Whether this policy is for a client."""
        return any(client in network for network in self.clients)

    def makes(self, type_: int) -> bool:
        """Whether records of a type are synthesised from those of the other family."""
        return self.synthesise if type_ == AAAA else type_ == A and self.maps is not None and not self.filter_a

    def spares(self, key: bytes) -> bytes | None:
        """The entry of exclude_names that a name is at or below; None if there is none."""
        return _above(key, self.exclude_names)

    def forces(self, key: bytes) -> bytes | None:
        """The entry of force_names that a name is at or below, so that its real AAAA records are ignored."""
        return None if self.spares(key) else _above(key, self.force_names)

    def excludes(self, data: bytes) -> IPv6Network | None:
        """Section 5.1.4: the excluded prefix that the 16 octets of an AAAA record are in; None if there is none."""
        number = int.from_bytes(data, "big")
        return next((network for first, mask, network in self._exclude if number & mask == first), None)

    def range_of(self, data: bytes) -> Range | None:
        """The range that decides about the 4 octets of an A record."""
        number = int.from_bytes(data, "big")
        return next((row for first, mask, row in self._ranges if number & mask == first), None)

    @cached_property
    def _exclude(self) -> list[tuple[int, int, IPv6Network]]:
        return [(*_bits(network), network) for network in self.exclude]

    @cached_property
    def _ranges(self) -> list[tuple[int, int, Range]]:
        return [(*_bits(row.ipv4), row) for row in self.ranges]

    def made(self, type_: int, data: bytes) -> bytes | None:
        """The address for a record of a type, from an address of the other family; None if there is none."""
        if type_ == AAAA:
            return self.embed(data)
        return self.maps.to4(data) if self.maps else None

    def embed(self, data: bytes) -> bytes | None:
        """The 16 octets for the 4 of an A record; None if they are not synthesised."""
        row = self.range_of(data)
        return embed(row.pool6, data) if row and row.pool6 else None

    def discovery(self, well_known4: Iterable[bytes]) -> list[bytes]:
        """RFC 7050 section 3: the AAAA data of ipv4only.arpa, under the prefix for the whole of IPv4."""
        pool6 = self.ranges[-1].pool6 if self.synthesise else None
        return [embed(pool6, data) for data in well_known4] if pool6 else []

    def extract(self, address: IPv6Address) -> bytes | None:
        """The 4 octets in an address under a prefix of this policy or the well-known prefix (section 5.3.1).

        None for any other address, and where no prefix is configured.
        """
        for row in self.ranges:
            if row.pool6 and address in row.pool6:
                return extract(row.pool6, address)
        return extract(WELL_KNOWN, address) if self.ranges and address in WELL_KNOWN else None


def _bits(network: IPv4Network | IPv6Network) -> tuple[int, int]:
    """An address and a mask, as integers."""
    return int(network.network_address), int(network.netmask)


def _above(key: bytes, names: Iterable[bytes]) -> bytes | None:
    return next((name for name in names if ends_with(key, name)), None)


def embed(pool6: IPv6Network, data: bytes) -> bytes:
    """RFC 6052 section 2.2: the 16 octets that stand for the 4 of an IPv4 address."""
    prefix = int(pool6.network_address)
    hi, lo = arithmetic.embed(prefix >> 64, prefix & WORD, pool6.prefixlen, int.from_bytes(data, "big"))
    return (hi << 64 | lo).to_bytes(16, "big")


def extract(pool6: IPv6Network, address: IPv6Address) -> bytes:
    """The 4 octets of the IPv4 address in an IPv6 address under this prefix (section 2.2)."""
    number = int(address)
    return arithmetic.extract(pool6.prefixlen, number >> 64, number & WORD).to_bytes(4, "big")


def ranges_for(pool6: IPv6Network, strict: Iterable[IPv4Network], private: IPv6Network | None) -> tuple[Range, ...]:
    """The ranges for one prefix: everything that can be a host, under `pool6`.

    `strict`: non-global blocks that the prefix must not carry (RFC 6052 section 3.1); they go under `private` (RFC
    8215), or are not synthesised if that is None.
    """
    rows = [Range(block, None) for block in NOT_BEYOND_A_ROUTER4]
    rows += [
        Range(block, private) for block in strict if not any(block.subnet_of(other) for other in NOT_BEYOND_A_ROUTER4)
    ]
    return (*rows, Range(IPv4Network("0.0.0.0/0"), pool6))


def policy_in(document: dict[str, Any]) -> Policy:
    """A policy from the document that plan.py made of it."""
    return Policy(
        clients=tuple(ip_network(text) for text in document["clients"]),
        ranges=tuple(Range(IPv4Network(a), IPv6Network(b) if b else None) for a, b in document["ranges"]),
        exclude=tuple(IPv6Network(text) for text in document["exclude"]),
        exclude_names=tuple(bytes.fromhex(text) for text in document["exclude_names"]),
        force_names=tuple(bytes.fromhex(text) for text in document["force_names"]),
        synthesise=document["synthesise"],
        filter_a=document["filter_a"],
    )
