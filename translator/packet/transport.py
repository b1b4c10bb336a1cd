"""RFC 7915 sections 4.5 and 5.5: ports, identifier and checksum of a transport header, in place, whatever the
direction.

Three movements: uncover the old pseudo-header, replace the fields, cover with the new one. The checksum is never
recomputed where it can be updated, so a packet that arrived damaged leaves damaged.
"""

from translator.jit.compile import hot, jit, rare
from translator.packet.checksum import checksum, replace, replace_partial, settle_zero, sum_octets, sum_word
from translator.packet.fields import (
    ICMP,
    ICMP_CHECKSUM_AT,
    ICMP_IDENTIFIER_AT,
    ICMPV6,
    TCP,
    TCP_CHECKSUM_AT,
    UDP,
    UDP_CHECKSUM_AT,
    UDP_LENGTH_AT,
    put_u16,
    u16,
)
from translator.packet.icmp import echo_type
from translator.packet.tuples import is_other
from translator.packet.virtio import NEEDS_CSUM

CALCULATE, DROP, FORWARD, PRESENT = 0, 1, 2, 3  # a UDP checksum of zero: Settings.zero_udp_checksum, or there is one


@hot()
def pseudo_header(t, length):
    """The sum of what a transport checksum covers outside its packet and a translator changes.

    TCP and UDP: the addresses (length and protocol stay). ICMPv6: addresses, length, next header. ICMP: nothing.
    """
    if t.protocol == ICMP and t.family == 4:
        return 0
    total = sum_word(t.src.hi) + sum_word(t.src.lo) + sum_word(t.dst.hi) + sum_word(t.dst.lo)
    return total + sum_word(length) + ICMPV6 if t.protocol == ICMP else total


@hot()
def rewrite(p, view, end, incoming, outgoing, partial):
    """Turn the transport header of a packet of tuple `incoming` into that of `outgoing`.

    `end`: where its octets end; a quoted packet may end before its checksum. `partial`: the checksum field holds only
    the pseudo-header sum (virtio NEEDS_CSUM).
    """
    if is_other(incoming):
        return
    at = view.l4
    uncovered, covered = pseudo_header(incoming, view.payload), pseudo_header(outgoing, view.payload)
    if incoming.protocol == ICMP:
        word = u16(p, at)
        new_word = echo_type(word >> 8, outgoing.family) << 8 | word & 0xFF
        identifier, new_identifier = u16(p, at + ICMP_IDENTIFIER_AT), outgoing.src.port | outgoing.dst.port
        put_u16(p, at, new_word)
        put_u16(p, at + ICMP_IDENTIFIER_AT, new_identifier)
        uncovered, covered = uncovered + word + identifier, covered + new_word + new_identifier
        checksum_at = at + ICMP_CHECKSUM_AT
    else:
        put_u16(p, at, outgoing.src.port)
        put_u16(p, at + 2, outgoing.dst.port)
        checksum_at = at + (TCP_CHECKSUM_AT if incoming.protocol == TCP else UDP_CHECKSUM_AT)
        if partial:
            put_u16(p, checksum_at, replace_partial(u16(p, checksum_at), uncovered, covered))
            return
        uncovered += incoming.src.port + incoming.dst.port
        covered += outgoing.src.port + outgoing.dst.port
    if checksum_at + 2 > end:
        return
    field = u16(p, checksum_at)
    if incoming.protocol == UDP:
        if field != 0:
            new = replace(field, uncovered, covered)
            put_u16(p, checksum_at, new if new != 0 else 0xFFFF)
    else:
        new = replace(field, uncovered, covered)
        put_u16(p, checksum_at, new)
        if new == 0 and incoming.protocol == ICMP:
            settle_zero(p, at, end, checksum_at)


@jit()
def is_partial(view, offload, checksum_at):
    """Whether the checksum at `checksum_at` holds only the pseudo-header sum (virtio NEEDS_CSUM)."""
    return offload.flags & NEEDS_CSUM != 0 and view.l3 + offload.csum_start + offload.csum_offset == checksum_at


@hot()
def zero_checksum(settings, p, view):
    """What becomes of a UDP header that carries no checksum (RFC 768, RFC 7915 section 4.5); PRESENT if it does."""
    if view.transport != UDP or view.fragment_offset > 0 or u16(p, view.l4 + UDP_CHECKSUM_AT) != 0:
        return PRESENT
    return zero_checksum_of(settings, u16(p, view.l4 + 2))


@rare()
def zero_checksum_of(settings, dst_port):
    """CALCULATE, DROP or FORWARD: what is configured for a destination port."""
    ports = settings.zero_udp_checksum_ports
    for i in range(len(ports)):
        if ports[i, 0] <= dst_port <= ports[i, 1]:
            return ports[i, 2]
    return settings.zero_udp_checksum


@rare()
def calculate_udp(p, at, outgoing, partial):
    """Give a UDP header without checksum one (RFC 7915 section 4.5); its ports are the new ones already."""
    length = u16(p, at + UDP_LENGTH_AT)
    total = pseudo_header(outgoing, length) + length + UDP
    if partial:
        put_u16(p, at + UDP_CHECKSUM_AT, replace_partial(0, 0, total))
        return
    field = checksum(total + sum_octets(p, at, at + length))
    put_u16(p, at + UDP_CHECKSUM_AT, field if field != 0 else 0xFFFF)


@rare()
def complete(p, start, end, checksum_at):
    """Do what NEEDS_CSUM left undone: sum [start, end) with the pseudo-header sum that lies in the field."""
    field = checksum(sum_octets(p, start, end))
    put_u16(p, checksum_at, field if field != 0 else 0xFFFF)
