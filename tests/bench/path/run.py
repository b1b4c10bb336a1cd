"""Every measure over every way, in alternating rounds; the samples are written after each round."""

import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console

from nat64d.cli import lab
from nat64d.cli.lab import LabError
from tests.bench import report
from tests.bench.path import measures, pages, places, soak
from tests.bench.path.flows import FlowsError
from tests.bench.path.measures import Bench, Figures, Measure
from tests.bench.path.places import Make, Way
from tests.bench.paths import MissingError, running

console = Console(stderr=True, highlight=False)
SESSIONS = 1 << 20
QUICK = 0.1  # seconds of a trial with --quick


class Sample(NamedTuple):
    """The figures of one measure over one way in one round, or why there are none."""

    measure: str
    way: str
    round: int
    figures: Figures
    failed: str = ""


class Results:
    """What has been measured so far, and the file it goes to."""

    def __init__(self, file: Path | None, settings: dict[str, Any]) -> None:
        self.file = file
        self.facts: dict[str, Any] = {"host": report.host(), "settings": settings}
        self.samples: list[Sample] = []

    def document(self) -> dict[str, Any]:
        """What the file has."""
        return self.facts | {"samples": [_rounded(sample) for sample in self.samples]}

    def write(self) -> None:
        """Replace the file: a sample a line."""
        if self.file is None:
            return
        head = "".join(f"{json.dumps(key)}: {json.dumps(value)},\n" for key, value in self.facts.items())
        lines = ",\n".join(json.dumps(sample) for sample in self.document()["samples"])
        aside = self.file.with_name(f"{self.file.name}.new")
        aside.write_text(f'{{\n{head}"samples": [\n{lines}\n]\n}}\n', "utf-8")
        aside.replace(self.file)


def _rounded(sample: Sample) -> dict[str, Any]:
    figures = {name: float(f"{value:.4g}") for name, value in sample.figures.items()}
    return {key: value for key, value in sample._asdict().items() if value != ""} | {"figures": figures}


@contextmanager
def bench(seconds: float, chosen: dict[str, Make], flows: int) -> Iterator[tuple[Bench, list[Way]]]:
    """The network and the ways through it; those that cannot be had are named and left out."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nb")))
        network = stack.enter_context(places.network())
        stack.enter_context(running(network.server, directory / "iperf3.log", "iperf3", "-s"))
        ways = []
        for name, make in chosen.items():
            console.print(f"[dim]starting {name}")
            try:
                ways.append(stack.enter_context(make(network, directory, max(SESSIONS, 2 * flows))))
            except MissingError as error:
                console.print(f"[yellow]{name} is left out: {error}")
        yield Bench(network, stack.enter_context(soak.soaking()), seconds, count(1)), ways


def one(given: Bench, measure: Measure, way: Way, number: int) -> Sample:
    """One sample."""
    try:
        return Sample(measure.name, way.name, number, measure.run(given, way))
    except (FlowsError, RuntimeError, LabError) as error:
        return Sample(measure.name, way.name, number, {}, str(error).partition("\n")[0])


def compare(given: Bench, ways: list[Way], chosen: list[Measure], rounds: int, until: float, results: Results) -> None:
    """Round after round, each measure over every way in turn. No round is begun that would not end before `until`."""
    longest = 0.0
    for number in range(rounds):
        start = time.monotonic()
        if start + longest > until:
            console.print(f"[yellow]{number} rounds: there is no time for another one")
            break
        for measure in chosen:
            for way in ways:
                if number and time.monotonic() > until:
                    return
                results.samples.append(sample := one(given, measure, way, number))
                said = sample.failed or ", ".join(f"{name} {value:.4g}" for name, value in sample.figures.items())
                console.print(f"[dim]{number + 1} {measure.name}, {way.name}:[/] {said}", soft_wrap=True)
        longest = max(longest, time.monotonic() - start)
        results.facts["settings"] |= {"rounds": number + 1, "took": round(longest)}
        results.write()


def chosen_ways(text: str | None, checkout: Path | None) -> dict[str, Make]:
    """Those of a comma-separated list, and of another checkout; typer.BadParameter for one that there is not."""
    names = [name.strip() for name in text.split(",")] if text else list(places.WAYS)
    if unknown := [name for name in names if name not in places.WAYS]:
        raise typer.BadParameter(f"{', '.join(unknown)}: one of {', '.join(places.WAYS)}", param_hint="--ways")
    found = {name: places.WAYS[name] for name in names}
    return found | ({places.BEFORE.name: partial(places.before, checkout)} if checkout else {})


def chosen_measures(flows: int, everything: bool, only: str | None) -> list[Measure]:
    """Those whose name contains `only`, or the main ones and that of so many flows, or all."""
    found = measures.measures(flows)
    if only:
        return [each for each in found if only.lower() in each.name.lower()]
    return [each for each in found if everything or each.main or (flows and f"{flows:,} " in each.name)]


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds.")] = 5,
    minutes: Annotated[float, typer.Option(help="No round is begun that would not be over after so long.")] = 25,
    seconds: Annotated[float, typer.Option(min=0.05, help="Length of a trial.")] = 0.4,
    ways: Annotated[str | None, typer.Option(help=f"Some of {', '.join(places.WAYS)}.")] = None,
    only: Annotated[str | None, typer.Option(help="Only measures whose name contains this.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also the other sizes of frames.")] = False,
    flows: Annotated[int, typer.Option(min=0, help="Also over so many flows, such as 1000000.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="One round of short trials: does it work?")] = False,
    before: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Compare also with nat64d of this checkout, which has a .venv."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the samples to this file.")] = None,
) -> None:
    """Compare IPv6 forwarding, masquerading, tayga, and nat64d without and with its fast path, also at interfaces."""
    if before and output and output.resolve() == pages.FILE:
        raise typer.BadParameter("what it holds is measured of this checkout alone", param_hint="--output")
    if reason := lab.obstacle():
        console.print(reason)
        raise typer.Exit(2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a stop also cleans up
    until = time.monotonic() + 60 * minutes
    rounds, seconds = (1, QUICK) if quick else (rounds, seconds)
    results = Results(output, {"seconds": seconds})
    with bench(seconds, chosen_ways(ways, before), flows) as (given, found):
        results.facts["generator"] = float(f"{measures.generator(given, found[0]):.4g}")
        console.print(f"the generator sends {results.facts['generator']:,.0f} frames a second")
        try:
            compare(given, found, chosen_measures(flows, everything, only), rounds, until, results)
        finally:
            results.write()
    if before:
        print(pages.comparison(pages.Samples(results.document())))
