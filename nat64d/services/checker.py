"""Asks all endpoints again and again: one question for each endpoint and kind of check, however many services have
it."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable

from nat64d.config.services import Health
from nat64d.services.probes import ask
from nat64d.services.standing import Key, Known, Place

# LIMITS
AT_ONCE = 256  # questions that wait for an answer
JITTER = 0.1  # of an interval, so that not all ask at the same moment


class Checker:
    """The endpoints that are asked, until `close`. `told` gets each whose standing has changed; all of it runs in the
    event loop; its pauses and chances can be given."""

    def __init__(
        self,
        told: Callable[[Key, Known], None],
        question: Callable[[Place, Health], Awaitable[str | None]] = ask,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.known: dict[Key, Known] = {}
        self._told, self._question, self._sleep, self._chance = told, question, sleep, chance
        self._asking: dict[Key, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    def use(self, wanted: Iterable[Key]) -> None:
        """Ask these from now on and no others; what is known of those that stay is kept."""
        keys = set(wanted)
        for key in self._asking.keys() - keys:
            self._asking.pop(key).cancel()
            del self.known[key]
        for key in sorted(keys - self._asking.keys(), key=str):
            self.known[key] = Known(key.health, time.monotonic())
            self._asking[key] = asyncio.ensure_future(self._ask_again_and_again(key))

    async def close(self) -> None:
        """Ask no more; all is over when this returns."""
        tasks = list(self._asking.values())
        self.use(())
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask_again_and_again(self, key: Key) -> None:
        known, interval = self.known[key], key.health.interval
        await self._sleep(self._chance(0, interval))
        while True:
            async with self._slots:
                why = await self._question(key.place, key.health)
            if known.note(why, time.monotonic()):
                self._told(key, known)
            await self._sleep(interval * self._chance(1 - JITTER, 1 + JITTER))
