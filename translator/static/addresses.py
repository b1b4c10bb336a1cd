"""Which addresses may be translated at all: unicast, not denied, and global under the well-known prefix."""

import numpy as np

from translator.compile import int64, jit
from translator.verdict import Verdict

# 64:ff9b::/96 (RFC 6052 section 2.1)
WELL_KNOWN_HI = 0x0064FF9B << 32


def _prefix(text: str) -> tuple[int, int]:
    """First and last address of an IPv4 prefix."""
    address, length = text.split("/")
    a, b, c, d = (int(part) for part in address.split("."))
    first = a << 24 | b << 16 | c << 8 | d
    return first, first + (1 << 32 - int(length)) - 1


# RFC 6052 section 3.1: not to be written under the well-known prefix (RFC 1918 and RFC 6890's non-global blocks). The
# documentation blocks are let through: no network has them, and RFC 6052 section 2.4 writes one so itself.
NON_GLOBAL = np.array(
    [
        _prefix(block)
        for block in (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
        )
    ]
)


@jit()
def within(ranges, addr4):
    """Whether an IPv4 address is in one of the ranges int64[n, 2] (first, last)."""
    for i in range(len(ranges)):
        if ranges[i, 0] <= addr4 <= ranges[i, 1]:
            return True
    return False


@jit()
def is_unicast(family, hi, lo):
    """Whether a host can have this address: not multicast, unspecified, loopback, link-local (IPv6) or reserved
    (IPv4)."""
    if family == 4:
        net = lo >> 24  # RFC 1122 section 3.2.1.3
        return net != 0 and net != 127 and net < 224
    top = hi >> 48 & 0xFFFF
    return not (top >> 8 == 0xFF or top & 0xFFC0 == 0xFE80 or (hi == 0 and int64(0) <= lo <= 1))


@jit()
def may_reach(settings, host4, embedded):
    """CONTINUE, or why no packet goes to or comes from this IPv4 host; `embedded`: it is written under pool6."""
    if not is_unicast(4, 0, host4):
        return Verdict.NOT_UNICAST
    if embedded and not is_allowed4(settings, host4):
        return Verdict.NON_GLOBAL_ADDRESS
    if within(settings.denylist4, host4):
        return Verdict.DENIED_ADDRESS
    return Verdict.CONTINUE


@jit()
def is_allowed4(settings, addr4):
    """Whether an IPv4 host may be written under pool6; our own addresses always may."""
    if not settings.strict_well_known_prefix or settings.pool6_hi != WELL_KNOWN_HI or settings.pool6_lo != 0:
        return True
    return not within(NON_GLOBAL, addr4) or within(settings.ranges4, addr4)
