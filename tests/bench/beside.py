"""Packets beside queries: what the gateway forwards while its name server answers, and while unbound answers as much.

The name server is a process of its own, so it can take from the packets only what any process takes: the processor.
Where there are two cores it does take that, from both; what matters is that it is no more than unbound takes.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

import typer

from nat64d.cli.lab import Namespace
from tests.bench import dns
from tests.bench.path import measures, places, run
from tests.bench.path.flows import SIX_TO_FOUR
from tests.bench.path.measures import Measure

RATE = 5_000  # queries a second, cached
OPENING = 3  # seconds that a measure takes besides, to open its flows
LOADS = ("nothing", *dns.PORTS)
CHOSEN = {
    measures.tcp(1, SIX_TO_FOUR): 1e-9,
    measures.full_load(32, SIX_TO_FOUR): 1e-3,
}  # and what a figure is shown in
UNITS = {1e-9: "Gb/s", 1e-3: "k/s"}


class Row(NamedTuple):
    """What was forwarded, and the share of the queries that was answered meanwhile."""

    measure: Measure
    load: str
    rate: float
    answered: float


@contextmanager
def asking(host: Namespace, load: str, file: Path, seconds: float) -> Iterator[list[float]]:
    """dnsperf at a fixed rate meanwhile; afterwards the share that was answered is in the list."""
    answered = [1.0]
    if load == "nothing":
        yield answered
        return
    process = dns.start_dnsperf(host, dns.PORTS[load], file, seconds, f"-Q{RATE}", "-q20000")
    try:
        yield answered
        answered[0] = dns.read(process.communicate(timeout=seconds + 20)[0], 0).rate / RATE
    finally:
        process.kill()
        process.wait()


def compare(rounds: int, seconds: float, say: Callable[[str], None]) -> list[Row]:
    """Every measure beside every load in turn, round after round."""
    rows = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nb")))
        given, (way,) = stack.enter_context(run.bench(seconds / 4, {"nat64d": places.nat64d}, 0))
        gateway = given.network.gateway
        stack.enter_context(dns.behind(gateway, directory))
        for subject in dns.SUBJECTS:
            stack.enter_context(subject(gateway, directory))
        file = directory / "questions"
        file.write_text(dns.questions(dns.MEASURES[0], "", 0))
        for port in (dns.UPSTREAM, *dns.PORTS.values()):
            dns.answering(gateway, port)
        for number in range(rounds):
            for measure in CHOSEN:
                for load in LOADS:
                    say(f"round {number + 1}: {measure.name} beside {load}")
                    with asking(gateway, load, file, seconds + OPENING) as answered:
                        figures = measure.run(given, way)
                    rows.append(Row(measure, load, figures["rate"], answered[0]))
    return rows


def documents(of: list[Row]) -> list[dict[str, Any]]:
    """Every sample, for JSON."""
    return [row._asdict() | {"measure": row.measure.name} for row in of]


def rows(of: list[dict[str, Any]]) -> list[Row]:
    """The samples again."""
    named = {measure.name: measure for measure in CHOSEN}
    return [Row(**one | {"measure": named[one["measure"]]}) for one in of]


def cells(rows: list[Row]) -> tuple[list[str], list[list[str]]]:
    """Head and body of the table."""
    body = []
    for measure, scale in CHOSEN.items():
        found = {load: [row for row in rows if (row.measure, row.load) == (measure, load)] for load in LOADS}
        body.append(
            [
                f"{measure.name}, {UNITS[scale]}",
                *(f"{median(row.rate for row in found[load]) * scale:,.2f}" for load in LOADS),
                *(_ratio(found["nat64d"], found[load]) for load in LOADS[:-1]),
                *(f"{median(row.answered for row in found[load]):.0%}" for load in LOADS[1:]),
            ]
        )
    beside, ratios = (f"beside {load}" for load in LOADS), (f"÷ {load}" for load in LOADS[:-1])
    return ["", *beside, *ratios, *(f"answered {load}" for load in LOADS[1:])], body


def _ratio(ours: list[Row], other: list[Row]) -> str:
    return f"{median(a.rate / b.rate for a, b in zip(ours, other, strict=True)):.2f}"


def title(rounds: int, seconds: float) -> str:
    """The title of the table."""
    medians = f"medians of {rounds} rounds of {seconds:g} s"
    return f"What nat64d forwards beside a name server that is asked {RATE:,} times a second; {medians}"


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds; the table shows medians.")] = 3,
    seconds: Annotated[float, typer.Option(min=1, help="Length of one measurement.")] = 3,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
) -> None:
    """Forward packets beside DNS load."""
    reason = dns.obstacle("iperf3")
    dns.show(reason, lambda say: cells(compare(rounds, seconds, say)), title(rounds, seconds), markdown)


if __name__ == "__main__":
    typer.run(main)
