"""Stateless translation (SIIT): RFC 7915 with the addresses of RFC 6052, 7757 and 6791; no ports, no changing tables.

Each address is mapped on its own (RFC 7757 3.2); what is mapped how is all this file knows. Packets are written by
headers.py, transport.py and icmp.py as in the stateful case.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from tests.reference.addresses import Eamt, embed, extract
from tests.reference.errors import DUMMY_IPV4
from tests.reference.headers import Path, quote_ipv4, quote_ipv6, write_ipv4, write_ipv6
from tests.reference.icmp import SIZE_LIMIT, Message, assemble, is_error, map_4to6, map_6to4, read_message
from tests.reference.outcome import Refusal
from tests.reference.reading import ICMP, ICMPV6, TCP, UDP, Packet, UnreadableError, read
from tests.reference.transport import (
    ECHO_TYPES,
    calculate_udp,
    checksum,
    needs_udp_checksum,
    rewrite,
    with_checksum,
)

QUOTE = Refusal("7915 4.3", ("QUOTED_PACKET",))
UNMAPPED = Refusal("7915 4.2", ("ICMP_TYPE",))
NO_ADDRESS = Refusal("7915 6", ("NOT_OUR_PREFIX", "NO_BIB_ENTRY", "NO_POOL4", "NOT_MAPPED"))


@dataclass(frozen=True)
class Mapped6:
    """An IPv6 address in IPv4, and whether RFC 6052 gave it (RFC 7757 4.2.2 asks)."""

    address: IPv4Address
    embedded: bool


@dataclass
class Stateless:
    """A translator without state. `hairpin`: off | simple | intrinsic (RFC 7757 4.2)."""

    pool6: IPv6Network | None
    eamt: Eamt = field(default_factory=lambda: Eamt([]))
    path: Path = field(default_factory=Path)
    plateaus: tuple[int, ...] = ()
    hairpin: str = "intrinsic"
    udp_zero_checksum: str = "calculate"
    rfc6791_ipv4: tuple[IPv4Network, ...] = ()
    own4: IPv4Address = DUMMY_IPV4

    def to_ipv6(self, address: IPv4Address, by_eam: bool = True) -> IPv6Address | None:
        """RFC 7757 3.3.1, else RFC 6052; `by_eam` False: as if no row matched (RFC 7757 4.2.1)."""
        mapped = self.eamt.to_ipv6(address) if by_eam else None
        if mapped is None and self.pool6 is not None:
            return embed(self.pool6, address)
        return mapped

    def to_ipv4(self, address: IPv6Address) -> Mapped6 | None:
        """RFC 7757 3.3.2, else RFC 6052 if the prefix is there."""
        mapped = self.eamt.to_ipv4(address)
        if mapped is not None:
            return Mapped6(mapped, embedded=False)
        if self.pool6 is not None and address in self.pool6:
            return Mapped6(extract(self.pool6, address), embedded=True)
        return None

    def serves(self, packet: Packet) -> bool:
        """Whether a translator that has state as well leaves this packet to its mappings: its IPv6 host has one."""
        inside: IPv4Address | IPv6Address = packet.destination if packet.family == 4 else packet.source
        if packet.family == 6 and packet.protocol == ICMPV6 and len(packet.payload) >= 48 and is_error(packet):
            inside = IPv6Address(
                packet.payload[32:48]
            )  # an error comes from anywhere, but quotes what its host was sent
        return (self.eamt.to_ipv6(inside) if isinstance(inside, IPv4Address) else self.eamt.to_ipv4(inside)) is not None

    def from_ipv4(self, packet: Packet, hairpinned: bool = False) -> tuple[list[Refusal], list[bytes]]:
        """RFC 7915 section 4. A hairpinned packet has its hop limit counted down already (RFC 7757 4.2.2)."""
        hop_limit = packet.hop_limit - (0 if hairpinned else 1)
        simple = hairpinned or self.hairpin == "simple"
        if packet.protocol == ICMP and packet.is_first and is_error(packet):
            return self._error_from_ipv4(packet, hop_limit, simple)
        source = self.to_ipv6(packet.source, by_eam=not simple)  # type: ignore[arg-type]
        destination = self.to_ipv6(packet.destination)  # type: ignore[arg-type]
        if source is None or destination is None:
            return [NO_ADDRESS], []
        protocol, payload = rewrite(packet, source, destination, None)
        if needs_udp_checksum(packet, self.udp_zero_checksum):
            payload = calculate_udp(payload, source, destination)
        return [], write_ipv6(packet, source, destination, protocol, payload, max(0, hop_limit), self.path)

    def _error_from_ipv4(self, packet: Packet, hop_limit: int, simple: bool) -> tuple[list[Refusal], list[bytes]]:
        """RFC 7915 4.2, 4.3; RFC 7757 4.2.1 rules 2 and 3."""
        message = read_message(packet, extensions=True)
        quoted = readable_quote(packet, message)
        new = quoted and map_4to6(message, quoted, self.path, list(self.plateaus))
        if quoted is None or new is None:
            return [QUOTE if quoted is None else UNMAPPED], []
        from_its_target = packet.source == quoted.destination
        source = self.to_ipv6(packet.source, by_eam=not (simple and from_its_target))  # type: ignore[arg-type]
        destination = self.to_ipv6(packet.destination)  # type: ignore[arg-type]
        inner_source = self.to_ipv6(quoted.source)  # type: ignore[arg-type]
        inner_destination = self.to_ipv6(quoted.destination, by_eam=not simple)  # type: ignore[arg-type]
        if source is None or destination is None or inner_source is None or inner_destination is None:
            return [NO_ADDRESS], []
        protocol, payload = rewrite(quoted, inner_source, inner_destination, None)
        quote = quote_ipv6(quoted, inner_source, inner_destination, protocol, payload, self.path)
        body = assemble(6, new, quote, message.extension, SIZE_LIMIT[6])
        body = with_checksum(body, ICMPV6, checksum(source, destination, ICMPV6, body))
        return [], write_ipv6(packet, source, destination, ICMPV6, body, max(0, hop_limit), self.path)

    def from_ipv6(self, packet: Packet, observed: list[bytes]) -> tuple[list[Refusal], list[bytes]]:
        """RFC 7915 section 5, and the hairpin of RFC 7757 4.2.2."""
        hop_limit = max(0, packet.hop_limit - 1)
        if packet.protocol == ICMPV6 and packet.is_first and is_error(packet):
            return self._error_from_ipv6(packet, hop_limit, observed)
        source, destination = self.to_ipv4(packet.source), self.to_ipv4(packet.destination)  # type: ignore[arg-type]
        if source is None or destination is None:
            return [NO_ADDRESS], []
        protocol, payload = rewrite(packet, source.address, destination.address, None)
        written = write_ipv4(packet, source.address, destination.address, protocol, payload, hop_limit, self.path)
        if self.hairpin == "intrinsic" and self._returns(destination):  # condition set A
            return self.from_ipv4(read(written), hairpinned=True)
        return [], [written]

    def _error_from_ipv6(
        self, packet: Packet, hop_limit: int, observed: list[bytes]
    ) -> tuple[list[Refusal], list[bytes]]:
        message = read_message(packet, extensions=True)
        quoted = readable_quote(packet, message)
        new = quoted and map_6to4(message, quoted, self.path)
        if quoted is None or new is None:
            return [QUOTE if quoted is None else UNMAPPED], []
        source = self._error_source(packet, observed)
        destination = self.to_ipv4(packet.destination)  # type: ignore[arg-type]
        inner_source = self.to_ipv4(quoted.source)  # type: ignore[arg-type]
        inner_destination = self.to_ipv4(quoted.destination)  # type: ignore[arg-type]
        if destination is None or inner_source is None or inner_destination is None:
            return [NO_ADDRESS], []
        returns = self.hairpin == "intrinsic" and self._returns(inner_source)  # condition set B
        protocol, payload = rewrite(quoted, inner_source.address, inner_destination.address, None)
        quote = quote_ipv4(quoted, inner_source.address, inner_destination.address, protocol, payload, self.path)
        body = assemble(4, new, quote, message.extension, None if returns else SIZE_LIMIT[4])
        body = with_checksum(body, ICMP, checksum(source, destination.address, ICMP, body))
        written = write_ipv4(packet, source, destination.address, ICMP, body, hop_limit, self.path)
        return self.from_ipv4(read(written), hairpinned=True) if returns else ([], [written])

    def _returns(self, mapped: Mapped6) -> bool:
        """RFC 7757 4.2.2, A2 and A3, B2 and B3."""
        return mapped.embedded and self.eamt.to_ipv6(mapped.address) is not None

    def _error_source(self, packet: Packet, observed: list[bytes]) -> IPv4Address:
        """RFC 7915 6; an untranslatable source gets any address of the RFC 6791 pool, or our own without one."""
        mapped = self.to_ipv4(packet.source)  # type: ignore[arg-type]
        if mapped is not None:
            return mapped.address
        seen = IPv4Address(observed[0][12:16]) if observed and observed[0][0] >> 4 == 4 else None
        if seen is not None and any(seen in network for network in self.rfc6791_ipv4):
            return seen
        return self.rfc6791_ipv4[0][0] if self.rfc6791_ipv4 else self.own4


def readable_quote(packet: Packet, message: Message) -> Packet | None:
    """RFC 7915 4.3: one embedded header, of the same family, and 8 octets of a transport header we know (RFC 792)."""
    try:
        quoted = read(message.quoted, quoted=True)
    except UnreadableError:
        return None
    if quoted.family != packet.family:
        return None
    if quoted.is_first and quoted.protocol in (TCP, UDP, quoted.icmp_protocol) and len(quoted.payload) < 8:
        return None
    if quoted.protocol == quoted.icmp_protocol and quoted.is_first:
        return quoted if (quoted.family, quoted.payload[0]) in ECHO_TYPES else None
    return quoted
