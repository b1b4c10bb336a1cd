"""Leases: which controller is the one that writes, and which gateways are alive.

Clocks are not compared: a Lease is over when for so long nobody was seen to renew it.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

import httpx2

from nat64d.kubernetes.cluster import AnswerError, HeldError, NoClusterError, explained
from nat64d.kubernetes.objects import Kind, number_of
from nat64d.kubernetes.pace import moment
from nat64d.kubernetes.wishes import WHOLE, Whole
from nat64d.kubernetes.writing import ABSENT, CONFLICT, Line, Object, create, now, read, replace

LEADER = "nat64d-controller"  # the name of the Lease
GATEWAY = "nat64d.io/gateway"  # the label of a gateway's Lease
APPLIED, INSIDE, ADDRESS = "nat64d.io/applied", "nat64d.io/node", "nat64d.io/address"  # its annotations
MAPPED, TRANSLATED = "nat64d.io/applied-mappings", "nat64d.io/applied-translators"
POOL6, REFUSED = "nat64d.io/pool6", "nat64d.io/refused"
FAILURES = (AnswerError, NoClusterError, httpx2.HTTPError, OSError, TimeoutError)
# LIMITS: what a Lease has room for
MOST = 200  # objects that are refused
REASON = 300  # characters of why

log = logging.getLogger("nat64d")


class Who(NamedTuple):
    """Of a gateway or controller: its name, the node it runs on ("" = outside), the namespace of the Leases ("" =
    a gateway has none), and the address of a gateway, "" = nodes have no next hop by it."""

    name: str
    node: str = ""
    namespace: str = ""
    address: str = ""


class Times(NamedTuple):
    """Seconds: how long a Lease of a leader holds, when it gives up by itself, how often it renews; the same of a
    gateway, and how long it rests after each time, however much is new."""

    holds: float = 15.0
    gives_up: float = 10.0
    renews: float = 2.0
    gateway_holds: float = 10.0
    gateway_renews: float = 3.0
    gateway_rests: float = 0.5


def path_of(namespace: str, name: str = "") -> str:
    """Of the API."""
    path = f"apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    return f"{path}/{name}" if name else path


class Applied(NamedTuple):
    """What a gateway has applied: versions of the Services, StaticMappings and Translators, "" = none yet; the pool6 of
    its daemon; what of all this that refuses: why, by the object ("Service default/web")."""

    services: str = ""
    mappings: str = ""
    translators: str = ""
    pool6: str = ""
    refused: tuple[tuple[str, str], ...] = ()

    def notes(self) -> dict[str, str]:
        """As annotations."""
        refused = {what: why[:REASON] for what, why in self.refused[:MOST]}
        said = {APPLIED: self.services, MAPPED: self.mappings, TRANSLATED: self.translators, POOL6: self.pool6}
        return said | ({REFUSED: json.dumps(refused)} if refused else {})


class Lease:
    """One object of the API server. Its methods but `give_back` raise FAILURES."""

    def __init__(self, line: Line, namespace: str, name: str) -> None:
        self._line, self.namespace, self.name = line, namespace, name

    async def read(self) -> Object | None:
        """As it is; None = there is none."""
        try:
            return await read(self._line.client(), path_of(self.namespace, self.name))
        except AnswerError as error:
            if error.status != ABSENT:
                raise
            return None

    async def write(self, there: Object | None, spec: Object, **about: Object) -> Object:
        """In place of what was read (None = there was none): 409 if another has written meanwhile. `about`: labels
        and annotations, as those of before where they are not given."""
        client = self._line.client()
        meta: Object = {"name": self.name, "namespace": self.namespace}
        if there is None:
            return await create(client, path_of(self.namespace), _written({**meta, **about}, spec))
        meta = {**there["metadata"], **meta, **about}
        return await replace(client, path_of(self.namespace, self.name), _written(meta, spec))

    async def give_back(self, holder: str, seconds: float) -> None:
        """Nobody has it, if it is still this holder's; the last renewal may have arrived without our knowing."""
        try:
            async with asyncio.timeout(seconds):
                there = await self.read()
                if there and there["spec"].get("holderIdentity") == holder:
                    await self.write(there, {**there["spec"], "holderIdentity": ""})
        except FAILURES as error:
            log.warning("Lease %s is not given back: %s", self.name, explained(error), extra={"event": "lease_lost"})


