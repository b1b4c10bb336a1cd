"""The only place where an octet becomes a number: accessors named after the RFCs' fields.

`p` is a uint8 array, `at` the offset of the header in it; every reader returns an int64, every writer masks. Nothing
here checks a length: `parse.py` has done so before.
"""

from translator.jit.compile import either, int64, jit, uint64
from translator.jit.words import load32, load64, store32, store64


@jit()
def u8(p, at):
    """The octet at `at`. The index is unsigned: no wrap-around from the end, and loads merge."""
    return int64(p[uint64(at)])


@jit()
def u16(p, at):
    """Big-endian 16 bits."""
    return u8(p, at) << 8 | u8(p, at + 1)


@jit()
def _touch_compiled(p, at, last):
    """Read both ends of a word, for the bounds checks of a test; without these the compiler leaves nothing of it."""
    return u8(p, at) + u8(p, last)


@jit()
def _u32_compiled(p, at):
    """Big-endian 32 bits."""
    _touch_compiled(p, at, at + 3)
    return load32(p, int64(at))


@jit()
def _u64_compiled(p, at):
    """Big-endian 64 bits, as they lie: the result may be negative."""
    _touch_compiled(p, at, at + 7)
    return load64(p, int64(at))


def _u32_plain(p, at):
    return u16(p, at) << 16 | u16(p, at + 2)


def _u64_plain(p, at):
    return u32(p, at) << 32 | u32(p, at + 4)


u32, u64 = either(_u32_compiled, _u32_plain), either(_u64_compiled, _u64_plain)


@jit()
def put_u8(p, at, value):
    """Write the low 8 bits of `value`."""
    p[uint64(at)] = value & 0xFF


@jit()
def put_u16(p, at, value):
    """Write the low 16 bits of `value`, big-endian."""
    put_u8(p, at, value >> 8)
    put_u8(p, at + 1, value)


@jit()
def _put_u32_compiled(p, at, value):
    """Write the low 32 bits of `value`, big-endian."""
    _touch_compiled(p, at, at + 3)
    store32(p, int64(at), int64(value))


@jit()
def _put_u64_compiled(p, at, value):
    """Write 64 bits, big-endian."""
    _touch_compiled(p, at, at + 7)
    store64(p, int64(at), int64(value))


def _put_u32_plain(p, at, value):
    put_u16(p, at, value >> 16)
    put_u16(p, at + 2, value)


def _put_u64_plain(p, at, value):
    put_u32(p, at, value >> 32)
    put_u32(p, at + 4, value)


put_u32, put_u64 = either(_put_u32_compiled, _put_u32_plain), either(_put_u64_compiled, _put_u64_plain)


@jit()
def le16(p, at):
    """Little-endian 16 bits: virtio_net_hdr only."""
    return u8(p, at + 1) << 8 | u8(p, at)


@jit()
def put_le16(p, at, value):
    """Write 16 bits little-endian: virtio_net_hdr only."""
    put_u8(p, at, value)
    put_u8(p, at + 1, value >> 8)


@jit()
def copy(target, target_at, source, source_at, count):
    """Copy `count` octets between two buffers."""
    for i in range(count):
        target[uint64(target_at + i)] = source[uint64(source_at + i)]


@jit()
def move(p, target_at, source_at, count):
    """Copy `count` octets within a buffer, to a place that may overlap."""
    if target_at <= source_at:
        copy(p, target_at, p, source_at, count)
        return
    for i in range(count - 1, -1, -1):
        p[uint64(target_at + i)] = p[uint64(source_at + i)]


# IPv4 (RFC 791 section 3.1)
#    0       4       8               16      19                   32
#   |Version|  IHL  |Type of Service|        Total Length          |
#   |        Identification         |Flags |   Fragment Offset     |
#   | Time to Live  |   Protocol    |       Header Checksum        |
#   |                     Source Address                           |
#   |                  Destination Address                         |
IPV4_HEADER = 20
IPV4_TOS_AT, IPV4_LENGTH_AT, IPV4_IDENTIFICATION_AT, IPV4_FLAGS_AT = 1, 2, 4, 6
IPV4_TTL_AT, IPV4_PROTOCOL_AT, IPV4_CHECKSUM_AT, IPV4_SOURCE_AT, IPV4_DESTINATION_AT = 8, 9, 10, 12, 16
DONT_FRAGMENT, MORE_FRAGMENTS, FRAGMENT_OFFSET = 0x4000, 0x2000, 0x1FFF
END_OF_OPTIONS, NO_OPERATION, LOOSE_SOURCE_ROUTE, STRICT_SOURCE_ROUTE = 0, 1, 131, 137

# IPv6 (RFC 8200 section 3)
#    0       4              12                                    32
#   |Version|Traffic Class |            Flow Label                |
#   |       Payload Length        |  Next Header  |   Hop Limit   |
#   |            Source Address (16)  |  Destination Address (16) |
IPV6_HEADER = 40
IPV6_LENGTH_AT, IPV6_NEXT_HEADER_AT, IPV6_HOP_LIMIT_AT, IPV6_SOURCE_AT, IPV6_DESTINATION_AT = 4, 6, 7, 8, 24

# Fragment header (RFC 8200 section 4.5)
#   |  Next Header  |   Reserved    |  Fragment Offset (13)  |Res|M|
#   |                         Identification                       |
FRAGMENT_HEADER = 8
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS, NO_NEXT_HEADER = 0, 43, 44, 60, 59
AUTHENTICATION, MOBILITY, HOST_IDENTITY, SHIM6 = 51, 135, 139, 140  # RFC 7045: extension headers that pass as they are
ROUTING_SEGMENTS_LEFT_AT = 3

# TCP (RFC 9293 section 3.1), UDP (RFC 768), ICMP (RFC 792, RFC 4443)
ICMP, IGMP, TCP, UDP, ICMPV6 = 1, 2, 6, 17, 58
TCP_HEADER, UDP_HEADER, ICMP_HEADER = 20, 8, 8
TCP_SEQUENCE_AT, TCP_ACKNOWLEDGMENT_AT, TCP_DATA_OFFSET_AT, TCP_FLAGS_AT, TCP_CHECKSUM_AT = 4, 8, 12, 13, 16
TCP_FIN, TCP_SYN, TCP_RST, TCP_ACK = 1, 2, 4, 16
UDP_LENGTH_AT, UDP_CHECKSUM_AT = 4, 6
ICMP_CHECKSUM_AT, ICMP_IDENTIFIER_AT, ICMP_REST_AT = 2, 4, 4
ICMP_LENGTH_AT, ICMPV6_LENGTH_AT = 5, 4  # RFC 4884 section 4


@jit()
def version(p, at):
    """4, 6, or something that is no IP."""
    return u8(p, at) >> 4


@jit()
def ipv4_header_length(p, at):
    """IHL in octets."""
    return (u8(p, at) & 15) * 4


@jit()
def ipv6_traffic_class(p, at):
    """The eight bits between version and flow label."""
    return u16(p, at) >> 4 & 0xFF


@jit()
def tcp_header_length(p, at):
    """Data Offset in octets."""
    return (u8(p, at + TCP_DATA_OFFSET_AT) >> 4) * 4
