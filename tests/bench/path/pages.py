"""docs/performance.md and its charts, from the samples in docs/performance.json. `make readme` writes them."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from statistics import median
from typing import Any, NamedTuple

from tests.architecture import ROOT
from tests.bench import report
from tests.bench.path import chart
from tests.bench.path.chart import Bar
from tests.bench.path.flows import DIRECTIONS
from tests.bench.path.measures import MANY, SIZES

FILE = ROOT / "docs/performance.json"
BASE = "forwarding"  # what ratios are to
SUBJECT, TUN = "fast path", "nat64d"
AT = "fast path at interfaces"


BEFORE = "before"
LESS_IS_BETTER = ("cpu", "memory", "idle p50", "idle p99", "half p50", "half p99")
COMPARED = ("rate", "delivered", "ended", *LESS_IS_BETTER)


class Line(NamedTuple):
    """A row of a table: one figure of one measure, times `scale`."""

    title: str
    measure: str
    figure: str
    scale: float
    digits: int = 0


class Goal(NamedTuple):
    """What a ratio of the fast path is to be."""

    title: str
    measure: str
    figure: str
    other: str
    bound: float
    least: bool
    subject: str = SUBJECT


class Samples:
    """The figures by measure, way and round."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.rows = document["samples"]
        self.ways = list(dict.fromkeys(row["way"] for row in self.rows))
        self.measures = list(dict.fromkeys(row["measure"] for row in self.rows))

    def of(self, measure: str, way: str, figure: str) -> dict[int, float]:
        """A figure in each round that has it."""
        return {
            row["round"]: row["figures"][figure]
            for row in self.rows
            if (row["measure"], row["way"]) == (measure, way) and figure in row["figures"]
        }

    def ratio(self, measure: str, way: str, other: str, figure: str) -> float | None:
        """The median of the ratios within each round; None where there is none."""
        ours, theirs = self.of(measure, way, figure), self.of(measure, other, figure)
        found = [ours[number] / theirs[number] for number in ours if theirs.get(number)]
        return median(found) if found else None


@cache
def samples() -> Samples:
    """What was measured last."""
    return Samples(json.loads(FILE.read_text("utf-8")))


def cell(given: Samples, line: Line, way: str) -> str:
    """Median, lowest and highest, and the ratio to forwarding."""
    found = [value * line.scale for value in given.of(line.measure, way, line.figure).values()]
    if not found:
        return "–"
    middle, low, high = (f"{value:,.{line.digits}f}" for value in (median(found), min(found), max(found)))
    ratio = given.ratio(line.measure, way, BASE, line.figure)
    return f"{middle} ({low}–{high})" + (f" **{ratio:.2f}**" if ratio is not None and way != BASE else "")


def table(given: Samples, title: str, lines: list[Line]) -> Iterator[str]:
    """A table with its title, of what there is of its lines."""
    body = [[line.title, *(cell(given, line, way) for way in given.ways)] for line in lines]
    if body := [cells for cells in body if set(cells[1:]) != {"–"}]:
        yield f"{title}:\n\n{report.markdown(['', *given.ways], body)}"


def _both(name: str, figure: str, scale: float, digits: int = 0, label: str = "") -> list[Line]:
    return [Line(f"{label or name}, {way}", f"{name}, {way}", figure, scale, digits) for way in DIRECTIONS]


def _delays() -> Iterator[Line]:
    for direction in DIRECTIONS:
        for load, key in (("idle", "idle"), ("half of the loss-free rate", "half")):
            for title, name in (("p50", "p50"), ("p99", "p99"), ("variation", "pdv")):
                measure = f"{MANY_FLOWS}, {direction}"
                yield Line(f"{direction}, {load}, {title}", measure, f"{key} {name}", 1e6, 1)


MANY_FLOWS = f"UDP, {MANY:,} flows"


def tables() -> str:
    """Everything between the markers of docs/performance.md."""
    given = samples()
    udp = [name for name in given.measures if name.startswith("UDP") and "octets" not in name]
    sizes = [name for name in given.measures if "octets" in name]
    parts = [
        facts(given),
        goals(given),
        *table(given, "Thousand datagrams a second without a loss", [Line(n[5:], n, "rate", 1e-3) for n in udp]),
        *table(given, "Thousand a second that arrive at full load", [Line(n[5:], n, "delivered", 1e-3) for n in udp]),
        *table(given, "Percent that are lost at full load", [Line(n[5:], n, "loss", 100) for n in udp]),
        *table(given, f"One-way delay of a datagram, {MANY:,} flows, µs", list(_delays())),
        *table(given, "CPU time of the machine for a datagram, µs", _both("CPU for a datagram", "cpu", 1e6, 2)),
        *table(
            given,
            "TCP, Gb/s",
            [Line(name[5:], name, "rate", 1e-9, 2) for name in given.measures if name.startswith("TCP")],
        ),
        *table(
            given,
            "New flows, thousand a second",
            [
                Line("opened without a loss", "New flows", "rate", 1e-3),
                Line("opened at full load", "New flows", "delivered", 1e-3),
                Line("sessions ended at once", "New flows", "ended", 1e-3),
            ],
        ),
        *table(
            given, "By the size of a frame, thousand a second without a loss", [Line(n, n, "rate", 1e-3) for n in sizes]
        ),
        *table(given, "Octets of memory for each flow", [Line(name[5:], name, "memory", 1) for name in udp]),
        *failures(given),
    ]
    return "\n\n".join(parts)


