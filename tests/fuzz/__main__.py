"""Hostile packets for a while: 0 when nothing was found, 1 with the first packet that broke a rule."""

import argparse
import sys
import time

from tests.fuzz.faults import FaultError, new_seed
from tests.fuzz.run import fuzz

PROGRESS = 5.0  # seconds between two lines


def main() -> int:
    """Print how it goes, and how it ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = new_seed() if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    began = said = time.monotonic()
    before = 0
    done, verdicts = 0, ""
    try:
        for done, ends in fuzz(arguments.seconds, seed):
            verdicts = ", ".join(f"{name} {count}" for name, count in ends.items())
            now = time.monotonic()
            if now - said >= PROGRESS:
                print(f"{now - began:.0f} s: {done} executions, {(done - before) / (now - said):.0f}/s", flush=True)
                said, before = now, done
    except FaultError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"executions {done}, verdicts {verdicts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
