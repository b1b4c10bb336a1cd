"""Mappings without sessions: explicit ones (RFC 7757), and both addresses by the prefix (RFC 6052), as SIIT has them.

HOST6 is EAM4, NEIGHBOUR6 is NEIGHBOUR4          CUSTOMER6 has sessions: it is MAPPED4:40000
"""

from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6TimeExceeded, IPv6
from scapy.packet import Raw

from tests.scenarios import (
    HOST6,
    MAPPED4,
    MAPPED6,
    MAPPED_PORT,
    OWN4,
    POOL6,
    ROUTER4,
    ROUTER6,
    SERVER4,
    SERVER6,
    STANDARD,
    Scenario,
    Step,
    drops,
    hairpins,
    passes,
    tell4,
    tell6,
)

EAM4, NEIGHBOUR4, NEIGHBOUR6, CUSTOMER6 = "203.0.113.10", "203.0.113.20", "2001:db8:1::20", "2001:db8:3::30"
EAM_IN6, NEIGHBOUR_IN6 = POOL6 + EAM4, POOL6 + NEIGHBOUR4
OWN = '\n[tun]\nipv4 = "192.0.2.254"\nipv6 = "2001:db8:64::1"\n'


def eam(*rows: tuple[str, str]) -> str:
    return "".join(f'[[eam]]\nipv4 = "{ipv4}"\nipv6 = "{ipv6}"\n\n' for ipv4, ipv6 in rows)


HOSTS = eam((EAM4, HOST6), (NEIGHBOUR4, NEIGHBOUR6))
SIIT = f'pool6 = "64:ff9b::/96"\n\n{HOSTS}{OWN}'
BESIDE = f"{STANDARD}\n{HOSTS}"
QUERY, ANSWER = UDP(sport=5000, dport=53) / b"query", UDP(sport=53, dport=5000) / b"answer"


def out6(transport: Any, **ip: Any) -> Any:
    """As HOST6 sends it to SERVER4."""
    return IPv6(**{"src": HOST6, "dst": SERVER6} | ip) / transport


def out4(transport: Any, **ip: Any) -> Any:
    """As SERVER4 gets it."""
    return IP(**{"src": EAM4, "dst": SERVER4, "ttl": 63} | ip) / transport


def in4(transport: Any, **ip: Any) -> Any:
    """As SERVER4 sends it."""
    return IP(**{"src": SERVER4, "dst": EAM4} | ip) / transport


def in6(transport: Any, **ip: Any) -> Any:
    """As HOST6 gets it."""
    return IPv6(**{"src": SERVER6, "dst": HOST6, "hlim": 63} | ip) / transport


def carries(name: str, shows: str, protocol: int, octets: bytes) -> Scenario:
    """A protocol without a rule of its own: its octets are left as they are, in both directions."""
    return Scenario(
        name,
        shows,
        [
            passes(out6(Raw(octets), nh=protocol), out4(Raw(octets), proto=protocol)),
            passes(in4(Raw(octets), proto=protocol), in6(Raw(octets), nh=protocol)),
        ],
        SIIT,
    )


def seen_as(host6: str, host4: str) -> list[Step]:
    """A query of an IPv6 host, and an answer to the IPv4 address that its server saw."""
    return [
        passes(out6(QUERY, src=host6), out4(QUERY, src=host4)),
        passes(in4(ANSWER, dst=host4), in6(ANSWER, dst=host6)),
    ]


def translatable(prefix: str, host6: str, server6: str) -> Scenario:
    """Both ends under one prefix: 192.0.2.33 and 198.51.100.7."""
    length = prefix.rpartition("/")[2]
    return Scenario(
        f"siit_prefix_of_{length}_bits",
        f"Both addresses are IPv4 addresses under {prefix} (RFC 6052 section 2.2), in both directions.",
        [
            passes(IPv6(src=host6, dst=server6) / QUERY, IP(src="192.0.2.33", dst=SERVER4, ttl=63) / QUERY),
            passes(IP(src=SERVER4, dst="192.0.2.33") / ANSWER, IPv6(src=server6, dst=host6, hlim=63) / ANSWER),
        ],
        f'pool6 = "{prefix}"\n{OWN}',
    )


