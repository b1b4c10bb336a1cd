"""virtio_net_hdr as a TUN device with IFF_VNET_HDR puts it before each packet (virtio 1.2 section 5.1.6).

NEEDS_CSUM: the transport checksum field holds the uncomplemented pseudo-header sum, and the kernel or the device adds
the sum of the data later. GSO: one super-frame stands for many segments of `gso_size` octets of payload. A translator
keeps both promises and only moves them.
"""

from typing import NamedTuple

from translator.jit.compile import jit
from translator.packet.fields import le16, put_le16, put_u8, u8

#   | flags | gso_type | hdr_len (2) | gso_size (2) | csum_start (2) | csum_offset (2) |
VNET_HEADER = 10  # octets; with 12 there is a count of merged buffers, which TUN devices do not use
NEEDS_CSUM = 1
GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP, GSO_ECN = 0, 1, 4, 5, 0x80


class Offload(NamedTuple):
    """A virtio_net_hdr: what was left undone, in octets relative to the start of the packet."""

    flags: int
    gso_type: int
    gso_size: int
    csum_start: int
    csum_offset: int


@jit()
def decode(p, at):
    """The virtio_net_hdr that ends where the packet at `at` begins."""
    at -= VNET_HEADER
    return Offload(u8(p, at), u8(p, at + 1), le16(p, at + 4), le16(p, at + 6), le16(p, at + 8))


@jit()
def encode(p, at, offload, hdr_len):
    """Write the virtio_net_hdr in front of the packet at `at`, whose headers take `hdr_len` octets."""
    at -= VNET_HEADER
    put_u8(p, at, offload.flags)
    put_u8(p, at + 1, offload.gso_type)
    put_le16(p, at + 2, hdr_len)
    put_le16(p, at + 4, offload.gso_size)
    put_le16(p, at + 6, offload.csum_start)
    put_le16(p, at + 8, offload.csum_offset)


@jit()
def clear(p, at):
    """No offload: the packet at `at` is complete."""
    encode(p, at, Offload(0, GSO_NONE, 0, 0, 0), 0)


@jit()
def is_sound(view, offload):
    """Whether the header's promises lie inside the packet."""
    if offload.flags & NEEDS_CSUM and view.l3 + offload.csum_start + offload.csum_offset + 2 > view.end:
        return False
    return offload.gso_type == GSO_NONE or offload.gso_size > 0


@jit()
def gso_type_for(family, gso_type):
    """The GSO type of the same super-frame in another family; the ECN bit stays."""
    if gso_type & ~GSO_ECN == GSO_TCPV4 or gso_type & ~GSO_ECN == GSO_TCPV6:
        return (GSO_TCPV4 if family == 4 else GSO_TCPV6) | (gso_type & GSO_ECN)
    return gso_type
