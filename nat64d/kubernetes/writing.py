"""Requests that change something at the API server, or read one object."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from nat64d.kubernetes.cluster import HeldError, refuse, wait_of
from nat64d.kubernetes.pace import OBEDIENT, moment

APPLY = "application/apply-patch+yaml"  # JSON is YAML
MERGE = "application/merge-patch+json"
ABSENT, CONFLICT = 404, 409
Object = dict[str, Any]


def now() -> str:
    """The time, with the six digits of a fraction that the API server wants."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def second(text: str) -> str:
    """The same without a fraction, as conditions have it."""
    return f"{text[:19]}Z"


class Line:
    """One client for many requests, made anew after a failure, as by then a token or a certificate may be another.
    When the API server asks to be left alone (Retry-After), requests raise HeldError until that is over."""

    def __init__(self, make: Callable[[], Any], obedient: float = OBEDIENT) -> None:
        self._make, self._obedient = make, obedient
        self._client: Any = None
        self._until = 0.0

    def client(self) -> Any:
        """Raises NoClusterError."""
        if self._client is None:
            self._client = self._make()
            self._client.event_hooks = {"request": [self._hold], "response": [self._heed]}
        return self._client

    @property
    def held(self) -> float:
        """For how many seconds nothing is to be asked."""
        return max(0.0, self._until - moment())

    async def _hold(self, _: Any) -> None:
        if held := self.held:
            raise HeldError(held)

    async def _heed(self, response: Any) -> None:
        if wait := wait_of(response):
            self._until = max(self._until, moment() + min(wait, self._obedient))

    async def hang_up(self) -> None:
        """The next one is a new one."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


async def read(client: Any, path: str) -> Object:
    """Raises AnswerError, httpx2.HTTPError."""
    return _answered(await client.get(path))


async def create(client: Any, path: str, given: Object) -> Object:
    """Raises AnswerError, httpx2.HTTPError."""
    return _answered(await client.post(path, json=given))


async def replace(client: Any, path: str, given: Object) -> Object:
    """Raises AnswerError (409: somebody else was there before), httpx2.HTTPError."""
    return _answered(await client.put(path, json=given))


async def merge(client: Any, path: str, given: Object) -> Object:
    """Raises AnswerError, httpx2.HTTPError."""
    return _answered(await client.patch(path, content=json.dumps(given), headers={"Content-Type": MERGE}))


async def apply(client: Any, path: str, given: Object, manager: str) -> Object:
    """Server-side apply: what the manager has said before, and what is not in it, goes. Raises as above."""
    query = {"fieldManager": manager, "force": "true"}
    sent = client.patch(path, params=query, content=json.dumps(given), headers={"Content-Type": APPLY})
    return _answered(await sent)


def _answered(response: Any) -> Object:
    refuse(response, response.content)
    found: Object = response.json()
    return found
