"""What the cluster says, in the daemon: Services and their slices as they come, and two tasks that pass them on.

While the API server is silent nothing is changed, and before all was read nothing is said: the daemon keeps what it was
told last, over its own restart and ours.
"""

import asyncio
import logging
from collections.abc import Collection
from ipaddress import IPv6Network
from time import monotonic
from typing import Any

from nat64d.control.client import DaemonUnreachableError
from nat64d.kubernetes.daemon import Daemon
from nat64d.kubernetes.leases import Applied
from nat64d.kubernetes.listwatch import Follower
from nat64d.kubernetes.mappings import KIND as MAPPING
from nat64d.kubernetes.mappings import MAPPINGS, Mapped, StaticMapping, mapped_of
from nat64d.kubernetes.objects import SERVICES, SLICES, Key, Kind, Service, is_ours
from nat64d.kubernetes.pace import Pace, moment
from nat64d.kubernetes.rows import NOTHING, Made, Row, Rules, is_unnamed, name_of, rows_of
from nat64d.kubernetes.slices import Slices
from nat64d.kubernetes.telling import Teller
from nat64d.kubernetes.translators import KIND as TRANSLATOR
from nat64d.kubernetes.translators import TRANSLATORS, Translator, pools_of, prefix_of

LOST, BACK = {"event": "daemon_lost"}, {"event": "daemon_back"}
RESTART = 1.0  # seconds: no daemon starts anew in less, and no answer takes longer

log = logging.getLogger("nat64d")


