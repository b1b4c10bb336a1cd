"""RFC 6146 section 3.5: filtering and updating binding and session information, and section 3.6: the outgoing tuple.

One function for each family a packet comes in; UDP, TCP and ICMP queries differ by two rules only: which segment may open a session
(3.5.2.2), and whether an identifier has a peer's port (3.5.3: it has none, so it is 0).
"""

from translator.compile import jit
from translator.packet.fields import ICMP, TCP
from translator.session.bib import create_bib, find_bib4, find_bib6
from translator.session.hosts import find_host, host_hash
from translator.session.pool4 import allocate, slot_of
from translator.session.sessions import create_session, find_session4, find_session6, touch
from translator.session.tcp_state import Event, State
from translator.packet.tuples import tuple_of
from translator.static.rfc6052 import embed
from translator.tables import NONE
from translator.verdict import Verdict

# LIMITS
ADF_WALK = 1024  # sessions of a BIB entry that are searched for a known peer, newest first


@jit()
def filter_and_update(settings, tables, now, t, host4, event, is_error):
    """The verdict (CONTINUE or why not) and the outgoing tuple of an incoming one.

    `host4` is the IPv4 address in an IPv6 destination; `event` the TCP event; an ICMP error looks up but changes nothing.
    """
    if t.family == 6:
        return from_ipv6(settings, tables, now, t, host4, event, is_error)
    return from_ipv4(settings, tables, now, t, event, is_error)


@jit()
def from_ipv6(settings, tables, now, t, host4, event, is_error):
    """Sections 3.5.1, 3.5.2, 3.5.3 for a packet from a host6; the outgoing tuple is mapped4 -> host4."""
    session = find_session6(settings, tables, now, t, host4)
    if session != NONE:
        if not is_error:
            touch(settings, tables, now, session, event)
        row = tables.sessions[session]
        return Verdict.CONTINUE, tuple_of(4, t.protocol, 0, row.mapped4, row.mapped4_port, 0, host4, t.dst_port)
    if is_error:
        return Verdict.NO_SESSION, t
    bib = find_bib6(settings, tables, t.protocol, t.src_hi, t.src_lo, t.src_port)
    if t.protocol == TCP and event != Event.V6_SYN:
        if bib == NONE:
            return Verdict.NO_SESSION, t
    else:
        verdict, bib = open_from_ipv6(settings, tables, now, t, host4, bib)
        if verdict != Verdict.CONTINUE:
            return verdict, t
    entry = tables.bibs[bib]
    return Verdict.CONTINUE, tuple_of(4, t.protocol, 0, entry.mapped4, entry.mapped4_port, 0, host4, t.dst_port)


@jit()
def open_from_ipv6(settings, tables, now, t, host4, bib):
    """A new session of a host6, with a new BIB entry if it has none. A session that finds no room leaves no BIB entry behind."""
    host = find_host(tables, host_hash(settings, t.src_hi, t.src_lo), t.src_hi, t.src_lo)
    if host != NONE:
        limit = settings.per_host_sessions
        if limit > 0 and tables.hosts[host].sessions >= limit:
            return Verdict.HOST_SESSIONS, bib
    if tables_full(tables):
        return Verdict.SESSION_TABLE_FULL, bib
    if bib == NONE:
        verdict, bib = open_bib(settings, tables, t, host4, host)
        if verdict != Verdict.CONTINUE:
            return verdict, bib
    create_session(settings, tables, now, bib, host4, t.dst_port, State.V6_INIT if t.protocol == TCP else State.NONE)
    return Verdict.CONTINUE, bib


@jit()
def tables_full(tables):
    """Whether there is no room for one more session and BIB entry."""
    return no_room(tables, 0, len(tables.sessions)) or no_room(tables, 1, len(tables.bibs))


@jit()
def no_room(tables, kind, capacity):
    """Whether all records of a kind are in use."""
    return tables.free[kind, 0] == 0 and tables.free[kind, 1] >= capacity


