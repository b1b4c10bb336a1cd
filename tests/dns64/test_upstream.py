"""Which server is asked when, on loopback: dead ones, those that are back, and what is bounded."""

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

import dns.message
import pytest

from nat64d.dns64 import exchange, race, upstream
from nat64d.dns64.exchange import Server
from nat64d.dns64.upstream import Upstreams
from tests.dns64.asking import UnansweredError, asked
from tests.dns64.zone import Zone, reply, serve

LOCALHOST = ip_address("127.0.0.1")
WWW = "www.example"
Body = Callable[[Upstreams, list[Zone]], Awaitable[None]]
LIVES: list[str] = [f"{WWW}. 60 IN A 192.0.2.1"]


def silent(_octets: bytes, _tcp: bool) -> list[bytes]:
    return []


def with_servers(body: Body, *said: object) -> Upstreams:
    """`body` beside as many servers as there are things to say to an A query for WWW."""

    async def run() -> Upstreams:
        zones = [Zone({(f"{WWW}.", "A"): each}) for each in said]
        opened = [await serve(zone) for zone in zones]
        upstreams = Upstreams([Server(LOCALHOST, port) for port, _ in opened])
        try:
            await asyncio.wait_for(body(upstreams, zones), 10)
        finally:
            upstreams.close()
            for _, end in opened:
                end()
            await asyncio.sleep(0.01)
        return upstreams

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PATIENCE": 0.05, "AGAIN": (0.05, 0.1), "DEADLINE": 0.4, "DOWN_DEADLINE": 0.05}.items():
        monkeypatch.setattr(race, name, value)


def test_a_dead_server_costs_its_patience_once_and_the_other_is_asked_first_then() -> None:
    async def body(upstreams: Upstreams, zones: list[Zone]) -> None:
        for _ in range(20):
            await asked(upstreams, WWW)
        assert len(zones[1].asked) == 20
        assert len(zones[0].asked) < 10

    upstreams = with_servers(body, silent, LIVES)
    assert upstreams.ranked()[0] is upstreams.all[1]


def test_a_server_that_is_back_is_found_by_a_probe_and_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "PROBE", 0.02)

    async def body(upstreams: Upstreams, zones: list[Zone]) -> None:
        dead = upstreams.all[0]
        while dead.silent < race.DOWN:
            await asked(upstreams, WWW)
            await asyncio.sleep(0.01)
        zones[0].table[f"{WWW}.", "A"] = LIVES
        while dead.silent:
            await asked(upstreams, WWW)
            await asyncio.sleep(0.01)
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


def test_when_all_are_silent_the_client_hears_so_at_the_deadline_and_sooner_when_they_are_known_to_be_down() -> None:
    async def body(upstreams: Upstreams, zones: list[Zone]) -> None:
        took = []
        while len(took) < 8:
            begin = time.monotonic()
            with pytest.raises(UnansweredError, match="no answer in time"):
                await asked(upstreams, WWW)
            took.append(time.monotonic() - begin)
        assert took[0] >= race.DEADLINE
        assert took[-1] < race.DEADLINE / 2
        for zone in zones:
            zone.table[f"{WWW}.", "A"] = LIVES
        await asked(upstreams, WWW)

    with_servers(body, silent, silent)


def test_a_server_that_answers_late_is_measured_though_the_client_was_told_that_nobody_did() -> None:
    class Late(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: object) -> None:
            answer = reply(dns.message.from_wire(data), list(LIVES)).to_wire()
            asyncio.get_running_loop().call_later(0.1, self.transport.sendto, answer, addr)  # type: ignore[attr-defined]

    async def body(upstreams: Upstreams, _zones: list[Zone]) -> None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Late, ("127.0.0.1", 0))
        upstreams.replace([Server(LOCALHOST, transport.get_extra_info("sockname")[1])])
        (one,) = upstreams.all
        one.silent = race.DOWN
        with pytest.raises(UnansweredError):
            await asked(upstreams, WWW)
        await asyncio.sleep(0.1)
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


def test_where_nobody_listens_the_next_is_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "PATIENCE", 10)

    async def body(upstreams: Upstreams, _zones: list[Zone]) -> None:
        port, end = await serve(Zone({}))
        end()
        upstreams.replace([Server(LOCALHOST, port), upstreams.all[0].server])
        await asked(upstreams, WWW)
        upstreams.replace([Server(LOCALHOST, port)])
        with pytest.raises(UnansweredError, match="refused"):
            await asked(upstreams, WWW)
        assert "refused" in upstreams.all[0].problem

    with_servers(body, LIVES)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOBUFS])
def test_a_question_that_the_kernel_has_no_room_for_is_as_good_as_lost(number: int) -> None:
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


def test_questions_on_their_way_are_bounded_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "QUESTIONS", 3)

    async def body(upstreams: Upstreams, _zones: list[Zone]) -> None:
        asking = [asyncio.ensure_future(asked(upstreams, WWW)) for _ in range(4)]
        ended = await asyncio.gather(*asking, return_exceptions=True)
        assert ["too many" in str(each) for each in ended] == [False, False, False, True]
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
