"""Many packets in one compiled call: what Engine.send does, with nothing of the interpreter between two packets."""

from typing import NamedTuple

import numpy as np

from translator.compile import int64, jit
from translator.datagrams import DATAGRAM
from translator.packet.fields import copy
from translator.packet.fragments import cut
from translator.packet.virtio import clear
from translator.pipeline import HEADROOM, SLOT, process, released, tick
from translator.session.listing import usage
from translator.tables import Tables

# LIMITS
EXPIRE = 4096  # sessions looked at in one call
DUE = 192  # octets of a packet of our own, at most
LARGEST = SLOT - HEADROOM  # octets of a packet; what is longer is cut


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
def translate_chunk(settings, tables, worker, slot, chunk, result):
    """Translate a chunk; returns how many outputs there are. `slot`: uint8[SLOT] to work in."""
    start, at, count = 0, 0, 0
    for n in range(len(chunk.ends)):
        now, end = chunk.times[n], chunk.ends[n]
        looked_at, size = EXPIRE, 0
        while size > 0 or looked_at == EXPIRE:
            looked_at, size = tick(settings, tables, worker, now, EXPIRE)
            if size > 0:
                copy(result.octets, at, worker.answer, HEADROOM, size)
                at += size
                result.ends[count] = at
                count += 1
        result.due[n] = count
        size = min(end - start, LARGEST)
        copy(slot, HEADROOM, chunk.octets, start, size)
        clear(slot, HEADROOM)
        outcome = process(settings, tables, worker, now, slot, HEADROOM, HEADROOM + size)
        count, at = take_outputs(worker, slot, outcome, result, count, at)
        while worker.state[DATAGRAM] != 0:
            one = released(settings, tables, worker, now, slot)
            count, at = take_outputs(worker, slot, one, result, count, at)
        result.verdicts[n], result.directions[n] = int64(outcome.verdict), outcome.direction
        result.answered[n], result.outputs[n] = int64(outcome.answer > 0), count
        start = end
    return count


@jit()
def take_outputs(worker, slot, outcome, result, count, at):
    """Add the packets that one became to the result, as outputs number `count` and on, at result.octets[at:]; returns
    both moved on."""
    k = 0
    size = take_output(worker, slot, outcome, k, result.octets, at)
    while size > 0:
        at += size
        result.ends[count] = at
        count += 1
        k += 1
        size = take_output(worker, slot, outcome, k, result.octets, at)
    return count, at


@jit()
def take_output(worker, slot, outcome, k, out, at):
    """Copy the k-th packet that one became to out[at:]; its length, 0 when there is no k-th."""
    if outcome.piece > 0:
        return cut(slot, outcome.at, outcome.end, outcome.piece, k, out, at)
    if k > 0:
        return 0
    if outcome.answer > 0:
        copy(out, at, worker.answer, HEADROOM, outcome.answer)
        return outcome.answer
    copy(out, at, slot, outcome.at, outcome.end - outcome.at)
    return outcome.end - outcome.at
