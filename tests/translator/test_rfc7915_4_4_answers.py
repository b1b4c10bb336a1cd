"""RFC 7915 sections 4.4 and 5.4: what the sender of a dropped packet is told, drop by drop."""

import numpy as np
import pytest
from scapy.layers.inet import ICMP, TCP, UDP
from scapy.packet import Raw

from tests.case import Case, compare
from tests.packets import (
    FROM_HOST6,
    HOST4,
    HOST4_PORT,
    TO_MAPPED,
    answer4,
    answer6,
    from4,
    from6,
    in6,
    payload,
    ping4,
)
from translator.plain import Copies
from translator.tables.gateway import HEADROOM
from translator.verdict import Answer, Verdict

UDP6, UDP4 = UDP(**FROM_HOST6) / b"x", UDP(**TO_MAPPED) / b"x"


def six(name, verdict, sent, type_, code, rest=0, **config):
    return Case(name, sent=sent, verdict=verdict, answer=answer6(sent, type_, code, rest), config=config)


def four(name, verdict, sent, type_, code, rest=0, **config):
    return Case(name, sent=sent, verdict=verdict, answer=answer4(sent, type_, code, rest), config=config)


DENIED = {"translation": {"denylist4": [f"{HOST4}/32"]}}
LONG6, LONG4 = UDP(**FROM_HOST6) / payload(1452), UDP(**TO_MAPPED) / payload(1460)
TCP_FRAGMENT = Raw(bytes(TCP(**TO_MAPPED, flags="A", chksum=0x1234) / payload(1460)))

CASES = [
    six("rfc7915_5_4_hop_limit_expired_is_3_0", Verdict.HOP_LIMIT_EXPIRED, from6(hlim=1) / UDP6, 3, 0),
    four("rfc7915_4_4_ttl_expired_is_11_0", Verdict.HOP_LIMIT_EXPIRED, from4(ttl=1) / UDP4, 11, 0),
    six("rfc6146_3_4_foreign_protocol_from_ipv6_is_1_4", Verdict.PROTOCOL, from6(nh=47) / b"x", 1, 4),
    four("rfc6146_3_4_foreign_protocol_from_ipv4_is_3_2", Verdict.PROTOCOL, from4(proto=47) / b"x", 3, 2),
    six(
        "rfc6052_3_1_non_global_address_is_1_1",
        Verdict.NON_GLOBAL_ADDRESS,
        from6(dst=in6("10.0.0.1")) / UDP6,
        1,
        1,
    ),
    four("rfc6052_3_1_non_global_source_is_3_13", Verdict.NON_GLOBAL_ADDRESS, from4(src="10.0.0.1") / UDP4, 3, 13),
    six("denied_address_from_ipv6_is_1_1", Verdict.DENIED_ADDRESS, from6() / UDP6, 1, 1, **DENIED),
    four("denied_address_from_ipv4_is_3_13", Verdict.DENIED_ADDRESS, from4() / UDP4, 3, 13, **DENIED),
    four(
        "rfc6146_3_5_1_udp_to_a_port_nobody_uses_is_3_1",
        Verdict.NO_BIB_ENTRY,
        from4() / UDP(sport=HOST4_PORT, dport=2000),
        3,
        1,
    ),
    four("rfc6146_3_5_3_echo_nobody_asked_for_is_3_1", Verdict.NO_BIB_ENTRY, from4() / ping4(True, id=2000), 3, 1),
    six(
        "rfc7915_5_1_too_big_for_ipv4_is_2_0_with_the_mtu_and_20",
        Verdict.TOO_BIG,
        from6() / LONG6,
        2,
        0,
        1420,
        translation={"mtu4": 1400},
    ),
    six(
        "rfc7915_5_1_one_octet_too_big_for_ipv4_is_2_0",
        Verdict.TOO_BIG,
        from6() / UDP(**FROM_HOST6) / payload(1401 - 28),
        2,
        0,
        1420,
        translation={"mtu4": 1400},
    ),
    six(
        "rfc7915_5_1_too_big_for_ipv4_never_asks_for_less_than_1280",
        Verdict.TOO_BIG,
        from6() / LONG6,
        2,
        0,
        1280,
        translation={"mtu4": 1000},
    ),
    six(
        "rfc7915_5_1_larger_than_any_ipv4_packet_is_2_0",
        Verdict.TOO_BIG,
        from6() / UDP(**FROM_HOST6) / bytes(65516 - 8),
        2,
        0,
        1280,
    ),
    four(
        "rfc7915_4_1_too_big_for_ipv6_is_3_4_with_the_mtu_less_20",
        Verdict.TOO_BIG,
        from4(flags="DF") / LONG4,
        3,
        4,
        1480,
        translation={"mtu6": 1500},
    ),
    four(
        "rfc7915_4_1_fragment_too_big_for_ipv6_is_3_4_with_the_mtu_less_28",
        Verdict.TOO_BIG,
        from4(flags="DF+MF", proto=6) / TCP_FRAGMENT,
        3,
        4,
        1472,
        translation={"mtu6": 1500},
    ),
]

