"""RFC 7915 sections 4.1 and 5.1: an ICMP error goes to the address it was sent to, whatever packet it quotes."""

from typing import Any

import pytest
from scapy.layers.inet import UDP
from scapy.packet import Packet

from tests.case import Case, Nat64, Step
from tests.mapped import (
    ALONE,
    ASK,
    BESIDE,
    EAM4,
    EAM6,
    EAM_IN6,
    HAIRPINNED,
    OTHER_EAM4,
    OTHER_EAM6,
    OTHER_EAM_IN6,
    SIIT,
    TRANSLATABLE4,
    TRANSLATABLE6,
    as_eam4,
    at_eam6,
    to_eam4,
)
from tests.packets import (
    FROM_HOST6,
    FROM_MAPPED,
    HOST4,
    HOST4_IN6,
    MAPPED4_IN6,
    OTHER4,
    OTHER4_IN6,
    OUR4,
    ROUTER4,
    ROUTER4_IN6,
    ROUTER6,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    from4,
    from6,
    in6,
    seen4,
    seen6,
    sent6,
)
from translator.verdict import Verdict

NOBODY = "203.0.113.77"  # neither of pool4 nor of any row
OPERATORS = "2001:db8:6052::"
UNREACHABLE4, UNREACHABLE6 = Icmp(type=3, code=1), Icmp(type=1, code=0)


def quoted4(src: str) -> Packet:
    """What HOST4's router saw of a packet to HOST4."""
    return seen4(src=src) / UDP(**ASK)


def quoted6(src: str, dst: str = HOST4_IN6) -> Packet:
    """The same before it was translated."""
    return sent6(src=src, dst=dst) / UDP(**ASK)


