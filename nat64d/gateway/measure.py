"""What the data plane says of itself, for the metrics: numbers that it keeps, read without the lock.

Sessions are counted by the translator where their state changes, and nothing here walks them.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from nat64d.control.measured import AddressUse, Fill, Measured, QueueCounts, ServiceUse, SessionCount
from nat64d.dataplane.worker import Queue
from translator.session.pool4 import NEXT, OLDEST
from translator.session.tcp_state import State
from translator.tables.layout import NONE
from translator.tables.tables import BIBS, BLOCKS, HEIGHT, HOSTS, NEVER_USED, SUBSCRIBERS, Tables
from translator.verdict import Event

# Rows and columns of Tables.sessions_in that there are, and what they are called.
TCP_STATES: dict[str, State] = {state.name: state for state in State if state != State.NONE}
OTHER_STATES: dict[str, State] = {"V4_INIT": State.V4_INIT, "V6_INIT": State.V6_INIT, "ANSWERED": State.NONE}
STATES = {
    "tcp": TCP_STATES,
    "udp": OTHER_STATES,
    "icmp": OTHER_STATES,
    "other": OTHER_STATES,
}


def measure(
    tables: Tables,
    queues: Iterable[Queue],
    addresses: list[AddressUse],
    services: list[ServiceUse],
    restored: Mapping[str, int] | None,
    now: int,
) -> Measured:
    """All of it, at a moment of the data plane's clock (milliseconds)."""
    return Measured(
        queues=[counts_of(queue) for queue in queues],
        sessions=sessions_of(tables),
        tables=fills_of(tables, now),
        addresses=addresses,
        expiry_lag=expiry_lag(tables, now),
        services=services,
        restored=restored,
    )


def counts_of(queue: Queue) -> QueueCounts:
    """What a queue has carried."""
    worker = queue.worker
    packets, octets = worker.counters.sum(axis=1).tolist(), worker.octets.sum(axis=1).tolist()
    superframes = int(worker.events[Event.SUPERFRAMES])
    return QueueCounts(tuple(packets), tuple(octets), superframes, queue.batches.tolist())


def sessions_of(tables: Tables) -> list[SessionCount]:
    """The sessions by protocol and state, zeros included."""
    counts = tables.sessions_in.tolist()
    return [
        SessionCount(protocol, name, counts[row][state])
        for row, (protocol, states) in enumerate(STATES.items())
        for name, state in states.items()
    ]


def fills_of(tables: Tables, now: int) -> list[Fill]:
    """The tables besides those of sessions and BIB entries."""
    return [
        Fill("hosts", used_of(tables, HOSTS), len(tables.hosts)),
        Fill("subscribers", used_of(tables, SUBSCRIBERS), len(tables.subscribers)),
        Fill("blocks", used_of(tables, BLOCKS), len(tables.blocks)),
        Fill("waiting_ports", _in_ring(tables.quarantine_at), len(tables.quarantine)),
        Fill("fragments", int(np.count_nonzero(tables.fragments["expires"] > now)), len(tables.fragments)),
        Fill("held_syns", _in_ring(tables.syns_at), len(tables.syns)),
        Fill("log", _in_ring(tables.log_at), len(tables.log)),
    ]


def used_of(tables: Tables, kind: int) -> int:
    """How many records of a kind are in use."""
    own = len(tables.members) if kind == BIBS else 0  # those of members are MEMBERS
    return int(tables.free[kind, NEVER_USED] - tables.free[kind, HEIGHT]) - own


def _in_ring(at: np.ndarray) -> int:
    """How many places of a ring are taken; the oldest number is read first, so that there are never less than none."""
    oldest = int(at[OLDEST])
    return int(at[NEXT]) - oldest


def expiry_lag(tables: Tables, now: int) -> float:
    """Seconds by which the timer wheel is behind: the bucket of this second is not due yet."""
    emptied = int(tables.wheel_at[0])
    return float(max(now // 1000 - emptied, 0)) if emptied != NONE else 0.0
