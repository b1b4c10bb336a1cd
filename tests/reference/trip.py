"""One packet's way through the reference translator: RFC 6146 3.4 to 3.8, RFC 7915, RFC 7757."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from tests.reference import headers
from tests.reference.bib import CARRIED, Host4, Host6, Session
from tests.reference.checks import End, check, check_end
from tests.reference.fragments import Ports
from tests.reference.icmp import is_error, read_message
from tests.reference.outcome import Expected, Refusal
from tests.reference.quoting import as_it_was
from tests.reference.reading import ICMP, TCP, UDP, UNREADABLE, Address, Packet, UnreadableError, read
from tests.reference.services import ECHOED
from tests.reference.sessions import HELD, Passage, Tuple, answered_by_service, from_ipv4, from_ipv6, to_service
from tests.reference.stateless import NO_ADDRESS, Back
from tests.reference.tcp import SYN, Segment, watch
from tests.reference.transport import calculate_udp, name_of, needs_udp_checksum, ports, rewrite

if TYPE_CHECKING:
    from tests.reference.oracle import Oracle

NOT_KNOWN = IPv4Address(0), 0
PROTOCOLS = (TCP, UDP, ICMP)
FORGED = Refusal("2827 3", ("FORGED_SOURCE",), silences=True)


class Trip:
    """One packet's way through."""

    def __init__(
        self, oracle: Oracle, packet: Packet, at: float, observed: list[bytes], verdict: str, waits: bool = False
    ) -> None:
        """`waits`: it is a fragment that is kept until its datagram is whole."""
        self.verdict = verdict
        self.oracle = oracle
        self.packet = packet
        self.at = at
        self.observed = observed
        self.watched: list[tuple[Session, Segment]] = []
        self.static = not oracle.is_stateful or oracle.stateless.serves(packet)
        rules = replace(oracle.rules, stateful=not self.static, reassembles=waits)
        ends = oracle.ends(packet, self.static) + self._quoted_ends()
        self.expected = Expected(check(packet, rules, ends))
        if self._is_forged(waits):
            self.expected.refusals.append(FORGED)

    @property
    def is_error(self) -> bool:
        return self.packet.protocol == self.packet.icmp_protocol and is_error(self.packet)

    def _is_forged(self, waits: bool) -> bool:
        """RFC 2827 3: it is not from where it says. What IPv6 hosts of ours send one another never is IPv4 (RFC 6146
        3.8, RFC 7757 4.2.2), unless the network has to bring back what goes to a host with a mapping (RFC 7757 4.2.1).
        A fragment that waits, or comes later, is judged by its datagram, if nothing else is against it.
        """
        source, destination, oracle = self.packet.source, self.packet.destination, self.oracle
        mode = oracle.stateless.hairpin
        if source == destination:
            return self.packet.family == 6 or mode != "simple" or not oracle.has_row(destination)  # type: ignore[arg-type]
        if not isinstance(source, IPv4Address):
            return oracle.stateless.is_own_host(source)
        if oracle.bibs.is_ours(source):
            return mode == "intrinsic" or not oracle.has_row(destination)  # type: ignore[arg-type]
        is_left = (waits or not self.packet.is_first) and not self.expected.must_drop
        if self.static or mode != "intrinsic" or is_left:
            return False
        if not self.is_error:
            return oracle.has_row(source)
        try:
            quoted = read(read_message(self.packet, oracle.scope.extensions).quoted, quoted=True)
        except UnreadableError:
            return False
        return isinstance(quoted.destination, IPv4Address) and oracle.has_row(quoted.destination)

    def _quoted_ends(self) -> list[End]:
        """Those of the packet in an ICMP error."""
        if not self.is_error or self.packet.is_fragment:
            return []
        try:
            quoted = read(read_message(self.packet, self.oracle.scope.extensions).quoted, quoted=True)
        except UnreadableError:
            return []
        if quoted.family != self.packet.family:
            return []
        reply = replace(quoted, source=quoted.destination, destination=quoted.source)
        return [replace(one, is_quoted=True) for one in self.oracle.ends(reply, self.static, True)]

    def from_ipv6(self) -> Expected:
        """RFC 6146 3.4 to 3.8 for an IPv6 packet; without state for a host that has a mapping (RFC 7757)."""
        if not self._is_readable():
            self._ask_for_addresses()
            return self.expected
        if self.is_error:
            self._error_from_ipv6()
        elif self.static:
            self._from_ipv6_without_state()
        else:
            self._from_ipv6_with_state()
        self._watch()
        return self.expected

    def _ask_for_addresses(self) -> None:
        """A packet that cannot be read may have no addresses either."""
        stateless = self.oracle.stateless
        to_other = stateless.to_ipv6 if self.packet.family == 4 else stateless.to_ipv4
        if self.static and None in (to_other(self.packet.source), to_other(self.packet.destination)):  # type: ignore[operator]
            self.expected.refusals.append(NO_ADDRESS)

    def _from_ipv6_without_state(self) -> None:
        oracle, packet = self.oracle, self.packet
        half = oracle.stateless.from_ipv6(packet)
        self.expected.refusals += half.refusals
        if half.packet is None:
            return
        if not half.returns:
            self.expected.refusals += headers.too_big_for_ipv4(packet, len(half.packet), oracle.path)
            self._adopt_identification([half.packet])
            return
        self._come_back(half.packet)

    def _come_back(self, translated: bytes, pair: Ports | None = None) -> None:
        """RFC 6146 3.8, RFC 7757 4.2.2: the packet is for an IPv6 host of ours. `pair`: its ports by now."""
        self.expected.hairpinned = True
        arriving = read(translated)
        if self.oracle.scope.hairpins_directly:
            # As IPv6 is: never split on the way; 5.1.1 clears DF where there was a Fragment Header.
            arriving.dont_fragment = not self.packet.has_fragment_header or self.packet.is_fragment
            arriving.identification = self.packet.identification or arriving.identification
        self._arrive(arriving, pair)

    def _from_ipv6_with_state(self) -> None:
        oracle, packet = self.oracle, self.packet
        if (stands := oracle.taken_out(packet.destination)) is None:  # type: ignore[arg-type]
            return
        prefix, host4 = stands
        if (pair := self._ports()) is None:
            return
        incoming = replace(tuple_of(packet, pair, host4), prefix=prefix)
        chosen = self._chosen(incoming.protocol, incoming.source)  # type: ignore[arg-type]
        served = answered_by_service(oracle.bibs, oracle.services, oracle.policy, self.at, incoming)
        passage = served or from_ipv6(oracle.bibs, oracle.policy, self.at, incoming, chosen)
        if not self._settle(passage) or passage.entry is None:
            return
        mapped4 = passage.entry.mapped4 or NOT_KNOWN
        new = (mapped4[1], pair[1])
        translated = self._write_ipv4(mapped4[0], host4, new, oracle.returns(host4))
        self._commit(passage, incoming)
        if oracle.returns(host4):
            self._come_back(translated, new)
        else:
            self._adopt_identification([translated])
        self._remember(pair)

    def _error_from_ipv6(self) -> None:
        oracle, packet = self.oracle, self.packet
        to_ipv4 = oracle.stateless.error_from_ipv6 if self.static else oracle.errors.to_ipv4
        half = to_ipv4(packet, self.observed)
        self.expected.refusals += half.refusals
        if half.packet is None:
            return
        if not half.returns:
            self._adopt_identification([half.packet])
            return
        self.expected.hairpinned = True
        message = read_message(packet, oracle.scope.extensions)
        quoted = read(message.quoted, quoted=True)
        arriving, direct = read(half.packet), oracle.scope.hairpins_directly
        self._check_hairpinned(read(read_message(arriving, oracle.scope.extensions).quoted, quoted=True).destination)
        if direct:
            arriving.dont_fragment = True
        back = Back(message.extension, quoted.identification if direct else None)
        if oracle.stateless.serves(arriving):
            refusals, packets = oracle.stateless.error_from_ipv4(arriving, back=back)
        else:
            refusals, packets = oracle.errors.to_ipv6(arriving, arriving.hop_limit, back=back)
        self.expected.refusals += refusals
        if direct:
            packets = [as_it_was(message, one) for one in packets]
        self.expected.packets = packets

    def from_ipv4(self) -> Expected:
        """RFC 6146 3.4 to 3.7 for an IPv4 packet; without state for an address that has a mapping (RFC 7757)."""
        oracle, packet = self.oracle, self.packet
        if not self._is_readable():
            self._ask_for_addresses()
            return self.expected
        if self.is_error:
            if self.static:
                refusals, packets = oracle.stateless.error_from_ipv4(packet)
            else:
                refusals, packets = oracle.errors.to_ipv6(packet, packet.hop_limit - 1)
            self.expected.refusals += refusals
            self.expected.packets = packets
            return self.expected
        pair = None if self.static else self._ports()
        if self.static or pair is not None:
            self._arrive(packet, pair)
        if pair is not None:
            self._remember(pair)
        self._watch()
        return self.expected

    def _arrive(self, packet: Packet, pair: Ports | None) -> None:
        """RFC 6146 3.5 to 3.7 for an IPv4 packet, from outside or from ourselves (3.8; the hop limit counts one router
        once).
        """
        oracle = self.oracle
        hairpin = packet is not self.packet
        if hairpin:
            self._check_hairpinned(packet.source)
        if self.static if not hairpin else oracle.has_row(packet.destination):  # type: ignore[arg-type]
            refusals, self.expected.packets = oracle.stateless.from_ipv4(packet, hairpinned=hairpin)
            self.expected.refusals += refusals + self._too_big(packet)
            return
        if hairpin and packet.protocol not in PROTOCOLS and not oracle.rules.others:
            self.expected.refusals.append(Refusal("6146 3.4", ("PROTOCOL",), "PROTOCOL_UNREACHABLE"))
            return
        if pair is None and (pair := self._ports()) is None:
            return
        incoming = tuple_of(packet, pair, packet.destination)  # type: ignore[arg-type]
        may_wait = packet.is_first and not self.expected.must_drop
        may_wait = may_wait and oracle.bibs.is_ours(packet.destination)  # type: ignore[arg-type]
        may_wait = may_wait and oracle.syns.has_room(incoming.source)  # type: ignore[arg-type]
        keep = (lambda: self._keep(incoming)) if may_wait else None
        passage = self._served(incoming, packet) or from_ipv4(oracle.bibs, oracle.policy, self.at, incoming, keep)
        if not self._settle(passage) or passage.entry is None:
            return
        source = oracle.under(passage.entry.prefix, packet.source)  # type: ignore[arg-type]
        host6, port6 = passage.entry.host6
        self.expected.refusals += self._too_big(packet)
        new = (port6, port6) if incoming.protocol == "icmp" else (pair[0], port6)
        protocol, payload = rewrite(packet, source, host6, new)
        if needs_udp_checksum(packet, oracle.rules.zero_checksums):
            payload = calculate_udp(payload, source, host6)
        hop_limit = packet.hop_limit if hairpin else packet.hop_limit - 1
        self.expected.packets = headers.write_ipv6(
            packet, source, host6, protocol, payload, max(0, hop_limit), oracle.path
        )
        self._commit(passage, incoming)
        if hairpin and self.static:
            self._remember(pair)

    def _served(self, incoming: Tuple, packet: Packet) -> Passage | None:
        """What a service has to do with a packet from IPv4, if one has; pings it answers."""
        oracle, place = self.oracle, (incoming.protocol, incoming.destination)
        if incoming.destination[0] not in oracle.services.addresses or place in oracle.bibs.by_mapped4:
            return None
        if incoming.protocol == "icmp":
            return Passage([ECHOED]) if packet.payload[0] == 8 else None
        front, pooled = (
            place in oracle.services.fronts,
            any(pool.first <= incoming.destination[0] <= pool.last for pool in oracle.bibs.pools),
        )
        if not front and (pooled or incoming.protocol not in ("tcp", "udp")):
            return None
        return to_service(oracle.bibs, oracle.services, oracle.policy, self.at, incoming)

    def _check_hairpinned(self, host4: Address) -> None:
        """The IPv4 address of a host of ours, which is going to stand under pool6."""
        end = End(host4, True, self.oracle.bibs.is_ours(host4), is_source=True)  # type: ignore[arg-type]
        self.expected.refusals += check_end(end, self.packet.family, self.oracle.rules)

    def _too_big(self, packet: Packet) -> list[Refusal]:
        """RFC 7915 4.1; the sender of a hairpin is told the MTU as it is on its own side."""
        found = headers.too_big_for_ipv6(packet, self.oracle.path)
        if packet is self.packet:
            return found
        return [replace(refusal, detail=self.oracle.path.mtu6) for refusal in found]

    def _write_ipv4(self, source: IPv4Address, host4: IPv4Address, new: Ports, hairpin: bool) -> bytes:
        packet = self.packet
        protocol, payload = rewrite(packet, source, host4, new)
        if needs_udp_checksum(packet, self.oracle.rules.zero_checksums):
            payload = calculate_udp(payload, source, host4)
        if not hairpin:
            self.expected.refusals += headers.too_big_for_ipv4(packet, 20 + len(payload), self.oracle.path)
        ttl = max(0, packet.hop_limit - 1)
        return headers.write_ipv4(packet, source, host4, protocol, payload, ttl, self.oracle.path)

    def _is_readable(self) -> bool:
        """Whether the transport header can be used: without it there is no tuple."""
        hopeless = {*UNREADABLE, "PROTOCOL", "FRAGMENTED_ICMP", "ICMP_TYPE", "EXTENSION_HEADERS"}
        return not any(not refusal.permitted and hopeless & set(refusal.verdicts) for refusal in self.expected.refusals)

    def _ports(self) -> Ports | None:
        """3.4: from the transport header, or for a later fragment from what its first one said."""
        if self.packet.is_first or name_of(self.packet) not in CARRIED:
            return ports(self.packet)
        known = self.oracle.fragments.recall(self.packet)
        if known is None:
            self.expected.refusals.append(Refusal("6146 3.4", ("FRAGMENT_UNKNOWN",)))
        return known

    def _chosen(self, protocol: str, host6: Host6) -> Host4 | None:
        """The IPv4 transport address the implementation gave to this host: seen in what it sent (under pool6, if that
        came back at once), else in its BIB.
        """
        sent = read(self.observed[0]) if self.observed else None
        pair = ports(sent) if sent is not None and sent.is_first else None
        if sent is None or pair is None or (sent.family == 6 and protocol == "icmp"):  # one identifier: its reader's
            return self.oracle.bound(protocol, host6)
        if sent.family == 4:
            return sent.source, pair[0]  # type: ignore[return-value]
        stands = self.oracle.taken_out(sent.source)  # type: ignore[arg-type]
        return (stands[1], pair[0]) if stands else None

    def _settle(self, passage: Passage) -> bool:
        """Take over what 3.5 says; whether there is anything to build."""
        if HELD in passage.refusals and not self.expected.must_drop and not self._was_refused():
            for keep in passage.actions:
                keep()
        self.expected.of_service |= passage.entry is not None and passage.entry.of_service
        self.expected.refusals += passage.refusals
        self.expected.complaints += passage.complaints if self.observed else []
        return not any(not refusal.permitted for refusal in passage.refusals)

    def _commit(self, passage: Passage, incoming: Tuple) -> None:
        """Make the changes of 3.5, if the packet went or only its size kept it back: the tables are asked before.

        A later fragment changes nothing: it belongs to the packet whose first fragment did (a RST, say). Of a protocol
        without ports it is a packet like any other.
        """
        if not self.packet.is_first and name_of(self.packet) in CARRIED:
            return
        binding = [refusal for refusal in self.expected.refusals if not refusal.permitted]
        if any("TOO_BIG" not in refusal.verdicts for refusal in binding) or self._was_refused():
            return
        for change in passage.actions:
            change()
        if incoming.segment is not None and incoming.segment.sign == SYN and passage.entry is not None:
            from6 = incoming.segment.from_v6
            self.oracle.syns.meet(
                incoming.destination if from6 else incoming.source,  # type: ignore[arg-type]
                passage.entry.mapped4,
            )
        if passage.session is not None and incoming.segment is not None:
            self.watched.append((passage.session, incoming.segment))

    def _keep(self, incoming: Tuple) -> None:
        """3.5.2.2: the SYN waits."""
        self.oracle.syns.keep(incoming.source, incoming.destination, self.packet.raw, self.at)  # type: ignore[arg-type]

    def _watch(self) -> None:
        """RFC 7857 2: of what passes, at both ends of a hairpin, the numbers are noted."""
        if all(one.permitted or "TOO_BIG" in one.verdicts for one in self.expected.refusals):
            for session, segment in self.watched:
                watch(session.windows, session.state, segment)

    def _was_refused(self) -> bool:
        """The implementation did so where the RFCs would let the packet pass."""
        return any(self.verdict in refusal.verdicts for refusal in self.expected.refusals if refusal.permitted)

    def _remember(self, pair: Ports) -> None:
        """3.4: what the fragments that follow need to know."""
        refused = [refusal for refusal in self.expected.refusals if not refusal.permitted]
        if not self.packet.more_fragments or not self.packet.is_first or self._was_refused():
            return
        if all("TOO_BIG" in one.verdicts for one in refused):
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
    from_v6, name = packet.family == 6, name_of(packet)
    segment = segment_of(packet) if name == "tcp" else None
    source, destination = pair
    if name == "icmp":
        source, destination = (pair[0], 0) if from_v6 else (0, pair[0])
    return Tuple(name, (packet.source, source), (host4, destination), segment=segment)


def segment_of(packet: Packet) -> Segment:
    """What RFC 6146 3.5.2.2 and RFC 7857 2 look at; nothing in a later fragment."""
    if not packet.is_first:
        return Segment(packet.family == 6, 0)
    sequence, acknowledgment, offset, flags = struct.unpack_from("!IIBB", packet.payload, 4)
    length = None if packet.more_fragments else len(packet.payload) - (offset >> 4) * 4
    return Segment(packet.family == 6, flags, sequence, acknowledgment, length)
