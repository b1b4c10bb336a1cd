"""Octets -> View: where the headers are, or the verdict that says why they cannot be found. The only place that checks
a length.

Everything after works on a View and on octets that are known to be there. A quoted packet (in an ICMP error) is parsed
by the same steps with one allowance: it may be cut off behind the first eight octets of its transport header (RFC 792;
RFC 7915 section 4.3).
"""

from typing import NamedTuple

from translator.jit.compile import hot, jit, rare
from translator.packet.addresses import TransportAddress, address4, address6
from translator.packet.checksum import fold, sum_octets
from translator.packet.extensions import extension_of
from translator.packet.fields import (
    AUTHENTICATION,
    DESTINATION_OPTIONS,
    DONT_FRAGMENT,
    END_OF_OPTIONS,
    FRAGMENT,
    FRAGMENT_OFFSET,
    HOP_BY_HOP,
    HOST_IDENTITY,
    ICMP,
    ICMP_HEADER,
    ICMPV6,
    IGMP,
    IPV4_DESTINATION_AT,
    IPV4_FLAGS_AT,
    IPV4_HEADER,
    IPV4_IDENTIFICATION_AT,
    IPV4_LENGTH_AT,
    IPV4_PROTOCOL_AT,
    IPV4_SOURCE_AT,
    IPV4_TOS_AT,
    IPV4_TTL_AT,
    IPV6_DESTINATION_AT,
    IPV6_HEADER,
    IPV6_HOP_LIMIT_AT,
    IPV6_LENGTH_AT,
    IPV6_NEXT_HEADER_AT,
    IPV6_SOURCE_AT,
    LOOSE_SOURCE_ROUTE,
    MOBILITY,
    MORE_FRAGMENTS,
    NO_OPERATION,
    ROUTING,
    ROUTING_SEGMENTS_LEFT_AT,
    SHIM6,
    STRICT_SOURCE_ROUTE,
    TCP,
    TCP_HEADER,
    UDP,
    UDP_HEADER,
    UDP_LENGTH_AT,
    ipv4_header_length,
    ipv6_traffic_class,
    tcp_header_length,
    u8,
    u16,
    u32,
    u64,
    version,
)
from translator.packet.icmp import is_echo
from translator.verdict import Verdict

# LIMITS
EXTENSION_HEADERS = 8
LARGEST_PACKET = 65535  # IPv4 total length; IPv6 payload length
QUOTED_TRANSPORT = 8  # octets of a quoted transport header that are always there (RFC 792)


class View(NamedTuple):
    """A parsed packet: offsets into the buffer and the fields both families have. `verdict` is CONTINUE, or the rest is
    0."""

    verdict: Verdict
    family: int  # 4 | 6
    l3: int  # offset of the IP header
    l4: int  # of the transport header, or of the data of a later fragment
    end: int  # of the last octet + 1: what the header says, or less in a quoted packet
    payload: int  # octets behind the IP header and IPv6 extension headers, as the header says
    protocol: int  # as on the wire
    transport: int  # TCP, UDP, ICMP (also for ICMPv6), or 0
    traffic_class: int
    hop_limit: int
    identification: int
    dont_fragment: int
    has_fragment_header: int
    fragment_offset: int  # in octets
    more_fragments: int
    source_route: int  # offset in the packet of what says that a source route has not expired, or 0
    src: TransportAddress  # without ports
    dst: TransportAddress


@jit()
def refused(verdict, family, l3):
    """A view of a packet that is not looked at further."""
    nowhere = address4(0, 0)
    return View(verdict, family, l3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, nowhere, nowhere)


@hot()
def parse(p, at, end):
    """The view of the packet in [at, end)."""
    family = version(p, at) if end > at else 0
    if family == 4:
        view = parse_ipv4(p, at, end, False)
    elif family == 6:
        view = parse_ipv6(p, at, end, False)
    else:
        return refused(Verdict.NOT_IP, 0, at)
    if view.verdict != Verdict.CONTINUE:
        return view
    verdict = check_transport(p, view)
    return view if verdict == Verdict.CONTINUE else refused(verdict, view.family, at)


@rare()
def parse_quoted(p, error):
    """The view of the packet quoted in an ICMP error of the same family, or why that cannot be translated."""
    at, end, family = error.l4 + ICMP_HEADER, extension_of(p, error), error.family
    if end - at < IPV4_HEADER or version(p, at) != family:
        return refused(Verdict.QUOTED_PACKET, family, at)
    view = parse_ipv4(p, at, end, True) if family == 4 else parse_ipv6(p, at, end, True)
    # RFC 6146 section 3.4: a quote that does not tell whose packet it was is silently discarded.
    if view.verdict != Verdict.CONTINUE or is_foreign(view):
        return refused(Verdict.QUOTED_PACKET, family, at)
    if view.transport != 0 and view.fragment_offset == 0:
        if view.end - view.l4 < QUOTED_TRANSPORT:
            return refused(Verdict.QUOTED_PACKET, family, at)
        if view.transport == ICMP and not is_echo(family, u8(p, view.l4)):
            return refused(Verdict.ERROR_IN_ERROR, family, at)
    if not has_sound_checksum(p, error):
        return refused(Verdict.ICMP_CHECKSUM, family, at)
    return view


