"""The configuration, as the document that the name server's processes get as JSON.

The processes load neither pydantic nor numba, and read no configuration file.
"""

from collections.abc import Iterable
from contextlib import suppress
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from pathlib import Path
from typing import Any

from nat64d.config.addresses import split_listener, split_name_server
from nat64d.config.models import Config, Dns64
from nat64d.dns64.message.wire import name_of
from nat64d.dns64.rules.policy import Policy, Range, ranges_for
from nat64d.dns64.upstreams.exchange import DNS, ServerAddress
from translator.static.blocks import LOCAL, NON_GLOBAL4, WELL_KNOWN

Network = IPv4Network | IPv6Network
RESOLV_CONF = Path("/etc/resolv.conf")


def plan(config: Config, on_link: Iterable[Network], servers: list[ServerAddress]) -> dict[str, Any]:
    """The document. `on_link`: prefixes of this host's links; `servers`: the name servers of resolv.conf."""
    given = config.dns64 or Dns64()
    clients = (*LOCAL, *on_link) if given.clients == "local" else given.clients
    rows = tuple(Range(row.ipv4, row.pool6) for row in given.ranges)
    base = Policy(
        clients=clients,
        ranges=(*rows, *_ranges(config, config.pool6)),
        exclude=given.exclude,
        exclude_names=tuple(name_of(name.lower()) for name in given.exclude_names),
        force_names=tuple(name_of(name.lower()) for name in given.force_names),
        synthesise=config.pool6 is not None,
    )
    policies = [
        Policy(
            clients=row.clients,
            ranges=(*rows, *_ranges(config, row.pool6 or config.pool6)),
            exclude=base.exclude if row.exclude is None else row.exclude,
            exclude_names=base.exclude_names,
            force_names=base.force_names,
            synthesise=row.synthesise,
            filter_a=row.filter_a,
        )
        for row in given.policy
    ]
    asked = servers if given.upstream == "system" else [_server(text) for text in given.upstream]
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


def _server(text: str) -> ServerAddress:
    return ServerAddress(*split_name_server(text))


def listeners(texts: Iterable[str]) -> list[list[Any]]:
    """The addresses to listen on, in the form that `server_addresses` reads."""
    return [[str(address), port, None] for address, port in map(split_listener, texts)]


def _ranges(config: Config, pool6: IPv6Network | None) -> tuple[Range, ...]:
    """The ranges under a prefix. The non-global blocks are left out under the well-known prefix only (RFC 6052 section
    3.1), and what denylist4 keeps from being translated here under the prefix of this translator."""
    if not pool6:
        return ()
    strict = NON_GLOBAL4 if config.strict_well_known_prefix and pool6 == WELL_KNOWN else ()
    denied = config.denied4.iter_cidrs() if pool6 == config.pool6 else ()
    return (*(Range(IPv4Network(str(block)), None) for block in denied), *ranges_for(pool6, strict, None))


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


def system_servers(text: str, own: Iterable[IPv4Address | IPv6Address]) -> list[ServerAddress]:
    """The name servers of a resolv.conf(5), link-local ones with their link, without `own` addresses (on which this
    name server listens) and without words that are no address."""
    addresses = []
    for keyword, word, *_ in (line.split() for line in text.splitlines() if len(line.split()) > 1):
        if keyword == "nameserver":
            with suppress(ValueError):
                addresses.append(ip_address(word))
    mine = set(own)
    return [ServerAddress(address, DNS) for address in dict.fromkeys(addresses) if address not in mine]
