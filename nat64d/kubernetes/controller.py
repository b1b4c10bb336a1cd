"""`nat64d kubernetes --controller`: addresses of VIPPools for Services, and a status that says what is so.

It follows what it needs to know at all times; only the leader writes. What it writes it reads again like everybody
else, so that after any failure the next round makes good what is still to be done.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple, Protocol

from nat64d.kubernetes import mappings, translators
from nat64d.kubernetes.addresses import Address, Age, Key, allocate, contradictions, range_of
from nat64d.kubernetes.cluster import AnswerError, HeldError, explained
from nat64d.kubernetes.endpoints import Endpoints
from nat64d.kubernetes.events import About, Events
from nat64d.kubernetes.leases import FAILURES, Times
from nat64d.kubernetes.mappings import MAPPINGS, StaticMapping, mapped_of
from nat64d.kubernetes.members import Renewals
from nat64d.kubernetes.objects import API, SLICES, Kind, is_ours
from nat64d.kubernetes.pace import OBEDIENT, moment
from nat64d.kubernetes.slices import Slices
from nat64d.kubernetes.statuses import MANAGER, PENDING, REFUSED, Gateways, Rules, patch_of, shown_of
from nat64d.kubernetes.translators import TRANSLATORS, Translator
from nat64d.kubernetes.wishes import (
    CIDRS,
    NOTHING_SAID,
    NOTHING_SHOWN,
    POOLS,
    PROGRAMMED,
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


def _bare_wish(wish: Wish) -> Wish:
    return wish._replace(version=0, since="", shown=wish.shown._replace(condition=None))


def _bare(one: Any) -> Any:
    return one._replace(version=0, said=NOTHING_SAID)


# Kinds of which gateways apply something: what of an object they look at.
BARE: dict[Kind, Callable[[Any], Any]] = {WISHES: _bare_wish, MAPPINGS: _bare, TRANSLATORS: _bare}


class Own(Protocol):
    """An object of one of our own kinds."""

    @property
    def name(self) -> str:
        """Of the object."""

    @property
    def age(self) -> Age:
        """With its UID."""

    @property
    def said(self) -> Said:
        """What its status shows."""


class Due(NamedTuple):
    """A status that an object is to get. `condition`: the one of these that is ours, None = there is none any more."""

    about: About
    path: str
    body: dict[str, Any]
    condition: Condition | None


def _of_service(wish: Wish, shown: Shown) -> Due:
    namespace, name = wish.key
    path = f"api/v1/namespaces/{namespace}/services/{name}/status"
    return Due(
        About("Service", "v1", wish.key, wish.age[1]), path, patch_of(wish, shown, second(now())), shown.condition
    )


def _own(kind: Kind, type_: str, one: Own, condition: Condition, **more: int) -> Due:
    about = About(kind.name.removesuffix("s"), API, ("", one.name), one.age[1])
    status = {**more, "conditions": [written(type_, condition, one.said, second(now()))]}
    body = {"apiVersion": API, "kind": about.kind, "metadata": {"name": one.name}, "status": status}
    return Due(about, f"{kind.path}/{one.name}/status", body, condition)


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
        self.pools: dict[Key, PoolObject] = {}
        self.mappings: dict[Key, StaticMapping] = {}
        self.translators: dict[Key, Translator] = {}
        self.foreign: dict[Key, CidrObject] = {}
        self._held: dict[Kind, dict[Key, Any]] = {
            WISHES: self.wishes,
            POOLS: self.pools,
            CIDRS: self.foreign,
            MAPPINGS: self.mappings,
            TRANSLATORS: self.translators,
        }
        self.slices = Slices()
        self.leases = Renewals(options.times.gateway_holds)
        self.endpoints = Endpoints()
        self.patches = 0
        self._versions: dict[Kind, dict[Key, tuple[Any, int]]]  # without its condition, and its version since it is so
        self._versions = {kind: {} for kind in BARE}
        self._prefix = ("", "")  # of clients, of Services that have none of their own, and the Translator it is of
        self._dirty: set[Key] = set()
        self._known: set[str] = set()
        self._needed = {"Leases", *(kind.name for kind in KINDS)}
        self._news = asyncio.Event()
        self._told: dict[tuple[str, Key], tuple[str, str]] = {}  # UID and reason of the last Event
        self._untold: dict[tuple[str, Key], tuple[About, Condition]] = {}  # Events that are still to be written

    # What is heard.

    def whole(self, kind: Kind, objects: dict[Key, Any]) -> None:
        """These are all of a kind."""
        for key in {*self._there(kind)} - objects.keys():
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
        if kind in BARE:
            self._compare(kind, key, made)
        if kind in self._held:
            self._held[kind][key] = made
        elif kind is SLICES:
            self._dirty |= self.slices.put(key, made)
        elif not self.leases.see(key, made, moment()):
            return
        self._news.set()

    def left(self, kind: Kind, key: Key) -> None:
        """One is gone."""
        for told in (self._told, self._untold):
            told.pop((kind.name.removesuffix("s"), key), None)
        for each in (self._held, self._versions):
            each.get(kind, {}).pop(key, None)
        if kind is WISHES:
            self.endpoints.leave(key)
        elif kind is SLICES:
            self._dirty |= self.slices.remove(key)
        elif kind not in self._held:
            self.leases.leave(key)
        self._news.set()

    def _there(self, kind: Kind) -> Collection[Key]:
        if kind in self._held:
            return self._held[kind]
        return self.slices.keys() if kind is SLICES else self.leases.keys()

    def _compare(self, kind: Kind, key: Key, made: Any) -> None:
        """Whether something has changed that gateways look at."""
        bare, before = BARE[kind](made), self._versions[kind].get(key)
        if before is None or before[0] != bare:
            self._versions[kind][key] = bare, made.version
            if kind is WISHES:
                self._dirty.add(key)

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
        before, self._prefix = self._prefix, translators.prefix_of(self.translators.values())
        if before != self._prefix:
            self._dirty |= self.wishes.keys()
        dirty, self._dirty = self._dirty, set()
        ours = {key: one for key, one in self.wishes.items() if is_ours(one, self.options.default_class)}
        for key in dirty:
            if key in ours:
                self.endpoints.look(ours[key], self.slices.of(key), self._prefix[0])
            else:
                self.endpoints.leave(key)
        limit = asyncio.Semaphore(AT_ONCE)
        done = await asyncio.gather(*(self._write(client, limit, one) for one in self._due(ours)))
        told = await asyncio.gather(*(self._tell(client, limit, *one) for one in [*self._untold.values()]))
        return all((*done, *told))

    def _due(self, ours: dict[Key, Wish]) -> Iterator[Due]:
        """What each object should show, of those that show something else."""
        pools, gateways = [one.pool for one in self.pools.values()], self.gateways()
        others = (*self.foreign.values(), *(one.taken for one in self.translators.values()))
        wrong = contradictions(pools, [(block, one.whose) for one in others for block in one.blocks])
        claims = {key: claim_of(wish) for key, wish in ours.items()}
        usable = [pool for pool in pools if pool.name not in wrong]
        mapped = [(one.prefix, f"{mappings.KIND} {one.name}") for one in self.mappings.values() if one.prefix]
        given = allocate(usable, (claim for claim, _ in claims.values()), mapped)
        for key, wish in self.wishes.items():
            shown = NOTHING_SHOWN if wish.shown.condition else wish.shown
            if key in ours:
                got = given[key]._replace(problems=(*claims[key][1], *given[key].problems))
                facts, version = self.endpoints.facts(key), self._versions[WISHES][key][1]
                shown = shown_of(wish, got, facts, gateways, version, self.options.rules)
            if shown != wish.shown:
                yield _of_service(wish, shown)
        yield from self._pools(wrong, {address for one in given.values() for address in one.addresses})
        yield from self._statics(gateways)

    def _pools(self, wrong: dict[str, str], used: set[Address]) -> Iterator[Due]:
        """VIPPools, with how many of their addresses are in use."""
        for one in self.pools.values():
            ranges = [range_of(block) for block in one.pool.blocks] if one.name not in wrong else []
            count = sum(any(each.has(address) for each in ranges) for address in used)
            condition = Condition("True", READY, "its addresses can be given")
            if one.name in wrong:
                condition = Condition("False", REFUSED, wrong[one.name])
            if (one.used, one.said.condition) != (count, condition):
                yield _own(POOLS, READY, one, condition, used=count)

    def _statics(self, gateways: Gateways) -> Iterator[Due]:
        """StaticMappings and Translators."""
        made = mapped_of(self.mappings.values(), self.slices.of)
        for key, one in self.mappings.items():
            version = self._versions[MAPPINGS][key][1]
            condition = mappings.condition_of(one, made[one.name], gateways, version)
            if one.said.condition != condition:
                yield _own(MAPPINGS, PROGRAMMED, one, condition)
        for key, each in self.translators.items():
            condition = translators.condition_of(each, gateways, self._versions[TRANSLATORS][key][1], self._prefix)
            if each.said.condition != condition:
                yield _own(TRANSLATORS, PROGRAMMED, each, condition)

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

    async def _write(self, client: Any, limit: asyncio.Semaphore, due: Due) -> bool:
        """Whether nothing of it is left to do; an Event is due only of what is written."""
        try:
            async with limit, asyncio.timeout(5):
                await apply(client, due.path, due.body, MANAGER)
        except FAILURES as error:
            if isinstance(error, AnswerError) and error.status in {ABSENT, CONFLICT}:
                return True  # it is another one meanwhile, of which the watch will tell
            if not isinstance(error, HeldError):
                what = f"{due.about.kind} {'/'.join(filter(None, due.about.key))}"
                log.warning("%s: %s", what, explained(error), extra={"event": "no_status"})
            return False
        self.patches += 1
        self._shows(due.about, due.condition)
        return True

    def _shows(self, about: About, condition: Condition | None) -> None:
        """The status has this condition: an Event is due if the reason is another one than before."""
        thing = about.kind, about.key
        if condition is None:
            self._told.pop(thing, None)
        elif self._told.get(thing) != (about.uid, condition.reason):
            self._told[thing] = about.uid, condition.reason
            self._untold[thing] = about, condition

    async def _tell(self, client: Any, limit: asyncio.Semaphore, about: About, condition: Condition) -> bool:
        warns = condition.reason not in {PROGRAMMED, PENDING, READY, translators.PARTLY}
        async with limit:
            told = await self.events.tell(client, about, condition.reason, condition.message, warns=warns)
        if told:
            self._untold.pop((about.kind, about.key), None)
        return told
