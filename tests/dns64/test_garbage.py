"""The garbage collector ignores old objects, and still finds cycles."""

import asyncio
import gc
import weakref

from nat64d.dns64.service import process


class Circle:
    def __init__(self) -> None:
        self.itself = self


def test_what_lives_is_not_looked_at_again_but_cycles_are_found_at_the_latest_at_the_thaw() -> None:
    async def run() -> None:
        kept, dropped = Circle(), weakref.ref(Circle())
        late = weakref.ref(kept)
        process.sweep()
        assert dropped() is None
        assert not any(one is kept for one in gc.get_objects())
        del kept
        process.sweep(2)
        assert late() is not None
        process.sweep(process.THAW)
        assert late() is None

    usual = gc.get_threshold()
    try:
        asyncio.run(run())
    finally:
        gc.unfreeze()
        gc.set_threshold(*usual)
