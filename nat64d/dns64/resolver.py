"""The way of one query: it is refused, answered locally or from the cache, or sent to upstream servers.

Answers of upstream servers are cached and relayed as they came, without what `reply` says belongs to one hop. Answers
made here are cached for the policy that made them. No EDNS option of a client is sent upstream: no client subnet (RFC
7871), no cookie (RFC 7873); unknown options are ignored (RFC 6891 section 6.1.2).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address
from time import monotonic
from typing import NamedTuple

from nat64d.dns64 import trace
from nat64d.dns64.message.endings import Ending, QueryCounters
from nat64d.dns64.message.reply import Reply, head_of, lifetime, reply_to
from nat64d.dns64.message.wire import AD, ANY, IN, QR, RA, REFUSED, Message, Record, extended_error, read, write
from nat64d.dns64.rules import local
from nat64d.dns64.rules.filter_a import without_ipv4
from nat64d.dns64.rules.maps import Maps
from nat64d.dns64.rules.policy import Policy
from nat64d.dns64.rules.queries import UDP_WITHOUT_EDNS, cut_short, understood, validates
from nat64d.dns64.rules.synthesis import (
    OTHER,
    Finding,
    basis,
    chain,
    failure,
    look_at,
    stops_at,
    synthesise,
    without_excluded,
)
from nat64d.dns64.trace import Tell
from nat64d.dns64.upstreams.cache import Cache, Key
from nat64d.dns64.upstreams.upstream import PLAIN, CachedUpstreams, Upstreams, key_of

# LIMITS
AAAA_DEADLINE = 1.5  # seconds; RFC 6147 section 5.1.3 sets no value, and clients give up after 5 seconds or less
KNOWN_CLIENTS, KNOWN_QUERIES = 4096, 8192  # remembered, so that a query with a cached answer is not parsed again
MISSING_FOR = 10  # seconds for which an answer without synthetic records is cached while packets are not translated yet
ALIASES = 8  # followed by further questions
HINFO = 13
_prohibited = extended_error(18)  # RFC 8914 section 4.19


class _Asked(NamedTuple):
    """What decides which answer a query gets, and in which form."""

    key: Key
    edns: bool
    authentic: bool  # the client wants the AD bit (RFC 6840 section 5.7)


class Resolver:
    """Answers queries; it has no client sockets. `ready` tells whether packets are translated: nothing is synthesised
    until they are."""

    def __init__(
        self, upstreams: Upstreams, cache: Cache, ready: Callable[[], bool], now: Callable[[], float] = monotonic
    ) -> None:
        self.counters = QueryCounters()
        self.cache = cache
        self._upstreams, self._ready, self._now = CachedUpstreams(upstreams, cache, now), ready, now
        self._given: tuple[list[Policy], Maps | None, bool] = ([], None, False)
        self._policies: dict[int, Policy] = {}
        self._numbers = range(0)  # of the policies in use; older ones are kept for queries that are still waiting
        self._policy_of = lru_cache(KNOWN_CLIENTS)(self._find_policy)
        self._known_queries: dict[tuple[bytes, int, bool], _Asked] = {}  # by the octets of a query without its ID

    def use(self, policies: Sequence[Policy], maps: Maps | None = None, dns46: bool = False) -> None:
        """Answer by these policies from now on. `maps` are the [[eam]] rows; with `dns46`, IPv4 clients also get A
        records made from AAAA records by them."""
        given = (list(policies), maps, dns46)
        if given == self._given:
            return
        four = [replace(policy, maps=maps) for policy in policies] if dns46 else []
        first = self._numbers.stop
        new = dict(enumerate([*policies, *four], first))
        self._policies = {number: self._policies[number] for number in self._numbers} | new
        self._given, self._numbers = given, range(first, first + len(new))
        self._policy_of.cache_clear()
        self._known_queries.clear()
        self.cache.clear()

    def at_once(self, octets: bytes, client: str) -> tuple[bytes | None, Message | None, int]:
        """(answer, query, policy) without waiting: the answer if the query is refused or its answer cached, else the
        query, for `resolve`. Neither if the octets must not be answered. `client`: its address as text."""
        number, query = self._policy_of(client), None
        seen = (octets[2:], number, self._ready())
        asked = self._known_queries.get(seen)
        if asked is None:
            query, error = understood(octets)
            if query is None:
                self.counters.add(Ending.DROPPED if error is None else Ending.UNREADABLE)
                return error, None, 0
            if number < 0:
                self.counters.add(Ending.REFUSED)
                self.counters.stranger = client
                return write(failure(query, REFUSED, _prohibited)), None, 0
            if len(self._known_queries) >= KNOWN_QUERIES:
                self._known_queries.clear()
            asked = self._asked(query, number)
            if len(octets) <= UDP_WITHOUT_EDNS:  # that many queries of the largest size would take a gigabyte
                self._known_queries[seen] = asked
        now = self._now()
        reply = self.cache.get(asked.key, now)
        if reply is None:
            return None, query or read(octets), number
        self.counters.add(Ending.CACHED)
        return reply.answer(octets, asked.edns, asked.authentic, now), None, 0

    def by_tcp(self, octets: bytes, client: str) -> bytes | None:
        """The answer to a query of a client that is over its share by UDP: with TC, and nothing else. None for what is
        no query, or not from a client."""
        query = understood(octets)[0] if self._policy_of(client) >= 0 else None
        self.counters.add(Ending.LIMITED if query is None else Ending.BY_TCP)
        return None if query is None else write(cut_short(query))

    def _find_policy(self, client: str) -> int:
        """The number of the first policy that covers the client, or of that policy's variant for IPv4 clients; -1 if
        none does."""
        address = ip_address(client.partition("%")[0])
        policies, _, dns46 = self._given
        for number, policy in enumerate(policies, self._numbers.start):
            if policy.serves(address):
                return number + (len(policies) if dns46 and address.version == 4 else 0)
        return -1

    def _asked(self, query: Message, number: int) -> _Asked:
        """The cache key has the policy's number only if the policy can make a difference to the answer."""
        question, policy = query.question, self._policies[number]
        own = self._makes(query, policy) or _hides(query, policy) or local.is_ours(question.key)
        key = key_of(query, number if own else PLAIN)
        return _Asked(key, query.edns is not None, key.dnssec or bool(query.flags & AD))

    def _makes(self, query: Message, policy: Policy) -> bool:
        """Whether records are synthesised for this query now (RFC 6147 sections 5.1 and 5.5)."""
        return self._ready() and _would_make(query, policy)

    async def resolve(self, query: Message, number: int, tell: Tell | None = None) -> bytes:
        """The answer to a query from a client of this policy. Raises nothing but CancelledError."""
        asked, policy, ready = self._asked(query, number), self._policies[number], self._ready()
        if tell:
            tell(trace.policy_text(policy, number - self._numbers.start))
        how, reply = await self._reply(query, policy, tell)
        if _hides(query, policy) and not (how is Ending.LOCAL and local.is_ipv4only(query.question.key)):
            how, reply = self._hidden(query, how, reply, tell)
        now = self._now()
        if reply.failed:
            how, stale = Ending.FAILED, self.cache.stale(asked.key, now)
            if stale is not None:
                how, reply = Ending.STALE, stale
                if tell:
                    tell("no upstream server has an answer: an expired one from the cache is used (RFC 8767)")
        self.counters.add(how)
        if ready == self._ready():
            self.cache.put(asked.key, reply)
        return reply.answer(head_of(query), asked.edns, asked.authentic, now)

    async def _reply(self, query: Message, policy: Policy, tell: Tell | None, links: int = 0) -> tuple[Ending, Reply]:
        """(ending, answer). `links`: how many aliases led here."""
        question = query.question
        ours = local.answer(question, policy, self._given[1], self._ready())
        if ours is not None:
            if tell:
                tell(f"{trace.question_text(question)}: answered locally: {trace.answer_text(ours)}")
            _, reply = await self._follow(query, ours, policy, tell, links)
            return Ending.LOCAL, reply._replace(expires=min(reply.expires, reply.stored + local.KEPT))
        if question.type == ANY:
            return Ending.ANY, reply_to(query, _hinfo(query), self._now())
        if self._makes(query, policy):
            return await self._made(query, policy, tell, links)
        if tell and question.type in OTHER and not links:
            tell(trace.spared(query, policy, self._ready()))
        got = await asyncio.shield(self._upstreams.ask(query, question.type, tell))
        now = self._now()
        message = got.message(now)
        would_make = _would_make(query, policy)
        if stops_at(message):  # where nothing is synthesised, nothing is at the end of the alias either
            policy = policy if would_make else replace(policy, synthesise=False, maps=None)
            return await self._follow(query, message, policy, tell, links)
        missing = would_make and look_at(message, policy).wants_other
        return Ending.RELAYED, got.reply.at_most(MISSING_FOR) if missing else got.reply

    def _hidden(self, query: Message, how: Ending, reply: Reply, tell: Tell | None) -> tuple[Ending, Reply]:
        """(ending, answer) without IPv4 addresses, valid for as long as the answer with them."""
        now = self._now()
        message = reply.message(now)
        bare = without_ipv4(message)
        if bare is message:
            return how, reply
        if tell:
            tell("filter_a: A records and IPv4 hints are left out")
        hidden = reply_to(query, bare, now)._replace(expires=reply.expires, stale_until=reply.stale_until)
        return Ending.FILTERED if how is Ending.RELAYED else how, hidden

    async def _made(self, query: Message, policy: Policy, tell: Tell | None, links: int) -> tuple[Ending, Reply]:
        """RFC 6147 section 5.1: the other family's records are asked for at the same time (5.1.8), and waited for only
        if there are no usable records of the wanted type."""
        wanted = query.question.type
        own, asking = self._upstreams.ask(query, wanted, tell), self._upstreams.ask(query, OTHER[wanted], tell)
        await asyncio.wait([own], timeout=AAAA_DEADLINE)
        now = self._now()
        empty = own.result().message(now) if own.done() else None
        if empty is not None and stops_at(empty):
            return await self._follow(query, empty, policy, tell, links)
        finding = look_at(empty, policy)
        if tell:
            if empty is None:
                tell(f"{trace.question_text(query.question)}: no answer within {AAAA_DEADLINE:g} s")
            else:
                for sentence in trace.excluded(empty, policy):
                    tell(sentence)
            tell(f"{trace.type_text(wanted)}: {finding.value}")
        if empty is not None and finding is Finding.FILTER:
            return Ending.FILTERED, reply_to(query, without_excluded(empty, policy), now, lifetime(empty))
        if not finding.wants_other:
            return Ending.RELAYED, own.result().reply
        got = await asyncio.shield(asking)
        other = got.message(self._now())
        if stops_at(other):
            return await self._follow(query, other._replace(question=query.question), policy, tell, links)
        made = self._made_of(query, policy, finding, empty, other, tell)
        if made is None:
            return Ending.RELAYED, own.result().reply
        how, reply = made
        return how, reply.within(got.reply) if how is Ending.RELAYED else reply

    def _made_of(
        self,
        query: Message,
        policy: Policy,
        finding: Finding,
        empty: Message | None,
        other: Message,
        tell: Tell | None,
    ) -> tuple[Ending, Reply] | None:
        """What the other family's answer becomes; None if the empty answer is the one to give."""
        now = self._now()
        if tell:
            for sentence in trace.made(empty, other, policy):
                tell(sentence)
        message = synthesise(empty, other, policy)
        if message is not None:
            return Ending.SYNTHESISED, reply_to(query, message, now)
        bare = basis(finding, other)
        if tell:
            family = trace.type_text(query.question.type if bare is None else other.question.type)
            tell(f"nothing to synthesise from: the answer for {family} is given (RFC 6147 5.1)")
        return None if bare is None else (Ending.RELAYED, reply_to(query, bare, now, lifetime(other)))

    async def _follow(
        self, query: Message, message: Message, policy: Policy, tell: Tell | None, links: int
    ) -> tuple[Ending, Reply]:
        """RFC 1034 section 5.3.3, RFC 6147 sections 5.1.5 and 5.3.1: the answer with what its last alias leads to."""
        end = stops_at(message)
        if end is None:
            return Ending.RELAYED, reply_to(query, message, self._now())
        if links == ALIASES:
            return Ending.RELAYED, reply_to(query, failure(query), self._now())
        on = query._replace(question=query.question._replace(name=end))
        how, reply = await self._reply(on, policy, tell, links + 1)
        answer = reply.message(self._now())
        sections = (chain(message, message.question.type) + answer.sections[0], *answer.sections[1:])
        whole = answer._replace(flags=answer.flags & ~AD, sections=sections)
        return how, reply_to(query, whole, self._now()).within(reply)


def _would_make(query: Message, policy: Policy) -> bool:
    """Whether records are synthesised for this query once packets are translated (RFC 6147 sections 5.1 and 5.5)."""
    question = query.question
    wanted = question.class_ == IN and policy.makes(question.type) and not policy.spares(question.key)
    return wanted and not validates(query)


def _hides(query: Message, policy: Policy) -> bool:
    """Whether IPv4 addresses are hidden. Not from clients that validate for themselves: they would miss signatures."""
    return policy.filter_a and not validates(query)


def _hinfo(query: Message) -> Message:
    """RFC 8482 section 4.2: the minimal answer to ANY."""
    class_ = IN if query.question.class_ == ANY else query.question.class_
    record = Record(query.question.name, HINFO, class_, 3600, b"\x07RFC8482\x00")
    return Message(0, QR | RA, query.question, ([record], [], []), None)
