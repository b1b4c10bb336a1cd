"""One question to an endpoint of a service, over real sockets, and what many answers make of it."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address

import pytest

from nat64d.config.services import Health
from nat64d.services.checker import AT_ONCE, Checker
from nat64d.services.probes import LARGEST, ask
from nat64d.services.standing import FEWEST, Key, Known, Place, Standing

LOOPBACK = IPv6Address("::1")
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def asked(answer: Answer, health: Health) -> str | None:
    """What a question to a server on loopback that answers so comes to; it has answered when this returns."""

    async def main() -> str | None:
        answered = asyncio.Event()

        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await answer(reader, writer)
            except ConnectionError:
                pass
            finally:
                writer.close()
                answered.set()

        server = await asyncio.start_server(served, "::1", 0)
        async with server:
            why = await ask(Place(LOOPBACK, server.sockets[0].getsockname()[1]), health)
            await answered.wait()
        return why

    return asyncio.run(main())


def saying(octets: bytes) -> tuple[Answer, list[bytes]]:
    """A server that says this after the first request; and the requests."""
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(octets)

    return answer, requests


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@contextmanager
def unused() -> Iterator[Place]:
    """A port at which nobody listens."""
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        yield Place(LOOPBACK, taken.getsockname()[1])


@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_nobody_listens(kind):
    with unused() as place:
        assert asyncio.run(ask(place, Health(kind=kind))) == "connection refused"


@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_no_way_to_it(kind):
    assert asyncio.run(ask(Place(IPv6Address("ff02::1"), 80), Health(kind=kind))) in {
        "network is unreachable",
        "invalid argument",
    }


def test_a_connection_is_enough_and_ends_with_a_reset():
    ended: list[ConnectionResetError] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        except ConnectionResetError as error:
            ended.append(error)

    assert asked(answer, Health(kind="tcp")) is None
    assert len(ended) == 1


@pytest.mark.parametrize("status", [200, 204, 302, 399])
def test_http_serves(status):
    answer, requests = saying(b"HTTP/1.1 %d It\r\nContent-Length: 0\r\nLocation: http://[::1]:1/\r\n\r\n" % status)
    assert asked(answer, Health(kind="http", path="/ready?deep=1", host="web.example")) is None
    (request,) = requests
    assert request.startswith(b"GET /ready?deep=1 HTTP/1.1\r\n")
    assert b"Host: web.example\r\n" in request


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", "HTTP 400"),
        (b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n", "HTTP 503"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP answer"),
        (b"", "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "no HTTP answer"),
    ],
)
def test_http_does_not_serve(said, why):
    assert asked(saying(said)[0], Health(kind="http")) == why


def test_no_answer():
    assert asked(silent, Health(kind="http").model_copy(update={"timeout": 0.05})) == "no answer within 0.05 s"


def test_an_endless_answer_is_not_read_to_its_end():
    written = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(LARGEST))
            written += LARGEST
            await writer.drain()

    assert asked(answer, Health(kind="http")) is None
    assert written < 1 << 24


def test_so_many_in_a_row_count():
    health = Known(Health(rise=2, fall=3), 100.0)
    assert (health.standing, health.since) == (Standing.UP, 100.0)
    steps = [
        ("refused", Standing.FAILING),
        ("refused", Standing.FAILING),
        (None, Standing.UP),
        ("refused", Standing.FAILING),
        ("silent", Standing.FAILING),
        ("refused", Standing.DOWN),
        (None, Standing.DOWN),
        ("silent", Standing.DOWN),
        (None, Standing.DOWN),
        (None, Standing.UP),
    ]
    before, since = Standing.UP, 100.0
    for moment, (why, standing) in enumerate(steps):
        assert health.note(why, moment) is (standing is not before)
        since = moment if standing is not before else since
        assert (health.standing, health.since) == (standing, since)
        assert (health.why is None) is (standing is Standing.UP)
        before = standing


def test_one_that_fails_at_once_is_down_at_once():
    health = Known(Health(fall=1, rise=1), 0.0)
    assert health.note("refused", 1.0)
    assert (health.standing, health.why) == (Standing.DOWN, "refused")
    assert health.note(None, 2.0)
    assert (health.standing, health.why) == (Standing.UP, None)


def test_one_that_is_back_begins_with_few():
    health = Known(Health(fall=1, rise=1, slow_start=10), 0.0)
    assert health.part(0.0) == 1.0
    health.note("refused", 5.0)
    health.note(None, 20.0)
    assert [health.part(moment) for moment in (20.0, 25.0, 30.0, 99.0)] == [FEWEST, (1 + FEWEST) / 2, 1.0, 1.0]


class Clock:
    """Sleeping for the checker: whoever sleeps waits until `turn` lets all go on."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._sleepers: list[asyncio.Future[None]] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers.append(sleeper)
        await sleeper

    async def turn(self) -> None:
        sleepers, self._sleepers = self._sleepers, []
        for sleeper in sleepers:
            if not sleeper.done():
                sleeper.set_result(None)
        for _ in range(20):
            await asyncio.sleep(0)


A, B = Key(Place(IPv6Address("fd00::a"), 80), Health(fall=2)), Key(Place(IPv6Address("fd00::b"), 80), Health(fall=2))


def test_each_is_asked_again_and_again_and_changes_are_told():
    told: list[tuple[Key, Standing, str | None]] = []

    async def question(place: Place, health: Health) -> str | None:
        return "connection refused" if place == A.place else None

    async def main() -> None:
        clock = Clock()

        def tell(key: Key, known: Known) -> None:
            told.append((key, known.standing, known.why))

        checker = Checker(tell, question, clock.sleep, lambda low, high: high)
        checker.use([A, B, A])
        assert list(checker.known) == [A, B]
        for _ in range(4):
            await clock.turn()
        assert told == [(A, Standing.FAILING, "connection refused"), (A, Standing.DOWN, "connection refused")]
        assert set(clock.slept) == {5.0, 5.5}
        known = checker.known[A]
        checker.use([A])
        assert checker.known == {A: known}
        checker.use([A, B])
        assert checker.known[B].standing is Standing.UP
        await checker.close()
        assert checker.known == {}

    asyncio.run(main())


def test_no_more_than_so_many_are_asked_at_a_time():
    waiting = most = 0

    async def question(place: Place, health: Health) -> None:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await asyncio.sleep(0)
        waiting -= 1

    async def main() -> None:
        clock = Clock()
        checker = Checker(lambda key, health: None, question, clock.sleep)
        checker.use(Key(Place(IPv6Address("fd00::1"), port), Health()) for port in range(1, 2 * AT_ONCE))
        await clock.turn()
        await clock.turn()
        await checker.close()

    asyncio.run(main())
    assert most == AT_ONCE
