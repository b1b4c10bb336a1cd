"""What is there on this host, as plain values: links with their addresses, routers, routes, proxied addresses.

`read` asks the kernel; everything else in this room that judges a host takes a `Facts`, which a test can write by hand.
"""

import asyncio
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network
from itertools import product
from typing import Any

from pyroute2 import AsyncIPRoute, IPRoute
from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTM_GETNEIGH
from pyroute2.netlink.rtnl.ndmsg import ndmsg

from nat64d.host import rtnetlink, sysctl
from nat64d.host.own4 import UNKNOWN, Sockets, read_sockets

RTM_F_FIB_MATCH = 0x2000  # linux/rtnetlink.h: answer with the route that decides, not with what it means for an address
IFF_LOOPBACK = 8  # linux/if.h
ARPHRD_ETHER = 1  # linux/if_arp.h
PASSING = 0x01 | 0x08 | 0x20 | 0x40  # linux/if_addr.h: temporary, in use elsewhere, deprecated, tentative
FAMILIES = (socket.AF_INET, socket.AF_INET6)
DISCARDS = {6: "blackhole", 7: "unreachable", 8: "prohibit"}  # linux/rtnetlink.h: types of routes that discard packets

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Link:
    """A network interface; `addresses` have the prefix lengths of the link."""

    name: str
    addresses: tuple[rtnetlink.Interface, ...] = ()
    resolves: bool = True  # its neighbours are found by ARP or neighbour discovery: no loopback, no tunnel
    proxy_arp: bool = False  # answers ARP for every address that is routed to another interface
    mtu: int = 1500  # octets
    hardware: bool = False  # a network card, or what a virtual machine has in its place
    passing: frozenset[rtnetlink.Interface] = frozenset()  # those of its addresses that nothing new is to be built on


@dataclass(frozen=True)
class Route:
    """A route of the main table to a `network` through `link`; `router` is None for one on the link itself, `mtu` and
    `advmss` (octets) are 0 where the route names none."""

    network: rtnetlink.Network
    link: str
    router: Address | None = None
    metric: int = 0
    mtu: int = 0
    advmss: int = 0


@dataclass(frozen=True)
class Facts:
    """One look at the host."""

    links: tuple[Link, ...] = ()
    defaults: tuple[Route, ...] = ()  # default routes of both families, one for each next hop
    masquerading: tuple[str, ...] = ()  # interfaces of the IPv4 default route with the lowest metric
    masquerading6: tuple[str, ...] = ()  # the same of IPv6
    towards: Mapping[rtnetlink.Network, Route] = field(default_factory=dict)  # of what `read` was asked for
    discarded: Mapping[rtnetlink.Network, str] = field(default_factory=dict)  # parts of these, and the kind of route
    proxied: frozenset[tuple[str, Address]] = frozenset()  # answered for on a link: `ip neighbour show proxy`
    sockets: Sockets = UNKNOWN  # if `read` was asked for them


def read(towards: Iterable[rtnetlink.Network] = (), sockets: bool = False) -> Facts:
    """A look at the host this process is on; `towards`: networks for whose first address the route is looked up;
    `sockets`: whether the ports that the host uses are looked up.

    Tables of routes are not read as a whole, as a router may have a million: of them the kernel picks those that
    discard packets. Needs no privileges. Call it from a thread without a running event loop (a rule of pyroute2).
    Raises OSError or pyroute2's NetlinkError.
    """
    with IPRoute() as ip:
        links, networks = list(ip.get_links()), list(towards)
        names = {message["index"]: message.get_attr("IFLA_IFNAME") for message in links}
        routes = {network: route for network in networks if (route := _route_towards(ip, network, names))}
        discarding = _discarding(networks) if networks else ()
        parts = {part: kind for part, kind in discarding if not _route_towards(ip, part, names)}
        return Facts(
            links=tuple(_links(ip, links)),
            defaults=tuple(_defaults(ip, names)),
            masquerading=tuple(rtnetlink.default_interfaces(ip)),
            masquerading6=tuple(rtnetlink.default_interfaces(ip, 6)),
            towards=routes,
            discarded=parts,
            proxied=frozenset(asyncio.run(_proxied(names))),
            sockets=read_sockets() if sockets else UNKNOWN,
        )