SILENT = [
    Case(
        "rfc6146_3_5_2_2_a_syn_nobody_expects_is_not_answered_at_once",
        verdict=Verdict.SYN_HELD,
        sent=from4() / TCP(sport=HOST4_PORT, dport=2000, flags="S"),
    ),
    Case("rfc7915_4_2_unknown_query", sent=from4() / ICMP(type=13), verdict=Verdict.ICMP_TYPE),
    Case(
        "drop_icmp_info_from_ipv4",
        config={"filtering": {"drop_icmp_info": True}},
        sent=from4() / ping4(True),
        verdict=Verdict.FILTERED_ICMP_INFO,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rfc7915_4_4(case):
    case.check()


@pytest.mark.parametrize("case", SILENT, ids=str)
def test_rfc7915_4_4_silently(case):
    case.check()


ADDRESS, PROHIBITED, PROTOCOL, PORT = ((3, 1), (1, 3)), ((3, 13), (1, 1)), ((3, 2), (1, 4)), ((3, 3), (1, 4))
TOLD = {
    Verdict.HOP_LIMIT_EXPIRED: ((11, 0), (3, 0)),
    Verdict.SOURCE_ROUTED: ((3, 5), None),
    Verdict.ROUTING_HEADER: (None, (4, 0)),
    Verdict.TOO_BIG: ((3, 4), (2, 0)),
    Verdict.PROTOCOL: PROTOCOL,
    Verdict.NON_GLOBAL_ADDRESS: PROHIBITED,
    Verdict.NOT_UNICAST: PROHIBITED,
    Verdict.DENIED_ADDRESS: PROHIBITED,
    Verdict.NO_MAPPING: PROHIBITED,
    Verdict.CLAT_SOURCE: PROHIBITED,
    Verdict.NO_POOL4: PROHIBITED,
    Verdict.NO_BIB_ENTRY: ADDRESS,
    Verdict.POOL4_EXHAUSTED: ADDRESS,
    Verdict.PAIRED_FULL: ADDRESS,
    Verdict.SESSION_TABLE_FULL: ADDRESS,
    Verdict.HOST_SESSIONS: ADDRESS,
    Verdict.HOST_PORTS: ADDRESS,
    Verdict.HOST_RATE: ADDRESS,
    Verdict.SUBSCRIBER_SESSIONS: ADDRESS,
    Verdict.SUBSCRIBER_PORTS: ADDRESS,
    Verdict.INBOUND_SESSIONS: ADDRESS,
    Verdict.NO_ENDPOINT: PORT,
    Verdict.CLOSED_PORT: PORT,
    Verdict.SERVICE_CLASH: PORT,
}


@pytest.mark.parametrize("family", [4, 6])
def test_rfc7915_4_4_what_the_sender_is_told_for_every_reason(family, nat64):
    """In both families (section 5.4); for reasons that are not here, nothing."""
    sent, answer_of = (from4() / UDP4, answer4) if family == 4 else (from6() / UDP6, answer6)
    octets = np.frombuffer(bytes(sent), np.uint8)
    plain = Copies()
    errors = plain.module("translator.packet.icmp_error")
    view = plain.module("translator.packet.parse").parse(octets, 0, len(octets))
    for at, verdict in enumerate(Verdict):
        told = TOLD.get(verdict, (None, None))[family == 6]
        assert errors.wants_answer(verdict, family) == (told is not None), verdict.name
        if told is not None:
            size = errors.answer_sender(nat64.gateway, 60_000 * at, octets, view, verdict, 7)
            due = answer_of(sent, *told, 7)
            if verdict.answer == Answer.PORT_UNREACHABLE:  # of a service, in the name of its address
                due.src = sent.dst
            compare([bytes(nat64.worker.answer[HEADROOM : HEADROOM + size])], [due])
