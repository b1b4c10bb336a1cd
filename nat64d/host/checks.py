"""What of a configuration does not fit this host: pure functions of (Config, Facts), one row each in CHECKS.

An error is what certainly stops packets, or cuts this host off; a warning is what may be meant.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import NamedTuple

from pyroute2.netlink.exceptions import NetlinkError

from nat64d.config.client_prefixes import places
from nat64d.config.errors import Problem
from nat64d.config.expected import Path
from nat64d.config.models import Config
from nat64d.config.problems import Finding, problems
from nat64d.host import sysctl
from nat64d.host.facts import Facts, Link, Route, read
from nat64d.host.groups import group_number
from nat64d.host.own4 import own4, pool4_without_address, ports_given_away, ports_in_use
from nat64d.host.rtnetlink import Interface, Network

OUR_METRIC = {4: 0, 6: 1024}  # of the routes to our device: the kernel's own values where none is asked for
LOOKED_UP = 64  # IPv4 prefixes of [[pool4]] for which the route is looked up, each costs a question to the kernel


class Weight(Enum):
    """What follows from a finding."""

    ERROR = "error"  # `run` does not start
    WARNING = "warning"


class Claim(NamedTuple):
    """IPv4 addresses that are led to our device, and the key that says so."""

    path: Path
    first: int
    last: int

    @property
    def is_wide_eam(self) -> bool:
        """Whether it is an [[eam]] of many addresses."""
        return self.path[0] == "eam" and self.first != self.last


# ---- what is looked at


def claims4(config: Config) -> Iterator[Claim]:
    """The IPv4 addresses of [[pool4]], [[forward]], [[service]] and [[eam]], but not of an [[eam]] that stands for the
    internet."""
    for row, pool in enumerate(config.pool4):
        if not pool.interface:
            yield Claim(("pool4", row, "addresses"), pool.range.first, pool.range.last)
    for row, forward in enumerate(config.forward):
        yield Claim(("forward", row, "ipv4"), int(forward.end4.address), int(forward.end4.address))
    for row, service in enumerate(config.service):
        if service.end4:
            yield Claim(("service", row, "ipv4"), int(service.end4.address), int(service.end4.address))
    for row, entry in enumerate(config.eam):  # there may be 100,000
        prefix = entry.ipv4
        if length := prefix.prefixlen:
            first = int(prefix.network_address)
            yield Claim(("eam", row, "ipv4"), first, first | (1 << 32 - length) - 1)


def claims6(config: Config) -> Iterator[tuple[Path, IPv6Network]]:
    """The IPv6 prefixes that are led to our device; with [clat], pool6 is the provider's."""
    if config.clat:
        yield ("clat", "ipv6"), config.clat.ipv6
    elif config.pool6:
        yield ("pool6",), config.pool6
    yield from places(config)
    for row, entry in enumerate(config.eam):
        if entry.ipv4.prefixlen == 0:
            yield ("eam", row, "ipv6"), entry.ipv6


def looked_up(config: Config) -> list[Network]:
    """The networks whose routes `checks` wants to know."""
    if not config.host.routes:
        return []
    pool4 = [IPv4Network(str(network)) for network in config.led4.iter_cidrs()]
    return [*(network for _, network in claims6(config)), *pool4[:LOOKED_UP]]


def shares_ports(config: Config) -> bool:
    """Whether `checks` wants to know which ports this host uses."""
    return any(pool.interface for pool in config.pool4)


def _addresses(config: Config, facts: Facts, version: int) -> Iterator[tuple[Link, Interface]]:
    """The addresses of this host, but those of our own device."""
    for link in facts.links:
        if link.name != config.tun.name:
            yield from ((link, own) for own in link.addresses if own.version == version)


# ---- [host] masquerade


def masquerade_without_interface(config: Config, facts: Facts) -> Iterator[Finding]:
    """Nothing leaves by an interface that does not exist."""
    names = [link.name for link in facts.links]
    if _masquerade(config) not in {"off", "auto", *names}:
        there = ", ".join(name for name in names if name not in {"lo", config.tun.name})
        expected = f'expected "auto" or an interface of this host ({there}); one that comes later must be up first'
        yield Finding(("host", "masquerade"), expected)


