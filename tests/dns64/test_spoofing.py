"""RFC 5452 over real sockets: whatever a forger tries, the answer is that of the server, and what reached a socket was
counted. The kernel drops messages from other addresses or ports, since the sockets are connected; those are not
counted."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from random import Random
from types import SimpleNamespace
from typing import Any

import dns.message
import pytest

from nat64d.dns64.message import wire
from nat64d.dns64.upstreams import exchange, race
from nat64d.dns64.upstreams.exchange import ServerAddress
from nat64d.dns64.upstreams.race import ServerAnswer
from nat64d.dns64.upstreams.upstream import Upstreams
from tests.dns64 import clock
from tests.dns64.asking import UnansweredError, asked
from tests.dns64.zone import reply

LOCALHOST = ip_address("127.0.0.1")
WWW = "www.example."
TRUE, FORGED = "192.0.2.1", "203.0.113.66"
QUESTION = wire.read_question(dns.message.make_query("wWw.eXaMpLe.", "A").to_wire())
Attack = Callable[[bytes], list[bytes]]
Say = Callable[[bytes, Any], list[bytes]]  # (query, address and port it came from): datagrams
Stream = Callable[[bytes], bytes]  # query by TCP: octets of the stream, which ends then


def answer(query: bytes, address: str = FORGED) -> bytes:
    return reply(dns.message.from_wire(query), [f"{WWW} 60 IN A {address}"]).to_wire()


def framed(octets: bytes) -> bytes:
    return len(octets).to_bytes(2, "big") + octets


def address_in(found: ServerAnswer) -> str:
    (address,) = dns.message.from_wire(found.octets).answer[0]
    return str(address)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, say: Say) -> None:
        self.say = say

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        for octets in self.say(data, addr):
            self.transport.sendto(octets, addr)


def beside(say: Say, body: Callable[[Upstreams], Awaitable[None]], stream: Stream | None = None) -> Upstreams:
    """Run `body` with a server that sends these datagrams; the counters are in what is returned."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        query = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        writer.write(stream(query) if stream else framed(answer(query, TRUE)))
        writer.close()
        await writer.wait_closed()

    async def run() -> Upstreams:
        tcp = await asyncio.start_server(connected, "127.0.0.1", 0)
        at = tcp.sockets[0].getsockname()
        udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Datagrams(say), at)
        upstreams = Upstreams([ServerAddress(LOCALHOST, at[1])])
        try:
            await body(upstreams)
        finally:
            upstreams.close()
            udp.close()
            tcp.close()
            await asyncio.sleep(0.01)
        return upstreams

    return clock.run(run())


async def ask(upstreams: Upstreams, question: wire.Question = QUESTION) -> ServerAnswer:
    return await asked(upstreams, question)


def true_answers(count: int) -> Callable[[Upstreams], Awaitable[None]]:
    """Ask that many times, and get the right answer each time, with the case of the question."""

    async def body(upstreams: Upstreams) -> None:
        for _ in range(count):
            found = await ask(upstreams)
            assert address_in(found) == TRUE
            assert found.message.question.name == QUESTION.name

    return body


def all_other_ids(query: bytes) -> list[bytes]:
    """Answers with a sample of all other IDs."""
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


def counters_of(upstreams: Upstreams) -> dict[str, int]:
    return vars(upstreams.counters)


NONE = {"strange": 0, "mismatched": 0, "case": 0}


@pytest.mark.parametrize("attack", ATTACKS)
def test_rfc5452_9_1_a_forger_at_the_servers_own_port_who_guesses_wrong_is_counted(attack: str) -> None:
    forge, counter = ATTACKS[attack]
    forged = 0

    def say(query: bytes, _: Any) -> list[bytes]:
        nonlocal forged
        attempts = forge(query)
        forged += len(attempts)
        return [*attempts, answer(query, TRUE)]

    assert counters_of(beside(say, true_answers(5))) == NONE | {counter: forged}


def test_rfc5452_9_2_a_forger_at_another_port_or_address_is_never_heard() -> None:
    forged = 0
    here, elsewhere = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    here.bind(("127.0.0.1", 0))
    elsewhere.bind(("127.0.0.66", 0))

    def say(query: bytes, victim: Any) -> list[bytes]:
        nonlocal forged
        for forger in (here, elsewhere):
            forged += forger.sendto(answer(query), victim) > 0
        return [answer(query, TRUE)]

    with here, elsewhere:
        upstreams = beside(say, true_answers(50))
    assert forged == 100
    assert counters_of(upstreams) == NONE


