"""What the resolver caches, for which clients, for how long, and what it does when no server has an answer."""

from dataclasses import replace
from ipaddress import IPv6Network, ip_network
from itertools import pairwise

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.reversename
import dns.rrset
import pytest

from nat64d.dns64.message import wire
from nat64d.dns64.message.reply import FAILED_FOR, STALE_FOR, STALE_TTL, reply_of
from nat64d.dns64.resolver import ALIASES
from nat64d.dns64.rules.policy import Policy, ranges_for
from nat64d.dns64.upstreams import race
from nat64d.dns64.upstreams.upstream import Got
from tests.dns64.gateway import POLICY, WWW, addresses, errors, gateway, query, silent
from tests.dns64.zone import SOA, reply

A, AAAA, MX = (WWW, "A"), (WWW, "AAAA"), (WWW, "MX")
ONLY_A = {A: [f"{WWW} 60 IN A 192.0.2.1"], AAAA: [f"example. 300 IN SOA {SOA}"]}
MADE = ["64:ff9b::c000:201"]
OTHER = Policy(
    (ip_network("2001:db8:10::/48"), ip_network("10.0.0.0/8")), ranges_for(IPv6Network("2001:db8:64::/96"), [], None)
)


def test_an_a_answer_that_is_kept_is_what_is_synthesised_from() -> None:
    with gateway(ONLY_A) as one:
        assert one.addresses("A") == ["192.0.2.1"]
        one.asked()
        one.clock += 20
        answer = one.ask(query())
        assert (addresses(answer), answer.answer[0].ttl) == (MADE, 40)
        assert one.asked() == [AAAA]


def test_what_synthesis_asked_for_is_kept_for_others() -> None:
    with gateway(ONLY_A, POLICY, OTHER) as one:
        assert one.addresses() == MADE
        one.asked()
        assert one.addresses("A") == ["192.0.2.1"]
        assert one.addresses(client="10.0.0.1") == ["2001:db8:64::c000:201"]
        assert one.asked() == []
        assert (one.count("cached"), one.count("synthesised")) == (1, 2)


def test_a_synthetic_answer_is_kept_for_its_policy_and_falls_with_time() -> None:
    with gateway(ONLY_A) as one:
        one.ask(query())
        one.clock += 59
        answer = one.ask(query(name="WWW.example."))
        assert (addresses(answer), answer.answer[0].ttl) == (MADE, 1)
        one.asked()
        one.clock += 1
        assert one.addresses() == MADE
        assert one.asked() == [A]  # the negative AAAA answer is good for another minute


def test_what_is_synthetic_is_out_of_reach_while_nothing_is_translated() -> None:
    with gateway(ONLY_A) as one:
        assert one.addresses() == MADE
        one.ready = False
        assert one.addresses() == []
        assert one.addresses() == []
        one.ready = True
        assert one.addresses() == MADE
        one.zone.table[A] = "SERVFAIL"
        one.clock += 60
        one.ready = False
        assert one.addresses() == []
        assert one.ask(query()).rcode() == wire.NOERROR  # nor is it used after its time


def test_simultaneous_queries_for_one_question_are_asked_once() -> None:
    with gateway(ONLY_A) as one:
        answers = one.together([query(), query(), query("A"), query(want_dnssec=True)])
        assert [addresses(answer) for answer in answers] == [MADE, MADE, ["192.0.2.1"], MADE]
        assert one.asked() == [A, A, AAAA, AAAA]
    with gateway(ONLY_A, OTHER, POLICY) as one:
        one.together([query(), query(name="WWW.example."), query("A")], "10.0.0.1", "127.0.0.1", "2001:db8::1")
        assert one.asked() == [A, AAAA]


