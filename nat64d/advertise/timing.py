"""When a router sends its next advertisement on a link (RFC 4861 sections 6.2.4 and 6.2.6). Pure: the clock and chance
are arguments."""

from collections.abc import Callable
from math import inf

# SPEC: RFC 4861 section 10, in seconds
FIRST_FEW, FIRST_INTERVAL = 3, 16.0  # MAX_INITIAL_RTR_ADVERTISEMENTS, MAX_INITIAL_RTR_ADVERT_INTERVAL
LEAST, LONGEST_DELAY = 3.0, 0.5  # MIN_DELAY_BETWEEN_RAS, MAX_RA_DELAY_TIME


class Timing:
    """`due` is when the next advertisement has to go out, in seconds of the clock that is given to each method."""

    def __init__(self, interval: float, now: float, chance: Callable[[], float], last: float = -inf) -> None:
        """`interval`: MaxRtrAdvInterval in seconds; `chance`: a number from 0 to 1, another one each time; `last`: when
        one went out there before."""
        self._interval, self._chance = interval, chance
        self._few, self._last, self._asked = FIRST_FEW, last, False
        self.due = max(now, last + LEAST)

    def sent(self, now: float) -> None:
        """An advertisement has gone out to all nodes: the next one is due after a random interval, the first few
        soon."""
        least = max(LEAST, self._interval / 3)  # MinRtrAdvInterval
        wait = least + self._chance() * (self._interval - least)
        self._few, self._last, self._asked = max(0, self._few - 1), now, False
        self.due = now + (min(wait, FIRST_INTERVAL) if self._few else wait)

    def solicited(self, now: float) -> None:
        """Somebody asks: all nodes are answered after a moment, but not twice within LEAST seconds. Of many who ask,
        the first one counts."""
        if not self._asked:
            self._asked = True
            self.due = min(self.due, max(now, self._last + LEAST) + self._chance() * LONGEST_DELAY)

    def restart(self, interval: float, now: float) -> None:
        """What is announced has changed: as in the beginning, but LEAST seconds after the one before."""
        self._interval, self._few = interval, FIRST_FEW
        self.due = max(now, self._last + LEAST)
