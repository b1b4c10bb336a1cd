"""Ports of pool4 that are taken over (restore.py): whose row of the pool they are, and those that wait."""

from translator.jit.compile import int64, jit
from translator.packet.addresses import address4
from translator.packet.fields import UDP
from translator.session.bib import host6_of, mapped4_of
from translator.session.pool4 import (
    OTHER,
    SERVICE,
    SLOTS,
    group_of,
    mark,
    number_of,
    place_of,
    release_port,
    rows_of,
)
from translator.tables.bitmaps import is_inside
from translator.tables.layout import NONE, PORTS

LAST_ADDRESS4 = 0xFFFFFFFF


@jit()
def pool_row_of(gateway, row):
    """The row of Settings.pool that has the mapped4 of a session for its host6, or NONE."""
    g = group_of(gateway.settings, host6_of(row))
    if g == NONE:
        return int64(NONE)
    return pool_row_in(gateway, g, number_of(row.protocol), mapped4_of(row))


@jit()
def pool_row_in(gateway, g, number, mapped4):
    """The row of a group that has a transport address for the protocol with this number, or NONE."""
    rows = rows_of(gateway.settings, g, mapped4.lo)
    for at in range(rows.first, rows.last + 1):
        if serves(gateway, at, number, mapped4.port):
            return at
    return int64(NONE)


@jit()
def serves(gateway, at, number, port):
    """Whether a row of the pool has a port of the protocol with this number."""
    row = gateway.settings.pool[at]
    if is_inside(gateway.tables.rows_lacking[number, SERVICE], at):
        return False
    return number == OTHER or row.port_first <= port <= row.port_last


@jit()
def restore_port(gateway, now, row):
    """A port waits on, unless it has been given out, or is no longer there; not longer than it may."""
    settings, tables, slot = gateway.settings, gateway.tables, waiting_slot(gateway, row)
    if slot == NONE or row.until <= now or is_inside(tables.ports_used[slot], place_of(row.port)):
        return
    if settings.port_quarantine > 0 and settings.port_block == 0:
        mark(tables, slot, row.port, True)
        ended = min(row.until - settings.port_quarantine, now)
        release_port(gateway, int64(UDP), slot, row.port, ended)


@jit()
def waiting_slot(gateway, row):
    """The slot of a port that waits, which is never one of TCP, or NONE. Most are where they were."""
    settings, number = gateway.settings, row.slot % SLOTS
    if row.live != 1 or number == 0 or not (0 < row.mapped4 <= LAST_ADDRESS4 and 0 <= row.port < PORTS):
        return int64(NONE)
    mapped4, at = address4(row.mapped4, row.port), row.slot // SLOTS
    if 0 <= at < len(settings.pool) and settings.pool[at].address == row.mapped4:
        if serves(gateway, at, number, mapped4.port):
            return int64(row.slot)
    for g in range(len(settings.groups)):
        at = pool_row_in(gateway, g, number, mapped4)
        if at != NONE:
            return at * SLOTS + number
    return int64(NONE)
