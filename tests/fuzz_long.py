"""A night with the oracle: compares packets by the million, in histories drawn over all configurations.

0 when translator and oracle agreed about every packet; 1 with each disagreement as a row for REGRESSIONS of
tests/reference/regressions.py, cut down to the packets it needs.
"""

import argparse
import multiprocessing
import os
import re
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from queue import Empty
from random import Random
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nat64d.config.load import loads
from nat64d.offline.engine import Engine
from tests.reference.comparison import Comparison, DisagreementError
from tests.reference.configured import Scope
from tests.reference.settings import CONFIGS, SCOPE
from tests.reference.traffic import conversation, history

STEPS = 300  # of a history; long pauses in it end all sessions now and then
REPORTED = 0.5  # seconds between two reports of a process
ENOUGH = 3  # disagreements of a process, then it stops
HEX = 88  # characters of a string in a row

Steps = list[tuple[float, bytes]]


class Report(NamedTuple):
    """What a process has to say: packets compared since its last one, and a disagreement."""

    packets: int
    row: str = ""


def explore(seed: str, quota: int, scope: Scope, report: Callable[[Report], None]) -> None:
    """Compare `quota` packets, and report now and then."""
    said, done, told, found, k = time.monotonic(), 0, 0, 0, 0
    while done < quota and found < ENOUGH:
        rng = Random(f"{seed}/{k}")
        name = list(CONFIGS)[k % len(CONFIGS)]
        k += 1
        comparison = new_comparison(name, scope)

        def send(pause: float, packet: bytes, to: Comparison = comparison) -> None:
            nonlocal said, done, told
            to.send(pause, packet)
            done += 1
            if time.monotonic() - said > REPORTED:
                report(Report(done - told))
                said, told = time.monotonic(), done

        try:
            if comparison.oracle.is_stateful and rng.randrange(4) == 0:
                for _ in range(STEPS // 8):
                    conversation(rng, comparison.world, send)
            else:
                history(rng, comparison.world, send, min(STEPS, quota - done))
        except Exception:  # noqa: BLE001  # a crash of either side is a disagreement too
            found += 1
            steps, complaint = shrink(name, scope, comparison.history)
            report(Report(0, f"{complaint}\n{row(name, steps)}"))
    report(Report(done - told))


def new_comparison(name: str, scope: Scope) -> Comparison:
    config = loads(CONFIGS[name])
    return Comparison(Engine(config), config, scope)


def complaint_about(name: str, scope: Scope, steps: Steps) -> tuple[int, str]:
    """How many of the steps it took to a disagreement, and what it was; the number of steps and "" without one."""
    comparison = new_comparison(name, scope)
    for at, packet in steps:
        try:
            comparison.send(at - comparison.at, packet)
        except DisagreementError as error:
            return len(comparison.history), str(error).partition("\nSTEPS = [")[0]
        except Exception:  # noqa: BLE001
            return len(comparison.history), traceback.format_exc(limit=-3, chain=False)
    return len(steps), ""


def shrink(name: str, scope: Scope, steps: Steps) -> tuple[Steps, str]:
    """The fewest steps that still end in the same kind of disagreement: runs of them are left out, then pauses."""
    size, complaint = complaint_about(name, scope, steps)
    steps, kind = steps[:size], kind_of(complaint)

    def try_(candidate: Steps) -> bool:
        nonlocal steps, complaint
        size, found = complaint_about(name, scope, candidate)
        if not found or kind_of(found) != kind:
            return False
        steps, complaint = candidate[:size], found
        return True

    run = len(steps) // 2
    while run:
        at = 0
        while at < len(steps):
            if not try_(steps[:at] + steps[at + run :]):
                at += run
        run //= 2
    for at in range(1, len(steps)):
        if at < len(steps):
            gap = steps[at][0] - steps[at - 1][0]
            try_(steps[:at] + [(round(when - gap, 3), packet) for when, packet in steps[at:]])
    return steps, complaint


def kind_of(complaint: str) -> str:
    """The first objection without its numbers: what makes two disagreements one."""
    lines = [line for line in complaint.splitlines() if line]
    return re.sub(r"[0-9a-f:.]*\d[0-9a-f:.]*", "N", lines[1] if len(lines) > 1 else complaint)


def row(name: str, steps: Steps) -> str:
    """A row of REGRESSIONS, to be named."""
    lines = ['    "NAME": (', f'        "{name}",', "        ["]
    for at, packet in steps:
        octets = packet.hex()
        lines += [f"            ({at}, ("]
        lines += [f'                "{octets[k : k + HEX]}"' for k in range(0, max(len(octets), 1), HEX)]
        lines += ["            )),"]
    return "\n".join([*lines, "        ],", "    ),"])


@contextmanager
def working(seed: int, packets: int, processes: int, scope: Scope) -> Iterator[tuple[Any, list[BaseProcess]]]:
    """Processes at work, and the queue of their reports. They are forked when everything is compiled, so only once."""
    complaint_about(next(iter(CONFIGS)), scope, [(1000.0, b"")])
    context = multiprocessing.get_context("fork")
    queue: Any = context.Queue()
    shares = [packets // processes + (k < packets % processes) for k in range(processes)]
    workers: list[BaseProcess] = [
        context.Process(target=explore, args=(f"{seed}/{k}", share, scope, queue.put), daemon=True)
        for k, share in enumerate(shares)
    ]
    for worker in workers:
        worker.start()
    try:
        yield queue, workers
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def compare(seed: int, packets: int, processes: int, scope: Scope, console: Console) -> tuple[int, int]:
    """Packets compared and disagreements found."""
    done = found = 0
    minutes = 1
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), "{task.fields[rate]}", TimeRemainingColumn())
    bar = Progress(*(TextColumn(one) if isinstance(one, str) else one for one in columns), console=console)
    began = time.monotonic()
    with working(seed, packets, processes, scope) as (queue, workers), bar:
        task = bar.add_task("packets", total=packets, rate="")
        while not (queue.empty() and not any(worker.is_alive() for worker in workers)):
            try:
                report: Report = queue.get(timeout=REPORTED)
            except Empty:
                continue
            done += report.packets
            if report.row:
                found += 1
                console.print(report.row, markup=False, highlight=False, soft_wrap=True)
            seconds = time.monotonic() - began
            rate = f"{done / max(seconds, 0.001):.0f}/s, {found} disagreements"
            bar.update(task, completed=done, rate=rate)
            if not console.is_terminal and seconds > 60 * minutes:  # in a log file: a line a minute
                console.print(f"{minutes} min: {done} packets, {rate}", highlight=False)
                minutes += 1
        failed = [worker.exitcode for worker in workers if worker.exitcode]
    if failed:
        console.print(f"a process ended with {failed[0]}")
    return done, found + len(failed)


def main(arguments: list[str] | None = None, scope: Scope = SCOPE) -> int:
    """Print how it goes, and how it ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_long", description=__doc__)
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    console = Console()
    began = time.monotonic()
    done, found = compare(seed, options.packets, max(options.processes, 1), scope, console)
    seconds = time.monotonic() - began
    print(f"seed {seed}: {done} packets compared in {seconds:.0f} s, {done / seconds:.0f}/s, {found} disagreements")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
