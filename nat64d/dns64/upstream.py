"""The servers that are asked: which first, when another one too, and what counts as an answer."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, Self

from nat64d.dns64.exchange import CaseError, Counters, Datagrams, ExchangeError, Server, Stream
from nat64d.dns64.wire import (
    CD,
    HEADER,
    NOERROR,
    NXDOMAIN,
    RD,
    Edns,
    Message,
    Question,
    WireError,
    read_question,
    read_to_end,
    write,
)

# LIMITS
BUFFER = 1232  # octets of a UDP answer that we ask for (DNS flag day 2020)
PATIENCE = 1.0  # seconds until another server is asked too, before one has shown how long it takes
DEADLINE = 5.0  # seconds until the question is given up
WEIGHT = 0.2  # of a new measurement in the smoothed time of a server
PENALTY = 2.0  # seconds a server counts as taking that did not answer
KEEPS_CASE = 3  # answers in other letters, by TCP as well, until a server is asked in lower case only


class UnansweredError(Exception):
    """No server gave a usable answer; the text says why, for each."""


class Answer(NamedTuple):
    """What a server answered, as it came and as it was read."""

    octets: bytes
    message: Message

    @classmethod
    def to(cls, query: bytes, octets: bytes) -> Self:
        """Octets that answer a query, its name in the letters of the query (which 0x20 changed): compressed names lean
        on it. What lies behind the message is cut off. Raises WireError."""
        asked = read_question(query).end
        octets = octets[:HEADER] + query[HEADER:asked] + octets[asked:]
        message, end = read_to_end(octets)
        return cls(octets[:end], message)


class Upstream:
    """One server, its transports, and how it has done."""

    def __init__(self, server: Server, counters: Counters) -> None:
        self.server = server
        self.seconds = 0.0  # smoothed
        self.asked = self.failed = 0
        self._flattens = 0
        self._datagrams = None if server.tls else Datagrams(server, counters)
        self._stream = Stream(server, counters)

    async def ask(self, query: bytes) -> Answer:
        """The answer to a query's octets. Raises ExchangeError or WireError."""
        begin = asyncio.get_running_loop().time()
        self.asked += 1
        try:
            answer = await self._ask(query)
        except BaseException as error:
            self.failed += not isinstance(error, asyncio.CancelledError)
            self.seconds += (PENALTY - self.seconds) * WEIGHT
            raise
        self.seconds += (asyncio.get_running_loop().time() - begin - self.seconds) * WEIGHT
        return answer

    async def _ask(self, query: bytes) -> Answer:
        if self._datagrams is None:
            return Answer.to(query, await self._stream.ask(query))
        asked = lower_case(query) if self._flattens >= KEEPS_CASE else other_case(query)
        try:
            octets = await self._datagrams.ask(asked)
        except CaseError:
            octets = await self._stream.ask(asked)
            end = read_question(asked).end
            self._flattens += octets[HEADER:end] != asked[HEADER:end]
        answer = Answer.to(query, octets)
        return Answer.to(query, await self._stream.ask(query)) if answer.message.truncated else answer

    def close(self) -> None:
        """Close its sockets."""
        if self._datagrams:
            self._datagrams.close()
        self._stream.close()


class Upstreams:
    """All of them."""

    def __init__(self, servers: Iterable[Server]) -> None:
        self.counters = Counters()
        self.all: list[Upstream] = []
        self.replace(servers)

    def replace(self, servers: Iterable[Server]) -> None:
        """Ask these from now on; of those that stay nothing is lost."""
        known = {one.server: one for one in self.all}
        wanted = list(dict.fromkeys(servers))
        self.all = [known[server] if server in known else Upstream(server, self.counters) for server in wanted]
        for server in known.keys() - set(wanted):
            known[server].close()

    async def ask(
        self, question: Question, dnssec: bool, checking_disabled: bool, deadline: float = DEADLINE
    ) -> Answer:
        """The answer to a question, of the server that answers first. Raises UnansweredError."""
        flags = RD | (CD if checking_disabled else 0)
        query = write(Message(0, flags, question, ([], [], []), Edns(BUFFER, 0, 0, dnssec, b"")))
        try:
            async with asyncio.timeout(deadline):
                return await race([_asker(one, query) for one in sorted(self.all, key=lambda one: one.seconds)])
        except TimeoutError:
            raise UnansweredError(f"no answer within {deadline:g} s") from None

    def close(self) -> None:
        """Close all sockets."""
        for one in self.all:
            one.close()


def _asker(one: Upstream, query: bytes) -> tuple[Callable[[], Awaitable[Answer]], float, str]:
    return lambda: one.ask(query), max(2 * one.seconds, 0.05) if one.seconds else PATIENCE, str(one.server)


async def race(askers: list[tuple[Callable[[], Awaitable[Answer]], float, str]]) -> Answer:
    """The first usable answer; the next server is asked when one fails, or has been silent for its patience.

    An answer that is an error (SERVFAIL, REFUSED, …) is given if no other server has a better one.
    """
    running: dict[asyncio.Future[Answer], str] = {}
    waiting, problems, fallback = list(askers), [], None
    try:
        while waiting or running:
            patience = None
            if waiting:
                start, patience, name = waiting.pop(0)
                running[asyncio.ensure_future(start())] = name
            done, _ = await asyncio.wait(running, timeout=patience if waiting else None, return_when="FIRST_COMPLETED")
            for task in done:
                name = running.pop(task)
                try:
                    answer = task.result()
                except (ExchangeError, WireError) as error:
                    problems.append(f"{name}: {error}")
                    continue
                if answer.message.rcode in {NOERROR, NXDOMAIN}:
                    return answer
                fallback = fallback or answer
        if fallback is not None:
            return fallback
        raise UnansweredError("; ".join(problems) or "no server is configured")
    finally:
        for task in running:
            task.cancel()


def lower_case(query: bytes) -> bytes:
    """The query with its name in lower case, which servers keep that keep no other."""
    end = read_question(query).end
    return query[:HEADER] + query[HEADER : end - 4].lower() + query[end - 4 :]


def other_case(query: bytes) -> bytes:
    """The query with the case of the letters of its name at random (0x20): a forger has to guess it too."""
    octets, at = bytearray(query), HEADER
    while octets[at]:
        for letter in range(at + 1, at + 1 + octets[at]):
            if chr(octets[letter]).isalpha() and octets[letter] < 0x80 and secrets.randbits(1):
                octets[letter] ^= 0x20
        at += octets[at] + 1
    return bytes(octets)
