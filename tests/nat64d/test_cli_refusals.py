"""How commands refuse: one sentence on standard error, and the exit code that says whose fault it is."""

import re
import socket
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nat64d.cli.app import app
from nat64d.control.rows import BusyError
from nat64d.exitcode import ExitCode
from tests.nat64d.fake_gateway import FakeGateway, serving

ROOT = Path(__file__).parents[2]
PACKET = "2001:db8::1 > 64:ff9b::192.0.2.1 udp 5000 53"
ASKING = (("status",), ("counters",), ("sessions",), ("bib",), ("hosts",), ("pools",), ("explain", PACKET, "--live"))
CONFIGURED = (
    ("run",),
    ("check",),
    ("replay", ROOT / "pcaps/ping_from_ipv6.pcap"),
    ("explain", PACKET),
    ("dns64", "trace", "www.example"),
    ("export", "bind"),
)


@pytest.fixture
def gateway():
    return FakeGateway()


@pytest.fixture
def path(gateway, tmp_path):
    with serving(gateway, tmp_path / "api.sock"):
        yield str(tmp_path / "api.sock")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="nat64d")


@pytest.mark.parametrize("words", CONFIGURED, ids=lambda words: words[0])
def test_a_wrong_configuration_is_2_and_a_line_for_each_mistake(words, tmp_path):
    file = tmp_path / "wrong.toml"
    file.write_text('pool6 = "2001:db8::/95"\npool7 = "2001:db8::/96"\n[tun]\nmtu = 9\n')
    result = run(*words, "-c", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.findall(r"^(.*): (\S+ ?\S*) = ", result.stderr, re.MULTILINE) == [
        (str(file), "pool6"),
        (str(file), "pool7"),
        (str(file), "[tun] mtu"),
    ]


@pytest.mark.parametrize("words", CONFIGURED, ids=lambda words: words[0])
def test_a_configuration_that_cannot_be_read_is_2(words, tmp_path):
    result = run(*words, "-c", tmp_path / "none.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"{tmp_path}/none.toml: expected a readable file: No such file or directory\n"


def test_systemd_does_not_restart_what_a_restart_cannot_help():
    unit = (ROOT / "config/systemd/nat64d.service").read_text("utf-8")
    (codes,) = re.findall("^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)
    assert codes.split() == [str(int(ExitCode.USAGE))]


@pytest.mark.parametrize("words", ASKING, ids=lambda words: words[0])
def test_nobody_on_the_socket_is_3_and_one_sentence(words, tmp_path):
    result = run(*words, "--socket", tmp_path / "none.sock")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == (
        f"nat64d: {tmp_path}/none.sock: no daemon answers here; "
        "start it, or give its socket with --socket or its configuration with -c\n"
    )


@pytest.mark.parametrize(("name", "why"), [("file/api.sock", "Not a directory"), ("x" * 200, "AF_UNIX path too long")])
def test_an_impossible_socket_is_3(name, why, tmp_path):
    (tmp_path / "file").touch()
    result = run("status", "--socket", tmp_path / name)
    assert result.exit_code == 3
    assert f"{name}: {why}; give another socket with --socket or a configuration with -c" in result.stderr


def test_a_socket_of_others_is_3_and_says_whose_member_to_be(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("nat64d.control.client._UnixConnection.connect", refuse)
    result = run("status", "--socket", tmp_path / "api.sock")
    assert result.exit_code == 3
    assert result.stderr.endswith("api.sock: permission denied; use sudo, or join the group of the socket\n")


def test_a_socket_that_only_listens_is_3(tmp_path, monkeypatch):
    monkeypatch.setattr("nat64d.control.client.Client.__init__.__defaults__", (0.1,))
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "api.sock"))
        silent.listen()
        result = run("pools", "--socket", tmp_path / "api.sock")
    assert result.exit_code == 3
    assert result.stderr.endswith("api.sock: the daemon does not answer in time; see its log\n")


@pytest.mark.parametrize(
    "answer", ["200 OK\r\nContent-Length: 5\r\n\r\nhello", "404 No\r\nContent-Length: 2\r\n\r\n[]"]
)
def test_a_stranger_on_the_socket_is_3(answer, tmp_path):
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(tmp_path / "api.sock"))
        stranger.listen()

        def serve():
            connection, _ = stranger.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 " + answer.encode())

        thread = threading.Thread(target=serve)
        thread.start()
        result = run("status", "--socket", tmp_path / "api.sock")
        thread.join(10)
    assert result.exit_code == 3
    assert "api.sock: another program than nat64d answers here; " in result.stderr


def test_a_daemon_still_starting_is_3_for_listings(path, gateway):
    gateway.state = "compiling"
    result = run("sessions", "--socket", path)
    assert (result.exit_code, result.stderr) == (3, f"nat64d: {path}: not ready yet: compiling\n")


def test_a_packet_that_cannot_be_explained_now_is_1(path, gateway):
    def busy(_):
        raise BusyError("another explain request is running; try again in a moment")

    gateway.explain = busy
    result = run("explain", PACKET, "--live", "--socket", path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "nat64d: another explain request is running; try again in a moment\n"


def test_a_fault_in_the_daemon_is_1(path, gateway):
    gateway.pools = lambda: 1 / 0
    result = run("pools", "--socket", path)
    assert result.exit_code == 1
    assert result.stderr == "nat64d: GET /v1/pools: internal error; see the log of the daemon\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("sessions", "--proto", "foo"), "--proto=foo: expected tcp, udp, icmp or a number below 256"),
        (("sessions", "--host6", "192.0.2.1"), "--host6=192.0.2.1: expected an IPv6 address or prefix"),
        (("bib", "--mapped4", "x"), "--mapped4=x: expected an IPv4 or IPv6 address or prefix"),
        (("bib", "--host4", "192.0.2.1"), "No such option"),
        (("sessions", "--limit", "0"), "--limit"),
        (("status", "--wait", "-1"), "--wait"),
        (("sessions", "-c", "/nowhere.toml"), "/nowhere.toml"),
        (("pools", "-c", __file__, "--socket", "/x"), "-c and --socket both name a daemon; give only one of them"),
        (("replay",), "IN.pcap"),
        (("explain", PACKET, "--socket", "/x"), "--socket names a running daemon; give --live with it"),
        (("explain", PACKET, "--live", "-c", __file__, "--socket", "/x"), "-c and --socket both name a daemon"),
        (("explain", "hello", "--live"), "'hello' is no packet: expected 'SOURCE > DESTINATION udp"),
        (("explain", "/nowhere.pcap:1", "--live"), "/nowhere.pcap does not exist: expected "),
        (("frobnicate",), "frobnicate"),
    ],
)
def test_usage_errors_are_2_and_name_the_value(arguments, sentence):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr
