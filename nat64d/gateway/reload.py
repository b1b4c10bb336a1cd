"""`nat64d reload`, SIGHUP: read the configuration again and change to it, all or nothing.

What can fail comes first: reading, judging, new tables, what is added to the host. Then packets pass by the new
configuration from one batch to the next, and what it no longer wants is taken back.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from ipaddress import IPv6Network
from pathlib import Path

import sdnotify

from nat64d.config.defaults import BUILT_IN, config_file
from nat64d.config.difference import Change, Effect, difference, fixed
from nat64d.config.errors import ConfigError
from nat64d.config.load import load
from nat64d.config.models import Config
from nat64d.config.warnings import warnings
from nat64d.control.rows import BusyError, NotReadyError, RefusedError, Row, WrongConfigurationError
from nat64d.dns64.service.supervisor import NameServer
from nat64d.gateway.clat_prefix import DiscoveryError, refuse_inside
from nat64d.gateway.state import Live
from nat64d.gateway.takeover import Outcome, change_over, prepare
from nat64d.host.checks import check_host
from nat64d.host.errors import HostError
from nat64d.host.watch import Watch

log = logging.getLogger("nat64d")

# LIMITS
FEW = 1000  # sessions that are taken over before the code is compiled: plain Python takes a millisecond for one
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
        self._lock = threading.Lock()
        self._watch: Watch | None = None
        self._begun = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def run(self, watch: Watch) -> None:
        """Packets pass: from now on there can be a reload. There is one whenever it is asked for, until this is
        cancelled."""
        self._watch, self._live.reloader = watch, self.reload
        self._begun.set()
        while True:
            await self._again.wait()
            self._again.clear()
            try:
                await asyncio.to_thread(self.reload)
            except (WrongConfigurationError, RefusedError):
                pass  # the log says so
            except (NotReadyError, BusyError) as error:
                log.error("Not reloaded, nothing has changed: %s", error)  # noqa: TRY400
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
        except (DiscoveryError, NotReadyError, RefusedError) as error:
            log.error("Still with the prefix %s: %s", config.pool6, error)  # noqa: TRY400
            return False
        return True

    def close(self) -> None:
        """No further reload; one that has begun is over when this returns. The event loop must run meanwhile."""
        with self._lock:
            self._watch = self._live.reloader = None

    def reload(self) -> Row:
        """Change to what the file says now; a Reloaded. Raises NotReadyError, BusyError, WrongConfigurationError,
        RefusedError: then nothing has changed, and the log says so too."""
        if not self._lock.acquire(blocking=False):
            raise BusyError("another reload is running; try again in a moment")
        try:
            _notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            config, name = self._read()
            return self._change_to(config, name)
        except (WrongConfigurationError, RefusedError) as error:
            log.error("Not reloaded, nothing has changed: %s", "; ".join(str(error).splitlines()))  # noqa: TRY400
            raise
        finally:
            self._lock.release()
            _notify("READY=1")

    def _use(self, plat: IPv6Network) -> None:
        with self._lock:
            self._change_to(self._live.config.with_plat(plat), "the provider's NAT64 prefix")

    def _read(self) -> tuple[Config, str]:
        """The configuration that a start would take now, and its name. Raises WrongConfigurationError."""
        path = config_file(self._path)
        try:
            config = load(path)
        except ConfigError as error:
            raise WrongConfigurationError(str(error)) from None
        now = self._live.config
        if config.clat and config.clat == now.clat and config.pool6 is None and now.pool6:  # discovered
            config = config.with_plat(now.pool6)
        return config, str(path or BUILT_IN)

    def _change_to(self, config: Config, name: str) -> Row:
        """Change to a configuration from that file. Raises NotReadyError, RefusedError."""
        live = self._live
        if self._watch is None:
            raise NotReadyError(f"the gateway is {live.state}")
        before, changes = live.config, difference(live.config, config)
        refusals = [*fixed(before, config, changes, name), *check_host(config, name).errors]
        if refusals:
            raise RefusedError("\n".join(map(str, refusals)))
        known = warnings(before)
        doubts = [sentence for sentence in warnings(config) if sentence not in known]
        outcome = self._outcome_of(config, changes) if changes else None
        for sentence in doubts:
            log.warning(sentence)
        said = f"Reloaded {name}: {outcome.sentence}" if outcome else f"Reloaded {name}: nothing has changed"
        counts = {"kept": outcome.kept, "ended": sum(outcome.ended.values())} if outcome else None
        log.info("%s", "; ".join((said, *(change.clause for change in changes))), extra=counts)
        return {
            "configuration": name,
            "changes": [{**_as_row(change)} for change in changes],
            "kept": outcome.kept if outcome else live.usage()[0],
            "ended": outcome.ended if outcome else {},
            "pause": outcome.pause if outcome else 0.0,
            "warnings": doubts,
            "summary": said,
        }

    def _outcome_of(self, config: Config, changes: list[Change]) -> Outcome:
        """Change, on the host, for packets and for names, in this order. Raises RefusedError, NotReadyError."""
        live, host, watch = self._live, self._live.host, self._watch
        assert host is not None
        assert watch is not None
        judges_sessions = any(change.effect is Effect.SESSIONS for change in changes)
        if judges_sessions and not live.code.compiled and live.usage()[0] > FEW:
            raise NotReadyError("the code that takes sessions over is being compiled; try again in a minute")
        prepared = prepare(live, config, judges_sessions)
        with watch.held():
            wanted = host.wanted
            try:
                host.extend(config)
            except HostError as error:
                raise RefusedError(str(error)) from None
            try:
                outcome = change_over(live, prepared)
            except BaseException as error:
                self.failure = f"A reload broke off, and packets no longer pass: {error!r}"
                raise
            host.retract(wanted)
        self._set_up_logging(config)
        changing = asyncio.run_coroutine_threadsafe(self._change_names(config), self._loop)
        try:
            changing.result(PATIENCE)
        except Exception:  # packets have changed over by now
            log.exception("Name server: it may still be that of the configuration before")
        watch.check(time.monotonic())
        return outcome

    async def _change_names(self, config: Config) -> None:
        """Let the name server follow, which may come or go with [dns64]."""
        live = self._live
        if live.nameserver and config.dns64:
            await live.nameserver.change_to(config)
        elif live.nameserver:
            nameserver, live.nameserver = live.nameserver, None
            await nameserver.stop()
        elif config.dns64:
            nameserver = NameServer(config)
            await nameserver.start()
            nameserver.ready(True)
            live.nameserver = nameserver


def _notify(text: str) -> None:
    """Tell systemd, if there is one."""
    if "NOTIFY_SOCKET" in os.environ:
        notifier = sdnotify.SystemdNotifier()
        notifier.notify(text)
        notifier.socket.close()


def _as_row(change: Change) -> Row:
    return {"place": change.place, "before": change.before, "after": change.after, "text": change.clause}
