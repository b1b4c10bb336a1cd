"""unbound and BIND, run by what `nat64d export` prints, answer as nat64d does, but for what it prints of losses."""

from collections.abc import Iterator, Mapping

import dns.message
import dns.rdatatype
import dns.reversename
import pytest

from nat64d.dns64 import export
from nat64d.dns64.command import intent_of
from nat64d.dns64.export import PROGRAMS
from tests.dns64.side import programs, table
from tests.dns64.side.measure import Measured, measure
from tests.dns64.side.row import Right, Row, Seen, domain, query, row
from tests.dns64.side.rows import GROUPS
from tests.dns64.side.script import Says, lines, nodata

pytestmark = pytest.mark.e2e  # programs that run

EXPORTS = {"unbound": "unbound", "named": "bind"}
# Groups whose rows say what DNS64 is; in the others programs differ as name servers do.
COMMON = ("Is there an AAAA record?", "How long it holds", "Addresses that are none", "Aliases", "Reverse names")
COMMON_TOO = ("ipv4only.arpa", "Signed answers")
# What a loss shows itself in, by a part of its sentence.
SHOWS = {
    "unbound": {
        "ends in NXDOMAIN": ("absent",),
        "times out is not answered": ("aaaa-timeout", "timeout-absent", "both-timeout"),
        "as if it were empty": ("a-servfail",),
        "not bounded by the SOA": ("ttl-soa", "ttl-600"),
        "also private and loopback": ("none", "loopback", "link-local", "unspecified", "multicast", "half"),
        "keeps its signature": ("do-mixed",),
    },
    "named": {
        "A is not tried": (
            *("aaaa-timeout", "servfail", "refused", "notimp", "formerr", "notauth", "a-absent", "timeout-absent"),
            *("both-timeout", "split-error"),
        ),
        "DO and CD": ("do-cd", "do-cd-plain"),
        "without asking an upstream server": ("only-ptr4",),
    },
}
UNSEEN = {export.NO_READY, export.ONLY_AN_HOUR}  # takes a gateway that stops; the full configuration shows it


def test_each_difference_is_a_loss_and_each_loss_a_difference(other: str, seen: Measured) -> None:
    rows = [one for name in (*COMMON, *COMMON_TOO) for one in GROUPS[name]]
    wrong = {one.id for one in rows if table.verdict(one, seen[other][one.id]) != table.RIGHT}
    assert wrong == {id_ for ids in SHOWS[other].values() for id_ in ids}
    losses = PROGRAMS[EXPORTS[other]](intent_of(programs.configuration(53, "192.0.2.53"))).losses
    unshown = [loss for loss in losses if not any(part in loss for part in SHOWS[other])]
    assert set(unshown) <= UNSEEN
    assert [part for part in SHOWS[other] if not any(part in loss for loss in losses)] == []


OFF, ELSEWHERE = "127.0.0.2", "127.0.0.3"  # clients of policies
MORE = f"""
exclude = ["::ffff:0:0/96", "2001:db8:bad::/48"]
exclude_names = ["spared.example"]
force_names = ["forced.example"]
ranges = [{{ ipv4 = "10.1.0.0/16" }}, {{ ipv4 = "10.0.0.0/8", pool6 = "64:ff9b:1::/96" }}]
policy = [
    {{ clients = ["{OFF}/32"], synthesise = false }},
    {{ clients = ["{ELSEWHERE}/32"], pool6 = "2001:db8:64::/96", exclude = [] }},
]
"""


def _ask(id_: str, a: str = "192.0.2.1", aaaa: str = "", source: str = "127.0.0.1", more: Mapping | None = None,
         asked: bytes | None = None) -> Row:  # fmt: skip
    name = domain(id_)
    said: Says = lines(f"{name} 60 IN AAAA {aaaa}") if aaaa else nodata(name)
    return row(id_, "", "", "", said, Right(), lines(f"{name} 60 IN A {a}"), more, asked, source=source)


def _reverse(id_: str, address: str, name: str) -> Row:
    more = {(name, "PTR"): lines(f"{name} 60 IN PTR host.example.")}
    return _ask(id_, more=more, asked=query(dns.reversename.from_address(address).to_text(), "PTR"))