def test_rfc5452_an_answer_after_the_answer_is_counted() -> None:
    async def body(upstreams: Upstreams) -> None:
        await true_answers(20)(upstreams)
        for _ in range(1000):
            await asyncio.sleep(0)

    upstreams = beside(lambda query, _: [answer(query, TRUE), *[answer(query)] * 3], body)
    assert counters_of(upstreams) == NONE | {"strange": 60}


def test_rfc5452_10_ports_and_ids_are_spread_and_a_port_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "PORT_QUESTIONS", 4)
    ports, ids = set(), set()

    def say(query: bytes, victim: Any) -> list[bytes]:
        ports.add(victim[1])
        ids.add(query[:2])
        return [answer(query, TRUE)]

    beside(say, true_answers(400))
    assert len(ports) > 60
    assert len(ids) > 390


def test_0x20_a_forger_in_other_letters_costs_a_question_by_tcp_and_is_not_believed() -> None:
    """However often: the server keeps letters by TCP, so it was not it, and is asked in mixed ones ever after."""
    names = []

    def say(query: bytes, _: Any) -> list[bytes]:
        names.append(query[12:25])
        forged = answer(query)
        return [forged[:13] + forged[13:16].swapcase() + forged[16:], answer(query, TRUE)]

    upstreams = beside(say, true_answers(4 * race.KEEPS_CASE))
    assert upstreams.counters.case == 4 * race.KEEPS_CASE
    assert len(set(names[2 * race.KEEPS_CASE :])) > race.KEEPS_CASE


@pytest.mark.parametrize("flat", [bytes.lower, bytes.upper])
def test_0x20_a_server_that_keeps_no_letters_is_believed_by_tcp_whatever_the_client_wrote(
    flat: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def mixed(size: int) -> bytes:
        """Letters that by chance are all of one case would be kept, once in a thousand queries."""
        return os.urandom(size) if size <= 2 else (b"\xff\x00\x00\x00" * size)[:size]

    def flattened(query: bytes) -> bytes:
        octets = answer(query, TRUE)
        return octets[:12] + flat(octets[12:25]) + octets[25:]

    count = 2 * race.KEEPS_CASE
    monkeypatch.setattr(exchange, "os", SimpleNamespace(urandom=mixed))
    upstreams = beside(lambda query, _: [flattened(query)], true_answers(count), lambda query: framed(flattened(query)))
    assert upstreams.counters.case == (race.KEEPS_CASE if flat is bytes.lower else count)


def test_0x20_numbers_that_look_like_letters_are_none() -> None:
    """Types 65 and 97, "A" and "a": an answer to the other one is another question's."""

    def say(query: bytes, _: Any) -> list[bytes]:
        at = wire.read_question(query).end - 3
        octets = query[:2] + b"\x81\x80" + query[4:10] + bytes(2) + query[12 : at + 3]
        return [octets[:at] + b"a" + octets[at + 1 :], octets]

    async def body(upstreams: Upstreams) -> None:
        await ask(upstreams, QUESTION._replace(type=65))

    assert counters_of(beside(say, body)) == NONE | {"mismatched": 1}


# ---- TCP: a server that is taken over can say anything, but not stop us

STREAMS: dict[str, tuple[Stream, bool]] = {  # what is sent for a query; whether the answer is in it
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


def cut_off(query: bytes, _: Any) -> list[bytes]:
    octets = answer(query)
    return [octets[:2] + bytes([octets[2] | 2]) + octets[3:]]


@pytest.mark.parametrize("name", STREAMS)
def test_a_hostile_stream_ends_in_the_answer_or_in_an_error_and_the_next_one_is_new(name: str) -> None:
    stream, whole = STREAMS[name]

    async def body(upstreams: Upstreams) -> None:
        for _ in range(3):
            with pytest.raises(UnansweredError, match="closed the connection"):
                await ask(upstreams)

    beside(cut_off, true_answers(3) if whole else body, stream)


def test_what_is_no_tls_is_an_error() -> None:
    async def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(Random(1).randbytes(4000))
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        upstreams = Upstreams([ServerAddress(LOCALHOST, server.sockets[0].getsockname()[1], "example.net")])
        with pytest.raises(UnansweredError):
            await ask(upstreams)
        upstreams.close()
        server.close()
        await asyncio.sleep(0.01)

    clock.run(run())


def test_what_a_server_puts_behind_its_answer_is_not_relayed() -> None:
    async def body(upstreams: Upstreams) -> None:
        found = await ask(upstreams)
        assert (
            found.octets[2:]
            == answer(dns.message.make_query("wWw.eXaMpLe.", "A", use_edns=0, payload=1232).to_wire(), TRUE)[2:]
        )

    beside(lambda query, _: [answer(query, TRUE) + b"behind"], body)
