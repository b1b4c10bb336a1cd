"""Octets to a `Packet`: RFC 791, 8200, 1812 5.3.7; what stands in the headers, and every reason not to read on.

One `Packet` describes both families, so that the rest of the oracle compares fields by name. A quoted packet (inside an
ICMP error) is read by the same functions with `quoted=True`: it may end anywhere behind its IP header, and its TTL and
checksum are history.
"""

import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from tests.reference.outcome import Refusal

TCP, UDP, ICMP, IGMP, ICMPV6, ESP, AH = 6, 17, 1, 2, 58, 50, 51
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 0, 43, 44, 60
SKIPPED = (HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS)  # RFC 7915 5.1, "Protocol"
OTHER_EXTENSIONS = (AH, 135, 139, 140)  # extension headers to RFC 7045, but none that RFC 7915 skips
NO_NEXT_HEADER = 59
MOST_EXTENSIONS = 8  # ours
LSRR, SSRR, END_OF_OPTIONS, NO_OPERATION = 131, 137, 0, 1

Address = IPv4Address | IPv6Address

UNREADABLE = ("NOT_IP", "TRUNCATED", "BAD_LENGTH")


class UnreadableError(Exception):
    """The octets are no IP packet."""


@dataclass
class Packet:
    """One IP packet. `payload` starts at the transport header (or at the fragment's data) and ends where the IP header
    says.
    """

    family: int
    source: Address
    destination: Address
    traffic_class: int
    hop_limit: int
    protocol: int
    payload: bytes
    declared: int  # octets of payload by the IP header; more than len(payload) when a quote was cut
    raw: bytes  # the packet as it came, without what followed it on the wire
    dont_fragment: bool = False
    identification: int | None = None  # IPv4: always; IPv6: of the Fragment Header, None without one
    fragment_offset: int = 0  # octets
    more_fragments: bool = False
    options: int = 0  # octets of IPv4 options
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def is_fragment(self) -> bool:
        return self.more_fragments or self.fragment_offset > 0

    @property
    def is_first(self) -> bool:
        """It carries the transport header: whole, or the fragment at offset zero."""
        return self.fragment_offset == 0

    @property
    def has_fragment_header(self) -> bool:
        return self.family == 6 and self.identification is not None

    @property
    def icmp_protocol(self) -> int:
        return ICMP if self.family == 4 else ICMPV6

    @property
    def is_cut(self) -> bool:
        return len(self.payload) < self.declared


def read(octets: bytes, quoted: bool = False) -> Packet:
    """The packet in `octets`; raises UnreadableError when not even its IP header can be read."""
    if not octets:
        raise UnreadableError("no octets")
    version = octets[0] >> 4
    if version == 4:
        packet = read_ipv4(octets, quoted)
    elif version == 6:
        packet = read_ipv6(octets, quoted)
    else:
        raise UnreadableError("first octet is neither IP version 4 nor 6")
    if packet.is_cut and not quoted:
        raise UnreadableError("shorter than its IP header says")
    return packet


def read_ipv4(octets: bytes, quoted: bool) -> Packet:
    """RFC 791 section 3.1."""
    if len(octets) < 20:
        raise UnreadableError("shorter than an IPv4 header")
    header = (octets[0] & 15) * 4
    tos, total, identification, flags, ttl, protocol = struct.unpack_from("!xBHHHBB", octets)
    if header < 20 or total < header or len(octets) < header:
        raise UnreadableError("IPv4 lengths contradict each other")
    packet = Packet(
        family=4,
        source=IPv4Address(octets[12:16]),
        destination=IPv4Address(octets[16:20]),
        traffic_class=tos,
        hop_limit=ttl,
        protocol=protocol,
        payload=octets[header:total],
        declared=total - header,
        raw=octets[:total],
        dont_fragment=bool(flags & 0x4000),
        identification=identification,
        fragment_offset=(flags & 0x1FFF) * 8,
        more_fragments=bool(flags & 0x2000),
        options=header - 20,
    )
    if not quoted:
        if ones_complement_sum(octets[:header]) != 0xFFFF:
            packet.refusals.append(Refusal("791 3.1", ("HEADER_CHECKSUM",)))
        read_ipv4_options(packet, octets[20:header])
    return packet


