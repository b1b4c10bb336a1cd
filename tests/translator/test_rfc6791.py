"""RFC 6791: whom IPv4 hosts see behind the errors of IPv6 routers that have no address there."""

import pytest
from scapy.layers.inet import UDP
from scapy.packet import Raw

from tests.case import Nat64, Step
from tests.mapped import (
    ALONE,
    ASK,
    BESIDE,
    EAM4,
    EAM6,
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
    ROUTER4,
    ROUTER4_IN6,
    ROUTER6,
    Icmp,
    answer4,
    answer6,
    from6,
    in6,
    seen4,
    sent4,
    sent6,
    whole,
)


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
