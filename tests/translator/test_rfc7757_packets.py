"""RFC 7757 section 3 and RFC 7915 section 6: packets of mapped hosts, beside sessions or without."""

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
    FRAGMENT,
    NO_SESSIONS,
    OTHER_EAM4,
    OTHER_EAM6,
    REPLY,
    SIIT,
    TRANSLATABLE4,
    TRANSLATABLE6,
    as_eam4,
    at_eam6,
    of_eam6,
    opened,
    to_eam4,
)
from tests.packets import (
    FROM_HOST6,
    FROM_MAPPED,
    HOST4,
    NEIGHBOUR6,
    OUR4,
    ROUTER4,
    ROUTER4_IN6,
    ROUTER6,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    answer4,
    answer6,
    flip_checksum,
    fragment_of,
    from4,
    from6,
    in6,
    ping4,
    ping6,
    seen4,
    seen6,
    sent4,
    sent6,
)
from translator.verdict import Verdict

BOTH_WAYS = [
    Case("udp_in", sent=to_eam4() / UDP(**ASK) / b"x", expect=at_eam6() / UDP(**ASK) / b"x"),
    Case("udp_out", sent=of_eam6() / UDP(**REPLY) / b"x", expect=as_eam4() / UDP(**REPLY) / b"x"),
    Case(
        "from_a_row_to_a_row_in",
        sent=to_eam4(src=OTHER_EAM4) / UDP(**ASK) / b"x",
        expect=at_eam6(src=OTHER_EAM6) / UDP(**ASK) / b"x",
    ),
    Case(
        "from_a_row_to_a_row_out",
        sent=of_eam6(dst=OTHER_EAM6) / UDP(**REPLY) / b"x",
        expect=as_eam4(dst=OTHER_EAM4) / UDP(**REPLY) / b"x",
    ),
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
        for number in (47, 50, 51, 132, 33, 4, 253)
    ),
    *(
        Case(
            f"protocol_{number}_out",
            sent=of_eam6(nh=number) / Raw(BIG[:9]),
            expect=as_eam4(proto=number) / Raw(BIG[:9]),
        )
        for number in (47, 50, 51, 132, 33, 41, 253)
    ),
    Case(
        "first_fragment_in",
        sent=fragment_of(to_eam4() / UDP(**ASK) / BIG, 0, 1200, FRAGMENT),
        expect=fragment_of(at_eam6() / UDP(**ASK) / BIG, 0, 1200, FRAGMENT),
    ),
    Case(
        "first_fragment_out",
        sent=fragment_of(of_eam6() / UDP(**ASK) / BIG, 0, 1200, FRAGMENT),
        expect=fragment_of(as_eam4() / UDP(**ASK) / BIG, 0, 1200, FRAGMENT),
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
        "a_broken_checksum_of_an_error_is_not_healed_in",
        sent=flip_checksum(to_eam4(src=ROUTER4) / Icmp(type=11) / as_eam4() / UDP(**REPLY) / b"x"),
        verdict=Verdict.ICMP_CHECKSUM,
    ),
    Case(
        "a_broken_checksum_of_an_error_is_not_healed_out",
        sent=flip_checksum(of_eam6() / Icmp(type=1, code=4) / at_eam6() / UDP(**ASK) / b"x"),
        verdict=Verdict.ICMP_CHECKSUM,
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
    Case(
        "rfc7915_5_4_to_an_address_outside_pool6",
        sent=(lost := of_eam6(dst=NEIGHBOUR6) / UDP(**ASK)),
        verdict=Verdict.NO_MAPPING,
        answer=answer6(lost, 1, 1),
    ),
    Case(
        "to_a_private_address_under_the_well_known_prefix",
        sent=(private := of_eam6(dst=in6("10.0.0.1")) / UDP(**ASK)),
        verdict=Verdict.NON_GLOBAL_ADDRESS,
        answer=answer6(private, 1, 1),
    ),
]


@pytest.mark.parametrize("case", BOTH_WAYS, ids=str)
@pytest.mark.parametrize("config", [BESIDE, ALONE], ids=["beside_sessions", "alone"])
def test_rfc7757_3_2_each_address_by_its_row_or_the_prefix(case, config):
    nat64 = Nat64(**config)
    before = nat64.tables.fragments.copy()
    case.check(nat64)
    assert opened(nat64) == (0, 0)
    assert (nat64.tables.fragments == before).all()


