"""The servers' side: whatever octets arrive, an answer is taken only for its question, and is refused or becomes octets
that are a message; what is made of it lies under our prefixes and comes from where the question leads; TTLs only fall.

Most messages go through the functions one after the other, some the whole way of a query through a resolver.
"""

import contextlib
import itertools
from collections import Counter
from ipaddress import IPv4Network, IPv6Network
from random import Random

import dns.exception
import dns.message
import dns.rdata

from nat64d.dns64.message import wire
from nat64d.dns64.message.reply import Reply, reply_of, reply_to
from nat64d.dns64.resolver import Resolver
from nat64d.dns64.rules import synthesis
from nat64d.dns64.rules.filter_a import without_ipv4
from nat64d.dns64.rules.policy import Policy, ranges_for
from nat64d.dns64.rules.queries import fit
from nat64d.dns64.rules.synthesis import Finding
from nat64d.dns64.upstreams import cache
from nat64d.dns64.upstreams.cache import Cache, Key
from nat64d.dns64.upstreams.exchange import Asked, Pending, Query, StrayCounters
from nat64d.dns64.upstreams.race import Done, ServerAnswer
from tests.fuzz.dns_mutate import mutate
from tests.fuzz.dns_seeds import Exchange, answers

POOL6, LOCAL6 = IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/96")
POLICY = Policy((IPv4Network("192.0.2.0/24"),), ranges_for(POOL6, [IPv4Network("10.0.0.0/8")], LOCAL6))
CLIENT = "192.0.2.1"
SAMPLE = 100  # one message of so many is read by dnspython
WHOLE_WAY = 64  # ... goes through a resolver
AGES = 0.0, 1.0, 7.5, 59.9, 3600.0
CAPACITY = 1 << 18


