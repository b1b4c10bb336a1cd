"""Events: lines of the log that clients read, and follow as they come; and the level of the log."""

import asyncio
import http.client
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import pytest

from nat64d.config.load import loads
from nat64d.config.models import Log
from nat64d.control import event_stream
from nat64d.control.changes import Level
from nat64d.control.events import EVENTS, KEPT, LONGEST, Events
from nat64d.gateway.daemon_log import DaemonLog
from nat64d.natlog import lines
from nat64d.natlog.entries import entries_of
from nat64d.natlog.place import Moment
from tests.architecture import ROOT, sources
from tests.nat64d.fake_gateway import FakeGateway, serving
from tests.nat64d.test_api_writes import ask
from tests.nat64d.test_cli import run
from tests.nat64d.test_session_log import entry
from translator.session.log import Kind


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A logger of our own, whose handlers go afterwards."""
    log = logging.getLogger("test.events")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    yield log
    log.handlers.clear()


@pytest.fixture
def gateway(log: logging.Logger) -> FakeGateway:
    gateway = FakeGateway()
    log.addHandler(gateway.happened)
    return gateway


@pytest.fixture
def path(gateway: FakeGateway, tmp_path: Path) -> Iterator[str]:
    with serving(gateway, tmp_path / "api.sock"):
        yield str(tmp_path / "api.sock")


BASE = 'pool6 = "64:ff9b::/96"\n[[pool4]]\naddresses = "192.0.2.1"\n'


def happen(log: logging.Logger, *numbers: int) -> None:
    for number in numbers:
        log.info("Number %d", number, extra={"event": "ready", "times": number})


def numbers(text: bytes | str) -> list[int]:
    return [json.loads(line)["number"] for line in text.splitlines()]


def test_only_lines_about_events_are_kept_and_no_more_than_kept(log):
    events = Events()
    log.addHandler(events)
    log.warning("Something else")
    happen(log, *range(KEPT + 5))
    rows = events.after(0)
    assert [row["number"] for row in rows] == list(range(6, KEPT + 6))
    assert {name: rows[0][name] for name in ("event", "level", "text", "fields")} == {
        "event": "ready",
        "level": "info",
        "text": "Number 5",
        "fields": {"times": 5},
    }
    assert [row["number"] for row in events.after(KEPT + 3)] == [KEPT + 4, KEPT + 5]
    assert events.after(events.newest()) == []
    assert len(events.after(events.newest() + 1)) == KEPT, "the reader knows an earlier run"
    log.error("x" * 10_000, extra={"event": "failure"})
    assert len(events.after(KEPT + 5)[0]["text"]) == LONGEST
    assert {event: count for event, count in events.counts.items() if count} == {"ready": KEPT + 5, "failure": 1}
    assert events.counts.keys() == EVENTS.keys()


def test_events_has_every_event_that_there_is():
    """Of the daemon; tests/kubernetes looks at those of `nat64d kubernetes`, which is another program."""
    texts = "".join(source.text for source in sources("nat64d") if "/kubernetes/" not in source.path)
    named = set(re.findall(r'"event": "(\w+)"', texts)) | {
        "tun_queue_full",
        "reload",
        "change",
        "prefix",
        "addresses",
        "flush",
    }
    assert named == EVENTS.keys()
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    assert [f"| `{name}` | {help_} |" for name, help_ in EVENTS.items()] == re.findall(
        r"^\| `\w+` \| .* \|$", page, re.MULTILINE
    )


def test_what_has_happened_can_be_asked_for(path, gateway, log):
    happen(log, 1, 2, 3)
    assert [line.split(maxsplit=3)[3] for line in run("events", "--socket", path).stdout.splitlines()] == [
        "ready           Number 1",
        "ready           Number 2",
        "ready           Number 3",
    ]
    assert numbers(run("events", "--since", "1", "--json", "--socket", path).stdout) == [2, 3]
    assert ask(path, "GET", "/v1/events?since=-1")[0] == 400
    assert ask(path, "GET", "/v1/events?follow=1")[0] == 400


class Follower:
    """A client that follows."""

    def __init__(self, path: str, query: str = "follow=true") -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(10)
        self.connection.connect(path)
        self.connection.sendall(f"GET /v1/events?{query} HTTP/1.1\r\nHost: nat64d\r\n\r\n".encode())

    def answer(self) -> http.client.HTTPResponse:
        response = http.client.HTTPResponse(self.connection)
        response.begin()
        return response


@pytest.fixture
def follow(path: str) -> Iterator[Callable[..., Follower]]:
    """A client that follows, with this query; its connection is closed in the end."""
    with ExitStack() as ends:

        def begin(query: str = "follow=true") -> Follower:
            follower = Follower(path, query)
            ends.callback(follower.connection.close)
            return follower

        yield begin


def test_a_reader_gets_what_happens_as_it_happens(follow, log):
    happen(log, 1)
    follower = follow("follow=true&since=0&limit=4")
    answer = follower.answer()
    assert numbers(answer.readline()) == [1]
    for number in (2, 3, 4):
        happen(log, number)
        assert numbers(answer.readline()) == [number]
    assert answer.read() == b""


def test_without_since_a_reader_gets_those_to_come(follow, log):
    happen(log, 1)
    follower = follow()
    answer = follower.answer()
    happen(log, 2)
    assert numbers(answer.readline()) == [2]


def test_events_come_from_any_thread(follow, log):
    follower = follow("follow=true&limit=200")
    answer = follower.answer()
    threads = [threading.Thread(target=happen, args=(log, *range(50))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert numbers(answer.read()) == list(range(1, 201))
    for thread in threads:
        thread.join()


def test_a_reader_that_does_not_read_is_cut_off_and_others_are_served(follow, log, monkeypatch, caplog):
    monkeypatch.setattr(event_stream, "PATIENCE", 0.05)
    caplog.set_level(logging.INFO)
    idle, busy = follow(), follow()
    idle.answer()
    answer = busy.answer()
    number = 0
    while "has taken nothing for 0.05 s and is cut off" not in caplog.text:
        number += 1
        assert number < 5000
        log.info("x" * LONGEST, extra={"event": "ready"})
        assert numbers(answer.readline()) == [number]
    happen(log, 1)
    assert numbers(answer.readline()) == [number + 1]


def test_no_more_than_a_few_can_follow_and_one_that_leaves_makes_room(path, follow, monkeypatch):
    monkeypatch.setattr(event_stream, "FOLLOWERS", 2)
    followers = [follow(), follow()]
    for follower in followers:
        assert follower.answer().status == 200
    status, _, answer = ask(path, "GET", "/v1/events?follow=true")
    assert (status, answer) == (429, {"error": "2 others follow the events already, and no more can"})
    followers[0].connection.close()
    while (another := follow()).answer().status != 200:
        another.connection.close()
        time.sleep(0.02)


def test_the_daemon_can_stop_while_somebody_follows(gateway, tmp_path):
    with serving(gateway, tmp_path / "api.sock"):
        follower = Follower(str(tmp_path / "api.sock"))
        follower.answer()
    assert follower.connection.recv(1) == b""
    follower.connection.close()


def test_an_event_wakes_a_loop_that_is_closed_no_more(log):
    events = Events()
    log.addHandler(events)

    async def left() -> None:
        events.woken().__enter__()

    asyncio.run(left())
    happen(log, 1)
    assert events.newest() == 1


# The level of the log.


@pytest.fixture
def root() -> Iterator[None]:
    """The handlers of the root logger are afterwards those of before."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers.clear()
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])


