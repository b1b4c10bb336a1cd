"""RFC 7915 section 5.1: the IPv4 header of an IPv6 packet."""

from dataclasses import replace

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    HBHOptUnknown,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.packet import Packet, Raw

from tests.case import Case, Nat64, Step
from tests.mapped import ALONE, EAM4, of_eam6
from tests.packets import (
    FROM_HOST6,
    FROM_MAPPED,
    HOST6,
    OTHER4_IN6,
    answer6,
    from6,
    payload,
    ping4,
    ping6,
    seen4,
)
from translator.pipeline import next_identification
from translator.tables.gateway import Gateway, new_worker
from translator.verdict import Verdict

DATA = UDP(**FROM_HOST6) / b"x"
SEEN = seen4() / UDP(**FROM_MAPPED) / b"x"
AUTHENTICATION, ENCAPSULATION, NO_NEXT_HEADER, HOST_IDENTITY, ICMPV4 = 51, 50, 59, 139, 1


def routing(segments_left: int) -> Packet:
    return IPv6ExtHdrRouting(addresses=["2001:db8:9::9"], segleft=segments_left)


OPTIONS, LONG_OPTIONS = IPv6ExtHdrDestOpt(), IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 252)])
SKIPPED = {
    "hop_by_hop_options": IPv6ExtHdrHopByHop(),
    "destination_options": OPTIONS,
    **{
        f"{name}_of_type_{kind:#x}": header(options=[HBHOptUnknown(otype=kind, optdata=b"abcd")])
        for name, header in (("hop_by_hop", IPv6ExtHdrHopByHop), ("destination", IPv6ExtHdrDestOpt))
        for kind in (0x05, 0x1E, 0x5E, 0x9E, 0xDE)  # router alert; unknown: skip, discard, and tell the sender
    },
    "destination_options_of_256_octets": LONG_OPTIONS,
    "routing_with_no_segments_left": routing(0),
    "one_after_another": IPv6ExtHdrHopByHop() / OPTIONS / routing(0) / OPTIONS,
    "eight_of_them": IPv6ExtHdrHopByHop() / OPTIONS / OPTIONS / OPTIONS / OPTIONS / OPTIONS / OPTIONS / OPTIONS,
}
ILLEGAL = ("::", "::1", "fe80::1", "febf::1", "ff02::1", "ff0e::1:2")
OF_OTHER_PROTOCOLS = {"tcp": TCP(**FROM_HOST6, flags="S"), "echo": ping6(True), "echo_reply": ping6(False)}
LATE = [from6(hlim=hop_limit) / DATA for hop_limit in (0, 1)]
# Where Segments Left stands (RFC 8200 section 4.4): octet 3 of the Routing header.
PENDING = {
    40 + 3: from6() / routing(1) / DATA,
    40 + 8 + 3: from6() / IPv6ExtHdrHopByHop() / routing(255) / DATA,
    40 + 256 + 24 + 3: from6() / LONG_OPTIONS / routing(0) / routing(2) / DATA,
}
# What has a size: name, octets of IPv4 that are no payload, configuration, packet, fields of its IPv4 header, and body.
OTHER_SIZES = (
    ("tcp", 40, {}, from6() / TCP(**FROM_HOST6, flags="S"), {}, TCP(**FROM_MAPPED, flags="S")),
    ("an_echo", 28, {}, from6() / ping6(True), {}, ping4(True)),
    ("esp", 21, ALONE, of_eam6(nh=50) / b"x", {"src": EAM4, "proto": 50}, Raw(b"x")),
)
FOREIGN = {
    number: from6(nh=number) / b"\x3b\x00\x00\x00\x00\x00\x00\x00"
    for number in (0x2F, AUTHENTICATION, ENCAPSULATION, NO_NEXT_HEADER, HOST_IDENTITY, ICMPV4, 132, 253)
}

