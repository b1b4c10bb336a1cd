"""How the host stands at one moment, as plain values: what `watch` compares with what is wanted.

`read` asks the kernel; what judges takes a `Standing`, which a test can write by hand.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_interface, ip_network
from typing import TYPE_CHECKING, Any

from pyroute2 import IPRoute

from nat64d.host import facts as look
from nat64d.host import rtnetlink, sysctl
from nat64d.host import ruleset as nftables
from nat64d.host.checks import looked_up, shares_ports
from nat64d.host.rtnetlink import Device, Interface, Network
from nat64d.host.steering import Led
from nat64d.host.wanted import is_host

if TYPE_CHECKING:
    from nat64d.config.models import Config

Probes = Mapping[str, str | None]  # kernel parameters; None: this kernel has no such


@dataclass(frozen=True)
class Standing:
    """One look at the host. What concerns the device is empty while there is none."""

    facts: look.Facts = field(default_factory=look.Facts)
    device: Device | None = None
    addresses: frozenset[Interface] = frozenset()  # of the device
    networks: frozenset[Network] = frozenset()  # routes of the main table to the device, but default routes
    default: bool = False  # our IPv4 default route
    plat: bool = True  # whether there is a way to the provider's NAT64; with [clat] only
    link: str | None = None  # the interface whose link [clat] ipv6 is on, if it is a single address
    proxied: bool = False  # whether neighbour discovery for it is answered there
    parameters: Probes = field(default_factory=dict)
    masquerade: tuple[str, ...] = ()  # the interfaces of our table, if it is there
    shares: tuple[Led, ...] = ()  # of ports that are led to our device
    ruleset: nftables.Ruleset | None = None  # None: not known


def read(config: "Config", tun: str, masquerade: tuple[str, ...], shares: tuple[Led, ...] = ()) -> Standing:
    """How the host stands now; `masquerade`: the interfaces of our table, if it is there, and so `shares`.

    Call it from a thread without a running event loop (a rule of pyroute2). Raises OSError or pyroute2's NetlinkError.
    """
    seen = look.read(looked_up(config), shares_ports(config))
    with IPRoute(strict_check=True) as ip:  # strict: the kernel itself picks the routes of our device
        device = rtnetlink.find_device(ip, tun)
        networks, default = _routes(ip, device.index) if device else (frozenset(), False)
        link, proxied, plat = None, False, True
        if config.clat and is_host(config.clat.ipv6):
            address = config.clat.ipv6[0]
            link = next((one.name for one in seen.links if one.resolves and _is_on(one, address)), None)
            proxied = (link, address) in seen.proxied
        if config.clat and config.pool6:
            plat = rtnetlink.device_towards(ip, config.pool6) != 0
        return Standing(
            facts=seen,
            device=device,
            addresses=_addresses(ip, device.index) if device else frozenset(),
            networks=networks,
            default=default,
            plat=plat,
            link=link,
            proxied=proxied,
            parameters={key: sysctl.read(key) for key in sysctl.watched(tun)},
            masquerade=masquerade,
            shares=shares,
            ruleset=nftables.read(),
        )


def _is_on(link: look.Link, address: IPv6Address) -> bool:
    """Whether an address is in a prefix of a link."""
    return any(address in own.network for own in link.addresses)


def _addresses(ip: Any, index: int) -> frozenset[Interface]:
    """The addresses of a device, with the prefix lengths they have there."""
    return frozenset(
        ip_interface((message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"), message["prefixlen"]))
        for message in ip.get_addr()
        if message["index"] == index
    )


def _routes(ip: Any, index: int) -> tuple[frozenset[Network], bool]:
    """The networks that the main table leads to a device, and whether our default route is among the routes."""
    found: set[Network] = set()
    default = False
    for family, everything in zip((socket.AF_INET, socket.AF_INET6), ("0.0.0.0", "::"), strict=True):
        for message in ip.get_routes(family=family, oif=index, table=rtnetlink.RT_TABLE_MAIN):
            if message["type"] != rtnetlink.RTN_UNICAST or message.get_attr("RTA_TABLE") != rtnetlink.RT_TABLE_MAIN:
                continue
            network = ip_network((message.get_attr("RTA_DST") or everything, message["dst_len"]))
            if network.prefixlen:
                found.add(network)
            else:
                default |= network.version == 4 and message.get_attr("RTA_PRIORITY") == rtnetlink.METRIC
    return frozenset(found), default
