"""nat64d/dataplane/bpf/left.py, and what Fast does with it: of a process before, sessions and the program go on."""

import errno
import logging
import os
from dataclasses import replace

import pytest

from nat64d.config.load import loads
from nat64d.config.settings import settings_of, tables_of
from nat64d.dataplane.bpf import fast, left, system
from nat64d.dataplane.bpf.attach import Attached
from nat64d.dataplane.bpf.fast import SPARE, Fast
from nat64d.dataplane.bpf.left import PROGRAM, SESSIONS, Left, about, identity
from nat64d.dataplane.bpf.maps import Maps
from nat64d.dataplane.worker import Queue
from nat64d.gateway.left import give_up_fastpath
from nat64d.host.errors import HostError
from tests.established import CONFIGS
from tests.nat64d.hosts import fixtures
from tests.nat64d.test_bpf import END, NOTHING, permitted
from translator.tables.layout import SESSION
from translator.tables.tables import NEVER_USED, Tables
from translator.tables.tables import SESSIONS as KIND

namespace, *_ = fixtures()

CONFIG = loads(CONFIGS["well-known"] + "[limits]\nsessions = 64\n")
SETTINGS = settings_of(CONFIG, bytes(16))
LO = 1
STAYS = "The fast path of an earlier process cannot be taken away: .*Run 'ip link delete lo'"
LOG = logging.getLogger("nat64d")


def tables_in_a_map() -> tuple[Maps, Tables]:
    """Tables of which sessions 3 and 5 of 64 live."""
    maps = Maps()
    tables = permitted(lambda: maps.share(tables_of(CONFIG, SETTINGS)))
    for row in (3, 5):
        tables.sessions[row].live, tables.sessions[row].host4_port = 1, row
    return maps, tables


def program_at(interface: int = LO) -> Attached:
    program = permitted(lambda: system.load(NOTHING + END))
    attached = Attached(program, interface)
    os.close(program)
    return attached


def test_the_records_are_those_of_the_map_with_that_number():
    maps, tables = tables_in_a_map()
    fd = os.dup(maps.fds["sessions"])
    number, there = identity(fd), Left([fd])
    maps.close()
    copied = there.records(number, len(tables.sessions))
    assert copied["host4_port"].tolist() == [3, 5]
    copied["host4_port"] = 7
    assert tables.sessions[3].host4_port == 3
    assert there.records(number + 1, len(tables.sessions)) is None
    assert there.records(number, len(tables.sessions) + 1) is None
    assert Left().records(0, len(tables.sessions)) is None
    there.drop()
    assert not there
    assert about(fd) == {}


def test_a_program_is_taken_away_whoever_else_has_it(namespace):
    attached = program_at()
    kept = os.dup(attached.links[0])
    attached.leave()
    there = Left([os.dup(kept)])
    assert (there.stands_at(LO), there.stands_at(LO + 1)) == (True, False)
    there.drop()
    assert about(kept)["ifindex"] == "0"
    Left([kept]).drop()  # whose device is gone, or that was taken away, is nothing to the kernel any more


def test_a_program_that_the_process_ends_is_taken_away_from_who_keeps_it(namespace):
    attached = program_at()
    kept = os.dup(attached.links[0])
    attached.close()
    assert about(kept)["ifindex"] == "0"
    os.close(kept)


class Kept(dict[str, list[int]]):
    """What was kept last, by its name."""

    where = why = None

    def keep(self, fds: list[int], name: str) -> None:
        self[name] = list(fds)


def begun(there: Left, monkeypatch, is_kept: bool = True) -> tuple[Fast, Tables, bool]:
    """A fast path whose program passes all, in the place of what is there; whether it has succeeded it."""
    monkeypatch.setattr(fast, "is_kept", lambda: is_kept)
    monkeypatch.setattr(fast, "kept_object", lambda: b"")
    monkeypatch.setattr(fast, "link", lambda *_: NOTHING + END)
    path = Fast("on", "lo", LOG, there)
    tables = path.take_in(tables_of(CONFIG, SETTINGS))
    path.hear([Queue(0, -1, coalesces=False)])
    tables.free[KIND, NEVER_USED] = 2
    return path, tables, path.succeed(SETTINGS, tables)


