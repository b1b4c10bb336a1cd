"""RFC 6147 section 5.1: which answers lead to synthetic records, and what those are."""

from typing import Any

from tests.dns64.side.row import ANSWER4, LATE, MADE, Right, Row, Seen, domain, made, row
from tests.dns64.side.script import error, lines, nodata, nxdomain, silent, soa

REAL = "2001:db8::80"


def real(id_: str, *data: str) -> tuple[str, ...]:
    """Lines of AAAA records."""
    return tuple(f"{domain(id_)} 300 IN AAAA {each}" for each in data or (REAL,))


def four(id_: str, *data: str, ttl: int = 300) -> tuple[str, ...]:
    """Lines of A records."""
    return tuple(f"{domain(id_)} {ttl} IN A {each}" for each in data)


def _has_soa(seen: Seen) -> str:
    assert seen.message is not None
    return "" if any(rrset.rdtype == 6 for rrset in seen.message.authority) else "no SOA record to cache it by"


NOTHING = Right((), check=_has_soa)
FAILED = Right((), ("SERVFAIL",))
NO_NAME = Right((), ("NXDOMAIN",))


def _after_error(id_: str, rcode: str) -> Row:
    return row(id_, f"AAAA {rcode}, A fine", "RFC 6147 5.1.2", "as if empty: synthesise", error(rcode))


FIRST: tuple[Row, ...] = (
    row("real", "AAAA and A", "RFC 6147 5.1.1", "AAAA as it is", lines(*real("real")), Right(made("real", REAL))),
    row("empty", "no AAAA, A fine", "RFC 6147 5.1.6", "synthesise", None),
    row(
        "several",
        "no AAAA, three A",
        "RFC 6147 5.1.7",
        "a record for each",
        None,
        Right(made("several", "64:ff9b::c000:201", "64:ff9b::c633:6401", "64:ff9b::cb00:7101")),
        lines(*four("several", "192.0.2.1", "198.51.100.1", "203.0.113.1")),
    ),
    row("aaaa-timeout", "AAAA times out, A fine", "RFC 6147 5.1.3", "as if empty: synthesise", silent),
    _after_error("servfail", "SERVFAIL"),
    _after_error("refused", "REFUSED"),
    _after_error("notimp", "NOTIMP"),
    _after_error("formerr", "FORMERR"),
    _after_error("notauth", "NOTAUTH"),
    row(
        "absent",
        "AAAA NXDOMAIN, A fine",
        "RFC 6147 5.1.2",
        "NXDOMAIN, A is not asked for",
        nxdomain(domain("absent")),
        NO_NAME,
    ),
    row(
        "a-timeout",
        "AAAA fine, A times out",
        "RFC 6147 5.1.1",
        "AAAA at once",
        lines(*real("a-timeout")),
        Right(made("a-timeout", REAL)),
        silent,
    ),
    row("nothing", "neither AAAA nor A", "RFC 6147 5.4", "the empty answer", None, NOTHING, nodata(domain("nothing"))),
    row(
        "no-name",
        "NXDOMAIN for both",
        "RFC 6147 5.1.2",
        "NXDOMAIN",
        nxdomain(domain("no-name")),
        NO_NAME,
        nxdomain(domain("no-name")),
    ),
    row("a-servfail", "no AAAA, A SERVFAIL", "RFC 6147 5.1.6", "the error", None, FAILED, error("SERVFAIL")),
    row(
        "a-absent",
        "AAAA SERVFAIL, A NXDOMAIN",
        "RFC 6147 5.1.6",
        "the error of A",
        error("SERVFAIL"),
        NO_NAME,
        nxdomain(domain("a-absent")),
    ),
    row(
        "timeout-absent",
        "AAAA times out, A NXDOMAIN",
        "RFC 6147 5.1.6",
        "the error of A",
        silent,
        NO_NAME,
        nxdomain(domain("timeout-absent")),
    ),
    row(
        "both-servfail",
        "SERVFAIL for both",
        "RFC 6147 5.1.6",
        "the error",
        error("SERVFAIL"),
        FAILED,
        error("SERVFAIL"),
    ),
    row(
        "both-timeout",
        "both time out",
        "RFC 6147 5.1.3",
        f"SERVFAIL, while the client waits ({LATE:g} s)",
        silent,
        FAILED,
        silent,
    ),
)

