"""Coalescing on write: datagrams of one flow that come right after one another leave as one UDP super-frame.

A write to the TUN device costs twenty times what a translation does, and the kernel's way behind it is paid once a
write too. Nothing waits for a next datagram: only what the queue holds already is joined, in its order, and the kernel
cuts it into the same datagrams again (their Identification counts up from the first one's). A checksum that was not
finished by us is verified before it is replaced: a datagram that came in damaged goes out alone, and damaged.
"""

import numpy as np

from translator.jit.compile import hot, jit
from translator.jit.reference import by_reference
from translator.packet.checksum import checksum, fold, sum_octets
from translator.packet.fields import (
    IPV4_CHECKSUM_AT,
    IPV4_DESTINATION_AT,
    IPV4_FLAGS_AT,
    IPV4_HEADER,
    IPV4_LENGTH_AT,
    IPV4_SOURCE_AT,
    IPV4_TTL_AT,
    IPV6_DESTINATION_AT,
    IPV6_HEADER,
    IPV6_LENGTH_AT,
    IPV6_NEXT_HEADER_AT,
    IPV6_SOURCE_AT,
    UDP,
    UDP_CHECKSUM_AT,
    UDP_HEADER,
    UDP_LENGTH_AT,
    copy,
    put_u16,
    u16,
    u32,
    u64,
    version,
)
from translator.packet.parse import LARGEST_PACKET, is_fragment, parse
from translator.packet.virtio import GSO_NONE, GSO_UDP, NEEDS_CSUM, VNET_HEADER, Offload, decode, encode
from translator.tables.gateway import HEADROOM, SLOT
from translator.verdict import Verdict

# LIMITS
SEGMENTS = 64  # UDP_MAX_SEGMENTS of Linux before 6.6
LARGEST_TO_JOIN = 1500  # joining larger ones saves nothing

END, PAYLOAD, COUNT = 0, 1, 2  # words of Pending.state


@by_reference
class Pending:
    """The datagrams joined so far: a packet at HEADROOM of `slot`, from which more payload follows."""

    slot: np.ndarray  # uint8[SLOT]
    state: np.ndarray  # int64[4]: where it ends, payload octets of each datagram, how many
    enabled: int


def new_pending(enabled: bool) -> Pending:
    """Nothing joined yet. `enabled`: the device takes UDP super-frames."""
    return Pending(slot=np.zeros(SLOT, np.uint8), state=np.zeros(4, np.int64), enabled=int(enabled))


@jit()
def payload_of(p, at, end):
    """Payload octets of a datagram that may be joined with others; 0 of anything else.

    Not joined: other protocols, fragments, super-frames, lengths that differ; and what has no checksum or a wrong one,
    for in a super-frame each datagram gets a right one.
    """
    if end == at or end - at > LARGEST_TO_JOIN:
        return 0
    view, offload = parse(p, at, end), decode(p, at)
    if view.verdict != Verdict.CONTINUE or view.protocol != UDP or is_fragment(view) or view.has_fragment_header:
        return 0
    size = view.end - view.l4
    if offload.gso_type != GSO_NONE or view.end != end or u16(p, view.l4 + UDP_LENGTH_AT) != size:
        return 0
    if not offload.flags & NEEDS_CSUM:
        if u16(p, view.l4 + UDP_CHECKSUM_AT) == 0:
            return 0
        if fold(pseudo_sum(p, at, view.l4, size) + sum_octets(p, view.l4, end)) != 0xFFFF:
            return 0
    return size - UDP_HEADER


@jit()
def pseudo_sum(p, at, l4, size):
    """The sum of a UDP pseudo-header; an output has its addresses right before the transport header."""
    addresses = IPV4_SOURCE_AT if version(p, at) == 4 else IPV6_SOURCE_AT
    return sum_octets(p, at + addresses, l4) + size + UDP


