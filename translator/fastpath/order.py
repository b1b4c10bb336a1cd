"""Packets of a flow stay in order where the daemon has some of them: none is taken before it has written those.

The program notes of each direction of a session when it left a packet to the daemon last; the workers of the daemon say
until when they have written all that was queued for them (nat64d/dataplane/drained.py).
"""

from translator.fastpath import kernel
from translator.fastpath.reasons import Reason
from translator.jit.bpf import le64, put32, put64, stack, swap
from translator.jit.compile import int64, jit

# LIMITS
UNIT, TICK = 12, 14  # bits of nanoseconds in a unit (4 us); bits of units in a tick (67 ms)
LAST, FIRST = 20, 12  # bits of the units of one time, and of the ticks of another; both begin anew after all of them
MARGIN = 256  # units that a packet may take from the look at the clock into the queue: us, but for a stolen processor
LONGEST = 15  # ticks that a flow waits for the moment at which it cannot overtake
MOST_QUEUES = 256  # of a device
HASH, LEFT = 0x7FFFFFFF, -1 << 63  # 31 bits; a flow has left the daemon


@jit()
def precise(moment):
    """Units of CLOCK_MONOTONIC: the other clock is a tick of the kernel late."""
    return (moment * 1000000 if kernel.clock_in_mark() != 0 else kernel.clock()) >> UNIT


@jit()
def is_drained(units):
    """Whether the workers of all queues have written what was queued before a moment; which queue a flow has, only the
    device knows."""
    key, behind, moment = stack(8), int64(0), units << UNIT
    for queue in range(MOST_QUEUES):
        if queue >= kernel.queues():
            break
        put32(key, queue)
        row = kernel.lookup(kernel.drained(), key)
        if row == 0:
            return False
        behind |= le64(row) - moment
    return behind >= 0


@jit()
def in_order(found, direction, moment, reason):
    """The reason to leave a packet of a session to the daemon, or YOUNG where there is none but what the daemon still
    has of this direction.

    At another interface (`kernel.device`) nothing is noted: what is not taken there comes by the device.

    A flow that always has some there is taken after LONGEST where that is least: as soon as the queues were empty after
    its last packet, MARGIN or not, and after LONGEST once more in any case.

    `since` has the hash the session was seen under, as a record may be another one's by now; then the tick of the
    first packet that was left to the daemon as it could overtake, or of one before, which could not be taken; and the
    unit of the last one; or, negative, that the daemon has none any more.
    """
    at = found.since + 8 * direction
    seen = le64(at)
    is_same, has_left = seen >> 32 & HASH == found.hashed, seen < 0
    if kernel.device() != 0 and reason == Reason.SIX_TO_FOUR:
        return reason if is_same and has_left else Reason.YOUNG
    if kernel.device() != 0 or (reason == Reason.SIX_TO_FOUR and ((is_same and has_left) or kernel.queues() == 0)):
        return reason
    now = precise(moment)
    first, tick = seen >> LAST & (1 << FIRST) - 1, now >> TICK & (1 << FIRST) - 1
    if reason == Reason.SIX_TO_FOUR and is_same:
        age, last = tick - first & (1 << FIRST) - 1, now - (now - seen & (1 << LAST) - 1)
        if age >= 2 * LONGEST or is_drained(last + 1 + (MARGIN if age < LONGEST else 0)):
            if swap(at, seen, LEFT | found.hashed << 32) == seen:
                return reason
        tick = first
    put64(at, found.hashed << 32 | tick << LAST | now & (1 << LAST) - 1)
    return Reason.YOUNG if reason == Reason.SIX_TO_FOUR else reason
