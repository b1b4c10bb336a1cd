"""What speaks against a packet before any table is asked: RFC 7915 4.1, 4.5, 5.1, RFC 6146 3.4 and 3.5, RFC 6052 3.1,
RFC 1812 5.3.7.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from tests.reference.addresses import WELL_KNOWN_PREFIX, is_forwardable, is_illegal_source6, is_non_global
from tests.reference.icmp import is_error
from tests.reference.outcome import Refusal
from tests.reference.reading import (
    AH,
    DESTINATION_OPTIONS,
    FRAGMENT,
    HOP_BY_HOP,
    ICMP,
    ICMPV6,
    IGMP,
    ROUTING,
    SKIPPED,
    TCP,
    UDP,
    UNREADABLE,
    Packet,
    ones_complement_sum,
)
from tests.reference.transport import CALCULATED, ECHO_TYPES, ZeroChecksums, pseudo_header

LEAST = {TCP: 20, UDP: 8}  # octets of a transport header


@dataclass(frozen=True)
class Rules:
    """The part of the configuration that judges single packets."""

    pool6: IPv6Network | None
    clients: tuple[IPv6Network, ...] = ()  # other prefixes, of clients of services
    strict_well_known_prefix: bool = True
    denylist4: tuple[IPv4Network, ...] = ()
    zero_checksums: ZeroChecksums = CALCULATED
    stateful: bool = True
    others: bool = False  # a pool carries other protocols
    drop_icmp_info: bool = False
    reassembles: bool = False  # RFC 6146 3.4: a fragment waits until its datagram is whole
    gathers_icmp: bool = False  # a CLAT, which has all fragments of its hosts: ICMP waits, and nothing else does

    def forbids(self, address: IPv4Address, prefix: IPv6Network | None) -> bool:
        """RFC 6052 3.1: the address is not to stand under this prefix, None: pool6."""
        is_well_known = (prefix or self.pool6) == WELL_KNOWN_PREFIX
        return self.strict_well_known_prefix and is_well_known and is_non_global(address)

    def prefix_of(self, address: IPv6Address) -> IPv6Network | None:
        """Which of its prefixes an address is in."""
        known = (*self.clients, *((self.pool6,) if self.pool6 else ()))
        return next((prefix for prefix in known if address in prefix), None)


@dataclass(frozen=True)
class End:
    """The IPv4 address that one end of a packet has, or is given."""

    address: IPv4Address
    embedded: bool  # it stands, or would stand, under a prefix
    is_ours: bool  # it is of pool4 or [[forward]]
    is_source: bool = False
    is_quoted: bool = False  # it is one of the packet in an ICMP error
    prefix: IPv6Network | None = None  # that it would stand under, None: pool6


# Protocol numbers that mean something else in the other family: RFC 7915 copies them by the letter, which would make a
# packet that nobody sent. They are refused (README, Limits).
FOREIGN = {4: (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS, ICMPV6), 6: (ICMP, IGMP)}


def check(packet: Packet, rules: Rules, ends: Sequence[End]) -> list[Refusal]:
    """All of them, in no order."""
    found = list(packet.refusals)
    if packet.hop_limit <= 1:  # 7915 4.1, 5.1
        found.append(Refusal("7915 4.1", ("HOP_LIMIT_EXPIRED",), "TIME_EXCEEDED", must_answer=True))
    found += check_transport(packet, rules)
    if packet.family == 6:
        found += check_ipv6(packet, rules)
    # RFC 7915 4.1: an ICMPv4 error is translated even from an illegal source, for troubleshooting. A fragment that
    # waits may be one of such an error.
    excused = rules.reassembles if packet.is_fragment else is_error(packet)
    excused = excused and packet.family == 4 and packet.protocol == ICMP
    for end in ends:
        if not (excused and end.is_source and not end.is_quoted):
            found += check_end(end, packet.family, rules)
    return found


def check_transport(packet: Packet, rules: Rules) -> list[Refusal]:
    """Protocol, header length, checksum."""
    size = len(packet.payload)
    if packet.protocol == packet.icmp_protocol:
        return check_icmp(packet, rules)
    empty = [] if packet.is_first or size else [Refusal("791 3.2", UNREADABLE)]
    if packet.protocol not in LEAST:
        if packet.family == 6 and packet.protocol in (*SKIPPED, FRAGMENT):  # behind a Fragment Header: refused already
            return []
        if not rules.stateful or (packet.family == 4 and packet.protocol == IGMP):
            return empty + check_protocol(packet)
        if rules.others and packet.protocol not in (*FOREIGN[packet.family], AH):
            return empty
        return [*empty, Refusal("6146 3.4", ("PROTOCOL",), "PROTOCOL_UNREACHABLE", must_answer=True)]
    if not packet.is_first:
        return empty
    if size < LEAST[packet.protocol]:  # 6146 3.4: the header may be required to be whole, also in a first fragment
        return [Refusal("6146 3.4", UNREADABLE)]
    if packet.protocol == UDP:
        return check_udp(packet, rules)
    header = (packet.payload[12] >> 4) * 4
    return [] if 20 <= header <= size else [Refusal("793 3.1", UNREADABLE)]


def check_protocol(packet: Packet, verdicts: tuple[str, ...] = ("PROTOCOL",)) -> list[Refusal]:
    """Whether a protocol that the translator does not know is refused all the same; RFC 7915 4.2: IGMP has to be."""
    if packet.family == 4 and packet.protocol == IGMP:
        return [Refusal("7915 4.2", (*verdicts, "ICMP_TYPE"))]
    if packet.protocol not in FOREIGN[packet.family]:
        return []
    return [Refusal("7915 4.1", verdicts, "PROTOCOL_UNREACHABLE")]


def check_udp(packet: Packet, rules: Rules) -> list[Refusal]:
    """RFC 7915 4.5, RFC 6146 3.4: datagrams without a checksum; RFC 768: lengths that disagree."""
    found = []
    length = int.from_bytes(packet.payload[4:6])
    if length < 8 or (length > len(packet.payload) and not packet.is_fragment):
        found.append(Refusal("768", UNREADABLE))
    what = rules.zero_checksums.of(packet)
    if packet.payload[6:8] != b"\0\0" or what == "forward":
        return found
    uncountable = packet.is_fragment and not rules.reassembles
    if what == "drop" or uncountable:  # RFC 8200 8.1: illegal in IPv6, which RFC 7915 does not know
        found.append(Refusal("7915 4.5", ("ZERO_UDP_CHECKSUM",)))
    return found


def check_icmp(packet: Packet, rules: Rules) -> list[Refusal]:
    """RFC 7915 4.2 and 5.2: types; 4.3: a broken error must not leave repaired."""
    if packet.is_fragment and (rules.reassembles or rules.gathers_icmp):
        least = 8 if packet.is_first else 1
        return [Refusal("792", UNREADABLE)] if len(packet.payload) < least else []
    if packet.is_fragment:
        return [Refusal("7915 4.2", ("FRAGMENTED_ICMP",))]
    if len(packet.payload) < 8:
        return [Refusal("792", UNREADABLE)]
    pseudo = pseudo_header(packet.source, packet.destination, packet.protocol, packet.declared)
    sound = ones_complement_sum(pseudo + packet.payload) == 0xFFFF
    if (packet.family, packet.payload[0]) in ECHO_TYPES:
        return [Refusal("6146 3.5.3", ("FILTERED_ICMP_INFO",))] if rules.drop_icmp_info else []
    found = [] if sound else [Refusal("7915 4.3", ("ICMP_CHECKSUM",))]
    if not is_error(packet):
        found.append(Refusal("7915 4.2", ("ICMP_TYPE",)))
    return found


def check_ipv6(packet: Packet, rules: Rules) -> list[Refusal]:
    """RFC 6146 3.5: source outside and destination inside a prefix; RFC 7915 5.1: illegal sources."""
    found = []
    source, destination = packet.source, packet.destination
    if is_illegal_source6(source):  # type: ignore[arg-type]
        found.append(Refusal("7915 5.1", ("NOT_UNICAST",)))
    if rules.stateful and rules.prefix_of(source) is not None:  # type: ignore[arg-type]
        found.append(Refusal("6146 3.5", ("SOURCE_IN_POOL6",), silences=True))
    if is_illegal_source6(destination):  # type: ignore[arg-type]
        found.append(Refusal("4291 2.5.6", ("NOT_UNICAST",)))
    elif rules.stateful and rules.prefix_of(destination) is None:  # type: ignore[arg-type]  # else RFC 7757 may know it
        found.append(Refusal("6146 3.5", ("NOT_OUR_PREFIX",)))
    return found


def check_end(end: End, family: int, rules: Rules) -> list[Refusal]:
    """RFC 1812 5.3.7, RFC 3927 2.7, RFC 6052 3.1, and the operator's deny list."""
    found = []
    if not is_forwardable(end.address) and not end.is_ours:
        # RFC 7915 5.4: an IPv6 packet is answered; 5.1 does not ask for that where the source is the illegal one.
        due = family == 6 and not end.is_source
        found.append(Refusal("3927 2.7", ("NOT_UNICAST",), "PROHIBITED", must_answer=due))
    elif end.embedded and rules.forbids(end.address, end.prefix) and not end.is_ours:
        found.append(Refusal("6052 3.1", ("NON_GLOBAL_ADDRESS",), "PROHIBITED", must_answer=True))
    if any(end.address in network for network in rules.denylist4) and not end.is_ours:
        found.append(Refusal("LIMITS", ("DENIED_ADDRESS",), "PROHIBITED"))
    return found
