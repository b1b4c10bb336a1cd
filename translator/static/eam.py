"""RFC 7757: explicit address mappings between IPv4 and IPv6 prefixes, the longest match in either direction.

A row maps `ipv4/length4` to `ipv6/length6`: the suffix bits of the IPv4 address (32 - length4 of them) follow the IPv6
prefix; what is left of the IPv6 address is zero on writing and ignored on reading (section 3.2). A lookup probes one
keyed index once for each prefix length in use, the longest first, so its cost does not grow with the number of rows.
The name server searches the same way in dicts (nat64d/dns64/rules/maps.py): it runs without numba and numpy, and
compiled code may use nothing but arrays. They share the arithmetic.
"""

from translator.jit.compile import int64, jit
from translator.packet.addresses import address4, address6
from translator.static import arithmetic
from translator.tables.hashing import find_candidate, first_candidate, hash3, insert, record_at
from translator.tables.layout import NONE

with_suffix, suffix_of = jit()(arithmetic.with_suffix), jit()(arithmetic.suffix_of)


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
def find_eam4(gateway, address):
    """The row with the longest IPv4 prefix that covers an address, or NONE."""
    settings = gateway.settings
    for i in range(len(settings.eam_lengths4)):
        length = settings.eam_lengths4[i]
        prefix = address.lo & (0xFFFFFFFF ^ (0xFFFFFFFF >> length))
        hashed = eam_hash4(settings.secret, prefix, length)
        at = first_candidate(settings.eam_index4, hashed)
        while at != NONE:
            row = settings.eam[record_at(settings.eam_index4, at)]
            if row.ipv4 == prefix and row.length4 == length:
                return record_at(settings.eam_index4, at)
            at = find_candidate(settings.eam_index4, hashed, at + 1)
    return NONE


@jit()
def find_eam6(gateway, address):
    """The row with the longest IPv6 prefix that covers an address, or NONE."""
    settings, hi, lo = gateway.settings, address.hi, address.lo
    for i in range(len(settings.eam_lengths6)):
        length = settings.eam_lengths6[i]
        prefix_hi, prefix_lo = hi & high_bits(length), lo & high_bits(length - 64)
        hashed = eam_hash6(settings.secret, prefix_hi, prefix_lo, length)
        at = first_candidate(settings.eam_index6, hashed)
        while at != NONE:
            row = settings.eam[record_at(settings.eam_index6, at)]
            if row.ipv6_hi == prefix_hi and row.ipv6_lo == prefix_lo and row.length6 == length:
                return record_at(settings.eam_index6, at)
            at = find_candidate(settings.eam_index6, hashed, at + 1)
    return NONE


@jit()
def eam_to_ipv6(row, host4):
    """Section 3.3.1: the IPv6 transport address of an IPv4 one that a row covers."""
    hi, lo = with_suffix(int64(row.ipv6_hi), int64(row.ipv6_lo), int64(row.length6), host4.lo, int64(row.length4))
    return address6(hi, lo, host4.port)


@jit()
def eam_to_ipv4(row, host6):
    """Section 3.3.2: the IPv4 transport address of an IPv6 one that a row covers."""
    suffix = suffix_of(int64(row.length6), host6.hi, host6.lo, int64(row.length4))
    return address4(int64(row.ipv4) | suffix, host6.port)
