"""RFC 6146 section 3.7: the packet in the other family, written into the headroom of the old one; its payload stays
where it is.

An ICMP error is the same work twice: the quoted packet first, with the tuple of its reply, then the message that
carries it.
"""

from typing import NamedTuple

from translator.jit.compile import hot, jit, rare
from translator.packet.addresses import TransportAddress, address4
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
from translator.packet.icmp import IPV6_MINIMUM_MTU, UNREACHABLE4, RestOfHeader, translate_error, translate_mtu
from translator.packet.parse import is_fragment
from translator.packet.transport import CALCULATE, calculate_udp, complete, is_partial, pseudo_header, rewrite
from translator.packet.tuples import reply_of, tuple_of
from translator.packet.virtio import GSO_NONE, NEEDS_CSUM, Offload, clear, encode, gso_type_for
from translator.tables.layout import NONE
from translator.verdict import Verdict


class Fragmenting(NamedTuple):
    """What a network header says about fragments beside what its packet says: flags, and an Identification for a packet
    that has none."""

    dont_fragment: int
    fragment_header: int
    identification: int


@hot()
def new_header(gateway, view, family, hop_limit, fragmenting):
    """The network header of a view's packet in a family. The Identification of a fragment is kept, its low half towards
    IPv4."""
    traffic_class, keeps = gateway.settings.traffic_class, view.family == 4 or view.has_fragment_header
    return Header(
        family=family,
        traffic_class=view.traffic_class if traffic_class == NONE else traffic_class,
        payload=view.payload,
        protocol=protocol_for(family, view),
        hop_limit=hop_limit,
        identification=view.identification if keeps else fragmenting.identification,
        dont_fragment=fragmenting.dont_fragment,
        fragment_header=fragmenting.fragment_header,
        fragment_offset=view.fragment_offset,
        more_fragments=view.more_fragments,
    )


@hot()
def write_packet(gateway, p, packet, plan, outgoing, identification):
    """Write a packet that is no ICMP error, with its virtio_net_hdr; returns where it starts. It ends where it did."""
    view, offload = packet.parsed, packet.offload
    fragmenting = Fragmenting(plan.dont_fragment, plan.fragment_header, identification)
    header = new_header(gateway, view, outgoing.family, view.hop_limit - 1, fragmenting)
    checksum_at = view.l4 + (TCP_CHECKSUM_AT if view.transport == TCP else UDP_CHECKSUM_AT)
    partial = is_partial(view, offload, checksum_at)
    if not partial and offload.flags & NEEDS_CSUM:
        complete(p, view.l3 + offload.csum_start, view.end, view.l3 + offload.csum_start + offload.csum_offset)
    if view.fragment_offset == 0:
        rewrite(p, view, view.end, packet.incoming, outgoing, partial)
        if packet.checksum == CALCULATE:
            calculate_udp(p, view.l4, outgoing, partial)
    if partial and plan.fragment_payload > 0:
        complete(p, view.l4, view.end, checksum_at)
        partial = False
    at = write(p, view.l4, header, outgoing.src, outgoing.dst)
    if offload.gso_type == GSO_NONE and not partial:
        clear(p, at)
        return at
    gso_type = gso_type_for(outgoing.family, offload.gso_type)
    hdr_len = view.l4 - at + (tcp_header_length(p, view.l4) if view.transport == TCP else UDP_HEADER)
    if partial:
        encode(p, at, Offload(NEEDS_CSUM, gso_type, plan.gso_size, view.l4 - at, checksum_at - view.l4), hdr_len)
    else:
        encode(p, at, Offload(0, gso_type, plan.gso_size, 0, 0), hdr_len)
    return at


class Error(NamedTuple):
    """What an ICMP error becomes: `verdict` CONTINUE, or why nothing."""

    verdict: Verdict
    type: int
    code: int
    rest_of_header: int  # the 32 bits behind the checksum, but for the length attribute
    quote: Quote
    src: TransportAddress  # of the message itself
    dst: TransportAddress


@jit()
def no_error(verdict):
    """An ICMP error that becomes nothing, and why."""
    nowhere = address4(0, 0)
    return Error(verdict, 0, 0, 0, Quote(0, 0, 0, 0, 0), nowhere, nowhere)


@rare()
def plan_error(gateway, p, packet, family, src, dst):
    """RFC 7915 sections 4.2, 4.3, 5.2, 5.3: type, code, MTU or pointer, and how much of the quoted packet still
    fits, in a message from `src` to `dst` of a family."""
    view, quoted = packet.parsed, packet.quoted
    type_ = u8(p, view.l4)
    word = u32(p, view.l4 + ICMP_REST_AT)
    new_type, code, holds, pointer = translate_error(
        view.family, family, type_, u8(p, view.l4 + 1), word >> 24 if view.family == 4 else word
    )
    if new_type == NONE:
        return no_error(Verdict.ICMP_TYPE)
    value = 0
    if holds == RestOfHeader.MTU:
        mtu = word & 0xFFFF if type_ == UNREACHABLE4 and view.family == 4 else word
        value = translate_mtu(gateway.settings, view.family, family, mtu, quoted)
    elif holds != RestOfHeader.ZERO:
        value = pointer << 24 if family == 4 else pointer
    inner = IPV4_HEADER if family == 4 else IPV6_HEADER + (FRAGMENT_HEADER if is_fragment(quoted) else 0)
    quote = plan_quote(p, view, quoted, family, new_type, inner)
    return Error(Verdict.CONTINUE, new_type, code, value, quote, src, dst)


@rare()
def write_error(gateway, p, packet, error, outgoing, identification):
    """Write an ICMP error; returns where it starts. It ends at error.quote.end."""
    view, quoted, quote, family = packet.parsed, packet.quoted, error.quote, outgoing.family
    inner_in, inner_out = reply_of(packet.incoming), reply_of(outgoing)
    dont_fragment = quoted.payload > IPV6_MINIMUM_MTU - IPV6_HEADER and not quoted.has_fragment_header
    inner = new_header(gateway, quoted, family, quoted.hop_limit, Fragmenting(dont_fragment, is_fragment(quoted), 0))
    if quoted.fragment_offset == 0:
        rewrite(p, quoted, quote.cut, inner_in, inner_out, False)
    place(p, quoted, quote)
    at = write(p, quote.l4, inner, inner_out.src, inner_out.dst)
    l4 = at - ICMP_HEADER
    put_u16(p, l4, error.type << 8 | error.code)
    put_u16(p, l4 + ICMP_CHECKSUM_AT, 0)
    put_u32(p, l4 + ICMP_REST_AT, error.rest_of_header)
    if quote.words > 0:
        put_u8(p, l4 + length_at(family), quote.words)
    size = quote.end - l4
    outer = tuple_of(family, ICMP, error.src, error.dst)
    put_u16(p, l4 + ICMP_CHECKSUM_AT, checksum(pseudo_header(outer, size) + sum_octets(p, l4, quote.end)))
    protocol, settings = ICMP if family == 4 else ICMPV6, gateway.settings
    traffic_class = view.traffic_class if settings.traffic_class == NONE else settings.traffic_class
    if view.has_fragment_header:
        identification = view.identification
    header = Header(family, traffic_class, size, protocol, view.hop_limit - 1, identification, 0, 0, 0, 0)
    at = write(p, l4, header, error.src, error.dst)
    clear(p, at)
    return at
