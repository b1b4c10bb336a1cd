"""The reference translator: RFC 6146 section 3 in its order, with RFC 7915 for the packets.

It is told what the implementation sent, because some choices are free (the IPv4 transport address of a new binding,
Identification); it checks that they were legal, adopts them, and demands every other octet.
"""

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from tests.reference import errors, headers
from tests.reference.addresses import Eamt, Mapping, embed, extract, is_illegal_source4, is_non_global
from tests.reference.bib import Bibs, Entry, Host4, Pool, Session
from tests.reference.checks import Rules, check
from tests.reference.fragments import FragmentMemory, Ports
from tests.reference.icmp import is_error
from tests.reference.outcome import Expected, Refusal
from tests.reference.quoting import ErrorTranslator, Result
from tests.reference.reading import ICMPV6, TCP, UDP, UNREADABLE, Packet, UnreadableError, read
from tests.reference.sessions import Passage, Policy, Tuple, from_ipv4, from_ipv6
from tests.reference.stateless import Stateless
from tests.reference.tcp import Segment
from tests.reference.transport import calculate_udp, needs_udp_checksum, ports, rewrite

UNLIMITED = 1 << 20
NOT_KNOWN = IPv4Address(0), 0


@dataclass(frozen=True)
class Scope:
    """What the implementation under test is expected to do by now; everything for the whole of the RFCs."""

    extensions: bool = True  # RFC 4884
    errors_need_session: bool = False  # stricter than RFC 6146 3.6, which asks for a BIB entry only
    # RFC 6146 3.8 by the letter goes through IPv4 and back: Identification keeps 16 bits, ICMP codes become coarser
    hairpins_directly: bool = False
    reassembles: bool = False  # RFC 6146 3.4: fragmented UDP without checksum, fragmented ICMP


class Oracle:
    """A translator made from a `nat64d.config.Config`, of which it only reads attributes."""

    def __init__(self, config: Any, scope: Scope | None = None) -> None:
        self.scope = scope or Scope()
        self.pool6 = config.pool6
        self.own = config.tun.ipv4, config.tun.ipv6
        self.bibs = Bibs([pool_of(row) for row in config.pool4], [entry_of(row) for row in config.forward])
        self.policy = policy_of(config)
        self.rules = Rules(
            pool6=config.pool6,
            strict_well_known_prefix=config.strict_well_known_prefix,
            denylist4=tuple(config.translation.denylist4),
            udp_zero_checksum=config.translation.udp_zero_checksum,
            drop_icmp_info=config.filtering.drop_icmp_info,
            reassembles=self.scope.reassembles,
        )
        self.path = path_of(config)
        self.stateless = stateless_of(config, self.path) if config.eam or not config.pool4 else None
        self.fragments = FragmentMemory(config.timeouts.fragment)
        self.errors = ErrorTranslator(
            self.bibs,
            self.pool6,
            self.path,
            list(config.translation.mtu_plateaus),
            self.scope.extensions,
            self.scope.errors_need_session,
            self.scope.hairpins_directly,
        )

    def expire(self, at: float) -> None:
        """Let `at` seconds come."""
        self.bibs.expire(at)
        self.fragments.expire(at)

    def send(self, octets: bytes, at: float, observed: list[bytes], verdict: str = "") -> Expected:
        """What has to become of `octets`, given what the implementation sent for them and its verdict.

        The verdict is of use only where the RFCs leave open whether a packet passes: it tells which tables it may have
        touched.
        """
        self.expire(at)
        try:
            packet = read(octets)
        except UnreadableError:
            return Expected([Refusal("8200 3", (*UNREADABLE, "HEADER_CHECKSUM", "EXTENSION_HEADERS"))])
        if self.stateless is not None and (not self.bibs.pools or self.stateless.serves(packet)):
            expected = self._without_state(packet, observed)
            errors.fill_answers(expected, packet, *self.own)
            return expected
        trip = Trip(self, packet, at, observed, verdict)
        expected = trip.from_ipv6() if packet.family == 6 else trip.from_ipv4()
        errors.fill_answers(expected, packet, *self.own)
        return expected

    def _without_state(self, packet: Packet, observed: list[bytes]) -> Expected:
        """RFC 7915 alone, with the addresses of RFC 7757, 6052 and 6791."""
        assert self.stateless is not None
        expected = Expected(check(packet, replace(self.rules, stateful=False), is_ours=False))
        if any({*UNREADABLE, "FRAGMENTED_ICMP", "ICMP_TYPE"} & set(one.verdicts) for one in expected.refusals):
            return expected
        if packet.family == 4:
            refusals, packets = self.stateless.from_ipv4(packet)
            expected.refusals += headers.too_big_for_ipv6(packet, self.path)
        else:
            refusals, packets = self.stateless.from_ipv6(packet, observed)
            if packets and packets[0][0] >> 4 == 4:
                expected.refusals += headers.too_big_for_ipv4(packet, len(packets[0]), self.path)
        expected.refusals += refusals
        expected.hairpinned = bool(packets) and packets[0][0] >> 4 == packet.family
        expected.packets = adopted(packet, packets, observed)
        return expected


