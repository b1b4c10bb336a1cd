"""The queues of the TUN device in systemd's store of descriptors, and how a restart is told from a stop."""

import fcntl
import os
import socket
from collections.abc import Iterator

import pytest

from nat64d.gateway import descriptor_store
from nat64d.gateway.descriptor_store import forget, is_started_again, keep, passed

NOTHING: dict[str, list[int]] = {"tun": [], "dns": [], "sessions": [], "program": []}
HIGH = 200  # descriptors that this process does not have


@pytest.fixture
def four(monkeypatch) -> Iterator[list[int]]:
    """Four descriptors, one after the other, where systemd would pass them."""
    monkeypatch.setattr(descriptor_store, "FIRST", HIGH)
    own, other = os.pipe()
    fds = [fcntl.fcntl(own, fcntl.F_DUPFD, HIGH + n) for n in range(4)]
    assert fds == list(range(HIGH, HIGH + 4))
    yield fds
    for fd in (own, other, *fds):
        try:
            os.close(fd)
        except OSError:
            continue


@pytest.fixture
def manager(tmp_path, monkeypatch) -> Iterator[socket.socket]:
    """What systemd hears."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield heard


def test_the_queues_are_taken_once_and_what_is_not_ours_is_closed(four):
    environment = {"LISTEN_PID": "7", "LISTEN_FDS": "4", "LISTEN_FDNAMES": "tun:dns:tun:stored", "OTHER": ""}
    assert passed(environment, 7) == NOTHING | {"tun": [four[0], four[2]], "dns": [four[1]]}
    assert environment == {"OTHER": ""}
    assert not any(map(os.get_inheritable, four[:3]))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(four[3])
    assert passed(environment, 7) == NOTHING


@pytest.mark.parametrize("environment", [{}, {"LISTEN_PID": "8", "LISTEN_FDS": "4"}, {"LISTEN_PID": "7"}])
def test_what_is_for_nobody_or_somebody_else_is_left_alone(four, environment):
    assert passed(environment, 7) == NOTHING
    assert [os.fstat(fd).st_mode for fd in four]


def test_what_is_kept_takes_the_place_of_what_was(manager, four):
    keep(four[:2])
    assert manager.recv(100) == b"FDSTOREREMOVE=1\nFDNAME=tun"
    text, fds, _, _ = socket.recv_fds(manager, 100, 8)
    assert (text, len(fds)) == (b"FDSTORE=1\nFDNAME=tun", 2)
    assert all(os.path.sameopenfile(fd, four[0]) for fd in fds)
    for fd in fds:
        os.close(fd)


def test_a_program_is_kept_though_there_is_nothing_to_wait_for(manager, four):
    keep(four[:1], "program")
    assert manager.recv(100) == b"FDSTOREREMOVE=1\nFDNAME=program"
    text, fds, _, _ = socket.recv_fds(manager, 100, 8)
    assert (text, len(fds)) == (b"FDSTORE=1\nFDNAME=program\nFDPOLL=0", 1)
    os.close(fds[0])


def test_more_than_the_kernel_sends_at_once_are_kept_as_well(manager, four):
    keep(four[:2] * 128)
    manager.recv(100)
    count = 0
    while count < 256:
        _, fds, _, _ = socket.recv_fds(manager, 100, 253)
        assert fds
        count += len(fds)
        for fd in fds:
            os.close(fd)
    assert count == 256


@pytest.mark.parametrize("address", [None, "/nowhere/notify", "@nobody.listens.here"])
def test_without_systemd_nothing_is_done(monkeypatch, address):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    keep([0])
    forget()


def test_a_restart_is_told_from_a_stop_by_a_directory_that_is_there_once(tmp_path):
    environment = {"RUNTIME_DIRECTORY": f"{tmp_path}:/run/other"}
    assert not is_started_again(environment)
    (tmp_path / "again").mkdir()
    assert is_started_again(environment)
    assert not is_started_again(environment)


def test_without_a_runtime_directory_it_is_a_stop():
    assert not is_started_again({})
