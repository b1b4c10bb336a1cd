"""RFC 6146 section 3.5: filtering and updating binding and session information, and section 3.6: the outgoing tuple.

One function for each family a packet comes in; UDP, TCP and ICMP queries differ by two rules only: which segment may
open a session (3.5.2.2), and whether an identifier has a peer's port (3.5.3: it has none, so it is 0).
"""

from translator.compile import hot, int64, jit
from translator.packet.fields import TCP
from translator.packet.tuples import is_other, tuple_of
from translator.session.bib import create_bib, find_bib4, find_bib6
from translator.session.hosts import find_host, host_hash
from translator.session.others import allocate_address
from translator.session.pool4 import allocate, find_row, slot_of
from translator.session.sessions import create_session, find_session4, find_session6, living_bib, touch
from translator.session.slots import in_use
from translator.session.tcp_state import Event, State
from translator.session.waiting import find_other_half, forget
from translator.static.addresses import may_reach
from translator.static.rfc6052 import to_pool6
from translator.tables import NONE, SESSIONS
from translator.verdict import Verdict

# LIMITS
ADF_WALK = 1024  # sessions of a BIB entry that are searched for a known peer, newest first


@hot()
def filter_and_update(settings, tables, now, t, host4, event, is_error):
    """The verdict (CONTINUE or why not) and the outgoing tuple of an incoming one.

    `host4` is the IPv4 address in an IPv6 destination; `event` the TCP event; an ICMP error looks up but changes
    nothing.
    """
    if t.family == 6:
        return from_ipv6(settings, tables, now, t, host4, event, is_error)
    return from_ipv4(settings, tables, now, t, event, is_error)


@hot()
def from_ipv6(settings, tables, now, t, host4, event, is_error):
    """Sections 3.5.1, 3.5.2, 3.5.3 for a packet from a host6; the outgoing tuple is mapped4 -> host4."""
    session = find_session6(settings, tables, now, t, host4)
    if session != NONE:
        if not is_error:
            touch(settings, tables, now, session, event)
        return Verdict.CONTINUE, towards_host4(t, tables.sessions[session], host4)
    bib = find_bib6(settings, tables, t.protocol, t.src_hi, t.src_lo, t.src_port)
    bib = living_bib(settings, tables, now, bib)
    if is_error or (t.protocol == TCP and event != Event.V6_SYN):
        verdict = may_reach(settings, host4, True) if bib != NONE else Verdict.NO_SESSION
    else:
        verdict, bib = open_from_ipv6(settings, tables, now, t, host4, bib)
    if verdict != Verdict.CONTINUE:
        return verdict, t
    return Verdict.CONTINUE, towards_host4(t, tables.bibs[bib], host4)


@hot()
def towards_host4(t, row, host4):
    """Section 3.6.1: the outgoing tuple of a packet from IPv6, from the mapped4 of a session or BIB entry."""
    return tuple_of(4, t.protocol, 0, row.mapped4, row.mapped4_port, 0, host4, t.dst_port)


@jit()
def open_from_ipv6(settings, tables, now, t, host4, bib):
    """A new session of a host6, with a new BIB entry if it has none; a verdict that objects leaves nothing behind.

    There are as many BIB entries and hosts as sessions, so room for a session is room for all three.
    """
    verdict = may_reach(settings, host4, True)
    host = find_host(tables, host_hash(settings, t.src_hi, t.src_lo), t.src_hi, t.src_lo)
    syn = int64(NONE)
    if verdict == Verdict.CONTINUE:
        verdict = room_for_session(settings, tables, host)
    if verdict == Verdict.CONTINUE and t.protocol == TCP:
        syn = find_other_half(settings, tables, now, t, host4, bib)
    if verdict == Verdict.CONTINUE and bib == NONE:
        verdict, bib = open_bib(settings, tables, now, t, host4, host, syn)
    if verdict == Verdict.CONTINUE:
        state = State.V6_INIT if t.protocol == TCP else State.NONE
        if syn != NONE:  # section 3.5.2.2: V4_INIT, and the V6 SYN establishes
            state = State.ESTABLISHED
            forget(tables, syn)
        create_session(settings, tables, now, bib, host4, t.dst_port, state)
    return verdict, bib


