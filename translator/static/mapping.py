"""Addresses that need no memory: an explicit mapping (RFC 7757) if there is one, else the prefix (RFC 6052).

`map_tuple` is step 2 of the pipeline: it finds both addresses, or says NO_MAPPING, and the packet is one for the
session tables.
"""

from translator.compile import hot, int64, jit
from translator.packet.tuples import tuple_of
from translator.static.addresses import may_reach
from translator.static.eam import eam_to_ipv4, eam_to_ipv6, find_eam4, find_eam6
from translator.static.rfc6052 import extract, in_pool6, to_pool6
from translator.tables import NONE
from translator.verdict import Verdict

NOTHING, PREFIX, EXPLICIT = 0, 1, 2  # by what an address is mapped
OFF, SIMPLE, INTRINSIC = 0, 1, 2  # Settings.eam_hairpin (RFC 7757 section 4.2)


@hot()
def map_tuple(settings, t, hairpin):
    """(verdict, outgoing tuple) of a tuple whose host behind us has a static address; NO_MAPPING if it has none.

    `hairpin`: the second pass of a packet between two hosts of ours.
    """
    if settings.stateful and len(settings.eam) == 0:
        return Verdict.NO_MAPPING, t
    return map_from_ipv6(settings, t) if t.family == 6 else map_from_ipv4(settings, t, hairpin)


@jit()
def map_from_ipv6(settings, t):
    """RFC 7757 section 3.3.2. Where there are sessions only an explicit mapping makes a source static."""
    if settings.stateful and find_eam6(settings, t.src_hi, t.src_lo) == NONE:
        return Verdict.NO_MAPPING, t
    src_by, src4 = map_to_ipv4(settings, t.src_hi, t.src_lo)
    dst_by, dst4 = map_to_ipv4(settings, t.dst_hi, t.dst_lo)
    if dst_by == NOTHING:
        return Verdict.NOT_OUR_PREFIX, t
    if src_by == NOTHING:
        return Verdict.NO_MAPPING, t
    verdict = may_meet(settings, dst4, dst_by, src4, src_by)
    return verdict, tuple_of(4, t.protocol, 0, src4, t.src_port, 0, dst4, t.dst_port)


@jit()
def map_from_ipv4(settings, t, hairpin):
    """RFC 7757 section 3.3.1.

    A source that may be hairpinned (section 4.2.1: in the second pass, or any at all where the network brings the
    packets back) keeps its IPv4 address, under pool6: so its peer answers through us.
    """
    if settings.stateful and find_eam4(settings, t.dst_lo) == NONE:
        return Verdict.NO_MAPPING, t
    src_by, src_hi, src_lo = map_to_ipv6(settings, t.src_lo, hairpin or settings.eam_hairpin == SIMPLE)
    dst_by, dst_hi, dst_lo = map_to_ipv6(settings, t.dst_lo, False)
    if src_by == NOTHING or dst_by == NOTHING:
        return Verdict.NO_MAPPING, t
    verdict = may_meet(settings, t.src_lo, src_by, t.dst_lo, dst_by)
    return verdict, tuple_of(6, t.protocol, src_hi, src_lo, t.src_port, dst_hi, dst_lo, t.dst_port)


@jit()
def may_meet(settings, host4, host_by, ours4, ours_by):
    """CONTINUE, or why no packet passes between an IPv4 host and the IPv4 address of a host of ours."""
    verdict = may_reach(settings, host4, host_by == PREFIX)
    return verdict if verdict != Verdict.CONTINUE else may_reach(settings, ours4, ours_by == PREFIX)


@jit()
def may_complain(settings, hi, lo, host_hi, host_lo):
    """CONTINUE, or why no ICMPv6 error about a packet to a host of ours comes from this address: it stands for an IPv4
    one that is not the sender's.

    RFC 6146 section 3.5: where there are sessions nobody has an address inside pool6.
    """
    mapped_by, addr4 = map_to_ipv4(settings, hi, lo)
    if mapped_by == NOTHING:
        return Verdict.CONTINUE
    if mapped_by == PREFIX and settings.stateful and find_eam6(settings, host_hi, host_lo) == NONE:
        return Verdict.SOURCE_IN_POOL6
    return may_reach(settings, addr4, mapped_by == PREFIX)


@hot()
def hairpins_within(settings, addr4):
    """Section 4.2.2: whether a packet to this IPv4 address, which stood under pool6, is translated back at once."""
    return settings.eam_hairpin == INTRINSIC and len(settings.eam) > 0 and find_eam4(settings, addr4) != NONE


@jit()
def map_to_ipv6(settings, addr4, prefix_only):
    """(by what, the two words of) the IPv6 address of an IPv4 address."""
    row = NONE if prefix_only or len(settings.eam) == 0 else find_eam4(settings, addr4)
    if row != NONE:
        hi, lo = eam_to_ipv6(settings.eam[row], addr4)
        return EXPLICIT, hi, lo
    if settings.pool6_row == NONE:
        return NOTHING, int64(0), int64(0)
    hi, lo = to_pool6(settings, addr4)
    return PREFIX, hi, lo


@jit()
def map_to_ipv4(settings, hi, lo):
    """(by what) the IPv4 address of an IPv6 address."""
    row = NONE if len(settings.eam) == 0 else find_eam6(settings, hi, lo)
    if row != NONE:
        return EXPLICIT, eam_to_ipv4(settings.eam[row], hi, lo)
    if in_pool6(settings, hi, lo):
        return PREFIX, extract(settings.pool6_row, hi, lo)
    return NOTHING, int64(0)
