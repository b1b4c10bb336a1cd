"""Names that are answered locally: ipv4only.arpa (RFC 7050, RFC 8880), and reverse names under the prefix (RFC 6147
section 5.3.1)."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import dns.message
import dns.rcode
import dns.rdatatype
import dns.reversename
import pytest

from nat64d.dns64.message import wire
from nat64d.dns64.rules import local
from nat64d.dns64.rules.maps import Maps
from nat64d.dns64.rules.policy import Policy, ranges_for
from tests.reference.addresses import embed
from translator.static.blocks import NON_GLOBAL4

POOL6 = IPv6Network("2001:db8:64::/96")
POLICY = Policy((IPv6Network("::/0"),), ranges_for(POOL6, [IPv4Network("10.0.0.0/8")], None))
MAPS = Maps.of([("198.51.100.0/24", "2001:db8:1::/120"), ("203.0.113.1/32", "2001:db8:64::c000:209/128")])


WITHOUT_DATA = ("TXT", "MX", "SOA", "NS", "CNAME", "PTR", "HTTPS", "DNSKEY", "TYPE65280", "ANY")


def ask(name: str, type_: str, policy: Policy = POLICY, ready: bool = True) -> dns.message.Message | None:
    query = wire.read(dns.message.make_query(name, type_).to_wire())
    answer = local.answer(query.question, policy, MAPS, ready)
    if answer is None:
        return None
    assert {record.class_ for section in answer.sections for record in section} == {wire.IN}
    assert bool(answer.sections[0]) is not bool(answer.sections[1])  # data, or the SOA record of what has none
    return dns.message.from_wire(wire.write(answer))


def alias(name: str, policy: Policy = POLICY) -> str:
    """Where the only record of an answer leads."""
    answer = ask(name, "PTR", policy)
    assert answer is not None
    assert [rrset.rdtype for rrset in answer.answer] == [dns.rdatatype.CNAME]
    return answer.answer[0][0].to_text()


def texts(name: str, type_: str, ready: bool = True) -> set[str]:
    answer = ask(name, type_, ready=ready)
    assert answer is not None
    return {item.to_text() for rrset in answer.answer for item in rrset}


@pytest.mark.parametrize("ready", [True, False], ids=["ready", "not_ready"])
@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        ("A", {"192.0.0.170", "192.0.0.171"}),
        ("AAAA", {"2001:db8:64::c000:aa", "2001:db8:64::c000:ab"}),
        *((type_, set()) for type_ in WITHOUT_DATA),
    ],
)
def test_rfc8880_7_1_ipv4only_arpa_is_answered_here_whatever_the_type(
    type_: str, expected: set[str], ready: bool
) -> None:
    assert texts("IPv4Only.ARPA", type_, ready) == (expected if ready or type_ != "AAAA" else set())


REVERSE, OF_A_SERVER = (
    dns.reversename.from_address(f"2001:db8:64::{address}").to_text() for address in ("192.0.0.170", "192.0.2.1")
)


@pytest.mark.parametrize("ready", [True, False], ids=["ready", "not_ready"])
@pytest.mark.parametrize("name", ["ipv4only.arpa", "www.ipv4only.arpa", REVERSE])
def test_rfc2308_an_answer_without_data_says_how_long(name: str, ready: bool) -> None:
    answer = ask(name, "TXT", ready=ready)
    assert answer is not None
    (soa,) = answer.authority
    assert soa.ttl == soa[0].minimum > 0


@pytest.mark.parametrize(
    ("name", "type_", "ready"),
    [
        ("ipv4only.arpa.", "TXT", True),
        (REVERSE, "TXT", True),
        (REVERSE, "AAAA", False),
        ("ipv4only.arpa.", "AAAA", False),
    ],
)
def test_rfc2308_3_what_has_no_data_names_its_own_zone(name: str, type_: str, ready: bool) -> None:
    answer = ask(name, type_, ready=ready)
    assert answer is not None
    assert answer.answer == answer.additional == []
    assert [(rrset.name.to_text(), rrset.rdtype) for rrset in answer.authority] == [(name, dns.rdatatype.SOA)]


@pytest.mark.parametrize("type_", ["A", "AAAA"])
def test_rfc7050_4_the_records_of_ipv4only_arpa_hold_an_hour_at_least(type_: str) -> None:
    answer = ask("ipv4only.arpa", type_)
    assert answer is not None
    assert answer.answer[0].ttl >= 3600


@pytest.mark.parametrize("ready", [True, False], ids=["ready", "not_ready"])
@pytest.mark.parametrize("type_", WITHOUT_DATA)
def test_rfc8880_7_1_a_negative_answer_is_no_error(type_: str, ready: bool) -> None:
    answer = ask("ipv4only.arpa", type_, ready=ready)
    assert answer is not None
    assert (answer.rcode(), answer.answer) == (dns.rcode.NOERROR, [])
    assert [rrset.rdtype for rrset in answer.authority] == [dns.rdatatype.SOA]


@pytest.mark.parametrize("ready", [True, False], ids=["ready", "not_ready"])
@pytest.mark.parametrize("name", ["ipv4only.arpa", "IPv4Only.ARPA"])
def test_rfc8880_7_1_ds_is_resolved_as_usual(name: str, ready: bool) -> None:
    assert ask(name, "DS", ready=ready) is None


@pytest.mark.parametrize("name", ["ipv4only.arpa", "www.ipv4only.arpa"])
@pytest.mark.parametrize("type_", ["A", "AAAA", "TXT", "DS"])
def test_rfc8880_7_1_a_resolver_without_a_prefix_does_not_treat_the_name_specially(type_: str, name: str) -> None:
    query = wire.read(dns.message.make_query(name, type_).to_wire())
    assert local.answer(query.question, replace(POLICY, ranges=(), synthesise=False), MAPS, True) is None


def test_rfc7050_5_without_synthesis_there_is_no_prefix_to_find() -> None:
    question = wire.read(dns.message.make_query("ipv4only.arpa", "AAAA").to_wire()).question
    for policy, ready, seconds in [(POLICY, False, 10), (replace(POLICY, synthesise=False), True, 86400)]:
        answer = local.answer(question, policy, None, ready)
        assert answer is not None
        assert answer.sections[0] == []
        assert [record.ttl for record in answer.sections[1]] == [seconds]


@pytest.mark.parametrize("type_", ["A", "AAAA", "DS", *WITHOUT_DATA])
@pytest.mark.parametrize("name", ["www.ipv4only.arpa", "a.b.IPv4Only.arpa"])
@pytest.mark.parametrize("ready", [True, False], ids=["ready", "not_ready"])
def test_rfc8880_7_1_no_name_exists_below_ipv4only_arpa(name: str, type_: str, ready: bool) -> None:
    answer = ask(name, type_, ready=ready)
    assert answer is not None
    assert (answer.rcode(), answer.answer) == (dns.rcode.NXDOMAIN, [])
    assert [(rrset.name.to_text(), rrset.rdtype) for rrset in answer.authority] == [
        ("ipv4only.arpa.", dns.rdatatype.SOA)
    ]


@pytest.mark.parametrize("name", ["170.0.0.192.in-addr.arpa.", "171.0.0.192.in-addr.arpa."])
@pytest.mark.parametrize("type_", ["PTR", "TXT", "DS"])
def test_rfc8880_7_2_the_reverse_names_of_the_ipv4_addresses_are_resolved_as_any_other(name: str, type_: str) -> None:
    assert ask(name, type_) is None
    assert ask(f"x.{name}", type_) is None


@pytest.mark.parametrize("type_", ["PTR", "ANY", "TXT"])
@pytest.mark.parametrize("address", ["2001:db8:64::c000:aa", "2001:db8:64::c000:ab"])
def test_rfc8880_7_2_1_the_reverse_names_of_the_synthetic_addresses_are_answered_at_once(
    address: str, type_: str
) -> None:
    expected = set() if type_ == "TXT" else {"ipv4only.arpa."}
    assert texts(dns.reversename.from_address(address).to_text(), type_) == expected


def test_rfc6147_5_3_1_a_reverse_name_under_the_prefix_is_an_alias_of_the_ipv4_one() -> None:
    for name in (OF_A_SERVER, OF_A_SERVER.upper(), OF_A_SERVER.replace("ip6", "iP6")):
        assert alias(name) == "1.2.0.192.in-addr.arpa."


PREFIXES = ["2001:db8::/32", "2001:db8:100::/40", "2001:db8:122::/48", "2001:db8:122:300::/56", "2001:db8:122:344::/64"]


@pytest.mark.parametrize("embedded", ["192.0.2.33", "198.51.100.255", "10.0.0.1"])
@pytest.mark.parametrize("prefix", [*PREFIXES, "2001:db8:122:344::/96", "64:ff9b::/96"])
def test_rfc6147_5_3_1_so_it_is_under_a_prefix_of_any_length(prefix: str, embedded: str) -> None:
    """Of the policy, and of a range."""
    address = embed(IPv6Network(prefix), IPv4Address(embedded))
    whole = ranges_for(IPv6Network(prefix), [], None)
    part = ranges_for(IPv6Network("2001:db8:99::/96"), [IPv4Network("10.0.0.0/8")], IPv6Network(prefix))
    for ranges in (whole, part):
        name = dns.reversename.from_address(str(address)).to_text()
        assert alias(name, replace(POLICY, ranges=ranges)) == dns.reversename.from_address(embedded).to_text()


@pytest.mark.parametrize("prefix", [*PREFIXES, "2001:db8:122:344::/96", "64:ff9b::/96"])
def test_rfc8880_7_1_the_addresses_of_ipv4only_arpa_are_under_a_prefix_of_any_length(prefix: str) -> None:
    """Under the well-known one too, though their block is not global."""
    pool6 = IPv6Network(prefix)
    answer = ask("ipv4only.arpa", "AAAA", replace(POLICY, ranges=ranges_for(pool6, NON_GLOBAL4, None)))
    assert answer is not None
    found = {IPv6Address(item.address) for item in answer.answer[0]}
    assert found == {embed(pool6, IPv4Address(text)) for text in ("192.0.0.170", "192.0.0.171")}


def test_rfc6147_5_3_1_a_reverse_name_under_the_prefix_of_a_range_is_one_too() -> None:
    ranges = ranges_for(POOL6, [IPv4Network("10.0.0.0/8")], IPv6Network("64:ff9b:1::/96"))
    name = dns.reversename.from_address("64:ff9b:1::10.0.0.1").to_text()
    assert alias(name, replace(POLICY, ranges=ranges)) == "1.0.0.10.in-addr.arpa."


@pytest.mark.parametrize("name", ["ipv4only.arpa", "www.ipv4only.arpa", REVERSE, OF_A_SERVER])
def test_rfc6147_5_1_another_class_is_for_a_server(name: str) -> None:
    for type_ in ("A", "AAAA", "PTR"):
        question = wire.read(dns.message.make_query(name, type_, rdclass="CH").to_wire()).question
        assert local.answer(question, POLICY, MAPS, True) is None


def test_rfc6147_5_3_1_a_reverse_name_under_the_well_known_prefix_is_one_too_whatever_the_prefix() -> None:
    name = dns.reversename.from_address("64:ff9b::c000:201").to_text()
    assert alias(name) == "1.2.0.192.in-addr.arpa."
    query = wire.read(dns.message.make_query(name, "PTR").to_wire())
    assert local.answer(query.question, replace(POLICY, ranges=()), None, True) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("198.51.100.16", "2001:db8:1::10"),
        ("2001:db8:64::c633:6410", "198.51.100.16"),  # from there to the host as above
    ],
)
def test_the_reverse_name_of_a_mapped_address_is_an_alias_of_the_hosts(name: str, expected: str) -> None:
    reverse = dns.reversename.from_address
    assert alias(reverse(name).to_text()) == reverse(expected).to_text()


REVERSE = dns.reversename.from_address("2001:db8:64::c000:201").to_text()  # under the prefix


@pytest.mark.parametrize(
    "name",
    [
        dns.reversename.from_address("2001:db8:65::c000:201").to_text(),
        dns.reversename.from_address("64:ff9b:1::c000:201").to_text(),
        "8.b.d.0.1.0.0.2.ip6.arpa.",
        "x." * 32 + "ip6.arpa.",
        "_rfc6763._udp." + REVERSE,
        "1." + REVERSE,
        "1." * 33 + "ip6.arpa.",
        "1." * 100 + "ip6.arpa.",
        REVERSE.partition(".")[2],
        REVERSE.partition(".")[2].partition(".")[2],
        "10" + REVERSE,
        "12." * 32 + "ip6.arpa.",
        REVERSE.replace("ip6.arpa.", "ip6.example."),
        REVERSE.replace("ip6.arpa.", "in-addr.arpa."),
        "ip6.arpa.",
        "1.2.0.192.in-addr.arpa.",
        "100.51.198.in-addr.arpa.",
        "016.100.51.198.in-addr.arpa.",
        "256.100.51.198.in-addr.arpa.",
        "x.100.51.198.in-addr.arpa.",
        dns.reversename.from_address("2001:db8:1::10").to_text(),
        "www.example.",
    ],
)
def test_what_is_not_ours_is_for_a_server(name: str) -> None:
    assert ask(name, "PTR") is None
