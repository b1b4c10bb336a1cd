"""Until a signal to stop, and from there to the end: what announces services is taken back first, and packets pass for
a while longer, in which routers and neighbours find another way."""

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING

from nat64d.dataplane.worker import now
from nat64d.gateway import descriptor_store
from nat64d.gateway.computed_log import ComputedLog
from nat64d.gateway.drops import DropLog
from nat64d.gateway.first_start import FirstStart
from nat64d.gateway.shortages import Shortages
from nat64d.gateway.watchdog import Watchdog
from nat64d.host.errors import HostError
from nat64d.natlog.place import Moment

if TYPE_CHECKING:  # slow to import; packets wait for this module where they wait in a device that goes on
    from nat64d.gateway.reload import Reload
    from nat64d.host.host import Host
    from nat64d.host.watch import Watch

log = logging.getLogger("nat64d")

EVERY = 1.0  # seconds between two checks that the queues still run
LAST = 15.0  # seconds that the end takes, after [services] drain; systemd waits that long


def moment() -> Moment:
    """The clocks, for the log of sessions."""
    return Moment(round(1000 * time.time()) - now(), time.monotonic())


class Stops(asyncio.Event):
    """Set by the first signal to stop; `at_once` by another one."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once = asyncio.Event()


class Course:
    """The daemon at work: `run` looks after it until a signal, `drain` from there on."""

    def __init__(self, first_start: FirstStart, reload: "Reload", watch: "Watch", stops: Stops) -> None:
        live = first_start.live
        self._first_start, self._live, self._reload, self._watch, self._stops = first_start, live, reload, watch, stops
        self._drops = DropLog([queue.worker for queue in live.queues], log)
        self._watchdog, self._computed, self._shortages = Watchdog(live, log), ComputedLog(log), Shortages(live)

    async def run(self) -> str | None:
        """Until the signal to stop, and what has to be done before packets may cease to pass. Returns why the daemon
        ends, if not for the signal: a queue failed, or a reload broke off."""
        failure = await self._until(self._stops)
        self._live.is_started_again = failure is None and descriptor_store.is_started_again(os.environ)
        if failure is None and not self._live.is_started_again and self._live.config.service:
            failure = await self._drain(self._live.config.services.drain)
        return failure

    async def _drain(self, seconds: int) -> str | None:
        """Take back what announces services, and let packets pass for so many seconds, or until another signal."""
        live, host = self._live, self._live.host
        assert host is not None
        descriptor_store.tell(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={round(1e6 * (seconds + LAST))}")
        if live.announcer:
            live.announcer.end()
        await asyncio.to_thread(self._reload.close)
        await asyncio.to_thread(self._watch.close)
        await asyncio.to_thread(self._withdraw, host)
        if not seconds:
            return None
        live.state = "draining"
        if live.nameserver:
            live.nameserver.ready(False)
        log.info("Services are withdrawn; packets pass for %d s more, or until another signal", seconds)
        return await self._until(self._stops.at_once, seconds)

    def _withdraw(self, host: "Host") -> None:
        """After what the announcer may just be doing."""
        try:
            with self._watch.held():
                host.withdraw()
        except HostError as error:
            log.warning(error)

    async def _until(self, event: asyncio.Event, seconds: float = float("inf")) -> str | None:
        """Look every second, as long as that does not happen and nothing fails; returns what has failed."""
        end = time.monotonic() + seconds
        while not event.is_set() and (left := end - time.monotonic()) > 0:
            if failure := await self._look():
                return failure
            try:
                await asyncio.wait_for(event.wait(), min(EVERY, left))
            except TimeoutError:
                continue
        return None

    async def _look(self) -> str | None:
        live = self._live
        self._watchdog.look(time.monotonic())
        await asyncio.to_thread(self._shortages.look, moment())
        self._drops.look(time.monotonic())
        self._computed.look(live.config, time.monotonic())
        if live.link_drops:
            live.link_drops.look(time.monotonic())
        await self._first_start.look()
        failures = (queue.failure for queue in live.queues)
        return next(filter(None, failures), None) or self._reload.failure
