"""The way of one query: refused, answered from here or from the cache, or asked for; then made an answer to it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from nat64d.dns64 import local
from nat64d.dns64.cache import Cache, Key
from nat64d.dns64.policy import Policy
from nat64d.dns64.synthesis import SYNTHESISED, Finding, failure, look_at, synthesise, without_excluded
from nat64d.dns64.upstream import BUFFER, Answer, UnansweredError, Upstreams
from nat64d.dns64.wire import (
    AAAA,
    AD,
    ANY,
    BADVERS,
    CD,
    CNAME,
    FORMERR,
    HEADER,
    IN,
    NOTIMP,
    OPCODE,
    PTR,
    QR,
    RA,
    REFUSED,
    SERVFAIL,
    TC,
    A,
    Edns,
    Message,
    Question,
    Record,
    WireError,
    extended_error,
    read,
    write,
)

# LIMITS
AAAA_DEADLINE = 1.5  # seconds; RFC 6147 section 5.1.3 leaves it to us, resolvers that wait longer lose their clients
UDP_WITHOUT_EDNS = 512
CLIENTS, KEYS = 4096, 16384  # remembered, so that a cached answer costs no reading
HINFO = 13
PLAIN = -2  # policy of an answer that would be the same for everybody
NO_REACHABLE_AUTHORITY = 22  # RFC 8914

Tell = Callable[[str], None]


def _silence(_: str) -> None:
    """Nobody listens."""


class Counters:
    """How queries ended, by name; each ends once."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, name: str) -> None:
        """One more."""
        self.counts[name] = self.counts.get(name, 0) + 1


