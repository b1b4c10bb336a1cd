"""RFC 7757 section 4.2: two mapped hosts meet, where the network brings the packet back ("simple", "off").

"intrinsic", the default, is in test_rfc7757_hairpin.py.
"""

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.packet import Packet, Raw

from tests.case import Case, Nat64, Step
from tests.mapped import (
    ALONE,
    ASK,
    BESIDE,
    BIG,
    EAM4,
    EAM6,
    EAM_IN6,
    FRAGMENT,
    HAIRPINNED,
    NO_SESSIONS,
    OTHER_EAM4,
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
    HOST4_IN6,
    HOST6_PORT,
    MAPPED4_IN6,
    MAPPED4_PORT,
    ROUTER4,
    ROUTER4_IN6,
    Icmp,
    fragment_of,
    from4,
    from6,
    ping4,
    ping6,
    seen4,
    seen6,
    sent4,
    sent6,
    whole,
)

SIMPLE, OFF = ({"translation": {"eam_hairpin": mode}} for mode in ("simple", "off"))
THIRD4, THIRD6 = "198.51.100.66", "2001:db8:e::42"
UDP_ASK = UDP(**ASK) / b"x"
BY_BOTH = pytest.mark.parametrize("config", [BESIDE, ALONE], ids=["beside_sessions", "alone"])


def to_other(**fields: object) -> Packet:
    """The mapped host to the other one, as the network brings it back."""
    return from4(src=EAM4, dst=OTHER_EAM4, **fields)


def at_other(**fields: object) -> Packet:
    """to_other() as it arrives with its source under pool6."""
    return seen6(src=EAM_IN6, dst=OTHER_EAM6, **fields)


def error(type_: int, code: int, quoted: Packet, message: Packet = UDP_ASK) -> Packet:
    return Icmp(type=type_, code=code) / quoted / message


LEAVES = [
    Case(
        "a_packet_to_a_mapped_host_leaves_as_ipv4",
        sent=of_eam6(dst=OTHER_EAM_IN6) / UDP(**ASK) / b"x",
        expect=as_eam4(dst=OTHER_EAM4) / UDP(**ASK) / b"x",
    ),
    Case(
        "an_error_too",
        sent=from6(src=OTHER_EAM6, dst=EAM_IN6) / error(1, 4, at_other()),
        expect=seen4(src=OTHER_EAM4, dst=EAM4) / error(3, 3, sent4(src=EAM4, dst=OTHER_EAM4)),
    ),
]


@pytest.mark.parametrize("case", LEAVES, ids=str)
@pytest.mark.parametrize("mode", [SIMPLE, OFF], ids=["simple", "off"])
@BY_BOTH
def test_rfc7757_4_2_without_intrinsic_hairpinning(case, mode, config):
    nat64 = Nat64(**config, **mode)
    case.check(nat64)
    assert opened(nat64) == (0, 0)


