"""The whole way of a query, with a scripted upstream server on the loopback; dnspython reads the answers."""

import asyncio
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from itertools import pairwise

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from nat64d.dns64.message import wire
from nat64d.dns64.resolver import Resolver
from nat64d.dns64.rules.maps import Maps
from nat64d.dns64.rules.policy import Policy, ranges_for
from nat64d.dns64.rules.queries import fit
from nat64d.dns64.upstreams.cache import Cache
from nat64d.dns64.upstreams.exchange import ServerAddress
from nat64d.dns64.upstreams.upstream import NO_REACHABLE_AUTHORITY, Upstreams
from tests.dns64 import clock
from tests.dns64.zone import SOA, Zone, reply, serve

POLICY = Policy((IPv6Network("::/0"),), ranges_for(IPv6Network("64:ff9b::/96"), [], None))
CLIENTS4 = Policy((IPv4Network("127.0.0.0/8"),), POLICY.ranges)
CLIENT = IPv4Address("127.0.0.1")
WWW = "www.example."
REVERSE = "a.a.0.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa."


def silent(_octets: bytes, _tcp: bool) -> list[bytes]:
    return []


def by_tcp(lines: list[str]) -> Callable[[bytes, bool], list[bytes]]:
    """An answer that is truncated by UDP and complete by TCP."""

    def answer(octets: bytes, tcp: bool) -> list[bytes]:
        query = dns.message.from_wire(octets)
        whole = reply(query, list(lines) if tcp else "NODATA")
        if not tcp:
            whole.flags |= dns.flags.TC
        return [whole.to_wire()]

    return answer


def forged(change: Callable[[bytes], bytes]) -> Callable[[bytes, bool], list[bytes]]:
    """A forged answer, followed by the right one."""

    def answer(octets: bytes, _tcp: bool) -> list[bytes]:
        query = dns.message.from_wire(octets)
        wrong = reply(query, [f"{WWW} 60 IN AAAA 2001:db8::bad"]).to_wire()
        return [change(wrong), reply(query, [f"{WWW} 60 IN AAAA 2001:db8::1"]).to_wire()]

    return answer


def resolve(
    table: dict[tuple[str, str], object],
    *queries: dns.message.Message,
    policy: Policy = CLIENTS4,
    ready: bool = True,
    told: list[str] | None = None,
    maps: Maps | None = None,
) -> tuple[list[dns.message.Message], Zone, Resolver]:
    """The answers to queries, one after the other."""

    async def run() -> tuple[list[dns.message.Message], Zone, Resolver]:
        zone = Zone(table)
        port, end = await serve(zone)
        upstreams = Upstreams([ServerAddress(CLIENT, port)])
        one = Resolver(upstreams, Cache(100000), lambda: ready)
        one.use([policy], maps, dns46=maps is not None)
        answers = []
        try:
            for query in queries:
                octets = query.to_wire()
                answer, asked, number = one.at_once(octets, str(CLIENT))
                if answer is None and asked is not None:
                    answer = await one.resolve(asked, number, told.append if told is not None else None)
                assert answer is not None
                answers.append(dns.message.from_wire(answer))
                assert answers[-1].id == query.id
        finally:
            upstreams.close()
            end()
            await asyncio.sleep(0.01)  # transports close in the loop's next turns
        return answers, zone, one

    return clock.run(run())


def query(type_: str = "AAAA", name: str = WWW, **options: object) -> dns.message.Message:
    return dns.message.make_query(name, type_, **options)  # type: ignore[arg-type]


def addresses(answer: dns.message.Message) -> list[str]:
    return sorted(item.to_text() for rrset in answer.answer for item in rrset if rrset.rdtype == dns.rdatatype.AAAA)


A = {(WWW, "A"): [f"{WWW} 60 IN A 192.0.2.1"]}
MADE = ["64:ff9b::c000:201"]


