"""Which records of the tables live, and the gateway they are of; a part of invariants.py."""

from functools import lru_cache

import numpy as np

from translator.tables.gateway import Gateway, new_worker
from translator.tables.settings import Settings
from translator.tables.tables import (
    BIBS,
    BLOCKS,
    HEIGHT,
    HOSTS,
    MEMBERS,
    NEVER_USED,
    SESSIONS,
    SUBSCRIBERS,
    USES,
    Tables,
)

WORKER = new_worker(0)


@lru_cache(1)
def gateway_of(tables: Tables, settings: Settings) -> Gateway:
    """What the product's own hashes are computed with."""
    return Gateway(settings, tables, WORKER)


def living_of(tables: Tables) -> dict[int, list[int]]:
    """The numbers of the living records of each kind, where members are BIB entries like others."""
    members = len(tables.members)
    return {
        SESSIONS: check_records(tables, SESSIONS, tables.sessions, "session"),
        BIBS: check_records(tables, MEMBERS, tables.bibs[:members], "member")
        + check_records(tables, BIBS, tables.bibs, "BIB entry", members),
        HOSTS: check_records(tables, HOSTS, tables.hosts, "host"),
        SUBSCRIBERS: check_records(tables, SUBSCRIBERS, tables.subscribers, "subscriber"),
        USES: check_records(tables, USES, tables.uses, "use"),
        BLOCKS: check_records(tables, BLOCKS, tables.blocks, "block"),
    }


def check_records(tables: Tables, kind: int, rows: np.ndarray, name: str, first: int = 0) -> list[int]:
    """A record is live, or on the stack of given-back ones once, or was never used. Returns the live ones; those before
    `first` are of another kind."""
    height, fresh = int(tables.free[kind, HEIGHT]), int(tables.free[kind, NEVER_USED])
    assert 0 <= height <= fresh <= len(rows), f"{name}: {height} of {fresh} used records given back, of {len(rows)}"
    given_back = tables.freed[kind, :height].tolist()
    assert len(set(given_back)) == height, f"{name}: {given_back} has a record twice"
    living: list[int] = (first + np.flatnonzero(rows[first:].live)).tolist()
    expected = set(range(first, fresh)) - set(given_back)
    assert set(living) == expected, f"{name}: {sorted(set(living) ^ expected)} live and free, or neither"
    return living
