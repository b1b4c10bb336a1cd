"""One kind of objects, followed: a list, and from its version on a watch, which goes on where it has ended.

What an API server does on the way is in tests/kubernetes/contract.md; it never ends here, whatever that does.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import httpx2
import msgspec

from nat64d.kubernetes.cluster import AnswerError, NoClusterError, explained, refuse
from nat64d.kubernetes.objects import BARE, PAGE, STATUS, TOLD, Key, Kind, number_of
from nat64d.kubernetes.pace import Pace, moment
from nat64d.kubernetes.writing import ABSENT

# LIMITS
PAGE_ITEMS = 500  # of a list, read at a time
LINE = 1 << 24  # octets of a line of a watch; etcd takes objects of 1.5 MB
GONE = 410  # HTTP: what has happened since that version is forgotten

LOST, BACK = {"event": "api_server_lost"}, {"event": "api_server_back"}

log = logging.getLogger("nat64d")


class Sink(Protocol):
    """Where objects go."""

    def whole(self, kind: Kind, objects: dict[Key, Any]) -> None:
        """These are all."""

    def came(self, kind: Kind, key: Key, made: Any) -> None:
        """One is new, or another one now."""

    def left(self, kind: Kind, key: Key) -> None:
        """One is gone."""


class Contact:
    """Whether the API server is heard of one kind; `since` is when it was lost, None = it is heard."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.since: float | None = None
        self.why = ""
        self.lists = self.errors = 0
        self.synced = self.told = False  # whether all was read once; whether the log says that it is lost


class Broken(Exception):  # noqa: N818  the watch is broken, and it is no error of ours
    """The watch is of no use any more; its text is a clause."""


FAILURES = (AnswerError, Broken, NoClusterError, httpx2.HTTPError, OSError, TimeoutError, msgspec.MsgspecError)


