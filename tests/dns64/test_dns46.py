"""IPv4 clients and hosts that have an [[eam]] only: A records made of AAAA records."""

from dataclasses import replace
from ipaddress import IPv6Network

import dns.flags
import dns.reversename
import pytest

from nat64d.dns64.message import wire
from nat64d.dns64.rules.maps import Maps
from tests.dns64.gateway import CLIENT4, CLIENT6, POLICY, WWW, addresses, errors, gateway, query
from tests.dns64.zone import SOA

MAPS = Maps.of([("198.51.100.0/24", "2001:db8:1::/120"), ("203.0.113.1/32", "2001:db8:1::10/128")])
A, AAAA = (WWW, "A"), (WWW, "AAAA")
EMPTY = [f"example. 300 IN SOA {SOA}"]
HOST = [f"{WWW} 900 IN AAAA 2001:db8:1::20"]


@pytest.mark.parametrize(
    ("a", "aaaa", "expected"),
    [
        (EMPTY, HOST, ["198.51.100.32"]),
        (EMPTY, [f"{WWW} 900 IN AAAA 2001:db8:1::10"], ["203.0.113.1"]),
        (EMPTY, [*HOST, f"{WWW} 900 IN AAAA 2001:db8:2::1"], ["198.51.100.32"]),
        (EMPTY, [f"{WWW} 900 IN AAAA 2001:db8:2::1"], []),
        ("SERVFAIL", HOST, ["198.51.100.32"]),
        ([f"{WWW} 60 IN A 192.0.2.1"], HOST, ["192.0.2.1"]),
    ],
)
def test_an_ipv4_client_gets_the_mapped_address_of_a_name_without_one(
    a: object, aaaa: list[str], expected: list[str]
) -> None:
    with gateway({A: a, AAAA: aaaa}, maps=MAPS, dns46=True) as one:
        assert one.addresses("A") == expected
        assert one.asked() == [A, AAAA]


def test_what_excludes_aaaa_records_excludes_no_a_record() -> None:
    policy = replace(POLICY, exclude=(IPv6Network("::/0"),), force_names=(wire.name_of(WWW),))
    with gateway({A: [f"{WWW} 60 IN A 192.0.2.1"], AAAA: HOST}, policy, maps=MAPS, dns46=True) as one:
        assert one.addresses("A") == ["192.0.2.1"]


def test_the_name_that_does_not_exist_still_does_not() -> None:
    with gateway({A: "NXDOMAIN", AAAA: HOST}, maps=MAPS, dns46=True) as one:
        assert one.ask(query("A")).rcode() == wire.NXDOMAIN


@pytest.mark.parametrize(
    ("client", "dns46", "ready", "expected"),
    [
        (CLIENT4, True, True, ["198.51.100.32"]),
        (CLIENT6, True, True, []),
        (CLIENT4, False, True, []),
        (CLIENT4, True, False, []),
    ],
)
def test_no_other_client_gets_one(client: str, dns46: bool, ready: bool, expected: list[str]) -> None:
    with gateway({A: EMPTY, AAAA: HOST}, maps=MAPS, dns46=dns46) as one:
        one.ready = ready
        for _ in range(2):
            assert one.addresses("A", client=client) == expected


def test_ipv4_and_ipv6_clients_share_no_answer_that_differs() -> None:
    with gateway({A: EMPTY, AAAA: HOST}, maps=MAPS, dns46=True) as one:
        for client, expected in [(CLIENT4, ["198.51.100.32"]), (CLIENT6, []), (CLIENT4, ["198.51.100.32"])]:
            assert one.addresses("A", client=client) == expected


def test_ttl_and_error_are_those_of_a_synthetic_answer() -> None:
    with gateway({A: EMPTY, AAAA: HOST}, maps=MAPS, dns46=True) as one:
        answer = one.ask(query("A", use_edns=0))
    assert (answer.answer[0].ttl, errors(answer)) == (300, [29])


def test_clients_that_validate_for_themselves_get_none() -> None:
    with gateway({A: EMPTY, AAAA: HOST}, maps=MAPS, dns46=True) as one:
        assert addresses(one.ask(query("A", flags=dns.flags.CD, want_dnssec=True))) == []


def test_an_aaaa_query_of_an_ipv4_client_is_answered_as_ever() -> None:
    with gateway({A: [f"{WWW} 60 IN A 192.0.2.1"], AAAA: EMPTY}, maps=MAPS, dns46=True) as one:
        assert one.addresses() == ["64:ff9b::c000:201"]


@pytest.mark.parametrize("address", ["198.51.100.32", "64:ff9b::c633:6420"])
def test_a_reverse_name_leads_to_the_hosts_own(address: str) -> None:
    host = dns.reversename.from_address("2001:db8:1::20").to_text()
    with gateway({(host, "PTR"): [f"{host} 60 IN PTR {WWW}"]}, maps=MAPS) as one:
        answer = one.ask(query("PTR", dns.reversename.from_address(address).to_text()))
        assert one.asked() == [(host, "PTR")]
    assert [str(rrset[0]) for rrset in answer.answer][-2:] == [host, WWW]
    assert not answer.flags & dns.flags.AA


def test_aliases_of_ours_that_lead_in_a_circle_come_to_an_end() -> None:
    circle = Maps.of([("198.51.100.1/32", "64:ff9b::c633:6401/128")])
    with gateway({}, maps=circle) as one:
        answer = one.ask(query("PTR", "1.100.51.198.in-addr.arpa."))
        assert answer.rcode() == wire.SERVFAIL
        assert one.asked() == []


def test_filter_a_hides_mapped_addresses_too() -> None:
    with gateway({A: EMPTY, AAAA: HOST}, replace(POLICY, filter_a=True), maps=MAPS, dns46=True) as one:
        assert one.addresses("A") == []
        assert one.asked() == [A]


@pytest.mark.parametrize("type_", ["MX", "TXT", "HTTPS", "PTR"])
def test_rfc6147_5_3_3_other_types_are_relayed_to_ipv4_clients_too(type_: str) -> None:
    with gateway({A: EMPTY, AAAA: HOST, (WWW, type_): "NODATA"}, maps=MAPS, dns46=True) as one:
        assert one.ask(query(type_)).rcode() == wire.NOERROR
        assert one.asked() == [(WWW, type_)]
