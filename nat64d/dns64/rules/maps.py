"""RFC 7757: the [[eam]] rows as the name server uses them, with the longest match in either direction.

A lookup probes one table for each prefix length in use, so its cost does not grow with the number of rows. Addresses
are integers, so that a hundred thousand rows load fast and take little memory. translator/static/eam.py searches in
the same way, and says why there are two.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple, Self

from translator.static import arithmetic

BITS4, BITS6 = 32, 128
WORD = (1 << 64) - 1


class Row(NamedTuple):
    """`ipv4`/`length4` maps to `ipv6`/`length6`: the suffix of one follows the prefix of the other. The remaining bits
    of the IPv6 address are zero when written and ignored when read (section 3.2)."""

    ipv4: int
    length4: int
    ipv6: int
    length6: int

    def __str__(self) -> str:
        return f"{IPv4Address(self.ipv4)}/{self.length4} {IPv6Address(self.ipv6)}/{self.length6}"

    def to4(self, ipv6: int) -> int:
        """Section 3.3.2: the IPv4 address of an IPv6 address that the row covers."""
        return self.ipv4 | arithmetic.suffix_of(self.length6, ipv6 >> 64, ipv6 & WORD, self.length4)

    def to6(self, ipv4: int) -> int:
        """Section 3.3.1: the IPv6 address of an IPv4 address that the row covers."""
        hi, lo = arithmetic.with_suffix(self.ipv6 >> 64, self.ipv6 & WORD, self.length6, ipv4, self.length4)
        return hi << 64 | lo


class _Index:
    """Rows by prefix, for one family."""

    def __init__(self, bits: int, rows: Iterable[tuple[int, int, Row]]) -> None:
        tables: dict[int, dict[int, Row]] = {}
        for address, length, row in rows:
            tables.setdefault(bits - length, {})[address >> bits - length] = row
        self._tables = sorted(tables.items())

    def find(self, address: int) -> Row | None:
        """The row with the longest prefix that covers an address."""
        for shift, table in self._tables:
            row = table.get(address >> shift)
            if row is not None:
                return row
        return None


class Maps:
    """All rows, indexed by both families."""

    def __init__(self, rows: Iterable[Row]) -> None:
        kept = tuple(rows)
        self._by4 = _Index(BITS4, ((row.ipv4, row.length4, row) for row in kept))
        self._by6 = _Index(BITS6, ((row.ipv6, row.length6, row) for row in kept))

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Self:
        """From pairs of an IPv4 and an IPv6 prefix as text."""
        networks = ((IPv4Network(ipv4), IPv6Network(ipv6)) for ipv4, ipv6 in pairs)
        return cls(
            Row(int(ipv4.network_address), ipv4.prefixlen, int(ipv6.network_address), ipv6.prefixlen)
            for ipv4, ipv6 in networks
        )

    def row_of_ipv6(self, data: bytes) -> Row | None:
        """The row that covers the 16 octets of an IPv6 address."""
        return self._by6.find(int.from_bytes(data, "big"))

    def to4(self, data: bytes) -> bytes | None:
        """The 4 octets that the 16 of an IPv6 address map to; None if no row covers it."""
        row = self.row_of_ipv6(data)
        return row.to4(int.from_bytes(data, "big")).to_bytes(4, "big") if row else None

    def to6(self, data: bytes) -> bytes | None:
        """The 16 octets that the 4 of an IPv4 address map to; None if no row covers it."""
        number = int.from_bytes(data, "big")
        row = self._by4.find(number)
        return row.to6(number).to_bytes(16, "big") if row else None
