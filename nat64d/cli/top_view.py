"""What `nat64d top` shows: two samples of the daemon in, a screen of some size out."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from nat64d.control.output import duration
from nat64d.control.rows import Row

WIDE = 140  # columns from which on tables stand side by side
LEAST = 3  # lines of a table: heading, a row, and how many there are besides
ORDERS = ("rate", "total")  # of the verdicts
KEYS = "q quit   p pause   s sort verdicts by "
UNITS = ("", "k", "M", "G", "T")
DIRECTIONS = ("6to4", "4to6")


class Sample(NamedTuple):
    """What the daemon said at a moment: /page/summary.json, and the hosts with most sessions."""

    moment: float  # of time.monotonic()
    summary: Row
    hosts: list[dict[str, Any]]

    @property
    def totals(self) -> dict[str, float]:
        """The totals by name."""
        return dict(zip(self.summary["columns"], self.summary["totals"], strict=True))


def rates(before: Sample, after: Sample) -> dict[str, Any]:
    """What passed between two samples, per second; what a script wants of `top --json`, too."""
    seconds = max(after.moment - before.moment, 1e-3)
    old, new = before.totals, after.totals
    grown = {name: max(new[name] - old[name], 0) / seconds for name in new if name not in {"seconds", "sessions"}}
    return {
        "state": after.summary["state"],
        "uptime": after.summary["uptime"],
        "sessions": int(new["sessions"]),
        "sessions_limit": after.summary["sessions_limit"],
        "protocols": after.summary["protocols"],
        **{
            direction: {
                "packets_per_second": round(grown[f"packets_{direction}"], 1),
                "bits_per_second": round(8 * grown[f"octets_{direction}"]),
            }
            for direction in DIRECTIONS
        },
        "dropped_per_second": round(grown["dropped"], 1),
        "verdicts": _grown(before, after, "counters", ("direction", "verdict"), "packets", seconds),
        "dns64": _grown(before, after, "queries", ("outcome",), "queries", seconds),
        "pools": after.summary["pools"],
        "services": _services(before, after, seconds),
        "conditions": after.summary["sentences"],
        "warnings": after.summary["warnings"],
        "hosts": after.hosts,
    }


def _grown(
    before: Sample, after: Sample, listing: str, key: tuple[str, ...], count: str, seconds: float
) -> list[dict[str, Any]]:
    """The rows of a listing of counts, each with its total and its rate, the highest rate first."""
    old = {tuple(row[name] for name in key): row[count] for row in before.summary[listing]}
    rows = [
        {
            **{name: row[name] for name in key},
            "total": row[count],
            "per_second": round(max(row[count] - old.get(tuple(row[name] for name in key), 0), 0) / seconds, 1),
        }
        for row in after.summary[listing]
    ]
    return sorted(rows, key=lambda row: (-row["per_second"], -row["total"]))


def _services(before: Sample, after: Sample, seconds: float) -> list[dict[str, Any]]:
    """The services with the rates of what came to them: those that nobody serves first, then by new flows."""
    old = {row["service"]: row for row in before.summary["services"]}
    rows = []
    for row in after.summary["services"]:
        grown = {
            name: max(row[name] - old.get(row["service"], row)[name], 0) / seconds for name in ("flows", "refused")
        }
        rows.append({**row, **{f"{name}_per_second": round(rate, 1) for name, rate in grown.items()}})
    return sorted(rows, key=lambda row: (row["ready"] > 0, -row["flows_per_second"], -row["sessions"]))


def short(number: float) -> str:
    """A number in at most six characters, such as `12.3k`."""
    for unit in UNITS:
        if number < 999.5 or unit == UNITS[-1]:
            return f"{number:.0f}{unit}" if number >= 99.95 or not unit else f"{number:.1f}{unit}"
        number /= 1000
    raise AssertionError


def screen(shown: dict[str, Any], version: str, order: str, width: int, height: int, notice: str = "") -> Group:
    """The whole screen, of that size at most; `shown` is what `rates` made, `notice` what is wrong with the daemon's
    answers, or that they are not shown."""
    head = list(_head(shown, version, notice))[: height - 1]
    room, side_by_side = height - len(head) - 1, width >= WIDE
    body = _side_by_side(shown, order, room) if side_by_side else _stacked(_tables(shown, order), room)
    for line in head:
        line.truncate(width, overflow="ellipsis")
        line.no_wrap = True
    return Group(*head, *body, Text(f"{KEYS}{order}", style="dim", no_wrap=True))


def _tables(shown: dict[str, Any], order: str) -> list["Cells"]:
    """The tables, the most important ones first."""
    services = [_of_services(shown)] if shown["services"] else []
    return [_verdicts(shown, order), *services, _hosts(shown), _pools(shown)]


def _stacked(tables: Sequence["Cells"], room: int) -> list[Table]:
    """As many tables as so many lines have room for, one below the other."""
    count = min(room // LEAST, len(tables))
    return [_table(*table, room // count - 1) for table in tables[:count]]


def _side_by_side(shown: dict[str, Any], order: str, room: int) -> list[Table]:
    """Tables in columns; pools are below services."""
    verdicts, *services, hosts, pools = _tables(shown, order)
    grid = Table.grid(padding=(0, 3))
    grid.add_row(*_stacked([verdicts], room), *_stacked([hosts], room), Group(*_stacked([*services, pools], room)))
    return [grid]


def _head(shown: dict[str, Any], version: str, notice: str) -> Iterator[Text]:
    used, limit = shown["sessions"], shown["sessions_limit"]
    share = f" ({100 * used / limit:.1f} %)" if limit else ""
    clock = time.strftime("%H:%M:%S")
    yield _text(f"nat64d {version}  {shown['state']}  up {duration(shown['uptime'])}  {clock}", style="bold")
    if notice:
        yield _text(notice, style="reverse")
    for direction in DIRECTIONS:
        flow = shown[direction]
        packets, bits = short(flow["packets_per_second"]), short(flow["bits_per_second"])
        yield _text(f"{direction}      {packets:>7} packets/s  {bits:>7}bit/s")
    yield _text(f"dropped   {short(shown['dropped_per_second']):>7} packets/s")
    protocols = "  ".join(f"{name} {count}" for name, count in shown["protocols"].items())
    yield _text(f"sessions  {used} of {limit}{share}  {protocols}")
    if shown["dns64"]:
        most = "  ".join(f"{row['outcome']} {short(row['per_second'])}/s" for row in shown["dns64"][:3])
        yield _text(f"dns64     {most}")
    wrong = [f"{row['condition']}: {row['sentence']}" for row in shown["conditions"]] + shown["warnings"]
    yield from (_text(f"! {sentence}", style="bold") for sentence in wrong[:3])
    if len(wrong) > 3:
        yield _text(f"! and {len(wrong) - 3} more: nat64d status")
    yield _text("")


def _text(text: str, style: str = "") -> Text:
    """What the daemon says, as it is: neither markup nor commands to the terminal."""
    return Text("".join(letter if letter.isprintable() else "�" for letter in text), style=style)


Cells = tuple[tuple[str, ...], Sequence[tuple[str, ...]]]


def _verdicts(shown: dict[str, Any], order: str) -> Cells:
    rows = shown["verdicts"]
    if order == "total":
        rows = sorted(rows, key=lambda row: -row["total"])
    cells = [(row["direction"], row["verdict"], short(row["per_second"]), short(row["total"])) for row in rows]
    return ("DIR", "VERDICT", ">PER S", ">TOTAL"), cells


def _hosts(shown: dict[str, Any]) -> Cells:
    names = ("sessions", "tcp", "udp", "icmp")
    cells = [(row["host6"], *(short(row[name]) for name in names)) for row in shown["hosts"]]
    return ("HOST", ">SESSIONS", ">TCP", ">UDP", ">ICMP"), cells


def _of_services(shown: dict[str, Any]) -> Cells:
    cells = [
        (
            row["service"],
            f"{row['ready']}/{row['endpoints']}",
            *(short(row[name]) for name in ("sessions", "flows_per_second", "refused_per_second")),
        )
        for row in shown["services"]
    ]
    return ("SERVICE", ">READY", ">SESSIONS", ">NEW PER S", ">REFUSED PER S"), cells


def _pools(shown: dict[str, Any]) -> Cells:
    cells = [
        (row["addresses"], row["protocol"], short(row["used"]), f"{100 * row['fullest']:.1f}", str(row["full"]))
        for row in sorted(shown["pools"], key=lambda row: -row["fullest"])
    ]
    return ("POOL", "PROTOCOL", ">USED", ">FULLEST %", ">FULL"), cells


def _table(heads: Iterable[str], rows: Sequence[tuple[str, ...]], lines: int) -> Table:
    """Rows below their heading; the last line says how many there is no room for."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="underline")
    for head in heads:
        table.add_column(head.lstrip(">"), justify="right" if head.startswith(">") else "left", no_wrap=True)
    shown = rows if len(rows) <= lines else rows[: lines - 1]
    for row in shown:
        table.add_row(*map(_text, row))
    if len(shown) < len(rows):
        table.add_row(f"+{len(rows) - len(shown)}")
    return table
