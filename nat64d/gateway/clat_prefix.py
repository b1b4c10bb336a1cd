"""The network's NAT64 prefix: what its routers announce (RFC 8781), or else what is found in the AAAA records that its
DNS64 makes for ipv4only.arpa (RFC 7050).

That name has two IPv4 addresses and no IPv6 address. A resolver that answers with IPv6 addresses has embedded those two
(RFC 6052).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import NamedTuple, Protocol

from nat64d.config.addresses import found_prefix
from nat64d.dns64.rules.local import WELL_KNOWN4
from nat64d.dns64.rules.policy import extract
from translator.static.arithmetic import LENGTHS

# SPEC: RFC 7050 sections 2.2 and 3
NAME = "ipv4only.arpa."
WELL_KNOWN = tuple(map(IPv4Address, WELL_KNOWN4))
SPLIT = (40, 48, 56)  # prefix lengths at which the octet that stays zero divides an embedded address
EARLY = 10  # seconds before the TTL ends, the question is repeated
# LIMITS, in seconds
ATTEMPT = 5.0  # for one question
SHORTEST, LONGEST = 10, 86400  # between two questions, whatever the TTL says
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # after a question that failed and has no TTL to obey; doubles
LOOK = 10.0  # between two looks at resolv.conf, and at what routers announce, while waiting
# LIMITS, in answers
CALM = 8  # that have the prefix in use: a change after so many is a rare one
MOST = 64  # that must lack it


class Addresses(NamedTuple):
    """The IPv6 addresses of NAME and the TTL of the answer; no address: the resolver is no DNS64."""

    addresses: tuple[IPv6Address, ...]
    ttl: int


class Found(NamedTuple):
    """Prefixes, the one to use first, for how many seconds they hold, and who says so."""

    prefixes: tuple[IPv6Network, ...]
    ttl: int
    by: str = "ipv4only.arpa (RFC 7050)"


class DiscoveryError(Exception):
    """There is no prefix; one clause says why. `ttl`: seconds for which the question must not be repeated."""

    def __init__(self, reason: str, ttl: int = 0) -> None:
        super().__init__(reason)
        self.ttl = ttl


class Resolver(Protocol):
    """Whom the question goes to, unless routers have answered it before."""

    async def announced(self) -> Found | None:
        """What routers announce, if they do."""

    async def ask(self) -> Addresses:
        """Ask for the AAAA records of NAME. Raises DiscoveryError."""

    def servers(self) -> Sequence[str]:
        """The name servers that are asked. When these change, the host is in another network."""


Sleep = Callable[[float], Awaitable[None]]
RESOLV_CONF = "/etc/resolv.conf"
Say = Callable[[str], None]


def prefixes_in(addresses: Sequence[IPv6Address]) -> tuple[IPv6Network, ...]:
    """Section 3: the prefixes around WELL_KNOWN, in the order of the answer, each once.

    An address that holds one of WELL_KNOWN twice does not show which of the two is the embedded one. Such an address
    counts only if another address has the other of WELL_KNOWN behind the same prefix.
    """
    seen: dict[IPv6Network, set[IPv4Address]] = {}
    for address in addresses:
        for prefix, embedded in _around(address):
            seen.setdefault(prefix, set()).add(embedded)
    sure = []
    for address in addresses:
        around = list(_around(address))
        both = [prefix for prefix, _ in around if len(seen[prefix]) == len(WELL_KNOWN)]
        once = [p for p, embedded in around if address.packed.count(embedded.packed) == (p.prefixlen not in SPLIT)]
        found = both or (once if len(around) == 1 else [])
        sure += found if len(found) == 1 else []
    return tuple(dict.fromkeys(sure))


def _around(address: IPv6Address) -> Iterator[tuple[IPv6Network, IPv4Address]]:
    """The prefixes of an address that has one of WELL_KNOWN at its place (RFC 6052 section 2.2), and which one."""
    for length in LENGTHS:
        prefix = IPv6Network((address, length), strict=False)
        embedded = IPv4Address(extract(prefix, address))
        if embedded in WELL_KNOWN:
            with suppress(ValueError):  # no prefix that a translator may have
                yield found_prefix(prefix), embedded


def refuse_inside(clat6: IPv6Network, prefix: IPv6Network) -> None:
    """[clat] ipv6 cannot be part of the provider's prefix: raises DiscoveryError."""
    if clat6.overlaps(prefix):
        raise DiscoveryError(
            f"[clat] ipv6 = {clat6} is inside the provider's NAT64 prefix {prefix}: choose an address outside."
        )


