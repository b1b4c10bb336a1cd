"""Stateless translation (SIIT): RFC 7915 with the addresses of RFC 6052, 7757 and 6791; no ports, no changing tables.

Each address is mapped on its own (RFC 7757 3.2); what is mapped how is all this file knows. Packets are written by
headers.py, transport.py and icmp.py as in the stateful case.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from tests.reference.addresses import WELL_KNOWN_PREFIX, Eamt, embed, extract, is_non_global
from tests.reference.checks import check_protocol
from tests.reference.errors import DUMMY_IPV4, DUMMY_IPV6
from tests.reference.headers import Path, quote_ipv4, quote_ipv6, write_ipv4, write_ipv6
from tests.reference.icmp import SIZE_LIMIT, UNLIMITED, Message, assemble, is_error, map_4to6, map_6to4, read_message
from tests.reference.outcome import Refusal
from tests.reference.reading import ICMP, ICMPV6, TCP, UDP, Packet, UnreadableError, read
from tests.reference.transport import (
    CALCULATED,
    ECHO_TYPES,
    ZeroChecksums,
    calculate_udp,
    checksum,
    needs_udp_checksum,
    rewrite,
    with_checksum,
)

QUOTE = Refusal("7915 4.3", ("QUOTED_PACKET",))
NESTED = Refusal("7915 4.3", ("ERROR_IN_ERROR", "QUOTED_PACKET"))
UNMAPPED = Refusal("7915 4.2", ("ICMP_TYPE",))
NOT_FOUND = Refusal(
    "6146 3.6",
    ("NO_BIB_ENTRY", "NO_SESSION", "PROTOCOL", "QUOTED_PACKET", "NON_GLOBAL_ADDRESS", "CLAT_SOURCE"),
)  # whatever the way back says of a message that cannot go there
NO_ADDRESS = Refusal("7757 3.3", ("NO_MAPPING",), "PROHIBITED", must_answer=True)  # RFC 7915 4.4, 5.4
NOT_STATIC = Refusal("6146 3.5", ("NO_SESSION",))  # with state beside, an address without a row has no static mapping
CUSTOMER = Refusal("6877 2", ("CLAT_SOURCE",), "PROHIBITED", must_answer=True)


@dataclass(frozen=True)
class Mapped6:
    """An IPv6 address in IPv4, and whether RFC 6052 gave it (RFC 7757 4.2.2 asks)."""

    address: IPv4Address
    embedded: bool


@dataclass(frozen=True)
class Half:
    """An IPv6 packet half way: as IPv4, or why not. `returns`: its destination is an IPv6 host of ours."""

    refusals: list[Refusal]
    packet: bytes | None = None
    returns: bool = False


@dataclass(frozen=True)
class Back:
    """What an ICMP error between two IPv6 hosts of ours keeps, though IPv4 has other room for it: its extension; the
    whole Identification of what it quotes.
    """

    extension: bytes
    identification: int | None


@dataclass
class Stateless:
    """A translator without state. `hairpin`: off | simple | intrinsic (RFC 7757 4.2).

    `is_ours`: the IPv4 addresses that a translator with state beside it gives to IPv6 hosts (RFC 6146 3.8).
    """

    pool6: IPv6Network | None
    eamt: Eamt = field(default_factory=lambda: Eamt([]))
    path: Path = field(default_factory=Path)
    plateaus: tuple[int, ...] = ()
    hairpin: str = "intrinsic"
    zero_checksums: ZeroChecksums = CALCULATED
    rfc6791_ipv4: tuple[IPv4Network, ...] = ()
    rfc6791_ipv6: IPv6Network = DUMMY_IPV6
    own4: IPv4Address = DUMMY_IPV4
    strict: bool = True  # RFC 6052 3.1
    is_customer: bool = False  # RFC 6877: a CLAT; IPv4 hosts without a row are none of its own
    own_hosts: IPv4Network | None = None  # … and these are
    extensions: bool = True  # RFC 4884
    quotes_later_fragments: bool = True
    has_state: bool = False  # a translator with state beside it
    is_ours: Callable[[IPv4Address], bool] = lambda _: False

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

    def source6(self, router: IPv4Address, by_eam: bool = True, prefix: IPv6Network | None = None) -> IPv6Address:
        """The source of an ICMPv4 error in IPv6 (RFC 7915 4.1: be it illegal), RFC 6791 where it has none of its own or
        one that RFC 6052 3.1 forbids. `prefix`: another one than pool6.
        """
        under = prefix or self.pool6
        row = self.eamt.to_ipv6(router) if by_eam else None
        strange = self.is_customer and not self.has_row(router)
        forbidden = self.strict and under == WELL_KNOWN_PREFIX and is_non_global(router)
        if row is None and not strange and under and (not forbidden or self.is_ours(router)):
            return embed(under, router)
        return row or self.rfc6791_ipv6[int(router) % min(self.rfc6791_ipv6.num_addresses, 1 << 32)]

    def serves(self, packet: Packet) -> bool:
        """Whether a translator that has state as well leaves this packet to its mappings: its IPv6 host has one.

        Of an ICMP error that is the host whose packet it quotes, or to whom that packet went (RFC 6146 3.4); of one
        that quotes nobody's packet the host it is for.
        """
        inside = packet.destination if packet.family == 4 else packet.source
        if packet.protocol == packet.icmp_protocol and not packet.is_fragment and is_error(packet):
            try:
                quoted = read(read_message(packet, self.extensions).quoted, quoted=True)
            except UnreadableError:
                return self.has_row(inside)
            if isinstance(quoted.source, IPv4Address) and packet.family == 4:
                foreign = not self.is_ours(quoted.source) and self.has_row(inside)
                return foreign or self.has_row(quoted.source)
            return self.has_row(quoted.destination)
        return self.has_row(inside)

    def has_way(self, packet: Packet) -> bool:
        """Whether both addresses are mapped: in a CLAT, that of an IPv4 host by a row, also where one from IPv6 turns
        round (RFC 7757 4.2).
        """
        if isinstance(packet.source, IPv4Address):
            return self.has_row(packet.source) and self.to_ipv6(packet.destination) is not None  # type: ignore[arg-type]
        source, destination = map(self.to_ipv4, (packet.source, packet.destination))  # type: ignore[arg-type]
        if source is None or destination is None:
            return False
        returns = destination.embedded and self.hairpin == "intrinsic" and self.has_row(destination.address)
        return not returns or self.has_row(source.address)

    def has_row(self, address: IPv4Address | IPv6Address) -> bool:
        if isinstance(address, IPv4Address):
            return self.eamt.to_ipv6(address) is not None
        return self.eamt.to_ipv4(address) is not None

    def is_own_host(self, address: IPv6Address) -> bool:
        """RFC 7756 6: an address that is, or stands for, one of a CLAT's own hosts."""
        mapped = self.to_ipv4(address)
        return self.own_hosts is not None and mapped is not None and mapped.address in self.own_hosts

    def from_ipv4(self, packet: Packet, hairpinned: bool = False) -> tuple[list[Refusal], list[bytes]]:
        """RFC 7915 section 4. A hairpinned packet has its hop limit counted down already (RFC 7757 4.2.2)."""
        hop_limit = packet.hop_limit - (0 if hairpinned else 1)
        simple = hairpinned or self.hairpin == "simple"
        if self.is_customer and not self.has_row(packet.source):
            return [CUSTOMER], []
        source = self.to_ipv6(packet.source, by_eam=not simple)  # type: ignore[arg-type]
        destination = self.to_ipv6(packet.destination)  # type: ignore[arg-type]
        if source is None or destination is None:
            return [NO_ADDRESS], []
        protocol, payload = rewrite(packet, source, destination, None)
        if needs_udp_checksum(packet, self.zero_checksums):
            payload = calculate_udp(payload, source, destination)
        return [], write_ipv6(packet, source, destination, protocol, payload, max(0, hop_limit), self.path)

    def error_from_ipv4(self, packet: Packet, back: Back | None = None) -> tuple[list[Refusal], list[bytes]]:
        """RFC 7915 4.2, 4.3; RFC 7757 4.2.1 rules 2 and 3. `back`: what a hairpinned one had on the way in."""
        hop_limit = packet.hop_limit - (0 if back else 1)
        simple = back is not None or self.hairpin == "simple"
        message = read_message(packet, self.extensions)
        quoted, refusals = self._quoted(packet, message)
        new = map_4to6(message, quoted or packet, self.path, list(self.plateaus))
        if new is None:
            refusals.append(UNMAPPED)
        if quoted is None:
            return refusals, []
        if self.has_state and not self.has_row(packet.destination):
            refusals.append(NOT_STATIC)
        if self.is_customer and not self.has_row(quoted.destination):
            refusals.append(CUSTOMER)
        from_its_target = packet.source == quoted.destination
        source = self.source6(packet.source, by_eam=not (simple and from_its_target))  # type: ignore[arg-type]
        destination = self.to_ipv6(packet.destination)  # type: ignore[arg-type]
        inner_source = self.to_ipv6(quoted.source)  # type: ignore[arg-type]
        inner_destination = self.to_ipv6(quoted.destination, by_eam=not simple)  # type: ignore[arg-type]
        if destination is None or inner_source is None or inner_destination is None:
            return [*refusals, NO_ADDRESS], []
        if new is None:
            return refusals, []
        protocol, payload = rewrite(quoted, inner_source, inner_destination, None)
        if back is not None and back.identification is not None:
            quoted.identification = back.identification
        quote = quote_ipv6(quoted, inner_source, inner_destination, protocol, payload, self.path)
        body = assemble(6, new, quote, back.extension if back else message.extension, SIZE_LIMIT[6])
        body = with_checksum(body, ICMPV6, checksum(source, destination, ICMPV6, body))
        return refusals, write_ipv6(packet, source, destination, ICMPV6, body, max(0, hop_limit), self.path)

    def from_ipv6(self, packet: Packet) -> Half:
        """RFC 7915 section 5, and condition set A of RFC 7757 4.2.2."""
        source, destination = self.to_ipv4(packet.source), self.to_ipv4(packet.destination)  # type: ignore[arg-type]
        if source is None or destination is None:
            return Half([NO_ADDRESS])
        protocol, payload = rewrite(packet, source.address, destination.address, None)
        if needs_udp_checksum(packet, self.zero_checksums):
            payload = calculate_udp(payload, source.address, destination.address)
        ttl = max(0, packet.hop_limit - 1)
        written = write_ipv4(packet, source.address, destination.address, protocol, payload, ttl, self.path)
        return Half([], written, self._returns(destination))

    def error_from_ipv6(self, packet: Packet, observed: list[bytes]) -> Half:
        """RFC 7915 5.2, 5.3, and condition set B of RFC 7757 4.2.2."""
        message = read_message(packet, self.extensions)
        quoted, refusals = self._quoted(packet, message)
        new = map_6to4(message, quoted or packet, self.path, list(self.plateaus))
        if new is None:
            refusals.append(UNMAPPED)
        if quoted is None:
            return Half(refusals)
        destination = self.to_ipv4(packet.destination)  # type: ignore[arg-type]
        inner_source = self.to_ipv4(quoted.source)  # type: ignore[arg-type]
        inner_destination = self.to_ipv4(quoted.destination)  # type: ignore[arg-type]
        if destination is None or inner_source is None or inner_destination is None:
            return Half([*refusals, NO_ADDRESS])
        returns = self._returns(inner_source)
        if new is None:
            return Half([*refusals, *([NOT_FOUND] if returns else [])])
        source = self.source4(packet, observed, inner_destination.address)
        protocol, payload = rewrite(quoted, inner_source.address, inner_destination.address, None)
        quote = quote_ipv4(quoted, inner_source.address, inner_destination.address, protocol, payload, self.path)
        extension = b"" if returns else message.extension
        body = assemble(4, new, quote, extension, UNLIMITED if returns else SIZE_LIMIT[4])
        body = with_checksum(body, ICMP, checksum(source, destination.address, ICMP, body))
        ttl = max(0, packet.hop_limit - 1)
        return Half(refusals, write_ipv4(packet, source, destination.address, ICMP, body, ttl, self.path), returns)

    def _returns(self, mapped: Mapped6) -> bool:
        """RFC 7757 4.2.2, A2 and A3, B2 and B3; RFC 6146 3.8."""
        if not mapped.embedded:
            return False
        by_row = self.hairpin == "intrinsic" and self.eamt.to_ipv6(mapped.address) is not None
        return by_row or self.is_ours(mapped.address)

    def source4(self, packet: Packet, observed: list[bytes], target: IPv4Address) -> IPv4Address:
        """RFC 7915 6; an untranslatable source gets any address of the RFC 6791 pool. Without one it is our own, or
        with state beside that of the error's target (RFC 6146 3.7).
        """
        mapped = self.to_ipv4(packet.source)  # type: ignore[arg-type]
        if mapped is not None:
            return mapped.address
        if not self.rfc6791_ipv4:
            return target if self.has_state else self.own4
        return seen_in(observed, self.pool6, self.rfc6791_ipv4) or self.rfc6791_ipv4[0][0]

    def _quoted(self, packet: Packet, message: Message) -> tuple[Packet | None, list[Refusal]]:
        """RFC 7915 4.3: one embedded header, of the same family; else why not."""
        try:
            quoted = read(message.quoted, quoted=True)
        except UnreadableError:
            return None, [QUOTE]
        if quoted.family != packet.family:
            return None, [QUOTE]
        refusals = []
        if not quoted.is_first:
            refusals += check_protocol(quoted, ("QUOTED_PACKET", "PROTOCOL"))
            return (quoted, refusals) if self.quotes_later_fragments else (None, [QUOTE])
        refusals += transport_of(quoted)
        return (quoted if all(one.permitted for one in refusals) else None), refusals


