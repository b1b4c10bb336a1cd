"""Seconds of CPU until a million sessions are taken over from the run before (translator/session/restore.py)."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from rich.console import Console

from nat64d.config.load import loads
from nat64d.config.settings import settings_of, tables_of
from tests.bench import report
from tests.bench.core import NEW, NOW, SESSIONS, lay, open_sessions, written
from translator.session.fates import Fate
from translator.session.restore import Kept, restore
from translator.tables.gateway import Gateway, new_worker

ROUNDS = 5
TABLE = 1 << 20  # sessions that the table has room for, as by default


def again(kept: Kept, secret: bytes) -> float:
    """Take the sessions over where they are; the seconds of CPU, those for empty tables among them. RuntimeError when
    one was lost."""
    config = loads(written(TABLE), "bench")
    settings = settings_of(config, secret)
    begun = time.process_time()
    tables = replace(tables_of(config, settings), sessions=kept.sessions, quarantine=kept.quarantine)
    fates = restore(Gateway(settings, tables, new_worker(0)), NOW, kept).fates
    took = time.process_time() - begun
    if fates[Fate.KEPT] != SESSIONS or fates.sum() != SESSIONS:
        raise RuntimeError(f"of {SESSIONS} sessions: {fates.tolist()}")
    return took


def run(say: Callable[[str], None], rounds: int = ROUNDS) -> list[float]:
    """Every round after one that is not counted, with another secret each. `say` is told what is being done."""
    say(f"restart: compiling, and opening {SESSIONS:,} sessions")
    bed = lay(NEW)
    open_sessions(bed)
    tables, spent = bed.gateway.tables, []
    kept = Kept(tables.sessions[:TABLE].copy(), tables.quarantine[:TABLE].copy(), 0, tables.blocks.copy())
    for number in range(rounds + 1):
        say(f"restart: round {number} of {rounds}")
        spent.append(again(kept, bytes([number] * 16)))
    return spent[1:]


def main() -> None:
    """`python -m tests.bench.restart`."""
    with Console(stderr=True).status("restart") as status:
        spent = run(status.update)
    text = f"{SESSIONS:,} sessions taken over in {np.median(spent):.2f} s of CPU ({min(spent):.2f} to {max(spent):.2f})"
    Console().print(report.sentence(report.host()), text)


if __name__ == "__main__":
    main()
