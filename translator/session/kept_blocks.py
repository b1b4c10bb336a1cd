"""Blocks of ports of a run before, or of other settings, taken over into new tables; a part of restore.py.

They come before the sessions, and wait as if nobody used them, until a session turns up that does. A session whose
block is not there gets it, if nobody else has it.
"""

import numpy as np

from translator.jit.compile import int64, jit
from translator.packet.addresses import address6
from translator.session.computed_blocks import computed_block
from translator.session.log import Cause, Kind
from translator.session.pool4 import group_of, rows_of
from translator.session.port_blocks import (
    blocks_of_row,
    claim_block,
    find_block,
    has_record,
    hold_block,
    log_block,
    may_have_another,
    number_of_block,
    oldest_block,
)
from translator.tables.bitmaps import is_inside
from translator.tables.layout import NONE, PORTS
from translator.tables.settings import Settings
from translator.verdict import Event

LAST_ADDRESS4 = 0xFFFFFFFF


def take_blocks(settings: Settings, now: int, kept: np.ndarray) -> np.ndarray:
    """The living BLOCK records in the order in which they are to be free, each with its time; the old ones live no
    more."""
    blocks = kept[kept["live"] != 0].copy()
    kept["live"] = 0
    latest = now + max(settings.port_quarantine, 1)  # not yet: the sessions of those in use are to come
    blocks["until"] = np.where(blocks["until"] > 0, np.minimum(blocks["until"], latest), latest)
    taken: np.ndarray = blocks[np.argsort(blocks["until"], kind="stable")]
    return taken


@jit()
def restore_blocks(gateway, now, blocks):
    """Take blocks over, in the order of their times. What is no block here is its subscriber's no more."""
    for at in range(len(blocks)):
        block = blocks[at]
        if is_sound(block):
            row = row_of_block(gateway.settings, block)
            gateway.tables.events[Event.BLOCK_RESTORED] += 1
            if block.until <= now:
                log_block(gateway, now, Kind.BLOCK_FREED, Cause.UNUSED, block)
            elif row == NONE or not restore_block(gateway, now, row, block):
                log_block(gateway, now, Kind.BLOCK_FREED, Cause.UNMAPPED, block)


@jit()
def is_sound(block):
    """Whether a record can be that of a block, under some configuration."""
    if block.live != 1 or not 0 <= block.length <= 128:
        return False
    return 0 < block.mapped4 <= LAST_ADDRESS4 and 0 <= block.first < PORTS


@jit()
def row_of_block(settings, block):
    """The pool row that has a block for its subscriber, or NONE."""
    g = group_of(settings, address6(block.host6_hi, block.host6_lo, 0))
    is_prefix = block.host6_hi & ~settings.subscriber_hi == 0 and block.host6_lo & ~settings.subscriber_lo == 0
    if g == NONE or settings.port_block == 0 or not is_prefix or block.length != settings.subscriber:
        return int64(NONE)
    rows = rows_of(settings, g, block.mapped4)
    for row in range(rows.first, rows.last + 1):
        from_first = int64(block.first) - int64(settings.pool[row].port_first)
        if from_first >= 0 and from_first % settings.port_block == 0:
            if number_of_block(settings, row, block.first) < blocks_of_row(settings, row):
                return row
    return int64(NONE)


@jit()
def restore_block(gateway, now, row, block):
    """Whether a block of a pool row could be given to its subscriber again."""
    host6, number = address6(block.host6_hi, block.host6_lo, 0), number_of_block(gateway.settings, row, block.first)
    if not can_claim(gateway, host6, row, number):
        return False
    new = claim_block(gateway, now, host6, row, number)
    gateway.tables.blocks[new].since = min(block.since, now)
    hold_block(gateway.tables, new, block.until)
    return True


@jit()
def can_claim(gateway, host6, row, number):
    """Whether a block of a pool row can be given to the subscriber of a host6."""
    settings, tables = gateway.settings, gateway.tables
    if is_inside(tables.blocks_used[row], number) or not has_record(tables):
        return False
    return may_have_another(gateway, group_of(settings, host6), oldest_block(gateway, host6))


@jit()
def may_have_block(gateway, host6, row, port):
    """Whether a port of a pool row is of a block that the subscriber of a host6 has, or can be given."""
    settings, number = gateway.settings, number_of_block(gateway.settings, row, port)
    if number >= blocks_of_row(settings, row):
        return False
    if is_computed(settings, host6, row, port) or find_block(gateway, host6, row, port) != NONE:
        return True
    return can_claim(gateway, host6, row, number)


@jit()
def have_block(gateway, now, host6, row, port):
    """Give a block that may_have_block() allows to the subscriber of a host6, if it has it not."""
    settings = gateway.settings
    if not is_computed(settings, host6, row, port) and find_block(gateway, host6, row, port) == NONE:
        block = claim_block(gateway, now, host6, row, number_of_block(settings, row, port))
        log_block(gateway, now, Kind.BLOCK_ALLOCATED, Cause.INSIDE, gateway.tables.blocks[block])


@jit()
def is_computed(settings, host6, row, port):
    """Whether a port of a pool row is of the block that is computed for a host6."""
    own, first = computed_block(settings, group_of(settings, host6), host6)
    return own == row and first <= port < first + settings.port_block
