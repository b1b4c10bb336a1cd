"""RFC 6147 section 5.1: the answer to an AAAA query, from the answers to the AAAA and A queries; and the reverse for A
queries of IPv4 clients (DNS46). Pure functions."""

from enum import Enum
from ipaddress import IPv6Network

from nat64d.dns64.message.reply import BUFFER, error_codes
from nat64d.dns64.message.wire import (
    AAAA,
    AD,
    ANY,
    CNAME,
    DNAME,
    IN,
    NOERROR,
    NXDOMAIN,
    QR,
    RA,
    RCODE,
    RRSIG,
    SERVFAIL,
    SOA,
    A,
    Edns,
    Message,
    Record,
    ends_with,
    extended_error,
    least_ttl,
)
from nat64d.dns64.rules.policy import Policy

# SPEC: section 5.1.7, where a negative answer has no SOA record
TTL_WITHOUT_SOA = 600
ALIASES = 16  # in a row
SYNTHESISED = 29  # RFC 8914: Extended DNS Error "Synthesized"
NOT_VALID = range(6, 13)  # RFC 8914 sections 4.7 to 4.13: what the server found wrong with the signatures
OTHER = {AAAA: A, A: AAAA}  # the type that records are made from


class Finding(Enum):
    """What the answer to a query means for synthesis."""

    USE = "there are such records (RFC 6147 5.1.1): the answer is used as it is"
    FILTER = "some records are excluded (RFC 6147 5.1.4): the answer is used without them"
    ABSENT = "the name does not exist (RFC 6147 5.1.2): the answer is used as it is"
    BOGUS = "the upstream server says that DNSSEC validation failed (RFC 6147 5.5): its error is given"
    EMPTY = "there is no such record (RFC 6147 5.1): the other family decides"
    EXCLUDED = "all records are excluded (RFC 6147 5.1.4): the other family decides"
    FAILED = "an error or no answer counts as an empty one (RFC 6147 5.1.2, 5.1.3): the other family decides"

    @property
    def wants_other(self) -> bool:
        """Whether the answer for the other family decides."""
        return self in {Finding.EMPTY, Finding.EXCLUDED, Finding.FAILED}


def look_at(answer: Message | None, policy: Policy) -> Finding:
    """Sections 5.1.1 to 5.1.5 for the answer to an AAAA or A query; `answer` is None if there was none in time."""
    if answer is None:
        return Finding.FAILED
    if answer.rcode == NXDOMAIN:
        return Finding.ABSENT
    if answer.rcode != NOERROR:
        bogus = answer.rcode == SERVFAIL and any(code in NOT_VALID for code in error_codes(answer))
        return Finding.BOGUS if bogus else Finding.FAILED
    records = [record for record in chain(answer, answer.question.type) if record.type == answer.question.type]
    if not records:
        return Finding.EMPTY
    excluded = [dropped_by(policy, answer, record) is not None for record in records]
    if all(excluded):
        return Finding.EXCLUDED
    return Finding.FILTER if any(excluded) else Finding.USE


def dropped_by(policy: Policy, answer: Message, record: Record) -> bytes | IPv6Network | None:
    """The entry of force_names, or the prefix of exclude, because of which a record is ignored; None if it is not."""
    if record.type != AAAA:
        return None
    forced = policy.forces(answer.question.key) or policy.forces(record.name.lower())
    return forced or policy.excludes(record.data)


def chain(answer: Message, type_: int) -> list[Record]:
    """The records of a type that answer the question: the aliases from the question's name on, the records at their
    end, and the signatures of both. Other records answer nothing that was asked (RFC 5452 section 6)."""
    records = [record for record in answer.sections[0] if record.class_ == IN]
    names = _names(answer.question.key, records)

    def leads(record: Record) -> bool:
        name, kind = record.name.lower(), signed_type(record) or record.type
        if kind == DNAME:
            return any(ends_with(one, name) for one in names)
        return (kind == CNAME and name in names) or (record.type == type_ and name == names[-1])

    return list(filter(leads, records))


