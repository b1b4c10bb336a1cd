"""The shapes of what clients change, and of what they get for it.

Keys are those of the configuration file. What is wrong with a value says the model of its section, as for the file.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Protocol, TypedDict

if TYPE_CHECKING:
    from nat64d.control.events import Events  # needs asyncio, which is slow to import
    from nat64d.control.filters import Filters

API = "api"  # the source of what is set over the control socket
SOURCES = (API, "kubernetes")  # those that clients write; the file is edited


class EamRow(TypedDict):
    """A row of [[eam]]; its `ipv4` identifies it."""

    ipv4: str
    ipv6: str


class ForwardRow(TypedDict):
    """A row of [[forward]]; `protocol` and `ipv4` identify it."""

    protocol: Annotated[str | list[str], "tcp, udp, icmp, or several"]
    ipv4: str
    ipv6: str


class _PoolAddresses(TypedDict):
    addresses: str


class PoolRow(_PoolAddresses, total=False):
    """A row of [[pool4]]; `addresses` and `ports` identify it."""

    ports: str
    protocols: list[str]
    source: str
    deterministic: bool


class _EndpointAddress(TypedDict):
    address: Annotated[str, "IPv6 address and port"]


class EndpointRow(_EndpointAddress, total=False):
    """An endpoint of a service."""

    weight: int


class HealthRow(TypedDict, total=False):
    """How the endpoints of a service are asked whether they serve."""

    kind: Literal["tcp", "http"]
    interval: int
    timeout: int
    rise: int
    fall: int
    slow_start: int
    path: str
    host: str
    panic: bool


class _ServiceName(TypedDict):
    name: str


class ServiceRow(_ServiceName, total=False):
    """A row of [[service]]; its `name` identifies it."""

    ipv4: Annotated[str, "address and port"]
    ipv6: Annotated[str, "the same of IPv6"]
    protocol: Annotated[str | list[str], "tcp, udp, or both"]
    endpoints: list[Annotated[str | EndpointRow, "address and port, or with a weight"]]
    client_prefix: str
    affinity: Literal["none", "client"]
    affinity_timeout: int
    sources: list[str]
    health: Literal["tcp", "http"] | HealthRow | None


class ServiceNamed(_ServiceName):
    """Names a row of [[service]]."""


class SourceRows(TypedDict, total=False):
    """What a source says beside the file."""

    pool4: list[PoolRow]
    eam: list[EamRow]
    forward: list[ForwardRow]
    service: list[ServiceRow]


class Source(SourceRows):
    """What a source says, and which version of it this is."""

    version: Annotated[str, "for If-Match"]


class _EamIpv4(TypedDict):
    ipv4: str


class EamName(_EamIpv4, total=False):
    """Names a row of [[eam]]; `ipv6`, if given, must be that of the row."""

    ipv6: str


class _ForwardIpv4(TypedDict):
    protocol: Annotated[str | list[str], "tcp, udp, icmp, or several"]
    ipv4: str


class ForwardName(_ForwardIpv4, total=False):
    """Names a row of [[forward]]; `ipv6`, if given, must be that of the row."""

    ipv6: str


class PoolName(_PoolAddresses, total=False):
    """Names a row of [[pool4]]."""

    ports: str


class SourceNames(TypedDict, total=False):
    """Rows that are to go."""

    pool4: list[PoolName]
    eam: list[EamName]
    forward: list[ForwardName]
    service: list[ServiceNamed]


class ChangeSet(TypedDict, total=False):
    """Rows that go, then rows that come: one that is set takes the place of the one it is identified with."""

    unset: SourceNames
    set: SourceRows


class Patch(ChangeSet, total=False):
    """A change set for what a source said when its version was `generation`; any, if that is left out."""

    generation: str


class ConfigChange(TypedDict):
    """A key, or a row of a list of tables, that differs from before."""

    place: Annotated[str, "the key as the file spells it"]
    before: Annotated[str | None, "its value as TOML, null = it was not there"]
    after: Annotated[str | None, "the same now"]
    text: Annotated[str, "the change in words"]


class _Difference(TypedDict):
    changes: list[ConfigChange]
    kept: Annotated[int, "sessions that go on"]
    ended: Annotated[dict[str, int], "sessions that the new configuration does not allow, by reason"]
    pause: Annotated[float, "seconds for which packets had to wait"]
    warnings: Annotated[list[str], "what is doubtful about the new configuration, and was not before"]
    summary: Annotated[str, "what became of the sessions, in words"]


class Reloaded(_Difference):
    """What a reload has changed."""

    configuration: Annotated[str, "the file that was read"]


class Changed(_Difference):
    """What a change set has changed."""

    source: Annotated[str, "whose rows they are"]
    version: Annotated[str, "of what this source says now, for If-Match"]
    dry_run: Annotated[bool, "whether nothing was changed, because that was asked for"]


class Flushed(TypedDict):
    """What a flush has done."""

    ended: Annotated[int, "sessions"]


class Grace(TypedDict):
    """For how long TCP of no session is answered with RST."""

    seconds: Annotated[int, "from now on: [filtering] reset_unknown"]


Level = Literal["debug", "info", "warning", "error"]


class LogLevel(TypedDict):
    """From which level on the log is written; until [log] is changed, or the daemon stops."""

    level: Level


class LogLevelChanged(LogLevel):
    """The level, and the one before."""

    before: Level


class Wish(NamedTuple):
    """What a client wants to change: `set` and `unset` are as it has sent them. With `replaces` nothing else of the
    source stays; `match` is the version it has in mind, None or "*" = any, `generation` the same of a PATCH."""

    source: str
    set: Any
    unset: Any
    replaces: bool = False
    match: str | None = None
    generation: str | None = None
    dry_run: bool = False


class OutdatedError(Exception):
    """The client has an older version in mind; its text is one sentence. Nothing has been changed."""


class Changes(Protocol):
    """What clients can change of the running daemon; a part of the Gateway protocol, with its exceptions."""

    def change(self, wish: Wish) -> Any:
        """Change what a source says beside the file, all or nothing; what came of it, a Changed. Raises BusyError,
        OutdatedError, WrongConfigurationError, RefusedError."""

    def flush(self, filters: "Filters | None") -> Any:
        """End the sessions that match the filters, and let TCP of lost sessions be answered with RST for a while; a
        Flushed. Without filters only that; a Grace. Raises NotReadyError, BusyError."""

    def set_log_level(self, level: Level) -> Any:
        """Write the log from this level on; a LogLevelChanged."""

    @property
    def happened(self) -> "Events":
        """What has happened."""

    def said_by(self, source: str) -> Any:
        """What a source says: a Source."""