@pytest.mark.parametrize("options", [{}, {"use_edns": 0}, {"use_edns": 0, "payload": 4096}])
@pytest.mark.parametrize(
    ("type_", "lines"),
    [
        ("MX", [f"{WWW} 60 IN MX 10 mail.{WWW}", f"{WWW} 60 IN MX 20 other.{WWW}"]),
        ("A", [f"{WWW} 60 IN CNAME web.{WWW}", f"web.{WWW} 60 IN A 192.0.2.1"]),
        ("TYPE65280", [f"{WWW} 60 IN TYPE65280 \\# 4 01020304", "AUTHORITY", f"{WWW} 60 IN NS ns.{WWW}"]),
    ],
)
def test_a_relayed_answer_is_the_servers_to_the_octet_the_first_time_and_from_the_cache(
    type_: str, lines: list[str], options: dict
) -> None:
    came: list[bytes] = []

    def answer(octets: bytes, _tcp: bool) -> list[bytes]:
        made = reply(dns.message.from_wire(octets), lines)
        made.additional.append(dns.rrset.from_text(f"mail.{WWW}", 60, "IN", "A", "192.0.2.9"))
        came.append(made.to_wire())
        return [came[-1]]

    with gateway({(WWW, type_): answer}) as one:
        asked = query(type_, **options)
        first, second = one.octets(asked), one.octets(asked)
    end = wire.read_question(came[0]).end
    assert len(came) == 1
    assert first == second
    assert first[end:].startswith(came[0][end:-11])
    assert len(first) == len(came[0]) - (0 if options else 11)


@pytest.mark.parametrize("said", [[f"{WWW} 60 IN MX 10 mail.example."], "NODATA", "NXDOMAIN", "SERVFAIL"])
def test_rfc1035_4_1_1_what_an_authority_said_is_not_said_with_authority(said: object) -> None:
    def answer(octets: bytes, _tcp: bool) -> list[bytes]:
        made = reply(dns.message.from_wire(octets), list(said) if isinstance(said, list) else said)
        made.flags |= dns.flags.AA
        return [made.to_wire()]

    with gateway({MX: answer}) as one:
        for _ in range(2):
            assert not one.ask(query("MX")).flags & dns.flags.AA


def test_an_answer_that_has_just_come_ages_as_well() -> None:
    octets = reply(query("A"), [f"{WWW} 60 IN A 192.0.2.1"]).to_wire()
    read = wire.read(octets)
    got = Got(reply_of(octets, read, False, 100.0), read)
    assert [got.message(now).sections[0][0].ttl for now in (100.0, 100.9, 101.0, 102.5)] == [60, 60, 59, 58]


@pytest.mark.parametrize(("said", "rcode"), [("NXDOMAIN", wire.NXDOMAIN), ("NODATA", wire.NOERROR)])
@pytest.mark.parametrize("type_", ["MX", "A", "AAAA"])
def test_rfc2308_5_a_negative_answer_is_kept_by_its_soa_record(type_: str, said: str, rcode: int) -> None:
    with gateway({(WWW, "A"): said, (WWW, "AAAA"): said, MX: said}, replace(POLICY, synthesise=False)) as one:
        for later, asked in [(0, 1), (119, 0), (1, 1)]:
            one.clock += later
            answer = one.ask(query(type_))
            assert (answer.rcode(), answer.answer) == (rcode, [])
            assert len(one.asked()) == asked


@pytest.mark.parametrize(
    ("first", "then", "table"),
    [
        (
            query("MX", "web.example."),
            query("MX"),
            {MX: [f"{WWW} 3600 IN CNAME web.example."], ("web.example.", "MX"): "NODATA"},
        ),
        (query("A"), query("AAAA"), {A: "NXDOMAIN", AAAA: "NODATA"}),
        (query("A"), query("AAAA"), {A: "NODATA", AAAA: "SERVFAIL"}),
    ],
    ids=["behind an alias", "in place of no data", "in place of an error"],
)
def test_rfc2308_5_nor_is_it_longer_as_a_part_of_another_answer(
    first: dns.message.Message, then: dns.message.Message, table: dict
) -> None:
    """SOA has TTL 300 and MINIMUM 120, which does not fall."""
    with gateway(table) as one:
        one.ask(first)
        for later, asked_again in ((100, False), (19, False), (1, True)):
            one.clock += later
            one.asked()
            one.ask(then)
            (question,) = first.question
            assert ((str(question.name), dns.rdatatype.to_text(question.rdtype)) in one.asked()) is asked_again


