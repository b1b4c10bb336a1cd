"""The headers of a packet as lines: every field under its RFC's name."""

from ipaddress import IPv4Address, IPv6Address

import numpy as np

from translator.packet.fields import (
    DONT_FRAGMENT,
    FRAGMENT_OFFSET,
    ICMP,
    ICMP_CHECKSUM_AT,
    ICMP_HEADER,
    ICMP_IDENTIFIER_AT,
    ICMP_REST_AT,
    IPV4_CHECKSUM_AT,
    IPV4_DESTINATION_AT,
    IPV4_FLAGS_AT,
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
    MORE_FRAGMENTS,
    TCP,
    TCP_CHECKSUM_AT,
    TCP_FLAGS_AT,
    UDP,
    UDP_CHECKSUM_AT,
    UDP_LENGTH_AT,
    u8,
    u16,
    u32,
)
from translator.packet.icmp import is_echo
from translator.packet.parse import View, parse
from translator.verdict import Verdict

TCP_FLAGS = "FSRPAUEC"  # by their bits, the lowest first
ROW, ROWS = 32, 3  # octets in a line of hexadecimal; lines


def headers(octets: bytes) -> list[str]:
    """The network header, a Fragment header, and the transport header or what is in its place."""
    p = np.frombuffer(octets, np.uint8)
    view = parse(p, 0, len(octets))
    if view.verdict != Verdict.CONTINUE:
        return [f"{len(octets)} octets that are no whole packet"]
    lines = _ipv4(octets, p) if view.family == 4 else _ipv6(octets, p, view)
    return [*lines, _transport(p, view)]


def summary(octets: bytes) -> str:
    """A packet in one line: what an ICMP error needs to identify it."""
    p = np.frombuffer(octets, np.uint8)
    view = parse(p, 0, len(octets))
    source, destination = _ends(octets, view.family)
    return f"{source} > {destination}, {len(octets)} octets, {_transport(p, view)}"


def hexadecimal(octets: bytes) -> list[str]:
    """The first octets, four to a word, and how many more there are."""
    shown = octets[: ROW * ROWS]
    lines = [shown[at : at + ROW].hex(" ", -4) for at in range(0, len(shown), ROW)]
    return [*lines, f"... and {len(octets) - len(shown)} more octets"] if len(octets) > len(shown) else lines


def _ends(octets: bytes, family: int) -> tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]:
    """Source and destination."""
    if family == 4:
        return IPv4Address(octets[IPV4_SOURCE_AT:][:4]), IPv4Address(octets[IPV4_DESTINATION_AT:][:4])
    return IPv6Address(octets[IPV6_SOURCE_AT:][:16]), IPv6Address(octets[IPV6_DESTINATION_AT:][:16])


def _ipv4(octets: bytes, p: np.ndarray) -> list[str]:
    word = u16(p, IPV4_FLAGS_AT)
    flags = [name for bit, name in ((DONT_FRAGMENT, "DF"), (MORE_FRAGMENTS, "MF")) if word & bit]
    source, destination = _ends(octets, 4)
    sizes = f"TOS {u8(p, IPV4_TOS_AT):#04x}, total length {u16(p, IPV4_LENGTH_AT)}, TTL {u8(p, IPV4_TTL_AT)}"
    identification = u16(p, IPV4_IDENTIFICATION_AT)
    offset = (word & FRAGMENT_OFFSET) * 8
    return [
        f"IPv4 {source} > {destination}",
        f"     {sizes}, protocol {u8(p, IPV4_PROTOCOL_AT)}, header checksum {u16(p, IPV4_CHECKSUM_AT):#06x}",
        f"     identification {identification:#06x}, flags {' '.join(flags) or 'none'}, fragment offset {offset}",
    ]


def _ipv6(octets: bytes, p: np.ndarray, view: View) -> list[str]:
    source, destination = _ends(octets, 6)
    labels = f"traffic class {u16(p, 0) >> 4 & 0xFF:#04x}, flow label {u32(p, 0) & 0xFFFFF:#07x}"
    length, next_header, hop_limit = u16(p, IPV6_LENGTH_AT), u8(p, IPV6_NEXT_HEADER_AT), u8(p, IPV6_HOP_LIMIT_AT)
    lines = [
        f"IPv6 {source} > {destination}",
        f"     {labels}, payload length {length}, next header {next_header}, hop limit {hop_limit}",
    ]
    if view.l4 > IPV6_HEADER:
        lines.append(f"     extension headers: {view.l4 - IPV6_HEADER} octets, then protocol {view.protocol}")
    if view.has_fragment_header:
        lines.append(
            f"     fragment offset {view.fragment_offset}, more fragments {view.more_fragments}, "
            f"identification {view.identification:#010x}"
        )
    return lines


def _transport(p: np.ndarray, view: View) -> str:
    """One line about what follows the network header."""
    at, size = view.l4, view.end - view.l4
    if view.fragment_offset > 0:
        return f"data {size} octets of a datagram whose first fragment has the transport header"
    if view.transport == UDP:
        length, checksum = u16(p, at + UDP_LENGTH_AT), u16(p, at + UDP_CHECKSUM_AT)
        return f"UDP  {u16(p, at)} > {u16(p, at + 2)}, length {length}, checksum {checksum:#06x}"
    if view.transport == TCP:
        flags = u8(p, at + TCP_FLAGS_AT)
        letters = "".join(letter for bit, letter in enumerate(TCP_FLAGS) if flags >> bit & 1)
        checksum = u16(p, at + TCP_CHECKSUM_AT)
        return f"TCP  {u16(p, at)} > {u16(p, at + 2)}, flags {letters or 'none'}, checksum {checksum:#06x}"
    if view.transport == ICMP:
        name = "ICMP" if view.family == 4 else "ICMPv6"
        text = f"{name} type {u8(p, at)}, code {u8(p, at + 1)}, checksum {u16(p, at + ICMP_CHECKSUM_AT):#06x}"
        if is_echo(view.family, u8(p, at)):
            return f"{text}, identifier {u16(p, at + ICMP_IDENTIFIER_AT)}"
        return f"{text}, rest {u32(p, at + ICMP_REST_AT):#010x}, {size - ICMP_HEADER} octets of a packet"
    return f"protocol {view.protocol}, {size} octets"
