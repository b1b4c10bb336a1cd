"""RFC 7915 section 4.1: the IPv6 header of an IPv4 packet."""

import pytest
from scapy.layers.inet import TCP, UDP

from tests.case import Case
from tests.packets import (
    TO_HOST6,
    TO_MAPPED,
    answer4,
    from4,
    ping4,
    ping6,
    seen6,
    with_options,
)
from translator.verdict import Verdict

DATA = UDP(**TO_MAPPED) / b"x"
SEEN = seen6() / UDP(**TO_HOST6) / b"x"
ILLEGAL = (
    *("0.0.0.0", "0.1.2.3", "0.255.255.255", "127.0.0.1", "127.255.255.255"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
)
OF_OTHER_PROTOCOLS = {"tcp": TCP(**TO_MAPPED, flags="S"), "echo": ping4(True), "echo_reply": ping4(False)}
LATE = [from4(ttl=ttl) / DATA for ttl in (0, 1)]
# RFC 791 section 3.1: type 131 loose, 137 strict, 1 no operation, 0 end; then length, pointer, addresses.
UNEXPIRED = {
    "loose": b"\x83\x07\x04\xcb\x00\x71\x01",
    "strict": b"\x89\x07\x04\xcb\x00\x71\x01",
    "strict_after_no_operation": b"\x01\x89\x07\x04\xcb\x00\x71\x01",
    "behind_a_record_route": b"\x07\x07\x04\0\0\0\0\x83\x07\x04\xcb\x00\x71\x01",
    "without_room_for_an_address": b"\x01\x83\x03\x03",
    "last_hop_pending": b"\x83\x0b\x08\xcb\x00\x71\x01\xcb\x00\x71\x02",
}
IGNORED = {
    "record_route": b"\x07\x0f\x04" + bytes(12),
    "no_operation": b"\x01" * 40,
    "timestamp": b"\x44\x0c\x05\x00" + bytes(8),
    "security": b"\x82\x0b" + bytes(9),
    "router_alert": b"\x94\x04\0\0",
    "number_that_nobody_knows": b"\x9e\x04\0\0",
    "expired_loose_source_route": b"\x83\x07\x08\xcb\x00\x71\x01",
    "expired_strict_source_route": b"\x89\x07\x08\xcb\x00\x71\x01",
    "source_route_after_end_of_options": b"\x00\x83\x07\x04\xcb\x00\x71\x01",
    "source_route_two_octets_after_end_of_options": b"\x00\x02\x83\x07\x04\xcb\x00\x71\x01",
    "source_route_in_the_data_of_another": b"\x07\x07\x04\x83\x07\x04\0",
    "option_of_length_0": b"\x07\0\0\0",
    "option_of_length_1": b"\x07\x01\x83\x04\x04\0\0\0",
    "option_longer_than_the_header": b"\x07\xff\0\0",
}
CASES = [
    Case("rfc7915_4_1_ttl_is_decremented_by_one", sent=from4(ttl=64) / DATA, expect=SEEN),
    Case(
        "rfc7915_4_1_ttl_2_is_the_smallest_that_passes",
        sent=from4(ttl=2) / DATA,
        expect=seen6(hlim=1) / UDP(**TO_HOST6) / b"x",
    ),
    *(
        Case(
            f"rfc7915_4_1_ttl_{late.ttl}_is_answered_with_time_exceeded",
            sent=late,
            verdict=Verdict.HOP_LIMIT_EXPIRED,
            answer=answer4(late, 11, 0),
        )
        for late in LATE
    ),
    *(
        Case(
            f"rfc7915_4_1_type_of_service_{tos:#x}_is_copied_and_the_flow_label_is_0",
            sent=from4(tos=tos) / DATA,
            expect=seen6(tc=tos, fl=0) / UDP(**TO_HOST6) / b"x",
        )
        for tos in (0x00, 0xB8, 0x03, 0xFF)
    ),
    *(
        Case(
            f"rfc7915_4_1_traffic_class_is_{wish:#x}_as_the_operator_wished",
            config={"translation": {"traffic_class": wish}},
            sent=from4(tos=0xB8) / DATA,
            expect=seen6(tc=wish) / UDP(**TO_HOST6) / b"x",
        )
        for wish in (0x00, 0x28)
    ),
    Case(
        "rfc7915_4_1_protocol_1_becomes_58",
        sent=from4() / ping4(True, b"x"),
        expect=seen6(nh=58) / ping6(True, b"x"),
    ),
    Case(
        "rfc7915_4_1_protocol_6_is_copied",
        sent=from4() / TCP(**TO_MAPPED, flags="S") / b"x",
        expect=seen6(nh=6) / TCP(**TO_HOST6, flags="S") / b"x",
    ),
    Case(
        "rfc7915_4_1_octets_behind_total_length_are_not_part_of_the_packet",
        sent=bytes(from4() / DATA) + b"\xff" * 17,
        expect=SEEN,
    ),
    *(
        Case(f"rfc7915_4_1_options_are_ignored_{name}", sent=with_options(from4() / DATA, options), expect=SEEN)
        for name, options in IGNORED.items()
    ),
    *(
        Case(
            f"rfc7915_4_1_unexpired_source_route_is_answered_with_source_route_failed_{name}",
            sent=(routed := with_options(from4() / DATA, options)),
            damaged=True,  # a routed packet has the checksum of its last destination
            verdict=Verdict.SOURCE_ROUTED,
            answer=answer4(routed, 3, 5),
        )
        for name, options in UNEXPIRED.items()
    ),
    *(
        Case(
            f"rfc7915_4_1_illegal_source_{source}_is_silently_discarded",
            sent=from4(src=source) / DATA,
            verdict=Verdict.NOT_UNICAST,
        )
        for source in ILLEGAL
    ),
    *(
        Case(
            f"rfc7915_4_1_illegal_source_{source}_of_{protocol}_is_silently_discarded",
            sent=from4(src=source) / body,
            verdict=Verdict.NOT_UNICAST,
        )
        for source in ("0.0.0.0", "127.0.0.1")
        for protocol, body in OF_OTHER_PROTOCOLS.items()
    ),
    *(
        Case(
            f"rfc7915_4_1_multicast_to_{group}_is_silently_discarded",
            sent=from4(dst=group) / DATA,
            verdict=Verdict.NOT_UNICAST,
        )
        for group in ("224.0.0.0", "224.0.0.251", "233.252.0.1", "239.255.255.255")
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rfc7915_4_1(case):
    case.check()
