"""Short slices of the tables for the control plane, copied under the lock."""

from translator.jit.compile import jit
from translator.jit.lock import acquire, release
from translator.tables.slots import bibs_in_use, in_use
from translator.tables.tables import NEVER_USED, SESSIONS


@jit()
def copy_live(tables, kind, rows, start, out, places):
    """Copy the living records of rows[start:] to `out`, and their numbers to `places` (int64[len(out)]): (where to go
    on, how many, whether there are more).

    It looks at eight times as many records as `out` holds, no more: the lock is held briefly also where few are alive.
    """
    acquire(tables.lock)
    last = min(tables.free[kind, NEVER_USED], start + 8 * len(out))
    count = 0
    while start < last and count < len(out):
        if rows[start].live != 0:
            out[count] = rows[start]
            places[count] = start
            count += 1
        start += 1
    more = start < tables.free[kind, NEVER_USED]
    release(tables.lock)
    return start, count, more


@jit()
def usage(tables):
    """(sessions, BIB entries) in use."""
    return in_use(tables, SESSIONS), bibs_in_use(tables)
