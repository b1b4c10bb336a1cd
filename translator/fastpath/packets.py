"""A packet as the program reads it: sound headers, or the reason to leave it to the daemon (as packet/parse.py)."""

from typing import NamedTuple

from translator.fastpath import kernel
from translator.fastpath.reasons import Reason
from translator.jit.bpf import be16, be32, be64, beyond, context32, u8
from translator.jit.compile import int64, jit
from translator.packet.addresses import address4, address6
from translator.packet.checksum import fold, sum_word
from translator.packet.fields import (
    FRAGMENT_OFFSET,
    ICMP,
    ICMP_CHECKSUM_AT,
    ICMP_HEADER,
    ICMP_IDENTIFIER_AT,
    IPV4_DESTINATION_AT,
    IPV4_FLAGS_AT,
    IPV4_HEADER,
    IPV4_LENGTH_AT,
    IPV4_PROTOCOL_AT,
    IPV4_SOURCE_AT,
    IPV4_TOS_AT,
    IPV4_TTL_AT,
    IPV6_DESTINATION_AT,
    IPV6_HEADER,
    IPV6_HOP_LIMIT_AT,
    IPV6_LENGTH_AT,
    IPV6_NEXT_HEADER_AT,
    IPV6_SOURCE_AT,
    MORE_FRAGMENTS,
    TCP,
    TCP_CHECKSUM_AT,
    TCP_DATA_OFFSET_AT,
    TCP_FLAGS_AT,
    TCP_HEADER,
    UDP_CHECKSUM_AT,
    UDP_HEADER,
    UDP_LENGTH_AT,
)
from translator.packet.icmp import is_echo
from translator.packet.parse import LARGEST_PACKET, transport_of
from translator.packet.tuples import Tuple, tuple_of


class Parsed(NamedTuple):
    """A packet whose headers are sound, or the `reason` to leave it alone; where `t.family` is 0, nothing else is known
    of it then. The names are those of parse.View."""

    reason: Reason
    t: Tuple
    l4: int
    payload: int
    traffic_class: int
    hop_limit: int
    header: int  # octets of the transport header
    field: int  # its checksum
    kind: int  # flags of a TCP segment; type and code of an echo
    has_fragment_header: int


@jit()
def refused(reason):
    """A packet that is not looked at further."""
    nowhere = address4(0, 0)
    return Parsed(reason, tuple_of(0, 0, nowhere, nowhere), 0, 0, 0, 0, 0, 0, 0, 0)


@jit()
def known(parsed, reason):
    """A packet that is left alone; but its session is looked for."""
    return Parsed(reason, parsed.t, parsed.l4, parsed.payload, parsed.traffic_class, parsed.hop_limit, 0, 0, 0, 0)


@jit()
def parse_transport(skb, end, parsed):
    """What parse.check_transport says of a packet, and what else there is against its transport header."""
    l4, payload, protocol = parsed.l4, parsed.payload, parsed.t.protocol
    if protocol == TCP:
        return parse_tcp(end, parsed)
    if context32(skb + kernel.GSO_SIZE) != 0:
        return known(parsed, Reason.UDP_SUPERFRAME)
    if protocol == ICMP:
        kind, field = be16(l4), be16(l4 + ICMP_CHECKSUM_AT)
        if not is_echo(parsed.t.family, kind >> 8):
            return refused(Reason.PROTOCOL)
        if kernel.drop_icmp_info() != 0:
            return refused(Reason.ECHO)
        return with_transport(parsed, ICMP_HEADER, field, kind)
    field, length = be16(l4 + UDP_CHECKSUM_AT), be16(l4 + UDP_LENGTH_AT)
    if length < UDP_HEADER or length > payload:
        return refused(Reason.DAMAGED)
    if field == 0:
        return known(parsed, Reason.ZERO_CHECKSUM)
    return with_transport(parsed, UDP_HEADER, field, 0)


@jit()
def parse_tcp(end, parsed):
    """The same of a TCP segment."""
    l4 = parsed.l4
    if kernel.check_rst() != 0:
        return refused(Reason.CHECK_RST)
    if beyond(l4 + TCP_HEADER, end):
        return refused(Reason.HEADERS)
    header = int64((u8(l4 + TCP_DATA_OFFSET_AT) >> 4) * 4)
    if header < TCP_HEADER or header > parsed.payload:
        return refused(Reason.DAMAGED)
    return with_transport(parsed, header, be16(l4 + TCP_CHECKSUM_AT), u8(l4 + TCP_FLAGS_AT))


