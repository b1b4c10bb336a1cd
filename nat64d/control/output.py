"""Text output of the commands: rows of the API become aligned lines.

Columns are separated by two spaces and an empty cell is `-`; only the last columns contain spaces, so `awk` can count
the others. Widths come from the first rows, so that a listing is printed while it arrives; a later, wider cell widens
the lines after it.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

SAMPLE = 1000  # rows that determine the widths
EMPTY = "-"

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, the text of its cell for a row, whether it is a number (right-aligned), and whether it
    is left out where the first rows have nothing in it."""

    heading: str
    cell: Callable[[Row], str]
    number: bool = False
    optional: bool = False


def table(columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[str]:
    """The heading line, then one line per row as the rows arrive; without line ends."""
    rows = iter(rows)
    first = list(islice(rows, SAMPLE))
    columns = [c for c in columns if not c.optional or any(c.cell(row) != EMPTY for row in first)]
    cells = ([column.cell(row) for column in columns] for row in chain(first, rows))
    sample = [[column.heading for column in columns], *islice(cells, SAMPLE)]
    widths = [max(map(len, column)) for column in zip(*sample, strict=True)]
    for line in chain(sample, cells):
        widths = [max(width, len(cell)) for width, cell in zip(widths, line, strict=True)]
        yield "  ".join(
            cell.rjust(width) if column.number else cell.ljust(width)
            for column, cell, width in zip(columns, line, widths, strict=True)
        ).rstrip()


def facts(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """One line `name  value` per pair, the values aligned."""
    listed = list(pairs)
    width = max((len(name) for name, _ in listed), default=0)
    return (f"{name.ljust(width)}  {value}" for name, value in listed)


def plain(value: Any) -> str:
    """A JSON value as text: lists as words, objects as `name=value` words, null and empty values as `-`."""
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case dict():
            return " ".join(f"{name}={plain(part)}" for name, part in value.items()) or EMPTY
        case list():
            return " ".join(map(plain, value)) or EMPTY
        case None | "":
            return EMPTY
    return str(value)


def duration(seconds: float) -> str:
    """Seconds as text without spaces, such as `59s`, `2h03m59s` or `3d00h00m`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02}h{minute:02}m"
    if hours:
        return f"{hours}h{minute:02}m{second:02}s"
    return f"{minutes}m{second:02}s" if minutes else f"{second}s"


def endpoint(address: str, port: int) -> str:
    """A transport address as text: `[2001:db8::1]:5000` or `192.0.2.1:5000`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def fields(names: Iterable[str]) -> list[Column]:
    """A column for each of these fields of a row, as it is."""
    return [_field(name) for name in names]


def _field(key: str, heading: str = "", number: bool = False, optional: bool = False) -> Column:
    return Column((heading or key).upper(), lambda row: plain(row[key]), number, optional)


def _end(key: str) -> Column:
    return Column(key.upper(), lambda row: endpoint(row[key], row[f"{key}_port"]))


SESSIONS = (
    _field("protocol"),
    _end("host6"),
    _end("mapped4"),
    _end("host4"),
    _field("state"),
    Column("EXPIRES", lambda row: duration(row["expires_in"]), number=True),
    *(
        _field(key, number=True, optional=True)
        for key in ("packets_6to4", "octets_6to4", "packets_4to6", "octets_4to6")
    ),
)
BIB = (_field("protocol"), _end("host6"), _end("mapped4"), _field("static"), _field("sessions", number=True))
HOSTS = (
    _field("host6"),
    _field("mapped4"),
    *(_field(key, number=True) for key in ("sessions", "bib", "tcp", "udp", "icmp", "other")),
)
BLOCKS = (
    _field("subscriber"),
    _field("mapped4"),
    Column("PORTS", lambda row: f"{row['first_port']}-{row['last_port']}"),
    _field("mappings", number=True),
    Column("SINCE", lambda row: duration(row["seconds"]), number=True),
)
POOLS = (
    _field("addresses"),
    _field("ports"),
    _field("protocol"),
    _field("source"),
    _field("used", number=True),
    _field("total", number=True),
    Column("USED%", lambda row: f"{100 * row['used'] / row['total']:.1f}" if row["total"] else EMPTY, number=True),
)
MAPPINGS = (
    _field("kind"),
    _field("protocol"),
    _field("ipv6"),
    _field("ipv6_ports", "ports"),
    _field("ipv4"),
    _field("ipv4_ports", "ports"),
    _field("source"),
)
SERVICES = (
    _field("service"),
    _field("protocol"),
    _field("ipv4"),
    _field("ipv4_ports", "port"),
    _field("ipv6", "endpoint"),
    _field("ipv6_ports", "port"),
    _field("weight", number=True),
    _field("sessions", number=True),
    _field("state"),
    _field("why"),
)
SERVICES_AT_A_GLANCE = (
    _field("service"),
    Column("PROTOCOLS", lambda row: ",".join(row["protocols"])),
    _field("ipv4"),
    _field("ipv4_ports", "port"),
    *(_field(key, number=True) for key in ("ready", "endpoints", "sessions", "flows", "refused", "unpinned")),
    _field("problem"),
)
COUNTERS = (_field("direction"), _field("verdict"), _field("packets", number=True), _field("rfc"), _field("help"))
QUERIES = (_field("outcome"), _field("queries", number=True), _field("rfc"), _field("help"))
NAME_SERVERS = (
    _field("server"),
    _field("asked", number=True),
    _field("answered", number=True),
    _field("failed", number=True),
    Column("MILLISECONDS", lambda row: f"{1000 * row['seconds']:.1f}", number=True),
    Column("LAST FAILURE", lambda row: row["problem"] or EMPTY),
)
EVENTS = (_field("event"), _field("count", number=True), _field("help"))


def rate(row: Row) -> str:
    """What was counted in a second, in columns of fixed widths: the time, the direction of packets, what, how often,
    and of packets how many octets."""
    clock = time.strftime("%H:%M:%S", time.localtime(row["time"]))
    (name,) = (row[key] for key in ("verdict", "outcome", "event") if key in row)
    times, *octets = (value for key, value in row.items() if key.endswith("_per_second"))
    return f"{clock}  {row.get('direction', EMPTY):4}  {name:28}  {times:12.1f}  {octets[0] if octets else EMPTY:>14}"


def explanation(document: Row) -> Iterator[str]:
    """The lines of an Explanation: name and RFC of each step before the first of its findings."""
    width = max(len(step["rfc"] or "") for step in document["steps"])
    for step in document["steps"]:
        for line, found in enumerate(step["found"]):
            name, rfc = (step["step"], step["rfc"] or "") if line == 0 else ("", "")
            yield f"{name:14}  {rfc:{width}}  {found}"


def explanation_as_json(document: Row) -> Iterator[str]:
    """One JSON object per step, then one for the verdict."""
    yield from map(json.dumps, document["steps"])
    yield json.dumps({name: value for name, value in document.items() if name != "steps"})


def happening(row: Row) -> str:
    """One event, with its number and local time."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["time"]))
    return f"{row['number']:>6}  {moment}  {row['event']:14}  {row['text']}"


def reloaded(document: Row) -> Iterator[str]:
    """What a reload or change set has changed: a line for each change and warning, and what became of the sessions."""
    yield from (change["text"] for change in document["changes"])
    yield from (f"warning: {sentence}" for sentence in document["warnings"])
    yield document["summary"]


def status(document: Row) -> Iterator[str]:
    """The status as `name  value` lines in the order of the API, one line per warning and condition."""
    limits = document.get("limits", {})
    for_people: Mapping[str, Callable[[Any], str]] = {
        "uptime": duration,
        "sessions": lambda count: f"{count} of {limits['sessions']}" if "sessions" in limits else str(count),
    }
    listed = {"warnings", "conditions"}
    shown = [(name, for_people.get(name, plain)(value)) for name, value in document.items() if name not in listed]
    sentences = [("warning", sentence) for sentence in document.get("warnings", [])]
    return facts((*shown, *sentences, *(("condition", _condition(row)) for row in document.get("conditions", []))))


def _condition(row: Row) -> str:
    effect = "packets cannot pass" if row["blocks"] else "packets pass"
    return f"{row['condition']} for {duration(row['seconds'])} ({effect}): {row['sentence']}"