FROM_IPV4 = [
    Case("no_row_for_the_source", sent=to_other() / UDP(**ASK) / b"x", expect=at_other() / UDP(**ASK) / b"x"),
    Case(
        "no_row_for_the_source_of_tcp",
        sent=to_other() / TCP(**ASK, flags="S"),
        expect=at_other() / TCP(**ASK, flags="S"),
    ),
    Case(
        "no_row_for_the_source_of_another_protocol",
        sent=to_other(proto=50) / Raw(BIG[:16]),
        expect=at_other(nh=50) / Raw(BIG[:16]),
    ),
    Case(
        "no_row_for_the_source_of_an_echo",
        sent=to_other() / ping4(True, b"x", id=7),
        expect=at_other() / ping6(True, b"x", id=7),
    ),
    Case(
        "no_row_for_the_source_of_an_echo_reply",
        sent=to_other() / ping4(False, id=7),
        expect=at_other() / ping6(False, id=7),
    ),
    Case(
        "no_row_for_the_source_of_a_first_fragment",
        sent=fragment_of(to_other() / UDP(**ASK) / BIG, 0, 400, FRAGMENT),
        expect=fragment_of(at_other() / UDP(**ASK) / BIG, 0, 400, FRAGMENT),
    ),
    Case(
        "no_row_for_the_source_of_a_later_fragment",
        sent=fragment_of(to_other() / UDP(**ASK) / BIG, 1200, 400, FRAGMENT),
        expect=fragment_of(at_other() / UDP(**ASK) / BIG, 1200, 400, FRAGMENT),
    ),
    Case(
        "no_row_for_the_quoted_destination_nor_for_the_source_that_equals_it",
        sent=from4(src=OTHER_EAM4, dst=EAM4) / error(3, 3, as_eam4(dst=OTHER_EAM4)),
        expect=at_eam6(src=OTHER_EAM_IN6) / error(1, 4, sent6(src=EAM6, dst=OTHER_EAM_IN6)),
    ),
    Case(
        "no_row_for_the_quoted_destination_but_for_a_source_that_differs_from_it",
        sent=from4(src=THIRD4, dst=EAM4) / error(11, 0, as_eam4(dst=OTHER_EAM4)),
        expect=at_eam6(src=THIRD6) / error(3, 0, sent6(src=EAM6, dst=OTHER_EAM_IN6)),
    ),
    *(
        Case(
            f"no_row_for_the_quoted_destination_of_{name}",
            sent=from4(src=OTHER_EAM4, dst=EAM4) / error(3, 1, as_eam4(dst=OTHER_EAM4, **header4), message4),
            expect=at_eam6(src=OTHER_EAM_IN6) / error(1, 0, sent6(src=EAM6, dst=OTHER_EAM_IN6, **header6), message6),
        )
        for name, header4, message4, header6, message6 in (
            ("tcp", {}, TCP(**ASK, flags="S"), {}, TCP(**ASK, flags="S")),
            ("an_echo", {}, ping4(True, b"x", id=7), {}, ping6(True, b"x", id=7)),
            ("another_protocol", {"proto": 50}, Raw(BIG[:16]), {"nh": 50}, Raw(BIG[:16])),
        )
    ),
    *(
        Case(
            f"no_row_for_the_destination_of_a_quoted_fragment_at_{at}",
            sent=from4(src=OTHER_EAM4, dst=EAM4)
            / Icmp(type=3, code=1)
            / fragment_of(as_eam4(dst=OTHER_EAM4) / UDP(**ASK) / BIG, at, 400, FRAGMENT),
            expect=at_eam6(src=OTHER_EAM_IN6)
            / Icmp(type=1)
            / fragment_of(sent6(src=EAM6, dst=OTHER_EAM_IN6) / UDP(**ASK) / BIG, at, 400, FRAGMENT),
        )
        for at in (0, 400)
    ),
    Case(
        "an_unmapped_router_is_under_the_prefix_as_ever",
        sent=from4(src=ROUTER4, dst=EAM4) / error(11, 0, as_eam4(dst=OTHER_EAM4)),
        expect=at_eam6(src=ROUTER4_IN6) / error(3, 0, sent6(src=EAM6, dst=OTHER_EAM_IN6)),
    ),
    Case("an_unmapped_source_too", sent=to_eam4() / UDP(**ASK), expect=at_eam6(src=HOST4_IN6) / UDP(**ASK)),
]


@pytest.mark.parametrize("case", FROM_IPV4, ids=str)
@BY_BOTH
def test_rfc7757_4_2_1_simple(case, config):
    nat64 = Nat64(**config, **SIMPLE)
    case.check(nat64)
    assert opened(nat64) == (0, 0)


@BY_BOTH
def test_rfc7757_4_2_1_a_call_and_its_answer_by_way_of_the_network(config):
    nat64 = Nat64(**config, **SIMPLE)
    ways = [(EAM6, OTHER_EAM_IN6, EAM_IN6, OTHER_EAM6, ASK), (OTHER_EAM6, EAM_IN6, OTHER_EAM_IN6, EAM6, REPLY)]
    for src, dst, seen_src, seen_dst, ports in ways:
        (out,) = nat64.send(from6(src=src, dst=dst) / TCP(**ports, flags="SA")).packets
        (back,) = nat64.send(out).packets
        once_more = seen6(src=seen_src, dst=seen_dst) / TCP(**ports, flags="SA")
        once_more.hlim -= 1
        assert bytes(whole(back)) == bytes(once_more)


@BY_BOTH
def test_rfc7757_4_2_off_a_packet_that_is_brought_back_has_its_source_by_its_row(config):
    Case("off", sent=to_other() / UDP(**ASK), expect=seen6(src=EAM6, dst=OTHER_EAM6) / UDP(**ASK)).check(
        Nat64(**config, **OFF)
    )


@pytest.mark.parametrize("mode", [SIMPLE, OFF], ids=["simple", "off"])
def test_rfc6146_3_8_hosts_with_sessions_are_hairpinned_whatever_the_mode(mode):
    ports = {"sport": 4000, "dport": MAPPED4_PORT}
    expect = seen6(src=EAM_IN6) / UDP(sport=4000, dport=HOST6_PORT) / b"x"
    Nat64(**BESIDE, **mode).check(Step(of_eam6(dst=MAPPED4_IN6) / UDP(**ports) / b"x", expect, HAIRPINNED))


def test_rfc7757_4_2_off_needs_no_pool6():
    world = [{"ipv4": "0.0.0.0/0", "ipv6": "2001:db8:ff::/96"}]
    nat64 = Nat64(pool6=None, eam=[*BESIDE["eam"], *world], tun={"ipv4": None}, **NO_SESSIONS, **OFF)
    nat64.check(Step(to_other() / UDP(**ASK), seen6(src=EAM6, dst=OTHER_EAM6) / UDP(**ASK)))
