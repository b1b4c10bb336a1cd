"""What became of packets, summed over the queues and the fast path in the kernel."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nat64d.control.rows import Row
from nat64d.dataplane.bpf.summed import NOTHING
from nat64d.dataplane.worker import Queue
from translator.tables.tables import Tables
from translator.verdict import Direction, Event, Verdict

if TYPE_CHECKING:  # only those who have a fast path load it
    from nat64d.dataplane.bpf.fast import Fast
    from nat64d.natlog.reader import Reader


def counters_of(queues: Sequence[Queue], fast: "Fast | None") -> list[Row]:
    """A row for each direction and verdict."""
    in_kernel = fast.summed() if fast else NOTHING
    counts = sum((queue.worker.counters for queue in queues), in_kernel.counters)
    octets = sum((queue.worker.octets for queue in queues), in_kernel.octets)
    return [
        {
            "direction": direction.label,
            "verdict": verdict.name.lower(),
            "packets": int(counts[direction, verdict]),
            "octets": int(octets[direction, verdict]),
            "rfc": verdict.section,
            "help": verdict.help,
        }
        for direction in Direction
        for verdict in Verdict
        if verdict != Verdict.CONTINUE
    ]


def events_of(queues: Sequence[Queue], fast: "Fast | None") -> np.ndarray:
    """int64[Event]: how often each has happened to a packet."""
    counts = sum((queue.worker.events for queue in queues), np.zeros(len(Event), np.int64))
    counts[Event.SUPERFRAMES] += (fast.summed() if fast else NOTHING).superframes
    return counts


def rows_of_events(queues: Sequence[Queue], fast: "Fast | None", tables: Tables | None, log: "Reader") -> list[Row]:
    """A row for each event, of tables and queues; those of the log of sessions follow."""
    counts = events_of(queues, fast) + (0 if tables is None else tables.events)
    rows: list[Row] = [{"event": e.name.lower(), "count": int(counts[e]), "help": e.help} for e in Event]
    return rows if tables is None else [*rows, *log.events(tables)]
