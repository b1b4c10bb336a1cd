"""RFC 7757: explicit address mappings between IPv4 and IPv6 prefixes, the longest match in either direction.

A row maps `ipv4/length4` to `ipv6/length6`: the suffix bits of the IPv4 address (32 - length4 of them) follow the IPv6
prefix; what is left of the IPv6 address is zero on writing and ignored on reading (section 3.2). A lookup probes one
keyed index once for each prefix length in use, the longest first, so its cost does not grow with the number of rows.
"""

from translator.compile import int64, jit
from translator.hashing import find_candidate, hash3, insert, record_at
from translator.tables import NONE


@jit()
def high_bits(count):
    """A word whose `count` highest bits are set, 0 to 64."""
    return int64(0) if count <= 0 else int64(-1) << int64(64 - min(count, 64))


@jit()
def eam_hash4(secret, prefix, length):
    """Keyed hash of an IPv4 prefix."""
    return hash3(secret, prefix, length, 4)


@jit()
def eam_hash6(secret, prefix_hi, prefix_lo, length):
    """Keyed hash of an IPv6 prefix."""
    return hash3(secret, prefix_hi, prefix_lo, length)


@jit()
def enter_rows(secret, eam, index4, index6):
    """Fill both empty indexes, so that 100,000 rows are no wait."""
    for at in range(len(eam)):
        row = eam[at]
        insert(index4, eam_hash4(secret, row.ipv4, row.length4), at)
        insert(index6, eam_hash6(secret, row.ipv6_hi, row.ipv6_lo, row.length6), at)


@jit()
def find_eam4(settings, addr4):
    """The row with the longest IPv4 prefix that covers an address, or NONE."""
    for i in range(len(settings.eam_lengths4)):
        length = settings.eam_lengths4[i]
        prefix = addr4 & (0xFFFFFFFF ^ (0xFFFFFFFF >> length))
        hashed = eam_hash4(settings.secret, prefix, length)
        at = find_candidate(settings.eam_index4, hashed, hashed)
        while at != NONE:
            row = settings.eam[record_at(settings.eam_index4, at)]
            if row.ipv4 == prefix and row.length4 == length:
                return record_at(settings.eam_index4, at)
            at = find_candidate(settings.eam_index4, hashed, at + 1)
    return NONE


@jit()
def find_eam6(settings, hi, lo):
    """The row with the longest IPv6 prefix that covers an address, or NONE."""
    for i in range(len(settings.eam_lengths6)):
        length = settings.eam_lengths6[i]
        prefix_hi, prefix_lo = hi & high_bits(length), lo & high_bits(length - 64)
        hashed = eam_hash6(settings.secret, prefix_hi, prefix_lo, length)
        at = find_candidate(settings.eam_index6, hashed, hashed)
        while at != NONE:
            row = settings.eam[record_at(settings.eam_index6, at)]
            if row.ipv6_hi == prefix_hi and row.ipv6_lo == prefix_lo and row.length6 == length:
                return record_at(settings.eam_index6, at)
            at = find_candidate(settings.eam_index6, hashed, at + 1)
    return NONE


@jit()
def eam_to_ipv6(row, addr4):
    """Section 3.3.1: the IPv6 address of an IPv4 address that a row covers."""
    bits = 32 - row.length4
    suffix = addr4 & ((int64(1) << int64(bits)) - 1)
    at = 128 - row.length6 - bits  # zero bits to the right of the suffix
    hi, lo = int64(row.ipv6_hi), int64(row.ipv6_lo)
    if at >= 64:
        return hi | suffix << int64(at - 64), lo
    lo |= suffix << int64(at)
    if at + bits > 64:
        hi |= suffix >> int64(64 - at)
    return hi, lo


@jit()
def eam_to_ipv4(row, hi, lo):
    """Section 3.3.2: the IPv4 address of an IPv6 address that a row covers."""
    bits = 32 - row.length4
    at = 128 - row.length6 - bits
    if at >= 64:
        word = hi >> int64(at - 64)
    elif at == 0:
        word = lo
    else:
        word = lo >> int64(at) & ~high_bits(at) | hi << int64(64 - at)
    return int64(row.ipv4) | word & ((int64(1) << int64(bits)) - 1)
