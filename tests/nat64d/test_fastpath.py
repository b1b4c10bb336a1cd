"""nat64d/dataplane/bpf/fast.py: on where it can be, and one sentence where it cannot."""

import errno
import fcntl
import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nat64d.config.load import loads
from nat64d.config.settings import settings_of, tables_of
from nat64d.control.filters import Filters
from nat64d.dataplane.bpf import fast, system
from nat64d.dataplane.bpf.fast import Fast
from nat64d.dataplane.bpf.kept import BuildError
from nat64d.dataplane.code import COMPILED_CODE
from nat64d.dataplane.worker import Queue
from nat64d.gateway import state_file
from nat64d.gateway.state import Live
from nat64d.gateway.state_file import take_up
from nat64d.host.errors import HostError
from tests.case import BEGIN
from tests.engines import Engines
from tests.established import CONFIGS
from tests.listed import rows_of
from tests.sessions import Sessions
from translator.fastpath.reasons import Reason
from translator.tables.gateway import Gateway
from translator.tables.layout import SESSION, records
from translator.tables.tables import NEVER_USED, SESSIONS
from translator.verdict import Direction, Verdict

CONFIG = CONFIGS["well-known"] + "[limits]\nsessions = 64\n"
REFUSED = "bpf(2) is refused (Operation not permitted): it takes CAP_BPF and CAP_NET_ADMIN, which "
REFUSED += "config/systemd/fastpath.conf gives to the service"


class Plain(fast.Maps):
    """Maps that are memory as any other."""

    def array(self, name, like):
        self.fds[name] = -1
        return np.zeros_like(like)

    def fill(self, settings, sessions):
        """Nobody looks at the others."""

    def counted(self):
        return np.arange(3 * len(Reason)).reshape(-1, 3)

    def close(self):
        self.fds.clear()


@pytest.fixture
def kernel(monkeypatch):
    """A kernel that lets everybody in; (what was attached, what was closed)."""
    attached, closed = [], []
    monkeypatch.setattr(fast, "Maps", Plain)
    monkeypatch.setattr(fast, "kept_object", lambda: b"")
    monkeypatch.setattr(fast, "link", lambda *_: b"code")
    monkeypatch.setattr(system, "possible_cpus", lambda: 2)
    monkeypatch.setattr(system, "load", lambda _: 1001)
    monkeypatch.setattr(system, "attach", lambda program, index, *_: attached.append((program, index)) or 1002)
    monkeypatch.setattr(fast.os, "close", closed.append)
    return attached, closed


def gateway(text=CONFIG):
    config = loads(text)
    settings = settings_of(config, bytes(16))
    return settings, tables_of(config, settings)


def begun(mode="auto", text=CONFIG):
    settings, tables = gateway(text)
    path, moved = taken_in(mode, tables)
    path.begin(settings, moved)
    return path


def taken_in(mode, tables):
    path = Fast(mode, "lo", logging.getLogger("nat64d"))
    moved = path.take_in(tables)
    path.hear([Queue(0, -1, coalesces=False)])
    return path, moved


def test_it_is_on_while_the_queues_are_served(kernel, caplog):
    caplog.set_level(logging.INFO)
    attached, closed = kernel
    path = begun()
    assert (path.status()["state"], path.status()["attached"]) == ("on", "tcx")
    assert path.status()["packets"]["not_ip"] == 6
    assert attached == [(1001, 1)]
    path.end()
    path.end()
    assert closed == [1001, 1002]
    assert path.status()["why"] == "the queues are not served"
    assert caplog.messages == ["Packets of established flows are translated in the kernel"]
    path.close()


def test_tables_are_taken_in_once_and_those_of_a_reload_beside_them(kernel):
    _, tables = gateway()
    tables.sessions[1].mapped4 = 9
    path = Fast("auto", "lo", logging.getLogger("nat64d"))
    moved = path.take_in(tables)
    assert moved.sessions[1].mapped4 == 9
    assert moved.sessions is not tables.sessions
    assert path.take_in(moved) is moved
    reloaded = path.take_in(replace(moved, sessions6=np.ones_like(moved.sessions6)))
    assert reloaded.sessions is moved.sessions
    assert reloaded.sessions6.all()
    assert path.take_in(reloaded) is reloaded


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_a_kernel_that_gives_no_memory(kernel, monkeypatch, caplog, mode):
    def refused(*_):
        raise system.SystemCallError(errno.EPERM, "Operation not permitted")

    caplog.set_level(logging.INFO)
    monkeypatch.setattr(Plain, "array", refused)
    settings, tables = gateway()
    path = Fast(mode, "lo", logging.getLogger("nat64d"))
    if mode == "on":
        with pytest.raises(HostError, match="no memory that the kernel shares: bpf"):
            path.take_in(tables)
        return
    assert path.take_in(tables) is tables
    path.begin(settings, tables)
    assert path.status() | {"packets": {}} == {
        "mode": "auto",
        "state": "off",
        "why": f"no memory that the kernel shares: {REFUSED}",
        "attached": None,
        "kept": None,
        "not_kept": None,
        "interfaces": [],
        "packets": {},
    }
    assert caplog.messages == [f"No fast path in the kernel: no memory that the kernel shares: {REFUSED}"]


