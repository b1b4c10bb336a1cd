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


def error(message: Any, hlim: int = 60, source: str = OTHER6, seen: Any = None) -> Step:
    """An error about QUERY where OTHER6 should have got it: HOST6 hears of the packet it sent.

    A router on the way has no IPv4 address: it shows that of the host behind it (RFC 6146 3.7).
    """
    return hairpins(
        IPv6(src=source, dst=MAPPED6) / message / bytes(IPv6(src=MAPPED6, dst=OTHER6, hlim=hlim) / ASKED),
        IPv6(src=MAPPED6, dst=HOST6, hlim=63)
        / (seen or message)
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
        "A connection from one host to the [[forward]] of another, opened and closed: two "
        "sessions, one for each direction.",
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
        "An echo has one identifier, that of its sender: a ping to the address of the pool comes back and is answered.",
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
        "One hop is subtracted, not two (RFC 7757 4.2.2). At zero the sender is told.",
        [
            call(QUERY, ASKED, hlim=2),
            call(QUERY, ASKED, hlim=255),
            drops("hop_limit_expired", LAST_HOP, tell6(LAST_HOP, ICMPv6TimeExceeded())),
        ],
    ),
    Scenario(
        "hairpin_to_nobody",
        "A pool port that is not mapped: address unreachable for UDP; a SYN waits six seconds for a simultaneous open.",
        [
            drops("no_bib_entry", TO_NOBODY, tell6(TO_NOBODY, ICMPv6DestUnreach(code=3))),
            drops("syn_held", SYN_TO_NOBODY),
            Step(
                TO_NOBODY,
                "no_bib_entry",
                (tell6(TO_NOBODY, ICMPv6DestUnreach(code=3)),),
                after=6.1,
                due=(IPv6(src=MAPPED6, dst=HOST6) / ICMPv6DestUnreach(code=4) / bytes(SYN_TO_NOBODY),),
            ),
        ],
    ),
    Scenario(
        "hairpin_errors",
        "Unreachable, too big, time exceeded: the quoted packet is that of the sender. The MTU does not change, but is "
        "at least 1280.",
        [
            call(QUERY, ASKED),
            error(ICMPv6DestUnreach(code=4)),
            error(ICMPv6PacketTooBig(mtu=1400)),
            error(ICMPv6PacketTooBig(mtu=1200), seen=ICMPv6PacketTooBig(mtu=1280)),
            error(ICMPv6PacketTooBig(mtu=0), source=ROUTER6, seen=ICMPv6PacketTooBig(mtu=1280)),
            error(ICMPv6TimeExceeded(), hlim=1, source=ROUTER6),
        ],
    ),
    Scenario(
        "hairpin_fragments",
        "A datagram in two fragments: both go to the destination of the first, with their Fragment headers.",
        [
            call(fragment(SENT, 0, 504), fragment(GOT, 0, 504)),
            call(fragment(SENT, 504, len(SENT)), fragment(GOT, 504, len(GOT))),
        ],
    ),
    Scenario(
        "hairpin_to_oneself",
        "A host that connects to its own transport address reaches itself.",
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
        "Address-dependent filtering also applies between hosts behind the gateway, to their IPv4 addresses.",
        [
            passes(to_server6(QUERY), to_server4(UDP(sport=MAPPED_PORT, dport=53) / b"query")),
            drops("filtered_adf", STRANGER),
        ],
        STANDARD + "\n[filtering]\naddress_dependent = true\n",
    ),
]
