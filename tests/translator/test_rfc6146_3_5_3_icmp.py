"""RFC 6146 section 3.5.3: bindings and sessions of ICMP queries; section 3.5: ICMP errors, which change none."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.packet import Packet

from tests.packets import (
    HOST4,
    HOST4_IN6,
    HOST4_PORT,
    HOST6,
    HOST6_PORT,
    MAPPED4,
    MAPPED4_PORT,
    NEIGHBOUR6,
    OTHER4,
    ROUTER4,
    Icmp,
    answer4,
    from4,
    from6,
    in6,
    ping4,
    ping6,
    whole,
)
from tests.sessions import Flow, Sessions, flow
from translator.verdict import Verdict

MAPPED = (MAPPED4, MAPPED4_PORT)
PING = (HOST4, 0)  # an identifier has no peer's port


def test_rfc6146_3_5_3_echo_request_makes_binding_and_session_of_its_identifier():
    nat64 = Sessions()
    mapped = nat64.opened("icmp", 77)
    assert nat64.session() == ("icmp", (HOST6, 77), mapped, PING, "V6_INIT", 60)
    assert nat64.mapped("icmp", 77) == mapped


def test_rfc6146_3_5_3_echo_reply_finds_the_host():
    nat64 = Sessions()
    mapped = nat64.opened("icmp", 77)
    for _ in range(2):
        nat64.wait(50)
        (packet,) = nat64.say(bytes(IP(src=HOST4, dst=mapped[0]) / ICMP(type=0, id=mapped[1]))).packets
        assert flow(packet) == Flow(in6(HOST4), 77, HOST6, 77)
        assert IPv6(packet)[ICMPv6EchoReply].id == 77
        assert nat64.session().left == 60
    nat64.wait(50)
    nat64.opened("icmp", 77)
    assert nat64.session().left == 60


def test_rfc6146_3_5_3_identifier_is_mapped_independently_of_the_endpoint():
    nat64 = Sessions()
    mapped = nat64.opened("icmp", 77)
    assert nat64.opened("icmp", 77, to=(OTHER4, 0)) == mapped
    assert nat64.opened("icmp", 78) != mapped
    assert nat64.opened("icmp", 77, host=NEIGHBOUR6) != mapped
    assert len(nat64.sessions()) == 4


def test_rfc6146_3_5_3_identifier_0_and_65535_are_identifiers_like_others():
    nat64 = Sessions()
    for identifier in (0, 65535):
        mapped = nat64.opened("icmp", identifier)
        (packet,) = nat64.from4("icmp", mapped).packets
        assert IPv6(packet)[ICMPv6EchoRequest].id == identifier


@pytest.mark.parametrize("request_", [True, False], ids=["request", "reply"])
@pytest.mark.parametrize("binding", ["static", "dynamic"])
def test_rfc6146_3_5_3_host4_may_ping_a_bound_identifier(binding, request_):
    nat64 = Sessions()
    mapped, port = (MAPPED, HOST6_PORT) if binding == "static" else (nat64.opened("icmp", 77), 77)
    (packet,) = nat64.say(bytes(from4(src=OTHER4, dst=mapped[0]) / ping4(request_, id=mapped[1]))).packets
    assert flow(packet) == Flow(in6(OTHER4), port, HOST6, port)
    assert nat64.sessions()[-1] == ("icmp", (HOST6, port), mapped, (OTHER4, 0), "V4_INIT", 60)


def test_rfc6146_3_5_3_echo_reply_of_a_host6_makes_entries_like_a_request():
    nat64 = Sessions()
    (packet,) = nat64.say(bytes(from6() / ICMPv6EchoReply(id=77))).packets
    assert IP(packet)[ICMP].type == 0
    assert nat64.mapped("icmp", 77) == (IP(packet).src, IP(packet)[ICMP].id)
    assert len(nat64.sessions()) == 1


@pytest.mark.parametrize("request_", [True, False], ids=["request", "reply"])
def test_rfc6146_3_5_3_query_from_outside_without_binding_is_answered_with_host_unreachable(request_):
    nat64 = Sessions()
    sent = whole(from4() / ping4(request_, id=MAPPED4_PORT + 1))
    outcome = nat64.say(bytes(sent))
    assert (outcome.verdict, outcome.answer) == (Verdict.NO_BIB_ENTRY, bytes(answer4(sent, 3, 1)))


def test_rfc6146_3_5_3_identifier_of_udp_is_none_of_icmp():
    nat64 = Sessions()
    mapped = nat64.opened("udp", 77)
    assert nat64.from4("icmp", mapped).verdict == Verdict.NO_BIB_ENTRY


# A packet of each protocol that an error is about: as HOST6 sent it, and as HOST4 got it; then the other way.
ABOUT = {
    "udp": (UDP(sport=HOST6_PORT, dport=HOST4_PORT), UDP(sport=MAPPED4_PORT, dport=HOST4_PORT)),
    "tcp": (TCP(sport=HOST6_PORT, dport=HOST4_PORT), TCP(sport=MAPPED4_PORT, dport=HOST4_PORT)),
    "icmp": (ping6(True), ping4(True)),
}


def error4(quoted: Packet, src: str = HOST4) -> bytes:
    """A host-unreachable from outside about a packet of MAPPED4."""
    return bytes(IP(src=src, dst=MAPPED4) / Icmp(type=3, code=1) / IP(src=MAPPED4, dst=HOST4) / quoted)


def error6(quoted: Packet) -> bytes:
    """An address-unreachable from HOST6 about a packet of HOST4."""
    return bytes(IPv6(src=HOST6, dst=HOST4_IN6) / Icmp(type=1, code=3) / IPv6(src=HOST4_IN6, dst=HOST6) / quoted)


def answered(protocol: str, family: int) -> Packet:
    """A packet of HOST4 to the binding: as HOST6 got it, or as HOST4 sent it."""
    ports = {"sport": HOST4_PORT, "dport": HOST6_PORT if family == 6 else MAPPED4_PORT}
    if protocol == "icmp":
        return ping6(False) if family == 6 else ping4(False)
    return {"udp": UDP, "tcp": TCP}[protocol](**ports)


@pytest.mark.parametrize("open_", [False, True], ids=["unanswered", "open"])
@pytest.mark.parametrize("protocol", ABOUT)
def test_rfc6146_3_5_error_of_a_session_passes_and_touches_nothing(protocol, open_):
    nat64 = Sessions()
    nat64.opened(protocol, HOST6_PORT)
    if open_:
        assert nat64.from4(protocol, MAPPED).verdict == Verdict.TRANSLATED
    nat64.wait(31)
    before = nat64.session()
    for packet in (error4(ABOUT[protocol][1]), error4(ABOUT[protocol][1], ROUTER4), error6(answered(protocol, 6))):
        assert nat64.say(packet).verdict == Verdict.TRANSLATED
    assert nat64.sessions() == [before]


@pytest.mark.parametrize("protocol", ABOUT)
@pytest.mark.parametrize("forward", [True, False], ids=["static", "dynamic"])
def test_rfc6146_3_6_error_needs_a_binding_but_no_session_and_makes_none(forward, protocol):
    config = {"pool4": [{"addresses": MAPPED4, "ports": f"{MAPPED4_PORT}-{MAPPED4_PORT}"}], "forward": []}
    nat64 = Sessions(**({} if forward else config))
    if not forward:
        assert nat64.opened(protocol, HOST6_PORT, to=(OTHER4, 9)) == MAPPED
    nat64.wait(7)
    before = nat64.sessions(), nat64.tables.bibs.tobytes()
    assert nat64.say(error4(ABOUT[protocol][1])).verdict == Verdict.TRANSLATED
    assert nat64.say(error6(answered(protocol, 6))).verdict == Verdict.TRANSLATED
    assert (nat64.sessions(), nat64.tables.bibs.tobytes()) == before


@pytest.mark.parametrize("protocol", ABOUT)
def test_rfc6146_3_5_error_without_binding_is_dropped_in_silence_and_makes_none(protocol):
    nat64 = Sessions(forward=[])
    for packet in (error4(ABOUT[protocol][1]), error6(answered(protocol, 6))):
        outcome = nat64.say(packet)
        assert (outcome.verdict, outcome.answer) == (Verdict.NO_SESSION, None)
    assert nat64.bib() == {}


@pytest.mark.parametrize("protocol", ABOUT)
def test_rfc6146_3_5_error_about_a_session_whose_time_is_over_is_dropped(protocol):
    nat64 = Sessions(forward=[])
    mapped = nat64.opened(protocol, HOST6_PORT)
    quoted = (
        ICMP(id=mapped[1])
        if protocol == "icmp"
        else {"udp": UDP, "tcp": TCP}[protocol](sport=mapped[1], dport=HOST4_PORT)
    )
    packet = bytes(IP(src=HOST4, dst=mapped[0]) / Icmp(type=3, code=1) / IP(src=mapped[0], dst=HOST4) / quoted)
    assert nat64.say(packet).verdict == Verdict.TRANSLATED
    nat64.wait(300)
    assert nat64.say(packet).verdict == Verdict.NO_SESSION


def test_rfc6146_3_5_error_of_a_tcp_session_does_not_move_its_state():
    nat64 = Sessions()
    nat64.opened("tcp", HOST6_PORT)
    nat64.from4("tcp", MAPPED, flags="SYN-ACK")
    for flags in ("S", "F", "R"):
        nat64.say(error4(TCP(sport=MAPPED4_PORT, dport=HOST4_PORT, flags=flags)))
        nat64.say(error6(TCP(sport=HOST4_PORT, dport=HOST6_PORT, flags=flags)))
    assert nat64.session().state == "ESTABLISHED"


UNREACHABLE4, UNREACHABLE6 = [(3, code) for code in range(16)], [(1, code) for code in range(7)]
ERRORS4 = [*UNREACHABLE4, (4, 0), (5, 1), (11, 0), (11, 1), (12, 0), (12, 2)]
ERRORS6 = [*UNREACHABLE6, (2, 0), (3, 0), (3, 1), (4, 0), (4, 1), (4, 2)]


@pytest.mark.no_cover
@pytest.mark.parametrize("answer", [None, "SYN-ACK", "RST"])
@pytest.mark.parametrize("protocol", ABOUT)
def test_rfc5382_req_10_no_icmp_message_ends_a_mapping_or_connection(protocol, answer):
    """RFC 4787 REQ-12 says so of UDP."""
    nat64 = Sessions()
    address, port = nat64.opened(protocol, 6000)
    if answer:
        nat64.from4(protocol, (address, port), flags=answer)
    nat64.wait(5)
    before = nat64.sessions(), nat64.bib()
    if protocol == "icmp":
        there, back = ICMP(type=8, id=port), ICMPv6EchoReply(id=6000)
    else:
        kind = {"udp": UDP, "tcp": TCP}[protocol]
        there, back = kind(sport=port, dport=HOST4_PORT), kind(sport=HOST4_PORT, dport=6000)
    quoted4, quoted6 = IP(src=address, dst=HOST4) / there, IPv6(src=HOST4_IN6, dst=HOST6) / back
    errors = [IP(src=ROUTER4, dst=address) / Icmp(type=t, code=c, rest=1400) / quoted4 for t, c in ERRORS4]
    errors += [from6() / Icmp(type=t, code=c, rest=1400 * (t == 2)) / quoted6 for t, c in ERRORS6]
    verdicts = [nat64.say(bytes(error)).verdict for error in errors]
    assert verdicts.count(Verdict.TRANSLATED) == len(errors) - 6  # RFC 7915 has no counterpart of six
    assert (nat64.sessions(), nat64.bib()) == before


@pytest.mark.parametrize("protocol", ABOUT)
@pytest.mark.parametrize("filtering", ["address_dependent", "drop_inbound_tcp", "drop_icmp_info"])
def test_rfc6146_3_5_error_passes_every_filter(filtering, protocol):
    """HOST6 has bindings, and has spoken to nobody."""
    nat64 = Sessions(filtering={filtering: True})
    for source in (HOST4, ROUTER4):
        assert nat64.say(error4(ABOUT[protocol][1], source)).verdict == Verdict.TRANSLATED
    assert nat64.say(error6(answered(protocol, 6))).verdict == Verdict.TRANSLATED