@pytest.mark.parametrize(
    ("aaaa", "rcode", "expected"),
    [
        ([f"{WWW} 60 IN AAAA 2001:db8::1"], "NOERROR", ["2001:db8::1"]),
        ("NODATA", "NOERROR", MADE),
        ("SERVFAIL", "NOERROR", MADE),
        ("REFUSED", "NOERROR", MADE),
        ("NOTAUTH", "NOERROR", MADE),
        ("NXDOMAIN", "NXDOMAIN", []),
        ([f"{WWW} 60 IN AAAA ::ffff:192.0.2.9"], "NOERROR", MADE),
        ([f"{WWW} 60 IN AAAA ::ffff:192.0.2.9", f"{WWW} 60 IN AAAA 2001:db8::1"], "NOERROR", ["2001:db8::1"]),
        (by_tcp([f"{WWW} 60 IN AAAA 2001:db8::1"]), "NOERROR", ["2001:db8::1"]),
    ],
)
def test_rfc6147_5_1_an_aaaa_query(aaaa: object, rcode: str, expected: list[str]) -> None:
    (answer,), _, _ = resolve({**A, (WWW, "AAAA"): aaaa}, query())
    assert dns.rcode.to_text(answer.rcode()) == rcode
    assert addresses(answer) == expected


def test_rfc6147_5_4_the_question_of_a_synthetic_answer_is_the_clients_to_the_letter() -> None:
    names = ["wWw.eXample.", "WWW.example."]  # the second one gets the answer to the first, from the cache
    answers, _, one = resolve({**A, (WWW, "AAAA"): "NODATA"}, *(query(name=name) for name in names))
    assert [addresses(answer) for answer in answers] == [MADE, MADE]
    assert [[rrset.to_text() for rrset in answer.question] for answer in answers] == [
        [f"{name} IN AAAA"] for name in names
    ]
    assert one.counters.counts == {"synthesised": 1, "cached": 1}


def test_rfc6147_5_1_5_an_alias_with_aaaa_records_at_its_end_is_used_as_it_came() -> None:
    lines = ["example. 60 IN DNAME example.net.", f"{WWW} 60 IN CNAME www.example.net."]
    lines.append("www.example.net. 60 IN AAAA 2001:db8::1")
    (answer,), _, one = resolve({**A, (WWW, "AAAA"): lines}, query())
    assert [rrset.to_text() for rrset in answer.answer] == lines
    assert one.counters.counts == {"relayed": 1}


@pytest.mark.parametrize("type_", ["A", "MX", "TXT", "SRV", "HTTPS"])
def test_rfc6147_5_3_3_other_types_are_relayed(type_: str) -> None:
    data = {"A": "192.0.2.1", "MX": "10 a.", "TXT": '"a"', "SRV": "1 1 1 a.", "HTTPS": "1 . ipv4hint=192.0.2.1"}[type_]
    (answer,), zone, _ = resolve({(WWW, type_): [f"{WWW} 60 IN {type_} {data}"]}, query(type_))
    assert answer.answer[0][0].to_text().replace('ipv4hint="192.0.2.1"', "ipv4hint=192.0.2.1") == data
    assert zone.asked == [(WWW, type_)]


@pytest.mark.parametrize("type_", ["A", "AAAA", "TXT", "NS", "SOA", "MX", "DNSKEY", "ANY"])
@pytest.mark.parametrize("name", ["ipv4only.arpa.", "www.ipv4only.arpa.", REVERSE, REVERSE.replace("a", "b", 1)])
def test_rfc8880_7_no_server_is_asked_for_names_of_ours(name: str, type_: str) -> None:
    validating = query(type_, name, want_dnssec=True)
    validating.flags |= dns.flags.CD
    answers, zone, _ = resolve({}, query(type_, name), query(type_, name), validating)
    assert zone.asked == []
    for answer in answers:
        assert answer.flags & dns.flags.AA
        assert (answer.rcode(), answer.answer) == (answers[0].rcode(), answers[0].answer)


def test_rfc8880_7_1_a_server_is_asked_for_ds() -> None:
    name = "ipv4only.arpa."
    lines = [f"{name} 60 IN DS 1 8 2 {'00' * 32}"]
    (answer,), zone, _ = resolve({(name, "DS"): lines}, query("DS", name))
    assert [rrset.to_text() for rrset in answer.answer] == lines
    assert zone.asked == [(name, "DS")]


@pytest.mark.parametrize(
    ("said", "rcode"), [("NXDOMAIN", dns.rcode.NXDOMAIN), ("SERVFAIL", dns.rcode.SERVFAIL), ("NODATA", 0)]
)
def test_rfc6604_what_an_alias_of_ours_leads_to_decides(said: str, rcode: int) -> None:
    name = "1.0.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa."
    (answer,), _, _ = resolve({("1.2.0.192.in-addr.arpa.", "PTR"): said}, query("PTR", name))
    assert answer.rcode() == rcode
    assert [rrset[0].to_text() for rrset in answer.answer] == ["1.2.0.192.in-addr.arpa."]