class Mirror:
    """`run` and `look` pass on what was heard, until they are cancelled."""

    def __init__(self, daemon: Daemon, rules: Rules, pace: Pace) -> None:
        self.daemon, self.rules, self.pace = daemon, rules, pace
        self.teller = Teller(daemon)
        self.services: dict[Key, Service] = {}
        self.slices = Slices()
        self.made: dict[Key, Made] = {}  # of our Services
        self.mappings: dict[Key, StaticMapping] = {}
        self.mapped: dict[str, Mapped] = {}  # what they have become, by name
        self.translators: dict[Key, Translator] = {}
        self._held: dict[Kind, dict[Key, Any]]
        self._held = {SERVICES: self.services, MAPPINGS: self.mappings, TRANSLATORS: self.translators}
        self._owners: dict[str, str] = {}  # of the rows of these two, by the name of the row
        self.lost_since: float | None = None  # since when the daemon does not answer
        self._known: set[str] = set()  # kinds that were read
        self._dirty: set[Key] = set()
        self._news = asyncio.Event()
        self.progress = asyncio.Event()  # the daemon has taken something
        self._known_at = 0.0  # when all Services and slices were
        self._remap = False
        self._applied = Applied()
        self._insist_at = 0.0
        self._started: float | None = None  # the daemon, by our clock

    def whole(self, kind: Kind, objects: dict[Key, Any]) -> None:
        """These are all of a kind."""
        held: Collection[Key] = self._held[kind] if kind in self._held else self.slices.keys()
        for key in {*held} - objects.keys():
            self.left(kind, key)
        for key, made in objects.items():
            self.came(kind, key, made)
        if not self._has_services:
            self._known_at = monotonic()
        self._known.add(kind.name)
        self._news.set()

    def came(self, kind: Kind, key: Key, made: Any) -> None:
        """One is new, or another one now."""
        if kind not in self._held:
            self._touch(*self.slices.put(key, made))
        elif kind is not SERVICES or self.services.get(key) != made:
            self._held[kind][key] = made
            self._changes(kind, key)

    def left(self, kind: Kind, key: Key) -> None:
        """One is gone."""
        if kind not in self._held:
            self._touch(*self.slices.remove(key))
        else:
            self._held[kind].pop(key, None)
            self._changes(kind, key)

    def _changes(self, kind: Kind, key: Key) -> None:
        """Of a Service its rows are made anew, of our own kinds all rows."""
        if kind is SERVICES:
            self._dirty.add(key)
        else:
            self._remap = True
        self._news.set()

    def _touch(self, *services: Key) -> None:
        self._dirty.update(services)
        self._news.set()

    @property
    def _has_services(self) -> bool:
        return self._known >= {SERVICES.name, SLICES.name}

    @property
    def _has_others(self) -> bool:
        return self._known >= {MAPPINGS.name, TRANSLATORS.name}

    @property
    def is_known(self) -> bool:
        """Whether all was read once. Objects of our own kinds that cannot be read, as nobody allows it, keep Services
        waiting for a moment only."""
        waited = monotonic() - self._known_at > self.pace.outage
        return self._has_services and (self._has_others or waited)

    async def run(self) -> None:
        """Pass on what is new."""
        while True:
            await self._news.wait()
            self._news.clear()
            if not self.is_known:
                continue
            self._make()
            try:
                if not self.daemon.version:
                    self._started = self._seen(await self.daemon.status())
                    if not self._has_others:
                        self._see_clients((await self.daemon.said())[1])
                    self._make()
                await self.teller.tell()
            except DaemonUnreachableError as error:
                self.teller.forget()
                self._lose(error)
                await asyncio.sleep(self.pace.first)
                self._news.set()
            else:
                self._find()

    async def look(self) -> None:
        """See whether the daemon is the one that was told, and whether it takes now what it has refused."""
        while True:
            await asyncio.sleep(self.pace.daemon)
            try:
                started = self._seen(await self.daemon.status())
            except DaemonUnreachableError as error:
                self._lose(error)
                self.teller.forget()
                continue
            if self._started is not None and started > self._started + RESTART:
                self.teller.forget()
            self._started = started
            if self.teller.refused and moment() >= self._insist_at:
                self._insist_at = moment() + self.pace.refused
                self.teller.insist()
            if not self.teller.in_step:
                self._news.set()

    def _seen(self, status: dict[str, Any]) -> float:
        """When it was started, by our clock. Where its pool6 is another one, so are the endpoints."""
        pool6 = IPv6Network(status["pool6"]) if status["pool6"] else None
        if pool6 != self.rules.pool6:
            self.rules = self.rules._replace(pool6=pool6)
            self._dirty.update(self.services)
            self._news.set()
        return moment() - float(status["uptime"])

    def _see_clients(self, rows: list[Row]) -> None:
        """Translators are not known yet, so clients have the prefix that they have in the rows of the daemon."""
        named = ((row, name_of(row).split("/")) for row in rows if not is_unnamed(name_of(row)))
        services = ((row, self.services.get((words[0], words[1]))) for row, words in named if len(words) > 1)
        prefix = next((row.get("client_prefix") for row, one in services if one and not one.client_prefix), "") or ""
        if self._see_clients_under(prefix):
            self._dirty.update(self.services)

    def _see_clients_under(self, prefix: str) -> bool:
        """Whether it is another one than before."""
        before, self.rules = self.rules, self.rules._replace(client_prefix=prefix)
        return before != self.rules

    def _make(self) -> None:
        """What has changed of Services, and what objects of our own kinds have become."""
        dirty, self._dirty = self._dirty, set()
        if self._has_others:
            self._map(dirty)
        for key in dirty:
            before, made = self.made.pop(key, NOTHING), NOTHING
            service = self.services.get(key)
            if service and is_ours(service, self.rules.default_class):
                made = rows_of(service, self.slices.of(key), self.rules)
                self.made[key] = made
                self.teller.want(made.rows, service.age)
            self.teller.drop(before.rows.keys() - made.rows.keys())
            for sentence in made.lacks:
                if sentence not in before.lacks:
                    name = "/".join(key)
                    log.warning("%s: %s", name, sentence, extra={"event": "service_lacks", "service": name})

    def _map(self, dirty: set[Key]) -> None:
        """Make the rows of all objects of our kinds, if one of them or of the Services that they name has changed."""
        if not self.teller.maps:
            self.teller.maps = self._remap = True
            self.teller.forget()
        if not (self._remap or any(one.service in dirty for one in self.mappings.values())):
            return
        self._remap, before = False, self.mapped
        prefix, _ = prefix_of(self.translators.values())
        if self._see_clients_under(prefix):
            dirty.update(self.services)
        self.mapped = mapped_of(self.mappings.values(), self.slices.of)
        self._owners = {}
        for one in self.mappings.values():
            self._want([row] if (row := self.mapped[one.name].row) else [], one.age, f"{MAPPING} {one.name}")
        for each in sorted(self.translators.values(), key=lambda each: each.age, reverse=True):
            self._want(pools_of(each, self.rules.gateway), each.age, f"{TRANSLATOR} {each.name}")
        self.teller.drop(row for row in [*self.teller.wanted] if is_unnamed(row) and row not in self._owners)
        for name, made in self.mapped.items():
            if made.problem and before.get(name) != made:
                about = {"event": "mapping_lacks", "mapping": name}
                log.warning("StaticMapping %s: %s", name, made.problem.sentence, extra=about)

    def _want(self, rows: list[Row], age: tuple[str, str], owner: str) -> None:
        self.teller.want({name_of(row): row for row in rows}, age)
        self._owners.update(dict.fromkeys(map(name_of, rows), owner))

    def applied(self, followers: list[Follower]) -> Applied:
        """What the daemon has, and what it refuses, when it was last told all."""
        if self.is_known and self.teller.settled and not self._dirty and not self._remap:
            versions = {one.kind: one.version for one in followers}
            mappings, translators = (versions[kind] if self.teller.maps else "" for kind in (MAPPINGS, TRANSLATORS))
            pool6, refused = str(self.rules.pool6 or ""), tuple(sorted(self._refused().items()))
            self._applied = Applied(versions[SERVICES], mappings, translators, pool6, refused)
        return self._applied

    def _refused(self) -> dict[str, str]:
        """Why, by object."""
        found: dict[str, str] = {}
        for name, why in sorted(self.teller.refused.items()):
            found.setdefault(self._owners.get(name) or f"Service {'/'.join(name.split('/')[:2])}", why)
        return found

    def _lose(self, error: DaemonUnreachableError) -> None:
        if self.lost_since is None:
            self.lost_since = moment()
            log.warning("The daemon is lost: %s", error, extra=LOST)

    def _find(self) -> None:
        self.progress.set()
        if self.lost_since is not None:
            log.info("The daemon is back after %.0f s", moment() - self.lost_since, extra=BACK)
            self.lost_since = None
