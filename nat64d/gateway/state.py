"""The running gateway as the control plane sees it: the Gateway protocol on top of the tables."""

import heapq
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from operator import itemgetter

import numpy as np

from nat64d import __version__
from nat64d.config.models import Config
from nat64d.config.settings import PROTOCOLS, address6, words
from nat64d.control.measured import Measured
from nat64d.control.rows import BusyError, ExplanationError, Filters, NoPacketError, NotReadyError, Row
from nat64d.dataplane.code import COMPILED_CODE
from nat64d.dataplane.worker import Queue, now
from nat64d.dns64.service.supervisor import NameServer
from nat64d.explain.live import RehearsalError, rehearse
from nat64d.explain.packet_text import PacketError, octets_of
from nat64d.gateway.link_drops import LinkDrops
from nat64d.gateway.measure import measure
from nat64d.gateway.pool_use import PoolUse
from nat64d.gateway.state_file import StateFile
from nat64d.host.board import Board
from nat64d.host.host import Host
from translator.session.tcp_state import State
from translator.tables.layout import BIB, HOST, SESSION, records
from translator.tables.settings import Settings
from translator.tables.tables import BIBS, HOSTS, SESSIONS, Tables
from translator.verdict import Direction, Event, Verdict

UNCOMPILED = "Until the code is compiled (once) packets pass in plain Python: about a thousand a second."
STUCK = 10.0  # seconds without progress after which a queue counts as stuck; an idle one makes some every second
SLICE = 1024  # records copied each time the lock is held

NAMES = {number: name for name, number in PROTOCOLS.items()}


