"""RFC 5452 over real sockets: whatever a forger guesses, the answer is the server's, and what reached a socket of ours
was counted. What comes from another address or port the kernel drops, since our sockets are connected: uncounted."""

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

import dns.message
import pytest

from nat64d.dns64 import exchange, upstream, wire
from nat64d.dns64.exchange import Counters, Datagrams, ExchangeError, Server, Stream
from nat64d.dns64.upstream import Answer, Upstream, Upstreams, other_case
from tests.dns64.zone import Zone, reply, serve

LOCALHOST = ip_address("127.0.0.1")
WWW = "www.example."
TRUE, FORGED = "192.0.2.1", "203.0.113.66"
QUERY = dns.message.make_query("wWw.eXaMpLe.", "A", use_edns=0).to_wire()
Attack = Callable[[bytes], list[bytes]]


def answer(query: bytes, address: str = FORGED) -> bytes:
    return reply(dns.message.from_wire(query), [f"{WWW} 60 IN A {address}"]).to_wire()


def address_in(octets: bytes) -> str:
    (found,) = dns.message.from_wire(octets).answer[0]
    return str(found)


def all_other_ids(query: bytes) -> list[bytes]:
    """Every ID but the right one and its neighbours, as many as a test has time for."""
    forged, right = answer(query), int.from_bytes(query[:2], "big")
    return [((right + step) & 0xFFFF).to_bytes(2, "big") + forged[2:] for step in range(1, 65536, 655)]


def other_questions(query: bytes) -> list[bytes]:
    forged, end = answer(query), wire.read_question(query).end
    return [
        forged[:13] + b"X" + forged[14:],
        forged[: end - 3] + b"\x1c" + forged[end - 2 :],
        forged[: end - 1] + b"\3" + forged[end:],
        forged[:12] + b"\0" + forged[end - 4 :],
        forged[:4] + b"\0\0" + forged[6:],
        forged[:4] + b"\0\2" + forged[6:],
        forged[:12],
        forged[:12] + b"\xc0\x0c" + forged[end - 4 :],
        forged[: end - 1],
    ]


def no_answers(query: bytes) -> list[bytes]:
    forged = answer(query)
    return [
        forged[:1],
        forged[:11],
        query,
        *(forged[:2] + bytes([0x80 | k << 3]) + forged[3:] for k in range(1, 16)),
    ]


ATTACKS: dict[str, tuple[Attack, str]] = {
    "another ID": (all_other_ids, "strange"),
    "another question": (other_questions, "mismatched"),
    "no answer at all": (no_answers, "strange"),
}


def ask(body: Callable[[Zone, int], Awaitable[None]], said: object = None) -> None:
    """Run `body` beside a server at a port of 127.0.0.1 that says `said` to an A query for WWW."""

    async def run() -> None:
        zone = Zone({(WWW, "A"): said or [f"{WWW} 60 IN A {TRUE}"]})
        port, end = await serve(zone)
        try:
            await asyncio.wait_for(body(zone, port), 10)
        finally:
            end()
            await asyncio.sleep(0.01)

    asyncio.run(run())


@pytest.mark.parametrize("attack", ATTACKS)
def test_rfc5452_9_1_a_forger_at_the_servers_own_port_who_guesses_wrong_is_counted(attack: str) -> None:
    forge, counter = ATTACKS[attack]
    counters, forged = Counters(), 0

    def said(query: bytes, _tcp: bool) -> list[bytes]:
        nonlocal forged
        attempts = forge(query)
        forged += len(attempts)
        return [*attempts, answer(query, TRUE)]

    async def body(_zone: Zone, port: int) -> None:
        datagrams = Datagrams(Server(LOCALHOST, port), counters)
        for _ in range(5):
            assert address_in(await datagrams.ask(other_case(QUERY))) == TRUE
        datagrams.close()

    ask(body, said)
    assert vars(counters) == {"strange": 0, "mismatched": 0, "case": 0} | {counter: forged}


