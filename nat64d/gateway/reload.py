"""`nat64d reload`, SIGHUP, and change sets of the API: change to another configuration, all or nothing.

What can fail comes first: reading, judging, new tables, what is added to the host. Then packets pass by the new
configuration from one batch to the next, and what it no longer wants is taken back.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Network
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from nat64d.config.addresses import BEHIND
from nat64d.config.defaults import BUILT_IN, config_file
from nat64d.config.difference import Change, Effect, difference, fixed
from nat64d.config.endpoint_changes import concerns_no_host, is_about_endpoints
from nat64d.config.errors import ConfigError
from nat64d.config.load import load
from nat64d.config.models import Config
from nat64d.config.sources import Rows, Sources, names_in, rows_in, with_changes
from nat64d.config.warnings import warnings
from nat64d.control.changes import OutdatedError, Wish
from nat64d.control.filters import Filters
from nat64d.control.rows import BusyError, NotReadyError, RefusedError, Row, WrongConfigurationError
from nat64d.dns64.service.supervisor import NameServer
from nat64d.gateway import descriptor_store
from nat64d.gateway.clat_prefix import DiscoveryError, refuse_inside
from nat64d.gateway.flush import answer_lost, flush
from nat64d.gateway.kept_sources import KeptSources
from nat64d.gateway.state import Live
from nat64d.gateway.state_file import StateError
from nat64d.gateway.takeover import Outcome, Prepared, change_over, prepare
from nat64d.host import facts as look
from nat64d.host.checks import check_host
from nat64d.host.errors import HostError
from nat64d.host.facts import Facts
from nat64d.host.own4 import own4, with_own4
from nat64d.host.own6 import Own6, own6
from nat64d.host.watch import Watch

log = logging.getLogger("nat64d")

REFUSED = {"event": "reload_refused"}
EXPECTED = (DiscoveryError, NotReadyError, RefusedError, OSError, NetlinkError)  # nothing has changed then
# LIMITS
FEW = 1000  # sessions that are taken over before the code is compiled: plain Python takes a millisecond for one
LOOK = 1.0  # seconds between two looks for an address
PATIENCE = 30.0  # seconds for the name server to change; packets have changed by then


class Reload:
    """The daemon's way to another configuration; one at a time, from any thread but that of the event loop."""

    def __init__(
        self, live: Live, path: Path | None, set_up_logging: Callable[[Config], None], again: asyncio.Event
    ) -> None:
        """`path`: the file given to the daemon, None if there was none; `set_up_logging` follows [log]; `again` asks
        for a reload. To be called in the event loop."""
        self.failure: str | None = None  # why packets no longer pass
        self.name = str(path or BUILT_IN)
        self._live, self._path, self._set_up_logging, self._again = live, path, set_up_logging, again
        self._kept = KeptSources(live.config.state_path)
        self._sound: Config | None = None  # what the sources have said together last, if that is known
        self._lock = threading.Lock()
        self._watch: Watch | None = None
        self._begun = asyncio.Event()
        self._renumbered = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def run(self, watch: Watch) -> None:
        """Packets pass: from now on there can be a reload. There is one whenever it is asked for, until this is
        cancelled."""
        live, self._watch = self._live, watch
        live.reloader, live.changer, live.flusher = self.reload, self.change, self.flush
        watch.looked = self.look
        self._begun.set()
        while True:
            await self._again.wait()
            self._again.clear()
            try:
                await asyncio.to_thread(self.reload, PATIENCE)
            except (WrongConfigurationError, RefusedError):
                pass  # the log says so
            except (NotReadyError, BusyError) as error:
                log.error("Not reloaded, nothing has changed: %s", error, extra=REFUSED)  # noqa: TRY400
            except Exception:
                log.exception("Not reloaded")

    async def use_prefix(self, plat: IPv6Network) -> bool:
        """Change to another prefix of the provider's NAT64, as soon as there is time; whether that could be done."""
        await self._begun.wait()
        config = self._live.config
        log.info("The provider's NAT64 prefix has changed from %s to %s", config.pool6, plat)
        try:
            assert config.clat is not None
            refuse_inside(config.clat.ipv6, plat)
            await asyncio.to_thread(self._use, plat)
        except EXPECTED as error:
            log.error("Still with the prefix %s: %s", config.pool6, error)  # noqa: TRY400
            return False
        return True

    async def find_address(self, say: Callable[[str], None]) -> None:
        """Wait until the interface that gives [clat] ipv6 has an address, if one does, and take it; `say` gets a
        sentence while it has none."""
        while True:
            try:
                self._live.config = await asyncio.to_thread(self._settled, self._live.config)
            except RefusedError as error:
                say(f"waiting for an address: {error}")
                await asyncio.sleep(LOOK)
            else:
                return

    def look(self, facts: Facts) -> None:
        """Somebody has looked at the host: if an interface that gives [clat] ipv6, or addresses of [[pool4]], gives
        others now, `follow_interfaces` is told. From any thread."""
        if self._live.announcer:
            self._live.announcer.see(facts)
        if self._live.fast:
            self._live.fast.beside.look()
        config = self._live.config
        interface, clat = self._live.sources.file.clat_interface, config.clat
        own = own6(facts, interface, clat.ipv6) if interface and clat else None
        if (own and clat and own.network != clat.ipv6) or own4(config.pool4, facts) != config.pool4:
            self._loop.call_soon_threadsafe(self._renumbered.set)

    async def follow_interfaces(self) -> None:
        """Change to what interfaces give whenever that is something else, until cancelled."""
        await self._begun.wait()
        while True:
            await self._renumbered.wait()
            self._renumbered.clear()
            try:
                await asyncio.to_thread(self._use_interface)
            except EXPECTED as error:  # the next look at the host tells again
                log.error("Still with the addresses of before: %s", error, extra=REFUSED)  # noqa: TRY400

    def _use_interface(self) -> None:
        with self._lock:
            name = "what interfaces give"
            file, config = self._live.sources.file, self._settled(self._live.sources.combined())
            names = sorted(filter(None, {file.clat_interface, *(pool.interface for pool in config.pool4)}))
            self._change_to(config, name, "addresses", f"{', '.join(names)} has other addresses")

    def _settled(self, given: Config) -> Config:
        """A configuration as the file has it, with what is found out on this host: the provider's prefix, as it is, and
        what an interface gives. Raises RefusedError."""
        now = self._live.config
        if given.clat and given.clat.plat == "discover" and now.pool6:
            given = given.with_plat(now.pool6)
        if interface := given.clat_interface:
            before = now.clat.ipv6 if now.clat else None
            own = own6(_seen(), interface, before)
            stays = interface == self._live.sources.file.clat_interface and not now.clat_interface
            if own is None and before and stays:
                own = Own6(before, interface if before == BEHIND else None)
            if own is None:
                raise RefusedError(
                    f"[clat] ipv6: {interface} has no IPv6 address that others can reach, or is not there"
                )
            given = given.with_clat6(*own)
        return with_own4(given, _seen)

    def _settled_beside(self, combined: Config) -> Config:
        """The same for what the sources say together; what has not changed since was found out then."""
        if self._sound and is_about_endpoints(self._sound, combined):
            return self._live.config.model_copy(update={"service": combined.service})
        return self._settled(combined)

    def close(self) -> None:
        """No further reload; one that has begun is over when this returns. The event loop must run meanwhile."""
        with self._lock:
            self._watch = self._live.reloader = self._live.changer = self._live.flusher = None

    def reload(self, patience: float = 0) -> Row:
        """Change to what the file says now; a Reloaded. It waits so many seconds for another change to be over. Raises
        NotReadyError, BusyError, WrongConfigurationError, RefusedError: then nothing has changed, and the log says so
        too."""
        with self._alone(patience):
            try:
                descriptor_store.tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
                sources = self._read()
                try:
                    config = sources.combined()
                except ConfigError as error:
                    together = f"{sources.names} do not go together; change the file, or use nat64d unset"
                    raise RefusedError(f"{together}\n{error.lines}") from None
                config = self._settled(config)
                answer = self._change_to(config, sources.names, "reload", f"Reloaded {sources.name}")
                self._live.sources, self._sound = sources, None
            except (WrongConfigurationError, RefusedError) as error:
                why = "; ".join(str(error).splitlines())
                log.error("Not reloaded, nothing has changed: %s", why, extra=REFUSED)  # noqa: TRY400
                raise
            finally:
                descriptor_store.tell("READY=1")
            return {"configuration": sources.name, **answer}

    def change(self, wish: Wish) -> Row:
        """Change what a source says beside the file; a Changed. Raises NotReadyError, BusyError, OutdatedError,
        WrongConfigurationError, RefusedError: then nothing has changed."""
        with self._alone():
            before = self._live.sources
            rows = before.rows.get(wish.source, Rows())
            if wish.match not in {None, "*", rows.version}:
                raise OutdatedError(f"{wish.source} is at version {rows.version}, not at {wish.match}: read it again")
            if wish.generation not in {None, rows.version}:
                now_at = f"{wish.source} is at version {rows.version}, not at {wish.generation}"
                raise RefusedError(f"{now_at}: read it again")
            try:
                kept, unset = Rows() if wish.replaces else rows, names_in(wish.unset, "unset")
                given = rows_in(wish.set, "set", rows.service)
                rows = with_changes(kept, unset, given, wish.source, before)
                sources = before._replace(rows={**before.rows, wish.source: rows})
                combined = sources.combined(self._sound)
                config = self._settled_beside(combined)
            except ConfigError as error:
                raise WrongConfigurationError(error.lines) from None
            answer = {"source": wish.source, "version": rows.version, "dry_run": wish.dry_run}
            if wish.dry_run:
                return {**answer, **self._foreseen(config, sources.names)}
            try:
                if wish.replaces or not self._kept.prepare_change(wish.source, unset, given):
                    self._kept.prepare(sources.rows)
            except OSError as error:
                raise RefusedError(f"{self._kept.path}: cannot keep it there: {error.strerror}") from None
            changed = self._change_to(config, sources.names, "change", f"Changed what {wish.source} has set")
            self._live.sources, self._sound = sources, combined
            self._live.unkept = self._kept.commit()
            return {**answer, **changed, "warnings": [*changed["warnings"], *filter(None, [self._live.unkept])]}

    def flush(self, filters: Filters | None) -> Row:
        """End the sessions that match the filters, and answer TCP of lost sessions with RST for a while, as after a
        reload that ends some; a Flushed. Without filters only that; a Grace. Raises NotReadyError, BusyError."""
        live = self._live
        with self._alone():
            if self._watch is None:
                raise NotReadyError(f"the gateway is {live.state}")
            if filters is None:
                seconds = answer_lost(live)
                log.info("TCP of no session is answered with RST for %d s", seconds, extra={"event": "grace"})
                return {"seconds": seconds}
            ended = flush(live, filters)
            if ended:
                answer_lost(live)
            log.info("Ended %d sessions on request", ended, extra={"event": "flush", "ended": ended})
            return {"ended": ended}

    @contextmanager
    def _alone(self, patience: float = 0) -> Iterator[None]:
        """While no other change is made. Raises BusyError."""
        if not self._lock.acquire(timeout=patience):
            raise BusyError("another change is being made; try again in a moment")
        try:
            yield
        finally:
            self._lock.release()

    def _use(self, plat: IPv6Network) -> None:
        with self._lock:
            name = "the provider's NAT64 prefix"
            self._change_to(self._live.config.with_plat(plat), name, "prefix", f"Reloaded {name}")

    def _read(self) -> Sources:
        """What the file says now, and the others as before. Raises WrongConfigurationError."""
        path = config_file(self._path)
        try:
            return self._live.sources._replace(name=str(path or BUILT_IN), file=load(path))
        except ConfigError as error:
            raise WrongConfigurationError(str(error)) from None

    def _judged(self, config: Config, name: str) -> tuple[list[Change], list[str]]:
        """What is to change, and what is doubtful about it and was not before. Raises NotReadyError, RefusedError."""
        before = self._live.config
        if self._watch is None:
            raise NotReadyError(f"the gateway is {self._live.state}")
        changes = difference(before, config)
        errors = [] if is_about_endpoints(before, config) else check_host(config, name).errors
        if refusals := [*fixed(changes, name), *errors]:
            raise RefusedError("\n".join(map(str, refusals)))
        doubts = warnings(config)
        known = warnings(before) if doubts else []
        return changes, [sentence for sentence in doubts if sentence not in known]

    def _foreseen(self, config: Config, name: str) -> Row:
        """What `_change_to` would answer, but for what becomes of sessions. Raises NotReadyError, RefusedError."""
        changes, doubts = self._judged(config, name)
        said = "Nothing is changed: it was asked what would be" if changes else "Nothing would be changed"
        return self._answer(changes, doubts, None, said)

    def _change_to(self, config: Config, name: str, event: str, done: str) -> Row:
        """Change to a configuration; `name` says where it is from, `done` that it is done. Raises NotReadyError,
        RefusedError."""
        changes, doubts = self._judged(config, name)
        outcome = self._outcome_of(config, changes) if changes else None
        for sentence in doubts:
            log.warning(sentence)
        said = f"{done}: {outcome.sentence if outcome else 'nothing has changed'}"
        counts = {"kept": outcome.kept, "ended": sum(outcome.ended.values())} if outcome else {}
        log.info("%s", "; ".join((said, *(change.clause for change in changes))), extra={"event": event, **counts})
        return self._answer(changes, doubts, outcome, said)

    def _answer(self, changes: list[Change], doubts: list[str], outcome: Outcome | None, said: str) -> Row:
        return {
            "changes": [{**_as_row(change)} for change in changes],
            "kept": outcome.kept if outcome else self._live.usage()[0],
            "ended": outcome.ended if outcome else {},
            "pause": outcome.pause if outcome else 0.0,
            "warnings": doubts,
            "summary": said,
        }

    def _outcome_of(self, config: Config, changes: list[Change]) -> Outcome:
        """Change, on the host, for packets and for names, in this order. Raises RefusedError, NotReadyError."""
        live, host, watch, before = self._live, self._live.host, self._watch, self._live.config
        assert host is not None
        assert watch is not None
        judges_sessions = any(change.effect is Effect.SESSIONS for change in changes)
        if judges_sessions and not live.code.compiled and live.usage()[0] > FEW:
            raise NotReadyError("the code that takes sessions over is being compiled; try again in a minute")
        try:
            prepared = prepare(live, config, judges_sessions)
        except StateError as error:
            raise RefusedError(str(error)) from None
        if concerns_no_host(before, config):
            outcome = self._change_over(prepared)
            self._loop.call_soon_threadsafe(live.endpoints.use, config)
            return outcome
        with watch.held():
            wanted = host.wanted
            try:
                host.extend(config)
            except HostError as error:
                if prepared.file:
                    prepared.file.close()
                raise RefusedError(str(error)) from None
            outcome = self._change_over(prepared)
            host.retract(wanted)
        if config.log != before.log:  # else what was set meanwhile stays
            self._set_up_logging(config)
        changing = asyncio.run_coroutine_threadsafe(self._change_services(config), self._loop)
        try:
            changing.result(PATIENCE)
        except Exception:  # packets have changed over by now
            log.exception("Name server: it may still be that of the configuration before")
        watch.check(time.monotonic())
        return outcome

    def _change_over(self, prepared: Prepared) -> Outcome:
        try:
            return change_over(self._live, prepared)
        except BaseException as error:
            self.failure = f"A reload broke off, and packets no longer pass: {error!r}"
            raise

    async def _change_services(self, config: Config) -> None:
        """Let router advertisements follow, questions to endpoints, and the name server, which may come or go with
        [dns64]."""
        live = self._live
        live.endpoints.use(config)
        if live.advertiser:
            live.advertiser.use(config)
        if live.announcer:
            live.announcer.use(config)
        if live.nameserver and config.dns64:
            await live.nameserver.change_to(config)
        elif live.nameserver:
            nameserver, live.nameserver = live.nameserver, None
            await nameserver.stop()
        elif config.dns64:
            nameserver = NameServer(config, live.sockets)
            await nameserver.start()
            nameserver.ready(True)
            live.nameserver = nameserver


def _seen() -> Facts:
    """A look at the host. Raises RefusedError."""
    try:
        return look.read()
    except (OSError, NetlinkError) as error:
        raise RefusedError(f"cannot look at this host: {error}") from None


def _as_row(change: Change) -> Row:
    return {"place": change.place, "before": change.before, "after": change.after, "text": change.clause}
