"""Other settings, while packets still pass by those there are: the sessions are judged meanwhile, and when packets
change over only what has changed since is left to judge.

    begin     judge a copy of all sessions, into a draft of the new tables
    catch_up  bring the draft up to date with the sessions that changed; until few do
    finish    packets stand still: catch up once more, and the records of the sessions become those of the draft

A session that goes on keeps the number of its record, and of its BIB entry but for a `shift`: so one that nothing
happens to needs nothing to be written when packets change over, however many there are. What a packet puts off, the
time of a session, is in the record that both have. Ports that wait are taken over at the end, they are quickly done.

What the draft has is always what the tables had at one moment: a record that changed while it was copied is left out,
and caught up with later. So no two sessions of it ever claim one number or one mapping.
"""

from typing import NamedTuple

import numpy as np

from translator.jit.compile import int64, jit
from translator.jit.reference import by_reference
from translator.session.ahead import AHEAD, look_ahead
from translator.session.clients6 import bring_client, settle_clients
from translator.session.fates import Fate, entries_of, is_told, judge_end, note_end
from translator.session.kept_ports import restore_port
from translator.session.kept_prefixes import renumber
from translator.session.log import LOST, Cause, describe_account
from translator.session.pool4 import NEXT, OLDEST
from translator.session.restore import Place, Restored, restore_session
from translator.session.sessions import change_state, end_session
from translator.session.tcp_state import State
from translator.session.unanswered import answer
from translator.tables.changes import copy_changed, copy_rows, list_numbers, take_changes
from translator.tables.gateway import Gateway, new_worker
from translator.tables.layout import LOGGED, SESSION, records
from translator.tables.settings import Settings
from translator.tables.slots import give_back
from translator.tables.tables import BIBS, CLIENTS6, HEIGHT, NEVER_USED, SESSIONS, Tables, create
from translator.tables.wheel import schedule, unschedule
from translator.verdict import Event

# LIMITS
SLICE = 1024  # records copied each time the lock is held
MOVED = len(Fate)  # a mark besides the Fates: it goes on, by another BIB entry or prefix, or counted otherwise
FREED = 2  # `live` of a BIB entry that is given back already


@by_reference
class Notes:
    """What a draft is made with."""

    statics: int  # BIB entries of services and [[forward]] before: the first ones
    shift: int  # how many more there are now: what is added to the numbers of all others
    marks: np.ndarray  # int8[8 * n], by session: a Fate, or MOVED
    ahead: np.ndarray  # int64[AHEAD, 5] of scratch
    renumbered: int  # prefixes have other numbers now
    clients: np.ndarray  # CLIENT of the tables before


class Draft(NamedTuple):
    """`gateway`: the new settings, but without a quarantine, and the draft; `before`: the tables that packets use;
    `prefixes`: as kept_prefixes.renumbered."""

    gateway: Gateway
    before: Tables
    notes: Notes
    prefixes: np.ndarray | None


