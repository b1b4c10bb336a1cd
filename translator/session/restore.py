"""Sessions and waiting ports of a run before, or of other settings, taken over into new tables.

Only three kinds of records are taken: sessions, ports in quarantine, and blocks of ports (kept_blocks.py). All else
follows from them, and is made anew as if the sessions had just been opened: indexes, timer wheel, BIB entries, hosts,
subscribers, counts, bitmaps of ports. So nothing of it can disagree with them.

No record is trusted: it may come from a file that was damaged, or from a configuration that allowed what this one does
not. What one says is judged first (Fate), and written then. Of two that contradict each other the first one holds.

What is not taken over: the numbers of TCP segments (windows.py), what a host has opened within the last second
(hosts.py), that a mapping was answered by a session that is over, fragments, SYNs that wait.
"""

from typing import NamedTuple

import numpy as np

from translator.jit.compile import int64, jit, rare
from translator.packet.addresses import is_unicast
from translator.packet.fields import AUTHENTICATION, ICMP, TCP
from translator.session.accounts import move_account
from translator.session.affinity import restore_affinities, take_affinities
from translator.session.ahead import AHEAD, look_ahead
from translator.session.bib import create_bib, find_bib4, find_bib6, host6_of, mapped4_of
from translator.session.clients6 import bring_client, may_have_client, settle_clients
from translator.session.fates import Fate, entries_of, is_told, judge_end, note_end
from translator.session.hosts import find_host, ports_of
from translator.session.kept_blocks import have_block, may_have_block, restore_blocks, take_blocks
from translator.session.kept_members import inbound_of, is_there, judge_member
from translator.session.kept_ports import pool_row_of, restore_port
from translator.session.lifetimes import end_of, first_timeout
from translator.session.log import LOST, describe_account
from translator.session.pool4 import NEXT, OTHER, first_serving, group_of, number_of, rows_of, slot_of
from translator.session.sessions import enter_session, host4_of
from translator.session.subscribers import INBOUND_PART, free_sessions
from translator.session.tcp_state import State
from translator.session.unanswered import answer
from translator.static.addresses import may_reach
from translator.static.eam import find_eam6
from translator.static.rfc6052 import LENGTH, in_prefix
from translator.tables.gateway import Gateway
from translator.tables.handles import FRONT6, is_handle
from translator.tables.layout import (
    AFFINITY,
    BLOCK,
    CLIENT,
    LOGGED,
    NONE,
    OF_GONE,
    OF_SERVICE,
    PORTS,
    SESSION,
    WAITING_PORT,
    records,
)
from translator.tables.slots import had_members, reserve, take
from translator.tables.tables import BIBS, SESSIONS
from translator.tables.wheel import Timeout
from translator.verdict import Event, Verdict

LAST_ADDRESS4, LAST_PROTOCOL = 0xFFFFFFFF, 255
TCP_TIMEOUTS = np.array([Timeout.TCP_EST, Timeout.TCP_TRANS, Timeout.TCP_OPENING, Timeout.TCP_CLOSING])


NO_CLIENTS = records(0, CLIENT)


class Kept(NamedTuple):
    """What is taken over: records that are a run's own, or a copy of another's."""

    sessions: np.ndarray  # SESSION
    quarantine: np.ndarray  # WAITING_PORT
    statics: int  # BIB entries numbered below are of services and [[forward]]
    blocks: np.ndarray  # BLOCK
    affinities: np.ndarray = records(0, AFFINITY)
    clients6: np.ndarray = NO_CLIENTS  # CLIENT, by their numbers


class Place(NamedTuple):
    """The numbers that the records of a session and of its BIB entry are to have, if that is new; NONE: any."""

    session: int
    bib: int


NOTHING = Kept(records(0, SESSION), records(0, WAITING_PORT), 0, records(0, BLOCK))


class Restored(NamedTuple):
    """What became of sessions: how many had each Fate, int64[Fate], and what of it the log has to say, LOGGED."""

    fates: np.ndarray
    ended: np.ndarray


