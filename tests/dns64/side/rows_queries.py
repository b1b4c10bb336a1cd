"""Other queries: names of our own, reverse names, other types, and what is no proper query."""

import struct

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.reversename

from tests.dns64.side.row import STRANGER, Right, Row, Seen, domain, made, query, row
from tests.dns64.side.rows_answers import four, no_aaaa
from tests.dns64.side.script import Says, error, lines, nodata, nxdomain, soa

WELL_KNOWN = ("192.0.0.170", "192.0.0.171")


def _reverse(address: str) -> str:
    return dns.reversename.from_address(address).to_text()


def _leads_to(host: str):  # type: ignore[no-untyped-def]
    """A PTR record, directly or behind an alias (RFC 6147 section 5.3.1 has both)."""

    def check(seen: Seen) -> str:
        assert seen.message is not None
        found = [item.to_text() for rrset in seen.message.answer for item in rrset if rrset.rdtype == 12]
        return "" if found == [host] else "no PTR record"

    return check


def _ptr(id_: str, says: str, rule: str, wants: str, address: str, right: Right, script: dict[str, Says]) -> Row:
    more = {(name, "PTR"): said for name, said in script.items()}
    return row(id_, says, rule, wants, None, right, more=more, asked=query(_reverse(address), "PTR"))


REVERSE: tuple[Row, ...] = (
    _ptr(
        "ptr",
        "PTR under the prefix, its IPv4 address has one",
        "RFC 6147 5.3.1",
        "that name",
        "64:ff9b::192.0.2.7",
        Right(check=_leads_to("host.example.")),
        {"7.2.0.192.in-addr.arpa.": lines("7.2.0.192.in-addr.arpa. 300 IN PTR host.example.")},
    ),
    _ptr(
        "ptr-absent",
        "PTR under the prefix, its IPv4 address has none",
        "RFC 6147 5.3.1",
        "NXDOMAIN",
        "64:ff9b::192.0.2.8",
        Right(rcode=("NXDOMAIN",)),
        {"8.2.0.192.in-addr.arpa.": nxdomain("2.0.192.in-addr.arpa.")},
    ),
    _ptr(
        "ptr-other",
        "PTR of another IPv6 address",
        "RFC 6147 5.3.1",
        "as any other query",
        "3fff::1",
        Right((f"{_reverse('3fff::1')} PTR host.example.",)),
        {_reverse("3fff::1"): lines(f"{_reverse('3fff::1')} 300 IN PTR host.example.")},
    ),
)


def _not_asked(seen: Seen) -> str:
    return "asks the server" if seen.upstream else ""


def _asked(seen: Seen) -> str:
    return "" if seen.upstream else "answers itself"


def _ipv4only(id_: str, says: str, wants: str, name: str, type_: str, right: Right, rule: str = "RFC 8880 7.1") -> Row:
    """The server knows nothing of it, and must not be asked."""
    more = {("ipv4only.arpa.", each): nodata("ipv4only.arpa.") for each in ("A", "AAAA", "TXT")}
    return row(id_, says, rule, wants, None, right, more=more, asked=query(name, type_))


def _local(*records: str, rcode: str = "NOERROR") -> Right:
    return Right(records, (rcode,), check=_not_asked)


