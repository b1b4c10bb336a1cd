"""Handles: numbers of 240.0.0.0/4, which no packet can carry, that stand for IPv6 addresses in place of IPv4 ones.

So a flow of an IPv6 client has a session as any other: its host4 is the handle of the client, its mapped4 that of the
address of the service. Handles become addresses again where packets are written, listed, or explained.

    240.0.0.0 + n    a client, row n of Tables.clients6 (session/clients6.py)
    248.0.0.0 + n    an address of a service, row n of Tables.vips6, which the address says by itself: it is the same
                     one after a restart
"""

from translator.jit.compile import int64, jit
from translator.tables.hashing import hash3
from translator.tables.layout import NONE

CLIENTS, VIPS, NUMBER = 0xF0000000, 0xF8000000, 0x07FFFFFF  # first handle of each kind, and the bits of a row
OFF, DNAT, FULLNAT = range(3)  # Settings.front6
FRONT6 = -2  # instead of the number of a client prefix: that of fronts, members and sessions of IPv6 clients
AS_ADDRESS = 6  # what makes a hash that of an address alone


@jit()
def is_handle(addr4):
    """Whether what stands as an IPv4 address is a handle."""
    return addr4 >= CLIENTS


@jit()
def hashed_address(gateway, hi, lo):
    """31 bits that stand for an IPv6 address, on every gateway the same."""
    return hash3(gateway.settings.seed, hi, lo, AS_ADDRESS)


@jit()
def vip_row(gateway, hi, lo):
    """The row of Tables.vips6 that has an address, or the one that it would have. There are rows without one."""
    vips = gateway.tables.vips6
    at = hashed_address(gateway, hi, lo) & (len(vips) - 1)
    while (vips[at, 0] != 0 or vips[at, 1] != 0) and (vips[at, 0] != hi or vips[at, 1] != lo):
        at = (at + 1) & (len(vips) - 1)
    return at


@jit()
def find_vip6(gateway, hi, lo):
    """The handle of an IPv6 address of a service, NONE if it is none."""
    vips = gateway.tables.vips6
    if len(vips) == 0:
        return int64(NONE)
    at = vip_row(gateway, hi, lo)
    return int64(VIPS + at) if vips[at, 0] == hi and vips[at, 1] == lo else int64(NONE)


@jit()
def words_of(tables, handle):
    """The two words of the IPv6 address that a handle stands for; 0 for what is no row of these tables."""
    at = handle & NUMBER
    if at >= (len(tables.vips6) if handle >= VIPS else len(tables.clients6)):
        return int64(0), int64(0)
    if handle >= VIPS:
        return int64(tables.vips6[at, 0]), int64(tables.vips6[at, 1])
    row = tables.clients6[at]
    return int64(row.hi), int64(row.lo)