def restore(gateway: Gateway, now: int, kept: Kept) -> Restored:
    """Take over the records of other tables, or of the gateway's own, which are otherwise as tables begin and used by
    nobody else. The log is told of no more sessions than fit into it; the rest is counted as lost.

    The records are consumed: those that the gateway's tables have not taken live no more. Broken off anywhere, it can
    be done again.
    """
    waiting = kept.quarantine[kept.quarantine["live"] != 0]
    waiting = waiting[np.argsort(waiting["until"], kind="stable")]
    fates, tables = np.zeros(len(Fate), np.int64), gateway.tables
    before = int(tables.events[Event.BIB_CREATED])
    room = min(len(tables.log), len(kept.sessions)) if is_told(gateway.settings.logged) else 0
    ended = records(room, LOGGED)
    blocks, affinities = take_blocks(gateway.settings, now, kept.blocks), take_affinities(kept.affinities)
    taken = kept._replace(quarantine=waiting, blocks=blocks, affinities=affinities)
    restore_records(gateway, now, taken, fates, ended, np.zeros((AHEAD, 5), np.int64))
    kept.quarantine["live"][tables.quarantine_at[NEXT] :] = 0
    tables.events[Event.BIB_RESTORED] += int(tables.events[Event.BIB_CREATED]) - before
    tables.events[Event.BIB_CREATED] = before
    tables.events[Event.SESSION_RESTORED] += fates[Fate.KEPT]
    told = int(fates[Fate.EXPIRED : Fate.DAMAGED].sum()) if room else 0
    tables.log_at[LOST] += max(told - room, 0)
    return Restored(fates, entries_of(ended[:told], gateway.settings.logged))


def warm_up(gateway: Gateway) -> None:
    """Compile what takes records over, by taking over none."""
    fates, ahead = np.zeros(len(Fate), np.int64), np.zeros((AHEAD, 5), np.int64)
    restore_records(gateway, 0, NOTHING, fates, records(0, LOGGED), ahead)


@jit()
def restore_records(gateway, now, kept, fates, ended, ahead):
    """As restore; waiting ports and blocks are copies, in the order of their times. `ended`: LOGGED to write to, as far
    as there is room; `ahead`: int64[AHEAD, 5] of scratch."""
    count = 0
    restore_blocks(gateway, now, kept.blocks)
    restore_affinities(gateway, now, kept.affinities)
    for at in range(len(kept.sessions)):
        if at % AHEAD == 0:
            look_ahead(gateway, kept.sessions[at : at + AHEAD], ahead)
        row = kept.sessions[at]
        if row.live != 0:
            bring_client(gateway, kept.clients6, row)
            was_static, anywhere = 0 <= row.bib < kept.statics, Place(int64(NONE), int64(NONE))
            fate, session = restore_session(gateway, now, row, was_static, anywhere)
            fates[int64(fate)] += 1
            if count < len(ended) and fate != Fate.KEPT and fate != Fate.DAMAGED:
                note_end(gateway.tables, now, row, fate, was_static, ended[count])
                describe_account(gateway, ended[count], at)
                count += 1
            if session != at:
                row.live = 0
                move_account(gateway, at, session)
    for at in range(count):
        judge_end(gateway, ended[at])
    settle_clients(gateway.tables)
    for at in range(len(kept.quarantine)):
        restore_port(gateway, now, kept.quarantine[at])


