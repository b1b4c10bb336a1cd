"""The name server beside Debian's unbound: the same questions, the same server behind them, one core each in turn.

    dnsperf ──► nat64d.dns64.service.process ──► unbound that answers from its configuration
            └─► unbound, "dns64 iterator" ──┘

All of it on the loopback of one namespace. `python -m tests.bench.dns` prints only this table.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console

from nat64d.cli import lab
from nat64d.cli.lab import Lab, LabError, Namespace
from nat64d.config.models import Config, Dns64
from nat64d.dns64.service.plan import plan
from tests.bench import report
from tests.bench.traffic import process_cpu

NEEDED = ("dnsperf", "unbound", "taskset")
PREFIX = "64:ff9b::/96"
UPSTREAM = 5300  # ports of 127.0.0.1
PORTS = {"unbound": 5301, "nat64d": 5302}
WARM = 300  # names that are asked for again and again
FRESH = 50_000  # a second of a measurement: more names than any of the two answers

_serving = """\
server:
  do-daemonize: no
  username: ""
  chroot: ""
  directory: ""
  pidfile: ""
  use-syslog: no
  do-ip6: no
  num-threads: 1
  interface: 127.0.0.1
  port: {port}
"""
# Any name below a.bench has an A record, any below dual.bench AAAA as well.
_upstream = """\
  module-config: "iterator"
  local-zone: "a.bench." redirect
  local-data: "a.bench. 300 IN A 198.51.100.1"
  local-data: "a.bench. 300 IN SOA ns.bench. admin.bench. 1 3600 600 86400 300"
  local-zone: "dual.bench." redirect
  local-data: "dual.bench. 300 IN A 198.51.100.2"
  local-data: "dual.bench. 300 IN AAAA 2001:db8::2"
"""
# Without the validator, which nat64d has none to compare with.
_unbound = f"""\
  module-config: "dns64 iterator"
  dns64-prefix: {PREFIX}
  do-not-query-localhost: no
  msg-cache-size: 64m
  rrset-cache-size: 64m
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{UPSTREAM}
"""


Table = tuple[list[str], list[list[str]]]  # head and body


class Measure(NamedTuple):
    """One row: the questions, and how many a second (0: as many as are answered)."""

    name: str
    fresh: bool  # asked for the first time, so that the server behind is asked
    below: tuple[str, ...]  # zones and types in turn
    rate: int = 0


class Sample(NamedTuple):
    """What one run of dnsperf came to: queries a second, CPU seconds a query, latencies in seconds."""

    rate: float
    lost: float
    cpu: float
    p99: float


class Row(NamedTuple):
    """One sample and where it comes from."""

    measure: Measure
    subject: str
    sample: Sample


class Subject(NamedTuple):
    """A server under test."""

    name: str
    pid: int


ANY = ("a.bench. AAAA", "a.bench. A", "dual.bench. AAAA", "dual.bench. A")
MEASURES = (
    Measure("cached", False, ANY),
    Measure("forwarded, A", True, ("a.bench. A",)),
    Measure("forwarded, AAAA made of A", True, ("a.bench. AAAA",)),
    Measure("forwarded, A and AAAA of a name", True, ("a.bench. A", "a.bench. AAAA")),
    Measure("cached, at a fixed rate", False, ANY, 10_000),
    Measure("forwarded, AAAA, at a fixed rate", True, ("a.bench. AAAA",), 1_000),
)


def cores() -> tuple[int, int, int]:
    """Of the server under test, of the server behind it, of dnsperf; the last two share where there are but two."""
    found = sorted(os.sched_getaffinity(0))
    return found[0], found[min(1, len(found) - 1)], found[-1]


@contextmanager
def behind(host: Namespace, directory: Path) -> Iterator[Subject]:
    """The server that knows the zones."""
    yield from _running(host, directory, "upstream", _serving.format(port=UPSTREAM) + _upstream, cores()[1])


@contextmanager
def unbound(host: Namespace, directory: Path) -> Iterator[Subject]:
    """Debian's unbound as a DNS64 forwarder."""
    yield from _running(host, directory, "unbound", _serving.format(port=PORTS["unbound"]) + _unbound, cores()[0])