class Resolver:
    """Answers queries; knows no socket of a client. `ready`: whether packets are translated (else nothing is
    synthesised)."""

    def __init__(
        self,
        upstreams: Upstreams,
        policies: Sequence[Policy],
        cache: Cache,
        ready: Callable[[], bool],
        names: Mapping[IPv6Address, bytes],
    ) -> None:
        self.counters = Counters()
        self.cache = cache
        self._upstreams, self._policies, self._ready, self._names = upstreams, policies, ready, names
        self._asking: dict[Key, asyncio.Future[Answer]] = {}
        self._policy_of = lru_cache(CLIENTS)(self._find_policy)
        self._keys: dict[tuple[bytes, int | None, bool], Key] = {}  # of queries seen, as they came but for the ID

    def use(self, policies: Sequence[Policy]) -> None:
        """Answer by these policies from now on."""
        if list(policies) != list(self._policies):
            self._policies = policies
            self._policy_of.cache_clear()
            self._keys.clear()
            self.cache.clear()

    def at_once(self, octets: bytes, client: str) -> tuple[bytes | None, Message | None, int]:
        """(answer, query, policy) without waiting: the answer if it is refused or cached, else the query to `resolve`.

        Neither: the octets deserve no answer. `client`: its address, as text.
        """
        number = self._policy_of(client)
        seen = (octets[2:], number, self._ready())
        key = self._keys.get(seen)
        if key is not None:
            cached = self.cache.get(key, octets, self._now())
            if cached is not None:
                self.counters.add("cached")
                return cached, None, 0
        query, error = self._read(octets)
        if query is None:
            return error, None, 0
        if number is None:
            return self._end("refused", failure(query, REFUSED)), None, 0
        if len(self._keys) >= KEYS:
            self._keys.clear()
        self._keys[seen] = key = self._key(query, number)
        cached = self.cache.get(key, octets, self._now())
        if cached is not None:
            self.counters.add("cached")
        return cached, query, number

    def _find_policy(self, client: str) -> int | None:
        address = ip_address(client.partition("%")[0])
        return next((n for n, policy in enumerate(self._policies) if policy.serves(address)), None)

    def _read(self, octets: bytes) -> tuple[Message | None, bytes | None]:
        """The query, or the answer to what is none; neither for what may not be answered at all."""
        if len(octets) < HEADER or octets[2] & QR >> 8:
            self.counters.add("dropped")
            return None, None
        flags = int.from_bytes(octets[2:4], "big")
        rcode = NOTIMP if flags & OPCODE else FORMERR
        try:
            query = read(octets)
        except WireError:
            self.counters.add("unreadable")
            return None, octets[:2] + (QR | flags & 0x7900 | rcode).to_bytes(2, "big") + bytes(8)
        if flags & OPCODE:
            return None, self._end("unreadable", failure(query, NOTIMP))
        if query.edns and query.edns.version > 0:
            return None, self._end("unreadable", failure(query, BADVERS))
        return query, None

    async def resolve(self, query: Message, number: int, tell: Tell = _silence) -> bytes:
        """The answer to a query of a client of this policy. Never raises but CancelledError."""
        policy = self._policies[number]
        answer = local.answer(query, policy, self._names)
        if answer is not None:
            tell("answered from here: a name of our own")
            return self._end("local", await self._follow(query, answer, tell))
        if query.question.type == ANY:
            return self._end("any", _hinfo(query))
        try:
            if self._synthesises(query, policy):
                return await self._dns64(query, number, tell)
            answer, octets = await self._plain(query, tell)
        except UnansweredError as error:
            tell(str(error))
            options = extended_error(NO_REACHABLE_AUTHORITY, str(error)[:120])
            return self._end("failed", failure(query, SERVFAIL, options))
        self.counters.add("relayed")
        self.cache.put(self._key(query, number), answer, self._now())
        return octets

    def _synthesises(self, query: Message, policy: Policy) -> bool:
        """RFC 6147 sections 5.1 and 5.5: not for who validates himself (DO and CD), nor while nothing is translated."""
        validates = bool(query.edns and query.edns.dnssec and query.flags & CD)
        question = query.question
        wanted = question.type == AAAA and question.class_ == IN and policy.synthesises(question.key)
        return wanted and not validates and self._ready()

    async def _dns64(self, query: Message, number: int, tell: Tell) -> bytes:
        """RFC 6147 section 5.1: A is asked beside AAAA (5.1.8), and waited for if that has nothing to use."""
        policy, question = self._policies[number], query.question
        asking_a = self._begin(query, A)
        aaaa: Answer | None = None
        try:
            async with asyncio.timeout(AAAA_DEADLINE):
                aaaa = await self._ask(query, AAAA, tell)
        except TimeoutError:
            tell(f"AAAA: no answer within {AAAA_DEADLINE} s (RFC 6147 5.1.3)")
        except UnansweredError as error:
            tell(f"AAAA: {error}")
        finding = look_at(aaaa.message if aaaa else None, policy, question.key)
        tell(f"AAAA: {finding.value}")
        if finding.wants_a:
            made = synthesise(query, aaaa.message if aaaa else None, await self._a(asking_a, tell), policy)
            if made is not None:
                edns = Edns(BUFFER, 0, 0, query.edns.dnssec, extended_error(SYNTHESISED)) if query.edns else None
                return self._end("synthesised", made._replace(edns=edns), self._key(query, number))
            tell("nothing to synthesise from: answered as AAAA was")
        if aaaa is None:
            raise UnansweredError("neither AAAA nor A was answered")
        if finding in {Finding.FILTER, Finding.EXCLUDED}:
            return self._end("filtered", _for(query, without_excluded(aaaa.message, policy)), self._key(query, number))
        self.cache.put(self._key(query, number), _for(query, aaaa.message), self._now())
        self.counters.add("relayed")
        return _relayed(query, aaaa)

    async def _a(self, asking: "asyncio.Future[Answer]", tell: Tell) -> Message | None:
        try:
            return (await self._wait(asking, A, tell)).message
        except UnansweredError as error:
            tell(f"A: {error}")
            return None

    async def _plain(self, query: Message, tell: Tell) -> tuple[Message, bytes]:
        answer = await self._ask(query, query.question.type, tell)
        return _for(query, answer.message), _relayed(query, answer)

    async def _follow(self, query: Message, answer: Message, tell: Tell) -> Message:
        """RFC 6147 section 5.3.1: the alias of a PTR name with what it leads to."""
        if query.question.type != PTR or not answer.sections[0] or answer.sections[0][0].type != CNAME:
            return answer
        target = Question(answer.sections[0][0].data, PTR, IN, 0)
        try:
            found = await self._ask(query._replace(question=target), PTR, tell)
        except UnansweredError as error:
            tell(str(error))
            return answer
        return answer._replace(sections=(answer.sections[0] + found.message.sections[0], [], []))

    async def _ask(self, query: Message, type_: int, tell: Tell) -> Answer:
        """A server's answer. Raises UnansweredError."""
        return await self._wait(self._begin(query, type_), type_, tell)

    def _begin(self, query: Message, type_: int) -> "asyncio.Future[Answer]":
        """A question to the servers, asked once however many clients want it."""
        question = query.question._replace(type=type_)
        dnssec, disabled = bool(query.edns and query.edns.dnssec), bool(query.flags & CD)
        key = Key(question.key, type_, question.class_, dnssec, disabled, True, -1)
        asking = self._asking.get(key)
        if asking is None:
            self._asking[key] = asking = self._upstreams.ask(question, dnssec, disabled)
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        return asking

    @staticmethod
    async def _wait(asking: "asyncio.Future[Answer]", type_: int, tell: Tell) -> Answer:
        answer = await asyncio.shield(asking)
        tell(f"asked type {type_}: rcode {answer.message.rcode}, {len(answer.message.sections[0])} records")
        return answer

    def _key(self, query: Message, number: int) -> Key:
        """Under what its answer is kept: a policy of its own only where it makes a difference."""
        question = query.question
        made = self._synthesises(query, self._policies[number])
        dnssec, disabled = bool(query.edns and query.edns.dnssec), bool(query.flags & CD)
        edns = query.edns is not None
        return Key(question.key, question.type, question.class_, dnssec, disabled, edns, number if made else PLAIN)

    def _end(self, how: str, message: Message, key: Key | None = None) -> bytes:
        self.counters.add(how)
        if key is not None:
            self.cache.put(key, message, self._now())
        return write(message)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _for(query: Message, answer: Message) -> Message:
    """A server's answer as one to this query."""
    edns = answer.edns._replace(size=BUFFER) if query.edns and answer.edns else None
    flags = (answer.flags | RA) & ~(0 if query.edns or query.flags & AD else AD)
    return answer._replace(id=query.id, flags=flags, question=query.question, edns=edns)


def _relayed(query: Message, answer: Answer) -> bytes:
    """The octets of a server's answer as they came, but for the ID and the case of the question; without an OPT record
    for a client that sent none."""
    if query.edns is None and answer.message.edns is not None:
        return write(_for(query, answer.message))
    flags = int.from_bytes(answer.octets[2:4], "big") | RA
    head = query.id.to_bytes(2, "big") + flags.to_bytes(2, "big") + answer.octets[4:HEADER] + query.question.name
    return head + answer.octets[len(head) :]


def _hinfo(query: Message) -> Message:
    """RFC 8482 section 4.2: the short answer to ANY."""
    record = Record(query.question.name, HINFO, IN, 3600, b"\x07RFC8482\x00")
    edns = Edns(BUFFER, 0, 0, query.edns.dnssec, b"") if query.edns else None
    return Message(query.id, QR | RA | query.flags & 0x0110, query.question, ([record], [], []), edns)


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
    return write(answer._replace(flags=answer.flags | TC, sections=([], [], [])))