@rare()
def restore_session(gateway, now, row, was_static, place):
    """(Fate of a session, its record or NONE). Taken in order, and to any place, no record is behind the old one."""
    tables = gateway.tables
    fate, bib, pool_row = judge(gateway, now, row), int64(NONE), int64(NONE)
    if fate == Fate.KEPT and row.inbound >= OF_SERVICE:
        fate, bib = judge_member(gateway, row)
    elif fate == Fate.KEPT:
        bib = int64(find_bib6(gateway, row.protocol, host6_of(row)))
        pool_row = pool_row_of(gateway, row) if bib == NONE else int64(NONE)
        fate = judge_mapping(gateway, row, bib, pool_row, was_static)
        if fate == Fate.KEPT and (bib != NONE or had_members(tables)) and is_there(gateway, row):
            fate = Fate.DAMAGED
        if fate == Fate.KEPT:
            fate = judge_room(gateway, row, bib)
    if fate != Fate.KEPT:
        return fate, int64(NONE)
    if bib == NONE:
        reserve(tables, BIBS, place.bib)
        bib = restore_bib(gateway, now, row, pool_row)
    if row.inbound != 0 or row.state != State.V6_INIT:
        answer(tables, bib)
    reserve(tables, SESSIONS, place.session)
    session = take(tables, SESSIONS, len(tables.sessions))
    copy_session(gateway, now, row, tables.sessions[session], bib)
    enter_session(gateway, now, session)
    return fate, session


@jit()
def restore_bib(gateway, now, row, pool_row):
    """The BIB entry of a session that has none; its port is one of a pool row."""
    tables, protocol = gateway.tables, int64(row.protocol)
    slot = slot_of(pool_row, protocol) if number_of(protocol) != OTHER else int64(NONE)
    if gateway.settings.port_block > 0 and slot != NONE:
        have_block(gateway, now, host6_of(row), pool_row, int64(row.mapped4_port))
    bib = create_bib(gateway, protocol, host6_of(row), mapped4_of(row), slot, 0)
    host = tables.hosts[tables.bibs[bib].host]
    if host.mapped4 == 0:
        host.mapped4 = row.mapped4
    return bib


@jit()
def copy_session(gateway, now, row, new, bib):
    """The record of a session, which may be the old one itself, of which only what is not the same is changed."""
    new.host6_hi, new.host6_lo, new.host6_port = row.host6_hi, row.host6_lo, row.host6_port
    new.mapped4, new.mapped4_port, new.bib = row.mapped4, row.mapped4_port, bib
    new.host4, new.host4_port, new.protocol, new.state = row.host4, row.host4_port, row.protocol, row.state
    new.prefix = row.prefix
    new.expires = min(row.expires, now + longest(gateway.settings, row))
    static = gateway.tables.bibs[bib].static
    new.inbound = row.inbound if static == 0 else inbound_of(gateway, row, bib)


# ---- what a record says


@jit()
def judge(gateway, now, row):
    """What becomes of a session, as far as it itself and the configuration tell."""
    known = row.prefix == FRONT6 if is_handle(row.host4) else NONE <= row.prefix < len(gateway.settings.prefixes)
    if not is_sound(row) or not known:
        return Fate.DAMAGED
    if row.expires <= now and end_of(gateway.settings, row) <= now:
        return Fate.EXPIRED
    return Fate.KEPT if may_pass(gateway, row) else Fate.UNMAPPED


@jit()
def is_sound(row):
    """Whether a record can be that of a session."""
    if row.live != 1 or not (0 <= row.inbound <= OF_GONE and 0 < row.protocol <= LAST_PROTOCOL):
        return False
    if row.inbound < OF_SERVICE and row.prefix != 0:
        return False
    if not (0 <= row.mapped4 <= LAST_ADDRESS4 and 0 <= row.host4 <= LAST_ADDRESS4):
        return False
    ports = row.host6_port | row.mapped4_port | row.host4_port
    if not 0 <= ports < PORTS or (number_of(row.protocol) == OTHER and ports != 0):
        return False
    if row.protocol == ICMP and row.host4_port != 0:
        return False
    if row.protocol == TCP:
        return State.V4_INIT <= row.state <= State.TRANS
    return State.NONE <= row.state <= State.V6_INIT


@jit()
def longest(settings, row):
    """Milliseconds that a session can have left."""
    if row.protocol != TCP:
        return settings.timeouts[first_timeout(row)]
    most = int64(0)
    for timer in TCP_TIMEOUTS:
        most = max(most, settings.timeouts[timer])
    return most


