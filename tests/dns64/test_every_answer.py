"""What holds for an answer whatever it says: the OPT record of the client, the data as it is for those who validate,
how large it may be; and the answer to ANY."""

import struct
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address, ip_network
from itertools import product

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import pytest

from nat64d.dns64.message import wire
from nat64d.dns64.message.reply import FAILED_FOR, STALE_FOR
from nat64d.dns64.upstreams import upstream
from nat64d.dns64.upstreams.exchange import ServerAddress
from nat64d.dns64.upstreams.race import Upstream
from tests.dns64.asking import free_port
from tests.dns64.gateway import ADDRESS, EVERYBODY, POLICY, WWW, Gateway, addresses, errors, gateway, query
from tests.dns64.zone import SOA, reply

A, AAAA, MX = (WWW, "A"), (WWW, "AAAA"), (WWW, "MX")
SIGNED = "8 2 60 20300101000000 20200101000000 1 example. AAAA"
OURS = replace(POLICY, clients=EVERYBODY[:1])
FILTERED = replace(OURS, clients=(ip_network("10.0.0.0/8"),), filter_a=True)
STRANGER = "203.0.113.9"


def stale(one: Gateway, options: dict) -> dns.message.Message:
    """An answer after its time, as the server fails."""
    key = ("old.example.", "MX")
    for said in ([f"{key[0]} 60 IN MX 10 mail.example."], "SERVFAIL"):
        one.clock += 61
        one.zone.table[key] = said
        answer = one.ask(query("MX", key[0], **options))
    assert answer.answer[0].ttl == 30
    return answer


ASKED = {
    "cached": lambda one, options: [one.ask(query("MX", **options)) for _ in range(2)][1],
    "no such name": lambda one, options: one.ask(query("MX", "no.example.", **options)),
    "no data": lambda one, options: one.ask(query("TXT", **options)),
    "synthetic": lambda one, options: one.ask(query("AAAA", **options)),
    "any": lambda one, options: one.ask(query("ANY", **options)),
    "ours": lambda one, options: one.ask(query("AAAA", "ipv4only.arpa.", **options)),
    "no name of ours": lambda one, options: one.ask(query("AAAA", "no.ipv4only.arpa.", **options)),
    "the server fails": lambda one, options: one.ask(query("SRV", **options)),
    "the server is silent": lambda one, options: one.ask(query("NAPTR", **options)),
    "refused": lambda one, options: one.ask(query("MX", **options), STRANGER),
    "not forwarded": lambda one, options: one.ask(query("TSIG", **options)),
    "filtered": lambda one, options: one.ask(query("A", **options), "10.0.0.1"),
    "nothing to make it of": lambda one, options: one.ask(query("AAAA", "bare.example.", **options)),
    "some excluded": lambda one, options: one.ask(query("AAAA", "mixed.example.", **options)),
    "all excluded": lambda one, options: one.ask(query("AAAA", "none.example.", **options)),
    "stale": stale,
    "another opcode": lambda one, options: one.ask(
        query("MX", **{**options, "flags": options.get("flags", 0) | dns.opcode.to_flags(dns.opcode.NOTIFY)})
    ),
    "by TCP, please": lambda one, options: dns.message.from_wire(
        one.resolver.by_tcp(query("MX", **options).to_wire(), "127.0.0.1") or b""
    ),
}
RCODES = {
    "no such name": "NXDOMAIN",
    "no name of ours": "NXDOMAIN",
    "the server fails": "NOTAUTH",
    "the server is silent": "SERVFAIL",
    "refused": "REFUSED",
    "not forwarded": "NOTIMP",
    "another opcode": "NOTIMP",
}


