"""Measure, print who is right where, and with --write put the tables into docs/dns64.md."""

import argparse
import sys

from tests.dns64.side import programs, table
from tests.dns64.side.measure import measure
from tests.dns64.side.rows import ROWS


def main() -> int:
    """0 when nat64d is right in every row."""
    parser = argparse.ArgumentParser(prog="python -m tests.dns64.side", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/dns64.md")
    arguments = parser.parse_args()
    if missing := [name for name, number in table.VERSIONS.items() if programs.version(name) != number]:
        print(f"Not installed in the version that the page is about: {', '.join(missing)}", file=sys.stderr)
        return 2
    seen = measure(ROWS)
    for row in ROWS.values():
        verdicts = [table.verdict(row, seen[name][row.id]) for name in table.NAMES]
        print(f"{row.id:16} {verdicts[0]:32} {verdicts[1]:32} {verdicts[2]}")
    print(table.summary(seen))
    if arguments.write:
        table.PAGE.write_text(table.fill(table.PAGE.read_text("utf-8"), seen), "utf-8")
    return int(any(table.verdict(row, seen["nat64d"][row.id]) != table.RIGHT for row in ROWS.values()))


if __name__ == "__main__":
    sys.exit(main())
