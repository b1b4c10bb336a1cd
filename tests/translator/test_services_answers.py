"""Services: what comes from their endpoints, and from hosts behind us; fragments, ICMP errors, MSS. Each test is a row
of docs/services.md, "What becomes of a packet"."""

from dataclasses import replace

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6PacketTooBig, IPv6

from tests.case import BEGIN, Nat64
from tests.packets import (
    HOST4,
    HOST6,
    ROUTER4,
    ROUTER6,
    fragment_of,
    in6,
    payload,
    whole,
)
from tests.translator.services import (
    OTHER_VIP,
    SHARED,
    VIP,
    WEB,
    E,
    Serving,
    endpoints,
    ends4,
    in6_,
    service,
    tcp4,
    tcp6,
    udp6,
)
from translator.tables.gateway import Gateway
from translator.verdict import Verdict

TWO = (WEB, service("again", f"{OTHER_VIP}:80", endpoints(8080, 1, 2, 3)))


def of(outcome) -> tuple[Verdict, bool]:
    return outcome.verdict, outcome.answer is not None


# ---- from IPv6


def test_answers_of_another_gateways_session_are_rewritten_without_one():
    nat64 = Serving()
    assert ends4(nat64.answer(E(1))) == ends4(nat64.answer(E(1), flags="A")) == (VIP, 80, HOST4, 7)
    assert nat64.rows() == []
    assert nat64.events() == {"BIB_CREATED": 7}
    denied = Serving(translation={"denylist4": [f"{HOST4}/32"]})
    assert denied.send(tcp6(E(1), 8080, 7, "A")).verdict == Verdict.DENIED_ADDRESS


def test_but_a_syn_or_a_datagram_is_the_endpoints_own():
    nat64 = Serving()
    for packet in (tcp6(E(1), 8080, 7, "S"), udp6(E(1), 53, 53)):
        (out,) = map(whole, nat64.send(packet).packets)
        assert out[IP].src.startswith("192.0.2.")
    assert nat64.rows() == []


def test_nor_are_those_of_two_fronts_anybodys():
    nat64 = Serving(*TWO)
    assert of(nat64.send(tcp6(E(1), 8080, 7, "A"))) == (Verdict.NO_SESSION, False)
    assert nat64.tables.refused.sum() == 0
    assert of(nat64.send(tcp6(E(1), 8080, 7, "SA"))) == (Verdict.SERVICE_AMBIGUOUS, False)
    assert nat64.tables.refused[:2, Verdict.SERVICE_AMBIGUOUS].sum() == nat64.tables.refused.sum() == 1
    assert nat64.rows() == []
    for vip in (VIP, OTHER_VIP):
        port = 7 if vip == VIP else 8
        assert ends4(nat64.answer(nat64.client(port, vip=vip), port)) == (vip, 80, HOST4, port)


def test_a_connection_of_the_endpoint_s_own_is_not_one_of_two_fronts():
    nat64 = Serving(*TWO)
    for packet in (tcp6(E(1), 8080, 7, "S"), tcp6(E(1), 8080, 7, "SA"), tcp6(HOST6, 8080, 7, "SA")):
        (out,) = map(whole, nat64.send(packet).packets)
        assert out[IP].src.startswith("192.0.2.")
    mapped = [{"protocol": "tcp", "ipv4": "203.0.113.77:80", "ipv6": f"[{E(1)}]:8080"}]
    assert ends4(Serving(*TWO, forward=mapped).answer(E(1)))[0] == "203.0.113.77"
    assert ends4(Serving(*TWO, eam=[{"ipv4": "203.0.113.99", "ipv6": E(1)}]).answer(E(1)))[0] == "203.0.113.99"


def test_where_there_are_no_services_it_opens_a_session():
    (out,) = map(whole, Nat64().send(tcp6(HOST6, 8080, 7, "SA")).packets)
    assert (out[TCP].dport, out[TCP].flags) == (7, "SA")


