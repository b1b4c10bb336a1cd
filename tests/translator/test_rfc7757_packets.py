"""RFC 7757 and RFC 7915 section 6: hosts with an address of their own in both families, beside sessions or alone.

EAM6 is EAM4, OTHER_EAM6 is OTHER_EAM4; both are reached from IPv4 without a session, and from IPv6 under POOL6.
"""

from typing import Any

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.packet import Packet, Raw

from tests.case import Case, Nat64, Step
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
    ROUTER4_IN6,
    ROUTER6,
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
    sent4,
    sent6,
    whole,
)
from translator.verdict import Verdict

EAM4, EAM6 = "198.51.100.65", "2001:db8:e::41"
OTHER_EAM4, OTHER_EAM6 = "198.51.100.152", "2001:db8:f:0:6000::"
EAM_IN6, OTHER_EAM_IN6 = in6(EAM4), in6(OTHER_EAM4)
EAM = [
    {"ipv4": "198.51.100.64/28", "ipv6": "2001:db8:e::40/124"},
    {"ipv4": "198.51.100.128/26", "ipv6": "2001:db8:f::/64"},
]
NO_SESSIONS: dict[str, Any] = {"pool4": [], "forward": []}
BESIDE = {"eam": EAM}  # the sessions of CONFIG
ALONE = {"eam": EAM, **NO_SESSIONS}
SIIT = NO_SESSIONS  # pool6 and nothing else: hosts with IPv4-translatable addresses
TRANSLATABLE4 = "198.51.100.200"
TRANSLATABLE6 = in6(TRANSLATABLE4)
ROUTERS_HAVE = "203.0.113.128/25"
HAIRPINNED = Verdict.HAIRPINNED


def to_eam4(**fields: Any) -> Packet:
    """HOST4 to the mapped host, as sent."""
    return from4(**{"dst": EAM4} | fields)


def at_eam6(**fields: Any) -> Packet:
    """to_eam4() as it arrives."""
    return seen6(**{"dst": EAM6} | fields)


def of_eam6(**fields: Any) -> Packet:
    """The mapped host to HOST4, as sent."""
    return from6(**{"src": EAM6} | fields)


def as_eam4(**fields: Any) -> Packet:
    """of_eam6() as it arrives."""
    return seen4(**{"src": EAM4} | fields)


def opened(nat64: Nat64) -> tuple[int, int]:
    """How many BIB entries, but for those of [[forward]], and sessions there have been."""
    events = nat64.events()
    return events.get("BIB_CREATED", 0) - len(nat64.config.forward), events.get("SESSION_CREATED", 0)


ASK, REPLY = {"sport": 4000, "dport": 80}, {"sport": 80, "dport": 4000}
BIG = payload(2000)
FRAGMENT = 0x1234

