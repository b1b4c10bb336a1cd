"""`nat64d kubernetes --controller`: addresses of VIPPools for Services, and a status that says what is so.

It follows what it needs to know at all times; only the leader writes. What it writes it reads again like everybody
else, so that after any failure the next round makes good what is still to be done.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from nat64d.kubernetes import mappings, translators
from nat64d.kubernetes.addresses import Address, Key, allocate, contradictions, range_of
from nat64d.kubernetes.cluster import AnswerError, HeldError, explained
from nat64d.kubernetes.endpoints import Endpoints
from nat64d.kubernetes.events import About, Events
from nat64d.kubernetes.leases import FAILURES, Times
from nat64d.kubernetes.mappings import MAPPINGS, PROGRAMMED, StaticMapping, mapped_of
from nat64d.kubernetes.members import Renewals
from nat64d.kubernetes.objects import API, SLICES, Kind, is_ours
from nat64d.kubernetes.pace import OBEDIENT, moment
from nat64d.kubernetes.slices import Slices
from nat64d.kubernetes.statuses import MANAGER, Gateways, Rules, patch_of, shown_of
from nat64d.kubernetes.translators import TRANSLATORS, Translator
from nat64d.kubernetes.wishes import (
    CIDRS,
    NOTHING_SAID,
    NOTHING_SHOWN,
    POOLS,
    READY,
    WISHES,
    CidrObject,
    Condition,
    PoolObject,
    Said,
    Shown,
    Wish,
    claim_of,
    written,
)
from nat64d.kubernetes.writing import ABSENT, CONFLICT, Line, apply, now, second

TOGETHER = 0.02  # seconds that changes are collected
AT_ONCE = 16  # requests
KINDS = (WISHES, SLICES, POOLS, CIDRS, TRANSLATORS, MAPPINGS)  # and the Leases of a namespace

log = logging.getLogger("nat64d")


class Choices(NamedTuple):
    """`default_class`: Services of type LoadBalancer without a class, too; `rules`: of what gateways do;
    `obedient`: for at most so many seconds the API server is left alone when it asks for that."""

    default_class: bool = False
    rules: Rules = Rules()
    times: Times = Times()
    obedient: float = OBEDIENT


class Controller:
    """Sink of the followers; `lead` writes, until it is cancelled."""

    def __init__(self, client: Callable[[], Any], identity: str, options: Choices) -> None:
        self._line, self.options = Line(client, options.obedient), options
        self.events = Events(identity)
        self.wishes: dict[Key, Wish] = {}
        self.pools: dict[str, PoolObject] = {}
        self.mappings: dict[str, StaticMapping] = {}
        self.foreign: dict[Key, CidrObject] = {}
        self.slices = Slices()
        self.leases = Renewals(options.times.gateway_holds)
        self.endpoints = Endpoints()
        self.patches = 0
        self._versions: dict[Key, tuple[Wish, int]] = {}  # without its condition, and its version when it became so
        self.translators: dict[str, Translator] = {}
        self._since: dict[tuple[str, str], tuple[Any, int]] = {}  # the same of these two, by kind and name
        self._dirty: set[Key] = set()
        self._known: set[str] = set()
        self._needed = {"Leases", *(kind.name for kind in KINDS)}
        self._news = asyncio.Event()
        self._told: dict[tuple[str, Key], str] = {}  # the reason of the last Event
        self._untold: dict[tuple[str, Key], tuple[About, Condition]] = {}  # Events that are still to be written

    # What is heard.

    def whole(self, kind: Kind, objects: dict[Key, Any]) -> None:
        """These are all of a kind."""
        for key in self._there(kind) - objects.keys():
            self.left(kind, key)
        for key, made in objects.items():
            self.came(kind, key, made)
        self._known.add(kind.name)
        self._news.set()

    @property
    def is_known(self) -> bool:
        """Whether all was read once."""
        return self._needed <= self._known

    def came(self, kind: Kind, key: Key, made: Any) -> None:
        """One is new, or another one now."""
        if kind is WISHES:
            self._wish(key, made)
        elif kind is SLICES:
            self._dirty |= self.slices.put(key, made)
        elif kind is POOLS:
            self.pools[key[1]] = made
        elif kind is MAPPINGS:
            self.mappings[key[1]] = made
            self._static(kind, made)
        elif kind is TRANSLATORS:
            self.translators[key[1]] = made
            self._static(kind, made)
        elif kind is CIDRS:
            self.foreign[key] = made
        elif not self.leases.see(key, made, moment()):
            return
        self._news.set()

    def left(self, kind: Kind, key: Key) -> None:
        """One is gone."""
        for told in (self._told, self._untold):
            told.pop((kind.name.removesuffix("s"), key), None)
        self._since.pop((kind.name, key[1]), None)
        if kind is WISHES:
            for each in (self.wishes, self._versions):
                each.pop(key, None)
            self.endpoints.leave(key)
        elif kind is SLICES:
            self._dirty |= self.slices.remove(key)
        elif kind is POOLS:
            self.pools.pop(key[1], None)
        elif kind is MAPPINGS:
            self.mappings.pop(key[1], None)
        elif kind is TRANSLATORS:
            self.translators.pop(key[1], None)
        elif kind is CIDRS:
            self.foreign.pop(key, None)
        else:
            self.leases.leave(key)
        self._news.set()

    def _there(self, kind: Kind) -> set[Key]:
        ours: dict[Kind, dict[str, Any]]
        ours = {POOLS: self.pools, MAPPINGS: self.mappings, TRANSLATORS: self.translators}
        if kind in ours:
            return {("", name) for name in ours[kind]}
        if kind is CIDRS:
            return {*self.foreign}
        if kind is SLICES:
            return {*self.slices.keys()}
        return {*self.wishes} if kind is WISHES else self.leases.keys()

    def _static(self, kind: Kind, made: StaticMapping | Translator) -> None:
        bare = made._replace(version=0, said=NOTHING_SAID)
        if self._since.get((kind.name, made.name), (None, 0))[0] != bare:
            self._since[kind.name, made.name] = bare, made.version

    def _wish(self, key: Key, wish: Wish) -> None:
        bare = wish._replace(version=0, since="", shown=wish.shown._replace(condition=None))
        before = self._versions.get(key)
        if before is None or before[0] != bare:
            self._versions[key] = bare, wish.version
            self._dirty.add(key)
        self.wishes[key] = wish

    # What is written.

    async def lead(self) -> None:
        """Bring every status to what it should be, now and whenever something changes."""
        self._news.set()
        try:
            while True:
                await self._wait()
                if self.is_known and not await self._all_written():
                    await self._line.hang_up()
                    await asyncio.sleep(max(self.options.times.renews / 2, self._line.held))
                    self._news.set()
        finally:
            await asyncio.shield(self._line.hang_up())

    async def _all_written(self) -> bool:
        try:
            client = self._line.client()
        except FAILURES as error:
            log.warning("The API server is lost: %s", explained(error), extra={"event": "api_server_lost"})
            return False
        return await self._round(client)

    async def _wait(self) -> None:
        """For news, or until a gateway may have died."""
        try:
            async with asyncio.timeout(self.options.times.gateway_holds / 4):
                await self._news.wait()
            await asyncio.sleep(TOGETHER)
        except TimeoutError:
            pass
        self._news.clear()

    async def _round(self, client: Any) -> bool:
        """Write what differs; whether all could be written."""
        dirty, self._dirty = self._dirty, set()
        ours = {key: one for key, one in self.wishes.items() if is_ours(one, self.options.default_class)}
        for key in dirty:
            if key in ours:
                self.endpoints.look(ours[key], self.slices.of(key))
            else:
                self.endpoints.leave(key)
        gateways = self.gateways()
        wanted, pools = self._wanted(ours, gateways)
        limit = asyncio.Semaphore(AT_ONCE)
        todo = [self._service(client, limit, self.wishes[key], shown) for key, shown in wanted.items()]
        todo += [self._pool(client, limit, *one) for one in pools]
        todo += [self._programmed(client, limit, *one) for one in self._statics(gateways)]
        written = await asyncio.gather(*todo)
        told = await asyncio.gather(*(self._tell(client, limit, *one) for one in [*self._untold.values()]))
        return all((*written, *told))

    def _wanted(
        self, ours: dict[Key, Wish], gateways: Gateways
    ) -> tuple[dict[Key, Shown], list[tuple[PoolObject, int, Condition]]]:
        """What each Service and each pool should show, of those that show something else."""
        pools = [one.pool for one in self.pools.values()]
        others = (*self.foreign.values(), *(one.taken for one in self.translators.values()))
        taken = [(block, one.whose) for one in others for block in one.blocks]
        wrong = contradictions(pools, taken)
        claims = {key: claim_of(wish) for key, wish in ours.items()}
        usable = [pool for pool in pools if pool.name not in wrong]
        mapped = [(one.prefix, f"{mappings.KIND} {one.name}") for one in self.mappings.values() if one.prefix]
        given = allocate(usable, (claim for claim, _ in claims.values()), mapped)
        wanted = {}
        for key, wish in self.wishes.items():
            shown = NOTHING_SHOWN if wish.shown.condition else wish.shown
            if key in ours:
                got = given[key]._replace(problems=(*claims[key][1], *given[key].problems))
                facts, version = self.endpoints.facts(key), self._versions[key][1]
                shown = shown_of(wish, got, facts, gateways, version, self.options.rules)
            if shown != wish.shown:
                wanted[key] = shown
        used = {address for one in given.values() for address in one.addresses}
        return wanted, [*self._pools(wrong, used)]

    def _pools(self, wrong: dict[str, str], used: set[Address]) -> Iterator[tuple[PoolObject, int, Condition]]:
        """Those that should show something else, with how many of their addresses are in use."""
        for name, one in self.pools.items():
            ranges = [range_of(block) for block in one.pool.blocks] if name not in wrong else []
            count = sum(any(each.has(address) for each in ranges) for address in used)
            condition = Condition("True", READY, "its addresses can be given")
            if name in wrong:
                condition = Condition("False", "Refused", wrong[name])
            if (one.used, one.said.condition) != (count, condition):
                yield one, count, condition

    def _statics(self, gateways: Gateways) -> Iterator[tuple[About, Said, Condition]]:
        """StaticMappings and Translators that should show something else."""
        made = mapped_of(self.mappings.values(), self.slices.of)
        for name, one in self.mappings.items():
            condition = mappings.condition_of(one, made[name], gateways, self._since[MAPPINGS.name, name][1])
            if one.said.condition != condition:
                yield About(mappings.KIND, API, ("", name), one.age[1]), one.said, condition
        for name, each in self.translators.items():
            condition = translators.condition_of(each, gateways, self._since[TRANSLATORS.name, name][1])
            if each.said.condition != condition:
                yield About(translators.KIND, API, ("", name), each.age[1]), each.said, condition

    def gateways(self) -> Gateways:
        """Those whose Lease holds: renewed lately, as we saw it, and not taken back."""
        alive = [one.seen for one in self.leases.good(moment())]
        return Gateways(
            {one.gateway: one.applied for one in alive},
            any(one.node for one in alive),
            {one.gateway: one.mapped for one in alive},
            {one.gateway: one.translated for one in alive},
            {one.gateway: one.pool6 for one in alive},
            {one.gateway: dict(one.refused) for one in alive if one.refused},
        )

    async def _service(self, client: Any, limit: asyncio.Semaphore, wish: Wish, shown: Shown) -> bool:
        namespace, name = wish.key
        path = f"api/v1/namespaces/{namespace}/services/{name}/status"
        if not await self._write(client, limit, path, patch_of(wish, shown, second(now())), "Service", wish.key):
            return False
        if shown.condition:
            self._shows(About("Service", "v1", wish.key, wish.age[1]), shown.condition)
        return True

    async def _pool(
        self, client: Any, limit: asyncio.Semaphore, one: PoolObject, used: int, condition: Condition
    ) -> bool:
        status = {"used": used, "conditions": [written(READY, condition, one.said, second(now()))]}
        about = About("VIPPool", API, ("", one.pool.name), one.pool.age[1])
        return await self._own(client, limit, about, status, condition)

    async def _programmed(
        self, client: Any, limit: asyncio.Semaphore, about: About, said: Said, condition: Condition
    ) -> bool:
        status = {"conditions": [written(PROGRAMMED, condition, said, second(now()))]}
        return await self._own(client, limit, about, status, condition)

    async def _own(
        self, client: Any, limit: asyncio.Semaphore, about: About, status: dict[str, Any], condition: Condition
    ) -> bool:
        """The status of an object of one of our own kinds."""
        name = about.key[1]
        body = {"apiVersion": API, "kind": about.kind, "metadata": {"name": name}, "status": status}
        path = f"apis/{API}/{about.kind.lower()}s/{name}/status"
        if not await self._write(client, limit, path, body, about.kind, about.key):
            return False
        self._shows(about, condition)
        return True

    async def _write(self, client: Any, limit: asyncio.Semaphore, path: str, body: Any, kind: str, key: Key) -> bool:
        try:
            async with limit, asyncio.timeout(5):
                await apply(client, path, body, MANAGER)
        except FAILURES as error:
            if isinstance(error, AnswerError) and error.status in {ABSENT, CONFLICT}:
                return True  # it is another one meanwhile, of which the watch will tell
            if not isinstance(error, HeldError):
                about = {"event": "no_status"}
                log.warning("%s %s: %s", kind, "/".join(filter(None, key)), explained(error), extra=about)
            return False
        self.patches += 1
        return True

    def _shows(self, about: About, condition: Condition) -> None:
        """The status has this condition: an Event is due if the reason is another one than before."""
        thing = about.kind, about.key
        if self._told.get(thing) != condition.reason:
            self._told[thing] = condition.reason
            self._untold[thing] = about, condition

    async def _tell(self, client: Any, limit: asyncio.Semaphore, about: About, condition: Condition) -> bool:
        warns = condition.reason not in {"Programmed", "Pending", READY, translators.PARTLY}
        async with limit:
            told = await self.events.tell(client, about, condition.reason, condition.message, warns=warns)
        if told:
            self._untold.pop((about.kind, about.key), None)
        return told
