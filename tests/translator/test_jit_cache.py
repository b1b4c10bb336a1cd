"""translator/jit/cache.py: compiled code is kept in one place, which is trusted or not used."""

import errno
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import numba.core.event
import pytest

from nat64d.compiling import beside
from translator.jit import cache
from translator.jit.compile import COMPILED
from translator.jit.function import EMITTING, Function

pytestmark = pytest.mark.skipif(not COMPILED, reason="nothing is compiled in plain Python")
NOBODY = 65534
LOG = logging.getLogger("nat64d")


def twice(n):
    return n + n


def emitted() -> bool:
    """Whether a call of `twice` in a new process would make machine code, not load it; it is called."""
    with numba.core.event.install_recorder(EMITTING) as recorder:
        assert Function(twice)(21) == 42
    return bool(recorder.buffer)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A cache of its own, below a directory that everybody may enter."""
    for each in (tmp_path, *tmp_path.parents[:2]):
        each.chmod(0o755)
    monkeypatch.setenv("NAT64D_CACHE", str(tmp_path))
    cache.cache_directory.cache_clear()
    monkeypatch.setattr(cache, "_failed", [])
    yield cache.cache_directory()
    cache.cache_directory.cache_clear()


def in_child(check, uid: int) -> None:
    """Run a check in a forked process of this user; what it asserts holds, or the test fails with its words."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            check()
            os._exit(0)
        except BaseException:  # noqa: BLE001  it goes to the parent
            os.write(writer, traceback.format_exc().encode()[-4000:])
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        words = pipe.read()
    assert os.waitpid(child, 0)[1] == 0, words


def test_code_is_kept_and_used(place):
    assert emitted()
    assert not emitted()
    assert cache.refusal() is None
    assert (place / cache.TAG).read_text() == cache.TAG_TEXT


def test_a_warm_cache_that_cannot_be_written_is_used_by_another_user(place):
    assert emitted()
    in_child(lambda: _expect(emitted=False, refusal=None, writable=False), NOBODY)


def test_without_permission_it_compiles_for_itself_and_leaves_nothing_beside_the_sources(place):
    shutil.rmtree(place.parent, ignore_errors=True)
    in_child(lambda: _expect(emitted=True, refusal="cannot write to", writable=False), NOBODY)
    assert not place.exists()
    assert not list(Path(__file__).parent.rglob("*.nb[ic]"))


def _expect(*, emitted: bool, refusal: str | None, writable: bool) -> None:
    assert globals()["emitted"]() is emitted
    assert refusal is None if cache.refusal() is None else refusal and refusal in cache.refusal()
    assert cache.is_writable() is writable


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
@pytest.mark.parametrize("which", ["it", "the one above"])
def test_a_directory_that_others_may_write_to_is_not_used(place, mode, which):
    assert emitted()
    path = place if which == "it" else place.parent
    path.chmod(mode)
    if mode == 0o1777 and which == "the one above":
        assert cache.refusal() is None, "only its owner can replace what lies in a sticky directory"
        assert not emitted()
        return
    assert cache.refusal() == f"other users may write to {path} (mode {mode:o})"
    assert emitted(), "what lies there may be a stranger's"
    assert not cache.is_writable()
    assert not beside.is_complete()


def test_a_directory_of_another_user_is_not_used(place):
    assert emitted()
    os.chown(place, NOBODY, -1)
    assert cache.refusal() == f"{place} belongs to another user (uid {NOBODY})"
    assert emitted()


def test_a_link_of_another_user_is_not_followed(place, tmp_path):
    assert emitted()
    moved = tmp_path / "moved"
    place.parent.rename(moved)
    place.parent.symlink_to(moved)
    os.lchown(place.parent, NOBODY, -1)
    assert cache.refusal() == f"{place.parent} is a link of another user (uid {NOBODY})"


def test_what_is_no_directory_is_not_used(place):
    place.parent.mkdir(exist_ok=True)
    place.touch()
    assert cache.refusal() == f"{place} is not a directory"
    place.unlink()
    place.symlink_to(place)
    assert cache.refusal() == f"{place}: Too many levels of symbolic links"
    assert emitted()


def test_a_device_without_room_is_said(place, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache._Place, "ensure_cache_path", full)
    assert emitted()
    assert cache.refusal() == f"cannot write to {place}: No space left on device"
    assert not cache.is_writable()


