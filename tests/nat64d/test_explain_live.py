"""`nat64d explain --live`: the steps on a copy of the running gateway's tables, and nothing of the gateway changed."""

import ctypes
import os
import resource
import subprocess
import threading
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from nat64d.config.load import loads
from nat64d.config.settings import settings_of, tables_of
from nat64d.control.rows import BusyError, ExplanationError, NoPacketError, NotReadyError
from nat64d.dataplane import snapshot as snapshots
from nat64d.dataplane.snapshot import BLOCK, Snapshot, SnapshotError, snapshot
from nat64d.dataplane.worker import Queue, now
from nat64d.explain import live as rehearsal
from nat64d.explain.packet_text import packets
from nat64d.gateway.state import Live
from nat64d.offline.engine import Engine
from tests.conftest import IN_PLAIN_PYTHON
from tests.scenarios import STANDARD
from translator.tables.gateway import Gateway
from translator.tables.tables import Tables
from translator.verdict import Verdict

SMALL = "[limits]\nsessions = 4096\n"
OUT = "2001:db8::1 > 64:ff9b::192.0.2.1 udp 5000 53"
SYN = "2001:db8::1 > 64:ff9b::192.0.2.1 tcp 5000 80"
SYN_ACK = "192.0.2.1 > 203.0.113.1 tcp 80 40000 flags SA"


def octets(text: str) -> bytes:
    return packets(text)[-1][1]


def freeze_uncompiled(tables: Tables, copies: np.ndarray, fd: int, *_: np.ndarray) -> tuple[int, int]:
    """What `freeze` does, where no other thread has to be kept away; the compiled one cannot be called there."""
    for address, size, place in copies.tolist():
        os.pwrite(fd, ctypes.string_at(address, size), place)
    return os.posix_spawn("/bin/true", ["true"], {}), now()


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "PATIENCE", 300.0)  # a busy machine is not the fault that is meant
    if IN_PLAIN_PYTHON:
        monkeypatch.setattr(snapshots, "freeze", freeze_uncompiled)


@pytest.fixture
def live() -> Live:
    """A gateway that is ready, but for its threads."""
    return gateway(SMALL)


def gateway(limits: str) -> Live:
    """The same with a section of limits."""
    live = Live(loads(STANDARD + limits, "test"))
    live.settings = settings_of(live.config, bytes(range(16)))
    live.tables = tables_of(live.config, live.settings)
    live.queues = [Queue(0, -1, coalesces=False)]
    live.state = "ready"
    return live


def engine(live: Live) -> Engine:
    """Something that lets packets through the gateway."""
    assert live.settings is not None
    assert live.tables is not None
    return Engine.of(Gateway(live.settings, live.tables, live.queues[0].worker))


def everything(live: Live) -> dict[str, bytes]:
    """All that a packet could change."""
    parts = (live.tables, live.queues[0].worker)
    return {
        f.name: getattr(p, f.name).tobytes() for p in parts for f in fields(p) if f.name not in ("number", "answer")
    }


def found(document: Any, step: str) -> str:
    return "\n".join(line for one in document["steps"] if one["step"] == step for line in one["found"])


def test_a_session_is_told_with_its_state_and_the_time_it_has(live):
    sender, begun = engine(live), now() - 100_000
    for text in (SYN, SYN_ACK):
        assert sender.translate(octets(text), begun).verdict == Verdict.TRANSLATED
    before = everything(live)
    explained = live.explain(octets(SYN_ACK))
    assert everything(live) == before
    assert found(explained, "incoming tuple") == "192.0.2.1:80 > 203.0.113.1:40000 TCP"
    table = found(explained, "filter, update")
    assert table.startswith("BIB entry [2001:db8::1]:5000 <> 203.0.113.1:40000, pool4 203.0.113.1 ports 40000-40000\n")
    assert "session with 192.0.2.1:80, ESTABLISHED; expires in 7440 s (TCP_EST) instead of 73" in table
    assert (explained["verdict"], explained["direction"]) == ("translated", "4to6")


def test_a_packet_that_would_open_a_session_opens_none(live):
    before = everything(live)
    explained = live.explain(octets(OUT))
    assert "new BIB entry [2001:db8::1]:5000 <> 203.0.113.1:40000" in found(explained, "filter, update")
    assert everything(live) == before
    identification = explained["outputs"][0][8:12]
    assert engine(live).translate(octets(OUT), now()).packets[0][4:6].hex() == identification


def test_the_clock_is_the_data_planes(live):
    engine(live).translate(octets(OUT), now() - 301_000)
    assert found(live.explain(octets("192.0.2.1 > 203.0.113.1 udp 53 40000")), "verdict").startswith("no_bib_entry: ")


