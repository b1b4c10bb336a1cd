"""RFC 7915 sections 4.1 and 5.1: what holds for the header of every packet, whatever its protocol, and of fragments."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting
from scapy.packet import Packet, Raw

from tests.case import Nat64, Step
from tests.mapped import ALONE, ASK, EAM4, EAM6, as_eam4, at_eam6, of_eam6, to_eam4
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
    from4,
    from6,
    in6,
    payload,
    ping4,
    ping6,
    seen4,
    seen6,
    whole,
    with_options,
)
from translator.verdict import Verdict

Build = Callable[..., Packet]


class Kind(NamedTuple):
    """A kind of packet: the headers it comes and leaves with, what lies behind them, and which part of that."""

    config: dict[str, Any]
    came: Build
    left: Build
    body: Packet
    as_body: Packet
    part: tuple[int, int] | None = None

    def sent(self, **fields: Any) -> Packet:
        packet = self.came(**fields) / self.body
        return fragment_of(packet, *self.part, 0xABCD1234 if packet.version == 6 else 0x1234) if self.part else packet

    def expect(self, **fields: Any) -> Packet:
        packet = self.left(**fields) / self.as_body
        return fragment_of(packet, *self.part, 0x1234) if self.part else packet

    @property
    def is_error(self) -> bool:
        return bool(self.body.haslayer(Icmp))

    @property
    def is_answered(self) -> bool:
        """Whether there may be an ICMP error about it."""
        return not self.is_error and not (self.part and self.part[0])


def without_state(came: Build, left: Build, body: Packet, as_body: Packet | None = None, part: Any = None) -> Kind:
    return Kind(ALONE, came, left, body, as_body or body, part)


OF_UDP, OF_TCP = UDP(**ASK) / payload(40), TCP(**ASK, flags="A") / payload(40)
FIRST, LATER, ATOMIC = (0, 24), (24, 16), (0, 2000)
FROM_IPV4 = {
    "udp": Kind({}, from4, seen6, UDP(**TO_MAPPED) / b"x", UDP(**TO_HOST6) / b"x"),
    "tcp": Kind({}, from4, seen6, TCP(**TO_MAPPED, flags="S"), TCP(**TO_HOST6, flags="S")),
    "echo": Kind({}, from4, seen6, ping4(True, b"x"), ping6(True, b"x")),
    "echo_reply": Kind({}, from4, seen6, ping4(False, b"x"), ping6(False, b"x")),
    "esp": without_state(partial(to_eam4, proto=50), partial(at_eam6, nh=50), Raw(b"abcd")),
    "udp_without_state": without_state(to_eam4, at_eam6, OF_UDP),
    "tcp_without_state": without_state(to_eam4, at_eam6, OF_TCP),
    "error": without_state(
        to_eam4, at_eam6, Icmp(type=3, code=1) / as_eam4() / OF_UDP, Icmp(type=1) / of_eam6(hlim=63) / OF_UDP
    ),
    "first_fragment_of_udp": without_state(to_eam4, at_eam6, OF_UDP, part=FIRST),
    "later_fragment_of_udp": without_state(to_eam4, at_eam6, OF_UDP, part=LATER),
    "first_fragment_of_tcp": without_state(to_eam4, at_eam6, OF_TCP, part=FIRST),
    "later_fragment_of_tcp": without_state(to_eam4, at_eam6, OF_TCP, part=LATER),
    "first_fragment_of_esp": without_state(
        partial(to_eam4, proto=50), partial(at_eam6, nh=50), Raw(payload(40)), part=FIRST
    ),
    "later_fragment_of_esp": without_state(
        partial(to_eam4, proto=50), partial(at_eam6, nh=50), Raw(payload(40)), part=LATER
    ),
}
FROM_IPV6 = {
    "udp": Kind({}, from6, seen4, UDP(**FROM_HOST6) / b"x", UDP(**FROM_MAPPED) / b"x"),
    "tcp": Kind({}, from6, seen4, TCP(**FROM_HOST6, flags="S"), TCP(**FROM_MAPPED, flags="S")),
    "echo": Kind({}, from6, seen4, ping6(True, b"x"), ping4(True, b"x")),
    "echo_reply": Kind({}, from6, seen4, ping6(False, b"x"), ping4(False, b"x")),
    "esp": without_state(partial(of_eam6, nh=50), partial(as_eam4, proto=50), Raw(b"abcd")),
    "udp_without_state": without_state(of_eam6, as_eam4, OF_UDP),
    "tcp_without_state": without_state(of_eam6, as_eam4, OF_TCP),
    "error": without_state(
        of_eam6,
        as_eam4,
        Icmp(type=1, code=3) / at_eam6() / OF_UDP,
        Icmp(type=3, code=1) / to_eam4(ttl=63, id=0) / OF_UDP,
    ),
    "first_fragment_of_udp": without_state(of_eam6, as_eam4, OF_UDP, part=FIRST),
    "later_fragment_of_udp": without_state(of_eam6, as_eam4, OF_UDP, part=LATER),
    "first_fragment_of_tcp": without_state(of_eam6, as_eam4, OF_TCP, part=FIRST),
    "later_fragment_of_tcp": without_state(of_eam6, as_eam4, OF_TCP, part=LATER),
    "first_fragment_of_esp": without_state(
        partial(of_eam6, nh=50), partial(as_eam4, proto=50), Raw(payload(40)), part=FIRST
    ),
    "later_fragment_of_esp": without_state(
        partial(of_eam6, nh=50), partial(as_eam4, proto=50), Raw(payload(40)), part=LATER
    ),
}
FROM_IPV6 |= {
    f"atomic_fragment_of_{name}": FROM_IPV6[name]._replace(part=ATOMIC)
    for name in ("udp", "tcp", "echo", "echo_reply", "esp", "udp_without_state", "tcp_without_state", "error")
}
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
    nat64 = Nat64(**kind.config)
    nat64.check(Step(kind.sent(tos=0xB9, ttl=77, id=0x8001), kind.expect(tc=0xB9, hlim=76, fl=0)))
    nat64.check(Step(kind.sent(tos=0x46, ttl=2, id=0x8001), kind.expect(tc=0x46, hlim=1, fl=0)))


@EACH6
def test_rfc7915_5_1_fields_of_the_header(kind: Kind) -> None:
    nat64 = Nat64(**kind.config)
    nat64.check(Step(kind.sent(tc=0xB9, hlim=77, fl=0xFFFFF), kind.expect(tos=0xB9, ttl=76)))
    nat64.check(Step(kind.sent(tc=0x46, hlim=2, fl=1), kind.expect(tos=0x46, ttl=1)))


@EACH4
def test_rfc7915_4_1_traffic_class_of_the_operator(kind: Kind) -> None:
    if not kind.is_error:  # for what that quotes, too
        Nat64(**kind.config | OPERATOR).check(Step(kind.sent(tos=0xB9), kind.expect(tc=0x28)))


@EACH6
def test_rfc7915_5_1_type_of_service_of_the_operator(kind: Kind) -> None:
    if not kind.is_error:
        Nat64(**kind.config | OPERATOR).check(Step(kind.sent(tc=0xB9), kind.expect(tos=0x28)))


@EACH4
def test_rfc7915_4_1_time_to_live_that_ends_here(kind: Kind) -> None:
    nat64 = Nat64(**kind.config)
    for ttl in (0, 1):
        sent = kind.sent(ttl=ttl)
        answer = answer4(sent, 11, 0) if kind.is_answered else None
        nat64.check(Step(sent, verdict=Verdict.HOP_LIMIT_EXPIRED, answer=answer))


@EACH6
def test_rfc7915_5_1_hop_limit_that_ends_here(kind: Kind) -> None:
    nat64 = Nat64(**kind.config)
    for hop_limit in (0, 1):
        sent = kind.sent(hlim=hop_limit)
        answer = answer6(sent, 3, 0) if kind.is_answered else None
        nat64.check(Step(sent, verdict=Verdict.HOP_LIMIT_EXPIRED, answer=answer))


@EACH4
def test_rfc7915_4_1_options_are_ignored(kind: Kind) -> None:
    Nat64(**kind.config).check(Step(with_options(kind.sent(), RECORD_ROUTE), kind.expect()))


@EACH6
def test_rfc7915_5_1_extension_headers_are_ignored(kind: Kind) -> None:
    nat64 = Nat64(**kind.config)
    for header in (
        IPv6ExtHdrHopByHop(),
        IPv6ExtHdrDestOpt(),
        IPv6ExtHdrRouting(addresses=["2001:db8:9::9"], segleft=0),
    ):
        nat64.check(Step(behind(kind.sent(), header), kind.expect()))


@EACH4
def test_rfc7915_4_1_an_unexpired_source_route_is_refused(kind: Kind) -> None:
    nat64 = Nat64(**kind.config)
    for options in SOURCE_ROUTES.values():
        sent = with_options(kind.sent(), options)
        answer = answer4(sent, 3, 5) if kind.is_answered else None
        nat64.check(Step(sent, verdict=Verdict.SOURCE_ROUTED, answer=answer, damaged=True))


@EACH6
def test_rfc7915_5_1_segments_left_are_refused(kind: Kind) -> None:
    nat64 = Nat64(**kind.config)
    for left in (1, 2, 255):
        sent = behind(kind.sent(), IPv6ExtHdrRouting(addresses=["2001:db8:9::9"], segleft=left))
        answer = answer6(sent, 4, 0, 40 + 3) if kind.is_answered else None
        nat64.check(Step(sent, verdict=Verdict.ROUTING_HEADER, answer=answer, damaged=True))


@EACH4
def test_rfc7915_4_1_an_illegal_source_is_silently_discarded(kind: Kind) -> None:
    if not kind.is_error:
        nat64 = Nat64(**kind.config)
        for source in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"):
            nat64.check(Step(kind.sent(src=source), verdict=Verdict.NOT_UNICAST))


@EACH6
def test_rfc7915_5_1_an_illegal_source_is_silently_discarded(kind: Kind) -> None:
    nat64 = Nat64(**kind.config)
    for source in ("::", "::1", "fe80::1", "ff02::1"):
        nat64.check(Step(kind.sent(src=source), verdict=Verdict.NOT_UNICAST))


@EACH4
def test_rfc7915_1_2_multicast_of_ipv4_is_not_mapped(kind: Kind) -> None:
    Nat64(**kind.config).check(Step(kind.sent(dst="239.1.2.3"), verdict=Verdict.NOT_UNICAST))


@EACH6
def test_rfc7915_1_2_multicast_of_ipv6_is_not_mapped(kind: Kind) -> None:
    Nat64(**kind.config).check(Step(kind.sent(dst="ff0e::1:2"), verdict=Verdict.NOT_UNICAST))


def told(kind: Kind, answer: Packet) -> Packet | None:
    return answer if kind.is_answered else None


@EACH4
def test_rfc6052_3_1_non_global_addresses_do_not_send(kind: Kind) -> None:
    if not kind.is_error:
        sent = kind.sent(src="10.0.0.1")
        answer = told(kind, answer4(sent, 3, 13))
        Nat64(**kind.config).check(Step(sent, verdict=Verdict.NON_GLOBAL_ADDRESS, answer=answer))


@EACH6
def test_rfc6052_3_1_non_global_addresses_are_not_reached(kind: Kind) -> None:
    if not kind.is_error:
        sent = kind.sent(dst=in6("10.0.0.1"))
        answer = told(kind, answer6(sent, 1, 1))
        Nat64(**kind.config).check(Step(sent, verdict=Verdict.NON_GLOBAL_ADDRESS, answer=answer))


@EACH4
def test_rfc3927_2_7_link_local_addresses_of_ipv4_are_not_forwarded(kind: Kind) -> None:
    nat64, to = Nat64(**kind.config), kind.sent(dst="169.254.1.1")
    nat64.check(Step(to, verdict=Verdict.NOT_UNICAST, answer=told(kind, answer4(to, 3, 13))))
    if not kind.is_error:
        nat64.check(Step(kind.sent(src="169.254.1.1"), verdict=Verdict.NOT_UNICAST))


@EACH6
def test_rfc3927_2_7_link_local_addresses_are_not_reached_from_ipv6(kind: Kind) -> None:
    if not kind.is_error:
        sent = kind.sent(dst=in6("169.254.1.1"))
        answer = told(kind, answer6(sent, 1, 1))
        Nat64(**kind.config).check(Step(sent, verdict=Verdict.NOT_UNICAST, answer=answer))


@EACH6
def test_rfc7915_5_4_a_destination_in_no_prefix_is_answered(kind: Kind) -> None:
    if kind.config == ALONE and not kind.is_error:
        sent = kind.sent(dst="2001:db8:77::1")
        Nat64(**ALONE).check(Step(sent, verdict=Verdict.NO_MAPPING, answer=told(kind, answer6(sent, 1, 1))))


@EACH6
def test_rfc7757_3_3_a_source_without_a_mapping_is_answered(kind: Kind) -> None:
    if kind.config == ALONE and not kind.is_error:
        sent = kind.sent(src="2001:db8:77::1")
        Nat64(**ALONE).check(Step(sent, verdict=Verdict.NO_MAPPING, answer=told(kind, answer6(sent, 1, 1))))


@EACH4
def test_rfc2827_3_no_packet_of_ipv4_comes_from_its_destination(kind: Kind) -> None:
    nat64 = Nat64(**kind.config)
    for address in (HOST4, MAPPED4, EAM4):
        nat64.check(Step(kind.sent(src=address, dst=address), verdict=Verdict.FORGED_SOURCE))


@EACH6
def test_rfc2827_3_no_packet_of_ipv6_comes_from_its_destination(kind: Kind) -> None:
    nat64 = Nat64(**kind.config)
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
EACH_QUOTED = pytest.mark.parametrize("quoted", QUOTED.values(), ids=QUOTED)


def part_of(packet: Packet, part: tuple[int, int] | None, identification: int = 0x1234) -> Packet:
    return fragment_of(packet, *part, identification) if part else packet


@EACH_QUOTED
def test_rfc7915_4_3_fields_of_the_quoted_header(quoted: Any) -> None:
    """The Time To Live stands; all else becomes what it becomes in any packet."""
    fields4, body4, fields6, body6, part = quoted
    nat64, wish = Nat64(**ALONE), Nat64(**ALONE | OPERATOR)
    for ttl in (0, 1, 2, 64, 255):
        sent = (
            to_eam4(ttl=9, tos=0x11)
            / Icmp(type=3, code=1)
            / part_of(as_eam4(ttl=ttl, tos=0xB9, **fields4) / body4, part)
        )
        seen = of_eam6(hlim=ttl, tc=0xB9, fl=0, **fields6) / body6
        nat64.check(Step(sent, at_eam6(hlim=8, tc=0x11) / Icmp(type=1) / part_of(seen, part)))
        seen = of_eam6(hlim=ttl, tc=0x28, **fields6) / body6
        wish.check(Step(sent, at_eam6(hlim=8, tc=0x28) / Icmp(type=1) / part_of(seen, part)))


@EACH_QUOTED
def test_rfc7915_5_3_fields_of_the_quoted_header(quoted: Any) -> None:
    fields4, body4, fields6, body6, part = quoted
    nat64, wish = Nat64(**ALONE), Nat64(**ALONE | OPERATOR)
    for hop_limit in (0, 1, 2, 64, 255):
        came = at_eam6(hlim=hop_limit, tc=0xB9, fl=5, **fields6) / body6
        sent = of_eam6(hlim=9, tc=0x11) / Icmp(type=1, code=3) / part_of(came, part, 0xABCD1234)
        seen = to_eam4(ttl=hop_limit, tos=0xB9, id=0, **fields4) / body4
        nat64.check(Step(sent, as_eam4(ttl=8, tos=0x11) / Icmp(type=3, code=1) / part_of(seen, part)))
        seen = to_eam4(ttl=hop_limit, tos=0x28, id=0, **fields4) / body4
        wish.check(Step(sent, as_eam4(ttl=8, tos=0x28) / Icmp(type=3, code=1) / part_of(seen, part)))
