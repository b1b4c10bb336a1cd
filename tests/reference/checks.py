"""What speaks against a packet before any table is asked: RFC 7915 4.1, 4.5, 5.1, RFC 6146 3.4 and 3.5, RFC 6052 3.1,
RFC 1812 5.3.7.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from tests.reference.addresses import (
    WELL_KNOWN_PREFIX,
    extract,
    is_debatable,
    is_illegal_source4,
    is_illegal_source6,
    is_non_global,
)
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
    NO_NEXT_HEADER,
    OTHER_EXTENSIONS,
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
    strict_well_known_prefix: bool = True
    denylist4: tuple[IPv4Network, ...] = ()
    zero_checksums: ZeroChecksums = CALCULATED
    stateful: bool = True
    others: bool = False  # a pool carries other protocols
    drop_icmp_info: bool = False
    reassembles: bool = False  # RFC 6146 3.4: a fragment waits until its datagram is whole


# Protocol numbers that mean something else in the other family, or nothing without the header before: RFC 7915 copies
# them by the letter, which makes a packet that nobody sent.
FOREIGN = {
    4: (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS, *OTHER_EXTENSIONS, NO_NEXT_HEADER, ICMPV6),
    6: (ICMP, IGMP, NO_NEXT_HEADER),
}


def check(
    packet: Packet, rules: Rules, embedded: Sequence[tuple[IPv4Address, bool]], quoted: Sequence[IPv4Address] = ()
) -> list[Refusal]:
    """All of them, in no order.

    `embedded`: the IPv4 addresses that stand, or would stand, under pool6, and whether they are our own hosts';
    `quoted`: those of the packet in an ICMP error.
    """
    found = list(packet.refusals)
    if packet.hop_limit <= 1:  # 7915 4.1, 5.1
        found.append(Refusal("7915 4.1", ("HOP_LIMIT_EXPIRED",), "TIME_EXCEEDED", must_answer=True))
    found += check_transport(packet, rules)
    found += check_ipv6(packet, rules) if packet.family == 6 else check_ipv4(packet, rules)
    in_error = packet.family == 4 and packet.protocol == ICMP and is_error(packet)
    for host4, is_ours in (*embedded, *((one, False) for one in quoted)):
        judged = check_host4(host4, rules, is_ours)
        # RFC 6052 3.1 and RFC 7915 4.1 contradict each other about sources, and neither speaks of quoted addresses.
        if (in_error and host4 == packet.source) or host4 in quoted:
            judged = [replace(one, permitted=True) for one in judged]
        found += judged
    return found


def check_transport(packet: Packet, rules: Rules) -> list[Refusal]:
    """Protocol, header length, checksum."""
    size = len(packet.payload)
    if packet.protocol == packet.icmp_protocol:
        return check_icmp(packet, rules)
    empty = [] if packet.is_first or size else [Refusal("791 3.2", UNREADABLE, permitted=True)]
    if packet.protocol not in LEAST:
        if packet.family == 6 and packet.protocol in (*SKIPPED, FRAGMENT):  # behind a Fragment Header: refused already
            return []
        if not rules.stateful or (packet.family == 4 and packet.protocol == IGMP):
            return empty + check_protocol(packet)
        if rules.others and packet.protocol not in (*FOREIGN[packet.family], AH):
            return empty
        return [*empty, Refusal("6146 3.4", ("PROTOCOL",), "PROTOCOL_UNREACHABLE", must_answer=size > 0)]
    if not packet.is_first:
        return empty
    if size < LEAST[packet.protocol]:  # 6146 3.4: the header may be required to be whole, also in a first fragment
        return [Refusal("6146 3.4", UNREADABLE, permitted=not rules.stateful)]
    if packet.protocol == UDP:
        return check_udp(packet, rules)
    header = (packet.payload[12] >> 4) * 4
    return [] if 20 <= header <= size else [Refusal("793 3.1", UNREADABLE, permitted=True)]


def check_protocol(packet: Packet, verdicts: tuple[str, ...] = ("PROTOCOL",)) -> list[Refusal]:
    """Whether a protocol that the translator does not know may be refused all the same; RFC 7915 4.2: IGMP has to."""
    if packet.family == 4 and packet.protocol == IGMP:
        return [Refusal("7915 4.2", (*verdicts, "ICMP_TYPE"))]
    if packet.protocol not in FOREIGN[packet.family]:
        return []
    return [Refusal("7915 4.1", verdicts, "PROTOCOL_UNREACHABLE", permitted=True)]


def check_udp(packet: Packet, rules: Rules) -> list[Refusal]:
    """RFC 7915 4.5, RFC 6146 3.4: datagrams without a checksum; lengths that disagree are left open."""
    found = []
    length = int.from_bytes(packet.payload[4:6])
    if length < 8 or (length > len(packet.payload) and not packet.is_fragment):
        found.append(Refusal("768", UNREADABLE, permitted=True))
    what = rules.zero_checksums.of(packet)
    if packet.payload[6:8] != b"\0\0" or what == "forward":
        return found
    uncountable = packet.is_fragment and not rules.reassembles
    if packet.family == 6:  # RFC 8200 8.1: illegal; RFC 7915 does not know it
        found.append(Refusal("8200 8.1", ("ZERO_UDP_CHECKSUM",), permitted=not uncountable))
    elif what == "drop" or uncountable:
        found.append(Refusal("7915 4.5", ("ZERO_UDP_CHECKSUM",)))
    return found


def check_icmp(packet: Packet, rules: Rules) -> list[Refusal]:
    """RFC 7915 4.2 and 5.2: types; 4.3: a broken error must not leave mended."""
    if packet.is_fragment and rules.reassembles:
        least = 8 if packet.is_first else 1
        return [Refusal("792", UNREADABLE, permitted=True)] if len(packet.payload) < least else []
    if packet.is_fragment:
        return [Refusal("7915 4.2", ("FRAGMENTED_ICMP",))]
    if len(packet.payload) < 8:
        return [Refusal("792", UNREADABLE)]
    pseudo = pseudo_header(packet.source, packet.destination, packet.protocol, packet.declared)
    sound = ones_complement_sum(pseudo + packet.payload) == 0xFFFF
    if (packet.family, packet.payload[0]) in ECHO_TYPES:
        filtered = [Refusal("6146 3.5.3", ("FILTERED_ICMP_INFO",))] if rules.drop_icmp_info else []
        return filtered if sound else [*filtered, Refusal("7915 5", ("ICMP_CHECKSUM",), permitted=True)]
    found = [] if sound else [Refusal("7915 4.3", ("ICMP_CHECKSUM",))]
    if not is_error(packet):
        found.append(Refusal("7915 4.2", ("ICMP_TYPE",)))
    return found


def check_ipv6(packet: Packet, rules: Rules) -> list[Refusal]:
    """RFC 6146 3.5: source outside and destination inside pool6; RFC 7915 5.1: illegal sources."""
    found = []
    source, destination = packet.source, packet.destination
    if is_illegal_source6(source):  # type: ignore[arg-type]
        found.append(Refusal("7915 5.1", ("NOT_UNICAST",)))
    elif source.is_link_local:  # RFC 4291 2.5.6: routers must not forward it; RFC 7915 does not name it
        found.append(Refusal("4291 2.5.6", ("NOT_UNICAST",), permitted=True))
    pool6 = rules.pool6
    if rules.stateful and pool6 is not None and source in pool6:
        found.append(Refusal("6146 3.5", ("SOURCE_IN_POOL6",)))
    if destination.is_multicast:
        found.append(Refusal("4291 2.7", ("NOT_OUR_PREFIX", "NOT_UNICAST", "NO_MAPPING")))
    elif destination.is_link_local or is_illegal_source6(destination):  # type: ignore[arg-type]
        found.append(Refusal("4291 2.5", ("NOT_UNICAST", "NOT_OUR_PREFIX"), permitted=True))
    elif rules.stateful and (pool6 is None or destination not in pool6):  # stateless: RFC 7757 may know it
        found.append(Refusal("6146 3.5", ("NOT_OUR_PREFIX", "NOT_UNICAST")))
    if pool6 is None or destination not in pool6:
        return found
    host4 = extract(pool6, destination)  # type: ignore[arg-type]
    if is_illegal_source4(host4):  # no host has it: RFC 1122 3.2.1.3
        found.append(Refusal("1812 5.3.7", ("NOT_UNICAST", "NON_GLOBAL_ADDRESS"), "ADDRESS_UNREACHABLE"))
    elif host4.is_reserved:
        found.append(Refusal("1812 5.3.7", ("NOT_UNICAST", "NON_GLOBAL_ADDRESS"), permitted=True))
    return found


def check_ipv4(packet: Packet, rules: Rules) -> list[Refusal]:
    """RFC 7915 4.1: illegal sources, which an ICMP error may have."""
    found = []
    in_error = packet.protocol == packet.icmp_protocol and is_error(packet)
    if is_illegal_source4(packet.source) or packet.source.is_reserved:  # type: ignore[arg-type]
        permitted = in_error or not is_illegal_source4(packet.source)  # type: ignore[arg-type]
        found.append(Refusal("7915 4.1", ("NOT_UNICAST",), permitted=permitted))
    if is_illegal_source4(packet.destination) or packet.destination.is_reserved:  # type: ignore[arg-type]
        found.append(Refusal("6146 3.5", ("NOT_UNICAST", "NO_BIB_ENTRY")))
    return found


def check_host4(host4: IPv4Address, rules: Rules, is_ours: bool) -> list[Refusal]:
    """RFC 6052 3.1, and the operator's deny list."""
    found = []
    if rules.strict_well_known_prefix and rules.pool6 == WELL_KNOWN_PREFIX:
        if is_debatable(host4) or (is_ours and is_non_global(host4)):
            found.append(Refusal("6052 3.1", ("NON_GLOBAL_ADDRESS",), "ADDRESS_UNREACHABLE", permitted=True))
        elif is_non_global(host4):
            found.append(Refusal("6052 3.1", ("NON_GLOBAL_ADDRESS",), "ADDRESS_UNREACHABLE"))
    if any(host4 in network for network in rules.denylist4):
        found.append(Refusal("LIMITS", ("DENIED_ADDRESS",), "PROHIBITED"))
    return found
