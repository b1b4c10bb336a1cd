"""TCP clients on loopback: patient ones are answered, those that take and do not give are bounded."""

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address, ip_network

import dns.message
import pytest

from nat64d.dns64 import connections
from nat64d.dns64.cache import Cache
from nat64d.dns64.connections import Connections
from nat64d.dns64.exchange import Server as Upstream
from nat64d.dns64.policy import Policy, ranges_for
from nat64d.dns64.rates import Rates
from nat64d.dns64.resolver import Resolver
from nat64d.dns64.server import Listener
from nat64d.dns64.upstream import Upstreams
from tests.dns64.zone import Zone, serve

POLICY = Policy((ip_network("127.0.0.0/8"),), ranges_for(ip_network("64:ff9b::/96"), [], None))
SLOW, QUICK, BIG = "slow.example.", "quick.example.", "big.example."
Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


class Clients:
    """What a test may do: connections to the server, and a look at its counters."""

    def __init__(self, server: Listener, resolver: Resolver) -> None:
        self._server, self.counters, self.counts = server, resolver.counters, resolver.counters.counts
        self.connections: Connections = server._connections
        self._writers: list[Writer] = []

    async def connect(self, address: str = "127.0.0.1") -> tuple[Reader, Writer]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port, local_addr=(address, 0))
        self._writers.append(writer)
        return reader, writer

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


def framed(name: str, number: int = 1, type_: str = "A") -> bytes:
    octets = dns.message.make_query(name, type_, id=number).to_wire()
    return len(octets).to_bytes(2, "big") + octets


async def answer(reader: Reader) -> dns.message.Message:
    size = int.from_bytes(await reader.readexactly(2), "big")
    return dns.message.from_wire(await reader.readexactly(size))


async def until(happened: Callable[[], bool]) -> None:
    for _ in range(100_000):
        if happened():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never happened")


def run(body: Callable[[Clients], Awaitable[None]], rate: int = 0) -> None:
    """`body` beside a server in front of a quick, a big and a slow name; the last is never answered."""
    lines: dict[tuple[str, str], object] = {
        (QUICK, "A"): [f"{QUICK} 60 IN A 192.0.2.1"],
        (BIG, "TXT"): [f'{BIG} 60 IN TXT "{number} {"x" * 250}"' for number in range(200)],
        (SLOW, "A"): lambda _octets, _tcp: [],
    }

    async def inside() -> None:
        port, end = await serve(Zone(lines))
        upstreams = Upstreams([Upstream(ip_address("127.0.0.1"), port)])
        resolver = Resolver(upstreams, Cache(1 << 20), lambda: True)
        resolver.use([POLICY])
        server = Listener(resolver, Rates(rate))
        await server.listen(ip_address("127.0.0.1"), 0)
        clients = Clients(server, resolver)
        try:
            await asyncio.wait_for(body(clients), 10)
        finally:
            clients.close()
            await server.close()
            upstreams.close()
            end()
            await asyncio.sleep(0.02)

    asyncio.run(inside())


def test_rfc7766_6_2_1_1_answers_do_not_wait_for_one_another() -> None:
    async def body(clients: Clients) -> None:
        reader, writer = await clients.connect()
        writer.write(framed(SLOW, 1) + framed(QUICK, 2) + framed(QUICK, 3))
        assert [(await answer(reader)).id for _ in range(2)] == [2, 3]

    run(body)


def test_queries_that_come_in_pieces_are_put_together() -> None:
    async def body(clients: Clients) -> None:
        reader, writer = await clients.connect()
        for octet in framed(QUICK, 7):
            writer.write(bytes([octet]))
            await asyncio.sleep(0)
        assert (await answer(reader)).id == 7

    run(body)


def test_who_ends_his_half_of_the_connection_still_gets_his_answers_and_then_the_end() -> None:
    async def body(clients: Clients) -> None:
        reader, writer = await clients.connect()
        writer.write(framed(QUICK, 1) + framed(QUICK, 2))
        writer.write_eof()
        assert {(await answer(reader)).id for _ in range(2)} == {1, 2}
        assert await reader.read() == b""
        assert not clients.connections.open

    run(body)


@pytest.mark.parametrize("octets", [b"", b"\0", b"\0\x20", framed(QUICK)[:-1]])
def test_who_says_nothing_or_never_ends_a_query_is_hung_up_on(octets: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE", 0.05)

    async def body(clients: Clients) -> None:
        reader, writer = await clients.connect()
        writer.write(octets)
        with pytest.raises((EOFError, OSError)):
            await answer(reader)
        assert not clients.connections.open

    run(body)


def test_who_waits_for_an_answer_may_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE", 0.02)

    async def body(clients: Clients) -> None:
        _, writer = await clients.connect()
        writer.write(framed(SLOW))
        await asyncio.sleep(0.1)
        assert len(clients.connections.open) == 1

    run(body)


def test_who_does_not_read_is_hung_up_on_before_his_answers_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "QUESTIONS", 1 << 20)

    async def body(clients: Clients) -> None:
        reader, writer = await clients.connect()
        writer.write(framed(BIG, 1, "TXT"))
        size = len((await answer(reader)).to_wire())
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        most = 0
        while clients.connections.open:
            writer.write(framed(BIG, 2, "TXT"))
            await asyncio.sleep(0)
            for one in clients.connections.open:
                most = max(most, one.transport.get_write_buffer_size())  # type: ignore[union-attr]
        assert 0 < most <= connections.UNREAD + size + 2
        assert clients.counters.unread == 1

    run(body)


def test_a_connection_has_so_many_questions_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "QUESTIONS", 2)

    async def body(clients: Clients) -> None:
        _, writer = await clients.connect()
        writer.write(b"".join(framed(SLOW, number) for number in range(5)))
        await until(lambda: bool(clients.counts.get("limited")))
        (one,) = clients.connections.open
        assert len(one._waiting) == 2
        kept = len(one._partial)
        writer.write(bytes(1 << 20))
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(one._partial) == kept  # what is not taken any more is not read either

    run(body)


def test_a_client_over_its_rate_is_hung_up_on_once_it_has_what_it_asked_before() -> None:
    async def body(clients: Clients) -> None:
        reader, writer = await clients.connect()
        writer.write(b"".join(framed(QUICK, number) for number in range(5)))
        assert {(await answer(reader)).id for _ in range(2)} == {0, 1}
        assert await reader.read() == b""
        assert clients.counts["limited"] == 1  # the rest was not looked at

    run(body, rate=2)


def test_one_client_does_not_take_the_connections_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SUBSCRIBER_CONNECTIONS", 2)
    monkeypatch.setattr(connections, "CONNECTIONS", 3)

    async def asked(clients: Clients, address: str) -> bool:
        reader, writer = await clients.connect(address)
        try:
            writer.write(framed(QUICK))
            return (await answer(reader)).id == 1
        except (EOFError, OSError):
            return False

    async def body(clients: Clients) -> None:
        addresses = ["127.0.0.1"] * 3 + ["127.0.0.2"] * 2
        assert [await asked(clients, address) for address in addresses] == [True, True, False, True, False]
        assert clients.counters.turned_away == 2
        clients.close()
        await until(lambda: not clients.connections.open)
        assert await asked(clients, "127.0.0.1")

    run(body)
