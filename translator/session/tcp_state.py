"""RFC 6146 section 3.5.2.2: the TCP state machine, whole, as one table. CLOSED is the absence of a session.

A state and event that are not listed change nothing: the packet is translated, the lifetime runs on. RFC 7857 changes
two things: connections that open and close have timeouts of their own (section 2.1), and the RST of a host6 does not
lengthen the life of a connection that one side has closed (section 7.1).
"""

from enum import IntEnum

import numpy as np

from translator.jit.compile import int64, jit
from translator.packet.fields import TCP_FIN, TCP_RST, TCP_SYN
from translator.tables.wheel import Timeout


class State(IntEnum):
    """States of a TCP session; a session of another protocol stays in NONE."""

    NONE = 0
    V4_INIT = 1
    V6_INIT = 2
    ESTABLISHED = 3
    V4_FIN_RCV = 4
    V6_FIN_RCV = 5
    V4_FIN_V6_FIN_RCV = 6
    TRANS = 7


class TcpEvent(IntEnum):
    """What a TCP segment means to the state machine, by the family it came in."""

    V4_SYN = 0
    V6_SYN = 1
    V4_FIN = 2
    V6_FIN = 3
    V4_RST = 4
    V6_RST = 5
    V4_REST = 6
    V6_REST = 7
    IGNORED = 8  # a RST that is not believed: it changes nothing


NOT_BELIEVED = 0x100  # beside the eight flags of a segment
_RST = (TcpEvent.V4_RST, TcpEvent.V6_RST)
_ANY = tuple(event for event in TcpEvent if event != TcpEvent.IGNORED)

# Later rows overrule earlier ones.
#    state                    event              next state                 timer
RULES = (
    # Of a service only (sessions.touch_unanswered).
    (State.V4_INIT, (TcpEvent.V4_REST, TcpEvent.V4_FIN), State.V4_INIT, Timeout.TCP_OPENING),
    (State.V4_INIT, (TcpEvent.V6_SYN,), State.ESTABLISHED, Timeout.TCP_EST),
    (State.V6_INIT, (TcpEvent.V6_SYN,), State.V6_INIT, Timeout.TCP_OPENING),
    (State.V6_INIT, (TcpEvent.V4_SYN,), State.ESTABLISHED, Timeout.TCP_EST),
    (State.ESTABLISHED, _ANY, State.ESTABLISHED, Timeout.TCP_EST),
    (State.ESTABLISHED, (TcpEvent.V4_FIN,), State.V4_FIN_RCV, Timeout.KEEP),
    (State.ESTABLISHED, (TcpEvent.V6_FIN,), State.V6_FIN_RCV, Timeout.KEEP),
    (State.ESTABLISHED, _RST, State.TRANS, Timeout.TCP_TRANS),
    (State.V4_FIN_RCV, _ANY, State.V4_FIN_RCV, Timeout.TCP_EST),
    (State.V4_FIN_RCV, (TcpEvent.V6_RST,), State.V4_FIN_RCV, Timeout.KEEP),
    (State.V4_FIN_RCV, (TcpEvent.V6_FIN,), State.V4_FIN_V6_FIN_RCV, Timeout.TCP_CLOSING),
    (State.V6_FIN_RCV, _ANY, State.V6_FIN_RCV, Timeout.TCP_EST),
    (State.V6_FIN_RCV, (TcpEvent.V6_RST,), State.V6_FIN_RCV, Timeout.KEEP),
    (State.V6_FIN_RCV, (TcpEvent.V4_FIN,), State.V4_FIN_V6_FIN_RCV, Timeout.TCP_CLOSING),
    (State.TRANS, _ANY, State.ESTABLISHED, Timeout.TCP_EST),
    (State.TRANS, _RST, State.TRANS, Timeout.KEEP),
)

# With rst_during_fin these as well: the end that has sent its FIN may be gone when the other one resets.
RULES_DURING_FIN = (
    (State.V4_FIN_RCV, _RST, State.TRANS, Timeout.TCP_TRANS),
    (State.V6_FIN_RCV, _RST, State.TRANS, Timeout.TCP_TRANS),
)

# Next state and timer: [rst_during_fin, state, event].
NEXT_STATE = np.tile(np.arange(len(State))[:, None], (2, 1, len(TcpEvent)))
TIMER = np.full_like(NEXT_STATE, Timeout.KEEP)
for _option, _rules in enumerate((RULES, RULES + RULES_DURING_FIN)):
    for _state, _events, _next, _timer in _rules:
        for _event in _events:
            NEXT_STATE[_option, _state, _event], TIMER[_option, _state, _event] = _next, _timer


@jit()
def event_of(family, flags):
    """The event of a segment with these flags. RST outranks SYN outranks FIN, as in the receivers (RFC 9293 section
    3.10.7)."""
    from6 = 1 if family == 6 else 0
    if flags & TCP_RST:
        return TcpEvent.V4_RST + from6 if flags & NOT_BELIEVED == 0 else int64(TcpEvent.IGNORED)
    if flags & TCP_SYN:
        return TcpEvent.V4_SYN + from6
    if flags & TCP_FIN:
        return TcpEvent.V4_FIN + from6
    return TcpEvent.V4_REST + from6
