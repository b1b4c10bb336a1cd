"""Answers that hold more than one of a kind: records, signatures, aliases, name servers, names in the configuration."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.reversename
import dns.rrset
import pytest

from nat64d.dns64.message import wire
from nat64d.dns64.rules.filter_a import without_ipv4
from nat64d.dns64.rules.maps import Maps
from nat64d.dns64.rules.policy import Policy, ranges_for
from nat64d.dns64.rules.synthesis import Finding, basis, look_at, synthesise, without_excluded
from tests.dns64.gateway import EVERYBODY, POLICY, WWW, addresses, errors, gateway, query
from tests.dns64.zone import AUTHORITY, SOA, reply
from tests.reference.addresses import embed

SIGNED = "{} 2 3600 20300101000000 20200101000000 1 example. AAAA"
REAL = [f"{WWW} 60 IN AAAA 2001:db8::1", f"{WWW} 60 IN AAAA 2001:db8::2"]
EXCLUDED = [f"{WWW} 60 IN AAAA ::ffff:192.0.2.1", f"{WWW} 60 IN AAAA ::ffff:192.0.2.2"]
ALIASES = [
    "Eu.Example. 3600 IN DNAME Net.Example.",
    f"Eu.Example. 3600 IN RRSIG DNAME {SIGNED.format(8)}",
    "Web.Eu.Example. 3600 IN CNAME Web.Net.Example.",
    f"{WWW} 3600 IN CNAME Web.Eu.Example.",
    f"{WWW} 3600 IN RRSIG CNAME {SIGNED.format(8)}",
]


def answer(type_: str, lines: list[str], also: tuple[str, ...] = (), name: str = WWW) -> wire.Message:
    """An answer with these lines in its answer section, and these in both of the others."""
    made = reply(dns.message.make_query(name, type_), lines)
    for line in also:
        owner, ttl, class_, kind, data = line.split(None, 4)
        for section in (made.authority, made.additional):
            section.append(dns.rrset.from_text(owner, int(ttl), class_, kind, data))
    return wire.read(made.to_wire())


def signatures(type_: str) -> list[str]:
    """Of two algorithms."""
    return [f"{WWW} 60 IN RRSIG {type_} {SIGNED.format(number)}" for number in (8, 13)]


def test_rfc6147_5_1_4_each_record_that_is_excluded_goes_and_so_does_each_signature() -> None:
    said = answer("AAAA", [*REAL, *EXCLUDED, *signatures("AAAA")])
    assert look_at(said, POLICY) is Finding.FILTER
    left = without_excluded(said, POLICY).sections[0]
    assert sorted(IPv6Address(record.data) for record in left) == [IPv6Address(f"2001:db8::{n}") for n in (1, 2)]
    assert look_at(answer("AAAA", EXCLUDED), POLICY) is Finding.EXCLUDED
    assert look_at(answer("AAAA", [f"{WWW} 60 IN AAAA 2001:db8::{n}" for n in range(1, 30)]), POLICY) is Finding.USE
    behind = [line.replace(WWW, "Web.Net.Example.") for line in EXCLUDED]
    assert look_at(answer("AAAA", [*ALIASES, *behind]), POLICY) is Finding.EXCLUDED


def test_rfc6147_5_1_6_each_of_many_records_is_made_none_with_a_longer_ttl_and_none_signed() -> None:
    lines = [f"{WWW} 3600 IN A 192.0.2.{number}" for number in range(1, 7)]
    message = synthesise(answer("AAAA", []), answer("A", [*lines, *signatures("A")]), POLICY)
    assert message is not None
    made = [(IPv6Address(record.data), record.type, record.ttl) for record in message.sections[0]]
    assert sorted(made) == [(IPv6Address(f"64:ff9b::192.0.2.{number}"), wire.AAAA, 600) for number in range(1, 7)]
    bare = basis(Finding.FAILED, answer("A", [*lines, *signatures("A")]))
    assert bare is not None
    assert bare.sections[0] == []


def test_rfc6147_5_4_aliases_and_what_is_signed_of_them_stand_as_they_came() -> None:
    """Letters, TTLs and signatures, of CNAME and DNAME, also in the middle of a chain."""
    negative = answer("AAAA", [*ALIASES, f"example. 30 IN SOA {SOA}"])
    other = answer("A", [*ALIASES, "Web.Net.Example. 60 IN A 192.0.2.1"])
    aliases = [record for record in other.sections[0] if record.type != wire.A]
    assert len(aliases) == len(ALIASES)
    message = synthesise(negative, other, POLICY)
    assert message is not None
    assert [record for record in message.sections[0] if record.type != wire.AAAA] == aliases
    mixed = [line.replace(WWW, "Web.Net.Example.") for line in (REAL[0], EXCLUDED[0])]
    some = answer("AAAA", [*ALIASES, *mixed])
    assert look_at(some, POLICY) is Finding.FILTER
    assert [record for record in without_excluded(some, POLICY).sections[0] if record.type != wire.AAAA] == aliases
    bare = basis(Finding.EXCLUDED, answer("A", [*ALIASES, "Web.Net.Example. 60 IN A 127.0.0.1"]))
    assert bare is not None
    assert bare.sections[0] == aliases


@pytest.mark.parametrize("type_", ["A", "AAAA"])
def test_rfc6147_5_3_2_the_other_sections_keep_each_record_and_its_ttl(type_: str) -> None:
    """Beside AAAA records made of A, and A records made of AAAA (`dns46`)."""
    also = tuple(f"ns{number}.example. 3600 IN A 192.0.2.{number}" for number in range(3))
    line = f"{WWW} 3600 IN A 192.0.2.1" if type_ == "A" else f"{WWW} 3600 IN AAAA 2001:db8:1::1"
    given = answer(type_, [line], also)
    policy = replace(POLICY, maps=Maps.of([("198.51.100.0/24", "2001:db8:1::/120")]))
    message = synthesise(answer("AAAA" if type_ == "A" else "A", [f"example. 30 IN SOA {SOA}"]), given, policy)
    assert message is not None
    assert [len(section) for section in message.sections] == [1, 3, 3]
    assert message.sections[1:] == given.sections[1:]


def test_rfc6147_5_1_5_all_of_a_chain_stands_before_what_another_answer_has_of_its_end() -> None:
    """DNAME, two CNAME and signatures; the TTL is bounded by the SOA record of the last answer."""
    end = "web.net.example."
    ns = "net.example. 60 IN NS ns.net.example."
    stops = [*ALIASES, AUTHORITY, "example. 60 IN NS ns.example."]
    table = {(WWW, "AAAA"): stops, (WWW, "A"): stops, (end, "A"): [f"{end} 3600 IN A 192.0.2.1", AUTHORITY, ns]}
    with gateway(table | {(end, "AAAA"): [f"example. 77 IN SOA {SOA}"]}) as one:
        found = one.ask(query(want_dnssec=True))
        kinds = [(rrset.rdtype, rrset.covers) for rrset in found.answer]
        assert addresses(found) == ["64:ff9b::c000:201"]
        assert found.answer[-1].ttl == 77
        assert kinds[-1] == (wire.AAAA, 0)
        assert sorted(kinds[:-1]) == [(5, 0), (5, 0), (39, 0), (46, 5), (46, 39)]
        assert errors(found) == [29], "what is made behind an alias says so"
        assert [rrset.to_text() for rrset in found.authority] == [ns]


def test_rfc6147_5_5_the_bits_do_and_cd_go_on_with_an_alias() -> None:
    bits: list[tuple[str, bool, bool]] = []

    def note(octets: bytes, _tcp: bool) -> list[bytes]:
        asked = dns.message.from_wire(octets)
        bits.append(("", bool(asked.ednsflags & dns.flags.DO), bool(asked.flags & dns.flags.CD)))
        return [reply(asked, "NODATA").to_wire()]

    table = {(WWW, type_): [f"{WWW} 60 IN CNAME end.example."] for type_ in ("A", "AAAA")}
    with gateway(table | {("end.example.", type_): note for type_ in ("A", "AAAA")}) as one:
        for do, cd in ((False, False), (True, False), (False, True), (True, True)):
            one.ask(query(flags=dns.flags.CD if cd else 0, want_dnssec=do))
            assert {bit[1:] for bit in bits} == {(do, cd)}
            bits.clear()


REVERSE4 = "1.2.0.192.in-addr.arpa."


def test_rfc6147_5_3_1_all_that_the_answer_of_the_ipv4_name_has_is_given() -> None:
    def said(octets: bytes, _tcp: bool) -> list[bytes]:
        lines = [f"{REVERSE4} 60 IN PTR {name}" for name in (WWW, "web.example.")]
        made = reply(dns.message.from_wire(octets), [*lines, AUTHORITY, "2.0.192.in-addr.arpa. 60 IN NS ns.example."])
        made.additional.append(dns.rrset.from_text("ns.example.", 60, "IN", "A", "192.0.2.53"))
        return [made.to_wire()]

    name = "1.0.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa."
    with gateway({(REVERSE4, "PTR"): said}) as one:
        found = one.ask(query("PTR", name))
        assert sorted(item.to_text() for rrset in found.answer for item in rrset) == sorted(
            [REVERSE4, WWW, "web.example."]
        )
        assert [rrset.to_text() for rrset in found.authority] == ["2.0.192.in-addr.arpa. 60 IN NS ns.example."]
        assert [rrset.to_text() for rrset in found.additional] == ["ns.example. 60 IN A 192.0.2.53"]


@pytest.mark.parametrize("said", ["data", "NODATA", "NXDOMAIN"])
@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("A", "192.0.2.1"),
        ("NS", "ns.example."),
        ("MX", "10 ns.example."),
        ("SRV", "0 0 80 ns.example."),
        ("HTTPS", "1 . ipv4hint=192.0.2.1 ipv6hint=2001:db8::1"),
        ("SVCB", "1 ns.example. ipv4hint=192.0.2.1"),
        ("TXT", "text"),
        ("PTR", "ns.example."),
        ("SOA", SOA),
        ("TYPE65280", r"\# 5 4142614320"),
    ],
)
def test_rfc6147_5_3_3_answers_of_other_types_are_the_servers_to_the_octet(type_: str, data: str, said: str) -> None:
    came: list[bytes] = []

    def give(octets: bytes, _tcp: bool) -> list[bytes]:
        lines = [f"{WWW} 60 IN {type_} {data}", AUTHORITY, "example. 60 IN NS ns.example."]
        made = reply(dns.message.from_wire(octets), lines if said == "data" else said)
        for kind, address in (("A", "192.0.2.53"), ("AAAA", "2001:db8::53")):
            made.additional.append(dns.rrset.from_text("ns.example.", 60, "IN", kind, address))
        came.append(made.to_wire())
        return came[-1:]

    with gateway({(WWW, type_): give}) as one:
        given = [one.octets(query(type_)) for _ in range(2)]
    end = wire.read_question(came[0]).end
    assert given[0][end:] == given[1][end:] == came[0][end:-11]
    assert {octets[3] & 15 for octets in given} == {came[0][3] & 15}


def test_rfc6147_5_4_the_aliases_of_an_empty_answer_are_given_with_it() -> None:
    lines = [*ALIASES, AUTHORITY, f"example. 300 IN SOA {SOA}"]
    with gateway({(WWW, "AAAA"): lines, (WWW, "A"): lines}) as one:
        found = one.ask(query())
        assert sum(map(len, found.answer)) == len(ALIASES)
        assert len(found.authority) == 1


@pytest.mark.parametrize("key", ["exclude_names", "force_names"])
def test_rfc6147_6_3_3_each_name_of_a_list_counts(key: str) -> None:
    names = ("one.example.", "two.example.", "three.example.")
    given = tuple(map(wire.name_of, names))
    policy = replace(POLICY, exclude_names=given) if key == "exclude_names" else replace(POLICY, force_names=given)
    real = key == "force_names"
    table: dict[tuple[str, str], object] = {}
    for name in (*names, "four.example."):
        table[name, "A"] = [f"{name} 60 IN A 192.0.2.1"]
        table[name, "AAAA"] = [f"{name} 60 IN AAAA 2001:db8::1"] if real else "NODATA"
    made, came = ["64:ff9b::c000:201"], ["2001:db8::1"] if real else []
    with gateway(table, policy) as one:
        assert [one.addresses(name=name) for name in names] == [made if real else came] * 3
        assert one.addresses(name="four.example.") == (came if real else made)


@pytest.mark.parametrize("length", [32, 40, 48, 56, 64, 96])
@pytest.mark.parametrize("ready", [True, False], ids=["ready", "not_ready"])
@pytest.mark.parametrize("makes", [True, False], ids=["makes", "makes_none"])
def test_rfc6147_5_3_1_reverse_names_do_not_wait_for_synthesis(length: int, ready: bool, makes: bool) -> None:
    """Of any address under the prefix, and of both well-known ones (RFC 8880 section 7.2.1)."""
    pool6 = IPv6Network(("2001:db8::", length))
    policy = Policy(EVERYBODY, ranges_for(pool6, [], None), synthesise=makes)
    with gateway({(REVERSE4, "PTR"): [f"{REVERSE4} 60 IN PTR {WWW}"]}, policy) as one:
        one.ready = ready
        for address, target in (("192.0.2.1", WWW), *((f"192.0.0.{n}", "ipv4only.arpa.") for n in (170, 171))):
            name = dns.reversename.from_address(str(embed(pool6, IPv4Address(address)))).to_text()
            assert one.ask(query("PTR", name)).answer[-1][0].to_text() == target
        assert one.asked() == [(REVERSE4, "PTR")]


def test_rfc3597_3_the_data_of_an_unknown_type_stay_also_behind_an_alias() -> None:
    data, end = r"\# 7 4142614320c00c", "end.example."
    table = {(WWW, "TYPE65280"): [f"{WWW} 60 IN CNAME {end}"], (end, "TYPE65280"): [f"{end} 60 IN TYPE65280 {data}"]}
    with gateway(table) as one:
        found = one.ask(query("TYPE65280"))
        assert [rrset.name.to_text() for rrset in found.answer] == [WWW, end]
        assert found.answer[-1][0].to_text() == data


@pytest.mark.parametrize("class_", [3, 4, 254, 255, 65280])
def test_rfc6147_5_1_no_class_but_in_is_treated_by_dns64(class_: int) -> None:
    """Neither synthetic records, nor names of ours, nor hidden addresses."""
    asked: list[tuple[int, int]] = []

    def note(octets: bytes, _tcp: bool) -> list[bytes]:
        question = wire.read_question(octets)
        asked.append((question.type, question.class_))
        return [reply(dns.message.from_wire(octets), "NOERROR").to_wire()]

    reverse = dns.reversename.from_address("64:ff9b::192.0.2.1").to_text()
    questions = ((WWW, "AAAA"), ("ipv4only.arpa.", "A"), ("ipv4only.arpa.", "AAAA"), (reverse, "PTR"))
    with gateway(dict.fromkeys(questions, note)) as one:
        for name, type_ in questions:
            given = one.ask(query(type_, name, rdclass=class_))
            assert (given.rcode(), given.answer) == (0, [])
    assert asked == [(dns.rdatatype.from_text(type_), class_) for _, type_ in questions]
    record = wire.Record(wire.name_of(WWW), wire.A, class_, 60, bytes(4))
    bare = without_ipv4(wire.Message(0, wire.QR, None, ([record, record._replace(class_=wire.IN)], [], []), None))
    assert bare.sections[0] == [record]


@pytest.mark.parametrize("rcode", ["FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "NOTAUTH"])
@pytest.mark.parametrize("finding", [Finding.EMPTY, Finding.EXCLUDED, Finding.FAILED])
def test_rfc6147_5_1_6_any_error_for_a_is_what_the_client_gets(rcode: str, finding: Finding) -> None:
    said = wire.read(reply(dns.message.make_query(WWW, "A"), rcode).to_wire())
    bare = basis(finding, said)
    assert bare is not None
    assert bare.rcode == dns.rcode.from_text(rcode)


@pytest.mark.parametrize("type_", ["TXT", "A", "AAAA"])
def test_rfc2181_9_a_truncated_answer_of_any_type_is_asked_for_again_by_tcp(type_: str) -> None:
    lines = {"TXT": [f'{WWW} 60 IN TXT "{n:0250}"' for n in range(40)]}.get(
        type_, [f"{WWW} 60 IN A 192.0.2.{number}" for number in range(200)]
    )
    with gateway({(WWW, "A" if type_ == "AAAA" else type_): lines}) as one:
        assert sum(map(len, one.ask(query(type_)).answer)) == len(lines)
