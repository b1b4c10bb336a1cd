"""`nat64d who`: whose an IPv4 address and port is, or was at a time (docs/cgn.md). By the configuration, where it
follows from that; else by the running daemon, or by the log of what began and ended."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from fileinput import FileInput, hook_compressed
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, NamedTuple

import typer

from nat64d.config.computed import block_of, owner_of
from nat64d.config.defaults import BUILT_IN
from nat64d.config.load import load
from nat64d.config.models import Config
from nat64d.control.client import Client, DaemonUnreachableError, RequestRefusedError
from nat64d.exitcode import ExitCode
from translator.static.arithmetic import with_suffix

# A line of [log] session_file.
LINE = re.compile(
    r"(?P<at>\S+Z) (?P<event>(?:block|mapping|session)-[a-z]+) (?P<protocol>\w+) (?P<host>\S+) "
    r"(?P<mapped4>[0-9.]+):(?P<first>\d+)(?:-(?P<last>\d+))?(?: (?P<host4>\S+))? [a-z]+"
)
BEGINS = {"block-allocated", "mapping-created", "session-created"}
EXACT_FIRST = ("mapping", "session", "block")  # what is more exact comes first


class UnknownError(Exception):
    """Nobody is known; its text is one sentence that says why."""


class Question(NamedTuple):
    """What is asked: `time` is None for now."""

    address: IPv4Address
    port: int
    protocol: str
    time: datetime | None = None

    def __str__(self) -> str:
        return f"{self.address}:{self.port} {self.protocol}"


class Answer(NamedTuple):
    """Who it is: an IPv6 host, or a subscriber, which is a prefix; `since` is a time as ISO 8601 has it."""

    who: str
    source: str  # configuration, daemon or log
    reason: str
    since: str | None = None


class Event(NamedTuple):
    """A line of the log."""

    at: datetime
    event: str
    protocol: str
    host: str
    mapped4: str
    first: int
    last: int
    host4: str  # of a session: with whom it is


def by_configuration(config: Config, question: Question) -> Answer | None:
    """Whose it always is."""
    address, port, protocol = question.address, question.port, question.protocol
    for forward in config.forward:
        end4, end6 = forward.end4, forward.end6
        if protocol in forward.protocols and end4.address == address and end4.first <= port <= end4.last:
            host = f"[{end6.address}]:{end6.first + port - end4.first}"
            return Answer(host, "configuration", f"[[forward]] {forward.ipv4} to {forward.ipv6}")
    for service in config.service:
        if protocol in service.protocols and service.end4 and service.end4[:2] == (address, port):
            hosts = " ".join(one.address for one in service.ordered) or "nobody"
            return Answer(hosts, "configuration", f"an endpoint each connection of [[service]] {service.name}")
    rows = [row for row in config.eam if address in row.ipv4]
    if rows:
        row = max(rows, key=lambda row: row.ipv4.prefixlen)
        hi, lo = divmod(int(row.ipv6[0]), 1 << 64)
        hi, lo = with_suffix(hi, lo, row.ipv6.prefixlen, int(address), row.ipv4.prefixlen)
        host = f"[{IPv6Address(hi << 64 | lo)}]:{port}"
        return Answer(host, "configuration", f"[[eam]] {row.ipv4} to {row.ipv6}")
    block = owner_of(config, address, port, protocol)
    if block is None:
        return None
    return Answer(str(block.subscriber), "configuration", f"its computed block, {address}:{block.first}-{block.last}")


def by_daemon(client: Client, config: Config, question: Question, now: datetime) -> Answer:
    """Whose it is now. Raises UnknownError, DaemonUnreachableError, RequestRefusedError."""
    where = {"mapped4": str(question.address)}
    for row in client.rows("/v1/bib", {**where, "proto": question.protocol, "port": str(question.port)}):
        if row["mapped4_port"] == question.port:
            return Answer(f"[{row['host6']}]:{row['host6_port']}", "daemon", "a mapping that is in use")
    for row in client.rows("/v1/blocks", where) if config.limits.port_block else ():
        if row["first_port"] <= question.port <= row["last_port"]:
            since = datetime.fromtimestamp(now.timestamp() - row["seconds"], UTC).isoformat(timespec="seconds")
            reason = f"its block, {question.address}:{row['first_port']}-{row['last_port']}"
            return Answer(f"{row['subscriber']}/{config.limits.subscriber}", "daemon", reason, since)
    raise UnknownError(f"{question}: nobody has it now; for an earlier time give --time and --log")


def events(lines: Iterable[str]) -> Iterator[Event]:
    """The lines that are about blocks, mappings and sessions: text, or JSON with the same as fields."""
    for line in lines:
        if line.startswith("{"):
            try:
                row = json.loads(line)
            except ValueError:
                continue
        else:
            row = match.groupdict() if (match := LINE.search(line)) else {}
        if event := _event(row):
            yield event


def _event(row: dict[str, Any]) -> Event | None:
    try:
        at = datetime.fromisoformat(row["at"])
        first = int(row.get("first") or row.get("first_port") or row["mapped4_port"])
        last = int(row.get("last") or row.get("last_port") or first)
        host = row.get("host") or row.get("subscriber") or f"[{row['host6']}]:{row['host6_port']}"
        host4 = f"{row['host4']}:{row['host4_port']}" if "host4_port" in row else str(row.get("host4"))
        return Event(at, row["event"], row["protocol"], host, row["mapped4"], first, last, host4)
    except (KeyError, TypeError, ValueError):
        return None


def by_log(found: Iterable[Event], question: Question) -> Answer:
    """Who had it at a time: for whom it began last, unless that ended by then. An address and port has one holder at a
    time, and a log may begin in the middle, and lack an end. Raises UnknownError."""
    time = question.time
    assert time is not None
    mine = [
        event
        for event in found
        if event.at <= time
        and event.mapped4 == str(question.address)
        and event.first <= question.port <= event.last
        and (event.event.startswith("block") or event.protocol == question.protocol)
    ]
    held: dict[str, tuple[Event, set[str]]] = {}  # by kind: with what its last holder began, and what is left of it
    for event in sorted(mine, key=lambda event: event.at):
        kind = event.event.partition("-")[0]
        begun, left = held.get(kind, (event, set()))
        if event.event in BEGINS:
            if not left or begun.host != event.host:
                held[kind] = begun, left = event, set()
            left.add(event.host4)
        elif begun.host == event.host:
            left.discard(event.host4)
    for kind in EXACT_FIRST:
        if kind in held and held[kind][1]:
            event = held[kind][0]
            ports = f"{event.first}-{event.last}" if kind == "block" else str(event.first)
            return Answer(event.host, "log", f"{kind} {event.mapped4}:{ports}", event.at.isoformat())
    raise UnknownError(f"{question}: the log has nobody who had it at {time.isoformat()}")


def answer(config: Config, question: Question, socket: str, logs: list[Path]) -> Answer:
    """Who has, or had, it. Raises UnknownError, DaemonUnreachableError, and OSError if a log cannot be read."""
    if found := by_configuration(config, question):
        return found
    if logs:
        at = question if question.time else question._replace(time=datetime.now(UTC))
        with FileInput(logs, openhook=hook_compressed, encoding="utf-8", errors="replace") as lines:
            return by_log(events(lines), at)
    if question.time:
        raise UnknownError(f"{question}: it does not follow from the configuration; give the log of that time by --log")
    try:
        return by_daemon(Client(socket), config, question, datetime.now(UTC))
    except (DaemonUnreachableError, RequestRefusedError) as error:
        kind = DaemonUnreachableError if isinstance(error, DaemonUnreachableError) else UnknownError
        raise kind(f"{question}: it does not follow from the configuration, and {error}") from None


def block_sentence(config: Config, host6: IPv6Address) -> dict[str, object]:
    """The address and ports that are computed for an IPv6 host. Raises UnknownError."""
    block = block_of(config, host6)
    if block is None:
        raise UnknownError(f"{host6}: it is in the source of no [[pool4]] that is deterministic")
    row = {"subscriber": str(block.subscriber), "address": str(block.address)}
    return {**row, "first_port": block.first, "last_port": block.last}


Beside = Callable[[str, Config], tuple[Config, str | None]]


def main(
    question: Question | IPv6Address,
    config: Path | None,
    socket: str,
    logs: list[Path],
    as_json: bool,
    beside: Beside = lambda _, file: (file, None),
) -> ExitCode:
    """Print the answer. WRONG or UNREACHABLE with a sentence where there is none; raises ConfigError. `beside` adds
    what is set beside a file, or says why it cannot."""
    effective, complaint = beside(str(config or BUILT_IN), load(config))
    if complaint:
        typer.echo(f"nat64d: {complaint}", err=True)
    try:
        if isinstance(question, IPv6Address):
            row = block_sentence(effective, question)
            text = f"{row['subscriber']}  {row['address']}:{row['first_port']}-{row['last_port']}"
        else:
            found = answer(effective, question, socket, logs)
            row = {"address": str(question.address), "port": question.port, "protocol": question.protocol}
            row |= found._asdict()
            since = f", since {found.since}" if found.since else ""
            text = f"{found.who}  {found.source}: {found.reason}{since}"
    except (UnknownError, DaemonUnreachableError, OSError) as error:
        typer.echo(f"nat64d: {error} ({config or BUILT_IN})", err=True)
        return ExitCode.UNREACHABLE if isinstance(error, DaemonUnreachableError) else ExitCode.WRONG
    typer.echo(json.dumps(row) if as_json else text)
    return ExitCode.GOOD
