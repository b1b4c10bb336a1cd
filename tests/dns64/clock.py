"""An event loop that does not wait: if nothing happens before the next timer, its clock jumps to that timer.

It is for tests whose clients and servers all run in this loop. The clock jumps only if no socket becomes readable for a
few milliseconds, so that what was sent over the loopback arrives before its timeout. Otherwise it stands still: how
long a busy machine computes changes nothing.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

GRACE = 0.005  # seconds of real silence before a jump


class _Selector(selectors.EpollSelector):
    skipped = 0.0  # seconds that nobody waited

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(min(timeout, GRACE))
        if not ready:
            self.skipped += timeout
        return ready


class Loop(asyncio.SelectorEventLoop):
    """The event loop."""

    def __init__(self) -> None:
        self._jumping = _Selector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """The seconds that were skipped."""
        return self._jumping.skipped

    def skip(self, seconds: float) -> None:
        """Let time pass at once."""
        self._jumping.skipped += seconds


def skip(seconds: float) -> None:
    """Let time pass at once in the running Loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    loop.skip(seconds)


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Like asyncio.run, with such a loop."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(coroutine)
