"""An API server of Kubernetes that is none: enough of it for nat64d, as a real one (1.36) answered, with faults.

It runs in a thread of its own. Its seconds may be shorter than real ones, so that what takes a minute there does not
take one in a test.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlsplit

from aiohttp import web

from tests.kubernetes.fake.answers import RefusedError, answer, refusal
from tests.kubernetes.fake.faults import Faults
from tests.kubernetes.fake.kinds import CRDS, KINDS, Kind, defined_by
from tests.kubernetes.fake.reads import listed, one, watched
from tests.kubernetes.fake.store import FIRST, Key, Object, Store
from tests.kubernetes.fake.writes import created, patched, removed, replaced


class Fake:
    """`second`: how long a second of the server takes. `with` starts and stops it."""

    def __init__(self, second: float = 0.02, lag: int = 2) -> None:
        self.second = second
        self.store = Store(lag)
        self.faults = Faults()
        self.kinds: list[Kind] = [*KINDS]
        self.owners: dict[tuple[Key, str], dict[str, set[Any]]] = {}  # of fields, for server-side apply
        self.requests: list[str] = []  # method, path and query of each, as they came
        self.arrivals: list[float] = []  # when each of them came, of time.monotonic
        self.refused: list[int] = []  # the numbers of those that a Refusal has answered
        self.conflicts: list[str] = []  # requests that were too late: another has written before
        self.watching = 0  # watches that are open now
        self.continues: dict[str, list[Object]] = {}  # what is left of lists that are read page by page
        self.port = 0
        self.more: list[socket.socket] = []  # which are listened on, too, as they are in other network namespaces
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake API server", daemon=True)
        self._runner: web.AppRunner | None = None
        self.changed = asyncio.Event()
        self.store.wake = self._wake

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.faults = Faults()
        self.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    # What tests do behind its back: as others than nat64d, whose requests are not of interest.

    def key(self, kind: Kind, name: str, namespace: str = "default") -> Key:
        """Where an object is."""
        return Key(kind, namespace if kind.namespaced else "", name)

    def set(self, kind: Kind, given: Object) -> Object:
        """Let an object be there, as it is: what is in it is neither checked nor filled in."""
        about = given["metadata"]
        key = self.key(kind, about["name"], about.get("namespace", "default"))
        with self.store.lock:
            if key in self.store.objects:
                return self.store.replace(key, given)
            return self.store.create(key, given)

    def get(self, kind: Kind, name: str, namespace: str = "default") -> Object:
        """The object; raises AbsentError."""
        return self.store.find(self.key(kind, name, namespace))

    def delete(self, kind: Kind, name: str, namespace: str = "default") -> None:
        """Remove it; raises AbsentError."""
        self.store.remove(self.key(kind, name, namespace))

    # What happens to it.

    def start(self) -> None:
        """Listen, on the port of before if there was one."""
        self._call(self._start())

    def kill(self) -> None:
        """As by SIGKILL: all connections end where they are, and the port refuses."""
        self._call(self._kill())

    def restart_as_new(self) -> None:
        """A new server: it knows what is, and little of what has happened."""
        self.kill()
        self.store.forget(keep=10)
        self.start()

    def restore_backup(self, version: int = FIRST) -> None:
        """etcd has been restored: what has happened since has not."""
        self.kill()
        self.store.restore(version)
        self.start()

    def freeze(self) -> None:
        """Take connections and requests, and send not one octet more, as a host that is no longer there."""
        self.faults.frozen = True

    def thaw(self) -> None:
        """Send what was to be sent, on connections that are still there."""
        self.faults.frozen = False
        self._wake()

    async def thawed(self) -> None:
        """Wait for that."""
        while self.faults.frozen:
            await self.changed.wait()

    async def sleep(self, seconds: float) -> None:
        """Sleep for seconds of the server."""
        await asyncio.sleep(seconds * self.second)

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def _wake(self) -> None:
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def _start(self) -> None:
        app = web.Application(client_max_size=1 << 25)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.0, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]
        for listening in self.more:
            await web.SockSite(self._runner, listening.dup()).start()

    async def _kill(self) -> None:
        """End the connections, and those that were about to be accepted; an aborted one is closed a moment later."""
        self._abort()
        if self._runner:
            await self._runner.cleanup()
        self._runner = None
        for _ in range(6):
            self._abort()
            await asyncio.sleep(0)

    def _abort(self) -> None:
        """End all connections, also those that aiohttp does not know yet or any more."""
        for transport in [*getattr(self._loop, "_transports", {}).values()]:
            transport.abort()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path_qs}")
        self.arrivals.append(time.monotonic())
        number = len(self.arrivals) - 1
        await self.thawed()
        if self.faults.delay:
            await asyncio.sleep(self.faults.delay)
        if broken := self.faults.refuses(request.method, "watch" in request.query):
            self.refused.append(number)
            return refusal(
                broken.status,
                "TooManyRequests" if broken.status == 429 else "InternalError",
                "not now",
                headers={"Retry-After": broken.retry_after} if broken.retry_after else {},
            )
        try:
            return await self._answered(request)
        except RefusedError as error:
            if error.code == 409:
                self.conflicts.append(self.requests[number])
            return refusal(error.code, error.reason, str(error), **error.more)

    async def _answered(self, request: web.Request) -> web.StreamResponse:
        path = urlsplit(request.path).path
        if path in ("/version", "/livez", "/readyz", "/healthz"):
            return answer(
                {"major": "1", "minor": "36", "gitVersion": "v1.36.2"} if path == "/version" else {"ok": True}
            )
        place = self._placed(path)
        verb = _verb(request, place.name)
        resource = f"{place.kind.plural}/{place.subresource}" if place.subresource else place.kind.plural
        header = request.headers.get("Authorization")
        if status := self.faults.allows(header, place.kind.group, resource, verb):
            who = "Unauthorized" if status == 401 else f"cannot {verb} resource {resource} in {place.kind.group!r}"
            raise RefusedError(status, "Unauthorized" if status == 401 else "Forbidden", who)
        return await HANDLERS[verb](self, request, place)

    def _placed(self, path: str) -> "Place":
        steps = path.strip("/").split("/")
        group = steps[1:3] if steps[0] == "apis" else ["", *steps[1:2]]
        rest = steps[3:] if steps[0] == "apis" else steps[2:]
        namespace = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2 and rest[2] not in ("status", "finalize"):
            namespace, rest = rest[1], rest[2:]
        kind = next((k for k in self._kinds() if [k.group, k.version, k.plural] == [*group, *rest[:1]]), None)
        if kind is None or steps[0] not in ("api", "apis") or len(rest) > 3:
            raise RefusedError(404, "NotFound", "the server could not find the requested resource")
        name, subresource = (*rest[1:], "", "")[:2]
        if subresource and not (subresource == "status" and kind.has_status):
            raise RefusedError(404, "NotFound", "the server could not find the requested resource")
        return Place(kind, namespace, name, subresource)

    def _kinds(self) -> list[Kind]:
        return [*self.kinds, *(kind for one in self.store.listed(CRDS) for kind in defined_by(one))]


class Place:
    """What a path names."""

    def __init__(self, kind: Kind, namespace: str, name: str, subresource: str) -> None:
        self.kind, self.namespace, self.name, self.subresource = kind, namespace, name, subresource

    def key(self, name: str = "") -> Key:
        """Where the object is."""
        return Key(self.kind, self.namespace, name or self.name)


def _verb(request: web.Request, name: str) -> str:
    """As RBAC names it."""
    if request.method == "GET":
        if request.query.get("watch") in ("1", "true"):
            return "watch"
        return "get" if name else "list"
    verbs = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
    if request.method not in verbs or bool(name) == (request.method == "POST"):
        raise RefusedError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    return verbs[request.method]


HANDLERS: dict[str, Callable[..., Any]] = {
    "get": one,
    "list": listed,
    "watch": watched,
    "create": created,
    "update": replaced,
    "patch": patched,
    "delete": removed,
}
