"""RFC 7757 section 4.2.2 and RFC 6146 section 3.8: mapped hosts meet one another, and hosts with sessions."""

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.packet import Raw

from tests.case import Case, Nat64, Step
from tests.mapped import (
    ALONE,
    ASK,
    BESIDE,
    BIG,
    EAM,
    EAM4,
    EAM6,
    EAM_IN6,
    FRAGMENT,
    HAIRPINNED,
    OTHER_EAM6,
    OTHER_EAM_IN6,
    REPLY,
    as_eam4,
    at_eam6,
    of_eam6,
    opened,
    to_eam4,
)
from tests.packets import (
    HOST4,
    HOST4_IN6,
    HOST6,
    HOST6_PORT,
    MAPPED4_IN6,
    MAPPED4_PORT,
    NEIGHBOUR6,
    OUR4,
    ROUTER4,
    ROUTER6,
    Icmp,
    answer4,
    answer6,
    fragment_of,
    from6,
    in6,
    ping6,
    seen6,
    sent4,
    sent6,
    whole,
)
from translator.verdict import Verdict

INTRINSIC = [
    Case(
        "a_mapped_host_sees_the_other_under_pool6",
        sent=of_eam6(dst=OTHER_EAM_IN6) / UDP(**ASK) / b"x",
        expect=seen6(src=EAM_IN6, dst=OTHER_EAM6) / UDP(**ASK) / b"x",
        verdict=HAIRPINNED,
    ),
    Case(
        "and_its_answer_comes_from_there",
        sent=from6(src=OTHER_EAM6, dst=EAM_IN6) / UDP(**REPLY) / b"x",
        expect=at_eam6(src=OTHER_EAM_IN6) / UDP(**REPLY) / b"x",
        verdict=HAIRPINNED,
    ),
    Case(
        "with_the_smallest_hop_limit_that_passes",
        sent=of_eam6(dst=OTHER_EAM_IN6, hlim=2) / UDP(**ASK),
        expect=seen6(src=EAM_IN6, dst=OTHER_EAM6, hlim=1) / UDP(**ASK),
        verdict=HAIRPINNED,
    ),
    Case(
        "to_itself",
        sent=of_eam6(dst=EAM_IN6) / TCP(**ASK, flags="S"),
        expect=at_eam6(src=EAM_IN6) / TCP(**ASK, flags="S"),
        verdict=HAIRPINNED,
    ),
    Case(
        "tcp",
        sent=of_eam6(dst=OTHER_EAM_IN6) / TCP(**ASK, flags="A"),
        expect=seen6(src=EAM_IN6, dst=OTHER_EAM6) / TCP(**ASK, flags="A"),
        verdict=HAIRPINNED,
    ),
    Case(
        "pong",
        sent=of_eam6(dst=OTHER_EAM_IN6) / ping6(False, id=7),
        expect=seen6(src=EAM_IN6, dst=OTHER_EAM6) / ping6(False, id=7),
        verdict=HAIRPINNED,
    ),
    Case(
        "a_first_fragment",
        sent=fragment_of(of_eam6(dst=OTHER_EAM_IN6) / UDP(**ASK) / BIG, 0, 1200, FRAGMENT),
        expect=fragment_of(seen6(src=EAM_IN6, dst=OTHER_EAM6) / UDP(**ASK) / BIG, 0, 1200, FRAGMENT),
        verdict=HAIRPINNED,
    ),
    *(
        Case(
            f"an_error_about_{name}",
            sent=from6(src=OTHER_EAM6, dst=EAM_IN6)
            / Icmp(type=1, code=4)
            / seen6(src=EAM_IN6, dst=OTHER_EAM6, **header)
            / message,
            expect=at_eam6(src=OTHER_EAM_IN6)
            / Icmp(type=1, code=4)
            / sent6(src=EAM6, dst=OTHER_EAM_IN6, **header)
            / message,
            verdict=HAIRPINNED,
        )
        for name, header, message in (
            ("tcp", {}, TCP(**ASK, flags="S")),
            ("an_echo", {}, ping6(True, b"x", id=7)),
            ("another_protocol", {"nh": 50}, Raw(BIG[:16])),
        )
    ),
    Case(
        "ping",
        sent=of_eam6(dst=OTHER_EAM_IN6) / ping6(True, b"x", id=7),
        expect=seen6(src=EAM_IN6, dst=OTHER_EAM6) / ping6(True, b"x", id=7),
        verdict=HAIRPINNED,
    ),
    Case(
        "another_protocol",
        sent=of_eam6(dst=OTHER_EAM_IN6, nh=50) / Raw(BIG[:16]),
        expect=seen6(src=EAM_IN6, dst=OTHER_EAM6, nh=50) / Raw(BIG[:16]),
        verdict=HAIRPINNED,
    ),
    Case(
        "a_later_fragment",
        sent=fragment_of(of_eam6(dst=OTHER_EAM_IN6) / UDP(**ASK) / BIG, 1200, 1200, FRAGMENT),
        expect=fragment_of(seen6(src=EAM_IN6, dst=OTHER_EAM6) / UDP(**ASK) / BIG, 1200, 1200, FRAGMENT),
        verdict=HAIRPINNED,
    ),
    Case(
        "an_error_of_the_other_host",
        sent=from6(src=OTHER_EAM6, dst=EAM_IN6)
        / Icmp(type=1, code=4)
        / seen6(src=EAM_IN6, dst=OTHER_EAM6)
        / UDP(**ASK)
        / b"x",
        expect=at_eam6(src=OTHER_EAM_IN6)
        / Icmp(type=1, code=4)
        / sent6(src=EAM6, dst=OTHER_EAM_IN6)
        / UDP(**ASK)
        / b"x",
        verdict=HAIRPINNED,
    ),
    Case(
        "too_big_of_an_mtu_that_no_ipv6_link_has",
        sent=from6(src=OTHER_EAM6, dst=EAM_IN6)
        / Icmp(type=2, rest=68)
        / seen6(src=EAM_IN6, dst=OTHER_EAM6)
        / UDP(**ASK),
        expect=at_eam6(src=OTHER_EAM_IN6) / Icmp(type=2, rest=1280) / sent6(src=EAM6, dst=OTHER_EAM_IN6) / UDP(**ASK),
        verdict=HAIRPINNED,
    ),
]
BY_ROUTER = from6(src=ROUTER6, dst=EAM_IN6) / Icmp(type=3) / seen6(src=EAM_IN6, dst=OTHER_EAM6) / UDP(**ASK) / b"x"
POOL6791 = {"translation": {"rfc6791_ipv4": ["203.0.113.200/32"]}}


