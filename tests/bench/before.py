"""The translator in memory beside that of another checkout: nanoseconds a packet, in processes that alternate.

    python -m tests.bench.before ../old

Each measures what its own bench says; what only one of them measures is left out.
"""

import json
import subprocess
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tests.architecture import ROOT
from tests.bench import report

console = Console(stderr=True)
# What both have: run(say, rounds) returns figures, or figures and something else.
CODE = """
import json
from tests.bench import {name}
figures = {name}.run(lambda said: None, {rounds})
figures = figures[0] if isinstance(figures, tuple) else figures
print(json.dumps({{figure.name: figure.median for figure in figures}}))
"""
NAMES = "core", "mappings", "fills"


def medians(checkout: Path, name: str, rounds: int) -> dict[str, float]:
    """The figures of one bench of a checkout, by what is measured; CalledProcessError when it fails."""
    command = [str(checkout / ".venv/bin/python"), "-c", CODE.format(name=name, rounds=rounds)]
    said = subprocess.run(command, cwd=checkout, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def main(
    checkout: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="It has a .venv.")],
    runs: Annotated[int, typer.Option(min=1, help="Processes of each, alternating.")] = 5,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds within each process.")] = 3,
) -> None:
    """Compare nanoseconds a packet with those of another checkout."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for run in range(runs):
        for name in NAMES:
            with console.status(f"run {run + 1} of {runs}: {name}"):
                then, now = (medians(each.resolve(), name, rounds) for each in (checkout, ROOT))
            for figure in now.keys() & then.keys():
                pairs.setdefault(figure, []).append((then[figure], now[figure]))
    body = [[figure, *report.then_and_now(found, True)] for figure, found in sorted(pairs.items())]
    print(report.markdown(["ns a packet", "before", "now", "÷ before", ""], body))


if __name__ == "__main__":
    typer.run(main)
