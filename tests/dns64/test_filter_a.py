"""`filter_a`: no IPv4 address reaches a client that must not see any, whatever it asks."""

from collections.abc import Iterator
from dataclasses import replace

import dns.flags
import dns.message
import dns.rdata
import dns.rdatatype
import dns.rrset
import pytest

from nat64d.config.load import loads
from nat64d.dns64.message import wire
from nat64d.dns64.rules.filter_a import without_hint, without_ipv4
from nat64d.dns64.service.plan import plan
from nat64d.dns64.service.process import Process
from tests.dns64.gateway import CLIENT4, CLIENT6, POLICY, WWW, Gateway, addresses, errors, gateway, query
from tests.dns64.zone import SOA, reply

A, AAAA = (WWW, "A"), (WWW, "AAAA")
EMPTY = [f"example. 300 IN SOA {SOA}"]


HIDING = replace(POLICY, filter_a=True)
CHAIN = [f"{WWW} 60 IN CNAME web.example.", "web.example. 60 IN A 192.0.2.1"]


def test_filter_a_shows_no_a_records_but_what_is_made_of_them() -> None:
    with gateway({A: CHAIN, AAAA: EMPTY}, HIDING) as one:
        for _ in range(2):
            answer = one.ask(query("A"))
            assert (answer.rcode(), addresses(answer)) == (wire.NOERROR, [])
        assert [str(rrset[0]) for rrset in answer.answer] == ["web.example."]
        assert one.count("cached") == 1
        assert one.addresses() == ["64:ff9b::c000:201"]


def test_filter_a_leaves_a_name_that_does_not_exist() -> None:
    with gateway({A: "NXDOMAIN"}, HIDING) as one:
        assert one.ask(query("A")).rcode() == wire.NXDOMAIN


def test_filter_a_is_for_its_clients_only() -> None:
    with gateway({A: CHAIN}, replace(HIDING, clients=HIDING.clients[1:]), POLICY) as one:
        for client, expected in [(CLIENT6, []), (CLIENT4, ["192.0.2.1"]), (CLIENT6, [])]:
            assert one.addresses("A", client=client) == expected


def test_filter_a_hides_nothing_from_clients_that_validate_for_themselves() -> None:
    with gateway({A: CHAIN}, HIDING) as one:
        assert addresses(one.ask(query("A", flags=dns.flags.CD, want_dnssec=True))) == ["192.0.2.1"]


def test_filter_a_does_not_hide_ipv4only_arpa() -> None:
    with gateway({}, HIDING) as one:
        assert one.addresses("A", "ipv4only.arpa.") == ["192.0.0.170", "192.0.0.171"]


SIGNATURE = "8 2 60 20300101000000 20200101000000 1 example. AAAA"
HINTS = f"{WWW} 60 IN HTTPS 1 . alpn=h3,h2 ipv4hint=198.51.100.2 ipv6hint=2001:db8::2"
GLUE = "v4only.example. 60 IN A 198.51.100.2"


def beside(lines: list[str], *additional: str, authority: tuple[str, ...] = (), flags: int = 0):  # type: ignore[no-untyped-def]
    """An answer with records in the other sections."""

    def answer(octets: bytes, _tcp: bool) -> list[bytes]:
        made = reply(dns.message.from_wire(octets), list(lines))
        made.flags |= dns.flags.Flag(flags)
        for section, texts in ((made.authority, authority), (made.additional, additional)):
            for text in texts:
                name, ttl, class_, type_, data = text.split(None, 4)
                section.append(dns.rrset.from_text(name, int(ttl), class_, type_, data))
        return [made.to_wire()]

    return answer


def texts(answer: dns.message.Message) -> Iterator[str]:
    """Type and data of each record of all sections."""
    for section in answer.sections[1:]:
        for rrset in section:
            for item in rrset:
                yield f"{dns.rdatatype.to_text(rrset.rdtype)} {item.to_text()}"


def shown(one: Gateway, type_: str, **options: object) -> list[str]:
    """The records that a client gets, the first time and from the cache."""
    first, second = (sorted(texts(one.ask(query(type_, **options)))) for _ in range(2))
    assert first == second
    return first


