"""RFC 6146 section 3.8: both ends are IPv6 hosts behind us; each sees the other under pool6, at its mapped4.

HOST6:6000  ->  pool6 + MAPPED4:MAPPED4_PORT    (our [[forward]])    ->  NEIGHBOUR6:8000
"""

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6

from tests.packets import (
    HOST4,
    HOST6,
    MAPPED4,
    MAPPED4_PORT,
    NEIGHBOUR6,
    OTHER4,
    Icmp,
    answer6,
    from6,
    in6,
    payload,
    ping6,
    whole,
)
from tests.sessions import Flow, Sessions, flow
from translator.verdict import Verdict

PORT, SERVER_PORT = 6000, 8000
DOOR = (MAPPED4, MAPPED4_PORT)
FORWARD = [
    {"protocol": name, "ipv4": f"{MAPPED4}:{MAPPED4_PORT}", "ipv6": f"[{NEIGHBOUR6}]:{SERVER_PORT}"}
    for name in ("tcp", "udp", "icmp")
]
# A ping has one identifier, so it only finds a host whose mapped4 has the same one as that of its sender.
FORWARD.append({"protocol": "icmp", "ipv4": f"192.0.2.2:{MAPPED4_PORT}", "ipv6": f"[{HOST6}]:{PORT}"})


def calls(nat64: Sessions, protocol: str, **named) -> bytes:
    """HOST6 speaks to the door of NEIGHBOUR6; what NEIGHBOUR6 gets."""
    outcome = nat64.from6(protocol, PORT, DOOR, **named)
    assert (outcome.verdict, outcome.direction) == (Verdict.HAIRPINNED, "6to4")
    (packet,) = outcome.packets
    return packet


def answers(nat64: Sessions, protocol: str, **named) -> bytes:
    """NEIGHBOUR6 speaks to the mapped4 of HOST6; what HOST6 gets."""
    outcome = nat64.from6(protocol, SERVER_PORT, nat64.mapped(protocol, PORT), host=NEIGHBOUR6, **named)
    assert outcome.verdict == Verdict.HAIRPINNED
    (packet,) = outcome.packets
    return packet


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_rfc6146_3_8_there_and_back(protocol):
    nat64 = Sessions(forward=FORWARD)
    there = flow(calls(nat64, protocol))
    caller4, caller4_port = nat64.mapped(protocol, PORT)
    assert there == Flow(in6(caller4), caller4_port, NEIGHBOUR6, SERVER_PORT)
    assert flow(answers(nat64, protocol, flags="SYN-ACK")) == Flow(in6(MAPPED4), MAPPED4_PORT, HOST6, PORT)


def test_rfc6146_3_8_ping_there_and_back():
    nat64 = Sessions(forward=FORWARD)
    assert flow(calls(nat64, "icmp")) == Flow(in6("192.0.2.2"), SERVER_PORT, NEIGHBOUR6, SERVER_PORT)
    assert flow(answers(nat64, "icmp")) == Flow(in6(MAPPED4), PORT, HOST6, PORT)


def test_rfc6146_3_8_each_side_has_a_session_of_its_own():
    nat64 = Sessions(forward=FORWARD)
    calls(nat64, "udp")
    caller = nat64.mapped("udp", PORT)
    assert nat64.sessions() == [
        ("udp", (HOST6, PORT), caller, DOOR, "V6_INIT", 300),
        ("udp", (NEIGHBOUR6, SERVER_PORT), DOOR, caller, "V4_INIT", 300),
    ]


def test_rfc6146_3_8_both_sessions_are_refreshed():
    nat64 = Sessions(forward=FORWARD)
    calls(nat64, "udp")
    for speak in (calls, answers):
        nat64.wait(200)
        speak(nat64, "udp")
        assert [session.left for session in nat64.sessions()] == [300, 300]