def _links(ip: Any, links: Iterable[Any]) -> Iterator[Link]:
    """The interfaces in the order of the kernel."""
    addresses: dict[int, list[rtnetlink.Interface]] = {}
    passing: dict[int, set[rtnetlink.Interface]] = {}
    for message in ip.get_addr():
        own = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        address = ip_interface((own, message["prefixlen"]))
        addresses.setdefault(message["index"], []).append(address)
        if address.version == 6 and (message.get_attr("IFA_FLAGS") or message["flags"]) & PASSING:
            passing.setdefault(message["index"], set()).add(address)
    everywhere = sysctl.read("net/ipv4/conf/all/proxy_arp") == "1"
    for message in links:
        name = message.get_attr("IFLA_IFNAME")
        yield Link(
            name,
            tuple(addresses.get(message["index"], ())),
            not message["flags"] & (rtnetlink.IFF_NOARP | IFF_LOOPBACK),
            everywhere or sysctl.read(f"net/ipv4/conf/{name}/proxy_arp") == "1",
            message.get_attr("IFLA_MTU"),
            message["ifi_type"] == ARPHRD_ETHER and not message.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND"),
            frozenset(passing.get(message["index"], ())),
        )


def _defaults(ip: Any, names: Mapping[int, str]) -> Iterator[Route]:
    for family, everything in zip(FAMILIES, ("0.0.0.0/0", "::/0"), strict=True):
        for message in ip.get_default_routes(family):
            if message["type"] != rtnetlink.RTN_UNICAST or message.get_attr("RTA_TABLE") != rtnetlink.RT_TABLE_MAIN:
                continue
            metric = message.get_attr("RTA_PRIORITY") or 0
            for link, router in _hops(message):
                yield Route(ip_network(everything), names.get(link, str(link)), router, metric, *_sizes(message))


def _route_towards(ip: Any, network: rtnetlink.Network, names: Mapping[int, str]) -> Route | None:
    """The route that decides about the first address of `network`; None if that is not led anywhere."""
    try:
        message = ip.route("get", dst=str(network[0]), flags=RTM_F_FIB_MATCH)[0]
    except NetlinkError:  # no route, or one that discards packets
        return None
    if message["type"] != rtnetlink.RTN_UNICAST or message.get_attr("RTA_TABLE") != rtnetlink.RT_TABLE_MAIN:
        return None
    first = message.get_attr("RTA_DST") or ("0.0.0.0" if network.version == 4 else "::")
    link, router = next(_hops(message))
    metric = message.get_attr("RTA_PRIORITY") or 0
    return Route(ip_network((first, message["dst_len"])), names.get(link, str(link)), router, metric, *_sizes(message))


def _discarding(networks: Collection[rtnetlink.Network]) -> Iterator[tuple[rtnetlink.Network, str]]:
    """The routes of the main table that discard packets to a part of `networks`, and the kind of each; another route
    may be preferred to them."""
    with IPRoute(strict_check=True) as ip:  # strict: the kernel itself picks them
        for family, number in product({FAMILIES[network.version == 6] for network in networks}, DISCARDS):
            for message in ip.get_routes(family=family, type=number, table=rtnetlink.RT_TABLE_MAIN):
                if not message["dst_len"]:
                    continue
                part = ip_network((message.get_attr("RTA_DST"), message["dst_len"]))
                if any(part.prefixlen > whole.prefixlen and part[0] in whole for whole in networks):
                    yield part, DISCARDS[number]


def _sizes(message: Any) -> tuple[int, int]:
    """MTU and advertised MSS of a route."""
    metrics = dict((message.get_attr("RTA_METRICS") or {"attrs": ()})["attrs"])
    return metrics.get("RTAX_MTU", 0), metrics.get("RTAX_ADVMSS", 0)


def _hops(message: Any) -> Iterator[tuple[int, Address | None]]:
    """Interface and router of each next hop of a route."""
    for hop in message.get_attr("RTA_MULTIPATH") or [message]:
        attributes = dict(hop["attrs"])
        router = attributes.get("RTA_GATEWAY")
        yield hop["oif"] if "oif" in hop else attributes.get("RTA_OIF", 0), ip_address(router) if router else None


async def _proxied(names: Mapping[int, str]) -> list[tuple[str, Address]]:
    """Which addresses this host answers for, and on which links."""
    found: list[tuple[str, Address]] = []
    async with AsyncIPRoute() as ip:
        for family in FAMILIES:
            message = ndmsg()
            message["family"], message["flags"] = family, rtnetlink.NTF_PROXY
            entries = await ip.nlm_request(message, RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP)
            found += [(names.get(one["ifindex"], ""), ip_address(one.get_attr("NDA_DST"))) async for one in entries]
    return found
