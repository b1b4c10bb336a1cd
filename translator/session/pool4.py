"""RFC 6146 sections 3.5.1.1 and 3.5.2.3: which IPv4 transport address a new BIB entry gets.

The host's source prefix names the group of pool4 rows (longest prefix wins); the host keeps the pool address it has
(paired pooling) as long as that has a free port, else the search goes on at the next address. The port is found by RFC
6056 section 3.3.3 (algorithm 3, double-hash without the increments' table: one counter a row): start where a keyed hash
of the flow plus a running counter says, take the first free port after it. Where it can, the port stays on the host's
side of 1024, and for UDP keeps its parity.

RFC 6888 REQ-8: the port of an entry that ended is in quarantine, so that what still comes for the old host does not
reach a new one. Its bit stays set meanwhile. All wait equally long, so a ring is enough; the ports of one slot are
linked in it, for when nothing else is free. It has as many records as there are BIB entries; when it is full, the
oldest waits no longer.
"""

import numpy as np

from translator.compile import int64, jit
from translator.hashing import hash3
from translator.packet.fields import ICMP, TCP, UDP, u8
from translator.tables import NONE, PORTS

SLOTS = 3  # bitmaps of a pool row: TCP, UDP, ICMP
WELL_KNOWN_END = 1024
# Wishes, the dearest first: on the host port's side of 1024, of its parity; the last is one that waits.
SIDE_AND_PARITY, SIDE, PARITY, ANY_PORT, WAITING = range(5)
# The rounds of a search, (at the paired address, wish): any other port comes before one that waits.
_WISHES = (SIDE_AND_PARITY, SIDE, PARITY, ANY_PORT)
ROUNDS = np.array([(1, w) for w in _WISHES] + [(0, w) for w in _WISHES] + [(1, WAITING), (0, WAITING)])
OLDEST, NEXT = 0, 1  # words of Tables.quarantine_at: numbers that only grow; port n lies in record n % size
OLDEST_OF, NEWEST_OF, COUNT_OF = 0, 1, 2  # columns of Tables.quarantine_of
# LIMITS
AT_ONCE = 4  # ports whose quarantine may end whenever one is asked for


@jit()
def slot_of(row, protocol):
    """Row of Tables.ports_used for a pool row and protocol."""
    return row * SLOTS + (0 if protocol == TCP else 1 if protocol == UDP else 2)


@jit()
def serves(row, protocol):
    """Whether a pool row is for this protocol."""
    if protocol == TCP:
        return row.tcp != 0
    if protocol == UDP:
        return row.udp != 0
    return (row.icmp if protocol == ICMP else row.other) != 0


@jit()
def group_of(settings, hi, lo):
    """The group of pool rows whose source prefix is the longest that covers a host, or NONE. Groups are sorted so."""
    for g in range(len(settings.groups)):
        group = settings.groups[g]
        high = int64(-1) << int64(64 - min(group.length, 64)) if group.length > 0 else int64(0)
        low = int64(-1) << int64(128 - group.length) if group.length > 64 else int64(0)
        if (hi ^ group.hi) & high == 0 and (lo ^ group.lo) & low == 0:
            return g
    return NONE


@jit()
def first_row(settings, g, t):
    """Where in its group of pool rows the search for the source of an IPv6 tuple begins."""
    return hash3(settings.secret, t.src_hi, t.src_lo, 1) % settings.groups[g].count


@jit()
def find_row(settings, t, mapped4, port):
    """The pool row with this transport address, of those that the source of an IPv6 tuple may use, or NONE."""
    g = group_of(settings, t.src_hi, t.src_lo)
    if g == NONE:
        return NONE
    for at in range(settings.groups[g].first, settings.groups[g].first + settings.groups[g].count):
        row = settings.pool[at]
        if row.address == mapped4 and row.port_first <= port <= row.port_last and serves(row, t.protocol):
            return at
    return NONE


@jit()
def find_free_port(bitmap, first, last, start, wanted):
    """The first free port from `start` on, wrapping within [first, last]; `wanted` masks the bits of an octet. NONE if
    all are used."""
    octets = (last >> 3) - (first >> 3) + 1
    for step in range(octets + 1):
        at = (first >> 3) + ((start >> 3) - (first >> 3) + step) % octets
        free = ~u8(bitmap, at) & wanted & 0xFF
        if step == 0:
            free &= 0xFF << (start & 7)
        if free == 0:
            continue
        for bit in range(8):
            port = at * 8 + bit
            if free >> bit & 1 and first <= port <= last:
                return port
    return NONE


