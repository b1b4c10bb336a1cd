"""Who has which addresses and ports: [[pool4]], [[forward]], [[eam]] with [clat], and the translator itself. No two may
have the same.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from operator import itemgetter
from typing import Generic, TypeVar

from nat64d.config.expected import Path
from nat64d.config.models import Config, Forward
from nat64d.config.pool4 import Pool4
from nat64d.config.problems import Finding

Owner = TypeVar("Owner")

# LIMITS
POOL4_ADDRESSES = 65536  # each needs a bit for each port and protocol, 24 KiB; memory is taken when it is used
FORWARD_PORTS = 262144  # each is a BIB entry from the start: 216 octets
PORTS = (0, 65535)


class Claims(Generic[Owner]):
    """Spans of numbers that have an owner; spans of one key never overlap. Found in logarithmic time."""

    def __init__(self) -> None:
        self._spans: dict[Hashable, list[tuple[int, int, Owner]]] = defaultdict(list)  # sorted

    def owner(self, key: Hashable, first: int, last: int) -> Owner | None:
        """An owner of some of first..last."""
        spans = self._spans[key]
        at = bisect_right(spans, last, key=itemgetter(0))
        return spans[at - 1][2] if at and spans[at - 1][1] >= first else None

    def claim(self, key: Hashable, first: int, last: int, owner: Owner) -> Owner | None:
        """Give first..last to an owner and return None; if some of it has one already, return that one instead."""
        earlier = self.owner(key, first, last)
        if earlier is None:
            spans = self._spans[key]
            spans.insert(bisect_right(spans, last, key=itemgetter(0)), (first, last, owner))
        return earlier


def owners(config: Config) -> Iterator[Finding]:
    """What has two owners, and what one owner has too much of."""
    yield from _pools(config)
    yield from _forwards(config)
    yield from _mappings(config)
    yield from _own_address4(config)


def _pools(config: Config) -> Iterator[Finding]:
    """No transport address is in two rows, whatever their source; "other" has no ports to tell rows apart."""
    rows = [(row, pool, pool.range) for row, pool in enumerate(config.pool4) if pool.known]
    edges = sorted({edge for _, _, ours in rows for edge in (ours.first, ours.last + 1)})  # rows begin and end here
    claims, total = Claims[Pool4](), 0
    for row, pool in enumerate(config.pool4):
        keys = [(name, pool.interface) for name in pool.protocols if pool.interface]
        if other := next(filter(None, [claims.claim(key, *pool.port_range, pool) for key in keys]), None):
            yield Finding(("pool4", row, "addresses"), f"expected no overlap with the [[pool4]] of {_named(other)}")
    for row, pool, ours in rows:
        total += ours.size
        if total > POOL4_ADDRESSES >= total - ours.size:
            most = f"expected at most {POOL4_ADDRESSES} addresses in all of [[pool4]]"
            yield Finding(("pool4", row, "addresses"), f"{most}; up to here there are {total}")
        earlier = [
            claims.claim((protocol, edge), *(PORTS if protocol == "other" else pool.port_range), pool)
            for edge in edges[bisect_left(edges, ours.first) : bisect_left(edges, ours.last + 1)]
            for protocol in pool.protocols
        ]
        if other := next(filter(None, earlier), None):
            yield Finding(("pool4", row, "addresses"), f"expected no overlap with the [[pool4]] of {_named(other)}")


def _named(pool: Pool4) -> str:
    """A pool for a message."""
    return f"{pool.addresses} ports {pool.ports}"


def _forwards(config: Config) -> Iterator[Finding]:
    """BIB entries are one to one (RFC 6146 section 3.1): as many ports at both ends, no end twice, no IPv6 end that
    stands for an IPv4 host."""
    claims, total = Claims[Forward](), 0
    for row, entry in enumerate(config.forward):
        end4, end6, before = entry.end4, entry.end6, total
        if end4.size != end6.size:
            yield Finding(("forward", row, "ipv6"), f"expected as many ports as ipv4 has, {end4.size}, not {end6.size}")
        for key, end in (("ipv4", end4), ("ipv6", end6)):
            for protocol in entry.protocols:
                if owner := claims.claim((protocol, end.address), end.first, end.last, entry):
                    used = f"{protocol} {owner.ipv4} is forwarded to {owner.ipv6}"
                    yield Finding(("forward", row, key), f"expected ports that no earlier [[forward]] uses; {used}")
                    break
        if config.pool6 and end6.address in config.pool6:
            yield Finding(("forward", row, "ipv6"), f"expected an IPv6 host outside pool6, {config.pool6}")
        total += end4.size * len(entry.protocols)
        if before <= FORWARD_PORTS < total:
            most = f"expected at most {FORWARD_PORTS} ports, counted for each protocol, in all of [[forward]]"
            yield Finding(("forward", row, "ipv4"), f"{most}; up to here there are {total}")


def _mappings(config: Config) -> Iterator[Finding]:
    """RFC 7757 section 3.2: the IPv4 suffix must fit behind the IPv6 prefix; a prefix has one counterpart.

    An address is either a host's own, or shared by ports, or stands for an IPv4 host. In plain numbers, as there may be
    100,000 rows.
    """
    pools = Claims[bool]()
    for shared in config.pool4_addresses.iter_ipranges():
        pools.claim("pool4", shared.first, shared.last, True)
    seen: set[tuple[int, int, int]] = set()
    first6, last6 = span(config.pool6) if config.pool6 else (1, 0)
    for row, entry in enumerate(config.mappings):
        place: Path = ("clat",) if entry is config.clat else ("eam", row)
        needed, room = 32 - entry.ipv4.prefixlen, 128 - entry.ipv6.prefixlen
        if needed > room:
            yield Finding((*place, "ipv6"), f"expected at least {needed} host bits, as many as ipv4 has, not {room}")
        for key, prefix in (("ipv4", entry.ipv4), ("ipv6", entry.ipv6)):
            number = (prefix.version, int(prefix.network_address), prefix.prefixlen)
            if number in seen:
                yield Finding((*place, key), f"expected a prefix that is not mapped yet; an earlier row maps {prefix}")
            seen.add(number)
        first, last = span(entry.ipv6)
        if first <= last6 and first6 <= last:
            yield Finding((*place, "ipv6"), f"expected IPv6 hosts outside pool6, {config.pool6}")
        if config.pool4 and pools.owner("pool4", *span(entry.ipv4)):
            yield Finding((*place, "ipv4"), "expected addresses outside [[pool4]]")
    yield from _mapped_twice(config, seen)


def span(prefix: IPv4Network | IPv6Network) -> tuple[int, int]:
    """The first and the last address of a prefix."""
    first = int(prefix.network_address)
    return first, first + (1 << prefix.max_prefixlen - prefix.prefixlen) - 1


def _mapped_twice(config: Config, mapped: set[tuple[int, int, int]]) -> Iterator[Finding]:
    """An address that sessions use, or the translator itself, and that has a mapping (version, address, length) too.

    The translator may have an address inside a wide prefix.
    """
    lengths = {(version, length) for version, _, length in mapped}
    for row, forward in enumerate(config.forward):
        for key, address in (("ipv4", forward.end4.address), ("ipv6", forward.end6.address)):
            if covering := _covering(address, mapped, lengths):
                yield Finding(
                    ("forward", row, key), f"expected an address that [[eam]] does not map; a row maps {covering}"
                )
    for key, own in (("ipv4", config.tun.ipv4), ("ipv6", config.tun.ipv6)):
        if own and (own.version, int(own), own.max_prefixlen) in mapped:
            yield Finding(("tun", key), "expected an address that [[eam]] does not map: it is the translator's own")


def _covering(
    address: IPv4Address | IPv6Address, mapped: set[tuple[int, int, int]], lengths: set[tuple[int, int]]
) -> IPv4Network | IPv6Network | None:
    """A prefix of `mapped` that has the address."""
    around = (ip_network((address, length), strict=False) for version, length in lengths if version == address.version)
    return next((p for p in around if (p.version, int(p.network_address), p.prefixlen) in mapped), None)


def _own_address4(config: Config) -> Iterator[Finding]:
    """The translator's own IPv4 address belongs to no other section."""
    own = config.tun.ipv4
    if own is None:
        return
    for pool in config.pool4:
        if pool.known and pool.range.first <= int(own) <= pool.range.last:
            yield Finding(("tun", "ipv4"), f"expected an address outside the [[pool4]] of {_named(pool)}")
    for entry in config.forward:
        if entry.end4.address == own:
            yield Finding(
                ("tun", "ipv4"), f"expected an address that [[forward]] does not use; {entry.ipv4} is forwarded"
            )
