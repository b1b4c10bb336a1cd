"""RFC 7915 sections 4.1 and 5.1: the network header of one family from that of the other.

A `Header` holds what both families have, read before anything is written; a writer puts it right in front of the
transport header, which stays where it is.
"""

from typing import NamedTuple

from translator.jit.compile import hot, jit
from translator.packet.checksum import checksum, sum_octets
from translator.packet.fields import (
    DONT_FRAGMENT,
    FRAGMENT,
    FRAGMENT_HEADER,
    ICMP,
    ICMPV6,
    IPV4_CHECKSUM_AT,
    IPV4_DESTINATION_AT,
    IPV4_FLAGS_AT,
    IPV4_HEADER,
    IPV4_IDENTIFICATION_AT,
    IPV4_LENGTH_AT,
    IPV4_PROTOCOL_AT,
    IPV4_SOURCE_AT,
    IPV4_TTL_AT,
    IPV6_DESTINATION_AT,
    IPV6_HEADER,
    IPV6_HOP_LIMIT_AT,
    IPV6_LENGTH_AT,
    IPV6_NEXT_HEADER_AT,
    IPV6_SOURCE_AT,
    MORE_FRAGMENTS,
    put_u8,
    put_u16,
    put_u32,
    put_u64,
)


class Header(NamedTuple):
    """A network header without its addresses, in neither family's layout."""

    family: int
    traffic_class: int
    payload: int  # octets behind the network header and its extension headers
    protocol: int  # as on the wire of `family`
    hop_limit: int
    identification: int
    dont_fragment: int
    fragment_header: int  # IPv6: write one
    fragment_offset: int  # in octets
    more_fragments: int


@jit()
def protocol_for(family, view):
    """The protocol number in the other family: ICMP and ICMPv6 change places, all others stay."""
    if view.transport == ICMP:
        return ICMP if family == 4 else ICMPV6
    return view.protocol


@jit()
def size_of(header):
    """Octets in front of the transport header."""
    if header.family == 4:
        return IPV4_HEADER
    return IPV6_HEADER + (FRAGMENT_HEADER if header.fragment_header else 0)


@hot()
def write(p, l4, header, src, dst):
    """Write a header that ends at `l4`, between two transport addresses; returns where it starts."""
    if header.family == 4:
        return write_ipv4(p, l4 - IPV4_HEADER, header, src, dst)
    return write_ipv6(p, l4 - size_of(header), header, src, dst)


@hot()
def write_ipv4(p, at, header, src, dst):
    """RFC 7915 section 5.1: no options, header checksum computed."""
    flags = (DONT_FRAGMENT if header.dont_fragment else 0) | (MORE_FRAGMENTS if header.more_fragments else 0)
    put_u16(p, at, 0x4500 | header.traffic_class)
    put_u16(p, at + IPV4_LENGTH_AT, IPV4_HEADER + header.payload)
    put_u16(p, at + IPV4_IDENTIFICATION_AT, header.identification)
    put_u16(p, at + IPV4_FLAGS_AT, flags | header.fragment_offset >> 3)
    put_u8(p, at + IPV4_TTL_AT, header.hop_limit)
    put_u8(p, at + IPV4_PROTOCOL_AT, header.protocol)
    put_u16(p, at + IPV4_CHECKSUM_AT, 0)
    put_u32(p, at + IPV4_SOURCE_AT, src.lo)
    put_u32(p, at + IPV4_DESTINATION_AT, dst.lo)
    put_u16(p, at + IPV4_CHECKSUM_AT, checksum(sum_octets(p, at, at + IPV4_HEADER)))
    return at


@hot()
def write_ipv6(p, at, header, src, dst):
    """RFC 7915 section 4.1: flow label 0; a Fragment header only for a fragment."""
    extra = size_of(header) - IPV6_HEADER
    put_u32(p, at, 0x60000000 | header.traffic_class << 20)
    put_u16(p, at + IPV6_LENGTH_AT, header.payload + extra)
    put_u8(p, at + IPV6_NEXT_HEADER_AT, FRAGMENT if extra else header.protocol)
    put_u8(p, at + IPV6_HOP_LIMIT_AT, header.hop_limit)
    put_u64(p, at + IPV6_SOURCE_AT, src.hi)
    put_u64(p, at + IPV6_SOURCE_AT + 8, src.lo)
    put_u64(p, at + IPV6_DESTINATION_AT, dst.hi)
    put_u64(p, at + IPV6_DESTINATION_AT + 8, dst.lo)
    if extra:
        put_u8(p, at + IPV6_HEADER, header.protocol)
        put_u8(p, at + IPV6_HEADER + 1, 0)
        put_u16(p, at + IPV6_HEADER + 2, header.fragment_offset | header.more_fragments)
        put_u32(p, at + IPV6_HEADER + 4, header.identification)
    return at