def begin(gateway: Gateway, before: Tables, now: int, prefixes: np.ndarray | None = None) -> Draft:
    """Judge all sessions. The gateway's tables are empty but for static BIB entries, and used by nobody else; by its
    settings nothing may be in quarantine, nor logged. They keep what is allowed of `before`, tables of as many
    sessions. `now`: read before; `prefixes`: the numbers that those of `before` have now."""
    tables = gateway.tables
    statics, statics_now = (len(each.bibs) - len(each.sessions) for each in (before, tables))
    marks = np.zeros(-(-len(tables.sessions) // 8) * 8, np.int8)
    ahead, moved = np.zeros((AHEAD, 5), np.int64), int(prefixes is not None)
    notes = Notes(statics, statics_now - statics, marks, ahead, moved, before.clients6)
    draft = Draft(gateway, before, notes, prefixes)
    take_changes(before, tables.changed)
    every = np.arange(int(before.free[SESSIONS, NEVER_USED]))
    rows = tables.sessions[: len(every)]
    _copy(before, every, rows)
    renumber(rows, prefixes)
    _leave_out(before, every, rows)
    enter(gateway, now, every, rows, draft.notes)
    return draft


def catch_up(draft: Draft, now: int) -> int:
    """Judge the sessions that have changed; returns how many had. `now`: read before."""
    tables, before = draft.gateway.tables, draft.before
    take_changes(before, tables.changed)
    numbers = np.empty(len(tables.changed) * 64, np.int64)
    numbers = numbers[: list_numbers(tables.changed, numbers)]
    rows = records(len(numbers), SESSION)
    _copy(before, numbers, rows)
    renumber(rows, draft.prefixes)
    _leave_out(before, numbers, rows)
    leave(draft.gateway, now, numbers, rows, draft.notes)
    enter(draft.gateway, now, numbers, rows, draft.notes)
    return len(numbers)


def finish(draft: Draft, gateway: Gateway, now: int) -> Restored:
    """Packets stand still, and all is caught up with: give the records of `before` to the draft. `gateway`: the draft
    with the sessions of `before`, and with the settings that packets will pass by. Returns what became of
    them, without how many were KEPT."""
    fates, tables, logged = np.zeros(MOVED + 1, np.int64), gateway.tables, gateway.settings.logged
    hand_over(draft.before, draft.gateway.tables, draft.notes, fates)
    settle_clients(draft.gateway.tables)
    oldest, end = map(int, draft.before.quarantine_at[[OLDEST, NEXT]])
    ring = draft.before.quarantine
    waiting = ring[np.arange(oldest, end) % len(ring)]
    ring["live"][np.arange(oldest, end) % len(ring)] = 0
    restore_ports(gateway, now, waiting[waiting["live"] != 0])
    told = int(fates[Fate.EXPIRED : Fate.DAMAGED].sum()) if is_told(logged) else 0
    ended = records(min(told, len(tables.log)), LOGGED)
    tell(gateway, now, draft.notes, ended)
    tables.log_at[LOST] += told - len(ended)
    return Restored(fates[: len(Fate)], entries_of(ended, logged))


def warm_up(settings: Settings) -> None:
    """Compile it by judging no session."""
    tables = create(64, len(settings.pool), 0, len(Event), 0, 0)
    gateway = Gateway(settings, tables, new_worker(0))
    draft = begin(gateway, tables, 0)
    catch_up(draft, 0)
    finish(draft, gateway, 0)


def _copy(tables: Tables, numbers: np.ndarray, out: np.ndarray) -> None:
    for at in range(0, max(len(numbers), 1), SLICE):
        copy_rows(tables, tables.sessions, numbers[at : at + SLICE], out[at : at + SLICE])


def _leave_out(before: Tables, numbers: np.ndarray, rows: np.ndarray) -> None:
    """Without those that have changed since the changes were taken."""
    again = np.empty_like(before.changed)
    copy_changed(before, again)
    leave_out(again, numbers, rows)


# ---- compiled


@jit()
def leave_out(changed, numbers, rows):
    """Copies of records of which a bit says that they have changed are those of no session."""
    for k in range(len(numbers)):
        if changed[numbers[k] >> 6] >> int64(numbers[k] & 63) & 1 != 0:
            rows[k].live = 0


@jit()
def leave(gateway, now, numbers, rows, notes):
    """Of the sessions with these numbers, end those that are not there any more. Those that are only in another state
    go on in it; their copies live no more, there is nothing left to do for them."""
    tables = gateway.tables
    for k in range(len(numbers)):
        session, row = int64(numbers[k]), rows[k]
        live = tables.sessions[session].live != 0
        if live and row.live != 0 and is_the_same(tables, session, row, notes.shift):
            go_on(tables, now, session, row)  # its mark stays: it may have moved
            row.live = 0
            continue
        notes.marks[session] = Fate.KEPT
        if live:
            end_session(gateway, now, session, int64(Cause.INSIDE))
    for kind in (SESSIONS, BIBS, CLIENTS6):  # numbers are given by `before`, there are none that are free here
        tables.free[kind, NEVER_USED] -= tables.free[kind, HEIGHT]
        tables.free[kind, HEIGHT] = 0


@jit()
def is_the_same(tables, session, row, shift):
    """Whether a session of the draft is the one of a record."""
    mine = tables.sessions[session]
    if tables.bibs[mine.bib].static == 0 and mine.bib != row.bib + shift:
        return False
    return (
        (mine.host6_lo == row.host6_lo and mine.host6_hi == row.host6_hi and mine.host6_port == row.host6_port)
        and (mine.mapped4 == row.mapped4 and mine.mapped4_port == row.mapped4_port)
        and (mine.host4 == row.host4 and mine.host4_port == row.host4_port and mine.protocol == row.protocol)
        and mine.prefix == row.prefix
    )


@jit()
def go_on(tables, now, session, row):
    """A session is in the state that a record says, as long as that says."""
    mine = tables.sessions[session]
    change_state(tables, session, row.state)
    mine.expires = row.expires
    unschedule(tables, session)
    schedule(tables, session, now)
    if row.state != State.V6_INIT:
        answer(tables, mine.bib)


@jit()
def enter(gateway, now, numbers, rows, notes):
    """Judge the records that live, of sessions with these numbers, and enter those that are kept; `rows` may be the
    draft's own."""
    sessions = gateway.tables.sessions
    for k in range(len(numbers)):
        if k % AHEAD == 0:
            look_ahead(gateway, rows[k : k + AHEAD], notes.ahead)
        row, session = rows[k], int64(numbers[k])
        if row.live != 0:
            bring_client(gateway, notes.clients, row)
            bib, inbound = int64(row.bib), int64(row.inbound)
            place = Place(session, bib + notes.shift)
            fate, _ = restore_session(gateway, now, row, bib < notes.statics, place)
            if fate != Fate.KEPT:
                sessions[session].live = 0
                notes.marks[session] = fate
            elif sessions[session].bib != bib or sessions[session].inbound != inbound or notes.renumbered != 0:
                notes.marks[session] = MOVED


@jit()
def hand_over(before, tables, notes, fates):
    """The records of `before`, and what of them is free, become those of the draft; counts what was judged in `fates`.
    No more is looked at than what differs."""
    for kind in (SESSIONS, BIBS):
        shift, height = notes.shift if kind == BIBS else int64(0), before.free[kind, HEIGHT]
        for k in range(height):
            tables.freed[kind, k] = before.freed[kind, k] + shift
        tables.free[kind, HEIGHT] = height
        tables.free[kind, NEVER_USED] = before.free[kind, NEVER_USED] + shift
    given = tables.free[BIBS, HEIGHT]
    for session in range(len(before.sessions)):
        mark = notes.marks[session]
        if mark != Fate.KEPT:
            fates[int64(mark)] += 1
            hand_over_one(before, tables, notes, session, mark)
    for k in range(given, tables.free[BIBS, HEIGHT]):
        tables.bibs[tables.freed[BIBS, k]].live = 0


@jit()
def hand_over_one(before, tables, notes, session, mark):
    """A session ends, or moves; the BIB entry that nobody needs any more is free."""
    row, mine = before.sessions[session], tables.sessions[session]
    bib = row.bib + notes.shift
    if row.bib >= notes.statics and tables.bibs[bib].live == 0:
        tables.bibs[bib].live = FREED
        give_back(tables, BIBS, bib)
    if mark == MOVED:
        row.bib, row.inbound, row.prefix = mine.bib, mine.inbound, mine.prefix
    else:
        row.live = 0
        give_back(tables, SESSIONS, session)


@jit()
def restore_ports(gateway, now, waiting):
    """The ports that waited wait on, in the same order; the ring begins anew."""
    for at in range(len(waiting)):
        restore_port(gateway, now, waiting[at])


@jit()
def tell(gateway, now, notes, ended):
    """The first sessions that have ended, and whether their mappings have: LOGGED to write to."""
    sessions, count, session = gateway.tables.sessions, 0, 0
    while count < len(ended):
        mark, row = int64(notes.marks[session]), sessions[session]
        if mark != Fate.KEPT and mark < Fate.DAMAGED:
            note_end(gateway.tables, now, row, mark, row.bib < notes.statics, ended[count])
            describe_account(gateway, ended[count], session)
            count += 1
        session += 1
    for at in range(count):
        judge_end(gateway, ended[at])