@jit()
def has_sound_checksum(p, view):
    """Whether the checksum of an ICMP message is right; it will be computed again, which must not
    turn a wrong one into a right one."""
    total = sum_octets(p, view.l4, view.end)
    if view.family == 6:
        total += sum_octets(p, view.l3 + IPV6_SOURCE_AT, view.l3 + IPV6_HEADER) + view.payload + ICMPV6
    return fold(total) == 0xFFFF


@jit()
def transport_of(family, protocol):
    """The protocol the translator knows, one number for both families; ICMP inside the wrong family is none."""
    if protocol == TCP or protocol == UDP:
        return protocol
    return ICMP if protocol == (ICMP if family == 4 else ICMPV6) else 0


@hot()
def parse_ipv4(p, at, end, quoted):
    """RFC 791 section 3.1."""
    if end - at < IPV4_HEADER:
        return refused(Verdict.TRUNCATED, 4, at)
    header, length = ipv4_header_length(p, at), u16(p, at + IPV4_LENGTH_AT)
    if header < IPV4_HEADER or length < header:
        return refused(Verdict.BAD_LENGTH, 4, at)
    if end - at < (header if quoted else length):
        return refused(Verdict.TRUNCATED, 4, at)
    if not quoted and fold(sum_octets(p, at, at + header)) != 0xFFFF:
        return refused(Verdict.HEADER_CHECKSUM, 4, at)
    flags, protocol = u16(p, at + IPV4_FLAGS_AT), u8(p, at + IPV4_PROTOCOL_AT)
    dont_fragment, more_fragments = flags // DONT_FRAGMENT & 1, flags // MORE_FRAGMENTS & 1
    return View(
        verdict=Verdict.CONTINUE,
        family=4,
        l3=at,
        l4=at + header,
        end=min(end, at + length),
        payload=length - header,
        protocol=protocol,
        transport=transport_of(4, protocol),
        traffic_class=u8(p, at + IPV4_TOS_AT),
        hop_limit=u8(p, at + IPV4_TTL_AT),
        identification=u16(p, at + IPV4_IDENTIFICATION_AT),
        dont_fragment=dont_fragment,
        has_fragment_header=0,
        fragment_offset=(flags & FRAGMENT_OFFSET) * 8,
        more_fragments=more_fragments,
        source_route=source_route_option(p, at, at + header),
        src=address4(u32(p, at + IPV4_SOURCE_AT), 0),
        dst=address4(u32(p, at + IPV4_DESTINATION_AT), 0),
    )


@jit()
def source_route_option(p, at, end):
    """The offset of a Loose or Strict Source Route option that has not expired (RFC 791 section 3.1, RFC 7915 section
    4.1), or 0."""
    option = at + IPV4_HEADER
    while option + 2 < end and u8(p, option) != END_OF_OPTIONS:
        kind, size = u8(p, option), u8(p, option + 1)
        if kind == NO_OPERATION:
            option += 1
            continue
        if (kind == LOOSE_SOURCE_ROUTE or kind == STRICT_SOURCE_ROUTE) and u8(p, option + 2) <= size:
            return option - at
        if size < 2:
            break
        option += size
    return 0


class Chain(NamedTuple):
    """The end of a chain of extension headers; as in View."""

    verdict: Verdict
    protocol: int
    l4: int
    has_fragment_header: int
    fragment_offset: int
    more_fragments: int
    identification: int
    source_route: int


@rare()
def follow_extensions(p, at, limit, protocol):
    """RFC 8200 section 4: the headers a translator skips (RFC 7915 section 5.1), in the packet [at, limit).

    Behind the Fragment header of a real fragment there may be none (RFC 7915 section 5.1.1).
    """
    l4, header, offset, more, identification, source_route = at + IPV6_HEADER, 0, 0, 0, 0, 0
    verdict = Verdict.CONTINUE
    for _ in range(EXTENSION_HEADERS):
        if not is_extension(protocol):
            break
        size = 8
        if limit - l4 >= 8 and protocol != FRAGMENT:
            size = u8(p, l4 + 1) * 8 + 8
        if limit - l4 < size:
            verdict = Verdict.TRUNCATED
            break
        if protocol == ROUTING and source_route == 0 and u8(p, l4 + ROUTING_SEGMENTS_LEFT_AT) != 0:
            source_route = l4 + ROUTING_SEGMENTS_LEFT_AT - at
        if offset > 0 or (more and source_route == 0) or (protocol == FRAGMENT and header):
            verdict = Verdict.EXTENSION_HEADERS
            break
        if protocol == FRAGMENT:
            header, identification = 1, u32(p, l4 + 4)
            offset, more = u16(p, l4 + 2) & 0xFFF8, u16(p, l4 + 2) & 1
        protocol, l4 = u8(p, l4), l4 + size
    if verdict == Verdict.CONTINUE and is_extension(protocol):
        verdict = Verdict.EXTENSION_HEADERS
    return Chain(verdict, protocol, l4, header, offset, more, identification, source_route)


