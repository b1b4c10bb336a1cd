"""RFC 6146 sections 3.5.1.1 and 3.5.2.3: which IPv4 transport address a new BIB entry gets.

The host's source prefix names the group of pool4 rows (longest prefix wins). The host keeps the pool address it has
(paired pooling); when that has no free port it gets none (RFC 7857 section 4), or with "soft" pairing one of another
address. A new host gets the emptier of two rows that a keyed hash of its address names (the power of two choices).

Ports are of four kinds: even or odd, below 1024 or not. A flow likes those of one kind best, and the others in a fixed
order; each row counts its free ports of each kind, and a bitmap of the rows says which have none. So whatever is taken,
finding a row, or that there is none, reads a bounded number of words, and so does finding a port in it (bitmaps.py).
Among those of a kind it is found by RFC 6056 section 3.3.3 (algorithm 3, double-hash without the increments' table: one
counter a row): the first free one from where a keyed hash of the flow plus a running counter says.

RFC 6888 REQ-8: the port of an entry that ended is in quarantine, so that what still comes for the old host does not
reach a new one. Its bit stays set meanwhile. All wait equally long, so a ring is enough; the ports of one slot are
linked in it, for when nothing else is free. It has as many records as there are BIB entries; when it is full, the
oldest waits no longer.
"""

from typing import NamedTuple

import numpy as np

from translator.jit.compile import int64, jit, rare
from translator.packet.fields import ICMP, TCP, UDP
from translator.session.port_shares import may_take_port
from translator.tables.bitmaps import enter, first_outside, is_inside, next_outside, words_of
from translator.tables.hashing import hash3
from translator.tables.layout import NONE, PORTS
from translator.tables.tables import Tables

AT_SHARE = -2  # no port: those there are are for others
SLOTS = 3  # bitmaps of a pool row: TCP, UDP, ICMP
OTHER = 3  # number of the other protocols where those have 0, 1, 2
WELL_KNOWN_END = 1024
# A kind of port: the sum of these, or 0. XOR with the numbers 0 to 3 gives all kinds, those like it most first: the
# side of 1024 is dearer than the parity.
ODD, HIGH = 1, 2
KINDS = 4
# What a row may lack besides ports of the four kinds: a port that waits, the protocol itself, a block to hand out.
WAITING, SERVICE, BLOCK = KINDS, KINDS + 1, KINDS + 2
# The rounds of a search, (at the paired address, how unlike the dearest kind): any free port before one that waits.
ROUNDS = np.array([(1, k) for k in range(KINDS)] + [(0, k) for k in range(KINDS)] + [(1, WAITING), (0, WAITING)])
PAIRED_ROUNDS = np.array([(1, k) for k in (*range(KINDS), WAITING)])
OLDEST, NEXT = 0, 1  # words of Tables.quarantine_at: numbers that only grow; port n lies in record n % size
OLDEST_OF, NEWEST_OF, COUNT_OF = 0, 1, 2  # columns of Tables.quarantine_of
# LIMITS
AT_ONCE = 4  # ports whose quarantine may end whenever one is asked for
ROWS_TRIED = 4  # of those that have a port, when the host or its subscriber has its share of the ports there


class Rows(NamedTuple):
    """The pool rows of a search: `first` to `last`, none when that is less; `begin` and `other` are its candidates."""

    first: int
    last: int
    begin: int
    other: int


