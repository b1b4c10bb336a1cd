"""RFC 7422: the block of ports of a subscriber follows from its prefix, so that nothing has to be logged.

The subscribers of the source prefix of a group are numbered from 0 on. Each pool row of the group has the blocks of
`computed` of them, in this order from its first port on; the blocks behind them are handed out like others
(port_blocks.py) to subscribers whose own one is full.

    number of the subscriber     0     1    ..  C-1    C    C+1  ..
    pool row of the group        0     0          0    1     1
    block of the row             0     1        C-1    0     1
"""

from translator.jit.compile import int64, jit
from translator.tables.layout import NONE


@jit()
def number_of_subscriber(settings, group, host6):
    """Which of the subscribers of a group's source prefix a host6 belongs to. There are less than 2^31."""
    length, subscriber = int64(group.length), int64(settings.subscriber)
    high, low = host6.hi ^ int64(group.hi), host6.lo ^ int64(group.lo)  # no bits of the source prefix are left
    if subscriber <= 64:
        return high >> (64 - subscriber)
    number = low >> (128 - subscriber) & ((int64(1) << min(subscriber - 64, 62)) - 1)
    return number | high << (subscriber - 64) if length < 64 else number


@jit()
def computed_block(settings, g, host6):
    """(pool row, first port) of the block that is computed for a host6 of group `g`; row NONE: none is."""
    group = settings.groups[g]
    if group.computed == 0:
        return int64(NONE), int64(NONE)
    number = number_of_subscriber(settings, group, host6)
    row = int64(group.first) + number // group.computed
    return row, int64(settings.pool[row].port_first) + number % group.computed * settings.port_block
