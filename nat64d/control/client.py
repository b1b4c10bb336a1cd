"""The commands' end of the API: HTTP over the unix socket, with the standard library only to start at once."""

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlencode

TIMEOUT = 10.0  # seconds without an octet until the daemon counts as gone
POLL = 0.1  # seconds between two looks while waiting for readiness
BLOCK = 1 << 16  # octets read at once


class DaemonUnreachableError(Exception):
    """Nobody answers on the socket, or not yet, or not to the end; its text is one sentence: socket, what, remedy."""


class RequestRefusedError(Exception):
    """The daemon understood and said no; its text is the daemon's own sentence."""


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("nat64d", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Raises OSError when nobody listens."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """One daemon, named by its socket.  Every method raises DaemonUnreachableError and RequestRefusedError."""

    def __init__(self, socket_path: str, timeout: float = TIMEOUT) -> None:
        self.socket_path = socket_path
        self.timeout = timeout

    def document(self, path: str) -> dict[str, Any]:
        """The JSON object at a path of the API."""
        with self._answer(path, {}) as response:
            document: dict[str, Any] = json.loads(response.read())
        return document

    def posted(self, path: str, octets: bytes) -> dict[str, Any]:
        """The JSON object that a path of the API answers to these octets."""
        with self._answer(path, {}, octets) as response:
            document: dict[str, Any] = json.loads(response.read())
        return document

    def lines(self, path: str, filters: Mapping[str, str]) -> Iterator[bytes]:
        """The rows of a listing as they arrive, each a line of JSON without its end.  A listing that ends is whole."""
        with self._answer(path, filters) as response:
            rest = b""
            while block := response.read1(BLOCK):
                *lines, rest = (rest + block).split(b"\n")
                yield from lines

    def rows(self, path: str, filters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """The rows of a listing as they arrive."""
        return map(json.loads, self.lines(path, filters))

    def wait_until_ready(self, seconds: float) -> dict[str, Any]:
        """The status, as soon as the daemon is ready.  Raises DaemonUnreachableError if it is not in time."""
        deadline = time.monotonic() + seconds
        patient = Client(self.socket_path, min(self.timeout, max(seconds, POLL)))
        while True:
            try:
                status = patient.document("/v1/status")
                if status["state"] == "ready":
                    return status
                problem = DaemonUnreachableError(
                    f"{self.socket_path}: {status['state']}, not ready after {seconds:g} s"
                )
            except DaemonUnreachableError as not_reachable:
                problem = not_reachable
            if time.monotonic() + POLL > deadline:
                raise problem
            time.sleep(POLL)

    @contextmanager
    def _answer(self, path: str, filters: Mapping[str, str], body: bytes | None = None) -> Iterator[HTTPResponse]:
        """One request and its answer; whatever goes wrong while it is being read becomes one of the two exceptions."""
        connection = _UnixConnection(self.socket_path, self.timeout)
        try:
            target = f"{path}?{urlencode(filters)}" if filters else path
            connection.request("GET" if body is None else "POST", target, body)
            response = connection.getresponse()
            if response.status != 200:
                raise _refusal(self.socket_path, response)
            yield response
        except (OSError, HTTPException, ValueError) as error:
            raise DaemonUnreachableError(f"{self.socket_path}: {_explain(error)}") from error
        finally:
            connection.close()


def _refusal(socket_path: str, response: HTTPResponse) -> DaemonUnreachableError | RequestRefusedError:
    """What an answer other than 200 means; 503 is a daemon still starting.  Raises ValueError when not a daemon's."""
    answer = json.loads(response.read())
    if not isinstance(answer, dict) or "error" not in answer:
        raise ValueError
    sentence = str(answer["error"])
    return (
        DaemonUnreachableError(f"{socket_path}: {sentence}")
        if response.status == 503
        else RequestRefusedError(sentence)
    )


def _explain(error: Exception) -> str:
    """What happened, and what to do about it."""
    match error:
        case FileNotFoundError() | ConnectionRefusedError():
            return "no daemon answers here; start it, or name its socket with --socket or its file with -c"
        case PermissionError():
            return "permission denied; use sudo, or become a member of the socket's group"
        case TimeoutError():
            return "the daemon does not answer in time; see its log"
        case HTTPException() | ConnectionError():
            return "the daemon went away before its answer was complete; see its log"
        case OSError():
            return f"{error.strerror or error}; name another socket with --socket or its file with -c"
    return "something else than nat64d answers here; name its socket with --socket or its file with -c"