BOTH_WAYS = [
    Case("udp_in", sent=to_eam4() / UDP(**ASK) / b"x", expect=at_eam6() / UDP(**ASK) / b"x"),
    Case("udp_out", sent=of_eam6() / UDP(**REPLY) / b"x", expect=as_eam4() / UDP(**REPLY) / b"x"),
    Case("tcp_in", sent=to_eam4() / TCP(**ASK, flags="S"), expect=at_eam6() / TCP(**ASK, flags="S")),
    Case("tcp_out", sent=of_eam6() / TCP(**REPLY, flags="R"), expect=as_eam4() / TCP(**REPLY, flags="R")),
    Case("low_ports_stay", sent=of_eam6() / UDP(sport=1, dport=2), expect=as_eam4() / UDP(sport=1, dport=2)),
    Case("ping_in", sent=to_eam4() / ping4(True, b"x", id=7), expect=at_eam6() / ping6(True, b"x", id=7)),
    Case("ping_out", sent=of_eam6() / ping6(True, b"x", id=7), expect=as_eam4() / ping4(True, b"x", id=7)),
    Case("pong_in", sent=to_eam4() / ping4(False, id=7), expect=at_eam6() / ping6(False, id=7)),
    Case("pong_out", sent=of_eam6() / ping6(False, id=7), expect=as_eam4() / ping4(False, id=7)),
    *(
        Case(
            f"protocol_{number}_in", sent=to_eam4(proto=number) / Raw(BIG[:9]), expect=at_eam6(nh=number) / Raw(BIG[:9])
        )
        for number in (47, 50, 132, 33, 4, 253)
    ),
    *(
        Case(
            f"protocol_{number}_out",
            sent=of_eam6(nh=number) / Raw(BIG[:9]),
            expect=as_eam4(proto=number) / Raw(BIG[:9]),
        )
        for number in (47, 50, 132, 33, 41, 253)
    ),
    Case(
        "first_fragment_in",
        sent=fragment_of(to_eam4() / UDP(**ASK) / BIG, 0, 1200, FRAGMENT),
        expect=fragment_of(at_eam6() / UDP(**ASK) / BIG, 0, 1200, FRAGMENT),
    ),
    Case(
        "last_fragment_in_though_nobody_saw_the_first",
        sent=fragment_of(to_eam4() / UDP(**ASK) / BIG, 1200, 1200, FRAGMENT),
        expect=fragment_of(at_eam6() / UDP(**ASK) / BIG, 1200, 1200, FRAGMENT),
    ),
    Case(
        "last_fragment_out_though_nobody_saw_the_first",
        sent=fragment_of(of_eam6() / UDP(**ASK) / BIG, 1200, 1200, FRAGMENT),
        expect=fragment_of(as_eam4() / UDP(**ASK) / BIG, 1200, 1200, FRAGMENT),
    ),
    Case(
        "fragment_of_another_protocol_in",
        sent=fragment_of(to_eam4(proto=47) / Raw(BIG), 1200, 1200, FRAGMENT),
        expect=fragment_of(at_eam6(nh=47) / Raw(BIG), 1200, 1200, FRAGMENT),
    ),
    Case("the_other_row_in", sent=to_eam4(dst=OTHER_EAM4) / UDP(**ASK), expect=at_eam6(dst=OTHER_EAM6) / UDP(**ASK)),
    Case("the_other_row_out", sent=of_eam6(src=OTHER_EAM6) / UDP(**ASK), expect=as_eam4(src=OTHER_EAM4) / UDP(**ASK)),
    Case(
        "an_error_of_an_ipv4_router",
        sent=to_eam4(src=ROUTER4) / Icmp(type=11) / as_eam4() / UDP(**REPLY) / b"x",
        expect=at_eam6(src=ROUTER4_IN6) / Icmp(type=3) / sent6(src=EAM6) / UDP(**REPLY) / b"x",
    ),
    Case(
        "an_error_of_the_ipv4_host",
        sent=to_eam4() / Icmp(type=3, code=3) / as_eam4() / UDP(**REPLY) / b"x",
        expect=at_eam6() / Icmp(type=1, code=4) / sent6(src=EAM6) / UDP(**REPLY) / b"x",
    ),
    Case(
        "an_error_about_another_protocol_in",
        sent=to_eam4(src=ROUTER4) / Icmp(type=3, code=1) / as_eam4(proto=47) / Raw(BIG[:24]),
        expect=at_eam6(src=ROUTER4_IN6) / Icmp(type=1) / sent6(src=EAM6, nh=47) / Raw(BIG[:24]),
    ),
    Case(
        "an_error_of_a_mapped_ipv4_address",
        sent=to_eam4(src=OTHER_EAM4) / Icmp(type=11) / as_eam4() / UDP(**REPLY) / b"x",
        expect=at_eam6(src=OTHER_EAM6) / Icmp(type=3) / sent6(src=EAM6) / UDP(**REPLY) / b"x",
    ),
    Case(
        "an_error_of_the_mapped_host",
        sent=of_eam6() / Icmp(type=1, code=4) / at_eam6() / UDP(**ASK) / b"x",
        expect=as_eam4() / Icmp(type=3, code=3) / sent4(dst=EAM4) / UDP(**ASK) / b"x",
    ),
    Case(
        "an_error_of_a_router_with_a_row_of_its_own",
        sent=of_eam6(src=OTHER_EAM6) / Icmp(type=3) / at_eam6() / UDP(**ASK) / b"x",
        expect=as_eam4(src=OTHER_EAM4) / Icmp(type=11) / sent4(dst=EAM4) / UDP(**ASK) / b"x",
    ),
    Case(
        "an_error_of_a_router_with_a_translatable_address",
        sent=of_eam6(src=ROUTER4_IN6) / Icmp(type=3) / at_eam6() / UDP(**ASK) / b"x",
        expect=as_eam4(src=ROUTER4) / Icmp(type=11) / sent4(dst=EAM4) / UDP(**ASK) / b"x",
    ),
    Case(
        "an_error_about_another_protocol_out",
        sent=of_eam6() / Icmp(type=1) / at_eam6(nh=47) / Raw(BIG[:24]),
        expect=as_eam4() / Icmp(type=3, code=1) / sent4(dst=EAM4, proto=47) / Raw(BIG[:24]),
    ),
    Case(
        "time_is_up_in",
        sent=(late := to_eam4(ttl=1) / UDP(**ASK)),
        verdict=Verdict.HOP_LIMIT_EXPIRED,
        answer=answer4(late, 11, 0),
    ),
    Case(
        "time_is_up_out",
        sent=(late := of_eam6(hlim=1) / UDP(**ASK)),
        verdict=Verdict.HOP_LIMIT_EXPIRED,
        answer=answer6(late, 3, 0),
    ),
    Case("to_an_address_outside_pool6", sent=of_eam6(dst=NEIGHBOUR6) / UDP(**ASK), verdict=Verdict.NOT_OUR_PREFIX),
    Case(
        "to_a_private_address_under_the_well_known_prefix",
        sent=(private := of_eam6(dst=in6("10.0.0.1")) / UDP(**ASK)),
        verdict=Verdict.NON_GLOBAL_ADDRESS,
        answer=answer6(private, 1, 3),
    ),
]


