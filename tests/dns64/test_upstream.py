"""Which upstream server is asked when, on the loopback: silent and recovered servers, and limits."""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

import dns.message
import pytest

from nat64d.dns64.message.wire import IN, A, Question, name_of
from nat64d.dns64.upstreams import exchange, race, upstream
from nat64d.dns64.upstreams.exchange import ServerAddress
from nat64d.dns64.upstreams.upstream import Upstreams
from tests.dns64 import clock
from tests.dns64.asking import UnansweredError, asked
from tests.dns64.zone import Zone, reply, serve

LOCALHOST = ip_address("127.0.0.1")
WWW = "www.example"
Body = Callable[[Upstreams, list[Zone]], Awaitable[None]]
LIVES: list[str] = [f"{WWW}. 60 IN A 192.0.2.1"]


def silent(_octets: bytes, _tcp: bool) -> list[bytes]:
    return []


def with_servers(body: Body, *said: object) -> Upstreams:
    """Run `body` with a server for each of these answers to an A query for WWW."""

    async def run() -> Upstreams:
        zones = [Zone({(f"{WWW}.", "A"): each}) for each in said]
        opened = [await serve(zone) for zone in zones]
        upstreams = Upstreams([ServerAddress(LOCALHOST, port) for port, _ in opened])
        try:
            await body(upstreams, zones)
        finally:
            upstreams.close()
            for _, end in opened:
                end()
            await asyncio.sleep(0.01)
        return upstreams

    return clock.run(run())


def test_a_dead_server_costs_its_patience_once_and_the_other_is_asked_first_then() -> None:
    async def body(upstreams: Upstreams, zones: list[Zone]) -> None:
        for _ in range(20):
            await asked(upstreams, WWW)
        assert len(zones[1].asked) == 20
        assert len(zones[0].asked) < 10

    upstreams = with_servers(body, silent, LIVES)
    assert upstreams.ranked()[0] is upstreams.all[1]


def test_a_server_that_has_recovered_is_found_by_a_probe_and_used_again() -> None:
    async def body(upstreams: Upstreams, zones: list[Zone]) -> None:
        dead, loop = upstreams.all[0], asyncio.get_running_loop()

        async def until(reached: Callable[[], bool], seconds: float) -> None:
            end = loop.time() + seconds
            while not reached() and loop.time() < end:
                await asked(upstreams, WWW)
                await asyncio.sleep(1)
            assert reached()

        await until(lambda: dead.silent == race.DOWN, 2 * race.DOWN * race.PROBE)
        zones[0].table[f"{WWW}.", "A"] = LIVES
        await until(lambda: not dead.silent, 2 * race.PROBE)
        assert race.PROBE <= 300  # RFC 2308 section 7.2
        assert dead.seconds < race.LEAST_PATIENCE

    with_servers(body, silent, LIVES)


def test_a_lost_datagram_is_sent_again() -> None:
    async def body(upstreams: Upstreams, zones: list[Zone]) -> None:
        lost: list[bytes] = []

        def said(octets: bytes, _tcp: bool) -> list[bytes]:
            lost.append(octets[:2])
            return [reply(dns.message.from_wire(octets), list(LIVES)).to_wire()] if len(lost) == 2 else []

        zones[0].table[f"{WWW}.", "A"] = said
        await asked(upstreams, WWW)
        assert lost[0] != lost[1]

    with_servers(body, silent)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_rfc9520_3_1_a_server_is_asked_the_same_three_times_at_most(count: int) -> None:
    async def body(upstreams: Upstreams, zones: list[Zone]) -> None:
        with pytest.raises(UnansweredError):
            await asked(upstreams, WWW)
        await asyncio.sleep(2 * race.DEADLINE)
        assert all(1 <= len(zone.asked) <= 3 for zone in zones)

    with_servers(body, *[silent] * count)


def test_when_all_servers_are_silent_the_client_gets_an_error_at_the_deadline_and_sooner_when_they_are_down() -> None:
    async def body(upstreams: Upstreams, zones: list[Zone]) -> None:
        took = []
        while len(took) < 8:
            begin = asyncio.get_running_loop().time()
            with pytest.raises(UnansweredError, match="no answer in time"):
                await asked(upstreams, WWW)
            took.append(asyncio.get_running_loop().time() - begin)
        assert race.DEADLINE <= took[0] < 5  # when stub resolvers give up: resolv.conf(5)
        assert took[-1] < race.DEADLINE / 2
        for zone in zones:
            zone.table[f"{WWW}.", "A"] = LIVES
        await asked(upstreams, WWW)

    with_servers(body, silent, silent)


