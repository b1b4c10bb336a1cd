"""Blocks of ports that are computed (RFC 7422): whose a port is, and which ports a subscriber has, by the configuration
alone. The translator has the same arithmetic in translator/session/computed_blocks.py."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import NamedTuple

from nat64d.config.models import Config, Limits
from nat64d.config.pool4 import Pool4
from nat64d.config.problems import Finding

# LIMITS
LEAST_BLOCK = 8  # ports: each address needs a bit for each block


class Computed(NamedTuple):
    """The blocks of a deterministic [[pool4]]: of each address the first `each` are computed, of `of`."""

    subscribers: int
    each: int
    of: int


class Block(NamedTuple):
    """Ports, the last included, and the subscriber that has them."""

    subscriber: IPv6Network
    address: IPv4Address
    first: int
    last: int


def computed_of(pool: Pool4, limits: Limits) -> Computed:
    """The blocks of a [[pool4]] that is deterministic, and that blocks() has no complaint about."""
    assert pool.source is not None
    first, last = pool.port_range
    subscribers = 1 << limits.subscriber - pool.source.prefixlen
    return Computed(subscribers, -(-subscribers // pool.range.size), (last - first + 1) // limits.port_block)


def block_of(config: Config, host6: IPv6Address) -> Block | None:
    """The block that is computed for an IPv6 host, if one is."""
    sources = [pool for pool in config.pool4 if pool.source is None or host6 in pool.source]
    pool = max(sources, key=lambda pool: pool.source.prefixlen if pool.source else 0, default=None)
    if pool is None or not pool.deterministic or pool.source is None:
        return None
    number = (int(host6) - int(pool.source[0])) >> 128 - config.limits.subscriber
    return _block(config, pool, number)


def owner_of(config: Config, address: IPv4Address, port: int, protocol: str) -> Block | None:
    """The computed block that has a port of a protocol, if one has."""
    for pool in config.pool4:
        first, last = pool.port_range
        if not pool.deterministic or protocol not in pool.protocols:
            continue
        if pool.range.first <= int(address) <= pool.range.last and first <= port <= last:
            computed = computed_of(pool, config.limits)
            at = (port - first) // config.limits.port_block
            number = (int(address) - pool.range.first) * computed.each + at
            return _block(config, pool, number) if at < computed.each and number < computed.subscribers else None
    return None


def _block(config: Config, pool: Pool4, number: int) -> Block:
    """The block of a subscriber of a deterministic [[pool4]]."""
    assert pool.source is not None
    size, length = config.limits.port_block, config.limits.subscriber
    row, at = divmod(number, computed_of(pool, config.limits).each)
    first = pool.port_range[0] + at * size
    subscriber = IPv6Network((int(pool.source[0]) + (number << 128 - length), length))
    return Block(subscriber, IPv4Address(pool.range.first + row), first, first + size - 1)


def blocks(config: Config) -> Iterator[Finding]:
    """What does not go together with blocks of ports."""
    size = config.limits.port_block
    if 0 < size < LEAST_BLOCK:
        yield Finding(("limits", "port_block"), f"expected 0 or a whole number from {LEAST_BLOCK} to 65535")
        return
    if config.log.sessions == "blocks" and not size:
        yield Finding(("log", "sessions"), "expected [limits] port_block with it: without there are no blocks to log")
    found = [finding for row, pool in enumerate(config.pool4) for finding in _pool(config, row, pool)]
    yield from found
    if not found and not any(pool.deterministic and pool.interface for pool in config.pool4):
        yield from _forwards(config)


def _pool(config: Config, row: int, pool: Pool4) -> Iterator[Finding]:
    first, last = pool.port_range
    size = config.limits.port_block
    if size > last - first + 1:
        yield Finding(("pool4", row, "ports"), f"expected at least {size} ports, a block ([limits] port_block)")
    elif pool.deterministic:
        for key, expected in _deterministic(config, pool):
            yield Finding(("pool4", row, key), expected)


def _forwards(config: Config) -> Iterator[Finding]:
    """A forwarded port in the computed block of a subscriber is one of its hosts."""
    for row, forward in enumerate(config.forward if any(pool.deterministic for pool in config.pool4) else ()):
        end4, subscriber = forward.end4, forward.end6.address
        ports = {*range(end4.first, end4.last + 1, config.limits.port_block), end4.last}
        found = (owner_of(config, end4.address, port, name) for name in forward.protocols for port in sorted(ports))
        if block := next((block for block in found if block and subscriber not in block.subscriber), None):
            expected = f"expected ports outside the computed block of {block.subscriber}"
            yield Finding(("forward", row, "ipv4"), f"{expected}, {block.address}:{block.first}-{block.last}")


def _deterministic(config: Config, pool: Pool4) -> Iterator[tuple[str, str]]:
    """(key, what is expected) of a deterministic [[pool4]] that cannot be computed."""
    limits = config.limits
    if not limits.port_block:
        yield "deterministic", "expected [limits] port_block with it: how many ports a subscriber has"
    elif pool.source is None:
        yield "source", "expected the prefix of the subscribers: their ports are computed from it"
    elif pool.source.prefixlen > limits.subscriber:
        expected = f"expected a prefix of subscribers, /{limits.subscriber} or shorter ([limits] subscriber)"
        yield "source", expected
    elif sum(other.source == pool.source for other in config.pool4) > 1:
        yield "source", "expected no other [[pool4]] with this source, as it is deterministic"
    elif "other" in pool.protocols:
        yield "protocols", 'expected no "other": who has a protocol without ports cannot be computed'
    elif not pool.interface:
        computed = computed_of(pool, limits)
        if computed.each > computed.of:
            needed = -(-computed.subscribers // computed.of)
            sizes = f"{computed.subscribers} subscribers with {limits.port_block} ports each"
            yield "addresses", f"expected {needed} addresses for {sizes}, not {pool.range.size}"