def test_rfc2308_5_no_data_is_kept_for_name_type_and_class() -> None:
    with gateway({MX: "NODATA"}) as one:
        one.zone.table["web.example.", "MX"] = "NODATA"
        for name, type_, class_, asked in [
            (WWW, "MX", "IN", 1),
            (WWW, "MX", "IN", 0),
            (WWW, "TXT", "IN", 1),
            (WWW, "MX", "CH", 1),
            ("web.example.", "MX", "IN", 1),
        ]:
            answer = one.ask(dns.message.make_query(name, type_, class_))
            assert (answer.rcode(), answer.answer, len(one.asked())) == (wire.NOERROR, [], asked)


@pytest.mark.parametrize("said", ["NXDOMAIN", "NOERROR"])
def test_rfc2308_6_a_negative_answer_from_the_cache_has_the_authority_section_of_the_servers(said: str) -> None:
    lines = [
        f"example. 100 IN SOA {SOA}",
        "example. 200 IN NS ns.example.",
        f"{WWW} 300 IN NSEC x.example. A RRSIG NSEC",
        f"{WWW} 300 IN RRSIG NSEC 8 2 300 20300101000000 20200101000000 1 example. AAAA",
    ]
    with gateway({MX: [said, "AUTHORITY", *lines]}) as one:
        for age in (0, 99):
            one.clock += age
            answer = one.ask(query("MX", want_dnssec=True))
            assert [(rrset.rdtype, rrset.ttl) for rrset in answer.authority] == [
                (wire.SOA, 100 - age),
                (wire.NS, 200 - age),
                (wire.NSEC, 300 - age),
                (wire.RRSIG, 300 - age),
            ]
        assert one.asked() == [MX]


ERRORS = ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "NOTAUTH"]


def unreadable(octets: bytes, _tcp: bool) -> list[bytes]:
    made = reply(dns.message.from_wire(octets), [f"{WWW} 60 IN MX 10 mail.example."]).to_wire()
    return [made[:-11] + made[-10:]]


@pytest.mark.parametrize("type_", ["MX", "A", "AAAA"])
@pytest.mark.parametrize("said", [*ERRORS, "BADVERS", silent, unreadable])
def test_rfc9520_3_2_a_failure_is_kept_for_a_few_seconds(said: object, type_: str) -> None:
    with gateway(dict.fromkeys((MX, A, AAAA), said)) as one:
        for later, asked in [(0, True), (FAILED_FOR - 1, False), (1, True), (FAILED_FOR - 1, False)]:
            one.clock += later
            answer = one.ask(query(type_, use_edns=0))
            assert dns.rcode.to_text(answer.rcode()) == (said if said in ERRORS else "SERVFAIL")
            assert bool(one.asked()) is asked
            assert 3 not in errors(answer)  # it is no answer that may be used after its time
        assert one.count("stale") == 0


def test_rfc9520_3_2_aliases_without_an_end_are_such_a_failure() -> None:
    names = [f"n{number}.example." for number in range(ALIASES + 3)]
    with gateway({(a, "MX"): [f"{a} 60 IN CNAME {b}"] for a, b in pairwise(names)}) as one:
        for later, asked in [(0, True), (FAILED_FOR - 1, False), (1, True)]:
            one.clock += later
            assert one.ask(query("MX", names[0])).rcode() == wire.SERVFAIL
            assert bool(one.asked()) is asked


@pytest.mark.parametrize("said", [*ERRORS, silent])
def test_rfc8767_5_an_expired_answer_is_used_when_no_server_has_one(said: object) -> None:
    with gateway(ONLY_A) as one:
        one.ask(query())
        one.zone.table = {A: said, AAAA: said}
        one.clock += 3600
        answer = one.ask(query(use_edns=0))
        assert (addresses(answer), answer.answer[0].ttl, errors(answer)) == (MADE, STALE_TTL, [29, 3])
        assert one.count("stale") == 1
        one.asked()
        one.clock += STALE_TTL - 1
        assert one.addresses() == MADE
        assert one.asked() == []  # RFC 8767 section 5: not tried again for half a minute
        one.zone.table = dict(ONLY_A)
        one.clock += 1
        assert errors(one.ask(query(use_edns=0))) == [29]
        one.asked()
        assert errors(one.ask(query(use_edns=0))) == [29]  # from the cache again
        assert one.asked() == []