class Trip:
    """One packet's way through."""

    def __init__(self, oracle: Oracle, packet: Packet, at: float, observed: list[bytes], verdict: str) -> None:
        self.verdict = verdict
        self.oracle = oracle
        self.packet = packet
        self.at = at
        self.observed = observed
        self.expected = Expected()

    def from_ipv6(self) -> Expected:
        """RFC 6146 3.4 to 3.8 for an IPv6 packet."""
        oracle, packet = self.oracle, self.packet
        inside = packet.destination in oracle.pool6
        host4 = extract(oracle.pool6, packet.destination) if inside else None  # type: ignore[arg-type]
        hairpin = host4 is not None and oracle.bibs.is_ours(host4)
        self.expected.refusals = check(packet, oracle.rules, hairpin)
        if not self._is_readable():
            return self.expected
        if packet.protocol == packet.icmp_protocol and is_error(packet):
            self._settle_error(oracle.errors.to_ipv4(packet, packet.hop_limit - 1, self.observed))
            return self.expected
        if host4 is None or (pair := self._ports()) is None:
            return self.expected
        incoming = tuple_of(packet, pair, host4)
        passage = from_ipv6(oracle.bibs, oracle.policy, self.at, incoming, self._chosen(hairpin))
        if not self._settle(passage) or passage.entry is None:
            return self.expected
        mapped4 = passage.entry.mapped4 or NOT_KNOWN
        new = (mapped4[1], pair[1])
        translated = self._write_ipv4(mapped4[0], host4, new, hairpin)
        self._commit(passage)
        if hairpin and passage.entry.mapped4 is None:
            return self._unseen(passage.entry, host4, pair, incoming)
        if hairpin:
            self.expected.hairpinned = True
            arriving = read(translated)
            if oracle.scope.hairpins_directly:
                arriving.dont_fragment = True  # as IPv6 is: never split on the way
                arriving.identification = packet.identification or arriving.identification
            self._arrive(arriving, new)
        else:
            self._adopt_identification([translated])
        self._remember(pair)
        return self.expected

    def from_ipv4(self) -> Expected:
        """RFC 6146 3.4 to 3.7 for an IPv4 packet."""
        self.expected.refusals = check(
            self.packet,
            self.oracle.rules,
            is_ours=self.oracle.bibs.is_ours(self.packet.source),  # type: ignore[arg-type]
        )
        if not self._is_readable():
            return self.expected
        if self.packet.protocol == self.packet.icmp_protocol and is_error(self.packet):
            result = self.oracle.errors.to_ipv6(self.packet, self.packet.hop_limit - 1, self._stand_in())
            self._settle_error(result)
            return self.expected
        pair = self._ports()
        if pair is not None:
            self._arrive(self.packet, pair)
            self._remember(pair)
        return self.expected

    def _arrive(self, packet: Packet, pair: Ports) -> None:
        """RFC 6146 3.5 to 3.7 for an IPv4 packet, from outside or from ourselves (3.8; the hop limit counts one router
        once).
        """
        oracle = self.oracle
        hairpin = packet is not self.packet
        incoming = tuple_of(packet, pair, packet.destination)  # type: ignore[arg-type]
        passage = from_ipv4(oracle.bibs, oracle.policy, self.at, incoming)
        if not self._settle(passage) or passage.entry is None:
            return
        source = embed(oracle.pool6, packet.source)  # type: ignore[arg-type]
        host6, port6 = passage.entry.host6
        self.expected.refusals += self._too_big(packet)
        new = (port6, port6) if incoming.protocol == "icmp" else (pair[0], port6)
        protocol, payload = rewrite(packet, source, host6, new)
        if needs_udp_checksum(packet, oracle.rules.udp_zero_checksum):
            payload = calculate_udp(payload, source, host6)
        hop_limit = packet.hop_limit if hairpin else packet.hop_limit - 1
        self.expected.packets = headers.write_ipv6(
            packet, source, host6, protocol, payload, max(0, hop_limit), oracle.path
        )
        self._commit(passage)

    def _too_big(self, packet: Packet) -> list[Refusal]:
        """RFC 7915 4.1; the sender of a hairpin is told the MTU as it is on its own side."""
        found = headers.too_big_for_ipv6(packet, self.oracle.path)
        if packet is self.packet:
            return found
        return [replace(refusal, detail=self.oracle.path.mtu6) for refusal in found]

    def _write_ipv4(self, source: IPv4Address, host4: IPv4Address, new: Ports, hairpin: bool) -> bytes:
        packet = self.packet
        protocol, payload = rewrite(packet, source, host4, new)
        if needs_udp_checksum(packet, self.oracle.rules.udp_zero_checksum):
            payload = calculate_udp(payload, source, host4)
        if not hairpin:
            self.expected.refusals += headers.too_big_for_ipv4(packet, 20 + len(payload), self.oracle.path)
        ttl = max(0, packet.hop_limit - 1)
        return headers.write_ipv4(packet, source, host4, protocol, payload, ttl, self.oracle.path)

    def _stand_in(self) -> IPv6Address | None:
        """RFC 7915 4.1 writes an illegal source of an error under pool6, RFC 6052 3.1 forbids some: ours is as good."""
        source = self.packet.source
        own = self.oracle.own[1]
        odd = is_illegal_source4(source) or is_non_global(source)  # type: ignore[arg-type]
        return own if odd and self.observed and self.observed[0][8:24] == own.packed else None

    def _settle_error(self, result: Result) -> None:
        refusals, packets, hairpinned = result
        self.expected.refusals += refusals
        self.expected.hairpinned = hairpinned
        self._adopt_identification(packets)

    def _is_readable(self) -> bool:
        """Whether the transport header can be used: without it there is no tuple."""
        hopeless = {*UNREADABLE, "PROTOCOL", "FRAGMENTED_ICMP", "ICMP_TYPE", "EXTENSION_HEADERS"}
        return not any(not refusal.permitted and hopeless & set(refusal.verdicts) for refusal in self.expected.refusals)

    def _ports(self) -> Ports | None:
        """3.4: from the transport header, or for a later fragment from what its first one said."""
        if self.packet.is_first:
            return ports(self.packet)
        known = self.oracle.fragments.recall(self.packet)
        if known is None:
            self.expected.refusals.append(Refusal("6146 3.4", ("FRAGMENT_UNKNOWN",)))
        return known

    def _chosen(self, hairpin: bool) -> Host4 | None:
        """The IPv4 transport address the implementation sends from, seen in what it sent (not so in a hairpinned
        query).
        """
        if not self.observed or (hairpin and self.packet.protocol == ICMPV6):
            return None
        sent = read(self.observed[0])
        pair = ports(sent) if sent.is_first else None
        source = sent.source if isinstance(sent.source, IPv4Address) else extract(self.oracle.pool6, sent.source)
        if pair is None:
            return None
        return source, pair[0]

    def _unseen(self, entry: Entry, host4: IPv4Address, pair: Ports, incoming: Tuple) -> Expected:
        """The first packet of a binding to one of our own addresses, when nothing tells which mapped4 was chosen.

        It was dropped, since nobody has that address or may be reached there; or it is an ICMP query that came back to
        its own sender, an identifier being the same at both ends.
        """
        self.expected.packets, self.expected.hairpinned = self.observed, True
        mtu6, returns = self.oracle.path.mtu6, incoming.protocol == "icmp"
        if 40 + len(self.packet.payload) + (8 if self.packet.is_fragment else 0) > mtu6:
            too_big = Refusal("8200 5", ("TOO_BIG",), "PACKET_TOO_BIG", permitted=returns, detail=mtu6)
            self.expected.refusals.append(too_big)
        if returns:
            self.expected.refusals.append(Refusal("6146 3.8", ("NO_BIB_ENTRY",), "ADDRESS_UNREACHABLE", permitted=True))
            if self.observed:
                peer = extract(self.oracle.pool6, IPv6Address(self.observed[0][8:24])), 0
                entry.sessions[peer] = Session(peer, self.at + self.oracle.policy.lifetimes["icmp"])
            return self.expected
        segment = incoming.segment and Segment(from_v6=False, flags=incoming.segment.flags)
        arriving = Tuple(incoming.protocol, NOT_KNOWN, (host4, pair[1]), segment=segment)
        self._settle(from_ipv4(self.oracle.bibs, self.oracle.policy, self.at, arriving))
        return self.expected

    def _settle(self, passage: Passage) -> bool:
        """Take over what 3.5 says; whether there is anything to build."""
        self.expected.refusals += passage.refusals
        self.expected.complaints += passage.complaints if self.observed else []
        return not any(not refusal.permitted for refusal in passage.refusals)

    def _commit(self, passage: Passage) -> None:
        """Make the changes of 3.5, if the packet went or only its size kept it back: the tables are asked before."""
        binding = [refusal for refusal in self.expected.refusals if not refusal.permitted]
        if any("TOO_BIG" not in refusal.verdicts for refusal in binding):
            return
        if any(self.verdict in refusal.verdicts for refusal in self.expected.refusals if refusal.permitted):
            return  # refused where the RFCs would let it pass
        for change in passage.actions:
            change()

    def _remember(self, pair: Ports) -> None:
        """3.4: what the fragments that follow need to know."""
        refused = [refusal for refusal in self.expected.refusals if not refusal.permitted]
        if self.packet.more_fragments and self.packet.is_first and all("TOO_BIG" in one.verdicts for one in refused):
            self.oracle.fragments.remember(self.packet, pair, self.at)

    def _adopt_identification(self, packets: list[bytes]) -> None:
        """RFC 7915 5.1: without a Fragment Header the value is the translator's, in a packet and in what it quotes."""
        self.expected.packets = adopted(self.packet, packets, self.observed)


