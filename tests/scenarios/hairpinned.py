"""Hairpins (RFC 6146 section 3.8): two IPv6 hosts that speak through the translator's IPv4 addresses.

HOST6:5000 is MAPPED4:40000, OTHER6 is MAPPED4: port 80 (TCP 8080), 53 (UDP 5353), identifier 7
"""

from typing import Any

from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrFragment,
)
from scapy.packet import Raw

from tests.scenarios import (
    HOST6,
    MAPPED6,
    MAPPED_PORT,
    OTHER6,
    ROUTER6,
    STANDARD,
    Scenario,
    Step,
    drops,
    hairpins,
    passes,
    tell6,
    to_server4,
    to_server6,
)

QUERY, ASKED = UDP(sport=5000, dport=53) / b"query", UDP(sport=MAPPED_PORT, dport=5353) / b"query"


def call(sent: Any, got: Any, hlim: int = 64) -> Step:
    """HOST6 to the pool's address, and what OTHER6 gets."""
    return hairpins(IPv6(src=HOST6, dst=MAPPED6, hlim=hlim) / sent, IPv6(src=MAPPED6, dst=OTHER6, hlim=hlim - 1) / got)


def back(sent: Any, got: Any, after: float = 0.001) -> Step:
    """OTHER6 to the pool's address, and what HOST6 gets."""
    return hairpins(IPv6(src=OTHER6, dst=MAPPED6) / sent, IPv6(src=MAPPED6, dst=HOST6, hlim=63) / got, after=after)


def segment(flags: str, **more: int) -> dict[str, Any]:
    return {"flags": flags, "seq": 0, "ack": 0} | more


def tcp_call(flags: str, **more: int) -> Step:
    return call(
        TCP(sport=5000, dport=80, **segment(flags, **more)),
        TCP(sport=MAPPED_PORT, dport=8080, **segment(flags, **more)),
    )


def tcp_back(flags: str, after: float = 0.001, **more: int) -> Step:
    sent, got = (
        TCP(sport=8080, dport=MAPPED_PORT, **segment(flags, **more)),
        TCP(sport=80, dport=5000, **segment(flags, **more)),
    )
    return back(sent, got, after)


def error(message: Any, hlim: int = 60, source: str = OTHER6) -> Step:
    """An error about QUERY where OTHER6 should have got it: HOST6 hears of the packet it sent.

    A router on the way shows its own address, as it would to an IPv6 host: there is no need of another one.
    """
    return hairpins(
        IPv6(src=source, dst=MAPPED6) / message / bytes(IPv6(src=MAPPED6, dst=OTHER6, hlim=hlim) / ASKED),
        IPv6(src=MAPPED6 if source == OTHER6 else source, dst=HOST6, hlim=63)
        / message
        / bytes(IPv6(src=HOST6, dst=MAPPED6, hlim=hlim) / QUERY),
    )


def fragment(transport: bytes, start: int, end: int) -> Any:
    return IPv6ExtHdrFragment(nh=17, offset=start // 8, m=int(end < len(transport)), id=0xABCD1234) / Raw(
        transport[start:end]
    )


LONG = bytes(range(250)) * 4
SENT = bytes(IPv6(src=HOST6, dst=MAPPED6) / UDP(sport=5000, dport=53) / LONG)[40:]
GOT = bytes(IPv6(src=MAPPED6, dst=OTHER6) / UDP(sport=MAPPED_PORT, dport=5353) / LONG)[40:]
LAST_HOP = IPv6(src=HOST6, dst=MAPPED6, hlim=1) / QUERY
TO_NOBODY = IPv6(src=HOST6, dst=MAPPED6) / UDP(sport=5000, dport=9) / b"query"
SYN_TO_NOBODY = IPv6(src=HOST6, dst=MAPPED6) / TCP(sport=5000, dport=9, flags="S")
STRANGER = IPv6(src=OTHER6, dst=MAPPED6) / UDP(sport=5353, dport=MAPPED_PORT) / b"hello"

SCENARIOS = [
    Scenario(
        "hairpin_tcp",
        "A connection from one host to the [[forward]] of the other, opened and closed: two sessions, one each way.",
        [
            tcp_call("S", seq=100),
            tcp_back("SA", seq=900, ack=101),
            tcp_call("A", seq=101, ack=901),
            tcp_back("PA", seq=901, ack=101, after=7439),
            tcp_call("FA", seq=101, ack=901),
            tcp_back("FA", seq=901, ack=102),
            tcp_call("A", seq=102, ack=902),
        ],
    ),
    Scenario(
        "hairpin_ping",
        "An echo has one identifier, that of its sender: a ping of the pool's address comes back, and is answered.",
        [
            hairpins(
                IPv6(src=HOST6, dst=MAPPED6) / kind(id=9, seq=1, data=b"ping"),
                IPv6(src=MAPPED6, dst=HOST6, hlim=63) / kind(id=9, seq=1, data=b"ping"),
            )
            for kind in (ICMPv6EchoRequest, ICMPv6EchoReply)
        ],
    ),
    Scenario(
        "hairpin_hop_limits",
        "One hop, not two (RFC 7757 4.2.2); on the last one the sender is told.",
        [
            call(QUERY, ASKED, hlim=2),
            call(QUERY, ASKED, hlim=255),
            drops("hop_limit_expired", LAST_HOP, tell6(LAST_HOP, ICMPv6TimeExceeded())),
        ],
    ),
    Scenario(
        "hairpin_to_nobody",
        "A port of the pool that no host has: address unreachable for UDP, for TCP nothing.",
        [
            drops("no_bib_entry", TO_NOBODY, tell6(TO_NOBODY, ICMPv6DestUnreach(code=3))),
            drops("no_session", SYN_TO_NOBODY),
        ],
    ),
    Scenario(
        "hairpin_errors",
        "Unreachable, too big, expired on the way: what is quoted is the sender's own packet, and the MTU stays.",
        [
            call(QUERY, ASKED),
            error(ICMPv6DestUnreach(code=4)),
            error(ICMPv6PacketTooBig(mtu=1400)),
            error(ICMPv6TimeExceeded(), hlim=1, source=ROUTER6),
        ],
    ),
    Scenario(
        "hairpin_fragments",
        "A datagram in two fragments: both go where the first one went, with their Fragment headers.",
        [
            call(fragment(SENT, 0, 504), fragment(GOT, 0, 504)),
            call(fragment(SENT, 504, len(SENT)), fragment(GOT, 504, len(GOT))),
        ],
    ),
    Scenario(
        "hairpin_to_oneself",
        "A host that dials its own transport address hears itself.",
        [
            passes(to_server6(QUERY), to_server4(UDP(sport=MAPPED_PORT, dport=53) / b"query")),
            hairpins(
                IPv6(src=HOST6, dst=MAPPED6) / UDP(sport=5000, dport=MAPPED_PORT) / b"echo",
                IPv6(src=MAPPED6, dst=HOST6, hlim=63) / UDP(sport=MAPPED_PORT, dport=5000) / b"echo",
            ),
        ],
    ),
    Scenario(
        "hairpin_address_dependent_filtering",
        "Hosts behind us are filtered by the address the other one knows them by, as all are.",
        [
            passes(to_server6(QUERY), to_server4(UDP(sport=MAPPED_PORT, dport=53) / b"query")),
            drops("filtered_adf", STRANGER),
        ],
        STANDARD + "\n[filtering]\naddress_dependent = true\n",
    ),
]
