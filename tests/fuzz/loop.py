"""The compiled part: mutate a packet, translate it, judge what happened. One file, since numba's cache of a function
does not notice a change in another file.

What a packet looks like is worked out here anew, with none of the product's readers, so that a mistake in them shows.
"""

# Compiled code: a comparison is cheaper than a search in a tuple, and there are no generators.
# ruff: noqa: PLR1714, SIM110

from tests.fuzz.faults import Fault
from translator.clock import tick
from translator.jit.compile import int64, jit, uint64
from translator.packet.fragments import cut
from translator.pipeline import first_output, next_output, receive
from translator.tables.gateway import HEADROOM, SLOT
from translator.verdict import Event, Verdict

POISON = 0xA5
GUARD = 64  # octets around each buffer, and behind the packet, that nobody may touch
LARGEST = SLOT - HEADROOM
VNET = 10  # octets of a virtio_net_hdr
SAMPLES, SAMPLE = 8, 2048  # translated packets kept for scapy; their largest size
IPV4, IPV6, ICMP, TCP, UDP, ICMPV6 = 4, 6, 1, 6, 17, 58


# Words of `state`.
NOW, SIZE, KEPT, LONGEST, DONE = range(5)
STATE = 8
WRONG, RIGHT, UNKNOWN = 0, 1, 2


@jit()
def draw(rng, below):
    """A random number in [0, below): xorshift64."""
    x = rng[0]
    x ^= x << uint64(13)
    x ^= x >> uint64(7)
    x ^= x << uint64(17)
    rng[0] = x
    return int64(x >> uint64(33)) % below


@jit()
def get8(p, at):
    """An octet."""
    return int64(p[at])


@jit()
def get16(p, at):
    """Two octets, big-endian."""
    return int64(p[at]) * 256 + int64(p[at + 1])


@jit()
def set16(p, at, value):
    """Two octets, big-endian."""
    p[at] = value // 256 % 256
    p[at + 1] = value % 256


@jit()
def ones_sum(p, first, last):
    """The octets in [first, last) added as 16-bit words, in one's complement."""
    total = 0
    for at in range(first, last - 1, 2):
        total += get16(p, at)
    if (last - first) % 2:
        total += get8(p, last - 1) * 256
    while total > 0xFFFF:
        total = total % 0x10000 + total // 0x10000
    return total


@jit()
def resize(rng, draft, size):
    """A shorter or a longer draft[:size]; the new size."""
    if draw(rng, 2):
        return draw(rng, size + 1)
    more = min(1 + draw(rng, 64), LARGEST - size)
    for at in range(size, size + more):
        draft[at] = draw(rng, 256)
    return size + more


