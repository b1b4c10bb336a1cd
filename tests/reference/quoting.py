"""ICMP errors through a stateful translator: RFC 6146 3.4, 3.6 and 3.7 around RFC 7915 4.2, 4.3, 5.2 and 5.3.

An error looks a binding up and changes nothing (RFC 6146 3.5). Its source is written by RFC 7915 section 6 (so
traceroute shows each router), not by the letter of RFC 6146 3.7, which would make every hop look like the destination;
an IPv6 router has no IPv4 address, there the mapped address stands in, by that letter.
"""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from tests.reference.addresses import embed, extract
from tests.reference.bib import Bibs, Entry, Host4, Host6
from tests.reference.checks import Rules
from tests.reference.headers import Path, quote_ipv4, quote_ipv6, write_ipv4, write_ipv6
from tests.reference.icmp import SIZE_LIMIT, UNLIMITED, Message, assemble, is_error, map_4to6, map_6to4, read_message
from tests.reference.outcome import Refusal
from tests.reference.reading import ICMP, ICMPV6, TCP, UDP, Packet, UnreadableError, read
from tests.reference.services import Services
from tests.reference.sessions import Policy, Tuple, to_service
from tests.reference.stateless import Back, Half, Stateless
from tests.reference.transport import ECHO_TYPES, checksum, name_of, ports, rewrite, with_checksum

QUOTE = Refusal("6146 3.4", ("QUOTED_PACKET",))
UNMAPPED = Refusal("7915 4.2", ("ICMP_TYPE",))
NOT_FOUND = Refusal("6146 3.6", ("NO_BIB_ENTRY", "NO_SESSION"))


ELSEWHERE = Refusal("6146 3.4", ("QUOTED_PACKET", "NOT_OUR_PREFIX", "NO_SESSION", "NO_BIB_ENTRY"))
# The same of a service, which is asked before the type of an error that has no counterpart.
NOT_SERVED = Refusal("services", ("NO_ENDPOINT", "SOURCE_RANGE"))
NO_POLICY = Policy({})  # an error opens nothing
# RFC 6146 3.6 and RFC 5508 REQ-4 send an error to the host whose packet it quotes, supposing that it was sent there: an
# error for one host that quotes another one's packet is a forgery.
FOREIGN = Refusal("6146 3.6", ("NO_SESSION",))


