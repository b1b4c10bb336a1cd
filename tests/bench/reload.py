"""For how long packets wait at a reload that judges the sessions there are (nat64d/gateway/takeover.py), and how long
it takes in all.

Seconds of CPU of the one thread that works then: on a busy machine the wait itself is longer.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from rich.console import Console

from nat64d.config.load import loads
from nat64d.gateway.state import Live
from nat64d.gateway.takeover import change_over, keep_large_arrays_apart, prepare
from tests.bench import report
from tests.bench.core import NEW, SESSIONS, lay, measure, strangers, written
from tests.bench.decks import from_host6
from translator.packet.fields import UDP

ROUNDS = 5
COUNTS = (0, 100_000, SESSIONS)
DENIED = ("192.0.2.1/32", "192.0.2.2/32")  # peers of nobody


class Spent(NamedTuple):
    """Seconds of CPU of one reload."""

    pause: float
    all: float


class Timed(Live):
    """A gateway without queues that says for how long packets would have waited."""

    pause = 0.0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """As that of Live, and timed."""
        begun = time.thread_time()
        with super().paused():
            yield
        self.pause = time.thread_time() - begun


def laid(sessions: int) -> Timed:
    """One that has so many sessions, which do not end."""
    bed = lay(NEW)
    if sessions:
        measure(bed, from_host6(strangers(sessions, 1024), UDP), np.arange(sessions))
    live = Timed(loads(written(len(bed.gateway.tables.sessions)), "bench"))
    live.settings, live.tables = bed.gateway.settings, bed.gateway.tables
    live.tables.sessions["expires"] = 1 << 40
    return live


def pauses(sessions: int, rounds: int = ROUNDS) -> list[Spent]:
    """Every round after one that is not counted. RuntimeError when a session was lost."""
    live, spent = laid(sessions), []
    for number in range(rounds + 1):
        denied = live.config.translation.model_copy(update={"denylist4": DENIED[number % 2 :]})
        config = live.config.model_copy(update={"translation": denied})
        begun = time.thread_time()
        outcome = change_over(live, prepare(live, config, judges_sessions=True))
        spent.append(Spent(live.pause, time.thread_time() - begun))
        if outcome.kept != sessions:
            raise RuntimeError(f"of {sessions} sessions: {outcome}")
    return spent[1:]


def run(say: Callable[[str], None], rounds: int = ROUNDS) -> dict[int, list[Spent]]:
    """By how many sessions there are. `say` is told what is being done."""
    keep_large_arrays_apart()
    spent = {}
    for sessions in COUNTS:
        say(f"reload: {sessions:,} sessions")
        spent[sessions] = pauses(sessions, rounds)
    return spent


def main() -> None:
    """`python -m tests.bench.reload`."""
    with Console(stderr=True).status("reload") as status:
        spent = run(status.update)
    console = Console()
    console.print(report.sentence(report.host()))
    for sessions, rounds in spent.items():
        low, *_, high = sorted(1000 * each.pause for each in rounds)
        middle, whole = (1000 * np.median([each[at] for each in rounds]) for at in range(2))
        console.print(f"{sessions:,} sessions: {middle:.1f} ms ({low:.1f} to {high:.1f}), of {whole:.0f} ms in all")


if __name__ == "__main__":
    main()
