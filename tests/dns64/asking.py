"""One question over one transport, awaited: what upstream.py does with callbacks."""

import asyncio

from nat64d.dns64.exchange import Datagrams, ExchangeError, Query
from nat64d.dns64.stream import Stream
from nat64d.dns64.wire import read_question


class AlteredError(Exception):
    """The answer came in other letters."""


class Waiter:
    """A future of the answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def answered(self, octets: bytes) -> None:
        self.answer.set_result(octets)

    def altered(self) -> None:
        self.answer.set_exception(AlteredError())

    def failed(self, reason: str) -> None:
        self.answer.set_exception(ExchangeError(reason))


def query_of(octets: bytes) -> Query:
    return Query(octets, read_question(octets).end)


async def asked(transport: Datagrams | Stream, query: bytes | Query) -> bytes:
    """The answer. Raises AlteredError, ExchangeError."""
    waiter = Waiter()
    transport.ask(query if isinstance(query, Query) else query_of(query), waiter)
    return await waiter.answer
