"""The daemon that is served: the source `kubernetes` of its API, asked without keeping the event loop waiting."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from nat64d.control.client import Client, DaemonUnreachableError, RequestRefusedError
from nat64d.kubernetes.rows import UNNAMED, Row, by_section, named

SOURCE, GRACE = "/v1/sources/kubernetes", "/v1/grace"
BUSY, TOO_LATE = 429, 409


class RefusedError(Exception):
    """The daemon does not take these rows; its text and `status` are the daemon's. Nothing has changed."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class OtherVersionError(Exception):
    """The source is not at the version that we know: all is to be said again."""


class Daemon:
    """Its client. Every method raises DaemonUnreachableError, also while another change is being made."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self.version = ""  # of what the source says, "" = not known
        self._client = Client(socket)

    async def put(self, rows: list[Row]) -> None:
        """These are all rows of the source. Raises RefusedError."""
        self.version = (await self._ask("PUT", by_section(rows)))["version"]

    async def patch(self, gone: list[str], rows: list[Row]) -> None:
        """Remove rows, and set others. Raises RefusedError, OtherVersionError."""
        change = {
            "generation": self.version,
            "unset": named(gone),
            "set": by_section(rows),
        }
        try:
            self.version = (await self._ask("PATCH", change))["version"]
        except RefusedError as error:
            if error.status == TOO_LATE and (await self.said())[0] != self.version:
                self.version = ""
                raise OtherVersionError(str(error)) from None
            raise

    async def said(self) -> tuple[str, list[Row]]:
        """The version of the source, and its rows."""
        there = await _in_thread(self._client.document, SOURCE)
        return there["version"], [row for section in ("service", *UNNAMED) for row in there.get(section, [])]

    async def status(self) -> Row:
        """How it stands: `uptime`, `pool6`."""
        status: Row = await _in_thread(self._client.document, "/v1/status")
        return status

    async def grace(self) -> None:
        """Let it answer TCP of no session with RST for a while. Raises RefusedError."""
        await self._ask("POST", None, GRACE)

    async def _ask(self, method: str, content: Any, path: str = SOURCE) -> Row:
        try:
            answer: Row = await _in_thread(self._client.sent, method, path, content)
        except RequestRefusedError as error:
            if error.status == BUSY:
                raise DaemonUnreachableError(str(error)) from None
            raise RefusedError(str(error), error.status) from None
        return answer


async def _in_thread(asked: Callable[..., Any], *words: Any) -> Any:
    """What it returns, or raises; from a thread that nobody waits for at the end, as a daemon may not answer."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def over(result: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_exception(error) if error else future.set_result(result)

    def ask() -> None:
        result, raised = None, None
        try:
            result = asked(*words)
        except BaseException as error:  # noqa: BLE001  it is raised where it is waited for
            raised = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(over, result, raised)

    threading.Thread(target=ask, name="asking the daemon", daemon=True).start()
    return await future