async def ask(resolver: Resolver) -> Found:
    """Ask once; raises DiscoveryError. RFC 8781 section 5.1: what routers announce goes first, and alone."""
    if announced := await resolver.announced():
        return announced
    addresses, ttl = await resolver.ask()
    ttl = min(ttl, LONGEST)
    if not addresses:
        raise DiscoveryError(f"the resolver knows no IPv6 address of {NAME}, so it is no DNS64", ttl)
    prefixes = prefixes_in(addresses)
    if not prefixes:
        raise DiscoveryError(f"no NAT64 prefix in {', '.join(map(str, addresses))}, the addresses of {NAME}", ttl)
    return Found(prefixes, ttl)


async def discover(resolver: Resolver, say: Say, sleep: Sleep = asyncio.sleep) -> Found:
    """Ask until there is a prefix; `say` gets a sentence each time there is none.

    Section 3: a negative answer is not asked for again before its TTL ends; other failures are retried after a pause
    that doubles.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            return await ask(resolver)
        except DiscoveryError as error:
            wait = max(pause, error.ttl)
            say(f"waiting for the prefix of the provider's NAT64: {error}; asking again in {wait:g} s")
        await _wait(wait, resolver, sleep)
        pause = min(2 * pause, LONGEST_PAUSE)


class Damping:
    """How many answers in a row must lack the prefix in use until there is another one.

    A resolver may take turns with several prefixes, and every change cuts connections off. So the number begins with
    one and doubles with each change; CALM answers in a row that have the prefix, or another network, begin anew.
    """

    def __init__(self) -> None:
        self._needed, self._lacking, self._calm = 1, 0, 0

    def has_it(self) -> None:
        """An answer has the prefix in use."""
        self._lacking, self._calm = 0, self._calm + 1
        if self._calm >= CALM:
            self._needed = 1

    def lacks_it(self, elsewhere: bool) -> bool:
        """An answer lacks it; returns whether that is enough. `elsewhere`: the host is in another network."""
        self._lacking, self._calm = self._lacking + 1, 0
        if elsewhere:
            self._needed = 1
        return self._lacking >= self._needed

    def changed(self) -> None:
        """There is another prefix in use."""
        self._needed, self._lacking = min(2 * self._needed, MOST), 0


async def follow(
    found: Found,
    resolver: Resolver,
    say: Say,
    use: Callable[[IPv6Network], Awaitable[bool]],
    sleep: Sleep = asyncio.sleep,
) -> None:
    """Let `use` change to the provider's prefix whenever there is another one, beginning with that of `found`; it says
    whether it has. If not, the old one stays until the next answer."""
    prefix, ttl, damping = found.prefixes[0], found.ttl, Damping()
    while True:
        other = await change_of(prefix, ttl, resolver, say, sleep, damping)
        ttl = other.ttl
        if await use(other.prefixes[0]):
            prefix = other.prefixes[0]
            damping.changed()


async def change_of(
    prefix: IPv6Network,
    ttl: int,
    resolver: Resolver,
    say: Say,
    sleep: Sleep = asyncio.sleep,
    damping: Damping | None = None,
) -> Found:
    """Ask again ten seconds before each TTL ends (section 3), until the answers have no `prefix`, as often as `damping`
    asks for it, or once; returns what the last one has.

    A question without a useful answer changes nothing.
    """
    damping = damping or Damping()
    while True:
        servers = resolver.servers()
        await _wait(max(ttl - EARLY, SHORTEST), resolver, sleep)
        found = await discover(resolver, say, sleep)
        if prefix in found.prefixes:
            damping.has_it()
        elif damping.lacks_it(elsewhere=resolver.servers() != servers):
            return found
        ttl = found.ttl


async def _wait(seconds: float, resolver: Resolver, sleep: Sleep) -> None:
    """Wait so long, or until the host has other name servers, or its routers announce something else: a TTL says
    nothing about another network."""
    before = await _sources(resolver)
    while seconds > 0 and await _sources(resolver) == before:
        await sleep(min(seconds, LOOK))
        seconds -= LOOK


async def _sources(resolver: Resolver) -> tuple[Sequence[str], Sequence[IPv6Network]]:
    """The name servers, and the prefixes that routers announce."""
    announced = await resolver.announced()
    return resolver.servers(), announced.prefixes if announced else ()