def refusing(error, said=""):
    """A step that fails."""
    error.said = said

    def step(*_):
        raise error

    return step


@pytest.mark.parametrize(
    ("step", "error", "said", "why"),
    [
        ("load", system.SystemCallError(errno.EPERM, ""), "", REFUSED),
        ("load", system.SystemCallError(errno.EACCES, ""), "a\nR1 bad", "Permission denied; the verifier: R1 bad"),
        ("attach", system.SystemCallError(errno.ENODEV, ""), "", "No such device"),
        ("kept_object", BuildError("no LLVM"), "", "no LLVM"),
    ],
)
def test_what_goes_wrong_is_said(kernel, monkeypatch, step, error, said, why):
    monkeypatch.setattr(fast if step == "kept_object" else system, step, refusing(error, said))
    assert begun().why == why
    with pytest.raises(
        HostError, match=r'^There is no fast path, which \[fastpath\] mode = "on" demands \("auto" starts without\): '
    ):
        begun("on")


def test_a_reload_that_leaves_nothing_to_take_does_not_end_the_daemon(kernel):
    path = begun("on")
    alone = gateway('[[eam]]\nipv4 = "192.0.2.1"\nipv6 = "2001:db8::1"\n')
    path.begin(alone[0], path.take_in(alone[1]))
    assert path.status()["state"] == "off"
    assert "there is no pool6" in path.status()["why"]


