"""Signals to the daemon: each way to be told to stop stops it once, and nothing hurries it while it does; SIGHUP lets
it read its configuration again, unless it comes of a terminal that was closed."""

import asyncio
import logging
import os
import signal
from collections.abc import Iterator

import pytest

from nat64d.gateway import signals
from nat64d.gateway.signals import STOPPING, handle_signals, ignore_signals

ALL = (*STOPPING, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in ALL}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_another_one_hurries_it():
    async def go() -> list[bool]:
        stop, again, at_once = asyncio.Event(), asyncio.Event(), asyncio.Event()
        handle_signals(stop, again, at_once)
        seen = []
        for number in (signal.SIGTERM, signal.SIGTERM):
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.01)
            seen.append(at_once.is_set())
        return seen

    assert asyncio.run(go()) == [False, True]


async def sent(*numbers: signal.Signals) -> tuple[bool, bool]:
    """Whether the daemon is to stop after these signals, and whether it is to read its configuration again."""
    stop, again = asyncio.Event(), asyncio.Event()
    handle_signals(stop, again, asyncio.Event())
    for number in numbers:
        os.kill(os.getpid(), number)
        await asyncio.sleep(0.01)
    return stop.is_set(), again.is_set()


STOPS, RELOADS, NOTHING = (True, False), (False, True), (False, False)


@pytest.mark.parametrize("number", STOPPING)
def test_each_of_them_stops(number, caplog):
    caplog.set_level(logging.INFO)
    assert asyncio.run(sent(number)) == STOPS
    assert [record.getMessage() for record in caplog.records] == [f"{number.name}: stopping"]


@pytest.mark.parametrize("number", ALL)
def test_another_one_is_told_to_wait(number, caplog):
    assert asyncio.run(sent(signal.SIGINT, number)) == STOPS
    text = f"{number.name}: stopping already, please wait until the changes to this host are undone"
    assert [record.getMessage() for record in caplog.records] == [text]


def test_under_nohup_sighup_is_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert asyncio.run(sent(signal.SIGHUP)) == NOTHING


@pytest.mark.parametrize(("terminal", "then"), [([True, True], RELOADS), ([False], RELOADS), ([True, False], STOPS)])
def test_sighup_reloads_unless_the_terminal_is_gone(monkeypatch, terminal, then):
    """`terminal`: whether there is one, at the start and at the signal."""
    monkeypatch.setattr(signals, "has_terminal", lambda: terminal.pop(0))
    assert asyncio.run(sent(signal.SIGHUP)) == then


@pytest.mark.parametrize("number", ALL)
def test_after_the_undo_one_changes_nothing(number, caplog):
    async def run() -> bool:
        stop = asyncio.Event()
        handle_signals(stop, asyncio.Event(), asyncio.Event())
        ignore_signals()
        os.kill(os.getpid(), number)
        return stop.is_set()

    assert not asyncio.run(run())
    os.kill(os.getpid(), number)
    assert not caplog.records
