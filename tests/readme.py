"""The generated tables of README.md, each made from the one place that knows; `python -m tests.readme` writes them.

A table lives between `<!-- NAME -->` and `<!-- /NAME -->`; what stands there is replaced, the rest is left alone.
"""

import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

from tests.architecture import ROOT

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

    return table(("Verdict", "Rule", "The sender is told", "Meaning"), rows())


def commands() -> str:
    """Every command with the sentence its --help begins with."""
    import typer.main

    from nat64d.cli import app

    def rows(group: Any, above: str) -> Iterator[tuple[str, ...]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from rows(command, f"{above} {name}")
            elif not command.hidden:
                yield f"`{above} {name}`", command.get_short_help_str(limit=200)

    return table(("Command", "What it does"), rows(typer.main.get_command(app), "nat64d"))


TABLES: dict[str, Callable[[], str]] = {"verdicts": verdicts, "commands": commands}


def fill(page: str, name: str, text: str) -> str:
    """`page` with `text` between the markers `name`. Raises LookupError when it does not have them exactly once."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    page, count = pattern.subn(lambda match: f"{match[1]}{text}\n{match[2]}", page)
    if count != 1:
        raise LookupError(f"README.md has {count} places marked <!-- {name} -->, expected 1")
    return page


def main() -> int:
    """Write every generated table into README.md."""
    page = README.read_text("utf-8")
    for name, make in TABLES.items():
        page = fill(page, name, make())
    README.write_text(page, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
