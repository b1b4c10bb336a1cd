"""RFC 6146 section 3.5.2.2: TCP SYNs from IPv4 that nobody expects, kept until the host6 sends its own (simultaneous
open), or TCP_INCOMING_SYN is over and the sender is told.

The section makes sessions of them, in V4_INIT and without an IPv6 end; here they stand apart, for they have no BIB
entry and few may wait. All wait equally long, so a ring is enough: first in, first out; one that found its other half
leaves a gap in it.
"""

from translator.compile import int64, jit
from translator.packet.fields import TCP, copy
from translator.packet.tuples import tuple_of
from translator.session.bib import find_bib4
from translator.session.lifetimes import Timeout
from translator.session.pool4 import find_row
from translator.session.sessions import find_session4, living_bib
from translator.tables import NONE, SYN_OCTETS, SYNS

OLDEST, NEXT = 0, 1  # words of Tables.syns_at: numbers that only grow; SYN n lies in record n % SYNS


@jit()
def hold(settings, tables, now, t, p, at, end):
    """Keep the SYN in [at, end) of `p`, of tuple `t` from IPv4; returns whether it is kept, or was already."""
    oldest, number = tables.syns_at[OLDEST], tables.syns_at[NEXT]
    for n in range(oldest, number):
        row = tables.syns[n % SYNS]
        same_ends = row.host4 == t.src_lo and row.mapped4 == t.dst_lo
        if row.live != 0 and same_ends and row.host4_port == t.src_port and row.mapped4_port == t.dst_port:
            return True
    if number - oldest == SYNS:
        return False
    row = tables.syns[number % SYNS]
    row.host4, row.host4_port, row.mapped4, row.mapped4_port = t.src_lo, t.src_port, t.dst_lo, t.dst_port
    row.expires = now + settings.timeouts[Timeout.TCP_INCOMING_SYN]
    length = min(end - at, SYN_OCTETS)
    row.length, row.live = length, 1
    copy(tables.syn_octets[number % SYNS], 0, p, at, length)
    tables.syns_at[NEXT] = number + 1
    return True


@jit()
def find_other_half(settings, tables, now, t, host4, bib):
    """The oldest SYN that waits for the SYN of tuple `t` from IPv6, or NONE: it came from where that one goes, and to
    the mapped4 of the sender's BIB entry or, if it has none, to one that it may have."""
    for n in range(tables.syns_at[OLDEST], tables.syns_at[NEXT]):
        row = tables.syns[n % SYNS]
        if row.live == 0 or row.expires <= now or row.host4 != host4 or row.host4_port != t.dst_port:
            continue
        if bib != NONE:
            entry = tables.bibs[bib]
            if entry.mapped4 == row.mapped4 and entry.mapped4_port == row.mapped4_port:
                return n % SYNS
        elif find_row(settings, t, row.mapped4, row.mapped4_port) != NONE:
            taken = find_bib4(settings, tables, TCP, row.mapped4, row.mapped4_port)
            if living_bib(settings, tables, now, taken) == NONE:
                return n % SYNS
    return int64(NONE)


@jit()
def forget(tables, syn):
    """The SYN waits no longer; the oldest of the ring is always one that does."""
    tables.syns[syn].live = 0
    while tables.syns_at[OLDEST] < tables.syns_at[NEXT] and tables.syns[tables.syns_at[OLDEST] % SYNS].live == 0:
        tables.syns_at[OLDEST] += 1


@jit()
def take_overdue(settings, tables, now):
    """Forget the oldest SYN if its time is over and nobody answered it; returns its record, or NONE."""
    while tables.syns_at[OLDEST] < tables.syns_at[NEXT]:
        syn = tables.syns_at[OLDEST] % SYNS
        row = tables.syns[syn]
        if row.expires > now:
            break
        forget(tables, syn)
        t = tuple_of(4, TCP, 0, row.host4, row.host4_port, 0, row.mapped4, row.mapped4_port)
        if find_session4(settings, tables, now, t) == NONE:
            return int64(syn)
    return int64(NONE)
