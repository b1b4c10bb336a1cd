"""[state] file: what it keeps, what it does not, and that nothing that may stand in it does harm."""

import errno
import fcntl
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from nat64d.config.models import Config
from nat64d.control import logs
from nat64d.dataplane.code import COMPILED_CODE, Code
from nat64d.dataplane.plain import plain_code
from nat64d.gateway import state_file
from nat64d.gateway.state import FORGETS, Live
from nat64d.gateway.state_file import StateError, StateFile, take_up, take_up_if_there_is_room
from nat64d.gateway.state_header import FIELDS, PAGE, header_in
from tests import invariants
from tests.case import BEGIN, engines_of
from tests.engines import Engines
from tests.packets import HOST6, OTHER4
from tests.sessions import Sessions
from translator.tables.gateway import Gateway
from translator.tables.layout import SESSION
from translator.tables.tables import Tables
from translator.verdict import Verdict

POOL = {
    "pool4": [{"addresses": "192.0.2.1-192.0.2.2", "ports": "2000-2031"}],
    "forward": [{"protocol": "tcp", "ipv4": "192.0.2.1:2000", "ipv6": f"[{HOST6}]:80"}],
}


class Run:
    """A run of the daemon, as far as the file is concerned."""

    def __init__(self, path: Path, sessions: int = 64, code: Code = COMPILED_CODE, **limits: int) -> None:
        self.nat64 = Sessions(**POOL, limits={"sessions": sessions, **limits}, state={"file": str(path)})
        engines = Engines(self.nat64.config, os.urandom(16))
        tables, self.file = take_up(self.nat64.config, engines.settings, engines.tables(), lambda _: code)
        self.nat64.gateway = Gateway(engines.predictable, tables, self.nat64.worker)
        self.nat64.check_invariants()

    def kill(self) -> None:
        """End as a killed process does: the kernel closes the file."""
        fcntl.flock(self.file._fd, fcntl.LOCK_UN)
        os.close(self.file._fd)


@pytest.fixture
def path() -> Iterator[Path]:
    """In memory: with a busy disk a page that is written to waits for it."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if os.access(shm, os.W_OK) else None) as directory:
        yield Path(directory) / "run" / "state"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The moment at which the tests' packets begin."""
    monkeypatch.setattr(state_file, "now", lambda: round(BEGIN * 1000))
    caplog.set_level(logging.INFO)


def busy(path: Path) -> Run:
    """A run with sessions of all kinds."""
    run = Run(path)
    for port in range(5000, 5010):
        run.nat64.opened("udp", port)
        run.nat64.from4("tcp", run.nat64.opened("tcp", port, (OTHER4, 80)), (OTHER4, 80))
    run.nat64.from4("tcp", ("192.0.2.1", 2000), flags="SYN")
    return run


def test_the_first_start_makes_a_file_that_is_all_there(path, caplog):
    run = Run(path)
    about = path.stat()
    assert about.st_mode & 0o777 == 0o600
    # 65 waiting ports take less than a page, and so do 16 blocks, and 16 clients
    assert about.st_size == PAGE + 64 * SESSION.itemsize + 3 * PAGE
    assert about.st_blocks * 512 >= about.st_size
    assert run.file.before is None
    assert not any(run.file.fates.values())
    assert not caplog.messages


@pytest.mark.parametrize(("end", "over"), [("close", "a stop"), ("kill", "a kill or crash")])
def test_sessions_are_kept(path, caplog, end, over):
    run = busy(path)
    sessions, bib = run.nat64.sessions(), run.nat64.bib()
    getattr(run.file if end == "close" else run, end)()
    again = Run(path)
    assert again.nat64.sessions() == sessions
    assert again.nat64.bib() == bib
    assert caplog.messages == [f"Kept 21 sessions and 0 waiting ports over {over}"]
    assert again.nat64.from4("tcp", again.nat64.mapped("tcp", 5000), (OTHER4, 80), "ACK").verdict == Verdict.TRANSLATED


@pytest.mark.parametrize("sessions", [64, 256])
def test_blocks_of_ports_are_kept_over_a_kill_whether_in_use_or_not(path, sessions):
    run = Run(path, port_block=8)
    run.nat64.opened("udp", 5000)
    run.nat64.wait(301)  # from now on its block waits
    run.nat64.opened("tcp", 5000, host="2001:db8:77::1")
    blocks = owners(run)
    assert sorted(used for _, used in blocks.values()) == [0, 1]
    run.kill()
    assert owners(Run(path, sessions, port_block=8)) == blocks


def test_where_clients_of_services_stay_is_kept_over_a_kill(path):
    run = Run(path)
    rows = run.nat64.tables.affinities
    rows.service[:3], rows.client[:3], rows.key[:3], rows.live[:3] = 7, (1, 2, 3), (4, 5, 6), (1, 2, 0)
    rows.expires[:3] = 1 << 40
    for sessions in (64, 640):
        run.kill()
        run = Run(path, sessions=sessions)
        rows = run.nat64.tables.affinities
        found = rows[rows.live != 0]
        assert sorted((int(row.client), int(row.key), int(row.live)) for row in found) == [(1, 4, 1), (2, 5, 2)]


