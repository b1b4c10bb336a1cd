"""IPv4 options and IPv6 extension headers, octet by octet, and the header fields beside them (RFC 7915 4.1 and 5.1)."""

from typing import Any

from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import ICMPv6ParamProblem, ICMPv6TimeExceeded, IPv6
from scapy.packet import Raw
from scapy.utils import checksum

from tests.scenarios import (
    HOST6,
    MAPPED_PORT,
    SERVER6,
    STANDARD,
    Scenario,
    Step,
    drops,
    passes,
    tell4,
    tell6,
    to_host4,
    to_host6,
    to_server4,
    to_server6,
)
from tests.scenarios.headers import ANSWER4, ANSWER6, OPEN, QUERY4, QUERY6

HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60


def with_options(options: str) -> bytes:
    """The answer of SERVER4 with these octets as IPv4 options."""
    return with_octets(to_host4(ANSWER4), options)


def with_octets(packet: Any, options: str) -> bytes:
    """An IPv4 packet with options; scapy would think that a source route changes its checksum."""
    octets, plain = bytes.fromhex(options), bytes(packet)
    first = bytes([0x45 + len(octets) // 4, plain[1]]) + (len(plain) + len(octets)).to_bytes(2) + plain[4:10]
    header = first + bytes(2) + plain[12:20] + octets
    return first + checksum(header).to_bytes(2) + plain[12:20] + octets + plain[20:]


def ignored(options: str) -> Step:
    return passes(with_options(options), to_host6(ANSWER6))


def source_routed(options: str) -> Step:
    return drops("source_routed", with_options(options), tell4(with_options(options), 3, 5))


def behind(*headers: tuple[int, str]) -> Any:
    """The query of HOST6 behind extension headers: (number, octets after Next Header)."""
    octets, following = b"", [kind for kind, _ in headers[1:]] + [17]
    for (_, rest), after in zip(headers, following, strict=True):
        octets += bytes([after]) + bytes.fromhex(rest)
    return to_server6(Raw(octets + bytes(to_server6(QUERY6))[40:]), nh=headers[0][0])


def skipped(*headers: tuple[int, str]) -> Step:
    return passes(behind(*headers), to_server4(QUERY4))


def routed(pointer: int, *headers: tuple[int, str]) -> Step:
    """A routing header that is not done: parameter problem, at its Segments Left."""
    sent = behind(*headers)
    return drops("routing_header", sent, tell6(sent, ICMPv6ParamProblem(code=0, ptr=pointer)))


PAD6 = "00 01 04 00000000"  # 8 octets of options: one PadN of 4
LONG_PAD = "02 01 14" + "00" * 20
UNKNOWN_OPTION = "00 c5 04 deadbeef"  # "discard and tell" for a destination, which we are not
ADDRESS = "20010db8000200000000000000000020"
TYPE0_DONE, TYPE0_LEFT = "02 00 00 00000000" + ADDRESS, "02 00 01 00000000" + ADDRESS
TYPE2_LEFT, TYPE4_LEFT, TYPE4_DONE = (
    "02 02 01 00000000" + ADDRESS,
    "02 04 01 00000000" + ADDRESS,
    "02 04 00 00000000" + ADDRESS,
)
UNKNOWN_LEFT = "00 fe 07 00000000"
RESERVED, FIRST = "00 0000 abcd1234", "00 0001 abcd1234"  # an atomic Fragment header, and that of a first fragment


def dscp(field: int) -> list[Step]:
    """Both directions copy all eight bits."""
    return [
        passes(to_server6(QUERY6, tc=field), to_server4(QUERY4, tos=field)),
        passes(to_host4(ANSWER4, tos=field), to_host6(ANSWER6, tc=field)),
    ]


SCENARIOS = [
    Scenario(
        "ipv4_options_of_every_kind",
        "No operation, record route, timestamp, router alert, security, an unknown one: left out.",
        [
            OPEN,
            *map(
                ignored,
                (
                    "01010101",
                    "00000000",
                    "07 07 04 00000000 00",
                    "44 0c 05 00 00000000 00000000",
                    "94 04 0000",
                    "82 0b 0000000000000000 00 00",
                    "de 04 beef",
                    "01" * 40,
                ),
            ),
        ],
    ),
    Scenario(
        "ipv4_source_routes_that_are_done",
        "The pointer is larger than the length: every address has been visited.",
        [
            OPEN,
            *map(
                ignored,
                ("83 07 08 c0000221 00", "89 07 08 c0000221 00", "01 83 0b 0c c0000221 c0000222", "83 03 04 00"),
            ),
        ],
    ),
    Scenario(
        "ipv4_source_routes_that_go_on",
        "Loose and strict, first or after other options: source route failed (RFC 7915 4.1).",
        [
            OPEN,
            *map(
                source_routed,
                (
                    "83 07 04 c0000221 00",
                    "89 07 04 c0000221 00",
                    "01 83 0b 08 c0000221 c0000222",
                    "94 04 0000 89 0b 04 c0000221 c0000222 00",
                ),
            ),
        ],
    ),
    Scenario(
        "ipv4_nothing_follows_the_end_of_options",
        "What follows the end of the list is padding, even if it looks like a source route.",
        [OPEN, ignored("00 83 07 04 c0000221"), ignored("01 00 89 07 04 c00002")],
    ),
    Scenario(
        "ipv6_extension_headers_in_any_order",
        "Hop-by-hop and destination options with unknown options, and a used-up Routing header, are left out.",
        [
            skipped((HOP_BY_HOP, PAD6)),
            skipped((DESTINATION, LONG_PAD)),
            skipped((HOP_BY_HOP, UNKNOWN_OPTION)),
            skipped((HOP_BY_HOP, PAD6), (DESTINATION, PAD6), (ROUTING, TYPE0_DONE), (DESTINATION, PAD6)),
            skipped((ROUTING, TYPE4_DONE), (HOP_BY_HOP, PAD6)),
            skipped(*[(DESTINATION, PAD6)] * 8),
        ],
    ),
    Scenario(
        "ipv6_too_many_extension_headers",
        "More than eight are dropped.",
        [drops("extension_headers", behind(*[(DESTINATION, PAD6)] * 9))],
    ),
    Scenario(
        "ipv6_routing_headers_of_every_type",
        "Of any type, with segments left: parameter problem, pointer 3 octets after its beginning.",
        [
            routed(43, (ROUTING, TYPE0_LEFT)),
            routed(43, (ROUTING, TYPE2_LEFT)),
            routed(43, (ROUTING, UNKNOWN_LEFT)),
            routed(51, (HOP_BY_HOP, PAD6), (ROUTING, TYPE4_LEFT)),
            routed(67, (DESTINATION, LONG_PAD), (ROUTING, TYPE4_LEFT)),
            routed(67, (ROUTING, TYPE0_DONE), (ROUTING, TYPE0_LEFT)),
        ],
    ),
    Scenario(
        "ipv6_extension_headers_around_a_fragment_header",
        "Before it they are left out. After that of a real fragment the packet is dropped (RFC 7915 5.1.1).",
        [
            passes(behind((HOP_BY_HOP, PAD6), (FRAGMENT, RESERVED)), to_server4(QUERY4, id=0x1234)),
            passes(behind((FRAGMENT, "ff 0006 abcd1234")), to_server4(QUERY4, id=0x1234)),
            passes(behind((FRAGMENT, RESERVED), (DESTINATION, PAD6)), to_server4(QUERY4, id=0x1234)),
            drops("extension_headers", behind((FRAGMENT, FIRST), (DESTINATION, PAD6))),
            drops("extension_headers", behind((FRAGMENT, FIRST), (HOP_BY_HOP, PAD6))),
            routed(51, (FRAGMENT, RESERVED), (ROUTING, TYPE4_LEFT)),
        ],
    ),
    Scenario(
        "traffic_class_and_tos",
        "All eight bits are copied, DSCP and ECN (RFC 7915 4.1 and 5.1, RFC 3168).",
        [step for field in (0x00, 0x01, 0x02, 0x03, 0xB8, 0xFC, 0xFF) for step in dscp(field)],
    ),
    Scenario(
        "traffic_class_of_46",
        "[translation] traffic_class = 184: every packet gets expedited forwarding, whatever its own value.",
        [
            passes(to_server6(QUERY6, tc=3), to_server4(QUERY4, tos=184)),
            passes(to_host4(ANSWER4), to_host6(ANSWER6, tc=184)),
        ],
        STANDARD + "\n[translation]\ntraffic_class = 184\n",
    ),
    Scenario(
        "hop_limits_from_255_to_2",
        "One less, in either direction.",
        [
            step
            for hops in (255, 128, 64, 3, 2)
            for step in (
                passes(to_server6(QUERY6, hlim=hops), to_server4(QUERY4, ttl=hops - 1)),
                passes(to_host4(ANSWER4, ttl=hops), to_host6(ANSWER6, hlim=hops - 1)),
            )
        ],
    ),
    Scenario(
        "hop_limit_expires_before_all_else",
        "Also for a packet that would not be translated: the answer is time exceeded, not the other reason.",
        [
            drops("hop_limit_expired", sent, tell6(sent, ICMPv6TimeExceeded()))
            for sent in (
                IPv6(src=HOST6, dst=SERVER6, hlim=1) / TCP(sport=5000, dport=80, flags="A"),
                IPv6(src=HOST6, dst=SERVER6, hlim=1, nh=132) / Raw(b"sctp" * 3),
            )
        ],
    ),
    Scenario(
        "ipv4_flags_and_identification",
        "The reserved flag and the Identification of an unfragmented packet are ignored.",
        [
            OPEN,
            passes(to_host4(ANSWER4, flags="evil", id=0xFFFF), to_host6(ANSWER6)),
            passes(to_host4(ANSWER4, flags="evil+DF", id=1), to_host6(ANSWER6)),
        ],
    ),
    Scenario(
        "octets_behind_the_packet",
        "Link padding is left out: the length is that of the header.",
        [
            passes(bytes(to_server6(QUERY6)) + bytes(8), to_server4(QUERY4)),
            passes(bytes(to_host4(ANSWER4)) + bytes(13), to_host6(ANSWER6)),
            passes(
                bytes(to_host4(UDP(sport=53, dport=MAPPED_PORT, len=14) / b"answer")) + b"\xff",
                to_host6(UDP(sport=53, dport=5000) / b"answer"),
            ),
        ],
    ),
]