def test_nor_those_of_a_forward():
    nat64 = Serving(WEB, forward=[{"protocol": "tcp", "ipv4": f"{OTHER_VIP}:80", "ipv6": f"[{E(1)}]:8080"}])
    assert ends4(nat64.answer(E(1), flags="A"))[0] == OTHER_VIP
    assert ends4(nat64.answer(E(2), flags="A"))[0] == VIP


def test_other_ports_of_an_endpoint_are_no_answers():
    assert of(Serving().send(tcp6(E(1), 8082, 7, "A"))) == (Verdict.NO_SESSION, False)
    assert of(Serving().send(tcp6(HOST6, 8080, 7, "A"))) == (Verdict.NO_SESSION, False)


EAM = [{"ipv4": "203.0.113.99", "ipv6": E(1)}, {"ipv4": "203.0.113.98", "ipv6": "2001:db8:6::1"}]


def with_eam(*services, **changes) -> Serving:
    """A gateway where the one endpoint has an [[eam]]."""
    web = service("web", f"{VIP}:80", endpoints(8080, 1))
    return Serving(*(services or (web, service("dns", f"{VIP}:53", endpoints(53, 1), "udp"))), eam=EAM, **changes)


def test_an_endpoint_with_an_eam_answers_from_the_service():
    nat64 = with_eam()
    nat64.client()
    assert ends4(nat64.answer(E(1))) == (VIP, 80, HOST4, 7)
    assert ends4(nat64.answer(E(1), 8, "A")) == (VIP, 80, HOST4, 8)
    nat64.datagram()
    assert ends4(whole(nat64.send(udp6(E(1), 53, 7)).packets[0])) == (VIP, 53, HOST4, 7)


def test_and_says_all_else_from_the_eam():
    nat64 = with_eam()
    for packet in (tcp6(E(1), 8080, 7, "S"), tcp6(E(1), 8082, 7, "A"), udp6(E(1), 53, 7), udp6(E(1), 54, 7)):
        (out,) = map(whole, nat64.send(packet).packets)
        assert out[IP].src == "203.0.113.99"
    ping = IPv6(src=E(1), dst=in6(HOST4)) / ICMPv6EchoRequest(id=5)
    assert whole(nat64.send(ping).packets[0])[IP].src == "203.0.113.99"
    assert whole(nat64.send(tcp6("2001:db8:6::1", 8080, 7, "A")).packets[0])[IP].src == "203.0.113.98"
    assert nat64.send(IPv6(src=E(1), dst="2001:db8::1") / UDP()).verdict == Verdict.NO_MAPPING
    assert nat64.reached(tcp4(7, 22, vip="203.0.113.99")) == E(1)


@pytest.mark.parametrize("asked", [True, False])
def test_its_fragments_go_where_the_first_one_went(asked):
    nat64 = with_eam()
    if asked:
        nat64.datagram()
    sent = IPv6(src=E(1), dst=in6(HOST4)) / UDP(sport=53, dport=7) / payload(2000)
    parts = [fragment_of(sent, 0, 1000, 5), fragment_of(sent, 1000, 1008, 5)]
    source = VIP if asked else "203.0.113.99"
    assert [whole(nat64.send(part).packets[0])[IP].src for part in parts] == [source, source]
    later = with_eam()
    assert later.send(parts[1]).verdict == Verdict.HELD


def test_a_session_of_its_own_is_none_of_the_service():
    """One that the endpoint has opened before it got its [[eam]]."""
    nat64, later = Serving(WEB), with_eam()
    nat64.send(udp6(E(1), 8080, 7))
    later.gateway = Gateway(later.settings, replace(nat64.tables, endpoints6=later.tables.endpoints6), later.worker)
    (packet,) = later.translate(bytes(udp6(E(1), 8080, 7)), round(BEGIN * 1000)).packets
    assert whole(packet)[IP].src == "203.0.113.99"


# ---- hairpins


