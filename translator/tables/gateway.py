"""What a packet meets, under one name: the settings, the tables, and what the worker that carries it has for itself."""

import numpy as np

from translator.jit.reference import by_reference
from translator.tables.settings import Settings
from translator.tables.tables import Tables
from translator.verdict import Direction, Event, Verdict

# LIMITS
HEADROOM = 64  # IPv4 error to IPv6: two headers grow by 20, a Fragment header, RFC 4884 padding, a virtio_net_hdr
SLOT = HEADROOM + 65535 + 57  # octets of a buffer for one packet; a multiple of 8
WORKER_STATE = 8
SAMPLE = 256  # octets kept of a dropped packet
NEXT_IDENTIFICATION = 0  # a word of Worker.state
NOTED = 1  # and two more: 2 * session + side + 1 of those of the packet at hand (session/accounts.py), 0: none
RECEIVERS = 4096  # buckets for those who receive ICMP errors; a power of 2. Two prefixes share one 1 time in 4096
ERROR_KINDS = 10  # buckets beside them: of each kind of packet/error_limits.py, in IPv4 and IPv6


@by_reference
class Worker:
    """What one worker has for itself."""

    number: int
    counters: np.ndarray  # int64[direction, verdict]
    octets: np.ndarray  # int64[direction, verdict]: of those packets, as they came
    events: np.ndarray  # int64[event]
    state: np.ndarray  # int64[WORKER_STATE]
    buckets: np.ndarray  # int64[RECEIVERS + ERROR_KINDS, 2]: what limits ICMP errors, packet/error_limits.py
    answer: np.ndarray  # uint8[SLOT]: where ICMP errors are built, and fragments cut
    samples: np.ndarray  # uint8[verdict, SAMPLE]: how a dropped packet of each verdict begins
    sampled: np.ndarray  # int64[verdict]: octets of that packet, 0: the next one dropped is to be kept


@by_reference
class Gateway:
    """The first argument of every step: what the operator configured, what is remembered, and who is at work."""

    settings: Settings
    tables: Tables
    worker: Worker


def new_worker(number: int) -> Worker:
    """A worker that has counted nothing."""
    verdicts = max(Verdict) + 1
    return Worker(
        number=number,
        counters=np.zeros((len(Direction), verdicts), np.int64),
        octets=np.zeros((len(Direction), verdicts), np.int64),
        events=np.zeros(len(Event), np.int64),
        state=np.zeros(WORKER_STATE, np.int64),
        buckets=np.zeros((RECEIVERS + ERROR_KINDS, 2), np.int64),
        answer=np.zeros(SLOT, np.uint8),
        samples=np.zeros((verdicts, SAMPLE), np.uint8),
        sampled=np.zeros(verdicts, np.int64),
    )
