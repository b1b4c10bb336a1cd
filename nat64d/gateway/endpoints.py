"""Endpoints of services that are asked whether they serve: new flows follow what is known, and flows of UDP leave one
that does not serve at once. TCP connections stay where they are until they end."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import IPv6Network
from typing import TYPE_CHECKING

from nat64d.config.fronts import Weight, weigh
from nat64d.config.models import Config
from nat64d.config.services import Endpoint, Service
from nat64d.control.filters import Filters
from nat64d.control.rows import NotReadyError
from nat64d.services.standing import Key, Known, Place, Standing
from translator.tables.tables import Tables

if TYPE_CHECKING:
    from nat64d.services.checker import Checker

log = logging.getLogger("nat64d")

NO_NEW_FLOWS, LAST_RESORT = -1, 0  # weights
LOOK = 1.0  # LIMIT: seconds between two looks at endpoints that come back slowly
FINE = 100  # weights are so many times finer where endpoints come back slowly


class Endpoints:
    """What is known of endpoints, as the weights of members; `look` gives what packets meet."""

    def __init__(self, look: Callable[[], tuple[Config, Tables | None]]) -> None:
        self._look = look
        self._checker: Checker | None = None
        self._served: dict[Key, list[Service]] = {}
        self._fallen: list[Key] = []
        self._changed = asyncio.Event()
        self.lock = threading.Lock()  # held while services change, and by whoever needs those that are configured
        self.lost: frozenset[str] = frozenset()  # services all of whose endpoints are used because none serves

    async def run(self, end: Callable[[Filters], object]) -> None:
        """Ask, and let the flows follow, until cancelled; `end` ends sessions, or raises NotReadyError."""
        from nat64d.services.checker import Checker  # noqa: PLC0415  slow to import, and packets wait for this module

        checker = self._checker = Checker(self._told)
        try:
            self.use(self._look()[0])
            while True:
                await self._next()
                fallen, self._fallen = self._fallen, []
                await asyncio.to_thread(self._weigh_now)
                for filters in self._flows_of(fallen):
                    with suppress(NotReadyError):
                        await asyncio.to_thread(end, filters)
        finally:
            self._checker = None
            await checker.close()

    def use(self, config: Config) -> None:
        """Ask the endpoints of another configuration from now on."""
        served: dict[Key, list[Service]] = {}
        for service in config.service:
            if health := service.health:
                for endpoint in service.endpoints:
                    served.setdefault(Key(_place(endpoint), health), []).append(service)
        self._served = served
        if self._checker:
            self._checker.use(served)
            self._changed.set()

    def _weigh_now(self) -> None:
        with self.lock:
            config, tables = self._look()
            if tables is not None:
                self.weigh(config, tables)

    def weigh(self, config: Config, tables: Tables) -> None:
        """Write what is known into tables for `config`."""
        weight = self.weight(config)
        if any(service.health for service in config.service):
            weigh(tables, config, weight)

    def weight(self, config: Config) -> Weight:
        """The weights that endpoints of `config` have, by what is known."""
        lost = self.lost = frozenset(service.name for service in config.service if self._is_lost(service))

        def weight(service: Service, endpoint: Endpoint) -> int:
            known = self.known(service, endpoint)
            scale = FINE if service.health and service.health.slow_start else 1
            if known is None or service.name in lost:
                return endpoint.weight * scale
            if known.standing is Standing.DOWN:
                return NO_NEW_FLOWS
            if known.standing is Standing.FAILING or endpoint.weight == 0:
                return LAST_RESORT
            return max(1, round(endpoint.weight * scale * known.part(time.monotonic())))

        return weight

    def known(self, service: Service, endpoint: Endpoint) -> Known | None:
        """What is known of an endpoint; None where nobody asks."""
        if self._checker is None or service.health is None:
            return None
        return self._checker.known.get(Key(_place(endpoint), service.health))

    def warnings(self) -> list[str]:
        """A sentence for each service of which endpoints do not serve. From any thread."""
        problems = ((service.name, self.problem(service)) for service in self._look()[0].service)
        return [f"Service {name}: {problem}" for name, problem in problems if problem]

    def problem(self, service: Service) -> str | None:
        """Which endpoints of a service do not serve, and why; None where all do."""
        if service.health is None:
            return None
        known = [(one, self.known(service, one)) for one in service.endpoints]
        down = [(one, state.why) for one, state in known if state and state.standing is Standing.DOWN]
        if not down:
            return None
        (first, why), count = down[0], len(service.endpoints)
        which = f"{first.address} does not serve"
        if len(down) > 1:
            which = f"{len(down)} do not serve, {first.address} among them"
        return f"of its {count} endpoints {which}: {why}"

    def _is_lost(self, service: Service) -> bool:
        """Whether all endpoints are used because none serves."""
        if service.health is None or not service.health.panic:
            return False
        known = [self.known(service, endpoint) for endpoint in service.endpoints]
        return all(one is not None and one.standing is Standing.DOWN for one in known)

    async def _next(self) -> None:
        """Wait until something has changed, or a moment while endpoints come back slowly."""
        known = self._checker.known.values() if self._checker else ()
        slow = any(one.part(time.monotonic()) < 1 for one in known)
        try:
            async with asyncio.timeout(LOOK if slow else None):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    def _told(self, key: Key, known: Known) -> None:
        names = [service.name for service in self._served.get(key, ())]
        where, of = f"[{key.place.address}]:{key.place.port}", f"service {', '.join(names)}"
        fields = {"endpoint": where, "services": names, "why": known.why}
        match known.standing:
            case Standing.DOWN:
                self._fallen.append(key)
                log.warning(
                    "Endpoint %s of %s does not serve: %s",
                    where,
                    of,
                    known.why,
                    extra={"event": "endpoint_down", **fields},
                )
            case Standing.UP if known.before is Standing.DOWN:
                log.info("Endpoint %s of %s serves again", where, of, extra={"event": "endpoint_up", **fields})
        self._changed.set()

    def _flows_of(self, fallen: list[Key]) -> Iterator[Filters]:
        """The flows of UDP that endpoints have."""
        for key in fallen:
            for service in self._served.get(key, ()):
                if "udp" in service.protocols:
                    yield Filters(
                        proto="udp",
                        port=key.place.port,
                        host6=IPv6Network(key.place.address),
                        service=service.name,
                    )


def _place(endpoint: Endpoint) -> Place:
    return Place(endpoint.end6.address, endpoint.end6.first)
