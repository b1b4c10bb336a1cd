"""Services whose clients stand under a prefix of their own. Each test is a row of docs/services.md, "A prefix for
clients"."""

from dataclasses import replace
from ipaddress import IPv6Address
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6
from scapy.packet import Packet

from tests.case import BEGIN
from tests.packets import HOST4, HOST6, MAPPED4, ROUTER4, ROUTER6, fragment_of, in6, payload, whole
from tests.translator.services import (
    OTHER_VIP,
    VIP,
    E,
    Serving,
    endpoints,
    ends4,
    in6_,
    service,
    tcp4,
    tcp6,
    udp4,
)
from translator.tables.gateway import Gateway
from translator.verdict import Verdict

ONE, TWO = "2001:db8:c::", "2001:db8:d::"  # prefixes of clients; both of length 96
# RFC 6052 section 2.4, under another /32: how 192.0.2.33 is written.
EXAMPLES = {
    "3fff:db8::/32": "3fff:db8:c000:221::",
    "3fff:db8:100::/40": "3fff:db8:1c0:2:21::",
    "3fff:db8:122::/48": "3fff:db8:122:c000:2:2100::",
    "3fff:db8:122:300::/56": "3fff:db8:122:3c0:0:221::",
    "3fff:db8:122:344::/64": "3fff:db8:122:344:c0:2:2100:0",
    "3fff:db8:122:344::/96": "3fff:db8:122:344::c000:221",
}


def web(vip: str = VIP, prefix: str = "", protocol: Any = "tcp", name: str = "", **keys: Any) -> dict[str, Any]:
    """Port 80 of an address, served by E(1) at port 8080."""
    own = {"client_prefix": f"{prefix}/96"} if prefix else {}
    return service(name or f"web-{vip}", f"{vip}:80", endpoints(8080, 1), protocol, **own, **keys)


def serving(*services: dict[str, Any], **changes: Any) -> Serving:
    """Two services on one endpoint, of which the second has a client prefix."""
    return Serving(*(services or (web(), web(OTHER_VIP, ONE))), **changes)


def at6(prefix: str, address: str = HOST4) -> str:
    """An IPv4 address under a prefix, as scapy writes it."""
    return whole(IPv6(src=in6(address, prefix)))[IPv6].src


def says6(prefix: str, transport: Packet, src: str = E(1), to: str = HOST4, hlim: int = 64) -> Packet:
    """What an IPv6 host sends to an IPv4 host under a prefix."""
    return whole(IPv6(src=src, dst=in6(to, prefix), hlim=hlim) / transport)


def answer(flags: str = "SA", sport: int = 8080, dport: int = 7) -> TCP:
    return TCP(sport=sport, dport=dport, flags=flags, seq=5000, ack=1001)


def out(nat64: Serving, packet: Packet) -> Packet:
    """The packet that one becomes."""
    outcome = nat64.send(packet)
    assert outcome.verdict in {Verdict.TRANSLATED, Verdict.HAIRPINNED}, outcome.verdict.name
    (octets,) = outcome.packets
    return whole(octets)


def end(nat64: Serving, packet: Packet) -> tuple[Verdict, bool]:
    outcome = nat64.send(packet)
    return outcome.verdict, outcome.answer is not None


# ---- with a session


@pytest.mark.parametrize("prefix", EXAMPLES)
@pytest.mark.parametrize("where", ["services", "service"])
def test_clients_are_written_under_it_whatever_its_length(prefix, where):
    own = {"client_prefix": prefix}
    every = {"services": own} if where == "services" else {}
    nat64 = Serving(service("web", f"{VIP}:80", endpoints(8080, 1), **({} if every else own)), **every)
    there = out(nat64, tcp4(7, 80, src="192.0.2.33"))
    assert ends4(there) == (EXAMPLES[prefix], 7, E(1), 8080)
    for suffix in (0, 0 if prefix.endswith("96") else 0xFF):
        back = whole(IPv6(src=E(1), dst=str(IPv6Address(EXAMPLES[prefix]) + suffix)) / answer())
        assert ends4(out(nat64, back)) == (VIP, 80, "192.0.2.33", 7)
    assert nat64.rows() == [(E(1), "192.0.2.33", 7, "ESTABLISHED")]


