"""Packets for the oracle's own tests and for hypothesis, built from parts; nothing is checked, so that wrong ones can
be built too.

    ipv6(HOST6, to4(HOST4), UDP, udp(5000, 53, b"hello"))

`cover` gives a transport header its checksum; the parts leave it zero.
"""

import struct
from ipaddress import IPv4Address, IPv6Address

from tests.reference.reading import FRAGMENT, ones_complement_sum
from tests.reference.transport import CHECKSUM_AT, checksum, with_checksum

Address = IPv4Address | IPv6Address


def udp(source: int, destination: int, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("!4H", source, destination, 8 + len(data) if length is None else length, 0) + data


def tcp(
    source: int,
    destination: int,
    flags: int,
    data: bytes = b"",
    options: bytes = b"",
    numbers: tuple[int, int] = (1000, 2000),
) -> bytes:
    """`numbers`: sequence and acknowledgment."""
    offset = 5 + len(options) // 4
    return struct.pack("!HHIIBBHHH", source, destination, *numbers, offset << 4, flags, 64, 0, 0) + options + data


def echo(kind: int, identifier: int, data: bytes = b"", code: int = 0, sequence: int = 1) -> bytes:
    return struct.pack("!BBHHH", kind, code, 0, identifier, sequence) + data


def error(kind: int, code: int, quoted: bytes, word: bytes = bytes(4)) -> bytes:
    return bytes([kind, code, 0, 0]) + word + quoted


def cover(source: Address, destination: Address, protocol: int, segment: bytes) -> bytes:
    """The segment with its checksum, if its protocol has one we know and the field is there."""
    if protocol not in CHECKSUM_AT or len(segment) < CHECKSUM_AT[protocol] + 2:
        return segment
    return with_checksum(
        segment, protocol, checksum(source, destination, protocol, with_checksum(segment, protocol, 0))
    )


def ipv6(
    source: Address,
    destination: Address,
    protocol: int,
    payload: bytes,
    *,
    hop_limit: int = 64,
    traffic_class: int = 0,
    flow_label: int = 0,
    extensions: tuple[tuple[int, bytes], ...] = (),
    covered: bool = True,
) -> bytes:
    """An IPv6 packet; `extensions`: (next header value, octets behind its own Next Header field), in order."""
    if covered:
        payload = cover(source, destination, protocol, payload)
    following = [kind for kind, _ in extensions] + [protocol]
    chain = b"".join(bytes([following[at + 1]]) + body for at, (_, body) in enumerate(extensions))
    word = 6 << 28 | traffic_class << 20 | flow_label
    header = struct.pack("!IHBB", word, len(chain) + len(payload), following[0], hop_limit)
    return header + source.packed + destination.packed + chain + payload


def options_header(kind: int, octets: int = 8) -> tuple[int, bytes]:
    """A Hop-by-Hop or Destination Options header of `octets`, all of it PadN."""
    return kind, bytes([octets // 8 - 1, 1, octets - 4]) + bytes(octets - 4)


def routing_header(segments_left: int) -> tuple[int, bytes]:
    return 43, bytes([0, 253, segments_left]) + bytes(4)


def fragment_header(offset: int, more: bool, identification: int) -> tuple[int, bytes]:
    """`offset` in octets, a multiple of 8."""
    return FRAGMENT, struct.pack("!xHI", offset | more, identification)


def ipv4(
    source: Address,
    destination: Address,
    protocol: int,
    payload: bytes,
    *,
    ttl: int = 64,
    tos: int = 0,
    identification: int = 1,
    dont_fragment: bool = False,
    more: bool = False,
    offset: int = 0,
    options: bytes = b"",
    covered: bool = True,
) -> bytes:
    """An IPv4 packet; `offset` in octets; `options` a multiple of 4."""
    if covered:
        payload = cover(source, destination, protocol, payload)
    flags = dont_fragment << 14 | more << 13 | offset // 8
    length = 20 + len(options) + len(payload)
    header = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, tos, length, identification, flags, ttl, protocol, 0)
    header += source.packed + destination.packed + options
    return with_header_checksum(header) + payload


def with_header_checksum(header: bytes) -> bytes:
    """An IPv4 header with its checksum mended."""
    header = header[:10] + b"\0\0" + header[12:]
    return header[:10] + (0xFFFF - ones_complement_sum(header)).to_bytes(2) + header[12:]


def fragments6(packet: bytes, size: int, identification: int) -> list[bytes]:
    """The fragments of an unextended IPv6 packet, `size` octets of payload each."""
    source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    payload, protocol = packet[40:], packet[6]
    made = []
    for at in range(0, len(payload), size):
        header = fragment_header(at, at + size < len(payload), identification)
        made.append(ipv6(source, destination, protocol, payload[at : at + size], extensions=(header,), covered=False))
    return made


def fragments4(packet: bytes, size: int, identification: int) -> list[bytes]:
    """The fragments of an IPv4 packet without options, `size` octets of payload each."""
    source, destination = IPv4Address(packet[12:16]), IPv4Address(packet[16:20])
    payload = packet[20:]
    return [
        ipv4(
            source,
            destination,
            packet[9],
            payload[at : at + size],
            identification=identification,
            more=at + size < len(payload),
            offset=at,
            covered=False,
        )
        for at in range(0, len(payload), size)
    ]
