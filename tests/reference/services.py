"""Services: one IPv4 transport address, many IPv6 endpoints. Read from docs/services.md, "What becomes of a packet".

A member is a BIB entry that neither end is looked up by. Which one a flow has is computed here by the page's own words,
in whole numbers and, where weights differ, in logarithms.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from math import log2
from typing import TYPE_CHECKING, Any

from tests.reference.bib import Entry, Host4, Host6
from tests.reference.outcome import Refusal
from tests.reference.tcp import ACK, RST, SYN, State
from tests.reference.transport import name_of

if TYPE_CHECKING:
    from tests.reference.bib import Bibs
    from tests.reference.reading import Packet
    from tests.reference.sessions import Tuple

NUMBERS = {"tcp": 6, "udp": 17}
WORD, BITS31 = (1 << 64) - 1, (1 << 31) - 1
SOURCE = Refusal("services", ("SOURCE_RANGE",))
NO_ENDPOINT = Refusal("services", ("NO_ENDPOINT",), "PORT_UNREACHABLE", must_answer=True)
CLASH = Refusal("services", ("SERVICE_CLASH",), "PORT_UNREACHABLE", must_answer=True)
CLOSED = Refusal("services", ("CLOSED_PORT",), "PORT_UNREACHABLE", must_answer=True)
AMBIGUOUS = Refusal("services", ("SERVICE_AMBIGUOUS",))
NO_FLOW = Refusal("services", ("NO_SERVICE_FLOW",))
ECHOED = Refusal("services", ("ECHOED",), "ECHO", must_answer=True)


@dataclass(frozen=True)
class Front:
    """A transport address of a service; `members` with their weights, in the order of their endpoints."""

    protocol: str
    mapped4: Host4
    members: tuple[tuple[Entry, int], ...]
    sources: tuple[IPv4Network, ...]
    affinity: int  # 0: none
    affinity_time: int
    prefix: IPv6Network | None  # None: pool6


class Services:
    """All there are."""

    def __init__(self, config: Any) -> None:
        given = config.services.seed or str(config.services.client_prefix or config.pool6)
        octets = sha256(given.encode()).digest()
        self.key = int.from_bytes(octets[:8], "little"), int.from_bytes(octets[8:16], "little")
        self.size = config.limits.sessions
        self.fronts = {
            (protocol, (row.end4.address, row.end4.first)): front_of(row, protocol, prefix_of(config, row))
            for row in config.service
            if row.end4
            for protocol in row.protocols
        }
        self.members = [entry for front in self.fronts.values() for entry, _ in front.members]
        own = (config.services.client_prefix, *(row.client_prefix for row in config.service))
        self.prefixes = tuple({one for one in own if one and one != config.pool6})  # other than pool6
        self.addresses = {vip for _, (vip, _) in self.fronts}
        self.homes: dict[tuple[int, IPv4Address], tuple[Host6, float]] = {}  # where a client is, and until when

    def written(self, packet: Packet, port: int | None, bibs: Bibs) -> tuple[bool, IPv6Network | None] | None:
        """Whether the source of a packet to this port of a service's address is going to be written under a prefix, and
        which; None: as that of any other."""
        if packet.destination not in self.addresses or port is None:
            return None
        place: tuple[str, Host4] = name_of(packet), (packet.destination, port)  # type: ignore[assignment]
        if place in self.fronts:
            return True, self.fronts[place].prefix
        return None if place in bibs.by_mapped4 else (False, None)

    @property
    def targets(self) -> list[Entry]:
        """Members, and something that stands for a front without any."""
        empty = [place for place, one in self.fronts.items() if not one.members]
        return self.members + [Entry(protocol, NOBODY, vip, static=True) for protocol, vip in empty]

    def of_endpoint(self, protocol: str, host6: Host6, prefix: IPv6Network | None) -> list[Entry]:
        """The members that an endpoint is, of services with this prefix."""
        known = (one for one in self.members if one.protocol == protocol and one.host6 == host6)
        return [one for one in known if one.prefix == prefix]

    def session_of(self, protocol: str, host6: Host6, host4: Host4, prefix: IPv6Network | None = None) -> Entry | None:
        """The member whose endpoint has a session with this client."""
        own = self.of_endpoint(protocol, host6, prefix)
        return next((one for one in own if host4 in one.sessions), None)

    def judge(self, incoming: Tuple) -> Entry | Refusal:
        """Whose answer a packet without session to a prefix other than pool6 is, or why it is none."""
        own = self.of_endpoint(incoming.protocol, incoming.source, incoming.prefix)  # type: ignore[arg-type]
        segment = incoming.segment
        if segment is not None and segment.sign == SYN and not segment.flags & ACK:
            return NO_FLOW
        return AMBIGUOUS if len(own) > 1 else own[0] if own else NO_FLOW

    def accepts_for_several(self, bibs: Bibs, incoming: Tuple) -> bool:
        """It answers a SYN that some other gateway has seen, and no [[forward]] says which: of one of several."""
        segment, mapping = incoming.segment, bibs.by_host6.get((incoming.protocol, incoming.source))  # type: ignore[arg-type]
        if segment is None or segment.sign != SYN or not segment.flags & ACK or (mapping and mapping.static):
            return False
        return not incoming.is_error and len(self.of_endpoint(incoming.protocol, incoming.source, None)) > 1  # type: ignore[arg-type]

    def answering(self, bibs: Bibs, incoming: Tuple) -> Entry | None:
        """The member whose answer this is, though no session says so: the only one of its endpoint."""
        protocol, segment = incoming.protocol, incoming.segment
        own = self.of_endpoint(protocol, incoming.source, None)  # type: ignore[arg-type]
        mapping = bibs.by_host6.get((protocol, incoming.source))  # type: ignore[arg-type]
        if len(own) != 1 or (mapping is not None and mapping.static):
            return None
        if segment is not None:
            bare = segment.sign == SYN and not segment.flags & ACK
            return None if bare and not incoming.is_error else own[0]
        return own[0] if incoming.is_error or protocol == "tcp" or self.is_crowded(bibs) else None

    def is_crowded(self, bibs: Bibs) -> bool:
        """An eighth of the table is left to others; a quarter may be of flows that nobody has answered."""
        opening = sum(is_open(one.protocol, session) for one in self.members for session in one.sessions.values())
        return self.size - bibs.count() <= self.size // 8 or opening >= self.size // 4

    def choose(self, front: Front, client: Host4, opens: bool, taken: Iterable[Host6] = ()) -> Entry | None:
        """Rendezvous hashing; new flows go to members with a weight, if there are any."""
        rows = [(entry, weight) for entry, weight in front.members if entry.host6 not in taken]
        some = [row for row in rows if row[1]] if opens else []
        rows = [(entry, max(weight, 1)) for entry, weight in some or rows]
        flow = self.flow(front, client)
        weights = {weight for _, weight in front.members} - {0}
        if len(weights) > 1:
            return min(rows, key=lambda row: -log2((self.score(flow, row[0]) + 1) / 2**31) / row[1], default=NONE)[0]
        return max(rows, key=lambda row: self.score(flow, row[0]), default=NONE)[0]

    def home(self, front: Front, client: Host4, opens: bool, now: float) -> Entry | None:
        """With affinity: the member that a client stays at, if it still gets such packets."""
        host6, until = self.homes.get((front.affinity, client[0]), (NOBODY, now))
        rows = (entry for entry, weight in front.members if entry.host6 == host6 and (weight or not opens))
        return next(rows, None) if now < until else None

    def settle(self, front: Front, client: Host4, home: Entry, now: float) -> None:
        """A client with a session stays there."""
        if front.affinity:
            self.homes[front.affinity, client[0]] = home.host6, round(now + front.affinity_time, 3)  # type: ignore[assignment]

    def flow(self, front: Front, client: Host4) -> int:
        address, port = int(client[0]), client[1]
        if front.affinity:
            return siphash(self.key, address, front.affinity, 0)
        vip, vip_port = front.mapped4
        return siphash(self.key, address, port << 32 | int(vip), vip_port << 16 | NUMBERS[front.protocol])

    def score(self, flow: int, entry: Entry) -> int:
        address, port = int(entry.host6[0]), entry.host6[1]
        x = (flow ^ siphash(self.key, address >> 64, address & WORD, port)) & BITS31
        x = ((x ^ x >> 15) * 0x2C1B3C6D) & BITS31
        x = ((x ^ x >> 12) * 0x297A2D39) & BITS31
        return x ^ x >> 15


NOBODY = IPv6Address("2001:db8:dead::1"), 9
NONE = None, 0


def prefix_of(config: Any, row: Any) -> IPv6Network | None:
    prefix: IPv6Network = row.client_prefix or config.services.client_prefix or config.pool6
    return None if prefix == config.pool6 else prefix


def front_of(row: Any, protocol: str, prefix: IPv6Network | None) -> Front:
    mapped4 = row.end4.address, row.end4.first
    ends = sorted((end.end6.address, end.end6.first, end.weight) for end in row.endpoints)
    members = tuple(
        (Entry(protocol, (address, port), mapped4, static=True, of_service=True, prefix=prefix), weight)
        for address, port, weight in ends
    )
    affinity = int.from_bytes(sha256(row.name.encode()).digest()[:7], "big") | 1
    sources, is_sticky = tuple(row.sources), row.affinity == "client"
    return Front(protocol, mapped4, members, sources, affinity if is_sticky else 0, row.affinity_timeout, prefix)


def is_open(protocol: str, session: Any) -> bool:
    """Only the client has sent so far."""
    return session.state is State.V4_INIT if protocol == "tcp" else not session.is_answered


def tells(incoming: Tuple) -> bool:
    """Whether a packet of a client opens nothing whatever there is: an error, a RST, a SYN that acknowledges."""
    segment = incoming.segment
    if incoming.is_error or segment is None:
        return incoming.is_error
    return segment.sign == RST or (segment.sign == SYN and bool(segment.flags & ACK))


def siphash(key: tuple[int, int], *words: int) -> int:
    """SipHash-1-3 of 64-bit words, without one for the length; its low 31 bits."""
    v = [key[0] ^ 0x736F6D6570736575, key[1] ^ 0x646F72616E646F6D]
    v += [key[0] ^ 0x6C7967656E657261, key[1] ^ 0x7465646279746573]
    for word in words:
        v[3] ^= word
        sip_round(v)
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(3):
        sip_round(v)
    return (v[0] ^ v[1] ^ v[2] ^ v[3]) & BITS31


def sip_round(v: list[int]) -> None:
    for a, b, shift, turns in ((0, 1, 13, True), (2, 3, 16, False), (2, 1, 17, True), (0, 3, 21, False)):
        v[a] = (v[a] + v[b]) & WORD
        v[b] = rotated(v[b], shift) ^ v[a]
        if turns:
            v[a] = rotated(v[a], 32)


def rotated(word: int, count: int) -> int:
    return (word << count | word >> (64 - count)) & WORD
