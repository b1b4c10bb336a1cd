"""The way of one query: refused, answered from here or from the cache, or asked for; then made an answer to it.

Answers of servers are kept as they came and given as they came, but for what `reply` says is between two servers only;
what is made of them is kept for the policy that made it. Of a client's EDNS options none goes on to a server: no client
subnet (RFC 7871), no cookie (RFC 7873); those that are not known are ignored (RFC 6891 section 6.1.2).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import NamedTuple

from nat64d.dns64 import local, trace
from nat64d.dns64.cache import Cache, Key
from nat64d.dns64.maps import Maps
from nat64d.dns64.outcome import Counters, Outcome
from nat64d.dns64.policy import Policy
from nat64d.dns64.race import Answer
from nat64d.dns64.reply import BUFFER, Reply, lifetime, reply_of, reply_to
from nat64d.dns64.synthesis import (
    OTHER,
    Finding,
    basis,
    failure,
    look_at,
    stops_at,
    synthesise,
    without,
    without_excluded,
)
from nat64d.dns64.trace import Tell
from nat64d.dns64.upstream import Upstreams
from nat64d.dns64.wire import (
    AA,
    AD,
    ANY,
    BADVERS,
    CD,
    FORMERR,
    HEADER,
    IN,
    NOTIMP,
    OPCODE,
    OPT,
    QR,
    RA,
    REFUSED,
    SERVFAIL,
    TC,
    A,
    Edns,
    Message,
    Record,
    WireError,
    extended_error,
    read,
    read_query,
    write,
)

# LIMITS
DEADLINE = 1.5  # seconds; RFC 6147 section 5.1.3 leaves it to us, resolvers that wait longer lose their clients
UDP_WITHOUT_EDNS = 512
CLIENTS, SEEN = 4096, 16384  # remembered, so that a cached answer costs no reading
MISSING_FOR = 10  # seconds an address that is not made yet may be remembered as missing
ALIASES = 8  # that are followed by asking again
PLAIN = -1  # policy of an answer that is the same for everybody
HINFO = 13
NO_REACHABLE_AUTHORITY = 22  # RFC 8914
# Types that are no question to forward: TKEY, TSIG, IXFR, AXFR, MAILB, MAILA are for a server itself; OPT is no type.
NOT_FORWARDED = {**dict.fromkeys(range(249, 255), NOTIMP), OPT: FORMERR}


class _Asked(NamedTuple):
    """What of a query decides which answer it gets, and in which form."""

    key: Key
    edns: bool
    authentic: bool  # RFC 6840 section 5.7: it wants to know about AD


class _Got(NamedTuple):
    """A server's answer as it is kept, and as it was read if it has just come."""

    reply: Reply
    read: Message | None = None

    def message(self, now: float) -> Message:
        """With TTLs as of now."""
        if self.read is None or now - self.reply.stored >= 1:
            return self.reply.message(now)
        return self.read


