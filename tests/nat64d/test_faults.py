"""Faults of clients in the log: a line at once, then at most one in ten seconds, with how many there were."""

import logging

from nat64d.control.faults import Fault, Faults
from nat64d.control.throttle import INTERVAL, Throttle


class Clock:
    """An event loop's time and timers; both move on when told to."""

    def __init__(self):
        self.now = 100.0
        self.waiting = []

    def time(self):
        return self.now

    def call_later(self, seconds, call):
        self.waiting.append((self.now + seconds, call))
        return self

    def cancel(self):
        self.waiting.clear()

    def elapse(self, seconds):
        self.now += seconds
        due = [call for when, call in self.waiting if when <= self.now]
        self.waiting = [timer for timer in self.waiting if timer[0] > self.now]
        for call in due:
            call()


def test_a_fault_is_a_line_at_once_and_then_one_in_an_interval(caplog):
    caplog.set_level(logging.INFO)
    clock = Clock()
    faults = Faults("here", logging.getLogger("nat64d.api"), clock)
    faults.note(Fault.SILENT, "192.0.2.1")
    clock.elapse(INTERVAL - 1)
    for _ in range(999):
        faults.note(Fault.SILENT, "192.0.2.1")
    assert len(caplog.records) == 1
    clock.elapse(1)
    text = "999 client connections sent no complete request in time and were closed"
    assert caplog.records[1].getMessage() == f"here: {text}; last from 192.0.2.1"
    clock.elapse(INTERVAL)
    assert len(caplog.records) == 2
    assert clock.waiting == []
    faults.note(Fault.SILENT, "192.0.2.2")
    assert len(caplog.records) == 3


def test_faults_that_no_line_has_told_are_a_line_at_the_end(caplog):
    caplog.set_level(logging.INFO)
    clock = Clock()
    faults = Faults("here", logging.getLogger("nat64d.api"), clock)
    for _ in range(3):
        faults.note(Fault.UNREAD, "192.0.2.1")
    faults.close()
    faults.close()
    assert [record.getMessage().split()[1] for record in caplog.records] == ["1", "2"]
    assert clock.waiting == []


def test_a_throttle_counts_what_it_holds_back():
    thing = Throttle()
    assert thing.due(5.0) is None
    thing.count = 3
    assert thing.due(5.0) == (3, float("inf"))
    thing.count = 7
    assert thing.due(5.0 + INTERVAL - 0.1) is None
    assert thing.wait(8.0) == INTERVAL - 3.0
    assert thing.due(5.0 + INTERVAL) == (4, INTERVAL)
    assert thing.due(1000.0) is None
    thing.count = 8
    assert thing.due(1000.0) == (1, 985.0)
