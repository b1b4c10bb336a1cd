"""RFC 6147 section 5.1: what an AAAA query is answered, from the answers to its AAAA and A queries; and the other way
round for A queries of IPv4 clients (DNS46). Pure functions."""

from enum import Enum
from ipaddress import IPv6Network

from nat64d.dns64.policy import Policy
from nat64d.dns64.reply import BUFFER, error_codes
from nat64d.dns64.wire import (
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

# SPEC: section 5.1.7, where a negative answer has no SOA record
TTL_WITHOUT_SOA = 600
ALIASES = 16  # one after the other
SYNTHESISED = 29  # RFC 8914: Extended DNS Error "Synthesized"
NOT_VALID = range(6, 13)  # RFC 8914 sections 4.7 to 4.13: what the server found wrong with the signatures
OTHER = {AAAA: A, A: AAAA}  # what records of a type are made of


class Finding(Enum):
    """What the answer to a query says about synthesis."""

    USE = "it has such records (RFC 6147 5.1.1): used as it came"
    FILTER = "some of its records are excluded (RFC 6147 5.1.4): used without those"
    ABSENT = "the name does not exist (RFC 6147 5.1.2): used as it came"
    BOGUS = "the server found its signatures wrong (RFC 6147 5.5): used as it came"
    EMPTY = "it has no such record (RFC 6147 5.1): the other family decides"
    EXCLUDED = "all its records are excluded (RFC 6147 5.1.4): the other family decides"
    FAILED = "an error or no answer (RFC 6147 5.1.2, 5.1.3), taken for an empty one: the other family decides"

    @property
    def wants_other(self) -> bool:
        """Whether the answer of the other family decides."""
        return self in {Finding.EMPTY, Finding.EXCLUDED, Finding.FAILED}


def look_at(answer: Message | None, policy: Policy) -> Finding:
    """Sections 5.1.1 to 5.1.5 for the answer to an AAAA query, or to an A query; None: there was none in time."""
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
    """The name of force_names, or the prefix of exclude, for which a record of an answer is taken for none."""
    if record.type != AAAA:
        return None
    forced = policy.forces(answer.question.key) or policy.forces(record.name.lower())
    return forced or policy.excludes(record.data)


def chain(answer: Message, type_: int) -> list[Record]:
    """Of an answer the records of a type, and the aliases that lead there from the question, with their signatures;
    what else a server may have put beside them answers nothing that was asked (RFC 5452 section 6)."""
    records = [record for record in answer.sections[0] if record.class_ == IN]
    names = _names(answer.question.key, records)

    def leads(record: Record) -> bool:
        name, kind = record.name.lower(), _signed(record) or record.type
        if kind == DNAME:
            return any(ends_with(one, name) for one in names)
        return (kind == CNAME and name in names) or (record.type == type_ and name == names[-1])

    return list(filter(leads, records))


def _names(key: bytes, records: list[Record]) -> list[bytes]:
    """A name and those that its aliases lead to, each once."""
    aliases = {record.name.lower(): record.data.lower() for record in reversed(records) if record.type == CNAME}
    names = [end := key]
    while (end := aliases.get(end, end)) not in names and len(names) <= ALIASES:
        names.append(end)
    return names


def stops_at(answer: Message) -> bytes | None:
    """The name that is still to be asked for (RFC 1034 section 5.3.3): the last alias of an answer leads there, and it
    says neither what that has nor that it has nothing (RFC 2308 section 2). None: the answer is whole."""
    question, records = answer.question, answer.sections[0]
    if answer.rcode != NOERROR or question.type in {ANY, CNAME} or all(record.type != CNAME for record in records):
        return None
    if any(record.type == SOA for record in answer.sections[1]):
        return None
    end = _names(question.key, records)[-1]
    said = {record.type for record in records if record.name.lower() == end}
    return None if end == question.key or said & {question.type, CNAME} else end  # CNAME: in a circle


def without_excluded(answer: Message, policy: Policy) -> Message:
    """Section 5.1.4: the answer without the AAAA records that are taken for none, nor signatures over the set."""
    kept = [r for r in answer.sections[0] if dropped_by(policy, answer, r) is None and _signed(r) != AAAA]
    return answer._replace(flags=answer.flags & ~AD, sections=(kept, *answer.sections[1:]))


def without(answer: Message, type_: int) -> Message:
    """The answer without its records of a type; aliases stay."""
    kept = [record for record in answer.sections[0] if record.type != type_ and _signed(record) != type_]
    return answer._replace(flags=answer.flags & ~AD, sections=(kept, *answer.sections[1:]))


def _signed(record: Record) -> int:
    """The type of the records that this one is a signature over; 0: it is none."""
    return int.from_bytes(record.data[:2], "big") if record.type == RRSIG else 0


def synthesise(empty: Message | None, other: Message, policy: Policy) -> Message | None:
    """Sections 5.1.6 and 5.1.7, 5.3.2, 5.4, 5.5: an answer whose addresses are made of those of the other family; None
    where there is nothing to make one of. `empty`: the answer that had none to use.

    Aliases keep their signatures, and what stands in the other sections is not touched; but AD would be a lie.
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
    question = other.question._replace(type=wanted)
    return other._replace(
        flags=other.flags & ~AD, question=question, sections=(answers, *other.sections[1:]), edns=edns
    )


def soa_ttl(negative: Message | None) -> int:
    """Section 5.1.7: what bounds the TTL of synthetic records: that of the SOA record of the negative answer."""
    if negative is None:
        return TTL_WITHOUT_SOA
    return least_ttl((record for record in negative.sections[1] if record.type == SOA), TTL_WITHOUT_SOA)


def basis(finding: Finding, other: Message) -> Message | None:
    """Section 5.1, where nothing could be made: the answer of the other family is given, an error too; None: the empty
    one, since it says the same and says it itself."""
    if finding is Finding.EMPTY and other.rcode == NOERROR:
        return None
    bare = without(other, other.question.type)
    return bare._replace(question=bare.question._replace(type=OTHER[other.question.type]))


def failure(query: Message, rcode: int = SERVFAIL, options: bytes = b"") -> Message:
    """An answer without records; EDNS only to those who spoke it."""
    edns = Edns(BUFFER, rcode >> 4, 0, query.edns.dnssec, options) if query.edns else None
    flags = QR | RA | query.flags & 0x7910 | rcode & RCODE
    return Message(query.id, flags, query.question, ([], [], []), edns)