TTLS: tuple[Row, ...] = (
    row("ttl-soa", "A 300 s, SOA 120 s", "RFC 6147 5.1.7", "TTL 120", None, Right(made("ttl-soa"), ttl=120)),
    row(
        "ttl-a",
        "A 60 s, SOA 120 s",
        "RFC 6147 5.1.7",
        "TTL 60",
        None,
        Right(made("ttl-a"), ttl=60),
        lines(*four("ttl-a", "192.0.2.1", ttl=60)),
    ),
    row(
        "ttl-600",
        "A 3600 s, no SOA",
        "RFC 6147 5.1.7",
        "TTL 600",
        lines(),
        Right(made("ttl-600"), ttl=600),
        lines(*four("ttl-600", "192.0.2.1", ttl=3600)),
    ),
    row(
        "ttl-short",
        "A 60 s, no SOA",
        "RFC 6147 5.1.7",
        "TTL 60",
        lines(),
        Right(made("ttl-short"), ttl=60),
        lines(*four("ttl-short", "192.0.2.1", ttl=60)),
    ),
)

EXCLUDED: tuple[Row, ...] = (
    row(
        "mapped",
        "only IPv4-mapped AAAA, A fine",
        "RFC 6147 5.1.4",
        "as if empty: synthesise",
        lines(*real("mapped", "::ffff:198.51.100.9")),
    ),
    row(
        "mixed",
        "IPv4-mapped and good AAAA",
        "RFC 6147 5.1.4",
        "the good ones",
        lines(*real("mixed", "::ffff:198.51.100.9", REAL)),
        Right(made("mixed", REAL)),
    ),
    row(
        "mapped-alone",
        "only IPv4-mapped AAAA, no A",
        "RFC 6147 5.1.4",
        "never the mapped ones",
        lines(*real("mapped-alone", "::ffff:198.51.100.9")),
        Right(()),
        nodata(domain("mapped-alone")),
    ),
    row(
        "mapped-error",
        "only IPv4-mapped AAAA, A SERVFAIL",
        "RFC 6147 5.1.4",
        "never the mapped ones",
        lines(*real("mapped-error", "::ffff:198.51.100.9")),
        Right((), ("SERVFAIL", "NOERROR")),
        error("SERVFAIL"),
    ),
    row(
        "none",
        "A 10.0.0.1",
        "RFC 6052 3.1",
        "no record: the prefix carries no private address",
        None,
        Right(()),
        lines(*four("none", "10.0.0.1")),
    ),
    row("loopback", "A 127.0.0.1", "RFC 6052 3.1", "no record", None, Right(()), lines(*four("loopback", "127.0.0.1"))),
    row(
        "link-local",
        "A 169.254.1.1",
        "RFC 6052 3.1",
        "no record",
        None,
        Right(()),
        lines(*four("link-local", "169.254.1.1")),
    ),
    row(
        "unspecified", "A 0.0.0.0", "RFC 6052 3.1", "no record", None, Right(()), lines(*four("unspecified", "0.0.0.0"))
    ),
    row(
        "multicast", "A 224.0.0.1", "RFC 6052 3.1", "no record", None, Right(()), lines(*four("multicast", "224.0.0.1"))
    ),
    row(
        "half",
        "A 192.168.0.1 and a public one",
        "RFC 6052 3.1",
        "the public one",
        None,
        Right(made("half")),
        lines(*four("half", "192.168.0.1", "192.0.2.1")),
    ),
)


def _links(id_: str) -> tuple[str, str]:
    """Two aliases."""
    name = domain(id_)
    return f"{name} 300 IN CNAME b.{name}", f"b.{name} 300 IN CNAME c.{name}"


def _chained(id_: str, *addresses: str) -> tuple[str, ...]:
    name = domain(id_)
    ends = (f"c.{name} AAAA {address}" for address in addresses)
    return (f"{name} CNAME b.{name}", f"b.{name} CNAME c.{name}", *ends)


