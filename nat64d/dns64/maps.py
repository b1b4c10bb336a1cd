"""RFC 7757: the [[eam]] rows as the name server sees them, the longest match in either direction.

A lookup probes one table for each prefix length in use, so its cost does not grow with the number of rows. Addresses
are numbers here: a hundred thousand rows are to be no wait and no weight.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple, Self

BITS4, BITS6 = 32, 128


class Row(NamedTuple):
    """`ipv4`/`length4` stands for `ipv6`/`length6`; the suffix of the one follows the prefix of the other, and what is
    left of the IPv6 address is zero on writing and ignored on reading (section 3.2)."""

    ipv4: int
    length4: int
    ipv6: int
    length6: int

    @property
    def _shift(self) -> int:
        return BITS6 - self.length6 - (BITS4 - self.length4)

    @property
    def _suffix(self) -> int:
        return (1 << BITS4 - self.length4) - 1

    def __str__(self) -> str:
        return f"{IPv4Address(self.ipv4)}/{self.length4} {IPv6Address(self.ipv6)}/{self.length6}"

    def to4(self, ipv6: int) -> int:
        """Section 3.3.2, for an address that the row covers."""
        return self.ipv4 | ipv6 >> self._shift & self._suffix

    def to6(self, ipv4: int) -> int:
        """Section 3.3.1."""
        return self.ipv6 | (ipv4 & self._suffix) << self._shift


class _Index:
    """Rows by prefix."""

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
    """All rows."""

    def __init__(self, rows: Iterable[Row]) -> None:
        kept = tuple(rows)
        self._by4 = _Index(BITS4, ((row.ipv4, row.length4, row) for row in kept))
        self._by6 = _Index(BITS6, ((row.ipv6, row.length6, row) for row in kept))

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Self:
        """Rows as text: an IPv4 and an IPv6 prefix each."""
        networks = ((IPv4Network(ipv4), IPv6Network(ipv6)) for ipv4, ipv6 in pairs)
        return cls(
            Row(int(ipv4.network_address), ipv4.prefixlen, int(ipv6.network_address), ipv6.prefixlen)
            for ipv4, ipv6 in networks
        )

    def row_of_ipv6(self, data: bytes) -> Row | None:
        """The row that decides for the 16 octets of an IPv6 address."""
        return self._by6.find(int.from_bytes(data, "big"))

    def to4(self, data: bytes) -> bytes | None:
        """The 4 octets that stand for the 16 of an IPv6 address, None if no row covers it."""
        row = self.row_of_ipv6(data)
        return row.to4(int.from_bytes(data, "big")).to_bytes(4, "big") if row else None

    def to6(self, data: bytes) -> bytes | None:
        """The 16 octets that the 4 of an IPv4 address stand for, None if no row covers it."""
        number = int.from_bytes(data, "big")
        row = self._by4.find(number)
        return row.to6(number).to_bytes(16, "big") if row else None
