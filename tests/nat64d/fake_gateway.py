"""A Gateway with a handful of rows, and the API serving it on a real unix socket from a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

from nat64d.control.api import Server, serve
from nat64d.control.changes import Changed, Flushed, Grace, Level, LogLevelChanged, Reloaded, Source, Wish
from nat64d.control.events import Events
from nat64d.control.filters import Filters
from nat64d.control.listings import lines_of
from nat64d.control.measured import AddressUse, Fill, Measured, QueueCounts, ServiceUse, SessionCount
from nat64d.control.rows import (
    Bib,
    Block,
    Condition,
    Counter,
    Direction,
    Event,
    Explanation,
    GatewayStatus,
    GoneError,
    Host,
    Lines,
    Mapped,
    NoPacketError,
    NotReadyError,
    Pool,
    Row,
    ServiceEndpoint,
    ServiceSummary,
    Session,
    StandingCondition,
)
from nat64d.explain.packet_text import PacketError, octets_of

TABLES = "0123abcd"  # what cursors call the tables


def session(number: int, protocol: str = "tcp") -> Session:
    return {
        "protocol": protocol,
        "host6": "2001:db8::1",
        "host6_port": 1024 + number % 64512,
        "mapped4": "203.0.113.1",
        "mapped4_port": 1024 + number % 64512,
        "host4": "192.0.2.80",
        "host4_port": 443,
        "state": "ESTABLISHED" if protocol == "tcp" else None,
        "expires_in": 7439.5,
        "packets_6to4": None,
        "octets_6to4": None,
        "packets_4to6": None,
        "octets_4to6": None,
        "cursor": f"{TABLES}-{number}",
    }


def counter(direction: Direction, verdict: str, packets: int, rfc: str, text: str) -> Counter:
    """A counter of packets of a hundred octets."""
    octets = 100 * packets
    return {"direction": direction, "verdict": verdict, "packets": packets, "octets": octets, "rfc": rfc, "help": text}


def standing(name: str) -> StandingCondition:
    """A condition that stands, and blocks packets if it is the firewall."""
    return {
        "condition": name,
        "blocks": name == "firewall",
        "seconds": 75.25,
        "sentence": "Something drops. Run 'nft flush ruleset'.",
        "command": "nft flush ruleset",
    }


class FakeGateway:
    """What the tests want the daemon to be; each attribute is what the method of the API is answered from."""

    def __init__(self) -> None:
        self.state = "ready"
        self.session_rows: Callable[[], Iterator[Session]] = lambda: iter((session(1), session(2, "udp")))
        self.threads: set[int] = set()
        self.warnings: list[str] = []
        self.standing: list[StandingCondition] = []
        self.refusal: Exception | None = None
        self.happened = Events()
        self.level: Level = "info"
        self.flushed: list[Filters] = []
        self.wishes: list[Wish] = []
        self.report: Row | None = {
            "queries": {"synthesised": 7, "cached": 5},
            "upstream": {
                "192.0.2.53:53": {"asked": 14, "answered": 12, "failed": 1, "seconds": 0.0125, "problem": "no answer"}
            },
            "cache": {"entries": 6, "octets": 4096, "limit": 65536, "hits": 5, "misses": 9},
        }

    def status(self) -> GatewayStatus:
        return {
            "version": "1.2.3",
            "state": self.state,
            "uptime": 3723.25,
            "tun": {"name": "nat64", "mtu": 1500},
            "pool6": "64:ff9b::/96",
            "sessions": 2,
            "bib": 1,
            "limits": {"sessions": 1048576},
            "offloads": ["csum", "tso4"],
            "masquerade": None,
            "fastpath": None,
            "log": "info",
            "dns64": {"listening": ["[::]:53"], "upstream": ["192.0.2.53:53"], "synthesises": True},
            "warnings": self.warnings,
            "conditions": self.standing,
        }

    def ready(self) -> bool:
        return self.state == "ready"

    def conditions(self) -> list[Condition]:
        if self.state not in {"ready", "blocked"}:
            return []
        names = [row["condition"] for row in self.standing]
        return [
            {"condition": name, "blocks": blocks, "standing": names.count(name), "help": "What it means."}
            for name, blocks in (("firewall", True), ("on_link", False))
        ]

    def counters(self) -> list[Counter]:
        self._tables()
        translated, expired = "Translated and written.", "Hop Limit was 1."
        return [
            counter("6to4", "translated", 12, "7915", translated),
            counter("4to6", "translated", 0, "7915", translated),
            counter("4to6", "hop_limit_expired", 3, "7915 4.1", expired),
        ]

    def events(self) -> list[Event]:
        self._tables()
        return [
            {"event": "bib_created", "count": 1, "help": "BIB entries opened."},
            {"event": "bib_ended", "count": 0, "help": "BIB entries ended."},
        ]

    def sessions(self, filters: Filters) -> Lines:
        return self._lines(self.session_rows, filters)

    def bib(self, filters: Filters) -> Lines:
        row: Bib = {
            "protocol": "tcp",
            "host6": "2001:db8::1",
            "host6_port": 5000,
            "mapped4": "203.0.113.1",
            "mapped4_port": 40000,
            "static": False,
            "sessions": 2,
            "cursor": f"{TABLES}-0",
        }
        return self._lines(lambda: [row], filters)

    def hosts(self, filters: Filters) -> Lines:
        one: Host = {
            "host6": "2001:db8::1",
            "mapped4": "203.0.113.1",
            "sessions": 2,
            "bib": 1,
            "tcp": 1,
            "udp": 0,
            "icmp": 0,
            "other": 0,
            "cursor": f"{TABLES}-0",
        }
        rows: list[Host] = [
            one,
            {**one, "host6": "2001:db8::2", "mapped4": None, "sessions": 0, "cursor": f"{TABLES}-1"},
        ]
        return self._lines(lambda: rows[: filters.top], filters)

    def blocks(self, filters: Filters) -> Lines:
        row: Block = {
            "subscriber": "2001:db8::",
            "mapped4": "203.0.113.1",
            "first_port": 40000,
            "last_port": 40063,
            "mappings": 2,
            "seconds": 61.5,
            "cursor": f"{TABLES}-0",
        }
        return self._lines(lambda: [row], filters)

    def mappings(self, filters: Filters) -> list[Mapped]:
        return [
            {
                "kind": "eam",
                "protocol": None,
                "ipv6": "2001:db8:2::/120",
                "ipv6_ports": None,
                "ipv4": "192.0.2.0/24",
                "ipv4_ports": None,
                "source": "api",
            }
        ]

    def services(self, filters: Filters) -> list[ServiceEndpoint]:
        self._tables()
        head: ServiceEndpoint = {
            "service": "web",
            "protocol": "tcp",
            "ipv4": "203.0.113.80",
            "ipv4_ports": "80",
            "source": "file",
            "ipv6": "2001:db8:2::1",
            "ipv6_ports": "8080",
            "weight": 2,
            "state": "down",
            "why": "HTTP 503",
            "sessions": 7,
        }
        return [head, {**head, "ipv6": "2001:db8:2::2", "weight": 1, "state": "up", "why": None}]

    def service_summary(self, filters: Filters) -> list[ServiceSummary]:
        self._tables()
        return [
            {
                "service": "web",
                "protocols": ["tcp", "udp"],
                "ipv4": "203.0.113.80",
                "ipv4_ports": "80",
                "endpoints": 2,
                "ready": 1,
                "draining": 0,
                "down": 1,
                "sessions": 7,
                "flows": 100,
                "unpinned": 2,
                "refused": 3,
                "problem": "of its 2 endpoints [2001:db8:2::1]:8080 does not serve: HTTP 503",
            }
        ]

    def pools(self) -> list[Pool]:
        self._tables()
        where = {"addresses": "203.0.113.0/30", "ports": "1024-65535"}
        return [
            {**where, "protocol": "tcp", "source": None, "used": 1, "total": 258048, "fullest": 0.25, "full": 0},
            {
                **where,
                "protocol": "tcp",
                "source": "2001:db8:1::/48",
                "used": 0,
                "total": 0,
                "fullest": 0.0,
                "full": 2,
            },
        ]

    def measured(self) -> Measured:
        self._tables()
        return Measured(
            queues=[QueueCounts((12, 0), (1200, 0), 2, [7, 2, 0, 1, *[0] * 60, 1])],
            sessions=[SessionCount("tcp", "ESTABLISHED", 1), SessionCount("udp", "ANSWERED", 1)],
            tables=[Fill("hosts", 1, 1048576)],
            addresses=[AddressUse("203.0.113.1", "1024-65535", "tcp", "", 0.25)],
            expiry_lag=1.0,
            services=[ServiceUse("web", 7, 100, 2, {"no_endpoint": 3, "source_range": 0}, 1, 0, 1)],
            restored={"kept": 2, "damaged": 0},
        )

    def dns64(self) -> Row | None:
        return self.report

    def explain(self, packet: bytes | str) -> Explanation:
        self._tables()
        if isinstance(packet, str):
            try:
                packet = octets_of(packet)
            except PacketError as error:
                raise NoPacketError(str(error)) from None
        return {
            "steps": [
                {"step": "parse", "rfc": "8200 3", "found": ["IPv6 UDP"]},
                {"step": "before", "rfc": None, "found": ["header", f"{len(packet)} octets"]},
            ],
            "verdict": "translated",
            "direction": "6to4",
            "rfc": "7915",
            "help": "Translated and written.",
            "answered": False,
            "packet": packet.hex(),
            "outputs": ["45"],
        }

    def change(self, wish: Wish) -> Changed:
        if self.refusal:
            raise self.refusal
        self.wishes.append(wish)
        return {
            "source": wish.source,
            "version": "0123456789abcdef",
            "dry_run": wish.dry_run,
            "changes": [],
            "kept": 2,
            "ended": {},
            "pause": 0.0025,
            "warnings": [],
            "summary": "Changed what api has set: kept 2 sessions.",
        }

    def flush(self, filters: Filters | None) -> Flushed | Grace:
        if self.refusal:
            raise self.refusal
        if filters is None:
            return {"seconds": 60}
        self.flushed.append(filters)
        return {"ended": 2}

    def set_log_level(self, level: Level) -> LogLevelChanged:
        before, self.level = self.level, level
        return {"before": before, "level": level}

    def said_by(self, source: str) -> Source:
        assert source in {"api", "kubernetes"}
        return {"eam": [{"ipv4": "198.51.100.7/32", "ipv6": "2001:db8::7/128"}], "version": "0123456789abcdef"}

    def reload(self) -> Reloaded:
        if self.refusal:
            raise self.refusal
        return {
            "configuration": "/etc/nat64d/nat64d.toml",
            "changes": [
                {"place": "[timeouts] udp", "before": "300", "after": "600", "text": "[timeouts] udp = 600 (was 300)"}
            ],
            "kept": 2,
            "ended": {"beyond its limits": 1},
            "pause": 0.0025,
            "warnings": ["The cat sleeps."],
            "summary": "Reloaded /etc/nat64d/nat64d.toml: kept 2 sessions.",
        }

    def _tables(self) -> None:
        self.threads.add(threading.get_ident())
        if self.state != "ready":
            raise NotReadyError(f"not ready yet: {self.state}")

    def _lines(self, rows: Callable[[], Iterable[Session] | Iterable[Bib] | Iterable[Host]], filters: Filters) -> Lines:
        self._tables()
        if filters.cursor and filters.cursor[0] != TABLES:
            raise GoneError("cursor: begin again")
        yield from lines_of((row for row in rows() if self._wanted(row, filters)), filters)

    def _wanted(self, row: Row, filters: Filters) -> bool:
        ends = [row[end] for end in ("host6", "host4", "mapped4") if row.get(end)]
        ports = [row[port] for port in ("host6_port", "host4_port", "mapped4_port") if port in row]
        return (
            filters.proto in (None, row.get("protocol"))
            and filters.state in (None, row.get("state"))
            and (filters.port is None or filters.port in ports)
            and (filters.cursor is None or int(row["cursor"].partition("-")[2]) > filters.cursor[1])
            and (filters.host is None or any(ip_address(end) in filters.host for end in ends))
            and all(
                row.get(end) and ip_address(row[end]) in wanted
                for end in ("host6", "host4", "mapped4")
                if (wanted := getattr(filters, end)) is not None
            )
        )


@contextmanager
def serving(gateway: FakeGateway, path: Path, http: str = "") -> Iterator[Server]:
    """The API of `gateway` on a socket at `path`, answered by an event loop in another thread."""
    started: Future[Server] = Future()
    stop: Future[None] = Future()

    async def live() -> None:
        try:
            server = await serve(gateway, str(path), http)
        except Exception as error:  # noqa: BLE001  handed to the test
            started.set_exception(error)
            return
        started.set_result(server)
        await asyncio.wrap_future(stop)
        await server.close()

    thread = threading.Thread(target=asyncio.run, args=(live(),))
    thread.start()
    try:
        yield started.result(timeout=10)
    finally:
        if not stop.done():
            stop.set_result(None)
        thread.join(timeout=10)
    assert not thread.is_alive()