def _running(host: Namespace, directory: Path, name: str, text: str, core: int) -> Iterator[Subject]:
    config = directory / f"{name}.conf"
    config.write_text(text)
    with (directory / f"{name}.log").open("w") as log:
        process = host.popen("taskset", "-c", str(core), "unbound", "-d", "-c", str(config), stderr=log)
    try:
        yield Subject(name, process.pid)
    finally:
        process.kill()
        process.wait()


@contextmanager
def nat64d(host: Namespace, directory: Path) -> Iterator[Subject]:
    """nat64d's name server as the daemon starts it; a limit of the rate is kept, but one that is never met."""
    dns64 = Dns64(listen=(f"127.0.0.1:{PORTS['nat64d']}",), upstream=(f"127.0.0.1:{UPSTREAM}",), rate=1_000_000)
    document = plan(Config(pool6=PREFIX, dns64=dns64), (), [])
    command = "taskset", "-c", str(cores()[0]), sys.executable, "-m", "nat64d.dns64.service.process"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (directory / "nat64d.log").open("w") as log:
        process = host.popen(*command, stderr=log, **pipes)
    try:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps({"plan": document}) + '\n{"ready": true}\n')
        process.stdin.flush()
        if not (said := process.stdout.readline()) or json.loads(said)["problems"]:
            raise LabError(f"The name server did not start: {said}{(directory / 'nat64d.log').read_text()[-2000:]}")
        yield Subject("nat64d", process.pid)
    finally:
        process.kill()
        process.wait()


SUBJECTS: tuple[Callable[[Namespace, Path], AbstractContextManager[Subject]], ...] = (unbound, nat64d)


def questions(measure: Measure, mark: str, seconds: float) -> str:
    """Lines for dnsperf; `mark` makes names new."""
    count = int((measure.rate or FRESH) * (seconds + 1)) if measure.fresh else WARM
    mark = mark if measure.fresh else "w"
    below = measure.below
    return "".join(f"{mark}n{number // len(below)}.{below[number % len(below)]}\n" for number in range(count))


def start_dnsperf(host: Namespace, port: int, file: Path, seconds: float, *more: str) -> subprocess.Popen[str]:
    """It runs."""
    command = "taskset", "-c", str(cores()[2]), "dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(file)
    return host.popen(*command, "-T1", "-c8", "-t2", "-l", f"{seconds:g}", *more, stdout=subprocess.PIPE)


def dnsperf(host: Namespace, port: int, file: Path, seconds: float, *more: str) -> str:
    """What it printed in the end."""
    process = start_dnsperf(host, port, file, seconds, *more)
    try:
        return process.communicate(timeout=seconds + 20)[0]
    finally:
        process.kill()
        process.wait()


def measure_one(
    host: Namespace, subject: Subject, measure: Measure, file: Path, mark: str, seconds: float, *more: str
) -> Sample:
    """One run against one server."""
    port = PORTS[subject.name]
    file.write_text(questions(measure, mark, seconds))
    if not measure.fresh:
        dnsperf(host, port, file, 1, "-n1")
    begin = process_cpu(subject.pid)
    said = dnsperf(host, port, file, seconds, *(("-v", f"-Q{measure.rate}", "-q20000") if measure.rate else ()), *more)
    return read(said, process_cpu(subject.pid) - begin)


