"""Services: one IPv4 transport address, many IPv6 endpoints. Each test is a row of docs/services.md, "What becomes of a
packet"."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6

from tests.case import BEGIN, Step
from tests.packets import (
    HOST4,
    HOST6,
    MAPPED4,
    OTHER4,
    OUR4,
    fragment_of,
    in6,
    payload,
    whole,
)
from tests.translator.services import (
    DNS,
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
    udp4,
    udp6,
)
from translator.packet.error_limits import ECHOES, RECEIVERS, REFUSALS, TOKENS
from translator.verdict import Verdict

HERE = IP(src=HOST4, dst=VIP, ttl=64)


def of(outcome) -> tuple[Verdict, bool]:
    return outcome.verdict, outcome.answer is not None


# ---- from IPv4


def test_a_syn_opens_a_session_on_one_member_and_the_client_keeps_its_address():
    nat64 = Serving()
    (packet,) = map(whole, nat64.send(tcp4(7, 80)).packets)
    there = packet[IPv6].dst
    assert ends4(packet) == (in6_(HOST4), 7, there, 8080)
    assert nat64.rows() == [(there, HOST4, 7, "V4_INIT")]
    assert ends4(nat64.answer(there)) == (VIP, 80, HOST4, 7)
    assert nat64.rows() == [(there, HOST4, 7, "ESTABLISHED")]


def test_what_follows_goes_where_the_session_says_whatever_the_hash_would():
    nat64 = Serving()
    there = nat64.client()
    nat64.tables.members.weight[:] = 0
    nat64.tables.members.key[:] ^= 0x5555
    for flags in ("S", "A", "PA", "FA"):
        (packet,) = nat64.translate(bytes(tcp4(7, 80, flags)), round(BEGIN * 1000)).packets
        assert whole(packet)[IPv6].dst == there


def test_udp_opens_one_too_and_lives_for_its_own_time():
    nat64 = Serving()
    there = nat64.datagram()
    assert nat64.rows() == [(there, HOST4, 7, "V4_INIT")]
    (packet,) = map(whole, nat64.send(udp6(there, 53, 7), 1).packets)
    assert ends4(packet) == (VIP, 53, HOST4, 7)
    assert nat64.rows() == [(there, HOST4, 7, "NONE")]
    nat64.expire(BEGIN + 60.5)
    assert nat64.rows() == [(there, HOST4, 7, "NONE")]
    nat64.expire(BEGIN + 63)
    assert nat64.rows() == []


def test_a_syn_that_nobody_answers_lives_for_service_syn():
    nat64 = Serving(timeouts={"service_syn": 20})
    nat64.client()
    nat64.expire(BEGIN + 19)
    assert len(nat64.rows()) == 1
    nat64.expire(BEGIN + 22)
    assert nat64.rows() == []


def test_a_client_whose_answers_pass_elsewhere_keeps_its_session():
    nat64 = Serving()
    there = nat64.client()
    for at in (10, 200, 400, 600):
        assert nat64.client(flags="A", at=at) == there
    assert nat64.rows() == [(there, HOST4, 7, "V4_INIT")]
    nat64.expire(BEGIN + 845)
    assert nat64.rows() == []


def test_a_mapping_beside_it_keeps_none_alive_so():
    nat64 = Serving(forward=[{"protocol": "tcp", "ipv4": f"{OTHER_VIP}:80", "ipv6": f"[{HOST6}]:80"}])
    nat64.client(vip=OTHER_VIP)
    nat64.client(vip=OTHER_VIP, flags="A", at=200)
    nat64.expire(BEGIN + 245)
    assert not nat64.tables.sessions.live.any()


def test_tcp_of_no_session_goes_where_the_hash_says_and_is_pinned():
    there = Serving().client()
    nat64 = Serving()
    assert nat64.client(flags="A") == there
    assert nat64.rows() == [(there, HOST4, 7, "TRANS")]
    nat64.expire(BEGIN + 230)
    assert len(nat64.rows()) == 1
    nat64.client(flags="PA", at=230)
    assert nat64.rows() == [(there, HOST4, 7, "ESTABLISHED")]


@pytest.mark.parametrize("flags", ["R", "RA", "SA"])
def test_a_rst_opens_nothing_and_goes_where_the_hash_says(flags):
    nat64 = Serving()
    assert nat64.client(flags=flags) == Serving().client()
    assert nat64.rows() == []


def test_a_bib_entry_of_the_address_comes_first():
    """A [[forward]] to another port of a service's address, and a port of pool4 of it that is in use."""
    nat64 = Serving(forward=[{"protocol": "tcp", "ipv4": f"{VIP}:81", "ipv6": f"[{HOST6}]:81"}])
    assert nat64.reached(tcp4(7, 81)) == HOST6
    nat64 = Serving(pool4=[{"addresses": SHARED}])
    (packet,) = map(whole, nat64.send(udp6(HOST6, 5000, 53)).packets)
    address, port, _, _ = ends4(packet)
    assert address == SHARED
    assert nat64.reached(udp4(53, port, vip=SHARED)) == HOST6
    assert nat64.client(vip=SHARED) == E(1)


