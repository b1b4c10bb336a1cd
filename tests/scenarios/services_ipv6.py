"""[[service]] ipv6: an IPv6 address and port that IPv6 endpoints serve (docs/services.md, "IPv6 clients").

CLIENT6 is the client here; VIP6:80 is served by ENDPOINT alone, port 8080, so that it is known where a flow goes.
"""

from typing import Any

from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    PadN,
)

from tests.scenarios import LONG_UP, ROUTER6, Scenario, Sent, Step, drops, hairpins

VIP6, CLIENT6, ENDPOINT, OTHER_CLIENT = "2001:db8:ff::80", "2001:db8:9::9", "2001:db8:5::1", "2001:db8:9::a"
SERVICE = f"""
[[service]]
name = "web"
protocol = ["tcp", "udp"]
ipv6 = "[{VIP6}]:80"
endpoints = ["[{ENDPOINT}]:8080"]
"""
DNAT = f'{LONG_UP}{SERVICE}\n[services]\nipv6_front = "dnat"\n'
FULLNAT = f'{LONG_UP}{SERVICE}\n[services]\nipv6_front = "fullnat"\nsource6 = "fd00:64::/64"\n'
SEEN = "fd00:64::2d20:97f6:890b:9483"  # as which ENDPOINT sees CLIENT6 with fullnat: SipHash-1-3 under SHA-256(pool6)
HOPPED = {"hlim": 63}


def asks(transport: Sent, **ip: Any) -> Sent:
    """As CLIENT6 sends it."""
    return IPv6(src=CLIENT6, dst=VIP6, **ip) / transport


def gets(transport: Sent, **ip: Any) -> Sent:
    """As CLIENT6 gets it."""
    return IPv6(**{"src": VIP6, "dst": CLIENT6} | HOPPED | ip) / transport


def asked(transport: Sent, seen: str = CLIENT6, **ip: Any) -> Sent:
    """As ENDPOINT gets it."""
    return IPv6(**{"src": seen, "dst": ENDPOINT} | HOPPED | ip) / transport


def connection(seen: str) -> list[Step]:
    """A connection, and an error about it, of a client whom its endpoint sees so."""
    answer = {"flags": "SA", "seq": 99, "ack": 8}
    late = {"flags": "A", "seq": 8, "ack": 100}
    options = IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))])
    return [
        hairpins(asks(TCP(sport=5000, dport=80, seq=7)), asked(TCP(sport=5000, dport=8080, seq=7), seen)),
        hairpins(
            IPv6(src=ENDPOINT, dst=seen) / TCP(sport=8080, dport=5000, **answer),
            gets(TCP(sport=80, dport=5000, **answer)),
        ),
        hairpins(
            asks(options / TCP(sport=5000, dport=80, **late) / b"GET", fl=77),
            asked(options / TCP(sport=5000, dport=8080, **late) / b"GET", seen, fl=77),
        ),
        hairpins(
            IPv6(src=ROUTER6, dst=seen)
            / ICMPv6PacketTooBig(mtu=1400)
            / asked(TCP(sport=5000, dport=8080, **late), seen),
            IPv6(src=ROUTER6, dst=CLIENT6, **HOPPED)
            / ICMPv6PacketTooBig(mtu=1400)
            / (IPv6(src=CLIENT6, dst=VIP6, **HOPPED) / TCP(sport=5000, dport=80, **late)),
        ),
    ]


STRANGE = IPv6(src=ENDPOINT, dst=OTHER_CLIENT) / UDP(sport=8080, dport=7) / b"direct"
NOBODYS = IPv6(src=ENDPOINT, dst=SEEN) / UDP(sport=8080, dport=7) / b"late"
CLOSED = asks(UDP(sport=5000, dport=81) / b"query")
PING = {"id": 4242, "seq": 1, "data": b"ping"}

SCENARIOS = [
    Scenario(
        "an_ipv6_client_of_a_service_by_dnat",
        "The endpoint sees the client itself; what it sends to others passes as it came.",
        [*connection(CLIENT6), Step(STRANGE, "passed", (STRANGE,))],
        DNAT,
    ),
    Scenario(
        "an_ipv6_client_of_a_service_by_fullnat",
        "The endpoint sees an address of source6; what it sends to one that no client has goes nowhere.",
        [*connection(SEEN), drops("no_session", NOBODYS)],
        FULLNAT,
    ),
    Scenario(
        "what_the_ipv6_address_of_a_service_says_itself",
        "It answers pings, and refuses what nobody serves.",
        [
            Step(asks(ICMPv6EchoRequest(**PING)), "echoed", (gets(ICMPv6EchoReply(**PING), hlim=64),)),
            drops("closed_port", CLOSED, gets(ICMPv6DestUnreach(code=4) / CLOSED, hlim=64)),
            drops(
                "closed_port",
                asks(TCP(sport=5000, dport=81, seq=7)),
                gets(TCP(sport=81, dport=5000, flags="RA", seq=0, ack=8, window=0), hlim=64),
            ),
        ],
        DNAT,
    ),
]
