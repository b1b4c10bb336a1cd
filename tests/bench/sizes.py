"""What a million and four million sessions cost: memory, a packet, a start, their end, a listing of all.

Seconds of CPU of one thread, and resident octets, all tables told.
"""

import os
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
from tests.bench import report
from tests.bench.core import (
    ACTIVE,
    NEW,
    NOW,
    PER_HOST,
    Bed,
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

SIZES = (1_000_000, 4_000_000)
POOL = "198.51.100.0/25"  # for four million mappings, and as many free ports
WARM = 250_000
ROUNDS = 5
OVER = NOW + 3 * 3600 * 1000  # ms: all lifetimes are over
QUOTA = 256  # sessions that the loop of a queue looks at while the lock is held


class Size(NamedTuple):
    """What so many sessions cost."""

    sessions: int
    octets: float  # resident, of each
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


def resident() -> int:
    """Octets of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cost(sessions: int, say: Callable[[str], None], rounds: int) -> Size:
    """Open so many, and measure. RuntimeError when one is lost."""
    say(f"sizes: opening {sessions:,} sessions")
    before, bed = resident(), lay(NEW * (rounds + 1), sessions, POOL)
    udp, _ = open_sessions(bed, sessions)
    octets = (resident() - before) / sessions
    packets = played(bed, udp, say, rounds)
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
    return Size(sessions, octets, packets, start, listing, expiry)


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
    cost(WARM, say, 1)  # what compiled code takes is no cost of sessions
    return [cost(sessions, say, rounds) for sessions in SIZES]


def main() -> None:
    """`python -m tests.bench.sizes`."""
    with Console(stderr=True).status("sizes") as status:
        costs = run(status.update)
    Console().print(report.sentence(report.host()))
    first = costs[0]
    for each in costs:
        Console().print(
            f"{each.sessions:,} sessions: {each.octets:.0f} octets each, start {each.start:.2f} s,"
            f" listing {each.listing:.2f} s, end {each.expiry:.2f} s"
        )
        for name, took in each.packets.items():
            Console().print(f"  {name}: {took:.0f} ns, {took / first.packets[name]:.2f}")


if __name__ == "__main__":
    main()