CASES = [
    *(
        case
        for name, config, router in (("alone", ALONE, in6(OUR4)), ("beside_sessions", BESIDE, EAM_IN6))
        for case in (
            Case(
                f"for_one_mapped_host_about_another_{name}",
                config=config,
                sent=from4(src=ROUTER4, dst=EAM4) / UNREACHABLE4 / quoted4(OTHER_EAM4),
                expect=seen6(src=ROUTER4_IN6, dst=EAM6) / UNREACHABLE6 / quoted6(OTHER_EAM6),
            ),
            Case(
                f"for_a_mapped_host_about_nobody_{name}",
                config=config,
                sent=from4(src=ROUTER4, dst=EAM4) / UNREACHABLE4 / quoted4(NOBODY),
                expect=seen6(src=ROUTER4_IN6, dst=EAM6) / UNREACHABLE6 / quoted6(in6(NOBODY)),
            ),
            Case(
                f"to_one_server_about_another_{name}",
                config=config,
                sent=from6(src=EAM6, dst=OTHER4_IN6) / UNREACHABLE6 / at_eam6() / UDP(**ASK),
                expect=as_eam4(dst=OTHER4) / UNREACHABLE4 / to_eam4(ttl=63, id=0) / UDP(**ASK),
            ),
            Case(
                f"about_a_hairpinned_packet_for_the_other_mapped_host_{name}",
                config=config,
                sent=from6(src=ROUTER6, dst=EAM_IN6) / UNREACHABLE6 / seen6(src=OTHER_EAM_IN6, dst=EAM6) / UDP(**ASK),
                expect=seen6(src=router, dst=EAM6) / UNREACHABLE6 / seen6(src=OTHER_EAM6, dst=EAM_IN6) / UDP(**ASK),
                verdict=HAIRPINNED,
            ),
        )
    ),
    Case(
        "without_rows_about_a_private_address_of_the_senders_choice",
        config=SIIT | {"pool6": f"{OPERATORS}/96"},
        sent=from4(src=ROUTER4, dst=TRANSLATABLE4) / UNREACHABLE4 / quoted4("10.1.2.3"),
        expect=seen6(src=in6(ROUTER4, OPERATORS), dst=in6(TRANSLATABLE4, OPERATORS))
        / UNREACHABLE6
        / quoted6(in6("10.1.2.3", OPERATORS), in6(HOST4, OPERATORS)),
    ),
    Case(
        "without_rows_from_ipv6",
        config=SIIT,
        sent=from6(src=TRANSLATABLE6, dst=OTHER4_IN6) / UNREACHABLE6 / seen6(dst=TRANSLATABLE6) / UDP(**ASK),
        expect=seen4(src=TRANSLATABLE4, dst=OTHER4)
        / UNREACHABLE4
        / from4(dst=TRANSLATABLE4, ttl=63, id=0)
        / UDP(**ASK),
    ),
    Case(
        "rfc6052_3_1_about_a_private_address_under_the_well_known_prefix",
        config=ALONE,
        sent=from4(src=ROUTER4, dst=EAM4) / UNREACHABLE4 / quoted4("10.1.2.3"),
        verdict=Verdict.NON_GLOBAL_ADDRESS,
    ),
    Case(
        "without_a_prefix_nothing_is_known_of_it",
        config=ALONE | {"pool6": None, "eam": [*ALONE["eam"], {"ipv4": HOST4, "ipv6": "2001:db8:c::7"}]},
        sent=from4(src=ROUTER4, dst=EAM4) / UNREACHABLE4 / quoted4(NOBODY),
        verdict=Verdict.NO_MAPPING,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rfc7915_4_1_outer_and_inner_addresses_are_translated_each_on_its_own(case: Case) -> None:
    case.check()


SESSION = Step(from6() / UDP(**FROM_HOST6))
ABOUT_IT4, ABOUT_IT6 = seen4() / UDP(**FROM_MAPPED), seen6() / UDP(**TO_HOST6)
FOREIGN: list[tuple[str, Any, Any]] = [
    ("to_another_pool_address", {}, from4(src=ROUTER4, dst="192.0.2.2") / UNREACHABLE4 / ABOUT_IT4),
    ("to_a_mapped_host", BESIDE, from4(src=ROUTER4, dst=EAM4) / UNREACHABLE4 / ABOUT_IT4),
    ("to_a_pool_address_about_a_mapped_host", BESIDE, from4(src=ROUTER4) / UNREACHABLE4 / quoted4(EAM4)),
    ("to_a_pool_address_about_nobody", BESIDE, from4(src=ROUTER4) / UNREACHABLE4 / quoted4(NOBODY)),
    ("to_another_server", {}, from6(dst=OTHER4_IN6) / UNREACHABLE6 / ABOUT_IT6),
    ("hairpinned", {}, from6(src=ROUTER6, dst=MAPPED4_IN6) / UNREACHABLE6 / seen6(src=in6("192.0.2.2")) / UDP(**ASK)),
]


@pytest.mark.parametrize(("config", "error"), [case[1:] for case in FOREIGN], ids=[case[0] for case in FOREIGN])
def test_rfc6146_3_6_an_error_that_is_not_sent_to_the_end_of_the_session_belongs_to_none(
    config: dict[str, Any], error: Packet
) -> None:
    nat64 = Nat64(**config)
    nat64.check(SESSION)
    nat64.check(Step(error, verdict=Verdict.NO_SESSION))
    right = from4(src=ROUTER4) / UNREACHABLE4 / ABOUT_IT4
    nat64.check(Step(right, seen6(src=ROUTER4_IN6) / UNREACHABLE6 / sent6() / UDP(**FROM_HOST6)))
    right = from6() / UNREACHABLE6 / ABOUT_IT6
    expect = seen4() / UNREACHABLE4 / from4(ttl=63, id=0) / UDP(**TO_MAPPED)
    nat64.check(Step(right, expect))


def test_rfc7915_4_1_a_mapped_host_may_be_the_router_of_one_with_sessions():
    nat64 = Nat64(**BESIDE)
    nat64.check(SESSION)
    error = from6(src=EAM6) / UNREACHABLE6 / ABOUT_IT6
    nat64.check(Step(error, seen4(src=EAM4) / UNREACHABLE4 / from4(ttl=63, id=0) / UDP(**TO_MAPPED)))


def test_rfc7757_3_3_1_an_error_to_an_address_without_a_row_is_dropped_whatever_it_quotes():
    rows = [*ALONE["eam"], {"ipv4": f"{HOST4}/32", "ipv6": f"{OPERATORS}1/128"}]
    nat64 = Nat64(**ALONE | {"pool6": None, "eam": rows})
    known = from4(src=HOST4, dst=EAM4) / UNREACHABLE4 / quoted4(EAM4)
    assert nat64.send(bytes(known)).verdict == Verdict.TRANSLATED
    foreign = from4(src=HOST4, dst=NOBODY) / UNREACHABLE4 / quoted4(EAM4)
    nat64.check(Step(foreign, verdict=Verdict.NO_MAPPING))
