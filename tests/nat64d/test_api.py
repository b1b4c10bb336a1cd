"""The API over a real unix socket: what it answers, how it refuses, and that a long listing costs no memory."""

import asyncio
import http.client
import json
import socket
import threading
import tracemalloc
from ipaddress import IPv4Network, IPv6Network
from itertools import islice

import pytest
from aiohttp import web

from nat64d.control import rows as shapes
from nat64d.control.client import Client, DaemonUnreachableError, RequestRefusedError
from nat64d.control.filters import STATES, FilterError, Filters, parse_filters
from nat64d.control.listings import BY_NAME
from tests.nat64d.fake_gateway import serving, session, standing

LISTINGS = {
    "conditions": 2,
    "counters": 3,
    "event-counts": 2,
    "sessions": 2,
    "bib": 1,
    "hosts": 2,
    "pools": 2,
    "mappings": 1,
    "services": 2,
}


@pytest.fixture
def server(gateway, path):
    with serving(gateway, path, "127.0.0.1:0") as server:
        yield server


@pytest.fixture
def client(server, path):
    return Client(str(path))


def ask(path, target, method="GET", body=b""):
    """Status, content type and body of one request on the unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        head = f"{method} {target} HTTP/1.1\r\nHost: nat64d\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        response = http.client.HTTPResponse(connection, method=method)
        response.begin()
        return response.status, response.headers["Content-Type"], response.read()


# What it answers.


def test_status_is_the_gateways_and_says_where_metrics_are(client, gateway, server):
    status = client.document("/v1/status")
    assert status == {**gateway.status(), "http": server.http, "warnings": []}
    assert status.keys() == shapes.Status.__required_keys__


@pytest.mark.parametrize("name", LISTINGS)
def test_a_listing_is_one_json_object_a_line(server, path, name):
    status, content_type, body = ask(path, f"/v1/{name}")
    assert (status, content_type) == (200, "application/jsonl")
    assert body.endswith(b"\n")
    assert len([json.loads(line) for line in body.splitlines()]) == LISTINGS[name]


def test_an_empty_listing_is_empty(client, gateway):
    gateway.session_rows = lambda: iter(())
    assert list(client.lines("/v1/sessions", {})) == []


def test_filters_reach_the_gateway_and_limit_cuts(client, gateway):
    assert [row["protocol"] for row in client.rows("/v1/sessions", {"proto": "udp"})] == ["udp"]
    assert list(client.rows("/v1/sessions", {"host6": "2001:db8:1::/48"})) == []
    assert len(list(client.rows("/v1/sessions", {"host6": "2001:db8::1", "host4": "192.0.2.0/24"}))) == 2
    assert list(client.rows("/v1/bib", {"mapped4": "203.0.113.2"})) == []
    gateway.session_rows = lambda: map(session, range(5000))
    assert len(list(client.rows("/v1/sessions", {"limit": "1500"}))) == 1500


@pytest.mark.parametrize("name", LISTINGS)
def test_a_listing_has_the_fields_that_are_wanted_in_their_order(client, name):
    fields = BY_NAME[name].fields
    (whole, *_), wanted = client.rows(f"/v1/{name}", {"limit": "1"}), (fields[-1], fields[0])
    (row,) = client.rows(f"/v1/{name}", {"limit": "1", "fields": ",".join(wanted)})
    assert list(whole) == list(fields)
    assert list(row.items()) == [(field, whole[field]) for field in wanted]


def test_a_cursor_goes_on_after_its_row_and_one_of_other_tables_is_gone(client, gateway, path):
    gateway.session_rows = lambda: map(session, range(10))
    ports, page = [], {"limit": "3"}
    while rows := list(client.rows("/v1/sessions", page)):
        ports += [row["host6_port"] for row in rows]
        page["cursor"] = rows[-1]["cursor"]
    assert ports == [1024 + number for number in range(10)]
    assert ask(path, "/v1/sessions?cursor=ffffffff-1")[::2] == (410, b'{"error": "cursor: begin again"}')


def test_the_gateway_is_never_asked_by_the_event_loop(client, gateway, server):
    loop_thread = {thread.ident for thread in threading.enumerate() if thread.name.endswith("(run)")}
    for name in LISTINGS:
        list(client.lines(f"/v1/{name}", {}))
    assert len(loop_thread) == 1
    assert gateway.threads
    assert not gateway.threads & loop_thread


def test_a_packet_is_posted_and_its_explanation_answered(client, gateway):
    assert client.posted("/v1/explain", b"\x60\x00") == gateway.explain(b"\x60\x00")


# How it refuses.


@pytest.mark.parametrize("charset", ["", "; charset=none-such"])
def test_words_that_are_no_text_are_no_packet(server, path, charset, caplog):
    body = b"\xff > \xfe udp 1 2"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        head = f"POST /v1/explain HTTP/1.0\r\nContent-Type: text/plain{charset}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        response = http.client.HTTPResponse(connection, method="POST")
        response.begin()
        assert (response.status, caplog.text) == (400, "")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (shapes.WrongConfigurationError, 400),
        (shapes.RefusedError, 409),
        (shapes.BusyError, 429),
        (shapes.NotReadyError, 503),
    ],
)
def test_a_reload_that_is_refused_is_told_why(gateway, server, path, error, status):
    gateway.refusal = error("one line\nanother")
    answered, _, body = ask(path, "/v1/reload", "POST")
    assert (answered, json.loads(body)) == (status, {"error": "one line\nanother"})


def test_reading_changes_nothing(server, path):
    assert ask(path, "/v1/reload")[0] == 405


@pytest.mark.parametrize(("error", "status"), [(shapes.BusyError, 429), (shapes.ExplanationError, 500)])
def test_a_packet_that_is_not_explained_is_told_why(gateway, server, path, error, status, monkeypatch):
    def refuse(_):
        raise error("one sentence")

    monkeypatch.setattr(gateway, "explain", refuse)
    answered, _, body = ask(path, "/v1/explain", "POST", b"\x45")
    assert (answered, json.loads(body)) == (status, {"error": "one sentence"})
    with pytest.raises(RequestRefusedError, match=r"^one sentence$"):
        Client(str(path)).posted("/v1/explain", b"\x45")


def test_more_octets_than_any_packet_has_are_refused(server, path):
    answered, _, body = ask(path, "/v1/explain", "POST", bytes(1 << 21))
    assert (answered, list(json.loads(body))) == (413, ["error"])


ALL = "host, port, proto, state, host6, host4, mapped4, service, limit, fields, cursor"
REFUSED = [
    ("sessions", "proto=foo", "proto=foo: expected tcp, udp, icmp or a number below 256"),
    ("sessions", "host6=192.0.2.1", "host6=192.0.2.1: expected an IPv6 address or prefix"),
    ("sessions", "host4=2001:db8::/129", "host4=2001:db8::/129: expected an IPv4 or IPv6 address or prefix"),
    ("sessions", "mapped4=192.0.2.0/33", "mapped4=192.0.2.0/33: expected an IPv4 or IPv6 address or prefix"),
    ("sessions", "limit=0", "limit=0: expected a whole number from 1 to 1000000000"),
    ("sessions", "limit=1_0", "limit=1_0: expected a whole number from 1 to 1000000000"),
    ("sessions", "limit=-1", "limit=-1: expected a whole number from 1 to 1000000000"),
    ("sessions", f"limit=1{'0' * 32}", f"limit=1{'0' * 32}: expected a whole number from 1 to 1000000000"),
    ("sessions", "limit=1000000001", "limit=1000000001: expected a whole number from 1 to 1000000000"),
    ("sessions", f"limit={'9' * 5000}", f"limit={'9' * 73}…: expected a whole number from 1 to 1000000000"),
    ("sessions", "limit=%D9%A1", "limit=\u0661: expected a whole number from 1 to 1000000000"),
    ("sessions", "limit=", "limit=: expected a whole number from 1 to 1000000000"),
    ("sessions", "limit", "limit=: expected a whole number from 1 to 1000000000"),
    ("sessions", "limit=%0a%1b%5b2J", "limit=\ufffd\ufffd[2J: expected a whole number from 1 to 1000000000"),
    ("sessions", "proto=256", "proto=256: expected tcp, udp, icmp or a number below 256"),
    ("sessions", f"proto={'9' * 5000}", f"proto={'9' * 73}…: expected tcp, udp, icmp or a number below 256"),
    ("sessions", "host6=", "host6=: expected an IPv6 address or prefix"),
    ("sessions", "host6=fe80::1%25eth0%ff", "host6=fe80::1%eth0\ufffd: expected an IPv6 address or prefix"),
    ("sessions", "host6=::/129", "host6=::/129: expected an IPv6 address or prefix"),
    (
        "sessions",
        "host4=192.0.2.1/255.0.255.0",
        "host4=192.0.2.1/255.0.255.0: expected an IPv4 or IPv6 address or prefix",
    ),
    ("sessions", "host4=5", "host4=5: expected an IPv4 or IPv6 address or prefix"),
    ("sessions", "=", f"=: unknown filter, expected {ALL}"),
    ("status", "limit=1", "limit=1: unknown filter, expected none"),
    ("openapi.json", "x", "x=: unknown filter, expected none"),
    ("sessions", "proto=tcp&proto=udp", "proto=udp: given twice"),
    ("sessions", "protocol=tcp", f"protocol=tcp: unknown filter, expected {ALL}"),
    ("sessions", "state=x", f"state=x: expected one of {', '.join(STATES)}"),
    ("sessions", "port=65536", "port=65536: expected a whole number from 0 to 65535"),
    ("sessions", "host=x", "host=x: expected an IPv4 or IPv6 address or prefix"),
    ("sessions", "host=192.0.2.0/33", "host=192.0.2.0/33: expected an IPv4 or IPv6 address or prefix"),
    ("sessions", "host6=::1/ffff::", "host6=::1/ffff::: expected an IPv6 address or prefix"),
    ("sessions", "cursor=1", "cursor=1: expected the cursor of a row"),
    ("sessions", "cursor=0123abcd-99999999999", "cursor=0123abcd-99999999999: expected the cursor of a row"),
    ("pools", "fields=used,x", f"fields=used,x: no field x, expected {', '.join(BY_NAME['pools'].fields)}"),
    ("pools", "fields=", f"fields=: no field , expected {', '.join(BY_NAME['pools'].fields)}"),
    ("pools", "fields=used,used", "fields=used,used: expected each field once"),
    (
        "hosts",
        "top=1&cursor=0123abcd-1",
        "cursor: rows in the order of `top` have no place to go on from, expected one of the two",
    ),
    ("pools", "host4=192.0.2.1", "host4=192.0.2.1: unknown filter, expected limit, fields"),
]


@pytest.mark.parametrize(("listing", "query", "sentence"), REFUSED)
def test_a_bad_filter_is_400_with_one_sentence(server, path, listing, query, sentence):
    status, content_type, body = ask(path, f"/v1/{listing}?{query}")
    assert (status, json.loads(body)) == (400, {"error": sentence})
    assert content_type.startswith("application/json")


def test_the_client_hands_on_the_sentence(client):
    with pytest.raises(RequestRefusedError, match=r"^proto=foo: expected tcp, udp, icmp or a number below 256$"):
        list(client.rows("/v1/sessions", {"proto": "foo"}))


@pytest.mark.parametrize(("method", "target", "status"), [("GET", "/v1/nothing", 404), ("POST", "/v1/status", 405)])
def test_other_refusals_are_json_too(server, path, method, target, status):
    answered, _, body = ask(path, target, method)
    assert answered == status
    assert json.loads(body)["error"].startswith(f"{method} {target}: ")


def test_before_it_is_ready_only_health_and_status_answer(gateway, server, path):
    gateway.state = "compiling"
    assert [ask(path, target)[0] for target in ("/healthz", "/v1/status", "/metrics", "/readyz")] == [
        200,
        200,
        200,
        503,
    ]
    assert ask(path, "/v1/conditions")[::2] == (200, b"")
    for target, method in [(f"/v1/{name}", "GET") for name in LISTINGS if name not in {"conditions", "mappings"}] + [
        ("/v1/explain", "POST")
    ]:
        status, _, body = ask(path, target, method)
        assert (status, json.loads(body)) == (503, {"error": "not ready yet: compiling"})


def test_while_a_condition_blocks_it_is_not_ready_and_says_why(gateway, server, path):
    gateway.state, gateway.standing = "blocked", [standing("on_link"), standing("firewall")]
    assert ask(path, "/readyz")[::2] == (503, b'{"error": "packets cannot pass: firewall"}')
    assert json.loads(ask(path, "/v1/status")[2])["conditions"] == gateway.standing
    rows = map(json.loads, ask(path, "/v1/conditions")[2].splitlines())
    assert {row["condition"]: row["standing"] for row in rows} == {"firewall": 1, "on_link": 1}


def test_a_fault_before_the_first_row_is_500_in_json(client, gateway, caplog):
    gateway.session_rows = lambda: (1 / 0 for _ in range(1))
    with pytest.raises(RequestRefusedError, match=r"^GET /v1/sessions: internal error; see the log of the daemon$"):
        list(client.lines("/v1/sessions", {}))
    assert "ZeroDivisionError" in caplog.text


def test_a_fault_after_the_first_rows_breaks_the_listing_off(client, gateway, caplog):
    gateway.session_rows = lambda: (session(60000 // (2000 - number)) for number in range(2001))
    with pytest.raises(DaemonUnreachableError, match=r"stopped before its answer was complete"):
        list(client.lines("/v1/sessions", {}))
    assert "ZeroDivisionError" in caplog.text


def test_addresses_inside_a_prefix_name_the_prefix():
    given = {
        "proto": "icmp",
        "host6": "2001:db8::7/64",
        "host4": "192.0.2.7/24",
        "mapped4": "192.0.2.1",
        "limit": "7",
    }
    assert parse_filters(given.items(), BY_NAME["sessions"].filters) == Filters(
        proto="icmp",
        host6=IPv6Network("2001:db8::/64"),
        host4=IPv4Network("192.0.2.0/24"),
        mapped4=IPv4Network("192.0.2.1/32"),
        limit=7,
    )
    with pytest.raises(FilterError, match=r"^host4="):
        parse_filters(given.items(), BY_NAME["bib"].filters)


# That length costs nothing.


def test_60_000_sessions_are_never_in_memory(client, gateway):
    gateway.session_rows = lambda: map(session, range(60_000))
    tracemalloc.start()
    try:
        lines = client.lines("/v1/sessions", {})
        list(islice(lines, 5_000))
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        rest = sum(1 for _ in lines)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rest == 55_000
    assert peak - before < 2 << 20  # as text they are 10 MiB


def test_others_are_answered_while_a_listing_waits_for_the_gateway(client, gateway, path):
    asked, go_on = threading.Event(), threading.Event()

    def rows():
        asked.set()
        assert go_on.wait(10)
        yield session(1)

    gateway.session_rows = rows
    result = []
    listing = threading.Thread(target=lambda: result.extend(client.rows("/v1/sessions", {})))
    listing.start()
    assert asked.wait(10)
    assert ask(path, "/healthz")[::2] == (200, b"ok\n")
    go_on.set()
    listing.join(10)
    assert result == [session(1)]


@pytest.mark.parametrize("target", ["/v1/sessions", "/v1/events?follow=true", "/v1/events?since=0&follow=true"])
def test_a_reader_that_leaves_before_it_is_answered_is_no_fault(gateway, server, path, target, caplog, monkeypatch):
    asked, gone, tried = threading.Event(), threading.Event(), threading.Event()
    prepare = web.StreamResponse.prepare

    async def prepared_late(response, request):
        asked.set()
        assert await asyncio.to_thread(gone.wait, 10)
        try:
            return await prepare(response, request)
        finally:
            tried.set()

    monkeypatch.setattr(web.StreamResponse, "prepare", prepared_late)
    with socket.socket(socket.AF_UNIX) as reader:
        reader.connect(str(path))
        reader.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert asked.wait(10)
    monkeypatch.setattr(web.StreamResponse, "prepare", prepare)
    assert ask(path, "/healthz")[0] == 200
    gone.set()
    assert tried.wait(10)
    assert ask(path, "/healthz")[0] == 200
    assert caplog.text == ""


def test_a_listing_its_reader_left_is_given_up(client, gateway, caplog):
    given_up = threading.Event()

    def rows():
        try:
            yield from map(session, range(10_000_000))
        finally:
            given_up.set()

    gateway.session_rows = rows
    lines = client.lines("/v1/sessions", {})
    next(lines)
    lines.close()
    assert given_up.wait(10)
    assert caplog.text == ""


def test_a_stop_breaks_listings_off_and_the_reader_learns_it(gateway, path):
    gateway.session_rows = lambda: map(session, range(10_000_000))
    with serving(gateway, path):
        lines = Client(str(path)).lines("/v1/sessions", {})
        next(lines)
    with pytest.raises(DaemonUnreachableError, match=r"stopped before its answer was complete; see its log$"):
        list(lines)
