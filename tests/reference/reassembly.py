"""Fragments that wait: RFC 6146 3.4. Those that come before the first one of their datagram, and all of a datagram that
has to be put together, since a checksum covers all of it: ICMP, and IPv4 UDP without one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from itertools import combinations
from typing import TYPE_CHECKING

from tests.reference.fragments import Key, key_of
from tests.reference.outcome import Expected, Refusal
from tests.reference.reading import TCP, UDP, Packet, ones_complement_sum, read
from tests.reference.trip import Trip

if TYPE_CHECKING:
    from tests.reference.oracle import Oracle

LARGEST = 65535 - 20  # data of an IPv4 datagram
HELD = Refusal("6146 3.4", ("HELD",))
NO_WAY = Refusal("7757 3.3", ("NO_MAPPING", "CLAT_SOURCE"), "PROHIBITED")
OVERLAP = Refusal("5722 3", ("FRAGMENT_OVERLAP",))


@dataclass(frozen=True)
class Datagram:
    """What has come of one so far, each part once."""

    expires: float
    parts: tuple[Packet, ...] = ()
    whole: bool = False  # it has to be put together

    def grown(self, packet: Packet, whole: bool) -> Datagram:
        """With one more fragment."""
        spans = [(part.fragment_offset, len(part.payload)) for part in self.parts]
        new = () if (packet.fragment_offset, len(packet.payload)) in spans else (packet,)
        return replace(self, parts=self.parts + new, whole=self.whole or whole)

    def fits(self) -> bool:
        """RFC 5722 3: no two parts overlap, and none lies behind the end."""
        spans = [(part.fragment_offset, part.fragment_offset + len(part.payload)) for part in self.parts]
        ends = [end for (_, end), part in zip(spans, self.parts, strict=True) if not part.more_fragments]
        apart = all(one[1] <= other[0] or other[1] <= one[0] for one, other in combinations(spans, 2))
        return apart and all(end <= last for _, end in spans for last in ends)

    def together(self) -> bytes | None:
        """The packet it is, if nothing is missing: header of the first part, no options; without DF, or with a Fragment
        Header of its own.
        """
        if not self.whole or not self.fits():
            return None
        parts = sorted(self.parts, key=lambda part: part.fragment_offset)
        data = b"".join(part.payload for part in parts)
        last = parts[-1]
        if last.more_fragments or last.fragment_offset + len(last.payload) != len(data):
            return None
        first = parts[0]
        traffic_class = first.traffic_class
        if any(part.traffic_class & 3 == 3 for part in parts):
            traffic_class |= 3  # RFC 3168 5.3
        source, destination = first.source.packed, first.destination.packed
        if first.family == 6:
            header = struct.pack("!IHBB", 6 << 28 | traffic_class << 20, 8 + len(data), 44, first.hop_limit)
            return header + source + destination + struct.pack("!BxHI", first.protocol, 0, first.identification) + data
        head = (0x45, traffic_class, 20 + len(data), first.identification, 0, first.hop_limit, first.protocol)
        header = struct.pack("!BBHHHBB", *head)
        total = 0xFFFF - ones_complement_sum(header + source + destination)
        return header + total.to_bytes(2) + source + destination + data


class Reassembly:
    """The datagrams of which something waits."""

    def __init__(self, oracle: Oracle, lifetime: float) -> None:
        self.oracle = oracle
        self.lifetime = lifetime
        self.datagrams: dict[Key, Datagram] = {}

    def expire(self, now: float) -> None:
        self.datagrams = {key: datagram for key, datagram in self.datagrams.items() if datagram.expires > now}

    def send(self, packet: Packet, at: float, observed: list[bytes], verdict: str) -> tuple[Expected, Packet]:
        """What has to become of a packet, and the packet that this is about: the datagram if it made that whole."""
        if not packet.is_fragment or not self.may_wait(packet):
            return self.oracle.translate(packet, at, observed, verdict), packet
        whole = self.has_to_be_whole(packet)
        known = self.oracle.fragments.recall(packet) is not None
        if not whole and (packet.is_first or known):
            return self.pass_on(packet, at, observed, verdict), packet
        key, fresh = key_of(packet), Datagram(at + self.lifetime)
        datagram = (fresh if known else self.datagrams.get(key, fresh)).grown(packet, whole)
        octets = datagram.together()
        if octets is not None:
            self.datagrams.pop(key, None)
            self.oracle.fragments.forget(packet)
            return self.oracle.translate(read(octets), at, observed, verdict), read(octets)
        expected = Trip(self.oracle, packet, at, observed, verdict, waits=True).expected
        if self.oracle.rules.gathers_icmp and not self.oracle.stateless.has_way(packet):
            expected.refusals.append(NO_WAY)
            return expected, packet
        if is_impossible(packet):
            expected.refusals.append(Refusal("8200 4.5", ("BAD_LENGTH",)))
            return expected, packet
        due = OVERLAP if datagram.whole and not datagram.fits() else HELD
        expected.refusals.append(due)
        if verdict in due.verdicts:
            self.datagrams[key] = datagram
            if known:
                self.oracle.fragments.forget(packet)
        return expected, packet

    def pass_on(self, packet: Packet, at: float, observed: list[bytes], verdict: str) -> Expected:
        """A fragment that goes as it is, and if it is the first one, those that waited for it right behind."""
        expected = self.oracle.translate(packet, at, observed, verdict)
        key = key_of(packet)
        entry = self.datagrams.get(key)
        if not packet.is_first or entry is None or self.oracle.fragments.recall(packet) is None:
            return expected
        if entry.whole:
            del self.datagrams[key]
        elif expected.must_drop or verdict not in ("TRANSLATED", "HAIRPINNED"):
            self.datagrams[key] = replace(entry, expires=at + self.lifetime)
        else:
            del self.datagrams[key]
            for part in entry.parts:
                follows = self.oracle.translate(part, at, observed[len(expected.packets) :], verdict)
                if follows.must_drop:
                    break
                expected.packets = expected.packets + follows.packets
        return expected

    def may_wait(self, packet: Packet) -> bool:
        """Whether its way leads through sessions, as far as its addresses tell; in a CLAT, ICMP."""
        oracle = self.oracle
        if oracle.rules.gathers_icmp:
            return packet.protocol == packet.icmp_protocol
        if not oracle.is_stateful or packet.protocol not in (TCP, UDP, packet.icmp_protocol):
            return False
        if isinstance(packet.destination, IPv4Address):
            return not oracle.has_row(packet.destination) and oracle.bibs.is_ours(packet.destination)
        static = oracle.stateless.eamt.to_ipv4(packet.source) is not None  # type: ignore[arg-type]
        stands = oracle.taken_out(packet.destination)
        if stands is None or oracle.taken_out(packet.source) is not None:  # type: ignore[arg-type]
            return False
        prefix, host4 = stands
        if prefix is not None:
            return True
        return not static or (oracle.bibs.is_ours(host4) and not oracle.has_row(host4))

    def has_to_be_whole(self, packet: Packet) -> bool:
        """RFC 7915 4.5, 5.5: for its checksum."""
        if packet.protocol == packet.icmp_protocol:
            return True
        entry = self.datagrams.get(key_of(packet))
        if entry is not None and entry.whole and not packet.is_first:
            return True
        bare = packet.protocol == UDP and packet.is_first and packet.payload[6:8] == b"\0\0"
        return bare and packet.family == 4 and self.oracle.rules.zero_checksums.of(packet) == "calculate"


def is_impossible(packet: Packet) -> bool:
    """RFC 8200 4.5: not of eight octets though more follow, or beyond the largest datagram."""
    size = len(packet.payload)
    return packet.fragment_offset + size > LARGEST or (packet.more_fragments and size % 8 != 0)
