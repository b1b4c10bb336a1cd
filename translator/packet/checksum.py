"""The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

A *sum* is an unfolded int64 of words of 16 or 32 bits; `fold` makes it 16 bits; the complement is taken only at the
field. To translate a header is to uncover the old pseudo-header and to cover with the new one.
"""

from translator.jit.compile import hot, jit, rare
from translator.packet.fields import put_u16, u8, u16, u32


@jit()
def fold(total):
    """A sum below 2^47 as 16 bits, in one's complement: of a packet's octets and all that may stand around them."""
    total = (total & 0xFFFF) + (total >> 16 & 0xFFFFFFFFFFFF)
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16)


@hot()
def sum_octets(p, at, end):
    """The sum of the octets in [at, end); an odd last one is padded with zero (RFC 1071 section 1)."""
    total = 0
    while at + 4 <= end:
        total += u32(p, at)  # two words at once: 2^16 is 1 in one's complement
        at += 4
    if at + 2 <= end:
        total += u16(p, at)
        at += 2
    if at < end:
        total += u8(p, at) << 8
    return total


@jit()
def sum_word(value):
    """The sum of the four 16-bit words of a 64-bit address half; also right for an IPv4 address or a port."""
    return (value & 0xFFFF) + (value >> 16 & 0xFFFF) + (value >> 32 & 0xFFFF) + (value >> 48 & 0xFFFF)


@hot()
def replace(field, uncovered, covered):
    """RFC 1624 equation 3: take the sum `uncovered` out of a checksum field and put `covered` in."""
    return ~fold((~field & 0xFFFF) + (0xFFFF - fold(uncovered)) + covered) & 0xFFFF


@hot()
def replace_partial(field, uncovered, covered):
    """The same for a field that holds only the uncomplemented pseudo-header sum (virtio NEEDS_CSUM)."""
    return fold(field + (0xFFFF - fold(uncovered)) + covered)


@rare()
def settle_zero(p, at, end, checksum_at):
    """Make an updated checksum of 0 that of [at, end) if all of that is zero: equation 3 does not know of it (RFC 1624
    section 3), and a receiver finds it wrong. Only an echo reply of ICMPv4 can be so: no pseudo-header is zero."""
    if sum_octets(p, at, end) == 0:
        put_u16(p, checksum_at, 0xFFFF)


@jit()
def checksum(total):
    """The checksum field for a sum."""
    return ~fold(total) & 0xFFFF
