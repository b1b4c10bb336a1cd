"""What a packet is refused for whatever the tables say; and what a step says of how it ended."""

from typing import NamedTuple

from translator.jit.compile import hot, int64, jit, rare
from translator.packet.fields import ICMP, IGMP, TCP, TCP_FLAGS_AT, TCP_RST, u8
from translator.packet.icmp import is_echo, is_error
from translator.packet.parse import is_foreign, is_fragment
from translator.packet.transport import CALCULATE, DROP
from translator.packet.virtio import is_sound
from translator.session.windows import judge_rst
from translator.static.addresses import is_forwardable
from translator.static.eam import find_eam4, find_eam6
from translator.static.mapping import hairpins_within, is_forged
from translator.static.rfc6052 import in_prefix
from translator.tables.layout import NONE
from translator.verdict import Verdict


class Translated(NamedTuple):
    """What the steps made of a packet: [at, end) of the buffer, or nothing and why."""

    verdict: Verdict
    mtu_or_pointer: int  # for the ICMP error, else 0
    at: int
    end: int
    fragment_payload: int  # as in Outcome
    held: int  # row of Tables.fragments under which it is kept, or NONE
    releases: int  # as in Outcome


@jit()
def refused(verdict, mtu_or_pointer, held):
    """A packet that goes nowhere."""
    return Translated(verdict, int64(mtu_or_pointer), 0, 0, 0, int64(held), int64(NONE))


@hot()
def examine(gateway, p, view, offload, quotes, checksum):
    """What RFC 7915 and RFC 6146 section 3.4 refuse whatever the tables say."""
    settings = gateway.settings
    if view.verdict != Verdict.CONTINUE:
        return view.verdict
    if not is_sound(view, offload):
        return Verdict.BAD_LENGTH
    if is_forged(gateway, view.family, view.src, view.dst):
        return Verdict.FORGED_SOURCE
    if view.source_route != 0:
        routed = Verdict.SOURCE_ROUTED if view.family == 4 else Verdict.ROUTING_HEADER
        return unless_forged(gateway, p, view, quotes, routed)
    if not is_forwardable(gateway, view.family, view.dst):
        return unless_forged(gateway, p, view, quotes, Verdict.NOT_UNICAST)
    # RFC 7915 section 4.1: an ICMPv4 error is translated even from an illegal source; a fragment of one may not tell.
    may_be_error4 = view.family == 4 and view.transport == ICMP and (quotes or is_fragment(view))
    if not may_be_error4 and not is_forwardable(gateway, view.family, view.src):
        return Verdict.NOT_UNICAST
    # RFC 7915 section 4.2: IGMP stays where it is, silently.
    if view.family == 4 and view.protocol == IGMP:
        return Verdict.ICMP_TYPE
    if view.hop_limit <= 1:
        return unless_forged(gateway, p, view, quotes, Verdict.HOP_LIMIT_EXPIRED)
    if is_foreign(view):
        return unless_forged(gateway, p, view, quotes, Verdict.PROTOCOL)
    if view.transport == ICMP:
        if is_fragment(view):
            return Verdict.CONTINUE if settings.stateful or settings.clat else Verdict.FRAGMENTED_ICMP
        if is_echo(view.family, u8(p, view.l4)):
            return Verdict.FILTERED_ICMP_INFO if settings.drop_icmp_info else Verdict.CONTINUE
        return Verdict.CONTINUE if quotes else Verdict.ICMP_TYPE
    # RFC 7915 section 4.5: a checksum cannot be calculated over a part of the datagram.
    is_gathered = settings.stateful and view.family == 4
    if checksum == DROP or (checksum == CALCULATE and is_fragment(view) and not is_gathered):
        return Verdict.ZERO_UDP_CHECKSUM
    return Verdict.CONTINUE


@rare()
def unless_forged(gateway, p, view, quotes, verdict):
    """A verdict whose answer would go to the source of a packet, or what there is against that source where sessions
    judge it: then nobody is told (RFC 6146 section 3.5, RFC 2827). What may be an ICMP error gets no answer."""
    if not gateway.settings.stateful or quotes:
        return verdict
    if view.family == 6:
        inside = find_eam6(gateway, view.src) == NONE and in_prefix(gateway, view.src)
        return Verdict.SOURCE_IN_POOL6 if inside else verdict
    if view.fragment_offset > 0 or (view.transport == ICMP and is_error(4, u8(p, view.l4))):
        return verdict
    forged = find_eam4(gateway, view.dst) == NONE and hairpins_within(gateway, view.src)
    return Verdict.FORGED_SOURCE if forged else verdict


@hot()
def tcp_flags(gateway, now, p, view, incoming):
    """The flags of a TCP segment, 0 of anything else; a RST may be one that is NOT_BELIEVED (RFC 7857 section 2.3)."""
    if view.transport != TCP or view.fragment_offset > 0:
        return 0
    flags = u8(p, view.l4 + TCP_FLAGS_AT)
    if gateway.settings.check_rst and flags & TCP_RST:
        return judge_rst(gateway, now, p, view, incoming, flags)
    return flags
