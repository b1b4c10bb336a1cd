"""What is mutated on the name server's two sides: queries of clients and answers of servers, written by dnspython."""

from collections.abc import Iterator
from typing import NamedTuple

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rdatatype
import dns.update

from nat64d.dns64.message import wire
from nat64d.dns64.message.reply import layout
from tests.dns64.zone import SOA, reply

WWW, WEB, APEX = "www.example.", "web.cdn.example.net.", "example."
NAMES = (
    *(WWW, "wWw.EXAMPLE.", ".", "ipv4only.arpa.", "170.0.0.192.in-addr.arpa.", "a." * 127, f"{'x' * 63}."),
    "1.0.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa.",
    r"\000\255\.\@.example.",
)
TYPES = ("A", "AAAA", "PTR", "ANY", "NS", "SOA", "MX", "TXT", "SRV", "NAPTR", "DS", "HTTPS", "AXFR", "OPT", "TYPE65280")
COOKIE = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")
SUBNET = dns.edns.ECSOption("192.0.2.0", 24)
EDNS: tuple[dict[str, object], ...] = (
    {},
    {"use_edns": 0, "payload": 512},
    {"use_edns": 0, "payload": 1232, "want_dnssec": True},
    {"use_edns": 0, "payload": 65535, "options": [COOKIE, SUBNET]},
    {"use_edns": 0, "payload": 0, "options": [dns.edns.GenericOption(12, bytes(128))]},
    {"use_edns": 1},
)
# TSIG by hmac-sha256 (RFC 8945 section 4.2), with a time, a fudge, a MAC, an ID.
SIGNATURE = b"\3key\0\0\xfa\0\xff\0\0\0\0\0\x3d\x0bhmac-sha256\0" + bytes(8) + b"\1\x2c\0\x20" + bytes(38)
SIGNED = "5 2 60 20300101000000 20200101000000 1 example. c2lnbmF0dXJl"


class Seed(NamedTuple):
    """A message, and where its fields begin: its sections, records, names, numbers."""

    octets: bytes
    marks: tuple[int, ...]


class Exchange(NamedTuple):
    """A query to a server, what it answered, and how much of that a client takes who asks the same by UDP."""

    query: bytes
    question: wire.Question
    answer: Seed
    room: int


def seed_of(octets: bytes) -> Seed:
    """A message that `wire` reads, with its marks; of another one only those of the header."""
    try:
        end = wire.read(octets).question.end
        fields = [at + step for at in layout(octets, end)[0] for step in (-4, -2, 0, 4, 6)]
    except wire.WireError:
        end, fields = len(octets) - 4, []
    return Seed(
        octets, tuple(at for at in (2, 4, 6, 8, 10, 12, end - 4, end - 2, end, *fields) if 0 <= at < len(octets))
    )


def queries() -> list[Seed]:
    """Queries as clients send them, and as they should not."""
    made = [
        dns.message.make_query(name, type_, id=number, **EDNS[number % len(EDNS)]).to_wire()  # type: ignore[arg-type]
        for number, (name, type_) in enumerate((name, type_) for name in NAMES for type_ in TYPES)
    ]
    return [seed_of(octets) for octets in (*made, *odd_queries())]


def odd_queries() -> Iterator[bytes]:
    """Queries with other flags, opcodes, counts, and signed ones."""
    for flags in (0, dns.flags.CD | dns.flags.AD, dns.flags.TC, dns.flags.QR, 0x0040):
        query = dns.message.make_query(WWW, "AAAA", id=2, use_edns=0, want_dnssec=True)
        query.flags = flags  # type: ignore[assignment]
        yield query.to_wire()
    for opcode in (1, 2, 4, 5, 15):
        query = dns.message.make_query(WWW, "SOA", id=3)
        query.set_opcode(opcode)  # type: ignore[arg-type]
        yield query.to_wire()
    update = dns.update.UpdateMessage(APEX, id=4)
    update.add(WWW, 60, "A", "192.0.2.1")
    yield update.to_wire()
    plain = dns.message.make_query(WWW, "A", id=1).to_wire()
    yield plain[:11] + b"\1" + plain[12:] + SIGNATURE
    yield plain[:5] + b"\2" + plain[6:] + plain[12:]
    yield plain[:5] + b"\0" + plain[6:]
    yield plain + b"behind"


