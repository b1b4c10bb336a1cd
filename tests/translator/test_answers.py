"""ICMP errors of ours (RFC 1122 section 3.2.2, RFC 4443 section 2.4): about what, how large, how many, from whom."""

import numpy as np
import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import ICMPv6ND_Redirect
from scapy.packet import Packet, Raw

from tests.case import Case, Nat64, Step
from tests.packets import (
    FROM_HOST6,
    FROM_MAPPED,
    OUR6,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    answer4,
    answer6,
    fragment_of,
    from4,
    from6,
    patch,
    payload,
    ping4,
    ping6,
    seen4,
    seen6,
    whole,
    with_options,
)
from translator.pipeline import Outcome, Output, buffer_of
from translator.tables.layout import NONE
from translator.verdict import Verdict

SHORT6, SHORT4 = UDP(**FROM_HOST6) / b"x", UDP(**TO_MAPPED) / b"x"
LATE6, LATE4 = from6(hlim=1) / SHORT6, from4(ttl=1) / SHORT4
LONG6, LONG4 = from6(hlim=1) / UDP(**FROM_HOST6) / payload(1400), from4(ttl=1) / UDP(**TO_MAPPED) / payload(1400)
QUOTED4, QUOTED6 = seen4() / UDP(**FROM_MAPPED), seen6() / UDP(**TO_HOST6)
ROUTED4 = b"\x83\x07\x04\xcb\x00\x71\x01"
ROUTED6 = Raw(b"\x11\x02\x00\x01" + bytes(20) + bytes(SHORT6))


def late(name: str, sent: Packet, answer: Packet | None = None, verdict: Verdict = Verdict.HOP_LIMIT_EXPIRED) -> Case:
    return Case(name, sent=sent, verdict=verdict, answer=answer)


