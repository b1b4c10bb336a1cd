"""ICMP errors through a stateful translator: RFC 6146 3.4, 3.6 and 3.7 around RFC 7915 4.2, 4.3, 5.2 and 5.3.

An error looks a binding up and changes nothing (RFC 6146 3.5). Its source is written by RFC 7915 section 6 (so
traceroute shows each router), not by the letter of RFC 6146 3.7, which would make every hop look like the destination;
an IPv6 router has no IPv4 address, there the mapped address stands in, by that letter.
"""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from tests.reference.addresses import embed, extract
from tests.reference.bib import Bibs, Entry
from tests.reference.headers import Path, quote_ipv4, quote_ipv6, write_ipv4, write_ipv6
from tests.reference.icmp import SIZE_LIMIT, UNLIMITED, Message, assemble, is_error, map_4to6, map_6to4, read_message
from tests.reference.outcome import Refusal
from tests.reference.reading import ICMP, ICMPV6, TCP, UDP, Address, Packet, UnreadableError, read
from tests.reference.stateless import Back, Half
from tests.reference.transport import ECHO_TYPES, checksum, name_of, ports, rewrite, with_checksum

QUOTE = Refusal("6146 3.4", ("QUOTED_PACKET",))
UNMAPPED = Refusal("7915 4.2", ("ICMP_TYPE",))
NOT_FOUND = Refusal("6146 3.6", ("NO_BIB_ENTRY", "NO_SESSION"))


ELSEWHERE = Refusal("6146 3.4", ("QUOTED_PACKET", "NOT_OUR_PREFIX", "NO_SESSION", "NO_BIB_ENTRY"))


