"""Which IPv4 transport address a new BIB entry gets where ports are handed out in blocks: as pool4.py does, but of the
blocks of its subscriber, or of a new one once those have no free port.

Parity and side of 1024 are kept as far as the blocks of the subscriber have such ports; only when these have none at
all it gets a new one. Its computed block, if there is one, goes before all others (RFC 7422 section 2, step 3).

No more than `blocks` are one subscriber's, and no more of a pool row than four times as many as are free there
(subscribers.py). No mapping is displaced: nobody can take the ports of another's block.
"""

from translator.jit.compile import int64, jit, rare
from translator.session.computed_blocks import computed_block
from translator.session.log import Cause, Kind
from translator.session.pool4 import (
    AT_ONCE,
    AT_SHARE,
    BLOCK,
    KINDS,
    SERVICE,
    choose_port,
    dearest_kind,
    first_serving,
    flow_hash,
    group_of,
    number_of,
    rows_for,
    rows_of,
    slot_of,
)
from translator.session.port_blocks import (
    blocks_of_row,
    claim_block,
    count_blocks,
    first_port,
    free_blocks,
    log_block,
    may_have_another,
    oldest_block,
)
from translator.session.subscribers import SHARE
from translator.tables.bitmaps import is_inside, next_outside
from translator.tables.layout import NONE

NO_RECORD = -3  # no port: there are as many blocks as there can be
# LIMITS
ROWS_TRIED = 4  # of those that have a block, when the subscriber has its share of the blocks there


@rare()
def allocate_in_blocks(gateway, now, t, host4, paired4):
    """As pool4.allocate; port NO_RECORD: the table of blocks is full."""
    settings, tables, at = gateway.settings, gateway.tables, number_of(t.protocol)
    g = group_of(settings, t.src)
    if g == NONE:
        return int64(NONE), int64(NONE)
    free_blocks(gateway, now, AT_ONCE)
    hashed, oldest = flow_hash(settings, t, host4), oldest_block(gateway, t.src)
    row, first = computed_block(settings, g, t.src)
    if row != NONE:
        port = port_in_block(gateway, t, row, first, hashed)
        if port != NONE:
            return row, port
        paired4 = settings.pool[row].address if paired4 == 0 else paired4
    near4 = tables.blocks[oldest].mapped4 if paired4 == 0 and oldest != NONE else paired4
    own = rows_of(settings, g, near4)
    is_own = paired4 != 0 and settings.strict_pairing != 0 and first_serving(tables, at, own) != NONE
    others = own if is_own else rows_for(settings, g, t)
    for turn in range(1 if is_own else 2):
        row, port = port_of_blocks(gateway, t, own if turn == 0 else others, oldest, hashed)
        if port != NONE:
            return row, port
    if not may_have_another(gateway, g, oldest):
        return first_serving(tables, at, others), int64(AT_SHARE)
    row = row_with_block(tables, at, own, oldest)
    row = row_with_block(tables, at, others, oldest) if row < 0 else row
    if row < 0:
        return first_serving(tables, at, others), row
    return row, port_of_new_block(gateway, now, t, row, hashed)


@jit()
def port_in_block(gateway, t, row, first, hashed):
    """A free port of the block of a pool row that begins with port `first`, of the dearest kind there is, or NONE."""
    dearest = dearest_kind(t, hashed)
    for k in range(KINDS):
        port = port_of_kind(gateway, t, row, first, hashed, k ^ dearest)
        if port != NONE:
            return port
    return int64(NONE)


@jit()
def port_of_kind(gateway, t, row, first, hashed, kind):
    """A free port of this kind of the block of a pool row that begins with port `first`, or NONE."""
    tables, last = gateway.tables, first + gateway.settings.port_block - 1
    if is_inside(tables.rows_lacking[number_of(t.protocol), SERVICE], row):
        return int64(NONE)
    return choose_port(tables, slot_of(row, t.protocol), first, last, hashed, kind)


@jit()
def port_of_blocks(gateway, t, rows, oldest, hashed):
    """(pool row, port) of the blocks that a subscriber has in some rows, of the dearest kind there is, those first that
    it has had for longest; or (NONE, NONE)."""
    tables, dearest = gateway.tables, dearest_kind(t, hashed)
    for k in range(KINDS):
        block = int64(oldest)
        while block != NONE:
            one = tables.blocks[block]
            if rows.first <= one.row <= rows.last:
                port = port_of_kind(gateway, t, int64(one.row), int64(one.first), hashed, k ^ dearest)
                if port != NONE:
                    return int64(one.row), port
            block = int64(one.next)
    return int64(NONE), int64(NONE)


@jit()
def row_with_block(tables, at, rows, oldest):
    """A row of those that has a block for the protocol with number `at` and for a subscriber, whose first block is
    `oldest`; NONE: no row has one; AT_SHARE: it has its share of each of the first few."""
    if rows.first > rows.last:
        return int64(NONE)
    lacking, full = tables.rows_lacking[at, BLOCK], tables.rows_full[at, BLOCK]
    row = next_outside(lacking, full, rows.first, rows.last, rows.begin)
    if row == NONE:
        return row
    if not is_inside(lacking, rows.other) and tables.blocks_free[rows.other] > tables.blocks_free[row]:
        row = rows.other
    for _ in range(min(ROWS_TRIED, rows.last - rows.first + 1)):
        if count_blocks(tables, oldest, row) < SHARE * tables.blocks_free[row]:
            return row
        row = next_outside(lacking, full, rows.first, rows.last, row + 1 if row < rows.last else rows.first)
    return int64(AT_SHARE)


@rare()
def port_of_new_block(gateway, now, t, row, hashed):
    """A port of a free block of a pool row, which is the subscriber's from now on, or NO_RECORD."""
    settings, tables, count = gateway.settings, gateway.tables, blocks_of_row(gateway.settings, row)
    number = next_outside(tables.blocks_used[row], tables.blocks_full[row], 0, count - 1, hashed % count)
    block = claim_block(gateway, now, t.src, row, number)
    if block == NONE:
        return int64(NO_RECORD)
    log_block(gateway, now, Kind.BLOCK_ALLOCATED, Cause.INSIDE, tables.blocks[block])
    return port_in_block(gateway, t, row, first_port(settings, row, number), hashed)