@pytest.mark.parametrize("case", INTRINSIC, ids=str)
@pytest.mark.parametrize("config", [BESIDE, ALONE], ids=["beside_sessions", "alone"])
def test_rfc7757_4_2_2_intrinsic(case, config):
    nat64 = Nat64(**config)
    case.check(nat64)
    assert opened(nat64) == (0, 0)


@pytest.mark.parametrize(
    ("config", "source"),
    [
        (BESIDE, OTHER_EAM_IN6),  # RFC 6146 section 3.7
        (ALONE, in6(OUR4)),
        (BESIDE | POOL6791, in6("203.0.113.200")),
        (ALONE | POOL6791, in6("203.0.113.200")),
        (ALONE | {"eam": [*EAM, {"ipv4": ROUTER4, "ipv6": ROUTER6}]}, ROUTER6),
    ],
    ids=["beside_sessions", "alone", "beside_sessions_rfc6791", "alone_rfc6791", "with_a_row"],
)
def test_rfc7757_4_2_2_a_router_between_them_is_seen_as_from_ipv4(config, source):
    expect = at_eam6(src=source) / Icmp(type=3) / sent6(src=EAM6, dst=OTHER_EAM_IN6) / UDP(**ASK) / b"x"
    Nat64(**config).check(Step(BY_ROUTER, expect, HAIRPINNED))