def test_the_workers_of_all_queues_are_heard(kernel, monkeypatch):
    numbers, queues = [], [Queue(number, -1, coalesces=False) for number in range(3)]
    monkeypatch.setattr(fast, "link", lambda *given: numbers.append(given[3]) or b"code")
    settings, tables = gateway()
    path = Fast("on", "lo", logging.getLogger("nat64d"))
    moved = path.take_in(tables)
    for _ in range(2):
        path.hear(queues)
    path.begin(settings, moved)
    assert numbers[0]["queues"] == 3
    rows = queues[0]._scratch.rows
    assert len({id(queue._scratch.rows) for queue in queues}) == 1
    for number, queue in enumerate(queues):
        queue._scratch.drained[0] = number + 1
    assert rows[:, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_a_kernel_that_gives_no_memory_for_the_workers(kernel, monkeypatch, mode):
    def step():
        _, tables = gateway()
        path = Fast(mode, "lo", logging.getLogger("nat64d"))
        moved = path.take_in(tables)
        monkeypatch.setattr(Plain, "array", refusing(system.SystemCallError(errno.ENOMEM, "")))
        path.hear([Queue(0, -1, coalesces=False)])
        path.begin(gateway()[0], moved)
        return path.why

    if mode == "on":
        with pytest.raises(HostError, match="no memory that the kernel shares: Cannot allocate memory"):
            step()
    else:
        assert step() == "no memory that the kernel shares: Cannot allocate memory"


def test_other_settings_are_those_of_the_program_too(kernel):
    attached, closed = kernel
    live = Live(loads(CONFIG))
    live.fast = Fast("on", "lo", logging.getLogger("nat64d"))
    live.settings, live.tables = gateway()
    live.serve()
    live.exchange(live.config, replace(live.settings, mtu4=1300))
    assert (len(attached), closed) == (2, [1001, 1002, 1001])
    assert live.fast.is_on


def test_the_kernel_goes_on_if_the_next_process_does_but_not_while_tables_change(kernel):
    live = Live(loads(CONFIG))
    live.fast = Fast("on", "lo", logging.getLogger("nat64d"))
    live.settings, live.tables = gateway()
    live.serve()
    live.is_started_again = True
    live.stand_still()
    assert live.fast.is_on
    with live.paused():
        assert not live.fast.is_on
    assert live.fast.is_on
    live.is_started_again = False
    live.stand_still()
    assert not live.fast.is_on


def test_where_there_are_no_sessions(kernel):
    assert begun(text='pool6 = "64:ff9b::/96"\n[[eam]]\nipv4 = "192.0.2.1"\nipv6 = "2001:db8::1"\n').is_on


def test_records_go_back_to_where_they_are_kept(kernel):
    _, tables = gateway()
    path = Fast("auto", "lo", logging.getLogger("nat64d"))
    moved = path.take_in(tables)
    moved.sessions[0].host4 = 5
    moved.free[SESSIONS, NEVER_USED] = 1
    path.give_back(moved, tables.sessions)
    assert tables.sessions[0].host4 == 5


class Run:
    """A run of the daemon that keeps sessions in [state] file, and has its tables in maps while it serves."""

    def __init__(self, path: Path, elsewhere=lambda *_: None) -> None:
        limits = {"sessions": 64, "port_block": 8}
        self.nat64 = Sessions(pool4=[{"addresses": "192.0.2.1"}], limits=limits, state={"file": str(path)})
        config, engines = self.nat64.config, Engines(self.nat64.config, os.urandom(16))
        self.live = Live(config)
        tables, file = take_up(config, engines.settings, engines.tables(), lambda _: COMPILED_CODE, elsewhere)
        self.found = self.live.use_state_file(file)
        self.live.settings, self.live.tables, self.live.state = engines.settings, tables, "ready"
        self.live.fast = Fast("auto", "lo", logging.getLogger("nat64d"))
        self.live.serve()
        self.nat64.gateway = Gateway(engines.predictable, self.live.tables, self.nat64.worker)

    def ports(self) -> list[int]:
        """The ports of the IPv6 hosts that have sessions."""
        return sorted(row["host6_port"] for row in rows_of(self.live.sessions(Filters())))

    def blocks(self) -> int:
        """How many blocks of ports there are."""
        return int(np.count_nonzero(self.live.tables.blocks["live"]))

    def kill(self) -> None:
        """End as a killed process does: the kernel closes the file."""
        fcntl.flock(self.live.state_file._fd, fcntl.LOCK_UN)
        os.close(self.live.state_file._fd)


@pytest.fixture
def moved(monkeypatch):
    """Tables can be moved, and nobody looks at them there; the moment at which the tests' packets begin."""
    monkeypatch.setattr(fast, "Maps", Plain)
    monkeypatch.setattr(fast, "refusal", lambda _: "no program")
    monkeypatch.setattr(state_file, "now", lambda: round(BEGIN * 1000))


MAP = 77  # the number of the map


class KilledError(Exception):
    """The process is killed."""


def test_a_kill_leaves_the_sessions_that_are_in_memory_that_was_left(moved, tmp_path, monkeypatch):
    monkeypatch.setattr(fast, "identity", lambda _: MAP)
    first, asked = Run(tmp_path / "state"), []
    for port in (5000, 5001):
        first.nat64.opened("udp", port)
    first.kill()
    rows = first.live.tables.sessions.copy()

    def elsewhere(number, count):
        asked.append((number, count))
        return rows.copy() if number == MAP else None

    def killed(file):
        fcntl.flock(file._fd, fcntl.LOCK_UN)
        os.close(file._fd)
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(state_file.StateFile, "taken", killed)
        with pytest.raises(KilledError):
            Run(tmp_path / "state", elsewhere)
    second = Run(tmp_path / "state", elsewhere)
    assert asked == [(MAP, 64), (MAP, 64)]
    assert (second.found, second.ports(), second.blocks()) == (True, [5000, 5001], 1)
    second.nat64.opened("udp", 5002)
    second.live.close_state_file()
    third = Run(tmp_path / "state")  # a stop has them in the file as well
    assert third.ports() == [5000, 5001, 5002]
    third.kill()
    assert Run(tmp_path / "state").ports() == []


def test_where_sessions_are_elsewhere_those_of_the_file_count_no_more(moved, tmp_path):
    first = Run(tmp_path / "state")
    first.nat64.opened("udp", 5000)
    first.live.close_state_file()
    config, tables = first.nat64.config, Engines(first.nat64.config, bytes(16)).tables()
    file = state_file.StateFile(config, tables, lambda _, count: records(count, SESSION))
    assert file.living == 0
    assert not file.tables["sessions"]["live"].any()
    file.close()


def test_a_kill_leaves_no_session_that_a_start_or_a_stop_had_left(moved, tmp_path):
    first = Run(tmp_path / "state")
    assert not first.found
    for port in (5000, 5001):
        first.nat64.opened("udp", port)
    first.live.close_state_file()
    second = Run(tmp_path / "state")
    assert (second.found, second.ports()) == (True, [5000, 5001])
    second.nat64.opened("udp", 5002)
    second.kill()
    third = Run(tmp_path / "state")
    assert (third.found, third.ports(), third.blocks()) == (False, [], 1)  # the blocks are not in maps
    third.nat64.opened("udp", 5003)
    third.live.close_state_file()
    assert Run(tmp_path / "state").ports() == [5003]


def test_where_the_kernel_gives_no_memory_a_kill_leaves_all_sessions(moved, tmp_path, monkeypatch):
    monkeypatch.setattr(Plain, "array", refusing(system.SystemCallError(errno.EPERM, "")))
    first = Run(tmp_path / "state")
    first.nat64.opened("udp", 5000)
    first.kill()
    second = Run(tmp_path / "state")
    assert (second.found, second.ports()) == (True, [5000])
    second.live.close_state_file()
    assert Run(tmp_path / "state").ports() == [5000]


def test_packets_of_both_ways_are_summed(kernel):
    live = Live(loads(CONFIG))
    live.fast = begun()
    rows = {(row["direction"], row["verdict"]): row for row in live.counters()}
    ours = [rows[direction.label, Verdict.TRANSLATED.name.lower()] for direction in Direction]
    summed = live.fast.summed()
    assert [row["packets"] for row in ours] == summed.counters[:, Verdict.TRANSLATED].tolist()
    assert sorted(row["octets"] for row in ours) == [1, 4]
    assert summed.superframes == 2 + 5
    events = {row["event"]: row["count"] for row in live.events()}
    assert events["superframes"] == 7
    assert live.status()["fastpath"]["state"] == "on"