ANSWERS: tuple[tuple[str, str, object], ...] = (
    (WWW, "AAAA", "NODATA"),
    (WWW, "AAAA", "NXDOMAIN"),
    (WWW, "AAAA", "SERVFAIL"),
    (WWW, "AAAA", [f"{WWW} 60 IN AAAA 2001:db8::1", f"{WWW} 60 IN RRSIG AAAA {SIGNED}"]),
    (WWW, "AAAA", [f"{WWW} 60 IN AAAA ::ffff:192.0.2.1", f"{WWW} 60 IN AAAA 2001:db8::1"]),
    (WWW, "AAAA", [f"{WWW} 60 IN AAAA ::ffff:192.0.2.1"]),
    (WWW, "AAAA", [f"{WWW} 60 IN CNAME {WEB}", f"example.net. 300 IN SOA {SOA}"]),
    (WWW, "A", [f"{WWW} 4000 IN A 192.0.2.1"]),
    (WWW, "A", [f"{WWW} {60 + k} IN A 10.0.{k}.1" for k in range(7)]),
    (WWW, "A", [f"{WWW} 60 IN A 127.0.0.1", f"{WWW} 60 IN A 0.0.0.0"]),
    (WWW, "A", [f"{WWW} 300 IN CNAME a.{APEX}", f"a.{APEX} 20 IN CNAME {WEB}", f"{WEB} 9 IN A 192.0.2.7"]),
    (
        *(WWW, "A"),
        [
            f"{APEX} 60 IN DNAME example.net.",
            f"{WWW} 60 IN CNAME www.example.net.",
            "www.example.net. 60 IN A 192.0.2.3",
            f"www.example.net. 60 IN RRSIG A {SIGNED}",
        ],
    ),
    (
        WWW,
        "A",
        [f"{WWW} 60 IN A 192.0.2.1", "bank.example. 9 IN A 203.0.113.66", "bank.example. 9 IN CNAME evil.test."],
    ),
    (APEX, "MX", [f"{APEX} 60 IN MX {k} mail{k}.{APEX}" for k in range(4)]),
    (APEX, "NS", [f"{APEX} 60 IN NS ns{k}.{APEX}" for k in range(4)]),
    (APEX, "SOA", [f"{APEX} 60 IN SOA {SOA}", f"{APEX} 60 IN TXT x"]),
    (APEX, "TXT", [f'{APEX} 60 IN TXT "{k} {"x" * 250}"' for k in range(5)]),
    (APEX, "SRV", [f"{APEX} 60 IN SRV 1 2 3 srv.{APEX}"]),
    (APEX, "NAPTR", [f'{APEX} 60 IN NAPTR 1 2 "u" "sip" "!^.*$!x!" naptr.{APEX}']),
    (APEX, "RP", [f"{APEX} 60 IN RP mail.{APEX} text.{APEX}"]),
    (WWW, "HTTPS", [f"{WWW} 60 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1"]),
    (WWW, "SVCB", [f"{WWW} 60 IN SVCB 2 web.example. mandatory=alpn,ipv4hint alpn=h2 ipv4hint=192.0.2.1,192.0.2.2"]),
    ("1.2.0.192.in-addr.arpa.", "PTR", [f"1.2.0.192.in-addr.arpa. 60 IN PTR {WWW}"]),
)


def answers() -> list[Exchange]:
    """Answers as servers give them; with DNSSEC, glue, Extended DNS Errors, too high TTLs, and cut ones."""
    made = []
    for number, (name, type_, said) in enumerate(ANSWERS * 2):
        query = dns.message.make_query(
            name, type_, id=number, use_edns=0 if number % 3 else -1, want_dnssec=number % 3 == 1
        )
        answer = reply(query, list(said) if isinstance(said, list) else said)
        if number >= len(ANSWERS):
            decorate(answer, number)
        made.append(exchange_of(query.to_wire(), answer.to_wire(max_size=65535, want_shuffle=False)))
    return made


def exchange_of(query: bytes, answer: bytes) -> Exchange:
    """A query to a server, and what it answered."""
    return Exchange(query, wire.read_question(query), seed_of(answer), 1232 if wire.read(query).edns else 512)


def decorate(answer: dns.message.Message, number: int) -> None:
    """What else may stand in an answer."""
    for line in (f"ns.{APEX} 5 IN A 192.0.2.53", f"ns.{APEX} 4294967295 IN AAAA 2001:db8::53", f"{WEB} 0 IN TXT x"):
        answer.additional.append(dns.rrset.from_text(*_fields(line)))
    if number % 2:
        answer.authority.append(dns.rrset.from_text(*_fields(f"{APEX} 60 IN NSEC {WWW} A RRSIG NSEC")))
        answer.flags |= dns.flags.AD
    if answer.edns >= 0:
        answer.use_edns(0, answer.ednsflags, 1232, options=[dns.edns.EDEOption(6, "bogus"), COOKIE])
    if number % 7 == 0:
        answer.flags |= dns.flags.TC


def _fields(line: str) -> tuple[str, int, str, str, str]:
    name, ttl, class_, type_, data = line.split(None, 4)
    return name, int(ttl), class_, type_, data
