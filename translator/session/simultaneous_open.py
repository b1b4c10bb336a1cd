"""RFC 6146 section 3.5.2.2, RFC 5382 REQ-4: TCP SYNs from IPv4 that match no session, kept until TCP_INCOMING_SYN is
over and the sender is told, unless the host6 has opened the same connection meanwhile (simultaneous open).

Anybody can send them, under any address. So a SYN that waits decides nothing: neither which mapping a host6 gets, nor
that a connection is established. The SYN of the host6 opens a session in V6_INIT, as any other does, and the next one
of the host4, or its SYN-ACK, which both ends of a simultaneous open send, establishes it. Either way the SYN that waits
is then dropped in silence.

All wait equally long, so a ring is enough: first in, first out; one that is dropped earlier keeps its place. An index
by all of (mapped4, host4) tells whether one waits already, and a count by source prefix keeps room for others.
"""

from translator.jit.compile import int64, jit, rare
from translator.packet.addresses import address4
from translator.packet.fields import TCP, copy
from translator.session.bib import mapped4_of
from translator.session.sessions import session_hash4
from translator.tables.hashing import find_candidate, first_candidate, hash3, insert, record_at, remove
from translator.tables.layout import NONE, SYN_OCTETS, SYN_PREFIXES, SYNS
from translator.tables.wheel import Timeout

OLDEST_SYN, NEXT_SYN = 0, 1  # words of Tables.syns_at: numbers that only grow; SYN n lies in record n % SYNS
# LIMITS
MOST_OF_PREFIX = SYNS // 8  # SYNs of the source prefixes that share a count
PREFIX_BITS = 8  # host bits of such a prefix: the shortest that is routed on the internet is a /24


@rare()
def keep_syn(gateway, now, t, p, at, end):
    """Keep the SYN in [at, end) of `p`, of tuple `t` from IPv4; returns whether it is kept, or was already."""
    settings, tables = gateway.settings, gateway.tables
    hashed, count = session_hash4(gateway, TCP, t.dst, t.src), count_of(settings, t.src)
    if find_held(tables, hashed, t.dst, t.src) != NONE:
        return True
    number = tables.syns_at[NEXT_SYN]
    if number - tables.syns_at[OLDEST_SYN] == SYNS or tables.syns_of[count] == MOST_OF_PREFIX:
        return False
    syn = number % SYNS
    row, length = tables.syns[syn], min(end - at, SYN_OCTETS)
    row.host4, row.host4_port, row.mapped4, row.mapped4_port = t.src.lo, t.src.port, t.dst.lo, t.dst.port
    row.expires, row.length, row.live = now + settings.timeouts[Timeout.TCP_INCOMING_SYN], length, 1
    copy(tables.syn_octets[syn], 0, p, at, length)
    insert(tables.syns4, hashed, syn)
    tables.syns_of[count] += 1
    tables.syns_at[NEXT_SYN] = number + 1
    return True


@jit()
def count_of(settings, host4):
    """Which element of Tables.syns_of counts the SYNs of a host4's prefix."""
    return hash3(settings.secret, host4.lo >> PREFIX_BITS, 0, 0) % SYN_PREFIXES


@jit()
def find_held(tables, hashed, mapped4, host4):
    """The SYN from a host4 to a mapped4 that waits, or NONE."""
    at = first_candidate(tables.syns4, hashed)
    while at != NONE:
        syn = record_at(tables.syns4, at)
        row = tables.syns[syn]
        is_mapped4 = row.mapped4 == mapped4.lo and row.mapped4_port == mapped4.port
        if is_mapped4 and row.host4 == host4.lo and row.host4_port == host4.port:
            return syn
        at = find_candidate(tables.syns4, hashed, at + 1)
    return int64(NONE)


@rare()
def drop_held(gateway, mapped4, host4):
    """RFC 5382 REQ-4: forget the SYN from a host4 to a mapped4 that waits, if one does: a SYN of its connection was
    translated, from either side."""
    tables = gateway.tables
    if tables.syns_at[OLDEST_SYN] < tables.syns_at[NEXT_SYN]:
        syn = find_held(tables, session_hash4(gateway, TCP, mapped4, host4), mapped4, host4)
        if syn != NONE:
            forget(gateway, syn)


@jit()
def forget(gateway, syn):
    """A SYN waits no longer; it keeps its place in the ring until its time is over."""
    tables, row = gateway.tables, gateway.tables.syns[syn]
    mapped4, host4 = mapped4_of(row), address4(row.host4, row.host4_port)
    remove(tables.syns4, session_hash4(gateway, TCP, mapped4, host4), syn)
    tables.syns_of[count_of(gateway.settings, host4)] -= 1
    row.live = 0


@rare()
def take_overdue(gateway, now):
    """Forget the oldest SYN that still waits, if its time is over; returns its record, or NONE."""
    tables = gateway.tables
    while tables.syns_at[OLDEST_SYN] < tables.syns_at[NEXT_SYN]:
        syn = tables.syns_at[OLDEST_SYN] % SYNS
        if tables.syns[syn].expires > now:
            break
        tables.syns_at[OLDEST_SYN] += 1
        if tables.syns[syn].live:
            forget(gateway, syn)
            return int64(syn)
    return int64(NONE)
