"""JSON Lines from columns of numbers, a thousand at a time, by NumPy alone.

A line is made of parts: octets that all lines share, and arrays with the octets of each. They are laid side by side in
fixed widths, filled up with zeros, as NumPy has its strings; what is no zero is the text. A million rows in Python
would take the interpreter from packets and other requests for half a minute.
"""

from collections.abc import Iterable
from functools import cache

import numpy as np

Part = bytes | np.ndarray  # of all rows; of each: S[n]
THOUSAND = 1000


def joined(parts: Iterable[Part], count: int) -> bytes:
    """The parts of `count` rows, row by row."""
    parts = list(parts)
    kinds = [f"S{len(part)}" if isinstance(part, bytes) else part.dtype.str for part in parts]
    table = np.empty(count, [(str(number), kind) for number, kind in enumerate(kinds)])
    for number, part in enumerate(parts):
        table[str(number)] = part
    octets = table.view(np.uint8)
    text: bytes = octets[octets != 0].tobytes()
    return text


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Numbers below a thousand as they are and, from 1000 on, with three digits: of the lowest digits of a number, and
    of higher ones, where 0 is nothing."""
    lowest = np.array([*(b"%d" % n for n in range(THOUSAND)), *(b"%03d" % n for n in range(THOUSAND))])
    higher = lowest.copy()
    higher[0] = b""
    return lowest, higher


def whole(numbers: np.ndarray) -> list[Part]:
    """Numbers that are not negative, in decimal."""
    table, higher = _digits()
    parts: list[Part] = []
    above = numbers.astype(np.int64)
    while True:
        above, below = above // THOUSAND, above % THOUSAND
        parts.insert(0, table[below + THOUSAND * (above > 0)])
        if not above.any():
            return parts
        table = higher


def seconds(milliseconds: np.ndarray) -> list[Part]:
    """Milliseconds, as seconds with three decimals."""
    return [*whole(milliseconds // THOUSAND), b".", _digits()[0][milliseconds % THOUSAND + THOUSAND]]


@cache
def _octets() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first octet of an IPv4 address with what is before and behind it, one between, the last one; 256 stands for
    no address."""
    first, between, last = ([template % n for n in range(256)] for template in (b'"%d.', b"%d.", b'%d"'))
    return np.array([*first, b"null"]), np.array([*between, b""]), np.array([*last, b""])


def text4(addresses: np.ndarray) -> list[Part]:
    """IPv4 addresses in quotes; null for 0."""
    first, between, last = _octets()
    tables = ((first, 24), (between, 16), (between, 8), (last, 0))
    return [table[np.where(addresses == 0, 256, addresses >> bits & 0xFF)] for table, bits in tables]


GROUPS = 8  # of an IPv6 address
_SKIPPED, _NOTHING = 1 << 17, (1 << 17) + 1  # where _groups has two colons, and nothing


@cache
def _groups() -> np.ndarray:
    """The groups of an IPv6 address: alone, after a colon, two colons, and nothing."""
    alone = [b"%x" % n for n in range(1 << 16)]
    return np.array([*alone, *(b":" + group for group in alone), b"::", b""])


def text6(hi: np.ndarray, lo: np.ndarray) -> list[Part]:
    """IPv6 addresses in quotes, as RFC 5952 writes them: of the longest row of zeros, the first of the longest ones,
    only colons are left."""
    groups = np.stack([half >> bits & 0xFFFF for half in (hi, lo) for bits in (48, 32, 16, 0)])
    start, end = _longest_zeros(groups)
    parts: list[Part] = [b'"']
    for number, group in enumerate(groups):
        after_colon = (number > 0) & (number != end)
        place = np.where((start <= number) & (number < end), _NOTHING, group + (after_colon << 16))
        parts.append(_groups()[np.where((number == start) & (start < end), _SKIPPED, place)])
    return [*parts, b'"']


def _longest_zeros(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(first, behind the last) of the groups that are left out; the same if none are."""
    length = np.zeros(groups.shape[1], np.int64)  # of the row of zeros that ends here
    longest, end = np.ones_like(length), np.full_like(length, -1)
    for number, group in enumerate(groups):
        length = np.where(group == 0, length + 1, 0)
        longer = length > longest
        longest, end = np.where(longer, length, longest), np.where(longer, number + 1, end)
    return np.where(end < 0, -1, end - longest), end
