"""RFC 6146 section 3.4: the incoming tuple of a packet, and packets that have none."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrRouting
from scapy.packet import Packet

from nat64d.config.words import address6
from tests.packets import (
    HOST4,
    HOST4_IN6,
    HOST4_PORT,
    HOST6,
    HOST6_PORT,
    MAPPED4,
    MAPPED4_IN6,
    MAPPED4_PORT,
    OTHER4_IN6,
    OUR4,
    POOL4,
    ROUTER4,
    ROUTER6,
    Icmp,
    answer4,
    answer6,
    cut,
    fragment_of,
    from4,
    from6,
    whole,
    with_options,
)
from tests.sessions import Sessions
from translator.packet import fields
from translator.packet.addresses import TransportAddress
from translator.packet.parse import parse, parse_quoted
from translator.packet.tuples import Tuple, as_from_ipv4, incoming_tuple, reply_of, tuple_of
from translator.verdict import Verdict

UP, DOWN = from6(), from4()
QUOTED_UP = IPv6(src=HOST4_IN6, dst=HOST6)  # what HOST6 or its router quotes: a packet that was on its way to it
QUOTED_DOWN = IP(src=MAPPED4, dst=HOST4)  # what HOST4 or its router quotes

SERVICE = {"name": "web", "protocol": "tcp", "ipv4": "203.0.113.80:80", "endpoints": ["[2001:db8:5::1]:8080"]}
# Where an address may pass for one of ours all the same.
NOT_OURS = {
    "sessions alone": {},
    "beside a mapped host": {"eam": [{"ipv4": "203.0.113.77", "ipv6": "2001:db8:e::77"}]},
    "beside a service": {"service": [SERVICE]},
    "beside a service of IPv6 clients": {
        "service": [SERVICE | {"ipv6": "[2001:db8:ff::1]:80"}],
        "services": {"ipv6_front": "dnat"},
    },
    "with other protocols": {"pool4": [{"addresses": POOL4, "protocols": ["tcp", "udp", "icmp", "other"]}]},
}

# Packet -> (protocol, source, its port, destination, its port).
TUPLES = {
    "udp_from_ipv6": (UP / UDP(sport=1, dport=2), (17, HOST6, 1, HOST4_IN6, 2)),
    "tcp_from_ipv6": (UP / TCP(sport=65535, dport=443), (6, HOST6, 65535, HOST4_IN6, 443)),
    "udp_from_ipv4": (DOWN / UDP(sport=1, dport=2), (17, HOST4, 1, MAPPED4, 2)),
    "tcp_from_ipv4": (DOWN / TCP(sport=443, dport=65535), (6, HOST4, 443, MAPPED4, 65535)),
    "udp_behind_extension_header": (UP / IPv6ExtHdrDestOpt() / UDP(sport=1, dport=2), (17, HOST6, 1, HOST4_IN6, 2)),
    "udp_behind_ipv4_options": (from4(options=b"\x01" * 8) / UDP(sport=1, dport=2), (17, HOST4, 1, MAPPED4, 2)),
    # A query has one identifier: it is the port of the host behind us.
    "request_from_ipv6": (UP / ICMPv6EchoRequest(id=7), (1, HOST6, 7, HOST4_IN6, 0)),
    "reply_from_ipv6": (UP / ICMPv6EchoReply(id=7), (1, HOST6, 7, HOST4_IN6, 0)),
    "request_from_ipv4": (DOWN / ICMP(type=8, id=7), (1, HOST4, 0, MAPPED4, 7)),
    "reply_from_ipv4": (DOWN / ICMP(type=0, id=7), (1, HOST4, 0, MAPPED4, 7)),
    # An error: the quoted tuple turned round, whoever sent the error.
    "error_from_ipv6_about_udp": (
        UP / Icmp(type=1) / QUOTED_UP / UDP(sport=2, dport=1),
        (17, HOST6, 1, HOST4_IN6, 2),
    ),
    "error_of_a_router_from_ipv6_about_tcp": (
        from6(src=ROUTER6) / Icmp(type=3) / QUOTED_UP / TCP(sport=2, dport=1),
        (6, HOST6, 1, HOST4_IN6, 2),
    ),
    "error_from_ipv4_about_udp": (
        DOWN / Icmp(type=3) / QUOTED_DOWN / UDP(sport=2, dport=1),
        (17, HOST4, 1, MAPPED4, 2),
    ),
    "error_of_a_router_from_ipv4_about_tcp": (
        from4(src=ROUTER4) / Icmp(type=11) / QUOTED_DOWN / TCP(sport=2, dport=1),
        (6, HOST4, 1, MAPPED4, 2),
    ),
    "error_from_ipv6_about_request": (
        UP / Icmp(type=1) / QUOTED_UP / ICMPv6EchoRequest(id=7),
        (1, HOST6, 7, HOST4_IN6, 0),
    ),
    "error_from_ipv6_about_reply": (UP / Icmp(type=1) / QUOTED_UP / ICMPv6EchoReply(id=7), (1, HOST6, 7, HOST4_IN6, 0)),
    "error_from_ipv4_about_request": (
        DOWN / Icmp(type=3) / QUOTED_DOWN / ICMP(type=8, id=7),
        (1, HOST4, 0, MAPPED4, 7),
    ),
    "error_from_ipv4_about_reply": (DOWN / Icmp(type=3) / QUOTED_DOWN / ICMP(type=0, id=7), (1, HOST4, 0, MAPPED4, 7)),
}


def tuple_of_packet(packet: Packet) -> Tuple:
    """What the product says."""
    p = np.frombuffer(bytes(packet), np.uint8).copy()
    view = parse(p, 0, len(p))
    assert view.verdict == Verdict.CONTINUE
    is_error = view.transport == fields.ICMP and p[view.l4] not in {0, 8, 128, 129}
    quoted = parse_quoted(p, view) if is_error else view
    assert quoted.verdict == Verdict.CONTINUE
    return incoming_tuple(p, view, quoted, is_error)


def named(t: Tuple) -> tuple[int, str, int, str, int]:
    """A tuple with its addresses as text."""
    src, dst = (
        (address6(t.src.hi, t.src.lo), address6(t.dst.hi, t.dst.lo))
        if t.family == 6
        else (
            IPv4Address(int(t.src.lo)),
            IPv4Address(int(t.dst.lo)),
        )
    )
    return t.protocol, str(src), t.src.port, str(dst), t.dst.port


@pytest.mark.parametrize("name", TUPLES)
def test_rfc6146_3_4_tuple(name):
    packet, (protocol, src, src_port, dst, dst_port) = TUPLES[name]
    expected = protocol, str(ip_address(src)), src_port, str(ip_address(dst)), dst_port
    assert named(tuple_of_packet(packet)) == expected


def test_rfc6146_3_4_tuple_keeps_128_bits_of_an_address():
    host6 = "fedc:ba98:7654:3210:f00d:8000:0:1"
    assert named(tuple_of_packet(from6(src=host6) / UDP()))[1] == str(IPv6Address(host6))


def test_rfc6146_3_4_turned_twice_is_the_same():
    t = tuple_of(6, 17, TransportAddress(1, 2, 3), TransportAddress(4, 5, 6))
    assert reply_of(t) == (6, 17, (4, 5, 6), (1, 2, 3))
    assert reply_of(reply_of(t)) == t


def test_rfc6146_3_8_arriving_identifier_moves_to_the_destination():
    query = tuple_of(4, fields.ICMP, TransportAddress(0, 1, 7), TransportAddress(0, 2, 0))
    assert as_from_ipv4(query) == (4, fields.ICMP, (0, 1, 0), (0, 2, 7))
    udp = tuple_of(4, fields.UDP, TransportAddress(0, 1, 7), TransportAddress(0, 2, 8))
    assert as_from_ipv4(udp) == udp


SHORT = {
    "quoted_transport_header_below_8_octets": (UP / Icmp(type=1) / QUOTED_UP / UDP(sport=2, dport=1), 7),
    "quoted_ipv6_header_incomplete": (UP / Icmp(type=1) / QUOTED_UP, 39),
    "quoted_ipv4_transport_header_below_8_octets": (DOWN / Icmp(type=3) / QUOTED_DOWN / UDP(sport=2, dport=1), 7),
    "quoted_query_below_8_octets": (UP / Icmp(type=1) / QUOTED_UP / ICMPv6EchoRequest(id=7), 7),
    "quoted_ipv4_query_below_8_octets": (DOWN / Icmp(type=3) / QUOTED_DOWN / ICMP(type=8, id=7), 7),
    "quoted_tcp_below_8_octets": (UP / Icmp(type=1) / QUOTED_UP / TCP(sport=2, dport=1), 7),
    "quoted_ipv4_tcp_below_8_octets": (DOWN / Icmp(type=3) / QUOTED_DOWN / TCP(sport=2, dport=1), 7),
    "quoted_ipv4_header_incomplete": (DOWN / Icmp(type=3) / QUOTED_DOWN, 19),
}


@pytest.mark.parametrize("name", SHORT)
def test_rfc6146_3_4_quote_that_does_not_name_its_packet_is_silently_discarded(name):
    packet, kept = SHORT[name]
    quoted = bytes(packet[Icmp].payload)
    header = len(quoted) - len(bytes(packet[Icmp].payload.payload)) if "incomplete" not in name else 0
    outer = packet.copy()
    outer[Icmp].remove_payload()
    outcome = Sessions().say(bytes(outer / cut(quoted, header + kept)))
    assert (outcome.verdict, outcome.answer) == (Verdict.QUOTED_PACKET, None)


@pytest.mark.parametrize("quoted", [("ipv6", t) for t in (1, 2, 3, 4, 127)] + [("ipv4", t) for t in (3, 4, 5, 11, 12)])
def test_rfc6146_3_4_error_about_an_error_is_silently_discarded(quoted):
    family, type_ = quoted
    if family == "ipv6":
        packet = UP / Icmp(type=1) / QUOTED_UP / Icmp(type=type_) / from6() / UDP()
    else:
        packet = DOWN / Icmp(type=3) / QUOTED_DOWN / Icmp(type=type_) / from4() / UDP()
    outcome = Sessions().say(bytes(packet))
    assert (outcome.verdict, outcome.answer) == (Verdict.ERROR_IN_ERROR, None)


@pytest.mark.parametrize("protocol", [132, 33, 47, 50])
def test_rfc6146_3_4_other_protocol_is_answered(protocol):
    nat64 = Sessions()
    up, down = whole(from6(nh=protocol) / bytes(16)), whole(from4(proto=protocol) / bytes(16))
    for sent, answer in ((up, answer6(up, 1, 4)), (down, answer4(down, 3, 2))):
        outcome = nat64.say(bytes(sent))
        assert (outcome.verdict, outcome.answer) == (Verdict.PROTOCOL, bytes(answer))


def test_rfc6146_3_4_icmp_of_the_other_family_is_another_protocol():
    nat64 = Sessions()
    assert nat64.say(bytes(from6(nh=1) / bytes(16))).verdict == Verdict.PROTOCOL
    assert nat64.say(bytes(from4(proto=58) / bytes(16))).verdict == Verdict.PROTOCOL


def test_rfc6146_3_4_error_about_another_protocol_is_silently_discarded():
    nat64 = Sessions()
    packet = DOWN / Icmp(type=3) / IP(src=MAPPED4, dst=HOST4, proto=132) / bytes(16)
    outcome = nat64.say(bytes(packet))
    assert (outcome.verdict, outcome.answer) == (Verdict.PROTOCOL, None)


def test_rfc6146_3_5_packet_whose_source_is_in_pool6_is_silently_discarded():
    nat64 = Sessions()
    nat64.opened("udp", 1)
    error = Icmp(type=1) / QUOTED_UP / UDP(sport=HOST4_PORT, dport=1)
    for body in (UDP(), TCP(flags="S"), TCP(flags="A"), ICMPv6EchoRequest(), error):
        outcome = nat64.say(bytes(from6(src=OTHER4_IN6) / body))
        assert (outcome.verdict, outcome.answer) == (Verdict.SOURCE_IN_POOL6, None)
    for protocol in (47, 132):
        outcome = nat64.say(bytes(from6(src=OTHER4_IN6, nh=protocol) / bytes(16)))
        assert (outcome.verdict, outcome.answer) == (Verdict.SOURCE_IN_POOL6, None)
        outcome = Sessions(**NOT_OURS["with other protocols"]).say(
            bytes(from6(src=OTHER4_IN6, nh=protocol) / bytes(16))
        )
        assert (outcome.verdict, outcome.answer) == (Verdict.SOURCE_IN_POOL6, None)
    for body in (UDP(dport=MAPPED4_PORT), TCP(dport=MAPPED4_PORT), ICMPv6EchoRequest()):  # to another host of ours
        outcome = nat64.say(bytes(from6(src=OTHER4_IN6, dst=MAPPED4_IN6) / body))
        assert (outcome.verdict, outcome.answer) == (Verdict.SOURCE_IN_POOL6, None)
    for at in (0, 24):
        outcome = nat64.say(fragment_of(from6(src=OTHER4_IN6) / UDP() / bytes(48), at, 24))
        assert (outcome.verdict, outcome.answer) == (Verdict.SOURCE_IN_POOL6, None)
    routed = from6(src=OTHER4_IN6) / IPv6ExtHdrRouting(segleft=1, addresses=[HOST4_IN6]) / UDP()
    late, nowhere = from6(src=OTHER4_IN6, hlim=1) / UDP(), from6(src=OTHER4_IN6, dst="ff0e::1") / UDP()
    for told_of in (late, nowhere, routed, from6(src=OTHER4_IN6, nh=2) / bytes(16)):
        outcome = nat64.say(bytes(told_of))
        assert (outcome.verdict, outcome.answer) == (Verdict.SOURCE_IN_POOL6, None)
    late_error = nat64.say(bytes(from6(src=OTHER4_IN6, hlim=1) / error))
    assert (late_error.verdict, late_error.answer) == (Verdict.HOP_LIMIT_EXPIRED, None)
    about = IPv6(src=HOST4_IN6, dst=OTHER4_IN6) / UDP(sport=HOST4_PORT, dport=1)  # nobody there has got this
    outcome = nat64.say(bytes(from6() / Icmp(type=1) / about))
    assert (outcome.verdict, outcome.answer) == (Verdict.SOURCE_IN_POOL6, None)
    assert len(nat64.sessions()) == 1


@pytest.mark.parametrize("config", NOT_OURS.values(), ids=NOT_OURS)
def test_rfc6146_3_5_packet_to_no_address_of_ours_is_not_processed(config):
    nat64 = Sessions(**config)
    for body in (UDP(), TCP(flags="S"), TCP(flags="A"), ICMPv6EchoRequest(), ICMPv6EchoReply()):
        outcome = nat64.say(bytes(from6(dst="2001:db8::1") / body))
        assert (outcome.verdict, outcome.packets) == (Verdict.NOT_OUR_PREFIX, [])
    datagram, error = UDP() / bytes(48), Icmp(type=1) / QUOTED_UP / UDP(sport=HOST4_PORT, dport=HOST6_PORT)
    for sent, verdict in (
        (fragment_of(from6(dst="2001:db8::1") / datagram, 0, 24), Verdict.NOT_OUR_PREFIX),
        (fragment_of(from6(dst="2001:db8::1") / datagram, 24, 24), Verdict.NOT_OUR_PREFIX),
        (from6(dst="2001:db8::1", nh=47) / bytes(16), Verdict.NOT_OUR_PREFIX),
        (from6(dst="2001:db8::1") / error, Verdict.NO_SESSION),
        (from6() / Icmp(type=1) / IPv6(src=f"2001:db8::{HOST4}", dst=HOST6) / UDP(), Verdict.NOT_OUR_PREFIX),
    ):
        outcome = nat64.say(bytes(sent))
        assert (outcome.verdict, outcome.packets) == (verdict, [])
    late, routed = from6(dst="2001:db8::1", hlim=1) / UDP(), IPv6ExtHdrRouting(segleft=1, addresses=[HOST4_IN6]) / UDP()
    for sent, answer in (
        (whole(late), (3, 0)),
        (whole(from6(dst="2001:db8::1") / routed), (4, 0)),
        *((whole(from6(dst="2001:db8::1", nh=number) / bytes(16)), (1, 4)) for number in (1, 2)),
    ):
        assert told(nat64, sent, 40) == answer
    segments = [(TCP(dport=MAPPED4_PORT, flags=flags), Verdict.NO_SESSION) for flags in ("S", "A")]
    queries = [(ICMP(type=type_, id=MAPPED4_PORT), Verdict.NO_BIB_ENTRY) for type_ in (8, 0)]
    for body, verdict in ((UDP(dport=MAPPED4_PORT), Verdict.NO_BIB_ENTRY), *segments, *queries):
        outcome = nat64.say(bytes(from4(dst=OUR4) / body))
        assert (outcome.verdict, outcome.packets) == (verdict, [])
    about = IP(src=OUR4, dst=HOST4) / UDP(sport=MAPPED4_PORT, dport=HOST4_PORT)
    for sent in (
        fragment_of(from4(dst=OUR4) / datagram, 0, 24),
        fragment_of(from4(dst=OUR4) / datagram, 24, 24),
        from4(dst=OUR4, proto=47) / bytes(16),
        from4(dst=OUR4) / Icmp(type=3) / about,
    ):
        assert nat64.say(bytes(sent)).packets == []
    routed4 = with_options(from4(dst=OUR4, proto=47) / bytes(16), b"\x83\x07\x04\xcb\x00\x71\x01")
    assert told(nat64, whole(from4(dst=OUR4, ttl=1) / UDP()), 20) == (11, 0)
    assert told(nat64, routed4, 20) == (3, 5)
    assert told(nat64, whole(from4(dst=OUR4, proto=58) / bytes(16)), 20) == (3, 2)
    assert nat64.sessions() == []


def told(nat64: Sessions, packet: Packet | bytes, at: int) -> tuple[int, int]:
    """Type and code of the error about a packet, behind `at` octets of its header; it goes nowhere."""
    outcome = nat64.say(bytes(packet))
    assert outcome.packets == []
    return outcome.answer[at], outcome.answer[at + 1]