@hot()
def parse_ipv6(p, at, end, quoted):
    """RFC 8200 section 3: the base header, and where the extension headers end."""
    if end - at < IPV6_HEADER:
        return refused(Verdict.TRUNCATED, 6, at)
    length = u16(p, at + IPV6_LENGTH_AT)
    if not quoted and end - at < IPV6_HEADER + length:
        return refused(Verdict.TRUNCATED, 6, at)
    limit = min(end, at + IPV6_HEADER + length)
    protocol = u8(p, at + IPV6_NEXT_HEADER_AT)
    chain = Chain(Verdict.CONTINUE, protocol, at + IPV6_HEADER, 0, 0, 0, 0, 0)
    if is_extension(protocol):
        chain = follow_extensions(p, at, limit, protocol)
        if chain.verdict != Verdict.CONTINUE:
            return refused(chain.verdict, 6, at)
        if not quoted and (chain.fragment_offset > 0 or chain.more_fragments) and is_passed_on(chain.protocol):
            return refused(Verdict.EXTENSION_HEADERS, 6, at)  # RFC 7915 section 5.1.1
    return View(
        verdict=Verdict.CONTINUE,
        family=6,
        l3=at,
        l4=chain.l4,
        end=limit,
        payload=at + IPV6_HEADER + length - chain.l4,
        protocol=chain.protocol,
        transport=transport_of(6, chain.protocol),
        traffic_class=ipv6_traffic_class(p, at),
        hop_limit=u8(p, at + IPV6_HOP_LIMIT_AT),
        identification=chain.identification,
        dont_fragment=0,
        has_fragment_header=chain.has_fragment_header,
        fragment_offset=chain.fragment_offset,
        more_fragments=chain.more_fragments,
        source_route=chain.source_route,
        src=address_at(p, at + IPV6_SOURCE_AT),
        dst=address_at(p, at + IPV6_DESTINATION_AT),
    )


@hot()
def address_at(p, at):
    """The 16 octets at `at` as an IPv6 address."""
    return address6(u64(p, at), u64(p, at + 8), 0)


@jit()
def is_extension(protocol):
    """Whether a Next Header value names an extension header that is skipped."""
    return protocol == HOP_BY_HOP or protocol == ROUTING or protocol == FRAGMENT or protocol == DESTINATION_OPTIONS


@jit()
def is_passed_on(protocol):
    """Whether a Next Header value names an extension header, other than ESP, that passes like a transport protocol."""
    return protocol == AUTHENTICATION or protocol == MOBILITY or protocol == HOST_IDENTITY or protocol == SHIM6


@jit()
def is_foreign(view):
    """A protocol that means something in one family only, or nothing; RFC 7915 sections 4.1 and 5.1 carry any other."""
    protocol = view.protocol
    if view.transport != 0:
        return False
    if protocol == ICMP or protocol == ICMPV6 or protocol == IGMP:
        return True
    return is_extension(protocol)


@jit()
def is_fragment(view):
    """A part of a datagram; an atomic fragment (RFC 6946) is a whole one."""
    return view.fragment_offset > 0 or view.more_fragments != 0


@hot()
def check_transport(p, view):
    """Whether the transport header of a whole packet or first fragment is there, and agrees with the packet's
    length."""
    size = view.end - view.l4
    if view.fragment_offset > 0:
        # RFC 791 section 3.2, RFC 8200 section 4.5: no datagram is longer.
        largest = LARGEST_PACKET - (IPV4_HEADER if view.family == 4 else 0)
        return Verdict.CONTINUE if 0 < size <= largest - view.fragment_offset else Verdict.BAD_LENGTH
    if view.transport == TCP:
        if size < TCP_HEADER:
            return Verdict.TRUNCATED
        header = tcp_header_length(p, view.l4)
        return Verdict.CONTINUE if TCP_HEADER <= header <= size else Verdict.BAD_LENGTH
    if view.transport == UDP:
        if size < UDP_HEADER:
            return Verdict.TRUNCATED
        length = u16(p, view.l4 + UDP_LENGTH_AT)
        fits = UDP_HEADER <= length and (length <= size or is_fragment(view))
        return Verdict.CONTINUE if fits else Verdict.BAD_LENGTH
    if view.transport == ICMP and size < ICMP_HEADER:
        return Verdict.TRUNCATED
    return Verdict.CONTINUE
