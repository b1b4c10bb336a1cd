"""What goes on beside the packets: a failure is no silent end of it, and a restart is known before it ends."""

import asyncio

from nat64d.config.load import loads
from nat64d.gateway import run as daemon
from nat64d.gateway.state import Live
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
            await daemon._end(live, failure)

    asyncio.run(go())
    assert seen == [True, False, True]
