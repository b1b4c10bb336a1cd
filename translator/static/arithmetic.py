"""The arithmetic of IPv4 addresses inside IPv6 addresses, compiled or not: no numba here (the name server has none).

An IPv6 address is two words, `hi` and `lo`, of 64 bits each, an IPv4 address a number. All are plain integers, signed
or unsigned. rfc6052.py and eam.py compile these very functions.

RFC 6052 section 2.2, IPv4-embedded IPv6 addresses. Bits 64 to 71 ("u") stay zero:

PL  0-------------32--40--48--56--64--72--80--88--96--104---------|
32     prefix    |v4(32)         | u | suffix                     |
40     prefix        |v4(24)     | u |(8)| suffix                 |
48     prefix            |v4(16) | u | (16)  | suffix             |
56     prefix                |(8)| u |  v4(24)   | suffix         |
64     prefix                    | u |   v4(32)      | suffix     |
96     prefix                                    |    v4(32)      |
"""

LENGTHS = (32, 40, 48, 56, 64, 96)


def matches(prefix_hi: int, prefix_lo: int, length: int, hi: int, lo: int) -> bool:
    """Whether an address is in a prefix of one of LENGTHS."""
    if length == 96:
        return hi == prefix_hi and lo >> 32 == prefix_lo >> 32
    return (hi ^ prefix_hi) >> (64 - length) == 0


def embed(prefix_hi: int, prefix_lo: int, length: int, addr4: int) -> tuple[int, int]:
    """The IPv6 address of an IPv4 address under a prefix of one of LENGTHS; suffix and u are zero."""
    if length == 96:
        return prefix_hi, prefix_lo | addr4
    before = 64 - length  # bits of the IPv4 address before u
    behind = 32 - before
    return prefix_hi | addr4 >> behind, prefix_lo | (addr4 & ((1 << behind) - 1)) << (24 + before)


def extract(length: int, hi: int, lo: int) -> int:
    """The IPv4 address in an IPv6 address; suffix and u are ignored (section 2.2: SHOULD)."""
    if length == 96:
        return lo & 0xFFFFFFFF
    before = 64 - length
    behind = 32 - before
    return (hi & ((1 << before) - 1)) << behind | lo >> (24 + before) & ((1 << behind) - 1)


def with_suffix(prefix_hi: int, prefix_lo: int, length6: int, addr4: int, length4: int) -> tuple[int, int]:
    """RFC 7757 section 3.3.1: the IPv6 prefix with the bits of the IPv4 address that are behind its own prefix."""
    bits = 32 - length4
    at = 128 - length6 - bits  # zero bits to the right of the suffix
    suffix = addr4 & ((1 << bits) - 1)
    if at >= 64:
        return prefix_hi | suffix << (at - 64), prefix_lo
    if at + bits <= 64:
        return prefix_hi, prefix_lo | suffix << at
    return prefix_hi | suffix >> (64 - at), prefix_lo | (suffix & ((1 << (64 - at)) - 1)) << at


def suffix_of(length6: int, hi: int, lo: int, length4: int) -> int:
    """RFC 7757 section 3.3.2: the bits behind the IPv4 prefix, from those behind the IPv6 prefix."""
    bits = 32 - length4
    at = 128 - length6 - bits
    if at >= 64:
        word = hi >> (at - 64)
    elif at + bits <= 64:
        word = lo >> at
    else:
        word = lo >> at & ((1 << (64 - at)) - 1) | hi << (64 - at)
    return word & ((1 << bits) - 1)