def test_a_copy_is_the_tables_and_nobody_elses(live):
    engine(live).translate(octets(OUT), now())
    tables = live.tables
    before = {field.name: getattr(tables, field.name).tobytes() for field in fields(tables)}
    with snapshot(tables) as copy:
        first, second = copy.tables(), copy.tables()
        for name, contents in before.items():
            array, same = getattr(tables, name), getattr(first, name)
            assert (same.dtype, same.shape, type(same)) == (array.dtype, array.shape, type(array))
            assert name == "lock" or same.tobytes() == contents
        first.sessions[0].expires = 7
        assert second.sessions[0].expires == tables.sessions[0].expires != 7
        assert (first.lock[0], tables.lock[0]) == (0, 0)
        assert abs(copy.now - now()) < 10_000
    assert {name: getattr(tables, name).tobytes() for name in before} == before


@pytest.mark.skipif(IN_PLAIN_PYTHON, reason="the copy is made by compiled code")
def test_what_was_never_used_takes_no_memory():
    with snapshot(gateway("").tables) as copy:
        assert copy.size > 100 << 20
        assert os.fstat(copy.fd).st_blocks * 512 < 100 * BLOCK


@pytest.mark.skipif(IN_PLAIN_PYTHON, reason="the copy is made by compiled code")
def test_no_memory_for_a_copy_is_one_sentence(live, monkeypatch):
    monkeypatch.setattr(snapshots, "_file", lambda _: os.open("/dev/full", os.O_WRONLY))
    with pytest.raises(ExplanationError, match=r"^no memory for a copy of the tables$"):
        live.explain(octets(OUT))


def test_no_file_for_a_copy_is_one_sentence(live):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limit[1]))
    try:
        with pytest.raises(ExplanationError, match=r"^no file for a copy of the tables: File too large$"):
            live.explain(octets(OUT))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_a_process_that_cannot_be_made_is_no_memory(live, monkeypatch):
    monkeypatch.setattr(snapshots, "freeze", lambda *_: (-1, 0))
    with pytest.raises(ExplanationError, match=r"^no memory for a copy of the tables$"):
        live.explain(octets(OUT))
    snapshots.warm_up(live.tables)


def test_a_copy_that_takes_too_long_is_given_up(live, monkeypatch):
    monkeypatch.setattr(snapshots, "freeze", lambda *_: (os.posix_spawn("/bin/sleep", ["sleep", "60"], {}), 0))
    monkeypatch.setattr(snapshots, "PATIENCE", 0.05)
    with pytest.raises(SnapshotError, match=r"^no copy of the tables within 0\.05 s$"), snapshot(live.tables):
        pass


def test_an_explanation_that_takes_too_long_is_given_up(live, monkeypatch):
    monkeypatch.setattr(rehearsal, "PATIENCE", 0.01)
    with pytest.raises(ExplanationError, match=r"^no explanation within 0\.01 s$"):
        live.explain(octets(OUT))


def test_a_fault_of_the_process_is_one_sentence(live, monkeypatch):
    monkeypatch.setattr(Snapshot, "__reduce__", lambda _: (int, ("x",)))
    with pytest.raises(
        ExplanationError, match=r"^no explanation: the process that makes it failed \(ValueError: inv.*\)$"
    ):
        live.explain(octets(OUT))


def test_one_packet_is_explained_at_a_time(live, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> dict[str, Any]:
        begun.set()
        assert go_on.wait(10)
        return {}

    monkeypatch.setattr("nat64d.gateway.state.rehearse", slow)
    first = threading.Thread(target=live.explain, args=(b"",))
    first.start()
    assert begun.wait(10)
    with pytest.raises(BusyError, match=r"^another explain request is running"):
        live.explain(b"")
    go_on.set()
    first.join(10)
    assert live.explain(b"") == {}


def test_before_it_is_ready_nothing_is_explained(live):
    live.state = "compiling"
    with pytest.raises(NotReadyError):
        live.explain(octets(OUT))


def test_the_process_finds_the_package_wherever_it_is_called(live, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "nat64d.py").write_text("raise SystemExit(1)", "utf-8")
    (tmp_path / "json.py").write_text("raise SystemExit(1)", "utf-8")
    assert live.explain(octets(OUT))["verdict"] == "translated"


def test_a_disagreement_is_told(live, monkeypatch):
    done = subprocess.CompletedProcess([], 1, b"", b"the steps end in x\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(ExplanationError, match=r"^the steps end in x$"):
        live.explain(octets(OUT))


def test_a_packet_in_words_is_the_packet_and_a_file_is_none(live):
    assert live.explain(SYN) == live.explain(octets(SYN))
    with pytest.raises(NoPacketError, match=r"'/etc/passwd:1' is no packet"):
        live.explain("/etc/passwd:1")
