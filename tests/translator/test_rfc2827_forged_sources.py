"""RFC 2827: packets that are not from where they say: from an IPv4 address of ours, which only our own IPv6 hosts have,
or from their own destination (LAND). Answered by an echo server at each end they would go round through the hairpin."""

from typing import Any

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.packet import Packet, Raw

from tests.case import Nat64, Step
from tests.mapped import ALONE, ASK, BESIDE, EAM4, EAM6, EAM_IN6, OTHER_EAM4, OTHER_EAM6, SIIT, TRANSLATABLE6, to_eam4
from tests.packets import (
    CONFIG,
    FROM_HOST6,
    FROM_MAPPED,
    HOST4,
    HOST4_IN6,
    HOST6,
    HOST6_PORT,
    MAPPED4,
    MAPPED4_IN6,
    MAPPED4_PORT,
    NEIGHBOUR6,
    OUR4,
    ROUTER4,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    fragment_of,
    from4,
    from6,
    payload,
    ping4,
    ping6,
    seen4,
    seen6,
    with_options,
)
from tests.translator.test_rfc6877_464xlat import LAN
from translator.verdict import Verdict

ECHO, DOOR = 7, "203.0.113.77"  # DOOR is no address of pool4, only of a [[forward]]
NEIGHBOURS = {"protocol": "udp", "ipv4": f"{DOOR}:{ECHO}", "ipv6": f"[{NEIGHBOUR6}]:{ECHO}"}
TWO_DOORS: dict[str, Any] = {"forward": [*CONFIG["forward"], NEIGHBOURS]}
FORGED = Verdict.FORGED_SOURCE
MODES = {mode: {"translation": {"eam_hairpin": mode}} for mode in ("intrinsic", "simple", "off")}
ELSEWHERE = [mode for mode in MODES if mode != "intrinsic"]  # where the network brings packets back
of_mode = pytest.mark.parametrize("mode", MODES)


def from_door(**fields: Any) -> Packet:
    return from4(src=DOOR, **fields) / UDP(sport=ECHO, dport=MAPPED4_PORT) / b"x"


@of_mode
def test_rfc2827_3_no_packet_goes_round_between_two_echo_servers(mode: str) -> None:
    nat64 = Nat64(**TWO_DOORS, **MODES[mode])
    nat64.check(Step(from_door(), verdict=FORGED))
    assert nat64.events() == {"BIB_CREATED": 4}


@pytest.mark.parametrize("source", [MAPPED4, "192.0.2.0", "192.0.2.2", "192.0.2.3", DOOR])
def test_rfc2827_3_no_ipv4_packet_comes_from_an_address_of_ours(source: str) -> None:
    nat64 = Nat64(**TWO_DOORS)
    about = Icmp(type=3, code=3) / seen4() / UDP(**FROM_MAPPED)
    for body in (UDP(**TO_MAPPED), TCP(**TO_MAPPED, flags="S"), ping4(True), about):
        nat64.check(Step(from4(src=source) / body, verdict=FORGED))
    nat64.check(Step(from4(src=source, proto=47) / b"x", verdict=FORGED))
    for body in (UDP(**TO_MAPPED), TCP(**TO_MAPPED), ping4(True), about, Raw(b"x")):
        number = {"proto": 47} if isinstance(body, Raw) else {}
        whole = from4(src=source, **number) / body / payload(1400)
        for at in (0, 800):
            nat64.check(Step(fragment_of(whole, at, 600), verdict=FORGED))
    assert nat64.events() == {"BIB_CREATED": 4}


@pytest.mark.parametrize("source", [MAPPED4, DOOR])
def test_rfc2827_3_nobody_is_told_of_it(source: str) -> None:
    """An error would go to whom the source is forged of."""
    nat64 = Nat64(**TWO_DOORS)
    late = from4(src=source, ttl=1) / UDP(**TO_MAPPED)
    routed = with_options(from4(src=source) / UDP(**TO_MAPPED), b"\x83\x07\x04\xcb\x00\x71\x01")
    nowhere = from4(src=source, dst=HOST4) / UDP(**TO_MAPPED)
    for sent in (late, routed, nowhere):
        nat64.check(Step(sent, verdict=FORGED))


