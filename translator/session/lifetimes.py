"""How long a session lives without another packet (RFC 6146 section 4)."""

from translator.jit.compile import jit
from translator.packet.fields import ICMP, TCP
from translator.session.tcp_state import State
from translator.tables.layout import OF_SERVICE
from translator.tables.slots import in_use
from translator.tables.tables import SESSIONS
from translator.tables.wheel import Timeout

# LIMITS
SHORTEST = 30_000  # milliseconds: what is unanswered lives in a full table; Linux gives UDP no more at any time


@jit()
def end_of(settings, row):
    """When a session is over for good: an established one lasts TCP_TRANS longer than its time."""
    return row.expires + (settings.timeouts[Timeout.TCP_TRANS] if row.state == State.ESTABLISHED else 0)


@jit()
def first_timeout(row):
    """How long a session lives without another packet when it is opened, or at any time if it is not TCP's."""
    if row.protocol == TCP:
        return first_timeout_of_tcp(row)
    if row.inbound >= OF_SERVICE:
        return Timeout.SERVICE_UDP
    return Timeout.ICMP_DEFAULT if row.protocol == ICMP else Timeout.UDP_DEFAULT


@jit()
def first_timeout_of_tcp(row):
    """How long a connection lives without another packet when its session is opened."""
    if row.inbound < OF_SERVICE:
        return Timeout.TCP_OPENING
    return Timeout.SERVICE_SYN if row.state == State.V4_INIT else Timeout.TCP_TRANS


@jit()
def lifetime(gateway, timer, state):
    """Milliseconds that a Timeout is now. For a session that only one side has sent to, it shrinks once the table is
    more than half full, in proportion, to SHORTEST when it is full.

    Deviates from RFC 4787 REQ-5 (a UDP mapping lives two minutes) and RFC 7857 section 2.1 (a connection has four to
    open): a flood consists of such sessions, and would keep others from opening any.
    """
    full, tables = gateway.settings.timeouts[timer], gateway.tables
    over, half = in_use(tables, SESSIONS) - len(tables.sessions) // 2, (len(tables.sessions) + 1) // 2
    if over <= 0 or full <= SHORTEST or not is_unanswered(state):
        return full
    return full - (full - SHORTEST) * over // half


@jit()
def is_unanswered(state):
    """Whether a session in this state has seen packets of one side only."""
    return state == State.V6_INIT or state == State.V4_INIT
