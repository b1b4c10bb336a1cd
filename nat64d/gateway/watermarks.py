"""How full pools and tables are, as marks for the conditions (host/conditions.py): a mark is reached at `[limits]
watermark` percent, and left LOWER below that, so that it does not come and go."""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from nat64d.config.models import Config
from nat64d.gateway.measure import used_of
from nat64d.gateway.pool_use import PoolUse
from nat64d.host.mark import Mark
from translator.tables.layout import NONE
from translator.tables.tables import BIBS, BLOCKS, SESSIONS, Tables

# LIMITS
LOWER = 10  # percent
KEPT = 256  # marks that are reached before somebody asks
APART = 16  # addresses of a [[pool4]]: with more, only all of them together have a mark


class Use(NamedTuple):
    """The share of something that is in use, 0 to 1, and what is said when it is much. Of ports also which [[pool4]]
    they are of, from 1, and how many there are."""

    mark: Mark
    share: float
    pool: int = 0
    size: int = 0


class Watermarks:
    """Which marks are reached; `look` is called from one thread."""

    def __init__(self) -> None:
        self._reached: tuple[Mark, ...] = ()
        self.news: deque[Use] = deque(maxlen=KEPT)  # what has reached its mark, for one who takes it out

    def look(self, config: Config, tables: Tables, pools: PoolUse, now: int) -> tuple[Mark, ...]:
        """Those that are reached now, or were and are not left yet; `now`: milliseconds of the data plane's clock."""
        high = config.limits.watermark
        if high == 0:
            self._reached = ()
            return ()
        low = max(high - LOWER, 0)
        before = set(self._reached)
        uses = (*tables_in_use(config, tables, now), *pools_in_use(config, tables, pools))
        reached = [use for use in uses if 100 * use.share >= (low if use.mark in before else high)]
        self.news.extend(use for use in reached if use.mark not in before)
        self._reached = tuple(use.mark for use in reached)
        return self._reached


def tables_in_use(config: Config, tables: Tables, now: int) -> Iterator[Use]:
    """The tables whose size is configured."""
    high = config.limits.watermark
    full = f"{high} % of it or more are in use ([limits] watermark)"
    more = "Raise [limits] sessions, which takes a restart. Run 'nat64d hosts --top 10' to see who uses most."
    sizes = (
        ("session table", SESSIONS, len(tables.sessions)),
        ("BIB", BIBS, len(tables.bibs) - len(tables.members)),
        ("table of blocks of ports", BLOCKS, len(tables.blocks)),
    )
    for name, kind, size in sizes:
        yield Use(Mark("tables_filling", f"The {name} is filling: {full}. {more}"), used_of(tables, kind) / size)
    if len(tables.stored_octets):
        sentence = (
            f"The memory for fragments is filling: {full}. Fragments that wait for others give way early. Raise "
            "[limits] fragments_memory, which takes a restart. Run 'nat64d counters'."
        )
        yield Use(Mark("tables_filling", sentence), _fragments(tables, now))


def _fragments(tables: Tables, now: int) -> float:
    """The share of the memory for fragments that is in use, or of the datagrams that can be known."""
    waiting = (tables.fragments["expires"] > now) & (tables.fragments["oldest"] != NONE)
    octets = int(tables.fragments["received"][waiting].sum())
    return max(octets / len(tables.stored_octets), int(np.count_nonzero(waiting)) / len(tables.fragments))


def pools_in_use(config: Config, tables: Tables, pools: PoolUse) -> Iterator[Use]:
    """The ports of [[pool4]] by protocol, or the blocks: of each address, or of all where these are many."""
    high = config.limits.watermark
    command = "nat64d blocks" if config.limits.port_block else "nat64d pools"
    advice = f"when none are left, new flows fail. Add addresses to [[pool4]]. Run '{command}'."
    for part in pools.parts(tables):
        first, last = part.addresses[0], part.addresses[-1]
        is_few = len(part.addresses) <= APART
        names = part.addresses if is_few else [f"{first} to {last}"]
        shares = part.shares.tolist() if is_few else [float(part.shares.mean())]
        for name, share in zip(names, shares, strict=True):
            sentence = f"{high} % or more of the {part.what} of {name} are in use ([limits] watermark): {advice}"
            size = part.each * (1 if is_few else len(part.addresses)) if part.protocol else 0
            yield Use(Mark("pool4_filling", sentence), share, part.number if size else 0, size)