def test_rfc5452_9_2_a_forger_at_another_port_or_address_is_never_heard() -> None:
    counters, forged = Counters(), 0
    here, elsewhere = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    here.bind(("127.0.0.1", 0))
    elsewhere.bind(("127.0.0.66", 0))

    async def body(zone: Zone, port: int) -> None:
        datagrams = Datagrams(Server(LOCALHOST, port), counters)

        def said(query: bytes, _tcp: bool) -> list[bytes]:
            nonlocal forged
            ours = {one._socket.getsockname() for one in datagrams._ports if one}
            for forger in (here, elsewhere):
                for victim in ours:
                    forged += forger.sendto(answer(query), victim) > 0
            return [answer(query, TRUE)]

        zone.table[WWW, "A"] = said
        for _ in range(50):
            assert address_in(await datagrams.ask(other_case(QUERY))) == TRUE
        datagrams.close()

    try:
        ask(body)
    finally:
        here.close()
        elsewhere.close()
    assert forged >= 100
    assert counters.strange == counters.mismatched == 0


def test_rfc5452_an_answer_after_the_answer_is_counted() -> None:
    counters = Counters()

    async def body(_zone: Zone, at: int) -> None:
        datagrams = Datagrams(Server(LOCALHOST, at), counters)
        for _ in range(20):
            assert address_in(await datagrams.ask(QUERY)) == TRUE
        for port in filter(None, datagrams._ports):
            port._drain()
        datagrams.close()

    ask(body, lambda query, _tcp: [answer(query, TRUE), *[answer(query)] * 3])
    assert counters.strange == 60


def test_rfc5452_10_ports_and_ids_are_spread_and_a_port_is_not_kept() -> None:
    asked: set[tuple[int, int]] = set()

    async def body(_zone: Zone, port: int) -> None:
        datagrams = Datagrams(Server(LOCALHOST, port), Counters())
        for _ in range(400):
            await datagrams.ask(QUERY)
            asked.update((at, one._socket.getsockname()[1]) for at, one in enumerate(datagrams._ports) if one)
        datagrams.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange, "PORT_QUESTIONS", 4)
        ask(body)
    assert len({at for at, _ in asked}) == exchange.PORTS
    assert len({port for _, port in asked}) > 60


def test_0x20_a_forger_in_other_letters_costs_a_question_by_tcp_and_is_not_believed() -> None:
    """However often: the server keeps letters by TCP, so it was not it."""
    letters = random.Random(20)

    def said(query: bytes, tcp: bool) -> list[bytes]:
        forged = answer(query)
        other = bytes(octet ^ 0x20 if chr(octet).isalpha() else octet for octet in forged[13:16])
        guess = forged[:13] + (other if letters.random() < 0.5 else forged[13:16].swapcase()) + forged[16:]
        return [answer(query, TRUE)] if tcp else [guess, answer(query, TRUE)]

    async def body(_zone: Zone, port: int) -> None:
        counters = Counters()
        one = Upstream(Server(LOCALHOST, port), counters)
        for _ in range(2 * upstream.KEEPS_CASE):
            assert address_in((await one.ask(QUERY)).octets) == TRUE
        assert (counters.case, one._flattens) == (2 * upstream.KEEPS_CASE, 0)
        one.close()

    ask(body, said)


@pytest.mark.parametrize("flat", [bytes.lower, bytes.upper])
def test_0x20_a_server_that_keeps_no_letters_is_believed_by_tcp_whatever_the_client_wrote(
    flat: Callable[[bytes], bytes],
) -> None:
    def said(query: bytes, _tcp: bool) -> list[bytes]:
        octets = answer(query, TRUE)
        return [octets[:12] + flat(octets[12:25]) + octets[25:]]

    async def body(_zone: Zone, port: int) -> None:
        upstreams = Upstreams([Server(LOCALHOST, port)])
        for _ in range(2 * upstream.KEEPS_CASE):
            found = await upstreams.ask(wire.read_question(QUERY), False, False)
            assert address_in(found.octets) == TRUE
            assert found.message.question.name == wire.read_question(QUERY).name
        assert upstreams.counters.case == (upstream.KEEPS_CASE if flat is bytes.lower else 2 * upstream.KEEPS_CASE)
        upstreams.close()

    ask(body, said)


