"""Between which addresses a translated ICMP error goes: its own source and destination, beside those it quotes.

A router on the way may have an address that stands for nothing in the other family (RFC 6791).
"""

from translator.jit.compile import jit, rare
from translator.packet.addresses import address4, address6, is_same, under
from translator.static.addresses import is_allowed4, may_reach
from translator.static.eam import find_eam6
from translator.static.mapping import BY_EAM, BY_NOTHING, BY_PREFIX, map_to_ipv4, map_to_ipv6
from translator.static.rfc6052 import client_prefix_of, from_prefix
from translator.tables.hashing import hash3
from translator.tables.layout import NONE
from translator.verdict import Verdict


@rare()
def error_addresses(gateway, view, incoming, bound):
    """(verdict, source, destination) of a translated ICMP error; `bound` is about the packet that it quotes."""
    verdict, src = error_source(gateway, view, incoming, bound.outgoing)
    if verdict != Verdict.CONTINUE:
        return verdict, src, src
    verdict, dst = error_destination(gateway, view, incoming, bound)
    return verdict, src, dst


@jit()
def error_source(gateway, view, incoming, outgoing):
    """(verdict, source address) of a translated ICMP error.

    From the end host itself: as in the tuple. From an IPv4 router: its own address under the prefix of the session, so
    that traceroute shows it (RFC 7915 section 6 where RFC 6146 section 3.7 says the end host's), or one of rfc6791_ipv6
    if it may not be embedded.
    From an IPv6 router: an address of rfc6791_ipv4 (RFC 6791), else the mapped4 address (RFC 6146 section 3.7);
    hairpinned, the same under the prefix.
    """
    verdict = may_send_error(gateway, view.src, incoming.src) if view.family == 6 else Verdict.CONTINUE
    if is_same(view.src, incoming.src):
        return verdict, outgoing.src
    if outgoing.family == 4:
        return verdict, source4(gateway, view.src, outgoing.src)
    prefix = max(client_prefix_of(gateway, outgoing.src), 0)
    if view.family == 4:
        return verdict, source6(gateway, under(view.src, prefix))
    host4 = from_prefix(gateway, outgoing.src)
    router4 = under(source4(gateway, view.src, host4), prefix)
    return verdict, outgoing.src if is_same(router4, host4) else source6(gateway, router4)


@jit()
def error_destination(gateway, view, incoming, bound):
    """(verdict, destination address) of a translated ICMP error: where it was sent, whatever packet it quotes (RFC 7915
    sections 4.1 and 5.1).

    About the packet of a session it must have been sent to the end of that session.
    """
    if is_same(view.dst, incoming.dst):
        return Verdict.CONTINUE, bound.outgoing.dst
    if bound.stateful:
        return Verdict.NO_SESSION, view.dst
    host4 = view.dst
    if view.family == 6:
        mapped_by, host4 = map_to_ipv4(gateway, view.dst)
        verdict = Verdict.NO_MAPPING if mapped_by == BY_NOTHING else may_reach(gateway, host4, mapped_by == BY_PREFIX)
        if verdict != Verdict.CONTINUE or bound.outgoing.family == 4:
            return verdict, host4
    mapped_by, host6 = map_to_ipv6(gateway, host4, False)
    if mapped_by == BY_NOTHING:
        return Verdict.NO_MAPPING, host6
    if mapped_by == BY_PREFIX and gateway.settings.stateful:
        return Verdict.NO_SESSION, host6
    return may_reach(gateway, host4, mapped_by == BY_PREFIX), host6


@jit()
def may_send_error(gateway, router, host6):
    """CONTINUE, or why no ICMPv6 error about a packet to a host behind us comes from this address: it stands for an
    IPv4 one that is not the sender's.

    RFC 6146 section 3.5: where there are sessions no host has an address inside pool6, nor in a client prefix.
    """
    if client_prefix_of(gateway, router) != NONE:
        return Verdict.SOURCE_IN_POOL6
    mapped_by, router4 = map_to_ipv4(gateway, router)
    if mapped_by == BY_NOTHING:
        return Verdict.CONTINUE
    if mapped_by == BY_PREFIX and gateway.settings.stateful and find_eam6(gateway, host6) == NONE:
        return Verdict.SOURCE_IN_POOL6
    return may_reach(gateway, router4, mapped_by == BY_PREFIX)


@jit()
def source6(gateway, router4):
    """The IPv6 address that an IPv4 router is shown with."""
    settings = gateway.settings
    mapped_by, router6 = map_to_ipv6(gateway, router4, False)
    if mapped_by == BY_EAM or (mapped_by == BY_PREFIX and not settings.clat and is_allowed4(gateway, router4)):
        return router6
    return address6(settings.rfc6791_hi, settings.rfc6791_lo | (router4.lo & settings.rfc6791_bits), 0)


@jit()
def source4(gateway, router6, host4):
    """The IPv4 address that an IPv6 router on the way to a host is shown with."""
    settings = gateway.settings
    mapped_by, router4 = map_to_ipv4(gateway, router6)
    if mapped_by != BY_NOTHING:
        return router4
    if len(settings.rfc6791) > 0:
        n = hash3(settings.secret, router6.hi, router6.lo, 0) % len(settings.rfc6791)
        return address4(settings.rfc6791[n], 0)
    return address4(host4.lo if settings.stateful else settings.own4, 0)
