"""Protocols other than TCP, UDP and ICMP, as an option: `[[pool4]] protocols` names "other".

RFC 6146 section 1.2 leaves them out, for without ports hosts that share an address cannot be told apart. So they do not
share: of each protocol, one host6 has a pool address, for as long as it has sessions.
"""

from translator.jit.compile import int64, jit, rare
from translator.packet.addresses import address4
from translator.session.bib import find_bib4
from translator.session.pool4 import group_of, rows_for, rows_of
from translator.session.sessions import living_bib
from translator.tables.layout import NONE

# LIMITS
OTHER_WALK = 64  # pool addresses that are looked at for a free one


@rare()
def allocate_address(gateway, now, t, paired4):
    """As pool4.allocate for a protocol without ports; the port is 0."""
    settings = gateway.settings
    g = group_of(settings, t.src)
    if g == NONE:
        return int64(NONE), int64(NONE)
    served, port = free_address(gateway, now, t.protocol, rows_of(settings, g, paired4), int64(0))
    if port == NONE and (served == NONE or settings.strict_pairing == 0):
        others, port = free_address(gateway, now, t.protocol, rows_for(settings, g, t), paired4)
        served = others if others != NONE else served
    return served, port


@jit()
def free_address(gateway, now, protocol, rows, without):
    """(row, 0) of the first address of some Rows that no host has for a protocol, and that is not `without`; else (a
    row that serves it or NONE, NONE)."""
    settings, served, count = gateway.settings, int64(NONE), rows.last - rows.first + 1
    for step in range(min(count, OTHER_WALK)):
        at = rows.first + (rows.begin - rows.first + step) % count
        row = settings.pool[at]
        if row.other != 0 and row.address != without:
            served = at
            taken = find_bib4(gateway, protocol, address4(row.address, 0))
            if living_bib(gateway, now, taken) == NONE:
                return at, int64(0)
    return served, int64(NONE)
