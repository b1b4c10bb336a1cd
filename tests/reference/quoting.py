"""ICMP errors through a stateful translator: RFC 6146 3.4, 3.6 and 3.7 around RFC 7915 4.2, 4.3, 5.2 and 5.3.

An error looks a binding up and changes nothing (RFC 6146 3.5). Its source is written by RFC 7915 section 6 (so
traceroute shows each router), not by the letter of RFC 6146 3.7, which would make every hop look like the destination;
an IPv6 router has no IPv4 address, there the mapped address stands in, by that letter.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network

from tests.reference.addresses import embed, extract
from tests.reference.bib import Bibs, Entry
from tests.reference.headers import Path, quote_ipv4, quote_ipv6, write_ipv4, write_ipv6
from tests.reference.icmp import SIZE_LIMIT, Message, assemble, is_error, map_4to6, map_6to4, read_message
from tests.reference.outcome import Refusal
from tests.reference.reading import ICMP, ICMPV6, TCP, UDP, Packet, UnreadableError, read
from tests.reference.transport import ECHO_TYPES, checksum, ports, rewrite, with_checksum

Result = tuple[list[Refusal], list[bytes], bool]  # refusals, packets, hairpinned

NAMES = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMPV6: "icmp"}
QUOTE = Refusal("6146 3.4", ("QUOTED_PACKET",))
UNMAPPED = Refusal("7915 4.2", ("ICMP_TYPE",))
NOT_FOUND = Refusal("6146 3.6", ("NO_BIB_ENTRY", "NO_SESSION"))


class ErrorTranslator:
    """Looks bindings up in `bibs`."""

    def __init__(
        self, bibs: Bibs, pool6: IPv6Network, path: Path, plateaus: list[int], extensions: bool, needs_session: bool
    ) -> None:
        self.needs_session = needs_session
        self.bibs = bibs
        self.pool6 = pool6
        self.path = path
        self.plateaus = plateaus
        self.extensions = extensions

    def to_ipv4(self, packet: Packet, hop_limit: int) -> Result:
        """An ICMPv6 error; a hairpinned one comes back as IPv6 (RFC 6146 3.8)."""
        message = read_message(packet, self.extensions)
        quoted, refusals = self._quoted(packet, message)
        if quoted is None:
            return refusals, [], False
        new = map_6to4(message, quoted, self.path)
        if new is None:
            refusals.append(UNMAPPED)
        if quoted.source not in self.pool6:
            return (
                [*refusals, Refusal("6146 3.4", ("QUOTED_PACKET", "NOT_OUR_PREFIX", "NO_SESSION", "NO_BIB_ENTRY"))],
                [],
                False,
            )
        pair = ports(quoted)
        assert pair is not None
        entry = self.bibs.by_host6.get((NAMES[quoted.protocol], (quoted.destination, pair[1])))  # type: ignore[arg-type]
        if entry is None:
            return [*refusals, NOT_FOUND], [], False
        refusals += self._without_session(entry, extract(self.pool6, quoted.source), pair[0])  # type: ignore[arg-type]
        if new is None:
            return refusals, [], False
        host4 = extract(self.pool6, quoted.source)  # type: ignore[arg-type]
        hairpin = self.bibs.is_ours(host4)
        error = self._write_ipv4(packet, message, new, quoted, entry, max(0, hop_limit), hairpin)
        if packet.destination != quoted.source:
            refusals.append(Refusal("6146 3.7", ("QUOTED_PACKET", "NO_SESSION", "NO_BIB_ENTRY"), permitted=True))
        if not hairpin:
            return refusals, [error], False
        more, packets, _ = self.to_ipv6(read(error), hop_limit)
        return refusals + more, packets, True

    def _write_ipv4(
        self, packet: Packet, message: Message, new: Message, quoted: Packet, entry: Entry, ttl: int, hairpin: bool
    ) -> bytes:
        host4, pair = extract(self.pool6, quoted.source), ports(quoted)  # type: ignore[arg-type]
        assert pair is not None
        mapped4, port4 = entry.mapped4
        protocol, payload = rewrite(quoted, host4, mapped4, (port4 if entry.protocol == "icmp" else pair[0], port4))
        quote = quote_ipv4(quoted, host4, mapped4, protocol, payload)
        body = assemble(4, new, quote, message.extension, None if hairpin else SIZE_LIMIT[4])
        body = with_checksum(body, ICMP, checksum(mapped4, host4, ICMP, body))
        return write_ipv4(packet, mapped4, host4, ICMP, body, ttl, self.path)

    def to_ipv6(self, packet: Packet, hop_limit: int, own: IPv6Address | None = None) -> Result:
        """An ICMPv4 error; `own` stands in for a source that is not to be written under pool6."""
        message = read_message(packet, self.extensions)
        quoted, refusals = self._quoted(packet, message)
        if quoted is None:
            return refusals, [], False
        new = map_4to6(message, quoted, self.path, self.plateaus)
        if new is None:
            refusals.append(UNMAPPED)
        pair = ports(quoted)
        assert pair is not None
        entry = self.bibs.by_mapped4.get((NAMES[quoted.protocol], (quoted.source, pair[0])))  # type: ignore[arg-type]
        if entry is None:
            return [*refusals, NOT_FOUND], [], False
        refusals += self._without_session(entry, quoted.destination, pair[1])  # type: ignore[arg-type]
        if new is None:
            return refusals, [], False
        if packet.destination != quoted.source:
            refusals.append(Refusal("6146 3.7", ("QUOTED_PACKET", "NO_SESSION", "NO_BIB_ENTRY"), permitted=True))
        return refusals, self._write_ipv6(packet, message, new, quoted, entry, max(0, hop_limit), own), False

    def _write_ipv6(
        self,
        packet: Packet,
        message: Message,
        new: Message,
        quoted: Packet,
        entry: Entry,
        hop_limit: int,
        own: IPv6Address | None,
    ) -> list[bytes]:
        pair = ports(quoted)
        assert pair is not None
        host6, port6 = entry.host6
        peer = embed(self.pool6, quoted.destination)  # type: ignore[arg-type]
        protocol, payload = rewrite(quoted, host6, peer, (port6, port6 if entry.protocol == "icmp" else pair[1]))
        quote = quote_ipv6(quoted, host6, peer, protocol, payload)
        source = own or embed(self.pool6, packet.source)  # type: ignore[arg-type]
        body = assemble(6, new, quote, message.extension, SIZE_LIMIT[6])
        body = with_checksum(body, ICMPV6, checksum(source, host6, ICMPV6, body))
        return write_ipv6(packet, source, host6, ICMPV6, body, hop_limit, self.path)

    def _without_session(self, entry: Entry, host4: IPv4Address, port: int) -> list[Refusal]:
        """RFC 6146 3.6 asks for the BIB entry only; a translator that wants the session as well is stricter."""
        peer = host4, 0 if entry.protocol == "icmp" else port
        if not self.needs_session or peer in entry.sessions:
            return []
        return [Refusal("6146 3.6", ("NO_SESSION",), permitted=True)]

    def _quoted(self, packet: Packet, message: Message) -> tuple[Packet | None, list[Refusal]]:
        """The quoted packet if a tuple can be made of it (3.4), else why not: "silently discarded"."""
        try:
            quoted = read(message.quoted, quoted=True)
        except UnreadableError:
            return None, [QUOTE]
        if quoted.family != packet.family or not quoted.is_first:
            return None, [QUOTE]
        octets = quoted.payload
        if quoted.protocol not in (TCP, UDP, quoted.icmp_protocol):
            return None, [Refusal("6146 3.4", ("QUOTED_PACKET", "PROTOCOL"))]
        if quoted.protocol == quoted.icmp_protocol and octets:
            if is_error(quoted):  # 7915 4.3: more embedded headers
                return None, [Refusal("7915 4.3", ("ERROR_IN_ERROR", "QUOTED_PACKET"))]
            if (quoted.family, octets[0]) not in ECHO_TYPES:
                return None, [Refusal("6146 3.4", ("QUOTED_PACKET", "ICMP_TYPE", "ERROR_IN_ERROR"))]
            if quoted.is_fragment:
                return None, [Refusal("7915 4.3", ("QUOTED_PACKET", "FRAGMENTED_ICMP"))]
        if ports(quoted) is None:
            return None, [QUOTE]
        # RFC 792 promises 8 octets; less names the tuple, but is no ICMP error as it should be
        short = [Refusal("792", ("QUOTED_PACKET",), permitted=True)] if len(octets) < 8 else []
        return quoted, short
