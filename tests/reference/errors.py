"""ICMP errors the translator sends itself: RFC 7915 4.4 and 5.4, RFC 792, 1812, 4443; and when none may be sent."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network

from tests.reference import headers
from tests.reference.addresses import is_forwardable, is_illegal_source6
from tests.reference.headers import IPV4, ipv6_header, with_header_checksum
from tests.reference.icmp import is_error
from tests.reference.outcome import Expected
from tests.reference.reading import ICMP, ICMPV6, TCP, Packet
from tests.reference.transport import checksum, with_checksum

# meaning: (ICMPv4 type, code), (ICMPv6 type, code)
MESSAGES: dict[str, tuple[tuple[int, int] | None, tuple[int, int] | None]] = {
    "TIME_EXCEEDED": ((11, 0), (3, 0)),  # RFC 7915 4.1, 5.1
    "PACKET_TOO_BIG": ((3, 4), (2, 0)),  # RFC 7915 4.1, 5.1.1
    "ADDRESS_UNREACHABLE": ((3, 1), (1, 3)),  # RFC 6146 3.5.1.1, 3.5.3
    "PORT_UNREACHABLE": ((3, 3), (1, 4)),  # RFC 6146 3.5.2.2
    "PROHIBITED": ((3, 13), (1, 1)),  # RFC 7915 4.4, 5.4
    "SOURCE_ROUTE_FAILED": ((3, 5), None),  # RFC 7915 4.1
    "PARAMETER_PROBLEM": (None, (4, 0)),  # RFC 7915 5.1
    "PROTOCOL_UNREACHABLE": ((3, 2), (1, 4)),  # RFC 6146 3.4
}
DUMMY_IPV4 = IPv4Address("192.0.0.8")  # RFC 7600: when there is no address of our own
DUMMY_IPV6 = IPv6Network("100::/128")  # RFC 6666
REDIRECT = 137  # RFC 4861; RFC 4443 2.4 (e.2)


def fill_answers(expected: Expected, packet: Packet, our4: IPv4Address | None, our6: IPv6Address) -> None:
    """Put the ICMP errors that go with the refusals into `expected.answers`; none about packets that get none."""
    if not is_due(packet):
        return
    for refusal in expected.refusals:
        if refusal.answer not in MESSAGES or (refusal.answer == "PORT_UNREACHABLE" and packet.protocol == TCP):
            continue
        message = MESSAGES[refusal.answer][0 if packet.family == 4 else 1]
        if message is None:
            continue
        build = build_icmpv4 if packet.family == 4 else build_icmpv6
        own = (our4 or DUMMY_IPV4) if packet.family == 4 else our6
        if refusal.answer == "PORT_UNREACHABLE":  # of a service, which is told from its address
            own = packet.destination
        expected.answers.setdefault(refusal.answer, build(packet, own, message, refusal.detail))


def fill_reset(expected: Expected, packet: Packet) -> None:
    """The same for a RST, by which a segment is told that a port is closed, too; none about a part of a segment, nor
    about a RST.
    """
    if packet.protocol != TCP or packet.is_fragment or not is_due(packet) or not packet.payload[13:]:
        return
    if packet.payload[13] & 4:
        return
    for name in ("RESET", "PORT_UNREACHABLE"):
        if any(refusal.answer == name for refusal in expected.refusals):
            expected.answers[name] = headers.reset(packet)


def fill_echo(expected: Expected, packet: Packet) -> None:
    """RFC 792, RFC 4443 4.2: the answer to a ping, which may be cut where the ping might."""
    if any(refusal.answer == "ECHO" for refusal in expected.refusals):
        expected.answers["ECHO"] = headers.pong(packet)


def is_due(packet: Packet) -> bool:
    """RFC 1122 3.2.2, RFC 1812 4.3.2.7, RFC 4443 2.4 (e): never about errors, later fragments, multicast, or from no
    single host.
    """
    if not packet.is_first or packet.destination.is_multicast:
        return False
    source = packet.source
    if not is_forwardable(source) if isinstance(source, IPv4Address) else is_illegal_source6(source):
        return False
    if packet.protocol != packet.icmp_protocol:
        return True
    if not packet.payload:
        return False
    return not is_error(packet) and not (packet.family == 6 and packet.payload[0] == REDIRECT)


def build_icmpv4(packet: Packet, own: IPv4Address, message: tuple[int, int], detail: int) -> bytes:
    """RFC 792; as much of the packet as 576 octets hold (RFC 1812 4.3.2.3)."""
    rest = b"\0\0" + detail.to_bytes(2) if message == (3, 4) else bytes(4)
    body = bytes(message) + b"\0\0" + rest + packet.raw[: 576 - 28]
    body = with_checksum(body, ICMP, checksum(own, own, ICMP, body))
    ends = own.packed, packet.source.packed
    return with_header_checksum(IPV4.pack(0x45, 0, 20 + len(body), 1, 0, 64, ICMP, 0, *ends)) + body


def build_icmpv6(packet: Packet, own: IPv6Address, message: tuple[int, int], detail: int) -> bytes:
    """RFC 4443 2.4 (c): as much of the packet as the minimum IPv6 MTU holds; MTU or pointer in the second word."""
    rest = detail.to_bytes(4) if message[0] in (2, 4) else bytes(4)
    body = bytes(message) + b"\0\0" + rest + packet.raw[: 1280 - 48]
    destination = IPv6Address(int(packet.source))
    body = with_checksum(body, ICMPV6, checksum(own, destination, ICMPV6, body))
    return ipv6_header(own, destination, 0, 64, ICMPV6, len(body)) + body