TO_FORWARD, FROM_FORWARD = {"sport": 4000, "dport": MAPPED4_PORT}, {"sport": MAPPED4_PORT, "dport": 4000}
AT_HOST6, OF_HOST6 = {"sport": 4000, "dport": HOST6_PORT}, {"sport": HOST6_PORT, "dport": 4000}
EAM_TO_FORWARD = Step(
    of_eam6(dst=MAPPED4_IN6) / UDP(**TO_FORWARD) / b"x", seen6(src=EAM_IN6) / UDP(**AT_HOST6) / b"x", HAIRPINNED
)
HOST6_TO_EAM = Step(
    from6(dst=EAM_IN6) / UDP(**OF_HOST6) / b"x", at_eam6(src=MAPPED4_IN6) / UDP(**FROM_FORWARD) / b"x", HAIRPINNED
)
BETWEEN = [
    Case("a_mapped_host_calls_a_forward_and_is_answered", steps=[EAM_TO_FORWARD, HOST6_TO_EAM]),
    Case("a_host_with_sessions_calls_a_mapped_host_and_is_answered", steps=[HOST6_TO_EAM, EAM_TO_FORWARD]),
    Case(
        "tcp",
        steps=[
            Step(
                from6(dst=EAM_IN6) / TCP(**OF_HOST6, flags="S"),
                at_eam6(src=MAPPED4_IN6) / TCP(**FROM_FORWARD, flags="S"),
                HAIRPINNED,
            ),
            Step(
                of_eam6(dst=MAPPED4_IN6) / TCP(**TO_FORWARD, flags="SA"),
                seen6(src=EAM_IN6) / TCP(**AT_HOST6, flags="SA"),
                HAIRPINNED,
            ),
        ],
    ),
    Case(
        "ping",
        steps=[
            Step(
                of_eam6(dst=MAPPED4_IN6) / ping6(True, b"x", id=MAPPED4_PORT),
                seen6(src=EAM_IN6) / ping6(True, b"x", id=HOST6_PORT),
                HAIRPINNED,
            ),
            Step(
                from6(dst=EAM_IN6) / ping6(False, b"x", id=HOST6_PORT),
                at_eam6(src=MAPPED4_IN6) / ping6(False, b"x", id=MAPPED4_PORT),
                HAIRPINNED,
            ),
        ],
    ),
    Case(
        "errors_both_ways",
        steps=[
            HOST6_TO_EAM,
            Step(
                of_eam6(dst=MAPPED4_IN6) / Icmp(type=1, code=4) / at_eam6(src=MAPPED4_IN6) / UDP(**FROM_FORWARD) / b"x",
                seen6(src=EAM_IN6) / Icmp(type=1, code=4) / sent6(dst=EAM_IN6) / UDP(**OF_HOST6) / b"x",
                HAIRPINNED,
            ),
            Step(
                from6(dst=EAM_IN6) / Icmp(type=1, code=4) / seen6(src=EAM_IN6) / UDP(**AT_HOST6) / b"x",
                at_eam6(src=MAPPED4_IN6)
                / Icmp(type=1, code=4)
                / sent6(src=EAM6, dst=MAPPED4_IN6)
                / UDP(**TO_FORWARD)
                / b"x",
                HAIRPINNED,
            ),
        ],
    ),
    *(
        Case(
            f"fragments_{name}",
            steps=[
                Step(
                    fragment_of(sent / BIG, at, 1200, FRAGMENT), fragment_of(got / BIG, at, 1200, FRAGMENT), HAIRPINNED
                )
                for at in (0, 1200)
            ],
        )
        for name, sent, got in (
            ("to_a_forward", of_eam6(dst=MAPPED4_IN6) / UDP(**TO_FORWARD), seen6(src=EAM_IN6) / UDP(**AT_HOST6)),
            ("to_a_mapped_host", from6(dst=EAM_IN6) / UDP(**OF_HOST6), at_eam6(src=MAPPED4_IN6) / UDP(**FROM_FORWARD)),
        )
    ),
]