def test_the_next_program_takes_the_place_of_the_one_before(namespace, monkeypatch):
    clock, before, kept = [1000], program_at(), Kept()
    monkeypatch.setattr(left, "now", lambda: clock[0])
    there, old = Left([os.dup(before.links[0])], kept), os.dup(before.links[0])
    before.leave()
    there.records(0, 0)
    clock[0] += 70
    path, tables, succeeded = begun(there, monkeypatch)
    assert (succeeded, path.is_on, about(old)["ifindex"]) == (True, True, "0")
    assert tables.sessions["expires"][:3].tolist() == [70 + SPARE, 70 + SPARE, 0]
    assert [about(fd)["ifindex"] for fd in kept[PROGRAM]] == [str(LO)]
    assert [identity(fd) for fd in kept[SESSIONS]] == [path.memory]
    goes_on = os.dup(kept[PROGRAM][0])
    path.close(True)
    assert about(goes_on)["ifindex"] == str(LO)
    assert len(kept[PROGRAM]) == 1
    other, _, _ = begun(Left([goes_on], kept), monkeypatch)
    other.close()
    assert kept == {SESSIONS: [], PROGRAM: []}
    os.close(old)


def test_a_program_that_has_to_be_built_first_is_not_waited_for(namespace, monkeypatch):
    before = program_at()
    old = os.dup(before.links[0])
    path, tables, succeeded = begun(Left([os.dup(old)]), monkeypatch, is_kept=False)
    assert (succeeded, path.is_on, about(old)["ifindex"]) == (False, False, "0")
    path.begin(SETTINGS, tables)
    assert path.is_on
    path.close()
    os.close(old)


def test_a_daemon_that_ends_before_it_serves_takes_the_program_away(namespace, monkeypatch):
    before = program_at()
    old = os.dup(before.links[0])
    before.leave()
    Fast("auto", "lo", LOG, Left([os.dup(old)])).close()
    assert about(old)["ifindex"] == "0"
    os.close(old)


def test_where_there_is_no_program_nothing_gets_more_time(namespace, monkeypatch):
    path, tables, succeeded = begun(Left(), monkeypatch)
    assert not succeeded
    assert not tables.sessions["expires"].any()
    path.close()


def test_a_program_that_stays_is_a_reason_not_to_start(monkeypatch):
    monkeypatch.setattr(left, "about", lambda _: {"ifindex": str(LO)})
    monkeypatch.setattr(system, "detach", refused)
    tables = tables_of(CONFIG, SETTINGS)
    with pytest.raises(HostError, match=STAYS):
        give_up_fastpath(Left([-1]), tables)
    path = Fast("auto", "lo", LOG, Left([-1]))
    with pytest.raises(HostError, match=STAYS):
        path.begin(replace(SETTINGS, clat=1), tables)


def refused(_: int) -> None:
    raise system.SystemCallError(errno.EPERM, "Operation not permitted")


def test_a_daemon_without_a_fast_path_has_nobody_keep_one(namespace):
    old, keeper = program_at(), Kept()
    link, tables = os.dup(old.links[0]), tables_of(CONFIG, SETTINGS)
    give_up_fastpath(Left([os.dup(link)], keeper), tables)
    assert keeper == {SESSIONS: [], PROGRAM: []}
    assert about(link)["ifindex"] == "0"
    os.close(link)


def test_a_record_has_the_size_that_is_asked_for():
    fd = permitted(lambda: system.create_map("x", SESSION.itemsize // 2, 64, flags=system.MMAPABLE))
    assert Left([fd]).records(identity(fd), 64) is None
    os.close(fd)