def read_ipv4_options(packet: Packet, options: bytes) -> None:
    """RFC 7915 4.1: options are ignored, but an unexpired source route (RFC 791: pointer within length) ends the
    packet.
    """
    at = 0
    while at < len(options) and options[at] != END_OF_OPTIONS:
        if options[at] == NO_OPERATION:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):  # nonsense, which is ignored like any option
            return
        if options[at] in (LSRR, SSRR):
            pointer = options[at + 2] if length > 2 else 0
            if 4 <= pointer <= length:
                packet.refusals.append(Refusal("7915 4.1", ("SOURCE_ROUTED",), "SOURCE_ROUTE_FAILED"))
            elif pointer < 4:
                packet.refusals.append(Refusal("791 3.1", (*UNREADABLE, "SOURCE_ROUTED"), permitted=True))
        at += length


def read_ipv6(octets: bytes, quoted: bool) -> Packet:
    """RFC 8200 sections 3 and 4; the extension headers of RFC 7915 5.1 are walked and left out of `payload`."""
    if len(octets) < 40:
        raise UnreadableError("shorter than an IPv6 header")
    word, length, next_header, hop_limit = struct.unpack_from("!IHBB", octets)
    packet = Packet(
        family=6,
        source=IPv6Address(octets[8:24]),
        destination=IPv6Address(octets[24:40]),
        traffic_class=word >> 20 & 0xFF,
        hop_limit=hop_limit,
        protocol=next_header,
        payload=octets[40 : 40 + length],
        declared=length,
        raw=octets[: 40 + length],
    )
    count = 0
    while packet.protocol in (*SKIPPED, FRAGMENT):
        count += 1
        if count > MOST_EXTENSIONS:
            packet.refusals.append(Refusal("LIMITS", ("EXTENSION_HEADERS", "ROUTING_HEADER")))
            return packet
        if packet.has_fragment_header:
            packet.refusals.append(behind_fragment_header(packet))
            if packet.is_fragment:
                return packet
        read_extension_header(packet)
    if packet.has_fragment_header and packet.protocol in OTHER_EXTENSIONS and not quoted:
        packet.refusals.append(behind_fragment_header(packet))
    return packet


def behind_fragment_header(packet: Packet) -> Refusal:
    """RFC 7915 5.1.1: SHOULD be dropped and logged, since leaving the header out would shift what the other fragments
    say.

    In an atomic fragment (RFC 6946) nothing can shift, so there it may be skipped like any other.
    """
    verdicts = ("EXTENSION_HEADERS", "ROUTING_HEADER") if packet.is_first else ("EXTENSION_HEADERS", "PROTOCOL")
    if packet.is_fragment:  # what it says of lengths may be meant for all of the datagram
        verdicts += UNREADABLE
    return Refusal("7915 5.1.1", verdicts, permitted=not packet.is_fragment)


def read_extension_header(packet: Packet) -> None:
    """Take the first extension header off `packet.payload`."""
    octets = packet.payload
    kind = packet.protocol
    if len(octets) < 8:
        raise UnreadableError("an extension header is cut")
    length = 8 if kind == FRAGMENT else (octets[1] + 1) * 8
    if len(octets) < length:
        raise UnreadableError("an extension header is cut")
    at = len(packet.raw) - len(octets)
    if kind == FRAGMENT:
        if packet.has_fragment_header:
            packet.refusals.append(Refusal("8200 4.1", ("EXTENSION_HEADERS",)))
        offset_and_flags, packet.identification = struct.unpack_from("!HI", octets, 2)
        packet.fragment_offset = offset_and_flags & 0xFFF8
        packet.more_fragments = bool(offset_and_flags & 1)
    elif kind == ROUTING and octets[3] != 0:  # RFC 7915 5.1: pointer to the first octet of Segments Left
        packet.refusals.append(Refusal("7915 5.1", ("ROUTING_HEADER",), "PARAMETER_PROBLEM", detail=at + 3))
    packet.protocol = octets[0]
    packet.payload = octets[length:]
    packet.declared -= length


def ones_complement_sum(data: bytes) -> int:
    """RFC 1071: the 16-bit one's complement sum; 0xFFFF over data with a right checksum in it."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total
