"""The bench of what needs no network: the translator in memory, and the name server beside unbound; pages.py makes
docs/measurements.md of it."""

import json
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tests.bench import beside, dns, pages, report

console = Console(stderr=True)
QUICK = 1  # rounds, and seconds


def measure_core(rounds: int | None) -> dict[str, Any]:
    """What is measured in memory, `rounds` times where that is not to be each one's own number. The modules, which
    compile, are imported only now."""
    from tests.bench import core, fills, mappings, reload, restart, services, sizes

    with console.status("core") as status:
        say = status.update
        mapped, seconds = mappings.run(say, rounds or mappings.ROUNDS)
        return {
            "core": _rows(core.run(say, rounds or core.ROUNDS)),
            "mappings": _rows(mapped),
            "loading": {"rows": mappings.MANY, "seconds": seconds},
            "services": _rows(services.run(say, rounds or services.ROUNDS)),
            "fills": _rows(fills.run(say, rounds or fills.ROUNDS)),
            "sizes": _rows(sizes.run(say, rounds or sizes.ROUNDS)),
            "restart": {"sessions": restart.SESSIONS, "seconds": restart.run(say, rounds or restart.ROUNDS)},
            "reload": [
                {"sessions": sessions, "spent": _rows(spent)}
                for sessions, spent in reload.run(say, rounds or reload.ROUNDS).items()
            ],
        }


def measure_dns(rounds: int, seconds: float) -> dict[str, Any]:
    """The name server beside unbound, and packets beside either; nothing, with a sentence, where a program is
    missing."""
    if reason := dns.obstacle("iperf3"):
        console.print(f"[yellow]The name server is left out: {reason}")
        return {}
    with console.status("name server") as status:
        return {
            "dns": dns.documents(dns.compare(rounds, seconds, status.update)),
            "beside": beside.documents(beside.compare(rounds, seconds, status.update)),
        }


def _rows(of: list[Any]) -> list[dict[str, Any]]:
    return [_plain(row) for row in of]


def _plain(value: Any) -> Any:
    """What JSON has: named tuples with their names, numbers of four digits."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(each) for name, each in value._asdict().items()}
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def written(document: dict[str, Any]) -> str:
    """The document, a row a line."""
    parts = []
    for name, value in document.items():
        rows = ",\n".join(json.dumps(row) for row in value) if isinstance(value, list) else ""
        parts.append(f'"{name}": [\n{rows}\n]' if rows else f'"{name}": {json.dumps(value)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds of the name server.")] = 3,
    seconds: Annotated[float, typer.Option(min=1, help="Length of one measurement of the name server.")] = 3,
    core: Annotated[bool, typer.Option(help="Measure the translator in memory.")] = True,
    dns64: Annotated[bool, typer.Option("--dns/--no-dns", help="And the name server.")] = True,
    quick: Annotated[bool, typer.Option("--quick", help="One short round: does it work?")] = False,
    output: Annotated[Path | None, typer.Option(help="Write all figures to this file.")] = None,
) -> None:
    """Measure the translator in memory, then compare the name server with unbound."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a stop also cleans up
    document: dict[str, Any] = {"host": report.host(), "rounds": rounds, "seconds": seconds}
    if quick:
        document |= {"rounds": (rounds := QUICK), "seconds": (seconds := QUICK)}
    if core:
        document |= measure_core(QUICK if quick else None)
    if dns64:
        document |= measure_dns(rounds, seconds)
    document = _plain(document)
    if output:
        output.write_text(written(document), "utf-8")
    print(pages.translator(document), pages.name_server(document), sep="\n\n")
