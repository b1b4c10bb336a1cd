"""Sessions that an operator ends, a few at a time."""

from translator.jit.compile import int64, jit
from translator.jit.lock import acquire, release
from translator.session.log import Cause
from translator.session.sessions import end_session


@jit()
def end_those(gateway, now, rows, places):
    """End the sessions at `places` (int64[n]) that are those of which `rows` are copies; returns how many. One that has
    ended meanwhile is not missed, and one that has its place by now stays."""
    tables = gateway.tables
    ended = 0
    acquire(tables.lock)
    for at in range(len(rows)):
        session = places[at]
        if is_same(tables.sessions[session], rows[at]):
            tables.sessions[session].expires = min(tables.sessions[session].expires, now)  # its port waits from now on
            end_session(gateway, now, session, int64(Cause.FLUSHED))
            ended += 1
    release(tables.lock)
    return ended


@jit()
def is_same(row, copy):
    """Whether both are the same session, and it lives."""
    return (
        row.live != 0
        and row.protocol == copy.protocol
        and row.host6_hi == copy.host6_hi
        and row.host6_lo == copy.host6_lo
        and row.host6_port == copy.host6_port
        and row.mapped4 == copy.mapped4
        and row.mapped4_port == copy.mapped4_port
        and row.host4 == copy.host4
        and row.host4_port == copy.host4_port
    )
