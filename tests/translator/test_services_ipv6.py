"""IPv6 clients of services. Each test is a row of docs/services.md, "IPv6 clients"; most hold for both ways."""

from ipaddress import IPv6Address

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrFragment,
    IPv6ExtHdrRouting,
)
from scapy.packet import Raw

from tests.case import BEGIN
from tests.packets import HOST4, HOST6, in6, whole
from tests.translator.front6 import (
    CLIENT6,
    ENDPOINTS,
    OTHER6,
    SOURCE6,
    VIP6,
    WAYS,
    Front,
    ends6,
    from_endpoint,
    syn6,
    udp6,
)
from tests.translator.services import VIP, E, endpoints, ends4, in6_, service, tcp4, tcp6
from translator.packet.error_limits import ECHOES, RECEIVERS, TOKENS
from translator.session.clients6 import find_written
from translator.tables.layout import NONE
from translator.tables.tables import CLIENTS6, NEVER_USED
from translator.verdict import Verdict

BOTH = pytest.mark.parametrize("way", WAYS)
ROUTER = "2001:db8:7::1"


def verdict(nat64, packet):
    return nat64.send(packet).verdict


# ---- flows


@BOTH
def test_a_connection_goes_to_an_endpoint_and_its_answers_come_from_the_service(way):
    nat64 = Front(way)
    there = nat64.client6()
    assert there[1] in ENDPOINTS
    assert there[0] == CLIENT6 if way == "dnat" else there[0].startswith(SOURCE6)
    answer = nat64.back(there)
    assert ends6(answer) == (VIP6, 80, CLIENT6, 7)
    assert answer[IPv6].hlim == 63
    assert nat64.clients() == [(CLIENT6, 7, there[1])]
    assert nat64.client6(flags="A") == there


@BOTH
def test_the_same_client_is_seen_as_the_same_and_another_one_as_another(way):
    nat64 = Front(way)
    seen = {nat64.client6(sport)[0] for sport in range(1, 20)}
    assert len(seen) == 1
    assert nat64.client6(src=OTHER6)[0] not in seen
    assert Front(way).client6()[0] in seen  # another gateway, or this one after a restart


@BOTH
def test_flows_are_shared_among_the_endpoints(way):
    assert {Front(way).client6(sport)[1] for sport in range(30)} == set(ENDPOINTS)


@BOTH
def test_with_affinity_a_client_has_one_endpoint(way):
    nat64 = Front(way, service("web", f"{VIP}:80", endpoints(8080, 1, 2, 3), ipv6=f"[{VIP6}]:80", affinity="client"))
    assert len({nat64.client6(sport)[1] for sport in range(30)}) == 1
    assert len({nat64.client6(1, src=f"2001:db8:9::{n}")[1] for n in range(1, 30)}) == 3


@BOTH
def test_datagrams_too_and_the_service_may_have_no_ipv4(way):
    nat64 = Front(way, service("dns", None, endpoints(53, 1, 2, 3), "udp", ipv6=f"[{VIP6}]:53"))
    out = nat64.passed(udp6(7, 53))
    assert out[UDP].dport == 53
    back = whole(IPv6(src=out[IPv6].dst, dst=out[IPv6].src, hlim=64) / UDP(sport=53, dport=7) / b"answer")
    assert ends6(nat64.passed(back)) == (VIP6, 53, CLIENT6, 7)
    nat64.expire(BEGIN + 63)
    assert nat64.clients() == []


@BOTH
def test_ipv4_clients_are_served_beside_them(way):
    nat64 = Front(way)
    nat64.client6()
    there = nat64.client()
    assert nat64.answer(there).src == VIP
    bare = Front(way, service("web", f"{VIP}:80", endpoints(8080, 1), ipv6=f"[{VIP6}]:80"))
    (packet,) = map(whole, bare.send(tcp6(E(1), 8080, 7, "SA")).packets)  # another gateway has the session
    assert packet.src == VIP


@BOTH
def test_a_client_is_forgotten_with_its_last_session(way):
    nat64 = Front(way)
    seen = nat64.client6(1)[0]
    nat64.client6(2)
    assert nat64.tables.uses6[0] == 2
    nat64.expire(BEGIN + 33)
    assert nat64.tables.uses6[0] == 0
    assert find_written(nat64.gateway, *nat64.tables.clients6[0][["written_hi", "written_lo"]]) == NONE
    nat64.client6(1, src=OTHER6, at=40)
    assert nat64.client6(1, at=40)[0] == seen


