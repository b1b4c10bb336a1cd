"""Packets that the kernel dropped because the queue of the TUN device was full: they reach no verdict."""

import logging
from collections.abc import Callable
from pathlib import Path

from nat64d.control.rows import Row
from nat64d.control.throttle import Throttle

EVENT = "tun_queue_full"
RECENT = 60.0  # seconds for which drops are a warning of the status
DROPPED = 11  # of the numbers of a device in /proc/net/dev: packets dropped on transmission


def dropped_by(name: str, table: str | None = None) -> int | None:
    """How many packets a device has dropped on their way to the program that reads it, since it exists; None: there is
    no such device. `table`: the text of /proc/net/dev, of this network namespace if not given."""
    if table is None:
        table = Path("/proc/thread-self/net/dev").read_text("ascii", errors="replace")
    for line in table.splitlines():
        device, colon, numbers = line.strip().rpartition(":")
        if colon and device == name:
            return int(numbers.split()[DROPPED])
    return None


def help_of(name: str, queues: int) -> str:
    """What happened, and what to do."""
    more = "" if queues > 1 else "let it have more queues ([tun] queues) and as many CPUs, "
    return (
        f"Packets dropped by the kernel because the queue of {name} was full: they came faster than nat64d took them. "
        f"Give it more CPU time, {more}or absorb longer bursts with 'ip link set dev {name} txqueuelen 5000'."
    )


class LinkDrops:
    """The drops since the start. `look` is called now and then with the time in seconds; the rest from any thread."""

    def __init__(
        self, name: str, queues: int, log: logging.Logger, read: Callable[[str], int | None] = dropped_by
    ) -> None:
        self.help = help_of(name, queues)
        self._name, self._log, self._read = name, log, read
        self._base = read(name) or 0  # a persistent device has a history
        self._seen = Throttle()
        self._last_grown = self._now = float("-inf")

    def count(self) -> int:
        """Packets so far, as the kernel says; the last number known if the device is gone."""
        total = self._read(self._name)
        return self._seen.count if total is None else max(total - self._base, 0)

    def look(self, now: float) -> None:
        """See whether there are more, and write about it, at most once in ten seconds."""
        count, self._now = self.count(), now
        if count > self._seen.count:
            self._last_grown = now
        self._seen.count = count
        if due := self._seen.due(now):
            more, total, fields = f"{due.times:,}", f"{count:,}", {"event": EVENT, "packets": due.times, "total": count}
            self._log.warning("%s: %s more, %s since the start. %s", EVENT, more, total, self.help, extra=fields)

    def warnings(self) -> list[str]:
        """A sentence if packets were dropped in the last minute."""
        if self._now - self._last_grown > RECENT or not self._seen.count:
            return []
        return [f"{EVENT}: {self._seen.count:,} since the start. {self.help}"]

    def event(self) -> Row:
        """The row among the events."""
        return {"event": EVENT, "count": self.count(), "help": self.help}
