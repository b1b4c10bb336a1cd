"""A question to the servers, awaited: `Upstreams.ask` as a coroutine."""

import asyncio

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
