"""Thousands of clients at once on the control socket, most of them wrong, some silent, some that never read."""

import asyncio
import random
import resource
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context

import pytest

from nat64d.control.client import Client
from nat64d.host.descriptors import raise_limit
from tests.nat64d.fake_gateway import serving, session

CLOSED = 0  # in the place of a status: refused, or closed to let others in
MEMORY = 50 << 20  # octets that all of it may take


def asks(method, target, body=b"", host="nat64d", more=""):
    """A request that ends its connection."""
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode() + body


JSON = "Content-Type: application/json\r\n"
# What is sent, and the status of its answer; None: the client does not wait for one.
SENT = (
    (asks("GET", "/v1/status"), 200),
    (asks("GET", "/v1/sessions?limit=3&fields=host6"), 200),
    (asks("GET", "/v1/sessions?fields=x"), 400),
    (asks("GET", "/v1/sessions?port=-1"), 400),
    (asks("GET", "/v1/bib?cursor=ffffffff-1"), 410),
    (asks("GET", "/v1/nothing"), 404),
    (asks("DELETE", "/v1/status"), 405),
    (asks("GET", "/v1/status", host="attacker.example"), 421),
    (asks("POST", "/v1/changes", b'{"set": {"eam": [', more=JSON), 400),
    (asks("POST", "/v1/changes", b"[1, 2]", more=JSON), 400),
    (asks("PUT", "/v1/log", b'{"level": 7}', more=JSON), 400),
    (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
    (b"GET /v1/status HTTP/1.1\r\nHost: nat", None),
    (asks("GET", "/v1/sessions"), None),
)


async def one(path, octets, status, held):
    """The status of the answer to a request, CLOSED without one; who waits for none stays connected."""
    try:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(octets)
        if status is None:
            held.append(writer)
            return None
        answer = await reader.read()
        writer.close()
    except OSError:
        return CLOSED
    return int(answer.split()[1]) if answer else CLOSED


async def all_at_once(path, number):
    """(what was sent, what was answered) of so many clients, in no order."""
    held, sent = [], [SENT[n % len(SENT)] for n in range(number)]
    random.Random(11).shuffle(sent)
    answers = await asyncio.gather(*(one(path, *each, held) for each in sent))
    for writer in held:
        writer.transport.abort()
    return Counter((status, answer) for (_, status), answer in zip(sent, answers, strict=True))


def clients(path, number):
    """The same, in this process or another one."""
    raise_limit()
    return asyncio.run(all_at_once(path, number))


def flood(gateway, path, number, process=None):
    """So many clients, in another process if there is one: each has its answer, or is refused; then all is as it was.
    The octets by which this process has grown."""
    gateway.session_rows = lambda: map(session, count())  # a listing without an end
    with serving(gateway, path):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcomes = process.submit(clients, str(path), number).result() if process else clients(str(path), number)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        assert Client(str(path)).document("/v1/status")["state"] == "ready"
        assert len(list(Client(str(path)).lines("/v1/sessions", {"limit": "3"}))) == 3
    assert sum(outcomes.values()) == number
    assert {outcome for outcome in outcomes if outcome[0] != outcome[1]} <= {(n, CLOSED) for _, n in SENT}
    assert {status for _, status in SENT} <= {answer for _, answer in outcomes}
    assert (gateway.wishes, gateway.level) == ([], "info")
    return grown


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # clients that are cut off
def test_many_clients_at_once_are_answered_or_refused_and_nothing_changes(gateway, path, caplog):
    flood(gateway, path, 20 * len(SENT))
    assert "Traceback" not in caplog.text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ten_thousand_clients_at_once_take_no_memory(gateway, path, caplog):
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        grown = flood(gateway, path, 10_000, process)
    print(f"{grown:,} octets")
    assert grown < MEMORY
    assert "Traceback" not in caplog.text
