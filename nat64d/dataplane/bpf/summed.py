"""What the program has counted, as the workers of the daemon count."""

from typing import NamedTuple

import numpy as np

from translator.verdict import Direction, Verdict

PACKETS, OCTETS, SUPERFRAMES = range(3)  # columns of the program's counters
SHAPE = len(Direction), max(Verdict) + 1


class Summed(NamedTuple):
    """As Worker.counters and Worker.octets; super-frames among them."""

    counters: np.ndarray
    octets: np.ndarray
    superframes: int


NOTHING = Summed(np.zeros(SHAPE, np.int64), np.zeros(SHAPE, np.int64), 0)


def summed(counted: np.ndarray) -> Summed:
    """From int64[Reason, 3]; the first two rows are packets translated to IPv4 and to IPv6."""
    counters, octets = np.zeros(SHAPE, np.int64), np.zeros(SHAPE, np.int64)
    for row, direction in enumerate((Direction.SIX_TO_FOUR, Direction.FOUR_TO_SIX)):
        counters[direction, Verdict.TRANSLATED] = counted[row, PACKETS]
        octets[direction, Verdict.TRANSLATED] = counted[row, OCTETS]
    return Summed(counters, octets, int(counted[:2, SUPERFRAMES].sum()))
