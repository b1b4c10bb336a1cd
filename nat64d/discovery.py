"""RFC 7050: the prefix of the network's NAT64, read out of the IPv6 addresses its DNS64 makes for ipv4only.arpa.

That name has two IPv4 addresses and no IPv6 one; a resolver that gives it some has embedded those two (RFC 6052).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import NamedTuple

import dns.asyncresolver
import dns.exception
import dns.resolver

from nat64d.config.addresses import RFC6052_LENGTHS, translation_prefix
from nat64d.dns64.local import WELL_KNOWN4
from nat64d.dns64.policy import extract

# SPEC
NAME = "ipv4only.arpa."
WELL_KNOWN = tuple(map(IPv4Address, WELL_KNOWN4))
# LIMITS, in seconds
ATTEMPT = 5.0  # for one question
SHORTEST, LONGEST = 60, 86400  # between two questions, whatever the TTL says
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # after a question without a useful answer; doubles


class Answer(NamedTuple):
    """The IPv6 addresses of NAME, and for how many seconds that is so; none: the resolver does no DNS64."""

    addresses: tuple[IPv6Address, ...]
    ttl: int


class Found(NamedTuple):
    """Prefixes, the one to use first, and the seconds until they should be asked for again."""

    prefixes: tuple[IPv6Network, ...]
    ttl: int


class DiscoveryError(Exception):
    """No prefix; one clause that says why."""


Resolve = Callable[[], Awaitable[Answer]]
Sleep = Callable[[float], Awaitable[None]]
Say = Callable[[str], None]


async def ask_resolver() -> Answer:
    """Ask the resolver of this host, whose configuration is read anew each time; raises DiscoveryError.

    The question has the CD bit clear: with it set a DNS64 would not make addresses (RFC 6147 section 5.5).
    """
    try:
        found = await dns.asyncresolver.Resolver().resolve(NAME, "AAAA", search=False, lifetime=ATTEMPT)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return Answer((), 0)
    except (dns.exception.DNSException, OSError) as error:
        raise DiscoveryError(f"no answer about {NAME} ({error})") from None
    assert found.rrset is not None
    return Answer(tuple(IPv6Address(record.address) for record in found), found.rrset.ttl)


def prefixes_in(addresses: Sequence[IPv6Address]) -> tuple[IPv6Network, ...]:
    """Section 3: the prefixes around WELL_KNOWN, in the order of the answer, each once.

    One of the two may happen to stand in the prefix as well. So a prefix behind which both were seen is preferred, and
    an address that still leaves a choice says nothing.
    """
    seen: dict[IPv6Network, set[IPv4Address]] = {}
    for address in addresses:
        for prefix, embedded in _around(address):
            seen.setdefault(prefix, set()).add(embedded)
    sure = []
    for address in addresses:
        around = [prefix for prefix, _ in _around(address)]
        found = [prefix for prefix in around if len(seen[prefix]) == len(WELL_KNOWN)] or around
        sure += found if len(found) == 1 else []
    return tuple(dict.fromkeys(sure))


def _around(address: IPv6Address) -> Iterator[tuple[IPv6Network, IPv4Address]]:
    """The prefixes of an address that has one of WELL_KNOWN at its place (RFC 6052 section 2.2), and which one."""
    for length in RFC6052_LENGTHS:
        prefix = IPv6Network((address, length), strict=False)
        embedded = IPv4Address(extract(prefix, address))
        if embedded in WELL_KNOWN:
            with suppress(ValueError):  # no prefix that a translator may have
                yield translation_prefix(str(prefix)), embedded


async def ask(resolve: Resolve) -> Found:
    """One question; raises DiscoveryError."""
    answer = await resolve()
    if not answer.addresses:
        raise DiscoveryError(f"the resolver knows no IPv6 address of {NAME}, so it does no DNS64")
    prefixes = prefixes_in(answer.addresses)
    if not prefixes:
        raise DiscoveryError(f"no NAT64 prefix in {', '.join(map(str, answer.addresses))}, the addresses of {NAME}")
    return Found(prefixes, min(max(answer.ttl, SHORTEST), LONGEST))


async def discover(resolve: Resolve, say: Say, sleep: Sleep = asyncio.sleep) -> Found:
    """Ask until there is a prefix; `say` is told why there is none yet."""
    pause = FIRST_PAUSE
    while True:
        try:
            return await ask(resolve)
        except DiscoveryError as error:
            say(f"waiting for the prefix of the provider's NAT64: {error}")
        await sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


async def change_of(
    prefix: IPv6Network, ttl: int, resolve: Resolve, say: Say, sleep: Sleep = asyncio.sleep
) -> IPv6Network:
    """Ask again whenever the answer grows old, until it holds `prefix` no longer; returns what it holds instead.

    No answer is no change.
    """
    while True:
        await sleep(ttl)
        found = await discover(resolve, say, sleep)
        if prefix not in found.prefixes:
            return found.prefixes[0]
        ttl = found.ttl
