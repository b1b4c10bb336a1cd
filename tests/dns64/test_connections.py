"""TCP clients on the loopback: well-behaved ones are answered, and no client can take more than its share."""

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address, ip_network

import dns.message
import pytest

from nat64d.dns64.clients import connections
from nat64d.dns64.clients.connections import Connections
from nat64d.dns64.clients.listener import Desk, Listener
from nat64d.dns64.clients.rates import Rates
from nat64d.dns64.resolver import Resolver
from nat64d.dns64.rules.policy import Policy, ranges_for
from nat64d.dns64.upstreams.cache import Cache
from nat64d.dns64.upstreams.exchange import ServerAddress as Upstream
from nat64d.dns64.upstreams.upstream import Upstreams
from tests.dns64 import clock
from tests.dns64.zone import Zone, serve

POLICY = Policy((ip_network("127.0.0.0/8"),), ranges_for(ip_network("64:ff9b::/96"), [], None))
SLOW, QUICK, BIG = "slow.example.", "quick.example.", "big.example."
Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


class Clients:
    """Connections to the server, and its counters."""

    def __init__(self, server: Listener, resolver: Resolver) -> None:
        self._server, self.counters, self.counts = server, resolver.counters, resolver.counters.counts
        self.connections: Connections = server._desk.connections
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
    """Run `body` with a server for three names: one with a small and one with a large answer, and one that is never
    answered."""
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
        server = Listener(Desk(resolver, Rates(rate)))
        await server.listen(ip_address("127.0.0.1"), 0)
        clients = Clients(server, resolver)
        try:
            await body(clients)
        finally:
            clients.close()
            await server.close()
            upstreams.close()
            end()
            await asyncio.sleep(0.02)

    clock.run(inside())


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


def test_a_client_that_ends_its_half_of_the_connection_still_gets_its_answers() -> None:
    async def body(clients: Clients) -> None:
        reader, writer = await clients.connect()
        writer.write(framed(QUICK, 1) + framed(QUICK, 2))
        writer.write_eof()
        assert {(await answer(reader)).id for _ in range(2)} == {1, 2}
        assert await reader.read() == b""
        assert not clients.connections.open

    run(body)


@pytest.mark.parametrize("octets", [b"", b"\0", b"\0\x20", framed(QUICK)[:-1]])
def test_a_client_that_sends_nothing_or_never_ends_a_query_is_disconnected(octets: bytes) -> None:
    async def body(clients: Clients) -> None:
        reader, writer = await clients.connect()
        writer.write(octets)
        with pytest.raises((EOFError, OSError)):
            await answer(reader)
        assert not clients.connections.open

    run(body)


def test_a_client_that_waits_for_an_answer_may_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE", 0.5)

    async def body(clients: Clients) -> None:
        _, writer = await clients.connect()
        writer.write(framed(SLOW))
        await asyncio.sleep(3)
        assert len(clients.connections.open) == 1

    run(body)


def test_a_client_that_does_not_read_is_disconnected_before_its_answers_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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


def test_a_client_over_its_rate_is_disconnected_after_the_answers_to_its_earlier_queries() -> None:
    async def body(clients: Clients) -> None:
        reader, writer = await clients.connect()
        writer.write(b"".join(framed(QUICK, number) for number in range(5)))
        assert {(await answer(reader)).id for _ in range(2)} == {0, 1}
        assert await reader.read() == b""
        assert clients.counts["limited"] == 1  # the rest was not looked at

    run(body, rate=2)


def test_a_query_longer_than_any_need_be_is_not_waited_for() -> None:
    async def body(clients: Clients) -> None:
        reader, writer = await clients.connect()
        writer.write((connections.QUERY_OCTETS + 1).to_bytes(2, "big") + bytes(100))
        with pytest.raises((EOFError, OSError)):
            await answer(reader)
        assert clients.counters.overlong == 1
        reader, writer = await clients.connect()
        writer.write(connections.QUERY_OCTETS.to_bytes(2, "big") + bytes(connections.QUERY_OCTETS))
        assert (await answer(reader)).rcode() == dns.rcode.FORMERR

    run(body)


async def got(clients: Clients, address: str) -> bool:
    """Whether a client gets an answer over a new connection, which it leaves open."""
    reader, writer = await clients.connect(address)
    try:
        writer.write(framed(QUICK))
        return (await answer(reader)).id == 1
    except (EOFError, OSError):
        return False


def test_a_client_that_is_alone_may_have_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 5)

    async def body(clients: Clients) -> None:
        assert all([await got(clients, "127.0.0.1") for _ in range(8)])
        assert len(clients.connections.open) == 5
        assert (clients.counters.displaced, clients.counters.turned_away) == (3, 0)

    run(body)


def test_where_all_answers_are_due_a_client_with_no_more_than_others_is_turned_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 3)

    async def body(clients: Clients) -> None:
        for host in (1, 1, 2):
            _, writer = await clients.connect(f"127.0.0.{host}")
            writer.write(framed(SLOW))
        await until(lambda: sum(one.is_busy for one in clients.connections.open) == 3)
        assert await got(clients, "127.0.0.3"), "the first has two"
        assert {one.client for one in clients.connections.open} == {"127.0.0.1", "127.0.0.2", "127.0.0.3"}
        for one in clients.connections.open:
            if one.client == "127.0.0.3" and one.transport:
                one.received(dns.message.make_query(SLOW, "A").to_wire())
        assert not await got(clients, "127.0.0.4")
        assert (clients.counters.displaced, clients.counters.turned_away) == (1, 1)

    run(body)