@pytest.fixture
def one() -> Iterator[Gateway]:
    table = {
        MX: [f"{WWW} 60 IN MX 10 mail.example."],
        A: [f"{WWW} 60 IN A 192.0.2.1"],
        AAAA: "NODATA",
        (WWW, "SRV"): "NOTAUTH",
        (WWW, "NAPTR"): lambda _octets, _tcp: [],
        ("bare.example.", "AAAA"): "SERVFAIL",
        ("bare.example.", "A"): "NODATA",
        ("mixed.example.", "AAAA"): [
            f"mixed.example. 60 IN AAAA {text}" for text in ("2001:db8::1", "::ffff:192.0.2.1")
        ],
        ("none.example.", "AAAA"): ["none.example. 60 IN AAAA ::ffff:192.0.2.1"],
        ("none.example.", "A"): "NODATA",
    }
    with gateway(table, OURS, FILTERED) as one:
        yield one


@pytest.mark.parametrize("name", ASKED)
def test_rfc6891_6_1_1_every_answer_has_an_opt_record_if_the_query_has_one(name: str, one: Gateway) -> None:
    for dnssec in (False, True):
        answer = ASKED[name](one, {"use_edns": 0, "want_dnssec": dnssec})
        assert (answer.edns, answer.payload, bool(answer.ednsflags & dns.flags.DO)) == (0, 1232, dnssec)
        assert dns.rcode.to_text(answer.rcode()) == RCODES.get(name, "NOERROR")
    one.resolver.cache.clear()
    answer = ASKED[name](one, {})
    assert (answer.edns, dns.rcode.to_text(answer.rcode())) == (-1, RCODES.get(name, "NOERROR"))


@pytest.mark.parametrize("name", ASKED)
def test_rfc1035_4_1_1_and_rfc4035_3_2_2_every_answer_has_rd_and_cd_of_its_query(name: str, one: Gateway) -> None:
    for rd, cd in product((0, dns.flags.RD), (0, dns.flags.CD)):
        answer = ASKED[name](one, {"flags": cd, "rd": bool(rd)})
        ours = name in {"ours", "no name of ours"}
        wanted = rd | (0 if ours else cd)  # RFC 4035 section 3.1.6
        assert answer.flags & (dns.flags.RD | dns.flags.CD) == wanted
        assert bool(answer.flags & dns.flags.AA) is ours
        assert answer.flags & dns.flags.RA


