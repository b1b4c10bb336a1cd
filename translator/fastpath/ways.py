"""Where a packet goes: by [[eam]] and pool6 alone, or by a session; as pipeline.bind, and what it is refused for by its
addresses (examine.py, static/mapping.py). `against`: the reason to leave a packet to the daemon, or that there is none;
its session is looked for all the same, as what follows it must not overtake it."""

from typing import NamedTuple

from translator.fastpath import kernel
from translator.fastpath.kernel import BARRED, NOT_EMBEDDED, OURS
from translator.fastpath.mappings import KNOWN, UNKNOWN, holds_for, mapping4, mapping6
from translator.fastpath.order import in_order
from translator.fastpath.prefixes import from_prefix, prefix_at, to_prefix
from translator.fastpath.reasons import Reason
from translator.fastpath.sessions import Found, find4, find6, nothing, objection
from translator.jit.compile import jit
from translator.packet.addresses import address4, address6, is_same, is_unicast
from translator.packet.fields import ICMP, TCP, TCP_FIN, TCP_RST, TCP_SYN
from translator.packet.tuples import Tuple, tuple_of
from translator.static.eam import eam_to_ipv4, eam_to_ipv6
from translator.static.rfc6052 import from_pool6, in_pool6
from translator.tables.layout import NONE


class Way(NamedTuple):
    """The outgoing tuple of a packet, and the session that has it, if one has (`found.address`); or the `reason` to
    leave the packet to the daemon."""

    reason: Reason
    outgoing: Tuple
    found: Found


@jit()
def left(reason):
    """A packet that is left to the daemon."""
    nowhere = address4(0, 0)
    return Way(reason, tuple_of(0, 0, nowhere, nowhere), nothing(reason))


@jit()
def way_from_ipv6(gateway, parsed, prefix, moment, against):
    """The way of a packet to a prefix."""
    t = parsed.t
    host4, mapping = from_prefix(prefix, t.dst), mapping6(gateway, t.src)
    if mapping.status == UNKNOWN:
        return left(Reason.MAPPING)
    if mapping.status == KNOWN or kernel.stateful() == 0:
        if against != Reason.SIX_TO_FOUR:
            return left(against)
        if prefix.number != 0:
            return left(Reason.OTHER_PREFIX)
        return static_from_ipv6(gateway, parsed, host4, mapping, moment)
    if against == Reason.SIX_TO_FOUR and changes_state(parsed):
        against = Reason.TCP_FLAGS
    found = find6(gateway, t, address6(prefix.number, host4.lo, host4.port))
    if found.address == 0:
        return left(found.reason if against == Reason.SIX_TO_FOUR else against)
    if against == Reason.SIX_TO_FOUR:
        against = Reason.OURS if holds_for(host4.lo) & OURS else objection(found, moment)
    reason = in_order(found, 0, moment, against)
    if reason != Reason.SIX_TO_FOUR:
        return left(reason)
    mapped4 = address4(found.session.mapped4, found.session.mapped4_port)
    return Way(Reason.SIX_TO_FOUR, tuple_of(4, t.protocol, mapped4, host4), found)


@jit()
def static_from_ipv6(gateway, parsed, host4, mapping, moment):
    """The same without a session: mapping.map_from_ipv6."""
    t, embedded = parsed.t, mapping.status != KNOWN
    if embedded and not in_pool6(gateway, t.src):
        return left(Reason.NO_MAPPING)
    src4 = from_pool6(gateway, t.src) if embedded else eam_to_ipv4(mapping.row, t.src)
    reason = static_objection(parsed, moment)
    if reason != Reason.SIX_TO_FOUR:
        return left(reason)
    if kernel.services() != 0 and t.protocol != ICMP:
        return left(Reason.SERVICE)
    to = holds_for(host4.lo)
    if to & OURS or is_same(t.src, t.dst):
        return left(Reason.OURS)
    against = to & (BARRED | NOT_EMBEDDED) | holds_for(src4.lo) & (BARRED | NOT_EMBEDDED if embedded else BARRED)
    if against != 0 or not is_unicast(6, t.src) or not is_unicast(6, t.dst):
        return left(Reason.BARRED)
    return Way(Reason.SIX_TO_FOUR, tuple_of(4, t.protocol, src4, host4), nothing(Reason.SIX_TO_FOUR))


@jit()
def way_from_ipv4(gateway, parsed, moment, against):
    """The way of a packet from IPv4."""
    t = parsed.t
    mapping = mapping4(gateway, t.dst.lo)
    if mapping.status == UNKNOWN:
        return left(Reason.MAPPING)
    if mapping.status == KNOWN or kernel.stateful() == 0:
        if against != Reason.SIX_TO_FOUR:
            return left(against)
        return static_from_ipv4(gateway, parsed, mapping, moment)
    if against == Reason.SIX_TO_FOUR and changes_state(parsed):
        against = Reason.TCP_FLAGS
    found = find4(gateway, t)
    if found.address == 0:
        return left(found.reason if against == Reason.SIX_TO_FOUR else against)
    prefix = prefix_at(gateway, found.session.prefix)
    if against == Reason.SIX_TO_FOUR and prefix.number == NONE:
        against = Reason.OTHER_PREFIX
    if against == Reason.SIX_TO_FOUR:
        against = Reason.OURS if holds_for(t.src.lo) & OURS else objection(found, moment)
    reason = in_order(found, 1, moment, against)
    if reason != Reason.SIX_TO_FOUR:
        return left(reason)
    src6 = to_prefix(prefix, t.src)
    host6 = address6(found.session.host6_hi, found.session.host6_lo, found.session.host6_port)
    return Way(Reason.SIX_TO_FOUR, tuple_of(6, t.protocol, src6, host6), found)


@jit()
def static_from_ipv4(gateway, parsed, mapping, moment):
    """The same without a session: mapping.map_from_ipv4."""
    t, embedded = parsed.t, mapping.status != KNOWN
    reason = static_objection(parsed, moment)
    if reason != Reason.SIX_TO_FOUR:
        return left(reason)
    by = holds_for(t.src.lo)
    if by & OURS or is_same(t.src, t.dst):
        return left(Reason.OURS)
    against = by & (BARRED | NOT_EMBEDDED) | holds_for(t.dst.lo) & (BARRED | NOT_EMBEDDED if embedded else BARRED)
    if against != 0:
        return left(Reason.BARRED)
    pool6 = prefix_at(gateway, 0)
    src6, dst6 = to_prefix(pool6, t.src), to_prefix(pool6, t.dst) if embedded else eam_to_ipv6(mapping.row, t.dst)
    return Way(Reason.SIX_TO_FOUR, tuple_of(6, t.protocol, src6, dst6), nothing(Reason.SIX_TO_FOUR))


@jit()
def changes_state(parsed):
    """Whether a TCP segment may change the state of its session."""
    return parsed.t.protocol == TCP and parsed.kind & (TCP_FIN | TCP_SYN | TCP_RST) != 0


@jit()
def static_objection(parsed, moment):
    """The reason to leave a packet to the daemon that needs no session, or that there is none. Forwarding to the device
    is spared only to flows whose first packets were forwarded."""
    if moment < kernel.begins() or kernel.device() != 0:
        return Reason.YOUNG
    if parsed.t.protocol == TCP and parsed.kind & TCP_SYN and kernel.mss() != 0:
        return Reason.TCP_FLAGS
    return Reason.SIX_TO_FOUR