def masquerade_without_route(config: Config, facts: Facts) -> Iterator[Finding]:
    """ "auto" is the interface of the default route."""
    if _masquerade(config) == "auto" and not _masqueraded(config, facts):
        version = _masqueraded_version(config)
        complaint = (
            f"expected an IPv{version} default route; without one nothing is masqueraded. "
            f"Run 'ip {'-6 ' if version == 6 else ''}route add default via ROUTER', or name an interface"
        )
        yield Finding(("host", "masquerade"), complaint)


def masquerade_without_address(config: Config, facts: Facts) -> Iterator[Finding]:
    """Masquerading takes an address of the interface; without one the kernel drops packets."""
    for link in facts.links:
        version = _masqueraded_version(config)
        if link.name in _masqueraded(config, facts) and not _has_address(link, version):
            complaint = (
                f"expected an IPv{version} address on {link.name}; until it has one, packets are dropped there. "
                f"Run 'ip address add ADDRESS/LENGTH dev {link.name}'"
            )
            yield Finding(("host", "masquerade"), complaint)


def _has_address(link: Link, version: int) -> bool:
    """Whether others can answer to an address of it."""
    return any(own.version == version and not (version == 6 and own.is_link_local) for own in link.addresses)


def _masquerade(config: Config) -> str:
    """[host] masquerade; "off" where there is nothing to masquerade."""
    hidden = config.clat or not all(pool.interface for pool in config.pool4)
    return config.host.masquerade if hidden else "off"


def _masqueraded_version(config: Config) -> int:
    """Of IP: a CLAT hides its IPv6 address."""
    return 6 if config.clat else 4


def _masqueraded(config: Config, facts: Facts) -> tuple[str, ...]:
    """The interfaces behind which pool4, or a CLAT, is hidden."""
    wanted = _masquerade(config)
    auto = facts.masquerading6 if config.clat else facts.masquerading
    return {"off": (), "auto": auto}.get(wanted, (wanted,))


# ---- IPv4 addresses that are led to us


def own_address4(config: Config, facts: Facts) -> Iterator[Finding]:
    """The kernel keeps packets to an address of its own: none of them reaches our device."""
    for claim, link, own in _own_in_claims(config, facts):
        if not claim.is_wide_eam:
            shared = f'or share it: addresses = "interface:{link.name}"'
            other = shared if claim.path[0] == "pool4" else "or choose another address"
            complaint = (
                f"expected addresses that this host does not have: it keeps packets to {own.ip} for itself. "
                f"Run 'ip address del {own} dev {link.name}', {other}"
            )
            yield Finding(claim.path, complaint)


def own_address_in_eam(config: Config, facts: Facts) -> Iterator[Finding]:
    """The same in an [[eam]] of many addresses: the others work."""
    for claim, link, own in _own_in_claims(config, facts):
        if claim.is_wide_eam:
            complaint = (
                f"expected addresses that this host does not have: {own.ip} is among them, and this host keeps packets "
                f"to it for itself. If an IPv6 host shall get them, run 'ip address del {own} dev {link.name}'"
            )
            yield Finding(claim.path, complaint)


def _own_in_claims(config: Config, facts: Facts) -> Iterator[tuple[Claim, Link, Interface]]:
    """Claims with an address of this host, the lowest one."""
    own = {int(address.ip): (link, address) for link, address in _addresses(config, facts, 4)}
    numbers = sorted(own)
    for claim in claims4(config):
        at = bisect_left(numbers, claim.first)
        if at < len(numbers) and numbers[at] <= claim.last:
            yield claim, *own[numbers[at]]


def on_link4(config: Config, facts: Facts) -> Iterator[Finding]:
    """Routers ask by ARP for an address in their subnet, and our device answers no ARP. What is an error already, an
    address of this host, is not said again."""
    subnets = [
        (link, IPv4Network(own.network), int(own.network[0]), int(own.network[-1]))
        for link, own in _addresses(config, facts, 4)
        if link.resolves and not link.proxy_arp and own.network.num_addresses > 1
    ]
    hidden, found = _masqueraded(config, facts), set()
    refused = {claim for claim, *_ in _own_in_claims(config, facts) if not claim.is_wide_eam}
    for claim in claims4(config) if subnets else ():
        for link, subnet, first, last in subnets:
            if claim.first > last or claim.last < first or (claim.path[0] == "pool4" and link.name in hidden):
                continue
            if claim.path[0] == "service" and config.services.announce == "neighbours":
                continue
            kind = claim.path[0], link.name
            if kind not in found and claim not in refused and not _proxied(facts, link, claim):
                found.add(kind)  # one finding for all rows of a kind
                yield Finding(claim.path, _unanswered4(link, subnet, claim))


