"""What a local user without privileges can do to the API: descriptors, silence, foreign names, what is not HTTP.

Time is the event loop's, bounds are made small; where a test waits, it is for a connection to be closed.
"""

import asyncio
import http.client
import json
import logging
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event

import pytest

from nat64d.control import api, connections
from nat64d.control.client import Client
from nat64d.control.connections import Bounds, client_of
from nat64d.control.hosts import Hosts
from nat64d.control.page import routes as page
from nat64d.host.descriptors import raise_limit
from tests.nat64d.fake_gateway import serving

HALF_OPEN = """
import resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
held = []
for number in range(1000):
    connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
    connection.sendall(b"GET /metrics HTTP/1.1\\r\\nHost: ")
    held.append(connection)
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def bounded(monkeypatch):
    """Give the monitoring listener other bounds."""

    def bound(**changed):
        bounds = Bounds(**{"most": 8, "most_of_one": 4, **changed})
        monkeypatch.setattr(api, "monitoring_bounds", lambda: bounds)

    return bound


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """A soft limit that a thousand connections exceed."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    yield 512
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def connect(server, octets=b""):
    host, _, port = server.http.rpartition(":")
    connection = socket.create_connection((host, int(port)), 10)
    connection.sendall(octets)
    return connection


def request(host="localhost", target="/healthz", version="1.1", more=""):
    return f"GET {target} HTTP/{version}\r\nHost: {host}\r\n{more}\r\n".encode()


def answer(connection):
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.read()


def is_closed(connection):
    """Whether the daemon closes it, within the patience of the socket."""
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


def test_a_thousand_half_open_requests_hinder_neither_status_nor_metrics(gateway, path, few_descriptors, caplog):
    with serving(gateway, path, "127.0.0.1:0") as server:
        port = server.http.rpartition(":")[2]
        command = [sys.executable, "-c", HALF_OPEN, port]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout.read(4) == b"open"
            for _ in range(20):
                assert Client(str(path)).document("/v1/status")["state"] == "ready"
                with connect(server, request(target="/metrics")) as asking:
                    assert answer(asking)[0] == 200
            child.stdin.close()
            assert child.wait(10) == 0
    assert "Traceback" not in caplog.text
    assert len(caplog.text) < 2000
    assert "were closed before they asked, to let others in" in caplog.text


def test_the_soft_limit_becomes_the_hard_one(few_descriptors):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert raise_limit() == hard
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_bounds_follow_the_limit_of_descriptors(few_descriptors, monkeypatch):
    assert connections.monitoring_bounds().most == few_descriptors // connections.SHARE
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 20, 1 << 20))
    assert connections.monitoring_bounds().most == connections.MOST
    monkeypatch.setattr(resource, "getrlimit", lambda _: (16, 16))
    assert connections.monitoring_bounds().most == connections.FEWEST


def test_the_longest_silent_connection_gives_way_to_a_new_one(gateway, path, bounded, caplog):
    bounded()
    with serving(gateway, path, "127.0.0.1:0") as server, ExitStack() as held:
        silent = [held.enter_context(connect(server, b"GET /me")) for _ in range(4)]
        used = held.enter_context(connect(server, request()))  # in the place of the first
        assert answer(used) == (200, b"ok\n")
        assert is_closed(silent[0])
        newer = held.enter_context(connect(server, request()))  # in that of the second: `used` has been answered
        assert answer(newer)[0] == 200
        assert is_closed(silent[1])
        used.sendall(request())
        assert answer(used)[0] == 200
    assert "[api] http 127.0.0.1:0: 1 client connection were closed" in caplog.text


def test_when_all_are_being_answered_a_new_one_is_refused(gateway, path, bounded, caplog, monkeypatch):
    bounded(most=2, most_of_one=2)
    with serving(gateway, path, "127.0.0.1:0") as server, ExitStack() as held:
        asked, go_on = held_back(gateway, monkeypatch)
        busy = [held.enter_context(connect(server, request(target="/readyz"))) for _ in range(2)]
        assert asked.wait(10)
        # The gateway has begun with the first; the second was read by the loop before the answer to this:
        assert Client(str(path)).document("/v1/openapi.json")
        third = held.enter_context(connect(server, request()))
        assert is_closed(third)
        go_on.set()
        assert [answer(connection)[0] for connection in busy] == [200, 200]
    assert "were refused: too many others are being answered" in caplog.text


def held_back(gateway, monkeypatch):
    """Events: the gateway was asked whether it is ready; it may answer."""
    asked, go_on = Event(), Event()

    def ready():
        asked.set()
        return go_on.wait(10)

    monkeypatch.setattr(gateway, "ready", ready)
    return asked, go_on


@pytest.mark.parametrize(
    ("sent", "bounds", "fault"),
    [
        (b"", {"request": 0.05}, "sent no complete request in time"),
        (b"GET /metrics HTTP/1.1\r\nHost: lo", {"request": 0.05}, "sent no complete request in time"),
        (request(), {"idle": 0.05}, ""),
    ],
    ids=["nothing", "half a request", "an idle connection after its answer"],
)
def test_silence_ends_a_connection(gateway, path, bounded, caplog, sent, bounds, fault):
    caplog.set_level(logging.INFO)
    bounded(**bounds)
    with serving(gateway, path, "127.0.0.1:0") as server, connect(server, sent) as connection:
        assert is_closed(connection)
    assert fault in caplog.text
    assert bool(fault) == bool(caplog.text)


