"""The tables of docs/measurements.md, from the figures in docs/measurements.json. `make readme` writes them."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from statistics import median
from typing import Any

from tests.architecture import ROOT
from tests.bench import beside, dns, report
from tests.bench.report import Figure, Ratio

FILE = ROOT / "docs/measurements.json"


@cache
def measured() -> dict[str, Any]:
    """What was measured last."""
    document: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return document


def translator(given: dict[str, Any] | None = None) -> str:
    """Machine, and what is measured in memory."""
    found = given or measured()
    parts = (f"{make(found)}" for name, make in PARTS.items() if name in found)
    return "\n\n".join([f"{report.sentence(found['host'])}.", *parts])


def name_server(given: dict[str, Any] | None = None) -> str:
    """The name server beside unbound, and packets beside both."""
    found = given or measured()
    if "dns" not in found:
        return ""
    rounds, seconds = found["rounds"], found["seconds"]
    return "\n\n".join(
        [
            _table(dns.title(rounds, seconds), dns.cells(dns.rows(found["dns"]))),
            _table(beside.title(rounds, seconds), beside.cells(beside.rows(found["beside"]))),
        ]
    )


def _table(title: str, cells: tuple[list[str], list[list[str]]]) -> str:
    return f"{title}:\n\n{report.markdown(*cells)}"


def _figures(rows: list[dict[str, Any]]) -> list[Figure]:
    return [Figure(**row) for row in rows]


def core(given: dict[str, Any]) -> str:
    """A packet of sessions."""
    return _table(report.CORE, report.core_cells(_figures(given["core"])))


def mappings(given: dict[str, Any]) -> str:
    """A packet of explicit mappings."""
    loading = report.loading(**given["loading"])
    return _table(f"{loading} {report.MAPPINGS}", report.core_cells(_figures(given["mappings"])))


def services(given: dict[str, Any]) -> str:
    """A packet of services."""
    ratios = [
        Ratio(**row | {"forward": Figure(**row["forward"]), "service": Figure(**row["service"])})
        for row in given["services"]
    ]
    return _table(report.SERVICES, report.ratio_cells(ratios))


def fills(given: dict[str, Any]) -> str:
    """The first packet of a host. What it is to be compared with is the first one of its protocol."""
    figures = _figures(given["fills"])
    rest = {figure.name.partition(",")[0]: figure.median for figure in reversed(figures)}
    return _table(report.FILLS, report.fill_cells(figures, [rest[each.name.partition(",")[0]] for each in figures]))


def sizes(given: dict[str, Any]) -> str:
    """What many sessions cost."""
    few, many = given["sizes"]

    def lines() -> Iterator[tuple[str, float, float, int]]:
        yield "octets of memory for a session, its mapping and its host", few["octets"], many["octets"], 0
        for name, share in few.get("shares", {}).items():
            other = many["shares"][name]
            yield f"of them a {name}, octets", share["records"], other["records"], 0
            yield f"and room for a {name} in the indexes, octets", share["indexes"], other["indexes"], 0
        for name in few["packets"]:
            yield f"a packet, {name}, ns", few["packets"][name], many["packets"][name], 0
        for name, key in (("taken over after a restart", "start"), ("listed", "listing"), ("ended", "expiry")):
            yield f"{name}, s of CPU", few[key], many[key], 2

    body = [[name, f"{a:,.{digits}f}", f"{b:,.{digits}f}", f"{b / a:.2f}"] for name, a, b, digits in lines()]
    return _table(report.SIZES, (["", *(f"{size['sessions']:,} sessions" for size in (few, many)), "ratio"], body))


def restart(given: dict[str, Any]) -> str:
    """What the sessions of before cost a start."""
    one = given["restart"]
    spent = one["seconds"]
    return (
        f"After a restart {one['sessions']:,} sessions are taken over in {median(spent):.2f} s "
        f"({min(spent):.2f}–{max(spent):.2f}) of CPU time."
    )


def reload(given: dict[str, Any]) -> str:
    """For how long packets wait."""

    def spread(values: list[float], digits: int = 1) -> str:
        low, middle, high = (f"{1e3 * value:.{digits}f}" for value in (min(values), median(values), max(values)))
        return f"{middle} ({low}–{high})"

    body = [
        [
            f"{row['sessions']:,} sessions",
            spread([each["pause"] for each in row["spent"]]),
            spread([each["all"] for each in row["spent"]], 0),
        ]
        for row in given["reload"]
    ]
    return _table(report.RELOAD, (["", "packets wait, ms", "all of it, ms"], body))


PARTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "core": core,
    "sizes": sizes,
    "mappings": mappings,
    "services": services,
    "fills": fills,
    "restart": restart,
    "reload": reload,
}