def test_where_the_address_is_in_pool4_other_ports_are_those_of_pool4():
    nat64 = Serving()
    assert of(nat64.send(tcp4(7, 1024, vip=SHARED))) == (Verdict.SYN_HELD, False)
    assert of(nat64.send(tcp4(7, 1025, "A", vip=SHARED))) == (Verdict.NO_SESSION, False)
    assert of(nat64.send(udp4(7, 1024, vip=SHARED))) == (Verdict.NO_BIB_ENTRY, True)


@pytest.mark.parametrize("vip", [VIP, SHARED])
def test_the_address_answers_pings_itself(vip):
    sent = IP(src=HOST4, dst=vip, ttl=9, tos=4, id=77) / ICMP(id=5, seq=6) / b"abc"
    back = IP(src=vip, dst=HOST4, ttl=64, tos=4, id=77) / ICMP(type=0, id=5, seq=6) / b"abc"
    nat64 = Serving()
    nat64.check(Step(sent, verdict=Verdict.ECHOED, answer=back))
    assert nat64.events()["ECHO_SENT"] == 1


def test_and_those_that_come_in_fragments_as_one_packet():
    nat64 = Serving()
    sent = HERE.copy() / ICMP(id=5, seq=6) / payload(3000)
    assert of(nat64.send(fragment_of(sent, 1480, 1528))) == (Verdict.HELD, False)
    outcome = nat64.send(fragment_of(sent, 0, 1480))
    assert outcome.verdict == Verdict.ECHOED
    assert outcome.answer == bytes(IP(src=VIP, dst=HOST4, id=0x1234) / ICMP(type=0, id=5, seq=6) / payload(3000))


def test_pings_of_hosts_behind_us_are_answered_in_their_family():
    sent = IPv6(src=HOST6, dst=in6(VIP), hlim=64) / ICMPv6EchoRequest(id=5, seq=6, data=b"abc")
    back = IPv6(src=in6(VIP), dst=HOST6, hlim=64) / ICMPv6EchoReply(id=5, seq=6, data=b"abc")
    Serving().check(Step(sent, verdict=Verdict.ECHOED, answer=back))


@pytest.mark.parametrize("octets", [0, 1, 56])
def test_rfc1071_the_answer_to_a_ping_of_zeros_has_a_checksum(octets):
    nat64, back = Serving(), IP(src=VIP, dst=HOST4, ttl=64) / ICMP(type=0, id=0, seq=0) / bytes(octets)
    nat64.check(Step(HERE / ICMP(id=0, seq=0) / bytes(octets), verdict=Verdict.ECHOED, answer=back))


def test_a_pong_is_nobodys():
    pong = HERE / ICMP(type=0, id=5)
    assert of(Serving().send(pong)) == (Verdict.NO_BIB_ENTRY, True)


def test_pings_are_left_alone_on_request():
    ping = HERE / ICMP(id=5)
    assert of(Serving(services={"echo": False}).send(ping)) == (Verdict.FILTERED_ICMP_INFO, False)
    assert of(Serving(filtering={"drop_icmp_info": True}).send(ping)) == (Verdict.FILTERED_ICMP_INFO, False)


def test_answers_to_pings_have_a_limit_of_their_own():
    nat64 = Serving()
    nat64.worker.buckets[RECEIVERS + 2 * ECHOES] = 0, round(BEGIN * 1000)
    assert of(nat64.send(HERE / ICMP(id=5))) == (Verdict.ECHOED, False)
    assert nat64.events()["ANSWER_LIMITED"] == 1


@pytest.mark.parametrize(("source", "verdict"), [(OTHER_VIP, "FORGED_SOURCE"), ("10.1.2.3", "NON_GLOBAL_ADDRESS")])
def test_some_clients_are_served_nowhere(source, verdict):
    nat64 = Serving(WEB, service("other", f"{OTHER_VIP}:80", endpoints(80, 1)))
    assert nat64.send(tcp4(7, 80, src=source)).verdict == Verdict[verdict]
    denied = Serving(translation={"denylist4": [f"{HOST4}/32"]})
    assert denied.send(tcp4(7, 80)).verdict == Verdict.DENIED_ADDRESS
    assert denied.send(tcp4(7, 80)).answer is not None
    assert denied.send(tcp4(7, 10)).verdict == Verdict.DENIED_ADDRESS  # a port that no service has
    assert nat64.rows() == []


