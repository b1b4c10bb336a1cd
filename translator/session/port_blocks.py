"""Blocks of ports (`[limits] port_block`): who has which. All mappings of a subscriber have ports of its own blocks, so
that one line of the log says whose they are (RFC 6888 REQ-14).

Each pool row is cut into blocks, from its first port on; what is left at its end is nobody's, and so is a block of
which a port is forwarded. A block is of all protocols of its row. It is handed out when its subscriber has no free port
of a protocol left, and belongs to it until `port_quarantine` after its last mapping: what still comes for the old host
reaches nobody else (RFC 6888 REQ-8), and a subscriber that comes back has its block again. Within a block ports do not
wait.

There are less records than blocks could be; when none is left, the block that nobody has used for the longest waits no
longer. The blocks of a subscriber are a list, in the order in which it got them: no more than `[limits] blocks`, 64 at
most, so that a walk along it is bounded.
"""

import numpy as np

from translator.jit.compile import int64, jit, rare
from translator.packet.addresses import address6
from translator.session.log import Cause, Kind, is_logged, next_entry
from translator.session.pool4 import BLOCK, SERVICE, SLOTS
from translator.tables.bitmaps import enter, is_inside, words_of
from translator.tables.hashing import find_candidate, first_candidate, hash3, insert, record_at, remove
from translator.tables.layout import NONE, PORTS
from translator.tables.settings import Settings
from translator.tables.slots import give_back, in_use, take
from translator.tables.tables import BLOCKS, Tables
from translator.verdict import Event

OLDEST, NEWEST = 0, 1  # words of Tables.blocks_held


