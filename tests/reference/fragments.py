"""Fragments of a stateful translator: RFC 6146 3.4. The first fragment has the ports; what follows is known by its
identification.

Queueing fragments that come before the first, and reassembly where a checksum has to be made, are what section 3.4
allows or asks for beyond this; `Scope` in `oracle.py` says which the implementation under test does.
"""

from ipaddress import IPv4Address, IPv6Address

from tests.reference.reading import Packet

Key = tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address, int, int]
Ports = tuple[int, int]


class FragmentMemory:
    """Ports of datagrams whose first fragment was translated, for FRAGMENT_MIN or the configured time."""

    def __init__(self, lifetime: float) -> None:
        self.lifetime = lifetime
        self.known: dict[Key, tuple[Ports, float]] = {}

    def expire(self, now: float) -> None:
        self.known = {key: (ports, expires) for key, (ports, expires) in self.known.items() if expires > now}

    def remember(self, packet: Packet, ports: Ports, now: float) -> None:
        self.known[key_of(packet)] = ports, now + self.lifetime

    def recall(self, packet: Packet) -> Ports | None:
        known = self.known.get(key_of(packet))
        return known[0] if known else None


def key_of(packet: Packet) -> Key:
    """RFC 791 3.2 and RFC 8200 4.5: what says that fragments belong together."""
    return packet.source, packet.destination, packet.identification or 0, packet.protocol
