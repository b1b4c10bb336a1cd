"""The sentences of `nat64d dns64 trace`: what was asked, answered, excluded and synthesised, and why."""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from nat64d.dns64.message import wire
from nat64d.dns64.message.reply import Reply
from nat64d.dns64.message.wire import AAAA, NOERROR, SOA, A, Message, Question, Record, text_of
from nat64d.dns64.rules.policy import Policy
from nat64d.dns64.rules.synthesis import OTHER, TTL_WITHOUT_SOA, chain, dropped_by, soa_ttl

Tell = Callable[[str], None]

_TYPES = {
    getattr(wire, name): name
    for name in (
        *("A", "NS", "CNAME", "SOA", "PTR", "MX", "TXT", "AAAA", "SRV", "DNAME", "RRSIG", "NSEC", "NSEC3"),
        *("SVCB", "HTTPS", "ANY"),
    )
}
_RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")


def type_text(type_: int) -> str:
    """The name of a record type; TYPEn for others (RFC 3597 section 5)."""
    return _TYPES.get(type_, f"TYPE{type_}")


def question_text(question: Question) -> str:
    """Name and type of a question."""
    return f"{text_of(question.name)} {type_text(question.type)}"


def policy_text(policy: Policy, number: int) -> str:
    """Which policy applies to the client."""
    makes = " and ".join(type_text(type_) for type_ in (AAAA, A) if policy.makes(type_)) or "nothing"
    clients = ", ".join(map(str, policy.clients[:3])) + (", ..." if len(policy.clients) > 3 else "")
    return f"policy {number + 1}, of clients {clients}: synthesises {makes}"


def answer_text(answer: Message) -> str:
    """RCODE and records of an answer on one line."""
    rcode = _RCODES[answer.rcode] if answer.rcode < len(_RCODES) else f"error {answer.rcode}"
    records = ", ".join(map(_record, answer.sections[0])) or "no records"
    negative = "".join(f", SOA record of {soa.ttl} s" for soa in answer.sections[1] if soa.type == SOA)
    return f"{rcode}: {records}{negative}"


def _record(record: Record) -> str:
    return f"{type_text(record.type)} {_data(record)} ({record.ttl} s)"


def _data(record: Record) -> str:
    if record.type == A:
        return str(IPv4Address(record.data))
    if record.type == AAAA:
        return str(IPv6Address(record.data))
    if record.type in {wire.CNAME, wire.DNAME, wire.PTR, wire.NS}:
        return text_of(record.data)
    return f"of {len(record.data)} octets"


def cached(question: Question, reply: Reply, now: float) -> str:
    """An answer was in the cache."""
    return f"{question_text(question)}: in the cache for {int(now - reply.stored)} s: {answer_text(reply.message(now))}"


def spared(query: Message, policy: Policy, ready: bool) -> str:
    """Why nothing is synthesised for an A or AAAA query."""
    name = policy.spares(query.question.key)
    if not policy.makes(query.question.type):
        why = "the policy says so"
    elif name is not None:
        why = f"exclude_names has {text_of(name)}"
    elif not ready:
        why = "packets are not being translated"
    else:
        why = "the client validates for itself: it sets DO and CD (RFC 6147 5.5)"
    return f"nothing is synthesised: {why}"


def excluded(answer: Message, policy: Policy) -> Iterator[str]:
    """Each record that is ignored, and the rule for it."""
    for record in chain(answer, AAAA):
        match dropped_by(policy, answer, record):
            case bytes(name):
                yield f"AAAA {_data(record)} is ignored: force_names has {text_of(name)}"
            case IPv6Network() as prefix:
                yield f"AAAA {_data(record)} is ignored: it is in {prefix} (RFC 6147 5.1.4)"


def made(empty: Message | None, other: Message, policy: Policy) -> Iterator[str]:
    """What each address of the other family becomes, by which rule, and the TTL."""
    source, limit = other.question.type, soa_ttl(empty)
    for record in chain(other, source) if other.rcode == NOERROR else []:
        if record.type != source:
            continue
        data = policy.made(OTHER[source], record.data)
        spared = policy.spares(record.name.lower())
        before = f"{type_text(source)} {_data(record)}"
        if spared:
            yield f"{before} becomes nothing: exclude_names has {text_of(spared)}"
        elif data is None:
            yield f"{before} becomes nothing: {_why(policy, record)}"
        else:
            yield (
                f"{before} becomes {_data(record._replace(type=OTHER[source], data=data))}: {_why(policy, record)}; "
                f"TTL {min(record.ttl, limit)} s, of {record.ttl} s and {_limit(empty, limit)} (RFC 6147 5.1.7)"
            )


def _why(policy: Policy, record: Record) -> str:
    if record.type == AAAA:
        row = policy.maps.row_of_ipv6(record.data) if policy.maps else None
        return f"mapping {row}" if row else "no mapping has it"
    found = policy.range_of(record.data)
    return f"range {found.ipv4} {found.pool6 or 'has no prefix'}" if found else "no range has it"


def _limit(empty: Message | None, limit: int) -> str:
    soa = empty is not None and any(record.type == SOA for record in empty.sections[1])
    return f"{limit} s of the SOA record" if soa else f"{TTL_WITHOUT_SOA} s without a SOA record"