@jit()
def wished_range(row, protocol, host6_port, wish):
    """(first, last, bits of an octet) of the ports of a pool row that fulfil a wish.

    RFC 6146 section 3.5.1.1: a port below 1024 SHOULD get one below, any other one above, and for UDP the parity SHOULD
    stay. An ICMP identifier has neither side nor parity.
    """
    first, last, bits = int64(row.port_first), int64(row.port_last), 0xFF
    if protocol == UDP and (wish == SIDE_AND_PARITY or wish == PARITY):
        bits = 0xAA if host6_port & 1 else 0x55
    if protocol == ICMP or wish == PARITY or wish == ANY_PORT:
        return first, last, bits
    if host6_port < WELL_KNOWN_END:
        return first, min(last, WELL_KNOWN_END - 1), bits
    return max(first, WELL_KNOWN_END), last, bits


@jit()
def choose_port(tables, row, slot, t, hashed, wish):
    """A free port of one pool row for a flow, or NONE."""
    if wish == WAITING:
        return end_quarantine(tables, slot)
    first, last, bits = wished_range(row, t.protocol, t.src_port, wish)
    if first > last or tables.ports_count[slot] > row.port_last - row.port_first:
        return NONE
    start = first + (hashed + tables.ports_next[slot]) % (last - first + 1)
    port = find_free_port(tables.ports_used[slot], first, last, start, bits)
    if port != NONE:
        tables.ports_next[slot] = (tables.ports_next[slot] + 1) % PORTS
    return port


@jit()
def mark(tables, slot, port, used):
    """Set or clear a port's bit."""
    bit = 1 << (port & 7)
    was = tables.ports_used[slot, port >> 3] & bit != 0
    if was != used:
        tables.ports_used[slot, port >> 3] ^= bit
        tables.ports_count[slot] += 1 if used else -1


@jit()
def allocate(settings, tables, now, t, host4, paired4):
    """(pool row, port) for the source of an IPv6 tuple; row NONE: no group or protocol; port NONE: all in use.

    `paired4` is the address the host has, 0 for none: the first round tries only that.
    """
    g = group_of(settings, t.src_hi, t.src_lo)
    if g == NONE:
        return NONE, NONE
    end_quarantines(tables, now, AT_ONCE)
    group, begin = settings.groups[g], first_row(settings, g, t)
    hashed = hash3(settings.secret, t.src_hi ^ t.protocol, t.src_lo, host4 << 32 | t.src_port << 16 | t.dst_port)
    served = NONE
    for turn in range(len(ROUNDS)):
        paired, wish = ROUNDS[turn, 0] == 1, ROUNDS[turn, 1]
        for step in range(group.count):
            at = group.first + (begin + step) % group.count
            row = settings.pool[at]
            if serves(row, t.protocol) and (row.address == paired4) == paired:
                served = at
                port = choose_port(tables, row, slot_of(at, t.protocol), t, hashed, wish)
                if port != NONE:
                    return at, port
    return served, NONE


@jit()
def release_port(settings, tables, protocol, slot, port, ended):
    """The BIB entry of a port ended at `ended`: the port is free again after its quarantine.

    A TCP port is so at once (exception A of REQ-8): its sessions have run through TRANS, or TCP_TRANS at least.
    """
    if protocol == TCP or settings.port_quarantine == 0:
        mark(tables, slot, port, False)
        return
    size = len(tables.quarantine)
    if tables.quarantine_at[NEXT] - tables.quarantine_at[OLDEST] == size:
        end_oldest(tables)
    at = tables.quarantine_at[NEXT] % size
    row, newest = tables.quarantine[at], tables.quarantine_of[slot, NEWEST_OF]
    row.until, row.slot, row.port, row.newer, row.live = ended + settings.port_quarantine, slot, port, NONE, 1
    if newest == NONE:
        tables.quarantine_of[slot, OLDEST_OF] = at
    else:
        tables.quarantine[newest].newer = at
    tables.quarantine_of[slot, NEWEST_OF] = at
    tables.quarantine_of[slot, COUNT_OF] += 1
    tables.quarantine_at[NEXT] += 1


@jit()
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
    row.live = 0
    mark(tables, slot, row.port, False)
    return int64(row.port)
