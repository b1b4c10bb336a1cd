"""[services] and [[service]] client_prefix: prefixes of clients overlap nothing that another section has."""

from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network
from typing import Literal

from nat64d.config.addresses import is_well_known_cut
from nat64d.config.expected import Path
from nat64d.config.models import Config
from nat64d.config.owners import Claims, span
from nat64d.config.problems import Finding
from translator.static.blocks import WELL_KNOWN

# LIMITS
CLIENT_PREFIXES = 63  # beside pool6: packets that no session knows, and those to no prefix, are compared with each


def client_prefixes(config: Config) -> Iterator[Finding]:
    """Each client prefix is a network of its own: neither hosts, nor the translator, nor other prefixes are in it."""
    claims, count = Claims[str](), 0
    if config.pool6:
        claims.claim("", *span(config.pool6), f"pool6, {config.pool6}")
    for place, prefix in places(config):
        count += 1
        if is_well_known_cut(prefix):
            yield Finding(place, f"expected {WELL_KNOWN}, in no other length, or another prefix (RFC 6052 section 2.1)")
        elif other := claims.claim("", *span(prefix), f"client_prefix {prefix}"):
            yield Finding(place, f"expected a prefix that does not overlap {other}")
        if count == CLIENT_PREFIXES + 1:
            yield Finding(place, f"expected at most {CLIENT_PREFIXES} prefixes of clients in all, beside pool6")
    for place, others in _others(config) if count else ():
        owner = claims.owner("", *(span(others) if isinstance(others, IPv6Network) else [int(others)] * 2))
        if owner and not owner.startswith("pool6"):
            yield Finding(place, f"expected addresses outside {owner}")


def places(config: Config) -> Iterator[tuple[Path, IPv6Network]]:
    """Where a prefix of clients other than pool6 is given first."""
    given: list[tuple[Path, IPv6Network | Literal[""]]] = [
        (("services", "client_prefix"), config.services.client_prefix),
        *((("service", row, "client_prefix"), service.client_prefix) for row, service in enumerate(config.service)),
    ]
    known = {config.pool6}
    for place, prefix in given:
        if prefix and prefix not in known:
            known.add(prefix)
            yield place, prefix


def _others(config: Config) -> Iterator[tuple[Path, IPv6Network | IPv6Address]]:
    """Where other sections have IPv6 hosts, and what DNS64 makes addresses under."""
    yield ("tun", "ipv6"), config.tun.ipv6
    if config.translation.rfc6791_ipv6:
        yield ("translation", "rfc6791_ipv6"), config.translation.rfc6791_ipv6
    for row, pool in enumerate(config.pool4):
        if pool.source:
            yield ("pool4", row, "source"), pool.source
    yield from ((("eam", row, "ipv6"), entry.ipv6) for row, entry in enumerate(config.eam))
    yield from ((("forward", row, "ipv6"), entry.end6.address) for row, entry in enumerate(config.forward))
    for row, service in enumerate(config.service):
        for at, endpoint in enumerate(service.endpoints):
            yield ("service", row, "endpoints", at, "address"), endpoint.end6.address
    if config.dns64:
        for name in ("ranges", "policy"):
            rows = enumerate(getattr(config.dns64, name))
            yield from ((("dns64", name, row, "pool6"), given.pool6) for row, given in rows if given.pool6)
