"""Which member of a service a flow goes to: the one with the highest score (rendezvous hashing, Thaler and Ravishankar
1998), so that every gateway chooses the same one, and none moves a flow when another member comes or goes.

All in integers, as a rounding that differs between two processors would move flows. A member of weight w wins w times
as often as one of weight 1: -log2(score) / w is least (Efraimidis and Spirakis, 2006).
"""

import numpy as np

from translator.jit.compile import int64, jit
from translator.tables.hashing import hash3

SCORE_BITS = 31
ROWS, UNIT_BITS = 256, 24  # of LOG2, and of its values: 2^24 is 1


def _log2(row: int) -> int:
    """log2(1 + row / ROWS) in units of 2^-24, rounded down: squared, a number shows one digit of its logarithm more."""
    x, digits = ROWS + row << 56, 0
    for _ in range(UNIT_BITS):
        x = x * x >> 64
        digits <<= 1
        if x >> 65:
            x, digits = x >> 1, digits | 1
    return digits


LOG2 = np.array([*map(_log2, range(ROWS)), 1 << UNIT_BITS], np.int64)


@jit()
def flow_hash(seed, front, client):
    """What a flow from a transport address is to all members of a front; with affinity, what its address is."""
    if front.affinity != 0:
        return hash3(seed, client.lo, front.affinity, 0)
    return hash3(seed, client.lo, client.port << 32 | front.hashed, int64(front.port) << 16 | front.protocol)


@jit()
def member_key(seed, host6):
    """What an endpoint is to all flows."""
    return hash3(seed, host6.hi, host6.lo, host6.port)


@jit()
def score(flow, key):
    """31 bits of both: two rounds of multiply and xorshift."""
    x = (flow ^ int64(key)) & 0x7FFFFFFF
    x = (x ^ x >> 15) * 0x2C1B3C6D & 0x7FFFFFFF
    x = (x ^ x >> 12) * 0x297A2D39 & 0x7FFFFFFF
    return x ^ x >> 15


@jit()
def distance(score):
    """-log2((score + 1) / 2^31) in units of 2^-24."""
    x, power = score + 1, SCORE_BITS
    while x >> power == 0:
        power -= 1
    fraction = (x << SCORE_BITS - power) & 0x7FFFFFFF  # of 2^31
    row, rest = fraction >> 23, fraction & 0x7FFFFF
    log2 = (power << UNIT_BITS) + LOG2[row] + ((LOG2[row + 1] - LOG2[row]) * rest >> 23)
    return (SCORE_BITS << UNIT_BITS) - log2
