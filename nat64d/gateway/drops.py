"""Dropped packets in the log: how many of a verdict, one of them as an example, and how to ask why."""

import logging
import shlex
from collections.abc import Sequence

from nat64d.control.throttle import INTERVAL, Due, Throttle
from nat64d.explain.as_text import as_text, ends_of
from translator.tables.gateway import SAMPLE, Worker
from translator.verdict import INFO, Verdict

LOGGED = [verdict for verdict in Verdict if verdict.level >= INFO]


class DropLog:
    """The packets that the workers dropped, as the log has them. The clock is an argument, in seconds."""

    def __init__(self, workers: Sequence[Worker], log: logging.Logger) -> None:
        self._workers = workers
        self._log = log
        self._lines = {verdict: Throttle() for verdict in LOGGED}

    def look(self, now: float) -> None:
        """Write a line about each verdict of level INFO or WARNING that packets met since the last one."""
        for verdict, line in self._lines.items():
            line.count = sum(int(worker.counters[:, verdict].sum()) for worker in self._workers)
            if due := line.due(now):
                self._write(verdict, due)

    def _write(self, verdict: Verdict, due: Due) -> None:
        packets = "1 packet" if due.times == 1 else f"{due.times:,} packets"
        since = f" in {due.seconds:.0f} s" if due.seconds < 10 * INTERVAL else ""
        example = self._example(verdict)
        section = f" (RFC {verdict.section})" if verdict.section[0].isdigit() else ""
        name = verdict.name.lower()
        fields = {"verdict": name, "packets": due.times, "rfc": verdict.section}
        text = "Dropped %s%s as %s%s: %s%s"
        self._log.log(verdict.level, text, packets, since, name, section, verdict.help, example, extra=fields)

    def _example(self, verdict: Verdict) -> str:
        """One of the packets, as `nat64d explain` takes it, else what is known of its ends (RFC 7915 section 4.5); the
        next one dropped is kept for the next line."""
        for worker in self._workers:
            size = int(worker.sampled[verdict])
            if size:
                octets = worker.samples[verdict, : min(size, SAMPLE)].tobytes()
                worker.sampled[verdict] = 0
                text, ends = as_text(octets, size), ends_of(octets)
                if text:
                    return f" Example: nat64d explain --live {shlex.quote(text)}"
                return f" Example: {ends}, {size} octets" if ends else ""
        return ""