class Answers:
    """What takes and makes answers, and what became of them."""

    name = "answers"

    def __init__(self, rng: Random) -> None:
        self.rng, self.exchanges = rng, answers()
        self.seeds = [one.answer for one in self.exchanges]
        self.wholes = [ServerAnswer.to(query_of(one), one.answer.octets).message for one in self.exchanges]
        self.ends: Counter[str] = Counter()
        self.query, self.octets = b"", b""  # of the message that is being judged
        self.cache = Cache(CAPACITY)
        self.resolver = Resolver(self, Cache(CAPACITY), lambda: True)  # type: ignore[arg-type]
        self.resolver.use([POLICY])
        self.said: list[wire.Message] = []  # to the resolver, of late
        self.now = 0.0

    def where(self) -> str:
        """The message that was on its way."""
        return f"to {self.query.hex()} the answer {self.octets.hex()}"

    async def round(self, count: int) -> None:
        """So many messages. Raises whatever goes wrong."""
        rng, many = self.rng, len(self.exchanges)
        for k in range(count):
            exchange = self.exchanges[int(rng.random() * many)]
            self.query, self.octets = exchange.query, (octets := mutate(rng, exchange.answer, self.seeds))
            if k % WHOLE_WAY == 0:
                await self.go_whole_way(exchange, k % (4 * WHOLE_WAY) == 0)
            else:
                self.judge(exchange, octets, k % SAMPLE == 1)
        for each in (self.cache, self.resolver.cache):
            assert each.size == sum(cache._cost(*entry) for entry in each._entries.items()), "the size of the cache"
            assert each.size <= CAPACITY, "a cache too large"

    def judge(self, exchange: Exchange, octets: bytes, sample: bool) -> None:
        """One message, through the functions."""
        self.ends[judge_taken(exchange, octets)] += 1
        try:
            answer = ServerAnswer.to(query_of(exchange), octets)
        except wire.WireError:
            self.ends["refused"] += 1
            return
        message = answer.message
        if sample:
            again = wire.read(wire.write(message))
            assert again == message._replace(question=again.question), "written otherwise than it was read"
        self.now += 1e6  # whatever was kept is of no use by now
        reply = reply_of(answer.octets, message, True, self.now)
        self.judge_kept(exchange, reply, message, sample)
        cut = fit(reply.answer(exchange.query, len(octets) % 2 > 0, False, self.now), exchange.query)
        assert len(cut) <= exchange.room, "larger than a client takes"
        judge_octets(cut, exchange.query, sample)
        self.judge_made(message, exchange, sample)
        self.judge_hidden(message)

    def judge_kept(self, exchange: Exchange, reply: Reply, message: wire.Message, sample: bool) -> None:
        """Kept and given again: the same records, with TTLs that fell."""
        question = exchange.question
        key = Key(question.key, question.type, question.class_, False, False, len(self.octets) % 64)
        self.cache.put(key, reply)
        age = AGES[int(self.rng.random() * len(AGES))]
        octets = reply.answer(exchange.query, True, True, reply.stored + age)
        found = wire.read(octets)
        aged = tuple([r._replace(ttl=max(r.ttl - int(age), 0)) for r in section] for section in message.sections)
        assert found.sections == aged, f"not what was kept, less {age} s"
        judge_octets(octets, exchange.query, sample)
        kept = self.cache.find(key, reply.stored + age) is reply
        assert kept == (age < reply.expires - reply.stored), "kept too long or not long enough"
        self.ends["kept"] += kept

    def judge_hidden(self, message: wire.Message) -> None:
        """Without IPv4 addresses, for clients that must not see any."""
        for record in itertools.chain(*without_ipv4(message).sections):
            assert record.class_ != wire.IN or record.type != wire.A, "an A record that is not hidden"
            if record.class_ == wire.IN and record.type in {wire.SVCB, wire.HTTPS}:
                self.ends["hidden"] += 1
                with contextlib.suppress(dns.exception.DNSException, ValueError):
                    found = dns.rdata.from_wire(record.class_, record.type, record.data, 0, len(record.data))
                    assert "ipv4hint" not in found.to_text(), "a hint that is not hidden"

    def judge_made(self, message: wire.Message, exchange: Exchange, sample: bool) -> None:
        """What becomes of an answer beside another one, as the empty and as the full one."""
        if message.question.type == wire.AAAA and synthesis.look_at(message, POLICY) is Finding.FILTER:
            kept = synthesis.without_excluded(message, POLICY)
            assert not any(r.type == wire.AAAA and POLICY.excludes(r.data) for r in kept.sections[0]), "not left out"
            self.ends["filtered"] += 1
        other = self.wholes[int(self.rng.random() * len(self.wholes))]
        query = wire.read(exchange.query)
        for empty, source in ((other, message), (message, other)):
            if source.question.type != wire.A:
                continue
            made = synthesis.synthesise(empty, source, POLICY)
            if made is None:
                continue
            self.ends["made"] += 1
            judge_addresses(made.sections[0], [source])
            question = query.question._replace(name=source.question.name, type=wire.AAAA)
            asked = query._replace(question=question)
            octets = reply_to(asked, made, 0.0).answer(wire.write(asked), True, True, 0.0)
            assert wire.read(octets).sections == made.sections, "made otherwise than it was written"
            judge_octets(octets, wire.write(asked), sample)

    def ask(self, question: wire.Question, _dnssec: bool, _cd: bool, done: Done, _tell: object = None) -> None:
        """The resolver's servers: the mutated message, or another one, to whatever is asked."""
        asked = wire.write(wire.Message(0, 0, question, ([], [], []), None))
        seed = self.seeds[int(self.rng.random() * len(self.seeds))]
        octets = self.octets if self.rng.random() < 0.7 else mutate(self.rng, seed, self.seeds)
        try:
            end = wire.read_question(octets).end
            octets = octets[:2] + b"\x80" + octets[3 : wire.HEADER] + asked[wire.HEADER :] + octets[end:]
            answer = ServerAnswer.to(Query(asked, len(asked)), octets)
        except wire.WireError as error:
            done(None, str(error))
        else:
            self.said.append(answer.message)
            done(answer, "")

    async def go_whole_way(self, exchange: Exchange, sample: bool) -> None:
        """A client's query, answered by what such a server says."""
        query = exchange.query[: exchange.question.end - 4] + b"\0\x1c" + exchange.query[exchange.question.end - 2 :]
        self.resolver.cache.clear()
        self.said.clear()
        answer, asked, number = self.resolver.at_once(query, CLIENT)
        assert answer is None
        assert asked is not None
        answer = await self.resolver.resolve(asked, number)
        self.ends["whole way"] += 1
        judge_octets(answer, query, sample)
        kept, _, _ = self.resolver.at_once(query, CLIENT)
        found = wire.read(answer)
        if kept is not None:
            judge_octets(kept, query, sample)
            assert [len(s) for s in wire.read(kept).sections] == [len(s) for s in found.sections], "kept otherwise"
        if found.edns and b"\0\x0f\0\2\0\x1d" in found.edns.options:
            judge_addresses(found.sections[0], self.said)


