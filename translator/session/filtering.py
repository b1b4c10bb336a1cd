"""RFC 6146 section 3.5: filtering and updating binding and session information, and section 3.6: the outgoing tuple.

One function for each family a packet comes in; UDP, TCP and ICMP queries differ by two rules only: which segment may
open a session (3.5.2.2), and whether an identifier has a peer's port (3.5.3: it has none, so it is 0).
"""

from translator.jit.compile import hot, int64, jit, rare
from translator.packet.addresses import address4, under
from translator.packet.fields import ICMP, TCP
from translator.packet.tuples import is_other, tuple_of
from translator.session.accounts import FROM_HOST4, FROM_HOST6, note_account
from translator.session.bib import create_bib, find_bib4, find_bib6, host6_of, mapped4_of
from translator.session.block_ports import NO_RECORD, allocate_in_blocks
from translator.session.displacement import displace
from translator.session.hosts import find_host, may_open, opened, paired_with, ports_of
from translator.session.log import Cause, Kind, is_logged, log_mapping
from translator.session.other_protocols import allocate_address
from translator.session.pool4 import AT_SHARE, allocate, is_paired_full, slot_of
from translator.session.services import (
    accepts_for_one_of_several,
    enter_service,
    find_answering,
    find_front,
    judge_answer,
    part_of,
)
from translator.session.sessions import (
    create_session,
    end_session,
    find_session4,
    find_session6,
    living_bib,
    touch,
)
from translator.session.simultaneous_open import drop_held
from translator.session.subscribers import free_sessions, may_open_inbound, may_open_session
from translator.session.tcp_state import State, TcpEvent
from translator.session.unanswered import answer
from translator.static.addresses import may_reach
from translator.static.rfc6052 import from_prefix, to_prefix
from translator.tables.handles import is_handle
from translator.tables.layout import NONE, OF_GONE
from translator.tables.ranges import within
from translator.verdict import Ask, Event, Verdict

# LIMITS
ADF_WALK = 1024  # sessions of a BIB entry that are searched for a known peer, newest first


@hot()
def filter_and_update(gateway, now, t, event, is_error, answers):
    """(verdict, whom to ask, outgoing tuple) of an incoming tuple: CONTINUE, or why it goes nowhere.

    `event` is the TCP event, `answers`: the segment has ACK; an ICMP error looks up but changes nothing.
    """
    if t.family == 6:
        verdict, outgoing = from_ipv6(gateway, now, t, event, is_error, answers)
        return verdict, Ask.NOBODY, outgoing
    return from_ipv4(gateway, now, t, event, is_error, answers)


@hot()
def from_ipv6(gateway, now, t, event, is_error, answers):
    """Sections 3.5.1, 3.5.2, 3.5.3 for a packet from a host6; the outgoing tuple is mapped4 -> host4."""
    tables, host4 = gateway.tables, from_prefix(gateway, t.dst)
    session = find_session6(gateway, now, t, host4)
    if session != NONE:
        if not is_error:
            touch(gateway, now, session, event)
            note_account(gateway, session, FROM_HOST6)
        return Verdict.CONTINUE, towards_host4(t, tables.sessions[session], host4)
    if host4.hi != 0:
        return to_client(gateway, now, t, event, is_error, answers, host4)
    bib = living_bib(gateway, now, find_bib6(gateway, t.protocol, t.src))
    member = find_answering(gateway, t, event, is_error, answers)
    if member != NONE and not is_static(tables, bib):
        return may_reach(gateway, host4, True), towards_host4(t, tables.bibs[member], host4)
    if is_error or (t.protocol == TCP and event != TcpEvent.V6_SYN):
        verdict = may_reach(gateway, host4, True) if bib != NONE else no_session(gateway, now, t, event, is_error)
    elif answers and not is_static(tables, bib) and event == TcpEvent.V6_SYN and accepts_for_one_of_several(gateway, t):
        verdict = Verdict.SERVICE_AMBIGUOUS
    else:
        verdict, bib = open_from_ipv6(gateway, now, t, host4, bib)
        if verdict == Verdict.CONTINUE and event == TcpEvent.V6_SYN:
            drop_held(gateway, mapped4_of(tables.bibs[bib]), host4)
    if verdict != Verdict.CONTINUE:
        return verdict, t
    return Verdict.CONTINUE, towards_host4(t, tables.bibs[bib], host4)


