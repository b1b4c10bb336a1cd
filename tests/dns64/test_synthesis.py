"""RFC 6147 sections 5.1 to 5.5 as pure functions: what an AAAA and an A answer become."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import pairwise

import dns.message
import pytest

from nat64d.dns64.message import wire
from nat64d.dns64.rules.maps import Maps
from nat64d.dns64.rules.policy import MAPPED, Policy, Range, ranges_for
from nat64d.dns64.rules.synthesis import (
    SYNTHESISED,
    Finding,
    basis,
    look_at,
    signed_type,
    stops_at,
    synthesise,
    without_excluded,
)
from tests.dns64.zone import SOA, reply

POOL6 = IPv6Network("64:ff9b::/96")
LOCAL = IPv6Network("64:ff9b:1::/96")
ALL = (IPv6Network("::/0"),)
POLICY = Policy(ALL, ranges_for(POOL6, [IPv4Network("10.0.0.0/8")], LOCAL))
NAME = "www.example."


SIGNED = "A 8 2 60 20300101000000 20200101000000 1 example. AAAA"


def ask(type_: str) -> dns.message.Message:
    return dns.message.make_query(NAME, type_, use_edns=0)


def answer(type_: str, said: object) -> wire.Message:
    return wire.read(reply(ask(type_), list(said) if isinstance(said, list) else said).to_wire())


KEY = wire.name_of(NAME)


@pytest.mark.parametrize(
    ("said", "finding"),
    [
        ([f"{NAME} 60 IN AAAA 2001:db8::1"], Finding.USE),
        ([f"{NAME} 60 IN AAAA 2001:db8::1", f"{NAME} 60 IN AAAA ::ffff:192.0.2.1"], Finding.FILTER),
        ([f"{NAME} 60 IN AAAA ::ffff:192.0.2.1"], Finding.EXCLUDED),
        ([f"{NAME} 60 IN CNAME web.example."], Finding.EMPTY),
        ("NODATA", Finding.EMPTY),
        ("NXDOMAIN", Finding.ABSENT),
        ("SERVFAIL", Finding.FAILED),
        ("REFUSED", Finding.FAILED),
        ("FORMERR", Finding.FAILED),
        ("NOTIMP", Finding.FAILED),
        *((rcode, Finding.FAILED) for rcode in ("YXDOMAIN", "NOTAUTH", "BADVERS", "BADCOOKIE")),
        ([f"{NAME} 60 IN AAAA 2001:db8::1", "REFUSED"][::-1], Finding.FAILED),
    ],
)
def test_rfc6147_5_1_what_an_aaaa_answer_says_about_synthesis(said: object, finding: Finding) -> None:
    assert look_at(answer("AAAA", said), POLICY) is finding


def test_rfc6147_5_1_3_no_answer_counts_as_an_empty_one() -> None:
    assert look_at(None, POLICY) is Finding.FAILED


def made(aaaa: object, a: list[str], policy: Policy = POLICY) -> list[str]:
    message = synthesise(None if aaaa is None else answer("AAAA", aaaa), answer("A", a), policy)
    if message is None:
        return []
    return [line for rrset in dns.message.from_wire(wire.write(message)).answer for line in rrset.to_text().split("\n")]


def test_rfc6147_5_1_7_without_a_soa_record_a_shorter_ttl_stays() -> None:
    assert made("SERVFAIL", [f"{NAME} 60 IN A 192.0.2.1"]) == [f"{NAME} 60 IN AAAA 64:ff9b::c000:201"]


def test_rfc6147_5_1_1_all_of_ipv6_may_be_excluded() -> None:
    everything = Policy(ALL, POLICY.ranges, exclude=(IPv6Network("::/0"),))
    assert look_at(answer("AAAA", [f"{NAME} 60 IN AAAA 2001:db8::1"]), everything) is Finding.EXCLUDED


@pytest.mark.parametrize("there", ["AAAA", "A", "both"])
def test_rfc6147_5_1_5_an_alias_may_be_in_one_answer_only(there: str) -> None:
    alias = [f"{NAME} 60 IN CNAME web.example."]
    aaaa, a = [f"example. 300 IN SOA {SOA}"], [f"{NAME if there == 'AAAA' else 'web.example.'} 60 IN A 192.0.2.1"]
    aaaa, a = (alias if there != "A" else []) + aaaa, (alias if there != "AAAA" else []) + a
    expected = [line.replace(" A 192.0.2.1", " AAAA 64:ff9b::c000:201") for line in a]
    assert made(aaaa, a) == expected


def test_rfc6147_5_1_5_aliases_are_followed_whatever_their_letters() -> None:
    alias = wire.Record(wire.name_of("wWw.example"), wire.CNAME, wire.IN, 60, wire.name_of("web.EXAMPLE"))
    last = wire.Record(wire.name_of("Web.example"), wire.A, wire.IN, 60, IPv4Address("192.0.2.1").packed)
    message = synthesise(None, answer("A", "NODATA")._replace(sections=([alias, last], [], [])), POLICY)
    assert message is not None
    assert [record.name for record in message.sections[0]] == [alias.name, last.name]


def test_rfc6147_5_1_6_each_a_record_becomes_one_aaaa_record() -> None:
    message = synthesise(answer("AAAA", "NODATA"), answer("A", [f"{NAME} 60 IN A 192.0.2.{k}" for k in (1, 2)]), POLICY)
    assert message is not None
    expected = [IPv6Address(f"64:ff9b::192.0.2.{k}").packed for k in (1, 2)]
    assert sorted(message.sections[0]) == [wire.Record(KEY, wire.AAAA, wire.IN, 60, data) for data in expected]


def test_rfc6147_5_1_5_aliases_stay_and_the_record_is_at_their_end() -> None:
    chain = [
        f"{NAME} 60 IN CNAME a.example.",
        "example. 60 IN DNAME example.net.",
        "a.example. 60 IN CNAME a.example.net.",
    ]
    lines = made([*chain[:1], f"example. 300 IN SOA {SOA}"], [*chain, "a.example.net. 50 IN A 192.0.2.1"])
    assert lines == [*chain, "a.example.net. 50 IN AAAA 64:ff9b::c000:201"]


ELSEWHERE = "bank.example. 60 IN"


@pytest.mark.parametrize(
    "beside",
    [
        [f"{ELSEWHERE} A 203.0.113.66"],
        [f"{ELSEWHERE} CNAME www.example.", "evil.example. 60 IN A 203.0.113.66"],
        [f"{ELSEWHERE} AAAA 64:ff9b::cb00:7142", "example.net. 60 IN DNAME example."],
        [f"{NAME} 60 HS A \\# 4 cb007142"],
        [f"{NAME} 60 IN AAAA 2001:db8::bad"],
    ],
)
def test_rfc5452_6_records_that_answer_no_question_are_not_made_into_an_answer(beside: list[str]) -> None:
    lines = made("NODATA", [*beside, f"{NAME} 60 IN A 192.0.2.1", *beside])
    assert lines == [f"{NAME} 60 IN AAAA 64:ff9b::c000:201"]
    assert made("NODATA", beside) == []


def test_rfc5452_6_an_aaaa_record_of_another_name_is_no_answer() -> None:
    assert look_at(answer("AAAA", [f"{ELSEWHERE} AAAA 2001:db8::bad"]), POLICY) is Finding.EMPTY


@pytest.mark.parametrize(("length", "found"), [(0, True), (16, True), (17, False), (3000, False)])
def test_aliases_are_followed_so_far_and_never_in_circles(length: int, found: bool) -> None:
    names = [wire.name_of(f"n{k}.example") for k in range(length)]
    steps = [KEY, *names]
    aliases = [wire.Record(a, wire.CNAME, wire.IN, 60, b) for a, b in pairwise(steps)]
    deep = [wire.Record(wire.name_of("example"), wire.DNAME, wire.IN, 60, wire.name_of("example"))] * length
    last = wire.Record(steps[-1], wire.A, wire.IN, 60, IPv4Address("192.0.2.1").packed)
    empty = answer("A", "NODATA")
    whole = empty._replace(sections=([*deep, *reversed(aliases), last], [], []))
    assert (synthesise(None, whole, POLICY) is not None) is found
    circle = empty._replace(sections=([*aliases, last._replace(type=wire.CNAME, data=KEY)], [], []))
    assert synthesise(None, circle, POLICY) is None


ALIAS = f"{NAME} 60 IN CNAME b.example."


@pytest.mark.parametrize(
    ("said", "target"),
    [
        ([ALIAS], "b.example."),
        ([ALIAS, "b.example. 60 IN CNAME c.example."], "c.example."),
        ([ALIAS, "c.example. 60 IN AAAA 2001:db8::bad"], "b.example."),
        ([ALIAS, "b.example. 60 IN AAAA 2001:db8::1"], None),
        ([ALIAS, f"example. 120 IN SOA {SOA}"], None),
        ([ALIAS, "AUTHORITY", "example. 120 IN NS ns.example."], "b.example."),
        ([ALIAS, f"b.example. 60 IN CNAME {NAME}"], None),
        ([f"{NAME} 60 IN CNAME {NAME}"], None),
        (["b.example. 60 IN CNAME c.example."], None),
        ("NODATA", None),
        ("NXDOMAIN", None),
        ("SERVFAIL", None),
    ],
)
def test_rfc1034_5_3_3_an_answer_stops_at_an_alias(said: object, target: str | None) -> None:
    assert stops_at(answer("AAAA", said)) == (wire.name_of(target) if target else None)


@pytest.mark.parametrize("soa", [[f"example. 120 IN SOA {SOA}"], []], ids=["SOA", ""])
@pytest.mark.parametrize("ns", [["example. 120 IN NS ns.example."], []], ids=["NS", ""])
@pytest.mark.parametrize("alias", [[ALIAS], []], ids=["CNAME", ""])
def test_rfc2308_2_1_a_name_error_is_one_whatever_stands_beside_it(
    alias: list[str], ns: list[str], soa: list[str]
) -> None:
    said = answer("AAAA", ["NXDOMAIN", *alias, "AUTHORITY", *ns, *soa])
    assert (look_at(said, POLICY), stops_at(said)) == (Finding.ABSENT, None)


def test_a_query_for_cname_is_answered_by_the_alias() -> None:
    assert [stops_at(answer(type_, [ALIAS])) for type_ in ("CNAME", "ANY")] == [None, None]


@pytest.mark.parametrize(
    ("aaaa", "ttl"),
    [
        ([f"example. 120 IN SOA {SOA}"], 120),
        ([f"example. 5000 IN SOA {SOA}"], 3600),
        (["AUTHORITY", "example. 5 IN NS ns.example.", f"example. 120 IN SOA {SOA}"], 120),
        ("SERVFAIL", 600),
        (None, 600),
        ([f"{NAME} 60 IN AAAA ::ffff:192.0.2.1"], 600),
        ([f"{NAME} 60 IN CNAME web.example."], 600),
    ],
)
def test_rfc6147_5_1_7_the_ttl_is_the_lesser_of_the_a_record_and_the_soa(aaaa: object, ttl: int) -> None:
    assert made(aaaa, [f"{NAME} 3600 IN A 192.0.2.1"]) == [f"{NAME} {ttl} IN AAAA 64:ff9b::c000:201"]


@pytest.mark.parametrize("addr4", ["127.0.0.1", "169.254.1.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"])
def test_what_is_no_host_of_the_network_gets_no_record(addr4: str) -> None:
    assert made("NODATA", [f"{NAME} 60 IN A {addr4}"]) == []


def test_rfc8215_a_private_address_goes_under_the_local_prefix() -> None:
    assert made("NODATA", [f"{NAME} 60 IN A 10.0.0.1"]) == [f"{NAME} 60 IN AAAA 64:ff9b:1::a00:1"]


def test_rfc6052_3_1_or_nowhere_if_there_is_none() -> None:
    policy = Policy(ALL, ranges_for(POOL6, [IPv4Network("10.0.0.0/8")], None))
    assert made("NODATA", [f"{NAME} 60 IN A 10.0.0.1"], policy) == []


def test_the_first_range_that_covers_decides() -> None:
    policy = Policy(ALL, (Range(IPv4Network("192.0.2.1/32"), None), Range(IPv4Network("0.0.0.0/0"), POOL6)))
    records = [wire.Record(KEY, wire.A, wire.IN, 60, bytes([192, 0, 2, k])) for k in (1, 2)]
    for given in (records, records[::-1]):
        message = synthesise(None, answer("A", "NODATA")._replace(sections=(given, [], [])), policy)
        assert message is not None
        assert [IPv6Address(record.data) for record in message.sections[0]] == [IPv6Address("64:ff9b::192.0.2.2")]


def test_rfc6147_5_1_4_excluded_records_go_one_by_one() -> None:
    alias, excluded = f"{NAME} 60 IN CNAME b.example.", "b.example. 60 IN AAAA ::ffff:192.0.2.1"
    signed = [f"{NAME} 60 IN RRSIG CNAME{SIGNED[1:]}", f"b.example. 60 IN RRSIG AAAA{SIGNED[1:]}"]
    aaaa = answer("AAAA", [alias, "b.example. 60 IN AAAA 2001:db8::1", excluded, *signed])
    kept = without_excluded(aaaa._replace(flags=aaaa.flags | wire.AD), POLICY)
    left = [(record.type, record.data) for record in kept.sections[0]]
    assert left[:2] == [(wire.CNAME, wire.name_of("b.example")), (wire.AAAA, IPv6Address("2001:db8::1").packed)]
    assert [signed_type(record) for record in kept.sections[0][2:]] == [wire.CNAME]  # not of the whole set any more
    assert not kept.flags & wire.AD


def test_rfc6147_5_5_signatures_and_ad_do_not_stay_on_a_synthetic_answer() -> None:
    a = answer("A", [f"{NAME} 60 IN A 192.0.2.1", f"{NAME} 60 IN RRSIG {SIGNED}"])
    message = synthesise(answer("AAAA", "NODATA"), a._replace(flags=a.flags | wire.AD), POLICY)
    assert message is not None
    assert not message.flags & wire.AD
    assert [record.type for record in message.sections[0]] == [wire.AAAA]


REAL = [f"{NAME} 60 IN AAAA 2001:db8::1"]
ALIASED = [f"{NAME} 60 IN CNAME web.example.", "web.example. 60 IN AAAA 2001:db8::1"]


@pytest.mark.parametrize(
    ("forced", "excluded", "said", "finding"),
    [
        ((), (), REAL, Finding.USE),
        (("www.example",), (), REAL, Finding.EXCLUDED),
        (("example",), (), REAL, Finding.EXCLUDED),
        (("ww.example",), (), REAL, Finding.USE),
        (("example",), ("www.example",), REAL, Finding.USE),
        (("web.example",), (), ALIASED, Finding.EXCLUDED),
        (("www.example",), (), ALIASED, Finding.EXCLUDED),
    ],
)  # fmt: skip
def test_names_whose_own_records_are_dropped_and_names_that_are_spared(
    forced: tuple[str, ...], excluded: tuple[str, ...], said: list[str], finding: Finding
) -> None:
    names = [tuple(map(wire.name_of, some)) for some in (excluded, forced)]
    assert look_at(answer("AAAA", said), Policy(ALL, POLICY.ranges, (MAPPED,), *names)) is finding


def test_a_name_that_is_spared_is_so_as_the_target_of_an_alias_too() -> None:
    policy = Policy(ALL, POLICY.ranges, exclude_names=(wire.name_of("web.example"),))
    assert policy.spares(wire.name_of("a.web.example"))
    assert not policy.spares(KEY)
    assert made("NODATA", [f"{NAME} 60 IN CNAME web.example.", "web.example. 60 IN A 192.0.2.1"], policy) == []


def test_rfc4343_names_are_the_same_whatever_their_letters() -> None:
    aaaa = in_other_letters(answer("AAAA", ALIASED))
    assert stops_at(aaaa) is None
    assert look_at(aaaa, Policy(ALL, POLICY.ranges, force_names=(wire.name_of("web.example"),))) is Finding.EXCLUDED
    a = in_other_letters(answer("A", [ALIASED[0], "web.example. 60 IN A 192.0.2.1"]))
    assert synthesise(None, a, POLICY) is not None
    assert synthesise(None, a, Policy(ALL, POLICY.ranges, exclude_names=(wire.name_of("web.example"),))) is None


def in_other_letters(message: wire.Message) -> wire.Message:
    """The same with the name of its last record in other letters; dnspython would compress it, and lose them."""
    *before, last = message.sections[0]
    return message._replace(sections=([*before, last._replace(name=last.name.swapcase())], *message.sections[1:]))


@pytest.mark.parametrize("code", range(30))
def test_rfc6147_5_5_an_answer_that_failed_validation_does_not_count_as_empty(code: int) -> None:
    errors = b"".join(map(wire.extended_error, (0, code, 22)))  # one of several
    forged = answer("AAAA", "SERVFAIL")._replace(edns=wire.Edns(1232, 0, 0, False, errors))
    assert look_at(forged, POLICY) is (Finding.BOGUS if 6 <= code <= 12 else Finding.FAILED)  # RFC 8914 section 4


@pytest.mark.parametrize("rcode", ["REFUSED", "FORMERR", "NOTAUTH"])
def test_rfc6147_5_1_2_another_error_is_one_whatever_its_extended_error(rcode: str) -> None:
    said = answer("AAAA", rcode)._replace(edns=wire.Edns(1232, 0, 0, False, wire.extended_error(6)))
    assert look_at(said, POLICY) is Finding.FAILED


def test_rfc6147_5_4_aliases_keep_their_signatures_and_the_other_sections_all() -> None:
    a = answer(
        "A",
        [
            f"{NAME} 60 IN CNAME web.example.",
            f"{NAME} 60 IN RRSIG CNAME{SIGNED[1:]}",
            "web.example. 60 IN A 192.0.2.1",
            f"web.example. 60 IN RRSIG {SIGNED}",
        ],
    )
    rest = [wire.Record(KEY, type_, 1, 60, bytes(20)) for type_ in (wire.RRSIG, wire.NSEC, wire.A)]
    a.sections[1].extend(rest)
    a.sections[2].extend(rest)
    message = synthesise(answer("AAAA", "NODATA"), a._replace(flags=a.flags | wire.AD), POLICY)
    assert message is not None
    assert message.sections[0][:-1] == a.sections[0][:2]
    assert message.sections[0][-1].type == wire.AAAA
    assert message.sections[1:] == (rest, rest)
    assert not message.flags & wire.AD


def test_rfc6147_5_3_2_addresses_in_the_additional_section_are_not_translated() -> None:
    a = answer("A", [f"{NAME} 60 IN A 192.0.2.1"])
    a.sections[2].append(wire.Record(wire.name_of("ns.example"), wire.A, 1, 60, bytes([192, 0, 2, 9])))
    message = synthesise(answer("AAAA", "NODATA"), a, POLICY)
    assert message is not None
    assert message.sections[2] == a.sections[2]


def test_rfc6147_5_3_2_the_other_sections_are_unchanged_also_where_records_are_left_out() -> None:
    rest = [wire.Record(KEY, type_, 1, 60, bytes(16)) for type_ in (wire.RRSIG, wire.A, wire.AAAA)]
    aaaa = answer("AAAA", [f"{NAME} 60 IN AAAA 2001:db8::1", f"{NAME} 60 IN AAAA ::ffff:192.0.2.1"])
    a = answer("A", [f"{NAME} 60 IN A 127.0.0.1"])
    for one in (aaaa, a):
        one.sections[1].extend(rest)
        one.sections[2].extend(rest)
    for found in (without_excluded(aaaa, POLICY), basis(Finding.FAILED, a)):
        assert found is not None
        assert found.sections[1:] == (rest, rest)


ERRORS = {"NXDOMAIN": wire.NXDOMAIN, "SERVFAIL": wire.SERVFAIL}


@pytest.mark.parametrize(
    ("aaaa", "a", "expected"),
    [
        ("NODATA", "NODATA", None),
        ("NODATA", [f"{NAME} 60 IN A 127.0.0.1"], None),
        ("NODATA", "SERVFAIL", wire.SERVFAIL),
        ("NODATA", "NXDOMAIN", wire.NXDOMAIN),
        *(("NODATA", [rcode, f"{NAME} 60 IN A 192.0.2.1"], number) for rcode, number in ERRORS.items()),
        ("SERVFAIL", "NODATA", wire.NOERROR),
        ("SERVFAIL", [f"{NAME} 60 IN A 127.0.0.1"], wire.NOERROR),
        ("SERVFAIL", "REFUSED", wire.REFUSED),
        ([f"{NAME} 60 IN AAAA ::ffff:192.0.2.1"], "NODATA", wire.NOERROR),
    ],
)
def test_rfc6147_5_1_an_empty_or_failed_a_answer_is_the_basis(aaaa: object, a: object, expected: int | None) -> None:
    empty, other = answer("AAAA", aaaa), answer("A", a)
    assert synthesise(empty, other, POLICY) is None
    found = basis(look_at(empty, POLICY), other)
    assert (found.rcode if found else None) == expected
    assert found is None or found.sections[0] == []


def test_rfc6147_5_5_what_is_left_of_an_a_answer_is_neither_signed_nor_authentic() -> None:
    alias = [f"{NAME} 60 IN CNAME b.example.", f"{NAME} 60 IN RRSIG CNAME{SIGNED[1:]}"]
    a = answer("A", [*alias, "b.example. 60 IN A 127.0.0.1", f"b.example. 60 IN RRSIG {SIGNED}"])
    found = basis(Finding.FAILED, a._replace(flags=a.flags | wire.AD))
    assert found is not None
    assert [signed_type(record) or record.type for record in found.sections[0]] == [wire.CNAME, wire.CNAME]
    assert not found.flags & wire.AD


MAPS = Maps.of([("198.51.100.0/24", "2001:db8:1::/120")])


def test_dns46_aaaa_records_become_a_records_by_the_mappings() -> None:
    policy = Policy(ALL, (), maps=MAPS)
    lines = [f"{NAME} 900 IN AAAA 2001:db8:1::10", f"{NAME} 900 IN AAAA 2001:db8:2::10"]
    message = synthesise(answer("A", "NODATA"), answer("AAAA", lines), policy)
    assert message is not None
    assert message.sections[0] == [wire.Record(KEY, wire.A, 1, 300, bytes([198, 51, 100, 16]))]


def test_rfc8914_the_option_that_says_synthesized() -> None:
    assert wire.extended_error(SYNTHESISED) == bytes.fromhex("000f0002001d")