def test_others_than_its_sources_are_dropped_in_silence():
    nat64 = Serving(WEB | {"sources": ["198.51.100.7", "192.0.2.128/25"]}, DNS)
    nat64.client()
    nat64.client(src="192.0.2.129")
    for flags in ("S", "A", "R"):
        assert of(nat64.send(tcp4(7, 80, flags, src=OTHER4))) == (Verdict.SOURCE_RANGE, False)
    assert nat64.datagram(src=OTHER4)
    assert {row[1] for row in nat64.rows()} == {HOST4, "192.0.2.129", OTHER4}


def test_every_protocol_is_a_front_of_its_own():
    nat64 = Serving(service("both", f"{VIP}:80", endpoints(80, 1), ["tcp", "udp"]))
    assert nat64.client() == nat64.reached(udp4(7, 80)) == E(1)
    assert [row[3] for row in nat64.rows()] == ["V4_INIT", "V4_INIT"]


# ---- two fronts on one endpoint

TWO = (WEB, service("again", f"{OTHER_VIP}:80", endpoints(8080, 1, 2, 3)))


def test_the_same_client_port_by_another_front_goes_to_the_next_best_member():
    nat64 = Serving(*TWO)
    ports = range(1, 99)
    port = next(p for p in ports if Serving(*TWO).client(p) == Serving(*TWO).client(p, vip=OTHER_VIP))
    first = nat64.client(port)
    second = nat64.client(port, vip=OTHER_VIP)
    assert second != first
    assert {row[0] for row in nat64.rows()} == {first, second}


def test_where_there_is_none_it_is_refused():
    nat64 = Serving(
        service("web", f"{VIP}:80", endpoints(8080, 1)), service("again", f"{OTHER_VIP}:80", endpoints(8080, 1))
    )
    nat64.client()
    outcome = nat64.send(tcp4(7, 80, vip=OTHER_VIP))
    assert outcome.verdict == Verdict.SERVICE_CLASH
    assert whole(outcome.answer)[TCP].flags == "RA"
    assert nat64.client(8, vip=OTHER_VIP) == E(1)


def test_a_flow_that_the_endpoint_has_begun_itself_is_another():
    nat64 = Serving(service("dns", f"{VIP}:53", endpoints(53, 1, 2), "udp"))
    for endpoint in (1, 2):
        if Serving(service("dns", f"{VIP}:53", endpoints(53, 1, 2), "udp")).datagram(53) == E(endpoint):
            nat64.send(udp6(E(endpoint), 53, 53))
            assert nat64.datagram(53) == E(3 - endpoint)


# ---- nobody there


@pytest.mark.parametrize(
    ("port", "verdict", "key"), [(9, Verdict.NO_ENDPOINT, "no_endpoint"), (10, Verdict.CLOSED_PORT, "closed_port")]
)
def test_without_endpoint_or_front_a_client_is_told_as_by_a_host(port, verdict, key):
    nat64 = Serving()
    reset = IP(src=VIP, dst=HOST4, ttl=64, id=0, flags="DF") / TCP(
        sport=port, dport=7, flags="RA", seq=0, ack=1001, window=0
    )
    nat64.check(Step(tcp4(7, port), verdict=verdict, answer=reset))
    reset = IP(src=VIP, dst=HOST4, ttl=64, id=0, flags="DF") / TCP(sport=port, dport=7, flags="R", seq=2000, window=0)
    nat64.check(Step(tcp4(7, port, "PA"), verdict=verdict, answer=reset))
    outcome = nat64.send(udp4(7, port))
    assert outcome.verdict == verdict
    told = whole(outcome.answer)
    assert (told.src, told.dst, told[ICMP].type, told[ICMP].code) == (VIP, HOST4, 3, 3)
    assert of(nat64.send(tcp4(7, port, "R"))) == (verdict, False)
    silent = Serving(services={key: "drop"})
    assert of(silent.send(tcp4(7, port))) == of(silent.send(udp4(7, port))) == (verdict, False)


def test_so_is_a_host_behind_us():
    outcome = Serving().send(tcp6(HOST6, 5000, 9, "S", VIP))
    assert outcome.verdict == Verdict.NO_ENDPOINT
    assert ends4(whole(outcome.answer)) == (in6_(VIP), 9, HOST6, 5000)
    told = whole(Serving().send(udp6(HOST6, 5000, 9, VIP)).answer)
    assert (told.src, told.dst, told.payload.type, told.payload.code) == (in6_(VIP), HOST6, 1, 4)


def test_what_is_told_so_has_a_limit_of_its_own():
    nat64 = Serving()
    nat64.worker.buckets[RECEIVERS + 2 * REFUSALS, TOKENS] = 0
    nat64.worker.buckets[RECEIVERS + 2 * REFUSALS, 1] = round(BEGIN * 1000)
    assert of(nat64.send(tcp4(7, 9))) == of(nat64.send(udp4(7, 9))) == (Verdict.NO_ENDPOINT, False)
    assert nat64.events() | {"ANSWER_LIMITED": 1, "RESET_LIMITED": 1} == nat64.events()
    assert of(nat64.send(udp4(7, 1024, vip=MAPPED4))) == (Verdict.NO_BIB_ENTRY, True)


