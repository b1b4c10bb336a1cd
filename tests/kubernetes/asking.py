"""A client of an API server that hides nothing: what the contract is tested with, on the fake and on real binaries."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

APPLY, MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
PATIENCE = 30.0  # real seconds


class Answer(NamedTuple):
    """What was answered."""

    code: int
    body: Any
    headers: dict[str, str]

    @property
    def version(self) -> str:
        """Of the object, or of the list."""
        return str(self.body["metadata"]["resourceVersion"])


class Asker:
    """Requests to one server."""

    def __init__(self, url: str, token: str = "", context: ssl.SSLContext | None = None) -> None:
        self.place, self.token, self.context = urlsplit(url), token, context

    def get(self, path: str, **query: Any) -> Answer:
        return self.send("GET", path, **query)

    def send(self, method: str, path: str, body: Any = None, form: str = "application/json", **query: Any) -> Answer:
        with self._asked(method, path, body, form, query) as response:
            return Answer(response.status, json.loads(response.read()), {**response.headers})

    def apply(self, path: str, body: Any, manager: str, **query: Any) -> Answer:
        """Server-side apply."""
        return self.send("PATCH", path, body, APPLY, fieldManager=manager, **query)

    def merge(self, path: str, body: Any) -> Answer:
        return self.send("PATCH", path, body, MERGE)

    @contextmanager
    def watch(self, path: str, **query: Any) -> Iterator[Iterator[dict[str, Any]]]:
        """The events of a watch; it ends when the server ends it. Raises HTTPException, OSError where that breaks."""
        with self._asked("GET", path, None, "", {"watch": 1, **query}) as response:
            assert response.status == 200, response.read()
            yield map(json.loads, _lines(response))

    @contextmanager
    def _asked(self, method: str, path: str, body: Any, form: str, query: dict[str, Any]) -> Iterator[HTTPResponse]:
        host, port = self.place.hostname or "", self.place.port
        connection = (
            HTTPSConnection(host, port, timeout=PATIENCE, context=self.context)
            if self.place.scheme == "https"
            else HTTPConnection(host, port, timeout=PATIENCE)
        )
        try:
            headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
            if body is not None:
                headers["Content-Type"] = form
            target = f"{path}?{urlencode(query)}" if query else path
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            yield connection.getresponse()
        finally:
            connection.close()


def _lines(response: HTTPResponse) -> Iterator[bytes]:
    """As they come; `readline` would not say that the last chunk is missing."""
    rest = b""
    while block := response.read1(1 << 16):
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    assert not rest


BROKEN = (HTTPException, OSError)  # what a watch ends with that the server did not end