CASES = [
    *(
        late(f"no_error_about_an_icmp_error_of_type_{type_}", from4(ttl=1) / Icmp(type=type_) / QUOTED4)
        for type_ in (3, 4, 5, 11, 12)
    ),
    *(
        late(f"no_error_about_an_icmpv6_error_of_type_{type_}", from6(hlim=1) / Icmp(type=type_) / QUOTED6)
        for type_ in (1, 2, 3, 4, 100, 127)
    ),
    late("no_error_about_a_redirect", from6(hlim=1) / ICMPv6ND_Redirect()),
    late("an_error_about_an_echo_from_ipv4", sent := from4(ttl=1) / ping4(True), answer4(sent, 11, 0)),
    late("an_error_about_an_echo_from_ipv6", sent := from6(hlim=1) / ping6(True), answer6(sent, 3, 0)),
    late("no_error_about_a_later_fragment_from_ipv4", fragment_of(LONG4, 800, 608)),
    late("no_error_about_a_later_fragment_from_ipv6", fragment_of(LONG6, 800, 608)),
    late(
        "an_error_about_a_first_fragment_from_ipv4",
        sent := fragment_of(LONG4, 0, 800),
        answer4(sent, 11, 0),
    ),
    late(
        "an_error_about_a_first_fragment_from_ipv6",
        sent := fragment_of(LONG6, 0, 800),
        answer6(sent, 3, 0),
    ),
    late(
        "no_error_about_a_packet_to_multicast_in_ipv4",
        with_options(from4(dst="224.0.0.1") / SHORT4, ROUTED4),
        verdict=Verdict.SOURCE_ROUTED,
    ),
    late(
        "no_error_to_multicast_in_ipv4",
        with_options(from4(src="224.0.0.1") / SHORT4, ROUTED4),
        verdict=Verdict.SOURCE_ROUTED,
    ),
    late(
        "no_error_about_a_packet_to_multicast_in_ipv6",
        from6(dst="ff02::1", nh=43) / ROUTED6,
        verdict=Verdict.ROUTING_HEADER,
    ),
    late("no_error_to_the_unspecified_address", from6(src="::", nh=43) / ROUTED6, verdict=Verdict.ROUTING_HEADER),
    *(
        late(
            f"no_error_to_{source}_which_no_host_has",
            with_options(from4(src=source) / SHORT4, ROUTED4),
            verdict=Verdict.SOURCE_ROUTED,
        )
        for source in ("0.0.0.0", "0.1.2.3", "127.0.0.1", "169.254.1.1", "240.0.0.1", "255.255.255.255")
    ),
    *(
        late(
            f"no_error_to_{source}_which_no_host_has",
            from6(src=source, nh=43) / ROUTED6,
            verdict=Verdict.ROUTING_HEADER,
        )
        for source in ("::1", "ff02::1", "fe80::1")
    ),
    late(
        "no_error_about_a_packet_to_broadcast",
        with_options(from4(dst="255.255.255.255") / SHORT4, ROUTED4),
        verdict=Verdict.SOURCE_ROUTED,
    ),
    late(
        "no_error_about_a_header_with_a_wrong_checksum",
        patch(LATE4, 10, b"\x12\x34", mend=False),
        verdict=Verdict.HEADER_CHECKSUM,
    ),
    late(
        "no_error_about_a_header_that_is_longer_than_its_packet", patch(LATE4, 0, b"\x4f"), verdict=Verdict.BAD_LENGTH
    ),
    late("no_error_about_a_packet_that_is_cut_short", bytes(LATE4)[:-1], verdict=Verdict.TRUNCATED),
    late("no_error_about_an_ipv6_packet_that_is_cut_short", bytes(LATE6)[:-1], verdict=Verdict.TRUNCATED),
    late("an_error_in_ipv4_does_not_copy_the_ds_field", sent := from4(ttl=1, tos=0x28) / SHORT4, answer4(sent, 11, 0)),
    late("an_error_in_ipv6_does_not_copy_the_ds_field", sent := from6(hlim=1, tc=0x28) / SHORT6, answer6(sent, 3, 0)),
    late("an_error_in_ipv4_is_at_most_576_octets", LONG4, answer4(LONG4, 11, 0)),
    late("an_error_in_ipv6_is_at_most_1280_octets", LONG6, answer6(LONG6, 3, 0)),
    late("an_error_quotes_the_packet_alone", bytes(LATE4) + b"\xff" * 20, answer4(LATE4, 11, 0)),
    late("an_error_in_ipv4_quotes_the_options", sent := with_options(LATE4, b"\x01" * 40), answer4(sent, 11, 0)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answers(case):
    case.check()


def test_errors_are_as_large_as_the_rfcs_allow_and_no_larger(nat64):
    assert len(nat64.send(LONG4).answer) == 576  # RFC 1812 section 4.3.2.3
    assert len(nat64.send(LONG6).answer) == 1280  # RFC 4443 section 2.4 (c)
    assert len(nat64.send(LATE4).answer) == 28 + len(LATE4)


def test_rfc7600_an_ipv4_error_comes_from_the_dummy_address_when_we_have_none():
    nat64 = Nat64(tun={"ipv4": None})
    answer = whole(nat64.send(LATE4).answer)
    assert (answer.src, answer.dst) == ("192.0.0.8", LATE4.src)
    assert whole(nat64.send(LATE6).answer).src == OUR6


@pytest.mark.parametrize("packet", [LATE4, LATE6], ids=["ipv4", "ipv6"])
def test_errors_are_limited_to_the_rate_of_the_operator(packet):
    nat64 = Nat64(limits={"icmp_errors_per_second": 50})  # a tenth of it to one receiver
    assert [nat64.send(packet, at=0).answer is not None for _ in range(7)] == [True] * 5 + [False] * 2
    assert nat64.send(packet, at=0.199).answer is None
    assert nat64.send(packet, at=0.2).answer is not None
    assert nat64.send(packet, at=0.2).answer is None
    assert [nat64.send(packet, at=3600).answer is not None for _ in range(6)] == [True] * 5 + [False]
    assert nat64.events() == {"BIB_CREATED": 3, "ANSWER_SENT": 11, "ANSWER_LIMITED": 5}


@pytest.mark.parametrize("packet", [LATE4, LATE6], ids=["ipv4", "ipv6"])
def test_a_rate_of_0_is_no_error_at_all(packet):
    nat64 = Nat64(limits={"icmp_errors_per_second": 0})
    for at in (0, 1, 3600):
        nat64.check(Step(packet, verdict=Verdict.HOP_LIMIT_EXPIRED, at=at))
    assert nat64.events() == {"BIB_CREATED": 3, "ANSWER_LIMITED": 3}


def test_each_family_has_a_limit_of_its_own():
    nat64 = Nat64(limits={"icmp_errors_per_second": 1})
    assert nat64.send(LATE4).answer
    assert not nat64.send(LATE4).answer
    assert nat64.send(LATE6).answer
    assert not nat64.send(LATE6).answer


def test_an_error_that_is_not_due_costs_nothing_of_the_limit():
    nat64 = Nat64(limits={"icmp_errors_per_second": 1})
    for _ in range(3):
        assert not nat64.send(fragment_of(LONG4, 800, 608)).answer
    assert nat64.send(LATE4).answer
    assert nat64.events() == {"BIB_CREATED": 3, "ANSWER_SENT": 1, "ANSWER_FORBIDDEN": 3}


@pytest.mark.parametrize("in_answer", [True, False])
def test_an_answer_lies_in_the_workers_buffer_and_the_rest_in_that_of_the_packet(in_answer):
    answer, packet = np.zeros(8, np.uint8), np.zeros(8, np.uint8)
    outcome = Outcome(Verdict.HOP_LIMIT_EXPIRED, 0, 0, 0, 0, 8, NONE)
    buffer = buffer_of(answer, packet, Output(in_answer, 0, 8, outcome, 0))
    assert np.shares_memory(buffer, answer if in_answer else packet)
