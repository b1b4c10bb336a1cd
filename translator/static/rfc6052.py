"""RFC 6052 section 2.2: IPv4-embedded IPv6 addresses, six prefix lengths.

PL  0-------------32--40--48--56--64--72--80--88--96--104---------|
32     prefix    |v4(32)         | u | suffix                     |
40     prefix        |v4(24)     | u |(8)| suffix                 |
48     prefix            |v4(16) | u | (16)  | suffix             |
56     prefix                |(8)| u |  v4(24)   | suffix         |
64     prefix                    | u |   v4(32)      | suffix     |
96     prefix                                    |    v4(32)      |
"""

import numpy as np

from translator.compile import int64, jit
from translator.tables import NONE

LENGTHS = (32, 40, 48, 56, 64, 96)
# Which octets of the IPv6 address carry the four of the IPv4 address. Octet 8 ("u") is never used.
OCTETS = np.array([(4, 5, 6, 7), (5, 6, 7, 9), (6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15)])

_MASK = [((1 << 128) - (1 << (128 - length))) for length in LENGTHS]


def _signed(word: int) -> int:
    """64 bits as an int64."""
    return word - (word >> 63 << 64)


PREFIX_HI = np.array([_signed(mask >> 64) for mask in _MASK])
PREFIX_LO = np.array([_signed(mask & (1 << 64) - 1) for mask in _MASK])


@jit()
def matches(pool6_hi, pool6_lo, row, hi, lo):
    """Whether an address is in the prefix."""
    return (hi ^ pool6_hi) & PREFIX_HI[row] == 0 and (lo ^ pool6_lo) & PREFIX_LO[row] == 0


@jit()
def embed(pool6_hi, pool6_lo, row, addr4):
    """The IPv6 address of an IPv4 address; suffix and u octet are zero."""
    hi, lo = int64(pool6_hi), int64(pool6_lo)
    for k in range(4):
        octet = int64(addr4) >> (24 - 8 * k) & 0xFF
        at = OCTETS[row, k]
        if at < 8:
            hi |= octet << (56 - 8 * at)
        else:
            lo |= octet << (120 - 8 * at)
    return hi, lo


@jit()
def in_pool6(settings, hi, lo):
    """Whether an address is IPv4-embedded under the configured prefix."""
    if settings.pool6_row == NONE:
        return False
    return matches(settings.pool6_hi, settings.pool6_lo, settings.pool6_row, hi, lo)


@jit()
def to_pool6(settings, addr4):
    """The IPv6 address of an IPv4 address under the configured prefix."""
    return embed(settings.pool6_hi, settings.pool6_lo, settings.pool6_row, addr4)


@jit()
def extract(row, hi, lo):
    """The IPv4 address in an IPv6 address; u octet and suffix are ignored (section 2.2: SHOULD)."""
    addr4 = int64(0)
    for k in range(4):
        at = OCTETS[row, k]
        word = hi >> (56 - 8 * at) if at < 8 else lo >> (120 - 8 * at)
        addr4 = addr4 << 8 | word & 0xFF
    return addr4