def test_rfc6146_3_8_handshake_and_end_move_both_sessions():
    nat64 = Sessions(forward=FORWARD)

    def states():
        return [session.state for session in nat64.sessions()]

    calls(nat64, "tcp", flags="SYN")
    assert states() == ["V6_INIT", "V4_INIT"]
    answers(nat64, "tcp", flags="SYN-ACK")
    assert states() == ["ESTABLISHED", "ESTABLISHED"]
    calls(nat64, "tcp", flags="FIN")
    assert states() == ["V6_FIN_RCV", "V4_FIN_RCV"]
    answers(nat64, "tcp", flags="FIN")
    assert states() == ["V4_FIN_V6_FIN_RCV", "V4_FIN_V6_FIN_RCV"]


def test_rfc6146_3_8_hop_limit_is_decremented_once_and_data_are_untouched():
    nat64 = Sessions(forward=FORWARD)
    sent = from6(dst=in6(MAPPED4), hlim=9, tc=0x2E) / UDP(sport=PORT, dport=MAPPED4_PORT) / payload(1200)
    (packet,) = nat64.say(bytes(sent)).packets
    got = IPv6(packet)
    assert (got.hlim, got.tc, bytes(got[UDP].payload)) == (8, 0x2E, payload(1200))


def test_rfc6146_3_8_host_may_reach_itself():
    nat64 = Sessions(forward=[])
    mapped = nat64.opened("udp", PORT)
    (packet,) = nat64.from6("udp", PORT, mapped).packets
    assert flow(packet) == Flow(in6(mapped[0]), mapped[1], HOST6, PORT)
    assert {session.host4 for session in nat64.sessions()} == {(HOST4, 53), mapped}


def test_rfc6146_3_8_two_dynamic_mappings_meet():
    nat64 = Sessions(forward=[])
    mapped = nat64.opened("udp", 7000, host=NEIGHBOUR6)
    (packet,) = nat64.from6("udp", PORT, mapped).packets
    assert flow(packet)[2:] == (NEIGHBOUR6, 7000)


@pytest.mark.parametrize(
    ("protocol", "verdict", "answered"),
    [
        ("udp", Verdict.NO_BIB_ENTRY, True),
        ("icmp", Verdict.NO_BIB_ENTRY, True),
        ("syn", Verdict.SYN_HELD, False),
        ("ack", Verdict.NO_SESSION, False),
        ("ack_of_a_mapping", Verdict.NO_SESSION, False),
    ],
)
def test_rfc6146_3_8_nobody_behind_the_address_is_told_to_the_host6(protocol, verdict, answered):
    nat64 = Sessions(forward=[])
    own, _ = nat64.opened("udp", 7000)
    nobodys = "192.0.2.2" if own == MAPPED4 else MAPPED4  # a ping to its own address would come back to it
    if protocol == "ack_of_a_mapping":
        nat64.opened("tcp", PORT)
    syn, ack = TCP(sport=PORT, dport=9), TCP(sport=PORT, dport=9, flags="A")
    message = {"udp": UDP(sport=PORT, dport=9), "syn": syn, "icmp": ping6(True)}.get(protocol, ack)
    sent = whole(from6(dst=in6(nobodys)) / message)
    outcome = nat64.say(bytes(sent))
    assert outcome.verdict == verdict
    assert outcome.answer == (bytes(answer6(sent, 1, 3)) if answered else None)


def test_rfc6146_3_8_pool_address_that_is_only_forwarded_hairpins_too():
    outside = {"protocol": "udp", "ipv4": "203.0.113.80:80", "ipv6": f"[{NEIGHBOUR6}]:8080"}
    nat64 = Sessions(forward=[outside])
    outcome = nat64.from6("udp", PORT, ("203.0.113.80", 80))
    assert outcome.verdict == Verdict.HAIRPINNED
    assert flow(outcome.packets[0])[2:] == (NEIGHBOUR6, 8080)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_rfc6146_3_8_each_address_of_ours_hairpins_and_errors_about_it_do(protocol):
    """Of two pools, and of a [[forward]] outside of them."""
    addresses = ("192.0.2.1", "198.51.100.9", "203.0.113.80")
    doors = [
        {"protocol": protocol, "ipv4": f"{address}:80", "ipv6": f"[{NEIGHBOUR6}]:{SERVER_PORT + at}"}
        for at, address in enumerate(addresses)
    ]
    for host in (HOST6, "2001:db8:77::1", "2001:db8:78::1"):
        nat64 = Sessions(pool4=[{"addresses": address} for address in addresses[:2]], forward=doors)
        for at, address in enumerate(addresses):
            (there,) = nat64.from6(protocol, PORT, (address, 80), host=host).packets
            assert flow(there)[2:] == (NEIGHBOUR6, SERVER_PORT + at)
            error = IPv6(src=NEIGHBOUR6, dst=IPv6(there).src) / Icmp(type=1, code=4) / there
            (back,) = nat64.say(bytes(error)).packets
            assert (IPv6(back).src, IPv6(back).dst) == (IPv6(src=in6(address)).src, IPv6(dst=host).dst)