@pytest.mark.parametrize("type_", ["HTTPS", "SVCB"])
def test_rfc9460_7_3_no_ipv4_hint_is_shown(type_: str) -> None:
    with gateway({(WWW, type_): [HINTS.replace("HTTPS", type_)]}, HIDING) as one:
        assert shown(one, type_) == [f'{type_} 1 . alpn="h3,h2" ipv6hint="2001:db8::2"']
        assert one.count("filtered") == 1
        assert one.count("cached") == 1


def test_rfc9460_2_4_2_an_alias_has_no_address_beside_it() -> None:
    alias = f"{WWW} 60 IN HTTPS 0 v4only.example."
    with gateway({(WWW, "HTTPS"): beside([alias], GLUE, "v4only.example. 60 IN AAAA 2001:db8::2")}, HIDING) as one:
        assert shown(one, "HTTPS") == ["AAAA 2001:db8::2", "HTTPS 0 v4only.example."]


@pytest.mark.parametrize(
    ("type_", "data"), [("MX", "10 v4only.example."), ("SRV", "1 2 3 v4only.example."), ("NS", "v4only.example.")]
)
def test_no_address_is_shown_beside_any_other_answer(type_: str, data: str) -> None:
    signed = f"v4only.example. 60 IN RRSIG A {SIGNATURE}"
    with gateway({(WWW, type_): beside([f"{WWW} 60 IN {type_} {data}"], GLUE, signed)}, HIDING) as one:
        assert shown(one, type_) == [f"{type_} {data}"]


def test_no_address_is_shown_in_the_authority_section_or_beside_what_was_asked_for() -> None:
    answer = beside([f"{WWW} 60 IN TXT x", GLUE.replace("v4only.", "a.")], authority=(GLUE,))
    with gateway({(WWW, "TXT"): answer}, HIDING) as one:
        assert shown(one, "TXT") == ['TXT "x"']


def test_no_address_is_shown_beside_a_synthetic_answer_or_a_real_one() -> None:
    table = {A: beside([f"{WWW} 60 IN A 192.0.2.1"], GLUE), AAAA: EMPTY}
    with gateway(table, HIDING) as one:
        assert shown(one, "AAAA") == ["AAAA 64:ff9b::c000:201"]
        assert errors(one.ask(query(use_edns=0))) == [29]
        assert one.count("synthesised") == 1
    with gateway({A: "NODATA", AAAA: beside([f"{WWW} 60 IN AAAA 2001:db8::1"], GLUE)}, HIDING) as one:
        assert shown(one, "AAAA") == ["AAAA 2001:db8::1"]


def test_rfc4035_3_2_3_signatures_over_changed_records_and_ad_go_with_them() -> None:
    lines = [HINTS, f"{WWW} 60 IN RRSIG HTTPS {SIGNATURE}"]
    with gateway({(WWW, "HTTPS"): beside(lines, flags=dns.flags.AD)}, HIDING) as one:
        answer = one.ask(query("HTTPS", want_dnssec=True))
    assert [rrset.rdtype for rrset in answer.answer] == [wire.HTTPS]
    assert not answer.flags & dns.flags.AD


def test_rfc4035_3_2_3_signatures_over_records_that_stay_and_ad_stay() -> None:
    lines = [f"{WWW} 60 IN HTTPS 1 . alpn=h2", f"{WWW} 60 IN RRSIG HTTPS {SIGNATURE}"]
    with gateway({(WWW, "HTTPS"): beside(lines, GLUE, flags=dns.flags.AD)}, HIDING) as one:
        answer = one.ask(query("HTTPS", want_dnssec=True))
    assert [rrset.rdtype for rrset in answer.answer] == [wire.HTTPS, wire.RRSIG]
    assert answer.flags & dns.flags.AD
    assert not answer.additional


def test_what_has_no_ipv4_address_is_relayed_to_the_octet() -> None:
    said = beside([f"{WWW} 60 IN MX 10 mail.{WWW}"], f"mail.{WWW} 60 IN AAAA 2001:db8::1")
    asked = query("MX", use_edns=0)
    with gateway({(WWW, "MX"): said}, HIDING) as one, gateway({(WWW, "MX"): said}) as other:
        assert one.octets(asked) == other.octets(asked)
        assert one.count("relayed") == 1


