"""RFC 7857 section 2, RFC 5961: which RST of a TCP session is believed; an option, check_rst.

Who does not see a connection can send a RST with a sequence number by guess only. So the numbers of the segments that
pass are kept, two for each direction, and a RST outside of them moves no session. They lie apart from the sessions: as
long as the option is off, nothing touches them.
"""

from translator.jit.compile import jit, rare
from translator.jit.lock import acquire, release
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
from translator.session.clients6 import as_flow4, find_client, peer_of, vip_of
from translator.session.sessions import find_session4, find_session6
from translator.session.tcp_state import NOT_BELIEVED, State
from translator.static.rfc6052 import from_prefix, in_prefix
from translator.tables.handles import CLIENTS, is_handle
from translator.tables.layout import NONE
from translator.verdict import Event

# Columns of Tables.windows, of segments from IPv4; from IPv6 they are one further on. Sequence numbers + 1, 0: unknown.
SENT, ACKNOWLEDGED = 0, 2


@rare()
def judge_rst(gateway, now, p, view, t, flags):
    """The flags of a RST of tuple `t`, with NOT_BELIEVED if its sequence number is not between what the other side has
    acknowledged and what its own has sent."""
    tables = gateway.tables
    acquire(tables.lock)
    session, side = find_session(gateway, now, t), side_of(gateway, t)
    if session != NONE:
        number = u32(p, view.l4 + TCP_SEQUENCE_AT)
        sent, acknowledged = tables.windows[session, SENT + side], tables.windows[session, ACKNOWLEDGED + side]
        within = sent == 0 or reaches(sent - 1, number)
        if not (within and (acknowledged == 0 or reaches(number, acknowledged - 1))):
            flags |= NOT_BELIEVED
            tables.events[Event.RST_IGNORED] += 1
    release(tables.lock)
    return flags


@rare()
def note_segment(gateway, now, p, packet, t):
    """Note the numbers of a segment that has passed as tuple `t`; those of a RST, which anybody may have sent, are not
    noted."""
    tables = gateway.tables
    acquire(tables.lock)
    session = find_session(gateway, now, t)
    if session != NONE:
        state = tables.sessions[session].state
        if state == State.TRANS or state == State.V4_FIN_V6_FIN_RCV:
            tables.windows[session] = 0  # what comes after is another connection
        elif packet.flags & TCP_RST == 0:
            raise_numbers(tables, session, side_of(gateway, t), p, packet)
    release(tables.lock)


@jit()
def raise_numbers(tables, session, side, p, packet):
    """The last number of a segment, SYN and FIN counted as one each (RFC 9293 section 3.4), and what it
    acknowledges."""
    view, flags, state = packet.parsed, packet.flags, tables.sessions[session].state
    length = view.payload - tcp_header_length(p, view.l4)
    length += (1 if flags & TCP_SYN else 0) + (1 if flags & TCP_FIN else 0)
    restarts = (state == State.V4_INIT or state == State.V6_INIT) and flags & TCP_SYN != 0
    raise_number(tables, session, SENT + side, u32(p, view.l4 + TCP_SEQUENCE_AT) + length, restarts)
    if view.more_fragments:  # how long the segment is shows only at its last fragment
        tables.windows[session, SENT + side] = 0
    if flags & TCP_ACK:
        raise_number(tables, session, ACKNOWLEDGED + 1 - side, u32(p, view.l4 + TCP_ACKNOWLEDGMENT_AT), False)


@jit()
def raise_number(tables, session, column, number, restarts):
    """Raise a number, modulo 2^32; `restarts`: set it, whatever it was."""
    known = tables.windows[session, column]
    if known == 0 or restarts or reaches(number, known - 1):
        tables.windows[session, column] = (number & 0xFFFFFFFF) + 1


@jit()
def reaches(a, b):
    """RFC 9293 section 3.4: whether a >= b, modulo 2^32."""
    return (a - b) & 0xFFFFFFFF < 0x80000000


@jit()
def side_of(gateway, t):
    """0 from IPv4 and from an IPv6 client of a service, 1 from a host behind us."""
    return 1 if t.family == 6 and vip_of(gateway, t.dst) == NONE else 0


@jit()
def find_session(gateway, now, t):
    """The living session of a tuple of either family, or NONE."""
    if t.family == 4:
        return find_session4(gateway, now, t)
    if not in_prefix(gateway, t.dst):
        return find_session_front6(gateway, now, t)
    return find_session6(gateway, now, t, from_prefix(gateway, t.dst))


@jit()
def find_session_front6(gateway, now, t):
    """The same for a tuple of an IPv6 client of a service, or of its endpoint."""
    vip = vip_of(gateway, t.dst)
    if vip != NONE:
        client = find_client(gateway, t.src)
        return find_session4(gateway, now, as_flow4(t, CLIENTS + client, vip)) if client != NONE else NONE
    peer = peer_of(gateway, t)
    return find_session6(gateway, now, t, peer) if is_handle(peer.lo) else NONE
