"""RFC 8781 section 5: the prefix of a CLAT as routers announce it, before the resolver is asked."""

import asyncio
import logging
from ipaddress import IPv6Address, IPv6Network

import pytest
from pyroute2.netlink.exceptions import NetlinkError
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from nat64d.advertise import wire
from nat64d.advertise.listener import Offer
from nat64d.config.load import loads
from nat64d.gateway import announced
from nat64d.gateway.announced import BY_ROUTERS, HostSources, usable
from nat64d.gateway.clat_prefix import Addresses, Found, ask, discover, follow
from nat64d.gateway.state import Live
from nat64d.offline.engine import Engine
from tests.nat64d.hosts import fixtures
from tests.nat64d.netns import ip
from tests.nat64d.test_advertise_links import Neighbour, neighbour
from tests.nat64d.test_discovery import CLAT, OTHER, THIRD, WKP, Network, Notes, answer, embedded, find

__all__ = ["neighbour"]
namespace, server, _text, _config = fixtures()

LOG = logging.getLogger("test")
ROUTER = IPv6Address("fe80::2")


def by_routers(*prefixes: IPv6Network, ttl: int = 600) -> Found:
    return Found(prefixes, ttl, BY_ROUTERS)


def test_rfc8781_5_1_what_routers_announce_goes_before_what_the_resolver_says():
    network = Network(answer(OTHER))
    network.announcements = {0: by_routers(WKP)}
    assert asyncio.run(ask(network)) == by_routers(WKP)
    assert len(network.answers) == 1, "nobody was asked"


def test_rfc8781_5_1_without_announcements_the_resolver_is_asked():
    assert asyncio.run(ask(Network(answer(OTHER)))).prefixes == (OTHER,)


@pytest.mark.parametrize("prefixes", [(OTHER,), (OTHER, WKP), (WKP, OTHER)], ids=str)
def test_rfc8781_5_1_a_clat_sends_under_the_first_prefix_that_routers_announce(monkeypatch, prefixes):
    network = Network(answer(THIRD))
    network.announcements = {0: by_routers(*prefixes)}
    monkeypatch.setattr(announced, "HostSources", lambda _: network)
    live = Live(loads(CLAT))
    assert asyncio.run(asyncio.wait_for(find(live, Notes()), 20))
    sent = IP(src="192.0.0.1", dst="198.51.100.7") / UDP(sport=5000, dport=53)
    (packet,) = Engine(live.config).send(bytes(sent), 1).packets
    assert IPv6Address(IPv6(packet).dst) == embedded(prefixes[0], "198.51.100.7")[0]


@pytest.mark.parametrize("said", ["no answer", Addresses((), 86400)], ids=["silent", "negative"])
def test_an_announcement_ends_the_wait_for_a_resolver(said):
    network = Network(said, said, said)
    network.announcements = {5: by_routers(WKP)}
    assert asyncio.run(discover(network, network.said.append, network.sleep)) == by_routers(WKP)
    assert sum(network.waited) <= 15, "it looks every ten seconds"


class EnoughError(Exception):
    """The test has seen enough."""


def followed(network: Network, first: Found, count: int) -> list[tuple[IPv6Network, float]]:
    """The prefixes that are used after the first, and when."""
    used: list[tuple[IPv6Network, float]] = []

    async def use(prefix: IPv6Network) -> bool:
        used.append((prefix, sum(network.waited)))
        if len(used) == count:
            raise EnoughError
        return True

    with pytest.raises(EnoughError):
        asyncio.run(follow(first, network, network.said.append, use, network.sleep))
    return used


def test_rfc8781_5_1_announcements_that_begin_are_followed_soon():
    network = Network()
    network.announcements = {1000: by_routers(OTHER)}
    ((prefix, when),) = followed(network, Found((WKP,), 86400), 1)
    assert (prefix, 1000 <= when <= 1010) == (OTHER, True)


def test_rfc8781_4_1_announcements_that_end_leave_it_to_the_resolver():
    network = Network(answer(OTHER))
    network.announcements = {0: by_routers(WKP), 1000: None}
    ((prefix, when),) = followed(network, by_routers(WKP), 1)
    assert (prefix, 1000 <= when <= 1010) == (OTHER, True)