class _Mailbox:
    """Who asked: hears at most one thing."""

    def __init__(self) -> None:
        self.heard = ""

    def answered(self, _: bytes) -> None:
        """The answer."""
        self.heard += "answered"

    def may_repeat(self) -> bool:
        """There is no other connection."""
        return False

    def altered(self) -> None:
        """An answer in other letters."""
        self.heard += "altered"

    def failed(self, reason: str) -> None:
        """None."""
        raise AssertionError(reason)


def query_of(exchange: Exchange) -> Query:
    """As it is sent to servers."""
    return Query(exchange.query, exchange.question.end)


def judge_taken(exchange: Exchange, octets: bytes) -> str:
    """Whether a datagram is taken for the answer: RFC 5452 section 9.1 in other words than the product's."""
    box, counters = _Mailbox(), StrayCounters()
    pending = Pending(counters)
    asked = exchange.query[wire.HEADER : exchange.question.end]
    pending.waiting[int.from_bytes(exchange.query[:2], "big")] = Asked(b"", asked, box)
    pending.take(octets)
    pending.take(octets)
    said = octets[wire.HEADER : wire.HEADER + len(asked)]
    if len(octets) < wire.HEADER or octets[:2] != exchange.query[:2] or octets[2] >> 3 != 0b10000:
        expected, counts = "", (2, 0, 0)
    elif octets[4:6] != b"\0\1" or said[-4:] != asked[-4:] or said.lower() != asked.lower():
        expected, counts = "", (0, 2, 0)
    elif said == asked:
        expected, counts = "answered", (1, 0, 0)
    else:
        expected, counts = "altered", (1, 0, 1)
    assert box.heard == expected, f"{box.heard or 'nothing'} instead of {expected or 'nothing'}"
    assert (counters.strange, counters.mismatched, counters.case) == counts, f"counted {vars(counters)}"
    return expected or "not taken"


def judge_octets(octets: bytes, query: bytes, sample: bool) -> None:
    """What a client is sent: its question, and a message."""
    assert octets[:2] == query[:2], "another ID"
    assert octets[2] & 0x80, "not an answer"
    end = wire.read_question(query).end
    assert octets[wire.HEADER : end] == query[wire.HEADER : end], "another question"
    assert len(octets) <= wire.MESSAGE_OCTETS, "larger than a message"
    if sample:
        dns.message.from_wire(octets, continue_on_error=True)


def judge_addresses(records: list[wire.Record], sources: list[wire.Message]) -> None:
    """Each AAAA record stands for an A record that the question leads to; nothing else but aliases came along."""
    rows = {}
    for source in sources:
        name, seen = source.question.key, set()
        while name not in seen:
            seen.add(name)
            rows.update({(name, POLICY.embed(r.data)): r.ttl for r in source.sections[0] if _is(r, wire.A, name)})
            name = next((r.data.lower() for r in source.sections[0] if _is(r, wire.CNAME, name)), name)
    for record in records:
        if record.type == wire.AAAA:
            assert record.data[:12] in {p.network_address.packed[:12] for p in (POOL6, LOCAL6)}, (
                "under no prefix of ours"
            )
            assert (record.name.lower(), record.data) in rows, "made of nothing"
        else:
            assert record.type in {wire.CNAME, wire.DNAME, wire.RRSIG}, "a record that is no alias"


def _is(record: wire.Record, type_: int, name: bytes) -> bool:
    return (record.type, record.class_, record.name.lower()) == (type_, wire.IN, name)
