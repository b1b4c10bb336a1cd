"""Answers that several clients of a listener wait for, made once for all of them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any


class Shared:
    """Answers by name: those that wait for the same share one, so that many cost no more than two."""

    def __init__(self, threads: Executor) -> None:
        self._threads = threads
        self._next: dict[str, asyncio.Future[Any]] = {}  # by name; not begun yet

    async def answer(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` returns in a thread, now or later."""
        if name not in self._next:
            self._next[name] = asyncio.get_running_loop().run_in_executor(self._threads, self._made, name, make)
        return await asyncio.shield(self._next[name])

    def _made(self, name: str, make: Callable[[], Any]) -> Any:
        self._next.pop(name, None)  # who asks from now on wants to see what comes from now on
        return make()
