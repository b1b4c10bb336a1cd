"""RFC 7857 section 2, RFC 5961: which RST of a TCP session is believed; an option, check_rst.

Who does not see a connection can send a RST with a sequence number by guess only. So the numbers of the segments that
pass are kept, two for each direction, and a RST outside of them moves no session. They lie apart from the sessions: as
long as the option is off, nobody touches them.
"""

from translator.compile import jit
from translator.lock import acquire, release
from translator.packet.fields import (
    TCP_ACK,
    TCP_ACKNOWLEDGMENT_AT,
    TCP_FIN,
    TCP_RST,
    TCP_SEQUENCE_AT,
    TCP_SYN,
    tcp_header_length,
    u32,
)
from translator.session.sessions import find_session4, find_session6
from translator.session.tcp_state import NOT_BELIEVED, State
from translator.static.rfc6052 import extract, in_pool6
from translator.tables import NONE
from translator.verdict import Event

# Columns of Tables.windows, of segments from IPv4; from IPv6 they are one further on. Sequence numbers + 1, 0: unknown.
SENT, ACKNOWLEDGED = 0, 2


@jit()
def doubt(settings, tables, now, p, view, t, flags):
    """The flags of a RST, with NOT_BELIEVED if its sequence number is not between what the other side has acknowledged
    and what its own has sent."""
    acquire(tables.lock)
    session, side = find_session(settings, tables, now, t), side_of(t)
    if session != NONE:
        number = u32(p, view.l4 + TCP_SEQUENCE_AT)
        sent, acknowledged = tables.windows[session, SENT + side], tables.windows[session, ACKNOWLEDGED + side]
        within = sent == 0 or reaches(sent - 1, number)
        if not (within and (acknowledged == 0 or reaches(number, acknowledged - 1))):
            flags |= NOT_BELIEVED
            tables.events[Event.RST_IGNORED] += 1
    release(tables.lock)
    return flags


@jit()
def watch(settings, tables, now, p, view, t, flags):
    """Note the numbers of a segment of tuple `t` that has passed; those of a RST, which anybody may have sent, are not
    noted."""
    acquire(tables.lock)
    session = find_session(settings, tables, now, t)
    if session != NONE:
        state = tables.sessions[session].state
        if state == State.TRANS or state == State.V4_FIN_V6_FIN_RCV:
            tables.windows[session] = 0  # what comes after is another connection
        elif flags & TCP_RST == 0:
            opening = state == State.V4_INIT or state == State.V6_INIT
            note_segment(tables, session, side_of(t), p, view, flags, opening)
    release(tables.lock)


@jit()
def note_segment(tables, session, side, p, view, flags, opening):
    """The last number of a segment, SYN and FIN counted as one each (RFC 9293 section 3.4), and what it
    acknowledges."""
    length = view.payload - tcp_header_length(p, view.l4)
    length += (1 if flags & TCP_SYN else 0) + (1 if flags & TCP_FIN else 0)
    anew = opening and flags & TCP_SYN != 0
    note(tables, session, SENT + side, u32(p, view.l4 + TCP_SEQUENCE_AT) + length, anew)
    if view.more_fragments:  # nobody knows yet how long the segment is
        tables.windows[session, SENT + side] = 0
    if flags & TCP_ACK:
        note(tables, session, ACKNOWLEDGED + 1 - side, u32(p, view.l4 + TCP_ACKNOWLEDGMENT_AT), False)


@jit()
def note(tables, session, column, number, anew):
    """Raise a number, modulo 2^32; `anew`: whatever it was."""
    known = tables.windows[session, column]
    if known == 0 or anew or reaches(number, known - 1):
        tables.windows[session, column] = (number & 0xFFFFFFFF) + 1


@jit()
def reaches(a, b):
    """RFC 9293 section 3.4: whether a >= b, modulo 2^32."""
    return (a - b) & 0xFFFFFFFF < 0x80000000


@jit()
def side_of(t):
    """0 from IPv4, 1 from IPv6."""
    return 1 if t.family == 6 else 0


@jit()
def find_session(settings, tables, now, t):
    """The living session of a tuple of either family, or NONE."""
    if t.family == 4:
        return find_session4(settings, tables, now, t)
    if not in_pool6(settings, t.dst_hi, t.dst_lo):
        return NONE
    return find_session6(settings, tables, now, t, extract(settings.pool6_row, t.dst_hi, t.dst_lo))
