"""Log records on standard error: text, JSON, or entries of systemd's journal.

A line is a sentence; what it is about, a program finds in its fields, which are given as `extra`:
`log.warning("…", extra={"verdict": "no_pool4", "packets": 3})`. Text leaves them out, JSON has them beside the message,
and the journal as NAT64D_VERDICT and so on.

The journal is spoken to by its native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/), which takes no library:
one datagram an entry. Lines that go to it as text, which JSON does, have the priority in front (sd-daemon(3)).
"""

import json
import logging
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TextIO

JOURNAL = "/run/systemd/journal/socket"
IDENTIFIER = "nat64d"
TEXT = "%(asctime)s %(levelname)s %(message)s"
# SPEC: RFC 5424 section 6.2.1
PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_OWN = {*vars(logging.makeLogRecord({})), "message", "asctime"}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The fields a record was given."""
    return {name: value for name, value in vars(record).items() if name not in _OWN}


def priority_of(record: logging.LogRecord) -> int:
    """The syslog priority of a record: that of the standard level it reaches."""
    return PRIORITIES[max((level for level in PRIORITIES if level <= record.levelno), default=logging.DEBUG)]


class Json(logging.Formatter):
    """One object a line; `time` is in seconds since the epoch."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with its fields."""
        document = {
            "time": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps({**document, **fields_of(record), **document}, default=str)


class WithPriority(logging.Formatter):
    """Another format, with the priority in front of each line."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record."""
        return "\n".join(f"<{priority_of(record)}>{line}" for line in self._inner.format(record).split("\n"))


class Journal(logging.Handler):
    """Entries of the journal at a socket; those it does not take at once are written by `otherwise`."""

    def __init__(self, otherwise: logging.Handler, path: str = JOURNAL) -> None:
        super().__init__()
        self._otherwise, self._path = otherwise, path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; no log line makes the daemon wait."""
        try:
            self._socket.sendto(b"".join(self._entry(record)), socket.MSG_DONTWAIT, self._path)
        except OSError:
            self._otherwise.handle(record)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()

    def _entry(self, record: logging.LogRecord) -> Iterator[bytes]:
        yield field("MESSAGE", self.format(record))
        yield field("PRIORITY", str(priority_of(record)))
        yield field("SYSLOG_IDENTIFIER", IDENTIFIER)
        yield field("NAT64D_LOGGER", record.name)
        for name, value in ((k, v) for k, v in fields_of(record).items() if v is not None):
            yield field(f"NAT64D_{name.upper()}", value if isinstance(value, str) else json.dumps(value, default=str))


def field(name: str, value: str) -> bytes:
    """One field of an entry; what has more than one line is written with its length."""
    octets = value.encode("utf-8", "surrogateescape")
    if b"\n" in octets:
        return name.encode() + b"\n" + struct.pack("<Q", len(octets)) + octets + b"\n"
    return name.encode() + b"=" + octets + b"\n"


def is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a stream is the one that systemd has connected with the journal. JOURNAL_STREAM alone does not say so:
    it is inherited, also by programs whose standard error leads elsewhere (systemd.exec(5))."""
    try:
        about = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{about.st_dev}:{about.st_ino}"


def handler_for(
    style: Literal["text", "json"], stream: TextIO, environment: Mapping[str, str], path: str = JOURNAL
) -> logging.Handler:
    """What writes records to a stream, in the format of [log]."""
    written = logging.StreamHandler(stream)
    if not is_journal(stream, environment):
        written.setFormatter(Json() if style == "json" else logging.Formatter(TEXT))
        return written
    written.setFormatter(WithPriority(Json() if style == "json" else logging.Formatter("%(message)s")))
    return written if style == "json" else Journal(written, path)