def test_rfc6147_5_3_1_a_reverse_name_of_no_prefix_of_ours_is_asked_for() -> None:
    name = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."
    (answer,), _, _ = resolve({(name, "PTR"): [f"{name} 60 IN PTR {WWW}"]}, query("PTR", name))
    assert answer.answer[0][0].to_text() == WWW


@pytest.mark.parametrize(
    ("payload", "octets", "whole"),
    [
        (None, 512, True),
        (None, 513, False),
        (100, 512, True),
        (100, 513, False),
        (1232, 1232, True),
        (1232, 1233, False),
        (4096, 1232, True),
        (4096, 1233, False),
    ],
)
def test_rfc6891_6_2_3_and_6_2_5_an_answer_is_cut_to_what_the_client_takes(
    payload: int | None, octets: int, whole: bool
) -> None:
    asked = query("TXT", payload=payload, use_edns=-1 if payload is None else 0)
    answer = reply(asked, []).to_wire()
    head, opt = (answer, b"") if payload is None else (answer[:-11], answer[-11:])
    filled = head[:6] + b"\0\1" + head[8:] + b"\xc0\x0c\0\x10\0\1\0\0\0\1"
    filled += (octets - len(filled) - 2 - len(opt)).to_bytes(2, "big")
    filled += bytes(octets - len(filled) - len(opt)) + opt
    cut = fit(filled, asked.to_wire())
    assert (cut == filled) is whole
    read = wire.read(cut)
    assert read.truncated is not whole
    assert (read.edns is not None) is (payload is not None)
    if not whole:
        assert (read.id, read.question, read.sections) == (asked.id, wire.read(filled).question, ([], [], []))


@pytest.mark.parametrize(
    ("a", "rcode", "expected"),
    [(A[WWW, "A"], dns.rcode.NOERROR, MADE), ("NXDOMAIN", dns.rcode.NXDOMAIN, []), (silent, dns.rcode.SERVFAIL, [])],
)
def test_rfc6147_5_1_3_a_silent_aaaa_counts_as_an_error(a: object, rcode: int, expected: list[str]) -> None:
    (answer,), _, _ = resolve({(WWW, "A"): a, (WWW, "AAAA"): silent}, query())
    assert (answer.rcode(), addresses(answer)) == (rcode, expected)


def test_rfc6147_5_4_where_both_are_empty_the_client_gets_the_answer_to_its_own_query() -> None:
    soas = {type_: f"example. {ttl} IN SOA {SOA}" for type_, ttl in (("AAAA", 100), ("A", 50))}
    (answer,), _, _ = resolve({(WWW, type_): [soa] for type_, soa in soas.items()}, query())
    assert (answer.question, answer.answer) == (query().question, [])
    assert [rrset.to_text() for rrset in answer.authority] == [soas["AAAA"]]


def test_rfc6147_5_1_8_a_and_aaaa_are_asked_side_by_side() -> None:
    (answer,), zone, _ = resolve({**A, (WWW, "AAAA"): [f"{WWW} 60 IN AAAA 2001:db8::1"]}, query())
    assert addresses(answer) == ["2001:db8::1"]
    assert sorted(zone.asked) == [(WWW, "A"), (WWW, "AAAA")]


def test_rfc6147_5_5_clients_that_validate_for_themselves_get_no_synthetic_answer() -> None:
    asked = query(want_dnssec=True)
    asked.flags |= dns.flags.CD
    (answer,), _, _ = resolve({**A, (WWW, "AAAA"): "NODATA"}, asked)
    assert addresses(answer) == []


def test_answers_without_synthesis_are_cached_for_seconds_while_nothing_is_translated() -> None:
    lines = [f"{WWW} 60 IN AAAA 2001:db8::1"]
    for aaaa, seconds in (("NODATA", 10), (lines, 60)):
        (answer,), _, _ = resolve({**A, (WWW, "AAAA"): aaaa}, query(), ready=False)
        assert [rrset.ttl for rrset in (*answer.answer, *answer.authority)] == [seconds]
    (answer,), _, _ = resolve({**A, (WWW, "MX"): "NODATA"}, query("MX"), ready=False)
    assert [rrset.ttl for rrset in answer.authority] == [300]
    (answer,), _, _ = resolve(links(1, "AAAA") | {("n0.example.", "AAAA"): "NODATA"}, query(), ready=False)
    assert [rrset.ttl for rrset in answer.authority] == [10]