class Follower:
    """Follows one kind, with clients that `client` makes."""

    def __init__(self, kind: Kind, client: Callable[[], Any], sink: Sink, pace: Pace) -> None:
        self.kind, self.pace = kind, pace
        self.contact = Contact(kind)
        self._client, self._sink = client, sink
        self._version: str | None = None  # None: all is to be read
        self._heard = 0.0

    @property
    def version(self) -> str:
        """Up to which all was heard, "" = nothing was read yet."""
        return self._version or ""

    async def run(self) -> None:
        """Until it is cancelled."""
        attempt = 0
        while True:
            begun = moment()
            try:
                async with self._client() as client:
                    await self._follow(client)
            except FAILURES as error:
                wait = self._lost(error, attempt)
            except BaseExceptionGroup as group:
                failures, others = group.split(FAILURES)
                if failures is None or others is not None:
                    raise
                wait = self._lost(_first(failures), attempt)
            if self.contact.since is not None and self.contact.since > begun:
                attempt = 0  # it was heard meanwhile
            steps = min(self.pace.longest, self.pace.first * 2**attempt) * random.uniform(0.8, 1.2)  # noqa: S311
            await asyncio.sleep(max(wait, steps))
            attempt = min(attempt + 1, 10)

    def _lost(self, error: BaseException, attempt: int) -> float:
        """Note why, and say so if it is not over at once; the seconds that the API server asks for."""
        self.contact.errors += 1
        if self.contact.since is None:
            self.contact.since = moment()
        self.contact.why = explained(error)
        if attempt and not self.contact.told:
            self.contact.told = True
            stays = "what is known of them stays in use" if self.contact.synced else "they are not known yet"
            log.warning("%s: the API server is lost: %s; %s", self.kind.name, self.contact.why, stays, extra=LOST)
        return min(error.wait, self.pace.obedient) if isinstance(error, AnswerError) else 0.0

    def _heard_again(self) -> None:
        self._heard = moment()
        if self.contact.told and self.contact.since is not None:
            seconds = self._heard - self.contact.since
            log.info("%s: the API server is back after %.0f s", self.kind.name, seconds, extra=BACK)
        self.contact.since, self.contact.why, self.contact.told = None, "", False

    async def _follow(self, client: Any) -> None:
        """List if that is needed, and watch, again and again; never returns."""
        out = self.contact.since is not None and moment() - self.contact.since > self.pace.outage
        if out:
            self._version = None
        while True:
            begun = moment()
            if self._version is None or await self._is_older(client):
                await self._list(client)
            self._heard_again()
            if self._version is None:
                await asyncio.sleep(self.pace.absent)
                continue
            try:
                await self._watch(client)
            except (AnswerError, BaseExceptionGroup) as error:
                if not _is_gone(error):
                    raise
                self._version = None
            if moment() - begun < self.pace.longest:
                await asyncio.sleep(
                    self.pace.longest
                )  # whoever ends each watch at once is not to be asked all the time

    async def _is_older(self, client: Any) -> bool:
        """Whether the API server is at an earlier version than we: it was restored from a copy, and a watch would wait
        in silence for versions that are to come."""
        page = await self._page(client, {"limit": "1"})
        return number_of(page.metadata.resource_version) < number_of(self._version or "")

    async def _list(self, client: Any) -> None:
        """Read all. There is no version where there is no such kind."""
        try:
            self._version, found = await self._all(client)
        except AnswerError as error:
            if not (self.kind.optional and error.status == ABSENT):
                raise
            self._version, found = None, {}
        else:
            self.contact.lists += 1
        self.contact.synced = True
        self._sink.whole(self.kind, found)

    async def _all(self, client: Any) -> tuple[str, dict[Key, Any]]:
        found: dict[Key, Any] = {}
        query: dict[str, str] = {"limit": str(PAGE_ITEMS)}
        while True:
            page = await self._page(client, query)
            for raw in page.items or []:
                one = self.kind.decoder.decode(raw)
                found[one.metadata.namespace, one.metadata.name] = self.kind.made(one)
            if not page.metadata.continue_:
                break
            query["continue"] = page.metadata.continue_
        return page.metadata.resource_version, found

    async def _page(self, client: Any, query: dict[str, str]) -> Any:
        response = await client.get(self.kind.path, params={**self._labels(), **query})
        refuse(response, response.content)
        return PAGE.decode(response.content)

    def _labels(self) -> dict[str, str]:
        return {"labelSelector": self.kind.labels} if self.kind.labels else {}

    async def _watch(self, client: Any) -> None:
        """Until the API server ends it. Raises an ExceptionGroup where it is of no use any more."""
        age = self.pace.age * random.uniform(1, 1.5)  # noqa: S311
        query = {
            **self._labels(),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(max(1, int(age))),
        }
        timeout = httpx2.Timeout(self.pace.answer, connect=self.pace.connect, read=None)
        request = client.build_request("GET", self.kind.path, params=query, timeout=timeout)
        async with asyncio.timeout(self.pace.answer):
            response = await client.send(request, stream=True)
        try:
            if response.status_code != 200:
                async with asyncio.timeout(self.pace.answer):
                    refuse(response, await response.aread())
            async with asyncio.timeout(age + self.pace.answer), asyncio.TaskGroup() as group:
                pulse = group.create_task(self._pulse(client))
                async for line in _lines(response):
                    self._heard = moment()
                    self._told(line)
                pulse.cancel()
        finally:
            await response.aclose()

    async def _pulse(self, client: Any) -> None:
        """While the watch says nothing, ask whether anybody is there. Raises Broken and others if nobody is."""
        while True:
            silent = moment() - self._heard
            if silent < self.pace.quiet:
                await asyncio.sleep(self.pace.quiet - silent)
                continue
            async with asyncio.timeout(self.pace.answer):
                if await self._is_older(client):
                    raise Broken("it has gone back to an earlier version")
            self._heard = moment()

    def _told(self, line: bytes) -> None:
        told = TOLD.decode(line)
        if told.type == "ERROR":
            status = STATUS.decode(told.object)
            self._version = None
            raise AnswerError(status.code, status.message)
        if told.type == "BOOKMARK":
            self._version = BARE.decode(told.object).metadata.resource_version
            return
        one = self.kind.decoder.decode(told.object)
        key = (one.metadata.namespace, one.metadata.name)
        if told.type == "DELETED":
            self._sink.left(self.kind, key)
        else:
            self._sink.came(self.kind, key, self.kind.made(one))
        self._version = one.metadata.resource_version


async def _lines(response: Any) -> AsyncIterator[bytes]:
    """The lines of an answer as they come. What ends a line is one octet: `aiter_lines` would take U+0085 and others
    within a text for the end of one, too."""
    rest = b""
    async for block in response.aiter_bytes():
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line:
                yield line
        if len(rest) > LINE:
            raise Broken("it sends a line without an end")


def _is_gone(error: BaseException) -> bool:
    first = _first(error)
    return isinstance(first, AnswerError) and first.status == GONE


def _first(error: BaseException) -> BaseException:
    """The one that has ended the others."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
