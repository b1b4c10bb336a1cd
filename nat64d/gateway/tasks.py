"""What the daemon does beside the packets, which pass whatever becomes of it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

# LIMITS
PAUSE = 10.0  # seconds from a failure to the next attempt
AGAIN = 1.0  # seconds after which what goes on is cancelled again


class Tasks:
    """What runs until `end`. What fails is logged, and begun again after a PAUSE; until then the status says so."""

    def __init__(self, log: logging.Logger, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._log, self._sleep = log, sleep
        self._failures: dict[str, str] = {}
        self._tasks: list[asyncio.Future[None]] = []

    def begin(self, what: str, run: Callable[[], Awaitable[None]]) -> None:
        """Have it run; `what` it is begins a sentence."""
        self._tasks.append(asyncio.ensure_future(self._run(what, run)))

    async def end(self) -> None:
        """Cancel everything; all is over when this returns."""
        while left := [task for task in self._tasks if not task.done()]:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=AGAIN)  # one may have caught it at a moment at which it was over anyway
        self._tasks.clear()

    def warnings(self) -> list[str]:
        """A sentence for each that has failed and waits. From any thread."""
        return list(self._failures.values())

    async def _run(self, what: str, run: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await run()
            except Exception as error:  # noqa: BLE001  what it is, is said
                self._log.exception("%s failed, and is tried again in %g s; packets pass", what, PAUSE)
                self._failures[what] = f"{what} failed, and is tried again: {error!r}"
                await self._sleep(PAUSE)
                del self._failures[what]
            else:
                return