class ErrorTranslator:
    """Looks bindings up in `bibs`. `needs_session`: as `Scope` in oracle.py says; `returns`: which IPv4 addresses are
    IPv6 hosts of ours."""

    def __init__(
        self,
        bibs: Bibs,
        pool6: IPv6Network,
        path: Path,
        plateaus: list[int],
        extensions: bool,
        others: bool,
        needs_session: bool,
        returns: Callable[[IPv4Address], bool],
    ) -> None:
        self.bibs = bibs
        self.pool6 = pool6
        self.path = path
        self.plateaus = plateaus
        self.extensions = extensions
        self.others = others
        self.needs_session = needs_session
        self.returns = returns

    def to_ipv4(self, packet: Packet, _observed: list[bytes]) -> Half:
        """An ICMPv6 error half way; one that returns is an IPv6 host's of ours (RFC 6146 3.8)."""
        message = read_message(packet, self.extensions)
        quoted, refusals = self._quoted(packet, message)
        new = map_6to4(message, quoted or packet, self.path)
        if new is None:
            refusals.append(UNMAPPED)
        if quoted is None:
            return Half(refusals)
        if quoted.source not in self.pool6:
            return Half([*refusals, ELSEWHERE])
        pair = transport_ports(quoted)
        entry = self.bibs.by_host6.get((name_of(quoted), (quoted.destination, pair[1])))  # type: ignore[arg-type]
        if entry is None or entry.mapped4 is None:
            return Half([*refusals, NOT_FOUND])
        host4 = extract(self.pool6, quoted.source)  # type: ignore[arg-type]
        returns = self.returns(host4)
        refusals += self._without_session(entry, host4, pair[0])
        if new is None:
            return Half([*refusals, NOT_FOUND] if returns else refusals)
        if packet.destination != quoted.source:
            refusals.append(Refusal("6146 3.7", ("QUOTED_PACKET", "NO_SESSION", "NO_BIB_ENTRY"), permitted=True))
        return Half(refusals, self._write_ipv4(packet, message, new, quoted, entry, returns), returns)

    def _write_ipv4(
        self, packet: Packet, message: Message, new: Message, quoted: Packet, entry: Entry, hairpin: bool
    ) -> bytes:
        host4, pair = extract(self.pool6, quoted.source), transport_ports(quoted)  # type: ignore[arg-type]
        assert entry.mapped4 is not None
        mapped4, port4 = entry.mapped4
        protocol, payload = rewrite(quoted, host4, mapped4, (port4 if entry.protocol == "icmp" else pair[0], port4))
        quote = quote_ipv4(quoted, host4, mapped4, protocol, payload, self.path)
        extension = b"" if hairpin else message.extension
        body = assemble(4, new, quote, extension, UNLIMITED if hairpin else SIZE_LIMIT[4])
        body = with_checksum(body, ICMP, checksum(mapped4, host4, ICMP, body))
        return write_ipv4(packet, mapped4, host4, ICMP, body, max(0, packet.hop_limit - 1), self.path)

    def to_ipv6(
        self, packet: Packet, hop_limit: int, own: IPv6Address | None = None, back: Back | None = None
    ) -> tuple[list[Refusal], list[bytes]]:
        """An ICMPv4 error; `own` stands in for a source that is not to be written under pool6.

        `back`: what a hairpinned one had on the way in.
        """
        message = read_message(packet, self.extensions)
        quoted, refusals = self._quoted(packet, message)
        new = map_4to6(message, quoted or packet, self.path, self.plateaus)
        if new is None:
            refusals.append(UNMAPPED)
        if quoted is None:
            return refusals, []
        pair = transport_ports(quoted)
        entry = self.bibs.by_mapped4.get((name_of(quoted), (quoted.source, pair[0])))  # type: ignore[arg-type]
        if entry is None:
            return [*refusals, NOT_FOUND], []
        refusals += self._without_session(entry, quoted.destination, pair[1])  # type: ignore[arg-type]
        if new is None:
            return refusals, []
        if packet.destination != quoted.source:
            refusals.append(Refusal("6146 3.7", ("QUOTED_PACKET", "NO_SESSION", "NO_BIB_ENTRY"), permitted=True))
        host6, port6 = entry.host6
        peer = embed(self.pool6, quoted.destination)  # type: ignore[arg-type]
        if back is not None and back.identification is not None:
            quoted.identification = back.identification
        protocol, payload = rewrite(quoted, host6, peer, (port6, port6 if entry.protocol == "icmp" else pair[1]))
        quote = quote_ipv6(quoted, host6, peer, protocol, payload, self.path)
        source = own or embed(self.pool6, packet.source)  # type: ignore[arg-type]
        body = assemble(6, new, quote, back.extension if back else message.extension, SIZE_LIMIT[6])
        body = with_checksum(body, ICMPV6, checksum(source, host6, ICMPV6, body))
        written = write_ipv6(packet, source, host6, ICMPV6, body, max(0, hop_limit), self.path)
        return refusals, written

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
        if quoted.protocol not in (TCP, UDP, quoted.icmp_protocol) and not self.others:
            return None, [Refusal("6146 3.4", ("QUOTED_PACKET", "PROTOCOL"))]
        if quoted.protocol == quoted.icmp_protocol and octets:
            if is_error(quoted):  # 7915 4.3: more embedded headers
                return None, [Refusal("7915 4.3", ("ERROR_IN_ERROR", "QUOTED_PACKET"))]
            if (quoted.family, octets[0]) not in ECHO_TYPES:
                return None, [Refusal("6146 3.4", ("QUOTED_PACKET", "ICMP_TYPE", "ERROR_IN_ERROR"))]
        if ports(quoted) is None:
            return None, [QUOTE]
        refusals = []
        if len(octets) < 8:  # RFC 792 promises 8; less names the tuple, but is no ICMP error as it should be
            refusals.append(Refusal("792", ("QUOTED_PACKET",), permitted=True))
        if quoted.is_fragment and quoted.protocol == quoted.icmp_protocol:
            # its tuple can be told (6146 3.4), its checksum cannot be made right (7915 4.2)
            refusals.append(Refusal("7915 4.3", ("QUOTED_PACKET", "FRAGMENTED_ICMP"), permitted=True))
        return quoted, refusals


def transport_ports(quoted: Packet) -> tuple[int, int]:
    pair = ports(quoted)
    assert pair is not None  # or it would not have been taken for a quote
    return pair


def as_it_was(message: Message, router: Address | None, packet: bytes) -> bytes:
    """The hairpinned error with type, code and word as they came, not as the way there and back leaves them.

    From a `router` it keeps its source as well: that needs no IPv4 address here.
    """
    word = message.second_word if message.type in (2, 4) else packet[44:48]
    body = bytes([message.type, message.code, 0, 0]) + word + packet[48:]
    source, destination = router or IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    body = with_checksum(body, ICMPV6, checksum(source, destination, ICMPV6, body))
    return packet[:8] + source.packed + packet[24:40] + body
