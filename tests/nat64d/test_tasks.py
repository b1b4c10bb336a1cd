"""What goes on beside the packets: a failure is no silent end of it, and a restart is known before it ends."""

import asyncio
from types import SimpleNamespace

from nat64d.config.load import loads
from nat64d.gateway import tasks
from nat64d.gateway.first_start import FirstStart
from nat64d.gateway.state import Live
from nat64d.gateway.stop import Course, Stops
from nat64d.gateway.tasks import Tasks
from tests.nat64d.hosts import LOG


def test_what_fails_is_said_and_begun_again(caplog):
    live, calls, during = Live(loads('pool6 = "2001:db8:64::/96"')), [], []

    async def pause(_: float) -> None:
        during.append(live.status()["warnings"])

    async def fail_twice() -> None:
        calls.append(live.status()["warnings"])
        if len(calls) < 3:
            raise OSError(105, "No buffer space available")

    async def go() -> None:
        live.tasks = Tasks(LOG, pause)
        live.tasks.begin("Watching", fail_twice)
        while len(calls) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await live.tasks.end()

    asyncio.run(go())
    failed = ["Watching failed, and is tried again: OSError(105, 'No buffer space available')"]
    assert (calls, during) == ([[], [], []], [failed, failed])
    said = [record.getMessage() for record in caplog.records if record.exc_info]
    assert said == ["Watching failed, and is tried again in 10 s; packets pass"] * 2


def test_what_catches_that_it_is_cancelled_ends_all_the_same(monkeypatch):
    monkeypatch.setattr(tasks, "AGAIN", 0.001)
    caught = []

    async def deaf() -> None:
        while len(caught) < 3:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                caught.append(True)

    async def go() -> None:
        ours = Tasks(LOG)
        ours.begin("Listening", deaf)
        await asyncio.sleep(0)
        await ours.end()

    asyncio.run(asyncio.wait_for(go(), 20))
    assert len(caught) == 3


def test_that_a_stop_is_half_a_restart_is_known_to_what_ends(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    live, seen = Live(loads('pool6 = "2001:db8:64::/96"')), []

    async def announce() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            seen.append(live.is_started_again)

    async def go() -> None:
        for failure in (None, "a queue failed", None):
            live.tasks.begin("Announcing", announce)
            await asyncio.sleep(0)
            (tmp_path / "again").mkdir(exist_ok=True)
            stops, reload = Stops(), SimpleNamespace(failure=failure)
            asyncio.get_running_loop().call_later(0.01, stops.set)
            assert await Course(FirstStart(live), reload, None, stops).run() == failure
            await live.tasks.end()

    asyncio.run(go())
    assert seen == [True, False, True]
