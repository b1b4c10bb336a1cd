"""The upstream servers: which there are, and what they answered, kept or asked for once."""

import asyncio
import struct
from collections.abc import Callable, Iterable
from functools import partial
from operator import attrgetter
from typing import NamedTuple

from nat64d.dns64 import trace
from nat64d.dns64.message.reply import BUFFER, Reply, reply_of, reply_to
from nat64d.dns64.message.wire import AA, CD, DO, HEADER, OPT, RD, Edns, Message, Question, extended_error
from nat64d.dns64.rules.synthesis import failure
from nat64d.dns64.trace import Tell
from nat64d.dns64.upstreams.cache import Cache, Key
from nat64d.dns64.upstreams.exchange import Query, ServerAddress, StrayCounters
from nat64d.dns64.upstreams.race import DEADLINE, TOO_MANY, Done, Race, ServerAnswer, Upstream

# SPEC
NO_REACHABLE_AUTHORITY = 22  # RFC 8914 section 4.23
PLAIN = -1  # policy of an answer that is the same for all clients
# LIMITS
QUESTIONS = 4096  # waiting for answers at a time; a new one takes the place of the oldest

# Indexed by CD: ID, flags, one question, one additional record. Indexed by DO: OPT (RFC 6891 section 6.1.2).
_heads = [struct.pack("!6H", 0, RD | cd, 1, 0, 0, 1) for cd in (0, CD)]
_edns = [b"\0" + struct.pack("!HHIH", OPT, BUFFER, do, 0) for do in (0, DO)]
_tail = struct.Struct("!HH")
_by_seconds = attrgetter("seconds")


class Upstreams:
    """All upstream servers."""

    def __init__(self, servers: Iterable[ServerAddress]) -> None:
        self.counters = StrayCounters()
        self.all = [Upstream(server, self.counters) for server in dict.fromkeys(servers)]
        self.displaced = 0  # questions that were given up for newer ones
        self._racing: dict[int, Race] = {}  # by number, including answered ones that another server may still answer
        self._number = 0
        self._leaving: dict[Upstream, asyncio.TimerHandle] = {}

    def ask(
        self, question: Question, dnssec: bool, checking_disabled: bool, done: Done, tell: Tell | None = None
    ) -> None:
        """Ask a question; `done` gets the answer of the fastest server. It may be called before this returns."""
        while len(self._racing) >= QUESTIONS:
            self.displaced += 1
            self._racing.pop(next(iter(self._racing))).give_up()
        self._number += 1
        race = Race(
            self.ranked, query_for(question, dnssec, checking_disabled), done, partial(self._over, self._number), tell
        )
        if not race.is_over:
            self._racing[self._number] = race

    @property
    def on_their_way(self) -> int:
        """The number of questions, including answered ones that another server may still answer."""
        return len(self._racing)

    def _over(self, number: int) -> None:
        self._racing.pop(number, None)

    def ranked(self) -> list[Upstream]:
        """The servers, best first; those that were never asked come before the others."""
        return sorted(self.all, key=_by_seconds)

    def replace(self, servers: Iterable[ServerAddress]) -> None:
        """Use these servers from now on. Those that stay keep their connections and measurements; those that go may
        still answer what they were asked."""
        known, wanted = {one.server: one for one in self.all}, dict.fromkeys(servers)
        self.all = [known[one] if one in known else Upstream(one, self.counters) for one in wanted]
        for one in (known[server] for server in known.keys() - wanted.keys()):
            self._leaving[one] = asyncio.get_running_loop().call_later(DEADLINE, self._leave, one)

    def _leave(self, one: Upstream) -> None:
        del self._leaving[one]
        one.close()

    def close(self) -> None:
        """Close all sockets."""
        for timer in self._leaving.values():
            timer.cancel()
        for one in (*self.all, *self._leaving):
            one.close()


def query_for(question: Question, dnssec: bool, checking_disabled: bool) -> Query:
    """The octets of a query, without the ID."""
    end = HEADER + len(question.name) + 4
    octets = _heads[checking_disabled] + question.name + _tail.pack(question.type, question.class_) + _edns[dnssec]
    return Query(octets, end)


class Got(NamedTuple):
    """An answer as it is cached, and as a message if it has just arrived."""

    reply: Reply
    read: Message | None = None

    def message(self, now: float) -> Message:
        """The answer as a message, with the TTLs of now."""
        if self.read is None or now - self.reply.stored >= 1:
            return self.reply.message(now)
        return self.read


class CachedUpstreams:
    """The upstream servers behind the cache: a question is asked once, however many clients wait for the answer."""

    def __init__(self, upstreams: Upstreams, cache: Cache, now: Callable[[], float]) -> None:
        self._upstreams, self._cache, self._now = upstreams, cache, now
        self._asking: dict[Key, asyncio.Future[Got]] = {}

    def ask(self, query: Message, type_: int, tell: Tell | None) -> asyncio.Future[Got]:
        """The answer to a query, or to the same for another type. Others may wait for it too: await it with
        asyncio.shield()."""
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
        answer: ServerAnswer | None,
        problem: str,
    ) -> None:
        """Cache the answer, also a failure (RFC 9520) that is not our own, and one that comes after a failure (RFC
        8767 section 5)."""
        if answer is not None:
            octets, message = answer
            message = message._replace(flags=message.flags & ~AA)  # we did not ask the authority
            reply = reply_of(octets, message, key.dnssec, self._now())
        else:
            if tell:
                tell(f"{trace.question_text(query.question)}: {problem}")
            told = Edns(0, 0, 0, False, extended_error(NO_REACHABLE_AUTHORITY, problem[:120]))
            message = failure(query)._replace(edns=told)
            reply = reply_to(query, message, self._now(), 0 if problem == TOO_MANY else None)
        self._cache.put(key, reply)
        if got.done():
            return
        del self._asking[key]
        got.set_result(Got(reply, message))


def key_of(query: Message, policy: int) -> Key:
    """The cache key for the answer to a query."""
    question = query.question
    dnssec, disabled = bool(query.edns and query.edns.dnssec), bool(query.flags & CD)
    return Key(question.key, question.type, question.class_, dnssec, disabled, policy)
