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


class Election:
    """One of several is the leader."""

    def __init__(self, client: Callable[[], Any], namespace: str, identity: str, times: Times) -> None:
        self._line, self._namespace = Line(client, times.gives_up / 2), namespace
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
                await asyncio.shield(self._give_back())
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
                return await self._take(self._line.client())
        except FAILURES as error:
            await self._line.hang_up()
            if not (isinstance(error, AnswerError) and (error.status == CONFLICT or isinstance(error, HeldError))):
                log.warning("Lease %s: %s", LEADER, explained(error), extra={"event": "lease_lost"})
            return False

    async def _take(self, client: Any) -> bool:
        try:
            there = await read(client, path_of(self._namespace, LEADER))
        except AnswerError as error:
            if error.status != ABSENT:
                raise
            fresh = self._lease({"metadata": {"name": LEADER, "namespace": self._namespace}, "spec": {}})
            self._see(await create(client, path_of(self._namespace), fresh))
            return True
        self._see(there)
        holder = there["spec"].get("holderIdentity")
        if holder and holder != self.identity and moment() - self._seen_at < self.times.holds:
            return False
        self._see(await replace(client, path_of(self._namespace, LEADER), self._lease(there)))
        return True

    def _see(self, lease: Object) -> None:
        if self._seen is None or self._seen["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"]:
            self._seen, self._seen_at = lease, moment()

    def _lease(self, there: Object) -> Object:
        spec = dict(there["spec"])
        if spec.get("holderIdentity") != self.identity:
            spec |= {"acquireTime": now(), "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        spec |= {
            "holderIdentity": self.identity,
            "renewTime": now(),
            "leaseDurationSeconds": max(1, round(self.times.holds)),
        }
        return _written(there["metadata"], spec)

    async def _give_back(self) -> None:
        """If it is still ours; the last renewal may have arrived without our knowing."""
        try:
            async with asyncio.timeout(self.times.renews):
                client = self._line.client()
                there = await read(client, path_of(self._namespace, LEADER))
                if there["spec"].get("holderIdentity") == self.identity:
                    spec = {**there["spec"], "holderIdentity": ""}
                    await replace(client, path_of(self._namespace, LEADER), _written(there["metadata"], spec))
        except FAILURES as error:
            log.warning("Lease %s is not given back: %s", LEADER, explained(error), extra={"event": "lease_lost"})


class Beat:
    """The Lease of a gateway: that it is alive, and what it has applied, as annotations."""

    def __init__(self, client: Callable[[], Any], who: Who, applied: Callable[[], Applied], times: Times) -> None:
        self._line, self._namespace = Line(client, times.gateway_holds / 3), who.namespace
        self._name = f"nat64d-gateway-{who.name}"
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
            await asyncio.shield(self._leave())
            await asyncio.shield(self._line.hang_up())

    async def _renew(self, applied: Applied) -> None:
        try:
            async with asyncio.timeout(self._times.gateway_renews):
                await self._write(self._line.client(), applied)
        except FAILURES as error:
            await self._line.hang_up()
            if not self._lost:
                log.warning("Lease %s: %s", self._name, explained(error), extra={"event": "lease_lost"})
            self._lost = True
        else:
            self._lost = False

    async def _write(self, client: Any, applied: Applied) -> None:
        meta = {
            "name": self._name,
            "namespace": self._namespace,
            "labels": {GATEWAY: self._who.name},
            "annotations": {INSIDE: self._who.node, ADDRESS: self._who.address, **applied.notes()},
        }
        spec = {
            "holderIdentity": self._who.name,
            "renewTime": now(),
            "leaseDurationSeconds": max(1, round(self._times.gateway_holds)),
        }
        try:
            there = await read(client, path_of(self._namespace, self._name))
        except AnswerError as error:
            if error.status != ABSENT:
                raise
            await create(client, path_of(self._namespace), _written(meta, spec))
            return
        meta["resourceVersion"] = there["metadata"]["resourceVersion"]
        await replace(client, path_of(self._namespace, self._name), _written(meta, spec))

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(self._times.gateway_renews):
                client = self._line.client()
                there = await read(client, path_of(self._namespace, self._name))
                spec = {**there["spec"], "holderIdentity": ""}
                await replace(client, path_of(self._namespace, self._name), _written(there["metadata"], spec))
        except FAILURES as error:
            log.warning("Lease %s is not taken back: %s", self._name, explained(error), extra={"event": "lease_lost"})


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


def _written(meta: Object, spec: Object) -> Object:
    kept = ("name", "namespace", "labels", "annotations", "resourceVersion")
    about = {key: meta[key] for key in kept if key in meta}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": about, "spec": spec}