def test_rfc8767_5_an_answer_that_comes_too_late_is_cached() -> None:
    said: list[bytes] = []

    def late(octets: bytes, _tcp: bool) -> list[bytes]:
        said.append(octets)
        return []

    with gateway({MX: [f"{WWW} 60 IN MX 10 old.example."]}) as one:
        (server,) = one.upstreams.all
        one.ask(query("MX"))
        one.zone.table[MX] = late
        one.clock += 60
        server.silent = race.DOWN
        assert errors(one.ask(query("MX", use_edns=0))) == [3]
        one.answer_late(reply(dns.message.from_wire(said[0]), [f"{WWW} 60 IN MX 10 new.example."]).to_wire())
        answer = one.ask(query("MX", use_edns=0))
        assert (str(answer.answer[0][0]), errors(answer)) == ("10 new.example.", [])


def test_rfc8767_5_an_expired_answer_is_used_for_a_day_at_most() -> None:
    with gateway(ONLY_A) as one:
        one.ask(query())
        one.zone.table = {A: "SERVFAIL", AAAA: "SERVFAIL"}
        for later, rcode in ((3600, wire.NOERROR), (60 + STALE_FOR - 3600, wire.SERVFAIL)):
            one.clock += later
            assert one.ask(query()).rcode() == rcode


def test_rfc8767_4_a_name_error_replaces_an_expired_answer() -> None:
    with gateway({MX: [f"{WWW} 60 IN MX 10 mail.example."]}) as one:
        one.ask(query("MX"))
        one.clock += 60
        one.zone.table = {MX: "NXDOMAIN"}
        assert one.ask(query("MX")).rcode() == wire.NXDOMAIN
        one.zone.table = {MX: "SERVFAIL"}
        one.clock += 120
        answer = one.ask(query("MX", use_edns=0))
        assert (answer.rcode(), errors(answer)) == (wire.NXDOMAIN, [19])


def test_rfc8767_7_what_an_alias_took_the_place_of_is_not_used_after_its_time() -> None:
    with gateway({A: [f"{WWW} 60 IN A 192.0.2.1"]}) as one:
        one.ask(query("A"))
        one.zone.table = {A: [f"{WWW} 60 IN CNAME web.example.", "web.example. 60 IN A 192.0.2.2"]}
        one.clock += 60
        one.ask(query("A"))
        one.zone.table = {A: "SERVFAIL"}
        one.clock += 60
        answer = one.ask(query("A", use_edns=0))
        assert (addresses(answer), errors(answer)) == (["192.0.2.2"], [3])


def test_what_one_policy_answers_itself_is_no_answer_of_another() -> None:
    name = dns.reversename.from_address("2001:db8:64::c000:201").to_text()
    reverse4 = "1.2.0.192.in-addr.arpa."
    table = {(name, "PTR"): "NXDOMAIN", (reverse4, "PTR"): [f"{reverse4} 60 IN PTR {WWW}"]}
    with gateway(table, replace(POLICY, clients=POLICY.clients[1:]), OTHER) as one:
        assert one.ask(query("PTR", name), "2001:db8::1").rcode() == wire.NXDOMAIN
        for _ in range(2):
            assert [str(rrset[0]) for rrset in one.ask(query("PTR", name), "10.0.0.1").answer] == [reverse4, WWW]
        assert one.ask(query("PTR", name), "2001:db8::1").rcode() == wire.NXDOMAIN


