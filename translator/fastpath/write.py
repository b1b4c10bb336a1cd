"""RFC 7915: the new header in place of the old one, as packet/headers.py and packet/transport.py write it."""

from translator.fastpath import kernel
from translator.fastpath.reasons import Reason
from translator.jit.bpf import context32, le32s, le64, put32, put_be16, put_be32, put_be64, stack
from translator.jit.compile import int64, jit
from translator.packet.checksum import checksum, fold, replace, sum_word
from translator.packet.fields import (
    DONT_FRAGMENT,
    ICMP,
    ICMP_IDENTIFIER_AT,
    ICMPV6,
    IPV4_CHECKSUM_AT,
    IPV4_DESTINATION_AT,
    IPV4_FLAGS_AT,
    IPV4_HEADER,
    IPV4_IDENTIFICATION_AT,
    IPV4_LENGTH_AT,
    IPV4_SOURCE_AT,
    IPV4_TTL_AT,
    IPV6_DESTINATION_AT,
    IPV6_HEADER,
    IPV6_LENGTH_AT,
    IPV6_NEXT_HEADER_AT,
    IPV6_SOURCE_AT,
    TCP,
    TCP_CHECKSUM_AT,
    UDP,
    UDP_CHECKSUM_AT,
)
from translator.packet.icmp import echo_type
from translator.packet.transport import pseudo_header
from translator.tables.layout import NONE


@jit()
def class_of(parsed):
    """The traffic class that is written."""
    fixed = kernel.traffic_class()
    return parsed.traffic_class if fixed == NONE else fixed


@jit()
def next_identification():
    """As pipeline.next_identification, with CPUs for workers: no two within 65,536 packets of the program."""
    key = stack(8)
    put32(key, int64(Reason.SIX_TO_FOUR))
    row = kernel.lookup(kernel.counters(), key)
    if row == 0:
        return 0
    put32(key, (le64(row) * kernel.cpus() + (kernel.cpu_number() & 0xFFFF)) & 0xFFFF)
    row = kernel.lookup(kernel.identifications(), key)
    return 0 if row == 0 else le32s(row)


@jit()
def swapped(total):
    """A folded sum, as the kernel has it: in the order of this machine."""
    return (total & 0xFF) << 8 | total >> 8


@jit()
def head_of(parsed, outgoing):
    """The first 32 bits of the transport header: ports, or type, code and checksum of an echo (transport.rewrite)."""
    t, size = parsed.t, parsed.payload
    if t.protocol != ICMP:
        return outgoing.src.port << 16 | outgoing.dst.port
    kind = echo_type(parsed.kind >> 8, outgoing.family) << 8 | parsed.kind & 0xFF
    uncovered = pseudo_header(t, size) + parsed.kind + (t.src.port | t.dst.port)
    covered = pseudo_header(outgoing, size) + kind + (outgoing.src.port | outgoing.dst.port)
    return kind << 16 | replace(parsed.field, uncovered, covered)


@jit()
def lacks_sum(parsed, head):
    """Whether the new checksum of an echo is zero: what of it is zero, too, the pipeline looks at (settle_zero)."""
    return parsed.t.protocol == ICMP and head & 0xFFFF == 0


