"""How answers come: truncated, large, forged or broken; and signed ones."""

import dns.flags

from tests.dns64.side.row import Right, Row, Seen, domain, made, query, row
from tests.dns64.side.rows_answers import REAL, four, no_aaaa, real
from tests.dns64.side.script import (
    Says,
    after,
    by_tcp,
    changed,
    cut,
    lines,
    looping,
    lower_case,
    more_records,
    nodata,
    opt_twice,
    other_id,
    soa,
)

LOOP = ("loop.example. 300 IN CNAME b.loop.example.", "b.loop.example. 300 IN CNAME loop.example.")
LONG = " ".join([f'"{"x" * 249}"'] * 20)
SIGNED = "13 2 300 20361231000000 20260101000000 12345 example. c2lnbmVk"


def _addresses(count: int) -> list[str]:
    return [f"192.0.2.{n + 1}" for n in range(count)]


def _fits(size: int):  # type: ignore[no-untyped-def]
    def check(seen: Seen) -> str:
        assert seen.octets is not None
        if len(seen.octets) > size:
            return f"{len(seen.octets)} octets by UDP"
        return "" if seen.tcp else "not truncated"

    return check


def _large(id_: str, says: str, count: int, rule: str, size: int, **options: object) -> Row:
    data = _addresses(count)
    right = Right(made(id_, *(f"64:ff9b::{_hex(address)}" for address in data)), check=_fits(size))
    asked = query(domain(id_), **options)
    return row(id_, says, rule, "TC by UDP, all by TCP", None, right, lines(*four(id_, *data)), asked=asked)


def _hex(address: str) -> str:
    a, b, c, d = map(int, address.split("."))
    return f"{a << 8 | b:x}:{c << 8 | d:x}"


TRANSPORT: tuple[Row, ...] = (
    row(
        "cut-aaaa",
        "AAAA truncated by UDP, whole by TCP",
        "RFC 7766 5",
        "ask again by TCP",
        by_tcp(lines(*real("cut-aaaa"))),
        Right(made("cut-aaaa", REAL)),
    ),
    row(
        "cut-empty",
        "empty AAAA and A truncated by UDP",
        "RFC 7766 5",
        "ask both by TCP, synthesise",
        by_tcp(nodata(domain("cut-empty"))),
        None,
        by_tcp(lines(*four("cut-empty", "192.0.2.1"))),
    ),
    _large("large", "60 A, client takes 1232 octets", 60, "RFC 6147 5.4", 1232),
    row(
        "larger",
        "a TXT record of 5,000 octets, client takes 4096",
        "RFC 6891 6.2.5",
        "TC by UDP, all by TCP",
        None,
        Right((f"larger.example. TXT {LONG}",), check=_fits(4096)),
        more={("larger.example.", "TXT"): lines(f"larger.example. 300 IN TXT {LONG}")},
        asked=query("larger.example.", "TXT", payload=4096),
    ),
    _large("plain-large", "30 A, client without EDNS", 30, "RFC 1035 4.2.1", 512, use_edns=False, payload=None),
)


def _some_aaaa(seen: Seen) -> str:
    return "" if no_aaaa(seen) else "no AAAA"


def _broken(id_: str, says: str, change) -> Row:  # type: ignore[no-untyped-def]
    wants = "as if not answered: synthesise from A"
    return row(id_, f"AAAA answer {says}, A fine", "RFC 6147 5.1.3", wants, changed(lines(*real(id_)), change))


def _other_name(octets: bytes) -> bytes:
    return octets[:13] + b"z" + octets[14:]


def _forged(id_: str, says: str, change) -> Row:  # type: ignore[no-untyped-def]
    forged = changed(lines(*real(id_, "2001:db8::bad")), change)
    right = Right(made(id_, REAL))
    return row(id_, f"{says} comes first", "RFC 5452 9.1", "the right answer", after(forged, lines(*real(id_))), right)


