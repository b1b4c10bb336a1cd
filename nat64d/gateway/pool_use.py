"""How much of each [[pool4]] is in use, and of each of its addresses."""

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import NamedTuple

import numpy as np

from nat64d.config.computed import computed_of
from nat64d.config.models import Config
from nat64d.config.pool4 import Pool4
from nat64d.config.settings import pool_rows, rows_by_pool
from nat64d.config.words import PROTOCOLS
from nat64d.control.measured import AddressUse
from nat64d.control.rows import Row
from translator.session.pool4 import COUNT_OF, SLOTS
from translator.tables.tables import Tables

# LIMITS
ADDRESSES = 256  # of all [[pool4]] together: with more, there is no number for each of them


class _Pool(NamedTuple):
    """A [[pool4]], and the numbers of its rows in Settings.pool: int64[n]."""

    given: Pool4
    rows: np.ndarray


class Part(NamedTuple):
    """What is handed out of the addresses of a [[pool4]]: its name, and the share of it in use at each: float[n];
    `number` is that of the [[pool4]], from 1, `protocol` is "" for blocks, and `each` how many an address has."""

    what: str
    addresses: list[str]
    shares: np.ndarray
    number: int
    protocol: str
    each: int


class PoolUse:
    """The pools of a configuration. Which rows they have is worked out once: a /16 has 65,536."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._pools = [_Pool(pool, np.array(rows, np.int64)) for pool, rows in rows_by_pool(config)]
        few = sum(len(pool.rows) for pool in self._pools) <= ADDRESSES
        self._addresses = [str(address) for _, address in pool_rows(config)] if few else []

    def pools(self, tables: Tables) -> list[Row]:
        """A Pool row for each protocol of each [[pool4]]."""
        unused = _unused(tables)
        return [
            {
                "addresses": pool.given.addresses,
                "ports": pool.given.ports,
                "protocol": protocol,
                "source": str(pool.given.source) if pool.given.source else None,
                "used": int(used.sum()),
                "total": size * len(used),
                "fullest": round(float(used.max()) / size, 4),
                "full": int(np.count_nonzero(used == size)),
            }
            for pool in self._pools
            for protocol, used, size in _by_protocol(pool, unused)
        ]

    def addresses(self, tables: Tables) -> list[AddressUse]:
        """An AddressUse for each protocol of each address; none if there are more than ADDRESSES."""
        if not self._addresses:
            return []
        unused = _unused(tables)
        return [
            AddressUse(
                self._addresses[row],
                pool.given.ports,
                protocol,
                str(pool.given.source) if pool.given.source else "",
                round(count / size, 4),
            )
            for pool in self._pools
            for protocol, used, size in _by_protocol(pool, unused)
            for row, count in zip(pool.rows.tolist(), used.tolist(), strict=True)
        ]

    def parts(self, tables: Tables) -> Iterator[Part]:
        """The ports of each protocol of each [[pool4]]; where there are blocks, these."""
        size, unused = self.config.limits.port_block, _unused(tables)
        numbers = {id(pool): number for number, pool in enumerate(self.config.pool4, 1)}
        for pool in self._pools:
            first, last = pool.given.port_range
            addresses, number = _names(pool.given), numbers[id(pool.given)]
            if size:
                count = (last - first + 1) // size
                computed = computed_of(pool.given, self.config.limits).each if pool.given.deterministic else 0
                if count > computed:
                    free = tables.blocks_free[pool.rows]
                    yield Part(
                        "blocks of ports", addresses, 1 - free / (count - computed), number, "", count - computed
                    )
                continue
            for protocol, used, total in _by_protocol(pool, unused):
                yield Part(f"ports for {protocol}", addresses, used / total, number, protocol, total)


def _names(pool: Pool4) -> list[str]:
    """The addresses of a [[pool4]]."""
    return [str(IPv4Address(address)) for address in range(pool.range.first, pool.range.last + 1)]


def _unused(tables: Tables) -> np.ndarray:
    """Ports that are free or in quarantine, by row of Settings.pool and protocol: int64[rows, SLOTS]."""
    free = tables.ports_free
    count: np.ndarray = free[:, 0] + free[:, 1] + free[:, 2] + free[:, 3] + tables.quarantine_of[:, COUNT_OF]
    return count.reshape(-1, SLOTS)


def _by_protocol(pool: _Pool, unused: np.ndarray) -> list[tuple[str, np.ndarray, int]]:
    """(protocol, ports in use of each address: int[n], ports that each has), for each protocol of a pool."""
    first, last = pool.given.port_range
    size = last - first + 1
    own = unused[pool.rows]
    return [
        (protocol, size - own[:, k], size) for k, protocol in enumerate(PROTOCOLS) if protocol in pool.given.protocols
    ]