SIGNATURES = {
    "AAAA": [f"{WWW} 60 IN AAAA 2001:db8::1", f"{WWW} 60 IN RRSIG AAAA {SIGNED}"],
    "excluded AAAA": [f"{WWW} 60 IN AAAA ::ffff:192.0.2.1", f"{WWW} 60 IN RRSIG AAAA {SIGNED}"],
    "A": [f"{WWW} 60 IN A 192.0.2.1", f"{WWW} 60 IN RRSIG A {SIGNED}"],
    "no AAAA": [
        "AUTHORITY",
        f"example. 300 IN SOA {SOA}",
        f"example. 300 IN RRSIG SOA {SIGNED}",
        f"{WWW} 300 IN NSEC x.example. A RRSIG NSEC",
        f"{WWW} 300 IN RRSIG NSEC {SIGNED}",
    ],
    "CNAME of AAAA": [
        f"{WWW} 60 IN CNAME web.example.",
        f"{WWW} 60 IN RRSIG CNAME {SIGNED}",
        "web.example. 60 IN AAAA 2001:db8::1",
        f"web.example. 60 IN RRSIG AAAA {SIGNED}",
    ],
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_rfc6147_5_5_who_sets_do_and_cd_gets_the_servers_data_to_the_octet(name: str) -> None:
    came: list[bytes] = []

    def answer(octets: bytes, _tcp: bool) -> list[bytes]:
        made = reply(dns.message.from_wire(octets), SIGNATURES[name])
        made.flags |= dns.flags.AD
        came.append(made.to_wire())
        return [came[-1]]

    type_ = name.rpartition(" ")[2]
    a = [f"{WWW} 60 IN A 192.0.2.1", f"{WWW} 60 IN RRSIG A {SIGNED}"]
    with gateway({A: a, (WWW, type_): answer}) as one:
        for _ in range(2):
            got = one.octets(query(type_, flags=dns.flags.CD, want_dnssec=True))
            end = wire.read_question(came[0]).end
            assert got[end:-11] == came[0][end:-11]
            assert got[3] & (wire.AD | wire.CD) == wire.AD | wire.CD
        assert len(came) == 1


@pytest.mark.parametrize("text", ["", "no server", "ümläut", "x" * 120])
def test_rfc8914_2_the_length_of_a_text_of_ours_is_that_of_the_option(text: str) -> None:
    option = wire.extended_error(22, text)
    assert option == struct.pack("!HHH", 15, 2 + len(text.encode()), 22) + text.encode()
    octets = query(use_edns=0).to_wire()[:-2] + struct.pack("!H", len(option)) + option
    (read,) = dns.message.from_wire(octets).options
    assert (read.code, read.text or "") == (22, text)  # type: ignore[attr-defined]
    assert errors(dns.message.from_wire(octets)) == [22]


NOTHING_TO_KEEP = {
    "TTL 0": [f"{WWW} 0 IN {{}}"],
    "no data, TTL 0": [f"example. 0 IN SOA {SOA}"],
    "no data, no SOA record": [],
    "no such name, no SOA record": ["NXDOMAIN", "AUTHORITY", "example. 60 IN NS ns.example."],
}


@pytest.mark.parametrize(
    ("type_", "old", "new"), [("MX", "10 old.example.", "10 new.example."), ("AAAA", "2001:db8::1", "2001:db8::2")]
)
@pytest.mark.parametrize("name", NOTHING_TO_KEEP)
def test_rfc8767_4_an_answer_that_is_not_kept_refreshes_the_data_all_the_same(
    name: str, type_: str, old: str, new: str
) -> None:
    """What was there before is not used after its time."""
    with gateway({(WWW, type_): [f"{WWW} 60 IN {type_} {old}"]}) as one:
        one.ask(query(type_))
        one.zone.table = {(WWW, type_): [line.format(f"{type_} {new}") for line in NOTHING_TO_KEEP[name]]}
        one.clock += 3600
        assert old not in str(one.ask(query(type_)))
        one.zone.table = dict.fromkeys(((WWW, type_), A), "REFUSED")
        one.clock += 3600
        answer = one.ask(query(type_, use_edns=0))
        assert (answer.rcode(), answer.answer, errors(answer)) == (dns.rcode.REFUSED, [], [])
        assert one.count("stale") == 0


@pytest.mark.parametrize("type_", ["MX", "A", "AAAA", "TYPE65280"])
def test_rfc1035_4_1_3_a_relayed_answer_whose_ttl_is_over_is_asked_for_again(type_: str) -> None:
    data = {"MX": "10 mail.example.", "A": "192.0.2.1", "AAAA": "2001:db8::1", "TYPE65280": "\\# 1 00"}[type_]
    with gateway({(WWW, type_): [f"{WWW} 60 IN {type_} {data}"]}) as one:
        for later, asked, ttl in [(0, 1, 60), (59, 0, 1), (1, 1, 60), (60, 1, 60), (3600, 1, 60)]:
            one.clock += later
            assert one.ask(query(type_)).answer[0].ttl == ttl
            assert one.asked().count((WWW, type_)) == asked


def test_rfc6147_5_1_8_an_aaaa_answer_that_comes_after_that_for_a_is_the_one_that_counts() -> None:
    heard: list[bytes] = []

    def second(octets: bytes, _tcp: bool) -> list[bytes]:
        heard.append(octets)
        return [reply(dns.message.from_wire(octets), [f"{WWW} 60 IN AAAA 2001:db8::1"]).to_wire()][len(heard) < 2 :]

    with gateway({A: [f"{WWW} 60 IN A 192.0.2.1"], AAAA: second}) as one:
        assert (one.addresses(), len(heard)) == (["2001:db8::1"], 2)


WEB, END = "web.example.", "end.example."
HOPS = {
    (WWW, "AAAA"): [f"{WWW} 60 IN CNAME {WEB}"],
    (WWW, "A"): [f"{WWW} 60 IN CNAME {WEB}"],
    (WEB, "AAAA"): [f"{WEB} 60 IN CNAME {END}"],
    (WEB, "A"): [f"{WEB} 60 IN CNAME {END}"],
    (END, "A"): [f"{END} 60 IN A 192.0.2.1"],
}


@pytest.mark.parametrize("type_", ["AAAA", "A"])
def test_rfc6147_5_1_5_a_chain_of_several_answers_stands_before_what_is_at_its_end(type_: str) -> None:
    with gateway(HOPS) as one:
        for _ in range(2):
            answer = one.ask(query(type_))
            found = [(str(rrset.name), dns.rdatatype.to_text(rrset.rdtype)) for rrset in answer.answer]
            assert found == [(WWW, "CNAME"), (WEB, "CNAME"), (END, type_)]


def test_rfc8767_4_an_answer_made_of_several_is_used_after_its_time_too() -> None:
    with gateway(HOPS) as one:
        made = one.addresses()
        one.zone.table = dict.fromkeys(HOPS, "SERVFAIL")
        one.clock += STALE_FOR
        answer = one.ask(query(use_edns=0))
        assert (addresses(answer), errors(answer)) == (made, [29, 3])
        one.clock += 60
        assert one.ask(query()).rcode() == dns.rcode.SERVFAIL


@pytest.mark.parametrize("bogus", ["AAAA", "A"])
def test_rfc6147_5_5_nor_is_anything_made_behind_an_alias_if_validation_failed_there(bogus: str) -> None:
    def failed(octets: bytes, _tcp: bool) -> list[bytes]:
        made = reply(dns.message.from_wire(octets), "SERVFAIL").to_wire()
        return [made[:-2] + struct.pack("!HHHH", 6, wire.EDE, 2, 6)]

    with gateway({**HOPS, (END, bogus): failed}) as one:
        for _ in range(2):
            answer = one.ask(query(use_edns=0))
            assert (answer.rcode(), errors(answer)) == (dns.rcode.SERVFAIL, [6])
            assert not any(rrset.rdtype == wire.AAAA for rrset in answer.answer)


@pytest.mark.parametrize(
    ("dnssec", "flags"), [(False, 0), (True, 0), (True, dns.flags.CD)], ids=["", "DO", "DO and CD"]
)
@pytest.mark.parametrize("name", [WWW, "nowhere.example."])
def test_rfc8482_any_gets_a_short_answer(name: str, dnssec: bool, flags: int) -> None:
    with gateway({A: [f"{WWW} 60 IN A 192.0.2.1"]}) as one:
        answer, asked = one.ask(query("ANY", name, flags, want_dnssec=dnssec)), one.asked()
    assert [rrset.to_text() for rrset in answer.answer] == [f'{name} 3600 IN HINFO "RFC8482" ""']
    assert not answer.flags & dns.flags.TC
    assert asked == []


@pytest.mark.parametrize(("asked", "said"), [("IN", "IN"), ("CH", "CH"), ("ANY", "IN")])
def test_rfc8482_the_record_has_the_class_of_the_question(asked: str, said: str) -> None:
    with gateway({}) as one:
        answer = one.ask(dns.message.make_query(WWW, "ANY", asked))
    assert [dns.rdataclass.to_text(rrset.rdclass) for rrset in answer.answer] == [said]


@pytest.mark.parametrize("type_", ["CNAME", "ANY"])
def test_rfc1034_3_6_2_an_alias_is_the_answer_to_a_query_for_it_and_one_of_ours_to_any(type_: str) -> None:
    reverse = dns.reversename.from_address("64:ff9b::c000:201").to_text()
    with gateway({(WWW, "CNAME"): [f"{WWW} 60 IN CNAME web.example."]}) as one:
        ours, theirs, asked = one.ask(query(type_, reverse)), one.ask(query(type_)), one.asked()
    assert [rrset.to_text() for rrset in ours.answer] == [f"{reverse} 600 IN CNAME 1.2.0.192.in-addr.arpa."]
    assert [rrset.rdtype for rrset in theirs.answer] == [dns.rdatatype.HINFO if type_ == "ANY" else wire.CNAME]
    assert asked == [(WWW, "CNAME")] * (type_ == "CNAME")


def test_rfc9520_3_2_that_a_server_cannot_be_reached_is_a_failure_that_is_kept() -> None:
    with gateway({}) as one:
        one.upstreams.all.pop().close()
        dead = Upstream(ServerAddress(ADDRESS, free_port()), one.upstreams.counters)
        one.upstreams.all.append(dead)
        for later, asked in [(0, 1), (FAILED_FOR - 1, 1), (1, 2)]:
            one.clock += later
            assert (one.ask(query("MX")).rcode(), dead.asked) == (dns.rcode.SERVFAIL, asked)


def test_rfc8914_4_23_the_error_names_a_server_that_cannot_even_be_asked() -> None:
    with gateway({}) as one:
        one.upstreams.all.pop().close()
        one.upstreams.all.append(Upstream(ServerAddress(IPv6Address("fe80::1%none0"), 53), one.upstreams.counters))
        (option,) = one.ask(query("MX", use_edns=0)).options
    assert option.text.startswith("[fe80::1%none0]:53: ")  # type: ignore[attr-defined]


def test_rfc9520_3_2_a_question_that_was_given_up_for_newer_ones_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upstream, "QUESTIONS", 1)
    with gateway({MX: lambda _octets, _tcp: []}) as one:
        given_up, other = one.together([query("MX"), query("TXT")])
        assert (given_up.rcode(), other.rcode()) == (dns.rcode.SERVFAIL, dns.rcode.NOERROR)
        one.zone.table = {MX: [f"{WWW} 60 IN MX 10 mail.example."]}
        assert one.ask(query("MX")).rcode() == dns.rcode.NOERROR


