"""The way of one query: refused, answered from here or from the cache, or asked for; then made an answer to it.

Answers of servers are kept as they came and given as they came, but for what `reply` says is between two servers only;
what is made of them is kept for the policy that made it. Of a client's EDNS options none goes on to a server: no client
subnet (RFC 7871), no cookie (RFC 7873); those that are not known are ignored (RFC 6891 section 6.1.2).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address
from time import monotonic
from typing import NamedTuple

from nat64d.dns64 import local, trace
from nat64d.dns64.cache import Cache, Key
from nat64d.dns64.maps import Maps
from nat64d.dns64.outcome import Counters, Outcome
from nat64d.dns64.policy import Policy
from nat64d.dns64.queries import UDP_WITHOUT_EDNS, understood, validates
from nat64d.dns64.reply import Reply, head_of, lifetime, reply_to
from nat64d.dns64.source import PLAIN, Source, key_of
from nat64d.dns64.synthesis import (
    OTHER,
    Finding,
    basis,
    chain,
    failure,
    look_at,
    stops_at,
    synthesise,
    without,
    without_excluded,
)
from nat64d.dns64.trace import Tell
from nat64d.dns64.upstream import Upstreams
from nat64d.dns64.wire import AD, ANY, IN, QR, RA, REFUSED, A, Message, Record, extended_error, read, write

# LIMITS
DEADLINE = 1.5  # seconds; RFC 6147 section 5.1.3 leaves it to us, resolvers that wait longer lose their clients
CLIENTS, SEEN = 4096, 16384  # remembered, so that a cached answer costs no reading
MISSING_FOR = 10  # seconds an address that is not made yet may be remembered as missing
ALIASES = 8  # that are followed by asking again
HINFO = 13
_prohibited = extended_error(18)  # RFC 8914 section 4.19


class _Asked(NamedTuple):
    """What of a query decides which answer it gets, and in which form."""

    key: Key
    edns: bool
    authentic: bool  # RFC 6840 section 5.7: it wants to know about AD


class Resolver:
    """Answers queries; knows no socket of a client. `ready`: whether packets are translated (else nothing is
    synthesised)."""

    def __init__(
        self, upstreams: Upstreams, cache: Cache, ready: Callable[[], bool], now: Callable[[], float] = monotonic
    ) -> None:
        self.counters = Counters()
        self.cache = cache
        self._source, self._ready, self._now = Source(upstreams, cache, now), ready, now
        self._given: tuple[list[Policy], Maps | None, bool] = ([], None, False)
        self._policies: dict[int, Policy] = {}
        self._numbers = range(0)  # of the policies in use; others have queries that wait yet
        self._policy_of = lru_cache(CLIENTS)(self._find_policy)
        self._seen: dict[tuple[bytes, int, bool], _Asked] = {}  # queries as they came but for the ID

    def use(self, policies: Sequence[Policy], maps: Maps | None = None, dns46: bool = False) -> None:
        """Answer by these policies from now on. `maps`: [[eam]], which A records are made by as well where `dns46` says
        so, for IPv4 clients."""
        given = (list(policies), maps, dns46)
        if given == self._given:
            return
        four = [replace(policy, maps=maps) for policy in policies] if dns46 else []
        first = self._numbers.stop
        new = dict(enumerate([*policies, *four], first))
        self._policies = {number: self._policies[number] for number in self._numbers} | new
        self._given, self._numbers = given, range(first, first + len(new))
        self._policy_of.cache_clear()
        self._seen.clear()
        self.cache.clear()

    def at_once(self, octets: bytes, client: str) -> tuple[bytes | None, Message | None, int]:
        """(answer, query, policy) without waiting: the answer if it is refused or cached, else the query to `resolve`.

        Neither: the octets deserve no answer. `client`: its address, as text.
        """
        number, query = self._policy_of(client), None
        seen = (octets[2:], number, self._ready())
        asked = self._seen.get(seen)
        if asked is None:
            query, error = understood(octets)
            if query is None:
                self.counters.add(Outcome.DROPPED if error is None else Outcome.UNREADABLE)
                return error, None, 0
            if number < 0:
                self.counters.add(Outcome.REFUSED)
                self.counters.stranger = client
                return write(failure(query, REFUSED, _prohibited)), None, 0
            if len(self._seen) >= SEEN:
                self._seen.clear()
            asked = self._asked(query, number)
            if len(octets) <= UDP_WITHOUT_EDNS:  # so many that are as long as they can be would be a gigabyte
                self._seen[seen] = asked
        now = self._now()
        reply = self.cache.get(asked.key, now)
        if reply is None:
            return None, query or read(octets), number
        self.counters.add(Outcome.CACHED)
        return reply.answer(octets, asked.edns, asked.authentic, now), None, 0

    def _find_policy(self, client: str) -> int:
        """The number of the first policy that has the client, or of the one it has for IPv4 clients; -1: none has."""
        address = ip_address(client.partition("%")[0])
        policies, _, dns46 = self._given
        for number, policy in enumerate(policies, self._numbers.start):
            if policy.serves(address):
                return number + (len(policies) if dns46 and address.version == 4 else 0)
        return -1

    def _asked(self, query: Message, number: int) -> _Asked:
        """Its answer is kept for a policy of its own only where that makes a difference."""
        question, policy = query.question, self._policies[number]
        own = self._makes(query, policy) or _hides(query, policy) or local.is_ours(question.key)
        key = key_of(query, number if own else PLAIN)
        return _Asked(key, query.edns is not None, key.dnssec or bool(query.flags & AD))

    def _makes(self, query: Message, policy: Policy) -> bool:
        """RFC 6147 sections 5.1 and 5.5: not for who validates himself, nor while nothing is translated."""
        return self._ready() and _would_make(query, policy)

    async def resolve(self, query: Message, number: int, tell: Tell | None = None) -> bytes:
        """The answer to a query of a client of this policy. Never raises but CancelledError."""
        asked, policy, ready = self._asked(query, number), self._policies[number], self._ready()
        if tell:
            tell(trace.policy_text(policy, number - self._numbers.start))
        how, reply = await self._reply(query, policy, tell)
        now = self._now()
        if reply.failed:
            how, stale = Outcome.FAILED, self.cache.stale(asked.key, now)
            if stale is not None:
                how, reply = Outcome.STALE, stale
                if tell:
                    tell("no server helps: an answer is used after its time (RFC 8767)")
        self.counters.add(how)
        if ready == self._ready():
            self.cache.put(asked.key, reply)
        return reply.answer(head_of(query), asked.edns, asked.authentic, now)

    async def _reply(self, query: Message, policy: Policy, tell: Tell | None, links: int = 0) -> tuple[Outcome, Reply]:
        """(how it ended, the answer). `links`: aliases that led here."""
        question = query.question
        ours = local.answer(question, policy, self._given[1], self._ready())
        if ours is not None:
            if tell:
                tell(f"{trace.question_text(question)}: answered from here: {trace.answer_text(ours)}")
            _, reply = await self._follow(query, ours, policy, tell, links)
            return Outcome.LOCAL, reply
        if question.type == ANY:
            return Outcome.ANY, reply_to(query, _hinfo(query), self._now())
        if self._makes(query, policy):
            return await self._made(query, policy, tell, links)
        if tell and question.type in OTHER and not links:
            tell(trace.spared(query, policy, self._ready()))
        got = await asyncio.shield(self._source.ask(query, question.type, tell))
        now = self._now()
        message = got.message(now)
        if stops_at(message):  # what is made for nobody here is not made where it leads to
            return await self._follow(query, message, replace(policy, synthesise=False, maps=None), tell, links)
        if not _hides(query, policy):
            missing = _would_make(query, policy) and look_at(message, policy).wants_other
            return Outcome.RELAYED, got.reply.at_most(MISSING_FOR) if missing else got.reply
        if tell:
            tell("filter_a: A records are not shown")
        return Outcome.FILTERED, reply_to(query, without(message, A), now, lifetime(message))

    async def _made(self, query: Message, policy: Policy, tell: Tell | None, links: int) -> tuple[Outcome, Reply]:
        """RFC 6147 section 5.1: the other family is asked for beside the one wanted (5.1.8), and waited for if that has
        nothing to use."""
        wanted = query.question.type
        own, asking = self._source.ask(query, wanted, tell), self._source.ask(query, OTHER[wanted], tell)
        await asyncio.wait([own], timeout=DEADLINE)
        now = self._now()
        empty = own.result().message(now) if own.done() else None
        if empty is not None and stops_at(empty):
            return await self._follow(query, empty, policy, tell, links)
        finding = look_at(empty, policy)
        if tell:
            if empty is None:
                tell(f"{trace.question_text(query.question)}: no answer within {DEADLINE:g} s")
            else:
                for sentence in trace.excluded(empty, policy):
                    tell(sentence)
            tell(f"{trace.type_text(wanted)}: {finding.value}")
        if empty is not None and finding is Finding.FILTER:
            return Outcome.FILTERED, reply_to(query, without_excluded(empty, policy), now, lifetime(empty))
        if not finding.wants_other:
            return Outcome.RELAYED, own.result().reply
        other = (await asyncio.shield(asking)).message(self._now())
        if stops_at(other):
            return await self._follow(query, other._replace(question=query.question), policy, tell, links)
        return self._made_of(query, policy, finding, empty, other, tell) or (Outcome.RELAYED, own.result().reply)

    def _made_of(
        self,
        query: Message,
        policy: Policy,
        finding: Finding,
        empty: Message | None,
        other: Message,
        tell: Tell | None,
    ) -> tuple[Outcome, Reply] | None:
        """What becomes of the other family's answer; None: the empty one is the answer."""
        now = self._now()
        if tell:
            for sentence in trace.made(empty, other, policy):
                tell(sentence)
        message = synthesise(empty, other, policy)
        if message is not None:
            return Outcome.SYNTHESISED, reply_to(query, message, now)
        bare = basis(finding, other)
        if tell:
            family = trace.type_text(query.question.type if bare is None else other.question.type)
            tell(f"nothing to synthesise from: answered as {family} was (RFC 6147 5.1)")
        return None if bare is None else (Outcome.RELAYED, reply_to(query, bare, now, lifetime(other)))

    async def _follow(
        self, query: Message, message: Message, policy: Policy, tell: Tell | None, links: int
    ) -> tuple[Outcome, Reply]:
        """RFC 1034 section 5.3.3, RFC 6147 sections 5.1.5 and 5.3.1: an answer with what its last alias leads to."""
        end = stops_at(message)
        if end is None:
            return Outcome.RELAYED, reply_to(query, message, self._now())
        if links == ALIASES:
            return Outcome.RELAYED, reply_to(query, failure(query), self._now())
        on = query._replace(question=query.question._replace(name=end))
        how, reply = await self._reply(on, policy, tell, links + 1)
        answer = reply.message(self._now())
        sections = (chain(message, message.question.type) + answer.sections[0], *answer.sections[1:])
        return how, reply_to(query, answer._replace(flags=answer.flags & ~AD, sections=sections), self._now())


def _would_make(query: Message, policy: Policy) -> bool:
    """Whether records are made for it, once packets are translated: RFC 6147 sections 5.1 and 5.5."""
    question = query.question
    wanted = question.class_ == IN and policy.makes(question.type) and not policy.spares(question.key)
    return wanted and not validates(query)


def _hides(query: Message, policy: Policy) -> bool:
    """Whether A records are not shown: not to who would find a signature missing."""
    question = query.question
    return policy.filter_a and question.type == A and question.class_ == IN and not validates(query)


def _hinfo(query: Message) -> Message:
    """RFC 8482 section 4.2: the short answer to ANY."""
    record = Record(query.question.name, HINFO, IN, 3600, b"\x07RFC8482\x00")
    return Message(0, QR | RA, query.question, ([record], [], []), None)