class Late(asyncio.DatagramProtocol):
    """A server that takes its time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        answer = reply(dns.message.from_wire(data), list(LIVES)).to_wire()
        asyncio.get_running_loop().call_later(2 * race.DOWN_DEADLINE, self.transport.sendto, answer, addr)  # type: ignore[attr-defined]


async def late_server() -> tuple[ServerAddress, asyncio.BaseTransport]:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Late, ("127.0.0.1", 0))
    return ServerAddress(LOCALHOST, transport.get_extra_info("sockname")[1]), transport


def test_rfc2308_7_1_after_a_failure_another_server_has_a_second_and_its_answer_counts_when_it_comes() -> None:
    async def body(upstreams: Upstreams, _zones: list[Zone]) -> None:
        server, transport = await late_server()
        upstreams.replace([upstreams.all[0].server, server])
        begin, got = asyncio.get_running_loop().time(), []

        def done(answer: race.ServerAnswer | None, _problem: str) -> None:
            assert answer is not None
            got.append((answer.message.rcode, round(asyncio.get_running_loop().time() - begin)))

        upstreams.ask(Question(name_of(WWW), A, IN, 0), False, False, done)
        await asyncio.sleep(race.DEADLINE)
        assert got == [(2, 1), (0, 2)]
        transport.close()

    with_servers(body, "SERVFAIL")


def test_a_late_answer_is_measured_although_the_client_already_got_an_error() -> None:
    async def body(upstreams: Upstreams, _zones: list[Zone]) -> None:
        server, transport = await late_server()
        upstreams.replace([server])
        (one,) = upstreams.all
        one.silent = race.DOWN
        with pytest.raises(UnansweredError):
            await asked(upstreams, WWW)
        await asyncio.sleep(2 * race.DOWN_DEADLINE)
        assert not one.silent
        await asked(upstreams, WWW)
        transport.close()

    with_servers(body)


def test_an_error_is_given_only_if_no_other_server_has_an_answer() -> None:
    async def body(upstreams: Upstreams, _zones: list[Zone]) -> None:
        upstreams.all[1].seconds = upstreams.all[1].probe_at = 1e9  # asked only if the first is no help
        assert (await asked(upstreams, WWW)).message.rcode == 0
        upstreams.replace([upstreams.all[0].server])
        assert (await asked(upstreams, WWW)).message.rcode == 2

    with_servers(body, "SERVFAIL", LIVES)


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("count", [1, 4, 11])
def test_a_server_that_works_is_asked_in_time_however_many_are_silent(count: int, down: bool) -> None:
    async def body(upstreams: Upstreams, zones: list[Zone]) -> None:
        for each in upstreams.all:
            each.silent, each.seconds = race.DOWN * down, 9.0 * down
        begin = asyncio.get_running_loop().time()
        assert (await asked(upstreams, WWW)).message.rcode == 0
        assert asyncio.get_running_loop().time() - begin < (race.DOWN_DEADLINE if down else race.DEADLINE)
        assert [len(zone.asked) for zone in zones] == [1] * (count + 1)

    with_servers(body, *[silent] * count, LIVES)


def test_if_a_port_is_closed_the_next_server_is_asked_at_once() -> None:
    async def body(upstreams: Upstreams, _zones: list[Zone]) -> None:
        begin = asyncio.get_running_loop().time()
        port, end = await serve(Zone({}))
        end()
        upstreams.replace([ServerAddress(LOCALHOST, port), upstreams.all[0].server])
        await asked(upstreams, WWW)
        upstreams.replace([ServerAddress(LOCALHOST, port)])
        with pytest.raises(UnansweredError, match="refused"):
            await asked(upstreams, WWW)
        assert "refused" in upstreams.all[0].problem
        assert asyncio.get_running_loop().time() - begin < race.FIRST_PATIENCE

    with_servers(body, LIVES)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOBUFS])
def test_a_question_that_the_kernel_cannot_queue_counts_as_lost(number: int) -> None:
    class Full:
        def __init__(self, real: object) -> None:
            self.real = real

        def send(self, _octets: bytes) -> int:
            raise OSError(number, "")

        def __getattr__(self, name: str) -> object:
            return getattr(self.real, name)

    async def body(upstreams: Upstreams, _zones: list[Zone]) -> None:
        datagrams = upstreams.all[0].datagrams
        assert datagrams is not None
        fill = datagrams._port

        def full() -> object:
            port, datagrams._port = fill(), fill  # type: ignore[method-assign]
            port.socket = Full(port.socket)  # type: ignore[assignment]
            return port

        datagrams._port = full  # type: ignore[method-assign,assignment]
        await asked(upstreams, WWW)

    with_servers(body, LIVES)


def test_questions_on_their_way_are_bounded_and_the_oldest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "QUESTIONS", 3)

    async def body(upstreams: Upstreams, _zones: list[Zone]) -> None:
        asking = [asyncio.ensure_future(asked(upstreams, WWW)) for _ in range(4)]
        ended = await asyncio.gather(*asking, return_exceptions=True)
        assert ["too many" in str(each) for each in ended] == [True, False, False, False]
        assert upstreams.displaced == 1
        assert (
            upstreams.all[0].silent == 9
        )  # three questions were repeated; the one given up says nothing about the server
        await asyncio.sleep(race.DEADLINE)
        assert upstreams.on_their_way == 0
        datagrams = upstreams.all[0].datagrams
        assert datagrams is not None
        assert not any(port.waiting for port in datagrams._open.values())

    with_servers(body, silent)


def test_questions_of_one_port_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "OUTSTANDING", 1)
    monkeypatch.setattr(exchange, "PORTS", 1)

    async def body(upstreams: Upstreams, _zones: list[Zone]) -> None:
        first = asyncio.ensure_future(asked(upstreams, WWW))
        await asyncio.sleep(0)
        with pytest.raises(UnansweredError, match="too many"):
            await asked(upstreams, WWW)
        with pytest.raises(UnansweredError, match="no answer"):
            await first

    with_servers(body, silent)


def test_servers_are_replaced_while_questions_wait() -> None:
    async def body(upstreams: Upstreams, zones: list[Zone]) -> None:
        first, second = upstreams.all
        upstreams.replace([second.server])
        assert upstreams.all == [second]
        for _ in range(5):
            await asked(upstreams, WWW)
        assert zones[0].asked == []
        waiting = asyncio.ensure_future(asked(upstreams, WWW))
        await asyncio.sleep(0)
        upstreams.replace([first.server])
        assert (await waiting).message.rcode == 0
        await asked(upstreams, WWW)
        assert len(zones[0].asked) == 1
        upstreams.replace([])
        with pytest.raises(UnansweredError, match="no server"):
            await asked(upstreams, WWW)

    with_servers(body, LIVES, LIVES)
