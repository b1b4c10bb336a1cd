"""Hostile DNS messages to both sides of the name server: 0 when nothing was found, 1 with the first message that broke
a rule, of each process, and the seed to see it again.

`python -m tests.fuzz.dns [--messages N] [--seconds N] [--processes N] [--seed N]`: whatever comes first.
"""

import argparse
import asyncio
import gc
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from queue import Empty
from random import Random
from typing import NamedTuple

from tests.fuzz.dns_answers import Answers
from tests.fuzz.dns_queries import Queries
from tests.fuzz.faults import FaultError, new_seed

ROUND = 1000  # messages to a side before it is the other's turn
REPORTED = 1.0  # seconds between two reports of a process
PROGRESS = 10.0  # ... between two lines
WARM = 400_000  # messages, after which everything that is kept is full
GROWTH = 8 << 20  # octets that a process may still grow then, since its allocator does not give back at once


class Report(NamedTuple):
    """What a process has to say: messages since its last one, how they ended, what is wrong, what memory it took."""

    messages: int
    ends: Counter[str]
    fault: str = ""
    grown: int = 0  # octets, since it was warm


async def fuzz(seed: str, most: int) -> AsyncIterator[tuple[int, Counter[str]]]:
    """Messages to both sides in turn, until `most` are done: (how many, how they ended, so far). Raises FaultError."""
    rng = Random(seed)
    sides = Queries(rng), Answers(rng)
    done = 0
    while done < most:
        for side in sides:
            count = min(ROUND, most - done)
            try:
                await side.round(count)
            except Exception as error:
                raise FaultError(f"seed {seed}: {side.where()}\n{traceback.format_exc()}") from error
            done += count
        yield done, Counter({f"{side.name}: {end}": count for side in sides for end, count in side.ends.items()})


def resident() -> int:
    """Octets of memory this process has."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def explore(seed: str, most: int, seconds: float, report: Callable[[Report], None]) -> None:
    """Fuzz, and report now and then."""
    end = time.monotonic() + seconds
    said, told, before = time.monotonic(), 0, Counter[str]()
    done, ends, warm = 0, before, 0
    try:
        async for done, ends in fuzz(seed, most):
            warm = warm or (resident() if done >= WARM else 0)
            now = time.monotonic()
            if now - said >= REPORTED:
                report(Report(done - told, ends - before))
                said, told, before = now, done, ends
            if now >= end:
                break
    except FaultError as error:
        report(Report(done - told, ends - before, str(error)))
        return
    grown = resident() - warm if warm else 0
    fault = f"seed {seed}: grown by {grown >> 10} KiB since message {WARM}" if grown > GROWTH else ""
    report(Report(done - told, ends - before, fault, grown))


def run(seed: str, most: int, seconds: float, reports: "multiprocessing.Queue[Report]") -> None:
    """A process."""
    os.nice(19)
    asyncio.run(explore(seed, most, seconds, reports.put))


def main() -> int:
    """Print how it goes, and how it ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.dns", description=__doc__)
    parser.add_argument("--messages", type=int, default=1 << 62)
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seconds = arguments.seconds or (60.0 if arguments.messages == 1 << 62 else float("inf"))
    seed = new_seed() if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    reports: multiprocessing.Queue[Report] = multiprocessing.Queue()
    share = -(-arguments.messages // arguments.processes)
    workers = [
        multiprocessing.Process(target=run, args=(f"{seed}/{number}", share, seconds, reports))
        for number in range(arguments.processes)
    ]
    for worker in workers:
        worker.start()
    faults = follow(workers, reports)
    for worker in workers:
        worker.join()
    return int(faults or any(worker.exitcode for worker in workers))


def follow(workers: list[multiprocessing.Process], reports: "multiprocessing.Queue[Report]") -> bool:
    """Print what the processes report until they end; whether there was a fault."""
    began = said = time.monotonic()
    done, ends, grown, faults = 0, Counter[str](), 0, False
    while True:
        alive = any(worker.is_alive() for worker in workers)
        try:
            messages, more, fault, more_memory = reports.get(timeout=REPORTED)
        except Empty:
            if not alive:
                break
            continue
        done, ends, grown, now = done + messages, ends + more, max(grown, more_memory), time.monotonic()
        if fault:
            faults = True
            print(fault, file=sys.stderr, flush=True)
        if now - said >= PROGRESS:
            said = now
            print(f"{now - began:.0f} s: {done} messages, {done / (now - began):.0f}/s", flush=True)
    took = time.monotonic() - began
    print(f"messages {done} in {took:.0f} s, {done / took:.0f}/s; {'faults' if faults else 'no fault'}")
    print(f"grown by {grown >> 10} KiB at most since message {WARM}")
    print(", ".join(f"{end} {count}" for end, count in sorted(ends.items())))
    return faults


if __name__ == "__main__":
    sys.exit(main())