PING6, PONG6 = ICMPv6EchoRequest(id=7, seq=1, data=b"ping"), ICMPv6EchoReply(id=7, seq=1, data=b"ping")
PING4, PONG4 = ICMP(type=8, id=7, seq=1) / b"ping", ICMP(type=0, id=7, seq=1) / b"ping"
CLAT6 = "2001:db8:1::464"
STRANGER6, LOST6 = IPv6(src="2001:db8:9::9", dst=SERVER6) / QUERY, IPv6(src=HOST6, dst="2001:db8:9::9") / QUERY
STRANGER4, FOREIGN4 = IP(src=SERVER4, dst=EAM4) / ANSWER, IP(src="192.168.7.2", dst=SERVER4) / QUERY
ALL_MAPPED = eam((EAM4, HOST6), ("198.51.100.0/24", "2001:db8:c6::/120")) + OWN

SCENARIOS = [
    # 192.0.2.33 is c0.00.02.21, 198.51.100.7 is c6.33.64.07; octet 8 of the address stays zero.
    translatable("3fff:64::/32", "3fff:64:c000:221::", "3fff:64:c633:6407::"),
    translatable("3fff:64:6400::/40", "3fff:64:64c0:2:21::", "3fff:64:64c6:3364:7::"),
    translatable("3fff:64:64::/48", "3fff:64:64:c000:2:2100::", "3fff:64:64:c633:64:700::"),
    translatable("3fff:64:64:6400::/56", "3fff:64:64:64c0:0:221::", "3fff:64:64:64c6:33:6407::"),
    translatable("3fff:64:64:64::/64", "3fff:64:64:64:c0:2:2100::", "3fff:64:64:64:c6:3364:700::"),
    translatable("3fff:64:64:64::/96", "3fff:64:64:64::192.0.2.33", "3fff:64:64:64::198.51.100.7"),
    Scenario(
        "siit_ping_both_ways",
        "Without sessions the identifier does not change, and either side may begin.",
        [
            passes(out6(PING6), out4(PING4)),
            passes(in4(PONG4), in6(PONG6)),
            passes(in4(PING4), in6(PING6)),
            passes(out6(PONG6), out4(PONG4)),
        ],
        SIIT,
    ),
    Scenario(
        "siit_tcp_from_either_side",
        "Without sessions there is no state: any segment passes, and ports do not change.",
        [
            passes(in4(TCP(sport=80, dport=5000, flags="S")), in6(TCP(sport=80, dport=5000, flags="S"))),
            passes(
                out6(TCP(sport=5000, dport=80, flags="A", seq=9)), out4(TCP(sport=5000, dport=80, flags="A", seq=9))
            ),
            passes(in4(TCP(sport=1, dport=2, flags="R")), in6(TCP(sport=1, dport=2, flags="R"))),
        ],
        SIIT,
    ),
    carries("siit_carries_gre", "GRE (47).", 47, bytes.fromhex("0000 0800 4500 0014") + b"inner packet"),
    carries(
        "siit_carries_esp", "IPsec ESP (50): the authenticated part begins after the IP header.", 50, bytes(range(32))
    ),
    carries(
        "siit_carries_sctp",
        "SCTP (132): its checksum does not cover IP addresses.",
        132,
        bytes.fromhex("1388 0050") * 7,
    ),
    carries("siit_carries_no_next_header", "No Next Header (59) is copied like any protocol.", 59, b"octets"),
    carries("siit_carries_a_header_alone", "A packet without payload, in both directions.", 253, b""),
    Scenario(
        "siit_sources_without_a_mapping",
        "A source or a destination with neither a mapping nor an address under the prefix: prohibited.",
        [
            drops("no_mapping", STRANGER6, tell6(STRANGER6, ICMPv6DestUnreach(code=1), to="2001:db8:9::9")),
            drops("no_mapping", LOST6, tell6(LOST6, ICMPv6DestUnreach(code=1))),
        ],
        SIIT,
    ),
    Scenario(
        "eam_without_a_prefix",
        "All IPv4 addresses in use are mapped. For others the answer is: prohibited.",
        [
            passes(out6(QUERY, dst="2001:db8:c6::7"), out4(QUERY)),
            passes(in4(ANSWER), in6(ANSWER, src="2001:db8:c6::7")),
            drops("no_mapping", in4(ANSWER, src=ROUTER4), tell4(in4(ANSWER, src=ROUTER4), 3, 13, to=ROUTER4)),
            drops("no_mapping", out6(QUERY), tell6(out6(QUERY), ICMPv6DestUnreach(code=1))),
        ],
        ALL_MAPPED,
    ),
    Scenario(
        "eam_longest_prefix_wins",
        "RFC 7757 3.3: of overlapping rows the longest prefix wins, in each direction that of the source side.",
        [
            *seen_as("2001:db8:a::17", "203.0.113.17"),
            *seen_as("2001:db8:f::2", "203.0.113.18"),
            *seen_as("2001:db8:e::c8", "203.0.113.200"),
            passes(out6(QUERY, src="2001:db8:e::12"), out4(QUERY, src="203.0.113.18")),
        ],
        SIIT.replace(
            HOSTS,
            eam(
                ("203.0.113.0/24", "2001:db8:e::/120"),
                ("203.0.113.16/28", "2001:db8:f::/124"),
                ("203.0.113.17", "2001:db8:a::17"),
            ),
        ),
    ),
    Scenario(
        "eam_suffixes_of_unequal_length",
        "RFC 7757 3.3: the IPv4 suffix follows the IPv6 prefix; the bits after it are zero, or ignored.",
        [
            *seen_as("2001:db8:f:0:2000::", "203.0.113.18"),
            passes(out6(QUERY, src="2001:db8:f:0:2abc::1"), out4(QUERY, src="203.0.113.18")),
            *seen_as("2001:db8:77::", "203.0.113.5"),
            passes(out6(QUERY, src="2001:db8:77::beef"), out4(QUERY, src="203.0.113.5")),
        ],
        SIIT.replace(HOSTS, eam(("203.0.113.16/28", "2001:db8:f::/64"), ("203.0.113.5", "2001:db8:77::/64"))),
    ),
    Scenario(
        "eam_beside_sessions",
        "One gateway: a mapped host keeps its address and ports, another host shares the pool.",
        [
            passes(in4(UDP(sport=9, dport=53) / b"query"), in6(UDP(sport=9, dport=53) / b"query")),
            passes(out6(QUERY), out4(QUERY)),
            passes(out6(QUERY, src=CUSTOMER6), out4(UDP(sport=MAPPED_PORT, dport=53) / b"query", src=MAPPED4)),
            passes(in4(UDP(sport=53, dport=MAPPED_PORT) / b"answer", dst=MAPPED4), in6(ANSWER, dst=CUSTOMER6)),
            passes(in4(ANSWER), in6(ANSWER)),
        ],
        BESIDE,
    ),
    Scenario(
        "eam_hairpin_with_a_host_that_has_sessions",
        "A mapped host and a host of the pool: each sees the IPv4 address of the other under pool6.",
        [
            hairpins(
                out6(QUERY, src=CUSTOMER6, dst=EAM_IN6),
                in6(UDP(sport=MAPPED_PORT, dport=53) / b"query", src=MAPPED6),
            ),
            hairpins(
                out6(UDP(sport=53, dport=MAPPED_PORT) / b"answer", dst=MAPPED6),
                in6(ANSWER, src=EAM_IN6, dst=CUSTOMER6),
            ),
        ],
        BESIDE,
    ),
    Scenario(
        "eam_hairpin_intrinsic",
        "RFC 7757 4.2.2: a packet between two mapped hosts is sent straight back, one hop away. Errors too.",
        [
            hairpins(out6(QUERY, dst=NEIGHBOUR_IN6), in6(QUERY, src=EAM_IN6, dst=NEIGHBOUR6)),
            hairpins(out6(ANSWER, src=NEIGHBOUR6, dst=EAM_IN6), in6(ANSWER, src=NEIGHBOUR_IN6)),
            hairpins(
                IPv6(src=NEIGHBOUR6, dst=EAM_IN6)
                / ICMPv6DestUnreach(code=4)
                / bytes(IPv6(src=EAM_IN6, dst=NEIGHBOUR6, hlim=60) / QUERY),
                in6(
                    ICMPv6DestUnreach(code=4) / bytes(IPv6(src=HOST6, dst=NEIGHBOUR_IN6, hlim=60) / QUERY),
                    src=NEIGHBOUR_IN6,
                ),
            ),
        ],
        SIIT,
    ),
    Scenario(
        "eam_hairpin_simple",
        "RFC 7757 4.2.1: it leaves as IPv4; when the network returns it, its source is translated with pool6.",
        [
            passes(out6(QUERY, dst=NEIGHBOUR_IN6), out4(QUERY, dst=NEIGHBOUR4)),
            passes(out4(QUERY, dst=NEIGHBOUR4), in6(QUERY, src=EAM_IN6, dst=NEIGHBOUR6, hlim=62)),
            passes(out6(ANSWER, src=NEIGHBOUR6, dst=EAM_IN6), out4(ANSWER, src=NEIGHBOUR4, dst=EAM4)),
        ],
        SIIT + '\n[translation]\neam_hairpin = "simple"\n',
    ),
    Scenario(
        "eam_hairpin_off",
        "The network returns it, and its source is the address of the mapped host: replies would bypass the gateway.",
        [
            passes(out6(QUERY, dst=NEIGHBOUR_IN6), out4(QUERY, dst=NEIGHBOUR4)),
            passes(out4(QUERY, dst=NEIGHBOUR4), in6(QUERY, src=HOST6, dst=NEIGHBOUR6, hlim=62)),
        ],
        SIIT + '\n[translation]\neam_hairpin = "off"\n',
    ),
    Scenario(
        "eam_errors_quote_the_hosts_own_packets",
        "Addresses in the quoted packet are translated back; ports never changed.",
        [
            passes(
                in4(ICMP(type=3, code=3) / bytes(out4(QUERY, ttl=60))),
                in6(ICMPv6DestUnreach(code=4) / bytes(out6(QUERY, hlim=60))),
            ),
            passes(
                out6(ICMPv6DestUnreach(code=4) / bytes(in6(ANSWER, hlim=60))),
                out4(ICMP(type=3, code=3) / bytes(in4(ANSWER, ttl=60, id=0))),
            ),
            passes(
                in4(ICMP(type=11, code=0) / bytes(out4(PING4, ttl=1)), src=ROUTER4),
                in6(ICMPv6TimeExceeded() / bytes(out6(PING6, hlim=1)), src=POOL6 + ROUTER4),
            ),
        ],
        SIIT,
    ),
    Scenario(
        "siit_routers_without_an_address",
        "RFC 6791: an error of an IPv6 router without an IPv4 address gets a source of rfc6791_ipv4.",
        [
            passes(
                out6(ICMPv6TimeExceeded() / bytes(in6(ANSWER, hlim=1)), src=ROUTER6),
                out4(ICMP(type=11, code=0) / bytes(in4(ANSWER, ttl=1, id=0)), src="203.0.113.99"),
            ),
        ],
        SIIT + '\n[translation]\nrfc6791_ipv4 = ["203.0.113.99"]\n',
    ),
    Scenario(
        "siit_routers_without_an_address_and_without_a_pool",
        "The same with an empty rfc6791_ipv4: the translator's own address.",
        [
            passes(
                out6(ICMPv6TimeExceeded() / bytes(in6(ANSWER, hlim=1)), src=ROUTER6),
                out4(ICMP(type=11, code=0) / bytes(in4(ANSWER, ttl=1, id=0)), src=OWN4),
            ),
        ],
        SIIT,
    ),
    Scenario(
        "clat_of_one_host",
        "[clat] (RFC 6877, RFC 7335): an IPv4 program at 192.0.0.1, one IPv6 address, the prefix of the provider.",
        [
            passes(out4(QUERY, src="192.0.0.1", ttl=64), out6(QUERY, src=CLAT6, hlim=63)),
            passes(in6(ANSWER, dst=CLAT6, hlim=64), in4(ANSWER, dst="192.0.0.1", ttl=63)),
            passes(out4(PING4, src="192.0.0.1", ttl=64), out6(PING6, src=CLAT6, hlim=63)),
            passes(
                in6(ICMPv6DestUnreach(code=4) / bytes(out6(QUERY, src=CLAT6, hlim=60)), dst=CLAT6, hlim=64),
                in4(ICMP(type=3, code=3) / bytes(out4(QUERY, src="192.0.0.1", ttl=60, id=0)), dst="192.0.0.1", ttl=63),
            ),
        ],
        f'[clat]\nipv6 = "{CLAT6}"\nplat = "64:ff9b::/96"\n{OWN}',
    ),
    Scenario(
        "clat_of_a_network",
        "[clat] with prefixes: each private address has its own IPv6 address.",
        [
            passes(out4(QUERY, src=f"192.168.7.{k}", ttl=64), out6(QUERY, src=f"2001:db8:4::{k:x}", hlim=63))
            for k in (1, 9, 254)
        ],
        f'[clat]\nipv4 = "192.168.7.0/24"\nipv6 = "2001:db8:4::/120"\nplat = "64:ff9b::/96"\n{OWN}',
    ),
    Scenario(
        "clat_sources_of_others",
        "A source outside [clat] ipv4: under the provider's prefix its NAT64 would take the packet for a loop.",
        [drops("clat_source", FOREIGN4, tell4(FOREIGN4, 3, 13, to="192.168.7.2"))],
        f'[clat]\nipv6 = "{CLAT6}"\nplat = "64:ff9b::/96"\n{OWN}',
    ),
    Scenario(
        "siit_fragments_in_any_order",
        "Without sessions ports are not needed: a later fragment may pass before the first.",
        [
            passes(
                in4(Raw(bytes(ANSWER / bytes(8))[8:]), proto=17, id=0x1234, frag=1),
                IPv6(src=SERVER6, dst=HOST6, hlim=63, nh=44)
                / Raw(bytes.fromhex("11 00 0008 00001234"))
                / Raw(bytes(ANSWER / bytes(8))[8:]),
            ),
            passes(
                out6(Raw(bytes.fromhex("11 00 0009 abcd5678") + bytes(16)), nh=44),
                out4(Raw(bytes(16)), proto=17, id=0x5678, flags="MF", frag=1),
            ),
        ],
        SIIT,
    ),
    Scenario(
        "siit_what_has_no_counterpart",
        "IGMP, fragments of ICMP, a first fragment without UDP checksum: cannot be translated without state.",
        [
            drops("icmp_type", in4(Raw(b"\x16" + bytes(7)), proto=2)),
            drops("fragmented_icmp", in4(Raw(bytes(PING4)), proto=1, id=9, flags="MF")),
            drops("fragmented_icmp", out6(Raw(bytes.fromhex("3a 00 0001 00000009") + bytes(16)), nh=44)),
            drops(
                "zero_udp_checksum",
                in4(Raw(bytes(UDP(sport=53, dport=5000, len=32, chksum=0) / b"octets ")), proto=17, id=9, flags="MF"),
            ),
        ],
        SIIT,
    ),
]
