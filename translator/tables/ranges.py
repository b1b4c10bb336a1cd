"""Sorted ranges of IPv4 addresses."""

from translator.jit.compile import jit


@jit()
def within(ranges, addr4):
    """Whether an IPv4 address is in one of the ranges int64[n, 2] (first, last): sorted, apart from one another."""
    low, high = 0, len(ranges)  # the last range that does not begin behind it is in [low, high)
    while high - low > 1:
        middle = (low + high) // 2
        if ranges[middle, 0] <= addr4:
            low = middle
        else:
            high = middle
    return high > 0 and ranges[low, 0] <= addr4 <= ranges[low, 1]