IPV4ONLY: tuple[Row, ...] = (
    _ipv4only(
        "only-aaaa",
        "AAAA of ipv4only.arpa",
        "both under the prefix, answered locally",
        "ipv4only.arpa.",
        "AAAA",
        _local("ipv4only.arpa. AAAA 64:ff9b::c000:aa", "ipv4only.arpa. AAAA 64:ff9b::c000:ab"),
    ),
    _ipv4only(
        "only-a",
        "A of ipv4only.arpa",
        "both, answered locally",
        "ipv4only.arpa.",
        "A",
        _local(*(f"ipv4only.arpa. A {address}" for address in WELL_KNOWN)),
    ),
    _ipv4only("only-txt", "TXT of ipv4only.arpa", "no data, answered locally", "ipv4only.arpa.", "TXT", _local()),
    _ipv4only(
        "only-below",
        "a name below ipv4only.arpa",
        "NXDOMAIN, answered locally",
        "www.ipv4only.arpa.",
        "AAAA",
        _local(rcode="NXDOMAIN"),
    ),
    _ipv4only(
        "only-ptr",
        "PTR of 64:ff9b::192.0.0.170",
        "ipv4only.arpa",
        _reverse("64:ff9b::192.0.0.170"),
        "PTR",
        Right(check=_leads_to("ipv4only.arpa.")),
        "RFC 8880 7.2.1",
    ),
    row(
        "only-ptr4",
        "PTR of 192.0.0.171",
        "RFC 8880 7.2",
        "as any other query: the server is asked",
        None,
        Right((f"{_reverse('192.0.0.171')} PTR ipv4only.arpa.",), check=_asked),
        more={(_reverse("192.0.0.171"), "PTR"): lines(f"{_reverse('192.0.0.171')} 300 IN PTR ipv4only.arpa.")},
        asked=query(_reverse("192.0.0.171"), "PTR"),
    ),
)


def _relayed(id_: str, type_: str, data: str) -> Row:
    article = "an" if type_ in {"A", "MX"} else "a"
    name = domain(id_)
    more = {(name, type_): lines(f"{name} 300 IN {type_} {data}")}
    return row(
        id_,
        f"{article} {type_} record",
        "RFC 6147 5.3.3",
        "as it is",
        None,
        Right((f"{name} {type_} {data}",), ttl=300),
        more=more,
        asked=query(name, type_),
    )


def _unchanged(seen: Seen) -> str:
    """Authority and additional records of the A answer, no more and no less."""
    assert seen.message is not None
    if any(rrset.rdtype == 28 for rrset in seen.message.additional):
        return "an AAAA record among the additional ones"
    rest = {(rrset.name.to_text(), rrset.rdtype) for rrset in (*seen.message.authority, *seen.message.additional)}
    return "" if rest == {("sections.example.", 2), ("ns.sections.example.", 1)} else "leaves them out"


TYPES: tuple[Row, ...] = (
    _relayed("a", "A", "192.0.2.1"),
    _relayed("txt", "TXT", '"as it is"'),
    _relayed("mx", "MX", "10 mail.example."),
    _relayed("type65280", "TYPE65280", r"\# 4 01020304"),
    row(
        "any",
        "ANY for a name with A",
        "RFC 6147 5.3.3",
        "no synthesis",
        None,
        Right(check=no_aaaa),
        more={("any.example.", "ANY"): lines(*four("any", "192.0.2.1"), 'any.example. 300 IN TXT "x"')},
        asked=query("any.example.", "ANY"),
    ),
    row(
        "sections",
        "A with authority and additional records",
        "RFC 6147 5.4",
        "the same records beside the answer",
        None,
        Right(made("sections"), check=_unchanged),
        lines(
            *four("sections", "192.0.2.1"),
            authority=["sections.example. 300 IN NS ns.sections.example."],
            additional=["ns.sections.example. 300 IN A 192.0.2.53"],
        ),
    ),
)


def _as_asked(seen: Seen) -> str:
    assert seen.octets is not None
    return "" if b"\x0aMixEd-CaSe\x07" in seen.octets else "the question in other letters"


def _no_opt(seen: Seen) -> str:
    assert seen.message is not None
    return "an OPT record" if seen.message.edns >= 0 else ""


def _no_echo(seen: Seen) -> str:
    assert seen.message is not None
    return "the option comes back" if any(option.otype == 65001 for option in seen.message.options) else ""


def _as_asked_with_opt(seen: Seen) -> str:
    assert seen.message is not None
    if not seen.message.question:
        return "no question"
    return "" if seen.message.edns >= 0 else "no OPT record"


def _questions(id_: str, count: int) -> bytes:
    octets = query(domain(id_), use_edns=False, payload=None)
    return octets[:4] + struct.pack("!4H", count, 0, 0, 0) + octets[12:] * count


def _status(name: str) -> bytes:
    message = dns.message.make_query(name, "AAAA", use_edns=False)
    message.set_opcode(dns.opcode.STATUS)
    return message.to_wire()