def test_the_level_is_what_is_written_and_events_are_kept_whatever_it_is(root, capsys):
    daemon_log, log = DaemonLog(), logging.getLogger("nat64d")
    daemon_log.set_up(loads(BASE + '[log]\nlevel = "error"'))
    happen(log, 1)
    log.warning("a warning")
    assert capsys.readouterr().err == ""
    assert daemon_log.change_level("debug") == "error"
    log.debug("in detail")
    written = [line.split(maxsplit=3)[2:] for line in capsys.readouterr().err.splitlines()]
    assert written == [["WARNING", "The log is written from level debug on"], ["DEBUG", "in detail"]]
    assert [row["event"] for row in daemon_log.events.after(0)] == ["ready", "log_level"]
    daemon_log.set_up(loads(BASE + '[log]\nformat = "json"'))
    assert daemon_log.level == "info"
    happen(log, 2)
    log.debug("in detail")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "ready"
    assert len(daemon_log.events.after(0)) == 3


def test_entries_of_the_log_of_sessions_are_no_events(root, capsys):
    daemon_log = DaemonLog()
    daemon_log.set_up(loads(BASE + '[log]\nlevel = "warning"'))
    happen(logging.getLogger("nat64d"), 1)
    lines.DaemonLog().write([*entries_of(entry(Kind.SESSION_CREATED), 0)] * KEPT, Moment(0, 0.0))
    assert [row["event"] for row in daemon_log.events.after(0)] == ["ready"]
    assert daemon_log.events.counts.keys() == EVENTS.keys()
    assert capsys.readouterr().err == ""


def test_the_level_is_changed_by_the_api(path, gateway):
    assert run("log", "debug", "--socket", path).stdout == "debug (was info)\n"
    assert gateway.level == "debug"
    for body in (b"", b"{}", b'"debug"', b'{"level": "loud"}', b'{"level": ["info"]}', b'{"level": "info", "x": 1}'):
        assert ask(path, "PUT", "/v1/log", body)[0] == 400
    assert run("log", "loud", "--socket", path).exit_code == 2
    assert gateway.level == "debug"
    assert get_args(Level) == get_args(Log.model_fields["level"].annotation)
