"""Records of a fixed table, taken and given back in O(1)."""

from translator.jit.compile import int64, jit
from translator.tables.layout import NONE
from translator.tables.tables import BIBS, HEIGHT, MEMBERS, NEVER_USED


@jit()
def take(tables, kind, capacity):
    """A free record of this kind, or NONE when all are in use."""
    height = tables.free[kind, HEIGHT]
    if height > 0:
        tables.free[kind, HEIGHT] = height - 1
        return int64(tables.freed[kind, height - 1])
    fresh = tables.free[kind, NEVER_USED]
    if fresh >= capacity:
        return int64(NONE)
    tables.free[kind, NEVER_USED] = fresh + 1
    return fresh


@jit()
def give_back(tables, kind, record):
    """The record is free again."""
    height = tables.free[kind, HEIGHT]
    tables.freed[kind, height] = record
    tables.free[kind, HEIGHT] = height + 1


@jit()
def reserve(tables, kind, record):
    """Let `record` be the next one that is taken; NONE: any. For tables whose free records are numbered at the end
    only: the number counts as used for the first time, whichever it is."""
    if record != NONE:
        tables.free[kind, NEVER_USED] += 1
        give_back(tables, kind, record)


@jit()
def has_room(tables, kind, capacity):
    """Whether a record of this kind is free."""
    return tables.free[kind, HEIGHT] > 0 or tables.free[kind, NEVER_USED] < capacity


@jit()
def in_use(tables, kind):
    """How many records of this kind are taken."""
    return tables.free[kind, NEVER_USED] - tables.free[kind, HEIGHT]


@jit()
def bibs_in_use(tables):
    """How many BIB entries there are, those of members too: they have the first len(Tables.members)."""
    return in_use(tables, BIBS) - len(tables.members) + in_use(tables, MEMBERS)


@jit()
def had_members(tables):
    """Whether a service has had an endpoint since the tables were made."""
    return tables.free[MEMBERS, NEVER_USED] > 0
