"""Answers that several clients of a listener wait for, made once for all of them."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any


class Shared:
    """Answers by name: those that wait for the same share one, so that many cost no more than two."""

    def __init__(self, threads: Executor) -> None:
        self._threads, self._lock = threads, threading.Lock()
        self._next: dict[str, asyncio.Future[Any]] = {}  # by name; not begun yet

    async def answer(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` returns in a thread, now or later."""
        with self._lock:  # a thread that begins at once has to find its answer there
            if name not in self._next:
                self._next[name] = asyncio.get_running_loop().run_in_executor(self._threads, self._made, name, make)
            answer = self._next[name]
        return await asyncio.shield(answer)

    def _made(self, name: str, make: Callable[[], Any]) -> Any:
        with self._lock:
            del self._next[name]  # who asks from now on wants to see what comes from now on
        return make()