@pytest.mark.parametrize("host", [HOST6, E(1)])
def test_a_host_behind_us_reaches_it_and_so_does_the_endpoint_itself(host):
    nat64 = Serving(service("web", f"{VIP}:80", endpoints(8080, 1)))
    (packet,) = map(whole, nat64.send(tcp6(host, 5000, 80, "S", VIP)).packets)
    source, port, *_ = ends4(packet)
    assert (packet[IPv6].dst, source[:16]) == (E(1), "64:ff9b::c000:20")
    back = whole(IPv6(src=E(1), dst=source) / TCP(sport=8080, dport=port, flags="SA"))
    (packet,) = map(whole, nat64.send(back).packets)
    assert ends4(packet) == (in6_(VIP), 80, host, 5000)


def test_without_pool4_it_does_not():
    assert Serving(pool4=[], filtering={}).send(tcp6(HOST6, 5000, 80, "S", VIP)).verdict == Verdict.NO_POOL4


# ---- fragments


def test_fragments_follow_the_first_one_and_wait_for_it():
    nat64 = Serving()
    sent = whole(IP(src=HOST4, dst=VIP, id=9) / UDP(sport=7, dport=53) / payload(3000))
    last, first, middle = (fragment_of(sent, *part) for part in ((2400, 608), (0, 1200), (1200, 1200)))
    assert nat64.send(last).verdict == Verdict.HELD
    out = [*nat64.send(first).packets, *nat64.send(middle).packets]
    assert len(out) == 3
    assert {whole(packet).dst for packet in out} == {Serving().datagram()}


# ---- ICMP errors


@pytest.mark.parametrize("pinned", [True, False])
def test_errors_about_packets_of_a_service_reach_both_ends(pinned):
    nat64 = Serving()
    there = Serving().client()
    if pinned:
        nat64.client()
        nat64.answer(there)
    before = nat64.tables.sessions.tobytes()
    quoted = IPv6(src=in6(HOST4), dst=there, hlim=60) / TCP(sport=7, dport=8080, flags="A")
    sent = IPv6(src=ROUTER6, dst=in6(HOST4)) / ICMPv6PacketTooBig(mtu=1400) / bytes(quoted)
    (out,) = map(whole, nat64.send(sent, at=1.0).packets)
    assert (out.src, out.dst, out[ICMP].type, out[ICMP].code) == (VIP, HOST4, 3, 4)
    assert (out["IPerror"].dst, out["TCPerror"].dport) == (VIP, 80)
    quoted = IP(src=VIP, dst=HOST4, ttl=60) / TCP(sport=80, dport=7, flags="A")
    sent = IP(src=ROUTER4, dst=VIP) / ICMP(type=3, code=4, nexthopmtu=1300) / bytes(quoted)
    (out,) = map(whole, nat64.send(sent, at=1.0).packets)
    assert (out.src, out.dst, out[ICMPv6PacketTooBig].mtu) == (in6_(ROUTER4), there, 1320)
    assert (out["IPerror6"].src, out["TCPerror"].sport) == (there, 8080)
    assert len(nat64.rows()) == pinned
    assert nat64.tables.sessions.tobytes() == before, "none has another lifetime than it had"


def test_also_about_datagrams_whose_session_another_gateway_has():
    quoted = IPv6(src=in6(HOST4), dst=E(2), hlim=60) / UDP(sport=7, dport=53)
    sent = IPv6(src=ROUTER6, dst=in6(HOST4)) / ICMPv6PacketTooBig(mtu=1400) / bytes(quoted)
    (out,) = map(whole, Serving().send(sent).packets)
    assert (out.src, out["UDPerror"].dport) == (VIP, 53)


def test_an_error_about_a_packet_of_nobody_is_dropped():
    for sport, vip in ((10, VIP), (9, VIP), (1024, SHARED)):
        quoted = IP(src=vip, dst=HOST4, ttl=60) / TCP(sport=sport, dport=7, flags="A")
        sent = IP(src=ROUTER4, dst=vip) / ICMP(type=3, code=4, nexthopmtu=1300) / bytes(quoted)
        assert of(Serving().send(sent)) == (Verdict.NO_ENDPOINT if sport == 9 else Verdict.NO_SESSION, False)


