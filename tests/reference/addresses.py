"""Addresses: RFC 6052 (embedding), RFC 7757 (explicit mappings), RFC 6791 (sources for ICMP errors), and which may
travel at all.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

PREFIX_LENGTHS = (32, 40, 48, 56, 64, 96)  # RFC 6052 2.2
WELL_KNOWN_PREFIX = IPv6Network("64:ff9b::/96")  # RFC 6052 2.1

# RFC 6052 3.1 names RFC 1918 and section 3 of RFC 5735; RFC 6598 came later and is as little global.
NON_GLOBAL = [
    IPv4Network(prefix)
    for prefix in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
    )
]
# The documentation blocks (192.0.2.0/24 and its like) and 192.88.99.0/24 are listed in RFC 5735 section 3 as well. They
# pass: RFC 6052 2.4 itself writes a documentation address under the well-known prefix, and RFC 7526 only retired 6to4.

# What no router forwards, whatever the prefix: RFC 6890 ("Forwardable: False"), RFC 1812 5.3.7 ("this" network,
# loopback, multicast, class E, broadcast), RFC 3927 2.7 (link-local).
NEVER_FORWARDED = [
    IPv4Network(text) for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
]


def bits(address: IPv4Address | IPv6Address) -> str:
    """The address as a string of 0 and 1, most significant first: slicing it is what the RFCs' figures draw."""
    return format(int(address), f"0{address.max_prefixlen}b")


def embed(prefix: IPv6Network, address: IPv4Address) -> IPv6Address:
    """RFC 6052 2.3: prefix, IPv4 address, suffix of zeros; then octet "u" slipped in at bit 64 when the prefix is
    shorter than 96.
    """
    joined = bits(prefix.network_address)[: prefix.prefixlen] + bits(address)
    if prefix.prefixlen == 96:
        return IPv6Address(int(joined, 2))
    joined = joined.ljust(120, "0")
    return IPv6Address(int(joined[:64] + "00000000" + joined[64:], 2))


def extract(prefix: IPv6Network, address: IPv6Address) -> IPv4Address:
    """RFC 6052 2.3: take octet "u" out, then the 32 bits behind the prefix. The suffix is ignored (2.2)."""
    taken = bits(address)
    if prefix.prefixlen != 96:
        taken = taken[:64] + taken[72:]
    return IPv4Address(int(taken[prefix.prefixlen : prefix.prefixlen + 32], 2))


def is_non_global(address: IPv4Address) -> bool:
    """RFC 6052 3.1: not to be represented under the well-known prefix."""
    return any(address in network for network in NON_GLOBAL)


def is_forwardable(address: IPv4Address) -> bool:
    """Whether routers forward packets to and from this address."""
    return not any(address in network for network in NEVER_FORWARDED)


def is_illegal_source6(address: IPv6Address) -> bool:
    """RFC 7915 5.1 ("::1, etc."), RFC 4291 2.5.2, 2.5.3, 2.5.6 (routers do not forward link-local ones), 2.7."""
    return address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local


@dataclass(frozen=True)
class Mapping:
    """One row of the EAMT, RFC 7757 3.1."""

    ipv4: IPv4Network
    ipv6: IPv6Network


class Eamt:
    """The explicit address mapping table of RFC 7757."""

    def __init__(self, rows: list[Mapping]) -> None:
        self.rows = rows

    def to_ipv6(self, address: IPv4Address) -> IPv6Address | None:
        """RFC 7757 3.3.1; None when no row matches."""
        row = max((row for row in self.rows if address in row.ipv4), key=lambda row: row.ipv4.prefixlen, default=None)
        if row is None:
            return None
        suffix = bits(address)[row.ipv4.prefixlen :]
        joined = bits(row.ipv6.network_address)[: row.ipv6.prefixlen] + suffix
        return IPv6Address(int(joined.ljust(128, "0"), 2))

    def to_ipv4(self, address: IPv6Address) -> IPv4Address | None:
        """RFC 7757 3.3.2; None when no row matches."""
        row = max((row for row in self.rows if address in row.ipv6), key=lambda row: row.ipv6.prefixlen, default=None)
        if row is None:
            return None
        suffix = bits(address)[row.ipv6.prefixlen :]
        joined = bits(row.ipv4.network_address)[: row.ipv4.prefixlen] + suffix
        return IPv4Address(int(joined[:32], 2))
