"""What the API does with requests that change something: what it hands on, and how it refuses the rest."""

import asyncio
import http.client
import json
import socket
from ipaddress import IPv6Network

import pytest

from nat64d.control import writes
from nat64d.control.changes import OutdatedError, Wish
from nat64d.control.filters import SHOWN, Filters, shown
from nat64d.control.rows import BusyError, NotReadyError, RefusedError, WrongConfigurationError
from tests.nat64d.fake_gateway import FakeGateway, serving
from tests.nat64d.test_cli import run

EAM = {"ipv4": "198.51.100.7", "ipv6": "2001:db8::7"}
CHANGE = {"set": {"eam": [EAM]}, "unset": {"forward": [{"protocol": "tcp", "ipv4": "192.0.2.1:80"}]}}


@pytest.fixture(scope="module")
def gateway():
    return FakeGateway()


@pytest.fixture(scope="module")
def path(gateway, tmp_path_factory):
    socket_path = tmp_path_factory.mktemp("api") / "api.sock"
    with serving(gateway, socket_path):
        yield socket_path


@pytest.fixture(autouse=True)
def fresh(gateway):
    gateway.refusal = None
    gateway.wishes.clear()


def ask(path, method, target, body=b"", **headers):
    """Status, headers and document of one request."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        lines = {"Host": "nat64d", "Connection": "close", "Content-Length": str(len(body))} | headers
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
        connection.sendall(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
        response = http.client.HTTPResponse(connection, method=method)
        response.begin()
        return response.status, response.headers, json.loads(response.read())


def test_a_change_set_is_handed_on_and_answered_with_its_version(path, gateway):
    status, headers, answer = ask(path, "POST", "/v1/changes", json.dumps(CHANGE).encode())
    assert (status, headers["ETag"]) == (200, '"0123456789abcdef"')
    assert answer["summary"] == "Changed what api has set: kept 2 sessions."
    ask(path, "POST", "/v1/changes?dry_run=true", b"{}", If_Match='"abc"')
    ask(path, "PUT", "/v1/sources/api?dry_run=false", json.dumps(CHANGE["set"]).encode(), If_Match="*")
    ask(path, "PATCH", "/v1/sources/api", json.dumps(CHANGE | {"generation": "abc"}).encode())
    assert gateway.wishes == [
        Wish("api", CHANGE["set"], CHANGE["unset"]),
        Wish("api", {}, {}, match="abc", dry_run=True),
        Wish("api", CHANGE["set"], {}, replaces=True, match="*"),
        Wish("api", CHANGE["set"], CHANGE["unset"], generation="abc"),
    ]


def test_a_body_is_read_beside_the_event_loop(path, monkeypatch):
    loops = []
    monkeypatch.setattr(writes, "_once", lambda pairs: loops.append(asyncio._get_running_loop()) or dict(pairs))
    assert ask(path, "POST", "/v1/changes", b"{}")[0] == 200
    assert loops == [None]


def test_a_huge_key_is_not_read_to_its_end():
    class Text(str):
        __slots__ = ()

        def __iter__(self):
            raise AssertionError("all of it")

    assert shown(Text("x" * 10**6)) == "x" * (SHOWN - 1) + "…"


def test_what_a_source_says_can_be_read(path, gateway):
    status, headers, answer = ask(path, "GET", "/v1/sources/api")
    assert (status, headers["ETag"], answer) == (200, '"0123456789abcdef"', gateway.said_by("api"))


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "sentence"),
    [
        ("POST", "/v1/changes", b"", 400, "request body: expected JSON: "),
        ("POST", "/v1/changes", b"{", 400, "request body: expected JSON: "),
        ("POST", "/v1/changes", b"\xff\xfe", 400, "request body: expected JSON: "),
        ("POST", "/v1/changes", DEEP, 400, "request body: expected JSON: "),
        ("POST", "/v1/changes", b"[]", 400, "request body: expected an object"),
        ("POST", "/v1/changes", b"null", 400, "request body: expected an object"),
        ("POST", "/v1/changes", b'{"sets": {}}', 400, "request body: sets: unknown key, expected set or unset"),
        ("POST", "/v1/changes", b'{"\\u001b": {}}', 400, "request body: �: unknown key, expected set or unset"),
        ("POST", "/v1/changes", b'{"set": {}, "set": {}}', 400, "request body: expected JSON: set is there twice"),
        ("POST", "/v1/changes?dry_run=yes", b"{}", 400, "dry_run=yes: expected true or false"),
        ("POST", "/v1/changes?force=true", b"{}", 400, "force=true: unknown filter, expected dry_run"),
        ("POST", "/v1/changes", b"x" * (1 + (1 << 24)), 413, "POST /v1/changes: Request Entity Too Large"),
        ("PUT", "/v1/sources/api", b"7", 400, "request body: expected an object"),
        ("PUT", "/v1/sources/nobody", b"{}", 404, "PUT /v1/sources/nobody: Not Found"),
        ("PATCH", "/v1/sources/api", b'{"sets": {}}', 400, "request body: sets: unknown key, expected set, unset or"),
        ("PATCH", "/v1/sources/api", b'{"generation": 7}', 400, "request body: generation: expected a version, as an"),
        ("DELETE", "/v1/sources/api", b"", 405, "DELETE /v1/sources/api: Method Not Allowed"),
        ("GET", "/v1/changes", b"", 405, "GET /v1/changes: Method Not Allowed"),
    ],
)
def test_what_is_no_request_for_a_change_changes_nothing(path, gateway, method, target, body, status, sentence):
    answer = ask(path, method, target, body)
    assert answer[0] == status
    assert answer[2]["error"].startswith(sentence)
    assert gateway.wishes == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Host": "example.com"}, 421), ({"Origin": "http://example.com"}, 403), ({"Origin": "null"}, 403)],
)
def test_other_peoples_pages_change_nothing(path, gateway, headers, status):
    assert ask(path, "POST", "/v1/changes", b"{}", **headers)[0] == status
    assert gateway.wishes == []


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (WrongConfigurationError, 400, 2),
        (RefusedError, 409, 1),
        (OutdatedError, 412, 1),
        (BusyError, 429, 1),
        (NotReadyError, 503, 3),
    ],
)
def test_refusals_of_the_gateway_have_their_status(path, gateway, error, status, code):
    gateway.refusal = error("one\ntwo")
    assert ask(path, "POST", "/v1/changes", b"{}")[::2] == (status, {"error": "one\ntwo"})
    result = run("set", "eam", *EAM.values(), "--socket", str(path))
    assert (result.exit_code, result.stdout) == (code, "")
    assert "one\n" in result.stderr


def test_set_and_unset_send_rows_in_the_order_of_their_values(path, gateway):
    words = ("eam", *EAM.values(), "forward", "tcp,udp", "192.0.2.1:80", "[2001:db8::2]:8080")
    result = run("set", *words, "eam", "198.51.100.8", "--socket", str(path))
    assert (result.exit_code, result.stdout) == (0, "Changed what api has set: kept 2 sessions.\n")
    result = run(
        "unset", "forward", "tcp", "192.0.2.1:80", "pool4", "192.0.2.9", "--dry-run", "--json", "--socket", str(path)
    )
    assert json.loads(result.stdout)["dry_run"]
    forward = {"protocol": ["tcp", "udp"], "ipv4": "192.0.2.1:80", "ipv6": "[2001:db8::2]:8080"}
    names = {"forward": [{"protocol": "tcp", "ipv4": "192.0.2.1:80"}], "pool4": [{"addresses": "192.0.2.9"}]}
    assert gateway.wishes == [
        Wish("api", {"eam": [EAM, {"ipv4": "198.51.100.8"}], "forward": [forward]}, {}),
        Wish("api", {}, names, dry_run=True),
    ]


@pytest.mark.parametrize("words", [("198.51.100.7",), ("eam", "a", "b", "c"), ("tun", "mtu", "1500")])
def test_words_that_are_no_rows_are_a_usage_error(path, gateway, words):
    result = run("set", *words, "--socket", str(path))
    assert result.exit_code == 2
    assert "expected eam IPV4 IPV6; forward " in " ".join(result.stderr.split())
    assert gateway.wishes == []


# Flush.


def test_a_grace_is_asked_for_without_filters(path, gateway):
    assert ask(path, "POST", "/v1/grace")[::2] == (200, {"seconds": 60})
    gateway.refusal = BusyError("another change is being made")
    assert ask(path, "POST", "/v1/grace")[0] == 429


def test_a_flush_is_handed_on_and_says_how_many_have_ended(path, gateway):
    gateway.flushed.clear()
    assert ask(path, "DELETE", "/v1/sessions?proto=tcp&host6=2001:db8::/32")[::2] == (200, {"ended": 2})
    assert ask(path, "DELETE", "/v1/sessions?all=true")[0] == 200
    assert run("flush", "--port", "53", "--socket", str(path)).stdout == "Ended 2 sessions\n"
    assert run("flush", "--all", "--json", "--socket", str(path)).stdout == '{"ended": 2}\n'
    assert gateway.flushed == [
        Filters(proto="tcp", host6=IPv6Network("2001:db8::/32")),
        Filters(all=True),
        Filters(port=53),
        Filters(all=True),
    ]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        (
            "",
            "expected which sessions are to end: host, port, proto, state, host6, host4, mapped4, service; or all=true",
        ),
        ("?all=false", "expected which sessions are to end: "),
        ("?all=yes", "all=yes: expected true or false"),
        ("?proto=tpc", "proto=tpc: expected tcp, udp, icmp or a number below 256"),
        ("?limit=5", "limit=5: unknown filter, expected host, port,"),
        ("?cursor=00000000-1", "cursor=00000000-1: unknown filter"),
        ("?all=true&proto=x", "proto=x: expected"),
    ],
)
def test_a_flush_of_what_is_not_clear_ends_nothing(path, gateway, query, sentence):
    gateway.flushed.clear()
    status, _, answer = ask(path, "DELETE", f"/v1/sessions{query}")
    assert status == 400
    assert answer["error"].startswith(sentence)
    assert run("flush", "--socket", str(path)).exit_code == 2
    assert gateway.flushed == []
