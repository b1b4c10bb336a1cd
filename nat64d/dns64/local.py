"""Answers that need no server: ipv4only.arpa (RFC 7050, RFC 8880), and names of addresses under the prefix (RFC 6147
section 5.3)."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

from nat64d.dns64.policy import Policy
from nat64d.dns64.wire import (
    AA,
    AAAA,
    ANY,
    CNAME,
    IN,
    NS,
    PTR,
    QR,
    RA,
    RD,
    SOA,
    A,
    Message,
    Record,
    ends_with,
    labels_of,
    name_of,
)

IPV4ONLY = name_of("ipv4only.arpa")
WELL_KNOWN4 = tuple(IPv4Address(text).packed for text in ("192.0.0.170", "192.0.0.171"))  # RFC 7050 section 2.2
_IP6_ARPA, _IN_ADDR_ARPA = name_of("ip6.arpa"), name_of("in-addr.arpa")
# Reverse names of the well-known addresses themselves (RFC 8880 section 7.2).
_REVERSE4 = tuple(name_of(f"{text}.0.0.192.in-addr.arpa") for text in ("170", "171"))
TTL = 86400  # of ipv4only.arpa: RFC 7050 section 8.1 asks for a long one
PTR_TTL = 600
_NEGATIVE = (
    name_of("ns.ipv4only.arpa") + name_of("nobody.invalid") + b"".join(n.to_bytes(4, "big") for n in (1, 0, 0, 0, TTL))
)


def answer(query: Message, policy: Policy, names: Mapping[IPv6Address, bytes]) -> Message | None:
    """The answer to a query about our own names, None if it is for a server.

    `names`: of IPv6 addresses that we know a name for, such as those of static mappings.
    """
    question = query.question
    if question.class_ != IN:
        return None
    key = question.key
    if ends_with(key, IPV4ONLY):
        return _ipv4only(query, policy, key)
    if key in _REVERSE4:
        return _reply(query, [_record(question.name, PTR, IPV4ONLY)] if question.type in {PTR, ANY} else [])
    if not ends_with(key, _IP6_ARPA):
        return None
    address = reverse6(key)
    if address is None:
        return None
    if address in names:
        return _reply(query, [_record(question.name, PTR, names[address])] if question.type in {PTR, ANY} else [])
    embedded = policy.extract(address)
    if embedded is None:
        return None
    if embedded in WELL_KNOWN4:
        return _reply(query, [_record(question.name, PTR, IPV4ONLY)] if question.type in {PTR, ANY} else [])
    return _reply(query, [_record(question.name, CNAME, reverse4(embedded), PTR_TTL)])


def _ipv4only(query: Message, policy: Policy, key: bytes) -> Message:
    """RFC 8880 section 7.1: A and AAAA; other types have no data, and nothing is below it."""
    question = query.question
    if key != IPV4ONLY:
        return _reply(query, [], rcode=3)
    records = {A: list(WELL_KNOWN4), AAAA: policy.discovery(WELL_KNOWN4)}
    wanted = (A, AAAA) if question.type == ANY else (question.type,)
    answers = [_record(question.name, type_, data) for type_ in wanted for data in records.get(type_, [])]
    if question.type in {SOA, ANY}:
        answers.append(_record(question.name, SOA, _NEGATIVE))
    if question.type in {NS, ANY}:
        answers.append(_record(question.name, NS, name_of("ns.ipv4only.arpa")))
    return _reply(query, answers)


def _record(name: bytes, type_: int, data: bytes, ttl: int = TTL) -> Record:
    return Record(name, type_, IN, ttl, data)


def _reply(query: Message, answers: list[Record], rcode: int = 0) -> Message:
    authority = [] if answers else [_record(IPV4ONLY, SOA, _NEGATIVE)]
    edns = query.edns._replace(size=1232, rcode=0, version=0, options=b"") if query.edns else None
    flags = QR | AA | RA | query.flags & RD | rcode
    return Message(query.id, flags, query.question, (answers, authority, []), edns)


def reverse6(key: bytes) -> IPv6Address | None:
    """The address whose ip6.arpa name this is; None for one of fewer or other labels (RFC 3596 section 2.5)."""
    labels = labels_of(key)[:-2]
    if len(labels) != 32 or any(len(label) != 1 or label not in b"0123456789abcdef" for label in labels):
        return None
    return IPv6Address(int(b"".join(reversed(labels)), 16))


def reverse4(data: bytes) -> bytes:
    """The in-addr.arpa name of 4 octets."""
    labels = [str(octet).encode() for octet in reversed(data)]
    return b"".join(bytes([len(label)]) + label for label in labels) + _IN_ADDR_ARPA
