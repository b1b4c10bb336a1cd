"""Coalescing on write: datagrams of one flow, though others come between them, leave as one UDP super-frame.

A write to the TUN device costs twenty times what a translation does, and the kernel's way behind it is paid once a
write too. Nothing waits for a next datagram: only what the queue holds already is joined, the datagrams of each flow in
their order, and the kernel cuts it into the same datagrams again (their Identification counts up from the first one's).
What cannot be joined goes out after all that came before it. A checksum that was not finished by us is verified before
it is replaced: a datagram that came in damaged goes out alone, and damaged. Where too few are joined, as with thousands
of flows, datagrams go by for a while without being looked at.
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
FLOWS = 128  # of which datagrams are pending at a time
PLACES = 1024  # of flows in the index, a power of two: of 32 flows, one in 30 shares its place with another one
JUDGED = 128  # datagrams after which it is judged whether joining them pays
PAYS = 8  # it does where one in so many is joined
REST = 2048  # packets that go by untried where it does not

END, PAYLOAD, COUNT, PLACE = 0, 1, 2, 3  # columns of Pending.frames
USED, TRIED, JOINED, RESTS = 0, 1, 2, 3  # words of Pending.state


@by_reference
class Pending:
    """The datagrams joined so far, by flow: frame n is a packet at `start_of(n)`, from which more payload follows. All
    datagrams of a flow have one place in the index, so that at most one frame has some of them."""

    slots: np.ndarray  # uint8[FLOWS * SLOT]
    frames: np.ndarray  # int64[FLOWS, 4]: where it ends, payload octets of each datagram, how many, place in the index
    index: np.ndarray  # int64[PLACES]: the number of a frame and 1; 0: none
    state: np.ndarray  # int64[4]: frames in use; datagrams tried and joined; packets that go by untried
    enabled: int


def new_pending(enabled: bool) -> Pending:
    """Nothing joined yet. `enabled`: the device takes UDP super-frames."""
    return Pending(
        slots=np.zeros(FLOWS * SLOT, np.uint8),
        frames=np.zeros((FLOWS, 4), np.int64),
        index=np.zeros(PLACES, np.int64),
        state=np.zeros(4, np.int64),
        enabled=int(enabled),
    )


@hot()
def start_of(frame):
    """Where the packet of a frame begins."""
    return frame * SLOT + HEADROOM


@jit()
def place_of(p, at, end, payload):
    """The place in the index of the flow of a datagram: of its ports, and the last octets of both addresses."""
    l4 = end - payload - UDP_HEADER
    addresses = u32(p, l4 - 4) ^ u32(p, l4 - (8 if version(p, at) == 4 else 20))
    word = addresses * 31 + u32(p, l4)
    return ((word ^ word >> 16) & 0xFFFF) * 0x9E35 >> 6 & (PLACES - 1)


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
def add_frame(pending, place):
    """Take one more frame into use, for the flows of a place in the index; returns its number."""
    frame = pending.state[USED]
    pending.state[USED] = frame + 1
    pending.frames[frame, PLACE] = place
    pending.index[place] = frame + 1
    return frame


@jit()
def joins(pending, frame, p, at, end, payload):
    """Append a datagram of `payload` octets to a frame if it is of that flow and size, and fits; returns whether it was
    appended."""
    row, start = pending.frames[frame], start_of(frame)
    if payload != row[PAYLOAD] or row[COUNT] >= SEGMENTS or row[END] + payload > start + LARGEST_PACKET:
        return False
    if not same_flow(pending.slots, start, p, at):
        return False
    copy(pending.slots, row[END], p, end - payload, payload)
    row[END] += payload
    row[COUNT] += 1
    return True


@jit()
def begin(pending, frame, p, at, end, payload):
    """Make a datagram the first of a frame."""
    row, start = pending.frames[frame], start_of(frame)
    copy(pending.slots, start - VNET_HEADER, p, at - VNET_HEADER, end - at + VNET_HEADER)
    row[END], row[PAYLOAD], row[COUNT] = start + end - at, payload, 1


@jit()
def seal(pending, frame):
    """Make a frame a packet that can be written, [start_of(frame), end) of the slots: a super-frame if it has several
    datagrams."""
    p, at, row = pending.slots, start_of(frame), pending.frames[frame]
    end = row[END]
    if row[COUNT] > 1:
        l4 = at + (IPV4_HEADER if version(p, at) == 4 else IPV6_HEADER)
        size = end - l4
        put_u16(p, l4 + UDP_LENGTH_AT, size)
        put_u16(p, l4 + UDP_CHECKSUM_AT, fold(pseudo_sum(p, at, l4, size)))
        if version(p, at) == 4:
            put_u16(p, at + IPV4_LENGTH_AT, end - at)
            put_u16(p, at + IPV4_CHECKSUM_AT, 0)
            put_u16(p, at + IPV4_CHECKSUM_AT, checksum(sum_octets(p, at, l4)))
        else:
            put_u16(p, at + IPV6_LENGTH_AT, size)
        l4 -= at
        encode(p, at, Offload(NEEDS_CSUM, GSO_UDP, row[PAYLOAD], l4, UDP_CHECKSUM_AT), l4 + UDP_HEADER)
    return end


@jit()
def tries(pending):
    """Whether packets are looked at: not where few datagrams have been joined of late, for REST packets."""
    return pending.enabled and pending.state[RESTS] <= 0


@jit()
def judge(pending, taken):
    """Note that so many packets have gone by, and whether it has paid to look at them."""
    state = pending.state
    state[RESTS] -= taken
    if state[TRIED] >= JUDGED:
        state[RESTS] = REST if state[JOINED] * PAYS < state[TRIED] else 0
        state[TRIED], state[JOINED] = 0, 0
