"""Addresses of services (VIPs): on which links they belong to the subnet, this host's answers for them there, and how
they are withdrawn before a stop.

An answer is a proxy entry of the kernel (`ip neighbour add proxy`), for which it needs a route for the address by
another link and forwarding, and no proxy_arp.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from ipaddress import collapse_addresses, ip_address
from socket import if_nametoindex
from typing import TYPE_CHECKING, Any, NamedTuple

from nat64d.host import rtnetlink, sysctl
from nat64d.host.facts import Address
from nat64d.host.journal import Change
from nat64d.host.rtnetlink import Network

if TYPE_CHECKING:
    from nat64d.config.models import Config
    from nat64d.host.facts import Facts
    from nat64d.host.undo import Undo

ASIDE = 0x64650000  # number of the routing table for the time of a withdrawal: above it the index of the device
KIND, SPLIT = "vip", "\t"  # of changes in the journal, with address and link as the key


class Vip(NamedTuple):
    """An address of services, and a link that it is answered for on."""

    link: str
    address: Address


class Claiming(NamedTuple):
    """What stands in the way of [services] announce = "neighbours": links on which nothing can be announced, and why;
    link, address, and hardware address of another host that has it, and whether this host answers for it, too."""

    silent: tuple[tuple[str, str], ...] = ()
    taken: tuple[tuple[str, str, str, bool], ...] = ()


UNCLAIMED = Claiming()


def in_order(ours: Iterable[Vip]) -> list[Vip]:
    """By link and address."""
    return sorted(ours, key=lambda vip: (vip.link, vip.address.version, int(vip.address)))


def addresses(config: "Config") -> list[Address]:
    """The addresses of services, each once."""
    return list(dict.fromkeys(end.address for service in config.service for end in service.ends))


def claimed(config: "Config") -> list[Address]:
    """Those that are to be answered for."""
    return addresses(config) if config.services.announce == "neighbours" else []


def on_links(config: "Config", facts: "Facts") -> Mapping[Vip, Address]:
    """Where which addresses are to be answered for: on each link in whose subnet they are, and this host's own address
    in that."""
    subnets = [
        (link.name, own)
        for link in facts.links
        if link.resolves and link.name != config.tun.name
        for own in link.addresses
        if own.network.num_addresses > 1
    ]
    return {
        Vip(name, address): own.ip
        for address in claimed(config)
        for name, own in reversed(subnets)
        if address in own.network and address != own.ip
    }


def off_link(config: "Config", facts: "Facts") -> Iterator[str]:
    """A sentence if nobody on any link is told of services, against the configuration."""
    ours = claimed(config)
    if ours and not on_links(config, facts):
        yield (
            f"No address of a [[service]] ({ours[0]}{' and others' if len(ours) > 1 else ''}) is in the subnet of an "
            'interface: [services] announce = "neighbours" announces none. Run '
            "'ip address add ADDRESS/LENGTH dev INTERFACE' with an address of that subnet, or set it to \"routes\"."
        )


def answered(undo: "Undo") -> frozenset[Vip]:
    """What this host answers for."""
    parts = (key.split(SPLIT) for _, key in undo.noted(KIND))
    return frozenset(Vip(link, ip_address(address)) for address, link in parts)


def answer(undo: "Undo", ip: Any, ours: Collection[Vip], sysctls: bool) -> None:
    """Answer for these and for no others. Raises NetlinkError, OSError (a link is gone), HostError."""
    there = answered(undo)
    undo.take_back((KIND, _key(vip)) for vip in there.difference(ours))
    for vip in in_order(set(ours) - there):
        add(undo, ip, vip, sysctls)


def add(undo: "Undo", ip: Any, vip: Vip, sysctls: bool) -> None:
    """Answer for an address on a link; `sysctls`: whether kernel parameters are ours to set."""
    if not rtnetlink.is_proxied(ip, if_nametoindex(vip.link), vip.address):
        undo.note_once(Change(KIND, _key(vip)))
        rtnetlink.add_proxy(ip, if_nametoindex(vip.link), vip.address)
    wrong = [one for one in parameters(vip) if sysctl.read(one[0]) not in {None, one[1]}]
    if wrong and sysctls:
        undo.set_parameters(wrong, again=True)


def parameters(vip: Vip) -> list[sysctl.Setting]:
    """What the kernel needs to answer at once: by default it waits for up to 0.8 s, for the case that another host
    answers, too."""
    family = "ipv4" if vip.address.version == 4 else "ipv6"
    delay = (f"net/{family}/neigh/{vip.link}/proxy_delay", "0")
    return [delay] if vip.address.version == 4 else [(f"net/ipv6/conf/{vip.link}/proxy_ndp", "1"), delay]


def remove(ip: Any, key: str) -> None:
    """Undo a change of KIND."""
    address, _, link = key.partition(SPLIT)
    rtnetlink.remove_proxy(ip, link, ip_address(address))


def withdraw(undo: "Undo", ip: Any, tun: str, networks: Iterable[Network]) -> None:
    """Take the routes of services, and all answers for their addresses, back. Packets that come nevertheless still
    reach the device, by a table in which no routing daemon looks. Raises NetlinkError, HostError."""
    routed = {key for _, key in undo.noted("route")}
    ours = [network for network in networks if str(network) in routed]
    device = if_nametoindex(tun)
    if ours:
        undo.note_once(Change("aside", str(table_of(device))))
        rtnetlink.lead_aside(ip, device, table_of(device), _collapsed(ours))
    undo.take_back([*(("route", str(network)) for network in ours), *undo.noted(KIND)])


def table_of(device: int) -> int:
    """The table for the device of that index."""
    return ASIDE | device & 0xFFFF


def _collapsed(networks: list[Network]) -> Iterator[Network]:
    for version in (4, 6):
        yield from collapse_addresses(one for one in networks if one.version == version)  # type: ignore[type-var]


def _key(vip: Vip) -> str:
    return f"{vip.address}{SPLIT}{vip.link}"