@jit()
def write_transport(skb, at, parsed, outgoing):
    """As transport.rewrite, of a packet whose transport header is at `at` by now; its `head_of` is written already.

    A checksum that still lacks the sum of the data (CHECKSUM_PARTIAL) is that of the pseudo-header alone: only there
    the kernel knows which of the two it is. Every other one is replaced as it is, as that of a tunnel whose inner
    packet has the partial one.
    """
    t, size, field = parsed.t, parsed.payload, stack(8)
    if t.protocol == ICMP:
        put_be16(field, outgoing.src.port | outgoing.dst.port)
        kernel.store_bytes(skb, at + ICMP_IDENTIFIER_AT, field, 2, kernel.RECOMPUTE)
        return
    uncovered, covered = pseudo_header(t, size), pseudo_header(outgoing, size)
    ports, new_ports = t.src.port + t.dst.port, outgoing.src.port + outgoing.dst.port
    at += TCP_CHECKSUM_AT if t.protocol == TCP else UDP_CHECKSUM_AT
    if context32(skb + kernel.GSO_SIZE) != 0 or parsed.field == fold(uncovered + size + t.protocol):
        flags = 0 if t.protocol == TCP else kernel.MANGLED_0
        if ports != new_ports:
            change = swapped(fold(new_ports + 0xFFFF - fold(ports)))
            kernel.l4_csum_replace(skb, at, 0, change, flags)
            if kernel.device() != 0:
                kernel.csum_update(skb, 0xFFFF - change)  # of the field: that of the ports has been seen to
        change = swapped(fold(covered + 0xFFFF - fold(uncovered)))
        kernel.l4_csum_replace(skb, at, 0, change, flags | kernel.PSEUDO)
        return
    new = replace(parsed.field, uncovered + ports, covered + new_ports)
    put_be16(field, 0xFFFF if new == 0 and t.protocol == UDP else new)
    kernel.store_bytes(skb, at, field, 2, kernel.RECOMPUTE)


@jit()
def write_ipv4(skb, parsed, outgoing, head, dont_fragment):
    """As headers.write_ipv4, and the head of what is behind it. Returns the Reason."""
    h, flags, identification = stack(24), dont_fragment * DONT_FRAGMENT, next_identification()
    first, length = 0x4500 | class_of(parsed), IPV4_HEADER + parsed.payload
    hop_limit = parsed.hop_limit - 1 << 8 | outgoing.protocol
    total = first + length + identification + flags + hop_limit + sum_word(outgoing.src.lo) + sum_word(outgoing.dst.lo)
    put_be16(h, first)
    put_be16(h + IPV4_LENGTH_AT, length)
    put_be16(h + IPV4_IDENTIFICATION_AT, identification)
    put_be16(h + IPV4_FLAGS_AT, flags)
    put_be16(h + IPV4_TTL_AT, hop_limit)
    put_be16(h + IPV4_CHECKSUM_AT, checksum(total))
    put_be32(h + IPV4_SOURCE_AT, outgoing.src.lo)
    put_be32(h + IPV4_DESTINATION_AT, outgoing.dst.lo)
    put_be32(h + IPV4_HEADER, head)
    if kernel.change_proto(skb, kernel.IPV4, 0) != 0:
        return Reason.REFUSED
    kernel.store_bytes(skb, kernel.link_header(), h, 24, kernel.RECOMPUTE)
    write_transport(skb, kernel.link_header() + IPV4_HEADER, parsed, outgoing)
    return Reason.SIX_TO_FOUR


@jit()
def write_ipv6(skb, parsed, outgoing, head):
    """As headers.write_ipv6, and the head of what is behind it. Returns the Reason."""
    h, protocol = stack(48), ICMPV6 if outgoing.protocol == ICMP else outgoing.protocol
    put_be32(h, 0x60000000 | class_of(parsed) << 20)
    put_be16(h + IPV6_LENGTH_AT, parsed.payload)
    put_be16(h + IPV6_NEXT_HEADER_AT, protocol << 8 | parsed.hop_limit - 1)
    put_be64(h + IPV6_SOURCE_AT, outgoing.src.hi)
    put_be64(h + IPV6_SOURCE_AT + 8, outgoing.src.lo)
    put_be64(h + IPV6_DESTINATION_AT, outgoing.dst.hi)
    put_be64(h + IPV6_DESTINATION_AT + 8, outgoing.dst.lo)
    put_be32(h + IPV6_HEADER, head)
    if kernel.change_proto(skb, kernel.IPV6, 0) != 0:
        return Reason.REFUSED
    kernel.store_bytes(skb, kernel.link_header(), h, 44, kernel.RECOMPUTE)
    write_transport(skb, kernel.link_header() + IPV6_HEADER, parsed, outgoing)
    return Reason.FOUR_TO_SIX
