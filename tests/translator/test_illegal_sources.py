"""IPv6 sources that stand for an IPv4 address nobody may have: as the source of an IPv4 packet it would be forged."""

import pytest
from scapy.layers.inet import UDP

from tests.case import Nat64, Step
from tests.mapped import ALONE, ASK, BESIDE, SIIT, as_eam4, at_eam6, of_eam6, to_eam4
from tests.packets import (
    FROM_HOST6,
    HOST4,
    HOST4_IN6,
    HOST6,
    MAPPED4_IN6,
    MAPPED4_PORT,
    NEIGHBOUR6,
    OTHER4_IN6,
    ROUTER4,
    ROUTER4_IN6,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    answer6,
    from6,
    in6,
    seen4,
    seen6,
    sent4,
    whole,
)
from translator.verdict import Verdict

OPERATORS = "2001:db8:6052::"
OURS = SIIT | {"pool6": f"{OPERATORS}/96"}
NOBODYS = ("0.0.0.0", "0.1.2.3", "127.0.0.1", "169.254.1.1", "224.0.0.1", "240.0.0.1", "255.255.255.255")
ABOUT = Icmp(type=3) / seen6() / UDP(**TO_HOST6)
ABOUT_MAPPED = Icmp(type=3) / at_eam6() / UDP(**ASK)


@pytest.mark.parametrize("source", [ROUTER4_IN6, OTHER4_IN6, in6("127.0.0.1")])
def test_rfc6146_3_5_an_error_whose_source_is_in_pool6_is_silently_discarded(nat64, source):
    nat64.check(Step(from6() / UDP(**FROM_HOST6)))
    nat64.check(Step(from6(src=source) / ABOUT, verdict=Verdict.SOURCE_IN_POOL6))
    nat64.check(Step(from6(src=HOST6) / ABOUT, seen4() / Icmp(type=11) / sent4() / UDP(**TO_MAPPED)))
    (there,) = nat64.send(from6(src=NEIGHBOUR6, dst=MAPPED4_IN6) / UDP(sport=7, dport=MAPPED4_PORT)).packets
    error = from6(src=source, dst=whole(there).src) / Icmp(type=1) / there  # about what a neighbour has sent
    nat64.check(Step(error, verdict=Verdict.SOURCE_IN_POOL6))


@pytest.mark.parametrize("config", [ALONE, BESIDE], ids=["alone", "beside sessions"])
def test_rfc7915_6_a_router_near_a_mapped_host_may_have_a_translatable_address(config):
    nat64 = Nat64(**config)
    expect = as_eam4(src=ROUTER4) / Icmp(type=11) / to_eam4(ttl=63, id=0) / UDP(**ASK)
    nat64.check(Step(of_eam6(src=ROUTER4_IN6) / ABOUT_MAPPED, expect))


@pytest.mark.parametrize("source", NOBODYS)
def test_rfc1812_5_3_7_no_packet_gets_a_source_that_nobody_has(source):
    nat64 = Nat64(**OURS)
    sent = from6(src=in6(source, OPERATORS), dst=in6(HOST4, OPERATORS)) / UDP(**ASK)
    nat64.check(Step(sent, verdict=Verdict.NOT_UNICAST, answer=answer6(sent, 1, 1)))
    sent = from6(src=in6(source), dst=HOST4_IN6) / UDP(**ASK)
    nat64.check(Step(sent, verdict=Verdict.NO_MAPPING, answer=answer6(sent, 1, 1)))
    row = {"eam": [{"ipv4": "0.0.0.0/0", "ipv6": "2001:db8:e::/96"}], "pool6": None}
    sent = from6(src=in6(source, "2001:db8:e::"), dst=in6(HOST4, "2001:db8:e::")) / UDP(**ASK)
    Nat64(**SIIT | row).check(Step(sent, verdict=Verdict.NOT_UNICAST, answer=answer6(sent, 1, 1)))


@pytest.mark.parametrize("config", [ALONE, BESIDE], ids=["alone", "beside sessions"])
@pytest.mark.parametrize("source", NOBODYS)
def test_rfc1812_5_3_7_no_error_gets_a_source_that_nobody_has(source, config):
    nat64 = Nat64(**config)
    nat64.check(Step(of_eam6(src=in6(source)) / ABOUT_MAPPED, verdict=Verdict.NOT_UNICAST))


@pytest.mark.parametrize("source", ["10.0.0.1", "192.168.1.1", "100.64.0.1"])
def test_rfc6052_3_1_no_private_address_under_the_well_known_prefix_is_the_source_of_anything(source):
    nat64 = Nat64(**ALONE)
    sent = from6(src=in6(source)) / UDP(**ASK)
    nat64.check(Step(sent, verdict=Verdict.NON_GLOBAL_ADDRESS, answer=answer6(sent, 1, 1)))
    nat64.check(Step(of_eam6(src=in6(source)) / ABOUT_MAPPED, verdict=Verdict.NON_GLOBAL_ADDRESS))
    free = Nat64(**ALONE, strict_well_known_prefix=False)
    expect = as_eam4(src=source) / Icmp(type=11) / to_eam4(ttl=63, id=0) / UDP(**ASK)
    free.check(Step(of_eam6(src=in6(source)) / ABOUT_MAPPED, expect))
