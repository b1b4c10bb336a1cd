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

from rich.table import Table

from tests.bench.traffic import Sample

CORE = "The core in memory, a million sessions in the table; medians"


class Figure(NamedTuple):
    """One line of the core's table: nanoseconds a packet, median, lowest and highest round."""

    name: str
    median: float
    low: float
    high: float


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


def cells(rows: Iterable[Row]) -> tuple[list[str], list[list[str]]]:
    """Head and body of the table: rates of every way, ratios of the last way to the others, CPU of the translators."""
    rows = list(rows)
    ways = list(dict.fromkeys(row.way for row in rows))
    subject, others = ways[-1], ways[:-1]
    head = [
        "",
        *ways,
        *(f"{subject} / {other}" for other in others),
        "CPU " + " | ".join(w for w in ways if w != "forwarding"),
    ]
    body = []
    for measure, unit in dict.fromkeys((row.measure, row.unit) for row in rows):
        groups = {w: [r.sample for r in rows if (r.measure, r.way) == (measure, w)] for w in ways}
        found = {w: summarize(samples) for w, samples in groups.items() if samples}
        rates = [rate(found[w], unit) if w in found else "–" for w in ways]
        ratios = [ratio(found.get(subject), found.get(other)) for other in others]
        costs = [cost(found[w], unit) if w in found else "–" for w in ways if w != "forwarding"]
        body.append([measure, *rates, *ratios, " | ".join(costs)])
    return head, body


def rate(summary: Summary, unit: str) -> str:
    """A rate with its spread in percent of the median; for packets also how many of those offered arrived."""
    spread = f"±{(summary.high - summary.low) / 2 / max(summary.rate, 1):.0%}"
    if unit == "bit/s":
        return f"{summary.rate / 1e9:.2f} Gb/s {spread}"
    return f"{summary.rate / 1e3:.0f} k/s {spread} ({summary.arrived:.0%})"


def ratio(subject: Summary | None, other: Summary | None) -> str:
    """How many times the other's rate."""
    return f"{subject.rate / other.rate:.2f}" if subject and other and other.rate else "–"


def cost(summary: Summary, unit: str) -> str:
    """CPU of the translator process for each datagram, or for each octet of TCP payload."""
    return f"{summary.cpu * 1e9:.2f} ns/octet" if unit == "bit/s" else f"{summary.cpu * 1e6:.2f} µs"


def core_cells(figures: Iterable[Figure]) -> tuple[list[str], list[list[str]]]:
    """Head and body of the core's table."""
    body = [[f.name, f"{f.median:.0f}", f"{f.low:.0f}–{f.high:.0f}", f"{1e3 / f.median:.1f}"] for f in figures]
    return ["", "ns a packet", "lowest–highest", "million packets/s"], body


def screen(title: str, head: Sequence[str], body: Iterable[Sequence[str]]) -> Table:
    """A table for the terminal."""
    table = Table(title=title, title_justify="left")
    for number, name in enumerate(head):
        table.add_column(name, justify="right" if number else "left", no_wrap=number == 0)
    for line in body:
        table.add_row(*line)
    return table


def markdown(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """The same table for a README."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)
