"""The session tables (RFC 6146 section 3.1), and the one place that opens, touches and ends a session."""

from translator.compile import hot, int64, jit
from translator.hashing import find_candidate, hash3, insert, record_at, remove
from translator.packet.fields import ICMP, TCP
from translator.session.bib import release_bib
from translator.session.lifetimes import Timeout, schedule, unschedule
from translator.session.slots import give_back, take
from translator.session.tcp_state import NEXT, TIMER, State
from translator.tables import NONE, SESSIONS, WHEEL
from translator.verdict import Event

# LIMITS
BIB_WALK = 64  # sessions over but not collected; a BIB entry with more of them lives up to a second longer


@jit()
def hash6(settings, protocol, hi, lo, port, host4, host4_port):
    """Keyed hash of (host6, host4)."""
    return hash3(settings.secret, hi ^ protocol, lo, int64(host4) << 32 | int64(port) << 16 | host4_port)


@jit()
def hash4(settings, protocol, mapped4, port, host4, host4_port):
    """Keyed hash of (mapped4, host4)."""
    return hash3(settings.secret, int64(mapped4) << 32 | host4, int64(port) << 16 | host4_port, protocol)


@hot()
def find_session6(settings, tables, now, t, host4):
    """The living session of a tuple from IPv6, or NONE."""
    hashed = hash6(settings, t.protocol, t.src_hi, t.src_lo, t.src_port, host4, t.dst_port)
    at = find_candidate(tables.sessions6, hashed, hashed)
    while at != NONE:
        session = record_at(tables.sessions6, at)
        row = tables.sessions[session]
        if (
            (row.host6_lo == t.src_lo and row.host6_hi == t.src_hi)
            and (row.host6_port == t.src_port and row.host4 == host4)
            and (row.host4_port == t.dst_port and row.protocol == t.protocol)
        ):
            return living(settings, tables, now, session)
        at = find_candidate(tables.sessions6, hashed, at + 1)
    return NONE


@hot()
def find_session4(settings, tables, now, t):
    """The living session of a tuple from IPv4, or NONE."""
    hashed = hash4(settings, t.protocol, t.dst_lo, t.dst_port, t.src_lo, t.src_port)
    at = find_candidate(tables.sessions4, hashed, hashed)
    while at != NONE:
        session = record_at(tables.sessions4, at)
        row = tables.sessions[session]
        if (
            (row.mapped4 == t.dst_lo and row.mapped4_port == t.dst_port)
            and (row.host4 == t.src_lo and row.host4_port == t.src_port)
            and row.protocol == t.protocol
        ):
            return living(settings, tables, now, session)
        at = find_candidate(tables.sessions4, hashed, at + 1)
    return NONE


@jit()
def living(settings, tables, now, session):
    """The session, unless its time is over and only the wheel has not come by yet."""
    row = tables.sessions[session]
    if row.expires > now:
        return session
    if end_of(settings, row) > now:
        enter_trans(settings, row)
        return session
    end_session(settings, tables, session)
    return NONE


@jit()
def end_of(settings, row):
    """When a session is over for good: an established one lasts TCP_TRANS longer than its time."""
    return row.expires + (settings.timeouts[Timeout.TCP_TRANS] if row.state == State.ESTABLISHED else 0)


@jit()
def enter_trans(settings, row):
    """RFC 6146 section 3.5.2.2: the time of an established session is over, and TCP_TRANS begins."""
    row.state, row.expires = State.TRANS, end_of(settings, row)


@jit()
def living_bib(settings, tables, now, bib):
    """The BIB entry, unless it is a dynamic one all of whose sessions are over and only the wheel has not come by
    yet."""
    if bib == NONE or tables.bibs[bib].static != 0:
        return bib
    count, session = 0, tables.bibs[bib].first_session
    while session != NONE and count < BIB_WALK:
        if end_of(settings, tables.sessions[session]) > now:
            return bib
        count, session = count + 1, tables.links[session].next
    if session != NONE:
        return bib
    for _ in range(count):
        end_session(settings, tables, tables.bibs[bib].first_session)
    return NONE