def test_rfc8781_5_2_a_prefix_that_is_renumbered_gracefully_stays_as_long_as_it_holds():
    network = Network()
    network.announcements = {0: by_routers(WKP), 500: by_routers(OTHER, WKP), 5000: by_routers(OTHER)}
    ((prefix, when),) = followed(network, by_routers(WKP), 1)
    assert (prefix, 5000 <= when <= 5010) == (OTHER, True)


def test_a_router_that_takes_turns_is_damped_like_a_resolver():
    network = Network()
    network.announcements = {10.0 * turn: by_routers(OTHER if turn % 2 else WKP) for turn in range(1, 100)} | {
        2000: by_routers(THIRD)
    }
    assert [prefix for prefix, _ in followed(network, by_routers(WKP), 2)] == [OTHER, THIRD]


# ---- which count


def offer(prefix: str, link: int = 2, lifetime: float = 600) -> Offer:
    return Offer(link, ROUTER, IPv6Network(prefix), lifetime)


def ways(prefix: IPv6Network) -> int:
    """Everything is routed through interface 2, but one prefix."""
    return 3 if prefix == THIRD else 2


COUNTS = {
    "one": ([offer("64:ff9b::/96")], by_routers(WKP)),
    "the_first_one_heard": ([offer(str(OTHER)), offer("64:ff9b::/96")], by_routers(OTHER, WKP)),
    "of_the_shortest_lifetime": (
        [offer(str(OTHER), lifetime=900.5), offer("64:ff9b::/96", lifetime=300.5)],
        by_routers(OTHER, WKP, ttl=300),
    ),
    "of_two_routers_the_longer": (
        [offer("64:ff9b::/96", lifetime=300), offer("64:ff9b::/96", lifetime=900)],
        by_routers(WKP, ttl=900),
    ),
    "rfc8781_5_1_on_another_link": ([offer("64:ff9b::/96", link=4)], None),
    "rfc8781_5_1_on_the_link_that_leads_to_it": ([offer(str(THIRD)), offer(str(THIRD), link=3)], by_routers(THIRD)),
    "rfc6052_2_1_the_well_known_prefix_of_another_length": ([offer("64:ff9b::/64")], None),
    "rfc6052_2_2_bits_64_to_71": ([offer("2001:db8:0:0:100::/96")], None),
    "multicast": ([offer("ff02::/96")], None),
    "none": ([], None),
}


@pytest.mark.parametrize(("offers", "found"), COUNTS.values(), ids=COUNTS)
def test_rfc8781_5_1_announcements_that_count(offers, found):
    assert usable(offers, ways) == found


# ---- on a link


def test_rfc8781_a_host_asks_its_routers_and_takes_what_they_announce(neighbour: Neighbour):
    ip("-6", "route", "add", "default", "via", "fe80::2", "dev", "eth0")
    sources = HostSources(LOG)
    try:
        neighbour.offer(OTHER)
        found = asyncio.run(ask(sources))
        assert (found.prefixes, found.by) == ((OTHER,), BY_ROUTERS)
        assert 590 <= found.ttl <= 600
        ip("-6", "route", "add", "blackhole", str(OTHER))
        assert asyncio.run(sources.announced()) is None
    finally:
        sources.close()
    assert asyncio.run(sources.announced()) is None


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), NetlinkError(105)])
def test_a_host_that_cannot_be_looked_at_announces_nothing_now(neighbour: Neighbour, monkeypatch, error):
    def refuse() -> None:
        raise error

    sources = HostSources(LOG)
    try:
        neighbour.offer(OTHER)
        monkeypatch.setattr(announced, "IPRoute", refuse)
        assert asyncio.run(sources.announced()) is None
    finally:
        sources.close()


def test_without_the_privilege_the_resolver_alone_is_asked(monkeypatch, caplog):
    def refuse(*_: object) -> None:
        raise PermissionError

    caplog.set_level("INFO")
    monkeypatch.setattr(wire, "open_socket", refuse)
    sources = announced.HostSources(LOG)
    assert asyncio.run(sources.announced()) is None
    sources.close()
    assert "CAP_NET_RAW" in caplog.text
