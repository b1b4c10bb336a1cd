"""What the control plane needs from the daemon: the Gateway protocol, the shapes of its rows, the filters of listings.

The TypedDicts describe the rows; the OpenAPI document is generated from them. Times are in seconds, addresses are text,
ports are numbers (the ICMP identifier counts as a port).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal, Protocol, TypedDict

from nat64d.control.measured import Measured
from nat64d.dns64.message.endings import Ending

# LIMITS
MOST_ROWS = 10**9  # that can be asked for
SHOWN = 80  # characters of a filter in a sentence

Row = Mapping[str, Any]  # one of the TypedDicts below
ProtocolName = Annotated[str, "tcp, udp, icmp, or the number of another protocol"]
PoolProtocol = Literal["tcp", "udp", "icmp"]
Direction = Literal["6to4", "4to6"]


class NameServerStatus(TypedDict):
    """State of the name server."""

    listening: list[str]
    upstream: Annotated[list[str], "the servers it forwards to"]
    synthesises: Annotated[bool, "true while packets are translated"]


class StandingCondition(TypedDict):
    """Something on the host that keeps packets from passing, or may."""

    condition: str
    blocks: Annotated[bool, "whether packets cannot pass; the daemon is not ready meanwhile"]
    seconds: Annotated[float, "since it began"]
    sentence: str
    command: Annotated[str | None, "what helps, null = see the sentence"]


class Condition(TypedDict):
    """One condition, whether it stands or not."""

    condition: str
    blocks: Annotated[bool, "whether packets cannot pass while it stands"]
    standing: Annotated[int, "how often it stands, 0 = not"]
    help: str


class GatewayStatus(TypedDict):
    """State of the daemon, as the Gateway reports it."""

    version: str
    state: Annotated[str, "ready; blocked while a condition keeps packets from passing; or what the daemon is doing"]
    uptime: Annotated[float, "seconds"]
    tun: Annotated[dict[str, Any], "the TUN device: name, mtu, queues, packets dropped because its queue was full"]
    pool6: str | None
    sessions: int
    bib: int
    limits: dict[str, int]
    offloads: list[str]
    masquerade: Annotated[str | None, "interfaces that masquerade pool4, null = none"]
    dns64: Annotated[NameServerStatus | None, "the name server, null = none is configured"]
    warnings: Annotated[list[str], "what does not work as configured"]
    conditions: Annotated[list[StandingCondition], "what is wrong with the host"]


class Status(GatewayStatus):
    """State of the daemon and of its API."""

    http: Annotated[str | None, "address that serves metrics, null = none"]


class Counter(TypedDict):
    """Number of packets of one direction with one verdict."""

    direction: Direction
    verdict: str
    packets: int
    octets: Annotated[int, "of those packets, as they came"]
    rfc: Annotated[str, "RFC and section, or LIMITS"]
    help: str


class Event(TypedDict):
    """How often something happened that is not the verdict of a packet."""

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
    state: Annotated[str | None, "TCP state of RFC 6146 3.5.2.2; of others V6_INIT or V4_INIT until it is answered"]
    expires_in: Annotated[float, "seconds"]


class Bib(TypedDict):
    """One Binding Information Base entry, RFC 6146 section 3.1: host6 (X',x) -- mapped4 (T,t)."""

    protocol: ProtocolName
    host6: str
    host6_port: int
    mapped4: str
    mapped4_port: int
    static: Annotated[bool, "configured by [[forward]]"]
    sessions: int


class Host(TypedDict):
    """One IPv6 host that has dynamic mappings, and how much of the tables it has."""

    host6: str
    mapped4: Annotated[str | None, "the address it is paired with, null = none (RFC 4787 REQ-2)"]
    sessions: Annotated[int, "those it opened"]
    bib: Annotated[int, "BIB entries, static ones included"]
    tcp: Annotated[int, "dynamic BIB entries of a protocol"]
    udp: int
    icmp: int
    other: int


class Pool(TypedDict):
    """One protocol of one [[pool4]] and how many of its ports are in use."""

    addresses: str
    ports: str
    protocol: PoolProtocol
    source: Annotated[str | None, "the IPv6 hosts it serves, null = all"]
    used: int
    total: int
    fullest: Annotated[float, "share of its ports in use at the address with most, 0 to 1"]
    full: Annotated[int, "addresses without a port left"]


class Query(TypedDict):
    """Number of DNS queries with one outcome."""

    outcome: str
    queries: int
    rfc: Annotated[str, "RFC and section, or LIMITS"]
    help: str


class NameServer(TypedDict):
    """An upstream name server of [dns64]."""

    server: str
    asked: int
    answered: int
    failed: int
    seconds: Annotated[float, "smoothed response time"]
    problem: Annotated[str, "reason of the last failure"]


class ExplainedStep(TypedDict):
    """One step of the pipeline."""

    step: str
    rfc: Annotated[str | None, "RFC and section"]
    found: Annotated[list[str], "what the step found, as lines of text"]


class Explanation(TypedDict):
    """What nat64d does with a packet, step by step."""

    steps: list[ExplainedStep]
    verdict: str
    direction: Direction
    rfc: Annotated[str, "RFC and section, or LIMITS"]
    help: str
    answered: Annotated[bool, "true if the output is an ICMP error to the sender"]
    packet: Annotated[str, "the packet in hexadecimal"]
    outputs: Annotated[list[str], "the packets that would be sent, in hexadecimal"]


class ConfigChange(TypedDict):
    """A key, or a row of a list of tables, that differs from before."""

    place: Annotated[str, "the key as the file spells it"]
    before: Annotated[str | None, "its value as TOML, null = it was not there"]
    after: Annotated[str | None, "the same now"]
    text: Annotated[str, "the change in words"]


class Reloaded(TypedDict):
    """What a reload has changed."""

    configuration: Annotated[str, "the file that was read"]
    changes: list[ConfigChange]
    kept: Annotated[int, "sessions that go on"]
    ended: Annotated[dict[str, int], "sessions that the new configuration does not allow, by reason"]
    pause: Annotated[float, "seconds for which packets had to wait"]
    warnings: Annotated[list[str], "what is doubtful about the new configuration, and was not before"]
    summary: Annotated[str, "what became of the sessions, in words"]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which rows of a listing to return; None means no restriction."""

    protocol: str | None = None
    host6: IPv6Network | None = None
    host4: IPv4Network | None = None
    mapped4: IPv4Network | None = None
    top: int | None = None
    limit: int | None = None


class FilterError(ValueError):
    """An invalid filter; its text is one line with the key, the value and what was expected."""


class NoPacketError(ValueError):
    """What is to be explained is no packet; its text is one sentence."""


class NotReadyError(Exception):
    """The Gateway does not have yet what was requested, such as sessions before its tables exist."""


class BusyError(Exception):
    """The Gateway is already working on a request of this kind; its text is one sentence."""


class ExplanationError(Exception):
    """The Gateway could not explain a packet; its text is one sentence."""


class WrongConfigurationError(Exception):
    """There is a mistake in the configuration; its text is one line for each, as `nat64d check` prints them. Nothing
    has been changed."""


class RefusedError(Exception):
    """The daemon cannot do that now, or on this host; its text is one line for each reason. Nothing has been
    changed."""


class Gateway(Protocol):
    """The running daemon, as the control plane sees it.

    Methods are called from threads, never from the event loop, so they may wait for the lock of the tables. Iterators
    are advanced a thousand rows at a time, by different threads, and may be abandoned before their end. All methods
    except `status` and `ready` may raise NotReadyError.
    """

    def status(self) -> Row:
        """The state of the daemon: a GatewayStatus."""

    def ready(self) -> bool:
        """Whether packets are being translated now, and nothing on the host keeps them from passing."""

    def counters(self) -> Sequence[Row]:
        """A Counter for each direction and verdict, zeros included."""

    def events(self) -> Sequence[Row]:
        """All Events, zeros included."""

    def conditions(self) -> Sequence[Row]:
        """A Condition for each that there is, whether it stands or not; empty before the host is set up. Does not raise
        NotReadyError."""

    def sessions(self, filters: Filters) -> Iterator[Row]:
        """The Sessions that match the filters, one by one. The API applies `limit` itself."""

    def bib(self, filters: Filters) -> Iterator[Row]:
        """The Bib entries that match the filters, one by one; `host4` is never set."""

    def hosts(self, filters: Filters) -> Iterator[Row]:
        """The Hosts that match `host6`, or the `top` of them that have most sessions, those first."""

    def pools(self) -> Sequence[Row]:
        """A Pool for each [[pool4]] and protocol."""

    def measured(self) -> Measured:
        """What the metrics show besides."""

    def dns64(self) -> Row | None:
        """The counters of the name server under `queries`, `upstream` and `cache`, as the functions `queries` and
        `name_servers` read them; None without a name server, empty if it does not answer."""

    def explain(self, packet: bytes | str) -> Row:
        """The Explanation of what nat64d would do with an IP packet now, given as octets or in words; nothing is
        changed or sent. Raises NoPacketError, BusyError, ExplanationError."""

    def reload(self) -> Row:
        """Read the configuration again and change to it; what came of it, a Reloaded. Raises BusyError,
        WrongConfigurationError, RefusedError."""


def queries(report: Row | None) -> list[Row]:
    """A Query for each outcome, zeros included, from what Gateway.dns64 returns; empty without a name server."""
    if report is None:
        return []
    counts = report.get("queries", {})
    return [{"outcome": str(o), "queries": counts.get(str(o), 0), "rfc": o.section, "help": o.help} for o in Ending]


def name_servers(report: Row | None) -> list[Row]:
    """A NameServer for each upstream server, from what Gateway.dns64 returns."""
    return [{"server": server, **row} for server, row in (report or {}).get("upstream", {}).items()]


def _protocol(text: str) -> str:
    if text not in ("tcp", "udp", "icmp") and not (re.fullmatch(r"[0-9]{1,3}", text) and int(text) < 256):
        raise ValueError
    return text


def _network6(text: str) -> IPv6Network:
    if "%" in text:  # a zone, which no row has
        raise ValueError
    return IPv6Network(text, strict=False)


def _network4(text: str) -> IPv4Network:
    return IPv4Network(text, strict=False)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_ROWS)) and 0 < int(text) <= MOST_ROWS):
        raise ValueError
    return int(text)


@dataclass(frozen=True, slots=True)
class FilterKind:
    """One filter: how its text is parsed, and its description in error messages and in OpenAPI."""

    parse: Callable[[str], Any]
    expected: str
    schema: Mapping[str, Any]


_NUMBER = FilterKind(
    _number, f"a whole number from 1 to {MOST_ROWS}", {"type": "integer", "minimum": 1, "maximum": MOST_ROWS}
)
FILTERS: Mapping[str, FilterKind] = {
    "protocol": FilterKind(_protocol, "tcp, udp, icmp or a number below 256", {"type": "string"}),
    "host6": FilterKind(_network6, "an IPv6 address or prefix", {"type": "string"}),
    "host4": FilterKind(_network4, "an IPv4 address or prefix", {"type": "string"}),
    "mapped4": FilterKind(_network4, "an IPv4 address or prefix", {"type": "string"}),
    "top": _NUMBER,
    "limit": _NUMBER,
}
SESSION_FILTERS = ("protocol", "host6", "host4", "mapped4", "limit")
BIB_FILTERS = ("protocol", "host6", "mapped4", "limit")
HOST_FILTERS = ("host6", "top", "limit")


def _shown(key: str, text: str) -> str:
    """A filter as it was given, in one line that is not too long."""
    given = "".join(letter if letter.isprintable() else "�" for letter in f"{key}={text}")
    return given if len(given) <= SHOWN else given[: SHOWN - 1] + "…"


def parse_filters(given: Iterable[tuple[str, str]], allowed: Sequence[str]) -> Filters:
    """Filters from (key, text) pairs. Raises FilterError for the first key that is not allowed or given twice, and for
    the first text that is not valid."""
    values: dict[str, Any] = {}
    for key, text in given:
        if key not in allowed:
            raise FilterError(f"{_shown(key, text)}: unknown filter, expected {', '.join(allowed) or 'none'}")
        if key in values:
            raise FilterError(f"{_shown(key, text)}: given twice")
        try:
            values[key] = FILTERS[key].parse(text)
        except ValueError:
            raise FilterError(f"{_shown(key, text)}: expected {FILTERS[key].expected}") from None
    return Filters(**values)
