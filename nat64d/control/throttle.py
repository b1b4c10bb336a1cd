"""Log lines about what happens often: one at once, then at most one in ten seconds, with how often it happened."""

from typing import NamedTuple

INTERVAL = 10.0  # seconds between two lines about the same thing, at least


class Due(NamedTuple):
    """What a line has to say."""

    times: int  # how often it happened since the last line
    seconds: float  # since the last line; infinite for the first one


class Throttle:
    """One kind of event: how often it happened, and how much of that is logged. The clock is an argument, in
    seconds."""

    def __init__(self) -> None:
        self.count = 0  # how often it happened so far; the caller adds to it, or sets it
        self._logged = 0
        self._last = float("-inf")

    def due(self, now: float) -> Due | None:
        """What to log now, which then counts as logged; None if nothing happened, or the last line is too recent."""
        return self.remaining(now) if self.wait(now) <= 0 else None

    def remaining(self, now: float) -> Due | None:
        """As `due`, however recent the last line is."""
        due = Due(self.count - self._logged, now - self._last)
        if due.times <= 0:
            return None
        self._logged, self._last = self.count, now
        return due

    def wait(self, now: float) -> float:
        """Seconds until a line may be logged again; zero or less: it may be now."""
        return self._last + INTERVAL - now
