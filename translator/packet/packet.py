"""A packet on its way through the steps: what was read in it, and what is decided once about it."""

from typing import NamedTuple

from translator.jit.compile import hot, jit
from translator.packet.fields import ICMP, u8
from translator.packet.icmp import is_error
from translator.packet.parse import View, is_fragment
from translator.packet.transport import CALCULATE
from translator.packet.tuples import Tuple
from translator.packet.virtio import Offload


class Packet(NamedTuple):
    """What the steps after `examine` know of a packet."""

    parsed: View
    quoted: View  # the packet that an ICMP error quotes, otherwise the packet itself
    offload: Offload
    incoming: Tuple  # RFC 6146 section 3.4
    quotes: bool  # it is an ICMP error
    checksum: int  # transport.PRESENT, or what becomes of a UDP checksum of zero
    flags: int  # of TCP, perhaps with NOT_BELIEVED; 0 in other packets
    whole: bool  # a fragment that can only be translated together with all others of its datagram
    part: bool  # a fragment that shows no ports, or is not to be looked up alone


@hot()
def quotes_packet(p, view):
    """Whether a packet is a whole ICMP error."""
    return view.transport == ICMP and not is_fragment(view) and is_error(view.family, u8(p, view.l4))


@jit()
def needs_whole(view, checksum):
    """Whether a fragment can only be translated with all others of its datagram: ICMP, whose checksum
    covers it and in ICMPv6 its addresses, and UDP over IPv4 without a checksum, which has to be calculated."""
    return is_fragment(view) and (view.transport == ICMP or (view.family == 4 and checksum == CALCULATE))
