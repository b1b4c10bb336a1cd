"""Where there is no port for a flow, a mapping that nobody has answered gives up its own.

A flood is flows that nobody answers: they would keep the ports of an address for as long as they live, five minutes of
UDP. An answer comes within a second or two, if one comes; so what waits longest gives way first, and what was answered
never. Ports of unanswered mappings count as free for this, so nobody gets more in this way than if they were not there.

A subscriber may displace while it has less than half as many unanswered mappings as those that have any have on
average, and only mappings of those that have more: who floods displaces nothing. A few it may have whatever the others
have, so that it finds ports also beside thousands that have one each.

The port is given to the new flow at once, without the quarantine of RFC 6888 REQ-8: nobody has ever sent anything to
the old mapping.
"""

from translator.jit.compile import int64, jit, rare
from translator.session.hosts import paired_with
from translator.session.log import Cause
from translator.session.pool4 import COUNT_OF as WAITING_OF
from translator.session.pool4 import first_serving, free_ports, group_of, mark, number_of, rows_for, rows_of, slot_of
from translator.session.port_shares import find_use, may_take_port, return_port
from translator.session.sessions import end_session
from translator.session.subscribers import subscriber_of
from translator.session.unanswered import COUNT_OF, OLDEST_OF, SUBSCRIBERS_OF, enter, leave
from translator.tables.hashing import hash3
from translator.tables.layout import NONE
from translator.verdict import Event

# LIMITS
ROWS_TRIED = 2  # pool rows
TRIED = 4  # mappings of each; those that may stay are tried again later than all others
ALLOWANCE = 1024  # of so many ports of a row, one may be taken for an unanswered mapping whatever others have


@rare()
def displace(gateway, now, t, host, pool_row, refusal):
    """(pool row, port) of a mapping that gives way to the source of an IPv6 tuple, the host with this record (NONE: it
    has none); `pool_row` and `refusal`, if none does."""
    settings, tables = gateway.settings, gateway.tables
    g = group_of(settings, t.src)
    own = rows_of(settings, g, paired_with(tables, host))
    rows = own if first_serving(tables, number_of(t.protocol), own) != NONE else rows_for(settings, g, t)
    count = rows.last - rows.first + 1
    begin = hash3(settings.secret, t.src.hi, t.src.lo, t.src.port) % count
    for k in range(min(ROWS_TRIED, count)):
        row = rows.first + (begin + k) % count
        bib = who_gives_way(gateway, t, host, row)
        if bib != NONE:
            return row, give_up_port(gateway, now, bib)
    return int64(pool_row), int64(refusal)


@jit()
def who_gives_way(gateway, t, host, row):
    """The BIB entry of a pool row that gives way to the source of an IPv6 tuple, or NONE."""
    settings, tables, slot = gateway.settings, gateway.tables, slot_of(row, t.protocol)
    listed, size = int64(tables.unanswered_of[slot, COUNT_OF]), ports_of_row(settings, row)
    free = free_ports(tables, row, number_of(t.protocol)) + tables.quarantine_of[slot, WAITING_OF] + listed
    if listed == 0 or not may_take_port(gateway, host, t, slot, size, free):
        return int64(NONE)
    own = unanswered_of(gateway, subscriber_of(gateway, host, t.src), slot)
    is_few = own < size // ALLOWANCE
    if not is_few and 2 * own * tables.unanswered_of[slot, SUBSCRIBERS_OF] >= listed:
        return int64(NONE)
    for _ in range(min(TRIED, listed)):
        bib = int64(tables.unanswered_of[slot, OLDEST_OF])
        if is_few or own + 1 < tables.uses[tables.bibs[bib].use].unanswered:
            return bib
        leave(tables, bib)
        enter(tables, bib)
    return int64(NONE)


@jit()
def ports_of_row(settings, row):
    """How many ports a pool row has of each protocol."""
    return int64(settings.pool[row].port_last) - int64(settings.pool[row].port_first) + 1


@jit()
def unanswered_of(gateway, subscriber, slot):
    """How many listed mappings of a slot a subscriber has (NONE: one that is not known)."""
    use = find_use(gateway, subscriber, slot) if subscriber != NONE else int64(NONE)
    return int64(gateway.tables.uses[use].unanswered) if use != NONE else int64(0)


@jit()
def give_up_port(gateway, now, bib):
    """End a listed BIB entry and its sessions; returns its port, which is free."""
    tables, entry = gateway.tables, gateway.tables.bibs[bib]
    port, sessions = int64(entry.mapped4_port), int64(entry.sessions)
    leave(tables, bib)
    mark(tables, entry.slot, port, False)
    return_port(gateway, entry.use)
    entry.slot, entry.use = NONE, NONE
    for _ in range(sessions):
        end_session(gateway, now, entry.first_session, int64(Cause.DISPLACED))
    tables.events[Event.PORT_DISPLACED] += 1
    return port
