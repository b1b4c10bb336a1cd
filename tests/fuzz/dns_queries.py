"""The clients' side: whatever octets arrive, `Resolver.at_once` drops them, answers them or hands on a query, without
an exception; what it says is counted once, is a message, and is no larger than what was asked."""

from collections import Counter
from random import Random

import dns.message

from nat64d.dns64.message import wire
from nat64d.dns64.resolver import Resolver
from nat64d.dns64.rules.queries import fit
from nat64d.dns64.upstreams.cache import Cache
from nat64d.dns64.upstreams.upstream import Upstreams
from tests.fuzz.dns_answers import POLICY
from tests.fuzz.dns_mutate import mutate
from tests.fuzz.dns_seeds import queries

OUR, STRANGER = "192.0.2.1", "203.0.113.1"
SAMPLE = 100  # one message of so many is read by dnspython
OPT_OCTETS = 11
UPDATE = 5  # opcode; dnspython takes the question for a zone
ERRORS = {wire.FORMERR, wire.NOTIMP, wire.NOTAUTH, wire.REFUSED, wire.BADVERS}


class Queries:
    """A resolver without servers, and what it did."""

    name = "queries"

    def __init__(self, rng: Random) -> None:
        self.rng, self.seeds = rng, queries()
        self.ends: Counter[str] = Counter()
        self.octets = b""  # of the message that is being judged
        self.resolver = Resolver(Upstreams([]), Cache(1 << 20), lambda: True)
        self.resolver.use([POLICY])

    def where(self) -> str:
        """The message that was on its way."""
        return f"the query {self.octets.hex()}"

    async def round(self, count: int) -> None:
        """So many messages. Raises whatever goes wrong."""
        rng, seeds, many = self.rng, self.seeds, len(self.seeds)
        for k in range(count):
            self.octets = octets = mutate(rng, seeds[int(rng.random() * many)], seeds)
            self.judge(octets, STRANGER if k % 8 == 0 else OUR, k % SAMPLE == 0)
        said = sum(self.resolver.counters.counts.values())
        assert said == self.ends["answered"] + self.ends["dropped"], "counted otherwise than once"

    def judge(self, octets: bytes, client: str, sample: bool) -> None:
        """One message."""
        answer, query, _ = self.resolver.at_once(octets, client)
        if answer is not None:
            assert query is None, "answered and handed on"
            self.ends["answered"] += 1
            judge_refusal(octets, fit(answer, octets), sample)
        elif query is None:
            assert len(octets) < wire.HEADER or octets[2] & 0x80, "dropped, but may be answered"
            self.ends["dropped"] += 1
        else:
            assert client == OUR, "a stranger's query handed on"
            self.ends["asked"] += 1
            judge_query(octets, query, sample)


def judge_refusal(query: bytes, answer: bytes, sample: bool) -> None:
    """What is said to a message that is no query of a client."""
    assert len(query) >= wire.HEADER, "less than a header answered"
    assert not query[2] & 0x80, "an answer answered"
    assert answer[:2] == query[:2], "another ID"
    assert answer[2] & 0x80, "not an answer"
    assert answer[2] & 0x78 == query[2] & 0x78, "another opcode"
    assert len(answer) <= len(query) + OPT_OCTETS, "an amplifier"
    if sample or answer[3] & 15 not in {1, 4, 5, 9}:
        found = dns.message.from_wire(answer, continue_on_error=True)
        assert found.rcode() in ERRORS, f"rcode {found.rcode()}"
        assert not found.errors or found.opcode() == UPDATE, found.errors  # type: ignore[attr-defined]


def judge_query(octets: bytes, query: wire.Message, sample: bool) -> None:
    """What goes to a server."""
    again = wire.write(query._replace(sections=([], [], [])))
    question = query.question
    assert octets[: wire.HEADER + len(question.name) + 4][12:] == again[12 : question.end], "another question"
    if sample:
        found = dns.message.from_wire(again, continue_on_error=True)
        (asked,) = found.question
        assert (asked.name.to_wire(), asked.rdtype, asked.rdclass) == question[:3], "dnspython sees another question"
        assert (found.id, found.opcode()) == (query.id, 0)
