"""Services that change while packets pass: their members, fronts and sources, under the lock, a slice at a time.

    enter_members    members that come, and a list of them where nothing lies
    change_front     the front changes over to its new list, from one packet to the next
    retire_members   members that are of no front any more: without sessions they are gone
    review_sessions  what becomes of those of one that is leaving, or of those of a client that may not come any more

One at a time makes changes. A member that is leaving stays known as long as a session has it, and can come back.
"""

import numpy as np

from translator.jit.compile import int64, jit
from translator.jit.lock import acquire, release
from translator.packet.addresses import address4, address6
from translator.packet.fields import TCP
from translator.session.bib import bib_hash4, create_bib, member_hash, release_member
from translator.session.hosts import host_hash
from translator.session.log import Cause
from translator.session.rendezvous import member_key
from translator.session.services import find_member, serves_source
from translator.session.sessions import end_session, host4_of
from translator.tables.gateway import Gateway, new_worker
from translator.tables.hashing import insert, remove
from translator.tables.layout import FRONT, LEAVING, NONE, OF_GONE, OF_SERVICE, records
from translator.tables.settings import Settings
from translator.tables.tables import create
from translator.verdict import Event

# LIMITS
SLICE = 64  # members looked at each time the lock is held
WALK = 256  # and sessions
KEEP, RESET, END, EXCLUDE = 0, 1, 2, 3  # what becomes of sessions


def warm_up(settings: Settings) -> None:
    """Compile it by changing nothing."""
    gateway = Gateway(settings, create(64, len(settings.pool), 0, len(Event), 0, 0, 1), new_worker(0))
    row = records(1, FRONT)
    enter_members(gateway, row, 0, 0, np.zeros((0, 4), np.int64))
    change_front(gateway, row, 0)
    retire_members(gateway, np.zeros(0, np.int64))
    review_sessions(gateway, 0, 0, NONE, 0, KEEP)


@jit()
def enter_members(gateway, row, front, first, ends):
    """Write members to Tables.members from `first` on, where nothing lies; int64[n, 4] `ends`: address, port and weight
    of each. `row`: FRONT[1], with what the front with that number is to have. Returns how many there was room for."""
    tables, mapped4, count = gateway.tables, address4(row[0].address4, row[0].port), 0
    acquire(tables.lock)
    for k in range(len(ends)):
        host6 = address6(ends[k, 0], ends[k, 1], ends[k, 2])
        bib = enter_member(gateway, int64(row[0].protocol), host6, mapped4, int64(row[0].prefix))
        if bib == NONE:
            break
        member = tables.members[first + k]
        member.bib, member.front, member.weight = bib, front, ends[k, 3]
        member.key = member_key(gateway.settings.seed, host6)
        count += 1
    release(tables.lock)
    return count


@jit()
def enter_member(gateway, protocol, host6, mapped4, prefix):
    """The BIB entry of a member, new unless there is one, perhaps one that was leaving; NONE: there is no room."""
    tables = gateway.tables
    bib = int64(find_member(gateway, protocol, host6, mapped4, prefix))
    if bib != NONE:
        tables.bibs[bib].live = 1
        return bib
    bib = int64(create_bib(gateway, protocol, host6, mapped4, NONE, OF_SERVICE))
    if bib != NONE:
        insert(tables.members6, member_hash(gateway, protocol, host6, prefix), bib)
        tables.bibs[bib].prefix, host = prefix, tables.bibs[bib].host
        if tables.members_of[host] == 0:
            insert(tables.endpoints6, host_hash(gateway, host6.hi, host6.lo), host)
        tables.members_of[host] += 1
    return bib


@jit()
def change_front(gateway, row, front):
    """The front with this number is as `row` says, FRONT[1], from now on: there for the first time, changed, or, where
    its protocol is 0, gone."""
    tables, old = gateway.tables, gateway.tables.fronts[front]
    acquire(tables.lock)
    if old.protocol != 0 and row[0].protocol == 0:
        remove(tables.fronts4, bib_hash4(gateway, old.protocol, address4(old.address4, old.port)), front)
    if old.protocol == 0 and row[0].protocol != 0:
        mapped4 = address4(row[0].address4, row[0].port)
        insert(tables.fronts4, bib_hash4(gateway, row[0].protocol, mapped4), front)
    tables.fronts[front] = row[0]
    release(tables.lock)


@jit()
def retire_members(gateway, bibs):
    """These members, int64[n], are of no front any more."""
    tables = gateway.tables
    acquire(tables.lock)
    for k in range(len(bibs)):
        tables.bibs[bibs[k]].live = LEAVING
        release_member(gateway, bibs[k])
    release(tables.lock)


@jit()
def review_sessions(gateway, now, bib, session, front, fate):
    """Look at WALK sessions of a member, from `session` on (NONE: the first). `fate`: they END, or it has become one of
    OF_GONE where it is one of TCP (RESET), or they end whose client the front with this number does not serve
    (EXCLUDE). Returns the session to go on with, NONE: all are done."""
    tables, entry = gateway.tables, gateway.tables.bibs[bib]
    acquire(tables.lock)
    if session == NONE or tables.sessions[session].live == 0 or tables.sessions[session].bib != bib:
        session = int64(entry.first_session)
    for _ in range(WALK):
        if session == NONE:
            break
        row, following = tables.sessions[session], int64(tables.links[session].next)
        if fate == RESET and row.protocol == TCP:
            row.inbound = OF_GONE
        elif fate == END or (fate == EXCLUDE and not serves_source(tables, front, host4_of(row))):
            row.expires = min(row.expires, now)
            end_session(gateway, now, session, int64(Cause.UNMAPPED))
        session = following
    release(tables.lock)
    return session
