"""RFC 7915 sections 4.1 and 5.1: what holds for the header of every packet, whatever its protocol, and of fragments."""

from typing import Any

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting
from scapy.packet import Packet, Raw

from tests.case import Nat64, Step
from tests.kinds import FIRST, FROM_IPV4, FROM_IPV6, LATER, MAPPED_BY, OF_TCP, OF_UDP, WITH_SESSIONS, Kind
from tests.mapped import EAM4, EAM6
from tests.packets import (
    FROM_HOST6,
    FROM_MAPPED,
    HOST4,
    HOST4_IN6,
    HOST6,
    MAPPED4,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    answer4,
    answer6,
    fragment_of,
    in6,
    payload,
    ping4,
    ping6,
    whole,
    with_options,
)
from translator.verdict import Verdict

EACH4 = pytest.mark.parametrize("kind", FROM_IPV4.values(), ids=FROM_IPV4)
EACH6 = pytest.mark.parametrize("kind", FROM_IPV6.values(), ids=FROM_IPV6)
OPERATOR = {"translation": {"traffic_class": 0x28}}
RECORD_ROUTE = b"\x07\x27" + bytes(38)
SOURCE_ROUTES = {131: b"\x83\x07\x04\xcb\x00\x71\x01", 137: b"\x89\x07\x04\xcb\x00\x71\x01"}


def behind(packet: Packet, header: Packet) -> Packet:
    """An IPv6 packet with one extension header more, in front of all others."""
    packet = whole(packet)
    rest = bytes(packet.payload)
    header.nh, packet.nh, packet.plen = (
        packet.nh,
        {IPv6ExtHdrHopByHop: 0, IPv6ExtHdrRouting: 43}.get(type(header), 60),
        None,
    )
    packet.remove_payload()
    return packet / header / Raw(rest)


@EACH4
def test_rfc7915_4_1_fields_of_the_header(kind: Kind) -> None:
    nat64 = kind.nat64()
    nat64.check(Step(kind.sent(tos=0xB9, ttl=77, id=0x8001), kind.expect(tc=0xB9, hlim=76, fl=0)))
    nat64.check(Step(kind.sent(tos=0x46, ttl=2, id=0x8001), kind.expect(tc=0x46, hlim=1, fl=0)))


@EACH6
def test_rfc7915_5_1_fields_of_the_header(kind: Kind) -> None:
    nat64 = kind.nat64()
    nat64.check(Step(kind.sent(tc=0xB9, hlim=77, fl=0xFFFFF), kind.expect(tos=0xB9, ttl=76)))
    nat64.check(Step(kind.sent(tc=0x46, hlim=2, fl=1), kind.expect(tos=0x46, ttl=1)))


@EACH4
def test_rfc7915_4_1_traffic_class_of_the_operator(kind: Kind) -> None:
    if not kind.is_error:  # for what that quotes, too
        kind.nat64(**OPERATOR).check(Step(kind.sent(tos=0xB9), kind.expect(tc=0x28)))


@EACH6
def test_rfc7915_5_1_type_of_service_of_the_operator(kind: Kind) -> None:
    if not kind.is_error:
        kind.nat64(**OPERATOR).check(Step(kind.sent(tc=0xB9), kind.expect(tos=0x28)))


@EACH4
def test_rfc7915_4_1_time_to_live_that_ends_here(kind: Kind) -> None:
    nat64 = kind.nat64()
    for ttl in (0, 1):
        sent = kind.sent(ttl=ttl)
        answer = answer4(sent, 11, 0) if kind.is_answered else None
        nat64.check(Step(sent, verdict=Verdict.HOP_LIMIT_EXPIRED, answer=answer))


@EACH6
def test_rfc7915_5_1_hop_limit_that_ends_here(kind: Kind) -> None:
    nat64 = kind.nat64()
    for hop_limit in (0, 1):
        sent = kind.sent(hlim=hop_limit)
        answer = answer6(sent, 3, 0) if kind.is_answered else None
        nat64.check(Step(sent, verdict=Verdict.HOP_LIMIT_EXPIRED, answer=answer))