def transport_of(quoted: Packet) -> list[Refusal]:
    """What is wrong with the transport header of a quoted packet."""
    is_icmp = quoted.protocol == quoted.icmp_protocol
    known = is_icmp or quoted.protocol in (TCP, UDP)
    if is_icmp and not quoted.payload:
        return [QUOTE]
    if is_icmp and is_error(quoted):
        return [NESTED]
    if is_icmp and (quoted.family, quoted.payload[0]) not in ECHO_TYPES:
        return [Refusal("7915 4.3", ("QUOTED_PACKET", "ICMP_TYPE", "ERROR_IN_ERROR"))]
    refusals = [] if known else check_protocol(quoted, ("QUOTED_PACKET", "PROTOCOL"))
    if len(quoted.payload) < 8 and known:  # RFC 792 promises 8
        refusals.append(QUOTE)
    return refusals


def seen_in(observed: list[bytes], pool6: IPv6Network | None, networks: tuple[IPv4Network, ...]) -> IPv4Address | None:
    """The source of the packet sent, which stands under pool6 if it is IPv6, if it is of those networks."""
    seen = None
    if observed and observed[0][0] >> 4 == 4:
        seen = IPv4Address(observed[0][12:16])
    elif observed and pool6 is not None and IPv6Address(observed[0][8:24]) in pool6:
        seen = extract(pool6, IPv6Address(observed[0][8:24]))
    return seen if seen is not None and any(seen in network for network in networks) else None