def test_no_room_is_said_and_costs_only_time(place):
    def check():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        assert emitted()
        assert "cannot write to" in cache.refusal()

    in_child(check, 0)


@pytest.mark.parametrize("octets", [b"", b"\x80\x04garbage", None])
def test_a_damaged_file_is_compiled_anew(place, octets):
    assert emitted()
    for file in (*place.glob("*.nbi"), *place.glob("*.nbc")):
        file.write_bytes(file.read_bytes()[:-20] if octets is None else octets)
    assert emitted()
    assert "cannot read" in cache.refusal()
    assert not emitted(), "it was replaced"


def test_old_versions_go_and_what_is_not_ours_stays(place):
    foreign = [place.parent / name for name in ("bin", "0123456789abcdef", "link")]
    for each in foreign[:2]:
        each.mkdir(parents=True)
        (each / "file").touch()
    elsewhere = place.parent.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / cache.TAG).write_text(cache.TAG_TEXT)
    foreign[2].symlink_to(elsewhere)
    old = [place.parent / f"{n:016x}" for n in range(9)]
    for n, each in enumerate(old):
        each.mkdir()
        for name in (cache.TAG, "run.nbi", "run.1.nbc", "complete"):
            (each / name).write_text(cache.TAG_TEXT)
        if n == 0:
            (each / "notes.txt").touch()
        os.utime(each, (n, n))
    assert emitted()
    cache.forget_old(3)
    assert {each.name for each in place.parent.iterdir()} == {
        place.name,
        *(each.name for each in foreign),
        old[0].name,
        old[7].name,
        old[8].name,
    }
    assert (old[0] / "notes.txt").exists()
    assert (elsewhere / cache.TAG).exists()


def test_nothing_is_removed_where_others_may_write_or_nothing_is(place):
    cache.forget_old(0)
    assert emitted()
    place.chmod(0o777)
    cache.forget_old(0)
    assert (place / cache.TAG).exists()


def test_every_source_changes_the_place(tmp_path, monkeypatch):
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text("x = 1")
    before = cache.digest_of(sorted(tmp_path.glob("*.py")))
    (tmp_path / "two.py").write_text("x = 2")
    assert cache.digest_of(sorted(tmp_path.glob("*.py"))) != before


def test_another_process_has_nothing_to_do_where_nothing_can_be_kept(place, monkeypatch):
    place.mkdir(parents=True)
    place.chmod(0o777)
    monkeypatch.setattr(beside.subprocess, "Popen", lambda *_, **__: pytest.fail("started"))
    with beside.beside(LOG, beside.Part.DAEMON):
        pass


def test_the_other_process_ends_with_this_one(place, monkeypatch):
    started = []
    popen = beside.subprocess.Popen
    sleeper = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    monkeypatch.setattr(
        beside.subprocess, "Popen", lambda _, **how: started.append(popen(sleeper, **how)) or started[0]
    )
    with pytest.raises(KeyboardInterrupt), beside.beside(LOG, beside.Part.OFFLINE):
        raise KeyboardInterrupt
    assert started[0].returncode is not None
    assert not beside.is_complete()


def test_a_failure_of_the_other_process_is_told(place, monkeypatch, caplog):
    popen = beside.subprocess.Popen
    failing = [sys.executable, "-c", "raise SystemExit(3)"]
    monkeypatch.setattr(beside.subprocess, "Popen", lambda _, **how: popen(failing, **how))
    with beside.beside(LOG, beside.Part.DAEMON):
        pass
    (message,) = caplog.messages
    assert message == beside.INCOMPLETE
    assert not beside.is_complete()


def test_a_start_that_finds_its_code_prepares_no_compiler(place):
    """What calls compiled code alone is unknown to numba then, and what only a compiler needs is not imported."""
    script = (
        "import sys\nfrom tests.translator.test_jit import _square, _sum\nassert _sum(3) == 36\n"
        "print('dispatcher' in vars(_sum), 'dispatcher' in vars(_square), 'numba.np.linalg' in sys.modules)"
    )
    command = [sys.executable, "-c", script]
    said = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(2)]
    assert said == [["True", "True", "True"], ["True", "False", "False"]]
