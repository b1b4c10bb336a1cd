"""Words for tests about IPv6 clients of services (translator/front6.py).

nat64 = Front("dnat")                     VIP6:80 (TCP) and VIP6:53 (UDP) with endpoints E(1) to E(3), and others
there = nat64.client6(sport=7)            a SYN of CLIENT6 to VIP6:80: (whom the endpoint sees, the endpoint)
nat64.back(there, dport=7)                its SYN-ACK; what CLIENT6 gets
"""

from ipaddress import IPv6Address
from typing import Any

from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet

from tests.packets import whole
from tests.translator.services import DNS, NOBODY, VIP, WEB, E, Serving, endpoints, service
from translator.session.clients6 import address_of
from translator.tables.handles import CLIENTS
from translator.verdict import Verdict

VIP6, CLIENT6, OTHER6, SOURCE6 = "2001:db8:ff::1", "2001:db8:9::9", "2001:db8:9::a", "fd00:64::"
SERVICES = (
    WEB | {"ipv6": f"[{VIP6}]:80"},
    DNS | {"ipv6": f"[{VIP6}]:53"},
    NOBODY | {"ipv6": f"[{VIP6}]:9"},
    service("staff", f"{VIP}:22", endpoints(22, 1), ipv6=f"[{VIP6}]:22", sources=["2001:db8:9::/127", "192.0.2.0/24"]),
    service("again", f"{VIP}:8080", endpoints(8080, 1, 2, 3), ipv6=f"[{VIP6}]:8080"),
    service("single", f"{VIP}:443", endpoints(8443, 1), ipv6=f"[{VIP6}]:443"),
    service("the-same", f"{VIP}:444", endpoints(8443, 1), ipv6=f"[{VIP6}]:444"),
)
WAYS: dict[str, dict[str, Any]] = {
    "dnat": {"ipv6_front": "dnat"},
    "fullnat": {"ipv6_front": "fullnat", "source6": f"{SOURCE6}/64"},
}


class Front(Serving):
    """A gateway with services for both families."""

    def __init__(self, way: str, *services: dict[str, Any], **changes: Any) -> None:
        more = changes.pop("services", {})
        changes.setdefault("limits", {"sessions": 256})
        super().__init__(*(services or SERVICES), services=WAYS[way] | more, **changes)
        self.way = way

    def passed(self, packet: Packet, at: float = 0.0) -> Packet:
        """What becomes of a packet of a flow."""
        outcome = self.send(packet, at)
        assert outcome.verdict == Verdict.HAIRPINNED, outcome.verdict.name
        (out,) = map(whole, outcome.packets)
        return out

    def client6(self, sport: int = 7, flags: str = "S", at: float = 0.0, src: str = CLIENT6) -> tuple[str, str]:
        out = self.passed(syn6(sport, 80, flags, src), at)
        assert (out[TCP].sport, out[TCP].dport, out[IPv6].hlim) == (sport, 8080, 63)
        return out[IPv6].src, out[IPv6].dst

    def back(self, there: tuple[str, str], dport: int = 7, flags: str = "SA", at: float = 0.0) -> Packet:
        return self.passed(from_endpoint(there, 8080, dport, flags), at)

    def clients(self) -> list[tuple[str, int, str]]:
        """The sessions of IPv6 clients: client, its port, endpoint."""
        rows = self.tables.sessions[(self.tables.sessions.live != 0) & (self.tables.sessions.host4 >= CLIENTS)]
        return [
            (str(_address(address_of(self.tables, row.host4, 0))), int(row.host4_port), str(_end6(row))) for row in rows
        ]


def _address(words: Any) -> IPv6Address:
    mask = (1 << 64) - 1
    return IPv6Address((int(words.hi) & mask) << 64 | int(words.lo) & mask)


def _end6(row: Any) -> IPv6Address:
    mask = (1 << 64) - 1
    return IPv6Address((int(row.host6_hi) & mask) << 64 | int(row.host6_lo) & mask)


def syn6(sport: int, dport: int, flags: str = "S", src: str = CLIENT6, seq: int = 1000, **ip: Any) -> Packet:
    sent = {"src": src, "dst": VIP6, "hlim": 64} | ip
    return whole(IPv6(**sent) / TCP(sport=sport, dport=dport, flags=flags, seq=seq, ack=2000))


def udp6(sport: int, dport: int, src: str = CLIENT6, data: bytes = b"question", **ip: Any) -> Packet:
    sent = {"src": src, "dst": VIP6, "hlim": 64} | ip
    return whole(IPv6(**sent) / UDP(sport=sport, dport=dport) / data)


def from_endpoint(
    there: tuple[str, str], sport: int, dport: int, flags: str = "SA", seq: int = 5000, **ip: Any
) -> Packet:
    """A segment of an endpoint to whom it sees."""
    sent = {"src": there[1], "dst": there[0], "hlim": 64} | ip
    return whole(IPv6(**sent) / TCP(sport=sport, dport=dport, flags=flags, seq=seq, ack=1001))


def ends6(packet: Packet) -> tuple[str, int, str, int]:
    transport = packet[TCP] if TCP in packet else packet[UDP]
    return packet[IPv6].src, transport.sport, packet[IPv6].dst, transport.dport


ENDPOINTS = [E(1), E(2), E(3)]
