"""RFC 6791: whom IPv4 hosts see behind the errors of IPv6 routers that have no address there; and the other way."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from scapy.layers.inet import UDP
from scapy.packet import Raw

from tests.case import Nat64, Step
from tests.kinds import MAPPED_BY
from tests.mapped import (
    ALONE,
    ASK,
    BESIDE,
    EAM,
    EAM4,
    EAM6,
    NO_SESSIONS,
    OTHER_EAM4,
    OTHER_EAM6,
    ROUTERS_HAVE,
    as_eam4,
    at_eam6,
    of_eam6,
    to_eam4,
)
from tests.packets import (
    HOST4,
    OUR6,
    POOL6,
    ROUTER4,
    ROUTER4_IN6,
    ROUTER6,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    answer4,
    answer6,
    from4,
    from6,
    in6,
    seen4,
    seen6,
    sent4,
    sent6,
    whole,
)
from translator.verdict import Verdict


def seen_source(nat64: Nat64, router6: str) -> str:
    """From whom HOST4 gets the error of an IPv6 router about a packet to the mapped host."""
    sent = from6(src=router6) / Icmp(type=3) / at_eam6() / UDP(**ASK) / b"x"
    (got,) = nat64.send(sent).packets
    source: str = whole(got).src
    assert got == bytes(seen4(src=source) / Icmp(type=11) / sent4(dst=EAM4) / UDP(**ASK) / b"x")
    return source


@pytest.mark.parametrize("of_path", ["2001:db8:9::{}", "2001:db8:{}::1"], ids=["of_one_network", "of_many"])
@pytest.mark.parametrize("config", [BESIDE, ALONE], ids=["beside_sessions", "alone"])
def test_rfc6791_5_routers_get_different_addresses_of_the_pool_and_keep_them(config, of_path):
    nat64 = Nat64(**config, translation={"rfc6791_ipv4": [ROUTERS_HAVE]})
    routers = [of_path.format(number) for number in range(1, 9)]
    sources = [seen_source(nat64, router) for router in routers]
    assert all(source.startswith("203.0.113.") and int(source.split(".")[3]) >= 128 for source in sources)
    assert len(set(sources)) > len(routers) // 2
    assert [seen_source(nat64, router) for router in routers] == sources


def test_rfc6791_3_2_a_single_address():
    nat64 = Nat64(**ALONE, translation={"rfc6791_ipv4": [f"{ROUTER4}/32"]})
    assert {seen_source(nat64, ROUTER6), seen_source(nat64, "2001:db8:9::2")} == {ROUTER4}


def test_rfc6791_3_2_of_a_router_on_the_way_to_a_host_with_sessions_too():
    nat64 = Nat64(translation={"rfc6791_ipv4": [f"{ROUTER4}/32"]})
    error = from6(src=ROUTER6) / Icmp(type=3) / seen6() / UDP(**TO_HOST6)
    nat64.check(Step(error, seen4(src=ROUTER4) / Icmp(type=11) / sent4() / UDP(**TO_MAPPED)))


def test_rfc6791_3_the_pool_is_for_those_without_an_address_only():
    nat64 = Nat64(**ALONE, translation={"rfc6791_ipv4": [ROUTERS_HAVE]})
    assert seen_source(nat64, OTHER_EAM6) == OTHER_EAM4
    assert seen_source(nat64, ROUTER4_IN6) == ROUTER4
    assert seen_source(nat64, EAM6) == EAM4


# The other direction: who HOST6's side sees behind the errors of IPv4 routers whose address may not be written in IPv6.
HIDDEN = ("10.1.2.3", "127.0.0.1", "0.0.0.0", "255.255.255.255", "192.168.255.254")


@pytest.mark.parametrize(
    ("sources", "seen"),
    [
        ("2001:db8:6791::/64", lambda router: IPv6Address("2001:db8:6791::") + int(IPv4Address(router))),
        ("2001:db8:ffff::/96", lambda router: IPv6Address("2001:db8:ffff::") + int(IPv4Address(router))),
        ("2001:db8:6791::ff00/120", lambda router: IPv6Address("2001:db8:6791::ff00") + IPv4Address(router).packed[3]),
        ("2001:db8:6791::1", lambda router: IPv6Address("2001:db8:6791::1")),
        (None, lambda router: IPv6Address(OUR6)),
    ],
    ids=str,
)
@pytest.mark.parametrize("router", HIDDEN)
def test_rfc6791_into_ipv6_a_hidden_router_shows_its_address_in_a_prefix_of_the_operator(router, sources, seen):
    nat64 = Nat64(**BESIDE, translation={"rfc6791_ipv6": sources})
    sent = to_eam4(src=router) / Icmp(type=11) / as_eam4() / UDP(**ASK)
    nat64.check(Step(sent, at_eam6(src=str(seen(router))) / Icmp(type=3) / sent6(src=EAM6) / UDP(**ASK)))


@pytest.mark.parametrize("way", ["alone", "beside_sessions", "by_the_prefix"])
@pytest.mark.parametrize("router", HIDDEN)
def test_rfc6052_3_1_a_hidden_router_has_our_address_however_a_host_is_mapped(router, way):
    config, came4, left6, came6, left4 = MAPPED_BY[way]
    sent = came4(src=router) / Icmp(type=11) / left4() / UDP(**ASK)
    Nat64(**config).check(Step(sent, left6(src=OUR6) / Icmp(type=3) / came6(hlim=63) / UDP(**ASK)))


@pytest.mark.parametrize("way", MAPPED_BY)
def test_rfc7915_6_a_router_whose_address_has_a_counterpart_has_that(way):
    """... whatever its error quotes; behind a CLAT no IPv4 router has one."""
    config, came4, left6, came6, left4 = MAPPED_BY[way]
    nat64 = Nat64(**config)
    sent = came6(src=ROUTER4_IN6) / Icmp(type=3) / left6() / UDP(**ASK)
    seen = Icmp(type=11) / came4(ttl=63, id=0) / UDP(**ASK)
    nat64.check(Step(sent, left4(src=ROUTER4) / seen))
    pooled, sent = Nat64(**config, translation={"rfc6791_ipv4": ["203.0.113.99/32"]}), sent.copy()
    pooled.check(Step(sent, left4(src=ROUTER4) / seen))
    sent.src = ROUTER6
    pooled.check(Step(sent, left4(src="203.0.113.99") / seen))
    if way != "of_a_clat":
        sent = came4(src=ROUTER4) / Icmp(type=11) / left4() / UDP(**ASK)
        nat64.check(Step(sent, left6(src=ROUTER4_IN6) / Icmp(type=3) / came6(hlim=63) / UDP(**ASK)))


@pytest.mark.parametrize("way", MAPPED_BY)
def test_rfc6052_3_1_no_ipv6_router_stands_for_a_non_global_address(way):
    config, _, left6, came6, _ = MAPPED_BY[way]
    sent = came6(src=in6("10.1.2.3")) / Icmp(type=3) / left6() / UDP(**ASK)
    Nat64(**config).check(Step(sent, verdict=Verdict.NON_GLOBAL_ADDRESS))


def test_rfc6791_into_ipv6_the_prefix_is_for_those_without_an_address_only():
    nat64 = Nat64(**BESIDE, translation={"rfc6791_ipv6": "2001:db8:6791::/64"})
    for router, seen in ((ROUTER4, ROUTER4_IN6), (OTHER_EAM4, OTHER_EAM6), (HOST4, in6(HOST4))):
        sent = to_eam4(src=router) / Icmp(type=11) / as_eam4() / UDP(**ASK)
        nat64.check(Step(sent, at_eam6(src=seen) / Icmp(type=3) / sent6(src=EAM6) / UDP(**ASK)))


def test_rfc6791_into_ipv6_without_pool6_every_router_is_one_without_an_address():
    every = {"ipv4": "198.51.100.0/28", "ipv6": "2001:db8:a::/124"}
    nat64 = Nat64(**ALONE | {"eam": [*EAM, every], "pool6": None}, translation={"rfc6791_ipv6": "2001:db8:6791::/64"})
    quoted4 = as_eam4(dst="198.51.100.7") / UDP(**ASK)
    quoted6 = sent6(src=EAM6, dst="2001:db8:a::7") / UDP(**ASK)
    expect = at_eam6(src="2001:db8:6791::cb00:7109") / Icmp(type=3) / quoted6
    nat64.check(Step(to_eam4(src=ROUTER4) / Icmp(type=11) / quoted4, expect))


@pytest.mark.parametrize("router", [ROUTER4, "10.0.0.1", "127.0.0.1"])
def test_rfc6791_into_ipv6_behind_a_clat_every_router_is_one_without_an_address(router):
    clat = {"ipv4": "192.168.7.0/24", "ipv6": "2001:db8:4::/120", "plat": POOL6}
    nat64 = Nat64(pool6=None, clat=clat, **NO_SESSIONS, translation={"rfc6791_ipv6": "2001:db8:6791::/64"})
    expect = seen6(src=f"2001:db8:6791::{router}", dst=in6(HOST4)) / Icmp(type=3)
    sent = from4(src=router, dst=HOST4) / Icmp(type=11) / from4(src=HOST4, dst="192.168.7.9") / UDP(**ASK)
    nat64.check(Step(sent, expect / from6(src=in6(HOST4), dst="2001:db8:4::9") / UDP(**ASK)))


def test_our_own_errors_come_from_us_not_from_rfc6791():
    nat64 = Nat64(**BESIDE, translation={"rfc6791_ipv6": "2001:db8:6791::/64", "rfc6791_ipv4": [ROUTERS_HAVE]})
    late6, late4 = of_eam6(hlim=1) / UDP(**ASK), to_eam4(ttl=1) / UDP(**ASK)
    assert nat64.send(late6).answer == bytes(answer6(late6, 3, 0))
    assert nat64.send(late4).answer == bytes(answer4(late4, 11, 0))


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