@pytest.mark.parametrize("case", BOTH_WAYS, ids=str)
@pytest.mark.parametrize("config", [BESIDE, ALONE], ids=["beside_sessions", "alone"])
def test_rfc7757_3_2_each_address_by_its_row_or_the_prefix(case, config):
    nat64 = Nat64(**config)
    case.check(nat64)
    assert opened(nat64) == (0, 0)


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
        "to_itself",
        sent=of_eam6(dst=EAM_IN6) / TCP(**ASK, flags="S"),
        expect=at_eam6(src=EAM_IN6) / TCP(**ASK, flags="S"),
        verdict=HAIRPINNED,
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
        "an_error_of_a_router_between_them_which_keeps_its_address",
        sent=from6(src=ROUTER6, dst=EAM_IN6) / Icmp(type=3) / seen6(src=EAM_IN6, dst=OTHER_EAM6) / UDP(**ASK) / b"x",
        expect=at_eam6(src=ROUTER6) / Icmp(type=3) / sent6(src=EAM6, dst=OTHER_EAM_IN6) / UDP(**ASK) / b"x",
        verdict=HAIRPINNED,
    ),
]


@pytest.mark.parametrize("case", INTRINSIC, ids=str)
@pytest.mark.parametrize("config", [BESIDE, ALONE], ids=["beside_sessions", "alone"])
def test_rfc7757_4_2_2_intrinsic(case, config):
    nat64 = Nat64(**config)
    case.check(nat64)
    assert opened(nat64) == (0, 0)


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


