"""Addresses that need no memory: an explicit mapping (RFC 7757) if there is one, else the prefix (RFC 6052).

`map_tuple` is step 2 of the pipeline: it finds both addresses, or says that the sessions have to be asked.
"""

from translator.jit.compile import hot, jit, rare
from translator.packet.addresses import address4, is_same
from translator.packet.tuples import tuple_of
from translator.static.addresses import may_reach
from translator.static.eam import eam_to_ipv4, eam_to_ipv6, find_eam4, find_eam6
from translator.static.rfc6052 import client_prefix_of, from_pool6, in_pool6, to_prefix
from translator.tables.layout import NONE
from translator.tables.ranges import within
from translator.verdict import Ask, Verdict

BY_NOTHING, BY_PREFIX, BY_EAM = 0, 1, 2  # by what an address is mapped
OFF, SIMPLE, INTRINSIC = 0, 1, 2  # Settings.eam_hairpin (RFC 7757 section 4.2)


@hot()
def map_tuple(gateway, view, t, hairpin):
    """(verdict, whom to ask, outgoing tuple) of a tuple; Ask.SESSIONS: its host behind us has no static address.

    `hairpin`: the second pass of a packet between two hosts behind us.
    """
    if gateway.settings.stateful and not is_mapped(gateway, view, t):
        return Verdict.CONTINUE, Ask.SESSIONS, t
    verdict, outgoing = map_from_ipv6(gateway, t) if t.family == 6 else map_from_ipv4(gateway, t, hairpin)
    return verdict, Ask.NOBODY, outgoing


@hot()
def is_mapped(gateway, view, t):
    """Whether the host behind us has an [[eam]]: where there are sessions, nothing else makes an address static.

    An ICMP error for such a host may quote a packet of an address that has no mapping. Under a client prefix there are
    flows of services alone.
    """
    settings = gateway.settings
    if len(settings.eam) == 0:
        return False
    if t.family == 6:
        return find_eam6(gateway, t.src) != NONE and client_prefix_of(gateway, t.dst) == NONE
    if find_eam4(gateway, t.dst) != NONE:
        return True
    return view.family == 4 and not within(settings.ranges4, t.dst.lo) and find_eam4(gateway, view.dst) != NONE


@hot()
def map_from_ipv6(gateway, t):
    """RFC 7757 section 3.3.2."""
    src_by, src4 = map_to_ipv4(gateway, t.src)
    dst_by, dst4 = map_to_ipv4(gateway, t.dst)
    if src_by == BY_NOTHING or dst_by == BY_NOTHING:
        return Verdict.NO_MAPPING, t
    return may_pass_between(gateway, dst4, dst_by, src4, src_by), tuple_of(4, t.protocol, src4, dst4)


@hot()
def map_from_ipv4(gateway, t, hairpin):
    """RFC 7757 section 3.3.1.

    A source that may be hairpinned (section 4.2.1: in the second pass, or any at all where the network brings the
    packets back) keeps its IPv4 address, under pool6: so its peer answers through us.
    """
    if gateway.settings.clat and find_eam4(gateway, t.src) == NONE:
        return Verdict.CLAT_SOURCE, t
    src_by, src6 = map_to_ipv6(gateway, t.src, hairpin or gateway.settings.eam_hairpin == SIMPLE)
    dst_by, dst6 = map_to_ipv6(gateway, t.dst, False)
    if src_by == BY_NOTHING or dst_by == BY_NOTHING:
        return Verdict.NO_MAPPING, t
    return may_pass_between(gateway, t.src, src_by, t.dst, dst_by), tuple_of(6, t.protocol, src6, dst6)


@jit()
def may_pass_between(gateway, host4, host_by, ours4, ours_by):
    """CONTINUE, or why no packet passes between an IPv4 host and the IPv4 address of a host behind us."""
    verdict = may_reach(gateway, host4, host_by == BY_PREFIX)
    return verdict if verdict != Verdict.CONTINUE else may_reach(gateway, ours4, ours_by == BY_PREFIX)


@hot()
def hairpins_within(gateway, address):
    """Section 4.2.2: whether a packet to this IPv4 address, which stood under pool6, is translated back at once."""
    settings = gateway.settings
    return settings.eam_hairpin == INTRINSIC and len(settings.eam) > 0 and find_eam4(gateway, address) != NONE


@hot()
def is_forged(gateway, family, src, dst):
    """Whether no packet comes from this source to this destination (RFC 2827): an IPv4 address of ours, or itself.

    What our hosts send one another turns round here (RFC 6146 section 3.8). Only to an [[eam]], where the network
    brings packets back (RFC 7757 section 4.2.1), one may come in with a source of ours, or its own. A [clat] hears
    nothing of its own hosts by IPv6 (RFC 7756 section 6).
    """
    if family == 6 and gateway.settings.clat and is_of_clat(gateway, src):
        return True
    same = is_same(src, dst)
    if not same and (family == 6 or not within(gateway.settings.ranges4, src.lo)):
        return False
    return not brought_back_by_eam(gateway, family, dst, same)


@rare()
def is_of_clat(gateway, address):
    """Whether an IPv6 address is that of a host of [clat], or stands for one under the prefix. Its row is the last."""
    mapped_by, host4 = map_to_ipv4(gateway, address)
    return mapped_by != BY_NOTHING and find_eam4(gateway, host4) == len(gateway.settings.eam) - 1


@rare()
def brought_back_by_eam(gateway, family, dst, same):
    """Whether the network brings packets with a source of ours back from an [[eam]]; `same`: their own source."""
    settings = gateway.settings
    brings = settings.eam_hairpin == SIMPLE if same else settings.eam_hairpin != INTRINSIC
    return family == 4 and brings and len(settings.eam) > 0 and find_eam4(gateway, dst) != NONE


@jit()
def map_to_ipv6(gateway, host4, prefix_only):
    """(by what, IPv6 transport address) of an IPv4 transport address."""
    settings = gateway.settings
    row = NONE if prefix_only or len(settings.eam) == 0 else find_eam4(gateway, host4)
    if row != NONE:
        return BY_EAM, eam_to_ipv6(settings.eam[row], host4)
    if settings.pool6_length == NONE and host4.hi == 0:
        return BY_NOTHING, host4
    return BY_PREFIX, to_prefix(gateway, host4)


@jit()
def map_to_ipv4(gateway, host6):
    """(by what, IPv4 transport address) of an IPv6 transport address."""
    settings = gateway.settings
    row = NONE if len(settings.eam) == 0 else find_eam6(gateway, host6)
    if row != NONE:
        return BY_EAM, eam_to_ipv4(settings.eam[row], host6)
    if in_pool6(gateway, host6):
        return BY_PREFIX, from_pool6(gateway, host6)
    return BY_NOTHING, address4(0, 0)
