"""Network headers: RFC 7915 4.1 and 5.1."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from tests.reference.outcome import Refusal
from tests.reference.reading import FRAGMENT, ICMP, TCP, Packet, ones_complement_sum
from tests.reference.transport import checksum, with_checksum

IPV6 = struct.Struct("!IHBB16s16s")  # RFC 8200 3
IPV4 = struct.Struct("!BBHHHBBH4s4s")  # RFC 791 3.1


@dataclass(frozen=True)
class Path:
    """What the network around the translator allows, and how its operator wants headers."""

    mtu4: int = 1500  # of the IPv4 next hop
    mtu6: int = 1500  # of the IPv6 next hop
    lowest_ipv6_mtu: int = 1280  # RFC 7915 4.1
    traffic_class: int | None = None  # None: copied


def write_ipv6(
    packet: Packet,
    source: IPv6Address,
    destination: IPv6Address,
    protocol: int,
    payload: bytes,
    hop_limit: int,
    path: Path,
) -> list[bytes]:
    """RFC 7915 4.1: one packet, or the fragments of one whose DF bit is clear and whose result would exceed
    lowest_ipv6_mtu.
    """
    result = 40 + len(payload) + (8 if packet.is_fragment else 0)
    pieces: Iterator[tuple[int, bytes, bool]] = iter([(packet.fragment_offset, payload, packet.more_fragments)])
    in_fragments = packet.is_fragment
    if not packet.dont_fragment and result > path.lowest_ipv6_mtu:
        in_fragments = True
        pieces = split(packet.fragment_offset, payload, packet.more_fragments, path.lowest_ipv6_mtu - 48)
    tc = packet.traffic_class if path.traffic_class is None else path.traffic_class
    written = []
    for offset, data, more in pieces:
        if not in_fragments:
            written.append(ipv6_header(source, destination, tc, hop_limit, protocol, len(data)) + data)
            continue
        header = ipv6_header(source, destination, tc, hop_limit, FRAGMENT, 8 + len(data))
        written.append(header + fragment_header(protocol, offset, more, packet.identification or 0) + data)
    return written


def ipv6_header(
    source: IPv6Address, destination: IPv6Address, traffic_class: int, hop_limit: int, next_header: int, length: int
) -> bytes:
    """RFC 8200 3; the flow label is zero (RFC 7915 4.1)."""
    word = 6 << 28 | traffic_class << 20
    return IPV6.pack(word, length, next_header, hop_limit, source.packed, destination.packed)


def fragment_header(next_header: int, offset: int, more: bool, identification: int) -> bytes:
    """RFC 8200 4.5; `offset` in octets, a multiple of 8."""
    return struct.pack("!BxHI", next_header, offset | more, identification)


def quote_ipv6(
    packet: Packet, source: IPv6Address, destination: IPv6Address, protocol: int, payload: bytes, path: Path
) -> bytes:
    """RFC 7915 4.3: the header of a quoted packet: hop limit as it stood, lengths as declared, never split."""
    traffic_class = packet.traffic_class if path.traffic_class is None else path.traffic_class
    if not packet.is_fragment:
        return ipv6_header(source, destination, traffic_class, packet.hop_limit, protocol, packet.declared) + payload
    header = ipv6_header(source, destination, traffic_class, packet.hop_limit, FRAGMENT, packet.declared + 8)
    piece = fragment_header(protocol, packet.fragment_offset, packet.more_fragments, packet.identification or 0)
    return header + piece + payload


def split(start: int, payload: bytes, more: bool, room: int) -> Iterator[tuple[int, bytes, bool]]:
    """RFC 791 3.2, RFC 8200 4.5: offset, data and "more" of fragments that carry at most `room` octets, all but the
    last a multiple of 8.
    """
    room -= room % 8
    for at in range(0, len(payload), room):
        last = at + room >= len(payload)
        yield start + at, payload[at : at + room], more or not last


def write_ipv4(
    packet: Packet,
    source: IPv4Address,
    destination: IPv4Address,
    protocol: int,
    payload: bytes,
    hop_limit: int,
    path: Path,
) -> bytes:
    """RFC 7915 5.1 and 5.1.1; Identification is the translator's own choice unless a Fragment Header came along: zero
    here.
    """
    tos = packet.traffic_class if path.traffic_class is None else path.traffic_class
    return ipv4_header(packet, source, destination, protocol, len(payload), hop_limit, tos) + payload


def ipv4_header(
    packet: Packet, source: IPv4Address, destination: IPv4Address, protocol: int, length: int, ttl: int, tos: int
) -> bytes:
    """20 octets for a payload of `length`, checksum done."""
    if packet.has_fragment_header:  # 5.1.1
        identification = (packet.identification or 0) & 0xFFFF
        flags = (0x2000 if packet.more_fragments else 0) | packet.fragment_offset // 8
    else:
        identification = 0
        flags = 0 if 20 + length <= 1260 else 0x4000
    ends = source.packed, destination.packed
    return with_header_checksum(IPV4.pack(0x45, tos, 20 + length, identification, flags, ttl, protocol, 0, *ends))


def with_header_checksum(header: bytes) -> bytes:
    """RFC 791 3.1: an IPv4 header whose checksum field is zero, with its checksum."""
    return header[:10] + (0xFFFF - ones_complement_sum(header)).to_bytes(2) + header[12:]


def quote_ipv4(
    packet: Packet, source: IPv4Address, destination: IPv4Address, protocol: int, payload: bytes, path: Path
) -> bytes:
    """RFC 7915 5.3: as any packet, but TTL as it stood and lengths as declared."""
    tos = packet.traffic_class if path.traffic_class is None else path.traffic_class
    return ipv4_header(packet, source, destination, protocol, packet.declared, packet.hop_limit, tos) + payload


def probe(source: IPv6Address, source_port: int, destination: IPv6Address, port: int) -> bytes:
    """RFC 6146 3.5.2.2, RFC 1122 4.2.3.6: a TCP segment without data that asks an IPv6 host for a sign of life."""
    segment = struct.pack("!HHIIBBHHH", source_port, port, 0, 0, 5 << 4, 0x10, 0, 0, 0)
    segment = with_checksum(segment, TCP, checksum(source, destination, TCP, segment))
    return ipv6_header(source, destination, 0, 64, TCP, len(segment)) + segment


def reset(packet: Packet) -> bytes:
    """RFC 9293 3.5.2, group 1: what a host without the connection answers to a TCP segment that is no RST."""
    source, destination, sequence, acknowledgment, offset, flags = struct.unpack("!HHIIBB", packet.payload[:14])
    numbers, answer = (acknowledgment, 0), 0x04
    if not flags & 0x10:
        length = max(len(packet.payload) - (offset >> 4) * 4, 0) + (flags & 0x01) + (flags >> 1 & 0x01)
        numbers, answer = (0, (sequence + length) % (1 << 32)), 0x14
    segment = struct.pack("!HHIIBBHHH", destination, source, *numbers, 5 << 4, answer, 0, 0, 0)
    back = packet.destination, packet.source
    segment = with_checksum(segment, TCP, checksum(*back, TCP, segment))
    if packet.family == 6:
        return ipv6_header(*back, 0, 64, TCP, len(segment)) + segment  # type: ignore[arg-type]
    header = IPV4.pack(0x45, 0, 40, 0, 0x4000, 64, TCP, 0, back[0].packed, back[1].packed)
    return with_header_checksum(header) + segment


def pong(packet: Packet) -> bytes:
    """The echo reply to a request: its data, its addresses turned round; a checksum that was wrong is wrong by as
    much."""
    kind = 0 if packet.family == 4 else 129
    body = bytes([kind]) + packet.payload[1:]
    before, after = (int.from_bytes(octets[:2]) for octets in (packet.payload, body))
    total = (~int.from_bytes(packet.payload[2:4]) & 0xFFFF) + (~before & 0xFFFF) + after
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    if packet.family == 4 and total == 0xFFFF and not any(body[:2] + body[4:]):
        total = 0  # RFC 1071: zeros sum to zero
    body = body[:2] + (~total & 0xFFFF).to_bytes(2) + body[4:]
    back = packet.destination, packet.source
    if packet.family == 6:
        return ipv6_header(*back, packet.traffic_class, 64, packet.protocol, len(body)) + body  # type: ignore[arg-type]
    flags = 0x4000 if packet.dont_fragment else 0
    fields = 0x45, packet.traffic_class, 20 + len(body), packet.identification, flags, 64, packet.protocol, 0
    return with_header_checksum(IPV4.pack(*fields, back[0].packed, back[1].packed)) + body


def adopt(packet: bytes, observed: bytes, fixed: bool) -> bytes:
    """`packet` with the Identification of `observed` where RFC 7915 5.1 leaves it to the translator.

    `fixed`: the header's own came from a Fragment Header. In a quoted header zero stands for a free one.
    """
    if packet[0] >> 4 != 4 or len(observed) < 20 or observed[0] >> 4 != 4:
        return packet
    if not fixed:
        packet = with_identification(packet, observed)
    is_error = packet[9] == ICMP and packet[20:21] in (b"\3", b"\x0b", b"\x0c")
    if is_error and len(observed) >= 48 and packet[32:34] == b"\0\0":
        body = packet[20:22] + b"\0\0" + packet[24:28] + with_identification(packet[28:], observed[28:])
        packet = packet[:20] + body[:2] + (0xFFFF - ones_complement_sum(body)).to_bytes(2) + body[4:]
    return packet


def with_identification(packet: bytes, observed: bytes) -> bytes:
    """The IPv4 packet with the Identification of `observed`, header checksum made right."""
    return with_header_checksum(packet[:4] + observed[4:6] + packet[6:10] + b"\0\0" + packet[12:20]) + packet[20:]


def too_big_for_ipv6(packet: Packet, path: Path) -> list[Refusal]:
    """RFC 7915 4.1: DF set and total length + 20 above the next MTU; a fragment needs 8 more for its own header."""
    if not packet.dont_fragment:
        return []
    extra = 28 if packet.is_fragment else 20
    told = Refusal("7915 4.1", ("TOO_BIG",), "PACKET_TOO_BIG", must_answer=True, detail=path.mtu6 - extra)
    if 20 + packet.declared + extra > path.mtu6:
        return [told]
    return []  # by the letter options count as well, but they are not translated: it fits


def too_big_for_ipv4(packet: Packet, size4: int, path: Path) -> list[Refusal]:
    """RFC 7915 5.1, 5.1.1: DF set by us and above the next MTU. What came with at most 1280 octets always goes, in
    fragments if need be.
    """
    if size4 > 0xFFFF:
        return [Refusal("791 3.1", ("TOO_BIG", "BAD_LENGTH"), "PACKET_TOO_BIG", detail=max(1280, path.mtu4 + 20))]
    size6 = 40 + int.from_bytes(packet.raw[4:6])
    if size4 <= path.mtu4 or size6 <= 1280 or packet.has_fragment_header or size4 <= 1260:  # without DF: may be split
        return []
    detail = max(1280, path.mtu4 + 20)
    return [Refusal("7915 5.1", ("TOO_BIG",), "PACKET_TOO_BIG", must_answer=True, detail=detail)]
