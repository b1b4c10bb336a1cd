"""The session tables (RFC 6146 section 3.1), and the one place that opens, touches and ends a session."""

from translator.jit.compile import hot, int64, jit, rare
from translator.packet.addresses import address6
from translator.packet.fields import TCP
from translator.session.accounts import FROM_HOST4, FROM_HOST6, begin_account
from translator.session.bib import host6_of, mapped4_of, release_bib
from translator.session.clients6 import count_client
from translator.session.lifetimes import end_of, first_timeout, is_unanswered, lifetime
from translator.session.log import Cause, Kind, cause_of_end, is_logged, log_session
from translator.session.pool4 import number_of
from translator.session.port_blocks import free_blocks
from translator.session.recent import note, recall, spread
from translator.session.subscribers import count_session
from translator.session.tcp_state import NEXT_STATE, TIMER, State, TcpEvent
from translator.session.unanswered import FEW, answer, review
from translator.tables.changes import note_change
from translator.tables.hashing import find_candidate, first_candidate, hash2, hash3, insert, record_at, remove
from translator.tables.layout import NONE, OF_SERVICE, WHEEL
from translator.tables.slots import give_back, take
from translator.tables.tables import SESSIONS
from translator.tables.wheel import Timeout, schedule, unschedule
from translator.verdict import Event

# LIMITS
BIB_WALK = 64  # sessions over but not collected; a BIB entry with more of them lives up to a second longer


@hot()
def session_hash6(gateway, protocol, host6, host4):
    """Keyed hash of (host6, host4 under its prefix)."""
    upper, peer = host6.hi ^ protocol ^ host4.hi << 8, host4.lo << 32 | both_ports(host6, host4)
    return hash3(gateway.settings.secret, upper, host6.lo, peer)


@hot()
def session_hash4(gateway, protocol, mapped4, host4):
    """Keyed hash of (mapped4, host4)."""
    ports = int64(protocol) << 32 | both_ports(mapped4, host4)
    return hash2(gateway.settings.secret, mapped4.lo << 32 | host4.lo, ports)


@jit()
def both_ports(inside, host4):
    """The ports of both ends of a session in one word."""
    return inside.port << 16 | host4.port


@hot()
def find_session6(gateway, now, t, host4):
    """The living session of a tuple from IPv6, or NONE; `host4` says under which prefix it stands."""
    tables = gateway.tables
    upper, peer = t.src.hi ^ t.protocol ^ host4.hi << 8, host4.lo << 32 | both_ports(t.src, host4)
    words = spread(gateway.settings.secret, upper, t.src.lo, peer)
    session = recall(tables.recent6, words)
    if session == NONE or not is_session6(tables.sessions[session], t, host4):
        session = look_up6(gateway, t, host4)
        if session == NONE:
            return NONE
        note(tables.recent6, words, session)
    return living(gateway, now, session)


@hot()
def find_session4(gateway, now, t):
    """The living session of a tuple from IPv4, or NONE."""
    tables = gateway.tables
    ports = int64(t.protocol) << 32 | both_ports(t.dst, t.src)
    words = spread(gateway.settings.secret, t.dst.lo, t.src.lo, ports)
    session = recall(tables.recent4, words)
    if session == NONE or not is_session4(tables.sessions[session], t):
        session = look_up4(gateway, t)
        if session == NONE:
            return NONE
        note(tables.recent4, words, session)
    return living(gateway, now, session)


@hot()
def is_session6(row, t, host4):
    """Whether a record is that of the session of a tuple from IPv6."""
    return (
        (row.host6_lo == t.src.lo and row.host6_hi == t.src.hi)
        and (row.host6_port == t.src.port and row.host4 == host4.lo)
        and (row.host4_port == host4.port and row.protocol == t.protocol)
        and (row.prefix == host4.hi and row.live != 0)
    )


@hot()
def is_session4(row, t):
    """Whether a record is that of the session of a tuple from IPv4."""
    return (
        (row.mapped4 == t.dst.lo and row.mapped4_port == t.dst.port)
        and (row.host4 == t.src.lo and row.host4_port == t.src.port)
        and (row.protocol == t.protocol and row.live != 0)
    )


@rare()
def look_up6(gateway, t, host4):
    """The session of a tuple from IPv6 by the index, or NONE."""
    index, hashed = gateway.tables.sessions6, session_hash6(gateway, t.protocol, t.src, host4)
    at = first_candidate(index, hashed)
    while at != NONE and not is_session6(gateway.tables.sessions[record_at(index, at)], t, host4):
        at = find_candidate(index, hashed, at + 1)
    return record_at(index, at) if at != NONE else NONE


@rare()
def look_up4(gateway, t):
    """The session of a tuple from IPv4 by the index, or NONE."""
    index, hashed = gateway.tables.sessions4, session_hash4(gateway, t.protocol, t.dst, t.src)
    at = first_candidate(index, hashed)
    while at != NONE and not is_session4(gateway.tables.sessions[record_at(index, at)], t):
        at = find_candidate(index, hashed, at + 1)
    return record_at(index, at) if at != NONE else NONE


