"""What the control plane asks of the daemon: the shapes of the rows, the filters of the listings, and the Protocol.

The TypedDicts are the one description of the rows: the daemon may build them, the OpenAPI document is made from them.
All times are seconds, all addresses text, all ports numbers (the ICMP identifier is a port everywhere).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal, Protocol, TypedDict

from nat64d.dns64.outcome import Outcome

Row = Mapping[str, Any]  # one of the TypedDicts below
ProtocolName = Annotated[str, "tcp, udp, icmp, or the number of another protocol"]
PoolProtocol = Literal["tcp", "udp", "icmp"]
Direction = Literal["6to4", "4to6"]


class NameServerStatus(TypedDict):
    """The name server at a glance."""

    listening: list[str]
    upstream: Annotated[list[str], "the servers it asks"]
    synthesises: Annotated[bool, "while packets are translated"]


class GatewayStatus(TypedDict):
    """The daemon at a glance, as the Gateway knows it."""

    version: str
    state: Annotated[str, "ready, or what the daemon is doing before that"]
    uptime: Annotated[float, "seconds"]
    tun: Annotated[dict[str, Any], "the TUN device: name, mtu, queues"]
    pool6: str | None
    sessions: int
    bib: int
    limits: dict[str, int]
    offloads: list[str]
    masquerade: Annotated[str | None, "interface the pool is masqueraded out of"]
    dns64: Annotated[NameServerStatus | None, "the name server; null = none is configured"]
    warnings: Annotated[list[str], "what does not work as configured"]


class Status(GatewayStatus):
    """The daemon at a glance, with what the API adds about itself."""

    http: Annotated[str | None, "where metrics are served, null = nowhere"]


class Counter(TypedDict):
    """Packets of one direction that ended in one verdict."""

    direction: Direction
    verdict: str
    packets: int
    rfc: Annotated[str, "RFC and section, or LIMITS"]
    help: str


class Event(TypedDict):
    """Something that happened beside the end of a packet."""

    event: str
    count: int
    help: str


class Session(TypedDict):
    """One session, RFC 6146 section 3.2: host6 (X',x) -- mapped4 (T,t) -- host4 (Z,z)."""

    protocol: ProtocolName
    host6: str
    host6_port: int
    mapped4: str
    mapped4_port: int
    host4: str
    host4_port: int
    state: Annotated[str | None, "TCP state of RFC 6146 3.5.2.2"]
    expires_in: Annotated[float, "seconds"]


class Bib(TypedDict):
    """One Binding Information Base entry, RFC 6146 section 3.1: host6 (X',x) -- mapped4 (T,t)."""

    protocol: ProtocolName
    host6: str
    host6_port: int
    mapped4: str
    mapped4_port: int
    static: Annotated[bool, "made by [[forward]]"]
    sessions: int


class Pool(TypedDict):
    """One protocol of one [[pool4]] and how much of it is in use."""

    addresses: str
    ports: str
    protocol: PoolProtocol
    source: Annotated[str | None, "the IPv6 hosts it serves, null = all"]
    used: int
    total: int


class Query(TypedDict):
    """DNS queries that ended in one way."""

    outcome: str
    queries: int
    rfc: Annotated[str, "RFC and section, or LIMITS"]
    help: str


class NameServer(TypedDict):
    """A name server that [dns64] asks."""

    server: str
    asked: int
    answered: int
    failed: int
    seconds: Annotated[float, "until it answers, smoothed"]
    problem: Annotated[str, "why the last question that failed did"]


class ExplainedStep(TypedDict):
    """One step of the pipeline."""

    step: str
    rfc: Annotated[str | None, "RFC and section"]
    found: Annotated[list[str], "lines for people"]


class Explanation(TypedDict):
    """What becomes of a packet, and why."""

    steps: list[ExplainedStep]
    verdict: str
    direction: Direction
    rfc: Annotated[str, "RFC and section, or LIMITS"]
    help: str
    answered: Annotated[bool, "the output is an ICMP error to the sender"]
    packet: Annotated[str, "hexadecimal"]
    outputs: Annotated[list[str], "packets that would leave, hexadecimal"]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which rows of a listing are wanted; None = all."""

    protocol: str | None = None
    host6: IPv6Network | None = None
    host4: IPv4Network | None = None
    mapped4: IPv4Network | None = None
    limit: int | None = None


class FilterError(ValueError):
    """A filter that cannot be understood; its text is one line naming key, value and what was expected."""


class NotReadyError(Exception):
    """Raised by a Gateway asked for something it does not have yet, such as sessions before its tables exist."""


class BusyError(Exception):
    """Raised by a Gateway that does something of the kind already; one sentence."""


class ExplanationError(Exception):
    """Raised by a Gateway that could not explain a packet; one sentence."""


class Gateway(Protocol):
    """The running daemon, as the control plane sees it.

    Every method is called from threads of the control plane, never from its event loop, so it may wait for the tables'
    lock; iterators are advanced a thousand rows at a time, by changing threads, and may be dropped before their end.
    All but `status` and `ready` may raise NotReadyError.
    """

    def status(self) -> Row:
        """A GatewayStatus."""

    def ready(self) -> bool:
        """Whether packets are being translated."""

    def counters(self) -> Sequence[Row]:
        """A Counter for each direction and verdict, also where no packet was counted."""

    def events(self) -> Sequence[Row]:
        """Each Event, also those that never happened."""

    def sessions(self, filters: Filters) -> Iterator[Row]:
        """The Sessions the filters let through, one by one.  The API cuts at `limit`, so heeding it is optional."""

    def bib(self, filters: Filters) -> Iterator[Row]:
        """The Bib entries the filters let through, one by one; `host4` is never set."""

    def pools(self) -> Sequence[Row]:
        """A Pool for each protocol of each [[pool4]]."""

    def dns64(self) -> Row | None:
        """What the name server counts, by kind: `queries` and `upstream` as `queries` and `name_servers` read them,
        `cache`; None without one, empty where it does not answer."""

    def explain(self, packet: bytes) -> Row:
        """The Explanation of what would become of a packet now; it becomes nothing. Raises BusyError,
        ExplanationError."""


def queries(report: Row | None) -> list[Row]:
    """A Query for each outcome, also those that never came; none without a name server."""
    if report is None:
        return []
    counts = report.get("queries", {})
    return [{"outcome": str(o), "queries": counts.get(str(o), 0), "rfc": o.section, "help": o.help} for o in Outcome]


def name_servers(report: Row | None) -> list[Row]:
    """A NameServer for each that is asked."""
    return [{"server": server, **row} for server, row in (report or {}).get("upstream", {}).items()]


def _protocol(text: str) -> str:
    if text not in ("tcp", "udp", "icmp") and not (text.isascii() and text.isdecimal() and int(text) < 256):
        raise ValueError
    return text


def _network6(text: str) -> IPv6Network:
    return IPv6Network(text, strict=False)


def _network4(text: str) -> IPv4Network:
    return IPv4Network(text, strict=False)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise ValueError
    return int(text)


@dataclass(frozen=True, slots=True)
class FilterKind:
    """How one filter is read, and how it is described to people and in OpenAPI."""

    parse: Callable[[str], Any]
    expected: str
    schema: Mapping[str, Any]


FILTERS: Mapping[str, FilterKind] = {
    "protocol": FilterKind(_protocol, "tcp, udp, icmp or a number below 256", {"type": "string"}),
    "host6": FilterKind(_network6, "an IPv6 address or prefix", {"type": "string"}),
    "host4": FilterKind(_network4, "an IPv4 address or prefix", {"type": "string"}),
    "mapped4": FilterKind(_network4, "an IPv4 address or prefix", {"type": "string"}),
    "limit": FilterKind(_limit, "a whole number from 1 up", {"type": "integer", "minimum": 1}),
}
SESSION_FILTERS = tuple(FILTERS)
BIB_FILTERS = ("protocol", "host6", "mapped4", "limit")


def parse_filters(given: Iterable[tuple[str, str]], allowed: Sequence[str]) -> Filters:
    """The Filters that (key, text) pairs ask for.  Raises FilterError for the first one that is not understood."""
    values: dict[str, Any] = {}
    for key, text in given:
        if key not in allowed:
            raise FilterError(f"{key}={text}: no such filter here, expected {', '.join(allowed) or 'none'}")
        if key in values:
            raise FilterError(f"{key}={text}: given twice")
        try:
            values[key] = FILTERS[key].parse(text)
        except ValueError:
            raise FilterError(f"{key}={text}: expected {FILTERS[key].expected}") from None
    return Filters(**values)