def test_two_clients_with_one_hash_have_addresses_of_their_own():
    nat64 = Front("fullnat")
    first = nat64.client6(1)[0]
    row = nat64.tables.clients6[0]
    taken = int(row.written_lo)
    other = Front("fullnat")
    other.client6(1, src=OTHER6)
    from translator.session.clients6 import client_hash
    from translator.tables.hashing import insert, remove

    gateway, mine = other.gateway, other.tables.clients6[0]
    remove(other.tables.written6, client_hash(gateway, mine.written_hi, mine.written_lo), 0)
    mine.written_lo = taken
    insert(other.tables.written6, client_hash(gateway, mine.written_hi, mine.written_lo), 0)
    second = other.client6(1)[0]
    assert second != first
    assert int(other.tables.clients6[1].written_lo) == taken + 1


# ---- what is refused


@BOTH
@pytest.mark.parametrize(("port", "expected"), [(9, Verdict.NO_ENDPOINT), (81, Verdict.CLOSED_PORT)])
def test_nobody_there_is_told_as_the_service(way, port, expected):
    nat64 = Front(way)
    outcome = nat64.send(syn6(7, port))
    reset = whole(outcome.answer)
    assert outcome.verdict == expected
    assert (*ends6(reset), reset[TCP].flags) == (VIP6, port, CLIENT6, 7, "RA")
    outcome = nat64.send(udp6(7, port))
    told = whole(outcome.answer)
    assert (outcome.verdict, told.src, told.dst) == (expected, VIP6, CLIENT6)
    assert (told[ICMPv6DestUnreach].type, told[ICMPv6DestUnreach].code) == (1, 4)
    silent = Front(way, services={"no_endpoint": "drop", "closed_port": "drop"})
    assert silent.send(syn6(7, port)).answer is None


@BOTH
def test_other_protocols_are_refused_by_the_service(way):
    outcome = Front(way).send(whole(IPv6(src=CLIENT6, dst=VIP6, nh=132) / Raw(bytes(12))))
    assert (outcome.verdict, whole(outcome.answer).src) == (Verdict.PROTOCOL, VIP6)


@BOTH
def test_sources_are_of_both_families(way):
    nat64 = Front(way)
    assert verdict(nat64, syn6(7, 22, src="2001:db8:9::1")) == Verdict.HAIRPINNED
    assert verdict(nat64, syn6(7, 22)) == Verdict.SOURCE_RANGE
    assert verdict(nat64, tcp4(7, 22, src="192.0.2.9")) == Verdict.TRANSLATED
    assert verdict(nat64, tcp4(7, 22, src="198.51.100.77")) == Verdict.SOURCE_RANGE
    nat64 = Front(way, service("staff", f"{VIP}:22", endpoints(22, 1), ipv6=f"[{VIP6}]:22", sources=["192.0.2.0/24"]))
    assert verdict(nat64, syn6(7, 22, src="2001:db8:9::1")) == Verdict.SOURCE_RANGE


@BOTH
@pytest.mark.parametrize("source", ["64:ff9b::203.0.113.7", VIP6, "fe80::1"])
def test_a_source_that_no_client_has(way, source):
    nat64 = Front(way)
    for fields in ({}, {"hlim": 1}, {"nh": 47}):
        outcome = nat64.send(syn6(7, 80, src=source, **fields))
        assert outcome.verdict in (Verdict.SOURCE_IN_POOL6, Verdict.FORGED_SOURCE, Verdict.NOT_UNICAST)
        assert outcome.answer is None
    assert nat64.clients() == []


def test_nobody_comes_from_source6():
    for hop_limit in (64, 1):
        outcome = Front("fullnat").send(syn6(7, 80, src=f"{SOURCE6}1", hlim=hop_limit))
        assert (outcome.verdict, outcome.answer) == (Verdict.FORGED_SOURCE, None)


@BOTH
def test_two_flows_of_one_port_to_one_endpoint_by_two_services(way):
    nat64 = Front(way)
    assert verdict(nat64, syn6(7, 443)) == Verdict.HAIRPINNED
    assert verdict(nat64, syn6(7, 444)) == Verdict.SERVICE_CLASH
    assert verdict(nat64, syn6(8, 444)) == Verdict.HAIRPINNED


@BOTH
def test_without_room_for_a_session_a_client_is_refused(way):
    nat64 = Front(way, limits={"sessions": 16})
    found = [verdict(nat64, syn6(sport, 80)) for sport in range(1, 8)]
    assert found == [Verdict.HAIRPINNED] * 4 + [Verdict.SESSION_TABLE_FULL] * 3
    assert verdict(nat64, syn6(20, 80, "R")) == Verdict.HAIRPINNED  # it needs none


@BOTH
def test_a_rst_opens_nothing(way):
    nat64 = Front(way)
    assert nat64.client6(flags="R")[1] in ENDPOINTS
    assert nat64.clients() == []
    assert not nat64.tables.uses6.any()


def test_there_is_no_room_for_a_client_either():
    nat64 = Front("fullnat", limits={"sessions": 16})
    nat64.tables.free[CLIENTS6, NEVER_USED] = 16
    outcome = nat64.translate(bytes(syn6(1, 80)), round(BEGIN * 1000))
    assert outcome.verdict == Verdict.SESSION_TABLE_FULL


