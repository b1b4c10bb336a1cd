"""IPv6 packets that stay IPv6: addresses, ports and checksum are replaced where they are, the hop limit is one less.

Nothing moves, so extension headers and fragments are carried as they came, and so is what a virtio_net_hdr says. An
ICMP error is the same work twice, for the packet that it quotes, too (as RFC 5597 asks of IPv4, and RFC 6296 section 6
of prefixes).
"""

from translator.jit.compile import jit, rare
from translator.packet.checksum import checksum, replace, sum_octets
from translator.packet.fields import (
    FRAGMENT_HEADER,
    ICMP,
    ICMP_CHECKSUM_AT,
    IPV6_DESTINATION_AT,
    IPV6_HEADER,
    IPV6_HOP_LIMIT_AT,
    IPV6_SOURCE_AT,
    TCP,
    TCP_CHECKSUM_AT,
    UDP_CHECKSUM_AT,
    UDP_HEADER,
    put_u8,
    put_u16,
    put_u64,
    tcp_header_length,
    u16,
)
from translator.packet.headers import Header, write
from translator.packet.icmp import ECHO_REPLY6, ECHO_REQUEST6
from translator.packet.icmp_error import HOP_LIMIT
from translator.packet.transport import is_partial, pseudo_header, rewrite
from translator.packet.tuples import reply_of, tuple_of
from translator.packet.virtio import GSO_NONE, clear


@jit()
def put_addresses(p, at, src, dst):
    """Write the addresses of the IPv6 header at `at`."""
    put_u64(p, at + IPV6_SOURCE_AT, src.hi)
    put_u64(p, at + IPV6_SOURCE_AT + 8, src.lo)
    put_u64(p, at + IPV6_DESTINATION_AT, dst.hi)
    put_u64(p, at + IPV6_DESTINATION_AT + 8, dst.lo)


@jit()
def is_too_big(settings, p, packet):
    """Whether a packet, or a segment of a super-frame, is larger than the MTU of the next hop, if that is known."""
    view, offload = packet.parsed, packet.offload
    size = view.end - view.l3
    if offload.gso_type != GSO_NONE:
        transport = tcp_header_length(p, view.l4) if view.transport == TCP else UDP_HEADER
        size = min(size, view.l4 - view.l3 + transport + offload.gso_size)
    return 0 < settings.mtu6 < size


@rare()
def write_in_place(p, packet, outgoing):
    """Make a packet that is no ICMP error that of another tuple; only the first fragment has ports and checksum."""
    view = packet.parsed
    checksum_at = view.l4 + (TCP_CHECKSUM_AT if view.transport == TCP else UDP_CHECKSUM_AT)
    if view.fragment_offset == 0:
        partial = is_partial(view, packet.offload, checksum_at)
        rewrite(p, view, view.end, packet.incoming, outgoing, partial)
    put_addresses(p, view.l3, outgoing.src, outgoing.dst)
    put_u8(p, view.l3 + IPV6_HOP_LIMIT_AT, view.hop_limit - 1)


@rare()
def write_error_in_place(p, packet, outgoing, src, dst):
    """Make an ICMP error one about a packet of the tuple that answers `outgoing`, from `src` to `dst`."""
    view, quoted = packet.parsed, packet.quoted
    inner = reply_of(outgoing)
    rewrite(p, quoted, quoted.end, reply_of(packet.incoming), inner, False)
    put_addresses(p, quoted.l3, inner.src, inner.dst)
    put_addresses(p, view.l3, src, dst)
    put_u8(p, view.l3 + IPV6_HOP_LIMIT_AT, view.hop_limit - 1)
    put_u16(p, view.l4 + ICMP_CHECKSUM_AT, 0)
    total = pseudo_header(tuple_of(6, ICMP, src, dst), view.payload) + sum_octets(p, view.l4, view.end)
    put_u16(p, view.l4 + ICMP_CHECKSUM_AT, checksum(total))
    clear(p, view.l3)


@rare()
def write_echo_reply(p, view, lowest_mtu):
    """RFC 4443 section 4.2: make an echo request the reply to it, as if from where it went: (where it begins, octets of
    each fragment that it leaves in, or 0). What the sender has cut is cut again, under the number it gave."""
    cut = view.has_fragment_header != 0 and IPV6_HEADER + view.payload > lowest_mtu
    at = view.l4 + ICMP_CHECKSUM_AT
    put_u8(p, view.l4, ECHO_REPLY6)
    put_u16(p, at, replace(u16(p, at), ECHO_REQUEST6 << 8, ECHO_REPLY6 << 8))
    fragment = 1 if cut else 0
    header = Header(
        6, view.traffic_class, view.payload, view.protocol, HOP_LIMIT, view.identification, 0, fragment, 0, 0
    )
    at = write(p, view.l4, header, view.dst, view.src)
    clear(p, at)
    return at, ((lowest_mtu - IPV6_HEADER - FRAGMENT_HEADER) & ~7) * fragment