PURE_SIIT = [
    Case(
        "in",
        sent=from4(dst=TRANSLATABLE4) / UDP(**ASK) / b"x",
        expect=seen6(dst=TRANSLATABLE6) / UDP(**ASK) / b"x",
    ),
    Case(
        "out",
        sent=from6(src=TRANSLATABLE6) / UDP(**REPLY) / b"x",
        expect=seen4(src=TRANSLATABLE4) / UDP(**REPLY) / b"x",
    ),
    Case("gre", sent=from4(dst=TRANSLATABLE4, proto=47) / b"x", expect=seen6(dst=TRANSLATABLE6, nh=47) / b"x"),
    Case(
        "an_error_of_a_router_that_has_no_ipv4_address_comes_from_us",
        sent=from6(src=ROUTER6) / Icmp(type=3) / seen6(dst=TRANSLATABLE6) / UDP(**ASK) / b"x",
        expect=seen4(src=OUR4) / Icmp(type=11) / sent4(dst=TRANSLATABLE4) / UDP(**ASK) / b"x",
    ),
    Case(
        "a_source_without_ipv4_address",
        sent=(stranger := from6() / UDP(**ASK)),
        verdict=Verdict.NO_MAPPING,
        answer=answer6(stranger, 1, 3),
    ),
    Case("a_destination_outside_pool6", sent=from6(dst=NEIGHBOUR6) / UDP(**ASK), verdict=Verdict.NOT_OUR_PREFIX),
]


@pytest.mark.parametrize("case", PURE_SIIT, ids=str)
def test_rfc7915_6_the_prefix_alone(case):
    nat64 = Nat64(**SIIT)
    case.check(nat64)
    assert opened(nat64) == (0, 0)


# No pool6: the whole of IPv4 is a row as well, or nobody outside has an address.
WORLD = "2001:db8:ff::"
ROWS_ONLY = {"pool6": None, **NO_SESSIONS, "eam": [*EAM, {"ipv4": "0.0.0.0/0", "ipv6": f"{WORLD}/96"}]}
HOST4_IN_WORLD = in6(HOST4, WORLD)
BY_ROWS_ONLY = [
    Case("in", sent=to_eam4() / UDP(**ASK), expect=at_eam6(src=HOST4_IN_WORLD) / UDP(**ASK)),
    Case("out", sent=of_eam6(dst=HOST4_IN_WORLD) / UDP(**ASK), expect=as_eam4() / UDP(**ASK)),
    Case(
        "an_error_of_a_router",
        sent=to_eam4(src=ROUTER4) / Icmp(type=11) / as_eam4() / UDP(**REPLY) / b"x",
        expect=at_eam6(src=in6(ROUTER4, WORLD))
        / Icmp(type=3)
        / sent6(src=EAM6, dst=HOST4_IN_WORLD)
        / UDP(**REPLY)
        / b"x",
    ),
]


@pytest.mark.parametrize("case", BY_ROWS_ONLY, ids=str)
def test_rfc7757_4_2_2_only_what_the_prefix_mapped_is_a_hairpin(case):
    case.check(Nat64(**ROWS_ONLY))


@pytest.mark.parametrize(
    "case",
    [
        Case(
            "of_the_source", sent=(one := to_eam4() / UDP(**ASK)), verdict=Verdict.NO_MAPPING, answer=answer4(one, 3, 1)
        ),
        Case(
            "of_the_destination",
            sent=(one := from4(src=EAM4, dst=HOST4) / UDP(**ASK)),
            verdict=Verdict.NO_MAPPING,
            answer=answer4(one, 3, 1),
        ),
        Case("of_the_ipv6_destination", sent=of_eam6() / UDP(**ASK), verdict=Verdict.NOT_OUR_PREFIX),
        Case(
            "of_what_an_error_quotes",
            sent=to_eam4(src=EAM4) / Icmp(type=11) / as_eam4() / UDP(**REPLY) / b"x",
            verdict=Verdict.NO_MAPPING,
        ),
    ],
    ids=str,
)
def test_rfc7757_3_3_no_row_and_no_prefix(case):
    case.check(Nat64(pool6=None, eam=EAM, **NO_SESSIONS))


# RFC 6791


