"""Small things that other translators do right, where no RFC's file has them already (tests/peers.md)."""

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import IPv6ExtHdrFragment
from scapy.packet import Raw

from tests.case import Nat64, Step
from tests.mapped import ALONE, as_eam4, at_eam6, of_eam6, to_eam4
from tests.packets import TO_HOST6, TO_MAPPED, answer4, answer6, from4, from6, payload, ping4, ping6, seen4, seen6
from translator.verdict import Verdict

HOP_BY_HOP, ICMP4, ROUTING, FRAGMENT, ICMP6, OPTIONS, ESP = 0, 1, 43, 44, 58, 60, 50


@pytest.mark.parametrize("protocol", [HOP_BY_HOP, ROUTING, FRAGMENT, ICMP6, OPTIONS])
def test_a_protocol_that_means_something_in_the_other_family_only_is_refused(protocol):
    nat64 = Nat64(**ALONE)
    sent = to_eam4(proto=protocol) / Raw(bytes([ESP, 0]) + bytes(62))
    nat64.check(Step(sent, verdict=Verdict.PROTOCOL, answer=answer4(sent, 3, 2)))
    if protocol == ICMP6:
        sent = of_eam6(nh=ICMP4) / Raw(payload(64))
        nat64.check(Step(sent, verdict=Verdict.PROTOCOL, answer=answer6(sent, 1, 4)))


def test_its_neighbours_pass():
    nat64 = Nat64(**ALONE)
    nat64.check(Step(to_eam4(proto=61) / payload(8), at_eam6(nh=61) / payload(8)))
    nat64.check(Step(of_eam6(nh=61) / payload(8), as_eam4(proto=61) / payload(8)))


@pytest.mark.parametrize("flags", [0, "DF"])
def test_the_identification_of_a_whole_packet_vanishes(nat64, flags):
    for kind, more in ((UDP, {}), (TCP, {"flags": "S"})):
        sent = from4(id=0xBEEF, flags=flags) / kind(**TO_MAPPED, **more) / b"x"
        nat64.check(Step(sent, seen6() / kind(**TO_HOST6, **more) / b"x"))


def test_an_echo_in_an_atomic_fragment_is_a_whole_packet(nat64):
    sent = from6() / IPv6ExtHdrFragment(id=0x10007) / ping6(True, b"x")
    nat64.check(Step(sent, seen4(id=7) / ping4(True, b"x")))