def test_0x20_numbers_that_look_like_letters_are_none() -> None:
    """Types 65 and 97, "A" and "a": an answer to the other one is another question's."""
    counters = Counters()

    def said(query: bytes, _tcp: bool) -> list[bytes]:
        at = wire.read_question(query).end - 3
        octets = query[:2] + b"\x81\x80" + query[4:10] + bytes(2) + query[12 : at + 3]
        return [octets[:at] + b"a" + octets[at + 1 :], octets]

    async def body(zone: Zone, port: int) -> None:
        zone.table[WWW, "HTTPS"] = said
        datagrams = Datagrams(Server(LOCALHOST, port), counters)
        await datagrams.ask(dns.message.make_query(WWW, "HTTPS").to_wire())
        datagrams.close()

    ask(body)
    assert (counters.mismatched, counters.case) == (1, 0)


# ---- TCP: a server that is taken over can say anything, but not stop us


def framed(octets: bytes) -> bytes:
    return len(octets).to_bytes(2, "big") + octets


STREAMS: dict[str, tuple[Callable[[bytes], bytes], bool]] = {  # what is sent for a query; whether the answer is in it
    "empty messages": (lambda query: bytes(2000) + framed(answer(query, TRUE)), True),
    "short messages": (lambda query: framed(b"x" * 11) * 9 + framed(answer(query, TRUE)), True),
    "answers to others": (lambda q: b"".join(map(framed, all_other_ids(q))) + framed(answer(q, TRUE)), True),
    "other questions": (lambda q: b"".join(map(framed, other_questions(q))) + framed(answer(q, TRUE)), True),
    "the longest message": (lambda query: framed(bytes(65535)) + framed(answer(query, TRUE)), True),
    "a length and nothing": (lambda _: b"\xff\xff", False),
    "half a length": (lambda _: b"\0", False),
    "half an answer": (lambda query: framed(answer(query, TRUE))[:-1], False),
    "a length too long": (lambda query: b"\xff" + framed(answer(query, TRUE))[1:], False),
    "a length too short": (lambda query: b"\0\x10" + answer(query, TRUE)[:40], False),
    "nothing": (lambda _: b"", False),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_hostile_stream_ends_in_the_answer_or_in_an_error_and_the_next_one_is_new(name: str) -> None:
    say, whole = STREAMS[name]

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        query = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        writer.write(say(query))
        writer.close()
        await writer.wait_closed()

    async def run() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        stream = Stream(Server(LOCALHOST, server.sockets[0].getsockname()[1]), Counters())
        for _ in range(3):
            if whole:
                assert address_in(await stream.ask(QUERY)) == TRUE
            else:
                with pytest.raises(ExchangeError, match="hung up"):
                    await stream.ask(QUERY)
            assert len(stream._pending) == 0
        stream.close()
        server.close()
        await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), 10))


def test_what_is_no_tls_is_an_error() -> None:
    async def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(random.Random(1).randbytes(4000))
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        stream = Stream(Server(LOCALHOST, server.sockets[0].getsockname()[1], "example.net"), Counters())
        with pytest.raises(ExchangeError):
            await stream.ask(QUERY)
        stream.close()
        server.close()
        await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), 10))


def test_what_a_server_puts_behind_its_answer_is_not_relayed() -> None:
    octets = answer(QUERY, TRUE)
    found = Answer.to(QUERY, octets + b"behind")
    assert (found.octets, found.message) == (octets, wire.read(octets))
