"""Config -> what the name server's process has to know, as a document that goes there by JSON.

The process has neither pydantic nor numba to load, and no configuration of its own to disagree with.
"""

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    summarize_address_range,
)
from pathlib import Path
from typing import Any

from nat64d.config.addresses import split_listener, split_name_server
from nat64d.config.models import PRIVATE4, WELL_KNOWN, Config, Dns64
from nat64d.dns64.exchange import DNS, Server
from nat64d.dns64.policy import Policy, Range, ranges_for
from nat64d.dns64.wire import name_of

Network = IPv4Network | IPv6Network
# Whom an embedded resolver may serve without being asked to (never the Internet): loopback, RFC 1918, RFC 6598, RFC
# 4193, link-local.
LOCAL: tuple[Network, ...] = (
    IPv4Network("127.0.0.0/8"),
    *PRIVATE4,
    *map(IPv6Network, ("::1/128", "fc00::/7", "fe80::/10")),
)
RESOLV_CONF = Path("/etc/resolv.conf")


def plan(
    config: Config, on_link: Iterable[Network], non_global: Iterable[IPv4Network], servers: list[Server]
) -> dict[str, Any]:
    """The document. `on_link`: prefixes of this host's links; `servers`: those of the system."""
    given = config.dns64 or Dns64()
    clients = (*LOCAL, *on_link) if given.clients == "local" else given.clients
    strict = tuple(non_global) if config.strict_well_known_prefix else ()
    rows = tuple(Range(row.ipv4, row.pool6) for row in given.ranges)
    base = Policy(
        clients=clients,
        ranges=(*rows, *_ranges(config.pool6, strict)),
        exclude=given.exclude,
        exclude_names=tuple(name_of(name.lower()) for name in given.exclude_names),
        force_names=tuple(name_of(name.lower()) for name in given.force_names),
        synthesise=config.pool6 is not None,
    )
    policies = [
        Policy(
            clients=row.clients,
            ranges=(*rows, *_ranges(row.pool6 or config.pool6, strict)),
            exclude=base.exclude if row.exclude is None else row.exclude,
            exclude_names=base.exclude_names,
            force_names=base.force_names,
            synthesise=row.synthesise,
            filter_a=row.filter_a,
        )
        for row in given.policy
    ]
    asked = servers if given.upstream == "system" else [Server(*split_name_server(text)) for text in given.upstream]
    return {
        "policies": [_policy_out(policy) for policy in (*policies, base)],
        "upstream": [[str(server.address), server.port, server.tls] for server in asked],
        "maps": [[str(row.ipv4), str(row.ipv6)] for row in config.eam],
        "dns46": given.dns46,
        "cache": given.cache,
        "rate": given.rate,
        "listen": listeners(given.listen),
        "processes": given.processes,
    }


def listeners(texts: Iterable[str]) -> list[list[Any]]:
    """Where it listens, in the form that servers have."""
    return [[str(address), port, None] for address, port in map(split_listener, texts)]


def non_global() -> tuple[IPv4Network, ...]:
    """RFC 6052 section 3.1: what the well-known prefix must not carry, as the translator sees it."""
    from translator.static.addresses import NON_GLOBAL  # noqa: PLC0415  numba

    spans = ((IPv4Address(int(first)), IPv4Address(int(last))) for first, last in NON_GLOBAL)
    return tuple(network for first, last in spans for network in summarize_address_range(first, last))


def _ranges(pool6: IPv6Network | None, strict: tuple[IPv4Network, ...]) -> tuple[Range, ...]:
    """RFC 6052 section 3.1 binds the well-known prefix only."""
    return ranges_for(pool6, strict if pool6 == WELL_KNOWN else (), None) if pool6 else ()


def _policy_out(policy: Policy) -> dict[str, Any]:
    return {
        "clients": [str(network) for network in policy.clients],
        "ranges": [[str(row.ipv4), str(row.pool6) if row.pool6 else None] for row in policy.ranges],
        "exclude": [str(network) for network in policy.exclude],
        "exclude_names": [name.hex() for name in policy.exclude_names],
        "force_names": [name.hex() for name in policy.force_names],
        "synthesise": policy.synthesise,
        "filter_a": policy.filter_a,
    }


def system_servers(text: str, own: Iterable[IPv4Address | IPv6Address]) -> list[Server]:
    """The name servers of a resolv.conf, link-local ones with their link, without those that are ourselves: `own`
    addresses we listen at."""
    addresses = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                addresses.append(ip_address(words[1]))
            except ValueError:
                continue
    mine = set(own)
    return [Server(address, DNS) for address in dict.fromkeys(addresses) if address not in mine]