@hot()
def towards_host4(t, row, host4):
    """Section 3.6.1: the outgoing tuple of a packet from IPv6, from the mapped4 of a session or BIB entry.

    An ICMP identifier has no peer's port: it stands in the source.
    """
    return tuple_of(4, t.protocol, mapped4_of(row), address4(host4.lo, host4.port))


@rare()
def to_client(gateway, now, t, event, is_error, answers, host4):
    """(verdict, outgoing tuple) of a packet from IPv6 to a client prefix that is not pool6, which has no session and
    opens none: another gateway may have that of an answer."""
    verdict, bib = judge_answer(gateway, t, event, is_error, answers, host4.hi)
    if verdict == Verdict.CONTINUE:
        return may_reach(gateway, host4, True), towards_host4(t, gateway.tables.bibs[bib], host4)
    if verdict == Verdict.NO_SESSION:
        verdict = no_session(gateway, now, t, event, is_error)
    return Verdict.NO_SERVICE_FLOW if verdict == Verdict.NO_SESSION else verdict, t


@rare()
def open_from_ipv6(gateway, now, t, host4, bib):
    """A new session of a host6, with a new BIB entry if it has none; a verdict that objects leaves nothing behind.

    There are as many BIB entries, hosts and subscribers as sessions, so room for a session is room for all four. A
    static mapping needs none: where none may be opened, the packet passes without.
    """
    tables, host = gateway.tables, find_host(gateway, t.src)
    verdict, static = may_reach(gateway, host4, True), is_static(tables, bib)
    if verdict == Verdict.CONTINUE and static and not may_open_inbound(tables, bib):
        return pass_unpinned(tables), bib
    if verdict == Verdict.CONTINUE and not static:
        verdict = room_for_session(gateway, now, t, host)
    if verdict == Verdict.CONTINUE and bib == NONE:
        verdict, bib = open_bib(gateway, now, t, host4, host)
    if verdict == Verdict.CONTINUE:
        create_session(gateway, now, bib, host4, State.V6_INIT, 1 if static else 0)
        if not static:
            opened(gateway, tables.bibs[bib].host, now)
    return verdict, bib


@jit()
def is_static(tables, bib):
    """Whether there is a BIB entry, and a [[forward]] has made it."""
    return bib != NONE and tables.bibs[bib].static != 0


@jit()
def room_for_session(gateway, now, t, host):
    """CONTINUE, or which limit stands against one more session of the source of an IPv6 tuple, the host with this
    record (NONE: it has none)."""
    tables, most = gateway.tables, gateway.settings.per_host_sessions
    if most > 0 and host != NONE and tables.hosts[host].sessions >= most:
        return Verdict.HOST_SESSIONS
    if free_sessions(tables) == 0:
        return Verdict.SESSION_TABLE_FULL
    if not may_open_session(gateway, host, t.src):
        return Verdict.SUBSCRIBER_SESSIONS
    return Verdict.CONTINUE if may_open(gateway, host, now) else Verdict.HOST_RATE


@jit()
def pass_unpinned(tables):
    """A packet of a mapping is translated without a session: endpoint-independent filtering has no use for one."""
    tables.events[Event.UNPINNED] += 1
    return Verdict.CONTINUE