def test_clients_that_validate_get_the_records_as_they_were_signed() -> None:
    with gateway({(WWW, "HTTPS"): beside([HINTS], GLUE)}, HIDING) as one:
        found = shown(one, "HTTPS", want_dnssec=True, flags=dns.flags.CD)
    assert found == ["A 198.51.100.2", 'HTTPS 1 . alpn="h3,h2" ipv4hint="198.51.100.2" ipv6hint="2001:db8::2"']


def test_other_clients_get_all_of_it() -> None:
    table = {(WWW, "HTTPS"): beside([HINTS], GLUE)}
    with gateway(table, replace(HIDING, clients=HIDING.clients[1:]), POLICY) as one:
        for client, number in ((CLIENT6, 1), (CLIENT4, 2), (CLIENT6, 1)):
            assert len(list(texts(one.ask(query("HTTPS"), client)))) == number


def test_an_answer_without_addresses_is_kept_as_long_as_one_with_them() -> None:
    with gateway({(WWW, "HTTPS"): [HINTS]}, HIDING) as one:
        one.ask(query("HTTPS"))
        one.clock += 59
        assert one.ask(query("HTTPS")).answer[0].ttl == 1
        one.zone.table = {(WWW, "HTTPS"): "SERVFAIL"}
        one.clock += 1
        answer = one.ask(query("HTTPS", use_edns=0))
        assert (one.count("stale"), errors(answer)) == (1, [3])
        assert list(texts(answer)) == ['HTTPS 1 . alpn="h3,h2" ipv6hint="2001:db8::2"']


def test_a_query_for_anything_shows_none() -> None:
    with gateway({A: CHAIN}, HIDING) as one:
        assert [text.split()[0] for text in shown(one, "ANY")] == ["HINFO"]


def data_of(text: str) -> bytes:
    return dns.rdata.from_text("IN", "HTTPS", text).to_wire() or b""


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("1 . ipv4hint=192.0.2.1", "1 ."),
        ("1 . ipv4hint=192.0.2.1,192.0.2.2 key65280=x", "1 . key65280=x"),
        ("1 web.example. mandatory=ipv4hint ipv4hint=192.0.2.1", "1 web.example."),
        ("1 . mandatory=alpn,ipv4hint alpn=h2 ipv4hint=192.0.2.1", "1 . mandatory=alpn alpn=h2"),
        ("1 . mandatory=alpn alpn=h2 ipv6hint=2001:db8::1", "1 . mandatory=alpn alpn=h2 ipv6hint=2001:db8::1"),
        ("0 web.example.", "0 web.example."),
    ],
)
def test_rfc9460_8_what_is_taken_out_is_not_mandatory_either(text: str, left: str) -> None:
    assert without_hint(data_of(text)) == data_of(left)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0\1", b"\0\1\3", b"\0\1\0\0", b"\0\1\0\0\4\0\4\1\2\3", b"\0\1\0\0\1\0\0\0\4\0\xff1234"],
)
def test_rfc9460_2_2_a_record_that_cannot_be_read_is_left_out(data: bytes) -> None:
    question = wire.Question(wire.name_of(WWW), wire.HTTPS, wire.IN, 0)
    records = [wire.Record(question.name, wire.HTTPS, wire.IN, 60, each) for each in (data, data_of("1 ."))]
    found = without_ipv4(wire.Message(0, wire.QR, question, (records, [], []), None))
    assert found.sections[0] == records[1:]


def test_records_of_another_class_are_no_ipv4_addresses() -> None:
    question = wire.Question(wire.name_of(WWW), wire.A, 3, 0)
    message = wire.Message(0, wire.QR, question, ([wire.Record(question.name, wire.A, 3, 60, bytes(4))], [], []), None)
    assert without_ipv4(message) is message


def test_the_key_in_a_configuration_reaches_the_process() -> None:
    document = plan(loads(CONFIG), [], [])
    policies = Process(document | {"cache": 0})
    policies.know(document)
    assert [each.filter_a for each in policies.resolver._given[0]] == [True, False]


CONFIG = """
pool6 = "64:ff9b::/96"
[[pool4]]
addresses = "192.0.2.1"
[dns64]
upstream = ["198.51.100.2"]
clients = ["2001:db8::/32"]
policy = [{ clients = ["2001:db8:3::/48"], filter_a = true }]
"""
