"""From the first signal to the end: what announces services is taken back, unless the device goes on, and packets pass
for a while; another signal, or a failure, ends it."""

import asyncio
import logging
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nat64d.config.load import loads
from nat64d.gateway import descriptor_store, stop
from nat64d.gateway.neighbours import announce
from nat64d.gateway.state import Live
from nat64d.gateway.stop import Course, Stops
from nat64d.host.errors import HostError
from nat64d.host.wanted import Wanted

SERVICE = '[[service]]\nname = "web"\nipv4 = "192.0.2.80:80"\n'


class Stage:
    """A daemon with what a stop touches; it keeps what was done, in order."""

    def __init__(self, drain: int, service: str = SERVICE, failing: Exception | None = None) -> None:
        self.done: list[str] = []
        self.live = Live(loads(f'pool6 = "64:ff9b::/96"\n{service}[services]\ndrain = {drain}\n'))
        self.live.state = "ready"
        self.failing = failing
        self.live.host = SimpleNamespace(withdraw=self._withdraw)  # type: ignore[assignment]
        self.live.announcer = SimpleNamespace(end=lambda: self.done.append("announcer"))  # type: ignore[assignment]
        self.live.nameserver = SimpleNamespace(ready=lambda now: self.done.append(f"names {now}"))  # type: ignore[assignment]
        self.stops = Stops()
        self.reload = SimpleNamespace(close=lambda: self.done.append("reload"), failure=None)
        watch = SimpleNamespace(close=lambda: self.done.append("watch"), held=nullcontext)
        first_start: Any = SimpleNamespace(live=self.live, look=self._look)
        self.course = Course(first_start, self.reload, watch, self.stops)  # type: ignore[arg-type]
        self.looks: list[str] = []  # the state at each

    def _withdraw(self) -> None:
        self.done.append("withdrawn")
        if self.failing:
            raise self.failing

    async def _look(self) -> None:
        self.looks.append(self.live.state)
        if self.live.state == "draining" and len(self.looks) > 3:
            self.stops.at_once.set()
        self.stops.set()

    def run(self) -> str | None:
        return asyncio.run(self.course.run())


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop, "EVERY", 0.001)


ALL = ["announcer", "reload", "watch", "withdrawn", "names False"]


def test_services_are_withdrawn_before_packets_cease_to_pass_and_a_second_signal_ends_the_wait() -> None:
    stage = Stage(3600)
    assert stage.run() is None
    assert stage.done == ALL
    assert stage.looks == ["ready", "draining", "draining", "draining"]
    assert not stage.live.ready()


def test_the_wait_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(1)
    times = iter(range(1000))
    monkeypatch.setattr(stop.time, "monotonic", lambda: 0.3 * next(times))
    assert stage.run() is None
    assert stage.done == ALL


def test_without_a_wait_they_are_withdrawn_all_the_same() -> None:
    stage = Stage(0)
    assert stage.run() is None
    assert (stage.done, stage.looks) == (ALL[:-1], ["ready"])


def test_without_services_nothing_is_withdrawn() -> None:
    stage = Stage(3600, service="")
    assert stage.run() is None
    assert (stage.done, stage.looks) == ([], ["ready"])


def test_half_a_restart_withdraws_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    (tmp_path / descriptor_store.MARK).mkdir()
    stage = Stage(3600)
    assert stage.run() is None
    assert stage.live.is_started_again
    assert (stage.done, stage.looks) == ([], ["ready"])


def test_what_fails_ends_it_at_once() -> None:
    stage = Stage(3600)
    stage.reload.failure = "A reload broke off."
    assert stage.run() == "A reload broke off."
    assert stage.done == []


def test_what_cannot_be_withdrawn_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    stage = Stage(0, failing=HostError("No room."))
    assert stage.run() is None
    assert [record.message for record in caplog.records] == ["No room."]


def test_systemd_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(descriptor_store, "tell", told.append)
    Stage(0).run()
    assert told == ["STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000"]


def test_an_answer_that_comes_late_sets_up_nothing() -> None:
    answers: list[object] = []
    live = Live(loads('pool6 = "64:ff9b::/96"\n'))
    live.host = SimpleNamespace(answer=answers.append, wanted=Wanted("nat64", {}))  # type: ignore[assignment]
    watch: Any = SimpleNamespace(held=nullcontext, look_again=lambda: None, seen=None)

    async def go() -> None:
        task = asyncio.ensure_future(announce(live, watch))
        await asyncio.sleep(0.05)
        assert live.announcer
        live.announcer._answer(frozenset())
        live.announcer.end()
        live.announcer._answer(frozenset())
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(go())
    assert answers == [frozenset()]
