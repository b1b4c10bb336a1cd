"""What no two services may have, and what no service may have that another section has."""

from collections import defaultdict
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network

from nat64d.config.addresses import numbers6
from nat64d.config.front6 import front6
from nat64d.config.models import Config
from nat64d.config.problems import Finding
from nat64d.config.services import Service

# LIMITS
ENDPOINTS = 1000  # of a service: each packet without a session is compared with all of them, 1 ns each


def service_owners(config: Config) -> Iterator[Finding]:
    """Each front is of one service and of nothing else; endpoints are IPv6 hosts, each once in a service."""
    yield from _fronts(config)
    yield from _addresses4(config)
    yield from front6(config)
    yield from _endpoints(config)


def _fronts(config: Config) -> Iterator[Finding]:
    names: set[str] = set()
    fronts: dict[tuple[object, ...], Service] = {}
    total, most = 0, config.limits.service_members
    for row, service in enumerate(config.service):
        before = total
        if service.name in names:
            yield Finding(("service", row, "name"), "expected a name that no earlier [[service]] has")
        names.add(service.name)
        if not service.ends:
            yield Finding(("service", row, "ipv4"), "expected an address and port here, or in ipv6, or in both")
        for end in service.ends:
            key = f"ipv{end.address.version}"
            if end.size > 1:
                yield Finding(("service", row, key), "expected one port; each port is a [[service]] of its own")
            for protocol in service.protocols:
                earlier = fronts.setdefault((protocol, end.address, end.first), service)
                if earlier is not service:
                    has = f"{earlier.name} has {protocol} {getattr(earlier, key)}"
                    yield Finding(("service", row, key), f"expected a port that no earlier [[service]] has; {has}")
        if len(service.endpoints) > ENDPOINTS:
            yield Finding(("service", row, "endpoints"), f"expected at most {ENDPOINTS} endpoints")
        total += service.members
        if before <= most < total:
            expected = f"expected at most {most} endpoints, counted for each protocol, in all of [[service]]"
            yield Finding(("service", row, "endpoints"), f"{expected}; up to here there are {total}")


def _addresses4(config: Config) -> Iterator[Finding]:
    """A front is no [[forward]], no port of [[pool4]], and its address neither in [[eam]] nor the translator's own."""
    forwards = defaultdict(list)
    for forward in config.forward:
        forwards[forward.end4.address].append(forward)
    mapped = {row.ipv4 for row in config.mappings}
    lengths = {prefix.prefixlen for prefix in mapped}
    pools = [(pool.range, pool) for pool in config.pool4 if not pool.interface]
    for row, service in enumerate(config.service):
        if service.end4 is None:
            continue
        (address, port, _), place = service.end4, ("service", row, "ipv4")
        if address == config.tun.ipv4:
            yield Finding(place, "expected an address other than [tun] ipv4, the translator's own")
        if own := next((prefix for prefix in config.translation.rfc6791_ipv4 if address in prefix), None):
            yield Finding(place, f"expected an address outside [translation] rfc6791_ipv4, {own}")
        around = (IPv4Network((address, length), strict=False) for length in lengths)
        if covering := next((prefix for prefix in around if prefix in mapped), None):
            yield Finding(place, f"expected an address that [[eam]] does not map; a row maps {covering}")
        for forward in forwards[address]:
            if set(forward.protocols) & set(service.protocols) and forward.end4.first <= port <= forward.end4.last:
                yield Finding(place, f"expected a port that no [[forward]] has; {forward.ipv4} is forwarded")
        for addresses, pool in pools:
            first, last = pool.port_range
            inside = addresses.first <= int(address) <= addresses.last and first <= port <= last
            if inside and set(pool.protocols) & set(service.protocols):
                taken = f"expected a port outside the [[pool4]] of {pool.addresses} ports {pool.ports}"
                yield Finding(place, taken)


def _endpoints(config: Config) -> Iterator[Finding]:
    for row, service in enumerate(config.service):
        seen: set[tuple[int, int]] = set()
        for at, endpoint in enumerate(service.endpoints):
            number, first, last = numbers6(endpoint.address)
            complaints = [] if first == last else ["expected one port"]
            if (number, first) in seen:
                complaints.append("expected an endpoint that is not listed yet")
            seen.add((number, first))
            complaints += _taken(config, number)
            yield from (Finding(("service", row, "endpoints", at, "address"), text) for text in complaints)


def _taken(config: Config, number: int) -> list[str]:
    """What an IPv6 host cannot have that number for."""
    complaints, own = [], config.translation.rfc6791_ipv6
    if config.pool6 and _is_in(number, config.pool6):
        complaints.append(f"expected an IPv6 host outside pool6, {config.pool6}")
    if number == int(config.tun.ipv6):
        complaints.append("expected an address other than [tun] ipv6, the translator's own")
    if own and _is_in(number, own):
        complaints.append(f"expected an address outside [translation] rfc6791_ipv6, {own}")
    return complaints


def _is_in(number: int, prefix: IPv6Network) -> bool:
    return number >> 128 - prefix.prefixlen == int(prefix.network_address) >> 128 - prefix.prefixlen