@jit()
def may_pass(gateway, row):
    """Whether the configuration has sessions for this host6, host4 and protocol."""
    settings, host6, of_ipv6 = gateway.settings, host6_of(row), row.prefix == FRONT6
    if settings.stateful == 0 or in_prefix(gateway, host6):
        return False
    if not of_ipv6 and (row.prefix == NONE or settings.prefixes[row.prefix, LENGTH] == NONE):
        return False
    mapped = row.inbound < OF_SERVICE and len(settings.eam) > 0 and find_eam6(gateway, host6) != NONE
    if mapped or not is_unicast(6, host6):
        return False
    if of_ipv6:
        return row.inbound >= OF_SERVICE and may_have_client(gateway, row)
    if number_of(row.protocol) == OTHER and (settings.other_protocols == 0 or row.protocol == AUTHENTICATION):
        return False
    return may_reach(gateway, host4_of(row), True) == Verdict.CONTINUE


# ---- what others say


@jit()
def judge_mapping(gateway, row, bib, pool_row, was_static):
    """What becomes of a session, as far as its mapping tells: BIB entry `bib`, or NONE and the row of the pool that has
    its port, if one has. `was_static`: it was one of [[forward]]."""
    tables = gateway.tables
    if bib == NONE:
        taken = find_bib4(gateway, row.protocol, mapped4_of(row))
        if taken != NONE:
            return Fate.UNMAPPED if was_static or tables.bibs[taken].static != 0 else Fate.DAMAGED
        if was_static or pool_row == NONE or pairs_otherwise(gateway, row) or not is_in_block(gateway, row, pool_row):
            return Fate.UNMAPPED
        return Fate.KEPT
    entry = tables.bibs[bib]
    if was_static and entry.static == 0:
        return Fate.UNMAPPED
    if entry.mapped4 != row.mapped4 or entry.mapped4_port != row.mapped4_port:
        return Fate.UNMAPPED if entry.static != 0 else Fate.DAMAGED
    return Fate.KEPT


@jit()
def pairs_otherwise(gateway, row):
    """Whether the host6 of a session has another pool address that would do, and may have no second one."""
    settings, tables, host6 = gateway.settings, gateway.tables, host6_of(row)
    host = find_host(gateway, host6)
    if settings.strict_pairing == 0 or host == NONE or tables.hosts[host].mapped4 == row.mapped4:
        return False
    own = rows_of(settings, group_of(settings, host6), tables.hosts[host].mapped4)
    return first_serving(tables, number_of(row.protocol), own) != NONE


@jit()
def is_in_block(gateway, row, pool_row):
    """Whether the port of a session is of a block that its subscriber has, or can have, if there are blocks."""
    if gateway.settings.port_block == 0 or number_of(row.protocol) == OTHER:
        return True
    return may_have_block(gateway, host6_of(row), pool_row, int64(row.mapped4_port))


@jit()
def judge_room(gateway, row, bib):
    """Whether the table and the limits have room for a session: KEPT or LIMITED. What one may have of what others leave
    is not asked: they left more when it was opened."""
    settings, tables = gateway.settings, gateway.tables
    host = find_host(gateway, host6_of(row)) if bib == NONE else tables.bibs[bib].host
    is_inbound = row.inbound != 0 or (bib != NONE and tables.bibs[bib].static != 0)
    if free_sessions(tables) == 0 or (is_inbound and tables.inbound[0] >= len(tables.sessions) // INBOUND_PART):
        return Fate.LIMITED
    if host == NONE:
        return Fate.KEPT
    most, ports = settings.per_host_sessions, settings.per_host_ports
    if most > 0 and not is_inbound and tables.hosts[host].sessions >= most:
        return Fate.LIMITED
    if ports > 0 and bib == NONE and ports_of(tables.hosts[host], row.protocol) >= ports:
        return Fate.LIMITED
    return Fate.KEPT