class Live:
    """What the control plane sees of the gateway; `run` fills it in as the daemon starts."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.state = "starting"
        self.settings: Settings | None = None
        self.tables: Tables | None = None
        self.queues: list[Queue] = []
        self.code = COMPILED_CODE
        self.tun: dict[str, object] = {}
        self.offloads: list[str] = []
        self.host: Host | None = None
        self.board: Board | None = None
        self.nameserver: NameServer | None = None
        self.link_drops: LinkDrops | None = None
        self.restored: dict[str, int] | None = None  # sessions of the run before, by their fate
        self._pools: PoolUse | None = None
        self.state_file: StateFile | None = None
        self.reloader: Callable[[], Row] | None = None
        self._explaining = threading.Lock()
        self._pausing = threading.Lock()
        self._replacing = threading.Lock()
        self._started = time.monotonic()

    def serve(self) -> None:
        """Start a thread for each queue, with the code there is."""
        assert self.settings is not None
        assert self.tables is not None
        for queue in self.queues:
            queue.start(self.settings, self.tables, self.code.run)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """All queues stand still between two batches, as long as the context lasts; then they go on with what there is.
        Not so after an exception: nobody knows what there is."""
        with self._pausing:
            for queue in self.queues:
                queue.stop()
            yield
            self.serve()

    def replace(self, config: Config, settings: Settings, tables: Tables) -> None:
        """What belongs together, for all who look on: they see all of it as it was, or as it is."""
        with self._replacing:
            self.config, self.settings, self.tables = config, settings, tables

    def reload(self) -> Row:
        """See Reload.reload; raises NotReadyError until packets pass."""
        if self.reloader is None:
            raise NotReadyError(f"the gateway is {self.state}")
        return self.reloader()

    def ready(self) -> bool:
        """Whether packets are being translated, and nothing on the host keeps them from passing."""
        return self._translating() and not (self.board and self.board.blocking()) and not self.stuck(time.monotonic())

    def stuck(self, moment: float) -> list[str]:
        """A sentence for each queue that has made no progress for STUCK seconds at `moment` (time.monotonic())."""
        silent = ((queue.worker.number, queue.silent(moment)) for queue in self.queues)
        return [f"Queue {n} of the TUN device has made no progress for {s:.0f} s" for n, s in silent if s > STUCK]

    def _translating(self) -> bool:
        return self.state == "ready"

    def usage(self) -> tuple[int, int]:
        """How many sessions and BIB entries there are."""
        sessions, bib = self.code.usage(self.tables) if self._translating() else (0, 0)
        return int(sessions), int(bib)

    def status(self) -> Row:
        """The gateway at a glance."""
        sessions, bib = self.usage()
        limits = self.config.limits
        return {
            "version": __version__,
            "state": "blocked" if self._translating() and not self.ready() else self.state,
            "uptime": round(time.monotonic() - self._started, 3),
            "tun": {**self.tun, "dropped": self.link_drops.count()} if self.link_drops else self.tun,
            "pool6": str(self.config.pool6) if self.config.pool6 else None,
            "sessions": sessions,
            "bib": bib,
            "limits": {
                "sessions": limits.sessions,
                "subscriber": limits.subscriber,
                "per_host_sessions": limits.per_host_sessions,
                "per_host_ports": limits.per_host_ports,
            },
            "offloads": self.offloads,
            "masquerade": ", ".join(self.host.masquerade) or None if self.host else None,
            "dns64": self.nameserver.status() if self.nameserver else None,
            "warnings": [
                *([UNCOMPILED] if self._translating() and not self.code.compiled else []),
                *self.stuck(time.monotonic()),
                *(self.link_drops.warnings() if self.link_drops else []),
                *(self.nameserver.warnings() if self.nameserver else []),
            ],
            "conditions": self.board.standing(time.monotonic()) if self.board else [],
        }

    def conditions(self) -> list[Row]:
        """A row for each condition of the host; none before it is set up."""
        return self.board.rows(time.monotonic()) if self.board else []

    def dns64(self) -> Row | None:
        """The counters of the name server, None if there is no [dns64]."""
        return self.nameserver.report() if self.nameserver else None

    def counters(self) -> list[Row]:
        """A row for each direction and verdict, summed over the queues."""
        zeros = np.zeros((len(Direction), max(Verdict) + 1), np.int64)
        counts = sum((queue.worker.counters for queue in self.queues), zeros)
        octets = sum((queue.worker.octets for queue in self.queues), zeros)
        return [
            {
                "direction": direction.label,
                "verdict": verdict.name.lower(),
                "packets": int(counts[direction, verdict]),
                "octets": int(octets[direction, verdict]),
                "rfc": verdict.section,
                "help": verdict.help,
            }
            for direction in Direction
            for verdict in Verdict
            if verdict != Verdict.CONTINUE
        ]

    def events(self) -> list[Row]:
        """A row for each event, summed over the tables and the queues; those of the device and the name server
        follow."""
        counts = sum((queue.worker.events for queue in self.queues), np.zeros(len(Event), np.int64))
        if self.tables is not None:
            counts = counts + self.tables.events
        ours: list[Row] = [{"event": e.name.lower(), "count": int(counts[e]), "help": e.help} for e in Event]
        if self.link_drops:
            ours.append(self.link_drops.event())
        return [*ours, *(self.nameserver.events() if self.nameserver else [])]

    def sessions(self, filters: Filters) -> Iterator[Row]:
        """The sessions that match the filters; raises NotReadyError."""
        tables = self._tables()[2]
        for rows in self._slices(tables, SESSIONS, tables.sessions, SESSION):
            moment = now()
            for row in rows[_wanted(rows, filters) & (rows["expires"] > moment)]:
                yield {
                    **_ends(row),
                    "host4": str(IPv4Address(int(row["host4"]))),
                    "host4_port": int(row["host4_port"]),
                    "state": State(row["state"]).name if row["state"] else None,
                    "expires_in": (int(row["expires"]) - moment) / 1000,
                }

    def bib(self, filters: Filters) -> Iterator[Row]:
        """The BIB entries that match the filters; raises NotReadyError."""
        tables = self._tables()[2]
        for rows in self._slices(tables, BIBS, tables.bibs, BIB):
            for row in rows[_wanted(rows, filters)]:
                yield {**_ends(row), "static": bool(row["static"]), "sessions": int(row["sessions"])}

    def hosts(self, filters: Filters) -> Iterator[Row]:
        """The hosts that match the filters, or those of them with most sessions; raises NotReadyError."""
        tables = self._tables()[2]
        slices = self._slices(tables, HOSTS, tables.hosts, HOST)
        found = (_host(row) for rows in slices for row in rows[_wanted(rows, filters)])
        return iter(heapq.nlargest(filters.top, found, itemgetter("sessions"))) if filters.top else found

    def pools(self) -> list[Row]:
        """A row for each protocol of each [[pool4]]; raises NotReadyError."""
        config, _, tables = self._tables()
        return self._pool_use(config).pools(tables)

    def measured(self) -> Measured:
        """What the metrics show besides; raises NotReadyError."""
        config, _, tables = self._tables()
        return measure(tables, self.queues, self._pool_use(config).addresses(tables), self.restored, now())

    def _pool_use(self, config: Config) -> PoolUse:
        pools = self._pools
        if pools is None or pools.config is not config:
            pools = self._pools = PoolUse(config)
        return pools

    def explain(self, packet: bytes | str) -> Row:
        """What nat64d would do now with a packet read from the first queue; raises NoPacketError, NotReadyError,
        BusyError, ExplanationError."""
        _, settings, tables = self._tables()
        try:
            octets = packet if isinstance(packet, bytes) else octets_of(packet)
        except PacketError as error:
            raise NoPacketError(str(error)) from None
        assert settings is not None
        if not self.code.compiled:
            raise NotReadyError("what explains live packets is being compiled; try again in a minute")
        if not self._explaining.acquire(blocking=False):
            raise BusyError("another explain request is running; try again in a moment")
        try:
            return rehearse(settings, tables, self.queues[0].worker, octets)
        except RehearsalError as error:
            raise ExplanationError(str(error)) from None
        finally:
            self._explaining.release()

    def _tables(self) -> tuple[Config, Settings | None, Tables]:
        """What packets meet now; a reload leaves these as they are, and puts others in their place."""
        with self._replacing:
            config, settings, tables = self.config, self.settings, self.tables
        if tables is None or not self._translating():
            raise NotReadyError(f"the gateway is {self.state}")
        return config, settings, tables

    def _slices(self, tables: Tables, kind: int, rows: np.ndarray, dtype: np.dtype) -> Iterator[np.ndarray]:
        """Copies of the records in use, SLICE at a time."""
        out, start, more = records(SLICE, dtype), 0, True
        while more:
            start, count, more = self.code.copy_live(tables, kind, rows, start, out)
            yield out[:count].view(np.ndarray)


def _ends(row: np.void) -> dict[str, object]:
    """The columns that sessions and BIB entries share: protocol, host6 and mapped4."""
    return {
        "protocol": NAMES.get(int(row["protocol"]), str(row["protocol"])),
        "host6": str(address6(row["host6_hi"], row["host6_lo"])),
        "host6_port": int(row["host6_port"]),
        "mapped4": str(IPv4Address(int(row["mapped4"]))),
        "mapped4_port": int(row["mapped4_port"]),
    }


def _host(row: np.void) -> Row:
    return {
        "host6": str(address6(row["host6_hi"], row["host6_lo"])),
        "mapped4": str(IPv4Address(int(row["mapped4"]))) if row["mapped4"] else None,
        "sessions": int(row["sessions"]),
        "bib": int(row["bibs"]),
        **{name: int(row[name]) for name in ("tcp", "udp", "icmp", "other")},
    }


def _wanted(rows: np.ndarray, filters: Filters) -> np.ndarray:
    """Which of n records match the filters: bool[n]."""
    wanted = np.ones(len(rows), bool)
    if filters.protocol is not None:
        wanted &= rows["protocol"] == (PROTOCOLS.get(filters.protocol) or int(filters.protocol))
    if filters.host6 is not None:
        wanted &= _in_network6(rows, filters.host6)
    for key, network in (("mapped4", filters.mapped4), ("host4", filters.host4)):
        if network is not None:
            wanted &= _in_network4(rows[key], network)
    return wanted


def _in_network4(addresses: np.ndarray, network: IPv4Network) -> np.ndarray:
    return (addresses >= int(network[0])) & (addresses <= int(network[-1]))


def _in_network6(rows: np.ndarray, network: IPv6Network) -> np.ndarray:
    hi, lo = words(network[0])
    mask_hi, mask_lo = words(network.netmask)
    inside: np.ndarray = ((rows["host6_hi"] ^ hi) & mask_hi == 0) & ((rows["host6_lo"] ^ lo) & mask_lo == 0)
    return inside