def owners(run: Run) -> dict[tuple[int, int], tuple[int, int]]:
    """(address, first port) -> (prefix, ports in use) of each block."""
    blocks = run.nat64.tables.blocks
    return {(int(b.mapped4), int(b.first)): (int(b.host6_hi), int(b.ports)) for b in blocks[blocks.live != 0]}


def test_what_a_kept_session_becomes_is_kept_as_well(path):
    for _ in range(3):
        run = Run(path)
        run.nat64.opened("udp", 5000 + len(run.nat64.sessions()))
        run.kill()
    assert len(Run(path).nat64.sessions()) == 3


@pytest.mark.parametrize("size", [32, 100])
def test_a_table_of_another_size(path, caplog, size):
    run = busy(path)
    sessions = run.nat64.sessions()
    run.kill()
    again = Run(path, size)
    assert again.nat64.sessions() == sessions
    assert caplog.messages == ["Kept 21 sessions and 0 waiting ports over a kill or crash, under another configuration"]
    assert path.stat().st_size == header_in(path.read_bytes()).size


def test_what_is_not_kept_is_counted_with_the_reason(path, caplog):
    run = busy(path)
    rows = run.nat64.tables.sessions
    rows.expires[0], rows.mapped4[1], rows.state[2] = 0, 7, 99
    run.kill()
    again = Run(path)
    lost = "1 whose time was over, 1 that the configuration has no mapping for, 1 damaged"
    assert again.file.fates == {"kept": 18, "expired": 1, "unmapped": 1, "limited": 0, "damaged": 1}
    assert logs.fields_of(caplog.records[-1]) == again.file.fates
    assert caplog.messages == [f"Kept 18 sessions and 0 waiting ports over a kill or crash; ended 3: {lost}"]


def test_before_the_code_is_compiled_all_are_kept(path, caplog):
    before = busy(path)
    before.kill()
    run = Run(path, code=plain_code())
    assert run.nat64.sessions() == before.nat64.sessions()
    assert caplog.messages == ["Kept 21 sessions and 0 waiting ports over a kill or crash"]


def test_the_code_is_chosen_by_how_many_are_kept(path):
    busy(path).kill()
    config, asked = Sessions(**POOL, limits={"sessions": 64}, state={"file": str(path)}).config, []
    engines = Engines(config, os.urandom(16))
    take_up(config, engines.settings, engines.tables(), lambda kept: asked.append(kept) or COMPILED_CODE)[1].close()
    assert asked == [21]


def test_a_file_on_a_disk_is_warned_of(path, caplog, monkeypatch):
    monkeypatch.setattr(state_file, "IN_MEMORY", ())
    Run(path)
    assert caplog.messages == [f"{path} is on tmpfs: packets can wait for the disk; set a [state] file in memory"]
    assert state_file.file_system_of(Path("/proc")) == "proc"


def test_another_boot_begins_without_sessions(path, caplog, monkeypatch, tmp_path):
    busy(path).file.close()
    (tmp_path / "boot_id").write_text("0e4b3c1a-0000-0000-0000-000000000000\n")
    monkeypatch.setattr(state_file, "BOOT", tmp_path / "boot_id")
    assert not Run(path).nat64.sessions()
    assert caplog.messages == [f"{path} is from before this host was last started: starting without sessions"]


def test_another_layout_begins_without_sessions(path, caplog, monkeypatch):
    busy(path).file.close()
    monkeypatch.setattr(state_file, "LAYOUT", 0)
    assert not Run(path).nat64.sessions()
    assert caplog.messages == [f"{path} is of another version of nat64d: starting without sessions"]


def flip(path: Path, place: int, bit: int = 0) -> None:
    """Flip a bit of a file."""
    octets = bytearray(path.read_bytes())
    octets[place] ^= 1 << bit
    path.write_bytes(octets)


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - PAGE)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "the magic": lambda path: flip(path, 0),
    "the layout": lambda path: flip(path, 10),
    "the boot": lambda path: flip(path, 41),
    "a size": lambda path: flip(path, 109, 3),
    "the checksum": lambda path: flip(path, 141),
    "another file": lambda path: path.write_text("something else\n" * 1000) and None,
    "a short one": lambda path: path.write_bytes(b"nat64d") and None,
    "too short": shorten,
    "too long": lambda path: os.truncate(path, path.stat().st_size + PAGE),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path))[-1],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_file_that_is_damaged_is_set_aside(path, caplog, name):
    busy(path).file.close()
    aside = path.with_name("state.damaged")
    aside.write_text("an older one")
    DAMAGES[name](path)
    about = path.stat()
    run = Run(path)
    assert not run.nat64.sessions()
    (message,) = caplog.messages
    assert message.startswith(f"{path} is now state.damaged, because ")
    assert (aside.stat().st_ino, aside.stat().st_size) == (about.st_ino, about.st_size)
    assert sorted(file.name for file in path.parent.iterdir()) == ["state", "state.damaged"]
    run.nat64.opened("udp", 5000)
    run.kill()
    assert len(Run(path).nat64.sessions()) == 1