def adopted(packet: Packet, packets: list[bytes], observed: list[bytes]) -> list[bytes]:
    """`packets`, made of `packet`, with the free Identifications of those observed."""
    seen = observed + packets[len(observed) :]
    return [headers.adopt(one, got, packet.has_fragment_header) for one, got in zip(packets, seen, strict=False)]


def tuple_of(packet: Packet, pair: Ports, host4: IPv4Address) -> Tuple:
    """RFC 6146 3.4. An ICMP query has one identifier, the host6's: the peer's "port" is 0."""
    from_v6 = packet.family == 6
    name = {TCP: "tcp", UDP: "udp"}.get(packet.protocol, "icmp")
    segment = None
    if name == "tcp":
        flags = packet.payload[13] if packet.is_first else 0
        segment = Segment(from_v6, flags & 7)
    source, destination = pair
    if name == "icmp":
        source, destination = (pair[0], 0) if from_v6 else (0, pair[0])
    return Tuple(name, (packet.source, source), (host4, destination), segment=segment)


def pool_of(row: Any) -> Pool:
    return Pool(row.first, row.last, row.port_first, row.port_last, tuple(row.protocols), row.source)


def entry_of(row: Any) -> Entry:
    """RFC 6146 3.1: a manually configured BIB entry."""
    return Entry(row.protocol, (row.address6, row.port6), (row.address4, row.port4), static=True)