@pytest.mark.parametrize("case", BETWEEN, ids=str)
def test_rfc6146_3_8_a_mapped_host_and_one_with_sessions_take_one_session(case):
    nat64 = Nat64(**BESIDE)
    case.check(nat64)
    assert opened(nat64) == (0, 1)


@pytest.mark.parametrize(
    "case",
    [
        Case(
            "an_unmapped_host_needs_a_session_for_another_protocol",
            sent=(gre := from6(nh=47) / Raw(b"gre")),
            verdict=Verdict.PROTOCOL,
            answer=answer6(gre, 1, 4),
        ),
        Case(
            "a_forward_has_no_room_for_another_protocol",
            sent=(gre := of_eam6(dst=MAPPED4_IN6, nh=47) / Raw(b"gre")),
            verdict=Verdict.PROTOCOL,
            answer=answer6(gre, 1, 4),
        ),
        Case(
            "nobody_behind_a_port_of_the_pool",
            sent=(unknown := of_eam6(dst=MAPPED4_IN6) / UDP(sport=1, dport=2)),
            verdict=Verdict.NO_BIB_ENTRY,
            answer=answer6(unknown, 1, 3),
        ),
        Case(
            "filters_are_for_sessions",
            config={"filtering": {"address_dependent": True, "drop_inbound_tcp": True}},
            sent=to_eam4() / TCP(**ASK, flags="S"),
            expect=at_eam6() / TCP(**ASK, flags="S"),
        ),
        Case(
            "the_deny_list_is_for_all_from_ipv6",
            config={"translation": {"denylist4": [f"{HOST4}/32"]}},
            sent=(denied := of_eam6() / UDP(**ASK)),
            verdict=Verdict.DENIED_ADDRESS,
            answer=answer6(denied, 1, 1),
        ),
        Case(
            "the_deny_list_is_for_all_from_ipv4",
            config={"translation": {"denylist4": [f"{HOST4}/32"]}},
            sent=(denied := to_eam4() / UDP(**ASK)),
            verdict=Verdict.DENIED_ADDRESS,
            answer=answer4(denied, 3, 13),
        ),
        Case(
            "an_unknown_router_goes_by_the_mapped_address_as_rfc6146_3_7_says",
            sent=from6(src=ROUTER6) / Icmp(type=3) / at_eam6() / UDP(**ASK) / b"x",
            expect=as_eam4() / Icmp(type=11) / sent4(dst=EAM4) / UDP(**ASK) / b"x",
        ),
        Case(
            "rfc7915_4_5_no_checksum_for_a_fragment",
            sent=fragment_of(to_eam4() / UDP(**ASK, chksum=0) / BIG, 0, 1200),
            verdict=Verdict.ZERO_UDP_CHECKSUM,
        ),
    ],
    ids=str,
)
def test_mapped_hosts_beside_sessions(case):
    case.check(Nat64(**BESIDE | case.config))


def test_a_client_of_a_mapped_host_takes_no_session_while_a_host_with_sessions_does():
    nat64 = Nat64(**BESIDE)
    for port in range(5000, 5020):
        nat64.check(Step(to_eam4() / TCP(sport=port, dport=80, flags="S")))
        nat64.check(Step(of_eam6() / TCP(sport=80, dport=port, flags="SA")))
    assert opened(nat64) == (0, 0)
    nat64.check(Step(from6(src=NEIGHBOUR6) / TCP(sport=5000, dport=80, flags="S")))
    assert opened(nat64) == (1, 1)


def test_the_mapped_host_is_the_ipv4_host_s_only_through_its_row():
    """HOST6 is none of the mapped ones: to HOST4 its address is one of the pool."""
    (got,) = Nat64(**BESIDE).send(from6(src=HOST6, dst=HOST4_IN6) / UDP(sport=1, dport=2)).packets
    assert whole(got).src.startswith("192.0.2.")