def _proxied(facts: Facts, link: Link, claim: Claim) -> bool:
    """Whether this host answers ARP for every address of the claim."""
    there = {int(address) for name, address in facts.proxied if name == link.name and address.version == 4}
    return sum(claim.first <= address <= claim.last for address in there) > claim.last - claim.first


def _unanswered4(link: Link, subnet: IPv4Network, claim: Claim) -> str:
    one = claim.first == claim.last
    proxy = f"ip neighbour add proxy {IPv4Address(claim.first)} dev {link.name}"
    remedy = proxy if one else sysctl.command([(f"net/ipv4/conf/{link.name}/proxy_arp", "1")])
    return (
        f"expected addresses that the network routes to this host: these are in {subnet}, the subnet of {link.name}, "
        f"where nobody answers ARP for them. Run '{remedy}'"
    )


# ---- IPv6 prefixes that are led to us


def own_address6(config: Config, facts: Facts) -> Iterator[Finding]:
    """A host in pool6 counts as an IPv4 host, and packets to it are led to our device: the link is cut off."""
    for path, network in claims6(config):
        for link, own in _addresses(config, facts, 6):
            if own.ip in network:
                lost = "" if network.prefixlen == network.max_prefixlen else ", and its hosts would be cut off"
                expected = f"expected no address of this host: {link.name} has {own}{lost}"
                yield Finding(path, f"{expected}. Take {_unused(network, path)}")
                break


def on_link6(config: Config, facts: Facts) -> Iterator[Finding]:
    """Hosts ask for an address of their own link by neighbour discovery, and our device answers none. A single [clat]
    ipv6 is announced by `Host`."""
    for path, network in claims6(config):
        if not config.host.routes or network.prefixlen == network.max_prefixlen:
            continue
        for link, own in _addresses(config, facts, 6):
            if link.resolves and network.subnet_of(IPv6Network(own.network)) and own.ip not in network:
                expected = (
                    f"expected a prefix that the network routes to this host: this one is inside {own.network}, the "
                    f"link of {link.name}, whose hosts do not find its addresses there. Run 'ip -6 route add {network} "
                    f"via {own.ip}' on each of them, or take {_unused(network, path)}"
                )
                yield Finding(path, expected)
                break


def _unused(network: IPv6Network, path: Path) -> str:
    """What to choose instead."""
    if network.prefixlen == network.max_prefixlen:
        return "an unused address of the link"
    return "64:ff9b::/96, or a prefix of your own that no link has" if path == ("pool6",) else "one that no link has"


# ---- routes


def router_inside(config: Config, facts: Facts) -> Iterator[Finding]:
    """A router that is led to our device is not reached, nor what is behind it."""
    if not config.host.routes:
        return
    for route in facts.defaults:
        router = route.router
        if router is None or route.link == config.tun.name:
            continue
        number = int(router)
        if router.version == 4:
            inside = [claim.path for claim in claims4(config) if claim.first <= number <= claim.last]
        else:
            inside = [path for path, network in claims6(config) if router in network]
        for path in inside:
            expected = f"expected no address of a router: the default route of this host is via {router}, {route.link}"
            yield Finding(path, f"{expected}, and would be cut off. Choose others (see 'ip -{router.version} route')")


def routed_elsewhere(config: Config, facts: Facts) -> Iterator[Finding]:
    """Another route for the same prefix that the kernel prefers: no packet reaches our device."""
    for path, network, route in _other_routes(config, facts):
        if route.network == network and route.metric <= OUR_METRIC[network.version]:
            expected = f"expected a prefix that is not routed elsewhere; the kernel prefers {_named(route)}"
            yield Finding(path, f"{expected}. Run '{_deletion(route)}', or set [host] routes = false")