def test_nothing_is_synthesised_while_nothing_is_translated() -> None:
    (answer,), zone, _ = resolve({**A, (WWW, "AAAA"): "NODATA"}, query(), ready=False)
    assert addresses(answer) == []
    assert zone.asked == [(WWW, "AAAA")]


def test_a_synthetic_answer_says_so_to_clients_with_edns() -> None:
    (answer,), _, _ = resolve({**A, (WWW, "AAAA"): "NODATA"}, query(use_edns=0))
    assert [(option.otype, option.code) for option in answer.options] == [(15, 29)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "change",
    [
        lambda octets: bytes([octets[0] ^ 1]) + octets[1:],
        lambda octets: octets[:13] + b"X" + octets[14:],
        lambda octets: octets[:2] + bytes([octets[2] & 0x7F]) + octets[3:],
        lambda octets: octets[:5],
    ],
    ids=["another ID", "another name", "a query", "a piece"],
)
def test_rfc5452_a_forged_answer_is_counted_and_the_right_one_waited_for(change: Callable[[bytes], bytes]) -> None:
    (answer,), _, one = resolve({(WWW, "AAAA"): forged(change)}, query())
    assert addresses(answer) == ["2001:db8::1"]
    counters = one._upstreams._upstreams.counters
    assert counters.strange + counters.mismatched >= 1


def test_0x20_an_answer_in_other_letters_is_asked_for_again_by_tcp() -> None:
    def flattened(octets: bytes, tcp: bool) -> list[bytes]:
        answer = reply(dns.message.from_wire(octets), [f"{WWW} 60 IN AAAA 2001:db8::{2 if tcp else 1}"]).to_wire()
        return [answer if tcp else answer[:12] + answer[12:].replace(answer[12:25], b"\3wWw\7eXAMPLe\0"[:13])]

    (answer,), _, one = resolve({(WWW, "AAAA"): flattened}, query())
    assert addresses(answer) in (["2001:db8::1"], ["2001:db8::2"])
    assert one._upstreams._upstreams.counters.case + (addresses(answer) == ["2001:db8::1"]) == 1


def test_a_second_query_is_answered_from_the_cache() -> None:
    answers, zone, one = resolve({**A, (WWW, "AAAA"): "NODATA"}, query(), query(name="WWW.example."))
    assert [addresses(answer) for answer in answers] == [MADE, MADE]
    assert len(zone.asked) == 2
    assert one.counters.counts["cached"] == 1


def test_rfc6147_5_3_1_a_reverse_name_is_followed() -> None:
    name = "1.0.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa."
    table = {("1.2.0.192.in-addr.arpa.", "PTR"): ["1.2.0.192.in-addr.arpa. 60 IN PTR www.example."]}
    (answer,), _, _ = resolve(table, query("PTR", name))
    assert [rrset[0].to_text() for rrset in answer.answer] == ["1.2.0.192.in-addr.arpa.", WWW]


def links(count: int, *types: str) -> dict[tuple[str, str], object]:
    """A chain of aliases, each in an answer of its own."""
    names = [WWW, *(f"n{number}.example." for number in range(count))]
    return {(a, type_): [f"{a} 60 IN CNAME {b}"] for a, b in pairwise(names) for type_ in types}


@pytest.mark.parametrize("aaaa", ["NODATA", "SERVFAIL"])
def test_rfc6147_5_1_5_aliases_are_followed_one_an_answer(aaaa: str) -> None:
    end = {("n2.example.", "AAAA"): aaaa, ("n2.example.", "A"): ["n2.example. 60 IN A 192.0.2.1"]}
    (answer, again), zone, _ = resolve(links(3, "AAAA", "A") | end, query(), query())
    assert [rrset.name.to_text() for rrset in answer.answer] == [WWW, "n0.example.", "n1.example.", "n2.example."]
    assert addresses(answer) == addresses(again) == MADE
    assert len(zone.asked) == len(set(zone.asked)) == 8


