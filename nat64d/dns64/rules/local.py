"""Answers that need no upstream server: ipv4only.arpa (RFC 7050, RFC 8880), and the reverse names of addresses under
the prefix (RFC 6147 section 5.3.1) or of an [[eam]] (RFC 7757)."""

from ipaddress import IPv4Address, IPv6Address

from nat64d.dns64.message.wire import (
    AA,
    AAAA,
    ANY,
    CNAME,
    IN,
    NOERROR,
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
from nat64d.dns64.rules.maps import Maps
from nat64d.dns64.rules.policy import Policy

IPV4ONLY = name_of("ipv4only.arpa")
WELL_KNOWN4 = tuple(IPv4Address(text).packed for text in ("192.0.0.170", "192.0.0.171"))  # RFC 7050 section 2.2
_ARPA, _IP6_ARPA, _IN_ADDR_ARPA = name_of("arpa"), name_of("ip6.arpa"), name_of("in-addr.arpa")
TTL = 86400  # of ipv4only.arpa; RFC 7050 section 4: at least 60 minutes
KEPT = 3600  # seconds for which an answer with that TTL is kept: it falls meanwhile, and must not fall below an hour
TTL_NOT_READY = 10  # of its negative AAAA answer before packets are translated: the prefix appears soon
TTL_ALIAS = 600
DS = 43
_PRIMARY, _MAILBOX = name_of("ns.ipv4only.arpa"), name_of("nobody.invalid")


def is_ours(key: bytes) -> bool:
    """Whether a name may be answered here, by one policy or another."""
    return ends_with(key, _ARPA)


def answer(question: Question, policy: Policy, maps: Maps | None, ready: bool) -> Message | None:
    """The answer to a question about one of these names; None if the upstream servers are to be asked.

    `ready`: whether packets are translated, so that there is a prefix to discover.
    """
    if question.class_ != IN:
        return None
    key = question.key
    if is_ipv4only(key):
        return _ipv4only(question, policy, ready)
    if ends_with(key, _IP6_ARPA):
        address = reverse6(key)
        embedded = policy.extract(address) if address is not None else None
        if embedded is None:
            return None
        return _of_well_known(question) if embedded in WELL_KNOWN4 else _alias(question, reverse4_name(embedded))
    embedded = reverse4(key)
    other = maps.to6(embedded) if maps and embedded is not None else None
    return _alias(question, reverse6_name(other)) if other is not None else None


def is_ipv4only(key: bytes) -> bool:
    """Whether a name is ipv4only.arpa or below it."""
    return ends_with(key, IPV4ONLY)


def _ipv4only(question: Question, policy: Policy, ready: bool) -> Message | None:
    """RFC 8880 section 7.1, item 4: A and AAAA have data, DS is resolved as usual, all other types are negative, and no
    name exists below it. Without a configured prefix the name is not special: an upstream server may be a DNS64."""
    if not policy.ranges or (question.type == DS and question.key == IPV4ONLY):
        return None
    soa = _soa(IPV4ONLY, TTL if ready else TTL_NOT_READY)
    if question.key != IPV4ONLY:
        return _reply(question, [], soa, NXDOMAIN)
    records = {A: WELL_KNOWN4, AAAA: policy.discovery(WELL_KNOWN4) if ready else ()}
    found = records.get(question.type, ())
    return _reply(question, [Record(question.name, question.type, IN, TTL, data) for data in found], soa)


def _of_well_known(question: Question) -> Message:
    """RFC 8880 section 7.2.1: the reverse name of a synthetic address of ipv4only.arpa, as a zone of its own."""
    answers = [Record(question.name, PTR, IN, TTL, IPV4ONLY)] if question.type in {PTR, ANY} else []
    return _reply(question, answers, _soa(question.name, TTL))


def _alias(question: Question, target: bytes) -> Message:
    """RFC 6147 section 5.3.1, the second option: a CNAME to the reverse name of the other family."""
    return _reply(question, [Record(question.name, CNAME, IN, TTL_ALIAS, target)])


def _soa(name: bytes, ttl: int) -> Record:
    data = _PRIMARY + _MAILBOX + b"".join(number.to_bytes(4, "big") for number in (1, 0, 0, 0, ttl))
    return Record(name, SOA, IN, ttl, data)


def _reply(question: Question, answers: list[Record], soa: Record | None = None, rcode: int = NOERROR) -> Message:
    authority = [soa] if soa and not answers else []
    return Message(0, QR | AA | rcode, question, (answers, authority, []), None)


def reverse6(key: bytes) -> IPv6Address | None:
    """The address of an ip6.arpa name (RFC 3596 section 2.5); None if it does not have 32 hexadecimal labels."""
    labels = labels_of(key)[:-2]
    if len(labels) != 32 or any(len(label) != 1 or label not in b"0123456789abcdef" for label in labels):
        return None
    return IPv6Address(int(b"".join(reversed(labels)), 16))


def reverse6_name(data: bytes) -> bytes:
    """The ip6.arpa name of the 16 octets of an address."""
    return b"".join(b"\1" + bytes([digit]) for digit in reversed(data.hex().encode())) + _IP6_ARPA


def reverse4(key: bytes) -> bytes | None:
    """The 4 octets of an in-addr.arpa name (RFC 1035 section 3.5); None if it is not that of an address."""
    labels = labels_of(key)
    if len(labels) != 6 or not ends_with(key, _IN_ADDR_ARPA):
        return None
    data = bytes(
        int(label) for label in reversed(labels[:4]) if label.isdigit() and len(label) <= 3 and int(label) < 256
    )
    return data if len(data) == 4 and reverse4_name(data) == key else None


def reverse4_name(data: bytes) -> bytes:
    """The in-addr.arpa name of the 4 octets of an address."""
    labels = [str(octet).encode() for octet in reversed(data)]
    return b"".join(bytes([len(label)]) + label for label in labels) + _IN_ADDR_ARPA
