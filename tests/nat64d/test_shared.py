"""Answers that several clients of a listener share."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest

from nat64d.control.shared import Shared

LONG = 0.05  # seconds


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


class Late(Executor):
    """Who submits something to it goes on only when that has begun long ago."""

    def __init__(self, threads: Executor) -> None:
        self._threads = threads

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **more: Any) -> Future[Any]:
        future = self._threads.submit(function, *arguments, **more)
        time.sleep(LONG)
        return future


def test_who_asks_later_is_told_what_is_so_then_though_the_thread_was_quick(threads):
    shared, numbers = Shared(Late(threads)), count()

    async def ask() -> list[int]:
        return [await shared.answer("status", lambda: next(numbers)) for _ in range(3)]

    assert asyncio.run(ask()) == [0, 1, 2]


def test_those_who_wait_for_the_same_share_an_answer(threads):
    shared, numbers, go_on = Shared(threads), count(), threading.Event()

    async def ask() -> list[int]:
        asyncio.get_running_loop().run_in_executor(threads, go_on.wait)
        asked = [asyncio.ensure_future(shared.answer("status", lambda: next(numbers))) for _ in range(3)]
        await asyncio.sleep(0)
        go_on.set()
        return await asyncio.gather(*asked)

    assert asyncio.run(ask()) == [0, 0, 0]