def enter_blocks(tables: Tables, settings: Settings) -> None:
    """Enter the rows of Settings.pool into empty tables: their blocks are free, but for those that are computed."""
    size, pool = settings.port_block, settings.pool
    if size == 0:
        return
    computed = np.zeros(len(pool), np.int64)
    for group in settings.groups[settings.groups["computed"] > 0]:
        left = 1 << settings.subscriber - int(group.length)
        each = np.clip(left - np.arange(group.count) * int(group.computed), 0, int(group.computed))
        computed[group.first : group.first + group.count] = each
    for count in np.unique(computed[computed > 0]):
        words = words_of(np.arange(PORTS // size) < count)
        tables.blocks_used[: len(pool)][computed == count] = words
        tables.blocks_full[: len(pool)][computed == count] = words_of(words == -1)
    tables.blocks_free[: len(pool)] = (pool["port_last"] - pool["port_first"] + 1) // size - computed
    for at, name in enumerate(("tcp", "udp", "icmp")):
        words = words_of((tables.blocks_free[: len(pool)] == 0) | (pool[name] == 0))
        tables.rows_lacking[at, BLOCK], tables.rows_full[at, BLOCK] = words, words_of(words == -1)


# ---- where they are


@jit()
def blocks_of_row(settings, row):
    """How many blocks a pool row has."""
    return (int64(settings.pool[row].port_last) - int64(settings.pool[row].port_first) + 1) // settings.port_block


@jit()
def number_of_block(settings, row, port):
    """Which block of its pool row a port is in; what is behind the last one is none."""
    return (int64(port) - int64(settings.pool[row].port_first)) // settings.port_block


@jit()
def first_port(settings, row, number):
    """The first port of a block of a pool row."""
    return int64(settings.pool[row].port_first) + number * settings.port_block


@jit()
def mark_block(gateway, row, number, used):
    """A block of a pool row is not to be handed out from now on, or it is again."""
    tables = gateway.tables
    if enter(tables.blocks_used[row], tables.blocks_full[row], number, used):
        tables.blocks_free[row] += -1 if used else 1
        for at in range(SLOTS):
            if not is_inside(tables.rows_lacking[at, SERVICE], row):
                lacks = tables.blocks_free[row] == 0
                enter(tables.rows_lacking[at, BLOCK], tables.rows_full[at, BLOCK], row, lacks)


@jit()
def reserve_block(gateway, row, port):
    """A port is forwarded: its block is handed out to nobody."""
    settings = gateway.settings
    if settings.port_block > 0:
        number = number_of_block(settings, row, port)
        if number < blocks_of_row(settings, row):
            mark_block(gateway, row, number, True)


# ---- whose they are


@jit()
def owner_hash(gateway, hi, lo):
    """Keyed hash of the prefix of a subscriber."""
    return hash3(gateway.settings.secret, hi, lo, 4)


@jit()
def oldest_block(gateway, host6):
    """The block that the subscriber of a host6 has had for the longest, or NONE."""
    settings, tables = gateway.settings, gateway.tables
    hi, lo = host6.hi & settings.subscriber_hi, host6.lo & settings.subscriber_lo
    hashed = owner_hash(gateway, hi, lo)
    at = first_candidate(tables.blocks_of, hashed)
    while at != NONE:
        block = record_at(tables.blocks_of, at)
        if tables.blocks[block].host6_hi == hi and tables.blocks[block].host6_lo == lo:
            return block
        at = find_candidate(tables.blocks_of, hashed, at + 1)
    return int64(NONE)


@jit()
def count_blocks(tables, oldest, row):
    """How many blocks a subscriber has, whose first one is `oldest`; of a pool row, NONE: of all."""
    count, block = 0, int64(oldest)
    while block != NONE:
        count += 1 if row == NONE or tables.blocks[block].row == row else 0
        block = int64(tables.blocks[block].next)
    return count


@jit()
def may_have_another(gateway, g, oldest):
    """Whether a subscriber of group `g`, whose first block is `oldest`, has less blocks than it may; a computed one is
    one of them."""
    settings = gateway.settings
    computed = 1 if settings.groups[g].computed > 0 else 0
    return count_blocks(gateway.tables, oldest, NONE) + computed < settings.blocks


@jit()
def find_block(gateway, host6, row, port):
    """The block of the subscriber of a host6 that has a port of a pool row, or NONE."""
    tables, block = gateway.tables, oldest_block(gateway, host6)
    while block != NONE:
        one = tables.blocks[block]
        if one.row == row and one.first <= port <= one.last:
            return block
        block = int64(one.next)
    return int64(NONE)


@jit()
def has_record(tables):
    """Whether a block can be handed out as far as records are concerned."""
    return in_use(tables, BLOCKS) < len(tables.blocks) or tables.blocks_held[OLDEST] != NONE


@rare()
def claim_block(gateway, now, host6, row, number):
    """Hand out a free block of a pool row to the subscriber of a host6. Its record, nobody uses it yet; or NONE: there
    is none left."""
    settings, tables = gateway.settings, gateway.tables
    if not has_record(tables):
        return int64(NONE)
    if in_use(tables, BLOCKS) == len(tables.blocks):
        free_block(gateway, now, tables.blocks_held[OLDEST])
    block = take(tables, BLOCKS, len(tables.blocks))
    one = tables.blocks[block]
    one.host6_hi, one.host6_lo = host6.hi & settings.subscriber_hi, host6.lo & settings.subscriber_lo
    one.mapped4, one.row, one.first = settings.pool[row].address, row, first_port(settings, row, number)
    one.last = one.first + settings.port_block - 1
    one.since, one.until, one.ports, one.length, one.live = now, 0, 0, settings.subscriber, 1
    one.next, one.older, one.newer = NONE, NONE, NONE
    mark_block(gateway, row, number, True)
    last = oldest_block(gateway, host6)
    if last == NONE:
        insert(tables.blocks_of, owner_hash(gateway, one.host6_hi, one.host6_lo), block)
        return block
    while tables.blocks[last].next != NONE:
        last = int64(tables.blocks[last].next)
    tables.blocks[last].next = block
    return block


@rare()
def free_block(gateway, now, block):
    """A block that nobody uses is its subscriber's no more."""
    settings, tables, one = gateway.settings, gateway.tables, gateway.tables.blocks[block]
    log_block(gateway, now, Kind.BLOCK_FREED, Cause.UNUSED, one)
    end_hold(tables, block)
    hashed = owner_hash(gateway, one.host6_hi, one.host6_lo)
    before = oldest_block(gateway, address6(one.host6_hi, one.host6_lo, 0))
    if before == block:
        remove(tables.blocks_of, hashed, block)
        if one.next != NONE:
            insert(tables.blocks_of, hashed, one.next)
    else:
        while tables.blocks[before].next != block:
            before = int64(tables.blocks[before].next)
        tables.blocks[before].next = one.next
    one.live = 0
    mark_block(gateway, one.row, number_of_block(settings, one.row, one.first), False)
    give_back(tables, BLOCKS, block)


@rare()
def log_block(gateway, now, kind, cause, block):
    """A block, its BLOCK record, was handed out, or is its subscriber's no more: count it, and log it if that is
    wanted."""
    tables = gateway.tables
    tables.events[Event.BLOCK_ALLOCATED if kind == Kind.BLOCK_ALLOCATED else Event.BLOCK_FREED] += 1
    at = next_entry(gateway, now, int64(kind), int64(cause)) if is_logged(gateway, kind) else int64(NONE)
    if at == NONE:
        return
    entry = tables.log[at]
    entry.host6_hi, entry.host6_lo, entry.length = block.host6_hi, block.host6_lo, block.length
    entry.mapped4, entry.mapped4_port = block.mapped4, block.first
    entry.last_port = block.last
    entry.host6_port, entry.host4, entry.host4_port, entry.protocol = 0, 0, 0, 0


# ---- who uses them


@jit()
def join_block(gateway, host6, row, port):
    """A mapping of a host6 has got a port of a pool row, of a block that it has, or of a computed one."""
    tables, block = gateway.tables, find_block(gateway, host6, row, port)
    if block != NONE:
        end_hold(tables, block)
        tables.blocks[block].ports += 1


@jit()
def leave_block(gateway, host6, row, port, ended):
    """A mapping of a host6 with a port of a pool row ended at `ended`; after the last one of a block it waits."""
    tables, block = gateway.tables, find_block(gateway, host6, row, port)
    if block != NONE:
        tables.blocks[block].ports -= 1
        if tables.blocks[block].ports == 0:
            hold_block(tables, block, ended + gateway.settings.port_quarantine)


@jit()
def hold_block(tables, block, until):
    """Nobody uses a block, and until then nobody else gets it."""
    one, newest = tables.blocks[block], tables.blocks_held[NEWEST]
    one.until, one.older, one.newer = max(until, 1), newest, NONE
    if newest == NONE:
        tables.blocks_held[OLDEST] = block
    else:
        tables.blocks[newest].newer = block
    tables.blocks_held[NEWEST] = block


@jit()
def end_hold(tables, block):
    """A block does not wait any more, if it did."""
    one = tables.blocks[block]
    if one.until == 0:
        return
    if one.older == NONE:
        tables.blocks_held[OLDEST] = one.newer
    else:
        tables.blocks[one.older].newer = one.newer
    if one.newer == NONE:
        tables.blocks_held[NEWEST] = one.older
    else:
        tables.blocks[one.newer].older = one.older
    one.until, one.older, one.newer = 0, NONE, NONE


@rare()
def free_blocks(gateway, now, most):
    """Free up to `most` blocks that have waited long enough."""
    tables = gateway.tables
    for _ in range(most):
        block = tables.blocks_held[OLDEST]
        if block == NONE or tables.blocks[block].until > now:
            return
        free_block(gateway, now, block)