def test_rfc6891_6_2_3_an_answer_of_the_size_we_say_we_can_receive_is_taken_by_udp() -> None:
    came: list[bool] = []

    def largest(octets: bytes, tcp: bool) -> list[bytes]:
        came.append(tcp)
        asked = dns.message.from_wire(octets)
        room = asked.payload - len(reply(asked, [f"{WWW} 60 IN TYPE65280 \\# 0"]).to_wire())
        answer = reply(asked, [f"{WWW} 60 IN TYPE65280 \\# {room} {'61' * room}"]).to_wire()
        assert len(answer) == 1232
        return [answer]

    with gateway({(WWW, "TYPE65280"): largest}) as one:
        answer = one.ask(query("TYPE65280", use_edns=0))
    assert (answer.rcode(), len(answer.answer), came) == (dns.rcode.NOERROR, 1, [False])


@pytest.mark.parametrize("code", [3, 8, 9, 10, 11, 12, 13, 15, 65001, 65535])
def test_rfc6891_6_1_2_an_option_of_a_query_is_ignored(code: int) -> None:
    """Among them NSID, client subnet, cookie, keepalive and padding; no server gets it, and no answer has one."""
    asked: list[dns.message.Message] = []

    def note(octets: bytes, _tcp: bool) -> list[bytes]:
        asked.append(dns.message.from_wire(octets))
        return [reply(asked[-1], [f"{WWW} 60 IN MX 10 mail.example."]).to_wire()]

    data = {8: bytes.fromhex("00011800c00002"), 15: bytes(2)}.get(code, bytes(range(8)))
    with gateway({MX: note}, OURS) as one:
        for type_, rcode in (("MX", 0), ("AXFR", 9)):
            given = one.ask(query(type_, use_edns=0, options=[dns.edns.GenericOption(code, data)]))
            assert (given.rcode(), given.options) == (rcode, ())
    assert [each.options for each in asked] == [()]
