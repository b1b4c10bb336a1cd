"""Addresses (RFC 6052, RFC 6146 section 3.5): prefixes of several lengths, and those that are not translated."""

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6TimeExceeded, IPv6

from tests.scenarios import (
    HOST6,
    MAPPED4,
    MAPPED_PORT,
    OTHER6,
    SERVER4,
    SERVER6,
    STANDARD,
    Scenario,
    Step,
    drops,
    passes,
    tell4,
    tell6,
)

QUERY6, QUERY4 = UDP(sport=5000, dport=53) / b"query", UDP(sport=MAPPED_PORT, dport=53) / b"query"
ANSWER4, ANSWER6 = UDP(sport=53, dport=MAPPED_PORT) / b"answer", UDP(sport=53, dport=5000) / b"answer"


def prefix(pool6: str) -> str:
    """The standard configuration under another prefix."""
    return STANDARD.replace("64:ff9b::/96", pool6)


def under(server6: str, server4: str = SERVER4) -> list[Step]:
    """A query to `server6` and the answer from it."""
    return [
        passes(IPv6(src=HOST6, dst=server6) / QUERY6, IP(src=MAPPED4, dst=server4, ttl=63) / QUERY4),
        passes(IP(src=server4, dst=MAPPED4) / ANSWER4, IPv6(src=server6, dst=HOST6, hlim=63) / ANSWER6),
    ]


def to6(destination: str, source: str = HOST6) -> IPv6:
    return IPv6(src=source, dst=destination) / QUERY6


def unreachable(destination: str) -> Step:
    """A packet to an address that is never forwarded: its sender is told (RFC 7915 5.4)."""
    return drops("not_unicast", to6(destination), tell6(to6(destination), ICMPv6DestUnreach(code=1)))


def from4(source: str, destination: str = MAPPED4) -> IP:
    return IP(src=source, dst=destination) / ANSWER4