HOSTILE: tuple[Row, ...] = (
    _broken("cut-off", "cut off", cut),
    _broken("looping", "with a compression loop", looping),
    _broken("counts", "with fewer records than announced", more_records),
    row(
        "opt-twice",
        "AAAA answer with two OPT records, A fine",
        "RFC 6891 6.1.1",
        "AAAA, or as if not answered",
        changed(lines(*real("opt-twice")), opt_twice),
        Right(check=_some_aaaa),
    ),
    _broken("octets", "of three octets", lambda octets: octets[:3]),
    _forged("other-id", "an answer with another ID", other_id),
    _forged("other-name", "an answer to another question", _other_name),
    row(
        "letters",
        "AAAA answer in other letter case",
        "RFC 4343 3",
        "the answer",
        changed(lines(*real("letters")), lower_case),
        Right(made("letters", REAL)),
    ),
    row(
        "stray",
        "A answer with a stray A of another name",
        "RFC 6147 5.1.7",
        "the name that was asked for",
        None,
        Right(made("stray")),
        lines("elsewhere.stray.example. 300 IN A 192.0.2.66", *four("stray", "192.0.2.1")),
    ),
    row(
        "loop",
        "CNAME loop",
        "RFC 1034 3.6.2",
        "an end, no AAAA",
        lines(*LOOP),
        Right(rcode=("SERVFAIL", "NOERROR"), check=no_aaaa),
        lines(*LOOP),
        {("b.loop.example.", type_): lines(*reversed(LOOP)) for type_ in ("A", "AAAA")},
    ),
)


def _denied(id_: str) -> Says:
    """A signed empty answer, which the server has validated."""
    name = domain(id_)
    authority = [
        soa(name),
        f"{name} 120 IN RRSIG SOA {SIGNED}",
        f"{name} 120 IN NSEC \\000.{name} A RRSIG NSEC",
        f"{name} 120 IN RRSIG NSEC {SIGNED}",
    ]
    return lines(authority=authority, flags=dns.flags.AD)


def _signed(id_: str, type_: str, *data: str) -> Says:
    name = domain(id_)
    return lines(
        *(f"{name} 300 IN {type_} {each}" for each in data), f"{name} 300 IN RRSIG {type_} {SIGNED}", flags=dns.flags.AD
    )


def _has_nsec(seen: Seen) -> str:
    assert seen.message is not None
    types = {rrset.rdtype for rrset in seen.message.authority}
    return "" if {46, 47} <= types else "no NSEC and RRSIG to validate it by"


def _secure(id_: str, says: str, rule: str, wants: str, right: Right, **options: object) -> Row:
    asked = query(domain(id_), **options)
    return row(id_, says, rule, wants, _denied(id_), right, _signed(id_, "A", "192.0.2.1"), asked=asked)


def _aaaa(id_: str, says: str, wants: str, data: tuple[str, ...], kept: tuple[str, ...], rule: str) -> Row:
    return row(
        id_, says, rule, wants, _signed(id_, "AAAA", *data), Right(kept), asked=query(domain(id_), want_dnssec=True)
    )


DNSSEC: tuple[Row, ...] = (
    _secure(
        "do-cd",
        "signed, no AAAA; client sets DO and CD",
        "RFC 6147 5.5",
        "no synthesis, the proof as it is",
        Right((), check=_has_nsec),
        want_dnssec=True,
        flags=dns.flags.CD,
    ),
    row(
        "do-cd-plain",
        "unsigned, no AAAA; client sets DO and CD",
        "RFC 6147 5.5",
        "no synthesis",
        None,
        Right(()),
        asked=query("do-cd-plain.example.", want_dnssec=True, flags=dns.flags.CD),
    ),
    _secure(
        "do",
        "signed, no AAAA; client sets DO",
        "RFC 6147 5.5",
        "synthesise; no signature, no AD unless validated",
        Right(made("do"), authenticated=False),
        want_dnssec=True,
    ),
    _secure(
        "ad",
        "signed, no AAAA; client sets AD",
        "RFC 6147 5.5",
        "synthesise; no AD unless validated",
        Right(made("ad"), authenticated=False),
        flags=dns.flags.AD,
    ),
    _aaaa(
        "do-real",
        "signed AAAA; client sets DO",
        "AAAA and its signature",
        (REAL,),
        (*made("do-real", REAL), f"do-real.example. RRSIG AAAA {SIGNED}"),
        "RFC 4035 3.2.1",
    ),
    _aaaa(
        "do-mixed",
        "signed AAAA, one IPv4-mapped; client sets DO",
        "the good one, no signature that fits no more",
        (REAL, "::ffff:198.51.100.9"),
        made("do-mixed", REAL),
        "RFC 6147 5.1.4",
    ),
    row(
        "do-a",
        "signed A; client asks for A, sets DO",
        "RFC 6147 5.3.3",
        "A and its signature",
        None,
        Right(("do-a.example. A 192.0.2.1", f"do-a.example. RRSIG A {SIGNED}")),
        _signed("do-a", "A", "192.0.2.1"),
        asked=query("do-a.example.", "A", want_dnssec=True),
    ),
)