@EACH4
def test_rfc7915_4_1_options_are_ignored(kind: Kind) -> None:
    kind.nat64().check(Step(with_options(kind.sent(), RECORD_ROUTE), kind.expect()))


@EACH6
def test_rfc7915_5_1_extension_headers_are_ignored(kind: Kind) -> None:
    nat64 = kind.nat64()
    for header in (
        IPv6ExtHdrHopByHop(),
        IPv6ExtHdrDestOpt(),
        IPv6ExtHdrRouting(addresses=["2001:db8:9::9"], segleft=0),
    ):
        nat64.check(Step(behind(kind.sent(), header), kind.expect()))


@EACH4
def test_rfc7915_4_1_an_unexpired_source_route_is_refused(kind: Kind) -> None:
    nat64 = kind.nat64()
    for options in SOURCE_ROUTES.values():
        sent = with_options(kind.sent(), options)
        answer = answer4(sent, 3, 5) if kind.is_answered else None
        nat64.check(Step(sent, verdict=Verdict.SOURCE_ROUTED, answer=answer, damaged=True))


@EACH6
def test_rfc7915_5_1_segments_left_are_refused(kind: Kind) -> None:
    nat64 = kind.nat64()
    for left in (1, 2, 255):
        sent = behind(kind.sent(), IPv6ExtHdrRouting(addresses=["2001:db8:9::9"], segleft=left))
        answer = answer6(sent, 4, 0, 40 + 3) if kind.is_answered else None
        nat64.check(Step(sent, verdict=Verdict.ROUTING_HEADER, answer=answer, damaged=True))


@EACH4
def test_rfc7915_4_1_an_illegal_source_is_silently_discarded(kind: Kind) -> None:
    if not kind.is_error:
        nat64 = kind.nat64()
        for source in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"):
            nat64.check(Step(kind.sent(src=source), verdict=Verdict.NOT_UNICAST))


@EACH6
def test_rfc7915_5_1_an_illegal_source_is_silently_discarded(kind: Kind) -> None:
    nat64 = kind.nat64()
    for source in ("::", "::1", "fe80::1", "ff02::1"):
        nat64.check(Step(kind.sent(src=source), verdict=Verdict.NOT_UNICAST))


@EACH4
def test_rfc7915_1_2_multicast_of_ipv4_is_not_mapped(kind: Kind) -> None:
    kind.nat64().check(Step(kind.sent(dst="239.1.2.3"), verdict=Verdict.NOT_UNICAST))


@EACH6
def test_rfc7915_1_2_multicast_of_ipv6_is_not_mapped(kind: Kind) -> None:
    kind.nat64().check(Step(kind.sent(dst="ff0e::1:2"), verdict=Verdict.NOT_UNICAST))


def told(kind: Kind, answer: Packet) -> Packet | None:
    return answer if kind.is_answered else None


@EACH4
def test_rfc6052_3_1_non_global_addresses_do_not_send(kind: Kind) -> None:
    if not (kind.is_error or kind.goes_by_its_first):
        sent = kind.sent(src="10.0.0.1")
        verdict = Verdict.CLAT_SOURCE if "clat" in kind.config else Verdict.NON_GLOBAL_ADDRESS
        kind.nat64().check(Step(sent, verdict=verdict, answer=told(kind, answer4(sent, 3, 13))))
    if kind.has_no_sessions:
        sent = kind.sent(dst="10.0.0.1")
        answer = told(kind, answer4(sent, 3, 13))
        kind.nat64().check(Step(sent, verdict=Verdict.NON_GLOBAL_ADDRESS, answer=answer))


