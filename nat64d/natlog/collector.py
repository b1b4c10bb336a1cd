"""Entries sent to an IPFIX collector, over UDP (RFC 7011 section 10.3): nothing waits, and nothing is sent again."""

import errno
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack

from nat64d.config.addresses import split_listener
from nat64d.config.models import Log
from nat64d.natlog import ipfix
from nat64d.natlog.entries import Entry
from nat64d.natlog.ipfix import TEMPLATES_ALONE, Batch
from nat64d.natlog.place import Moment, Taken
from nat64d.natlog.shortage import Shortage

NOTHING = Batch(b"", 0)
FULL = {errno.EAGAIN, errno.ENOBUFS}  # what has no room now may have some soon, on the same socket
# LIMITS
MESSAGES = 1000  # after so many the templates are sent again, if not earlier
COPIES = 2  # of the templates at the beginning (RFC 7011 section 8.4)
QUIET = 10.0  # seconds without an error after which a failure is over


class Collector:
    """A collector. `failure`: why it did not get something in the last seconds, a sentence.

    The socket is made when there is something to send, and made anew after an error or when this host has another
    address: that is a new transport session, with sequence numbers of its own, and the templates are sent first.
    """

    def __init__(self, config: Log) -> None:
        self.failure: str | None = None
        self._name, self._domain, self._refresh = config.ipfix, config.ipfix_domain, config.ipfix_refresh
        host, port = split_listener(config.ipfix)
        self._address = str(host), port
        self._socket: socket.socket | None = None
        self._is_taught = False  # the collector has the templates, as far as we know
        self._sequence, self._messages = 0, 0
        self._last, self._failed = 0, 0  # records: in the last message; that have not got there
        self._templates_at, self._failed_at = float("-inf"), float("-inf")

    def write(self, entries: Sequence[Entry | Shortage], moment: Moment) -> Taken:
        """Send entries, and the templates if it is time for them. Entries of a message that is refused later count as
        failed then, too."""
        sent = 0
        for batch in ipfix.batches(ipfix.record_of(entry) for entry in entries):
            sent += self._say(batch, moment)
        self._say(NOTHING, moment)
        if moment.seconds - self._failed_at > QUIET:
            self.failure = None
        failed, self._failed = self._failed, 0
        return Taken(sent, failed)

    def close(self) -> None:
        """Nothing follows on this socket."""
        if self._socket:
            self._socket.close()
        self._socket, self._is_taught = None, False

    def _say(self, batch: Batch, moment: Moment) -> int:
        """Send the templates when it is time (RFC 7011 section 8.4), then a message; returns how many records were
        sent."""
        if self._socket and (refusal := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
            self._fail(OSError(refusal, os.strerror(refusal)), moment)  # of the message before
        is_due = moment.seconds - self._templates_at >= self._refresh or self._messages >= MESSAGES
        try:
            if is_due or (batch.records and not self._is_taught):
                self._teach(moment)
            if batch.records:
                self._send(batch, moment)
        except OSError as error:
            self._failed += batch.records
            self._fail(error, moment)
            return 0
        return batch.records

    def _fail(self, error: OSError, moment: Moment) -> None:
        self.failure = f"The IPFIX collector {self._name} does not get what is sent: {error.strerror}."
        self._failed_at = moment.seconds
        if error.errno == errno.ECONNREFUSED:
            self._failed, self._last, self._is_taught = self._failed + self._last, 0, False
        elif error.errno not in FULL:
            self.close()

    def _teach(self, moment: Moment) -> None:
        """Send the templates, twice to one that may not have them. Raises OSError."""
        self._connect()
        for _ in range(1 if self._is_taught else COPIES):
            self._send(TEMPLATES_ALONE, moment)
        self._templates_at, self._messages, self._is_taught = moment.seconds, 0, True

    def _connect(self) -> None:
        """Have a socket with the address from which this host reaches the collector now. Raises OSError."""
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        with ExitStack() as unused:
            new = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            unused.callback(new.close)
            new.connect(self._address)
            if self._socket is None or self._socket.getsockname()[0] != new.getsockname()[0]:
                unused.pop_all()
                self.close()
                self._socket, self._sequence, self._last = new, 0, 0

    def _send(self, batch: Batch, moment: Moment) -> None:
        """Send a message. Raises OSError."""
        assert self._socket is not None
        self._socket.send(ipfix.message(batch, moment.wall // 1000, self._sequence, self._domain))
        self._last, self._messages = batch.records, self._messages + 1
        self._sequence += batch.records
