"""RFC 6146 section 3.5.1: UDP bindings and sessions."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP

from tests.packets import (
    HOST4,
    HOST4_PORT,
    HOST6,
    HOST6_PORT,
    MAPPED4,
    MAPPED4_PORT,
    NEIGHBOUR6,
    OTHER4,
    answer4,
    from4,
    in6,
    whole,
)
from tests.sessions import Flow, Sessions, flow
from translator.verdict import Verdict

PEER = (HOST4, 53)


def test_rfc6146_3_5_1_first_packet_makes_binding_and_session():
    nat64 = Sessions()
    mapped = nat64.opened("udp", 6000)
    assert nat64.mapped("udp", 6000) == mapped
    assert nat64.session() == ("udp", (HOST6, 6000), mapped, PEER, "V6_INIT", 300)
    assert nat64.events() == {"BIB_CREATED": 4, "SESSION_CREATED": 1}  # three of them are CONFIG's [[forward]]


def test_rfc6146_3_5_1_answer_finds_the_host():
    nat64 = Sessions()
    mapped = nat64.opened("udp", 6000)
    (packet,) = nat64.from4("udp", mapped).packets
    assert flow(packet) == Flow(in6(HOST4), 53, HOST6, 6000)
    assert len(nat64.sessions()) == 1


def test_rfc6146_3_5_1_mapping_is_independent_of_the_endpoint():
    nat64 = Sessions()
    mapped = nat64.opened("udp", 6000)
    for peer in ((HOST4, 54), (OTHER4, 53), (OTHER4, 65535)):
        assert nat64.opened("udp", 6000, to=peer) == mapped
    assert len(nat64.sessions()) == 4
    assert nat64.events()["BIB_CREATED"] == 4


def test_rfc6146_3_5_1_filtering_is_independent_of_the_endpoint():
    nat64 = Sessions()
    mapped = nat64.opened("udp", 6000)
    (packet,) = nat64.from4("udp", mapped, (OTHER4, 4000)).packets
    assert flow(packet) == Flow(in6(OTHER4), 4000, HOST6, 6000)
    assert nat64.sessions()[1] == ("udp", (HOST6, 6000), mapped, (OTHER4, 4000), "V4_INIT", 300)


def test_rfc6146_3_5_1_packets_of_both_sides_start_the_lifetime_anew():
    nat64 = Sessions()
    mapped = nat64.opened("udp", 6000)
    for say in 2 * (lambda: nat64.from6("udp", 6000), lambda: nat64.from4("udp", mapped)):
        nat64.wait(200)
        assert nat64.session().left == 100
        say()
        assert nat64.session().left == 300


@pytest.mark.parametrize("peer", [(HOST4, 53), (HOST4, 54), (OTHER4, 53)], ids=["same", "other_port", "other_host"])
@pytest.mark.parametrize("binding", ["dynamic", "static"])
def test_rfc6146_3_5_1_a_packet_from_outside_makes_or_finds_its_session_and_starts_its_lifetime_anew(binding, peer):
    """Also a second and a third one."""
    nat64 = Sessions()
    static = (MAPPED4, MAPPED4_PORT), HOST6_PORT
    mapped, port = static if binding == "static" else (nat64.opened("udp", 6000), 6000)
    count = 1 + (peer != (HOST4, 53)) if binding == "dynamic" else 1
    for _ in range(3):
        (packet,) = nat64.from4("udp", mapped, peer).packets
        assert flow(packet) == Flow(in6(peer[0]), peer[1], HOST6, port)
        (session,) = nat64.sessions(lambda session: session.host4 == peer)
        assert session[:4] == ("udp", (HOST6, port), mapped, peer)
        assert session.left == 300
        assert len(nat64.sessions()) == count
        nat64.from6("udp", port, to=(HOST4, 53)) if count == 2 else None
        nat64.wait(299.999)
    assert nat64.from6("udp", port, to=peer).verdict == Verdict.TRANSLATED
    assert {session.left for session in nat64.sessions(lambda session: session.host4 == peer)} == {300}


def test_rfc6146_3_5_1_packet_of_one_session_leaves_the_lifetime_of_another():
    nat64 = Sessions()
    nat64.opened("udp", 6000)
    nat64.opened("udp", 6000, to=(OTHER4, 53))
    nat64.wait(200)
    nat64.from6("udp", 6000)
    assert [session.left for session in nat64.sessions()] == [300, 100]


def test_rfc6146_3_5_1_packet_from_outside_without_binding_is_answered_with_unreachable():
    nat64 = Sessions()
    sent = whole(from4() / UDP(sport=53, dport=MAPPED4_PORT + 1) / b"who?")
    outcome = nat64.say(bytes(sent))
    assert outcome.verdict == Verdict.NO_BIB_ENTRY
    assert outcome.answer == bytes(answer4(sent, 3, 1))
    assert nat64.sessions() == []


def test_rfc6146_3_5_1_packet_to_another_pool_address_with_the_same_port_finds_nobody():
    nat64 = Sessions()
    address, port = nat64.opened("udp", 6000)
    other = next(other for other in ("192.0.2.1", "192.0.2.2") if other != address)
    assert nat64.from4("udp", (other, port)).verdict == Verdict.NO_BIB_ENTRY


def test_rfc6146_3_5_1_binding_ends_with_its_last_session():
    nat64 = Sessions()
    mapped = nat64.opened("udp", 6000)
    nat64.wait(100)
    nat64.from4("udp", mapped, (OTHER4, 4000))
    nat64.wait(201)
    assert [session.host4 for session in nat64.sessions()] == [(OTHER4, 4000)]
    assert nat64.mapped("udp", 6000) == mapped
    nat64.wait(100)
    assert nat64.sessions() == []
    assert nat64.mapped("udp", 6000) is None
    assert nat64.from4("udp", mapped).verdict == Verdict.NO_BIB_ENTRY
    assert nat64.events()["BIB_ENDED"] == 1
    assert nat64.events()["SESSION_ENDED"] == 2


def test_rfc6146_3_5_1_sessions_of_a_binding_end_in_any_order():
    nat64 = Sessions()
    peers = [(HOST4, port) for port in range(1, 6)]
    for peer in peers:
        nat64.opened("udp", 6000, to=peer)
    nat64.wait(299)
    for peer in (peers[0], peers[2], peers[4]):  # so the two others end: in the middle of the list, and beside its ends
        nat64.from6("udp", 6000, to=peer)
    nat64.wait(2)
    assert sorted(session.host4 for session in nat64.sessions()) == [peers[0], peers[2], peers[4]]
    nat64.wait(297)
    nat64.from6("udp", 6000, to=peers[2])
    nat64.wait(2)
    assert nat64.session().host4 == peers[2]


@pytest.mark.parametrize("protocol", ["udp", "tcp", "icmp"])
def test_rfc6146_3_5_1_static_binding_serves_both_directions(protocol):
    nat64 = Sessions()
    mapped = (MAPPED4, MAPPED4_PORT)
    assert nat64.opened(protocol, HOST6_PORT)[0] == MAPPED4
    assert nat64.session().mapped4 == mapped
    assert nat64.from4(protocol, mapped, (OTHER4, 9)).verdict == Verdict.TRANSLATED
    assert len(nat64.sessions()) == 2


def test_rfc6146_3_5_1_two_hosts_never_share_a_transport_address():
    nat64 = Sessions()
    mapped = [nat64.opened("udp", 6000, host=host) for host in (HOST6, NEIGHBOUR6, "2001:db8:1::30")]
    assert len(set(mapped)) == 3


def test_rfc6146_3_5_2_2_a_datagram_between_the_same_ports_takes_no_syn_from_memory():
    nat64 = Sessions(forward=[], pool4=[{"addresses": MAPPED4, "ports": "2000-2000"}])
    syn = bytes(IP(src=HOST4, dst=MAPPED4) / TCP(sport=HOST4_PORT, dport=2000, flags="S"))
    assert nat64.say(syn).verdict == Verdict.SYN_HELD
    nat64.from6("udp", 5000)
    assert nat64.mapped("udp", 5000) == (MAPPED4, 2000)
    (refusal,) = nat64.wait(6)
    assert IP(refusal)[ICMP].type == 3