@EACH6
def test_rfc6052_3_1_non_global_addresses_are_not_reached(kind: Kind) -> None:
    if not (kind.is_error or kind.goes_by_its_first):
        sent = kind.sent(dst=in6("10.0.0.1"))
        answer = told(kind, answer6(sent, 1, 1))
        kind.nat64().check(Step(sent, verdict=Verdict.NON_GLOBAL_ADDRESS, answer=answer))
        if kind.has_no_sessions:
            sent = kind.sent(src=in6("10.0.0.1"))
            answer = told(kind, answer6(sent, 1, 1))
            kind.nat64().check(Step(sent, verdict=Verdict.NON_GLOBAL_ADDRESS, answer=answer))


@EACH4
def test_rfc3927_2_7_link_local_addresses_of_ipv4_are_not_forwarded(kind: Kind) -> None:
    nat64, to = kind.nat64(), kind.sent(dst="169.254.1.1")
    nat64.check(Step(to, verdict=Verdict.NOT_UNICAST, answer=told(kind, answer4(to, 3, 13))))
    if not kind.is_error:
        nat64.check(Step(kind.sent(src="169.254.1.1"), verdict=Verdict.NOT_UNICAST))


@EACH6
def test_rfc3927_2_7_link_local_addresses_are_not_reached_from_ipv6(kind: Kind) -> None:
    if not (kind.is_error or kind.goes_by_its_first):
        sent = kind.sent(dst=in6("169.254.1.1"))
        answer = told(kind, answer6(sent, 1, 1))
        kind.nat64().check(Step(sent, verdict=Verdict.NOT_UNICAST, answer=answer))


@EACH6
def test_rfc7915_5_4_a_destination_in_no_prefix_is_answered(kind: Kind) -> None:
    if kind.has_no_sessions and not kind.is_error:
        sent = kind.sent(dst="2001:db8:77::1")
        kind.nat64().check(Step(sent, verdict=Verdict.NO_MAPPING, answer=told(kind, answer6(sent, 1, 1))))


@EACH6
def test_rfc7757_3_3_a_source_without_a_mapping_is_answered(kind: Kind) -> None:
    if kind.has_no_sessions and not kind.is_error:
        sent = kind.sent(src="2001:db8:77::1")
        kind.nat64().check(Step(sent, verdict=Verdict.NO_MAPPING, answer=told(kind, answer6(sent, 1, 1))))


@EACH4
def test_rfc2827_3_no_packet_of_ipv4_comes_from_its_destination(kind: Kind) -> None:
    nat64 = kind.nat64()
    for address in (HOST4, MAPPED4, EAM4):
        nat64.check(Step(kind.sent(src=address, dst=address), verdict=Verdict.FORGED_SOURCE))


@EACH6
def test_rfc2827_3_no_packet_of_ipv6_comes_from_its_destination(kind: Kind) -> None:
    nat64 = kind.nat64()
    for address in (HOST6, HOST4_IN6, EAM6):
        nat64.check(Step(kind.sent(src=address, dst=address), verdict=Verdict.FORGED_SOURCE))


