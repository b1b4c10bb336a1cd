"""The mutants of translator/, or of a part of nat64d/, that no test of a matrix notices, one a line; a night for all.

Run as `python -m tests.mutants [translator/session/ …]`, or `… nat64d/dns64/ --tests tests/dns64`. A mutant that lives
is one of four: it changes nothing that a packet or an answer shows, nobody needs the line, no row states the rule, or
the tests of the row are too weak.
"""

import argparse
import importlib
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEFT_OUT = ("translator/jit/", "translator/plain.py", "translator/explain.py", "translator/verdict.py")


class Plugin:
    """Hunts mutants where pytest would run what it has collected."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options

    def pytest_load_initial_conftests(self) -> None:
        """Fewer examples than in the suite, the same each time, and none is shrunk."""
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile(
            "mutants", deadline=None, max_examples=10, derandomize=True, database=None, phases=phases
        )

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """All of it happens here: the tests are there, and nothing of the product has run yet."""
        from tests.mutants.hunt import Hunt, named
        from tests.mutants.mutations import mutants

        hunt, counts = Hunt(named(session.items)), Counter()
        print(f"{len(hunt.items)} tests; fail without a mutant: {hunt.measure()}", flush=True)
        for path in modules(self.options.modules):
            module = importlib.import_module(".".join(path.with_suffix("").parts))
            for mutant in mutants(module, self.options.everything):
                fate = hunt.fate_of(mutant, self.options.seconds)
                counts[fate] += 1
                if fate == "lives":
                    print(f"{path}:{mutant.line} {mutant.function.__name__}: {mutant.was} -> {mutant.now}", flush=True)
            print(f"== {path}: so far {dict(counts)}", flush=True)
        return True


def modules(wanted: list[str]) -> list[Path]:
    """The files of the product whose paths begin so, or all of translator/."""
    rooms = [path for room in ("translator", "nat64d") for path in sorted((ROOT / room).rglob("*.py"))]
    files = [path.relative_to(ROOT) for path in rooms]
    return [
        path
        for path in files
        if path.as_posix().startswith(tuple(wanted or ["translator/"])) and not path.as_posix().startswith(LEFT_OUT)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help="how the paths of files begin; all of translator/ if left out")
    parser.add_argument("--seconds", type=float, default=30.0, help="of tests for each mutant, the likeliest first")
    parser.add_argument(
        "--tests", nargs="+", default=["tests/translator"], help="files or folders they are looked for in"
    )
    parser.add_argument("--everything", action="store_true", help="constants, names and sums too, not only conditions")
    os.environ |= {"NUMBA_DISABLE_JIT": "1", "HYPOTHESIS_PROFILE": "mutants"}
    options = parser.parse_args()
    return pytest.main(["-q", "-s", "-p", "no:cacheprovider", *options.tests], plugins=[Plugin(options)])


if __name__ == "__main__":
    sys.exit(main())
