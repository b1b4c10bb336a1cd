"""Many packets in one compiled call: what Engine.send does, with nothing of the interpreter between two packets."""

from typing import NamedTuple

import numpy as np

from translator.clock import tick
from translator.jit.compile import int64, jit
from translator.packet.fields import copy
from translator.packet.virtio import clear
from translator.pipeline import buffer_of, first_output, next_output, receive
from translator.tables.gateway import HEADROOM, SLOT
from translator.tables.listing import usage
from translator.tables.tables import Tables

# LIMITS
EXPIRE = 4096  # sessions looked at in one call
DUE = 192  # octets of a packet of our own, at most
LARGEST_PACKET = SLOT - HEADROOM  # octets of a packet; what is longer is cut


class Chunk(NamedTuple):
    """Packets one after the other: [ends[n-1], ends[n]) of `octets` is packet n."""

    octets: np.ndarray  # uint8
    ends: np.ndarray  # int64[n]
    times: np.ndarray  # int64[n], milliseconds, never going back


class Result(NamedTuple):
    """What became of them. Outputs lie as packets do in a Chunk; packet n caused [due[n], outputs[n]) of them.

    [outputs[n-1], due[n]) are the translator's own, which were due by the time of packet n.
    """

    verdicts: np.ndarray  # int64[n]
    directions: np.ndarray  # int64[n]
    answered: np.ndarray  # int64[n]: 1 if its one output is an ICMP error to its sender
    due: np.ndarray  # int64[n]
    outputs: np.ndarray  # int64[n]
    octets: np.ndarray  # uint8
    ends: np.ndarray  # int64[number of outputs]


def new_result(packets: int, octets: int, tables: Tables) -> Result:
    """Room for what `packets` packets of `octets` octets in all can become, with the sessions and the kept fragments
    that are in `tables` already.

    A packet grows by the difference of the IP headers and a Fragment header, in an ICMP error twice; or it is quoted
    behind 48 octets; or it is cut into pieces of 1232 octets or more (lowest_ipv6_mtu is 1280 or more), each behind 48.
    Each session, and each packet, can bring about one packet of our own. Memory that is not used is never taken.
    """
    due = int(usage(tables)[0]) + packets
    verdicts, directions, answered, first, last = np.zeros((5, packets), np.int64)
    oldest, after, head = tables.stored_at.tolist()
    if oldest < after:
        packets += after - oldest
        octets += head - int(tables.stored["position"][oldest % len(tables.stored)])
    outputs = packets + octets // 1024 + due
    room = np.zeros(octets + 64 * outputs + DUE * due, np.uint8)
    return Result(verdicts, directions, answered, first, last, room, np.zeros(outputs, np.int64))


@jit()
def translate_chunk(gateway, slot, chunk, result):
    """Translate a chunk; returns how many outputs there are. `slot`: uint8[SLOT] to work in."""
    start, at, count = 0, 0, 0
    for n in range(len(chunk.ends)):
        now, end = chunk.times[n], chunk.ends[n]
        looked_at, size = EXPIRE, 0
        while size > 0 or looked_at == EXPIRE:
            looked_at, size = tick(gateway, now, EXPIRE)
            if size > 0:
                at = add_output(result, count, at, gateway.worker.answer, HEADROOM, size)
                count += 1
        result.due[n] = count
        size = min(end - start, LARGEST_PACKET)
        copy(slot, HEADROOM, chunk.octets, start, size)
        clear(slot, HEADROOM)
        outcome = receive(gateway, now, slot, HEADROOM, HEADROOM + size)
        output = first_output(gateway, slot, outcome)
        while output.end > output.at:
            octets = buffer_of(gateway.worker.answer, slot, output)
            at = add_output(result, count, at, octets, output.at, output.end - output.at)
            count += 1
            output = next_output(gateway, now, slot, output)
        result.verdicts[n], result.directions[n] = int64(outcome.verdict), outcome.direction
        result.answered[n], result.outputs[n] = int64(outcome.answer > 0), count
        start = end
    return count


@jit()
def add_output(result, number, at, octets, start, size):
    """Add the packet of `size` octets at octets[start:] to the result, at result.octets[at:]; where the next one
    goes."""
    copy(result.octets, at, octets, start, size)
    result.ends[number] = at + size
    return at + size