def start_and_end_early(path: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Start so often, and end before that is noted."""

    def end(file: StateFile) -> None:
        fcntl.flock(file._fd, fcntl.LOCK_UN)
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(StateFile, "taken", end)
        for _ in range(times):
            with pytest.raises(InterruptedError):
                Run(path)


def test_a_file_that_ends_every_start_is_set_aside(path, caplog, monkeypatch):
    busy(path).kill()

    start_and_end_early(path, monkeypatch, state_file.ATTEMPTS)
    assert not Run(path).nat64.sessions()
    why = "because 3 starts ended before they had taken it over"
    assert caplog.messages[-1] == f"{path} is now state.damaged, {why}: starting without sessions"


def test_a_start_that_ended_early_has_lost_nothing(path, monkeypatch):
    busy(path).kill()

    start_and_end_early(path, monkeypatch, 1)
    for _ in range(2):
        run = Run(path)
        assert len(run.nat64.sessions()) == 21
        run.kill()
    assert header_in(path.read_bytes()).attempts == 0


# ---- what is an error


def test_a_file_that_another_nat64d_uses(path):
    Run(path)
    with pytest.raises(StateError) as raised:
        Run(path)
    assert str(raised.value) == f"{path}: another nat64d keeps its sessions there; set another [state] file"


def test_a_file_system_without_room(path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    for _ in range(2):  # the lock is not kept
        with pytest.raises(StateError) as raised:
            Run(path, 1 << 16)
        assert str(raised.value) == (
            f"{path}: no room for 6 MiB of sessions: free some, lower [limits] sessions, set another [state] file, "
            "or [state] keep = false"
        )


@pytest.mark.parametrize("chosen", [True, False])
def test_a_place_that_nobody_has_chosen_and_that_has_no_room_keeps_nothing(path, monkeypatch, caplog, chosen):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    given = {"file": str(path)} if chosen else {}
    engines = Engines(Sessions(**POOL, limits={"sessions": 64}, state=given).config, os.urandom(16))
    tables, asked = engines.tables(), []
    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(Config, "state_path", property(lambda _: path))

    def take() -> tuple[Tables, StateFile | None]:
        code_for = lambda kept: asked.append(kept) or COMPILED_CODE  # noqa: E731
        return take_up_if_there_is_room(engines.config, engines.settings, tables, code_for)

    if chosen:
        with pytest.raises(StateError, match="no room"):
            take()
        return
    assert take() == (tables, None)
    assert asked == [0]
    assert caplog.messages[0].startswith(f"Sessions do not outlive this run: {path}: no room for 0 MiB of sessions")
    live = Live(engines.config)
    assert not live.use_state_file(None)
    assert FORGETS in live.status()["warnings"]
    monkeypatch.undo()
    monkeypatch.setattr(Config, "state_path", property(lambda _: path))
    _, file = take()
    assert file is not None
    assert not live.use_state_file(file)
    live.close_state_file()


@pytest.mark.parametrize("what", ["link", "directory", "file in the way"])
def test_what_cannot_be_a_file(path, what):
    if what == "file in the way":
        path.parent.write_text("")
    else:
        path.parent.mkdir()
        path.symlink_to("/etc/passwd") if what == "link" else path.mkdir()
    with pytest.raises(StateError) as raised:
        Run(path)
    assert str(raised.value).startswith(f"{path}: cannot keep sessions there: ")


# ---- damage by chance


ROUNDS, PLACES = 50, 20


def test_a_thousand_flipped_places(path):
    """Whatever bits of the file are others, the gateway starts, works, and its tables are consistent."""
    busy(path).kill()
    octets, rng, kept = path.read_bytes(), Random(11), []
    engines = Engines(engines_of(**POOL, limits={"sessions": 64}, state={"file": str(path)}).config)
    used = range(PAGE, PAGE + 21 * SESSION.itemsize)
    for number in range(ROUNDS):
        path.write_bytes(octets)
        places = [rng.choice(used) for _ in range(PLACES)]
        if number % 10 == 0:
            places[0] = rng.randrange(FIELDS.size)
        for place in places:
            flip(path, place, rng.randrange(8))
        tables, file = take_up(engines.config, engines.settings, engines.tables(), lambda _: COMPILED_CODE)
        invariants.check(tables, engines.settings)
        kept.append(int(tables.sessions.live.sum()))
        file.close()
    assert min(kept) == 0 < max(kept)
