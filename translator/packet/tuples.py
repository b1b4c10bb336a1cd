"""RFC 6146 section 3.4: what a packet is about, as a tuple; section 3.6: the same in the other family.

`src`/`dst` are as on the wire. An ICMP query has one identifier and no ports: it stands where the port of the host
behind us stands (source from IPv6, destination from IPv4), and the other port is 0, so `src.port | dst.port` is the
identifier whatever the direction. The tuple of an ICMP error is the one of the packet it quotes, reversed: that of the
packet that would be its reply. That happens here and nowhere else.
"""

from typing import NamedTuple

from translator.jit.compile import int64, jit
from translator.packet.addresses import TransportAddress, address4, address6
from translator.packet.fields import ICMP, ICMP_IDENTIFIER_AT, TCP, UDP, u16


class Tuple(NamedTuple):
    """Transport addresses of a packet; `protocol` is that of IPv4 (ICMP also for ICMPv6)."""

    family: int
    protocol: int
    src: TransportAddress
    dst: TransportAddress


@jit()
def tuple_of(family, protocol, src, dst):
    """A Tuple of plain int64, whatever the width of the table fields it is made from."""
    return Tuple(int64(family), int64(protocol), src, dst)


@jit()
def wire_tuple(p, view, from_host6):
    """The tuple of a packet as it lies; ports are 0 in a later fragment and in other protocols.

    `from_host6`: an ICMP identifier belongs to the source (a packet from an IPv6 host, or one quoted on its way there
    from IPv4).
    """
    src_port, dst_port = 0, 0
    if view.fragment_offset == 0:
        if view.transport == ICMP:
            identifier = u16(p, view.l4 + ICMP_IDENTIFIER_AT)
            src_port, dst_port = (identifier, 0) if from_host6 else (0, identifier)
        elif view.transport != 0:
            src_port, dst_port = u16(p, view.l4), u16(p, view.l4 + 2)
    protocol = view.transport if view.transport != 0 else view.protocol
    src, dst = address6(view.src.hi, view.src.lo, src_port), address6(view.dst.hi, view.dst.lo, dst_port)
    return tuple_of(view.family, protocol, src, dst)


@jit()
def is_other(t):
    """Whether the protocol has no ports that we know: it is none of TCP, UDP and ICMP."""
    return t.protocol != TCP and t.protocol != UDP and t.protocol != ICMP


@jit()
def reply_of(t):
    """The tuple of the reply."""
    return tuple_of(t.family, t.protocol, t.dst, t.src)


@jit()
def incoming_tuple(p, view, quoted, is_error):
    """RFC 6146 section 3.4: the packet's own tuple, or that of the reply to the packet an ICMP error quotes."""
    if is_error:
        return reply_of(wire_tuple(p, quoted, view.family == 4))
    return wire_tuple(p, view, view.family == 6)


@jit()
def as_from_ipv4(t):
    """RFC 6146 section 3.8: an outgoing IPv4 tuple that returns to us, as if it had come in from IPv4."""
    if t.protocol == ICMP:
        return tuple_of(t.family, t.protocol, address4(t.src.lo, 0), address4(t.dst.lo, t.src.port | t.dst.port))
    return t
