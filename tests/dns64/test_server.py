"""The client-facing sockets on the loopback: UDP and TCP, sizes, rates, refused clients; dnspython is the client."""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from ipaddress import ip_address, ip_network

import dns.asyncquery
import dns.edns
import dns.flags
import dns.message
import pytest

from nat64d.dns64.clients import listener as module
from nat64d.dns64.clients.listener import Desk, Listener
from nat64d.dns64.clients.rates import Rates
from nat64d.dns64.resolver import Resolver
from nat64d.dns64.rules.policy import Policy, ranges_for
from nat64d.dns64.upstreams.cache import Cache
from nat64d.dns64.upstreams.exchange import ServerAddress as Upstream
from nat64d.dns64.upstreams.upstream import Upstreams
from tests.dns64 import clock
from tests.dns64.zone import Zone, serve

POLICY = Policy((ip_network("127.0.0.0/8"), ip_network("::1/128")), ranges_for(ip_network("64:ff9b::/96"), [], None))
WWW = "www.example."
TABLE: dict[tuple[str, str], object] = {
    (WWW, "A"): [f"{WWW} 60 IN A 192.0.2.1"],
    (WWW, "AAAA"): "NODATA",
    ("middle.example.", "TXT"): [f'middle.example. 60 IN TXT "{number} {"x" * 200}"' for number in range(4)],
    ("big.example.", "TXT"): [f'big.example. 60 IN TXT "{number} {"x" * 200}"' for number in range(10)],
}
Ask = Callable[[int], Awaitable[dns.message.Message]]


def run(ask: Ask, *, address: str = "127.0.0.1", rate: int = 0, policy: Policy = POLICY) -> dns.message.Message:
    """What a client of a server with this table gets."""

    async def body() -> dns.message.Message:
        port, end = await serve(Zone(TABLE))
        upstreams = Upstreams([Upstream(ip_address("127.0.0.1"), port)])
        resolver = Resolver(upstreams, Cache(100000), lambda: True)
        resolver.use([policy])
        server = Listener(Desk(resolver, Rates(rate)))
        await server.listen(ip_address(address), 0)
        try:
            return await ask(server.port)
        finally:
            await server.close()
            upstreams.close()
            end()
            await asyncio.sleep(0.01)

    return clock.run(body())


def query(name: str = WWW, type_: str = "AAAA", **options: object) -> dns.message.Message:
    return dns.message.make_query(name, type_, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("by", [dns.asyncquery.udp, dns.asyncquery.tcp], ids=["udp", "tcp"])
def test_a_client_is_answered(address: str, by: Callable[..., Awaitable[dns.message.Message]]) -> None:
    answer = run(lambda port: by(query(), address, port=port, timeout=5), address=address)
    assert answer.answer[0][0].to_text() == "64:ff9b::c000:201"


def test_where_it_listens_at_all_addresses_it_answers_from_the_one_that_was_asked() -> None:
    answer = run(lambda port: dns.asyncquery.udp(query(), "127.0.0.77", port=port, timeout=5), address="0.0.0.0")
    assert answer.answer


@pytest.mark.parametrize("payload", [0, 1000, 4096])
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_rfc2181_9_an_answer_that_does_not_fit_is_cut_and_says_so(address: str, payload: int) -> None:
    """From the server and from the cache."""
    where = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)

    async def ask(port: int) -> dns.message.Message:
        for _ in range(2):
            asked = query("big.example.", "TXT", payload=payload or None, use_edns=0 if payload else -1)
            answer = await dns.asyncquery.udp(asked, where, port=port, timeout=5)
            assert answer.flags & dns.flags.TC
            assert not answer.answer
        return answer

    run(ask, address=address)


def test_rfc6891_6_2_3_the_size_that_a_client_takes_holds_for_one_query() -> None:
    async def ask(port: int) -> dns.message.Message:
        for payload in (0, 1232, 0, 600, 1232):
            asked = query("middle.example.", "TXT", payload=payload or None, use_edns=0 if payload else -1)
            answer = await dns.asyncquery.udp(asked, "127.0.0.1", port=port, timeout=5)
            assert bool(answer.answer) is (payload == 1232)
        return answer

    run(ask)


