"""Blocks of ports: RFC 6888 REQ-14 (bulk allocation) and RFC 7422 (computed ones).

Which block a subscriber gets is the translator's choice, within rules; so it is learnt from what it sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from tests.reference.shares import FACTOR, prefix_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.reference.bib import Bibs, Entry, Host4, Pool


@dataclass(frozen=True)
class Block:
    """So many ports of an address: number `at` of those that its pool has there."""

    pool: Pool
    address: IPv4Address
    at: int
    ports: range


class Blocks:
    """Who has which, and until when."""

    def __init__(self, size: int, most: int, hold: float, subscriber: int, pools: list[Pool]) -> None:
        self.size, self.most, self.hold, self.length, self.pools = size, most, hold, subscriber, pools
        self.owners: dict[Block, IPv6Network] = {}
        self.over: dict[Block, float] = {}  # of those without a mapping: when the last one ended

    def subscriber(self, host: IPv6Address) -> IPv6Network:
        return prefix_of(host, self.length)

    def count_of(self, pool: Pool) -> int:
        """Whole blocks that each address has."""
        return (pool.port_last - pool.port_first + 1) // self.size

    def block(self, pool: Pool, address: IPv4Address, at: int) -> Block:
        first = pool.port_first + at * self.size
        return Block(pool, address, at, range(first, first + self.size))

    def of_address(self, pool: Pool, address: IPv4Address) -> Iterator[Block]:
        return (self.block(pool, address, at) for at in range(self.count_of(pool)))

    def at(self, protocol: str, mapped4: Host4) -> Block | None:
        """The block that has this port; what is left behind the last one is in none."""
        for pool in self.pools:
            if protocol in pool.protocols and pool.holds(*mapped4):
                number = (mapped4[1] - pool.port_first) // self.size
                return self.block(pool, mapped4[0], number) if number < self.count_of(pool) else None
        return None

    def computed(self, pool: Pool) -> dict[Block, IPv6Network]:
        """RFC 7422 2: the subscribers in their order, as many on each address as it takes, from its first port on."""
        if not pool.deterministic or pool.source is None:
            return {}
        subscribers = list(pool.source.subnets(new_prefix=self.length))
        addresses = list(pool.addresses())
        each = -(-len(subscribers) // len(addresses))
        return {
            self.block(pool, addresses[number // each], number % each): one for number, one in enumerate(subscribers)
        }

    def own_computed(self, pools: list[Pool], host: IPv6Address) -> Block | None:
        found = (block for pool in pools for block, owner in self.computed(pool).items() if host in owner)
        return next(found, None)

    def join(self, entry: Entry) -> None:
        """A mapping has a port of a block; whose it is, it is from now on."""
        if entry.static or entry.mapped4 is None or entry.protocol.isdigit():
            return
        block = self.at(entry.protocol, entry.mapped4)
        if block is not None and block not in self.computed(block.pool):
            self.owners[block] = self.subscriber(entry.host6[0])
            self.over.pop(block, None)

    def leave(self, bibs: Bibs, ended: list[Entry], now: float) -> None:
        """Mappings have ended; what nobody has used for long enough is nobody's."""
        used = {self.at(entry.protocol, entry.mapped4) for entry in dynamic(bibs) if entry.mapped4 is not None}
        for entry in ended:
            block = self.at(entry.protocol, entry.mapped4) if entry.mapped4 is not None else None
            if block in self.owners and block not in used:
                self.over[block] = max(self.over.get(block, 0.0), entry.over)
        for block, over in list(self.over.items()):
            if over + self.hold <= now:
                del self.over[block], self.owners[block]

    def ends(self) -> Iterator[float]:
        return (over + self.hold for over in self.over.values())

    def of(self, host: IPv6Address, pools: list[Pool]) -> list[Block]:
        """Those the subscriber has in these pools, a computed one first."""
        own, mine = self.own_computed(pools, host), self.subscriber(host)
        handed = [block for block, owner in self.owners.items() if owner == mine and block.pool in pools]
        return [own, *handed] if own is not None else handed

    def count(self, host: IPv6Address, pools: list[Pool]) -> int:
        """All that count for the subscriber, wherever they are."""
        handed = sum(owner == self.subscriber(host) for owner in self.owners.values())
        return handed + (self.own_computed(pools, host) is not None)

    def free(self, bibs: Bibs, pool: Pool, address: IPv4Address) -> list[Block]:
        """Those that can be handed out: nobody's, and without a forwarded port."""
        computed = self.computed(pool)
        blocks = (block for block in self.of_address(pool, address) if block not in computed)
        return [block for block in blocks if block not in self.owners and not is_forwarded(bibs, block)]

    def may_get(self, bibs: Bibs, host: IPv6Address, pool: Pool, address: IPv4Address) -> bool:
        """RFC 6888 REQ-4: less than its share of the blocks there."""
        own = sum(block.pool == pool and block.address == address for block in self.of(host, [pool]))
        own -= self.own_computed([pool], host) is not None and any(
            block.address == address for block in [self.own_computed([pool], host)] if block
        )
        return own < FACTOR * len(self.free(bibs, pool, address))


