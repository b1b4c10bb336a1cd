"""What servers answer: kept, or asked for once however many clients want it."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from nat64d.dns64 import trace
from nat64d.dns64.cache import Cache, Key
from nat64d.dns64.race import Answer
from nat64d.dns64.reply import Reply, reply_of, reply_to
from nat64d.dns64.synthesis import failure
from nat64d.dns64.trace import Tell
from nat64d.dns64.upstream import Upstreams
from nat64d.dns64.wire import AA, CD, Edns, Message, extended_error

PLAIN = -1  # policy of an answer that is the same for everybody
NO_REACHABLE_AUTHORITY = 22  # RFC 8914


class Got(NamedTuple):
    """A server's answer as it is kept, and as it was read if it has just come."""

    reply: Reply
    read: Message | None = None

    def message(self, now: float) -> Message:
        """With TTLs as of now."""
        if self.read is None or now - self.reply.stored >= 1:
            return self.reply.message(now)
        return self.read


class Source:
    """Answers of servers, by way of the cache."""

    def __init__(self, upstreams: Upstreams, cache: Cache, now: Callable[[], float]) -> None:
        self._upstreams, self._cache, self._now = upstreams, cache, now
        self._asking: dict[Key, asyncio.Future[Got]] = {}

    def ask(self, query: Message, type_: int, tell: Tell | None) -> asyncio.Future[Got]:
        """The answer to a query, or to one for another type. To be awaited shielded: others wait for it too."""
        query = query._replace(question=query.question._replace(type=type_))
        key = key_of(query, PLAIN)
        got = self._asking.get(key)
        if got is not None:
            return got
        got = asyncio.get_running_loop().create_future()
        kept = self._cache.find(key, self._now())
        if kept is not None:
            if tell:
                tell(trace.cached(query.question, kept, self._now()))
            got.set_result(Got(kept))
            return got
        self._asking[key] = got
        came = partial(self._came, query, key, got, tell)
        self._upstreams.ask(query.question, key.dnssec, key.checking_disabled, came, tell)
        return got

    def _came(
        self,
        query: Message,
        key: Key,
        got: asyncio.Future[Got],
        tell: Tell | None,
        answer: Answer | None,
        problem: str,
    ) -> None:
        """That no server answers is an answer too."""
        if answer is not None:
            octets, message = answer
            message = message._replace(flags=message.flags & ~AA)  # AA: of who asks the authority itself
            reply = reply_of(octets, message, key.dnssec, self._now())
        else:
            if tell:
                tell(f"{trace.question_text(query.question)}: {problem}")
            told = Edns(0, 0, 0, False, extended_error(NO_REACHABLE_AUTHORITY, problem[:120]))
            message = failure(query)._replace(edns=told)
            reply = reply_to(query, message, self._now())
        del self._asking[key]
        self._cache.put(key, reply)
        got.set_result(Got(reply, message))


def key_of(query: Message, policy: int) -> Key:
    """Under what the answer to a query is kept."""
    question = query.question
    dnssec, disabled = bool(query.edns and query.edns.dnssec), bool(query.flags & CD)
    return Key(question.key, question.type, question.class_, dnssec, disabled, policy)
