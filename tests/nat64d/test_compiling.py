"""The first start: what is compiled, and what systemd and the operator hear meanwhile."""

import asyncio
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from nat64d.cli.app import app
from nat64d.compiling import beside, entries
from nat64d.compiling.beside import ALONE, Compilers, Part
from nat64d.config.load import load
from nat64d.dataplane.code import COMPILED_CODE
from nat64d.exitcode import ExitCode
from nat64d.gateway import first_start
from nat64d.gateway import run as daemon
from nat64d.gateway.first_start import FirstStart
from nat64d.gateway.state import Live
from translator.jit.compile import COMPILED


class Notes:
    """What systemd is told; at the `enough`th line, `done` is."""

    def __init__(self, done: asyncio.Future, enough: int) -> None:
        self.lines: list[str] = []
        self.done, self.enough = done, enough

    def notify(self, text: str) -> None:
        self.lines += text.splitlines()
        if len(self.lines) >= self.enough:
            self.done.set_result(None)


def told_while_waiting(which: str, enough: int) -> list[str]:
    """What systemd is told until the compiler is done (or the daemon is stopped)."""

    async def wait() -> list[str]:
        futures = {name: asyncio.get_running_loop().create_future() for name in ("preparing", "stopping")}
        live, notes = Live(load(None)), Notes(futures[which], enough)
        live.state = "compiling"
        await daemon._prepared(live, notes, **futures)
        return notes.lines

    return asyncio.run(wait())


def test_systemd_is_asked_for_more_time_as_long_as_the_compiler_works(monkeypatch):
    monkeypatch.setattr(daemon, "EXTEND_EVERY", 0)
    assert told_while_waiting("preparing", 6) == ["STATUS=compiling", "EXTEND_TIMEOUT_USEC=60000000"] * 3


def test_a_stop_ends_the_waiting(monkeypatch):
    monkeypatch.setattr(daemon, "EXTEND_EVERY", 0)
    assert told_while_waiting("stopping", 2) == ["STATUS=compiling", "EXTEND_TIMEOUT_USEC=60000000"]


def test_where_the_compiler_is_switched_off_there_is_nothing_to_compile(monkeypatch, caplog):
    monkeypatch.setattr(entries, "COMPILED", False)
    assert CliRunner().invoke(app, ["compile"]).exit_code == ExitCode.USAGE
    assert caplog.messages == ["nat64d: NUMBA_DISABLE_JIT is set, so there is nothing to compile"]


def other_process() -> subprocess.Popen:
    """A process that compiles, or loads, beside another one (beside.py)."""
    command = [sys.executable, "-m", "nat64d.compiling.entries", Part.OFFLINE, ALONE]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


@pytest.mark.skipif(not COMPILED, reason="nothing is compiled in plain Python")
def test_the_other_process_ends_well_while_the_first_still_works():
    with other_process() as child:
        assert child.wait(300) == 0


@pytest.mark.skipif(not COMPILED, reason="nothing is compiled in plain Python")
def test_the_other_process_ends_with_the_first():
    with other_process() as child:
        child.stdin.close()
        assert child.wait(300) == 1


@pytest.mark.parametrize(
    ("complete", "kept", "compiles"),
    [(True, 0, True), (True, 20_000, True), (False, 0, False), (False, 10_000, False), (False, 10_001, True)],
)
def test_where_many_sessions_are_kept_the_code_is_compiled_before_packets_pass(monkeypatch, complete, kept, compiles):
    loaded = []
    monkeypatch.setattr(first_start, "COMPILED", True)
    monkeypatch.setattr(first_start, "is_complete", lambda: complete)
    monkeypatch.setattr(FirstStart, "_load", lambda _, part: loaded.append(part))
    live = Live(load(None))
    assert FirstStart(live).prepare(kept) is live.code
    assert (live.code is COMPILED_CODE, bool(loaded)) == (compiles, compiles)


def test_compilers_that_are_killed_before_they_start_do_not_start():
    compilers, told = Compilers(), []
    compilers.kill()
    compilers.run(told.append)
    assert (compilers.used, compilers.wait(), told) == (False, False, [])


@pytest.mark.parametrize(("done", "left"), [(False, [ExitCode.GOOD]), (True, [])])
def test_nobody_waits_for_a_compiler_at_the_end_though_there_were_others(monkeypatch, done, left):
    """A signal to all processes of a terminal or unit has ended them, and this one compiles in their place."""
    codes = []

    async def leave() -> None:
        first = FirstStart(Live(load(None)))
        first._compilers._children = [object()]
        first._work = asyncio.get_running_loop().create_future()
        if done:
            first._work.set_result(None)
        first.leave(ExitCode.GOOD)

    monkeypatch.setattr(first_start.os, "_exit", codes.append)
    monkeypatch.setattr(first_start.logging, "shutdown", lambda: None)
    asyncio.run(leave())
    assert codes == left


def test_what_another_installation_has_compiled_is_to_be_compiled_here(monkeypatch, tmp_path):
    """The cache may have the code of several: a package and a virtual environment, a version and the one before."""
    monkeypatch.setattr(beside.cache, "cache_directory", lambda: tmp_path)
    beside._installation.cache_clear()
    beside.complete()
    assert beside.is_complete()
    (tmp_path / "dataplane").mkdir()
    for text in ("", "other code"):
        (tmp_path / "dataplane" / "loop.py").write_text(text)
        monkeypatch.setattr(beside, "FOLDERS", (tmp_path / "dataplane",))
        beside._installation.cache_clear()
        assert not beside.is_complete()
        beside.complete()
        assert beside.is_complete()
    monkeypatch.undo()
    beside._installation.cache_clear()


def test_the_folders_with_compiled_code_are_known():
    texts = ((file.parent, file.read_text("utf-8")) for file in beside.HERE.rglob("*.py"))
    assert {folder for folder, text in texts if re.search(r"^@(jit|hot|rare)\(", text, re.MULTILINE)} == {
        *beside.FOLDERS
    }