def read(said: str, cpu: float) -> Sample:
    """dnsperf's own words: the sums at the end and, if it gave them, the latency of each query. LabError if there is
    no answer, or another than NOERROR."""
    numbers = {name: float(value) for name, value in re.findall(r"^ +([A-Z][a-z ]+): +([\d.]+)", said, re.MULTILINE)}
    answers = re.search(r"Response codes: +NOERROR \d+ \(100\.00%\)", said)
    done = numbers.get("Queries completed", 0)
    if not done or not answers:
        raise LabError(f"dnsperf did not get the answers it should have:\n{said[-2000:]}")
    latencies = sorted(float(line.rpartition(" ")[2]) for line in said.splitlines() if line.startswith("> NOERROR"))
    p99 = latencies[len(latencies) * 99 // 100] if latencies else 0.0
    return Sample(numbers["Queries per second"], numbers["Queries lost"] / numbers["Queries sent"], cpu / done, p99)


def answering(host: Namespace, port: int, patience: float = 10.0) -> None:
    """Wait until a port answers. LabError if it does not."""
    end = time.monotonic() + patience
    probe = ("dnsperf", "-s", "127.0.0.1", "-p", str(port), "-n1", "-t1")
    while "NOERROR" not in host.run(*probe, stdin="probe.a.bench. A\n", check=False).stdout:
        if time.monotonic() > end:
            raise LabError(f"Nobody answers at port {port}.")


def compare(rounds: int, seconds: float, say: Callable[[str], None]) -> list[Row]:
    """Every measure against both servers in turn, round after round."""
    rows = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nb")))
        host = stack.enter_context(Lab("dns")).namespace("dns")
        stack.enter_context(behind(host, directory))
        subjects = [stack.enter_context(subject(host, directory)) for subject in SUBJECTS]
        for port in (UPSTREAM, *PORTS.values()):
            answering(host, port)
        for number in range(rounds):
            for place, measure in enumerate(MEASURES):
                for subject in subjects:
                    say(f"round {number + 1}: {measure.name}, {subject.name}")
                    mark = f"r{number}m{place}"
                    sample = measure_one(host, subject, measure, directory / "questions", mark, seconds)
                    rows.append(Row(measure, subject.name, sample))
    return rows


def obstacle(*more: str) -> str | None:
    """Why this cannot be measured here, in one sentence. `more`: programs that are needed too."""
    missing = [program for program in (*NEEDED, *more) if not shutil.which(program)]
    return f"{missing[0]} is not installed." if missing else lab.obstacle()


def cells(rows: Sequence[Row]) -> Table:
    """Head and body of the table."""
    subjects = list(dict.fromkeys(row.subject for row in rows))
    body = []
    for measure in dict.fromkeys(row.measure for row in rows):
        found = [[row.sample for row in rows if (row.measure, row.subject) == (measure, name)] for name in subjects]
        pairs = list(zip(*found, strict=True))
        body.append(
            [
                measure.name,
                *(f"{median(one.rate for one in samples):,.0f}{_lost(samples)}" for samples in found),
                "" if measure.rate else f"{median(ours.rate / theirs.rate for theirs, ours in pairs):.2f}",
                *(f"{median(one.cpu for one in samples) * 1e6:.0f} µs" for samples in found),
                *(f"{median(one.p99 for one in samples) * 1e3:.2f} ms" if measure.rate else "" for samples in found),
            ]
        )
    heads = [f"{kind}{name}" for kind in ("", "CPU ", "99 % ") for name in subjects]
    return ["Queries/s", *heads[:2], f"÷ {subjects[0]}", *heads[2:]], body


def _lost(samples: Sequence[Sample]) -> str:
    worst = max(one.lost for one in samples)
    return f" (lost {worst:.1%})" if worst else ""


def documents(of: Sequence[Row]) -> list[dict[str, Any]]:
    """Every sample, for JSON."""
    return [{"measure": row.measure.name, "server": row.subject} | row.sample._asdict() for row in of]


def rows(of: Sequence[dict[str, Any]]) -> list[Row]:
    """The samples again."""
    named = {measure.name: measure for measure in MEASURES}
    return [
        Row(named[one["measure"]], one["server"], Sample(*(one[name] for name in Sample._fields)))
        for one in of
        if one["measure"] in named
    ]


def title(rounds: int, seconds: float) -> str:
    """The title of the table."""
    medians = f"medians of {rounds} rounds of {seconds:g} s"
    return f"The name server beside unbound, one core each; {medians}; CPU for each query"


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds; the table shows medians.")] = 3,
    seconds: Annotated[float, typer.Option(min=1, help="Length of one measurement.")] = 3,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
) -> None:
    """Compare the name server with unbound."""
    show(obstacle(), lambda say: cells(compare(rounds, seconds, say)), title(rounds, seconds), markdown)


def show(reason: str | None, measured: Callable[[Callable[[str], None]], Table], heading: str, markdown: bool) -> None:
    """Measure and print a table, below the machine it comes from; or why that cannot be."""
    console = Console(stderr=True)
    if reason:
        console.print(reason)
        raise typer.Exit(2)
    facts = report.host()
    with console.status("") as status:
        table = measured(status.update)
    out = Console(width=max(console.width, report.WIDTH), highlight=False, markup=False)
    out.print(report.sentence(facts))
    out.print(report.markdown(*table) if markdown else report.screen(heading, *table))


if __name__ == "__main__":
    typer.run(main)
