"""systemd's watchdog: it hears from the daemon while every queue makes progress, and only then."""

import logging
import os
import time

import pytest

from nat64d.config.load import load
from nat64d.gateway import watchdog as watchdogs
from nat64d.gateway.state import STUCK, Live
from nat64d.gateway.watchdog import Watchdog, interval
from tests.nat64d.test_plain import CODE, Gateway

LOG = logging.getLogger("nat64d")
PATIENCE = 60  # seconds that a thread may take on a busy machine


class Still:
    """A queue that was last seen at `at`."""

    def __init__(self, number: int) -> None:
        self.worker = self
        self.number = number
        self.at = 0.0

    def silent(self, moment: float) -> float:
        return moment - self.at


class Notes:
    """What systemd is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def notify(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def notes(monkeypatch) -> Notes:
    """What systemd is told, by a service with WatchdogSec=20."""
    notes = Notes()
    monkeypatch.setattr(watchdogs.sdnotify, "SystemdNotifier", lambda: notes)
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    return notes


@pytest.fixture
def live() -> Live:
    live = Live(load(None))
    live.queues = [Still(0), Still(1)]  # type: ignore[list-item]
    live.state = "ready"
    return live


def passed(live: Live, moment: float, *numbers: int) -> None:
    for number in numbers:
        live.queues[number].at = moment  # type: ignore[attr-defined]


def test_it_is_fed_several_times_an_interval_and_not_at_every_look(notes, live):
    watchdog = Watchdog(live, LOG)
    for moment in range(20):
        passed(live, moment, 0, 1)
        watchdog.look(moment)
    assert notes.lines == ["WATCHDOG=1"] * 4


def test_it_is_not_fed_while_one_queue_stands_still(notes, live, caplog):
    caplog.set_level(logging.INFO)
    watchdog = Watchdog(live, LOG)
    watchdog.look(0)
    for moment in range(1, 40):
        passed(live, moment, 0)
        watchdog.look(moment)
    fed_until_stuck = 1 + STUCK // 5
    assert len(notes.lines) == fed_until_stuck
    assert caplog.messages == [
        "Queue 1 of the TUN device has made no progress for 11 s; systemd ends and restarts nat64d unless it goes on"
    ]
    passed(live, 40, 0, 1)
    watchdog.look(40)
    assert len(notes.lines) == fed_until_stuck + 1
    assert caplog.messages[1:] == ["All queues of the TUN device make progress again"]


def test_without_a_watchdog_a_queue_that_stands_still_is_logged_all_the_same(notes, live, caplog, monkeypatch):
    monkeypatch.delenv("WATCHDOG_USEC")
    watchdog = Watchdog(live, LOG)
    watchdog.look(STUCK + 1)
    assert notes.lines == []
    assert [message.split(" has ")[0] for message in caplog.messages] == [
        f"Queue {n} of the TUN device" for n in (0, 1)
    ]
    assert "systemd" not in caplog.text


def test_who_cannot_translate_is_not_ready_and_says_so(live, monkeypatch):
    passed(live, time.monotonic(), 0, 1)
    assert live.ready()
    passed(live, time.monotonic() - STUCK - 1, 1)
    assert not live.ready()
    assert live.stuck(time.monotonic()) == ["Queue 1 of the TUN device has made no progress for 11 s"]


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "7"}, 0.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_interval_is_that_of_sd_watchdog_enabled(environment, seconds):
    assert interval(environment, 7) == seconds


def test_a_queue_without_packets_makes_progress_and_one_that_is_not_served_is_not_missed():
    device = Gateway()
    try:
        queue = device.queues[0]
        assert queue.silent(time.monotonic() + 1000) == 0, "no thread, no silence"
        queue.start(device.settings, device.tables, CODE.run)
        started = time.monotonic()
        assert queue.silent(started + 100) >= 99
        deadline = started + PATIENCE
        while queue.silent(started + 100) > 98:  # it reads the clock again, though nothing arrives
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        device.close()
    assert queue.silent(time.monotonic() + 1000) == 0


def test_a_thread_that_hangs_becomes_silent():
    """The loop does not come back from a packet."""
    device = Gateway()
    hanging = [True]

    def loop(*_: object) -> int:
        while hanging[0]:
            time.sleep(0.01)
        return 0

    queue = device.queues[0]
    queue.start(device.settings, device.tables, loop)
    started = time.monotonic()
    try:
        assert queue.silent(started) <= 1, "counted from its start"
        assert queue.silent(started + STUCK + 2) > STUCK
    finally:
        hanging[0] = False
        device.close()
