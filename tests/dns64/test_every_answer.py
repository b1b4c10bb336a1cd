"""What holds for an answer whatever it says: the OPT record of the client, the data as it is for those who validate."""

import struct
from collections.abc import Iterator
from dataclasses import replace

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest

from nat64d.dns64.message import wire
from tests.dns64.gateway import EVERYBODY, POLICY, WWW, Gateway, errors, gateway, query
from tests.dns64.zone import SOA, reply

A, AAAA, MX = (WWW, "A"), (WWW, "AAAA"), (WWW, "MX")
SIGNED = "8 2 60 20300101000000 20200101000000 1 example. AAAA"
OURS = replace(POLICY, clients=EVERYBODY[:1])
STRANGER = "203.0.113.9"

ASKED = {
    "cached": lambda one, options: [one.ask(query("MX", **options)) for _ in range(2)][1],
    "no such name": lambda one, options: one.ask(query("MX", "no.example.", **options)),
    "no data": lambda one, options: one.ask(query("TXT", **options)),
    "synthetic": lambda one, options: one.ask(query("AAAA", **options)),
    "any": lambda one, options: one.ask(query("ANY", **options)),
    "ours": lambda one, options: one.ask(query("AAAA", "ipv4only.arpa.", **options)),
    "the server fails": lambda one, options: one.ask(query("SRV", **options)),
    "the server is silent": lambda one, options: one.ask(query("NAPTR", **options)),
    "refused": lambda one, options: one.ask(query("MX", **options), STRANGER),
    "not forwarded": lambda one, options: one.ask(query("AXFR", **options)),
    "another opcode": lambda one, options: one.ask(
        query("MX", flags=dns.opcode.to_flags(dns.opcode.NOTIFY), **options)
    ),
    "by TCP, please": lambda one, options: dns.message.from_wire(
        one.resolver.by_tcp(query("MX", **options).to_wire(), "127.0.0.1") or b""
    ),
}
RCODES = {
    "no such name": "NXDOMAIN",
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
    }
    with gateway(table, OURS) as one:
        yield one


@pytest.mark.parametrize("name", ASKED)
def test_rfc6891_6_1_1_every_answer_has_an_opt_record_if_the_query_has_one(name: str, one: Gateway) -> None:
    for dnssec in (False, True):
        answer = ASKED[name](one, {"use_edns": 0, "want_dnssec": dnssec})
        assert (answer.edns, answer.payload, bool(answer.ednsflags & dns.flags.DO)) == (0, 1232, dnssec)
        assert dns.rcode.to_text(answer.rcode()) == RCODES.get(name, "NOERROR")
    answer = ASKED[name](one, {})
    assert (answer.edns, dns.rcode.to_text(answer.rcode())) == (-1, RCODES.get(name, "NOERROR"))


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
    "TTL 0": [f"{WWW} 0 IN MX 20 new.example."],
    "no data, TTL 0": [f"example. 0 IN SOA {SOA}"],
    "no data, no SOA record": [],
    "no such name, no SOA record": ["NXDOMAIN", "AUTHORITY", "example. 60 IN NS ns.example."],
}


@pytest.mark.parametrize("name", NOTHING_TO_KEEP)
def test_rfc8767_4_an_answer_that_is_not_kept_refreshes_the_data_all_the_same(name: str) -> None:
    """What was there before is not used after its time."""
    with gateway({MX: [f"{WWW} 60 IN MX 10 old.example."]}) as one:
        one.ask(query("MX"))
        one.zone.table = {MX: NOTHING_TO_KEEP[name]}
        one.clock += 60
        new = one.ask(query("MX"))
        assert "old" not in str(new)
        one.zone.table = {MX: "REFUSED"}
        answer = one.ask(query("MX", use_edns=0))
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
