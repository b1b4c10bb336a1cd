"""The log: text, JSON, and the journal by its own protocol, which is read back here as systemd describes it."""

import io
import json
import logging
import os
import re
import socket
import struct
import sys
from contextlib import contextmanager

import pytest

from nat64d.control import logs
from nat64d.control.logs import handler_for, is_journal
from nat64d.gateway.drops import DropLog
from nat64d.gateway.link_drops import LinkDrops
from nat64d.host.board import Board
from nat64d.host.conditions import CONDITIONS, Found
from translator.tables.gateway import new_worker
from translator.verdict import Direction, Verdict


@pytest.fixture
def log():
    """A logger that only the handlers of a test hear."""
    logger = logging.getLogger("nat64d.test_logs")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


@pytest.fixture
def journal(tmp_path):
    """A socket as journald has one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.setblocking(False)
        yield listening


@contextmanager
def stream_and_environment(tmp_path):
    """A stream that stands for the one to the journal, and the variable that says so."""
    with (tmp_path / "stream").open("w+") as stream:
        about = os.fstat(stream.fileno())
        yield stream, {"JOURNAL_STREAM": f"{about.st_dev}:{about.st_ino}"}


def lines_of(stream):
    stream.seek(0)
    return stream.read().splitlines()


def entry(octets):
    """The fields of a datagram (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/)."""
    fields = {}
    while octets:
        name, end, rest = octets.partition(b"\n")
        if b"=" in name:
            name, _, value = name.partition(b"=")
        else:
            size = struct.unpack("<Q", rest[:8])[0]
            value, end, rest = rest[8 : 8 + size], rest[8 + size : 9 + size], rest[9 + size :]
        assert end == b"\n"
        assert re.fullmatch(rb"[A-Z][A-Z0-9_]{0,63}", name), "a name that the journal refuses"
        fields[name.decode()] = value.decode()
        octets = rest
    return fields


# Text and JSON


def test_text_has_time_level_and_sentence(log):
    stream = io.StringIO()
    log.addHandler(handler_for("text", stream, {}))
    log.warning("Dropped %d packets", 3, extra={"verdict": "no_pool4"})
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING Dropped 3 packets\n", stream.getvalue())


def test_json_has_the_fields_of_the_line(log):
    stream = io.StringIO()
    log.addHandler(handler_for("json", stream, {}))
    log.warning("Dropped %d\npackets", 3, extra={"verdict": "no_pool4", "packets": 3, "command": None})
    (line,) = stream.getvalue().splitlines()
    document = json.loads(line)
    assert abs(document.pop("time") - logging.makeLogRecord({}).created) < 600
    assert document == {
        "level": "warning",
        "logger": "nat64d.test_logs",
        "message": "Dropped 3\npackets",
        "verdict": "no_pool4",
        "packets": 3,
        "command": None,
    }


def test_json_has_the_traceback(log):
    stream = io.StringIO()
    log.addHandler(handler_for("json", stream, {}))
    try:
        int("x")
    except ValueError:
        log.exception("It failed")
    document = json.loads(stream.getvalue())
    assert document["exception"].startswith("Traceback")
    assert document["exception"].endswith("ValueError: invalid literal for int() with base 10: 'x'")


def test_a_field_does_not_take_the_place_of_what_every_line_has(log):
    stream = io.StringIO()
    log.addHandler(handler_for("json", stream, {}))
    log.info("A sentence", extra={"level": "loud", "logger": {1, 2}})
    document = json.loads(stream.getvalue())
    assert (document["level"], document["logger"]) == ("info", "nat64d.test_logs")


# The journal


def test_the_journal_gets_priority_and_fields(log, journal, tmp_path):
    with stream_and_environment(tmp_path) as (stream, environment):
        log.addHandler(handler_for("text", stream, environment, journal.getsockname()))
        log.warning("Dropped %d packets", 3, extra={"verdict": "no_pool4", "packets": 3, "command": None})
        assert entry(journal.recv(1 << 16)) == {
            "MESSAGE": "Dropped 3 packets",
            "PRIORITY": "4",
            "SYSLOG_IDENTIFIER": "nat64d",
            "NAT64D_LOGGER": "nat64d.test_logs",
            "NAT64D_VERDICT": "no_pool4",
            "NAT64D_PACKETS": "3",
        }
        assert lines_of(stream) == []


def test_several_lines_are_one_entry_of_the_journal(log, journal, tmp_path):
    with stream_and_environment(tmp_path) as (stream, environment):
        log.addHandler(handler_for("text", stream, environment, journal.getsockname()))
        log.error("one\ntwo=2\n\nthree")
        fields = entry(journal.recv(1 << 16))
        assert (fields["MESSAGE"], fields["PRIORITY"]) == ("one\ntwo=2\n\nthree", "3")


def test_what_the_journal_does_not_take_is_written_with_its_priority(log, tmp_path):
    with stream_and_environment(tmp_path) as (stream, environment):
        log.addHandler(handler_for("text", stream, environment, str(tmp_path / "nobody")))
        log.warning("one\ntwo")
        log.debug("three")
        assert lines_of(stream) == ["<4>one", "<4>two", "<7>three"]


def test_a_journal_that_does_not_read_makes_nobody_wait(log, journal, tmp_path):
    with stream_and_environment(tmp_path) as (stream, environment):
        log.addHandler(handler_for("text", stream, environment, journal.getsockname()))
        for number in range(5000):
            log.info("%d", number)
        written = lines_of(stream)
        assert written
        assert written[-1] == "<6>4999"


def test_json_for_the_journal_has_the_priority_in_front(log, journal, tmp_path):
    with stream_and_environment(tmp_path) as (stream, environment):
        log.addHandler(handler_for("json", stream, environment, journal.getsockname()))
        log.critical("A sentence")
        (line,) = lines_of(stream)
        assert line.startswith("<2>{")
        assert json.loads(line[3:])["message"] == "A sentence"


def test_a_level_between_two_has_the_priority_of_the_lower_one():
    numbers = [logs.priority_of(logging.makeLogRecord({"levelno": level})) for level in (1, 10, 19, 25, 35, 45, 60)]
    assert numbers == [7, 7, 7, 6, 4, 3, 2]


def test_an_inherited_variable_does_not_make_a_stream_the_journal(log, tmp_path):
    """systemd.exec(5): a shell in a service hands JOURNAL_STREAM on, also to what writes to a file."""
    with stream_and_environment(tmp_path) as (stream, environment), (tmp_path / "file").open("w+") as elsewhere:
        assert is_journal(stream, environment)
        assert not is_journal(elsewhere, environment)
        assert not is_journal(stream, {})
        assert not is_journal(io.StringIO(), environment)
        log.addHandler(handler_for("text", elsewhere, environment))
        log.info("A sentence")
        (line,) = lines_of(elsewhere)
        assert re.fullmatch(r"\d{4}-.* INFO A sentence", line)


# What lines of the daemon have


def fields_of_last(caplog):
    return logs.fields_of(caplog.records[-1])


def test_lines_of_the_daemon_have_the_fields_that_the_page_lists(caplog):
    caplog.set_level(logging.DEBUG)
    log, worker = logging.getLogger("nat64d"), new_worker(0)
    worker.counters[Direction.SIX_TO_FOUR, Verdict.NO_POOL4] = 3
    DropLog([worker], log).look(0.0)
    assert fields_of_last(caplog) == {"verdict": "no_pool4", "packets": 3, "rfc": "6146 3.5"}

    dropped = iter((5, 8, 8))
    LinkDrops("nat64", 1, log, lambda _: next(dropped)).look(0.0)
    assert fields_of_last(caplog) == {"event": "tun_queue_full", "packets": 3, "total": 3}

    board, condition = Board(log), CONDITIONS[0]
    board.update([Found(condition, "A sentence. Run 'true'.")], 0.0)
    begun = {"event": "condition", "condition": condition.name, "blocks": condition.blocks, "command": "true"}
    assert fields_of_last(caplog) == begun
    board.update([], 90.2)
    assert fields_of_last(caplog) == {"event": "condition_over", "condition": condition.name, "seconds": 90}


def test_no_field_of_python_itself_is_taken_for_one_of_a_line():
    try:
        int("x")
    except ValueError:
        about = sys.exc_info()
    record = logging.getLogger("nat64d").makeRecord("nat64d", 20, "file", 1, "text", (), about, sinfo="stack")
    logging.Formatter(logs.TEXT).format(record)
    assert logs.fields_of(record) == {}
