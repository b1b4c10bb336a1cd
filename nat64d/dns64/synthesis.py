"""RFC 6147 section 5.1: what an AAAA query is answered, from the answers to its AAAA and A queries. Pure functions."""

from enum import Enum

from nat64d.dns64.policy import Policy
from nat64d.dns64.wire import (
    AA,
    AAAA,
    AD,
    CNAME,
    DNAME,
    IN,
    NOERROR,
    NSEC,
    NSEC3,
    NXDOMAIN,
    QR,
    RA,
    RCODE,
    RRSIG,
    SERVFAIL,
    SOA,
    TC,
    A,
    Edns,
    Message,
    Record,
    ends_with,
    least_ttl,
)

# SPEC: section 5.1.7, where a negative answer has no SOA record
TTL_WITHOUT_SOA = 600
ALIASES = 16  # one after the other
SYNTHESISED = 29  # RFC 8914: Extended DNS Error "Synthesized"
_SIGNATURES = (RRSIG, NSEC, NSEC3)


class Finding(Enum):
    """What the answer to an AAAA query says about synthesis."""

    USE = "has AAAA records: used as it came"
    FILTER = "has AAAA records, some of them excluded (RFC 6147 5.1.4): used without those"
    ABSENT = "the name does not exist (RFC 6147 5.1.2): used as it came"
    EMPTY = "no AAAA record (RFC 6147 5.1.6): asks for A"
    EXCLUDED = "all AAAA records excluded (RFC 6147 5.1.4): asks for A"
    FAILED = "no answer or an error (RFC 6147 5.1.2, 5.1.3): taken for an empty one, asks for A"

    @property
    def wants_a(self) -> bool:
        """Whether an A answer decides."""
        return self in {Finding.EMPTY, Finding.EXCLUDED, Finding.FAILED}


def look_at(answer: Message | None, policy: Policy, key: bytes) -> Finding:
    """Sections 5.1.1 to 5.1.5 for the answer to an AAAA query; None: there was none in time."""
    if answer is None:
        return Finding.FAILED
    if answer.rcode == NXDOMAIN:
        return Finding.ABSENT
    if answer.rcode != NOERROR:
        return Finding.FAILED
    addresses = [record.data for record in chain(answer, AAAA) if record.type == AAAA]
    if not addresses:
        return Finding.EMPTY
    excluded = [policy.forces(key) or policy.excludes(data) for data in addresses]
    if all(excluded):
        return Finding.EXCLUDED
    return Finding.FILTER if any(excluded) else Finding.USE


def chain(answer: Message, type_: int) -> list[Record]:
    """Of an answer the records of a type, and the aliases that lead there from the question; what else a server may
    have put beside them answers nothing that was asked (RFC 5452 section 6)."""
    records = [record for record in answer.sections[0] if record.class_ == IN]
    aliases = {record.name.lower(): record.data.lower() for record in reversed(records) if record.type == CNAME}
    names = [end := answer.question.key]
    while (end := aliases.get(end, end)) not in names and len(names) <= ALIASES:
        names.append(end)
    return [
        record
        for record in records
        if (record.type == type_ and record.name.lower() == names[-1])
        or (record.type == CNAME and record.name.lower() in names)
        or (record.type == DNAME and any(ends_with(name, record.name.lower()) for name in names))
    ]


def without_excluded(answer: Message, policy: Policy) -> Message:
    """Section 5.1.4: the answer without the AAAA records that are taken for none, nor signatures over the set."""
    kept = [
        record
        for record in answer.sections[0]
        if not (record.type == AAAA and policy.excludes(record.data)) and not signs(record, AAAA)
    ]
    return answer._replace(flags=answer.flags & ~AD, sections=(kept, *answer.sections[1:]))


def signs(record: Record, type_: int) -> bool:
    """A signature over records of this type."""
    return record.type == RRSIG and int.from_bytes(record.data[:2], "big") == type_


def synthesise(query: Message, aaaa: Message | None, a: Message | None, policy: Policy) -> Message | None:
    """Sections 5.1.6 and 5.1.7, 5.4, 5.5: an answer of synthetic AAAA records, or None where there is nothing to make
    one of."""
    if a is None or a.rcode != NOERROR:
        return None
    limit = soa_ttl(aaaa)
    answers = []
    for record in chain(a, A):
        if record.type != A:
            answers.append(record)
        elif (data := policy.embed(record.data)) is not None:
            answers.append(record._replace(type=AAAA, ttl=min(record.ttl, limit), data=data))
    if not any(record.type == AAAA for record in answers):
        return None
    rest = [[record for record in section if record.type not in _SIGNATURES] for section in a.sections[1:]]
    flags = a.flags & ~(AD | AA | TC | RCODE) | QR | RA
    return Message(query.id, flags, query.question, (answers, rest[0], rest[1]), a.edns)


def soa_ttl(negative: Message | None) -> int:
    """Section 5.1.7: what bounds the TTL of synthetic records: that of the SOA record of the negative answer."""
    if negative is None:
        return TTL_WITHOUT_SOA
    return least_ttl((record for record in negative.sections[1] if record.type == SOA), TTL_WITHOUT_SOA)


def failure(query: Message, rcode: int = SERVFAIL, options: bytes = b"") -> Message:
    """An answer without records; EDNS only to those who spoke it."""
    edns = Edns(1232, rcode >> 4, 0, query.edns.dnssec, options) if query.edns else None
    flags = QR | RA | query.flags & 0x7910 | rcode & RCODE
    return Message(query.id, flags, query.question, ([], [], []), edns)
