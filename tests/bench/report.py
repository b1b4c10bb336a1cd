"""Medians of the samples, as a table for the screen, as Markdown for the README, as JSON lines for other programs."""

import json
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tests.bench.traffic import Sample

WIDTH = 112  # columns that the table of all three ways needs
CORE = "The core in memory, a million sessions in the table; medians"
FILLS = "A new host's first packet, whatever an attacker has taken; medians"
SERVICES = "The core in memory, services beside a [[forward]]; medians, and of the ratios of neighbours in time"
MAPPINGS = "The core in memory, explicit mappings without sessions; medians"


class Figure(NamedTuple):
    """One line of the core's table: nanoseconds a packet, median, lowest and highest round."""

    name: str
    median: float
    low: float
    high: float


class Ratio(NamedTuple):
    """What something of a service costs, in times of the same of a [[forward]]: the median of the rounds' ratios, and
    the `most` it may be, if that is said."""

    name: str
    forward: Figure
    service: Figure
    ratio: float
    most: float | None


class Row(NamedTuple):
    """One sample and where it comes from."""

    measure: str
    unit: str  # "bit/s" | "packet/s"
    way: str
    round: int
    sample: Sample

    def as_json(self) -> str:
        """One line of the JSON file."""
        record = {"measure": self.measure, "way": self.way, "round": self.round, "unit": self.unit}
        return json.dumps(record | self.sample._asdict())


class Summary(NamedTuple):
    """The medians of one measure over one way, with the lowest and highest rate."""

    rate: float
    low: float
    high: float
    arrived: float
    cpu: float


def summarize(samples: Sequence[Sample]) -> Summary:
    """Medians, field by field."""
    rates = [s.rate for s in samples]
    return Summary(
        median(rates), min(rates), max(rates), median(s.arrived for s in samples), median(s.cpu for s in samples)
    )


def host() -> dict[str, Any]:
    """What the figures depend on: machine, kernel, versions, and when."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "numba": _version("numba"),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def json_lines(facts: dict[str, Any], rows: Iterable[Row], figures: Iterable[Figure]) -> Iterator[str]:
    """The facts about the host, every sample, the figures of the core."""
    yield json.dumps({"host": facts})
    yield from (row.as_json() for row in rows)
    yield from (
        json.dumps({"core": f.name, "unit": "ns", "median": f.median, "low": f.low, "high": f.high}) for f in figures
    )


def sentence(facts: dict[str, Any]) -> str:
    """The facts about the host, for the head of a table."""
    return (
        f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, Python {facts['python']}, "
        f"numba {facts['numba']}, {facts['date']}, load before the run {facts['load']}"
    )


def cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Head and body of the table: rates of every way, ratios of the last way to the others, CPU of the translators."""
    ways = list(dict.fromkeys(row.way for row in rows))
    subject, others, translators = ways[-1], ways[:-1], [way for way in ways if way != "forwarding"]
    body = []
    for measure, unit in dict.fromkeys((row.measure, row.unit) for row in rows):
        samples = {w: [r.sample for r in rows if (r.measure, r.way) == (measure, w)] for w in ways}
        found = {way: summarize(samples[way]) for way in ways}
        rates = [rate(found[way], unit) for way in ways]
        ratios = [ratio(samples[subject], samples[other]) for other in others]
        costs = [cost(found[way], unit) for way in translators]
        body.append([f"{measure}, {'Gb/s' if unit == 'bit/s' else 'k/s'}", *rates, *ratios, *costs])
    return ["", *ways, *(f"÷ {way}" for way in others), *(f"CPU {way}" for way in translators)], body


def rate(summary: Summary, unit: str) -> str:
    """A rate; for packets also how many of those offered arrived."""
    return f"{summary.rate / 1e9:.2f}" if unit == "bit/s" else f"{summary.rate / 1e3:.0f} ({summary.arrived:.0%})"


def ratio(subject: Sequence[Sample], other: Sequence[Sample]) -> str:
    """How many times the other's rate: the median of the rounds' ratios, each of neighbours in time."""
    return f"{median(s.rate / o.rate for s, o in zip(subject, other, strict=True)):.2f}"


def cost(summary: Summary, unit: str) -> str:
    """CPU of the translator process for each octet of TCP payload, or for each datagram."""
    return f"{summary.cpu * 1e9:.2f} ns" if unit == "bit/s" else f"{summary.cpu * 1e6:.2f} µs"


def widest(rows: Sequence[Row]) -> str:
    """How far apart the rounds were, at worst: what to make of small differences."""
    spreads = {}
    for key in dict.fromkeys((row.measure, row.way) for row in rows):
        found = summarize([row.sample for row in rows if (row.measure, row.way) == key])
        spreads[key] = (found.high - found.low) / found.rate
    (measure, way), spread = max(spreads.items(), key=lambda item: item[1])
    return f"Rounds differed by {median(spreads.values()):.0%} of the rate, at most {spread:.0%} ({measure}, {way})."


def figure(name: str, took: Sequence[float]) -> Figure:
    """The rounds of one measurement."""
    return Figure(name, median(took), min(took), max(took))


def loading(rows: int, seconds: float) -> str:
    """How long the configuration took to load."""
    return f"A configuration of {rows:,} rows of [[eam]] is loaded, checked and hashed in {seconds:.1f} s of CPU."


def core_cells(figures: Iterable[Figure]) -> tuple[list[str], list[list[str]]]:
    """Head and body of the core's table."""
    body = [[f.name, f"{f.median:.0f}", f"{f.low:.0f}–{f.high:.0f}", f"{1e3 / f.median:.1f}"] for f in figures]
    return ["", "ns a packet", "lowest–highest", "million packets/s"], body


def ratio_cells(ratios: Iterable[Ratio]) -> tuple[list[str], list[list[str]]]:
    """Head and body of the table of services."""
    body = [
        [
            one.name,
            *(f"{each.median:.0f} ({each.low:.0f}–{each.high:.0f})" for each in (one.forward, one.service)),
            f"{one.ratio:.2f}",
            f"{one.most:.2f}{'' if one.ratio <= one.most else ' MISSED'}" if one.most else "",
        ]
        for one in ratios
    ]
    return ["", "[[forward]], ns", "[[service]], ns", "ratio", "at most"], body


def fill_cells(figures: Sequence[Figure], at_rest: Sequence[float]) -> tuple[list[str], list[list[str]]]:
    """Head and body of the table of fills; `at_rest`: what each is to be compared with."""
    body = [
        [f.name, f"{f.median:.0f}", f"{f.low:.0f}–{f.high:.0f}", f"{f.median / rest:.2f}"]
        for f, rest in zip(figures, at_rest, strict=True)
    ]
    return ["", "ns a packet", "lowest–highest", "÷ at rest"], body


def screen(title: str, head: Sequence[str], body: Iterable[Sequence[str]]) -> Table:
    """A table for the terminal."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for number, name in enumerate(head):
        table.add_column(name, justify="right" if number else "left", no_wrap=number == 0)
    for line in body:
        table.add_row(*line)
    return table


def markdown(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """The same table for a README."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
