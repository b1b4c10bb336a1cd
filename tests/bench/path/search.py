"""The highest rate at which nothing is lost: a binary search with loss verification (ETSI GS NFV-TST 009 12.3.3)."""

from collections.abc import Callable
from typing import NamedTuple

RESOLUTION = 0.04  # of the rate
VERIFIED = 2  # trials that must lose something before a rate counts as too high
MUCH = 0.1  # a share that is not lost by chance: one trial will do


class Trial(NamedTuple):
    """What became of frames that were offered: how many were sent, a second too, whether that was the rate wanted, and
    how many arrived."""

    sent: int
    rate: float
    kept: bool
    arrived: int

    @property
    def good(self) -> bool:
        """The sender kept to its rate, and nothing was lost."""
        return self.kept and self.arrived >= self.sent

    @property
    def loss(self) -> float:
        """The share that was lost."""
        return max(0.0, 1 - self.arrived / max(self.sent, 1))


class Found(NamedTuple):
    """The rate at which nothing was lost, and what happened at full load."""

    rate: float
    full: Trial


def loss_free(run: Callable[[float], Trial]) -> Found:
    """`run` offers a rate, or (0) all that the sender can: its own limit is the result where that loses nothing."""
    full = run(0)
    if full.good:
        return Found(full.rate, full)
    low, high = 0.0, full.rate
    rate = full.rate * (1 - full.loss)
    while high - low > RESOLUTION * high:
        if passes(run, rate):
            low = rate
        else:
            high = rate
        rate = (low + high) / 2
    return Found(low, full)


def passes(run: Callable[[float], Trial], rate: float) -> bool:
    """Whether nothing is lost at a rate."""
    for _ in range(VERIFIED):
        trial = run(rate)
        if trial.good:
            return True
        if trial.loss > MUCH:
            break
    return False
