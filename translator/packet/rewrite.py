"""RFC 6146 section 3.7: the packet in the other family, written into the headroom of the old one; its payload stays
where it is.

An ICMP error is the same work twice: the quoted packet first, with the tuple turned round, the message that carries it
then.
"""

from typing import NamedTuple

from translator.compile import hot, jit
from translator.hashing import hash3
from translator.packet.checksum import checksum, sum_octets
from translator.packet.extensions import Quote, length_at, place, plan_quote
from translator.packet.fields import (
    FRAGMENT_HEADER,
    ICMP,
    ICMP_CHECKSUM_AT,
    ICMP_HEADER,
    ICMP_REST_AT,
    ICMPV6,
    IPV4_HEADER,
    IPV6_HEADER,
    TCP,
    TCP_CHECKSUM_AT,
    UDP_CHECKSUM_AT,
    UDP_HEADER,
    put_u8,
    put_u16,
    put_u32,
    tcp_header_length,
    u8,
    u32,
)
from translator.packet.headers import Header, protocol_for, write
from translator.packet.icmp import IPV6_MINIMUM_MTU, UNREACHABLE4, Rest, translate_error, translate_mtu
from translator.packet.parse import is_fragment
from translator.packet.transport import CALCULATE, calculate_udp, complete, pseudo_header, rewrite, zero_checksum
from translator.packet.tuples import addresses, tuple_of, turned
from translator.packet.virtio import GSO_NONE, NEEDS_CSUM, clear, encode, gso_type_for
from translator.static.addresses import is_allowed4, is_unicast
from translator.static.mapping import NOTHING, PREFIX, map_to_ipv4, map_to_ipv6, may_complain
from translator.tables import NONE
from translator.verdict import Verdict


@hot()
def new_header(settings, view, family, hop_limit, dont_fragment, fragment_header, identification):
    """The network header of a view's packet in a family. The Identification of a fragment is kept, its low half towards
    IPv4."""
    return Header(
        family=family,
        traffic_class=view.traffic_class if settings.traffic_class == NONE else settings.traffic_class,
        payload=view.payload,
        protocol=protocol_for(family, view),
        hop_limit=hop_limit,
        identification=view.identification if view.family == 4 or view.has_fragment_header else identification,
        dont_fragment=dont_fragment,
        fragment_header=fragment_header,
        fragment_offset=view.fragment_offset,
        more_fragments=view.more_fragments,
    )


@hot()
def write_packet(settings, p, view, offload, plan, incoming, outgoing, identification):
    """Write a packet that is no ICMP error, with its virtio_net_hdr; returns where it starts. It ends where it did."""
    header = new_header(
        settings, view, outgoing.family, view.hop_limit - 1, plan.dont_fragment, plan.fragment_header, identification
    )
    checksum_at = view.l4 + (TCP_CHECKSUM_AT if view.transport == TCP else UDP_CHECKSUM_AT)
    partial = offload.flags & NEEDS_CSUM != 0
    if partial and view.l3 + offload.csum_start + offload.csum_offset != checksum_at:
        complete(p, view.l3 + offload.csum_start, view.end, view.l3 + offload.csum_start + offload.csum_offset)
        partial = False
    if view.fragment_offset == 0:
        lacks_checksum = zero_checksum(settings, p, view) == CALCULATE
        rewrite(p, view.l4, view.end, view.payload, incoming, outgoing, partial)
        if lacks_checksum:
            calculate_udp(p, view.l4, outgoing, partial)
    if partial and plan.piece > 0:
        complete(p, view.l4, view.end, checksum_at)
        partial = False
    at = write(p, view.l4, header, outgoing.src_hi, outgoing.src_lo, outgoing.dst_hi, outgoing.dst_lo)
    if offload.gso_type == GSO_NONE and not partial:
        clear(p, at)
        return at
    gso_type = gso_type_for(outgoing.family, offload.gso_type)
    hdr_len = view.l4 - at + (tcp_header_length(p, view.l4) if view.transport == TCP else UDP_HEADER)
    if partial:
        encode(p, at, NEEDS_CSUM, gso_type, hdr_len, plan.gso_size, view.l4 - at, checksum_at - view.l4)
    else:
        encode(p, at, 0, gso_type, hdr_len, plan.gso_size, 0, 0)
    return at


class Error(NamedTuple):
    """What an ICMP error becomes: `verdict` CONTINUE, or why nothing."""

    verdict: Verdict
    type: int
    code: int
    rest: int  # the 32 bits behind the checksum, but for the length attribute
    quote: Quote


