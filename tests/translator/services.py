"""Words for tests about services: a gateway with some, clients that send to them, endpoints that answer.

nat64 = Serving()                              VIP:80 (TCP) and VIP:53 (UDP) with endpoints E(1) to E(3), and others
there = nat64.client(sport=7)                  a SYN of HOST4 to VIP:80; the endpoint it goes to
nat64.answer(there, dport=7)                   its SYN-ACK; what HOST4 gets
"""

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet

from nat64d.config.fronts import change_fronts, fronts_of, given_weight
from nat64d.offline.engine import Ended
from tests import invariants
from tests.case import BEGIN, Nat64, Sent, engines_of
from tests.conftest import LOOKS
from tests.packets import HOST4, in6, whole
from translator.session import members
from translator.session.tcp_state import State
from translator.tables.gateway import Gateway
from translator.tables.layout import OF_SERVICE
from translator.verdict import Verdict

VIP, OTHER_VIP, SHARED = "203.0.113.80", "203.0.113.81", "192.0.2.2"  # SHARED is in pool4, too


def E(number: int) -> str:  # noqa: N802  an endpoint
    return f"2001:db8:5::{number:x}"


def endpoints(port: int, *numbers: int, **weights: int) -> list[Any]:
    """Some endpoints at one port; e2=5: the second has weight 5."""
    return [
        {"address": f"[{E(one)}]:{port}", "weight": weights.get(f"e{one}", 1)} if weights else f"[{E(one)}]:{port}"
        for one in numbers
    ]


def service(name: str, ipv4: str, ends: list[Any], protocol: Any = "tcp", **keys: Any) -> dict[str, Any]:
    return {"name": name, "protocol": protocol, "ipv4": ipv4, "endpoints": ends, **keys}


WEB = service("web", f"{VIP}:80", endpoints(8080, 1, 2, 3))
DNS = service("dns", f"{VIP}:53", endpoints(53, 1, 2, 3), "udp")
NOBODY = service("nobody", f"{VIP}:9", [], ["tcp", "udp"])
IN_POOL = service("in pool4".replace(" ", "-"), f"{SHARED}:80", endpoints(8081, 1))


class Serving(Nat64):
    """A gateway with services, whose tables are checked after every packet, as those of sessions.py."""

    def __init__(self, *services: dict[str, Any], **changes: Any) -> None:
        super().__init__(**{"service": list(services or (WEB, DNS, NOBODY, IN_POOL)), "forward": [], **changes})

    def send(self, packet: Sent, at: float = 0.0, damaged: bool = False) -> Ended:
        outcome = super().send(packet, at, damaged)
        if LOOKS:
            invariants.check(self.tables, self.settings)
        return outcome

    def change(self, *services: dict[str, Any], at: float = 0.0, **changes: Any) -> None:
        """Let these be the services from now on, as a change does while packets pass; `changes`: of [services] or other
        sections, where a reload would only swap the settings."""
        engines = engines_of(service=list(services), forward=[], **changes)
        before, after = (fronts_of(config, given_weight) for config in (self.config, engines.config))
        wanted = {key: after.get(key) for key in {**before, **after}}
        self.gateway = Gateway(engines.predictable, self.tables, self.worker)
        gone = engines.settings.endpoint_gone
        change_fronts(members, self.gateway, round((BEGIN + at) * 1000), wanted, gone)
        self.config = engines.config
        invariants.check(self.tables, self.settings)

    def rows(self, *protocols: int) -> list[tuple[str, str, int, str]]:
        """The sessions of services, of TCP and UDP or only one of them: endpoint, client, its port, state."""
        rows = self.tables.sessions
        found = rows[(rows.live != 0) & (rows.inbound >= OF_SERVICE) & np.isin(rows.protocol, protocols or (6, 17))]
        return [
            (end6(row), str(IPv4Address(int(row.host4))), int(row.host4_port), State(row.state).name) for row in found
        ]

    def client(self, sport: int = 7, flags: str = "S", at: float = 0.0, src: str = HOST4, vip: str = VIP) -> str:
        """A segment of a client to port 80; the endpoint it goes to."""
        return self.reached(tcp4(sport, 80, flags, src, vip), at)

    def datagram(self, sport: int = 7, at: float = 0.0, src: str = HOST4) -> str:
        """A datagram of a client to port 53; the endpoint it goes to."""
        return self.reached(udp4(sport, 53, src), at)

    def reached(self, packet: Packet, at: float = 0.0) -> str:
        outcome = self.send(packet, at)
        assert outcome.verdict == Verdict.TRANSLATED, outcome.verdict.name
        (packet,) = map(whole, outcome.packets)
        return packet[IPv6].dst

    def answer(self, endpoint: str, dport: int = 7, flags: str = "SA", at: float = 0.0, dst: str = HOST4) -> Packet:
        """A segment of an endpoint from port 8080; what the client gets."""
        outcome = self.send(tcp6(endpoint, 8080, dport, flags, dst), at)
        assert outcome.verdict == Verdict.TRANSLATED, outcome.verdict.name
        (packet,) = map(whole, outcome.packets)
        return packet


def tcp4(sport: int, dport: int, flags: str = "S", src: str = HOST4, vip: str = VIP) -> Packet:
    return whole(IP(src=src, dst=vip, ttl=64) / TCP(sport=sport, dport=dport, flags=flags, seq=1000, ack=2000))


def udp4(sport: int, dport: int, src: str = HOST4, vip: str = VIP) -> Packet:
    return whole(IP(src=src, dst=vip, ttl=64) / UDP(sport=sport, dport=dport) / b"question")


def tcp6(src: str, sport: int, dport: int, flags: str, dst: str = HOST4) -> Packet:
    return whole(IPv6(src=src, dst=in6(dst), hlim=64) / TCP(sport=sport, dport=dport, flags=flags, seq=5000, ack=1001))


def udp6(src: str, sport: int, dport: int, dst: str = HOST4) -> Packet:
    return whole(IPv6(src=src, dst=in6(dst), hlim=64) / UDP(sport=sport, dport=dport) / b"answer")


def ends4(packet: Packet) -> tuple[str, int, str, int]:
    """Source and destination of a packet with ports."""
    ip, transport = packet[IP] if IP in packet else packet[IPv6], packet[TCP] if TCP in packet else packet[UDP]
    return ip.src, transport.sport, ip.dst, transport.dport


def end6(row: Any) -> str:
    """The host6 of a record."""
    mask = (1 << 64) - 1
    return str(IPv6Address((int(row.host6_hi) & mask) << 64 | int(row.host6_lo) & mask))


def in6_(addr4: str) -> str:
    """An IPv4 address under pool6, as scapy writes it."""
    return whole(IPv6(src=in6(addr4)))[IPv6].src