def speed() -> str:
    """The sentence about speed in README.md: of both directions, the slower one."""
    given = samples()

    def percent(way: str, streams: str) -> str:
        found = [given.ratio(f"TCP, {streams}, {direction}", way, BASE, "rate") for direction in DIRECTIONS]
        return f"{100 * min(ratio for ratio in found if ratio is not None):.0f}"

    one, eight = ([percent(way, streams) for way in (TUN, SUBJECT)] for streams in ("1 stream", "8 streams"))
    return (
        f"One TCP stream reaches {one[0]} % of the rate of plain kernel forwarding, eight streams {eight[0]} %; with "
        f"the [fast path](docs/fastpath.md), which is off by default, {one[1]} and {eight[1]} % "
        "([performance](docs/performance.md))."
    )


def facts(given: Samples) -> str:
    """Machine and run."""
    run = given.document["settings"]
    rounds = run.get("rounds", 1)
    return (
        f"{report.sentence(given.document['host'])}. {rounds} round{'s' if rounds > 1 else ''}, "
        f"trials of {run['seconds']:g} s. "
        f"The generator alone: {given.document['generator'] / 1e3:,.0f} thousand frames a second on one core."
    )


GOALS = [
    *(Goal(f"TCP, 1 stream, {way}", f"TCP, 1 stream, {way}", "rate", BASE, 0.90, True) for way in DIRECTIONS),
    *(Goal(f"TCP, 8 streams, {way}", f"TCP, 8 streams, {way}", "rate", BASE, 0.80, True) for way in DIRECTIONS),
    *(Goal(f"Loss-free, {MANY_FLOWS}, {way}", f"{MANY_FLOWS}, {way}", "rate", BASE, 0.8, True) for way in DIRECTIONS),
    *(Goal(f"Loss-free, {MANY_FLOWS}, {way}", f"{MANY_FLOWS}, {way}", "rate", TUN, 1.5, True) for way in DIRECTIONS),
    *(
        Goal(f"Loss-free, {MANY_FLOWS}, {way}, at interfaces", f"{MANY_FLOWS}, {way}", "rate", BASE, 0.8, True, AT)
        for way in DIRECTIONS
    ),
    *(Goal(f"CPU for a datagram, {way}", f"CPU for a datagram, {way}", "cpu", BASE, 1.3, False) for way in DIRECTIONS),
    *(Goal(f"Delay, idle, p50, {way}", f"{MANY_FLOWS}, {way}", "idle p50", BASE, 1.15, False) for way in DIRECTIONS),
]


def goals(given: Samples) -> str:
    """What the fast path is to reach, and whether it does."""
    body = []
    for goal in GOALS:
        ratio = given.ratio(goal.measure, goal.subject, goal.other, goal.figure)
        if ratio is not None:
            met = ratio >= goal.bound if goal.least else ratio <= goal.bound
            bound = f"{'at least' if goal.least else 'at most'} {goal.bound:.2f}"
            other = goal.other if goal.other == BASE else "without the fast path"
            body.append([goal.title, other, f"{ratio:.2f}", bound, "" if met else "missed"])
    return f"The fast path, as a ratio:\n\n{report.markdown(['', 'to', 'ratio', 'goal', ''], body)}"


def comparison(given: Samples) -> str:
    """The way through the daemon beside that of another checkout."""
    body = []
    for measure in given.measures:
        for figure in COMPARED:
            then, now = (given.of(measure, way, figure) for way in (BEFORE, TUN))
            pairs = [(then[number], now[number]) for number in now if then.get(number)]
            if pairs:
                body.append([f"{measure}: {figure}", *report.then_and_now(pairs, figure in LESS_IS_BETTER)])
    return report.markdown(["", BEFORE, TUN, f"÷ {BEFORE}", ""], body)


def failures(given: Samples) -> Iterator[str]:
    """What could not be measured."""
    found = dict.fromkeys(f"* {row['measure']}, {row['way']}: {row['failed']}" for row in given.rows if "failed" in row)
    if found:
        yield "Not measured in each round:\n\n" + "\n".join(found)


def _bars(measure: Callable[[str], str], scale: float) -> list[tuple[str, list[Bar]]]:
    given = samples()
    groups = []
    for direction in DIRECTIONS:
        found = {way: given.of(measure(direction), way, "rate").values() for way in given.ways}
        bars = [
            Bar(way, *(value * scale for value in (median(each), min(each), max(each))))
            for way, each in found.items()
            if each
        ]
        groups.append((direction, bars))
    return groups


def rates() -> str:
    """The chart of loss-free rates."""
    bars = _bars(lambda direction: f"{MANY_FLOWS}, {direction}", 1e-3)
    return chart.draw(f"Thousand datagrams a second without a loss, {MANY:,} flows, {SIZES[0]} octets", bars)


def streams() -> str:
    """The chart of TCP."""
    return chart.draw("Gb/s of TCP, 8 streams", _bars(lambda direction: f"TCP, 8 streams, {direction}", 1e-9))


CHARTS = {ROOT / "docs/performance-udp.svg": rates, ROOT / "docs/performance-tcp.svg": streams}