IPV4ONLY = {("ipv4only.arpa.", "AAAA"): nodata("arpa.")}  # as it is in the root's tree
QUESTIONS = {
    one.id: one
    for one in (
        _ask("made"),
        _ask("real", aaaa="2001:db8::80"),
        _ask("a", asked=query("a.example.", "A")),
        _ask("excluded", aaaa="2001:db8:bad::1"),
        _ask("spared"),
        _ask("forced", aaaa="2001:db8::80"),
        _ask("range", "10.2.0.1"),
        _ask("no-range", "10.1.0.1"),
        _ask("off", source=OFF),
        _ask("elsewhere", source=ELSEWHERE),
        _ask("elsewhere-mapped", aaaa="2001:db8:bad::1", source=ELSEWHERE),
        _ask("only-elsewhere", more=IPV4ONLY, asked=query("ipv4only.arpa."), source=ELSEWHERE),
        _ask("only-off", more=IPV4ONLY, asked=query("ipv4only.arpa."), source=OFF),
        _ask("only", asked=query("ipv4only.arpa.")),
        _reverse("ptr", "64:ff9b::192.0.2.7", "7.2.0.192.in-addr.arpa."),
        _reverse("ptr-range", "64:ff9b:1::10.2.0.7", "7.0.2.10.in-addr.arpa."),
    )
}
DIFFERS = {
    "unbound": {
        export.NO_SPARING: ("spared",),
        export.ONE_PREFIX: ("range", "ptr-range"),
        export.PRIVATE: ("no-range",),
        export.ONE_POLICY: ("off", "elsewhere", "elsewhere-mapped", "only-elsewhere", "only-off"),
    },
    "named": {
        export.NO_SPARING: ("spared",),
        export.NO_FORCING: ("forced",),
        export.ONLY_AN_HOUR: ("only", "only-elsewhere"),
    },
}


@pytest.fixture(scope="module")
def answered() -> Measured:
    """What each answers to a configuration that asks for all there is."""
    return measure(QUESTIONS, MORE)


def test_a_full_configuration_is_answered_alike_but_for_its_losses(other: str, answered: Measured) -> None:
    differs = {id_ for id_ in QUESTIONS if _answer(answered[other][id_]) != _answer(answered["nat64d"][id_])}
    assert differs == {id_ for ids in DIFFERS[other].values() for id_ in ids}
    losses = PROGRAMS[EXPORTS[other]](intent_of(programs.configuration(53, "192.0.2.53", MORE))).losses
    assert [loss for loss in DIFFERS[other] if loss not in losses] == []


def test_nat64d_does_what_the_full_configuration_asks_for(answered: Measured) -> None:
    expected = {
        "made": ["64:ff9b::c000:201"],
        "excluded": ["64:ff9b::c000:201"],
        "spared": [],
        "forced": ["64:ff9b::c000:201"],
        "range": ["64:ff9b:1::a02:1"],
        "no-range": [],
        "off": [],
        "elsewhere": ["2001:db8:64::c000:201"],
        "elsewhere-mapped": ["2001:db8:bad::1"],
        "only-elsewhere": ["2001:db8:64::c000:aa", "2001:db8:64::c000:ab"],
        "ptr-range": ["host.example."],
    }
    found = {id_: [record.split()[-2] for record in _answer(answered["nat64d"][id_])[1]] for id_ in expected}
    assert found == expected


def _answer(seen: Seen) -> tuple[str, list[str]]:
    """The rcode, and type, data and TTL of what was asked for: unbound leaves out the alias of a reverse name."""
    assert seen.message is not None
    return seen.message.rcode().name, sorted(_records(seen.message))


def _records(message: dns.message.Message) -> Iterator[str]:
    for rrset in message.answer:
        for item in rrset:
            if rrset.rdtype == message.question[0].rdtype:
                yield f"{dns.rdatatype.to_text(rrset.rdtype)} {item.to_text()} {rrset.ttl + rrset.ttl % 2}"