def test_rfc2827_3_the_addresses_around_them_pass() -> None:
    nat64 = Nat64(**TWO_DOORS)
    for source in ("192.0.1.255", "192.0.2.4", "203.0.113.76", "203.0.113.78", OUR4):
        nat64.check(Step(from4(src=source) / UDP(**TO_MAPPED)))
    for host6 in (f"2001:db8:1::{MAPPED4}", f"2001:db8:1::{DOOR}"):  # their own, though the last 32 bits are alike
        nat64.check(Step(from6(src=host6) / UDP(**FROM_HOST6)))


CONFIGS = {"stateful": {}, "siit": SIIT, "eam": ALONE, "beside": BESIDE, "clat": LAN}


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(
    ("body4", "body6"),
    [
        (UDP(sport=7, dport=7), UDP(sport=7, dport=7)),
        (TCP(sport=80, dport=80, flags="S"), TCP(sport=80, dport=80, flags="S")),
        (Icmp(type=8), Icmp(type=128)),
        (Icmp(type=3) / seen4() / UDP(**FROM_MAPPED), Icmp(type=1) / seen6() / UDP(**TO_HOST6)),
    ],
    ids=["udp", "tcp", "echo", "error"],
)
def test_rfc2827_3_land_a_packet_from_its_own_destination(config: str, body4: Packet, body6: Packet) -> None:
    nat64 = Nat64(**CONFIGS[config])
    for address in (HOST4, MAPPED4, EAM4, OTHER_EAM4):
        nat64.check(Step(from4(src=address, dst=address) / body4, verdict=FORGED))
    for address in (HOST4_IN6, MAPPED4_IN6, TRANSLATABLE6, EAM6, EAM_IN6, HOST6):
        nat64.check(Step(from6(src=address, dst=address, hlim=1) / body6, verdict=FORGED))
    assert "SESSION_CREATED" not in nat64.events()


@of_mode
def test_rfc2827_3_land_where_the_network_brings_back_what_a_mapped_host_sends_itself(mode: str) -> None:
    nat64 = Nat64(**BESIDE, **MODES[mode])
    for address in (HOST4, MAPPED4):
        nat64.check(Step(from4(src=address, dst=address) / UDP(**TO_MAPPED), verdict=FORGED))
    nat64.check(Step(from6(src=EAM_IN6, dst=EAM_IN6) / UDP(**ASK), verdict=FORGED))
    expect = {"expect": seen6(src=EAM_IN6, dst=EAM6) / UDP(**ASK)} if mode == "simple" else {"verdict": FORGED}
    nat64.check(Step(from4(src=EAM4, dst=EAM4) / UDP(**ASK), **expect))


def test_rfc6146_3_8_what_ipv6_hosts_send_one_another_still_turns_round() -> None:
    """Also a host that talks to itself: outside it is known by another address."""
    nat64 = Nat64(**TWO_DOORS)
    there = seen6(src=MAPPED4_IN6, dst=NEIGHBOUR6) / UDP(sport=MAPPED4_PORT, dport=ECHO) / b"x"
    sent = from6(dst="64:ff9b::" + DOOR) / UDP(sport=HOST6_PORT, dport=ECHO) / b"x"
    nat64.check(Step(sent, there, Verdict.HAIRPINNED))
    sent = from6(dst=MAPPED4_IN6) / UDP(sport=HOST6_PORT, dport=MAPPED4_PORT) / b"x"
    back = seen6(src=MAPPED4_IN6) / UDP(sport=MAPPED4_PORT, dport=HOST6_PORT) / b"x"
    nat64.check(Step(sent, back, Verdict.HAIRPINNED))


@pytest.mark.parametrize("mode", ELSEWHERE)
def test_rfc7757_4_2_1_the_network_brings_back_what_a_host_with_sessions_sends_to_a_mapped_one(mode: str) -> None:
    nat64 = Nat64(**BESIDE, **MODES[mode])
    for body, as_body in (
        (UDP(**FROM_HOST6) / b"x", UDP(**FROM_MAPPED) / b"x"),
        (TCP(**FROM_HOST6, flags="S"), TCP(**FROM_MAPPED, flags="S")),
        (ping6(True), Icmp(type=128, rest=MAPPED4_PORT << 16 | 1)),
    ):
        (out,) = nat64.send(from6(dst=EAM_IN6) / body).packets
        nat64.check(Step(out, seen6(src=MAPPED4_IN6, dst=EAM6, hlim=62) / as_body))
    about = from6(dst=EAM_IN6) / Icmp(type=1, code=4) / seen6(src=EAM_IN6) / UDP(sport=53, dport=HOST6_PORT)
    (out,) = nat64.send(about).packets
    assert nat64.send(out).verdict == Verdict.TRANSLATED