@BOTH
def test_hop_limit_and_routing_header(way):
    nat64 = Front(way)
    assert verdict(nat64, syn6(7, 80, hlim=1)) == Verdict.HOP_LIMIT_EXPIRED
    routed = whole(IPv6(src=CLIENT6, dst=VIP6) / IPv6ExtHdrRouting(addresses=[HOST6], segleft=1) / TCP(dport=80))
    outcome = nat64.send(routed)
    assert outcome.verdict == Verdict.ROUTING_HEADER
    assert outcome.answer is not None


@BOTH
def test_no_packet_has_the_address_of_a_handle(way):
    nat64 = Front(way)
    there = nat64.client6()[1]
    handle = in6_("240.0.0.0")
    packet = whole(IPv6(src=there, dst=handle, hlim=64) / TCP(sport=8080, dport=7, flags="A"))
    assert verdict(nat64, packet) == Verdict.NO_SESSION


# ---- what endpoints send besides


def test_dnat_passes_on_what_is_of_no_flow_as_it_came():
    nat64 = Front("dnat")
    there = nat64.client6()
    for packet in (
        from_endpoint((OTHER6, E(1)), 8080, 7, "A"),
        from_endpoint((CLIENT6, there[1]), 8080, 99),
        from_endpoint((CLIENT6, E(1)), 8080, 7, "A", hlim=1),
        whole(IPv6(src=E(2), dst=OTHER6) / UDP(sport=53, dport=7) / b"x"),
        whole(IPv6(src=E(2), dst=OTHER6) / IPv6ExtHdrFragment(m=1, id=7) / UDP(sport=53, dport=7) / bytes(8)),
        whole(IPv6(src=E(2), dst=OTHER6) / IPv6ExtHdrFragment(offset=2, id=7) / Raw(bytes(8))),
    ):
        outcome = nat64.send(packet)
        assert (outcome.verdict, [bytes(one) for one in outcome.packets]) == (Verdict.PASSED, [bytes(packet)])


def test_dnat_passes_on_errors_about_what_others_send_to_endpoints():
    nat64 = Front("dnat")
    quoted = IPv6(src=OTHER6, dst=E(1)) / TCP(sport=7, dport=8080)
    packet = whole(IPv6(src=ROUTER, dst=OTHER6) / ICMPv6DestUnreach(code=0) / quoted)
    assert verdict(nat64, packet) == Verdict.PASSED


def test_dnat_passes_nothing_else_on():
    nat64 = Front("dnat")
    assert verdict(nat64, from_endpoint((OTHER6, E(1)), 1234, 7)) == Verdict.NOT_OUR_PREFIX
    assert verdict(nat64, from_endpoint((OTHER6, HOST6), 8080, 7)) == Verdict.NOT_OUR_PREFIX
    broken = whole(IPv6(src=ROUTER, dst=OTHER6) / ICMPv6DestUnreach() / Raw(b"nothing"))
    assert verdict(nat64, broken) == Verdict.QUOTED_PACKET


def test_fullnat_drops_what_is_of_no_flow():
    nat64 = Front("fullnat")
    there = nat64.client6()
    assert verdict(nat64, from_endpoint((f"{SOURCE6}1", E(1)), 8080, 7)) == Verdict.NO_SESSION
    assert verdict(nat64, from_endpoint(there, 8080, 99)) == Verdict.NO_SESSION
    assert verdict(nat64, from_endpoint((f"{SOURCE6}1", E(1)), 8080, 7, hlim=1)) == Verdict.HOP_LIMIT_EXPIRED
    assert verdict(nat64, from_endpoint((OTHER6, E(1)), 8080, 7)) == Verdict.NOT_OUR_PREFIX
    broken = whole(IPv6(src=ROUTER, dst=f"{SOURCE6}1") / ICMPv6DestUnreach() / Raw(b"nothing"))
    assert verdict(nat64, broken) == Verdict.QUOTED_PACKET


@BOTH
def test_an_answer_of_a_flow_may_not_pass_either(way):
    nat64 = Front(way)
    assert verdict(nat64, from_endpoint(nat64.client6(), 8080, 7, hlim=1)) == Verdict.HOP_LIMIT_EXPIRED


# ---- pings


@BOTH
@pytest.mark.parametrize("size", [8, 1400])
def test_pings_are_answered(way, size):
    nat64 = Front(way)
    ping = whole(IPv6(src=CLIENT6, dst=VIP6, hlim=9, tc=4) / ICMPv6EchoRequest(id=1, seq=2, data=bytes(size)))
    outcome = nat64.send(ping)
    assert outcome.verdict == Verdict.ECHOED
    (reply,) = map(whole, outcome.packets)
    assert reply == whole(IPv6(src=VIP6, dst=CLIENT6, hlim=64, tc=4) / ICMPv6EchoReply(id=1, seq=2, data=bytes(size)))
    assert nat64.events()["ECHO_SENT"] == 1


