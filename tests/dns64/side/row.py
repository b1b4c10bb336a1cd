"""A row of the comparison: what the scripted server says, what is asked, and what is right."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import dns.flags
import dns.message

from tests.dns64.side.script import Says, lines, nodata

PREFIX = "64:ff9b::/96"
CLIENT = "127.0.0.1"  # the only one that may ask
STRANGER = "127.0.0.99"
LATE = 5.0  # seconds; resolv.conf(5): a stub asks again or gives up then
ANSWER4, MADE = "192.0.2.1", "64:ff9b::c000:201"


@dataclass(frozen=True)
class Seen:
    """What came back; no message: nothing, or nothing that dnspython reads."""

    octets: bytes | None
    message: dns.message.Message | None
    seconds: float
    tcp: "Seen | None" = None  # what came by TCP, after an answer that was truncated
    upstream: frozenset[tuple[str, str]] = frozenset()  # what the server was asked meanwhile, by this name


@dataclass(frozen=True)
class Right:
    """What is right: the rcode, exactly these records ("name TYPE data"), the TTL of those of the type asked for."""

    records: tuple[str, ...] | None = None
    rcode: tuple[str, ...] = ("NOERROR",)
    ttl: int | None = None
    authenticated: bool | None = None  # AD
    check: Callable[[Seen], str] | None = None  # "" or what is wrong
    silent: bool = False


@dataclass(frozen=True)
class Row:
    """`says` is the table's first column, `rule` the RFC and `wants` what it says."""

    id: str
    says: str
    rule: str
    wants: str
    script: Mapping[tuple[str, str], Says]
    right: Right
    query: bytes
    source: str = CLIENT


def domain(id_: str) -> str:
    """A row's own name, which has a server address of its own at the other two."""
    return f"{id_}.example."


def query(name: str, type_: str = "AAAA", **options: object) -> bytes:
    """A query as a stub resolver sends it; RFC 6891 with 1232 octets unless `use_edns` says otherwise."""
    flags = options.pop("flags", 0)
    given: dict[str, object] = {"use_edns": 0, "payload": 1232, **options}
    message = dns.message.make_query(name, type_, **given)  # type: ignore[arg-type]
    message.flags |= flags  # type: ignore[operator]
    return message.to_wire()


def made(id_: str, *addresses: str) -> tuple[str, ...]:
    """AAAA records of a row's name."""
    return tuple(f"{domain(id_)} AAAA {address}" for address in addresses or (MADE,))


def row(
    id_: str,
    says: str,
    rule: str,
    wants: str,
    aaaa: Says | None,
    right: Right | None = None,
    a: Says | None = None,
    more: Mapping[tuple[str, str], Says] | None = None,
    asked: bytes | None = None,
    **options: object,
) -> Row:
    """An AAAA query for the row's name, which has an A record unless said otherwise; right is a synthetic answer."""
    name = domain(id_)
    script = {(name, "AAAA"): aaaa or nodata(name), (name, "A"): a or lines(f"{name} 300 IN A {ANSWER4}")}
    script |= more or {}
    return Row(id_, says, rule, wants, script, right or Right(made(id_)), asked or query(name), **options)  # type: ignore[arg-type]
