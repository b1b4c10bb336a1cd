"""What the control plane needs from the daemon: the Gateway protocol, and the shapes of its rows.

The TypedDicts describe the rows; the OpenAPI document is generated from them. Times are in seconds, addresses are text,
ports are numbers (the ICMP identifier counts as a port).
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol, TypedDict

from nat64d.control.changes import Changes
from nat64d.control.filters import Filters, StateName
from nat64d.control.measured import Measured
from nat64d.dns64.message.endings import Ending

Row = Mapping[str, Any]  # one of the TypedDicts below
Lines = Generator[bytes, None, None]  # rows as JSON Lines, some at a time, at least one
ProtocolName = Annotated[str, "tcp, udp, icmp, or the number of another protocol"]
Cursor = Annotated[str, "names the row: with `cursor=` a listing begins after it"]
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
    fastpath: Annotated[
        dict[str, Any] | None, "whether packets of established flows are translated in the kernel, null = off"
    ]
    log: Annotated[str, "the level from which on it is written"]
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
    mapped4: Annotated[str, "of an IPv6 client of a [[service]] the IPv6 address it connects to"]
    mapped4_port: int
    host4: Annotated[str, "the other end, IPv6 for an IPv6 client of a [[service]]"]
    host4_port: int
    state: Annotated[
        StateName | None, "TCP state of RFC 6146 3.5.2.2; of others V6_INIT or V4_INIT until it is answered"
    ]
    expires_in: Annotated[float, "seconds"]
    packets_6to4: Annotated[int | None, "from host6, null = [log] accounting is off"]
    octets_6to4: Annotated[int | None, "of those packets, as they came"]
    packets_4to6: Annotated[int | None, "to host6"]
    octets_4to6: int | None
    cursor: Cursor


class Bib(TypedDict):
    """One Binding Information Base entry, RFC 6146 section 3.1: host6 (X',x) -- mapped4 (T,t)."""

    protocol: ProtocolName
    host6: str
    host6_port: int
    mapped4: str
    mapped4_port: int
    static: Annotated[bool, "configured by [[forward]]"]
    sessions: int
    cursor: Cursor


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
    cursor: Cursor


class Block(TypedDict):
    """Ports of a pool address that a subscriber has; those of RFC 7422, which are computed, are not listed."""

    subscriber: Annotated[str, "the first address of its prefix"]
    mapped4: str
    first_port: int
    last_port: int
    mappings: Annotated[int, "that use one of its ports; 0 while it waits"]
    seconds: Annotated[float, "since it has the block"]
    cursor: Cursor


class Mapped(TypedDict):
    """What is configured to be translated to what; for one protocol of one [[forward]], or one prefix."""

    kind: Literal["eam", "clat", "forward"]
    protocol: Annotated[PoolProtocol | None, "null = all"]
    ipv6: Annotated[str, "an address or prefix"]
    ipv6_ports: Annotated[str | None, "a port or `first-last`, null = all"]
    ipv4: str
    ipv4_ports: str | None
    source: Annotated[str, "file, or who has set it beside the file"]


class ServiceEndpoint(TypedDict):
    """One endpoint of one protocol of one [[service]], or a [[service]] without endpoints; an endpoint that is gone as
    long as connections go on."""

    service: Annotated[str | None, "null = no service has the address and port any more"]
    protocol: PoolProtocol
    ipv4: Annotated[str, "the address that clients connect to, IPv6 for those of IPv6"]
    ipv4_ports: Annotated[str, "the port that clients connect to"]
    source: Annotated[str | None, "who has said so: file, api, …; null = nobody does any more"]
    ipv6: Annotated[str | None, "null = the service has no endpoint"]
    ipv6_ports: str | None
    weight: int | None
    state: Annotated[
        Literal["up", "failing", "down", "unasked", "gone"] | None,
        "failing = gets new flows only where no other endpoint serves, down = none, unasked = counts as serving, "
        "gone = is in no list any more, and has connections",
    ]
    why: Annotated[str | None, "it is not up"]
    sessions: int | None


class ServiceSummary(TypedDict):
    """One [[service]]: its endpoints, once each whatever its protocols, and what has come to it since the start."""

    service: str
    protocols: list[PoolProtocol]
    ipv4: str
    ipv4_ports: Annotated[str, "the port that clients connect to"]
    endpoints: int
    ready: Annotated[int, "endpoints that get new flows"]
    draining: Annotated[int, "those that get some only if none is ready"]
    down: Annotated[int, "those that get none"]
    sessions: Annotated[int, "that are open"]
    flows: Annotated[int, "that got a session"]
    unpinned: Annotated[int, "packets that went where the hash says without a session, for want of room"]
    refused: Annotated[int, "packets that were not let in"]
    problem: Annotated[str | None, "what is wrong with its endpoints"]


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


class NoPacketError(ValueError):
    """What is to be explained is no packet; its text is one sentence."""


class NotReadyError(Exception):
    """The Gateway does not have yet what was requested, such as sessions before its tables exist."""


class GoneError(Exception):
    """A cursor names a row of tables that have been replaced; its text is one sentence."""


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


class Gateway(Changes, Protocol):
    """The running daemon, as the control plane sees it.

    Methods are called from threads, never from the event loop, so they may wait for the lock of the tables. Iterators
    are advanced a slice at a time, by different threads, and may be abandoned before their end. All methods except
    `status` and `ready` may raise NotReadyError.
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

    def sessions(self, filters: Filters) -> Lines:
        """The Sessions that match the filters, without those fields that are not wanted; raises GoneError."""

    def bib(self, filters: Filters) -> Lines:
        """The Bib entries that match the filters, likewise."""

    def hosts(self, filters: Filters) -> Lines:
        """The Hosts that match the filters, likewise, or the `top` of them that have most sessions, those first."""

    def mappings(self, filters: Filters) -> Sequence[Row]:
        """The rows Mapped that match the filters, in the order of the configuration. Does not raise NotReadyError."""

    def services(self, filters: Filters) -> Sequence[Row]:
        """The rows ServiceEndpoint that match the filters, in the order of the configuration."""

    def service_summary(self, filters: Filters) -> Sequence[Row]:
        """A ServiceSummary for each [[service]] of which something matches the filters."""

    def blocks(self, filters: Filters) -> Lines:
        """The Blocks that match the filters."""

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