@jit()
def open_bib(settings, tables, t, host4, host):
    """Section 3.5.1.1 and 3.5.2.3: a BIB entry for a host6 that has none."""
    paired4 = 0
    if host != NONE:
        paired4 = tables.hosts[host].mapped4
        if settings.per_host_ports > 0 and tables.hosts[host].bibs >= settings.per_host_ports:
            return Verdict.HOST_PORTS, NONE
    pool_row, port = allocate(settings, tables, t, host4, paired4)
    if pool_row == NONE:
        return Verdict.NO_POOL4, NONE
    if port == NONE:
        return Verdict.POOL4_EXHAUSTED, NONE
    mapped4, slot = settings.pool[pool_row].address, slot_of(pool_row, t.protocol)
    bib = create_bib(settings, tables, t.protocol, t.src_hi, t.src_lo, t.src_port, mapped4, port, slot, 0)
    owner = tables.hosts[tables.bibs[bib].host]
    if owner.mapped4 == 0:
        owner.mapped4 = mapped4
    return Verdict.CONTINUE, bib


@jit()
def from_ipv4(settings, tables, now, t, event, is_error):
    """Sections 3.5.1, 3.5.2, 3.5.3 for a packet from a host4; the outgoing tuple is pool6 + host4 -> host6."""
    session = find_session4(settings, tables, now, t)
    if session != NONE:
        if not is_error:
            touch(settings, tables, now, session, event)
        row = tables.sessions[session]
        return Verdict.CONTINUE, towards_host6(settings, t, row.host6_hi, row.host6_lo, row.host6_port)
    if is_error:
        return Verdict.NO_SESSION, t
    bib = find_bib4(settings, tables, t.protocol, t.dst_lo, t.dst_port)
    if bib == NONE:
        # Section 3.5.2.2: a SYN that nobody expects is not answered at once, or simultaneous open would fail (RFC 5382 REQ-4).
        return Verdict.NO_SESSION if t.protocol == TCP else Verdict.NO_BIB_ENTRY, t
    verdict = open_from_ipv4(settings, tables, now, t, bib, event)
    entry = tables.bibs[bib]
    return verdict, towards_host6(settings, t, entry.host6_hi, entry.host6_lo, entry.host6_port)


@jit()
def open_from_ipv4(settings, tables, now, t, bib, event):
    """A session opened by a host4, where the filters allow it. A TCP segment without SYN passes but opens none."""
    if settings.address_dependent and not knows_peer(tables, bib, t.src_lo):
        return Verdict.FILTERED_ADF
    if t.protocol == TCP and event != Event.V4_SYN:
        return Verdict.CONTINUE
    if t.protocol == TCP and settings.drop_inbound_tcp:
        return Verdict.FILTERED_INBOUND_TCP
    limit = settings.per_host_sessions
    if limit > 0 and tables.hosts[tables.bibs[bib].host].sessions >= limit:
        return Verdict.HOST_SESSIONS
    state = State.V4_INIT if t.protocol == TCP else State.NONE
    if create_session(settings, tables, now, bib, t.src_lo, t.src_port, state) == NONE:
        return Verdict.SESSION_TABLE_FULL
    return Verdict.CONTINUE


@jit()
def knows_peer(tables, bib, host4):
    """Address-dependent filtering: whether the BIB entry has a session with this host4, whatever the port."""
    session = tables.bibs[bib].first_session
    for _ in range(ADF_WALK):
        if session == NONE:
            return False
        if tables.sessions[session].host4 == host4:
            return True
        session = tables.links[session].next
    return False


@jit()
def towards_host6(settings, t, hi, lo, port):
    """Section 3.6.2: the outgoing tuple of a packet from IPv4."""
    src_hi, src_lo = embed(settings.pool6_hi, settings.pool6_lo, settings.pool6_row, t.src_lo)
    src_port, dst_port = (port, 0) if t.protocol == ICMP else (t.src_port, port)
    return tuple_of(6, t.protocol, src_hi, src_lo, src_port, hi, lo, dst_port)
