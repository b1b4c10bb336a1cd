"""IPv6 clients of services, read from docs/services.md, "IPv6 clients": what becomes of a packet that stays IPv6.

It has no clock and tables without end: histories here are short, and everything of them happens at once. Of a packet it
takes the octets, replaces addresses and ports, and computes each checksum anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Address
from math import log2
from typing import TYPE_CHECKING, Any

from tests.reference import errors
from tests.reference.outcome import Expected, Refusal
from tests.reference.packets import cover
from tests.reference.reading import ICMPV6, TCP, UDP, read
from tests.reference.services import BITS31, Services, siphash
from tests.reference.transport import CHECKSUM_AT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.reference.reading import Packet

NAMES = {TCP: "tcp", UDP: "udp"}
SYN, RST, ACK = 2, 4, 16
WORD = (1 << 64) - 1
TOLD = {
    **dict.fromkeys(("CLOSED_PORT", "NO_ENDPOINT", "SERVICE_CLASH"), "PORT_UNREACHABLE"),
    "HOP_LIMIT_EXPIRED": "TIME_EXCEEDED",
    "ROUTING_HEADER": "PARAMETER_PROBLEM",
    "NO_BIB_ENTRY": "ADDRESS_UNREACHABLE",
}  # of what; nothing of all else
End = tuple[IPv6Address, int]


@dataclass
class Flow:
    """A session: client, service, and endpoint."""

    protocol: int
    client: End
    vip: End
    endpoint: End


@dataclass(frozen=True)
class Outcome:
    """A verdict, or another one that holds, too, and the packet that leaves, if one does."""

    verdict: str
    packet: bytes | None = None
    also: str = ""


@dataclass
class Front6:
    """A gateway with services for IPv6 clients, made from a `nat64d.config.Config`."""

    config: Any
    flows: list[Flow] = field(default_factory=list)
    first: dict[tuple[Any, ...], tuple[IPv6Address, IPv6Address]] = field(default_factory=dict)  # of fragments

    def __post_init__(self) -> None:
        self.key = Services(self.config).key
        self.fullnat = self.config.services.ipv6_front == "fullnat"
        self.fronts = {
            (protocol, service.end6.address, service.end6.first): service
            for service in self.config.service
            if service.end6
            for protocol in service.protocols
        }
        self.vips = {address for _, address, _ in self.fronts}
        self.ends = {
            (protocol, end.end6.address, end.end6.first)
            for (protocol, _, _), service in self.fronts.items()
            for end in service.endpoints
        }

    # ---- addresses

    def hashed(self, address: IPv6Address, what: int) -> int:
        return siphash(self.key, int(address) >> 64, int(address) & WORD, what)

    def seen(self, client: IPv6Address) -> IPv6Address:
        """What endpoints see of a client."""
        if not self.fullnat:
            return client
        suffix = self.hashed(client, 1) << 31 | self.hashed(client, 2)
        return self.config.services.source6[suffix]  # type: ignore[no-any-return]

    def ours(self, address: IPv6Address) -> bool:
        return address in self.vips or (self.fullnat and address in self.config.services.source6)

    # ---- the choice

    def choose(self, service: Any, protocol: str, client: End, vip: End, opens: bool, taken: set[End]) -> End | None:
        rows = [(end.end6.address, end.end6.first, end.weight) for end in service.endpoints]
        rows = [row for row in sorted(rows) if row[:2] not in taken]
        weights = {end.weight for end in service.endpoints} - {0}
        if opens:
            rows = [row for row in rows if row[2]] or rows
        if not rows:
            return None
        flow = self.flow(service, protocol, client, vip)

        def better(row: tuple[IPv6Address, int, int]) -> float:
            score = self.score(flow, row[0], row[1])
            return -log2((score + 1) / 2**31) / max(row[2], 1) if len(weights) > 1 else -float(score)

        address, port, _ = min(rows, key=better)
        return address, port

    def flow(self, service: Any, protocol: str, client: End, vip: End) -> int:
        address = 1 << 32 | self.hashed(client[0], 6)
        if service.affinity == "client":
            return siphash(self.key, address, service.key, 0)
        number = {"tcp": TCP, "udp": UDP}[protocol]
        return siphash(self.key, address, client[1] << 32 | self.hashed(vip[0], 6), vip[1] << 16 | number)

    def score(self, flow: int, address: IPv6Address, port: int) -> int:
        x = (flow ^ siphash(self.key, int(address) >> 64, int(address) & WORD, port)) & BITS31
        x = ((x ^ x >> 15) * 0x2C1B3C6D) & BITS31
        x = ((x ^ x >> 12) * 0x297A2D39) & BITS31
        return x ^ x >> 15

    # ---- packets

    def send(self, octets: bytes) -> Outcome:
        """What becomes of a packet whose checksums are right."""
        packet = read(octets)
        quoted = self.quoted(packet)
        if quoted is not None:
            return self.about(packet, quoted)
        if packet.destination in self.vips:
            return self.of_client(packet)
        return self.of_endpoint(packet)

    @staticmethod
    def quoted(packet: Packet) -> Packet | None:
        if packet.protocol == ICMPV6 and not packet.is_fragment and packet.payload[0] < 128:
            return read(packet.payload[8:], quoted=True)
        return None

    def refused(self, packet: Packet) -> Outcome | None:
        """What no packet to a service may be."""
        if any("ROUTING_HEADER" in one.verdicts for one in packet.refusals):
            return Outcome("ROUTING_HEADER")
        return Outcome("HOP_LIMIT_EXPIRED") if packet.hop_limit <= 1 else None

    def of_client(self, packet: Packet) -> Outcome:
        if packet.source in self.config.pool6:
            return Outcome("SOURCE_IN_POOL6")
        if self.ours(packet.source):
            return Outcome("FORGED_SOURCE")
        if refused := self.refused(packet):
            return refused
        if packet.protocol == ICMPV6:
            return self.ping(packet)
        if not packet.is_first:
            return self.later(packet)
        client, vip = ends_of(packet)
        verdict, endpoint = self.endpoint_for(packet.protocol, client, vip, packet.payload)
        if endpoint is None:
            return Outcome(verdict)
        return self.written(packet, (self.seen(client[0]), client[1]), endpoint)

    def ping(self, packet: Packet) -> Outcome:
        if packet.payload[0] != 128:
            return Outcome("NO_BIB_ENTRY" if packet.payload[0] == 129 else "ICMP_TYPE")
        payload = cover(packet.destination, packet.source, ICMPV6, b"\x81" + packet.payload[1:])
        head = (6 << 28 | packet.traffic_class << 20).to_bytes(4) + len(payload).to_bytes(2) + bytes([ICMPV6, 64])
        return Outcome("ECHOED", head + packet.destination.packed + packet.source.packed + payload)

    def endpoint_for(
        self, protocol: int, client: End, vip: End, segment: bytes, told: bool = False
    ) -> tuple[str, End | None]:
        """The endpoint of a flow, which is opened if its packet may; `told`: it is one about the flow."""
        flow = next((one for one in self.flows if (one.protocol, one.client, one.vip) == (protocol, client, vip)), None)
        if flow is not None:
            return "", flow.endpoint
        service = self.fronts.get((NAMES[protocol], *vip))
        if service is None:
            return "NO_SESSION" if told else "CLOSED_PORT", None
        if service.sources and not any(client[0] in one for one in service.sources if one.version == 6):
            return "SOURCE_RANGE", None
        flags = segment[13] if protocol == TCP and not told else 0
        tells = told or bool(flags & RST) or (flags & (SYN | ACK)) == SYN | ACK
        opens = not tells and (protocol != TCP or bool(flags & SYN))
        endpoint = self.choose(service, NAMES[protocol], client, vip, opens, set())
        if endpoint is None or tells:
            return "NO_ENDPOINT", endpoint
        taken = {one.endpoint for one in self.flows if (one.protocol, one.client) == (protocol, client)}
        if endpoint in taken:
            endpoint = self.choose(service, NAMES[protocol], client, vip, opens, taken)
        if endpoint is None:
            return "SERVICE_CLASH", None
        self.flows.append(Flow(protocol, client, vip, endpoint))
        return "", endpoint

    def of_endpoint(self, packet: Packet) -> Outcome:
        if self.fullnat and not self.ours(packet.destination):
            return self.elsewhere(packet)
        if not packet.is_first:
            known = packet.protocol, packet.source, packet.destination, packet.identification
            if known not in self.first and not self.fullnat:
                return Outcome("PASSED", packet.raw)
            return self.refused(packet) or self.later(packet)
        if packet.protocol not in NAMES:
            return self.elsewhere(packet)
        endpoint, seen = ends_of(packet)
        flow = self.answered(packet.protocol, endpoint, seen)
        if flow is None:
            return self.of_none(packet, packet.protocol, endpoint)
        return self.refused(packet) or self.written(packet, flow.vip, flow.client)

    def answered(self, protocol: int, endpoint: End, seen: End) -> Flow | None:
        of_it = (one for one in self.flows if one.protocol == protocol and one.endpoint == endpoint)
        return next((one for one in of_it if (self.seen(one.client[0]), one.client[1]) == seen), None)

    def of_none(self, packet: Packet, protocol: int, endpoint: End) -> Outcome:
        if self.fullnat:
            return self.refused(packet) or Outcome("NO_SESSION")
        if (NAMES.get(protocol), *endpoint) in self.ends:
            return Outcome("PASSED", packet.raw)
        return self.elsewhere(packet)

    def elsewhere(self, packet: Packet) -> Outcome:
        """It has nothing to do with services, nor with pool6."""
        refused = self.refused(packet)
        return Outcome("NOT_OUR_PREFIX", also=refused.verdict if refused else "")

    def about(self, packet: Packet, quoted: Packet) -> Outcome:
        """An ICMPv6 error: it belongs to who sent what it quotes, and concerns the answer to that."""
        there, here = ends_of(quoted)
        back = packet.source == here[0]
        if there[0] in self.vips:
            if refused := self.refused(packet):
                return refused
            _, endpoint = self.endpoint_for(quoted.protocol, here, there, quoted.payload, told=True)
            if endpoint is None or packet.destination != there[0]:
                return Outcome("NO_SESSION")
            seen = self.seen(here[0]), here[1]
            return self.error_written(packet, quoted, seen[0] if back else packet.source, (endpoint, seen))
        flow = self.answered(quoted.protocol, here, there)
        if flow is None and self.fullnat and not self.ours(there[0]):
            return self.elsewhere(packet)
        if flow is None:
            return self.of_none(packet, quoted.protocol, here)
        if refused := self.refused(packet):
            return refused
        if packet.destination != there[0]:
            return Outcome("NO_SESSION")
        return self.error_written(packet, quoted, flow.vip[0] if back else packet.source, (flow.client, flow.vip))

    # ---- octets

    def later(self, packet: Packet) -> Outcome:
        known = self.first.get((packet.protocol, packet.source, packet.destination, packet.identification))
        if known is None:
            return Outcome("HELD")
        return Outcome("HAIRPINNED", readdressed(packet.raw, *known, packet.hop_limit - 1))

    def written(self, packet: Packet, source: End, destination: End) -> Outcome:
        if packet.is_fragment:
            place = packet.protocol, packet.source, packet.destination, packet.identification
            self.first[place] = source[0], destination[0]
        at = len(packet.raw) - len(packet.payload)
        octets = readdressed(packet.raw, source[0], destination[0], packet.hop_limit - 1)
        payload = ported(packet, source, destination)
        return Outcome("HAIRPINNED", octets[:at] + payload)

    @staticmethod
    def error_written(packet: Packet, quoted: Packet, source: IPv6Address, inner: tuple[End, End]) -> Outcome:
        """From `source` to who sent `inner`, which is what the quoted packet was on the other side."""
        at = len(quoted.raw) - len(quoted.payload)
        told = readdressed(quoted.raw, inner[0][0], inner[1][0], quoted.hop_limit)[:at]
        told += ported(quoted, *inner)
        message = cover(source, inner[0][0], ICMPV6, packet.payload[:8] + told)
        head = len(packet.raw) - len(packet.payload)
        octets = readdressed(packet.raw, source, inner[0][0], packet.hop_limit - 1)
        return Outcome("HAIRPINNED", octets[:head] + message)


def ends_of(packet: Packet) -> tuple[End, End]:
    ports = int.from_bytes(packet.payload[:2]), int.from_bytes(packet.payload[2:4])
    return (packet.source, ports[0]), (packet.destination, ports[1])  # type: ignore[return-value]


def ported(packet: Packet, source: End, destination: End) -> bytes:
    """The transport header between other ends; the datagram is whole, or its checksum follows by what has changed."""
    payload = source[1].to_bytes(2) + destination[1].to_bytes(2) + packet.payload[4:]
    at = CHECKSUM_AT[packet.protocol]
    if packet.payload[at : at + 2] == bytes(2) and packet.protocol == UDP:
        return payload
    if packet.is_fragment or packet.is_cut:
        return payload[:at] + changed(packet, source, destination) + payload[at + 2 :]
    return cover(source[0], destination[0], packet.protocol, payload)


def changed(packet: Packet, source: End, destination: End) -> bytes:
    """RFC 1624: the checksum less what was, and with what is."""
    at = CHECKSUM_AT[packet.protocol]
    old = (packet.source.packed + packet.destination.packed + packet.payload[:4], packet.payload[at : at + 2])
    new = source[0].packed + destination[0].packed + source[1].to_bytes(2) + destination[1].to_bytes(2)
    total = (~int.from_bytes(old[1]) & 0xFFFF) + sum(words_of(new)) + sum(~word & 0xFFFF for word in words_of(old[0]))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    field = ~total & 0xFFFF
    return (0xFFFF if field == 0 and packet.protocol == UDP else field).to_bytes(2)


def words_of(octets: bytes) -> Iterator[int]:
    return (int.from_bytes(octets[at : at + 2]) for at in range(0, len(octets), 2))


def readdressed(octets: bytes, source: IPv6Address, destination: IPv6Address, hop_limit: int) -> bytes:
    return octets[:7] + bytes([hop_limit]) + source.packed + destination.packed + octets[40:]


@dataclass
class Both:
    """The translator, an Engine, and the oracle, side by side."""

    engine: Any
    oracle: Front6

    def send(self, packet: bytes) -> Any:
        """What the translator makes of a packet; the oracle says the same."""
        expected, outcome = self.oracle.send(packet), self.engine.translate(packet, 1_000_000_000)
        told = f"{packet.hex()}\n{[out.hex() for out in outcome.packets]}\n{expected}"
        assert outcome.verdict.name in (expected.verdict, expected.also), told
        wanted = [] if expected.packet is None else [expected.packet]
        assert list(outcome.packets) == wanted, f"{told}\nexpected {[out.hex() for out in wanted]}"
        if outcome.verdict.name not in ("HAIRPINNED", "PASSED", "ECHOED"):
            answers = self.answers_to(read(packet), outcome.verdict.name)
            assert not (objections := answers.objections(outcome.verdict.name, [], outcome.answer)), [told, *objections]
        return outcome

    def answers_to(self, packet: Packet, verdict: str) -> Expected:
        """What the sender of a packet that is dropped so is told."""
        pointer = next((one.detail for one in packet.refusals if verdict in one.verdicts), 0)
        due = Refusal("services", (verdict,), TOLD.get(verdict), must_answer=True, detail=pointer)
        expected = Expected([due])
        errors.fill_reset(expected, packet)
        errors.fill_answers(expected, packet, None, self.oracle.config.tun.ipv6)
        return expected