def _odd(id_: str, says: str, rule: str, wants: str, asked: bytes, right: Right, **options: object) -> Row:
    return row(id_, says, rule, wants, None, right, asked=asked, **options)  # type: ignore[arg-type]


QUERIES: tuple[Row, ...] = (
    _odd(
        "no-edns",
        "a client without EDNS",
        "RFC 6891 7",
        "no OPT record in the answer",
        query("no-edns.example.", use_edns=False, payload=None),
        Right(made("no-edns"), check=_no_opt),
    ),
    _odd(
        "edns1",
        "EDNS version 1",
        "RFC 6891 6.1.3",
        "BADVERS",
        query("edns1.example.", use_edns=1),
        Right((), ("BADVERS",)),
    ),
    _odd(
        "option",
        "an unknown EDNS option",
        "RFC 6891 6.1.2",
        "ignored",
        query("option.example.", options=[dns.edns.GenericOption(65001, b"?")]),
        Right(made("option"), check=_no_echo),
    ),
    _odd(
        "option-broken",
        "an EDNS option longer than its OPT record",
        "RFC 6891 7",
        "FORMERR, with question and OPT record",
        query("option-broken.example.")[:-2] + struct.pack("!HHH", 4, 65001, 8),
        Right((), ("FORMERR",), check=_as_asked_with_opt),
    ),
    _odd(
        "mixed-case",
        "a question in mixed letters",
        "RFC 4343 4.1",
        "the answer, the question as it was",
        query("MixEd-CaSe.example."),
        Right(("mixed-case.example. AAAA 64:ff9b::c000:201",), check=_as_asked),
    ),
    _odd(
        "questions0", "no question", "RFC 1035 4.1.1", "FORMERR", _questions("questions0", 0), Right(None, ("FORMERR",))
    ),
    _odd(
        "questions2",
        "two questions",
        "RFC 1035 4.1.1",
        "FORMERR",
        _questions("questions2", 2),
        Right(None, ("FORMERR",)),
    ),
    _odd("opcode", "opcode STATUS", "RFC 1035 4.1.1", "NOTIMP", _status("opcode.example."), Right(None, ("NOTIMP",))),
    _odd(
        "response",
        "an answer in place of a query",
        "RFC 1035 4.1.1",
        "silence",
        query("response.example.", flags=dns.flags.QR),
        Right(silent=True),
    ),
    row(
        "chaos",
        "AAAA of class CH",
        "RFC 6147 5.1",
        "no synthesis",
        error("REFUSED"),
        Right(rcode=("REFUSED", "NOTIMP", "NXDOMAIN", "SERVFAIL"), check=no_aaaa),
        asked=query("chaos.example.", rdclass="CH"),
    ),
    _odd(
        "stranger",
        "a client that may not query",
        "RFC 5358 4",
        "REFUSED",
        query("stranger.example."),
        Right((), ("REFUSED",)),
        source=STRANGER,
    ),
)


def _dname(id_: str) -> Row:
    alias = (
        f"old.{id_}.example. 300 IN DNAME new.{id_}.example.",
        f"www.old.{id_}.example. 300 IN CNAME www.new.{id_}.example.",
    )
    more = {
        (f"www.old.{id_}.example.", "AAAA"): lines(*alias, authority=[soa(domain(id_))]),
        (f"www.old.{id_}.example.", "A"): lines(*alias, f"www.new.{id_}.example. 300 IN A 192.0.2.1"),
        (f"www.new.{id_}.example.", "AAAA"): nodata(domain(id_)),
        (f"www.new.{id_}.example.", "A"): lines(f"www.new.{id_}.example. 300 IN A 192.0.2.1"),
    }
    right = Right(
        (
            f"old.{id_}.example. DNAME new.{id_}.example.",
            f"www.old.{id_}.example. CNAME www.new.{id_}.example.",
            f"www.new.{id_}.example. AAAA 64:ff9b::c000:201",
        )
    )
    return row(
        id_,
        "DNAME to a name with A",
        "RFC 6147 5.1.5",
        "DNAME and CNAME, AAAA at the end",
        None,
        right,
        more=more,
        asked=query(f"www.old.{id_}.example."),
    )


DNAMES: tuple[Row, ...] = (_dname("dname"),)
