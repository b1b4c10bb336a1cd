"""nat64d/dataplane/bpf/pins.py: without a service manager's store, sessions and program go on by pins in a bpffs."""

import logging
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nat64d.config.models import Tun as TunConfig
from nat64d.config.settings import tables_of
from nat64d.dataplane.bpf import system
from nat64d.dataplane.bpf.left import PROGRAM, SESSIONS, Left, about, identity
from nat64d.dataplane.bpf.pins import Pins
from nat64d.dataplane.tun import open_tun
from nat64d.gateway import left
from nat64d.gateway.left import Left as GatewayLeft
from nat64d.gateway.left import give_up_fastpath
from tests.nat64d.hosts import fixtures
from tests.nat64d.netns import Namespace, ip
from tests.nat64d.test_bpf import permitted
from tests.nat64d.test_fastpath_left import CONFIG, LO, LOG, SETTINGS, begun, program_at

namespace, *_ = fixtures()

LOST = "Established flows do not outlive a crash or kill -9 of this daemon: "
MOUNT = 'mount -t bpf -o mode=0700 bpf "$0" && echo mounted && exec cat'


@pytest.fixture(scope="module")
def mounted(tmp_path_factory) -> Iterator[Path]:
    """A bpffs in a mount namespace of its own, which goes with this process."""
    place = tmp_path_factory.mktemp("bpf")
    command = ("unshare", "--mount", "sh", "-c", MOUNT, str(place))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"mounted\n"
        yield Path(f"/proc/{holder.pid}/root{place}")
        holder.stdin.close()


@pytest.fixture
def bpffs(mounted, namespace) -> Iterator[Path]:
    """The same, with nothing of another test in it."""
    yield mounted
    for there in sorted(mounted.glob("nat64d/**/*"), reverse=True):
        there.rmdir() if there.is_dir() else there.unlink()


def a_map() -> int:
    return permitted(lambda: system.create_map("x", 8, 1, flags=system.MMAPABLE))


def pins_of(root: Path, interface: str = "lo", lasts: bool = True) -> Pins:
    return Pins(interface, LOG, lasts, root)


def test_the_successor_of_a_killed_daemon_goes_on_by_its_pins(bpffs, monkeypatch):
    before, tables, _ = begun(Left(keeper=pins_of(bpffs)), monkeypatch)
    before.begin(SETTINGS, tables)
    tables.sessions[3].live = 1
    number = before.memory
    before.close(goes_on=True)  # as a kill does, it lets go of all
    found = pins_of(bpffs)
    there = Left(found.left(), found)
    assert there.stands_at(LO)
    assert len(there.records(number, len(tables.sessions))) == 1
    path, _, succeeded = begun(there, monkeypatch)
    assert (succeeded, path.is_on, path.status()["kept"]) == (True, True, str(found.directory))
    assert (path.status()["not_kept"], path.memory != number) == (None, True)
    fds = found.left()
    assert [about(fd).get("ifindex") or identity(fd) for fd in fds] == [str(LO), path.memory]
    path.close()
    assert about(fds[0])["ifindex"] == "0"
    assert (found.left(), list(bpffs.glob("nat64d/*"))) == ([], [])
    for fd in fds:
        os.close(fd)


def test_nobody_else_gets_there_and_devices_have_pins_of_their_own(bpffs):
    one, other, fd = pins_of(bpffs, "eth0.64"), pins_of(bpffs, "eth0"), a_map()
    for each in (one, other):
        each.keep([fd, fd], SESSIONS)
        assert {pin.name for pin in each.directory.iterdir()} == {"sessions", "sessions1"}
    assert {each.stat().st_mode & 0o777 for each in (one.directory, one.directory.parent)} == {0o700}
    elsewhere = Namespace()
    with elsewhere:
        assert pins_of(bpffs, "eth0").left() == []
    elsewhere.close()
    one.keep([fd], SESSIONS)
    assert [pin.name for pin in one.directory.iterdir()] == ["sessions"]
    one.remove()
    assert (one.left(), one.where) == ([], None)
    (number,) = {identity(left) for left in other.left()}
    assert number == identity(fd)


def test_what_somebody_else_may_have_put_there_is_not_taken(bpffs, caplog):
    caplog.set_level(logging.INFO)
    there, fd = pins_of(bpffs), a_map()
    there.keep([fd], SESSIONS)
    there.directory.parent.chmod(0o777)
    assert there.left() == []
    there.keep([fd], SESSIONS)
    why = f"nothing can be pinned in {bpffs} ({there.directory.parent} is another user's): it takes write access there"
    assert caplog.messages == [f"{LOST}{why}, and CAP_BPF"]
    there.directory.parent.chmod(0o700)
    there.keep([fd], SESSIONS)
    assert (there.why, there.where) == (None, str(there.directory))
    (there.directory / "other").mkdir()
    assert len(there.left()) == 1


def test_without_a_bpffs_it_is_said_once_how_to_have_one(namespace, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    there, fd = pins_of(tmp_path), a_map()
    for _ in range(2):
        there.keep([fd], SESSIONS)
        there.keep([fd], PROGRAM)
    mount = f"mount -t bpf -o mode=0700 bpf {tmp_path}"
    why = f"no bpffs is mounted at {tmp_path}. Run '{mount}', or give it to the container: -v {tmp_path}:{tmp_path}"
    assert caplog.messages == [there.why] == [f"{LOST}{why}"]
    there.keep([], SESSIONS)
    assert (there.left(), there.where, list(tmp_path.iterdir())) == ([], None, [])


def test_the_program_of_a_device_that_goes_with_the_process_is_not_pinned(bpffs):
    there, fd = pins_of(bpffs, "nat64", lasts=False), a_map()
    for name in (SESSIONS, PROGRAM):
        pins_of(bpffs, "nat64").keep([fd], name)  # of a run with a device that is gone
    there.keep([fd], SESSIONS)
    there.keep([fd], PROGRAM)
    assert [pin.name for pin in there.directory.iterdir()] == [SESSIONS]
    assert there.why.startswith(f"{LOST}its device nat64 goes with it, but sessions do; 'ip tuntap add dev nat64 ")


@pytest.mark.parametrize("managed", [False, True])
def test_a_program_at_a_persistent_device_means_that_what_was_set_up_stands(bpffs, monkeypatch, managed):
    monkeypatch.setattr(left, "Pins", lambda *given, **named: Pins(*given, root=bpffs, **named))
    for name in ("NOTIFY_SOCKET", "RUNTIME_DIRECTORY"):
        monkeypatch.setenv(name, "/nowhere") if managed else monkeypatch.delenv(name, False)
    ip("tuntap", "add", "dev", "nat64", "mode", "tun", "multi_queue")
    tun = open_tun(TunConfig(queues=1))
    assert (bool(GatewayLeft().find_fastpath(tun)), tun.left) == (False, False)
    attached = program_at(socket.if_nametoindex("nat64"))
    link, pinned = os.dup(attached.links[0]), pins_of(bpffs, "nat64")
    pinned.keep(attached.links, PROGRAM)
    attached.leave()
    there = GatewayLeft().find_fastpath(tun)
    assert (bool(there), tun.left) == (True, True)
    assert (there.keeper.where, pinned.left() == []) == ("service manager" if managed else None, managed)
    give_up_fastpath(there, tables_of(CONFIG, SETTINGS))
    assert (about(link)["ifindex"], pinned.left()) == ("0", [])
    os.close(link)
    tun.close()
