"""What takes entries of the log of sessions."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from nat64d.natlog.entries import Entry
from nat64d.natlog.shortage import Shortage


class Moment(NamedTuple):
    """The clocks: milliseconds since 1970 at which that of the data plane was 0, and time.monotonic(), the same one."""

    epoch: int
    seconds: float

    @property
    def wall(self) -> int:
        """Milliseconds since 1970."""
        return self.epoch + round(1000 * self.seconds)


class Taken(NamedTuple):
    """How many entries a place has taken, and how many are known not to have got there."""

    written: int
    failed: int


class Place(Protocol):
    """Where entries go. `failure`: why the last ones did not get there, a sentence, or None."""

    failure: str | None

    def write(self, entries: Sequence[Entry | Shortage], moment: Moment) -> Taken:
        """Take entries, perhaps none: time has passed."""

    def close(self) -> None:
        """Nothing follows."""
