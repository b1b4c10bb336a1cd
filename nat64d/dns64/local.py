"""Answers that need no server: ipv4only.arpa (RFC 7050, RFC 8880), and names of addresses that others stand for, under
the prefix (RFC 6147 section 5.3.1) or by a mapping (RFC 7757)."""

from ipaddress import IPv4Address, IPv6Address

from nat64d.dns64.maps import Maps
from nat64d.dns64.policy import Policy
from nat64d.dns64.wire import (
    AA,
    AAAA,
    ANY,
    CNAME,
    IN,
    NOERROR,
    NS,
    NXDOMAIN,
    PTR,
    QR,
    SOA,
    A,
    Message,
    Question,
    Record,
    ends_with,
    labels_of,
    name_of,
)

IPV4ONLY = name_of("ipv4only.arpa")
WELL_KNOWN4 = tuple(IPv4Address(text).packed for text in ("192.0.0.170", "192.0.0.171"))  # RFC 7050 section 2.2
_ARPA, _IP6_ARPA, _IN_ADDR_ARPA = name_of("arpa"), name_of("ip6.arpa"), name_of("in-addr.arpa")
TTL = 86400  # of ipv4only.arpa: RFC 7050 section 8.1 asks for a long one
TTL_NOT_READY = 10  # ... of there being no prefix, which is soon to change
TTL_ALIAS = 600
DS = 43
_PRIMARY, _MAILBOX = name_of("ns.ipv4only.arpa"), name_of("nobody.invalid")


def is_ours(key: bytes) -> bool:
    """Whether a name may be one that is answered here, by one policy or another."""
    return ends_with(key, _ARPA)


def answer(question: Question, policy: Policy, maps: Maps | None, ready: bool) -> Message | None:
    """The answer to a question about names of ours, None if it is for a server. `ready`: whether packets are being
    translated, so that there is a prefix to find."""
    if question.class_ != IN:
        return None
    key = question.key
    if question.type == DS and (key == IPV4ONLY or reverse4(key) in WELL_KNOWN4):
        return None  # the parent zone's (RFC 4035 section 3.1.4.1); who validates sees there that these are not signed
    if ends_with(key, IPV4ONLY):
        return _ipv4only(question, policy, ready)
    if ends_with(key, _IP6_ARPA):
        address = reverse6(key)
        embedded = policy.extract(address) if address is not None else None
        if embedded is None:
            return None
        return _of_well_known(question) if embedded in WELL_KNOWN4 else _alias(question, reverse4_name(embedded))
    embedded = reverse4(key)
    if embedded in WELL_KNOWN4:
        return _of_well_known(question)
    other = maps.to6(embedded) if maps and embedded is not None else None
    return _alias(question, reverse6_name(other)) if other is not None else None


def _ipv4only(question: Question, policy: Policy, ready: bool) -> Message:
    """RFC 8880 section 7.1: A and AAAA; other types have no data, and nothing is below it."""
    prefixes = policy.discovery(WELL_KNOWN4) if ready else []
    soa = _soa(IPV4ONLY, TTL if ready else TTL_NOT_READY)
    if question.key != IPV4ONLY:
        return _reply(question, [], soa, NXDOMAIN)
    records = {A: WELL_KNOWN4, AAAA: prefixes, SOA: [soa.data], NS: [_PRIMARY]}
    wanted = records if question.type == ANY else (question.type,)
    answers = [Record(question.name, type_, IN, TTL, data) for type_ in wanted for data in records.get(type_, ())]
    return _reply(question, answers, soa)


def _of_well_known(question: Question) -> Message:
    """RFC 8880 section 7.2: the name of each is a zone of its own."""
    answers = [Record(question.name, PTR, IN, TTL, IPV4ONLY)] if question.type in {PTR, ANY} else []
    return _reply(question, answers, _soa(question.name, TTL))


def _alias(question: Question, target: bytes) -> Message:
    """RFC 6147 section 5.3.1, the second way."""
    return _reply(question, [Record(question.name, CNAME, IN, TTL_ALIAS, target)])


def _soa(name: bytes, ttl: int) -> Record:
    data = _PRIMARY + _MAILBOX + b"".join(number.to_bytes(4, "big") for number in (1, 0, 0, 0, ttl))
    return Record(name, SOA, IN, ttl, data)


def _reply(question: Question, answers: list[Record], soa: Record | None = None, rcode: int = NOERROR) -> Message:
    authority = [soa] if soa and not answers else []
    return Message(0, QR | AA | rcode, question, (answers, authority, []), None)


def reverse6(key: bytes) -> IPv6Address | None:
    """The address whose ip6.arpa name this is; None for one of fewer or other labels (RFC 3596 section 2.5)."""
    labels = labels_of(key)[:-2]
    if len(labels) != 32 or any(len(label) != 1 or label not in b"0123456789abcdef" for label in labels):
        return None
    return IPv6Address(int(b"".join(reversed(labels)), 16))


def reverse6_name(data: bytes) -> bytes:
    """The ip6.arpa name of 16 octets."""
    return b"".join(b"\1" + bytes([digit]) for digit in reversed(data.hex().encode())) + _IP6_ARPA


def reverse4(key: bytes) -> bytes | None:
    """The 4 octets whose in-addr.arpa name this is; None for another name (RFC 1035 section 3.5)."""
    labels = labels_of(key)
    if len(labels) != 6 or not ends_with(key, _IN_ADDR_ARPA):
        return None
    data = bytes(
        int(label) for label in reversed(labels[:4]) if label.isdigit() and len(label) <= 3 and int(label) < 256
    )
    return data if len(data) == 4 and reverse4_name(data) == key else None


def reverse4_name(data: bytes) -> bytes:
    """The in-addr.arpa name of 4 octets."""
    labels = [str(octet).encode() for octet in reversed(data)]
    return b"".join(bytes([len(label)]) + label for label in labels) + _IN_ADDR_ARPA