def enter_pool(tables: Tables, pool: np.ndarray) -> None:
    """Enter the rows of Settings.pool (POOL) into empty tables, all their ports free."""
    for at, name in enumerate(("tcp", "udp", "icmp", "other")):
        serves = pool[name] != 0
        for kind in range(KINDS if at < SLOTS else 0):
            first, last = (bound.astype(np.int64) for bound in (pool["port_first"], pool["port_last"]))
            first = np.maximum(first, WELL_KNOWN_END if kind & HIGH else 0)
            last = np.minimum(last, PORTS - 1 if kind & HIGH else WELL_KNOWN_END - 1)
            count = np.maximum((last - (kind & ODD)) // 2 - (first - (kind & ODD) - 1) // 2, 0) * serves
            tables.ports_free[at : len(pool) * SLOTS : SLOTS, kind] = count
            _enter_lack(tables, at, kind, count == 0)
        _enter_lack(tables, at, WAITING, np.ones(len(pool), bool))
        _enter_lack(tables, at, SERVICE, ~serves)


def _enter_lack(tables: Tables, at: int, what: int, lacking: np.ndarray) -> None:
    """The rows that lack something of the protocol with number `at`; bool[rows]."""
    words = words_of(lacking)
    tables.rows_lacking[at, what] = words
    tables.rows_full[at, what] = words_of(words == -1)


@jit()
def number_of(protocol):
    """0, 1, 2 for TCP, UDP, ICMP, or OTHER: the first index of Tables.rows_lacking."""
    return int64(0 if protocol == TCP else 1 if protocol == UDP else 2 if protocol == ICMP else OTHER)


@jit()
def kind_of(port):
    """Which of the KINDS a port is of."""
    return port & ODD | (HIGH if port >= WELL_KNOWN_END else 0)


@jit()
def place_of(port):
    """The bit of a port in the bitmap of its slot: the even ports stand in the first half, the odd ones behind."""
    return int64(port & 1) << 15 | port >> 1


@jit()
def port_at(place):
    """The port whose bit is at a place."""
    return (place & 0x7FFF) << 1 | place >> 15


@jit()
def slot_of(row, protocol):
    """Row of Tables.ports_used for a pool row and TCP, UDP or ICMP."""
    return row * SLOTS + (0 if protocol == TCP else 1 if protocol == UDP else 2)


@jit()
def group_of(settings, host6):
    """The group of pool rows whose source prefix is the longest that covers a host, or NONE. Groups are sorted so."""
    for g in range(len(settings.groups)):
        group = settings.groups[g]
        high = int64(-1) << int64(64 - min(group.length, 64)) if group.length > 0 else int64(0)
        low = int64(-1) << int64(128 - group.length) if group.length > 64 else int64(0)
        if (host6.hi ^ group.hi) & high == 0 and (host6.lo ^ group.lo) & low == 0:
            return g
    return NONE


@jit()
def first_row_from(settings, g, addr4):
    """The first row of a group whose address is `addr4` or higher, or the one behind its last."""
    low, high = int64(settings.groups[g].first), int64(settings.groups[g].first + settings.groups[g].count)
    while low < high:
        middle = (low + high) // 2
        if settings.pool[middle].address < addr4:
            low = middle + 1
        else:
            high = middle
    return low


@jit()
def rows_of(settings, g, addr4):
    """The Rows of a group that have an IPv4 address; 0 is none."""
    if addr4 <= 0:
        return Rows(int64(0), int64(-1), int64(0), int64(0))
    first = first_row_from(settings, g, addr4)
    return Rows(first, first_row_from(settings, g, addr4 + 1) - 1, first, first)


@jit()
def rows_for(settings, g, t):
    """The Rows of a group, with the two candidates for the source of an IPv6 tuple."""
    first, count = int64(settings.groups[g].first), int64(settings.groups[g].count)
    begin = hash3(settings.secret, t.src.hi, t.src.lo, 1) % count
    other = hash3(settings.secret, t.src.hi, t.src.lo, 2) % count
    return Rows(first, first + count - 1, first + begin, first + other)


@jit()
def dearest_kind(t, hashed):
    """The kind of port that the source of an IPv6 tuple is to have, if there is one.

    RFC 6146 section 3.5.1.1: a port below 1024 SHOULD get one below, any other one above, and for UDP the parity SHOULD
    stay. What a protocol has no wish for is as a hash of the flow says.
    """
    if t.protocol == UDP:
        return kind_of(t.src.port)
    any_port = hashed >> 15
    if t.protocol == TCP:
        return kind_of(t.src.port) & HIGH | any_port & ODD
    return kind_of(any_port & (PORTS - 1))


@jit()
def choose_row(tables, at, what, rows):
    """The first of the rows, from `begin` on, that has something of the protocol with number `at`, or NONE; `other`, if
    that has it too and more free ports."""
    lacking = tables.rows_lacking[at, what]
    row = next_outside(lacking, tables.rows_full[at, what], rows.first, rows.last, rows.begin)
    if row == NONE or row == rows.other or is_inside(lacking, rows.other):
        return row
    return rows.other if free_ports(tables, rows.other, at) > free_ports(tables, row, at) else row


@jit()
def free_ports(tables, row, at):
    """How many free ports a row has of the protocol with number `at`."""
    free = tables.ports_free[row * SLOTS + at]
    return int64(free[0]) + int64(free[1]) + int64(free[2]) + int64(free[3])


@jit()
def flow_hash(settings, t, host4):
    """Keyed hash of the flow of an IPv6 tuple: where the search for its port begins."""
    return hash3(settings.secret, t.src.hi ^ t.protocol, t.src.lo, host4.lo << 32 | t.src.port << 16 | host4.port)


@jit()
def choose_port(tables, slot, low, high, hashed, kind):
    """A free port of this kind of those of a slot from `low` to `high`, or NONE."""
    low, high = (max(low, WELL_KNOWN_END), high) if kind & HIGH else (low, min(high, WELL_KNOWN_END - 1))
    first, last = place_of(low + ((low ^ kind) & ODD)), place_of(high - ((high ^ kind) & ODD))
    if first > last:
        return int64(NONE)
    start = first + (hashed + tables.ports_next[slot]) % (last - first + 1)
    place = next_outside(tables.ports_used[slot], tables.ports_full[slot], first, last, start)
    if place == NONE:
        return place
    tables.ports_next[slot] = (tables.ports_next[slot] + 1) % PORTS
    return port_at(place)


@jit()
def mark(tables, slot, port, used):
    """A port of a slot is in use from now on, or free."""
    if enter(tables.ports_used[slot], tables.ports_full[slot], place_of(port), used):
        kind = kind_of(port)
        tables.ports_free[slot, kind] += -1 if used else 1
        note_lack(tables, slot, kind, tables.ports_free[slot, kind] == 0)


@jit()
def note_lack(tables, slot, what, lacks):
    """Whether the row of a slot lacks something."""
    at = slot % SLOTS
    enter(tables.rows_lacking[at, what], tables.rows_full[at, what], slot // SLOTS, lacks)


@rare()
def allocate(gateway, now, t, host4, paired4, host):
    """(pool row, port) for the source of an IPv6 tuple; row NONE: no group or protocol; port NONE: all in use; port
    AT_SHARE: not for the host with this record (NONE: it has none).

    `paired4` is the address the host has, 0 for none; with strict pairing no other is tried if it serves the protocol.
    """
    settings, tables = gateway.settings, gateway.tables
    g = group_of(settings, t.src)
    if g == NONE:
        return int64(NONE), int64(NONE)
    end_quarantines(tables, now, AT_ONCE)
    hashed = flow_hash(settings, t, host4)
    at, dearest = number_of(t.protocol), dearest_kind(t, hashed)
    own = rows_of(settings, g, paired4)
    is_own = settings.strict_pairing != 0 and first_serving(tables, at, own) != NONE
    others = own if is_own else rows_for(settings, g, t)
    rounds, refusal = PAIRED_ROUNDS if is_own else ROUNDS, int64(NONE)
    for turn in range(len(rounds)):
        rows, what = own if rounds[turn, 0] == 1 else others, int64(rounds[turn, 1])
        what = what if what == WAITING else what ^ dearest
        row = row_within_shares(gateway, t, host, rows, what)
        if row == AT_SHARE:
            refusal = int64(AT_SHARE)
        elif row != NONE:
            slot = slot_of(row, t.protocol)
            if what == WAITING:
                return row, end_quarantine(tables, slot)
            pool = settings.pool[row]
            return row, choose_port(tables, slot, int64(pool.port_first), int64(pool.port_last), hashed, what)
    return first_serving(tables, at, others), refusal


@jit()
def row_within_shares(gateway, t, host, rows, what):
    """As choose_row, of the rows in which the source of an IPv6 tuple, the host with this record, may have a port;
    AT_SHARE if none of the first few is one."""
    settings, tables, at = gateway.settings, gateway.tables, number_of(t.protocol)
    row = choose_row(tables, at, what, rows)
    if row == NONE:
        return row
    for _ in range(min(ROWS_TRIED, rows.last - rows.first + 1)):
        slot, size = slot_of(row, t.protocol), int64(settings.pool[row].port_last - settings.pool[row].port_first + 1)
        free = free_ports(tables, row, at) + tables.quarantine_of[slot, COUNT_OF]
        if may_take_port(gateway, host, t, slot, size, free):
            return row
        lacking, following = tables.rows_lacking[at, what], row + 1 if row < rows.last else rows.first
        row = next_outside(lacking, tables.rows_full[at, what], rows.first, rows.last, following)
    return int64(AT_SHARE)


@jit()
def first_serving(tables, at, rows):
    """The first of the rows that is for the protocol with number `at`, or NONE."""
    return first_outside(tables.rows_lacking[at, SERVICE], tables.rows_full[at, SERVICE], rows.first, rows.last)


@rare()
def is_paired_full(gateway, t, paired4):
    """Whether it is strict pairing alone that keeps the source of an IPv6 tuple, which got no port, from other rows."""
    settings, tables, at = gateway.settings, gateway.tables, number_of(t.protocol)
    g = group_of(settings, t.src)
    own = rows_of(settings, g, paired4)
    if settings.strict_pairing == 0 or first_serving(tables, at, own) == NONE:
        return False
    group = settings.groups[g]
    below = Rows(int64(group.first), own.first - 1, int64(0), int64(0))
    above = Rows(own.last + 1, int64(group.first + group.count) - 1, int64(0), int64(0))
    return first_serving(tables, at, below) != NONE or first_serving(tables, at, above) != NONE


@rare()
def release_port(gateway, protocol, slot, port, ended):
    """The BIB entry of a port ended at `ended`: the port is free again after its quarantine.

    A TCP port is so at once (exception A of REQ-8): its sessions have run through TRANS, or TCP_TRANS at least.
    """
    settings, tables = gateway.settings, gateway.tables
    if protocol == TCP or settings.port_quarantine == 0:
        mark(tables, slot, port, False)
        return
    size = len(tables.quarantine)
    if tables.quarantine_at[NEXT] - tables.quarantine_at[OLDEST] == size:
        end_oldest(tables)
    at = tables.quarantine_at[NEXT] % size
    row, newest = tables.quarantine[at], tables.quarantine_of[slot, NEWEST_OF]
    row.until, row.slot, row.port, row.newer = ended + settings.port_quarantine, slot, port, NONE
    row.mapped4, row.live = settings.pool[slot // SLOTS].address, 1
    if newest == NONE:
        tables.quarantine_of[slot, OLDEST_OF] = at
    else:
        tables.quarantine[newest].newer = at
    tables.quarantine_of[slot, NEWEST_OF] = at
    tables.quarantine_of[slot, COUNT_OF] += 1
    note_lack(tables, slot, WAITING, False)
    tables.quarantine_at[NEXT] += 1


@rare()
def end_quarantines(tables, now, quota):
    """Free the ports that have waited long enough, a few at a time."""
    for _ in range(quota):
        if tables.quarantine_at[OLDEST] == tables.quarantine_at[NEXT]:
            return
        row = tables.quarantine[tables.quarantine_at[OLDEST] % len(tables.quarantine)]
        if row.live != 0 and row.until > now:
            return
        end_oldest(tables)


@jit()
def end_oldest(tables):
    """Take the oldest out of the ring: a port that waits, which is the oldest of its slot too, or one that no longer
    does."""
    row = tables.quarantine[tables.quarantine_at[OLDEST] % len(tables.quarantine)]
    if row.live != 0:
        end_quarantine(tables, row.slot)
    tables.quarantine_at[OLDEST] += 1


@jit()
def end_quarantine(tables, slot):
    """Free the port of a slot that has waited longest; returns it, or NONE."""
    at = tables.quarantine_of[slot, OLDEST_OF]
    if at == NONE:
        return int64(NONE)
    row = tables.quarantine[at]
    tables.quarantine_of[slot, OLDEST_OF] = row.newer
    if row.newer == NONE:
        tables.quarantine_of[slot, NEWEST_OF] = NONE
    tables.quarantine_of[slot, COUNT_OF] -= 1
    note_lack(tables, slot, WAITING, row.newer == NONE)
    row.live = 0
    mark(tables, slot, row.port, False)
    return int64(row.port)