def test_a_service_may_have_another_than_the_others():
    three = web("203.0.113.82", TWO)
    nat64 = serving(web(), web(OTHER_VIP), three, services={"client_prefix": f"{ONE}/96"})
    for vip, prefix in ((VIP, ONE), (OTHER_VIP, ONE), ("203.0.113.82", TWO)):
        sport = 7 if vip != OTHER_VIP else 8
        assert out(nat64, tcp4(sport, 80, vip=vip))[IPv6].src == at6(prefix)
    own = serving(web(prefix="64:ff9b::"), web(OTHER_VIP), services={"client_prefix": f"{ONE}/96"})
    assert out(own, tcp4(7, 80))[IPv6].src == in6_(HOST4)
    assert out(own, tcp4(7, 80, vip=OTHER_VIP))[IPv6].src == at6(ONE)


def test_one_port_of_a_client_has_a_flow_in_each():
    nat64 = serving(web(), web(OTHER_VIP, ONE), web("203.0.113.82", TWO))
    for vip, prefix in ((VIP, "64:ff9b::"), (OTHER_VIP, ONE), ("203.0.113.82", TWO)):
        assert ends4(out(nat64, tcp4(7, 80, vip=vip))) == (at6(prefix), 7, E(1), 8080)
    assert len(nat64.rows()) == 3
    for vip, prefix in ((VIP, "64:ff9b::"), (OTHER_VIP, ONE), ("203.0.113.82", TWO)):
        assert ends4(out(nat64, says6(prefix, answer()))) == (vip, 80, HOST4, 7)
        assert ends4(out(nat64, tcp4(7, 80, "A", vip=vip)))[0] == at6(prefix)
    assert {row[3] for row in nat64.rows()} == {"ESTABLISHED"}


def test_and_two_services_with_one_prefix_still_clash():
    nat64 = serving(web(prefix=ONE), web(OTHER_VIP, ONE))
    out(nat64, tcp4(7, 80))
    assert nat64.send(tcp4(7, 80, vip=OTHER_VIP)).verdict == Verdict.SERVICE_CLASH


def test_a_flow_of_the_endpoints_own_clashes_with_none_of_another_prefix():
    nat64 = serving(web(prefix=ONE, protocol="udp"))
    out(nat64, says6("64:ff9b::", UDP(sport=8080, dport=7)))
    assert ends4(out(nat64, udp4(7, 80))) == (at6(ONE), 7, E(1), 8080)


# ---- without a session


@pytest.mark.parametrize("transport", [answer(), answer("A"), answer("R"), UDP(sport=8080, dport=7)])
def test_an_answer_without_session_is_that_of_the_one_service_and_opens_nothing(transport):
    nat64 = serving(web(protocol=["tcp", "udp"]), web(OTHER_VIP, ONE, ["tcp", "udp"]))
    assert ends4(out(nat64, says6(ONE, transport))) == (OTHER_VIP, 80, HOST4, 7)
    assert not nat64.tables.sessions.live.any()
    if TCP in transport:
        assert ends4(out(nat64, says6("64:ff9b::", transport))) == (VIP, 80, HOST4, 7)
    else:  # under pool6 nobody can tell an answer from a question
        assert out(nat64, says6("64:ff9b::", transport))[IP].src != VIP


@pytest.mark.parametrize("transport", [answer(), answer("A"), UDP(sport=8080, dport=7)])
def test_of_several_services_nobody_knows_which(transport):
    both = ["tcp", "udp"]
    nat64 = serving(web(prefix=ONE, protocol=both), web(OTHER_VIP, ONE, both), web("203.0.113.82", TWO, both))
    assert end(nat64, says6(ONE, transport)) == (Verdict.SERVICE_AMBIGUOUS, False)
    assert nat64.tables.refused[:2, Verdict.SERVICE_AMBIGUOUS].sum() == nat64.tables.refused.sum() == 1
    assert ends4(out(nat64, says6(TWO, transport)))[0] == "203.0.113.82"


NOBODYS = {
    "of another host": says6(ONE, answer("A"), src=HOST6),
    "from another port": says6(ONE, answer("A", 22)),
    "of another protocol": says6(ONE, UDP(sport=8080, dport=7)),
    "of a service with another prefix": says6(TWO, answer("A")),
    "a question": says6(ONE, answer("S")),
    "a ping": says6(ONE, ICMPv6EchoRequest(id=5)),
}


@pytest.mark.parametrize("sent", NOBODYS.values(), ids=NOBODYS)
def test_nothing_else_goes_there(sent):
    nat64 = serving(web(), web(OTHER_VIP, ONE), web("203.0.113.82", TWO, "udp"))
    before = nat64.tables.bibs.live.sum()
    assert end(nat64, sent) == (Verdict.NO_SERVICE_FLOW, False)
    assert nat64.tables.bibs.live.sum() == before
    assert not nat64.tables.sessions.live.any()


