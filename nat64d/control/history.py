"""What passed in the last hour: the totals of the gateway, taken every few seconds, for pictures of what flows."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Annotated, Any, NamedTuple, TypedDict

from nat64d.control.rows import Gateway, NotReadyError, Row

EVERY = 5.0  # seconds between two samples
KEPT = 720  # samples: one hour
PASSED = frozenset({"translated", "hairpinned", "echoed"})  # verdicts of packets that were served; others are drops


class Totals(NamedTuple):
    """Counts since the daemon started, at a moment."""

    seconds: float  # since the daemon started
    packets_6to4: int  # that were translated
    packets_4to6: int
    octets_6to4: int
    octets_4to6: int
    dropped: int  # packets of both directions
    sessions: int  # that are open


class History(TypedDict):
    """The totals of the last hour, oldest first."""

    every: Annotated[float, "seconds between two rows"]
    columns: Annotated[list[str], "what the numbers of a row are"]
    rows: list[list[float]]


def known(rows: Callable[[], Iterable[Row]]) -> list[Any]:
    """The rows of a gateway, none before it has any."""
    try:
        return list(rows())
    except NotReadyError:
        return []


def totals(counters: Iterable[Row], status: Row) -> Totals:
    """What the gateway has counted, by its counters and its status."""
    sums = dict.fromkeys(Totals._fields, 0)
    for row in counters:
        if row["verdict"] in PASSED:
            sums[f"packets_{row['direction']}"] += row["packets"]
            sums[f"octets_{row['direction']}"] += row["octets"]
        else:
            sums["dropped"] += row["packets"]
    return Totals(**{**sums, "seconds": status["uptime"], "sessions": status["sessions"]})


class Recorder:
    """Takes the totals of a gateway, and keeps those of the last hour."""

    def __init__(self, gateway: Gateway, in_thread: Callable[..., Any]) -> None:
        """`in_thread` runs a function of the gateway in a thread, and returns an awaitable of its result."""
        self._gateway = gateway
        self._in_thread = in_thread
        self._rows: deque[Totals] = deque(maxlen=KEPT)

    def history(self) -> History:
        """What there is."""
        return {"every": EVERY, "columns": list(Totals._fields), "rows": [list(row) for row in self._rows]}

    async def take(self) -> None:
        """Take one sample."""
        self._rows.append(await self._in_thread(self._now))

    def _now(self) -> Totals:
        return totals(known(self._gateway.counters), self._gateway.status())

    async def run(self) -> None:
        """Take samples until it is cancelled."""
        while True:
            await self.take()
            await asyncio.sleep(EVERY)