def dynamic(bibs: Bibs) -> list[Entry]:
    return [entry for entry in bibs.by_host6.values() if not entry.static and not entry.protocol.isdigit()]


def is_forwarded(bibs: Bibs, block: Block) -> bool:
    """A configured entry has a port of it."""
    return any(
        entry.static and protocol in block.pool.protocols and mapped4[0] == block.address and mapped4[1] in block.ports
        for (protocol, mapped4), entry in bibs.by_mapped4.items()
    )


def free_ports(bibs: Bibs, protocol: str, block: Block) -> list[int]:
    if protocol not in block.pool.protocols:
        return []
    return [port for port in block.ports if (protocol, (block.address, port)) not in bibs.by_mapped4]


def only_address(bibs: Bibs, blocks: Blocks, pools: list[Pool], host: IPv6Address) -> IPv4Address | None:
    """As that of the bibs; the address of a computed block is a host's own from the start."""
    only, own = bibs.only_address(pools, host), blocks.own_computed(pools, host)
    return own.address if only is None and own is not None and bibs.is_strict else only


def refusal_of(bibs: Bibs, blocks: Blocks, protocol: str, host: IPv6Address) -> tuple[str, str] | None:
    """(verdict, section) where no port is left for a new mapping of a host, or None."""
    pools = bibs.pools_of(protocol, host)
    only = only_address(bibs, blocks, pools, host)
    own = [block for block in blocks.of(host, pools) if only in (None, block.address)]
    computed = blocks.own_computed(pools, host)
    if any(free_ports(bibs, protocol, block) for block in [*own, *([computed] if computed else [])]):
        return None
    if blocks.count(host, pools) >= blocks.most:
        return "SUBSCRIBER_PORTS", "6888 REQ-4"
    rows = [(pool, address) for pool in pools for address in pool.addresses() if only in (None, address)]
    left = [row for row in rows if blocks.free(bibs, *row)]
    if any(blocks.may_get(bibs, host, *row) for row in left):
        return None
    if left:
        return "SUBSCRIBER_PORTS", "6888 REQ-4"
    others = len({address for pool in pools for address in pool.addresses()}) > 1
    is_paired = bibs.only_address(pools, host) is not None
    return ("PAIRED_FULL", "7857 4") if is_paired and others else ("POOL4_EXHAUSTED", "6146 3.5.1.1")


def objections_to_block(bibs: Bibs, blocks: Blocks, protocol: str, host: IPv6Address, chosen: Host4) -> list[str]:
    """What speaks against the block of a port that a host has got."""
    pools, block = bibs.pools_of(protocol, host), blocks.at(protocol, chosen)
    if block is None or block.pool not in pools:
        return ["in no block of the pool4 of this host"]
    found, computed = [], blocks.own_computed(pools, host)
    owner = blocks.owners.get(block) or blocks.computed(block.pool).get(block)
    if owner is not None and owner != blocks.subscriber(host):
        found.append(f"of the block of {owner} (RFC 6888 REQ-8, RFC 7422 2)")
    if is_forwarded(bibs, block):
        found.append("of a block that is forwarded")
    if computed is not None and block != computed and free_ports(bibs, protocol, computed):
        found.append("its computed block has free ports (RFC 7422 2, step 3)")
    only = only_address(bibs, blocks, pools, host)
    own = [one for one in blocks.of(host, pools) if only in (None, one.address)]
    if owner is None:
        if any(free_ports(bibs, protocol, one) for one in own):
            found.append("of a new block, and those it has have free ports (RFC 6888 REQ-14)")
        if blocks.count(host, pools) >= blocks.most:
            found.append(f"of a new block, and the subscriber has {blocks.most}")
        if not blocks.may_get(bibs, host, block.pool, block.address):
            found.append("of a new block, and the subscriber has its share of them (RFC 6888 REQ-4)")
    return found


def ports_beside(bibs: Bibs, blocks: Blocks, protocol: str, host: IPv6Address, chosen: Host4) -> list[int]:
    """The ports that the host could have got instead without another block, at this address."""
    pools, block = bibs.pools_of(protocol, host), blocks.at(protocol, chosen)
    if block is None:
        return []
    own = [one for one in blocks.of(host, pools) if one.address == chosen[0]]
    is_alone = block not in own or block == blocks.own_computed(pools, host)
    return [port for one in ([block] if is_alone else own) for port in free_ports(bibs, protocol, one)]
