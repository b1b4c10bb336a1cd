"""From answers to whether an endpoint serves: so many in a row count, and one that is back begins with few flows."""

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address
from typing import NamedTuple

from nat64d.config.services import Health

FEWEST = 0.1  # LIMIT: part of its weight that an endpoint begins with


class Place(NamedTuple):
    """The transport address of an endpoint."""

    address: IPv6Address
    port: int


class Key(NamedTuple):
    """What is asked, and how."""

    place: Place
    health: Health


class Standing(Enum):
    """What new flows an endpoint gets."""

    UP = "up"
    FAILING = "failing"  # those that no other endpoint can take
    DOWN = "down"  # none


@dataclass
class Known:
    """What is known of one endpoint. It begins as up, so that a restart of the daemon ends nothing; `why` it is not up
    is in a few words; `since` when, and the other moments, are seconds of a clock that the caller reads;
    `before` is the standing until then."""

    health: Health
    since: float
    standing: Standing = Standing.UP
    why: str | None = None
    before: Standing = Standing.UP
    _streak: int = 0  # answers in a row that speak against the standing
    _returned: float | None = None

    def note(self, why: str | None, moment: float) -> bool:
        """There was an answer: None = it serves, otherwise why not; returns whether the standing is another one now."""
        before = self.standing
        if self.standing is Standing.DOWN:
            self._rise(why, moment)
        else:
            self._fall(why)
        if self.standing is before:
            return False
        self.since, self.before = moment, before
        return True

    def part(self, moment: float) -> float:
        """The part of its weight that the endpoint has at `moment`, from FEWEST to 1."""
        if self._returned is None or self.health.slow_start <= 0:
            return 1.0
        return min(1.0, FEWEST + (1 - FEWEST) * (moment - self._returned) / self.health.slow_start)

    def _rise(self, why: str | None, moment: float) -> None:
        self._streak = 0 if why else self._streak + 1
        if why:
            self.why = why
        elif self._streak >= self.health.rise:
            self.standing, self.why, self._streak, self._returned = Standing.UP, None, 0, moment

    def _fall(self, why: str | None) -> None:
        self.why, self._streak = why, self._streak + 1 if why else 0
        if why is None:
            self.standing = Standing.UP
        else:
            self.standing = Standing.DOWN if self._streak >= self.health.fall else Standing.FAILING
            self._streak = 0 if self.standing is Standing.DOWN else self._streak
