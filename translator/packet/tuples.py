"""RFC 6146 section 3.4: what a packet is about, as a tuple; section 3.6: the same in the other family.

`src`/`dst` are as on the wire. An IPv4 address lies in the `_lo` word. An ICMP query has one identifier and no ports:
it stands where the port of the host behind us stands (source from IPv6, destination from IPv4), and the other port is
0, so `src_port | dst_port` is the identifier whatever the direction. The tuple of an ICMP error is the one of the
packet it quotes, turned round: the packet that would be its reply. That happens here and nowhere else.
"""

from typing import NamedTuple

from translator.compile import int64, jit
from translator.packet.fields import (
    ICMP,
    ICMP_IDENTIFIER_AT,
    IPV4_DESTINATION_AT,
    IPV4_SOURCE_AT,
    IPV6_DESTINATION_AT,
    IPV6_SOURCE_AT,
    TCP,
    UDP,
    u16,
    u32,
    u64,
)


class Tuple(NamedTuple):
    """Transport addresses of a packet; `protocol` is that of IPv4 (ICMP also for ICMPv6), ports are 0 where it has
    none."""

    family: int
    protocol: int
    src_hi: int
    src_lo: int
    src_port: int
    dst_hi: int
    dst_lo: int
    dst_port: int


@jit()
def tuple_of(family, protocol, src_hi, src_lo, src_port, dst_hi, dst_lo, dst_port):
    """A Tuple of plain int64, whatever the width of the table fields it is made from."""
    return Tuple(
        int64(family),
        int64(protocol),
        int64(src_hi),
        int64(src_lo),
        int64(src_port),
        int64(dst_hi),
        int64(dst_lo),
        int64(dst_port),
    )


@jit()
def addresses(p, view):
    """Source and destination of a view as four words."""
    if view.family == 4:
        return 0, u32(p, view.l3 + IPV4_SOURCE_AT), 0, u32(p, view.l3 + IPV4_DESTINATION_AT)
    src, dst = view.l3 + IPV6_SOURCE_AT, view.l3 + IPV6_DESTINATION_AT
    return u64(p, src), u64(p, src + 8), u64(p, dst), u64(p, dst + 8)


@jit()
def wire_tuple(p, view, from_host6):
    """The tuple of a packet as it lies; ports are 0 in a later fragment and in other protocols.

    `from_host6`: an ICMP identifier belongs to the source (a packet from an IPv6 host, or one quoted on its way there
    from IPv4).
    """
    src_hi, src_lo, dst_hi, dst_lo = addresses(p, view)
    src_port, dst_port = 0, 0
    if view.fragment_offset == 0:
        if view.transport == ICMP:
            identifier = u16(p, view.l4 + ICMP_IDENTIFIER_AT)
            src_port, dst_port = (identifier, 0) if from_host6 else (0, identifier)
        elif view.transport != 0:
            src_port, dst_port = u16(p, view.l4), u16(p, view.l4 + 2)
    protocol = view.transport if view.transport != 0 else view.protocol
    return tuple_of(view.family, protocol, src_hi, src_lo, src_port, dst_hi, dst_lo, dst_port)


@jit()
def is_other(t):
    """Whether the protocol is none with ports that we know."""
    return t.protocol != TCP and t.protocol != UDP and t.protocol != ICMP


@jit()
def turned(t):
    """The tuple of the reply."""
    return tuple_of(t.family, t.protocol, t.dst_hi, t.dst_lo, t.dst_port, t.src_hi, t.src_lo, t.src_port)


@jit()
def incoming_tuple(p, view, quoted, is_error):
    """RFC 6146 section 3.4: the packet's own tuple, or the turned one of the packet an ICMP error quotes."""
    if is_error:
        return turned(wire_tuple(p, quoted, view.family == 4))
    return wire_tuple(p, view, view.family == 6)


@jit()
def arriving(t):
    """RFC 6146 section 3.8: an outgoing IPv4 tuple that returns to us, as if it had come in from IPv4."""
    if t.protocol == ICMP:
        return tuple_of(t.family, t.protocol, t.src_hi, t.src_lo, 0, t.dst_hi, t.dst_lo, t.src_port | t.dst_port)
    return t