@pytest.mark.parametrize("octets", [440, 1000, 4000])
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1"])
def test_rfc6891_6_2_6_a_query_by_udp_may_be_larger_than_512_octets(address: str, octets: int) -> None:
    asked = query(payload=4096, options=[dns.edns.GenericOption(12, bytes(octets))])
    where = "127.0.0.1" if address == "0.0.0.0" else address
    answer = run(lambda port: dns.asyncquery.udp(asked, where, port=port, timeout=5), address=address)
    assert (len(answer.answer), answer.edns) == (1, 0)


@pytest.mark.parametrize("payload", [None, 512, 1232])
def test_rfc7766_by_tcp_it_is_whole(payload: int | None) -> None:
    asked = query("big.example.", "TXT", payload=payload, use_edns=-1 if payload is None else 0)
    answer = run(lambda port: dns.asyncquery.tcp(asked, "127.0.0.1", port=port, timeout=5))
    assert (answer.flags & dns.flags.TC, len(answer.answer[0])) == (0, 10)


def test_rfc7766_5_a_client_beyond_its_rate_by_udp_is_sent_to_tcp_where_it_has_another() -> None:
    async def ask(port: int) -> dns.message.Message:
        await dns.asyncquery.udp(query(), "127.0.0.1", port=port, timeout=5)
        cut = await dns.asyncquery.udp(query(), "127.0.0.1", port=port, timeout=5)
        assert cut.flags & dns.flags.TC
        assert not cut.answer
        assert cut.question == query().question
        return await dns.asyncquery.tcp(query(), "127.0.0.1", port=port, timeout=5)

    assert run(ask, rate=1).answer


@pytest.mark.parametrize("octets", [b"\0" * 12, b"\0\1\x80\0" + bytes(8)])
def test_what_is_no_query_is_not_answered_beyond_the_rate(octets: bytes) -> None:
    async def ask(port: int) -> dns.message.Message:
        await dns.asyncquery.udp(query(), "127.0.0.1", port=port, timeout=5)
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(("127.0.0.1", port))
            client.send(octets)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 512), 0.2)
        return query()

    run(ask, rate=1)


@pytest.mark.parametrize("octets", [b"", b"\0" * 5, b"\0\1\x80\0" + bytes(8), b"\xff" * 40])
def test_octets_that_are_no_query_get_no_answer_or_formerr(octets: bytes) -> None:
    async def ask(port: int) -> dns.message.Message:
        loop = asyncio.get_running_loop()
        got: asyncio.Future[bytes] = loop.create_future()

        class Client(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, _addr: object) -> None:
                got.set_result(data)

        transport, _ = await loop.create_datagram_endpoint(Client, remote_addr=("127.0.0.1", port))
        transport.sendto(octets or b"\0")
        try:
            data = await asyncio.wait_for(got, 0.2)
            assert data[3] & 15 in {1, 4}
        except TimeoutError:
            assert len(octets) < 12 or octets[2] & 0x80
        finally:
            transport.close()
        return await dns.asyncquery.udp(query(), "127.0.0.1", port=port, timeout=5)

    assert run(ask).answer


@pytest.mark.parametrize(
    ("local", "index"), [("2001:db8::1", 0), ("fe80::1", 7)], ids=["routed as any packet", "over the same link"]
)
def test_a_reply_from_a_link_local_address_goes_over_the_link_the_query_came_by(local: str, index: int) -> None:
    """RFC 3542 section 6.1; of another address the routing table knows better."""
    asked = ip_address(local).packed + (7).to_bytes(4, sys.byteorder)
    level, kind = socket.IPPROTO_IPV6, socket.IPV6_PKTINFO
    said = ip_address(local).packed + index.to_bytes(4, sys.byteorder)
    assert module._from((level, kind, asked)) == (level, kind, said)
