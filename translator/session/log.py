"""The log of sessions, mappings and blocks of ports: what begins and what ends, in a ring that the daemon reads.

Who writes has the lock of the tables, and never waits: what comes while the ring is full is lost, and counted. What is
in the ring is not overwritten, so that the reader needs the lock for a moment only, to say how far it has read.

While nothing is logged, a session costs two looks at a word of the settings, when it begins and when it ends.
"""

from enum import IntEnum

from translator.jit.compile import int64, jit, rare
from translator.jit.lock import acquire, release
from translator.packet.fields import TCP
from translator.session.tcp_state import State
from translator.tables.handles import is_handle, words_of
from translator.tables.layout import NONE
from translator.tables.tables import OCTETS, PACKETS

OLDEST, NEXT, LOST = 0, 1, 2  # words of Tables.log_at; entry number n lies in record n % size


class Kind(IntEnum):
    """What an entry says. A mapping is a dynamic BIB entry."""

    SESSION_CREATED = 0
    SESSION_ENDED = 1
    MAPPING_CREATED = 2
    MAPPING_ENDED = 3
    BLOCK_ALLOCATED = 4
    BLOCK_FREED = 5


SESSIONS = 1 << Kind.SESSION_CREATED | 1 << Kind.SESSION_ENDED
MAPPINGS = 1 << Kind.MAPPING_CREATED | 1 << Kind.MAPPING_ENDED
BLOCKS = 1 << Kind.BLOCK_ALLOCATED | 1 << Kind.BLOCK_FREED


class Cause(IntEnum):
    """What something began or ended by."""

    INSIDE = 0  # a packet of the host6
    OUTSIDE = 1  # a packet of the host4
    EXPIRED = 2  # nothing came for the time of its state
    CLOSED = 3  # both ends have sent a FIN
    RESET = 4  # a RST
    DISPLACED = 5  # its port was given to another host6 (displacement.py)
    UNMAPPED = 6  # the configuration has no mapping for it any more
    LIMITED = 7  # it is beyond the limits of the configuration
    UNUSED = 8  # of a block: its last mapping has ended
    FLUSHED = 9  # an operator has ended it


@jit()
def is_logged(gateway, kind):
    """Whether entries of a Kind are wanted."""
    return gateway.settings.logged >> int64(kind) & 1 != 0


@rare()
def next_entry(gateway, now, kind, cause):
    """A new entry of Tables.log, for the caller to fill in before the lock is released: its record, or NONE where the
    ring is full. Only what a Kind says is of use in it."""
    tables, size = gateway.tables, len(gateway.tables.log)
    if tables.log_at[NEXT] - tables.log_at[OLDEST] >= size:
        tables.log_at[LOST] += 1
        return int64(NONE)
    at = tables.log_at[NEXT] % size
    tables.log_at[NEXT] += 1
    row = tables.log[at]
    row.time, row.kind, row.cause = now, kind, cause
    return at


@rare()
def log_session(gateway, now, kind, cause, session):
    """A session has begun, or ends."""
    tables, at = gateway.tables, next_entry(gateway, now, kind, cause)
    if at != NONE:
        describe_session(tables, tables.log[at], tables.sessions[session])
        describe_account(gateway, tables.log[at], session)


@rare()
def log_mapping(gateway, now, kind, cause, bib):
    """A dynamic BIB entry has begun, or ends."""
    tables, at = gateway.tables, next_entry(gateway, now, kind, cause)
    if at != NONE:
        describe_mapping(tables.log[at], tables.bibs[bib])


@jit()
def describe_session(tables, entry, row):
    """The ends of a session."""
    describe_mapping(entry, row)
    entry.host4, entry.host4_port = row.host4, row.host4_port
    if is_handle(row.host4):
        entry.vip6_hi, entry.vip6_lo = words_of(tables, row.mapped4)
        entry.client6_hi, entry.client6_lo = words_of(tables, row.host4)


@jit()
def describe_account(gateway, entry, session):
    """What a session has carried, if that was counted: then it is a packet at least. Of a run before nothing is known,
    and its numbers may be of a larger table."""
    entry.packets_6to4, accounts = NONE, gateway.tables.accounts
    if gateway.settings.accounting == 0 or session >= len(accounts):
        return
    account = accounts[session]
    if account[PACKETS] + account[2 + PACKETS] > 0:
        entry.packets_6to4, entry.octets_6to4 = account[PACKETS], account[OCTETS]
        entry.packets_4to6, entry.octets_4to6 = account[2 + PACKETS], account[2 + OCTETS]


@jit()
def describe_mapping(entry, row):
    """The ends of a BIB entry, or those that a session has of it."""
    entry.host6_hi, entry.host6_lo, entry.host6_port = row.host6_hi, row.host6_lo, row.host6_port
    entry.mapped4, entry.mapped4_port, entry.protocol = row.mapped4, row.mapped4_port, row.protocol


@jit()
def cause_of_end(tables, session):
    """Why a session ends whose time is over."""
    row = tables.sessions[session]
    if row.protocol == TCP and row.state == State.V4_FIN_V6_FIN_RCV:
        return int64(Cause.CLOSED)
    if row.protocol == TCP and row.state == State.TRANS and tables.links[session].reset != 0:
        return int64(Cause.RESET)
    return int64(Cause.EXPIRED)


@jit()
def read_on(tables, seen):
    """The reader has done with all entries whose number is below `seen`; returns the number of the next one to come:
    what lies between them is its own until it calls again."""
    acquire(tables.lock)
    tables.log_at[OLDEST] = seen
    following = int64(tables.log_at[NEXT])
    release(tables.lock)
    return following