class Election:
    """One of several is the leader."""

    def __init__(self, client: Callable[[], Any], namespace: str, identity: str, times: Times) -> None:
        self._line = Line(client, times.gives_up / 2)
        self._lease = Lease(self._line, namespace, LEADER)
        self.identity, self.times = identity, times
        self.leads = False
        self._seen: Object | None = None
        self._seen_at = 0.0

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Lead whenever it is our turn, until this is cancelled; then the Lease is given back at once."""
        try:
            while True:
                if await self._try():
                    await self._lead(lead)
                await asyncio.sleep(self.times.renews)
        finally:
            if self._holds():
                await asyncio.shield(self._lease.give_back(self.identity, self.times.renews))
            await asyncio.shield(self._line.hang_up())

    async def _lead(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Until the Lease could not be renewed for too long, or somebody else has it."""
        log.info("This controller (%s) is the one that writes", self.identity, extra={"event": "leader_start"})
        self.leads, renewed = True, moment()
        work = asyncio.ensure_future(lead())
        try:
            while moment() - renewed < self.times.gives_up and not work.done():
                await asyncio.wait([work], timeout=self.times.renews)
                if await self._try():
                    renewed = moment()
                elif self._seen and not self._holds():
                    break
            if work.done():
                work.result()
        finally:
            self.leads = False
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            log.info("This controller no longer writes", extra={"event": "leader_stop"})

    def _holds(self) -> bool:
        return self._seen is not None and self._seen["spec"].get("holderIdentity") == self.identity

    async def _try(self) -> bool:
        """Take the Lease, or renew it; whether it is ours now."""
        try:
            async with asyncio.timeout(self.times.gives_up / 2):
                return await self._take()
        except FAILURES as error:
            await self._line.hang_up()
            if not (isinstance(error, AnswerError) and (error.status == CONFLICT or isinstance(error, HeldError))):
                log.warning("Lease %s: %s", LEADER, explained(error), extra={"event": "lease_lost"})
            return False

    async def _take(self) -> bool:
        there = await self._lease.read()
        if there is not None:
            self._see(there)
            holder = there["spec"].get("holderIdentity")
            if holder and holder != self.identity and moment() - self._seen_at < self.times.holds:
                return False
        self._see(await self._lease.write(there, self._renewed(there["spec"] if there else {})))
        return True

    def _see(self, lease: Object) -> None:
        if self._seen is None or self._seen["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"]:
            self._seen, self._seen_at = lease, moment()

    def _renewed(self, spec: Object) -> Object:
        taken: Object = {}
        if spec.get("holderIdentity") != self.identity:
            taken = {"acquireTime": now(), "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        return {**spec, **taken, **_held(self.identity, self.times.holds)}


class Beat:
    """The Lease of a gateway: that it is alive, and what it has applied, as annotations."""

    def __init__(self, client: Callable[[], Any], who: Who, applied: Callable[[], Applied], times: Times) -> None:
        self._line = Line(client, times.gateway_holds / 3)
        self._lease = Lease(self._line, who.namespace, f"nat64d-gateway-{who.name}")
        self._who, self._applied, self._times = who, applied, times
        self._lost = False

    async def run(self, news: asyncio.Event) -> None:
        """Renew it every few seconds, and when `news` say that another version is applied, until this is cancelled;
        then it is taken back, as no packets should come any more."""
        try:
            while True:
                said = self._applied()
                await self._renew(said)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._line.held or self._times.gateway_renews):
                        await asyncio.sleep(self._times.gateway_rests)
                        while self._applied() == said:
                            await news.wait()
                            news.clear()
        finally:
            await asyncio.shield(self._lease.give_back(self._who.name, self._times.gateway_renews))
            await asyncio.shield(self._line.hang_up())

    async def _renew(self, applied: Applied) -> None:
        try:
            async with asyncio.timeout(self._times.gateway_renews):
                await self._write(applied)
        except FAILURES as error:
            await self._line.hang_up()
            if not self._lost:
                log.warning("Lease %s: %s", self._lease.name, explained(error), extra={"event": "lease_lost"})
            self._lost = True
        else:
            self._lost = False

    async def _write(self, applied: Applied) -> None:
        notes = {INSIDE: self._who.node, ADDRESS: self._who.address, **applied.notes()}
        spec = _held(self._who.name, self._times.gateway_holds)
        there = await self._lease.read()
        await self._lease.write(there, spec, labels={GATEWAY: self._who.name}, annotations=notes)


class Seen(NamedTuple):
    """A Lease of a gateway, as it is written."""

    gateway: str
    version: str
    applied: int
    node: str
    held: bool
    mapped: int = 0
    translated: int = 0
    pool6: str = ""
    refused: tuple[tuple[str, str], ...] = ()
    address: str = ""


def seen(given: Whole) -> Seen:
    """What counts of it."""
    about, notes = given.metadata, given.metadata.annotations or {}
    applied = notes.get(APPLIED, "")
    return Seen(
        (about.labels or {}).get(GATEWAY, about.name),
        about.resource_version,
        number_of(applied),
        notes.get(INSIDE, ""),
        bool((given.spec or {}).get("holderIdentity")),
        number_of(notes.get(MAPPED, "")),
        number_of(notes.get(TRANSLATED, "")),
        notes.get(POOL6, ""),
        _refused(notes.get(REFUSED, "")),
        notes.get(ADDRESS, ""),
    )


def _refused(text: str) -> tuple[tuple[str, str], ...]:
    """What a gateway refuses; others than a gateway may write a Lease, too."""
    try:
        said = json.loads(text or "{}")
        return tuple(sorted((str(what), str(why)) for what, why in said.items()))
    except (ValueError, AttributeError, RecursionError):
        return ()


def gateways_of(namespace: str) -> Kind:
    """The Leases of gateways in a namespace."""
    return Kind("Leases", path_of(namespace), GATEWAY, WHOLE, seen)


def _held(holder: str, seconds: float) -> Object:
    return {"holderIdentity": holder, "renewTime": now(), "leaseDurationSeconds": max(1, round(seconds))}


def _written(meta: Object, spec: Object) -> Object:
    kept = ("name", "namespace", "labels", "annotations", "resourceVersion")
    about = {key: meta[key] for key in kept if key in meta}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": about, "spec": spec}
