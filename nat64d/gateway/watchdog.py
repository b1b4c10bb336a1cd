"""systemd's watchdog (WatchdogSec=): it is told that the daemon lives only while the queues of the TUN device do.

Who feeds it is the event loop, so the control plane has to live, too. systemd ends a daemon that it does not hear from,
by SIGABRT, and starts it again; sessions are kept, as over any crash.
"""

import logging
import os
from collections.abc import Mapping

import sdnotify

from nat64d.gateway.state import Live

FEEDS = 4  # in each interval


def interval(environment: Mapping[str, str], pid: int) -> float | None:
    """Seconds of WatchdogSec= (sd_watchdog_enabled(3)); None if there is none, or it is for another process."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid) or not microseconds.isdecimal():
        return None
    return int(microseconds) / 1e6 or None


class Watchdog:
    """Looks at the queues; logs those that stand still, and feeds the watchdog, if there is one, while none does."""

    def __init__(self, live: Live, log: logging.Logger) -> None:
        self._live = live
        self._log = log
        self._interval = interval(os.environ, os.getpid())
        self._notify = sdnotify.SystemdNotifier() if self._interval else None
        self._fed = float("-inf")
        self._stuck = False

    def look(self, moment: float) -> None:
        """To be called every second or so; `moment` is time.monotonic()."""
        stuck = self._live.stuck(moment)
        if stuck and not self._stuck:
            ends = "; systemd ends and restarts nat64d unless it goes on" if self._interval else ""
            for sentence in stuck:
                self._log.error("%s%s", sentence, ends, extra={"event": "queue_stuck"})
        elif self._stuck and not stuck:
            self._log.info("All queues of the TUN device make progress again", extra={"event": "queue_moves"})
        self._stuck = bool(stuck)
        if self._notify and self._interval and not stuck and moment - self._fed >= self._interval / FEEDS:
            self._fed = moment
            self._notify.notify("WATCHDOG=1")