def partly_routed_elsewhere(config: Config, facts: Facts) -> Iterator[Finding]:
    """A route for a part of a prefix: that part does not reach our device."""
    for path, network, route in _other_routes(config, facts):
        if route.network != network and route.network.prefixlen > network.prefixlen:
            complaint = f"expected no other route for a part of it; {route.network} goes by {_named(route)}"
            yield Finding(path, f"{complaint}. Unless that is meant, run '{_deletion(route)}'")
    for path, network in _asked_for(config, facts) if facts.discarded else ():
        for part, kind in facts.discarded.items():
            if part[0] in network:
                complaint = f"expected no other route for a part of it; packets to {part} are discarded"
                yield Finding(
                    path, f"{complaint}. Unless that is meant, run 'ip -{part.version} route del {kind} {part}'"
                )


def _other_routes(config: Config, facts: Facts) -> Iterator[tuple[Path, Network, Route]]:
    """What is known of the routes that `looked_up` asked for, but those to our own device."""
    for path, network in _asked_for(config, facts):
        route = facts.towards.get(network)
        if config.host.routes and route and route.link != config.tun.name:
            yield path, network, route


def _asked_for(config: Config, facts: Facts) -> Iterator[tuple[Path, Network]]:
    """What `looked_up` asked for, each with its place in the configuration."""
    yield from claims6(config)
    for network in facts.towards:
        if network.version == 4:
            first = int(network[0])
            rows = (claim.path for claim in claims4(config) if claim.first <= first <= claim.last)
            yield from ((path, network) for path in (next(rows, None),) if path)


def _named(route: Route) -> str:
    """Where a route leads."""
    router = f"{route.router}, " if route.router else ""
    return f"{router}{route.link} (metric {route.metric})"


def _deletion(route: Route) -> str:
    """The command that removes a route."""
    router = f"via {route.router} " if route.router else ""
    metric = f" metric {route.metric}" if route.metric else ""
    return f"ip -{route.network.version} route del {route.network} {router}dev {route.link}{metric}"


Find = Callable[[Config, Facts], Iterator[Finding]]

CHECKS: tuple[tuple[Weight, Find], ...] = (
    (Weight.ERROR, own_address4),
    (Weight.ERROR, own_address6),
    (Weight.ERROR, router_inside),
    (Weight.ERROR, routed_elsewhere),
    (Weight.ERROR, masquerade_without_interface),
    (Weight.ERROR, ports_given_away),
    (Weight.WARNING, own_address_in_eam),
    (Weight.WARNING, on_link4),
    (Weight.WARNING, on_link6),
    (Weight.WARNING, partly_routed_elsewhere),
    (Weight.WARNING, masquerade_without_route),
    (Weight.WARNING, masquerade_without_address),
    (Weight.WARNING, ports_in_use),
    (Weight.WARNING, pool4_without_address),
)


class Report(NamedTuple):
    """What does not fit, in words."""

    errors: list[Problem]
    warnings: list[Problem]


def checks(config: Config, facts: Facts, file: str) -> Report:
    """Apply every row of CHECKS; `file` names the configuration in the messages."""
    found = {weight: [f for w, find in CHECKS if w is weight for f in find(config, facts)] for weight in Weight}
    raw = config.model_dump(mode="json", exclude_none=True) if any(found.values()) else {}
    return Report(*(problems(file, raw, found[weight]) for weight in (Weight.ERROR, Weight.WARNING)))


def check_host(config: Config, file: str) -> Report:
    """The same for the host this process is on, and its groups; where the kernel does not answer, that is a warning."""
    group = f'"{config.api.group}"'
    unknown = [Problem(file, "[api] group", group, "expected a group of this host; make it with 'groupadd'")]
    found = unknown if config.api.group and group_number(config.api.group) is None else []
    try:
        facts = read(looked_up(config), shares_ports(config))
        config = config.with_pools(own4(config.pool4, facts))
    except (OSError, NetlinkError) as error:
        return Report(found, [Problem(file, "", "", f"cannot look at this host ({error}): only the file is checked")])
    report = checks(config, facts, file)
    return Report([*found, *report.errors], report.warnings)
