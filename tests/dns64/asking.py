"""Asking, from both sides: servers through `Upstreams.ask` as a coroutine, and the name server as a client does."""

import asyncio
import socket

import dns.asyncquery
import dns.exception
import dns.message

from nat64d.dns64.race import Answer
from nat64d.dns64.upstream import Upstreams
from nat64d.dns64.wire import IN, A, Question, name_of


class UnansweredError(Exception):
    """Why there is no answer."""


async def asked(upstreams: Upstreams, question: Question | str) -> Answer:
    """The answer; to a name, that about its A records. Raises UnansweredError."""
    if isinstance(question, str):
        question = Question(name_of(question), A, IN, 0)
    found: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def done(answer: Answer | None, problem: str) -> None:
        if answer is None:
            found.set_exception(UnansweredError(problem))
        else:
            found.set_result(answer)

    upstreams.ask(question, False, False, done)
    return await found


def free_port() -> int:
    """A port of 127.0.0.1 that is free by UDP and by TCP."""
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
    """The AAAA records a client gets at a port of 127.0.0.1; it asks again while nobody listens yet."""
    query = dns.message.make_query(name, "AAAA")
    for _ in range(100):
        try:
            answer = await dns.asyncquery.udp(query, "127.0.0.1", port=port, timeout=0.5)
        except (dns.exception.Timeout, OSError):
            await asyncio.sleep(0.05)
            continue
        return [item.to_text() for rrset in answer.answer for item in rrset]
    raise AssertionError("nobody answers")
