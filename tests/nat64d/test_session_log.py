"""The log of sessions as operators have it: lines, a file, the daemon's log, and what is lost."""

import asyncio
import errno
import logging
import os
import shutil
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import numpy as np
import pytest

from nat64d.config.models import Log
from nat64d.natlog import lines, reader
from nat64d.natlog.entries import entries_of, fields, line
from nat64d.natlog.place import Moment
from nat64d.natlog.reader import Reader
from tests.packets import HOST4, HOST4_PORT, HOST6
from tests.sessions import Sessions
from translator.session.log import Cause, Kind, read_on
from translator.tables.gateway import Gateway
from translator.tables.layout import LOGGED, NONE, records

EPOCH = 1_772_366_400_000 - 1_000_000_000  # 2026-03-01T12:00:00Z when a test begins
NOW = Moment(EPOCH, 0.0)


def entry(kind: Kind, cause: Cause = Cause.INSIDE, **changes: int) -> np.ndarray:
    """A record, with ends."""
    rows = records(1, LOGGED)
    rows["time"], rows["kind"], rows["cause"], rows["protocol"] = 1_000_000_123, kind, cause, 17
    rows["host6_hi"], rows["host6_lo"], rows["host6_port"] = 0x20010DB8 << 32, 16, 5000
    rows["mapped4"], rows["mapped4_port"], rows["last_port"] = int(IPv4Address("198.51.100.1")), 2000, 2063
    rows["host4"], rows["host4_port"], rows["length"] = int(IPv4Address("203.0.113.5")), 53, 64
    rows["packets_6to4"] = NONE
    for name, value in changes.items():
        rows[name] = value
    return rows.view(np.ndarray)


LINES = [
    (entry(Kind.SESSION_CREATED), "session-created udp [2001:db8::10]:5000 198.51.100.1:2000 203.0.113.5:53 inside"),
    (
        entry(Kind.SESSION_ENDED, Cause.RESET, protocol=6),
        "session-ended tcp [2001:db8::10]:5000 198.51.100.1:2000 203.0.113.5:53 reset",
    ),
    (
        entry(Kind.SESSION_ENDED, Cause.EXPIRED, packets_6to4=2, octets_6to4=152, packets_4to6=0, octets_4to6=0),
        (
            "session-ended udp [2001:db8::10]:5000 198.51.100.1:2000 203.0.113.5:53 expired packets_6to4=2"
            " octets_6to4=152 packets_4to6=0 octets_4to6=0"
        ),
    ),
    (entry(Kind.MAPPING_CREATED), "mapping-created udp [2001:db8::10]:5000 198.51.100.1:2000 inside"),
    (
        entry(Kind.MAPPING_ENDED, Cause.EXPIRED, protocol=47),
        "mapping-ended 47 [2001:db8::10]:5000 198.51.100.1:2000 expired",
    ),
    (
        entry(Kind.BLOCK_ALLOCATED, host6_lo=0),
        "block-allocated udp 2001:db8::/64 198.51.100.1:2000-2063 inside",
    ),
    (entry(Kind.BLOCK_FREED, Cause.UNUSED, host6_lo=0), "block-freed udp 2001:db8::/64 198.51.100.1:2000-2063 unused"),
]