class Resolver:
    """Answers queries; knows no socket of a client. `ready`: whether packets are translated (else nothing is
    synthesised)."""

    def __init__(self, upstreams: Upstreams, cache: Cache, ready: Callable[[], bool]) -> None:
        self.counters = Counters()
        self.cache = cache
        self._upstreams, self._ready = upstreams, ready
        self._given: tuple[list[Policy], Maps | None, bool] = ([], None, False)
        self._policies: dict[int, Policy] = {}
        self._numbers = range(0)  # of the policies in use; others have queries that wait yet
        self._asking: dict[Key, asyncio.Future[_Got]] = {}
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
            query, error = self._read(octets)
            if query is None:
                return error, None, 0
            if number < 0:
                return self._end(Outcome.REFUSED, failure(query, REFUSED)), None, 0
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

    def _read(self, octets: bytes) -> tuple[Message | None, bytes | None]:
        """The query, or the answer to what is none; neither for what may not be answered at all."""
        if len(octets) < HEADER or octets[2] & QR >> 8:
            self.counters.add(Outcome.DROPPED)
            return None, None
        flags = int.from_bytes(octets[2:4], "big")
        rcode = NOTIMP if flags & OPCODE else FORMERR
        try:
            query = read_query(octets)
        except WireError:
            self.counters.add(Outcome.UNREADABLE)
            return None, octets[:2] + (QR | flags & 0x7900 | rcode).to_bytes(2, "big") + bytes(8)
        if flags & OPCODE:
            return None, self._end(Outcome.UNREADABLE, failure(query, NOTIMP))
        if query.edns and query.edns.version > 0:
            return None, self._end(Outcome.UNREADABLE, failure(query, BADVERS))
        if query.question.type in NOT_FORWARDED:
            return None, self._end(Outcome.UNREADABLE, failure(query, NOT_FORWARDED[query.question.type]))
        return query, None

    def _end(self, how: Outcome, message: Message) -> bytes:
        self.counters.add(how)
        return write(message)

    def _asked(self, query: Message, number: int) -> _Asked:
        """Its answer is kept for a policy of its own only where that makes a difference."""
        question, policy = query.question, self._policies[number]
        own = self._makes(query, policy) or _hides(query, policy) or local.is_ours(question.key)
        dnssec, disabled = bool(query.edns and query.edns.dnssec), bool(query.flags & CD)
        key = Key(question.key, question.type, question.class_, dnssec, disabled, number if own else PLAIN)
        return _Asked(key, query.edns is not None, dnssec or bool(query.flags & AD))

    def _makes(self, query: Message, policy: Policy) -> bool:
        """RFC 6147 sections 5.1 and 5.5: not for who validates himself, nor while nothing is translated."""
        return self._ready() and _would_make(query, policy)

    async def resolve(self, query: Message, number: int, tell: Tell | None = None) -> bytes:
        """The answer to a query of a client of this policy. Never raises but CancelledError."""
        asked, policy = self._asked(query, number), self._policies[number]
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
        self.cache.put(asked.key, reply)
        return reply.answer(write(query._replace(edns=None)), asked.edns, asked.authentic, now)

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
        if tell and question.type in OTHER:
            tell(trace.spared(query, policy, self._ready()))
        got = await asyncio.shield(self._ask(query, question.type, tell))
        now = self._now()
        message = got.message(now)
        if stops_at(message):
            return await self._follow(query, message, policy, tell, links)
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
        own, asking = self._ask(query, wanted, tell), self._ask(query, OTHER[wanted], tell)
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
        sections = (message.sections[0] + answer.sections[0], *answer.sections[1:])
        return how, reply_to(query, answer._replace(flags=answer.flags & ~AD, sections=sections), self._now())

    def _ask(self, query: Message, type_: int, tell: Tell | None) -> "asyncio.Future[_Got]":
        """A server's answer, kept or asked for, once however many clients want it. To be awaited shielded."""
        question = query.question._replace(type=type_)
        dnssec, disabled = bool(query.edns and query.edns.dnssec), bool(query.flags & CD)
        key = Key(question.key, type_, question.class_, dnssec, disabled, PLAIN)
        got = self._asking.get(key)
        if got is not None:
            return got
        got = asyncio.get_running_loop().create_future()
        kept = self.cache.find(key, self._now())
        if kept is not None:
            if tell:
                tell(trace.cached(question, kept, self._now()))
            got.set_result(_Got(kept))
            return got
        self._asking[key] = got
        came = partial(self._came, query._replace(question=question), key, got, tell)
        self._upstreams.ask(question, dnssec, disabled, came, tell)
        return got

    def _came(
        self,
        query: Message,
        key: Key,
        got: "asyncio.Future[_Got]",
        tell: Tell | None,
        answer: Answer | None,
        problem: str,
    ) -> None:
        """What the servers answered; that none does is an answer too."""
        if answer is not None:
            octets, message = answer
            message = message._replace(flags=message.flags & ~AA)  # AA: of who asks the authority itself
            reply = reply_of(octets, message, key.dnssec, self._now())
        else:
            if tell:
                tell(f"{trace.question_text(query.question)}: {problem}")
            options = extended_error(NO_REACHABLE_AUTHORITY, problem[:120])
            message = Message(0, QR | RA | SERVFAIL, query.question, ([], [], []), Edns(0, 0, 0, False, options))
            reply = reply_to(query, message, self._now())
        del self._asking[key]
        self.cache.put(key, reply)
        got.set_result(_Got(reply, message))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _would_make(query: Message, policy: Policy) -> bool:
    """Whether records are made for it, once packets are translated."""
    question = query.question
    wanted = question.class_ == IN and policy.makes(question.type) and not policy.spares(question.key)
    return wanted and not _validates(query)


def _validates(query: Message) -> bool:
    """RFC 6147 section 5.5, the third case: DO and CD."""
    return bool(query.edns and query.edns.dnssec and query.flags & CD)


def _hides(query: Message, policy: Policy) -> bool:
    """Whether A records are not shown: not to who would find a signature missing."""
    question = query.question
    return policy.filter_a and question.type == A and question.class_ == IN and not _validates(query)


def _hinfo(query: Message) -> Message:
    """RFC 8482 section 4.2: the short answer to ANY."""
    record = Record(query.question.name, HINFO, IN, 3600, b"\x07RFC8482\x00")
    return Message(0, QR | RA, query.question, ([record], [], []), None)


def fit(octets: bytes, query: bytes) -> bytes:
    """An answer cut to what the client takes by UDP: header and question with TC, where it is larger (RFC 2181 section
    9)."""
    if len(octets) <= UDP_WITHOUT_EDNS:
        return octets
    message = read(query)
    room = min(max(message.edns.size, UDP_WITHOUT_EDNS), BUFFER) if message.edns else UDP_WITHOUT_EDNS
    if len(octets) <= room:
        return octets
    answer = read(octets)
    edns = answer.edns and answer.edns._replace(options=b"")
    return write(answer._replace(flags=answer.flags | TC, sections=([], [], []), edns=edns))