def test_rfc6147_5_1_5_aliases_of_a_are_followed_where_aaaa_fails() -> None:
    end = {(WWW, "AAAA"): "SERVFAIL", ("n0.example.", "A"): ["n0.example. 60 IN A 192.0.2.1"]}
    (answer,), _, _ = resolve(links(1, "A") | end, query())
    assert addresses(answer) == MADE


def test_rfc6147_5_1_5_aliases_of_aaaa_are_followed_where_a_fails() -> None:
    end = {(WWW, "A"): "SERVFAIL", ("n0.example.", "AAAA"): ["n0.example. 60 IN AAAA 2001:db8::1"]}
    (answer,), _, _ = resolve(links(1, "AAAA") | end, query())
    assert addresses(answer) == ["2001:db8::1"]


@pytest.mark.parametrize("count", [0, 1], ids=["at once", "after an alias"])
def test_rfc6147_5_3_2_and_5_4_authority_and_additional_sections_are_those_of_the_last_a_answer(count: int) -> None:
    rest = ["example. 60 IN NS ns.example.", "ns.example. 60 IN A 192.0.2.53", "ns.example. 60 IN AAAA 2001:db8::53"]

    def last(octets: bytes, _tcp: bool) -> list[bytes]:
        asked = dns.message.from_wire(octets)
        made = reply(asked, [f"{asked.question[0].name} 60 IN A 192.0.2.1", "AUTHORITY", rest[0]])
        made.additional += [dns.rrset.from_text(*line.split(None, 4)) for line in rest[1:]]
        return [made.to_wire()]

    name = "n0.example." if count else WWW
    (answer,), _, _ = resolve(links(count, "AAAA", "A") | {(name, "A"): last, (name, "AAAA"): "NODATA"}, query())
    assert addresses(answer) == MADE
    assert [rrset.to_text() for rrset in (*answer.authority, *answer.additional)] == rest


def test_rfc1034_5_3_3_aliases_of_another_type_are_followed() -> None:
    end = {("n0.example.", "TXT"): ['n0.example. 60 IN TXT "end"']}
    (answer,), _, _ = resolve(links(1, "TXT") | end, query("TXT"))
    assert [rrset[0].to_text() for rrset in answer.answer] == ["n0.example.", '"end"']


@pytest.mark.parametrize(("asked", "types"), [("A", "A"), ("AAAA", "A"), ("AAAA", "AAAA"), ("AAAA", "A AAAA")])
@pytest.mark.parametrize(
    ("count", "back", "rcode"), [(8, None, "NOERROR"), (9, None, "SERVFAIL"), (1, WWW, "SERVFAIL")]
)
def test_aliases_are_followed_so_far(asked: str, types: str, count: int, back: str | None, rcode: str) -> None:
    last, kinds = f"n{count - 1}.example.", types.split()
    end = {(last, "A"): [f"{last} 60 IN A 192.0.2.1"]}
    circle = {(last, kind): [f"{last} 60 IN CNAME {back}"] for kind in kinds if back}
    (answer,), _, _ = resolve(links(count, *kinds) | end | circle, query(asked))
    assert dns.rcode.to_text(answer.rcode()) == rcode


def test_another_type_is_relayed_octet_for_octet() -> None:
    lines = [f"{WWW} 60 IN MX 10 mail.example.", f"{WWW} 60 IN MX 20 mail.www.example."]
    (answer,), _, _ = resolve({(WWW, "MX"): lines}, query("MX"))
    assert sorted(item.to_text() for item in answer.answer[0]) == ["10 mail.example.", "20 mail.www.example."]


def test_no_server_answers_servfail_with_the_reason() -> None:
    async def run() -> bytes:
        one = Resolver(Upstreams([]), Cache(1000), lambda: True)
        one.use([CLIENTS4])
        return await one.resolve(wire.read(query(use_edns=0).to_wire()), 0)

    answer = dns.message.from_wire(clock.run(run()))
    assert answer.rcode() == dns.rcode.SERVFAIL
    assert answer.options[0].code == NO_REACHABLE_AUTHORITY  # type: ignore[attr-defined]


def test_a_client_that_may_not_query_is_refused() -> None:
    (answer,), zone, _ = resolve(A, query(use_edns=0), policy=Policy((IPv6Network("2001:db8::/32"),), POLICY.ranges))
    assert answer.rcode() == dns.rcode.REFUSED
    assert [option.code for option in answer.options] == [18]  # type: ignore[attr-defined]
    assert zone.asked == []