@jit()
def with_transport(parsed, header, field, kind):
    """A packet whose transport header is sound, too."""
    more = parsed.traffic_class, parsed.hop_limit
    sound = int64(header), int64(field), int64(kind)
    return Parsed(Reason.SIX_TO_FOUR, parsed.t, parsed.l4, parsed.payload, *more, *sound, 0)


@jit()
def ports_of(l4, protocol, family):
    """The ports of source and destination; of an echo as tuples.wire_tuple."""
    if protocol == ICMP:
        identifier = be16(l4 + ICMP_IDENTIFIER_AT)
        return (identifier, int64(0)) if family == 6 else (int64(0), identifier)
    return be16(l4), be16(l4 + 2)


@jit()
def hops_of(hop_limit):
    """What is left of a hop limit at the TUN device: forwarding to it takes one."""
    return hop_limit - 1 if kernel.device() != 0 else hop_limit


@jit()
def parse_ipv6(skb, at, end):
    """An IPv6 packet to pool6, without extension headers."""
    l4 = at + IPV6_HEADER
    if beyond(l4 + UDP_HEADER, end):
        return refused(Reason.HEADERS)
    payload, hop_limit = be16(at + IPV6_LENGTH_AT), hops_of(u8(at + IPV6_HOP_LIMIT_AT))
    protocol = transport_of(6, u8(at + IPV6_NEXT_HEADER_AT))
    if kernel.link_header() + IPV6_HEADER + payload != context32(skb + kernel.LENGTH):
        return refused(Reason.LENGTH)
    if IPV4_HEADER + payload > LARGEST_PACKET:
        return refused(Reason.LENGTH)
    if protocol == 0:
        return refused(Reason.PROTOCOL)
    if hop_limit <= 1:
        return refused(Reason.HOP_LIMIT)
    src_port, dst_port = ports_of(l4, protocol, 6)
    src = address6(be64(at + IPV6_SOURCE_AT), be64(at + IPV6_SOURCE_AT + 8), src_port)
    dst = address6(be64(at + IPV6_DESTINATION_AT), be64(at + IPV6_DESTINATION_AT + 8), dst_port)
    traffic_class, t = be16(at) >> 4 & 0xFF, tuple_of(6, protocol, src, dst)
    return parse_transport(skb, end, Parsed(Reason.SIX_TO_FOUR, t, l4, payload, traffic_class, hop_limit, 0, 0, 0, 0))


@jit()
def parse_ipv4(skb, at, end):
    """An IPv4 packet without options that is no fragment."""
    l4 = at + IPV4_HEADER
    if beyond(l4 + UDP_HEADER, end):
        return refused(Reason.HEADERS)
    length, flags, hop_limit = be16(at + IPV4_LENGTH_AT), be16(at + IPV4_FLAGS_AT), hops_of(u8(at + IPV4_TTL_AT))
    protocol = transport_of(4, u8(at + IPV4_PROTOCOL_AT))
    if u8(at) != 0x45:
        return refused(Reason.OPTIONS)
    if fold(sum_word(be64(at)) + sum_word(be64(at + 8)) + sum_word(be32(at + IPV4_DESTINATION_AT))) != 0xFFFF:
        return refused(Reason.DAMAGED)
    if kernel.link_header() + length != context32(skb + kernel.LENGTH):
        return refused(Reason.LENGTH)
    if flags & (MORE_FRAGMENTS | FRAGMENT_OFFSET):
        return refused(Reason.FRAGMENT)
    if protocol == 0:
        return refused(Reason.PROTOCOL)
    if hop_limit <= 1:
        return refused(Reason.HOP_LIMIT)
    src_port, dst_port = ports_of(l4, protocol, 4)
    src, dst = address4(be32(at + IPV4_SOURCE_AT), src_port), address4(be32(at + IPV4_DESTINATION_AT), dst_port)
    traffic_class, t = u8(at + IPV4_TOS_AT), tuple_of(4, protocol, src, dst)
    parsed = Parsed(Reason.SIX_TO_FOUR, t, l4, length - IPV4_HEADER, traffic_class, hop_limit, 0, 0, 0, 0)
    return parse_transport(skb, end, parsed)


@jit()
def segment_of(skb, parsed):
    """Octets behind the IP header, of a super-frame those of one segment, as fragments.plan_output has it."""
    size = context32(skb + kernel.GSO_SIZE)
    return parsed.payload if size == 0 else min(parsed.payload, parsed.header + size)