def test_no_fragment_is_answered_with_a_rst():
    sent = fragment_of(HERE / TCP(sport=7, dport=9, flags="S") / payload(64), 0, 40)
    assert of(Serving().send(sent)) == (Verdict.NO_ENDPOINT, False)


@pytest.mark.parametrize(("dst", "told"), [(VIP, VIP), (MAPPED4, OUR4)])
def test_another_protocol_is_refused_by_the_address_itself(dst, told):
    outcome = Serving().send(IP(src=HOST4, dst=dst, proto=47) / b"12345678")
    answer = whole(outcome.answer)
    assert outcome.verdict == Verdict.PROTOCOL
    assert (answer.src, answer.dst, answer[ICMP].type, answer[ICMP].code) == (told, HOST4, 3, 2)


def test_also_where_pool4_has_others():
    pool4 = [{"addresses": "192.0.2.0/30", "protocols": ["tcp", "udp", "icmp", "other"]}]
    assert Serving(pool4=pool4).send(IP(src=HOST4, dst=VIP, proto=47) / b"12345678").verdict == Verdict.NO_BIB_ENTRY


def test_members_without_weight_get_new_flows_only_if_there_is_no_other():
    nat64 = Serving(service("web", f"{VIP}:80", endpoints(8080, 1, 2, e1=0)))
    assert {nat64.client(port) for port in range(1, 30)} == {E(2)}
    later = Serving(service("web", f"{VIP}:80", endpoints(8080, 1, 2, e1=0)))
    assert {later.client(port, "A") for port in range(1, 30)} == {E(1), E(2)}
    last = Serving(service("web", f"{VIP}:80", endpoints(8080, 1, e1=0)))
    assert last.client() == E(1)


def test_with_affinity_all_flows_of_a_client_go_to_one():
    nat64 = Serving(WEB | {"affinity": "client"}, DNS)
    assert len({nat64.client(port) for port in range(1, 20)}) == 1
    assert len({nat64.client(port, src=f"198.51.100.{port}") for port in range(1, 20)}) == 3


def test_weights_count():
    nat64 = Serving(service("web", f"{VIP}:80", endpoints(8080, 1, 2, e1=9)), limits={"sessions": 4096})
    found = [whole(nat64.translate(bytes(tcp4(port, 80)), 10**9).packets[0])[IPv6].dst for port in range(1, 300)]
    assert 0.85 < found.count(E(1)) / len(found) < 0.95


# ---- a full table


def test_in_a_crowded_table_flows_are_not_pinned_but_never_refused():
    nat64 = Serving(limits={"sessions": 64})
    found = {port: nat64.client(port) for port in range(1, 31)}
    assert len(nat64.rows()) == 16  # a quarter
    assert nat64.events()["SERVICE_UNPINNED"] == 14
    assert found == {port: Serving().client(port) for port in found}
    assert ends4(nat64.answer(found[30], 30)) == (VIP, 80, HOST4, 30)
    assert nat64.client(30, "A") == found[30]
    assert len(nat64.rows()) == 16


def test_an_eighth_of_the_table_is_left_to_others():
    nat64 = Serving(limits={"sessions": 64})
    for port in range(1, 70):
        nat64.answer(nat64.client(port), port)
    assert len(nat64.rows()) == 56
    assert nat64.send(udp6(HOST6, 5000, 53)).verdict == Verdict.TRANSLATED
    there = nat64.datagram()
    (packet,) = map(whole, nat64.send(udp6(there, 53, 7)).packets)
    assert ends4(packet) == (VIP, 53, HOST4, 7)  # an answer, as far as anybody can know


def test_an_endpoint_known_not_to_serve_gets_nothing_that_has_no_session():
    nat64 = Serving()
    weights = nat64.tables.members["weight"][: len(WEB["endpoints"])]
    pinned = nat64.client(sport=1)
    weights[:] = [1 if E(number) == "2001:db8:5::2" else -1 for number in (1, 2, 3)]
    assert {nat64.client(sport=sport) for sport in range(100, 120)} == {E(2)}
    assert {nat64.client(sport=sport, flags="A") for sport in range(200, 220)} == {E(2)}
    assert nat64.client(sport=1, flags="A") == pinned
    weights[:] = -1
    assert nat64.send(tcp4(300, 80)).verdict == Verdict.NO_ENDPOINT
    assert nat64.send(tcp4(301, 80, "A")).verdict == Verdict.NO_ENDPOINT