@jit()
def create_session(settings, tables, now, bib, host4, host4_port, state):
    """A new session of a BIB entry, or NONE when the table is full."""
    session = take(tables, SESSIONS, len(tables.sessions))
    if session == NONE:
        return session
    entry, row, links = tables.bibs[bib], tables.sessions[session], tables.links[session]
    row.host6_hi, row.host6_lo, row.host6_port = entry.host6_hi, entry.host6_lo, entry.host6_port
    row.mapped4, row.mapped4_port, row.bib = entry.mapped4, entry.mapped4_port, bib
    row.host4, row.host4_port, row.protocol, row.state, row.live = host4, host4_port, entry.protocol, state, 1
    timeout = Timeout.TCP_EST if state == State.ESTABLISHED else first_timeout(entry.protocol)
    row.expires = now + settings.timeouts[timeout]
    insert(tables.sessions6, row_hash6(settings, row), session)
    insert(tables.sessions4, row_hash4(settings, row), session)
    links.previous, links.next = NONE, entry.first_session
    if entry.first_session != NONE:
        tables.links[entry.first_session].previous = session
    entry.first_session = session
    entry.sessions += 1
    tables.hosts[entry.host].sessions += 1
    schedule(tables, session, now)
    if settings.check_rst:
        tables.windows[session] = 0
    tables.events[Event.SESSION_CREATED] += 1
    return session


@jit()
def row_hash6(settings, row):
    """The hash a session stands under in sessions6."""
    return hash6(settings, row.protocol, row.host6_hi, row.host6_lo, row.host6_port, row.host4, row.host4_port)


@jit()
def row_hash4(settings, row):
    """The hash a session stands under in sessions4."""
    return hash4(settings, row.protocol, row.mapped4, row.mapped4_port, row.host4, row.host4_port)


@jit()
def first_timeout(protocol):
    """What a session of this protocol lives without another packet; a TCP session opens in V4_INIT or V6_INIT."""
    if protocol == TCP:
        return Timeout.TCP_TRANS
    return Timeout.ICMP_DEFAULT if protocol == ICMP else Timeout.UDP_DEFAULT


@hot()
def touch(settings, tables, now, session, event):
    """RFC 6146 sections 3.5.1, 3.5.2.2, 3.5.3: a packet of the session came by; `event` counts for TCP only."""
    row = tables.sessions[session]
    if row.protocol != TCP:
        row.expires = now + settings.timeouts[first_timeout(row.protocol)]
        return
    state, option = row.state, settings.rst_during_fin
    timer = TIMER[option, state, event]
    if timer != Timeout.KEEP:
        row.expires = now + settings.timeouts[timer]
    if NEXT[option, state, event] != state:
        row.state = NEXT[option, state, event]
        unschedule(tables, session)
        schedule(tables, session, now)


@jit()
def end_session(settings, tables, session):
    """Take a session out of every table, and its BIB entry with it if it was the last."""
    row, links = tables.sessions[session], tables.links[session]
    entry = tables.bibs[row.bib]
    remove(tables.sessions6, row_hash6(settings, row), session)
    remove(tables.sessions4, row_hash4(settings, row), session)
    unschedule(tables, session)
    if links.next != NONE:
        tables.links[links.next].previous = links.previous
    if links.previous != NONE:
        tables.links[links.previous].next = links.next
    else:
        entry.first_session = links.next
    entry.sessions -= 1
    tables.hosts[entry.host].sessions -= 1
    row.live = 0
    give_back(tables, SESSIONS, session)
    tables.events[Event.SESSION_ENDED] += 1
    release_bib(settings, tables, row.bib, row.expires)


@jit()
def expire(settings, tables, now, quota):
    """End the sessions whose time is over; looks at no more than `quota` of them.

    Returns how many it looked at, and the established session whose time is over, whose host6 is to be probed (RFC 6146
    section 3.5.2.2), or NONE; there it stops.
    """
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
        seen += 1
        row = tables.sessions[session]
        if row.expires <= now and row.state != State.ESTABLISHED:
            end_session(settings, tables, session)
            continue
        over = row.expires <= now
        if over:
            enter_trans(settings, row)
        unschedule(tables, session)
        schedule(tables, session, now)
        if over:
            return seen, int64(session)
    return seen, int64(NONE)
