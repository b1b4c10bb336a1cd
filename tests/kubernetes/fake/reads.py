"""Get, list and watch, as the server was seen to answer them."""

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.kubernetes.fake.answers import RefusedError, answer, status_of
from tests.kubernetes.fake.store import AbsentError, Object, Selector, told

if TYPE_CHECKING:
    from tests.kubernetes.fake.server import Fake, Place

BOOKMARK_EVERY, BOOKMARK_BEFORE_END, FUTURE = 60.0, 2.0, 3.0  # seconds of the server
LONGEST = 1800.0  # of a watch that names none


def named(kind: Any, given: Object) -> Object:
    """An object as it stands alone; in a list it has neither kind nor apiVersion."""
    return {"kind": kind.name, "apiVersion": kind.api_version, **given}


async def one(fake: "Fake", _: web.Request, place: "Place") -> web.Response:
    try:
        return answer(named(place.kind, fake.store.find(place.key())))
    except AbsentError as error:
        raise RefusedError(404, "NotFound", str(error)) from None


async def listed(fake: "Fake", request: web.Request, place: "Place") -> web.Response:
    query = request.query
    limit = int(query.get("limit") or 0)
    if "continue" in query:
        version, rest = _continued(fake, query["continue"])
    else:
        version, rest = await _snapshot(fake, query.get("resourceVersion", ""), place)
        selector = Selector(query.get("labelSelector", ""))
        rest = [each for each in rest if each in selector]
    if fake.faults.lists_fail_after is not None:
        fake.faults.lists_fail_after -= 1
        if fake.faults.lists_fail_after < 0:
            fake.faults.lists_fail_after = None
            raise RefusedError(500, "InternalError", "etcdserver: leader changed")
    page, rest = (rest[:limit], rest[limit:]) if limit else (rest, [])
    metadata: dict[str, Any] = {"resourceVersion": str(version)}
    if rest:
        token = base64.urlsafe_b64encode(f"{version}:{len(fake.continues)}".encode()).decode()
        fake.continues[token] = rest
        metadata |= {"continue": token, "remainingItemCount": len(rest)}
    given = {"kind": f"{place.kind.name}List", "apiVersion": place.kind.api_version, "metadata": metadata}
    return answer({**given, "items": page})


def _continued(fake: "Fake", token: str) -> tuple[int, list[Object]]:
    if token not in fake.continues:
        raise RefusedError(400, "BadRequest", "continue key is not valid")
    version = int(base64.urlsafe_b64decode(token).partition(b":")[0])
    if version < fake.store.oldest:
        raise RefusedError(
            410, "Expired", "The provided continue parameter is too old to display a consistent list result"
        )
    return version, fake.continues[token]


async def _snapshot(fake: "Fake", wanted: str, place: "Place") -> tuple[int, list[Object]]:
    """What there is: now, or at version "0" in a cache that is behind."""
    if wanted not in ("", "0") and int(wanted) > fake.store.version:
        await fake.sleep(FUTURE)
        if int(wanted) > fake.store.version:
            cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            raise RefusedError(
                504,
                "Timeout",
                f"Too large resource version: {wanted}, current: {fake.store.version}",
                details={"causes": [cause], "retryAfterSeconds": 1},
            )
    with fake.store.lock:
        at = fake.store.cached if wanted == "0" else None
        version = fake.store.version if at is None else at
        return version, fake.store.listed(place.kind, place.namespace, at)


async def watched(fake: "Fake", request: web.Request, place: "Place") -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    fake.watching += 1
    try:
        await _Watch(fake, request, place, response).run()
    except ConnectionError:
        pass
    finally:
        fake.watching -= 1
    return response


class _Watch:
    """What one client is told."""

    def __init__(self, fake: "Fake", request: web.Request, place: "Place", response: web.StreamResponse) -> None:
        self.fake, self.place, self.response = fake, place, response
        query = request.query
        self.selector = Selector(query.get("labelSelector", ""))
        self.bookmarks = query.get("allowWatchBookmarks") in ("1", "true")
        self.initial = query.get("sendInitialEvents") in ("1", "true")
        self.wanted = query.get("resourceVersion", "")
        self.ends = fake.second * float(query.get("timeoutSeconds") or LONGEST)
        self.request = request

    async def run(self) -> None:
        """Until its time is over, or it is too old."""
        clock = asyncio.get_running_loop().time
        at = await self._beginning()
        end, next_mark = clock() + self.ends, clock() + BOOKMARK_EVERY * self.fake.second
        last_mark = end - BOOKMARK_BEFORE_END * self.fake.second
        while True:
            changed = self.fake.changed
            with self.fake.store.lock:
                forgotten = at < self.fake.store.oldest
                new, version = [*self.fake.store.since(at)], self.fake.store.version
            if forgotten:
                await self._expired(at)
                return
            for kind, each in told(new, self.place.kind, self.place.namespace, self.selector):
                await self._send({"type": kind, "object": named(self.place.kind, each)})
            at = max(at, version)
            mark = min(next_mark, last_mark) if self.bookmarks else end
            if clock() >= end:
                return
            if clock() >= mark:
                await self._bookmark(at)
                next_mark, last_mark = clock() + BOOKMARK_EVERY * self.fake.second, min(last_mark, end) + self.ends
                continue
            try:
                async with asyncio.timeout(min(mark, end) - clock()):
                    await changed.wait()
            except TimeoutError:
                continue

    async def _beginning(self) -> int:
        """The version after which it tells what happens."""
        if self.wanted not in ("", "0") and not self.initial:
            return int(self.wanted)  # in the future: silence until the end, even while others write
        with self.fake.store.lock:
            at, there = self.fake.store.version, self.fake.store.listed(self.place.kind, self.place.namespace)
        for each in there:
            if each in self.selector:
                await self._send({"type": "ADDED", "object": named(self.place.kind, each)})
        if self.initial:
            await self._bookmark(at, {"k8s.io/initial-events-end": "true"})
        return at

    async def _bookmark(self, at: int, annotations: dict[str, str] | None = None) -> None:
        metadata: dict[str, Any] = {"resourceVersion": str(at), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        await self._send({"type": "BOOKMARK", "object": named(self.place.kind, {"metadata": metadata})})

    async def _expired(self, at: int) -> None:
        message = f"too old resource version: {at} ({self.fake.store.version})"
        await self._send({"type": "ERROR", "object": status_of(410, "Expired", message)})

    async def _send(self, event: dict[str, Any]) -> None:
        faults = self.fake.faults
        await self.fake.thawed()
        line = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        if faults.garbage:
            faults.garbage = False
            await self.response.write(b"<html>a proxy has a bad day</html>\n")
            return
        if faults.cut:
            faults.cut = False
            await self.response.write(line[: len(line) // 2])
            if self.request.transport:
                self.request.transport.abort()
            raise ConnectionError
        await self.response.write(line)
