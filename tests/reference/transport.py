"""Transport headers: RFC 7915 4.5 and 5.5, RFC 6146 3.7.

Checksums are *updated*, not made anew (RFC 1624): a segment that came damaged leaves with exactly the same damage, so
its receiver still notices. Said without increments: the one's complement sum over pseudo-header and segment, checksum
field included, is the same before and after. For a cut or fragmented segment the absent octets are the same on both
sides and fall out of that equation.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from tests.reference.reading import ICMP, ICMPV6, TCP, UDP, Packet, ones_complement_sum

CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}
ECHO_TYPES = {(4, 8): 128, (4, 0): 129, (6, 128): 8, (6, 129): 0}  # RFC 7915 4.2, 5.2

Address = IPv4Address | IPv6Address


def pseudo_header(source: Address, destination: Address, protocol: int, length: int) -> bytes:
    """RFC 793 3.1, RFC 768, RFC 8200 8.1; none at all for ICMPv4 (RFC 792)."""
    if protocol == ICMP:
        return b""
    if isinstance(source, IPv4Address):
        return source.packed + destination.packed + bytes([0, protocol]) + length.to_bytes(2)
    return source.packed + destination.packed + length.to_bytes(4) + bytes([0, 0, 0, protocol])


def checksum(source: Address, destination: Address, protocol: int, segment: bytes) -> int:
    """The checksum of a whole segment whose field is zero."""
    pseudo = pseudo_header(source, destination, protocol, len(segment))
    value = 0xFFFF - ones_complement_sum(pseudo + segment)
    return 0xFFFF if protocol == UDP and value == 0 else value  # RFC 768: zero means "no checksum"


def with_checksum(segment: bytes, protocol: int, value: int) -> bytes:
    at = CHECKSUM_AT[protocol]
    return segment[:at] + value.to_bytes(2) + segment[at + 2 :]


def ports(packet: Packet) -> tuple[int, int] | None:
    """Source and destination port; for an ICMP query its identifier twice; of another protocol zeros. None when
    those octets are missing.
    """
    octets = packet.payload
    if packet.protocol in (TCP, UDP):
        return (int.from_bytes(octets[:2]), int.from_bytes(octets[2:4])) if len(octets) >= 4 else None
    if packet.protocol == packet.icmp_protocol and len(octets) >= 6 and (packet.family, octets[0]) in ECHO_TYPES:
        identifier = int.from_bytes(octets[4:6])
        return identifier, identifier
    return None if packet.protocol in (TCP, UDP, packet.icmp_protocol) else (0, 0)


def name_of(packet: Packet) -> str:
    """Of its protocol, as BIBs have it."""
    if packet.protocol == packet.icmp_protocol:
        return "icmp"
    return {TCP: "tcp", UDP: "udp"}.get(packet.protocol, str(packet.protocol))


def rewrite(
    packet: Packet, source: Address, destination: Address, new_ports: tuple[int, int] | None
) -> tuple[int, bytes]:
    """Protocol number and payload of `packet` in the other family, with those addresses and (when given) ports.

    For TCP, UDP and ICMP echo of the first fragment or the whole; any other payload is returned unchanged.
    """
    protocol, octets = packet.protocol, packet.payload
    if protocol == packet.icmp_protocol:
        protocol = ICMPV6 if packet.family == 4 else ICMP
    if not packet.is_first or packet.protocol not in (TCP, UDP, packet.icmp_protocol):
        return protocol, octets
    if packet.protocol == packet.icmp_protocol and (packet.family, octets[0]) not in ECHO_TYPES:
        return protocol, octets  # no ICMP before, half way of a hairpin: as RFC 7915 would have it, by the letter
    changed = octets
    if packet.protocol in (TCP, UDP) and new_ports is not None:
        changed = new_ports[0].to_bytes(2) + new_ports[1].to_bytes(2) + octets[4:]
    if packet.protocol == packet.icmp_protocol:
        changed = bytes([ECHO_TYPES[packet.family, octets[0]]]) + octets[1:]
        if new_ports is not None:
            changed = changed[:4] + new_ports[0].to_bytes(2) + changed[6:]
    before = pseudo_header(packet.source, packet.destination, packet.protocol, packet.declared) + octets
    after = pseudo_header(source, destination, protocol, packet.declared)
    return protocol, update_checksum(packet.protocol, octets, before, after, changed)


def update_checksum(protocol: int, octets: bytes, before: bytes, after: bytes, changed: bytes) -> bytes:
    """RFC 1624 as an equation: the sums of `before` and of `after` + `changed` become equal."""
    at = CHECKSUM_AT[protocol]
    if len(octets) < at + 2:
        return changed  # the quote ends before the field
    if protocol == UDP and octets[at : at + 2] == b"\0\0":
        return changed  # no checksum to update
    without = changed[:at] + b"\0\0" + changed[at + 2 :]
    value = (ones_complement_sum(before) - ones_complement_sum(after + without)) % 0xFFFF
    if protocol == UDP and value == 0:
        value = 0xFFFF  # RFC 7915 4.5, RFC 768
    if value == 0 and not any(after + without):
        value = 0xFFFF  # RFC 1071: zeros sum to zero
    return changed[:at] + value.to_bytes(2) + changed[at + 2 :]


def calculate_udp(octets: bytes, source: Address, destination: Address) -> bytes:
    """RFC 7915 4.5, RFC 6146 3.4: give a datagram that came without a checksum its own, over as many octets as it says
    it has (RFC 768).
    """
    covered = with_checksum(octets, UDP, 0)[: int.from_bytes(octets[4:6])]
    return with_checksum(octets, UDP, checksum(source, destination, UDP, covered))


@dataclass(frozen=True)
class ZeroChecksums:
    """RFC 7915 4.5: what is done with UDP datagrams that have no checksum; some destination ports may be exceptions."""

    usual: str = "calculate"  # | drop | forward
    by_port: tuple[tuple[str, range], ...] = ()

    def of(self, packet: Packet) -> str:
        """For a datagram, or the first fragment of one."""
        port = int.from_bytes(packet.payload[2:4])
        return next((what for what, ports in self.by_port if port in ports), self.usual)


CALCULATED = ZeroChecksums()


def needs_udp_checksum(packet: Packet, zero_checksums: ZeroChecksums) -> bool:
    """RFC 7915 4.5, RFC 6146 3.4: a whole datagram without one, as configured."""
    if packet.protocol != UDP or packet.is_fragment or zero_checksums.of(packet) != "calculate":
        return False
    return packet.payload[6:8] == b"\0\0"
