"""The bench of what needs no network: the translator core in memory, and the name server beside unbound."""

import signal
import sys
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console

from tests.bench import dns, report

console = Console(stderr=True)


class Core(NamedTuple):
    """What is measured of the core in memory: of core.py, mappings.py and services.py."""

    figures: list[report.Figure]
    mapped: list[report.Figure]
    loading: str
    beside: list[report.Ratio]

    @property
    def all(self) -> list[report.Figure]:
        """Every line."""
        pairs = ((ratio.forward, ratio.service) for ratio in self.beside)
        return [*self.figures, *self.mapped, *(figure for pair in pairs for figure in pair)]

    @property
    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Title, head and body of each."""
        return [
            (report.CORE, *report.core_cells(self.figures)),
            (f"{self.loading} {report.MAPPINGS}", *report.core_cells(self.mapped)),
            (report.SERVICES, *report.ratio_cells(self.beside)),
        ]


def measure_core() -> Core:
    """Their modules, which compile, are imported only now."""
    from tests.bench import core, mappings, services

    with console.status("core") as status:
        return Core(core.run(status.update), *mappings.run(status.update), services.run(status.update))


def measure_beside(rounds: int, seconds: float) -> tuple[str, list[str], list[list[str]]]:
    """What queries cost packets."""
    from tests.bench import beside

    with console.status("packets beside queries") as status:
        return beside.title(rounds, seconds), *beside.cells(beside.compare(rounds, seconds, status.update))


def measure_dns(rounds: int, seconds: float) -> list[dns.Row]:
    """The name server beside unbound; nothing, with a sentence, where a program is missing."""
    if reason := dns.obstacle():
        console.print(f"[yellow]The name server is left out: {reason}")
        return []
    with console.status("name server") as status:
        return dns.compare(rounds, seconds, status.update)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds; the table shows medians.")] = 3,
    seconds: Annotated[float, typer.Option(min=1, help="Length of one measurement.")] = 3,
    json: Annotated[Path | None, typer.Option(help="Write every sample to this file, one JSON object a line.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
    core: Annotated[bool, typer.Option(help="Measure the translator core.")] = True,
    dns64: Annotated[bool, typer.Option("--dns/--no-dns", help="And the name server.")] = True,
) -> None:
    """Measure the translator core in memory, then compare the name server with unbound."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a stop also cleans up
    facts = report.host()
    measured = measure_core() if core else Core([], [], "", [])
    served = measure_dns(rounds, seconds) if dns64 else []
    if json:
        lines = [*report.json_lines(facts, measured.all), *dns.json_lines(served)]
        json.write_text("".join(line + "\n" for line in lines))
    tables = measured.tables if core else []
    if served:
        tables.append((dns.title(rounds, seconds), *dns.cells(served)))
        tables.append(measure_beside(rounds, seconds))
    out = Console(width=max(console.width, report.WIDTH), highlight=False, markup=False)
    out.print(report.sentence(facts))
    for title, head, body in tables:
        if markdown:
            print("", f"{title}:", "", report.markdown(head, body), sep="\n")
        else:
            out.print("", report.screen(title, head, body))