@pytest.mark.parametrize(("rows", "text"), LINES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_line_says_when_what_who_and_why(rows, text):
    (one,) = entries_of(rows, EPOCH)
    assert line(one) == f"2026-03-01T12:00:00.123Z {text}"


def test_an_address_with_the_highest_bits_set_is_itself():
    (one,) = entries_of(entry(Kind.MAPPING_CREATED, host6_hi=-1, host6_lo=-2, mapped4=0xFFFFFFFE), 0)
    assert one.host6 == IPv6Address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe").packed
    assert one.mapped4 == IPv4Address("255.255.255.254").packed


class Logging:
    """A gateway that logs sessions into a ring of so many entries, and what reads it."""

    def __init__(self, size: int = 8, **config: str) -> None:
        self.nat64 = Sessions(log={"sessions": "sessions"}, forward=[])
        gateway = self.nat64.gateway
        tables = replace(gateway.tables, log=records(size, LOGGED))
        self.nat64.gateway = Gateway(gateway.settings, tables, gateway.worker)
        self.nat64.check_invariants = lambda: None
        self.config = Log(sessions="sessions", **config)
        self.reader = Reader(lambda: (self.nat64.tables, read_on, self.config))

    def counts(self) -> dict[str, int]:
        rows = self.reader.events(self.nat64.tables)
        return {row["event"].removeprefix("log_"): row["count"] for row in rows if row["event"].startswith("log_")}


@pytest.fixture
def there(tmp_path):
    """The gateway, and the file it writes to."""
    return Logging(session_file=str(tmp_path / "sessions.log")), tmp_path / "sessions.log"


def ports_in(file) -> list[int]:
    """The ports of host6 that the lines of a file are about."""
    return [int(text.split()[3].rpartition(":")[2]) for text in file.read_text().splitlines()]


def test_sessions_are_appended_to_the_file(there):
    gateway, file = there
    file.write_text("what was there\n")
    mapped = gateway.nat64.opened("udp", 5000)
    gateway.reader.turn(NOW)
    gateway.nat64.wait(301)
    gateway.reader.turn(NOW)
    flow = f"udp [{HOST6}]:5000 {mapped[0]}:{mapped[1]} {HOST4}:{HOST4_PORT}"
    assert file.read_text().splitlines() == [
        "what was there",
        f"2026-03-01T12:00:00.000Z session-created {flow} inside",
        f"2026-03-01T12:05:01.000Z session-ended {flow} expired",
    ]
    assert gateway.counts() == {"written": 2, "lost": 0, "failed": 0}


def test_packets_pass_and_what_is_written_is_right_when_more_begins_than_is_read(there):
    gateway, file = there
    for port in range(5000, 5030):
        gateway.nat64.opened("udp", port)
        if port in (5014, 5029):
            gateway.reader.turn(NOW)
    assert ports_in(file) == [*range(5000, 5008), *range(5015, 5023)]
    assert gateway.counts() == {"written": 16, "lost": 14, "failed": 0}


def test_the_ring_wraps(there):
    gateway, file = there
    for first in range(5000, 5025, 5):
        for port in range(first, first + 5):
            gateway.nat64.opened("udp", port)
        gateway.reader.turn(NOW)
    assert ports_in(file) == list(range(5000, 5025))


def test_a_file_that_is_moved_away_is_begun_anew(there):
    gateway, file = there
    gateway.nat64.opened("udp", 5000)
    gateway.reader.turn(NOW)
    file.rename(file.with_suffix(".1"))
    gateway.nat64.opened("udp", 5001)
    gateway.reader.turn(NOW)
    assert (ports_in(file.with_suffix(".1")), ports_in(file)) == ([5000], [5001])


def test_a_file_that_cannot_be_written_is_a_warning_until_it_can(tmp_path, caplog):
    gateway = Logging(session_file=str(tmp_path / "there" / "sessions.log"))
    gateway.nat64.opened("udp", 5000)
    gateway.reader.turn(NOW)
    (warning,) = gateway.reader.warnings()
    assert warning.endswith("sessions.log: No such file or directory.")
    assert warning in caplog.text
    assert gateway.counts() == {"written": 0, "lost": 0, "failed": 1}
    (tmp_path / "there").mkdir()
    gateway.nat64.opened("udp", 5001)
    gateway.reader.turn(NOW)
    assert gateway.reader.warnings() == []
    assert gateway.counts() == {"written": 1, "lost": 0, "failed": 1}
    shutil.rmtree(tmp_path / "there")


@pytest.mark.parametrize("kind", ["pipe", "directory", "link"])
def test_what_is_no_regular_file_is_not_written_to(tmp_path, kind):
    file = tmp_path / "sessions.log"
    make = {"pipe": os.mkfifo, "directory": os.mkdir, "link": lambda path: path.symlink_to(tmp_path / "target")}
    make[kind](file)
    gateway = Logging(session_file=str(file))
    gateway.nat64.opened("udp", 5000)
    gateway.reader.turn(NOW)
    assert gateway.counts()["failed"] == 1
    assert not (tmp_path / "target").exists()


def test_a_line_that_was_cut_off_is_ended_before_the_next_one(there, monkeypatch):
    gateway, file = there
    room = [100]

    def write(fd: int, octets: bytes) -> int:
        if room[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        size = os.writev(fd, [octets[: room[0]]])
        room[0] -= size
        return size

    monkeypatch.setattr(lines.os, "write", write)
    for port in (5000, 5001):
        gateway.nat64.opened("udp", port)
    gateway.reader.turn(NOW)
    assert gateway.counts() == {"written": 0, "lost": 0, "failed": 2}
    room[0] = 10000
    gateway.nat64.opened("udp", 5002)
    gateway.reader.turn(NOW)
    cut, whole = file.read_text().splitlines()
    assert len(cut) == 100
    assert ":5002 " in whole
    assert gateway.counts() == {"written": 1, "lost": 0, "failed": 2}


def test_what_a_full_disk_has_not_taken_is_told_until_something_is_written_again(there, monkeypatch):
    gateway, _ = there

    def write(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(lines.os, "write", write)
        gateway.nat64.opened("udp", 5000)
        gateway.reader.turn(NOW)
    gateway.reader.turn(NOW)
    assert "No space left on device" in str(gateway.reader.warnings())
    gateway.nat64.opened("udp", 5001)
    gateway.reader.turn(NOW)
    assert gateway.reader.warnings() == []


def test_a_line_that_was_cut_off_is_ended_once(there, monkeypatch):
    gateway, file = there

    def write(fd: int, octets: bytes) -> int:
        if len(octets) <= 50:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.writev(fd, [octets[:-50]])

    with monkeypatch.context() as full:
        full.setattr(lines.os, "write", write)
        gateway.nat64.opened("udp", 5000)
        gateway.reader.turn(NOW)
    for _ in range(3):
        gateway.reader.turn(NOW)
    assert file.read_bytes().count(b"\n") == 1


def test_without_a_file_the_daemons_log_has_the_entries_with_fields(caplog):
    gateway = Logging()
    gateway.nat64.opened("udp", 5000)
    with caplog.at_level(logging.INFO, "nat64d.sessions"):
        gateway.reader.turn(NOW)
    (record,) = [each for each in caplog.records if each.name == "nat64d.sessions"]
    assert record.getMessage().startswith(f"session-created udp [{HOST6}]:5000 ")
    assert (record.event, record.host6, record.host6_port, record.host4) == ("session-created", HOST6, 5000, HOST4)


@pytest.mark.parametrize("kind", Kind)
def test_rfc6888_req_12_a_destination_is_that_of_a_session_and_of_nothing_else(kind):
    (one,) = entries_of(entry(kind), EPOCH)
    about = kind in (Kind.SESSION_CREATED, Kind.SESSION_ENDED)
    assert [name for name in fields(one) if name.startswith("host4")] == ["host4", "host4_port"] * about
    assert ("203.0.113.5" in str(fields(one))) == ("203.0.113.5" in line(one)) == about


def test_what_a_reload_turns_on_begins_with_it_and_what_it_turns_off_is_written_to_the_end(there):
    gateway, file = there
    on, gateway.config = gateway.config, Log()
    gateway.reader.turn(NOW)
    gateway.config = on
    gateway.nat64.opened("udp", 5000)
    gateway.reader.turn(NOW)
    gateway.nat64.opened("udp", 5001)
    gateway.config = Log()
    gateway.reader.turn(NOW)
    assert ports_in(file) == [5000, 5001]


def test_what_a_start_or_reload_has_ended_is_written(there):
    gateway, file = there
    gateway.reader.ended.append(entry(Kind.SESSION_ENDED, Cause.UNMAPPED))
    gateway.reader.close(NOW)
    assert file.read_text().endswith(" unmapped\n")


def test_the_reader_looks_for_entries_when_nobody_holds_it_up(there):
    gateway, file = there
    held = []

    def looked(*of: object) -> int:
        held.append(gateway.reader.reading.locked())
        return read_on(*of)

    gateway.reader = Reader(lambda: (gateway.nat64.tables, looked, gateway.config))
    gateway.nat64.opened("udp", 5000)
    gateway.reader.turn(NOW)
    assert ports_in(file) == [5000]
    assert held == [True, True]


def test_the_reader_goes_on_after_what_should_not_happen(there, monkeypatch, caplog):
    gateway, _ = there
    monkeypatch.setattr(reader, "REST", 0.0)

    def turn(moment: Moment) -> None:
        monkeypatch.undo()
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(gateway.reader, "turn", turn)
    test_the_reader_takes_turns_until_it_is_cancelled(there)
    assert "RuntimeError: unforeseen" in caplog.text


def test_the_reader_takes_turns_until_it_is_cancelled(there):
    gateway, file = there

    async def story() -> None:
        task = asyncio.ensure_future(gateway.reader.run(lambda: NOW))
        gateway.nat64.opened("udp", 5000)
        for _ in range(3000):
            await asyncio.sleep(0.01)
            if gateway.counts()["written"]:
                break
        task.cancel()

    asyncio.run(asyncio.wait_for(story(), 30))
    assert ports_in(file) == [5000]
