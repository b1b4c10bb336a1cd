"""The generated tables of README.md and docs/, each made from its source; `python -m tests.readme` writes them.

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`. Only the text between the two is replaced.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests import units
from tests.architecture import ROOT
from tests.bench import pages as bench
from tests.bench.path import pages
from tests.monitoring import alerts, dashboard

README = ROOT / "README.md"


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(line)} |" for line in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def verdicts() -> str:
    """Every way a packet can end, from the rows of translator.verdict."""
    from translator.verdict import Answer, Verdict

    def rows() -> Iterator[tuple[str, ...]]:
        for verdict in sorted(set(Verdict) - {Verdict.CONTINUE}):
            answer = "" if verdict.answer == Answer.NONE else verdict.answer.name.lower().replace("_", " ")
            source = verdict.section.replace("LIMITS", "")
            yield f"`{verdict.name.lower()}`", f"RFC {source}" if source else "ours", answer, verdict.help

    return table(("Verdict", "Rule", "ICMP error to the sender", "Meaning"), rows())


def commands() -> str:
    """Every command with the first sentence of its --help."""
    import typer.main

    from nat64d.cli.app import app

    def rows(group: Any, above: str) -> Iterator[tuple[str, ...]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from rows(command, f"{above} {name}")
            elif not command.hidden:
                yield f"`{above} {name}`", command.get_short_help_str(limit=200)

    return table(("Command", "What it does"), rows(typer.main.get_command(app), "nat64d"))


def conditions() -> str:
    """Every condition of the host, from the rows of nat64d.host.conditions."""
    from nat64d.host.conditions import CONDITIONS

    rows = ((f"`{row.name}`", "cannot pass" if row.blocks else "pass", row.help) for row in CONDITIONS)
    return table(("Condition", "Packets", "Meaning"), rows)


def checks() -> str:
    """Every check of `nat64d doctor`, from the rows of nat64d.doctor.checks."""
    from nat64d.doctor.checks import CHECKS

    def rows() -> Iterator[tuple[str, ...]]:
        for row in CHECKS:
            page, _, heading = row.page.partition("#")
            target = f"#{heading}" if page == "doctor.md" else row.page
            yield f"[`{row.name}`]({target})", row.help

    return table(("Check", "What it looks at"), rows())


def metrics() -> str:
    """Every metric, from the rows of nat64d.control.families."""
    from nat64d.control.families import FAMILIES

    rows = (
        (f"`{row.exposed}`", row.kind.name.lower(), ", ".join(f"`{label}`" for label in row.labels), row.help)
        for row in FAMILIES
    )
    return table(("Metric", "Type", "Labels", "Meaning"), rows)


def effects() -> str:
    """What a reload does about each key."""
    from nat64d.config.difference import EFFECTS, Effect

    def rows() -> Iterator[tuple[str, ...]]:
        for section in dict.fromkeys(section for section, _ in EFFECTS):
            keys = {key: effect for (name, key), effect in EFFECTS.items() if name == section}
            cells = (" ".join(f"`{key}`" for key, each in keys.items() if each is effect) for effect in Effect)
            yield f"`[{section}]`" if section else "", *cells

    heads = (
        "at once",
        "at once; sessions that it does not allow end",
        "at once, for the services that change",
        "only at a start",
    )
    return table(("Section", *heads), rows())


def matrices() -> str:
    """Every matrix in tests/ by its title."""

    def rows() -> Iterator[tuple[str, ...]]:
        for file in (*sorted((ROOT / "tests").glob("rfc*.md")), ROOT / "tests/peers.md"):
            title = file.read_text("utf-8").splitlines()[0].removeprefix("# ")
            yield title, f"[{file.name}](../tests/{file.name})"

    return table(("Source", "Matrix"), rows())


class Table(NamedTuple):
    """A generated table: the page it stands in, and the function that makes it."""

    page: Path
    make: Callable[[], str]


def reasons() -> str:
    """Why a packet is left to the daemon, from the rows of translator.fastpath.reasons."""
    from translator.fastpath.reasons import Reason

    return table(("Row", "Packets"), ((f"`{row.name.lower()}`", row.help) for row in Reason))


TABLES = {
    "commands": Table(README, commands),
    "conditions": Table(ROOT / "docs/conditions.md", conditions),
    "checks": Table(ROOT / "docs/doctor.md", checks),
    "verdicts": Table(ROOT / "docs/verdicts.md", verdicts),
    "alerts": Table(ROOT / "docs/alerts.md", alerts.sections),
    "metrics": Table(ROOT / "docs/monitoring.md", metrics),
    "effects": Table(ROOT / "docs/reload.md", effects),
    "reasons": Table(ROOT / "docs/fastpath.md", reasons),
    "speed": Table(README, pages.speed),
    "performance": Table(ROOT / "docs/performance.md", pages.tables),
    "translator": Table(ROOT / "docs/measurements.md", bench.translator),
    "name server": Table(ROOT / "docs/measurements.md", bench.name_server),
    "matrices": Table(ROOT / "docs/matrices.md", matrices),
}


# Files that are generated as a whole.
FILES: dict[Path, Callable[[], str]] = {
    ROOT / "config/grafana/alerts.yaml": alerts.rules,
    ROOT / "config/grafana/dashboard.json": dashboard.document,
    units.UNITS / "nat64d@.service": units.of_instances,
    **pages.CHARTS,
}


def fill(page: str, name: str, text: str) -> str:
    """`page` with `text` between the markers `name`. Raises LookupError unless it has them exactly once."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    page, count = pattern.subn(lambda match: f"{match[1]}{text}\n{match[2]}", page)
    if count != 1:
        raise LookupError(f"the page has {count} places marked <!-- {name} -->, expected 1")
    return page


def main() -> int:
    """Write every generated table into its page, and every generated file."""
    for name, (page, make) in TABLES.items():
        page.write_text(fill(page.read_text("utf-8"), name, make()), "utf-8")
    for file, make in FILES.items():
        file.write_text(make(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
