"""Protocols other than TCP, UDP and ICMP, as an option: `[[pool4]] protocols` names "other".

RFC 6146 section 1.2 leaves them out, for without ports hosts that share an address cannot be told apart. So they do not
share: of each protocol, one host6 has a pool address, for as long as it has sessions.
"""

from translator.compile import int64, jit
from translator.session.bib import find_bib4
from translator.session.pool4 import first_row, group_of, serves
from translator.session.sessions import living_bib
from translator.tables import NONE

# LIMITS
OTHER_WALK = 64  # pool addresses that are looked at for a free one


@jit()
def allocate_address(settings, tables, now, t, paired4):
    """As pool4.allocate for a protocol without ports; the port is 0."""
    g = group_of(settings, t.src_hi, t.src_lo)
    if g == NONE:
        return NONE, NONE
    group, begin = settings.groups[g], first_row(settings, g, t)
    served = NONE
    for turn in range(2):
        for step in range(min(group.count, OTHER_WALK)):
            at = group.first + (begin + step) % group.count
            row = settings.pool[at]
            if serves(row, t.protocol) and (row.address == paired4) == (turn == 0):
                served = at
                taken = find_bib4(settings, tables, t.protocol, row.address, 0)
                if living_bib(settings, tables, now, taken) == NONE:
                    return at, int64(0)
    return served, NONE