def _names(key: bytes, records: list[Record]) -> list[bytes]:
    """A name, and the names that its aliases lead to, each once."""
    aliases = {record.name.lower(): record.data.lower() for record in reversed(records) if record.type == CNAME}
    names = [end := key]
    while (end := aliases.get(end, end)) not in names and len(names) <= ALIASES:
        names.append(end)
    return names


def stops_at(answer: Message) -> bytes | None:
    """The name that must be asked for next (RFC 1034 section 5.3.3): the last alias leads there, and the answer neither
    has its records nor says that there are none (RFC 2308 section 2). None if the answer is complete."""
    question, records = answer.question, answer.sections[0]
    if answer.rcode != NOERROR or question.type in {ANY, CNAME} or all(record.type != CNAME for record in records):
        return None
    if any(record.type == SOA for record in answer.sections[1]):
        return None
    end = _names(question.key, records)[-1]
    said = {record.type for record in records if record.name.lower() == end}
    return None if end == question.key or said & {question.type, CNAME} else end  # CNAME: a loop


def without_excluded(answer: Message, policy: Policy) -> Message:
    """Section 5.1.4: the answer without the AAAA records that are ignored, and without signatures over the RRset."""
    kept = [r for r in answer.sections[0] if dropped_by(policy, answer, r) is None and signed_type(r) != AAAA]
    return answer._replace(flags=answer.flags & ~AD, sections=(kept, *answer.sections[1:]))


def without(answer: Message, type_: int) -> Message:
    """The answer without its records of a type, and their signatures; aliases stay."""
    kept = [record for record in answer.sections[0] if record.type != type_ and signed_type(record) != type_]
    return answer._replace(flags=answer.flags & ~AD, sections=(kept, *answer.sections[1:]))


def signed_type(record: Record) -> int:
    """The type of the records that this one is a signature over; 0 if it is no signature."""
    return int.from_bytes(record.data[:2], "big") if record.type == RRSIG else 0


def synthesise(empty: Message | None, other: Message, policy: Policy) -> Message | None:
    """Sections 5.1.6, 5.1.7, 5.3.2, 5.4 and 5.5: an answer whose addresses are made from those of the other family;
    None if there are none to make. `empty`: the answer without usable addresses of the wanted family.

    Aliases keep their signatures and the other sections are unchanged. AD is cleared: nobody validated these records.
    """
    source = other.question.type
    wanted, limit = OTHER[source], soa_ttl(empty)
    answers, made = [], False
    for record in chain(other, source):
        if record.type != source:
            answers.append(record)
        elif not policy.spares(record.name.lower()) and (data := policy.made(wanted, record.data)) is not None:
            answers.append(record._replace(type=wanted, ttl=min(record.ttl, limit), data=data))
            made = True
    if other.rcode != NOERROR or not made:
        return None
    edns = Edns(0, 0, 0, False, extended_error(SYNTHESISED))
    return other._replace(flags=other.flags & ~AD, sections=(answers, *other.sections[1:]), edns=edns)


def soa_ttl(negative: Message | None) -> int:
    """Section 5.1.7: the upper bound for the TTL of synthetic records, from the SOA record of the negative answer."""
    if negative is None:
        return TTL_WITHOUT_SOA
    return least_ttl((record for record in negative.sections[1] if record.type == SOA), TTL_WITHOUT_SOA)


def basis(finding: Finding, other: Message) -> Message | None:
    """Section 5.1.6, if nothing can be made: the answer for the other family is given, also an error. None: the empty
    answer is given (section 5.4)."""
    return None if finding is Finding.EMPTY and other.rcode == NOERROR else without(other, other.question.type)


def failure(query: Message, rcode: int = SERVFAIL, options: bytes = b"") -> Message:
    """An answer without records; with an OPT record if the query has one."""
    edns = Edns(BUFFER, rcode >> 4, 0, query.edns.dnssec, options) if query.edns else None
    flags = QR | RA | query.flags & 0x7910 | rcode & RCODE
    return Message(query.id, flags, query.question, ([], [], []), edns)
