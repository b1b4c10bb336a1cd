"""A CLAT (RFC 6877), the edge relay of RFC 7756, with several [[eam]] beside it; what refuses a source there."""

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw

from tests.case import Case, Step
from tests.packets import HOST4, HOST4_IN6, OUR4, ROUTER4, ROUTER6, Icmp, answer4, from6, in6, payload, ping4, seen4
from tests.translator.test_rfc6877_464xlat import ASK, CLAT, CLAT4, CLAT6, REPLY
from translator.verdict import Verdict

ROWS = {f"203.0.113.{number}": f"2001:db8:dc::{number}" for number in (81, 82, 83)}
BESIDE = CLAT | {"eam": [{"ipv4": row4, "ipv6": row6} for row4, row6 in ROWS.items()]}
FOREIGN4 = "192.168.7.2"
CASES = [
    Case(
        "rfc7756_3_each_row_is_a_service_address",
        config=BESIDE,
        steps=[
            step
            for row4, row6 in ROWS.items()
            for step in (
                Step(IP(src=row4, dst=HOST4) / UDP(**ASK), from6(src=row6, hlim=63) / UDP(**ASK)),
                Step(from6(src=HOST4_IN6, dst=row6) / UDP(**REPLY), seen4(src=HOST4, dst=row4) / UDP(**REPLY)),
            )
        ],
    ),
    Case(
        "rfc7756_5_2_each_row_is_a_peer",
        config=BESIDE,
        steps=[
            step
            for row4, row6 in ROWS.items()
            for step in (
                Step(IP(src=CLAT4, dst=row4) / UDP(**ASK), from6(src=CLAT6, dst=row6, hlim=63) / UDP(**ASK)),
                Step(from6(src=row6, dst=CLAT6) / UDP(**REPLY), seen4(src=row4, dst=CLAT4) / UDP(**REPLY)),
            )
        ],
    ),
    *(
        Case(
            f"rfc7756_6_{name}_of_a_source_without_a_row_beside_rows_to_{to}",
            config=BESIDE,
            sent=(sent := IP(src=FOREIGN4, dst=to) / body),
            verdict=Verdict.CLAT_SOURCE,
            answer=answer4(sent, 3, 13),
        )
        for to in (HOST4, "203.0.113.82")
        for name, body in (("udp", UDP(**ASK)), ("tcp", TCP(**ASK, flags="S")), ("an_echo", ping4(True, b"x", id=7)))
    ),
    *(
        Case(
            f"rfc7756_6_a_later_fragment_of_{name}_of_a_source_without_a_row",
            config=CLAT,
            sent=IP(src=FOREIGN4, dst=HOST4, proto=number, flags="MF", frag=100) / Raw(payload(16)),
            verdict=Verdict.CLAT_SOURCE,
        )
        for name, number in (("udp", 17), ("tcp", 6), ("esp", 50))
    ),
    Case(
        "rfc7756_3_an_error_of_an_ipv6_router_finds_the_program",
        config=CLAT,
        sent=from6(src=ROUTER6, dst=CLAT6) / Icmp(type=3) / from6(src=CLAT6, hlim=63) / UDP(**ASK) / b"x",
        expect=seen4(src=OUR4, dst=CLAT4) / Icmp(type=11) / IP(src=CLAT4, dst=HOST4, ttl=63, id=0) / UDP(**ASK) / b"x",
    ),
    *(
        Case(
            f"rfc6791_a_router_{name}_beside_rows",
            config=BESIDE,
            sent=IP(src=router4, dst=HOST4) / Icmp(type=11) / seen4(src=HOST4, dst=CLAT4) / UDP(**REPLY) / b"x",
            expect=from6(src=router6, hlim=63)
            / Icmp(type=3)
            / from6(src=HOST4_IN6, dst=CLAT6, hlim=63)
            / UDP(**REPLY)
            / b"x",
        )
        for name, router4, router6 in (
            ("without_a_row_has_the_address_of_clat", ROUTER4, CLAT6),
            ("with_a_row_has_its_own_address", "203.0.113.82", "2001:db8:dc::82"),
        )
    ),
    Case(
        "rfc7915_5_1_an_error_goes_where_it_is_sent_whatever_it_quotes",
        config=BESIDE,
        sent=from6(src=HOST4_IN6, dst="2001:db8:dc::82")
        / Icmp(type=1, code=3)
        / from6(src=CLAT6, hlim=63)
        / UDP(**ASK)
        / b"x",
        expect=seen4(src=HOST4, dst="203.0.113.82")
        / Icmp(type=3, code=1)
        / IP(src=CLAT4, dst=HOST4, ttl=63, id=0)
        / UDP(**ASK)
        / b"x",
    ),
    Case(
        "rfc7915_4_1_an_error_goes_where_it_is_sent_whatever_it_quotes",
        config=BESIDE,
        sent=IP(src=CLAT4, dst=ROUTER4) / Icmp(type=3, code=3) / seen4(src=HOST4, dst=CLAT4) / UDP(**REPLY) / b"x",
        expect=from6(src=CLAT6, dst=in6(ROUTER4), hlim=63)
        / Icmp(type=1, code=4)
        / from6(src=HOST4_IN6, dst=CLAT6, hlim=63)
        / UDP(**REPLY)
        / b"x",
    ),
    Case(
        "rfc3927_2_7_a_link_local_server_is_not_reached",
        config=CLAT,
        sent=(sent := IP(src=CLAT4, dst="169.254.1.1") / UDP(**ASK)),
        verdict=Verdict.NOT_UNICAST,
        answer=answer4(sent, 3, 13),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rfc7756_rows_beside_a_clat(case):
    case.check()
