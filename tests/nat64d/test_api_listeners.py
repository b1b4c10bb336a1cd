"""Where the API listens: the unix socket and whose it is, and the listener for monitoring."""

import http.client
import os
import socket
import stat

import pytest

from nat64d.control import api
from nat64d.control.client import Client
from nat64d.control.unixsocket import Access, SocketError, UnixSocket
from tests.nat64d.fake_gateway import FakeGateway, serving


@pytest.fixture
def server(gateway, path):
    with serving(gateway, path, "127.0.0.1:0") as server:
        yield server


def ask_http(address, target):
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_the_socket_is_for_its_group_and_its_directory_for_all(server, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755


def test_the_socket_has_the_mode_and_the_group_it_was_given(path):
    opened = UnixSocket(str(path), Access(0o600, "4242"))
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (0o600, 4242)
    opened.remove()
    opened.listening.close()


def test_a_group_that_there_is_not_or_that_may_not_be_given_is_said(path, monkeypatch):
    with pytest.raises(SocketError, match=f'^{path}: this host has no group "no-such-group"; make it, or change'):
        UnixSocket(str(path), Access(0o660, "no-such-group"))

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(
        SocketError, match="may not be given to the group 4242; let the daemon's user be a member of it"
    ):
        UnixSocket(str(path), Access(0o660, "4242"))


def test_modes_do_not_depend_on_the_umask(gateway, path):
    before = os.umask(0o077)
    try:
        with serving(gateway, path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
    finally:
        os.umask(before)


def test_the_socket_is_gone_after_close(gateway, path):
    with serving(gateway, path):
        assert path.exists()
    assert not path.exists()


def test_a_socket_that_became_another_daemons_is_left(gateway, path):
    with serving(gateway, path):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    assert path.exists()


def test_the_socket_of_a_dead_daemon_is_taken_over(gateway, path):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    with serving(gateway, path):
        assert Client(str(path)).document("/v1/status")["state"] == "ready"


def test_the_socket_of_a_live_daemon_is_refused(server, path):
    with pytest.raises(SocketError, match=r"another nat64d is running") as refused, serving(FakeGateway(), path):
        pass
    assert str(refused.value) == f"{path}: another nat64d is running; stop it or set another [api] socket"
    assert Client(str(path)).document("/v1/status")["state"] == "ready"


def test_the_socket_of_a_daemon_too_busy_to_accept_is_refused(gateway, path):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        with pytest.raises(SocketError, match="another nat64d is running"), serving(gateway, path):
            pass
    assert path.exists()


def test_a_file_that_is_no_socket_is_left_alone(gateway, path):
    path.parent.mkdir()
    path.write_text("precious")
    with pytest.raises(SocketError, match=r"exists and is not a socket"), serving(gateway, path):
        pass
    assert path.read_text() == "precious"


def test_an_impossible_path_is_one_sentence(gateway, tmp_path):
    for impossible in (tmp_path / ("x" * 200), tmp_path / "file" / "api.sock"):
        (tmp_path / "file").touch()
        with (
            pytest.raises(SocketError, match="cannot create the control socket: ") as refused,
            serving(gateway, impossible),
        ):
            pass
        assert str(refused.value).startswith(f"{impossible}: ")


def test_the_listener_serves_monitoring_and_nothing_else(server):
    public = [route.path for route in api.ROUTES if route.public]
    assert sorted(public) == ["/healthz", "/metrics", "/page/history.json", "/page/summary.json", "/readyz"]
    assert all(route.public for route in api.PAGE)
    for route in (*api.ROUTES, *api.PAGE):
        assert ask_http(server.http, route.path)[0] == (200 if route.public else 404), route.path


def test_a_taken_http_port_is_a_warning(gateway, path, caplog):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with serving(gateway, path, address) as server:
            status = Client(str(path)).document("/v1/status")
    warning = f"[api] http = {address}: address already in use; no metrics until nat64d is restarted."
    assert (server.http, server.warnings) == ("", [warning])
    assert (status["http"], status["warnings"]) == (None, [warning])
    assert warning in caplog.text


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:70000", "host.invalid:1"])
def test_an_http_address_that_cannot_be_had_is_a_warning(gateway, path, address):
    with serving(gateway, path, address) as server:
        assert server.http == ""
        assert server.warnings[0].startswith(f"[api] http = {address}: ")


def test_without_http_there_is_only_the_socket(gateway, path):
    with serving(gateway, path) as server:
        assert (server.http, server.warnings) == ("", [])
        assert Client(str(path)).document("/v1/status")["http"] is None
