"""The TCP segments that we send ourselves; none carries data.

RFC 6146 section 3.5.2.2: the probe asks the IPv6 end of a silent session whether it is still there. It acknowledges
nothing new: a living connection answers such a segment with the numbers it expects, a dead one with RST (RFC 9293
section 3.10.7). A RST tells the sender of a segment that its connection is no more (RFC 9293 section 3.5.2).
"""

from translator.jit.compile import int64, rare
from translator.packet.checksum import checksum, sum_octets
from translator.packet.error_limits import take_token
from translator.packet.fields import (
    IPV4_HEADER,
    IPV6_HEADER,
    TCP,
    TCP_ACK,
    TCP_ACKNOWLEDGMENT_AT,
    TCP_CHECKSUM_AT,
    TCP_DATA_OFFSET_AT,
    TCP_FIN,
    TCP_FLAGS_AT,
    TCP_HEADER,
    TCP_RST,
    TCP_SEQUENCE_AT,
    TCP_SYN,
    put_u16,
    put_u32,
    tcp_header_length,
    u8,
    u32,
)
from translator.packet.headers import Header, write
from translator.packet.icmp_error import HOP_LIMIT, may_be_answered
from translator.packet.parse import is_fragment
from translator.packet.transport import pseudo_header
from translator.packet.tuples import reply_of, wire_tuple
from translator.tables.gateway import HEADROOM
from translator.verdict import Event


@rare()
def write_probe(gateway, t):
    """Write the probe of an IPv6 TCP tuple into the worker's answer, at HEADROOM; returns its length."""
    return write_segment(gateway, t, TCP_ACK, 0, 0)


@rare()
def reset_sender(gateway, now, p, view, kind):
    """Write the RST that a TCP segment gets where there is no connection, where one may be sent and the limit of this
    kind allows; returns its length. The numbers are those of RFC 9293 section 3.5.2, group 1."""
    events, flags = gateway.worker.events, u8(p, view.l4 + TCP_FLAGS_AT)
    if is_fragment(view) or flags & TCP_RST or not may_be_answered(p, view):
        events[int64(Event.ANSWER_FORBIDDEN)] += 1
        return 0
    if not take_token(gateway, now, view.family, view.src, kind):
        events[int64(Event.RESET_LIMITED)] += 1
        return 0
    events[int64(Event.RESET_SENT)] += 1
    back = reply_of(wire_tuple(p, view, view.family == 6))
    if flags & TCP_ACK:
        return write_segment(gateway, back, TCP_RST, u32(p, view.l4 + TCP_ACKNOWLEDGMENT_AT), 0)
    length = max(view.payload - tcp_header_length(p, view.l4), 0)
    length += (1 if flags & TCP_SYN else 0) + (1 if flags & TCP_FIN else 0)
    following = u32(p, view.l4 + TCP_SEQUENCE_AT) + length & 0xFFFFFFFF
    return write_segment(gateway, back, TCP_RST | TCP_ACK, 0, following)


@rare()
def write_segment(gateway, t, flags, sequence, acknowledgment):
    """Write a TCP segment of a tuple of either family into the worker's answer, at HEADROOM; returns its length."""
    header = IPV4_HEADER if t.family == 4 else IPV6_HEADER
    out, l4 = gateway.worker.answer, HEADROOM + header
    put_u16(out, l4, t.src.port)
    put_u16(out, l4 + 2, t.dst.port)
    put_u32(out, l4 + TCP_SEQUENCE_AT, sequence)
    put_u32(out, l4 + TCP_ACKNOWLEDGMENT_AT, acknowledgment)
    put_u32(out, l4 + TCP_DATA_OFFSET_AT, (TCP_HEADER // 4 << 12 | flags) << 16)
    put_u32(out, l4 + TCP_CHECKSUM_AT, 0)
    covered = pseudo_header(t, TCP_HEADER) + TCP_HEADER + TCP
    put_u16(out, l4 + TCP_CHECKSUM_AT, checksum(covered + sum_octets(out, l4, l4 + TCP_HEADER)))
    # With DF it needs no Identification of its own (RFC 6864 section 4.1).
    ip = Header(t.family, 0, TCP_HEADER, TCP, HOP_LIMIT, 0, 1, 0, 0, 0)
    write(out, l4, ip, t.src, t.dst)
    return header + TCP_HEADER