def test_rfc6146_3_8_private_pool_is_reached_under_the_well_known_prefix():
    nat64 = Sessions(
        pool4=[{"addresses": "10.64.0.0/28"}],
        tun={"ipv4": "10.64.1.1"},
        forward=[{"protocol": "udp", "ipv4": "10.64.0.1:80", "ipv6": f"[{NEIGHBOUR6}]:8080"}],
    )
    assert nat64.from6("udp", PORT, ("10.64.0.1", 80)).verdict == Verdict.HAIRPINNED
    assert nat64.from6("udp", PORT, ("10.65.0.1", 80)).verdict == Verdict.NON_GLOBAL_ADDRESS


def test_rfc6146_3_8_address_dependent_filtering_knows_the_caller_by_its_mapped4():
    nat64 = Sessions(forward=FORWARD, filtering={"address_dependent": True})
    outcome = nat64.from6("udp", PORT, DOOR)
    assert (outcome.verdict, outcome.answer) == (Verdict.FILTERED_ADF, None)
    caller = nat64.mapped("udp", PORT)
    assert nat64.from6("udp", SERVER_PORT, caller, host=NEIGHBOUR6).verdict == Verdict.HAIRPINNED
    assert nat64.from6("udp", PORT, DOOR).verdict == Verdict.HAIRPINNED


def test_rfc6146_3_8_drop_inbound_tcp_knows_no_exception_for_neighbours():
    nat64 = Sessions(filtering={"drop_inbound_tcp": True})
    mapped = nat64.opened("tcp", 7000, host=NEIGHBOUR6)
    outcome = nat64.from6("tcp", PORT, mapped)
    assert (outcome.verdict, outcome.answer) == (Verdict.FILTERED_INBOUND_TCP, None)
    assert nat64.from6("udp", PORT, nat64.opened("udp", 7000, host=NEIGHBOUR6)).verdict == Verdict.HAIRPINNED


@pytest.mark.parametrize("protocol", ["udp", "tcp", "icmp"])
def test_rfc6146_3_8_error_about_a_hairpinned_packet_reaches_its_sender(protocol):
    nat64 = Sessions(forward=FORWARD)
    there = calls(nat64, protocol)
    before = nat64.sessions()
    outcome = nat64.say(bytes(IPv6(src=NEIGHBOUR6, dst=IPv6(there).src) / Icmp(type=1, code=4) / there))
    assert outcome.verdict == Verdict.HAIRPINNED
    got = IPv6(outcome.packets[0])
    assert (got.src, got.dst) == (IPv6(src=in6(MAPPED4)).src, HOST6)
    quoted = bytes(got[ICMPv6DestUnreach].payload)
    caller = Flow(HOST6, PORT, in6(MAPPED4), PORT if protocol == "icmp" else MAPPED4_PORT)
    assert flow(quoted) == caller
    assert nat64.sessions() == before


def test_rfc6146_3_8_ordinary_address_beside_the_pool_does_not_hairpin():
    nat64 = Sessions()
    assert nat64.from6("udp", PORT, (OTHER4, 9)).verdict == Verdict.TRANSLATED
    assert nat64.from6("udp", PORT, ("192.0.2.4", 9)).verdict == Verdict.TRANSLATED  # POOL4 ends at .3
