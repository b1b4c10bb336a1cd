"""Packets beside queries: what the gateway forwards while its name server answers, and while unbound answers as much.

The name server is a process of its own, so it can take from the packets only what any process takes: the processor.
Where there are two cores it does take that, from both; what matters is that it is no more than unbound takes.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple

import typer

from nat64d.cli.lab import Lab, Namespace
from tests.bench import dns, paths, report
from tests.bench.bench import MEASURES, Measure, run_one
from tests.bench.traffic import Sample

RATE = 5_000  # queries a second, cached
LOADS = ("nothing", *dns.PORTS)
CHOSEN = [measure for measure in MEASURES if measure.name in {"TCP, 1 stream, 6to4", "UDP, 64 octets, 6to4"}]


class Row(NamedTuple):
    """What was forwarded, and the share of the queries that was answered meanwhile."""

    measure: Measure
    load: str
    sample: Sample
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
        hosts = paths.build(stack.enter_context(Lab("beside")))
        stack.enter_context(paths.running(hosts.server, directory / "iperf3.log", "iperf3", "-s"))
        way = stack.enter_context(paths.nat64d(hosts, directory))
        stack.enter_context(dns.behind(hosts.gateway, directory))
        for subject in dns.SUBJECTS:
            stack.enter_context(subject(hosts.gateway, directory))
        file = directory / "questions"
        file.write_text(dns.questions(dns.MEASURES[0], "", 0))
        for port in (dns.UPSTREAM, *dns.PORTS.values()):
            dns.answering(hosts.gateway, port)
        for number in range(rounds):
            for measure in CHOSEN:
                for load in LOADS:
                    say(f"round {number + 1}: {measure.name} beside {load}")
                    with asking(hosts.gateway, load, file, seconds + 2) as answered:
                        sample = run_one(hosts, way, measure, seconds)
                    rows.append(Row(measure, load, sample, answered[0]))
    return rows


def cells(rows: list[Row]) -> tuple[list[str], list[list[str]]]:
    """Head and body of the table."""
    body = []
    for measure in dict.fromkeys(row.measure for row in rows):
        found = {load: [row for row in rows if (row.measure, row.load) == (measure, load)] for load in LOADS}
        body.append(
            [
                f"{measure.name}, {'k/s' if measure.payload else 'Gb/s'}",
                *(report.rate(report.summarize([row.sample for row in found[load]]), measure.unit) for load in LOADS),
                *(_ratio(found["nat64d"], found[load]) for load in LOADS[:-1]),
                *(f"{median(row.answered for row in found[load]):.0%}" for load in LOADS[1:]),
            ]
        )
    beside, ratios = (f"beside {load}" for load in LOADS), (f"÷ {load}" for load in LOADS[:-1])
    return ["", *beside, *ratios, *(f"answered {load}" for load in LOADS[1:])], body


def _ratio(ours: list[Row], other: list[Row]) -> str:
    return f"{median(a.sample.rate / b.sample.rate for a, b in zip(ours, other, strict=True)):.2f}"


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