@jit()
def plan_error(settings, p, view, quoted, incoming, family):
    """RFC 7915 sections 4.2, 4.3, 5.2, 5.3: type, code, MTU or pointer, and how much of the quoted packet still
    fits."""
    if view.family == 6:
        hi, lo, _, _ = addresses(p, view)
        verdict = may_complain(settings, hi, lo, incoming.src_hi, incoming.src_lo)
        if verdict != Verdict.CONTINUE:
            return Error(verdict, 0, 0, 0, Quote(0, 0, 0, 0, 0))
    type_ = u8(p, view.l4)
    word = u32(p, view.l4 + ICMP_REST_AT)
    new_type, code, rest, pointer = translate_error(
        view.family, family, type_, u8(p, view.l4 + 1), word >> 24 if view.family == 4 else word
    )
    if new_type == NONE:
        return Error(Verdict.ICMP_TYPE, 0, 0, 0, Quote(0, 0, 0, 0, 0))
    value = 0
    if rest == Rest.MTU:
        mtu = word & 0xFFFF if type_ == UNREACHABLE4 and view.family == 4 else word
        value = translate_mtu(settings, view.family, family, mtu, quoted)
    elif rest != Rest.ZERO:
        value = pointer << 24 if family == 4 else pointer
    inner = IPV4_HEADER if family == 4 else IPV6_HEADER + (FRAGMENT_HEADER if is_fragment(quoted) else 0)
    quote = plan_quote(p, view, quoted, family, new_type, inner)
    return Error(Verdict.CONTINUE, new_type, code, value, quote)


@jit()
def write_error(settings, p, view, quoted, error, incoming, outgoing, identification):
    """Write an ICMP error; returns where it starts. It ends at error.quote.end."""
    family, quote = outgoing.family, error.quote
    inner_in, inner_out = turned(incoming), turned(outgoing)
    dont_fragment = quoted.payload > IPV6_MINIMUM_MTU - IPV6_HEADER and not quoted.has_fragment_header
    inner = new_header(settings, quoted, family, quoted.hop_limit, dont_fragment, is_fragment(quoted), 0)
    outer_in = addresses(p, view)
    src_hi, src_lo = error_source(settings, view, outer_in, incoming, outgoing)
    if quoted.fragment_offset == 0:
        rewrite(p, quoted.l4, quote.cut, quoted.payload, inner_in, inner_out, False)
    place(p, quoted, quote)
    at = write(p, quote.l4, inner, inner_out.src_hi, inner_out.src_lo, inner_out.dst_hi, inner_out.dst_lo)
    l4 = at - ICMP_HEADER
    put_u16(p, l4, error.type << 8 | error.code)
    put_u16(p, l4 + ICMP_CHECKSUM_AT, 0)
    put_u32(p, l4 + ICMP_REST_AT, error.rest)
    if quote.words > 0:
        put_u8(p, l4 + length_at(family), quote.words)
    size = quote.end - l4
    outer = tuple_of(family, ICMP, src_hi, src_lo, 0, outgoing.dst_hi, outgoing.dst_lo, 0)
    put_u16(p, l4 + ICMP_CHECKSUM_AT, checksum(pseudo_header(outer, size) + sum_octets(p, l4, quote.end)))
    protocol = ICMP if family == 4 else ICMPV6
    traffic_class = view.traffic_class if settings.traffic_class == NONE else settings.traffic_class
    if view.has_fragment_header:
        identification = view.identification
    header = Header(family, traffic_class, size, protocol, view.hop_limit - 1, identification, 0, 0, 0, 0)
    at = write(p, l4, header, src_hi, src_lo, outgoing.dst_hi, outgoing.dst_lo)
    clear(p, at)
    return at


@jit()
def error_source(settings, view, outer, incoming, outgoing):
    """The source of a translated ICMP error.

    From the end host itself: as in the tuple. From an IPv4 router: its own address under pool6, so that traceroute
    shows it (RFC 7915 section 6 where RFC 6146 section 3.7 says the end host's), or one of rfc6791_ipv6 if it may not
    be embedded.
    From an IPv6 router: an address of rfc6791_ipv4 (RFC 6791), else the mapped4 address (RFC 6146 section 3.7);
    hairpinned, its own.
    """
    src_hi, src_lo = outer[0], outer[1]
    if src_hi == incoming.src_hi and src_lo == incoming.src_lo:
        return outgoing.src_hi, outgoing.src_lo
    if outgoing.family == 6:
        if view.family == 6:
            return src_hi, src_lo
        mapped_by, hi, lo = map_to_ipv6(settings, src_lo, False)
        if mapped_by != NOTHING and is_unicast(4, 0, src_lo) and (mapped_by != PREFIX or is_allowed4(settings, src_lo)):
            return hi, lo
        return settings.rfc6791_hi, settings.rfc6791_lo | (src_lo & settings.rfc6791_bits)
    mapped_by, addr4 = map_to_ipv4(settings, src_hi, src_lo)
    if mapped_by != NOTHING:
        return 0, addr4
    if len(settings.rfc6791) > 0:
        return 0, settings.rfc6791[hash3(settings.secret, src_hi, src_lo, 0) % len(settings.rfc6791)]
    return 0, outgoing.src_lo if settings.stateful else settings.own4
