"""The client of the API: HTTP over the unix socket, with the standard library only, so that commands start at once."""

import json
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlencode

from nat64d.control.hosts import NAME

TIMEOUT = 10.0  # seconds without data after which the daemon counts as gone
WORKING = 120.0  # the same for what the daemon has to work on: an explanation, which it gives up after 30 s; a reload
POLL = 0.1  # seconds between two questions while waiting for readiness
BLOCK = 1 << 16  # octets read at once
UCRED = struct.Struct("3i")  # socket(7), SO_PEERCRED: process, user, group


class DaemonUnreachableError(Exception):
    """No daemon answers on the socket, or it is not ready, or it stopped half way; its text names socket and remedy."""


class RequestRefusedError(Exception):
    """The daemon refused the request; its text is the daemon's sentence, `status` that of HTTP."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__(NAME, timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket; raises OSError when no process listens there."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """The API of the daemon that listens on a socket. Every method raises DaemonUnreachableError and
    RequestRefusedError."""

    def __init__(self, socket_path: str, timeout: float = TIMEOUT) -> None:
        self.socket_path = socket_path
        self.timeout = timeout

    def document(self, path: str) -> dict[str, Any]:
        """GET a path of the API; returns the JSON object."""
        with self._answer(path, {}) as response:
            document: dict[str, Any] = json.loads(response.read())
        return document

    def posted(self, path: str, octets: bytes) -> dict[str, Any]:
        """POST octets to a path of the API; returns the JSON object it answers with."""
        with self._answer(path, {}, octets, max(self.timeout, WORKING)) as response:
            document: dict[str, Any] = json.loads(response.read())
        return document

    def sent(
        self, method: str, path: str, content: Any = None, query: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Ask with another method than GET, with JSON or nothing; returns the JSON object of the answer."""
        body = b"" if content is None else json.dumps(content).encode()
        with self._answer(path, query or {}, body, max(self.timeout, WORKING), method) as response:
            document: dict[str, Any] = json.loads(response.read())
        return document

    def blocks(self, path: str, filters: Mapping[str, str], timeout: float | None = None) -> Iterator[bytes]:
        """The rows of a listing as they arrive, some at a time: lines of JSON, all with their end. The listing is
        complete if the iterator ends without an exception."""
        with self._answer(path, filters, timeout=timeout) as response:
            rest = b""
            while block := response.read1(BLOCK):
                lines, end, rest = (rest + block).rpartition(b"\n")
                yield lines + end

    def lines(self, path: str, filters: Mapping[str, str]) -> Iterator[bytes]:
        """The same, line by line, without their ends."""
        for block in self.blocks(path, filters):
            yield from block.splitlines()

    def rows(self, path: str, filters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """The rows of a listing as they arrive, parsed."""
        return map(json.loads, self.lines(path, filters))

    def process(self) -> int:
        """The number of the process that answers, 0 if it is in another container."""
        connection = _UnixConnection(self.socket_path, self.timeout)
        try:
            connection.request("GET", "/healthz")
            number: int = UCRED.unpack(connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))[0]
            connection.getresponse().read()
        except (OSError, HTTPException) as error:
            raise DaemonUnreachableError(f"{self.socket_path}: {_explain(error)}") from error
        finally:
            connection.close()
        return number

    def wait_until_ready(self, seconds: float) -> dict[str, Any]:
        """Wait until the daemon is ready and return its status; raises DaemonUnreachableError after `seconds`."""
        deadline = time.monotonic() + seconds
        patient = Client(self.socket_path, min(self.timeout, max(seconds, POLL)))
        while True:
            try:
                status = patient.document("/v1/status")
                if status["state"] == "ready":
                    return status
                blocking = "".join(f"; {row['sentence']}" for row in status.get("conditions", []) if row["blocks"])
                problem = DaemonUnreachableError(
                    f"{self.socket_path}: {status['state']}, not ready after {seconds:g} s{blocking}"
                )
            except DaemonUnreachableError as not_reachable:
                problem = not_reachable
            if time.monotonic() + POLL > deadline:
                raise problem
            time.sleep(POLL)

    @contextmanager
    def _answer(
        self,
        path: str,
        filters: Mapping[str, str],
        body: bytes | None = None,
        timeout: float | None = None,
        method: str = "POST",
    ) -> Iterator[HTTPResponse]:
        """Send a request and yield its response; errors, also those while it is read, become one of the two
        exceptions."""
        connection = _UnixConnection(self.socket_path, timeout or self.timeout)
        try:
            target = f"{path}?{urlencode(filters)}" if filters else path
            connection.request("GET" if body is None else method, target, body)
            response = connection.getresponse()
            if response.status != 200:
                raise _refusal(self.socket_path, response)
            yield response
        except (OSError, HTTPException, ValueError) as error:
            raise DaemonUnreachableError(f"{self.socket_path}: {_explain(error)}") from error
        finally:
            connection.close()


def _refusal(socket_path: str, response: HTTPResponse) -> DaemonUnreachableError | RequestRefusedError:
    """The exception for a response other than 200: 503 means not ready yet. Raises ValueError if it is not nat64d's."""
    answer = json.loads(response.read())
    if not isinstance(answer, dict) or "error" not in answer:
        raise ValueError
    sentence = str(answer["error"])
    return (
        DaemonUnreachableError(f"{socket_path}: {sentence}")
        if response.status == 503
        else RequestRefusedError(sentence, response.status)
    )


def _explain(error: Exception) -> str:
    """What happened and what the operator can do about it, for the errors of `_answer`."""
    match error:
        case FileNotFoundError() | ConnectionRefusedError():
            return "no daemon answers here; start it, or give its socket with --socket or its configuration with -c"
        case PermissionError():
            return "permission denied; use sudo, or join the group of the socket"
        case TimeoutError():
            return "the daemon does not answer in time; see its log"
        case HTTPException() | ConnectionError():
            return "the daemon stopped before its answer was complete; see its log"
        case OSError():
            return f"{error.strerror or error}; give another socket with --socket or a configuration with -c"
    return "another program than nat64d answers here; give the socket with --socket or a configuration with -c"
