"""Fragments of a stateful translator: RFC 6146 3.4. The first fragment has the ports; what follows is known by its
identification. What waits for it, or is put together, is in `reassembly.py`.
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

    def forget(self, packet: Packet) -> None:
        self.known.pop(key_of(packet), None)

    def recall(self, packet: Packet) -> Ports | None:
        known = self.known.get(key_of(packet))
        return known[0] if known else None


def key_of(packet: Packet) -> Key:
    """RFC 791 3.2 and RFC 8200 4.5: what says that fragments belong together."""
    return packet.source, packet.destination, packet.identification or 0, packet.protocol
