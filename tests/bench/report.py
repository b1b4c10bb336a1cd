"""Medians of the samples, as a table for the screen, as Markdown for the README, as JSON lines for other programs."""

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table

WIDTH = 112  # columns that the widest table needs
CORE = "The core in memory, a million sessions in the table; medians"
FILLS = "A new host's first packet, whatever an attacker has taken; medians"
SERVICES = "The core in memory, services beside a [[forward]]; medians, and of the ratios of neighbours in time"
SIZES = "The core in memory, by the number of sessions; medians"
RELOAD = "A reload that judges sessions, CPU time of one thread; medians"
MAPPINGS = "The core in memory, explicit mappings without sessions; medians"


NOISE = 0.05  # by how much figures of the same program differ, though each round says the same


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


def sentence(facts: dict[str, Any]) -> str:
    """The facts about the host, for the head of a table."""
    return (
        f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, Python {facts['python']}, "
        f"numba {facts['numba']}, {facts['date']}, load before the run {facts['load']}"
    )


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


def then_and_now(pairs: Sequence[tuple[float, float]], less_is_better: bool) -> list[str]:
    """Cells of a figure of two versions, the earlier one first, round by round: medians, the ratio, and whether it is
    worse in every round and by more than NOISE."""
    ratios = [now / then for then, now in pairs]
    middle, low, high = median(ratios), min(ratios), max(ratios)
    worse = low > 1 and middle > 1 + NOISE if less_is_better else high < 1 and middle < 1 - NOISE
    then, now = (f"{median(values):.4g}" for values in zip(*pairs, strict=True))
    return [then, now, f"{middle:.2f} ({low:.2f}–{high:.2f})", "worse" if worse else ""]


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