@hot()
def living(gateway, now, session):
    """The session, or NONE if its time is over; then it is ended here, before the timer wheel gets to it."""
    settings, tables = gateway.settings, gateway.tables
    row = tables.sessions[session]
    if row.expires > now:
        return session
    if end_of(settings, row) > now:
        enter_trans(gateway, session)
        return session
    end_session(gateway, now, session, cause_of_end(tables, session))
    return NONE


@rare()
def enter_trans(gateway, session):
    """RFC 6146 section 3.5.2.2: the time of an established session is over, and TCP_TRANS begins."""
    row = gateway.tables.sessions[session]
    row.expires = end_of(gateway.settings, row)
    change_state(gateway.tables, session, int64(State.TRANS))


@jit()
def change_state(tables, session, state):
    """A session goes on in another state."""
    row = tables.sessions[session]
    note_change(tables, session)
    count_state(tables, row, -1)
    row.state = state
    count_state(tables, row, 1)


@jit()
def count_state(tables, row, change):
    """There is one session more (`change` 1) or less (-1) of this protocol in this state."""
    tables.sessions_in[number_of(row.protocol), row.state] += change
    if row.inbound >= OF_SERVICE and is_unanswered(row.state):
        tables.inbound[1] += change


@rare()
def living_bib(gateway, now, bib):
    """The BIB entry, or NONE if it is a dynamic one and the time of all its sessions is over; then it is ended here,
    before the timer wheel gets to it."""
    tables = gateway.tables
    if bib == NONE or tables.bibs[bib].static != 0:
        return bib
    count, session = 0, tables.bibs[bib].first_session
    while session != NONE and count < BIB_WALK:
        if end_of(gateway.settings, tables.sessions[session]) > now:
            return bib
        count, session = count + 1, tables.links[session].next
    if session != NONE:
        return bib
    for _ in range(count):
        session = tables.bibs[bib].first_session
        end_session(gateway, now, session, cause_of_end(tables, session))
    return NONE


@rare()
def create_session(gateway, now, bib, host4, state, inbound):
    """A new session of a BIB entry, or NONE when the table is full. `inbound`: it counts as opened from outside (1), or
    is of a service."""
    tables = gateway.tables
    session = take(tables, SESSIONS, len(tables.sessions))
    if session == NONE:
        return session
    entry, row = tables.bibs[bib], tables.sessions[session]
    row.host6_hi, row.host6_lo, row.host6_port = entry.host6_hi, entry.host6_lo, entry.host6_port
    row.mapped4, row.mapped4_port, row.bib = entry.mapped4, entry.mapped4_port, bib
    row.host4, row.host4_port, row.protocol, row.state = host4.lo, host4.port, entry.protocol, state
    row.inbound, row.prefix = inbound, entry.prefix
    row.expires = now + lifetime(gateway, first_timeout(row), state)
    begin_account(gateway, session, FROM_HOST6 if state == State.V6_INIT else FROM_HOST4)
    enter_session(gateway, now, session)
    tables.events[Event.SESSION_CREATED] += 1
    if is_logged(gateway, Kind.SESSION_CREATED):
        cause = Cause.OUTSIDE if state == State.V4_INIT or inbound >= OF_SERVICE else Cause.INSIDE
        log_session(gateway, now, Kind.SESSION_CREATED, int64(cause), session)
    return session


@jit()
def enter_session(gateway, now, session):
    """A session whose record says all that there is to say begins to live: it is put into every table."""
    settings, tables = gateway.settings, gateway.tables
    row, links = tables.sessions[session], tables.links[session]
    entry, row.live = tables.bibs[row.bib], 1
    note_change(tables, session)
    insert(tables.sessions6, row_hash6(gateway, row), session)
    insert(tables.sessions4, row_hash4(gateway, row), session)
    links.previous, links.next, links.reset = NONE, entry.first_session, 0
    if entry.first_session != NONE:
        tables.links[entry.first_session].previous = session
    entry.first_session = session
    count_session(tables, entry, row.inbound, 1)
    count_state(tables, row, 1)
    count_client(gateway, row.host4, 1)
    if entry.sessions == FEW + 1:
        review(tables, row.bib)
    schedule(tables, session, now)
    if settings.check_rst:
        tables.windows[session] = 0


@jit()
def row_hash6(gateway, row):
    """The hash a session stands under in sessions6."""
    return session_hash6(gateway, row.protocol, host6_of(row), host4_of(row))


@jit()
def row_hash4(gateway, row):
    """The hash a session stands under in sessions4."""
    return session_hash4(gateway, row.protocol, mapped4_of(row), host4_of(row))


