"""Shares of the ports of an IPv4 address (RFC 6888 REQ-4): nobody fills the address that others are paired with."""

import pytest

from tests.packets import HOST6, NEIGHBOUR6, OTHER4, answer6, from6, whole
from tests.sessions import Sessions
from tests.translator.test_limits import OPENINGS
from tests.translator.test_shares import STRANGER6, Busy
from translator.verdict import Verdict

PORTS = 100
SIZE = f"2000-{2000 + PORTS - 1}"


def pool(addresses: str = "192.0.2.1", ports: str = SIZE, **limits) -> Busy:
    """A gateway whose addresses have so many ports, and a session table that is far from full."""
    return Busy(pool4=[{"addresses": addresses, "ports": ports}], forward=[], limits={"sessions": 4096, **limits})


def take_ports(nat64: Sessions, *hosts: str, protocol: str = "udp") -> int:
    """New mappings, each of the next host, until one is refused; how many there were."""
    taken = 0
    while (
        verdict := nat64.from6(protocol, 6000 + taken, host=hosts[taken % len(hosts)]).verdict
    ) == Verdict.TRANSLATED:
        taken += 1
    assert verdict == Verdict.SUBSCRIBER_PORTS
    return taken


@pytest.mark.parametrize("protocol", OPENINGS)
def test_a_host_alone_gets_four_fifths_of_four_fifths_and_others_get_ports(protocol):
    nat64 = pool()
    assert take_ports(nat64, HOST6, protocol=protocol) == 64
    sent = whole(from6(src=HOST6) / OPENINGS[protocol])
    outcome = nat64.say(bytes(sent))
    assert (outcome.verdict, outcome.answer) == (Verdict.SUBSCRIBER_PORTS, bytes(answer6(sent, 1, 3)))
    assert nat64.mapped(protocol, 7000) is None
    for host in (NEIGHBOUR6, STRANGER6):
        nat64.opened(protocol, 6000, host=host)
    nat64.opened(protocol, 6000, to=(OTHER4, 7))  # its mapping is there, so it needs no port


def test_each_protocol_has_ports_of_its_own():
    nat64 = pool()
    assert [take_ports(nat64, HOST6, protocol=protocol) for protocol in ("udp", "tcp", "icmp")] == [64] * 3


@pytest.mark.parametrize("protocol", ["udp", "tcp", "icmp"])
def test_as_many_hosts_as_a_subscriber_likes_get_four_fifths(protocol):
    nat64 = pool()
    assert take_ports(nat64, *(f"2001:db8:1::{k + 1:x}" for k in range(PORTS)), protocol=protocol) == 80
    nat64.opened(protocol, 6000, host=STRANGER6)


@pytest.mark.parametrize(
    ("subscriber", "own", "other"),
    [
        (48, "2001:db8:1:{:x}::1", "2001:db8:2::1"),
        (60, "2001:db8:1::{:x}", "2001:db8:1:10::1"),
        (96, "2001:db8:1::{:x}", "2001:db8:1::1:0:1"),
    ],
)
def test_so_do_those_of_a_prefix_of_any_length(subscriber, own, other):
    nat64 = pool(subscriber=subscriber)
    assert take_ports(nat64, *(own.format(k + 1) for k in range(PORTS))) == 80
    nat64.opened("udp", 6000, host=other)


def test_with_subscriber_128_a_host_gets_four_fifths():
    nat64 = pool(subscriber=128)
    assert take_ports(nat64, HOST6) == 80
    nat64.opened("udp", 6000, host=NEIGHBOUR6)


def test_a_host_that_is_paired_gets_no_port_of_another_address():
    nat64 = pool("192.0.2.1-192.0.2.2")
    assert take_ports(nat64, HOST6) == 64
    assert {mapped4[0] for mapped4 in nat64.bib().values()} == {nat64.mapped("udp", 6000)[0]}


def test_with_soft_pairing_a_host_gets_its_share_of_each_address():
    nat64 = pool("192.0.2.1-192.0.2.2", pairing="soft")
    assert take_ports(nat64, HOST6) == 2 * 64


def test_a_new_host_gets_an_address_of_which_its_subscriber_has_less_than_its_share():
    nat64 = pool("192.0.2.1-192.0.2.4", ports="2000-2009")
    hosts = [f"2001:db8:1::{k + 1:x}" for k in range(32)]
    for host in hosts:  # each its first mapping: the addresses fill one after the other or all at once, but all fill
        nat64.opened("udp", 6000, host=host)
    assert nat64.from6("udp", 6000, host="2001:db8:1::ff").verdict == Verdict.SUBSCRIBER_PORTS
    used = [entry[0] for entry in nat64.bib().values()]
    assert sorted(used.count(address) for address in set(used)) == [8, 8, 8, 8]
    nat64.opened("udp", 6000, host=STRANGER6)


def test_ports_that_wait_are_free():
    nat64 = pool()
    take_ports(nat64, HOST6)
    nat64.wait(301)
    assert take_ports(nat64, HOST6) == 64


def test_what_is_configured_is_nobodys_share():
    rows = [
        {"protocol": "udp", "ipv4": "192.0.2.1:2000-2049", "ipv6": f"[{HOST6}]:2000-2049"},
    ]
    nat64 = Busy(pool4=[{"addresses": "192.0.2.1", "ports": SIZE}], forward=rows)
    assert take_ports(nat64, HOST6) == 32
    nat64.opened("udp", 2000)


def test_a_port_that_is_given_back_is_one_less():
    nat64 = pool()
    take_ports(nat64, HOST6, protocol="icmp")
    nat64.wait(59)
    for k in range(63):
        nat64.opened("icmp", 6000 + k)
    nat64.wait(2)
    nat64.opened("icmp", 7000)
    assert nat64.from6("icmp", 7001).verdict == Verdict.SUBSCRIBER_PORTS