CASES = [
    Case("rfc7915_5_1_hop_limit_is_decremented_by_one", sent=from6(hlim=64) / DATA, expect=SEEN),
    Case(
        "rfc7915_5_1_hop_limit_2_is_the_smallest_that_passes",
        sent=from6(hlim=2) / DATA,
        expect=seen4(ttl=1) / UDP(**FROM_MAPPED) / b"x",
    ),
    *(
        Case(
            f"rfc7915_5_1_hop_limit_{late.hlim}_is_answered_with_time_exceeded",
            sent=late,
            verdict=Verdict.HOP_LIMIT_EXPIRED,
            answer=answer6(late, 3, 0),
        )
        for late in LATE
    ),
    *(
        Case(
            f"rfc7915_5_1_traffic_class_{value:#x}_is_copied_and_the_flow_label_is_not",
            sent=from6(tc=value, fl=0xFFFFF) / DATA,
            expect=seen4(tos=value) / UDP(**FROM_MAPPED) / b"x",
        )
        for value in (0x00, 0xB8, 0x03, 0xFF)
    ),
    *(
        Case(
            f"rfc7915_5_1_type_of_service_is_{wish:#x}_as_the_operator_wished",
            config={"translation": {"traffic_class": wish}},
            sent=from6(tc=0xB8) / DATA,
            expect=seen4(tos=wish) / UDP(**FROM_MAPPED) / b"x",
        )
        for wish in (0x00, 0x28)
    ),
    Case(
        "rfc7915_5_1_next_header_58_becomes_1",
        sent=from6() / ping6(True, b"x"),
        expect=seen4(proto=1) / ping4(True, b"x"),
    ),
    Case(
        "rfc7915_5_1_next_header_6_is_copied",
        sent=from6() / TCP(**FROM_HOST6, flags="S") / b"x",
        expect=seen4(proto=6) / TCP(**FROM_MAPPED, flags="S") / b"x",
    ),
    Case(
        "rfc7915_5_1_octets_behind_payload_length_are_not_part_of_the_packet",
        sent=bytes(from6() / DATA) + b"\xff" * 17,
        expect=SEEN,
    ),
    Case(
        "rfc7915_5_1_df_is_0_up_to_1260_octets",
        sent=from6() / UDP(**FROM_HOST6) / payload(1232),
        expect=seen4(flags=0) / UDP(**FROM_MAPPED) / payload(1232),
    ),
    Case(
        "rfc7915_5_1_df_is_1_above_1260_octets",
        sent=from6() / UDP(**FROM_HOST6) / payload(1233),
        expect=seen4(flags="DF") / UDP(**FROM_MAPPED) / payload(1233),
    ),
    *(
        Case(
            f"rfc7915_5_1_df_of_{name}_is_{int(bool(flags))}_at_{size}_octets",
            config=config,
            sent=sent / payload(size - rest),
            expect=seen4(**fields, flags=flags) / body / payload(size - rest),
        )
        for name, rest, config, sent, fields, body in OTHER_SIZES
        for size, flags in ((1260, 0), (1261, "DF"))
    ),
    *(
        Case(
            f"rfc7915_5_1_1_1280_octets_of_{name}_pass_any_ipv4_mtu_without_df",
            config=config | {"translation": {"mtu4": 576}},
            sent=sent / payload(1260 - rest),
            expect=seen4(**fields, flags=0) / body / payload(1260 - rest),
        )
        for name, rest, config, sent, fields, body in OTHER_SIZES
    ),
    *(
        Case(f"rfc7915_5_1_extension_headers_are_skipped_{name}", sent=from6() / chain / DATA, expect=SEEN)
        for name, chain in SKIPPED.items()
    ),
    Case(
        "rfc7915_5_1_nine_extension_headers_are_too_many",
        sent=from6() / SKIPPED["eight_of_them"] / OPTIONS / DATA,
        verdict=Verdict.EXTENSION_HEADERS,
    ),
    Case(
        "rfc7915_5_1_df_looks_at_the_size_without_extension_headers",
        sent=from6() / LONG_OPTIONS / UDP(**FROM_HOST6) / payload(1232),
        expect=seen4(flags=0) / UDP(**FROM_MAPPED) / payload(1232),
    ),
    *(
        Case(
            f"rfc7915_5_1_segments_left_is_answered_with_a_pointer_to_octet_{pointer}",
            sent=routed,
            verdict=Verdict.ROUTING_HEADER,
            answer=answer6(routed, 4, 0, pointer),
        )
        for pointer, routed in PENDING.items()
    ),
    *(
        Case(
            f"rfc6146_3_5_next_header_{number}_is_answered_with_port_unreachable",
            sent=foreign,
            verdict=Verdict.PROTOCOL,
            answer=answer6(foreign, 1, 4),
        )
        for number, foreign in FOREIGN.items()
    ),
    *(
        Case(
            f"rfc7915_5_1_illegal_source_{source}_is_silently_discarded",
            sent=from6(src=source) / DATA,
            verdict=Verdict.NOT_UNICAST,
        )
        for source in ILLEGAL
    ),
    *(
        Case(
            f"rfc7915_5_1_illegal_source_{source}_of_{protocol}_is_silently_discarded",
            sent=from6(src=source) / body,
            verdict=Verdict.NOT_UNICAST,
        )
        for source in ("::1", "fe80::1")
        for protocol, body in OF_OTHER_PROTOCOLS.items()
    ),
    *(
        Case(
            f"rfc7915_5_1_multicast_to_{group}_is_silently_discarded",
            sent=from6(dst=group) / DATA,
            verdict=Verdict.NOT_UNICAST,
        )
        for group in ("ff00::", "ff02::1", "ff0e::1:2", "ffff::1")
    ),
    Case(
        "rfc6146_3_5_source_in_pool6_is_silently_discarded",
        sent=from6(src=OTHER4_IN6) / DATA,
        verdict=Verdict.SOURCE_IN_POOL6,
    ),
    Case(
        "rfc6146_3_5_destination_outside_of_pool6_is_not_processed",
        sent=from6(dst=HOST6, src="2001:db8::5") / DATA,
        verdict=Verdict.NOT_OUR_PREFIX,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rfc7915_5_1(case):
    case.check()


@pytest.mark.no_cover
def test_rfc7915_5_1_a_routing_header_of_any_type_has_the_fate_that_its_segments_left_say(nat64):
    for type_ in range(256):
        for left in (0, 1, 255):
            header = IPv6ExtHdrRouting(addresses=["2001:db8:9::9"], type=type_, segleft=left)
            sent = from6() / header / DATA
            answer = answer6(sent, 4, 0, 40 + 3) if left else None
            verdict = Verdict.ROUTING_HEADER if left else Verdict.TRANSLATED
            nat64.check(Step(sent, None if left else SEEN, verdict, answer, at=type_))


def test_rfc7915_5_1_two_workers_never_give_the_same_identification():
    nat64 = Nat64()
    settings = replace(nat64.engine_settings, queues=2)
    pair = [Gateway(settings, nat64.tables, new_worker(number)) for number in range(2)]
    given = [int(next_identification(gateway)) for _ in range(300) for gateway in pair]
    assert len(set(given)) == 600


def test_rfc7915_5_1_identification_comes_from_a_generator_that_does_not_repeat_soon():
    nat64 = Nat64()
    nat64.gateway = replace(nat64.gateway, settings=nat64.engine_settings)
    sent = bytes(from6() / DATA)
    seen = [nat64.send(sent).packets[0][4:6] for _ in range(500)]
    assert len(set(seen)) == 500
    assert sorted(seen) != seen
