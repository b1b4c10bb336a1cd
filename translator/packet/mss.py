"""The Maximum Segment Size option of a SYN (RFC 9293 section 3.7.1), lowered to what the way back carries.

For paths on which "packet too big" gets lost. One limit holds for both directions: the segments that answer a SYN cross
both networks, whichever side opens the connection. RFC 6691: the option counts neither IP nor TCP options, so the MTU
less the fixed headers is its value.
"""

from translator.jit.compile import jit, rare
from translator.packet.checksum import replace
from translator.packet.fields import (
    END_OF_OPTIONS,
    NO_OPERATION,
    TCP_CHECKSUM_AT,
    TCP_HEADER,
    put_u16,
    tcp_header_length,
    u8,
    u16,
)
from translator.packet.transport import is_partial

MSS, MSS_LENGTH = 2, 4  # RFC 9293 section 3.1: kind and length


@rare()
def lower_mss(p, packet, mss):
    """RFC 9293 section 3.7.1: lower the MSS of a SYN to `mss`; returns what it was, 0 if it stays.

    It is never raised, and nothing is added: without the option, a host sends the little that every path carries. From
    a malformed option on nothing is read, as hosts do.
    """
    at, end = packet.parsed.l4 + TCP_HEADER, packet.parsed.l4 + tcp_header_length(p, packet.parsed.l4)
    was = 0
    while at < end and u8(p, at) != END_OF_OPTIONS:
        if u8(p, at) == NO_OPERATION:
            at += 1
            continue
        length = u8(p, at + 1) if at + 1 < end else 0
        if length < 2 or at + length > end:
            break
        if u8(p, at) == MSS and length == MSS_LENGTH and u16(p, at + 2) > mss:
            was = u16(p, at + 2)
            put_mss(p, packet, at + 2, mss)
        at += length
    return was


@jit()
def put_mss(p, packet, at, mss):
    """Write an MSS at any offset, and update the checksum, unless it does not cover the segment yet (NEEDS_CSUM)."""
    view = packet.parsed
    old, new = u16(p, at), mss
    put_u16(p, at, mss)
    if is_partial(view, packet.offload, view.l4 + TCP_CHECKSUM_AT):
        return
    if (at - view.l4) & 1:  # RFC 1071 section 2 (B): the octets of a word swapped are its sum swapped
        old, new = swapped(old), swapped(new)
    put_u16(p, view.l4 + TCP_CHECKSUM_AT, replace(u16(p, view.l4 + TCP_CHECKSUM_AT), old, new))


@jit()
def swapped(word):
    """A 16-bit word with its octets in the other order."""
    return (word & 0xFF) << 8 | word >> 8