def _chain(id_: str, end: str, rule: str, wants: str, right: Right, aaaa: str = "", a: str = "", **last: Any) -> Row:
    """A chain of two aliases; what is at its end has these addresses, or the answer that `last` says."""
    name, more = domain(id_), {}
    for type_, address in (("AAAA", aaaa), ("A", a)):
        tail = [f"c.{name} 300 IN {type_} {address}"] if address else []
        empty = {} if address else {"authority": [soa(name)], **last}
        for owner, links in ((name, _links(id_)), (f"b.{name}", _links(id_)[1:]), (f"c.{name}", ())):
            more[owner, type_] = lines(*links, *tail, **empty)
    return row(id_, f"CNAME chain {end}", rule, wants, None, right, more=more)


def _split(id_: str) -> Row:
    """A server that leaves the chain to us: each link is an answer of its own."""
    name, more = domain(id_), {}
    for type_ in ("AAAA", "A"):
        for link in _links(id_):
            more[link.split()[0], type_] = lines(link)
    more[f"c.{name}", "AAAA"] = nodata(name)
    more[f"c.{name}", "A"] = lines(f"c.{name} 300 IN A {ANSWER4}")
    right = Right(_chained(id_, MADE))
    return row(
        id_, "CNAME chain, one link an answer", "RFC 6147 5.1.5", "followed; AAAA at its end", None, right, more=more
    )


def _split_after_error(id_: str) -> Row:
    """The same, where AAAA fails and A leads on."""
    name = domain(id_)
    more = {(f"b.{name}", "A"): lines(f"b.{name} 300 IN A {ANSWER4}"), (f"b.{name}", "AAAA"): nodata(name)}
    alias = lines(f"{name} 300 IN CNAME b.{name}")
    right = Right((f"{name} CNAME b.{name}", f"b.{name} AAAA {MADE}"))
    wants = "followed; AAAA at its end"
    return row(
        id_, "AAAA SERVFAIL, A is a CNAME and no more", "RFC 6147 5.1.5", wants, error("SERVFAIL"), right, alias, more
    )


def _circle(id_: str) -> Row:
    """Two aliases that lead to each other, one an answer."""
    name, more = domain(id_), {}
    for type_ in ("AAAA", "A"):
        more[name, type_] = lines(f"{name} 300 IN CNAME b.{name}")
        more[f"b.{name}", type_] = lines(f"b.{name} 300 IN CNAME {name}")
    right = Right(rcode=("SERVFAIL", "NOERROR"), check=no_aaaa)
    return row(id_, "CNAME loop, one link an answer", "RFC 1034 3.6.2", "an end, no AAAA", None, right, more=more)


def no_aaaa(seen: Seen) -> str:
    """Nothing but."""
    assert seen.message is not None
    return "an AAAA record" if any(rrset.rdtype == 28 for rrset in seen.message.answer) else ""


ALIASES: tuple[Row, ...] = (
    _chain("chain", "to A", "RFC 6147 5.1.5", "the chain; AAAA at its end", Right(_chained("chain", MADE)), a=ANSWER4),
    _chain("chain-real", "to AAAA", "RFC 6147 5.1.5", "as it is", Right(_chained("chain-real", REAL)), REAL, ANSWER4),
    _split("split"),
    _split_after_error("split-error"),
    _circle("circle"),
    _chain(
        "chain-mapped",
        "to an IPv4-mapped AAAA and A",
        "RFC 6147 5.1.4",
        "the chain; AAAA from A",
        Right(_chained("chain-mapped", MADE)),
        "::ffff:198.51.100.9",
        ANSWER4,
    ),
    _chain(
        "chain-absent",
        "to a name that does not exist",
        "RFC 6604 3",
        "the chain, NXDOMAIN",
        Right(_chained("chain-absent"), ("NXDOMAIN",)),
        rcode="NXDOMAIN",
    ),
    _chain(
        "chain-empty", "to neither AAAA nor A", "RFC 6147 5.4", "the chain, no more", Right(_chained("chain-empty"))
    ),
)
