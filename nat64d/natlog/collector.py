"""Entries sent to an IPFIX collector, over UDP (RFC 7011 section 10.3): nothing waits, and nothing is sent again."""

import errno
import socket
from collections.abc import Sequence

from nat64d.config.addresses import split_listener
from nat64d.config.models import Log
from nat64d.natlog import ipfix
from nat64d.natlog.entries import Entry
from nat64d.natlog.ipfix import TEMPLATES_ALONE, Batch
from nat64d.natlog.place import Moment, Taken

# LIMITS
MESSAGES = 1000  # after so many the templates are sent again, if not earlier
COPIES = 2  # of the templates at the beginning (RFC 7011 section 8.4)
QUIET = 10.0  # seconds without an error after which a failure is over


class Collector:
    """A collector. `failure`: why it did not get something in the last seconds, a sentence."""

    def __init__(self, config: Log) -> None:
        self.failure: str | None = None
        self._name, self._domain, self._refresh = config.ipfix, config.ipfix_domain, config.ipfix_refresh
        host, port = split_listener(config.ipfix)
        self._address = str(host), port
        family = socket.AF_INET6 if ":" in str(host) else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._connected = False
        self._sequence, self._last, self._messages = 0, 0, 0
        self._templates_at, self._failed_at = float("-inf"), float("-inf")

    def write(self, entries: Sequence[Entry], moment: Moment) -> Taken:
        """Send entries, and the templates if it is time for them. Entries of a message that is refused later count as
        failed then, too."""
        sent = failed = 0
        for batch in ipfix.batches(ipfix.record_of(entry) for entry in entries):
            failed += self._templates(moment)
            done, refused = self._say(batch, moment)
            sent, failed = sent + (batch.records if done else 0), failed + refused + (0 if done else batch.records)
        failed += self._templates(moment)
        if moment.seconds - self._failed_at > QUIET:
            self.failure = None
        return Taken(sent, failed)

    def close(self) -> None:
        """Nothing follows."""
        self._socket.close()

    def _templates(self, moment: Moment) -> int:
        """Send the templates when it is time (RFC 7011 section 8.4); returns how many records were refused."""
        is_first = self._templates_at == float("-inf")
        if moment.seconds - self._templates_at < self._refresh and self._messages < MESSAGES:
            return 0
        self._templates_at, self._messages = moment.seconds, 0
        return sum(self._say(TEMPLATES_ALONE, moment)[1] for _ in range(COPIES if is_first else 1))

    def _say(self, batch: Batch, moment: Moment) -> tuple[bool, int]:
        """Send a message: (whether it was, how many records the collector refused before)."""
        octets, refused = ipfix.message(batch, moment.wall // 1000, self._sequence, self._domain), 0
        for _ in range(2):  # the refusal of one message is told when the next one is sent
            try:
                if not self._connected:
                    self._socket.connect(self._address)
                    self._connected = True
                self._socket.send(octets)
            except OSError as error:
                self.failure = f"The IPFIX collector {self._name} does not get what is sent: {error.strerror}."
                self._failed_at = moment.seconds
                if error.errno != errno.ECONNREFUSED:
                    return False, refused
                refused, self._last = refused + self._last, 0
                continue
            self._last, self._messages = batch.records, self._messages + 1
            self._sequence += batch.records
            return True, refused
        return False, refused
