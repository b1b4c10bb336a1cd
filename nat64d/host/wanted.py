"""What must stand on the host for the packets of a configuration: addresses, routes, masqueraded sources. Pure."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import TYPE_CHECKING

from nat64d.host.rtnetlink import Interface, Network
from nat64d.host.ruleset import Chain
from nat64d.host.steering import Led
from nat64d.host.vips import Vip, addresses

if TYPE_CHECKING:
    from nat64d.config.models import Config

CONTINUITY4 = IPv4Network("192.0.0.0/29")  # RFC 7335
IPV6_IS_LONGER = 20  # octets that an IPv6 header has more than an IPv4 header


@dataclass(frozen=True)
class Default:
    """Our IPv4 default route: its MTU, and the address that this host uses on it."""

    mtu: int
    source: IPv4Address | None


@dataclass(frozen=True)
class Wanted:
    """What stands after `Host.setup`, and is set up again when it is gone."""

    tun: str
    settings: dict[str, int]  # of the device, in the form that `rtnetlink.change_device` takes
    addresses: tuple[Interface, ...] = ()
    networks: tuple[Network, ...] = ()  # routed to the device
    default: Default | None = None
    link: str | None = None  # where neighbour discovery for [clat] ipv6 is answered
    sysctls: bool = True  # whether kernel parameters are ours to set
    masquerade: tuple[str, ...] = ()  # interfaces; empty where there is nothing to masquerade
    shares: tuple[Led, ...] = ()  # of ports that are led to the device
    answered: frozenset[Vip] = frozenset()  # addresses of services
    accepts: tuple[tuple[Chain, tuple[str, str]], ...] = ()  # rules that chains of others need: `firewall.accepts`


def is_host(network: Network) -> bool:
    """Whether the network is a single address."""
    return network.prefixlen == network.max_prefixlen


def pool4(config: "Config") -> list[IPv4Network]:
    """All pool4 addresses, but those of interfaces, as the shortest list of prefixes."""
    return [IPv4Network(str(network)) for network in config.led4.iter_cidrs()]


def networks6(config: "Config") -> list[IPv6Network]:
    """The IPv6 prefixes to route to the device: pool6, client prefixes and source6 of services and, of [[eam]], those
    of 0.0.0.0/0;
    with [clat] its own prefix in place of pool6, which is the provider's."""
    worlds = [row.ipv6 for row in config.eam if row.ipv4.prefixlen == 0]
    if config.services.source6:
        worlds.append(config.services.source6)
    if config.clat:
        return [config.clat.ipv6, *worlds]
    return [*filter(None, config.prefixes), *worlds]


def networks(config: "Config") -> list[Network]:
    """Everything to route to the device: `networks6`, pool4 and the addresses of [[forward]] and [[eam]], those of
    [[service]] one by one; nothing if [host] routes is off."""
    if not config.host.routes:
        return []
    others = _unserved(config)
    return [*others, *_alone(config, {*others})]


def served(config: "Config") -> list[Network]:
    """The addresses of [[service]] that nothing else has, which are announced by their routes."""
    return _alone(config, {*_unserved(config)}) if config.host.routes else []


def _alone(config: "Config", others: set[Network]) -> list[Network]:
    """The addresses of [[service]] that are in none of these."""
    lengths = {(network.version, network.prefixlen) for network in others}
    return [
        own
        for own in (ip_network(address) for address in addresses(config))
        if not any(v == own.version and own.supernet(new_prefix=length) in others for v, length in lengths)
    ]


def withdrawn(config: "Config") -> list[Network]:
    """What is announced for services alone, and withdrawn before a stop: `served`, and prefixes of clients. pool6 leads
    to sessions that no other gateway has."""
    clients = config.prefixes[1:] if config.host.routes and not config.clat else ()
    return [*served(config), *filter(None, clients)]


def _unserved(config: "Config") -> list[Network]:
    forwarded = [IPv4Network(forward.end4.address) for forward in config.forward]
    mapped = [row.ipv4 for row in config.eam if row.ipv4.prefixlen]
    return [*networks6(config), *collapse_addresses([*pool4(config), *forwarded, *mapped])]


def masqueraded(config: "Config") -> list[Network]:
    """The sources to masquerade, all of one family: pool4, and the translator's own IPv4 address; with [clat] its IPv6
    addresses; none if that is off."""
    if config.host.masquerade == "off":
        return []
    if config.clat:
        return [config.clat.ipv6]
    if all(pool.interface for pool in config.pool4):
        return []
    own = [IPv4Network(config.tun.ipv4)] if config.tun.ipv4 else []
    return list(collapse_addresses([*pool4(config), *own]))