def policy_of(config: Any) -> Policy:
    times = config.timeouts
    return Policy(
        lifetimes={
            "udp": times.udp,
            "icmp": times.icmp,
            "TCP_EST": times.tcp_established,
            "TCP_TRANS": times.tcp_transitory,
            "TCP_INCOMING_SYN": times.tcp_incoming_syn,
        },
        address_dependent=config.filtering.address_dependent,
        drop_inbound_tcp=config.filtering.drop_inbound_tcp,
        sessions=config.limits.sessions,
        per_host_sessions=config.limits.per_host_sessions,
        per_host_ports=config.limits.per_host_ports,
    )


def stateless_of(config: Any, path: headers.Path) -> Stateless:
    """`[[eam]]` and what goes with it."""
    translation = config.translation
    return Stateless(
        pool6=config.pool6,
        eamt=Eamt([Mapping(row.ipv4, row.ipv6) for row in config.eam]),
        path=path,
        plateaus=tuple(translation.mtu_plateaus),
        hairpin=translation.eam_hairpin,
        udp_zero_checksum=translation.udp_zero_checksum,
        rfc6791_ipv4=tuple(translation.rfc6791_ipv4),
        own4=config.tun.ipv4 or errors.DUMMY_IPV4,
    )


def path_of(config: Any) -> headers.Path:
    """Next-hop MTUs; "auto" is the kernel's to judge, behind the device."""
    translation = config.translation
    return headers.Path(
        mtu4=65535 if translation.mtu4 == "auto" else translation.mtu4,
        mtu6=UNLIMITED if translation.mtu6 == "auto" else translation.mtu6,
        lowest_ipv6_mtu=translation.lowest_ipv6_mtu,
        traffic_class=None if translation.traffic_class == "copy" else translation.traffic_class,
    )
