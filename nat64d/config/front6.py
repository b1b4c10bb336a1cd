"""IPv6 clients of services: what [services] ipv6_front, source6 and [[service]] ipv6 may be."""

from collections.abc import Iterator

from nat64d.config.models import Config
from nat64d.config.problems import Finding

# LIMITS
ADDRESSES6 = 65536  # of services
SUFFIX = 64  # bits of an address of source6 that tell clients apart


def front6(config: Config) -> Iterator[Finding]:
    """Each way has what it needs; addresses of services are no hosts', and nobody else's."""
    yield from _source6(config)
    vips = sorted(config.vips6)
    if len(vips) > ADDRESSES6:
        yield Finding(("service",), f"expected at most {ADDRESSES6} IPv6 addresses of services, not {len(vips)}")
    ends = {one.end6.address for service in config.service for one in service.endpoints} if vips else set()
    for row, service in enumerate(config.service):
        if service.end6 is None:
            continue
        address, place = service.end6.address, ("service", row, "ipv6")
        if config.services.ipv6_front == "off":
            told = 'expected none while [services] ipv6_front is "off": it takes "dnat", by which endpoints see clients'
            yield Finding(place, f'{told} as they are, or "fullnat" with source6, by which they see other addresses')
        for prefix in (one for one in config.prefixes if one and address in one):
            yield Finding(place, f"expected an address outside {prefix}, which stands for IPv4 hosts")
        if address == config.tun.ipv6:
            yield Finding(place, "expected an address other than [tun] ipv6, the translator's own")
        if address in ends:
            yield Finding(place, "expected an address that no endpoint has")
        if config.services.source6 and address in config.services.source6:
            yield Finding(place, f"expected an address outside source6, {config.services.source6}")
        if covering := next((eam.ipv6 for eam in config.mappings if address in eam.ipv6), None):
            yield Finding(place, f"expected an address that [[eam]] does not map; a row maps {covering}")


def _source6(config: Config) -> Iterator[Finding]:
    given, place = config.services, ("services", "source6")
    if given.ipv6_front != "fullnat":
        if given.source6:
            yield Finding(place, 'expected none: only ipv6_front = "fullnat" takes one')
        return
    if not given.source6:
        yield Finding(
            place, 'expected a prefix of length 64 such as "fd00:64::/64": with "fullnat" endpoints see its addresses'
        )
        return
    if given.source6.prefixlen != SUFFIX:
        yield Finding(place, f"expected a prefix of length {SUFFIX}")
    for prefix in (one for one in config.prefixes if one and given.source6.overlaps(one)):
        yield Finding(place, f"expected a prefix apart from {prefix}, which stands for IPv4 hosts")
    if config.tun.ipv6 in given.source6:
        yield Finding(place, "expected a prefix without [tun] ipv6, the translator's own")
    for row, service in enumerate(config.service):
        for at, endpoint in enumerate(service.endpoints):
            if endpoint.end6.address in given.source6:
                where = ("service", row, "endpoints", at, "address")
                yield Finding(where, f"expected an IPv6 host outside source6, {given.source6}")
