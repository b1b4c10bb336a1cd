"""Which gateways are alive, by their Leases.

Clocks are not compared: a Lease is over when for so long nobody was seen to renew it. Before that is believed the API
server is asked: while it is silent, and for as long again after that, no Lease is over.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from typing import Any, NamedTuple

import msgspec

from nat64d.kubernetes.cluster import explained, refuse
from nat64d.kubernetes.leases import FAILURES, Seen, Times
from nat64d.kubernetes.listwatch import Contact
from nat64d.kubernetes.objects import PAGE, Key, Kind
from nat64d.kubernetes.pace import moment
from nat64d.kubernetes.writing import Line

SETTLES = 1.5  # times as long as a gateway waits to renew its Lease: by then each one that is alive was seen to do so
ASKED = 3.0  # LIMIT: seconds for an answer

log = logging.getLogger("nat64d")


class Lease(NamedTuple):
    """Of a gateway; `when` it was seen to be renewed, -inf = it is over. `fresh`: it was; else it was only found."""

    seen: Seen
    when: float
    fresh: bool


class Renewals:
    """Leases of gateways as they are seen to be renewed; `holds`: for how many seconds one is good then."""

    def __init__(self, holds: float) -> None:
        self.holds = holds
        self._leases: dict[Key, Lease] = {}

    def keys(self) -> set[Key]:
        """Of all there are."""
        return {*self._leases}

    def see(self, key: Key, seen: Seen, now: float, fresh: bool = True) -> bool:
        """Whether it is news: not that a gateway which is alive has renewed it. One that is read anew is no renewal."""
        before = self._leases.get(key)
        if before and before.seen.version == seen.version:
            return False
        self._leases[key] = Lease(seen, now, fresh)
        renewed = before is not None and before.seen._replace(version=seen.version) == seen
        return not (before and renewed and before.fresh == fresh and self._is_good(before, now))

    def leave(self, key: Key) -> None:
        """There is none any more."""
        self._leases.pop(key, None)

    def good(self, now: float) -> list[Lease]:
        """Those that were renewed lately, and not taken back."""
        return [one for one in self._leases.values() if one.seen.held and self._is_good(one, now)]

    def next_end(self) -> float:
        """When the first of them is over, if nobody renews it."""
        ends = (one.when + self.holds for one in self._leases.values() if one.seen.held and one.when > -inf)
        return min(ends, default=inf)

    def forgive(self, now: float) -> None:
        """Those that are not over are as good as renewed."""
        self._leases = {key: one if one.when == -inf else one._replace(when=now) for key, one in self._leases.items()}

    def end(self, now: float) -> None:
        """Those that nobody has renewed are over, until somebody does."""
        self._leases = {
            key: one if self._is_good(one, now) else one._replace(when=-inf) for key, one in self._leases.items()
        }

    def _is_good(self, one: Lease, now: float) -> bool:
        return one.when > now - self.holds


class Members:
    """Sink of a follower of Leases. `alive` has the gateways that are, by name, with the address of each."""

    def __init__(self, client: Callable[[], Any], kind: Kind, times: Times) -> None:
        self.alive: dict[str, str] = {}
        self.settled = False  # whether it is known which ones are alive
        self.contact: Contact | None = None  # of the follower
        self._line, self._kind, self._renewals = Line(client), kind, Renewals(times.gateway_holds)
        self._settles, self._settles_at = SETTLES * times.gateway_renews, inf
        self._errors = 0
        self._news = asyncio.Event()

    def whole(self, kind: Kind, objects: dict[Key, Any]) -> None:
        """These are all."""
        first = self._settles_at == inf
        for key in self._renewals.keys() - objects.keys():
            self.left(kind, key)
        for key, made in objects.items():
            self._see(key, made, not first)
        if first:
            self._settles_at = moment() + self._settles
        self._news.set()

    def came(self, kind: Kind, key: Key, made: Seen) -> None:  # noqa: ARG002  there is one kind
        """One is new, or renewed."""
        self._see(key, made, True)

    def left(self, kind: Kind, key: Key) -> None:  # noqa: ARG002
        """One is gone."""
        self._renewals.leave(key)
        self._news.set()

    def _see(self, key: Key, seen: Seen, fresh: bool) -> None:
        self._was_lost()
        if self._renewals.see(key, seen, moment(), fresh):
            self._news.set()

    def _was_lost(self) -> bool:
        """Whether the API server was lost since, so that nobody could renew a Lease, or be seen to."""
        contact = self.contact
        if contact is None or (contact.since is None and contact.errors == self._errors):
            return False
        self._errors = contact.errors
        self._renewals.forgive(moment())
        return True

    async def run(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Note who is alive: those that were seen to renew their Lease. `changed` is called when that is known for the
        first time, and whenever it changes."""
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(self._wakes()):
                        await self._news.wait()
                self._news.clear()
                if moment() < self._settles_at:
                    continue
                if self._renewals.next_end() <= moment():
                    await self._ask()
                good = self._renewals.good(moment())
                alive = {one.seen.gateway: one.seen.address for one in good if one.fresh}
                if alive != self.alive or not (self.settled or good):
                    self.settled, self.alive = True, alive
                    names = ", ".join(sorted(alive)) or "none"
                    log.info("Gateways that renew their Lease: %s", names, extra={"event": "gateways", "alive": names})
                    await changed()
        finally:
            await asyncio.shield(self._line.hang_up())

    def _wakes(self) -> float:
        return self._renewals.next_end() if moment() >= self._settles_at else self._settles_at

    async def _ask(self) -> None:
        """Whether what nobody was seen to renew is over."""
        if self._was_lost():
            return
        try:
            async with asyncio.timeout(ASKED):
                response = await self._line.client().get(self._kind.path, params={"labelSelector": self._kind.labels})
            refuse(response, response.content)
            found = [self._kind.decoder.decode(raw) for raw in PAGE.decode(response.content).items or []]
        except (*FAILURES, msgspec.MsgspecError) as error:
            log.warning("Leases: %s; all gateways count as alive", explained(error), extra={"event": "api_server_lost"})
            await self._line.hang_up()
            self._renewals.forgive(moment())
            return
        for one in found:
            self._renewals.see((one.metadata.namespace, one.metadata.name), self._kind.made(one), moment())
        self._renewals.end(moment())
