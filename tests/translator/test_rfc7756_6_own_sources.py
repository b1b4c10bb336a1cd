"""RFC 7756 section 6: what comes by IPv6 and would reach an IPv4 program from an address of its own or a neighbour."""

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrFragment

from tests.case import Nat64, Step
from tests.packets import HOST4_IN6, Icmp, from6, in6, payload, ping6, seen4
from tests.translator.test_rfc6877_464xlat import (
    ASK,
    EDGE,
    LAN,
    NO_SESSIONS,
    NODE6,
    OTHER4,
    OTHER_EAM,
    OTHER_NODE6,
    SERVICE4,
)
from translator.verdict import Verdict

PREFIX = "2001:db8:46::"  # of the border relay
TWO = {"ipv4": "203.0.113.80/31", "ipv6": "2001:db8:dc::80/127", "plat": f"{PREFIX}/96"}
CLAIMS = {
    "another_host": (LAN, "2001:db8:4::8", "2001:db8:4::9"),
    "the_program_under_the_prefix": (EDGE, in6(SERVICE4, PREFIX), NODE6),
    "another_one_under_the_prefix": ({"pool6": None, "clat": TWO, **NO_SESSIONS}, in6(OTHER4, PREFIX), NODE6),
    "the_program_beside_rows_of_others": (EDGE | {"eam": [OTHER_EAM]}, in6(SERVICE4, PREFIX), NODE6),
}
BODIES = {
    "udp": UDP(**ASK) / b"x",
    "tcp": TCP(**ASK, flags="S"),
    "ping": ping6(True, b"x", id=7),
    "esp": IPv6ExtHdrDestOpt(nh=50) / payload(16),
    "fragment": IPv6ExtHdrFragment(nh=17, offset=100) / payload(16),
}


@pytest.mark.parametrize("name", CLAIMS)
@pytest.mark.parametrize("body", BODIES)
def test_rfc7756_6_nothing_comes_from_a_host_of_the_clat(name, body):
    config, source, to = CLAIMS[name]
    Nat64(**config).check(Step(from6(src=source, dst=to, hlim=1) / BODIES[body], verdict=Verdict.FORGED_SOURCE))


@pytest.mark.parametrize("name", CLAIMS)
def test_rfc7756_6_nor_does_an_error(name):
    config, source, to = CLAIMS[name]
    about = from6(src=to, dst=HOST4_IN6) / UDP(**ASK)
    Nat64(**config).check(Step(from6(src=source, dst=to) / Icmp(type=1) / about, verdict=Verdict.FORGED_SOURCE))


@pytest.mark.parametrize("source", [OTHER_NODE6, in6(OTHER4, PREFIX)], ids=["by_its_row", "under_the_prefix"])
def test_rfc7756_5_2_a_host_of_another_relay_is_heard(source):
    nat64 = Nat64(**EDGE, eam=[OTHER_EAM])
    nat64.check(Step(from6(src=source, dst=NODE6) / UDP(**ASK), seen4(src=OTHER4, dst=SERVICE4) / UDP(**ASK)))
