"""Faults of clients in the log: one line about each kind, then at most one in ten seconds with how many there were."""

import logging
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from nat64d.control.throttle import Due, Throttle


class Fault(Enum):
    """What a client did wrong: the level of its line, and what is said of the connections or requests."""

    SILENT = logging.INFO, "sent no complete request in time and were closed"
    UNREAD = logging.INFO, "did not take their answer in time and were closed"
    MALFORMED = logging.INFO, "sent what is not HTTP and were refused"
    FOREIGN_HOST = logging.WARNING, "asked for a name that is not this listener's ([api] hosts) and were refused"
    CROWDED = logging.WARNING, "were closed before they asked, to let others in: too many are open"
    REFUSED = logging.WARNING, "were refused: too many others are being answered"


class Timer(Protocol):
    """What `call_later` of an event loop returns."""

    def cancel(self) -> None:
        """Do not call."""


class Clock(Protocol):
    """What an event loop knows of time."""

    def time(self) -> float:
        """Seconds since some fixed point."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer:
        """Call a function after so many seconds."""


class Faults:
    """The faults of the clients of one listener, which the log calls `name`; `clock` is the event loop."""

    def __init__(self, name: str, log: logging.Logger, clock: Clock) -> None:
        self.name = name
        self._log = log
        self._clock = clock
        self._lines = {fault: Throttle() for fault in Fault}
        self._last = dict.fromkeys(Fault, "")  # the client of the last one
        self._timers: dict[Fault, Timer] = {}  # of faults that are not logged yet

    def note(self, fault: Fault, client: str) -> None:
        """Count a fault of a client, given by its address, and write about it now or when the next line may come."""
        line, now = self._lines[fault], self._clock.time()
        line.count += 1
        self._last[fault] = client
        if fault in self._timers:
            return
        if due := line.due(now):
            self._write(fault, due)
        else:
            self._timers[fault] = self._clock.call_later(line.wait(now), lambda: self._write_left(fault))

    def close(self) -> None:
        """Write about what is left and stop."""
        for fault, timer in list(self._timers.items()):
            timer.cancel()
            self._write_left(fault)

    def _write_left(self, fault: Fault) -> None:
        del self._timers[fault]
        if due := self._lines[fault].remaining(self._clock.time()):
            self._write(fault, due)

    def _write(self, fault: Fault, due: Due) -> None:
        level, text = fault.value
        clients = "1 client connection" if due.times == 1 else f"{due.times:,} client connections"
        fields = {"fault": fault.name.lower(), "connections": due.times, "client": self._last[fault]}
        self._log.log(level, "%s: %s %s; last from %s", self.name, clients, text, self._last[fault], extra=fields)