def test_an_answer_that_nobody_takes_ends_its_connection(gateway, path, bounded, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    bounded(idle=0.05)
    monkeypatch.setattr(api.Exposition, "render", lambda *_: (bytes(32 << 20), "text/plain"))
    with serving(gateway, path, "127.0.0.1:0") as server, connect(server, request(target="/metrics")) as connection:
        while "did not take their answer" not in caplog.text:
            Client(str(path)).document("/v1/status")
        assert is_closed(connection)
    assert "Traceback" not in caplog.text


NOT_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
    b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(500)) + b"\r\n",
    b"POST /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /%ff%00?%ff=%00 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT x:99999 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
]


@pytest.mark.parametrize("octets", NOT_HTTP, ids=range(len(NOT_HTTP)))
@pytest.mark.parametrize("family", ["http", "socket"])
def test_what_is_not_http_is_answered_without_a_traceback(gateway, path, caplog, octets, family):
    with serving(gateway, path, "127.0.0.1:0") as server, ExitStack() as held:
        if family == "http":
            connection = held.enter_context(connect(server, octets))
        else:
            connection = held.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(10)
            connection.connect(str(path))
            connection.sendall(octets)
        status, body = answer(connection)
        assert 400 <= status < 500
        assert list(json.loads(body)) == ["error"]
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("accept", ["text/plain;version=x", "application/openmetrics-text;version=9.9", ",;=", "*/*"])
def test_an_odd_accept_header_is_answered(gateway, path, accept, caplog):
    asked = request(target="/metrics", more=f"Accept: {accept}\r\n")
    with serving(gateway, path, "127.0.0.1:0") as server, connect(server, asked) as connection:
        status, body = answer(connection)
    assert (status, b"nat64d_build_info" in body) == (200, True)
    assert caplog.text == ""


SHARED = {  # path: where its answer is made, and what that makes of it
    "/metrics": (api.Exposition, "render", (b"metrics\n", "text/plain"), b"metrics\n"),
    "/page/summary.json": (page, "summary", {}, b"{}"),
}


@pytest.mark.parametrize("target", SHARED)
def test_requests_that_wait_share_an_answer(gateway, path, monkeypatch, target):
    begun, go_on, rendered = Event(), Event(), []
    where, name, made, body = SHARED[target]

    def render(*_):
        rendered.append(1)
        begun.set()
        assert go_on.wait(10)
        return made

    monkeypatch.setattr(where, name, render)
    with serving(gateway, path, "127.0.0.1:0") as server, ExitStack() as held:
        first = held.enter_context(connect(server, request(target=target)))
        assert begun.wait(10)
        others = [held.enter_context(connect(server, request(target=target))) for _ in range(20)]
        for connection in others:  # each is read before the control socket answers
            connection.sendall(b"")
        Client(str(path)).document("/v1/status")
        go_on.set()
        assert [answer(connection) for connection in (first, *others)] == [(200, body)] * 21
    assert len(rendered) <= 3


# The Host header.

OWN = ["127.0.0.1", "127.0.0.1:6464", "localhost", "LOCALHOST.:1", "[::1]:80", "gw1.example.net", socket.gethostname()]
FOREIGN = ["attacker.example", "attacker.example:6464", "127.0.0.1.attacker.example", "192.0.2.1", "", "localhost,evil"]


@pytest.mark.parametrize("host", OWN)
def test_own_names_are_served(host):
    assert Hosts("127.0.0.1", ["gw1.example.net"]).refusal([host], (1, 1)) is None


@pytest.mark.parametrize("host", FOREIGN)
def test_foreign_names_are_misdirected(host):
    status, sentence = Hosts("127.0.0.1", ["gw1.example.net"]).refusal([host], (1, 1))
    assert (status, "[api] hosts" in sentence) == (421, True)


def test_a_listener_on_all_addresses_answers_to_any_address_but_no_name():
    for unspecified in ("::", "0.0.0.0"):
        hosts = Hosts(unspecified)
        assert hosts.refusal(["[2001:db8::1]:6464"], (1, 1)) is None
        assert hosts.refusal(["192.0.2.1"], (1, 1)) is None
        assert hosts.refusal(["attacker.example"], (1, 1)) is not None


@pytest.mark.parametrize(
    ("given", "version", "status"), [([], (1, 0), None), ([], (1, 1), 400), (["localhost", "evil"], (1, 1), 400)]
)
def test_one_host_is_given(given, version, status):
    refusal = Hosts("127.0.0.1").refusal(given, version)
    assert (refusal and refusal[0]) == status


def test_a_foreign_host_is_told_and_logged_once(gateway, path, caplog):
    with serving(gateway, path, "127.0.0.1:0") as server:
        for _ in range(30):
            with connect(server, request("attacker.example")) as connection:
                status, body = answer(connection)
            assert (status, list(json.loads(body))) == (421, ["error"])
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(": ")[1].split()[0] for line in lines] == ["1", "29"]


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        (("127.0.0.1", 1), "this host"),
        (("127.9.9.9", 1), "this host"),
        (("::1", 1, 0, 0), "this host"),
        ("", "this host"),
        (None, "this host"),
        (("192.0.2.1", 1), "192.0.2.1"),
        (("::ffff:192.0.2.1", 1, 0, 0), "192.0.2.1"),
        (("2001:db8::1", 1, 0, 0), "2001:db8::/64"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::/64"),
    ],
)
def test_who_a_client_is(peer, client):
    assert client_of(peer) == client


def test_a_lack_of_descriptors_is_one_line(caplog):
    loop = asyncio.new_event_loop()
    try:
        loop.set_exception_handler(connections.quiet_about_descriptors(logging.getLogger("nat64d")))
        for _ in range(100):
            loop.call_exception_handler({"message": "accept", "exception": OSError(24, "Too many open files")})
        assert len(caplog.records) == 1
        loop.call_exception_handler({"message": "another", "exception": ValueError("x")})
        assert "another" in caplog.text
    finally:
        loop.close()
