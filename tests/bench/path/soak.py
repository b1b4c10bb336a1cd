"""CPU time that a load takes on the whole machine, interrupts included: what loops of the lowest priority lose.

Ticks charge what the kernel does for packets to whom they happen to interrupt; a loop on each CPU that runs whenever
nothing else does is slowed by exactly what all else takes.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from typing import Any, NamedTuple

import numpy as np

ALONE = 0.3  # seconds in which the loops are counted without the load, before it and after it
PART = 500  # steps of a loop between two counts: some microseconds


class Soak(NamedTuple):
    """The loops."""

    processes: list[Any]
    counts: list["Synchronized[int]"]

    def used(self, load: Callable[[], int]) -> float:
        """CPU seconds that each of what `load` counts has taken. RuntimeError where other programs take as much."""
        for process in self.processes:
            os.kill(process.pid, signal.SIGCONT)
        try:
            time.sleep(0.05)
            alone = self._speed(lambda: time.sleep(ALONE))
            done = [0]
            start = time.monotonic()
            beside = self._speed(lambda: done.append(load()))
            elapsed = time.monotonic() - start
            alone = np.maximum(alone, self._speed(lambda: time.sleep(ALONE)))
        finally:
            self.rest()
        lost = float((1 - beside / alone).sum()) if alone.all() else 0.0
        if lost <= 0:
            raise RuntimeError("the processors were as busy without the load")
        return lost * elapsed / max(done[-1], 1)

    def rest(self) -> None:
        """Stop the loops until they are needed: processors that never halt have other latencies."""
        for process in self.processes:
            os.kill(process.pid, signal.SIGSTOP)

    def _speed(self, meanwhile: Callable[[], object]) -> Any:
        before, start = np.array([count.value for count in self.counts]), time.monotonic()
        meanwhile()
        return (np.array([count.value for count in self.counts]) - before) / (time.monotonic() - start)


@contextmanager
def soaking() -> Iterator[Soak]:
    """A loop on each CPU that this process may use, at rest."""
    context = multiprocessing.get_context("fork")
    cpus = sorted(os.sched_getaffinity(0))
    counts = [context.Value("q", 0, lock=False) for _ in cpus]
    processes = [context.Process(target=_loop, args=pair, daemon=True) for pair in zip(cpus, counts, strict=True)]
    for process in processes:
        process.start()
    soak = Soak(processes, counts)
    soak.rest()
    try:
        yield soak
    finally:
        for process in processes:
            process.kill()
            process.join()


def _loop(cpu: int, count: Any) -> None:
    os.sched_setaffinity(0, {cpu})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        for _ in range(PART):
            pass
        count.value += 1