@hot()
def same_flow(p, at, q, q_at):
    """Whether two datagrams differ in nothing but lengths, checksums, Identification and payload."""
    if version(p, at) == 4:
        return (
            u16(p, at) == u16(q, q_at)
            and u16(p, at + IPV4_FLAGS_AT) == u16(q, q_at + IPV4_FLAGS_AT)
            and u16(p, at + IPV4_TTL_AT) == u16(q, q_at + IPV4_TTL_AT)
            and u32(p, at + IPV4_SOURCE_AT) == u32(q, q_at + IPV4_SOURCE_AT)
            and u32(p, at + IPV4_DESTINATION_AT) == u32(q, q_at + IPV4_DESTINATION_AT)
            and u32(p, at + IPV4_HEADER) == u32(q, q_at + IPV4_HEADER)
        )
    return (
        u32(p, at) == u32(q, q_at)
        and u16(p, at + IPV6_NEXT_HEADER_AT) == u16(q, q_at + IPV6_NEXT_HEADER_AT)
        and u64(p, at + IPV6_SOURCE_AT) == u64(q, q_at + IPV6_SOURCE_AT)
        and u64(p, at + IPV6_SOURCE_AT + 8) == u64(q, q_at + IPV6_SOURCE_AT + 8)
        and u64(p, at + IPV6_DESTINATION_AT) == u64(q, q_at + IPV6_DESTINATION_AT)
        and u64(p, at + IPV6_DESTINATION_AT + 8) == u64(q, q_at + IPV6_DESTINATION_AT + 8)
        and u32(p, at + IPV6_HEADER) == u32(q, q_at + IPV6_HEADER)
    )


@jit()
def joins(pending, p, at, end, payload):
    """Append a datagram of `payload` octets to the pending ones if it is of their flow and size, and fits; returns
    whether it was appended."""
    state = pending.state
    if state[COUNT] == 0 or payload != state[PAYLOAD] or state[COUNT] >= SEGMENTS:
        return False
    if state[END] + payload > HEADROOM + LARGEST_PACKET or not same_flow(pending.slot, HEADROOM, p, at):
        return False
    copy(pending.slot, state[END], p, end - payload, payload)
    state[END] += payload
    state[COUNT] += 1
    return True


@jit()
def begin(pending, p, at, end, payload):
    """Make a datagram the first of the pending ones."""
    copy(pending.slot, HEADROOM - VNET_HEADER, p, at - VNET_HEADER, end - at + VNET_HEADER)
    pending.state[END], pending.state[PAYLOAD], pending.state[COUNT] = HEADROOM + end - at, payload, 1


@jit()
def seal(pending):
    """Make the pending datagrams a packet that can be written, [HEADROOM, end) of the slot: a super-frame if there are
    several."""
    p, end, count = pending.slot, pending.state[END], pending.state[COUNT]
    if count > 1:
        l4 = HEADROOM + (IPV4_HEADER if version(p, HEADROOM) == 4 else IPV6_HEADER)
        size = end - l4
        put_u16(p, l4 + UDP_LENGTH_AT, size)
        put_u16(p, l4 + UDP_CHECKSUM_AT, fold(pseudo_sum(p, HEADROOM, l4, size)))
        if version(p, HEADROOM) == 4:
            put_u16(p, HEADROOM + IPV4_LENGTH_AT, end - HEADROOM)
            put_u16(p, HEADROOM + IPV4_CHECKSUM_AT, 0)
            put_u16(p, HEADROOM + IPV4_CHECKSUM_AT, checksum(sum_octets(p, HEADROOM, l4)))
        else:
            put_u16(p, HEADROOM + IPV6_LENGTH_AT, size)
        l4 -= HEADROOM
        encode(p, HEADROOM, Offload(NEEDS_CSUM, GSO_UDP, pending.state[PAYLOAD], l4, UDP_CHECKSUM_AT), l4 + UDP_HEADER)
    pending.state[COUNT] = 0
    return end