def test_after_a_start_that_lost_sessions_a_segment_is_answered_with_a_rst():
    nat64 = serving()
    settings = replace(nat64.settings, reset_until=round((BEGIN + 60) * 1000))
    nat64.gateway = Gateway(settings, nat64.tables, nat64.worker)
    outcome = nat64.send(NOBODYS["from another port"])
    assert outcome.verdict == Verdict.LOST_SESSION
    reset = whole(outcome.answer)
    assert (ends4(reset), reset[TCP].flags) == ((at6(ONE), 7, E(1), 22), "R")
    for name in ("a question", "of another protocol", "a ping"):
        assert end(nat64, NOBODYS[name]) == (Verdict.NO_SERVICE_FLOW, False)
    assert end(nat64, says6(ONE, answer("R", 22))) == (Verdict.NO_SERVICE_FLOW, False)


def test_an_eam_counts_for_nothing_there():
    nat64 = serving(eam=[{"ipv4": "203.0.113.99", "ipv6": E(1)}, {"ipv4": "203.0.113.98", "ipv6": HOST6}])
    assert out(nat64, says6(ONE, answer("A")))[IP].src == OTHER_VIP
    assert out(nat64, says6("64:ff9b::", answer("A", 22)))[IP].src == "203.0.113.99"
    for sent in (NOBODYS["from another port"], NOBODYS["of another host"]):
        assert end(nat64, sent) == (Verdict.NO_SERVICE_FLOW, False)


# ---- who may be a client


@pytest.mark.parametrize("prefix", [ONE, "64:ff9b:1::"])
def test_clients_may_have_private_addresses_unless_it_is_the_well_known_one(prefix):
    nat64 = serving(web(), web(OTHER_VIP, prefix), web("203.0.113.82", ONE if prefix != ONE else TWO))
    assert nat64.send(tcp4(7, 80, src="10.1.2.3")).verdict == Verdict.NON_GLOBAL_ADDRESS
    assert out(nat64, tcp4(7, 80, src="10.1.2.3", vip=OTHER_VIP))[IPv6].src == at6(prefix, "10.1.2.3")
    assert out(nat64, says6(prefix, answer(), to="10.1.2.3"))[IP].src == OTHER_VIP
    assert out(nat64, says6(prefix, answer(dport=8), to="10.1.2.3"))[IP].src == OTHER_VIP
    assert end(nat64, says6("64:ff9b::", answer("A"), to="10.1.2.3")) == (Verdict.NON_GLOBAL_ADDRESS, True)


def test_what_nobody_serves_is_told_to_them_too():
    nat64 = serving(web(prefix=ONE))
    ping = IP(src="10.1.2.3", dst=VIP) / ICMP(id=5)
    assert nat64.send(ping).verdict == Verdict.ECHOED
    assert nat64.send(tcp4(7, 81, src="10.1.2.3")).verdict == Verdict.CLOSED_PORT


def test_where_it_is_the_well_known_one_they_may_not():
    nat64 = serving(web(prefix="64:ff9b::"), pool6=f"{TWO}/96")
    assert nat64.send(tcp4(7, 80, src="10.1.2.3")).verdict == Verdict.NON_GLOBAL_ADDRESS
    assert out(nat64, tcp4(7, 80))[IPv6].src == in6_(HOST4)
    assert end(nat64, says6("64:ff9b::", answer(), to="10.1.2.3")) == (Verdict.NON_GLOBAL_ADDRESS, True)


def test_denied_addresses_are_denied():
    nat64 = serving(translation={"denylist4": [f"{HOST4}/32"]})
    assert nat64.send(tcp4(7, 80, vip=OTHER_VIP)).verdict == Verdict.DENIED_ADDRESS
    assert nat64.send(says6(ONE, answer())).verdict == Verdict.DENIED_ADDRESS