class ErrorTranslator:
    """Looks bindings up in `bibs`. `needs_session`: as `Scope` in oracle.py says; `returns`: which IPv4 addresses are
    IPv6 hosts of ours; `stateless` knows what routers are called."""

    def __init__(
        self,
        bibs: Bibs,
        rules: Rules,
        path: Path,
        plateaus: list[int],
        extensions: bool,
        others: bool,
        needs_session: bool,
        returns: Callable[[IPv4Address], bool],
        stateless: Stateless,
        services: Services,
    ) -> None:
        self.services = services
        self.bibs = bibs
        self.rules = rules
        self.path = path
        self.plateaus = plateaus
        self.extensions = extensions
        self.others = others
        self.needs_session = needs_session
        self.returns = returns
        self.stateless = stateless

    def to_ipv4(self, packet: Packet, observed: list[bytes]) -> Half:
        """An ICMPv6 error half way; one that returns is an IPv6 host's of ours (RFC 6146 3.8)."""
        message = read_message(packet, self.extensions)
        quoted, refusals = self._quoted(packet, message)
        new = map_6to4(message, quoted or packet, self.path, self.plateaus)
        if new is None:
            refusals.append(UNMAPPED)
        if quoted is None:
            return Half(refusals)
        prefix = self.rules.prefix_of(quoted.source)  # type: ignore[arg-type]
        if prefix is None:
            return Half([*refusals, ELSEWHERE])
        host4, pair = extract(prefix, quoted.source), transport_ports(quoted)  # type: ignore[arg-type]
        own = None if prefix == self.rules.pool6 else prefix
        about = Tuple(name_of(quoted), (quoted.destination, pair[1]), (host4, pair[0]), is_error=True, prefix=own)
        entry = self._entry6(about)
        if isinstance(entry, Refusal):
            return Half([*refusals, entry])
        if entry is None or entry.mapped4 is None:
            return Half([*refusals, NOT_FOUND])
        returns = self.returns(host4)
        refusals += self._without_session(entry, host4, pair[0])
        if new is None:
            return Half([*refusals, NOT_FOUND, NOT_SERVED] if returns else refusals)
        if packet.destination != quoted.source:
            refusals.append(FOREIGN)
        source = entry.mapped4[0]
        if packet.source != quoted.destination:
            source = self.stateless.source4(packet, observed, source)
        extension = b"" if returns else message.extension
        return Half(
            refusals, self._write_ipv4(packet, replace(new, extension=extension), quoted, entry, source, host4), returns
        )

    def _write_ipv4(
        self, packet: Packet, new: Message, quoted: Packet, entry: Entry, source: IPv4Address, host4: IPv4Address
    ) -> bytes:
        pair = transport_ports(quoted)
        assert entry.mapped4 is not None
        mapped4, port4 = entry.mapped4
        protocol, payload = rewrite(quoted, host4, mapped4, (port4 if entry.protocol == "icmp" else pair[0], port4))
        quote = quote_ipv4(quoted, host4, mapped4, protocol, payload, self.path)
        body = assemble(4, new, quote, new.extension, UNLIMITED if self.returns(host4) else SIZE_LIMIT[4])
        body = with_checksum(body, ICMP, checksum(source, host4, ICMP, body))
        return write_ipv4(packet, source, host4, ICMP, body, max(0, packet.hop_limit - 1), self.path)

    def to_ipv6(self, packet: Packet, hop_limit: int, back: Back | None = None) -> tuple[list[Refusal], list[bytes]]:
        """An ICMPv4 error. `back`: what a hairpinned one had on the way in."""
        message = read_message(packet, self.extensions)
        quoted, refusals = self._quoted(packet, message)
        new = map_4to6(message, quoted or packet, self.path, self.plateaus)
        if new is None:
            refusals.append(UNMAPPED)
        if quoted is None:
            return refusals, []
        pair = transport_ports(quoted)
        client: Host4 = quoted.destination, pair[1]  # type: ignore[assignment]
        entry, objection = self._entry4(name_of(quoted), (quoted.source, pair[0]), client)  # type: ignore[arg-type]
        if objection is not None:
            return [*refusals, objection], []
        if entry is None:
            return [*refusals, NOT_FOUND], []
        refusals += self._without_session(entry, quoted.destination, pair[1])  # type: ignore[arg-type]
        if new is None:
            return refusals, []
        if packet.destination != quoted.source:
            refusals.append(FOREIGN)
        host6, port6 = entry.host6
        peer = embed(entry.prefix or self.rules.pool6, quoted.destination)  # type: ignore[arg-type]
        if back is not None and back.identification is not None:
            quoted.identification = back.identification
        protocol, payload = rewrite(quoted, host6, peer, (port6, port6 if entry.protocol == "icmp" else pair[1]))
        quote = quote_ipv6(quoted, host6, peer, protocol, payload, self.path)
        by_eam = packet.source != quoted.destination
        source = self.stateless.source6(packet.source, by_eam=by_eam, prefix=entry.prefix)  # type: ignore[arg-type]
        body = assemble(6, new, quote, back.extension if back else message.extension, SIZE_LIMIT[6])
        body = with_checksum(body, ICMPV6, checksum(source, host6, ICMPV6, body))
        written = write_ipv6(packet, source, host6, ICMPV6, body, max(0, hop_limit), self.path)
        return refusals, written

    def _entry6(self, about: Tuple) -> Entry | Refusal | None:
        """Whose packet it is that was sent to this endpoint or host, of which it would be the answer."""
        host6: Host6 = about.source  # type: ignore[assignment]
        known = self.bibs.by_host6.get((about.protocol, host6))
        served = self.services.session_of(about.protocol, host6, about.destination, about.prefix)
        if served is None and about.prefix is not None:
            return self.services.judge(about)
        if served is None and (known is None or about.destination not in known.sessions):
            served = self.services.answering(self.bibs, about)
        return served or known

    def _entry4(self, protocol: str, mapped4: Host4, host4: Host4) -> tuple[Entry | None, Refusal | None]:
        """Whose packet it is that was sent from this address, or what a service says against that."""
        known, front = self.bibs.by_mapped4.get((protocol, mapped4)), self.services.fronts.get((protocol, mapped4))
        if known is not None or front is None:
            return known, None
        incoming = Tuple(protocol, host4, mapped4, is_error=True)
        passage = to_service(self.bibs, self.services, NO_POLICY, self.bibs.now, incoming)
        return passage.entry, next(iter(passage.refusals), None)

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
        if len(octets) < 8 and quoted.protocol in (TCP, UDP, quoted.icmp_protocol):  # RFC 792 promises 8
            return None, [QUOTE]
        return quoted, []


def transport_ports(quoted: Packet) -> tuple[int, int]:
    pair = ports(quoted)
    assert pair is not None  # or it would not have been taken for a quote
    return pair


def as_it_was(message: Message, packet: bytes) -> bytes:
    """The hairpinned error with type, code and pointer as they came, not as the way there and back leaves them; an MTU
    as well, but never below the least of IPv6 (RFC 7915 4.2, RFC 8201 4).
    """
    word = message.second_word if message.type in (2, 4) else packet[44:48]
    if message.type == 2:
        word = max(1280, int.from_bytes(word)).to_bytes(4)
    body = bytes([message.type, message.code, 0, 0]) + word + packet[48:]
    source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    body = with_checksum(body, ICMPV6, checksum(source, destination, ICMPV6, body))
    return packet[:40] + body