@jit()
def overwrite(rng, draft, size):
    """Other octets somewhere in draft[:size], mostly in the headers."""
    kind = draw(rng, 7)
    at = draw(rng, min(size - 1, 96)) if draw(rng, 4) else draw(rng, size - 1)
    if kind == 0:
        draft[at] = int64(draft[at]) ^ 1 << draw(rng, 8)
    elif kind == 1:
        draft[at] = draw(rng, 256)
    elif kind == 2:
        draft[at] = int64(draft[at]) + draw(rng, 9) - 4 & 0xFF
    elif kind == 3:
        set16(draft, at, (0, 1, 7, 8, 20, 40, 0x7FFF, 0x8000, 0xFFF8, 0xFFFF)[draw(rng, 10)])
    elif kind == 4:  # the length field of the outer header, or a little beside it
        set16(draft, 2 if get8(draft, 0) // 16 == IPV4 else 4, max(size - draw(rng, 60) + 8, 0))
    elif kind == 5:
        source = draw(rng, size)
        for k in range(min(draw(rng, 64), size - max(at, source))):
            draft[at + k] = draft[source + k]
    elif draw(rng, 16) == 0:
        for k in range(1, size):
            draft[k] = draw(rng, 256)


@jit()
def splice(rng, octets, starts, draft, size):
    """The first octets of another seed somewhere in draft[:size]."""
    other, at = draw(rng, len(starts) - 1), draw(rng, size)
    for k in range(min(draw(rng, starts[other + 1] - starts[other] + 1), size - at)):  # a seed may be empty
        draft[at + k] = octets[starts[other] + k]


@jit()
def transport_at(p, at, end):
    """(offset, end, protocol) of a TCP, UDP or ICMP header with its whole payload behind an IP header and nothing
    else; protocol 0: there is none in [at, end)."""
    if end - at >= 20 and get8(p, at) // 16 == IPV4:
        l4, last, protocol = at + get8(p, at) % 16 * 4, at + get16(p, at + 2), get8(p, at + 9)
        if get16(p, at + 6) & 0x3FFF or l4 < at + 20 or (protocol != ICMP and protocol != TCP and protocol != UDP):
            return 0, 0, 0
    elif end - at >= 40 and get8(p, at) // 16 == IPV6:
        l4, last, protocol = at + 40, at + 40 + get16(p, at + 4), get8(p, at + 6)
        if protocol != ICMPV6 and protocol != TCP and protocol != UDP:
            return 0, 0, 0
    else:
        return 0, 0, 0
    if last > end or last - l4 < (20 if protocol == TCP else 8):
        return 0, 0, 0
    if protocol == UDP:
        length = get16(p, l4 + 4)
        if length < 8 or l4 + length > last:
            return 0, 0, 0
        last = l4 + length
    return l4, last, protocol


@jit()
def checksum_at(l4, protocol):
    """Where a transport header has its checksum."""
    return l4 + (16 if protocol == TCP else 6 if protocol == UDP else 2)


@jit()
def transport_sum(p, at, l4, last, protocol):
    """One's complement sum of pseudo-header and segment, its checksum field included."""
    total = ones_sum(p, l4, last)
    if protocol != ICMP:
        first, end = (at + 12, at + 20) if get8(p, at) // 16 == IPV4 else (at + 8, at + 40)
        total += ones_sum(p, first, end) + protocol + last - l4
    while total > 0xFFFF:
        total = total % 0x10000 + total // 0x10000
    return total


@jit()
def checksum_state(p, at, end):
    """Whether the transport checksum of the packet in [at, end) is RIGHT or WRONG; UNKNOWN if that cannot be said."""
    l4, last, protocol = transport_at(p, at, end)
    if protocol == 0 or (protocol == UDP and get16(p, l4 + 6) == 0):
        return UNKNOWN
    total = transport_sum(p, at, l4, last, protocol)
    if total == 0:  # nothing but zeros, of which an incremental update cannot say whether the checksum is right
        return UNKNOWN
    return RIGHT if total == 0xFFFF else WRONG


@jit()
def mend(draft, size, parts):
    """Make the packet plausible again: bits of `parts` are its length field, IPv4 header checksum, transport
    checksum."""
    family = get8(draft, 0) // 16 if size >= 20 else 0
    if parts & 1 and family == IPV4:
        set16(draft, 2, size)
    if parts & 1 and family == IPV6 and size >= 40:
        set16(draft, 4, size - 40)
    if parts & 4:
        l4, last, protocol = transport_at(draft, 0, size)
        if protocol != 0:
            field = checksum_at(l4, protocol)
            set16(draft, field, 0)
            total = 0xFFFF - transport_sum(draft, 0, l4, last, protocol)
            set16(draft, field, total if total or protocol != UDP else 0xFFFF)
    if parts & 2 and family == IPV4 and get8(draft, 0) % 16 * 4 <= size:
        set16(draft, 10, 0)
        set16(draft, 10, 0xFFFF - ones_sum(draft, 0, get8(draft, 0) % 16 * 4))


@jit()
def mutate(rng, octets, starts, draft):
    """A new packet in draft; its size."""
    seed = draw(rng, len(starts) - 1)
    size = starts[seed + 1] - starts[seed]
    for k in range(size):
        draft[k] = octets[starts[seed] + k]
    for _ in range(draw(rng, 5)):
        kind = draw(rng, 10)
        if kind < 2:
            size = resize(rng, draft, size)
        elif size > 1 and kind == 2:
            splice(rng, octets, starts, draft, size)
        elif size > 1:
            overwrite(rng, draft, size)
    mend(draft, size, (7, 7, 7, 3, 3, 2, 0, 1)[draw(rng, 8)])
    return size


@jit()
def lay(rng, draft, size, header, slot):
    """Put the packet and a virtio_net_hdr into the slot; poison around both."""
    header[:] = 0
    if draw(rng, 8) == 0:  # offloads, mostly plausible ones
        l4, _, protocol = transport_at(draft, 0, size)
        header[0] = draw(rng, 4)
        header[1] = (0, 1, 4, 5, 0x81, 0x84, 3, draw(rng, 256))[draw(rng, 8)]
        for at, value in ((2, l4 + 20), (4, 1 + draw(rng, 1500)), (6, l4), (8, checksum_at(0, protocol))):
            number = value if draw(rng, 8) else draw(rng, 65536)
            header[at], header[at + 1] = number % 256, number // 256 % 256
    slot[: HEADROOM - VNET] = POISON
    for k in range(VNET):
        slot[HEADROOM - VNET + k] = header[k]
    for k in range(size):
        slot[HEADROOM + k] = draft[k]
    slot[HEADROOM + size : min(HEADROOM + size + GUARD, SLOT)] = POISON


@jit()
def is_poison(octets, first, last):
    """Whether nobody has written to [first, last)."""
    for k in range(first, last):
        if octets[k] != POISON:
            return False
    return True


@jit()
def is_sound(p, at, end):
    """Whether [at, end) is an IP packet by its version, length fields and IPv4 header checksum."""
    if end - at >= 20 and get8(p, at) // 16 == IPV4:
        header = get8(p, at) % 16 * 4
        return header == 20 and get16(p, at + 2) == end - at and ones_sum(p, at, at + 20) == 0xFFFF
    return end - at >= 40 and get8(p, at) // 16 == IPV6 and get16(p, at + 4) == end - at - 40


@jit()
def is_error(p, size):
    """Whether a packet is an ICMP error as far as its first header says."""
    l4, _, protocol = transport_at(p, 0, size)
    if protocol == ICMPV6:
        return get8(p, l4) < 128
    kind = get8(p, l4) if protocol == ICMP else 0
    return kind == 3 or kind == 4 or kind == 5 or kind == 11 or kind == 12


@jit()
def judge_output(draft, size, header, slot, at, end):
    """A packet that leaves: [at, end) of the slot."""
    if at < VNET or end > HEADROOM + size:
        return Fault.OUTCOME
    if not is_poison(slot, 0, min(at, HEADROOM) - VNET):
        return Fault.HEADROOM_CANARY
    if not is_sound(slot, at, end):
        return Fault.HEADER
    if slot[at - VNET] & 1:
        start, offset = slot[at - 4] + int64(slot[at - 3]) * 256, slot[at - 2] + int64(slot[at - 1]) * 256
        return Fault.OFFLOAD if start + offset + 2 > end - at else Fault.NONE
    before, after = checksum_state(draft, 0, size), checksum_state(slot, at, end)
    if header[0] == 0 and before != UNKNOWN and after != UNKNOWN and before != after:
        return Fault.CHECKSUM
    return Fault.NONE


@jit()
def judge_pieces(slot, at, end, piece, answer):
    """The IPv6 fragments of [at, end): (fault, longest)."""
    done, longest = 0, 0
    for k in range(64):
        length = cut(slot, at, end, piece, k, answer)
        if length == 0:
            return (Fault.NONE if done == end - at - 48 else Fault.FRAGMENTS), longest
        if length > 1280 or not is_sound(answer, HEADROOM, HEADROOM + length):
            return Fault.FRAGMENTS, longest
        done, longest = done + length - 48, max(longest, length)
    return Fault.FRAGMENTS, longest


@jit()
def is_as_it_came(draft, header, slot, end):
    """Whether the packet, up to `end` of the slot, and its virtio_net_hdr are what came."""
    for k in range(end - HEADROOM):
        if slot[HEADROOM + k] != draft[k]:
            return False
    for k in range(VNET):
        if slot[HEADROOM - VNET + k] != header[k]:
            return False
    return True


@jit()
def judge_drop(draft, size, header, slot, answer, length, echoed):
    """A packet that does not leave, and its answer of `length` octets."""
    if not is_as_it_came(draft, header, slot, HEADROOM + size):
        return Fault.ALTERED
    if not is_poison(slot, 0, HEADROOM - VNET):
        return Fault.HEADROOM_CANARY
    if length > 0:
        state = checksum_state(answer, HEADROOM, HEADROOM + length)
        # That of an echo is carried on, right or wrong.
        carried = echoed and (state == UNKNOWN or state == checksum_state(draft, 0, size))
        right = is_sound(answer, HEADROOM, HEADROOM + length) and (state == RIGHT or carried)
        largest = size if echoed else 576 if get8(draft, 0) // 16 == IPV4 else 1280
        if not right or length > largest or is_error(draft, size):
            return Fault.ANSWER
    return Fault.NONE


@jit()
def judge(draft, size, header, around_slot, slot, around_answer, answer, outcome, state, kept):
    """What is wrong with one outcome. `kept`: that of a fragment from memory, or of a datagram put together, instead of
    the draft."""
    behind = len(around_slot) - GUARD if kept else GUARD + HEADROOM + size
    if not (is_poison(around_slot, 0, GUARD) and is_poison(around_slot, behind, min(behind + GUARD, len(around_slot)))):
        return Fault.SLOT_CANARY
    last = len(around_answer)
    if not (is_poison(around_answer, 0, GUARD) and is_poison(around_answer, last - GUARD, last)):
        return Fault.ANSWER_CANARY
    leaves, verdict = outcome.end > outcome.at, outcome.verdict
    may_leave = verdict == Verdict.TRANSLATED or verdict == Verdict.HAIRPINNED or verdict == Verdict.PASSED
    if leaves != may_leave and verdict != Verdict.ECHOED:
        return Fault.OUTCOME
    state[LONGEST] = max(state[LONGEST], outcome.answer)
    if not leaves:
        echoed = verdict == Verdict.ECHOED
        return Fault.NONE if kept else judge_drop(draft, size, header, slot, answer, outcome.answer, echoed)
    if verdict == Verdict.PASSED and not kept:
        is_same = outcome.at == HEADROOM and is_as_it_came(draft, header, slot, outcome.end)
        return Fault.NONE if is_same else Fault.ALTERED
    if kept:
        fault = Fault.NONE if is_sound(slot, outcome.at, outcome.end) else Fault.HEADER
    else:
        fault = judge_output(draft, size, header, slot, outcome.at, outcome.end)
    if fault == Fault.NONE and outcome.fragment_payload > 0:
        fault, longest = judge_pieces(slot, outcome.at, outcome.end, outcome.fragment_payload, answer)
        state[LONGEST] = max(state[LONGEST], longest)
    return fault


@jit()
def keep(rng, header, slot, at, end, samples, state):
    """Keep some of the packets that leave, as (size, octets), for a look at them with scapy."""
    if state[KEPT] < SAMPLES and header[0] == 0 and end - at <= SAMPLE and draw(rng, 64) == 0:
        row = samples[state[KEPT]]
        set16(row, 0, end - at)
        for k in range(end - at):
            row[2 + k] = slot[at + k]
        state[KEPT] += 1


@jit()
def rounds(gateway, rng, octets, starts, buffers, ends, state, count):
    """`count` packets; ends early with the first Fault. `ends` int64[direction, verdict] counts how they ended."""
    draft, header, around_slot, slot, around_answer, samples = buffers
    worker = gateway.worker
    for _ in range(count):
        size = mutate(rng, octets, starts, draft)
        state[SIZE] = size
        lay(rng, draft, size, header, slot)
        state[NOW] += draw(rng, 20) if draw(rng, 4096) else draw(rng, 400_000)
        if draw(rng, 64) == 0:
            _, due = tick(gateway, state[NOW], 16)
            state[LONGEST] = max(state[LONGEST], due)
        state[DONE] += 1
        before = worker.events[int64(Event.FRAGMENTS_RELEASED)]
        outcome = receive(gateway, state[NOW], slot, HEADROOM, HEADROOM + size)
        ends[outcome.direction, int64(outcome.verdict)] += 1
        kept = worker.events[int64(Event.FRAGMENTS_RELEASED)] != before
        fault = judge(draft, size, header, around_slot, slot, around_answer, worker.answer, outcome, state, kept)
        output = first_output(gateway, slot, outcome)
        while fault == Fault.NONE and output.end > output.at:
            if output.number == 0 and output.outcome.end > output.outcome.at:
                keep(rng, header, slot, output.outcome.at, output.outcome.end, samples, state)
            output = next_output(gateway, state[NOW], slot, output)
            if output.end > output.at and output.number == 0:
                one = output.outcome
                fault = judge(draft, size, header, around_slot, slot, around_answer, worker.answer, one, state, True)
        if fault != Fault.NONE:
            return fault
    return Fault.NONE
