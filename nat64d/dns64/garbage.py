"""The collector of cycles, kept away from the cache: a hundred thousand answers, in none of which there is a cycle,
would be looked through again and again, for tens of milliseconds each time. What has lived for a second is not looked
at any longer (gc.freeze), but once an hour, for what has become a cycle since."""

import asyncio
import gc

EVERY = 1.0  # seconds
THAW = 3600  # sweeps
YOUNG = 20_000  # objects that are made until the youngest are looked at: most are gone by then


def sweep(number: int = 1) -> None:
    """Now, and from now on, as long as the loop runs."""
    gc.set_threshold(YOUNG, 10, 10)
    if number % THAW == 0:
        gc.unfreeze()
    gc.collect()
    gc.freeze()
    asyncio.get_running_loop().call_later(EVERY, sweep, number + 1)