SCENARIOS = [
    # 198.51.100.7 is c6.33.64.07; octet 8 of the address (the upper half of its fifth group) stays zero.
    Scenario(
        "prefix_of_32_bits",
        "RFC 6052 2.2: the IPv4 address directly after the prefix.",
        under("3fff:64:c633:6407::"),
        prefix("3fff:64::/32"),
    ),
    Scenario(
        "prefix_of_40_bits",
        "Three octets before octet 8, one after it.",
        under("3fff:64:64c6:3364:7::"),
        prefix("3fff:64:6400::/40"),
    ),
    Scenario(
        "prefix_of_48_bits",
        "Two octets on either side of octet 8.",
        under("3fff:64:64:c633:64:700::"),
        prefix("3fff:64:64::/48"),
    ),
    Scenario(
        "prefix_of_56_bits",
        "One octet before octet 8, three after it.",
        under("3fff:64:64:64c6:33:6407::"),
        prefix("3fff:64:64:6400::/56"),
    ),
    Scenario(
        "prefix_of_64_bits",
        "All four octets after octet 8. Octet 8 and the suffix of a destination are ignored.",
        [
            *under("3fff:64:64:64:c6:3364:700::"),
            passes(to6("3fff:64:64:64:ffc6:3364:7ff:ffff"), IP(src=MAPPED4, dst=SERVER4, ttl=63) / QUERY4),
        ],
        prefix("3fff:64:64:64::/64"),
    ),
    Scenario(
        "prefix_of_96_bits",
        "A prefix of the operator: private IPv4 addresses are allowed under it.",
        [*under("3fff:64:64:64::10.1.2.3", "10.1.2.3")],
        prefix("3fff:64:64:64::/96"),
    ),
    Scenario(
        "private_addresses_under_the_well_known_prefix",
        "RFC 6052 3.1: not translated. Senders are told that communication is prohibited (RFC 7915 4.4, 5.4).",
        [
            passes(to6(SERVER6), IP(src=MAPPED4, dst=SERVER4, ttl=63) / QUERY4),
            *(
                drops(
                    "non_global_address",
                    to6("64:ff9b::" + host),
                    tell6(to6("64:ff9b::" + host), ICMPv6DestUnreach(code=1)),
                )
                for host in ("10.0.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1")
            ),
            drops("non_global_address", from4("10.0.0.1"), tell4(from4("10.0.0.1"), 3, 13, to="10.0.0.1")),
        ],
    ),
    Scenario(
        "private_addresses_when_allowed",
        "strict_well_known_prefix = false: a private network under 64:ff9b::/96.",
        under("64:ff9b::10.1.2.3", "10.1.2.3"),
        "strict_well_known_prefix = false\n" + STANDARD,
    ),
    Scenario(
        "addresses_that_are_not_ours",
        "An IPv6 destination outside pool6, an IPv6 source inside it: dropped without an answer.",
        [
            drops("not_our_prefix", to6(OTHER6)),
            drops("not_our_prefix", to6("64:ff9b:0:0:0:1:c633:6407")),
            drops("source_in_pool6", to6(SERVER6, source="64:ff9b::198.51.100.9")),
        ],
    ),
    Scenario(
        "sources_that_are_forged",
        "RFC 2827: an IPv4 packet from a pool address, or a packet from its own destination, is not from there (LAND); "
        "dropped without an answer, the hop limit whatever.",
        [
            passes(to6(SERVER6), IP(src=MAPPED4, dst=SERVER4, ttl=63) / QUERY4),
            drops("forged_source", from4(MAPPED4)),
            drops("forged_source", IP(src=MAPPED4, dst=SERVER4, ttl=1) / ANSWER4),
            drops("forged_source", from4(SERVER4, SERVER4)),
            drops("forged_source", IP(src=MAPPED4, dst=MAPPED4) / TCP(sport=MAPPED_PORT, dport=MAPPED_PORT)),
            drops("forged_source", IP(src=MAPPED4, dst=MAPPED4) / ICMP(type=3, code=3) / bytes(from4(MAPPED4))),
            drops("forged_source", to6(SERVER6, source=SERVER6)),
            drops("forged_source", IPv6(src=HOST6, dst=HOST6, hlim=1) / QUERY6),
            passes(from4(SERVER4), IPv6(src=SERVER6, dst=HOST6, hlim=63) / ANSWER6),
        ],
    ),
    Scenario(
        "addresses_no_host_has",
        "Multicast, loopback, unspecified, link-local, reserved: dropped. Only an IPv6 packet to such an IPv4 address "
        "is answered: prohibited.",
        [
            *(drops("not_unicast", to6(SERVER6, source=host)) for host in ("::1", "::", "ff02::1", "fe80::1")),
            *(drops("not_unicast", to6(host)) for host in ("ff02::1", "fe80::1")),
            *(unreachable("64:ff9b::" + host) for host in ("127.0.0.1", "224.0.0.1", "255.255.255.255")),
            *(drops("not_unicast", from4(host)) for host in ("127.0.0.1", "0.0.0.0", "224.0.0.1", "240.0.0.1")),
            *(drops("not_unicast", from4(SERVER4, host)) for host in ("224.0.0.1", "255.255.255.255")),
        ],
    ),
    Scenario(
        "link_local_addresses_are_never_forwarded",
        "RFC 3927 2.7: 169.254.0.0/16 under a network-specific prefix, in both directions. Addresses beside it pass.",
        [
            *(unreachable("3fff:64:64:64::" + host) for host in ("169.254.0.0", "169.254.169.254", "169.254.255.255")),
            *under("3fff:64:64:64::169.253.255.255", "169.253.255.255"),
            *under("3fff:64:64:64::169.255.0.0", "169.255.0.0"),
            drops("not_unicast", from4("169.254.1.1")),
        ],
        prefix("3fff:64:64:64::/96"),
    ),
    Scenario(
        "errors_of_illegal_sources_show_them",
        "RFC 7915 4.1: an ICMP error from such an address is translated, under a network-specific prefix.",
        [
            *under("3fff:64:64:64::198.51.100.7"),
            *(
                passes(
                    IP(src=host, dst=MAPPED4) / ICMP(type=11) / bytes(IP(src=MAPPED4, dst=SERVER4, ttl=1) / QUERY4),
                    IPv6(src="3fff:64:64:64::" + host, dst=HOST6, hlim=63)
                    / ICMPv6TimeExceeded()
                    / bytes(IPv6(src=HOST6, dst="3fff:64:64:64::198.51.100.7", hlim=1) / QUERY6),
                )
                for host in ("127.0.0.1", "0.0.0.0", "224.0.0.1", "169.254.1.1")
            ),
        ],
        prefix("3fff:64:64:64::/96"),
    ),
    Scenario(
        "addresses_on_the_deny_list",
        "[translation] denylist4: communication prohibited, for both IP versions.",
        [
            passes(to6("64:ff9b::198.51.101.7"), IP(src=MAPPED4, dst="198.51.101.7", ttl=63) / QUERY4),
            drops("denied_address", to6(SERVER6), tell6(to6(SERVER6), ICMPv6DestUnreach(code=1))),
            drops("denied_address", from4(SERVER4), tell4(from4(SERVER4), 3, 13)),
        ],
        STANDARD + '\n[translation]\ndenylist4 = ["198.51.100.0/24"]\n',
    ),
]