@jit()
def room_for_session(settings, tables, host):
    """CONTINUE, or which limit stands against one more session of a host (NONE: a host without any)."""
    if settings.per_host_sessions > 0 and host != NONE and tables.hosts[host].sessions >= settings.per_host_sessions:
        return Verdict.HOST_SESSIONS
    return Verdict.CONTINUE if in_use(tables, SESSIONS) < len(tables.sessions) else Verdict.SESSION_TABLE_FULL


@jit()
def open_bib(settings, tables, now, t, host4, host, syn):
    """Section 3.5.1.1 and 3.5.2.3: a BIB entry for a host6 that has none; with the mapped4 that a SYN is waiting for,
    unless `syn` is NONE."""
    paired4 = 0
    if host != NONE:
        paired4 = tables.hosts[host].mapped4
        if settings.per_host_ports > 0 and tables.hosts[host].bibs >= settings.per_host_ports:
            return Verdict.HOST_PORTS, NONE
    if is_other(t):
        pool_row, port = allocate_address(settings, tables, now, t, paired4)
    elif syn == NONE:
        pool_row, port = allocate(settings, tables, now, t, host4, paired4)
    else:
        port = int64(tables.syns[syn].mapped4_port)
        pool_row = find_row(settings, t, tables.syns[syn].mapped4, port)
    if pool_row == NONE:
        return Verdict.NO_POOL4, NONE
    if port == NONE:
        return Verdict.POOL4_EXHAUSTED, NONE
    mapped4, slot = settings.pool[pool_row].address, NONE if is_other(t) else slot_of(pool_row, t.protocol)
    bib = create_bib(settings, tables, t.protocol, t.src_hi, t.src_lo, t.src_port, mapped4, port, slot, 0)
    owner = tables.hosts[tables.bibs[bib].host]
    if owner.mapped4 == 0:
        owner.mapped4 = mapped4
    return Verdict.CONTINUE, bib


@hot()
def from_ipv4(settings, tables, now, t, event, is_error):
    """Sections 3.5.1, 3.5.2, 3.5.3 for a packet from a host4; the outgoing tuple is pool6 + host4 -> host6."""
    session = find_session4(settings, tables, now, t)
    if session != NONE:
        if not is_error:
            touch(settings, tables, now, session, event)
        return Verdict.CONTINUE, towards_host6(settings, t, tables.sessions[session])
    bib = living_bib(settings, tables, now, find_bib4(settings, tables, t.protocol, t.dst_lo, t.dst_port))
    if bib == NONE:
        # Section 3.5.2.2: a SYN that nobody expects is not answered at once, or simultaneous open would fail
        # (RFC 5382 REQ-4).
        return Verdict.NO_SESSION if is_error or t.protocol == TCP else Verdict.NO_BIB_ENTRY, t
    verdict = may_reach(settings, t.src_lo, True)
    if verdict == Verdict.CONTINUE and not is_error:
        verdict = open_from_ipv4(settings, tables, now, t, bib, event)
    return verdict, towards_host6(settings, t, tables.bibs[bib])


@jit()
def open_from_ipv4(settings, tables, now, t, bib, event):
    """A session opened by a host4, where the filters allow it. A TCP segment without SYN passes but opens none.

    drop_inbound_tcp spares the static entries: whoever wrote a [[forward]] wants its connections.
    """
    opens = t.protocol != TCP or event == Event.V4_SYN
    if t.protocol == TCP and opens and settings.drop_inbound_tcp and tables.bibs[bib].static == 0:
        return Verdict.FILTERED_INBOUND_TCP
    if settings.address_dependent and not knows_peer(tables, bib, t.src_lo):
        return Verdict.FILTERED_ADF
    if not opens:
        return Verdict.CONTINUE
    verdict = room_for_session(settings, tables, tables.bibs[bib].host)
    if verdict == Verdict.CONTINUE:
        state = State.V4_INIT if t.protocol == TCP else State.NONE
        create_session(settings, tables, now, bib, t.src_lo, t.src_port, state)
    return verdict


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


@hot()
def towards_host6(settings, t, row):
    """Section 3.6.2: the outgoing tuple of a packet from IPv4, to the host6 of a session or BIB entry."""
    src_hi, src_lo = to_pool6(settings, t.src_lo)
    return tuple_of(6, t.protocol, src_hi, src_lo, t.src_port, row.host6_hi, row.host6_lo, row.host6_port)
