"""What has happened to the daemon, for clients: the last lines of the log that are about an event.

Such a line has a field `event` that is among EVENTS, whatever [log] level is; entries of the log of sessions have
others. A reader that wants those to come is told to look again; it keeps the number of the last one that it has seen,
so that nothing is queued for it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any, TypedDict

from nat64d.control.logs import fields_of

# LIMITS
KEPT = 1000
LONGEST = 2000  # characters of a sentence

EVENTS = {
    "start": "The daemon has begun to start.",
    "ready": "Packets are translated.",
    "stop": "The daemon stops.",
    "failure": "The daemon ends, because something has failed.",
    "condition": "Something on the host keeps packets from passing, or may.",
    "condition_over": "It is over.",
    "queue_stuck": "A queue of the TUN device makes no progress.",
    "queue_moves": "All queues make progress again.",
    "computed_ports": "What the ports of subscribers are computed from (RFC 7422); once a day, too.",
    "reload": "The configuration has been read again.",
    "reload_refused": "It has not, and nothing has changed.",
    "change": "Rows were set or removed beside the configuration file.",
    "flush": "Sessions were ended on request.",
    "grace": "TCP of no session is answered with RST for a while, on request.",
    "log_level": "The level of the log was changed on request.",
    "endpoint_down": "An endpoint of a service does not serve.",
    "endpoint_up": "It serves again.",
    "takeover": "This gateway answers for an address of a service from now on.",
    "given_up": "It no longer does.",
    "prefix": "The provider's NAT64 prefix is another one.",
    "addresses": "An interface that gives [clat] ipv6, or addresses of [[pool4]], has others now.",
    "tun_queue_full": "The kernel has dropped packets that the queue of the TUN device had no room for.",
    "log_failed": "The log of sessions could not be written.",
    "reader_cut_off": "A reader of these events has taken nothing for half a minute.",
    "set_aside": "What was kept of the run before is not used.",
}


class Happening(TypedDict):
    """Something that has happened."""

    number: Annotated[int, "one more than that of the one before; a start begins with 1"]
    time: Annotated[float, "seconds since 1970"]
    event: Annotated[str, f"what it was: {', '.join(EVENTS)}"]
    level: Annotated[str, "of its line in the log"]
    text: str
    fields: Annotated[dict[str, Any], "what it is about"]


class Events(logging.Handler):
    """The last KEPT events. Records come from any thread; the rest is for the event loop."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._rows: deque[Happening] = deque(maxlen=KEPT)
        self._number = 0
        self.counts = dict.fromkeys(EVENTS, 0)  # since the start, by event
        self._readers: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging, one at a time."""
        fields = fields_of(record)
        event = fields.pop("event", None)
        if event not in EVENTS:
            return
        self._number += 1
        self.counts[event] += 1
        text, level = record.getMessage(), record.levelname.lower()
        self._rows.append(
            {
                "number": self._number,
                "time": round(record.created, 3),
                "event": event,
                "level": level,
                "text": text if len(text) <= LONGEST else text[: LONGEST - 1] + "…",
                "fields": fields,
            }
        )
        for wake, loop in self._readers.items():
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(wake.set)

    def after(self, number: int) -> list[Happening]:
        """The events after the one with this number, the oldest first; all of them if there was none with it yet, as
        then the daemon has been started anew."""
        with self._alone():
            return [row for row in self._rows if row["number"] > number or number > self._number]

    def newest(self) -> int:
        """The number of the last event."""
        return self._number

    @contextmanager
    def woken(self) -> Iterator[asyncio.Event]:
        """What is set whenever something has happened."""
        wake = asyncio.Event()
        with self._alone():
            self._readers[wake] = asyncio.get_running_loop()
        try:
            yield wake
        finally:
            with self._alone():
                del self._readers[wake]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()