def test_rfc7757_4_2_2_intrinsic_hairpins_bring_nothing_back() -> None:
    nat64 = Nat64(**BESIDE)
    nat64.check(Step(from4(src=MAPPED4, dst=EAM4) / UDP(**FROM_MAPPED), verdict=FORGED))
    for body in (UDP(**TO_MAPPED), TCP(**TO_MAPPED, flags="S"), TCP(**TO_MAPPED, flags="A"), ping4(True), ping4(False)):
        nat64.check(Step(from4(src=EAM4) / body, verdict=FORGED))
    nat64.check(Step(fragment_of(from4(src=EAM4) / UDP(**TO_MAPPED) / payload(1400), 0, 800), verdict=FORGED))
    about = Icmp(type=3, code=3) / seen4(dst=EAM4) / UDP(**FROM_MAPPED)
    nat64.check(Step(from4(src=ROUTER4) / about, verdict=FORGED))
    assert nat64.events() == {"BIB_CREATED": 3}
    for sent in refused_and_told(src=EAM4):
        nat64.check(Step(sent, verdict=FORGED))
    late = from4(src=EAM4, ttl=1)
    error = late / Icmp(type=11) / seen4() / UDP(**FROM_MAPPED)
    for sent in (error, fragment_of(error, 0, 8), fragment_of(late / UDP(**TO_MAPPED) / bytes(24), 8, 16)):
        outcome = nat64.send(sent)
        assert (outcome.verdict, outcome.answer) == (Verdict.HOP_LIMIT_EXPIRED, None)
    every = [{"addresses": "192.0.2.0/30", "protocols": ["tcp", "udp", "icmp", "other"]}]
    Nat64(**BESIDE, pool4=every).check(Step(from4(src=EAM4, proto=47) / b"x", verdict=FORGED))


def refused_and_told(**fields: Any) -> list[Packet]:
    """Packets to a host with sessions that go nowhere, of which their senders are told; the last is to nobody."""
    late = from4(**fields, ttl=1)
    return [
        *(late / UDP(**TO_MAPPED), late / ping4(True), fragment_of(late / ping4(True) / bytes(24), 0, 8)),
        fragment_of(late / UDP(**TO_MAPPED, chksum=0) / bytes(24), 0, 16),
        with_options(from4(**fields, proto=47) / bytes(16), b"\x83\x07\x04\xcb\x00\x71\x01"),
        *(from4(**fields, proto=number) / bytes(16) for number in (47, 58)),
        from4(**fields, dst="169.254.1.1") / UDP(**TO_MAPPED),
    ]


@pytest.mark.parametrize("mode", ELSEWHERE)
def test_rfc7757_4_2_1_a_mapped_source_may_come_in(mode: str) -> None:
    nat64 = Nat64(**BESIDE, **MODES[mode])
    for sent in refused_and_told(src=EAM4):
        assert nat64.send(sent).answer is not None
    for body4, body6 in (
        (UDP(**TO_MAPPED), UDP(**TO_HOST6)),
        (TCP(**TO_MAPPED, flags="S"), TCP(**TO_HOST6, flags="S")),
        (ping4(True), ping6(True)),
    ):
        nat64.check(Step(from4(src=EAM4) / body4, seen6(src=EAM_IN6) / body6))


@pytest.mark.parametrize("config", [BESIDE, ALONE], ids=["beside sessions", "alone"])
def test_rfc7757_3_3_1_an_ipv4_host_may_have_a_mapping_of_its_own(config: dict[str, Any]) -> None:
    """Both addresses by their rows: the answer does not come by way of us."""
    nat64 = Nat64(**config)
    nat64.check(Step(to_eam4(src=OTHER_EAM4) / UDP(**ASK), seen6(src=OTHER_EAM6, dst=EAM6) / UDP(**ASK)))


def test_rfc7915_4_1_a_router_with_a_mapped_address_may_complain() -> None:
    nat64 = Nat64(**BESIDE)
    expect = seen6(src=EAM6) / Icmp(type=3) / from6(hlim=63) / UDP(**FROM_HOST6)
    nat64.check(Step(from4(src=EAM4) / Icmp(type=11) / seen4() / UDP(**FROM_MAPPED), expect))
