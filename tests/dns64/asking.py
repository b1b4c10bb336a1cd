"""Asking: upstream servers, by `Upstreams.ask` as a coroutine; and the name server, as a client."""

import asyncio
import socket

import dns.asyncquery
import dns.exception
import dns.message

from nat64d.dns64.message.wire import IN, A, Question, name_of
from nat64d.dns64.upstreams.race import ServerAnswer
from nat64d.dns64.upstreams.upstream import Upstreams


class UnansweredError(Exception):
    """The question got no answer; the text says why."""


async def asked(upstreams: Upstreams, question: Question | str) -> ServerAnswer:
    """The answer to a question, or about the A records of a name. Raises UnansweredError."""
    if isinstance(question, str):
        question = Question(name_of(question), A, IN, 0)
    found: asyncio.Future[ServerAnswer] = asyncio.get_running_loop().create_future()

    def done(answer: ServerAnswer | None, problem: str) -> None:
        if found.done():  # too late
            return
        if answer is None:
            found.set_exception(UnansweredError(problem))
        else:
            found.set_result(answer)

    upstreams.ask(question, False, False, done)
    return await found


def free_port() -> int:
    """A port of 127.0.0.1 that is free by UDP and TCP."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            try:
                other.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


async def addresses_at(port: int, name: str) -> list[str]:
    """The AAAA records that a client gets at a port of 127.0.0.1; it repeats its query until somebody answers."""
    query = dns.message.make_query(name, "AAAA")
    for _ in range(100):
        try:
            answer = await dns.asyncquery.udp(query, "127.0.0.1", port=port, timeout=0.5)
        except (dns.exception.Timeout, OSError):
            await asyncio.sleep(0.05)
            continue
        return [item.to_text() for rrset in answer.answer for item in rrset]
    raise AssertionError("nobody answers")