@BOTH
def test_or_not(way):
    ping = whole(IPv6(src=CLIENT6, dst=VIP6) / ICMPv6EchoRequest(data=b"x"))
    assert verdict(Front(way, services={"echo": False}), ping) == Verdict.FILTERED_ICMP_INFO
    nat64 = Front(way)
    nat64.worker.buckets[RECEIVERS + 2 * ECHOES + 1] = (0, BEGIN * 1000)
    nat64.gateway.worker.buckets[:RECEIVERS, TOKENS] = 0
    nat64.gateway.worker.buckets[:RECEIVERS, 1] = BEGIN * 1000
    outcome = nat64.send(ping)
    assert (outcome.verdict, list(outcome.packets), outcome.answer) == (Verdict.ECHOED, [], None)
    assert verdict(nat64, whole(IPv6(src=CLIENT6, dst=VIP6) / ICMPv6EchoReply())) == Verdict.NO_BIB_ENTRY


@BOTH
def test_a_ping_in_fragments_is_answered_in_fragments(way):
    nat64 = Front(way)
    ping = bytes(whole(IPv6(src=CLIENT6, dst=VIP6) / ICMPv6EchoRequest(id=1, seq=2, data=bytes(3000))))[40:]
    outcomes = [
        nat64.send(
            whole(IPv6(src=CLIENT6, dst=VIP6) / IPv6ExtHdrFragment(nh=58, id=5, offset=at // 8, m=m) / Raw(part))
        )
        for at, m, part in ((0, 1, ping[:1448]), (1448, 1, ping[1448:2896]), (2896, 0, ping[2896:]))
    ]
    assert [one.verdict for one in outcomes] == [Verdict.HELD, Verdict.HELD, Verdict.ECHOED]
    replies = [whole(one) for one in outcomes[2].packets]
    assert all(one.src == VIP6 and one[IPv6ExtHdrFragment].id == 5 and len(bytes(one)) <= 1280 for one in replies)
    together = b"".join(bytes(one)[48:] for one in replies)
    assert together[0] == 129
    assert together[4:] == ping[4:]


@BOTH
def test_ipv6_clients_beside_a_prefix_for_those_of_ipv4(way):
    """One port of an endpoint, a client of each family with one port, and one behind us."""
    prefix = "2001:db8:c::"
    web = service("web", f"{VIP}:80", endpoints(8080, 1), ipv6=f"[{VIP6}]:80", client_prefix=f"{prefix}/96")
    nat64 = Front(way, web)
    there, seen = nat64.client6(), in6(HOST4, prefix)
    (to_endpoint,) = map(whole, nat64.send(tcp4(7, 80)).packets)
    assert ends6(to_endpoint) == (str(IPv6Address(seen)), 7, E(1), 8080)
    for dst, client in ((there[0], (VIP6, 80, CLIENT6, 7)), (seen, (VIP, 80, HOST4, 7))):
        for flags in ("SA", "A"):
            (out,) = map(whole, nat64.send(from_endpoint((dst, E(1)), 8080, 7, flags)).packets)
            assert ends4(out) == client
    assert nat64.clients() == [(CLIENT6, 7, E(1))]
    # Without sessions: an answer under the prefix is the service's, one to a client of IPv6 is not.
    (out,) = map(whole, nat64.send(from_endpoint((in6("198.51.100.9", prefix), E(1)), 8080, 9)).packets)
    assert ends4(out) == (VIP, 80, "198.51.100.9", 9)
    stranger = from_endpoint((OTHER6 if way == "dnat" else f"{SOURCE6}9", E(1)), 8080, 9)
    assert verdict(nat64, stranger) == (Verdict.PASSED if way == "dnat" else Verdict.NO_SESSION)
    # Nobody has an address of the prefix, whatever else there is against the packet; a pool6 packet is the endpoint's.
    for fields in ({}, {"hlim": 1}):
        for sent in (syn6(7, 80, src=seen, **fields), from_endpoint((there[0], seen), 8080, 7, **fields)):
            outcome = nat64.send(sent)
            assert outcome.answer is None
            assert outcome.verdict in (Verdict.SOURCE_IN_POOL6, Verdict.NOT_OUR_PREFIX)
        assert nat64.send(syn6(7, 80, src=seen, **fields)).verdict == Verdict.SOURCE_IN_POOL6
    own = tcp6(E(1), 8080, 80, "S", "198.51.100.9")
    (out,) = map(whole, nat64.send(own).packets)
    assert ends4(out)[0].startswith("192.0.2.")