def test_an_error_about_a_packet_to_no_host_is_no_client_that_was_refused():
    nat64 = Serving()
    quoted = IP(src=VIP, dst="224.0.0.9") / TCP(sport=80, dport=7)
    outcome = nat64.send(IP(src=ROUTER4, dst=VIP) / ICMP(type=3, code=1) / bytes(quoted))
    assert (outcome.verdict, nat64.tables.refused.sum()) == (Verdict.NOT_UNICAST, 0)


@pytest.mark.parametrize("there", [E(1), HOST6])
def test_an_error_of_an_endpoint_with_an_eam_is_about_its_service(there):
    nat64 = with_eam()
    quoted = IPv6(src=in6(HOST4), dst=E(1), hlim=60) / TCP(sport=7, dport=8080, flags="A")
    sent = IPv6(src=there, dst=in6(HOST4)) / ICMPv6PacketTooBig(mtu=1400) / bytes(quoted)
    (out,) = map(whole, nat64.send(sent).packets)
    assert (out["IPerror"].dst, out["TCPerror"].dport) == (VIP, 80)
    quoted.payload.dport = 22
    sent = IPv6(src=there, dst=in6(HOST4)) / ICMPv6PacketTooBig(mtu=1400) / bytes(quoted)
    assert whole(nat64.send(sent).packets[0])["IPerror"].dst == "203.0.113.99"
    part = fragment_of(quoted / payload(64), 32, 32, 5)
    sent = IPv6(src=there, dst=in6(HOST4)) / ICMPv6PacketTooBig(mtu=1400) / bytes(part)
    assert nat64.send(sent).verdict in {Verdict.TRANSLATED, Verdict.QUOTED_PACKET}


# ---- MSS


def syn(dport: int, vip: str = VIP) -> bytes:
    return bytes(IP(src=HOST4, dst=vip) / TCP(sport=7, dport=dport, flags="S", options=[("MSS", 1460)]))


def mss(outcome) -> int:
    return dict(whole(outcome.packets[0])[TCP].options)["MSS"]


DOOR = [{"protocol": "tcp", "ipv4": f"{OTHER_VIP}:80", "ipv6": f"[{HOST6}]:80"}]


@pytest.mark.parametrize(("given", "lowered", "other"), [(None, 1440, 1460), (False, 1460, 1460), (1300, 1300, 1300)])
def test_the_mss_of_its_connections_is_lowered_unless_that_is_off(given, lowered, other):
    nat64 = Serving(forward=DOOR, translation={"clamp_mss": given})
    outcome = nat64.send(syn(80))
    assert mss(outcome) == lowered
    back = tcp6(whole(outcome.packets[0])[IPv6].dst, 8080, 7, "SA")
    back[TCP].options = [("MSS", 1460)]
    assert mss(nat64.send(bytes(whole_again(back)))) == lowered
    assert mss(nat64.send(syn(80, OTHER_VIP))) == other
    hairpin = IPv6(src=HOST6, dst=in6(VIP)) / TCP(sport=9, dport=80, flags="S", options=[("MSS", 1460)])
    outcome = nat64.send(hairpin)
    assert mss(outcome) == lowered
    packet = whole(outcome.packets[0])
    ports = {"sport": 8080, "dport": packet[TCP].sport}
    back = IPv6(src=packet.dst, dst=packet.src) / TCP(**ports, flags="SA", options=[("MSS", 1460)])
    assert mss(nat64.send(back)) == lowered


def whole_again(packet):
    """A packet whose lengths and checksums are computed anew."""
    layer = packet.copy()
    for each in (layer, layer[TCP]):
        for name in ("plen", "chksum", "dataofs"):
            if name in each.fields:
                delattr(each, name)
    return layer