@jit()
def host4_of(row):
    """The host4 transport address of a session, with its prefix."""
    return address6(row.prefix, row.host4, row.host4_port)


@rare()
def touch_unanswered(gateway, now, session, timer, event):
    """A packet of a session that only one side has sent to so far; returns the Timeout it was given. Without TCP, one
    of the other side puts it in state NONE; TCP has its own states. Its time is never shortened.

    That a host4 sends more than its SYN says nothing (RFC 6146 section 3.5.2.2), unless it is a client of a service:
    then another gateway may have the answers, and the connection goes on.
    """
    row = gateway.tables.sessions[session]
    other = TcpEvent.V4_REST if row.state == State.V6_INIT else TcpEvent.V6_REST
    if row.protocol != TCP and event == other:
        change_state(gateway.tables, session, int64(State.NONE))
        answer(gateway.tables, row.bib)
    if row.protocol == TCP and row.state == State.V4_INIT:
        if row.inbound < OF_SERVICE:
            return int64(Timeout.KEEP)
        timer = int64(Timeout.TCP_TRANS)
    row.expires = max(row.expires, now + lifetime(gateway, timer, row.state))
    return timer


@hot()
def touch(gateway, now, session, event):
    """RFC 6146 sections 3.5.1, 3.5.2.2, 3.5.3: a packet of the session has passed; returns the Timeout it was given.

    Without TCP only the side counts that `event` is of.
    """
    settings, tables = gateway.settings, gateway.tables
    row = tables.sessions[session]
    if row.protocol != TCP:
        timer = int64(first_timeout(row))
        if row.state == State.NONE:
            row.expires = now + settings.timeouts[timer]
        else:
            timer = touch_unanswered(gateway, now, session, timer, event)
        return timer
    state, option = row.state, settings.rst_during_fin
    timer = int64(TIMER[option, state, event])
    if timer == Timeout.TCP_OPENING:
        timer = touch_unanswered(gateway, now, session, timer, event)
    elif timer != Timeout.KEEP:
        row.expires = now + settings.timeouts[timer]
    if NEXT_STATE[option, state, event] != state:
        if is_unanswered(state):
            answer(tables, row.bib)
        change_state(tables, session, NEXT_STATE[option, state, event])
        tables.links[session].reset = 1 if row.state == State.TRANS else 0
        unschedule(tables, session)
        schedule(tables, session, now)
    return timer


@rare()
def end_session(gateway, now, session, cause):
    """Take a session out of every table, and its BIB entry with it if it was the last; `cause`: of log.py."""
    tables = gateway.tables
    if is_logged(gateway, Kind.SESSION_ENDED):
        log_session(gateway, now, Kind.SESSION_ENDED, cause, session)
    row, links = tables.sessions[session], tables.links[session]
    entry = tables.bibs[row.bib]
    note_change(tables, session)
    remove(tables.sessions6, row_hash6(gateway, row), session)
    remove(tables.sessions4, row_hash4(gateway, row), session)
    unschedule(tables, session)
    if links.next != NONE:
        tables.links[links.next].previous = links.previous
    if links.previous != NONE:
        tables.links[links.previous].next = links.next
    else:
        entry.first_session = links.next
    count_session(tables, entry, row.inbound, -1)
    count_state(tables, row, -1)
    count_client(gateway, row.host4, -1)
    if entry.sessions == FEW:
        review(tables, row.bib)
    row.live = 0
    give_back(tables, SESSIONS, session)
    tables.events[Event.SESSION_ENDED] += 1
    release_bib(gateway, now, row.bib, row.expires, cause)


@rare()
def expire(gateway, now, quota):
    """End the sessions whose time is over; looks at no more than `quota` of them, and of the blocks that wait.

    Returns how many it looked at, and the established session whose time is over, whose host6 is to be probed (RFC 6146
    section 3.5.2.2), or NONE; there it stops.
    """
    tables = gateway.tables
    if gateway.settings.port_block > 0:
        free_blocks(gateway, now, quota)
    second = now // 1000
    if tables.wheel_at[0] == NONE:
        tables.wheel_at[0] = second
    # A clock that jumped: every bucket once is enough. One that went back: a bucket too early does no harm.
    tables.wheel_at[0] = min(max(tables.wheel_at[0], second - WHEEL), second)
    seen = 0
    while tables.wheel_at[0] < second and seen < quota:
        session = tables.wheel[(tables.wheel_at[0] + 1) & (WHEEL - 1)]
        if session == NONE:
            tables.wheel_at[0] += 1
            continue
        seen, row = seen + 1, tables.sessions[session]
        if row.expires <= now and row.state != State.ESTABLISHED:
            end_session(gateway, now, session, cause_of_end(tables, session))
            continue
        over = row.expires <= now
        if over:
            enter_trans(gateway, session)
        unschedule(tables, session)
        schedule(tables, session, now)
        if over:
            return seen, int64(session)
    return seen, int64(NONE)