@pytest.mark.parametrize("type_", ["A", "AAAA"])
def test_rfc7050_4_the_records_of_ipv4only_arpa_hold_an_hour_also_a_day_later(type_: str) -> None:
    with gateway({}) as one:
        for later in (0, 3599, 82800, 1, 82801):
            one.clock += later
            assert one.ask(query(type_, "ipv4only.arpa.")).answer[0].ttl >= 3600
        assert one.asked() == []


WEB = {("web.example.", "A"): ["web.example. 60 IN A 192.0.2.1"], ("web.example.", "AAAA"): ONLY_A[AAAA]}
ALIAS = [f"{WWW} 60 IN CNAME web.example."]


def test_what_a_spared_name_leads_to_is_spared_too_and_nothing_made_is_kept_for_all() -> None:
    sparing = replace(OTHER, exclude_names=(wire.name_of(WWW),))
    with gateway({A: ALIAS, AAAA: ALIAS} | WEB, sparing, POLICY) as one:
        for client, expected in [("10.0.0.1", []), ("127.0.0.1", MADE), ("10.0.0.1", [])]:
            assert one.addresses(client=client) == expected
        assert one.addresses(name="web.example.", client="10.0.0.1") == ["2001:db8:64::c000:201"]


def test_an_answer_made_while_translation_ended_is_not_kept() -> None:
    with gateway(WEB) as one:

        def ends(octets: bytes, _tcp: bool) -> list[bytes]:
            one.ready = False
            return [reply(dns.message.from_wire(octets), ALIAS).to_wire()]

        one.zone.table[AAAA] = one.zone.table[A] = ends
        assert one.addresses() == []
        one.ready = True
        one.zone.table[AAAA] = one.zone.table[A] = ALIAS
        assert one.addresses() == MADE


def test_other_policies_are_other_answers_at_once() -> None:
    with gateway(ONLY_A) as one:
        assert one.addresses() == MADE
        one.resolver.use([replace(POLICY, ranges=OTHER.ranges)])
        assert one.addresses() == ["2001:db8:64::c000:201"]
        one.resolver.use([OTHER])
        assert one.ask(query()).rcode() == wire.REFUSED


def test_a_query_that_waits_is_answered_by_the_policy_it_came_under() -> None:
    with gateway(ONLY_A) as one:
        _, parsed, number = one.at_once(query())
        one.resolver.use([replace(POLICY, synthesise=False)])
        assert parsed is not None
        assert addresses(one.resolve(parsed, number)) == MADE
        assert one.addresses() == []


@pytest.mark.parametrize("type_", ["MX", "AAAA"])
@pytest.mark.parametrize("second", [dns.flags.CD, 0])
@pytest.mark.parametrize("first", [dns.flags.CD, 0])
def test_rfc4035_3_2_2_answers_with_checking_disabled_are_kept_apart(first: int, second: int, type_: str) -> None:
    with gateway({MX: [f"{WWW} 60 IN MX 10 mail.example."], AAAA: [f"{WWW} 60 IN AAAA 2001:db8::1"]}) as one:
        one.ask(query(type_, flags=first))
        one.ask(query(type_, flags=second))
        assert one.asked().count((WWW, type_)) == (1 if first == second else 2)


@pytest.mark.parametrize("type_", ["MX", "A", "AAAA"])
def test_rfc4035_3_2_2_a_failure_is_kept_apart_too(type_: str) -> None:
    """It may be one of validation (RFC 6840 section 5.9)."""
    data = {"MX": "10 mail.example.", "A": "192.0.2.1", "AAAA": "2001:db8::1"}[type_]

    def unless_disabled(octets: bytes, _tcp: bool) -> list[bytes]:
        asked = dns.message.from_wire(octets)
        return [reply(asked, [f"{WWW} 60 IN {type_} {data}"] if asked.flags & dns.flags.CD else "SERVFAIL").to_wire()]

    with gateway({A: "SERVFAIL", (WWW, type_): unless_disabled}) as one:
        for flags, rcode in ((0, wire.SERVFAIL), (dns.flags.CD, wire.NOERROR), (0, wire.SERVFAIL)):
            answer = one.ask(query(type_, flags=flags))
            assert (answer.rcode(), bool(answer.answer)) == (rcode, not rcode)