@jit()
def open_bib(gateway, now, t, host4, host):
    """Section 3.5.1.1 and 3.5.2.3: (verdict, BIB entry) for a host6 that has none."""
    settings, tables, paired4 = gateway.settings, gateway.tables, paired_with(gateway.tables, host)
    most = settings.per_host_ports
    if most > 0 and host != NONE and ports_of(tables.hosts[host], t.protocol) >= most:
        return Verdict.HOST_PORTS, NONE
    if is_other(t):
        pool_row, port = allocate_address(gateway, now, t, paired4)
    elif settings.port_block > 0:
        pool_row, port = allocate_in_blocks(gateway, now, t, host4, paired4)
    else:
        pool_row, port = allocate(gateway, now, t, host4, paired4, host)
        if pool_row != NONE and port < 0:
            pool_row, port = displace(gateway, now, t, host, pool_row, port)
    if pool_row == NONE:
        return Verdict.NO_POOL4, NONE
    if port == AT_SHARE:
        return Verdict.SUBSCRIBER_PORTS, NONE
    if port == NO_RECORD:
        return Verdict.SESSION_TABLE_FULL, NONE
    if port == NONE:
        return Verdict.PAIRED_FULL if is_paired_full(gateway, t, paired4) else Verdict.POOL4_EXHAUSTED, NONE
    mapped4, slot = settings.pool[pool_row].address, NONE if is_other(t) else slot_of(pool_row, t.protocol)
    bib = create_bib(gateway, t.protocol, t.src, address4(mapped4, port), slot, 0)
    owner = tables.hosts[tables.bibs[bib].host]
    if owner.mapped4 == 0:
        owner.mapped4 = mapped4
    if is_logged(gateway, Kind.MAPPING_CREATED):
        log_mapping(gateway, now, Kind.MAPPING_CREATED, int64(Cause.INSIDE), bib)
    return Verdict.CONTINUE, bib


@hot()
def from_ipv4(gateway, now, t, event, is_error, answers):
    """Sections 3.5.1, 3.5.2, 3.5.3 for a packet from a host4; the outgoing tuple is prefix + host4 -> host6."""
    tables, session = gateway.tables, find_session4(gateway, now, t)
    if session != NONE:
        if tables.sessions[session].inbound == OF_GONE and not is_error and event != TcpEvent.V4_RST:
            end_session(gateway, now, session, int64(Cause.UNMAPPED))
            if event != TcpEvent.V4_SYN:
                return Verdict.LOST_SESSION, Ask.NOBODY, t
            session = int64(NONE)  # the client begins anew
    if session != NONE:
        if not is_error:
            touch(gateway, now, session, event)
            note_account(gateway, session, FROM_HOST4)
        return Verdict.CONTINUE, Ask.NOBODY, towards_host6(gateway, t, tables.sessions[session])
    bib = living_bib(gateway, now, find_bib4(gateway, t.protocol, t.dst))
    if bib == NONE and within(gateway.settings.vips4, t.dst.lo):
        return to_service(gateway, now, t, event, is_error, answers)
    if bib == NONE:
        return nobody_there(gateway, now, t, event, is_error)
    verdict, ask = may_reach(gateway, t.src, True), Ask.NOBODY
    if verdict == Verdict.CONTINUE and not is_error:
        verdict = open_from_ipv4(gateway, now, t, bib, event)
        if verdict == Verdict.FILTERED_ADF and event == TcpEvent.V4_SYN:
            ask = Ask.HELD_SYNS
        if verdict == Verdict.CONTINUE:
            answer(tables, bib)
        if verdict == Verdict.CONTINUE and event == TcpEvent.V4_SYN:
            drop_held(gateway, t.dst, t.src)
    return verdict, ask, towards_host6(gateway, t, tables.bibs[bib])


@rare()
def to_service(gateway, now, t, event, is_error, answers):
    """As from_ipv4, for a packet to the address of a service that no session and no BIB entry knows.

    An address that is in pool4 too is like any other of pool4 where no service has the port. Where nobody is reached,
    the client is written under no prefix.
    """
    settings, tables, front = gateway.settings, gateway.tables, find_front(gateway, t.protocol, t.dst)
    prefix, bib = tables.fronts[front].prefix if front != NONE else 0, int64(NONE)
    verdict = Verdict.CONTINUE
    if not is_handle(t.src.lo):
        verdict = may_reach(gateway, under(t.src, prefix), front != NONE)
    if front != NONE:
        if verdict == Verdict.CONTINUE:
            verdict, bib = enter_service(gateway, now, t, front, part_of(t, event, is_error, answers))
        if verdict != Verdict.CONTINUE and not is_error:
            tables.refused[tables.fronts[front].service, int64(verdict)] += 1
        return verdict, Ask.NOBODY, towards_host6(gateway, t, tables.bibs[bib]) if bib != NONE else t
    if verdict != Verdict.CONTINUE:
        return verdict, Ask.NOBODY, t
    if t.protocol == ICMP and not is_error:
        return Verdict.NO_BIB_ENTRY, Ask.ECHO, t
    if is_error or is_other(t) or not within(settings.closed4, t.dst.lo):
        return nobody_there(gateway, now, t, event, is_error)
    return Verdict.CLOSED_PORT, Ask.NOBODY, t