@pytest.mark.parametrize("to", [ONE, "64:ff9b::"])
def test_nobody_has_an_address_in_it(to):
    nat64 = serving(eam=[{"ipv4": "203.0.113.99", "ipv6": E(1)}])
    out(nat64, tcp4(7, 80, vip=OTHER_VIP))
    for source in (at6(ONE, "198.51.100.99"), at6(ONE, "10.1.2.3"), in6_("198.51.100.99")):
        for body in (answer(), UDP(sport=8080, dport=7) / bytes(48), ICMPv6EchoRequest()):
            assert end(nat64, says6(to, body, src=source)) == (Verdict.SOURCE_IN_POOL6, False)
            assert end(nat64, says6(to, body, src=source, hlim=1)) == (Verdict.SOURCE_IN_POOL6, False)
        for at in (0, 24):
            part = fragment_of(says6(to, UDP() / bytes(48), src=source), at, 24)
            assert end(nat64, part) == (Verdict.SOURCE_IN_POOL6, False)
    quoted = IPv6(src=at6(ONE), dst=E(1)) / TCP(sport=7, dport=8080)
    sent = whole(IPv6(src=at6(ONE, ROUTER4), dst=at6(ONE)) / ICMPv6PacketTooBig(mtu=1400) / bytes(quoted))
    assert end(nat64, sent) == (Verdict.SOURCE_IN_POOL6, False)


# ---- hairpins


@pytest.mark.parametrize("host", [HOST6, E(1)])
def test_hosts_behind_us_come_from_pool4_under_it(host):
    nat64 = serving()
    there = out(nat64, tcp6(host, 5000, 80, "S", OTHER_VIP))
    source, port, *_ = ends4(there)
    assert source.startswith("2001:db8:c::c000:2")
    assert ends4(out(nat64, whole(IPv6(src=E(1), dst=source) / answer(dport=port)))) == (
        in6_(OTHER_VIP),
        80,
        host,
        5000,
    )


def test_errors_about_them_too():
    nat64 = serving()
    there = out(nat64, tcp6(HOST6, 5000, 80, "S", OTHER_VIP))
    sent = IPv6(src=ROUTER6, dst=there[IPv6].src) / ICMPv6TimeExceeded() / bytes(there)
    error = out(nat64, sent)
    assert (error.dst, error["IPerror6"].dst, error["TCPerror"].dport) == (HOST6, in6_(OTHER_VIP), 80)
    back = out(nat64, whole(IPv6(src=E(1), dst=there[IPv6].src) / answer(dport=there[TCP].sport)))
    error = out(nat64, IPv6(src=ROUTER6, dst=in6(OTHER_VIP)) / ICMPv6TimeExceeded() / bytes(back))
    assert (error.dst, error["IPerror6"].src, error["TCPerror"].sport) == (E(1), E(1), 8080)
    assert error.src == error["IPerror6"].dst == there[IPv6].src


def test_a_syn_that_waits_for_a_port_of_pool4_is_refused_from_where_it_went():
    """An endpoint that acknowledges a SYN of an address of pool4, whose port nobody has."""
    nat64 = serving()
    assert nat64.send(says6(ONE, answer("SA", dport=2000), to=MAPPED4)).verdict == Verdict.SYN_HELD
    (told,) = map(whole, nat64.expire(BEGIN + 30))
    assert (told.src, told.dst) == (at6(ONE, MAPPED4), E(1))


# ---- ICMP errors


@pytest.mark.parametrize("pinned", [True, False])
def test_errors_reach_both_ends(pinned):
    nat64 = serving()
    if pinned:
        out(nat64, tcp4(7, 80, vip=OTHER_VIP))
    quoted = IPv6(src=at6(ONE), dst=E(1), hlim=60) / TCP(sport=7, dport=8080, flags="A")
    error = out(nat64, IPv6(src=ROUTER6, dst=at6(ONE)) / ICMPv6PacketTooBig(mtu=1400) / bytes(quoted))
    assert (error.src, error.dst, error[ICMP].code) == (OTHER_VIP, HOST4, 4)
    assert (error["IPerror"].dst, error["TCPerror"].dport) == (OTHER_VIP, 80)
    for router in (ROUTER4, "10.9.9.9"):
        quoted = IP(src=OTHER_VIP, dst=HOST4, ttl=60) / TCP(sport=80, dport=7, flags="A")
        error = out(nat64, IP(src=router, dst=OTHER_VIP) / ICMP(type=3, code=4, nexthopmtu=1300) / bytes(quoted))
        assert (error.src, error.dst) == (at6(ONE, router), E(1))
        assert (error["IPerror6"].dst, error["TCPerror"].dport) == (at6(ONE), 7)
    assert len(nat64.rows()) == pinned


