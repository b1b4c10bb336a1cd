"""RFC 6146 section 4: how long a session lives, and a timer wheel that finds the dead in O(1).

A packet only writes its session's `expires`. The session stays in the bucket (one second wide) it was put into; when
that second is over it is ended or, having been used since, put into the bucket of its new time. So expiry is exact to a
second, whatever the mix of timeouts, and each session is touched at most once per timeout however busy it is.
"""

from enum import IntEnum

from translator.jit.compile import jit
from translator.tables.layout import NONE, WHEEL


class Timeout(IntEnum):
    """Rows of Settings.timeouts, by their names in section 4.

    RFC 7857 section 2.1 takes two from TCP_TRANS: TCP_OPENING until the SYN of the other side, TCP_CLOSING after the
    FIN of both. What is left to TCP_TRANS is the time after a RST, and after TCP_EST.
    """

    UDP_DEFAULT = 0
    TCP_EST = 1
    TCP_TRANS = 2
    TCP_INCOMING_SYN = 3
    ICMP_DEFAULT = 4
    FRAGMENT_MIN = 5
    TCP_OPENING = 6
    TCP_CLOSING = 7
    SERVICE_SYN = 8  # of a service: until its endpoint answers
    SERVICE_UDP = 9
    KEEP = 10  # no row: leave the lifetime as it is


@jit()
def schedule(tables, session, now):
    """Put a session into the bucket of the second after its `expires`."""
    if tables.wheel_at[0] == NONE:
        tables.wheel_at[0] = now // 1000
    at = tables.wheel_at[0]
    second = min(max(tables.sessions[session].expires // 1000 + 1, at + 1), at + WHEEL - 1)
    bucket = second & (WHEEL - 1)
    older = tables.wheel[bucket]
    tables.links[session].bucket = bucket
    tables.links[session].older = older
    tables.links[session].newer = NONE
    if older != NONE:
        tables.links[older].newer = session
    tables.wheel[bucket] = session


@jit()
def unschedule(tables, session):
    """Take a session out of its bucket."""
    older, newer = tables.links[session].older, tables.links[session].newer
    if older != NONE:
        tables.links[older].newer = newer
    if newer != NONE:
        tables.links[newer].older = older
    else:
        tables.wheel[tables.links[session].bucket] = older
