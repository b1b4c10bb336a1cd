"""Signals to the daemon: each way to be told to stop stops it once, and nothing hurries it while it does."""

import asyncio
import logging
import os
import signal
from collections.abc import Iterator

import pytest

from nat64d.gateway.run import STOPPING, handle_signals, ignore_signals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def sent(*numbers: signal.Signals) -> bool:
    """Whether the daemon is to stop after these signals."""
    stop = asyncio.Event()
    handle_signals(stop)
    for number in numbers:
        os.kill(os.getpid(), number)
        await asyncio.sleep(0.01)
    return stop.is_set()


@pytest.mark.parametrize("number", STOPPING)
def test_each_of_them_stops(number, caplog):
    caplog.set_level(logging.INFO)
    assert asyncio.run(sent(number))
    assert [record.getMessage() for record in caplog.records] == [f"{number.name}: stopping"]


@pytest.mark.parametrize("number", STOPPING)
def test_another_one_is_told_to_wait(number, caplog):
    assert asyncio.run(sent(signal.SIGINT, number))
    text = f"{number.name}: stopping already, please wait until the changes to this host are undone"
    assert [record.getMessage() for record in caplog.records] == [text]


def test_under_nohup_sighup_is_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert not asyncio.run(sent(signal.SIGHUP))


@pytest.mark.parametrize("number", STOPPING)
def test_after_the_undo_one_changes_nothing(number, caplog):
    async def run() -> bool:
        stop = asyncio.Event()
        handle_signals(stop)
        ignore_signals()
        os.kill(os.getpid(), number)
        return stop.is_set()

    assert not asyncio.run(run())
    os.kill(os.getpid(), number)
    assert not caplog.records
