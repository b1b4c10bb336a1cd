"""Takes entries out of the translator's ring and hands them on.

It runs beside the packets, which never wait for it: what it does not take in time is lost, and counted by who writes.
What a place does not take is not kept for later, and counted as failed.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from nat64d.config.models import Log
from nat64d.control.throttle import Throttle
from nat64d.natlog.collector import Collector
from nat64d.natlog.entries import Entry, entries_of
from nat64d.natlog.lines import DaemonLog, LineFile
from nat64d.natlog.place import Moment, Place
from nat64d.natlog.shortage import Shortage
from translator.session.log import LOST, NEXT
from translator.tables.tables import Tables

log = logging.getLogger("nat64d")

# LIMITS
BATCH = 4096  # entries handed on at a time
REST = 10.0  # seconds after a turn that has failed as none should
PAUSE = 0.2  # seconds between two looks at the ring, which has room for 65,536 entries

HELP = {
    "log_written": "Entries of the log of sessions that were written.",
    "log_lost": "Entries of the log of sessions that were lost: more came than could be written, while packets passed.",
    "log_failed": "Entries of the log of sessions that a file did not take; the status says why.",
    "ipfix_written": "Entries of the log of sessions that were sent to the IPFIX collector.",
    "ipfix_failed": "Entries that the IPFIX collector refused, or that could not be sent; the status says why.",
}


def places_of(config: Log) -> dict[str, Place]:
    """Where entries go under [log], by what its counters are called."""
    places: dict[str, Place] = {}
    if config.sessions == "off":
        return places
    if config.session_file:
        places["log"] = LineFile(config.session_file)
    elif not config.ipfix:
        places["log"] = DaemonLog()
    if config.ipfix:
        places["ipfix"] = Collector(config)
    return places


class Reader:
    """The entries of a daemon from its start to its end.

    `source` gives the tables (None: there are none yet), what reads them on (log.read_on), and [log]. `ended` takes
    entries that are in no ring: those about what a reload or a start has ended, `shortages` what was short. `reading`
    is for those who write to the ring without its lock, as restore does, to hold meanwhile.
    """

    def __init__(self, source: Callable[[], tuple[Tables | None, Callable[..., Any], Log]]) -> None:
        self.ended: deque[np.ndarray] = deque()
        self.shortages: deque[Shortage] = deque(maxlen=BATCH)
        self.counts = dict.fromkeys(HELP, 0)
        self._source, self._seen = source, 0
        self._config = Log()
        self._places: dict[str, Place] = {}
        self.reading = threading.Lock()
        self._failed, self._turning = Throttle(), threading.Lock()

    async def run(self, moment: Callable[[], Moment]) -> None:
        """Hand on what comes, until this is cancelled."""
        while True:
            try:
                if self._is_due():
                    await asyncio.to_thread(self.turn, moment())
            except Exception:  # it is a mistake of ours, and no reason to log nothing any more
                log.exception("The log of sessions was interrupted, and goes on in %g s", REST)
                await asyncio.sleep(REST)
            await asyncio.sleep(PAUSE)

    def turn(self, moment: Moment) -> None:
        """Hand on all there is, then follow [log]."""
        with self._turning:
            tables, read_on, config = self._source()
            if not self._places:  # what there is was written since it is wanted
                self._follow(config)
            for rows in self._rows(tables, read_on):
                self._hand_on(list(entries_of(rows, moment.epoch)), moment)
            self._hand_on([self.shortages.popleft() for _ in range(len(self.shortages))], moment)
            self._follow(config)
            self._complain(moment.seconds)

    def close(self, moment: Moment) -> None:
        """Hand on the rest; nobody writes entries any more."""
        try:
            self.turn(moment)
        finally:
            self._close()

    def events(self, tables: Tables) -> list[dict[str, Any]]:
        """The counters, as rows among the events."""
        counts = self.counts | {"log_lost": int(tables.log_at[LOST])}
        return [{"event": name, "count": counts[name], "help": text} for name, text in HELP.items()]

    def warnings(self) -> list[str]:
        """A sentence for each place that did not take what came last."""
        return [place.failure for place in list(self._places.values()) if place.failure]

    def _is_due(self) -> bool:
        tables, _, config = self._source()
        is_new = tables is not None and int(tables.log_at[NEXT]) != self._seen
        return is_new or bool(self.ended) or bool(self.shortages) or config != self._config or "ipfix" in self._places

    def _rows(self, tables: Tables | None, read_on: Callable[..., Any]) -> Iterator[np.ndarray]:
        """What is to be handed on, in pieces that are valid until the next one is asked for."""
        following = self._seen if tables is None else self._following(tables, read_on)
        while tables is not None and self._seen < following:
            first = self._seen % len(tables.log)
            rows = tables.log[first : first + min(following - self._seen, BATCH)].view(np.ndarray)
            yield rows
            self._seen += len(rows)
            following = self._following(tables, read_on)
        while self.ended:
            yield self.ended.popleft()

    def _following(self, tables: Tables, read_on: Callable[..., Any]) -> int:
        """The number of the entry after those that can be read."""
        with self.reading:
            return int(read_on(tables, self._seen))

    def _hand_on(self, entries: Sequence[Entry | Shortage], moment: Moment) -> None:
        for name, place in self._places.items():
            taken = place.write(entries, moment)
            self.counts[f"{name}_written"] += taken.written
            self.counts[f"{name}_failed"] += taken.failed

    def _complain(self, seconds: float) -> None:
        """Say what failed, at most once in ten seconds."""
        self._failed.count = sum(count for name, count in self.counts.items() if name.endswith("_failed"))
        if due := self._failed.due(seconds):
            told, fields = " ".join(self.warnings()), {"event": "log_failed", "entries": due.times}
            log.warning("%d entries of the log of sessions are lost. %s", due.times, told, extra=fields)

    def _follow(self, config: Log) -> None:
        if config != self._config:
            self._close()
            self._config, self._places = config, places_of(config)

    def _close(self) -> None:
        for place in self._places.values():
            place.close()
        self._places = {}