def seen_source(nat64: Nat64, router6: str) -> str:
    """From whom HOST4 gets the error of an IPv6 router about a packet to the mapped host."""
    sent = from6(src=router6) / Icmp(type=3) / at_eam6() / UDP(**ASK) / b"x"
    (got,) = nat64.send(sent).packets
    source: str = whole(got).src
    assert got == bytes(seen4(src=source) / Icmp(type=11) / sent4(dst=EAM4) / UDP(**ASK) / b"x")
    return source


@pytest.mark.parametrize("config", [BESIDE, ALONE], ids=["beside_sessions", "alone"])
def test_rfc6791_5_routers_get_different_addresses_of_the_pool_and_keep_them(config):
    nat64 = Nat64(**config, translation={"rfc6791_ipv4": [ROUTERS_HAVE]})
    routers = [f"2001:db8:9::{number}" for number in range(1, 9)]
    sources = [seen_source(nat64, router) for router in routers]
    assert all(source.startswith("203.0.113.") and int(source.split(".")[3]) >= 128 for source in sources)
    assert len(set(sources)) > len(routers) // 2
    assert [seen_source(nat64, router) for router in routers] == sources


def test_rfc6791_3_2_a_single_address():
    nat64 = Nat64(**ALONE, translation={"rfc6791_ipv4": [f"{ROUTER4}/32"]})
    assert {seen_source(nat64, ROUTER6), seen_source(nat64, "2001:db8:9::2")} == {ROUTER4}


def test_rfc6791_3_the_pool_is_for_those_without_an_address_only():
    nat64 = Nat64(**ALONE, translation={"rfc6791_ipv4": [ROUTERS_HAVE]})
    assert seen_source(nat64, OTHER_EAM6) == OTHER_EAM4
    assert seen_source(nat64, ROUTER4_IN6) == ROUTER4
    assert seen_source(nat64, EAM6) == EAM4


def test_traceroute_from_a_mapped_host_shows_us_the_ipv4_router_and_the_host():
    nat64 = Nat64(**BESIDE)
    probe = [of_eam6(hlim=hops) / UDP(sport=4000, dport=33434 + hops) / b"probe" for hops in (1, 2, 3)]
    assert nat64.send(probe[0]).answer == bytes(answer6(probe[0], 3, 0))
    for hops, source, kinds in ((2, ROUTER4, ((11, 0), (3, 0))), (3, HOST4, ((3, 3), (1, 4)))):
        (outside,) = nat64.send(probe[hops - 1]).packets
        quoted = outside[:8] + b"\x01" + outside[9:]  # the router's TTL, its checksum is nobody's business
        (type4, code4), (type6, code6) = kinds
        sent = to_eam4(src=source) / Icmp(type=type4, code=code4) / Raw(quoted)
        (got,) = nat64.send(sent).packets
        back = sent6(src=EAM6, hlim=1) / UDP(sport=4000, dport=33434 + hops) / b"probe"
        assert got == bytes(at_eam6(src=in6(source)) / Icmp(type=type6, code=code6) / back)


def test_traceroute_to_a_mapped_host_shows_us_the_ipv6_router_and_the_host():
    nat64 = Nat64(**BESIDE, translation={"rfc6791_ipv4": [ROUTERS_HAVE]})
    expired = to_eam4(ttl=1) / UDP(**ASK) / b"x"
    assert nat64.send(expired).answer == bytes(answer4(expired, 11, 0))
    assert seen_source(nat64, ROUTER6).startswith("203.0.113.")
    nat64.check(
        Step(
            of_eam6() / Icmp(type=1, code=4) / at_eam6(hlim=1) / UDP(**ASK) / b"x",
            as_eam4() / Icmp(type=3, code=3) / sent4(dst=EAM4, ttl=1) / UDP(**ASK) / b"x",
        )
    )


def test_the_mapped_host_is_the_ipv4_host_s_only_through_its_row():
    """HOST6 is none of the mapped ones: to HOST4 its address is one of the pool."""
    (got,) = Nat64(**BESIDE).send(from6(src=HOST6, dst=HOST4_IN6) / UDP(sport=1, dport=2)).packets
    assert whole(got).src.startswith("192.0.2.")
