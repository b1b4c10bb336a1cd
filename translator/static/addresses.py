"""Which IPv4 hosts packets may go to and come from: unicast, not denied, and global under the well-known prefix."""

import numpy as np

from translator.jit.compile import hot, jit
from translator.packet.addresses import is_link_local4, is_unicast
from translator.static.blocks import NON_GLOBAL4, WELL_KNOWN
from translator.static.rfc6052 import HI, LO
from translator.tables.ranges import within
from translator.verdict import Verdict

WELL_KNOWN_HI = int(WELL_KNOWN[0]) >> 64
NON_GLOBAL = np.array(sorted((int(block[0]), int(block[-1])) for block in NON_GLOBAL4))


@hot()
def is_forwardable(gateway, family, address):
    """Whether packets from and to an address are forwarded at all: RFC 6890, RFC 1812 section 5.3.7, RFC 3927 section
    2.7. Link-local IPv4 addresses may be in pool4: those are ours."""
    if not is_unicast(family, address):
        return False
    return not is_link_local4(family, address) or within(gateway.settings.ranges4, address.lo)


@jit()
def may_reach(gateway, host4, embedded):
    """CONTINUE, or why no packet goes to or comes from this IPv4 host; `embedded`: it is written under its
    prefix."""
    if not is_forwardable(gateway, 4, host4):
        return Verdict.NOT_UNICAST
    if embedded and not is_allowed4(gateway, host4):
        return Verdict.NON_GLOBAL_ADDRESS
    if within(gateway.settings.denylist4, host4.lo):
        return Verdict.DENIED_ADDRESS
    return Verdict.CONTINUE


@jit()
def is_allowed4(gateway, host4):
    """Whether an IPv4 host may be written under its prefix; our own addresses always may."""
    settings, prefixes = gateway.settings, gateway.settings.prefixes
    is_well_known = prefixes[host4.hi, HI] == WELL_KNOWN_HI and prefixes[host4.hi, LO] == 0
    if not settings.strict_well_known_prefix or not is_well_known:
        return True
    return not within(NON_GLOBAL, host4.lo) or within(settings.ranges4, host4.lo)
