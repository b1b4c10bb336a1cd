"""RFC 6146 section 3.5.2.2: the TCP segment that asks the IPv6 end of a silent session whether it is still there.

It acknowledges nothing new and carries nothing: a living connection answers such a segment with the numbers it expects,
a dead one with RST (RFC 9293 section 3.10.7).
"""

from translator.jit.compile import rare
from translator.packet.checksum import checksum, sum_octets
from translator.packet.fields import (
    IPV6_HEADER,
    TCP,
    TCP_ACK,
    TCP_CHECKSUM_AT,
    TCP_DATA_OFFSET_AT,
    TCP_HEADER,
    put_u16,
    put_u32,
)
from translator.packet.headers import Header, write
from translator.packet.icmp_error import HOP_LIMIT
from translator.packet.transport import pseudo_header
from translator.tables.gateway import HEADROOM


@rare()
def write_probe(gateway, t):
    """Write the probe of an IPv6 TCP tuple into the worker's answer, at HEADROOM; returns its length."""
    out, l4 = gateway.worker.answer, HEADROOM + IPV6_HEADER
    for at in range(l4, l4 + TCP_HEADER, 4):
        put_u32(out, at, 0)
    put_u16(out, l4, t.src.port)
    put_u16(out, l4 + 2, t.dst.port)
    put_u16(out, l4 + TCP_DATA_OFFSET_AT, TCP_HEADER // 4 << 12 | TCP_ACK)
    covered = pseudo_header(t, TCP_HEADER) + TCP_HEADER + TCP
    put_u16(out, l4 + TCP_CHECKSUM_AT, checksum(covered + sum_octets(out, l4, l4 + TCP_HEADER)))
    ip = Header(6, 0, TCP_HEADER, TCP, HOP_LIMIT, 0, 0, 0, 0, 0)
    write(out, l4, ip, t.src, t.dst)
    return IPV6_HEADER + TCP_HEADER
