"""What is right and what is not, and the table of it in docs/dns64.md."""

from collections.abc import Mapping

import dns.flags
import dns.message
import dns.rdatatype

from tests import readme
from tests.architecture import ROOT
from tests.dns64.side.measure import WAIT
from tests.dns64.side.row import LATE, Row, Seen
from tests.dns64.side.rows import GROUPS, ROWS

PAGE = ROOT / "docs/dns64.md"
NAMES = {"nat64d": "nat64d", "unbound": "unbound", "named": "BIND"}
VERSIONS = {"unbound": "1.17", "named": "9.18"}  # of Debian 12, whose behaviour the page tells
RIGHT = "right"
SHOWN = 2  # records a verdict names


def verdict(row: Row, seen: Seen) -> str:
    """`right`, or a few words about what came instead."""
    if row.right.silent or seen.octets is None:
        return RIGHT if row.right.silent and seen.octets is None else f"no answer in {WAIT:g} s"
    message = (seen.tcp or seen).message
    if message is None:
        return "nothing that can be read"
    late = f" after more than {LATE:g} s" if seen.seconds > LATE else ""
    if message.rcode().name not in row.right.rcode:
        return message.rcode().name + (f", {_few(_records(message))}" if message.answer else "") + late
    problem = _records_wrong(row, message) or _ttl_wrong(row, message)
    if not problem and row.right.authenticated is not None:
        authenticated = bool(message.flags & dns.flags.AD)
        problem = "" if authenticated is row.right.authenticated else "AD"
    if not problem and row.right.check is not None:
        problem = row.right.check(seen)
    return f"{problem or message.rcode().name}{late}" if problem or late else RIGHT


def _records(message: dns.message.Message) -> list[str]:
    return [
        f"{rrset.name.to_text().lower()} {dns.rdatatype.to_text(rrset.rdtype)} {item.to_text()}"
        for rrset in message.answer
        for item in rrset
    ]


def _records_wrong(row: Row, message: dns.message.Message) -> str:
    if row.right.records is None:
        return ""
    found = _records(message)
    if surplus := [record for record in found if record not in row.right.records]:
        return _few(surplus)
    if missing := [record for record in row.right.records if record not in found]:
        return f"no {missing[-1].split()[1]}" if len(missing) == 1 else f"{len(missing)} records missing"
    return "records twice" if len(found) != len(row.right.records) else ""


def _ttl_wrong(row: Row, message: dns.message.Message) -> str:
    type_ = message.question[0].rdtype if message.question else 0
    ttls = {rrset.ttl for rrset in message.answer if rrset.rdtype == type_}
    wanted = row.right.ttl
    wrong = [ttl for ttl in ttls if wanted is not None and not wanted - 1 <= ttl <= wanted]
    return f"TTL {_rounded(wrong[0])}" if wrong else ""


def _rounded(ttl: int) -> int:
    """A second may have passed."""
    return ttl + 1 if (ttl + 1) % 10 == 0 else ttl


def _few(records: list[str]) -> str:
    """Type and data of some records."""
    said = [" ".join(record.split()[1:3]) for record in sorted(records)[:SHOWN]]
    return "`" + "`, `".join(said) + "`" + (", …" if len(records) > SHOWN else "")


def cells(seen: Mapping[str, Mapping[str, Seen]], row: Row) -> tuple[str, ...]:
    """A row of the page."""
    measured = (verdict(row, seen[name][row.id]) for name in ("nat64d", *VERSIONS))
    return row.says, f"{row.wants} ({row.rule})", *measured


def fill(page: str, seen: Mapping[str, Mapping[str, Seen]]) -> str:
    """The page with its tables and its summary as measured."""
    return readme.fill(readme.fill(page, "rows", tables(seen)), "summary", summary(seen))


def tables(seen: Mapping[str, Mapping[str, Seen]]) -> str:
    """All tables, under their headings."""
    head = ("Case", "Right is", "nat64d", *(f"{NAMES[name]} {number}" for name, number in VERSIONS.items()))
    parts = (
        f"### {heading}\n\n{readme.table(head, (cells(seen, row) for row in rows))}" for heading, rows in GROUPS.items()
    )
    return "\n\n".join(parts)


def summary(seen: Mapping[str, Mapping[str, Seen]]) -> str:
    """How many rows each has right."""
    counts = {name: sum(verdict(row, seen[name][row.id]) == RIGHT for row in ROWS.values()) for name in NAMES}
    said = ", ".join(f"{NAMES[name]} {count}" for name, count in counts.items())
    return f"Of {len(ROWS)} rows right: {said}."


def verdicts(page: str, name: str) -> list[str]:
    """What the page says of a program, row by row."""
    column = {"nat64d": 3, "unbound": 4, "named": 5}[name]
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ") and line.count(" | ") == 4]
    return [row[column - 1].removesuffix(" |") for row in rows if row[0] != "| Case"]