def test_errors_of_the_client_itself_and_of_the_endpoint():
    nat64 = serving(web(OTHER_VIP, ONE, "udp"))
    quoted = IPv6(src=at6(ONE), dst=E(1), hlim=60) / UDP(sport=7, dport=8080)
    error = out(nat64, IPv6(src=E(1), dst=at6(ONE)) / ICMPv6TimeExceeded() / bytes(quoted))
    assert (error.src, error["UDPerror"].dport) == (OTHER_VIP, 80)
    quoted = IP(src=OTHER_VIP, dst=HOST4, ttl=60) / UDP(sport=80, dport=7)
    error = out(nat64, IP(src=HOST4, dst=OTHER_VIP) / ICMP(type=3, code=3) / bytes(quoted))
    assert (error.src, error["IPerror6"].dst) == (at6(ONE), at6(ONE))


@pytest.mark.parametrize(
    ("source", "verdict"), [(HOST6, "NO_SERVICE_FLOW"), (E(2), "SERVICE_AMBIGUOUS"), (E(1), "TRANSLATED")]
)
def test_errors_about_what_nobody_sent(source, verdict):
    shared = [service(name, f"203.0.113.82:{port}", endpoints(8080, 2), client_prefix=f"{ONE}/96")
              for name, port in (("a", 1), ("b", 2))]  # fmt: skip
    nat64 = serving(web(OTHER_VIP, ONE), *shared)
    quoted = IPv6(src=at6(ONE), dst=source, hlim=60) / TCP(sport=7, dport=8080, flags="A")
    sent = IPv6(src=ROUTER6, dst=at6(ONE)) / ICMPv6PacketTooBig(mtu=1400) / bytes(quoted)
    assert end(nat64, sent) == (Verdict[verdict], False)
    elsewhere = IPv6(src=ROUTER6, dst=at6(TWO)) / ICMPv6PacketTooBig(mtu=1400) / bytes(quoted)
    assert nat64.send(elsewhere).verdict == (Verdict.NO_SESSION if verdict == "TRANSLATED" else Verdict[verdict])


# ---- fragments, MSS, RSTs


def test_fragments_follow_in_both_directions():
    nat64 = serving(web(OTHER_VIP, ONE, "udp"))
    sent = whole(IP(src=HOST4, dst=OTHER_VIP, id=9) / UDP(sport=7, dport=80) / payload(3000))
    parts = [fragment_of(sent, *part) for part in ((2400, 608), (0, 1200), (1200, 1200))]
    written = [whole(octets) for part in parts for octets in nat64.send(part).packets]
    assert [(packet.src, packet.dst) for packet in written] == [(at6(ONE), E(1))] * 3
    sent = says6(ONE, UDP(sport=8080, dport=7) / payload(2000))
    for part in (fragment_of(sent, 1000, 1008, 5), fragment_of(sent, 0, 1000, 5)):
        written = [whole(octets) for octets in nat64.send(part).packets]
    assert [(packet.src, packet.dst) for packet in written] == [(OTHER_VIP, HOST4)] * 2


def test_the_mss_of_its_connections_is_lowered():
    nat64 = serving(web(OTHER_VIP, ONE))
    options = {"options": [("MSS", 1460)]}
    for sent in (
        IP(src=HOST4, dst=OTHER_VIP) / TCP(sport=7, dport=80, flags="S", **options),
        says6(ONE, TCP(sport=8080, dport=7, flags="SA", **options)),
        says6(ONE, TCP(sport=8080, dport=8, flags="SA", **options)),
    ):
        assert dict(out(nat64, sent)[TCP].options)["MSS"] == 1440


def test_a_rst_outside_the_window_ends_no_session():
    nat64 = serving(filtering={"check_rst": True})
    out(nat64, tcp4(7, 80, vip=OTHER_VIP))
    out(nat64, says6(ONE, answer()))
    out(nat64, tcp4(7, 80, "A", vip=OTHER_VIP))
    out(nat64, says6(ONE, TCP(sport=8080, dport=7, flags="R", seq=3_000_000_000)))
    assert [row[3] for row in nat64.rows()] == ["ESTABLISHED"]
    out(nat64, says6(ONE, TCP(sport=8080, dport=7, flags="R", seq=5001)))
    assert [row[3] for row in nat64.rows()] == ["TRANS"]


def test_udp_in_a_crowded_table_is_an_answer_all_the_same():
    nat64 = serving(web(OTHER_VIP, ONE, "udp"), limits={"sessions": 64})
    for port in range(1, 30):
        out(nat64, udp4(port, 80, vip=OTHER_VIP))
    assert len(nat64.rows()) == 16
    assert ends4(out(nat64, says6(ONE, UDP(sport=8080, dport=29)))) == (OTHER_VIP, 80, HOST4, 29)
