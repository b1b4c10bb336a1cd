"""`nat64d doctor`: make every check and print what was found."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import typer

from nat64d.config.load import load
from nat64d.control.output import Column, table
from nat64d.doctor.checks import CHECKS
from nat64d.doctor.finding import Finding, Severity
from nat64d.doctor.look import Look, examine
from nat64d.doctor.readers import READERS
from nat64d.exitcode import ExitCode

COLUMNS = (
    Column("SEVERITY", lambda row: row["severity"]),
    Column("CHECK", lambda row: row["check"]),
    Column("DOCS", lambda row: row["docs"]),
    Column("FINDING", lambda row: row["sentence"]),
)


def main(path: Path | None, as_json: bool) -> ExitCode:
    """Print a row for each finding; WRONG if one of them is more than a note. Raises ConfigError."""
    found = list(examine(Look(load(path), READERS), CHECKS))
    lines = (json.dumps(one.row) for one in found) if as_json else text(found)
    typer.echo("\n".join(lines), nl=not as_json or bool(found))
    return ExitCode.WRONG if any(one.severity is not Severity.NOTE for one in found) else ExitCode.GOOD


def text(found: Sequence[Finding]) -> Iterator[str]:
    """The findings, the worst first, and how many there are; what was not checked for one reason is one row."""
    severities = list(Severity)
    same: dict[str, list[Finding]] = {}
    for one in sorted(found, key=lambda one: severities.index(one.severity)):
        same.setdefault(one.sentence, []).append(one)
    if same:
        yield from table(COLUMNS, map(_row, same.values()))
        yield ""
    count = Counter(one.severity for one in found)
    named = [f"{count[one]} {one.value}{'s' if count[one] > 1 else ''}" for one in severities if count[one]]
    yield f"{len(CHECKS)} checks: {', '.join(named) or 'nothing found'}"


def _row(same: Sequence[Finding]) -> Mapping[str, str]:
    """Findings with one sentence."""
    places = list(dict.fromkeys(one.docs for one in same))
    docs = places[0] if len(places) == 1 else places[0].partition("/")[0] + "/"
    return {**same[0].row, "check": ",".join(dict.fromkeys(one.check for one in same)), "docs": docs}
