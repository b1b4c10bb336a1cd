"""What a million and four million sessions cost: memory, a packet, a start, their end, a listing of all.

Seconds of CPU of one thread. Octets are those of the product's tables that have come to be in memory: of the records of
a session, of a mapping and of a host, and of the indexes that find them. An index is in memory as a whole once some
thousand entries are in it, so its octets are those of a record that there is room for.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console

from nat64d.config.load import loads
from nat64d.config.settings import settings_of, tables_of
from nat64d.control.filters import Filters
from nat64d.dataplane.code import COMPILED_CODE
from nat64d.gateway.listings import listed
from nat64d.gateway.takeover import keep_large_arrays_apart
from tests.bench import report
from tests.bench.core import (
    ACTIVE,
    NEW,
    NOW,
    PER_HOST,
    Bed,
    answer_all,
    busy,
    lay,
    measure,
    newcomers,
    open_sessions,
    uniform,
    written,
)
from tests.bench.decks import from_host4, from_host6
from translator.clock import tick
from translator.jit.compile import jit
from translator.packet.fields import UDP
from translator.session.fates import Fate
from translator.session.restore import Kept, restore
from translator.tables.gateway import Gateway, new_worker
from translator.tables.slots import bibs_in_use, in_use
from translator.tables.tables import HOSTS, SESSIONS, Tables

SIZES = (1_000_000, 4_000_000)
POOL = "198.51.100.0/25"  # for four million mappings, and as many free ports
WARM = 250_000
ROUNDS = 5
OVER = NOW + 3 * 3600 * 1000  # ms: all lifetimes are over
QUOTA = 256  # sessions that the loop of a queue looks at while the lock is held
PAGE = 4096
PRESENT = np.uint64(63)  # bit of /proc/self/pagemap
RECORDS = {
    "session": ("sessions", "links", "changed", "windows"),
    "mapping": ("bibs", "unanswered", "ports_used"),
    "host": ("hosts", "subscribers", "uses", "members_of"),
}
INDEXES = {
    "session": ("sessions6", "sessions4"),
    "mapping": ("bibs6", "bibs4"),
    "host": ("hosts6", "subscribers6", "uses_of"),
}


class Share(NamedTuple):
    """What a session, a mapping or a host takes."""

    there: int
    records: float  # resident octets of each
    indexes: float  # of each that there is room for


class Size(NamedTuple):
    """What so many sessions cost."""

    sessions: int
    octets: float  # resident, of all tables, for each
    shares: dict[str, Share]
    packets: dict[str, float]  # nanoseconds, medians
    start: float  # seconds of CPU to take them over
    listing: float  # to list them as lines of JSON
    expiry: float  # to end them all


@jit()
def end_all(gateway: Gateway, now: int) -> int:
    """Let the time of all be over; how often the lock was held for that."""
    turns, looked_at, size = 0, QUOTA, 1
    while looked_at == QUOTA or size > 0:
        looked_at, size = tick(gateway, now, QUOTA)
        turns += 1
    return turns


def resident(array: np.ndarray) -> int:
    """Octets of an array that are in memory."""
    at = array.__array_interface__["data"][0]
    first, last = at // PAGE, (at + max(array.nbytes, 1) - 1) // PAGE
    with Path("/proc/self/pagemap").open("rb") as pages:
        pages.seek(8 * first)
        entries = np.frombuffer(pages.read(8 * (last - first + 1)), np.uint64)
    return PAGE * int((entries >> PRESENT).sum())


def residents(tables: Tables) -> dict[str, int]:
    """Octets in memory of each table."""
    return {name: resident(getattr(tables, name)) for name in Tables.__annotations__}


def shares_of(tables: Tables, before: dict[str, int], after: dict[str, int]) -> dict[str, Share]:
    """What each session, mapping and host has added to tables that had `before` in memory."""
    room = len(tables.sessions)
    counts = {"session": in_use(tables, SESSIONS), "mapping": bibs_in_use(tables), "host": in_use(tables, HOSTS)}
    shares = {}
    for what, there in counts.items():
        grown = sum(after[name] - before[name] for name in RECORDS[what])
        indexes = sum(getattr(tables, name).nbytes for name in INDEXES[what]) / room
        shares[what] = Share(int(there), grown / there, indexes)
    return shares


def cost(sessions: int, say: Callable[[str], None], rounds: int) -> Size:
    """Open so many, and measure. RuntimeError when one is lost."""
    say(f"sizes: opening {sessions:,} sessions")
    bed, rng = lay(NEW * (rounds + 1), sessions, POOL), np.random.default_rng(64)
    before = residents(bed.gateway.tables)
    udp, _ = open_sessions(bed, sessions)
    after = residents(bed.gateway.tables)
    shares = shares_of(bed.gateway.tables, before, after)
    packets = {"4to6, first answer": answer_all(bed, udp, rng), **played(bed, udp, say, rounds)}
    say(f"sizes: listing, start and end of {sessions:,} sessions")
    begun, tables = time.thread_time(), bed.gateway.tables
    lines = sum(
        chunk.count(b"\n") for chunk in listed("sessions", tables, Filters(), COMPILED_CODE.copy_live, lambda: NOW, "")
    )
    listing = time.thread_time() - begun
    start = taken_over(bed, sessions)
    begun = time.thread_time()
    end_all(bed.gateway, OVER)
    expiry = time.thread_time() - begun
    left = COMPILED_CODE.usage(tables)[0]
    if left or lines < sessions:
        raise RuntimeError(f"of {sessions} sessions {lines} are listed, and {left} do not end")
    octets = (sum(after.values()) - sum(before.values())) / sessions
    return Size(sessions, octets, shares, packets, start, listing, expiry)


def played(bed: Bed, udp: np.ndarray, say: Callable[[str], None], rounds: int) -> dict[str, float]:
    """Nanoseconds a packet; the first round is not counted."""
    rng = np.random.default_rng(64)
    few = udp[rng.choice(len(udp), ACTIVE, replace=False)]
    deals = {
        "6to4, 1000 active": partial(busy, from_host6(few, UDP)),
        "4to6, 1000 active": partial(busy, from_host4(few, UDP)),
        "6to4, uniform": partial(uniform, partial(from_host6, protocol=UDP), udp),
        "4to6, uniform": partial(uniform, partial(from_host4, protocol=UDP), udp),
        "6to4, new session": partial(newcomers, count(10_000, PER_HOST)),
    }
    spent: dict[str, list[float]] = {name: [] for name in deals}
    for number in range(rounds + 1):
        say(f"sizes: {len(udp):,} sessions, round {number} of {rounds}")
        for name, deal in deals.items():
            spent[name].append(measure(bed, *deal(rng)))
    return {name: float(np.median(took[1:])) for name, took in spent.items()}


def taken_over(bed: Bed, sessions: int) -> float:
    """Seconds of CPU to take the sessions over into new tables."""
    before = bed.gateway.tables
    room = len(before.sessions)
    config = loads(written(room, POOL), "bench")
    settings = settings_of(config, bytes(16))
    kept = Kept(before.sessions.copy(), before.quarantine.copy(), 0, before.blocks.copy())
    begun = time.process_time()
    tables = replace(tables_of(config, settings), sessions=kept.sessions, quarantine=kept.quarantine)
    fates = restore(Gateway(settings, tables, new_worker(0)), NOW, kept).fates
    took = time.process_time() - begun
    if fates[Fate.KEPT] < sessions:
        raise RuntimeError(f"of {sessions} sessions: {fates.tolist()}")
    return took


def run(say: Callable[[str], None], rounds: int = ROUNDS) -> list[Size]:
    """Of each size. `say` is told what is being done."""
    keep_large_arrays_apart()  # or new tables are in memory that others had
    cost(WARM, say, 1)  # what compiling takes is no cost of sessions
    return [cost(sessions, say, rounds) for sessions in SIZES]


def main() -> None:
    """`python -m tests.bench.sizes`."""
    with Console(stderr=True).status("sizes") as status:
        costs = run(status.update)
    Console().print(report.sentence(report.host()))
    first = costs[0]
    for each in costs:
        Console().print(
            f"{each.sessions:,} sessions: {each.octets:.0f} octets for each in all, start {each.start:.2f} s,"
            f" listing {each.listing:.2f} s, end {each.expiry:.2f} s"
        )
        for name, share in each.shares.items():
            Console().print(
                f"  a {name}, of {share.there:,}: {share.records:.0f} octets, its room in indexes {share.indexes:.0f}"
            )
        for name, took in each.packets.items():
            Console().print(f"  {name}: {took:.0f} ns, {took / first.packets[name]:.2f}")


if __name__ == "__main__":
    main()
