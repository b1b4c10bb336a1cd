"""The bench: every measure over every way, in alternating rounds, medians at the end.

Needs root, iperf3 and (for that column) tayga. All traffic stays in namespaces that are removed at the end.
"""

import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from nat64d.cli import lab
from nat64d.cli.lab import Lab
from tests.bench import dns, paths, report
from tests.bench.paths import Hosts, MissingError, Way, entered
from tests.bench.traffic import (
    ETHERNET,
    IPV6,
    PORT,
    SETTLE,
    UDP,
    Counter,
    Generator,
    Pair,
    Sample,
    measure_tcp,
    measure_udp,
    open_pair,
    udp_socket,
)

console = Console(stderr=True)


class Measure(NamedTuple):
    """One row of the table."""

    name: str
    reverse: bool  # the server sends: 4to6
    streams: int = 1
    payload: int = 0  # octets of a UDP datagram; 0 for TCP

    @property
    def unit(self) -> str:
        """What `Sample.rate` counts."""
        return "packet/s" if self.payload else "bit/s"


MEASURES = (
    Measure("TCP, 1 stream, 6to4", False),
    Measure("TCP, 1 stream, 4to6", True),
    Measure("TCP, 8 streams, 6to4", False, streams=8),
    Measure("TCP, 8 streams, 4to6", True, streams=8),
    Measure("UDP, 64 octets, 6to4", False, payload=64),
    Measure("UDP, 64 octets, 4to6", True, payload=64),
    Measure("UDP, 1200 octets, 6to4", False, payload=1200),
    Measure("UDP, 1200 octets, 4to6", True, payload=1200),
)


@contextmanager
def open_pairs(hosts: Hosts, way: Way, flows: int) -> Iterator[list[Pair]]:
    """UDP flows between client and server over one way; closed at the end."""
    family = socket.AF_INET if way.server.version == 4 else socket.AF_INET6
    with ExitStack() as stack:
        pairs = []
        for port in range(PORT, PORT + flows):
            with entered(hosts.client):
                client = stack.enter_context(udp_socket(socket.AF_INET6, port))
            with entered(hosts.server):
                server = stack.enter_context(udp_socket(family, port))
            pairs.append(open_pair(client, server, way.target))
        yield pairs


def run_udp(hosts: Hosts, way: Way, measure: Measure, seconds: float) -> Sample:
    """One UDP measurement over one way."""
    with entered(hosts.client if measure.reverse else hosts.server):
        counter = Counter(hosts.gateway.name)
    header = ETHERNET + IPV6 + UDP if measure.reverse else way.server_header
    with open_pairs(hosts, way, measure.streams) as pairs:
        senders = [pair.server if measure.reverse else pair.client for pair in pairs]
        sample = measure_udp(Generator(senders, measure.payload), counter, header, measure.payload, seconds, way.cpu)
        time.sleep(SETTLE)
    counter.close()
    return sample


def run_one(hosts: Hosts, way: Way, measure: Measure, seconds: float) -> Sample:
    """One measurement over one way."""
    if measure.payload:
        return run_udp(hosts, way, measure, seconds)
    return measure_tcp(hosts.client, way.target, measure.streams, measure.reverse, seconds, way.cpu)


def open_ways(stack: ExitStack, hosts: Hosts, names: list[str], directory: Path) -> list[Way]:
    """Start the translators, all in the same gateway; those that cannot be had are named and left out."""
    ways = []
    for name in names:
        try:
            with console.status(f"starting {name} (nat64d compiles for a minute when it is new)"):
                ways.append(stack.enter_context(paths.WAYS[name](hosts, directory)))
        except MissingError as error:
            console.print(f"[yellow]{name} is left out: {error}")
    return ways


def compare(names: list[str], measures: list[Measure], rounds: int, seconds: float) -> list[report.Row]:
    """Every measure over every way, round after round; the ways alternate within a measure."""
    rows = []
    columns = SpinnerColumn(), TextColumn("{task.completed}/{task.total} {task.description}"), TimeElapsedColumn()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nb")))
        hosts = paths.build(stack.enter_context(Lab("bench")))
        stack.enter_context(paths.running(hosts.server, directory / "iperf3.log", "iperf3", "-s"))
        ways = open_ways(stack, hosts, names, directory)
        progress = stack.enter_context(Progress(*columns, console=console, refresh_per_second=2, transient=True))
        task = progress.add_task("", total=rounds * len(measures) * len(ways))
        for number in range(rounds):
            for measure in measures:
                for way in ways:
                    progress.update(task, description=f"round {number + 1}: {measure.name} over {way.name}")
                    sample = run_one(hosts, way, measure, seconds)
                    rows.append(report.Row(measure.name, measure.unit, way.name, number, sample))
                    progress.advance(task)
    return rows


def chosen(text: str | None, among: list[str], option: str) -> list[str]:
    """The names of a comma-separated list; typer.BadParameter for one that is not among them."""
    names = [name.strip() for name in text.split(",")] if text else among
    if unknown := [name for name in names if name not in among]:
        raise typer.BadParameter(f"{', '.join(unknown)}: one of {', '.join(among)}", param_hint=option)
    return names


def require() -> None:
    """typer.Exit with one sentence if the comparison cannot run here."""
    reason = lab.obstacle()
    if not reason and not shutil.which("iperf3"):
        reason = "iperf3 is not installed (apt-get install iperf3)."
    if reason:
        console.print(reason)
        raise typer.Exit(2)


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
    """What queries cost packets; its module needs this one."""
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
    ways: Annotated[str | None, typer.Option(help=f"Some of {', '.join(paths.WAYS)}; the last is the subject.")] = None,
    only: Annotated[str | None, typer.Option(help="Only measures whose name contains this, e.g. 'UDP, 64'.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write every sample to this file, one JSON object a line.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
    core: Annotated[bool, typer.Option(help="Measure the translator core as well.")] = True,
    dns64: Annotated[bool, typer.Option("--dns/--no-dns", help="And the name server.")] = True,
) -> None:
    """Compare plain kernel forwarding, tayga and nat64d in one run, then measure the translator core in memory, then
    compare the name server with unbound."""
    names = chosen(ways, list(paths.WAYS), "--ways")
    measures = [m for m in MEASURES if (only or "").lower() in m.name.lower()]
    if not measures:
        raise typer.BadParameter(f"in none of: {'; '.join(m.name for m in MEASURES)}", param_hint="--only")
    require()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a stop also cleans up
    facts = report.host()
    rows = compare(names, measures, rounds, seconds)
    measured = measure_core() if core else Core([], [], "", [])
    served = measure_dns(rounds, seconds) if dns64 else []
    if json:
        lines = [*report.json_lines(facts, rows, measured.all), *dns.json_lines(served)]
        json.write_text("".join(line + "\n" for line in lines))
    medians = f"Medians of {rounds} rounds of {seconds:g} s; CPU for each octet (TCP) or datagram (UDP)"
    tables = [(medians, *report.cells(rows))] if rows else []
    if core:
        tables += measured.tables
    if served:
        tables.append((dns.title(rounds, seconds), *dns.cells(served)))
        tables.append(measure_beside(rounds, seconds))
    out = Console(width=max(console.width, report.WIDTH), highlight=False, markup=False)
    out.print(report.sentence(facts), *([report.widest(rows)] if rows else []), sep="\n")
    for title, head, body in tables:
        if markdown:
            print("", f"{title}:", "", report.markdown(head, body), sep="\n")
        else:
            out.print("", report.screen(title, head, body))
