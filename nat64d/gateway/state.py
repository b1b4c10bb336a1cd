"""The running gateway as the control plane sees it: the Gateway protocol on top of the tables."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from secrets import token_hex
from typing import TYPE_CHECKING

from nat64d import __version__
from nat64d.config.defaults import BUILT_IN
from nat64d.config.models import Config
from nat64d.config.sources import Rows, Sources
from nat64d.control.changes import Level, Wish
from nat64d.control.events import Events
from nat64d.control.filters import Filters
from nat64d.control.measured import Measured
from nat64d.control.rows import BusyError, ExplanationError, Lines, NoPacketError, NotReadyError, Row
from nat64d.dataplane.bpf.left import Left as Fastpath
from nat64d.dataplane.code import COMPILED_CODE
from nat64d.dataplane.worker import Queue, now
from nat64d.explain.live import RehearsalError, rehearse
from nat64d.explain.packet_text import PacketError, octets_of
from nat64d.gateway.counts import counters_of, rows_of_events
from nat64d.gateway.daemon_log import DaemonLog
from nat64d.gateway.endpoints import Endpoints
from nat64d.gateway.link_drops import LinkDrops
from nat64d.gateway.listings import listed
from nat64d.gateway.mappings import mappings, services
from nat64d.gateway.measure import measure
from nat64d.gateway.pool_use import PoolUse
from nat64d.gateway.serving import SHOWN, found, summaries, uses_of
from nat64d.gateway.state_file import StateFile
from nat64d.gateway.tasks import Tasks
from nat64d.gateway.watermarks import Use, Watermarks
from nat64d.host.mark import Mark
from nat64d.natlog.reader import Reader
from translator.tables.settings import Settings
from translator.tables.tables import Tables

if TYPE_CHECKING:  # slow to import, and packets wait for this module
    from nat64d.advertise.advertiser import Advertiser
    from nat64d.dataplane.bpf.fast import Fast
    from nat64d.dns64.service.supervisor import NameServer
    from nat64d.host.board import Board
    from nat64d.host.host import Host
    from nat64d.host.watch import Watch
    from nat64d.services.announcer import Announcer

UNCOMPILED = "Until the code is compiled (once) packets pass in plain Python: about a thousand a second."
FORGETS = "Sessions are not kept over a restart: no room in /run for [state] file; the log says how much it takes."
STUCK = 10.0  # seconds without progress after which a queue counts as stuck; an idle one makes some every second


class Live:
    """What the control plane sees of the gateway; `run` fills it in as the daemon starts."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.state = "starting"
        self.is_started_again = False  # after the stop: the next process takes over the device
        self.settings: Settings | None = None
        self.tables: Tables | None = None
        self.queues: list[Queue] = []
        self.code = COMPILED_CODE
        self.fast: Fast | None = None
        self.tun: dict[str, object] = {}
        self.offloads: list[str] = []
        self.host: Host | None = None
        self.board: Board | None = None
        self.watch: Watch | None = None
        self.nameserver: NameServer | None = None
        self.sockets: list[int] = []  # that systemd has opened for it
        self.left = Fastpath()  # of a process before
        self.advertiser: Advertiser | None = None
        self.announcer: Announcer | None = None
        self.link_drops: LinkDrops | None = None
        self.restored: dict[str, int] | None = None  # sessions of the run before, by their fate
        self._generation = token_hex(4)  # of the tables, in cursors
        self.session_log = Reader(lambda: (self.tables, self.code.read_on, self.config.log))
        self._pools: PoolUse | None = None
        self._watermarks = Watermarks()
        self.state_file: StateFile | None = None
        self.forgets: str | None = None  # why sessions are not kept, against [state]
        self.sources = Sources(BUILT_IN, config, {})
        self.log = DaemonLog()
        self.tasks = Tasks(logging.getLogger("nat64d"))
        self.endpoints = Endpoints(self._config_and_tables)
        self.complaint: str | None = None  # about what was kept of the configuration
        self.unkept: str | None = None  # about what is not kept of it
        self.changer: Callable[[Wish], Row] | None = None  # as is reloader, while packets pass
        self.flusher: Callable[[Filters | None], Row] | None = None
        self.reloader: Callable[[], Row] | None = None
        self._explaining = threading.Lock()
        self.changing = threading.Lock()  # held by who changes code or tables, with packets passing part of the time
        self._pausing, self._replacing = threading.Lock(), threading.Lock()
        self._started = time.monotonic()

    def serve(self) -> None:
        """Start a thread for each queue, with the code there is."""
        assert self.settings is not None
        assert self.tables is not None
        if self.fast:
            given, self.tables = self.tables.sessions, self.fast.take_in(self.tables)
            self.fast.hear(self.queues)
            if self.state_file is not None and self.tables.sessions is not given:
                self.state_file.have_sessions_in(self.fast.memory)  # until close_state_file
        begun = self.fast is not None and self.fast.succeed(self.settings, self.tables)
        for queue in self.queues:
            queue.start(self.settings, self.tables, self.code.run)
        if self.fast and not begun:
            self.fast.begin(self.settings, self.tables)

    def stand_still(self) -> None:
        """End the threads of the queues, and wait for them; may be repeated. The kernel goes on with established flows
        if the next process does."""
        if self.fast and not self.is_started_again:
            self.fast.end()
        for queue in self.queues:
            queue.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """All queues stand still between two batches, as long as the context lasts; then they go on with what there is.
        Not so after an exception: nobody knows what there is."""
        with self._pausing:
            if self.fast:
                self.fast.end()
            self.stand_still()
            yield
            self.serve()

    def exchange(self, config: Config, settings: Settings) -> float:
        """Other settings for the same tables: one queue after the other goes on by them at its next batch. Returns for
        how many seconds packets of one waited, at most."""
        longest = 0.0
        with self._pausing:
            assert self.tables is not None
            if self.fast:  # it knows the old settings
                self.fast.end()
            for queue in self.queues:
                began = time.monotonic()
                queue.exchange(settings)
                longest = max(longest, time.monotonic() - began)
            self.replace(config, settings, self.tables)
            if self.fast:
                self.fast.begin(settings, self.tables)
        return longest

    def replace(self, config: Config, settings: Settings, tables: Tables) -> None:
        """What belongs together, for all who look on: they see all of it as it was, or as it is."""
        with self._replacing:
            if tables is not self.tables:
                self._generation = token_hex(4)
            self.config, self.settings, self.tables = config, settings, tables

    def use_state_file(self, file: StateFile | None) -> bool:
        """Keep sessions there, or nowhere for want of room; returns whether a run before has left something. One that
        was killed and left no sessions may have had some, in memory that is gone ([fastpath])."""
        if file is None:
            self.forgets = FORGETS
            return False
        self.state_file, self.restored = file, file.fates
        self.session_log.ended.append(file.ended)
        return file.before is not None and (bool(file.before.clean) or any(file.fates.values()))

    def close_state_file(self) -> None:
        """Note in [state] file that the daemon has stopped, where there is one."""
        if self.state_file is not None:
            if self.fast and self.tables is not None:
                self.fast.give_back(self.tables, self.state_file.tables["sessions"])
            self.state_file.close()

    def reload(self) -> Row:
        """See Reload.reload; raises NotReadyError until packets pass."""
        if self.reloader is None:
            raise NotReadyError(f"the gateway is {self.state}")
        return self.reloader()

    def flush(self, filters: Filters | None) -> Row:
        """See Reload.flush; raises NotReadyError until packets pass."""
        if self.flusher is None:
            raise NotReadyError(f"the gateway is {self.state}")
        return self.flusher(filters)

    @contextmanager
    def still(self) -> Iterator[tuple[Settings, Tables]]:
        """What packets meet; it stays that as long as the context lasts. Raises NotReadyError."""
        with self._pausing:
            _, settings, tables = self._tables()
            assert settings is not None
            yield settings, tables

    def set_log_level(self, level: Level) -> Row:
        """Write the log from another level on; a LogLevelChanged."""
        return {"before": self.log.change_level(level), "level": level}

    @property
    def happened(self) -> Events:
        """What has happened."""
        return self.log.events

    def change(self, wish: Wish) -> Row:
        """See Reload.change; raises NotReadyError until packets pass."""
        if self.changer is None:
            raise NotReadyError(f"the gateway is {self.state}")
        return self.changer(wish)

    def said_by(self, source: str) -> Row:
        """What a source says beside the file: a Source."""
        rows = self.sources.rows.get(source, Rows())
        return {**rows.model_dump(mode="json", exclude_defaults=True), "version": rows.version}

    def ready(self) -> bool:
        """Whether packets are being translated, and nothing on the host keeps them from passing."""
        return self.state == "ready" and not (self.board and self.board.blocking()) and not self.stuck(time.monotonic())

    def stuck(self, moment: float) -> list[str]:
        """A sentence for each queue that has made no progress for STUCK seconds at `moment` (time.monotonic())."""
        silent = ((queue.worker.number, queue.silent(moment)) for queue in self.queues)
        return [f"Queue {n} of the TUN device has made no progress for {s:.0f} s" for n, s in silent if s > STUCK]

    def _translating(self) -> bool:
        return self.state in {"ready", "draining"}

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
            "state": "blocked" if self.state == "ready" and not self.ready() else self.state,
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
            "fastpath": self.fast.status() if self.fast else None,
            "log": self.log.level,
            "dns64": self.nameserver.status() if self.nameserver else None,
            "warnings": [
                *filter(None, [self.complaint, self.unkept, self.forgets]),
                *([UNCOMPILED] if self._translating() and not self.code.compiled else []),
                *self.stuck(time.monotonic()),
                *(self.link_drops.warnings() if self.link_drops else []),
                *self.session_log.warnings(),
                *self.tasks.warnings(),
                *(self.watch.warnings() if self.watch else []),
                *self.endpoints.warnings(),
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
        return counters_of(self.queues, self.fast)

    def events(self) -> list[Row]:
        """A row for each event, summed over the tables and the queues; those of the device and the name server
        follow."""
        ours = rows_of_events(self.queues, self.fast, self.tables, self.session_log)
        if self.link_drops:
            ours.append(self.link_drops.event())
        return [*ours, *(self.nameserver.events() if self.nameserver else [])]

    def sessions(self, filters: Filters) -> Lines:
        """The sessions that match the filters; raises NotReadyError, GoneError."""
        return self._listed("sessions", filters)

    def bib(self, filters: Filters) -> Lines:
        """The BIB entries that match the filters; raises NotReadyError, GoneError."""
        return self._listed("bib", filters)

    def hosts(self, filters: Filters) -> Lines:
        """The hosts that match the filters, or those of them with most sessions; raises NotReadyError, GoneError."""
        return self._listed("hosts", filters)

    def _listed(self, name: str, filters: Filters) -> Lines:
        with self._replacing:
            tables, generation = self._tables_now()[2], self._generation
        yield from listed(name, tables, found(filters, tables), self.code.copy_live, now, generation)

    def mappings(self, filters: Filters) -> list[Row]:
        """A row for each [[eam]], [clat] and protocol of each [[forward]] that matches the filters."""
        return mappings(self.config, self.sources.by_row(), filters)

    def services(self, filters: Filters) -> list[Row]:
        """A row for each endpoint of each [[service]] that matches the filters; raises NotReadyError."""
        with self.endpoints.lock:
            config, _, tables = self._tables()
            return services(config, tables, self.endpoints.known, filters, self.sources.by_row())

    def service_summary(self, filters: Filters) -> list[Row]:
        """A row for each [[service]] of which something matches the filters; raises NotReadyError."""
        with self.endpoints.lock:
            config, _, tables = self._tables()
            rows = list(summaries(config, uses_of(tables, self.endpoints.lost), self.endpoints.problem))
            if (filters.host, filters.port, filters.proto, filters.service) == (None,) * 4:
                return rows
            wanted = {row["service"] for row in services(config, tables, self.endpoints.known, filters, {})}
            return [row for row in rows if row["service"] in wanted]

    def blocks(self, filters: Filters) -> Lines:
        """The blocks of ports that match the filters; raises NotReadyError, GoneError."""
        return self._listed("blocks", filters)

    def pools(self) -> list[Row]:
        """A row for each protocol of each [[pool4]]; raises NotReadyError."""
        config, _, tables = self._tables()
        return self._pool_use(config).pools(tables)

    def measured(self) -> Measured:
        """What the metrics show besides; raises NotReadyError."""
        config, _, tables = self._tables()
        addresses, uses = self._pool_use(config).addresses(tables), uses_of(tables, self.endpoints.lost, SHOWN)
        return measure(tables, self.queues, addresses, uses, self.restored, now())

    def marks(self) -> tuple[Mark, ...]:
        """What of pools and tables is at [limits] watermark; none until packets pass."""
        with self._replacing:
            config, tables = self.config, self.tables
        if tables is None or not self._translating():
            return ()
        return self._watermarks.look(config, tables, self._pool_use(config), now())

    def pools_now(self) -> tuple[Config, Tables, PoolUse] | None:
        """What packets meet now, and how to see what of its pools is in use; None until they pass."""
        with self._replacing:
            config, tables = self.config, self.tables
        return (config, tables, self._pool_use(config)) if tables is not None and self._translating() else None

    def reached_marks(self) -> list[Use]:
        """What has reached [limits] watermark since this was last asked."""
        news = self._watermarks.news
        return [news.popleft() for _ in range(len(news))]

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
            return rehearse(settings, tables, self.queues[0].worker, octets, bool(self.fast and self.fast.is_on))
        except RehearsalError as error:
            raise ExplanationError(str(error)) from None
        finally:
            self._explaining.release()

    def _config_and_tables(self) -> tuple[Config, Tables | None]:
        """What belongs together; no tables before there are any."""
        with self._replacing:
            return self.config, self.tables

    def _tables(self) -> tuple[Config, Settings | None, Tables]:
        """What packets meet now; a reload leaves these as they are, and puts others in their place."""
        with self._replacing:
            return self._tables_now()

    def _tables_now(self) -> tuple[Config, Settings | None, Tables]:
        config, settings, tables = self.config, self.settings, self.tables
        if tables is None or not self._translating():
            raise NotReadyError(f"the gateway is {self.state}")
        return config, settings, tables
