"""ARP (RFC 826, RFC 5227) and neighbour discovery (RFC 4861) about an address of services: what is said and heard."""

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

Address = IPv4Address | IPv6Address

ETHERNET, IPV4, REQUEST, REPLY = 1, 0x0800, 1, 2  # RFC 826
ARP = struct.Struct("!HHBBH6s4s6s4s")
EVERYBODY = b"\xff" * 6
ICMPV6, HOP_LIMIT = 58, 255
SOLICITATION, ADVERTISEMENT = 135, 136  # RFC 4861 sections 4.3 and 4.4
SOURCE, TARGET = 1, 2  # options: link-layer addresses
ROUTER, OVERRIDE = 0x80000000, 0x20000000  # of an advertisement
ALL_NODES = IPv6Address("ff02::1")
SOLICITED = int(IPv6Address("ff02::1:ff00:0"))  # RFC 4291 section 2.7.1
NOBODY = IPv4Address(0)


class Sent(NamedTuple):
    """A message without its Ethernet header, and where it goes."""

    octets: bytes
    to: bytes


class Heard(NamedTuple):
    """Somebody has an address (`hardware`: who), or wants to have it and asks whether somebody has."""

    address: Address
    hardware: bytes
    wants: bool = False


def question(address: Address, hardware: bytes, own: Address) -> Sent:
    """Who has an address? From an address of our own.

    RFC 5227 says 0.0.0.0, so that no neighbour learns anything; but Linux does not answer that for what it has as a
    proxy, as another gateway has these addresses.
    """
    if isinstance(address, IPv4Address):
        return Sent(_arp(REQUEST, hardware, own, bytes(6), address), EVERYBODY)
    group = IPv6Address(SOLICITED | int(address) & 0xFFFFFF)
    option = struct.pack("!BB6s", SOURCE, 1, hardware)
    return _icmpv6(own, group, struct.pack("!BxHI16s", SOLICITATION, 0, 0, address.packed) + option)


def announcements(address: Address, hardware: bytes, own: Address) -> list[Sent]:
    """We have it. In IPv4 a request (RFC 5227 section 3), and a reply, as some hosts take one or the other only; in
    IPv6 an unsolicited advertisement with the override flag (RFC 4861 section 7.2.6)."""
    if isinstance(address, IPv4Address):
        request = _arp(REQUEST, hardware, address, bytes(6), address)
        return [Sent(request, EVERYBODY), Sent(_arp(REPLY, hardware, address, EVERYBODY, address), EVERYBODY)]
    option = struct.pack("!BB6s", TARGET, 1, hardware)
    message = struct.pack("!BxHI16s", ADVERTISEMENT, 0, ROUTER | OVERRIDE, address.packed) + option
    return [_icmpv6(own, ALL_NODES, message)]


def heard(octets: bytes, version: int) -> Heard | None:
    """What an ARP message, or an IPv6 packet with a neighbour advertisement, says of an address; nothing if it is
    another or damaged."""
    return _heard4(octets) if version == 4 else _heard6(octets)


def _heard4(octets: bytes) -> Heard | None:
    if len(octets) < ARP.size:
        return None
    kind, protocol, _, _, operation, hardware, sender, _, target = ARP.unpack_from(octets)
    if (kind, protocol) != (ETHERNET, IPV4) or operation not in {REQUEST, REPLY}:
        return None
    if IPv4Address(sender) == NOBODY:
        return Heard(IPv4Address(target), hardware, wants=True) if operation == REQUEST else None
    return Heard(IPv4Address(sender), hardware)


def _heard6(octets: bytes) -> Heard | None:
    if len(octets) < 72 or octets[6:8] != bytes([ICMPV6, HOP_LIMIT]) or octets[40] != ADVERTISEMENT:
        return None
    if octets[64:66] != bytes([TARGET, 1]):
        return None
    return Heard(IPv6Address(octets[48:64]), octets[66:72])


def _arp(operation: int, hardware: bytes, sender: Address, asked: bytes, target: Address) -> bytes:
    return ARP.pack(ETHERNET, IPV4, 6, 4, operation, hardware, sender.packed, asked, target.packed)


def _icmpv6(source: Address, group: IPv6Address, message: bytes) -> Sent:
    """To a group of the link; its Ethernet address is of RFC 2464 section 7."""
    pseudo = source.packed + group.packed + struct.pack("!II", len(message), ICMPV6)
    total = sum(struct.unpack(f"!{(len(pseudo) + len(message)) // 2}H", pseudo + message))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    message = message[:2] + struct.pack("!H", ~total & 0xFFFF) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), ICMPV6, HOP_LIMIT) + source.packed + group.packed
    return Sent(header + message, b"\x33\x33" + group.packed[12:])