@pytest.mark.parametrize("how", ["calculate", "drop", "forward"])
@pytest.mark.parametrize("config", [BESIDE, ALONE], ids=["beside_sessions", "alone"])
def test_rfc7915_1_2_fragments_without_checksum_are_forwarded_as_configured(config, how):
    nat64 = Nat64(**config, translation={"udp_zero_checksum": how})
    first4, first6 = (
        fragment_of(way / UDP(**ASK, chksum=0) / BIG, 0, 1200, FRAGMENT) for way in (to_eam4(), at_eam6())
    )
    if how == "forward":
        nat64.check(Step(first4, first6))
    else:
        nat64.check(Step(first4, verdict=Verdict.ZERO_UDP_CHECKSUM))


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
    *(
        case
        for name, ask4, ask6 in (
            ("tcp", TCP(**ASK, flags="S"), TCP(**ASK, flags="S")),
            ("ping", ping4(True, id=7), ping6(True, id=7)),
            ("pong", ping4(False, id=7), ping6(False, id=7)),
        )
        for case in (
            Case(f"{name}_to_it", sent=from4(dst=TRANSLATABLE4) / ask4, expect=seen6(dst=TRANSLATABLE6) / ask6),
            Case(f"{name}_from_it", sent=from6(src=TRANSLATABLE6) / ask6, expect=seen4(src=TRANSLATABLE4) / ask4),
        )
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
        answer=answer6(stranger, 1, 1),
    ),
    Case(
        "rfc7915_5_4_a_destination_outside_pool6",
        sent=(lost := from6(dst=NEIGHBOUR6) / UDP(**ASK)),
        verdict=Verdict.NO_MAPPING,
        answer=answer6(lost, 1, 1),
    ),
]


@pytest.mark.parametrize("case", PURE_SIIT, ids=str)
def test_rfc7915_6_the_prefix_alone(case):
    nat64 = Nat64(**SIIT)
    case.check(nat64)
    assert opened(nat64) == (0, 0)


@pytest.mark.parametrize("case", PURE_SIIT[:9], ids=str)
def test_rfc7755_4_10_a_translatable_host_needs_no_row_where_others_have_one(case):
    nat64 = Nat64(**ALONE)
    case.check(nat64)
    assert opened(nat64) == (0, 0)


def test_rfc7757_appendix_b_an_address_that_no_row_covers_goes_by_rfc6052():
    """The last line of figure 7; the row next to it maps 192.0.2.192 to 192.0.2.199."""
    rows = [*EAM, {"ipv4": "192.0.2.192/29", "ipv6": "2001:db8:eeee:8::/62"}]
    nat64, beside = Nat64(eam=rows, **NO_SESSIONS), "64:ff9b::c000:2f8"
    nat64.check(Step(from4(dst="192.0.2.248") / UDP(**ASK), seen6(dst=beside) / UDP(**ASK)))
    nat64.check(Step(from6(src=beside) / UDP(**REPLY), seen4(src="192.0.2.248") / UDP(**REPLY)))
    within = "2001:db8:eeee:9:8000::"
    nat64.check(Step(from4(dst="192.0.2.195") / UDP(**ASK), seen6(dst=within) / UDP(**ASK)))


@pytest.mark.parametrize(
    ("out", "back"),
    [
        ((UDP(**FROM_HOST6), UDP(**FROM_MAPPED)), (UDP(**TO_MAPPED), UDP(**TO_HOST6))),
        (
            (TCP(**FROM_HOST6, flags="S"), TCP(**FROM_MAPPED, flags="S")),
            (TCP(**TO_MAPPED, flags="S"), TCP(**TO_HOST6, flags="S")),
        ),
        ((ping6(True), ping4(True)), (ping4(False), ping6(False))),
    ],
    ids=["udp", "tcp", "echo"],
)
def test_rfc7757_3_3_beside_sessions_who_has_no_row_goes_by_rfc6146(out, back):
    nat64 = Nat64(**BESIDE)
    nat64.check(Step(from6() / out[0], seen4() / out[1]))
    assert opened(nat64) == (0, 1)
    nat64.check(Step(from4() / back[0], seen6() / back[1]))


# No pool6: the whole of IPv4 is a row as well, or nobody outside has an address.
WORLD = "2001:db8:ff::"
ROWS_ONLY = {
    "pool6": None,
    **NO_SESSIONS,
    "tun": {"ipv4": None},
    "eam": [*EAM, {"ipv4": "0.0.0.0/0", "ipv6": f"{WORLD}/96"}],
}
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
            "of_the_source",
            sent=(one := to_eam4() / UDP(**ASK)),
            verdict=Verdict.NO_MAPPING,
            answer=answer4(one, 3, 13),
        ),
        Case(
            "of_the_destination",
            sent=(one := from4(src=EAM4, dst=HOST4) / UDP(**ASK)),
            verdict=Verdict.NO_MAPPING,
            answer=answer4(one, 3, 13),
        ),
        Case(
            "of_the_ipv6_destination",
            sent=(one := of_eam6() / UDP(**ASK)),
            verdict=Verdict.NO_MAPPING,
            answer=answer6(one, 1, 1),
        ),
        Case(
            "of_what_an_error_quotes",
            sent=to_eam4(src=OTHER_EAM4) / Icmp(type=11) / as_eam4() / UDP(**REPLY) / b"x",
            verdict=Verdict.NO_MAPPING,
        ),
    ],
    ids=str,
)
def test_rfc7757_3_3_no_row_and_no_prefix(case):
    case.check(Nat64(pool6=None, eam=EAM, **NO_SESSIONS))