# What an ICMP error quotes, as IPv4 and as IPv6 has it: of a protocol, or a part of a datagram.
QUOTED: dict[str, tuple[dict[str, int], Packet, dict[str, int], Packet, tuple[int, int] | None]] = {
    "udp": ({}, OF_UDP, {}, OF_UDP, None),
    "tcp": ({}, OF_TCP, {}, OF_TCP, None),
    "echo": ({}, ping4(True, b"x", id=7), {}, ping6(True, b"x", id=7), None),
    "echo_reply": ({}, ping4(False, b"x", id=7), {}, ping6(False, b"x", id=7), None),
    "esp": ({"proto": 50}, Raw(payload(40)), {"nh": 50}, Raw(payload(40)), None),
    "first_fragment_of_udp": ({}, OF_UDP, {}, OF_UDP, FIRST),
    "first_fragment_of_tcp": ({}, OF_TCP, {}, OF_TCP, FIRST),
    "first_fragment_of_esp": ({"proto": 50}, Raw(payload(40)), {"nh": 50}, Raw(payload(40)), FIRST),
    "later_fragment_of_udp": ({}, OF_UDP, {}, OF_UDP, LATER),
    "later_fragment_of_tcp": ({}, OF_TCP, {}, OF_TCP, LATER),
    "later_fragment_of_esp": ({"proto": 50}, Raw(payload(40)), {"nh": 50}, Raw(payload(40)), LATER),
}
# ... of which way; the packet of a session has other ports on either side.
IN_EACH_WAY = {f"{name}_alone": (MAPPED_BY["alone"], quoted, quoted) for name, quoted in QUOTED.items()} | {
    f"{name}_{way}": (MAPPED_BY[way], QUOTED[name], QUOTED[name])
    for way in ("beside_sessions", "by_the_prefix", "of_a_clat")
    for name in ("udp", "echo", "first_fragment_of_tcp")
}
IN_EACH_WAY |= {
    f"{name}_with_sessions": (
        WITH_SESSIONS,
        ({}, kind(**FROM_MAPPED) / payload(40), {}, kind(**FROM_HOST6) / payload(40), part),
        ({}, kind(**TO_MAPPED) / payload(40), {}, kind(**TO_HOST6) / payload(40), part),
    )
    for name, kind, part in (("udp", UDP, None), ("tcp", TCP, None), ("first_fragment_of_udp", UDP, FIRST))
}
EACH_QUOTED = pytest.mark.parametrize("quoted", IN_EACH_WAY.values(), ids=IN_EACH_WAY)


def part_of(packet: Packet, part: tuple[int, int] | None, identification: int = 0x1234) -> Packet:
    return fragment_of(packet, *part, identification) if part else packet


@EACH_QUOTED
def test_rfc7915_4_3_fields_of_the_quoted_header(quoted: Any) -> None:
    """The Time To Live stands; all else becomes what it becomes in any packet."""
    (config, came4, left6, came6, left4), (fields4, body4, fields6, body6, part), _ = quoted
    nat64, wish = Nat64(**config), Nat64(**config | OPERATOR)
    for ttl in (0, 1, 2, 64, 255):
        quote = part_of(left4(ttl=ttl, tos=0xB9, **fields4) / body4, part)
        sent = came4(ttl=9, tos=0x11) / Icmp(type=3, code=1) / quote
        seen = came6(hlim=ttl, tc=0xB9, fl=0, **fields6) / body6
        nat64.check(Step(sent, left6(hlim=8, tc=0x11) / Icmp(type=1) / part_of(seen, part)))
        seen = came6(hlim=ttl, tc=0x28, **fields6) / body6
        wish.check(Step(sent, left6(hlim=8, tc=0x28) / Icmp(type=1) / part_of(seen, part)))


@EACH_QUOTED
def test_rfc7915_5_3_fields_of_the_quoted_header(quoted: Any) -> None:
    (config, came4, left6, came6, left4), _, (fields4, body4, fields6, body6, part) = quoted
    nat64, wish = Nat64(**config), Nat64(**config | OPERATOR)
    for hop_limit in (0, 1, 2, 64, 255):
        quote = part_of(left6(hlim=hop_limit, tc=0xB9, fl=5, **fields6) / body6, part, 0xABCD1234)
        sent = came6(hlim=9, tc=0x11) / Icmp(type=1, code=3) / quote
        seen = came4(ttl=hop_limit, tos=0xB9, id=0, **fields4) / body4
        nat64.check(Step(sent, left4(ttl=8, tos=0x11) / Icmp(type=3, code=1) / part_of(seen, part)))
        seen = came4(ttl=hop_limit, tos=0x28, id=0, **fields4) / body4
        wish.check(Step(sent, left4(ttl=8, tos=0x28) / Icmp(type=3, code=1) / part_of(seen, part)))
