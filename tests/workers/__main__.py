"""Packets through several queues at once, with listings, ends of sessions and reloads beside them: 0 when nothing was
found, 1 with what was."""

import argparse
import sys
import traceback
from secrets import randbits

from rich.console import Console

from tests.workers.run import Done, stress


def main() -> int:
    """Print how it goes, and how it ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.workers", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--queues", type=int, default=2)
    parser.add_argument("--seed", type=int, default=randbits(31))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with Console(stderr=True).status("packets") as status:

        def say(done: Done) -> None:
            status.update(f"{done.sent:,} packets")

        try:
            done = stress(arguments.seconds, arguments.seed, arguments.queues, say)
        except Exception:  # noqa: BLE001  of any kind, from any thread
            traceback.print_exc()
            return 1
    print(f"{done.sent:,} packets, {done.came:,} came out, {done.back:,} of {done.probes:,} of a [[forward]]")
    print(", ".join(f"{name} {count}" for name, count in done.control.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
