"""UDP and ping beyond the first conversation (RFC 6146 sections 3.5.1, 3.5.3), and addresses at the edges of blocks."""

from typing import Any

from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, IPv6

from tests.scenarios import (
    ELSEWHERE6,
    HOST6,
    MAPPED4,
    MAPPED_PORT,
    OTHER4,
    OTHER6,
    POOL6,
    SERVER4,
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
from tests.scenarios.conversations import PING4, PING6, PONG4, PONG6, answers, asks, unsolicited

ADF = STANDARD + "\n[filtering]\naddress_dependent = true\n"


def completing(packet: Any) -> bytes:
    """Two octets that bring the checksum of a UDP datagram to zero: with two zeros in their place, it is they."""
    octets = bytes(packet / b"\0\0")
    return octets[26:28] if octets[0] >> 4 == 4 else octets[46:48]


def out(data: bytes) -> Step:
    return passes(to_server6(UDP(sport=5000, dport=53) / data), to_server4(UDP(sport=MAPPED_PORT, dport=53) / data))


def back(data: bytes) -> Step:
    return passes(to_host4(UDP(sport=53, dport=MAPPED_PORT) / data), to_host6(UDP(sport=53, dport=5000) / data))


def reaches(host4: str, address6: str) -> list[Step]:
    """A server with this IPv4 address can be asked, and answers."""
    return [
        passes(
            IPv6(src=HOST6, dst=address6) / UDP(sport=5000, dport=53) / b"query",
            IP(src=MAPPED4, dst=host4, ttl=63) / UDP(sport=MAPPED_PORT, dport=53) / b"query",
        ),
        passes(
            IP(src=host4, dst=MAPPED4) / UDP(sport=53, dport=MAPPED_PORT) / b"answer",
            IPv6(src=address6, dst=HOST6, hlim=63) / UDP(sport=53, dport=5000) / b"answer",
        ),
    ]


def refuses(host4: str) -> list[Step]:
    """A server with this IPv4 address can neither be asked nor answer."""
    sent6 = IPv6(src=HOST6, dst=POOL6 + host4) / UDP(sport=5000, dport=53) / b"query"
    sent4 = IP(src=host4, dst=MAPPED4) / UDP(sport=53, dport=MAPPED_PORT) / b"answer"
    return [
        drops("non_global_address", sent6, tell6(sent6, ICMPv6DestUnreach(code=1))),
        drops("non_global_address", sent4, tell4(sent4, 3, 13, to=host4)),
    ]


# The packet whose checksum comes out as zero on the other side, which UDP writes as 0xffff.
ZERO4 = completing(to_server4(UDP(sport=MAPPED_PORT, dport=53)))
ZERO6 = completing(to_server6(UDP(sport=5000, dport=53)))
STRANGERS_PING = IP(src=OTHER4, dst=MAPPED4) / PING4
DATA = bytes(range(256)) * 5

SCENARIOS = [
    Scenario(
        "udp_checksum_that_comes_out_zero",
        "RFC 768: it is written as ffff in either direction, because zero means no checksum.",
        [out(ZERO4), out(ZERO6), back(ZERO6), back(ZERO4)],
    ),
    Scenario(
        "udp_of_every_small_size",
        "No payload, an odd number of octets, and the largest datagram that fits 1280 octets.",
        [step for size in (0, 1, 2, 3, 1231, 1232) for step in (out(DATA[:size]), back(DATA[:size]))],
    ),
    Scenario(
        "udp_inbound_through_a_forward",
        "[[forward]]: an IPv4 client queries an IPv6 server and gets the reply from the address it queried.",
        [
            passes(
                IP(src=OTHER4, dst=MAPPED4) / UDP(sport=33000, dport=53) / b"query",
                IPv6(src=ELSEWHERE6, dst=OTHER6, hlim=63) / UDP(sport=33000, dport=5353) / b"query",
            ),
            passes(
                IPv6(src=OTHER6, dst=ELSEWHERE6) / UDP(sport=5353, dport=33000) / b"answer",
                IP(src=MAPPED4, dst=OTHER4, ttl=63) / UDP(sport=53, dport=33000) / b"answer",
            ),
            passes(
                IPv6(src=OTHER6, dst=ELSEWHERE6) / UDP(sport=5353, dport=33000) / b"much later",
                IP(src=MAPPED4, dst=OTHER4, ttl=63) / UDP(sport=53, dport=33000) / b"much later",
                after=1000,
            ),
        ],
    ),
    Scenario(
        "udp_a_stranger_keeps_the_mapping",
        "Endpoint-independent filtering: a datagram of a third host opens a session, which keeps the BIB entry.",
        [
            asks(),
            *(
                passes(
                    to_host4(UDP(sport=99, dport=MAPPED_PORT) / b"hello", src=OTHER4),
                    to_host6(UDP(sport=99, dport=5000) / b"hello", src=ELSEWHERE6),
                    after=299,
                )
                for _ in range(2)
            ),
            answers(after=299),
            unsolicited(after=301),
        ],
    ),
    Scenario(
        "udp_to_the_port_it_came_from",
        "Source and destination port may be equal, or zero.",
        [
            passes(
                to_server6(UDP(sport=53, dport=53) / b"x"),
                to_server4(UDP(sport=MAPPED_PORT, dport=53) / b"x"),
            ),
            passes(to_host4(UDP(sport=0, dport=MAPPED_PORT) / b"x"), to_host6(UDP(sport=0, dport=53) / b"x")),
            passes(to_server6(UDP(sport=53, dport=0) / b"x"), to_server4(UDP(sport=MAPPED_PORT, dport=0) / b"x")),
        ],
    ),
    Scenario(
        "ping_replies_that_nobody_asked_for",
        "RFC 6146 3.5.3 includes replies: one from IPv6 opens a mapping, one from IPv4 needs a mapping.",
        [
            drops("no_bib_entry", to_host4(PONG4), tell4(to_host4(PONG4), 3, 1)),
            passes(to_server6(PONG6), to_server4(PONG4)),
            passes(to_host4(PONG4), to_host6(PONG6)),
            passes(to_host4(PING4), to_host6(PING6)),
        ],
    ),
    Scenario(
        "ping_from_a_third_host",
        "Any host may use an identifier while it is mapped (endpoint-independent filtering).",
        [
            passes(to_server6(PING6), to_server4(PING4)),
            passes(STRANGERS_PING, IPv6(src=ELSEWHERE6, dst=HOST6, hlim=63) / PING6),
        ],
    ),
    Scenario(
        "ping_address_dependent_filtering",
        "Only hosts that the IPv6 host has pinged may ping it.",
        [
            passes(to_server6(PING6), to_server4(PING4)),
            passes(to_host4(PING4), to_host6(PING6)),
            drops("filtered_adf", STRANGERS_PING),
        ],
        ADF,
    ),
    Scenario(
        "ping_of_any_size_and_sequence",
        "Sequence number, data and code do not change.",
        [
            passes(
                to_server6(ICMPv6EchoRequest(id=5000, seq=seq, data=data)),
                to_server4(ICMP(type=8, id=MAPPED_PORT, seq=seq) / data),
            )
            for seq, data in ((0, b""), (0xFFFF, b"x"), (7, bytes(1232)))
        ]
        + [
            passes(
                to_host4(ICMP(type=0, id=MAPPED_PORT, seq=9) / b"odd"),
                to_host6(ICMPv6EchoReply(id=5000, seq=9, data=b"odd")),
            )
        ],
    ),
    Scenario(
        "non_global_addresses_by_block",
        "RFC 6052 3.1 with the blocks of RFC 6890: the first and the last address of each, in both directions.",
        [asks()]
        + [
            step
            for first, last in (
                ("10.0.0.1", "10.255.255.254"),
                ("100.64.0.0", "100.127.255.255"),
                ("172.16.0.0", "172.31.255.255"),
                ("192.0.0.0", "192.0.0.255"),
                ("192.168.0.0", "192.168.255.255"),
                ("198.18.0.0", "198.19.255.255"),
            )
            for host4 in (first, last)
            for step in refuses(host4)
        ],
        STANDARD + "\n[limits]\nicmp_errors_per_second = 1000\n",  # a tenth of them to one receiver
    ),
    Scenario(
        "global_addresses_beside_the_blocks",
        "The addresses next to those blocks are ordinary ones.",
        [
            step
            for host4 in (
                *("9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "169.253.255.255", "169.255.0.0"),
                *("172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0"),
                *("198.17.255.255", "198.20.0.0", "1.0.0.0", "223.255.255.255"),
            )
            for step in reaches(host4, POOL6 + host4)
        ],
    ),
    Scenario(
        "a_local_use_prefix",
        "RFC 8215: under 64:ff9b:1::/48 private addresses are allowed.",
        reaches("10.1.2.3", "64:ff9b:1:a01:2:300::"),
        STANDARD.replace("64:ff9b::/96", "64:ff9b:1::/48"),
    ),
    Scenario(
        "a_single_address_on_the_deny_list",
        "[translation] denylist4 with one address does not affect its neighbours.",
        [
            passes(
                IPv6(src=HOST6, dst=ELSEWHERE6) / UDP(sport=5000, dport=53) / b"query",
                IP(src=MAPPED4, dst=OTHER4, ttl=63) / UDP(sport=MAPPED_PORT, dport=53) / b"query",
            ),
            drops(
                "denied_address",
                to_host4(UDP(sport=53, dport=MAPPED_PORT) / b"x"),
                tell4(to_host4(UDP(sport=53, dport=MAPPED_PORT) / b"x"), 3, 13),
            ),
        ],
        STANDARD + f'\n[translation]\ndenylist4 = ["{SERVER4}"]\n',
    ),
]