@jit()
def no_session(gateway, now, t, event, is_error):
    """The verdict of a packet that belongs to no session and opens none. No RST is answered (RFC 9293 section
    3.10.7.1), and nothing in the name of an IPv4 address that is not ours.

    RFC 6146 section 3.5.2.2 discards a TCP segment in silence; soon after sessions were lost, or ended by a reload or
    a request, a RST answers it, because its connection was open before, and its ends would wait for minutes.
    """
    if is_error or t.protocol != TCP or now >= gateway.settings.reset_until:
        return Verdict.NO_SESSION
    if event == TcpEvent.V4_RST or event == TcpEvent.V6_RST:
        return Verdict.NO_SESSION
    if t.family == 4 and not within(gateway.settings.ranges4, t.dst.lo):
        return Verdict.NO_SESSION
    verdict = may_reach(gateway, from_prefix(gateway, t.dst) if t.family == 6 else t.src, True)
    return verdict if verdict != Verdict.CONTINUE else Verdict.LOST_SESSION


@jit()
def nobody_there(gateway, now, t, event, is_error):
    """The end of a packet from IPv4 to a transport address that no host behind us has.

    Section 3.5.2.2: a SYN is not answered at once, or simultaneous open would fail (RFC 5382 REQ-4).
    """
    if t.protocol != TCP:
        return Verdict.NO_SESSION if is_error else Verdict.NO_BIB_ENTRY, Ask.NOBODY, t
    if event == TcpEvent.V4_SYN and not is_error:
        return Verdict.NO_SESSION, Ask.HELD_SYNS, t
    return no_session(gateway, now, t, event, is_error), Ask.NOBODY, t


@rare()
def open_from_ipv4(gateway, now, t, bib, event):
    """A session opened by a host4, where the filters allow it. A TCP segment without SYN passes but opens none.

    Where no more may be opened from outside, a packet passes without one, for the mapping says all there is to say. A
    SYN to a dynamic mapping is refused: its answer would open a session on the account of the host6.
    drop_inbound_tcp does not apply to static entries: a [[forward]] is there to be connected to.
    """
    settings, tables = gateway.settings, gateway.tables
    opens = t.protocol != TCP or event == TcpEvent.V4_SYN
    if t.protocol == TCP and opens and settings.drop_inbound_tcp and tables.bibs[bib].static == 0:
        return Verdict.FILTERED_INBOUND_TCP
    if settings.address_dependent and not knows_peer(tables, bib, t.src):
        return Verdict.FILTERED_ADF
    if not opens:
        return Verdict.CONTINUE
    if may_open_inbound(tables, bib):
        create_session(gateway, now, bib, t.src, State.V4_INIT, 1)
        return Verdict.CONTINUE
    if t.protocol != TCP or tables.bibs[bib].static != 0:
        return pass_unpinned(tables)
    return Verdict.INBOUND_SESSIONS if free_sessions(tables) > 0 else Verdict.SESSION_TABLE_FULL


@jit()
def knows_peer(tables, bib, host4):
    """Address-dependent filtering: whether the BIB entry has a session with this host4, whatever the port."""
    session = tables.bibs[bib].first_session
    for _ in range(ADF_WALK):
        if session == NONE:
            return False
        if tables.sessions[session].host4 == host4.lo:
            return True
        session = tables.links[session].next
    return False


@hot()
def towards_host6(gateway, t, row):
    """Section 3.6.2: the outgoing tuple of a packet from IPv4, to the host6 of a session or BIB entry."""
    return tuple_of(6, t.protocol, to_prefix(gateway, under(t.src, row.prefix)), host6_of(row))
