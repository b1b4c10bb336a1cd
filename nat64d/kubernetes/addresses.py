"""Which Service has which addresses: pure, so that two controllers come to the same end.

In the order of age: what a Service has it keeps, as long as a pool has it; then come the addresses that are asked for,
by name; then the lowest free ones. What works is never changed unasked.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, TypeAlias

from netaddr import AddrFormatError, IPNetwork, IPRange

Address: TypeAlias = IPv4Address | IPv6Address
Key: TypeAlias = tuple[str, str]  # namespace and name
Age: TypeAlias = tuple[str, str]  # creationTimestamp and UID; the older is the smaller

POOL_EXHAUSTED, ADDRESS_IN_USE, OUTSIDE_POOL = "PoolExhausted", "AddressInUse", "AddressOutsidePool"


class Pool(NamedTuple):
    """Addresses to give. `blocks`: prefixes, or FIRST-LAST; `families`: those that a Service gets unless it says
    otherwise, () = those of the blocks; `auto`: also to who has not named it."""

    name: str
    age: Age
    blocks: tuple[str, ...]
    families: tuple[int, ...] = ()
    auto: bool = True


class Range(NamedTuple):
    """From the first address to the last one, as numbers."""

    family: int
    first: int
    last: int

    def __str__(self) -> str:
        first, last = (str(_address(self.family, one)) for one in (self.first, self.last))
        return first if first == last else f"{first}-{last}"

    def has(self, address: Address) -> bool:
        """Whether it is one of them."""
        return self.family == address.version and self.first <= int(address) <= self.last

    def overlaps(self, other: "Range") -> bool:
        """Whether they have an address in common."""
        return self.family == other.family and self.first <= other.last and other.first <= self.last


def range_of(block: str) -> Range:
    """Of a prefix, an address, or FIRST-LAST. Raises ValueError."""
    try:
        first, dash, last = block.partition("-")
        one = IPRange(first.strip(), last.strip()) if dash else IPNetwork(first.strip())
    except (AddrFormatError, ValueError) as error:
        raise ValueError(f"{block!r} is no block: {error}") from None
    return Range(one.version, one.first, one.last)


def _address(family: int, value: int) -> Address:
    return IPv4Address(value) if family == 4 else IPv6Address(value)


class Claim(NamedTuple):
    """What a Service wants. `ports`: protocol and number; `has`: of its status; `asked`: by name; `pool`: of the one
    of this name, "" = any; `families`: () = those of the pool; `sharing`: the key under which it shares an address
    with Services that have other ports, "" = with none."""

    key: Key
    age: Age
    ports: frozenset[tuple[str, int]]
    has: tuple[Address, ...] = ()
    asked: tuple[Address, ...] = ()
    pool: str = ""
    families: tuple[int, ...] = ()
    sharing: str = ""


class Problem(NamedTuple):
    """What a Service has not got: a reason of the conditions and Events, and a sentence."""

    reason: str
    sentence: str


class Given(NamedTuple):
    """What a Service gets, in the order of its status: IPv4 first."""

    addresses: tuple[Address, ...] = ()
    problems: tuple[Problem, ...] = ()


def allocate(pools: Iterable[Pool], claims: Iterable[Claim], taken: Iterable[tuple[str, str]] = ()) -> dict[Key, Given]:
    """The addresses of every claim, by its key. What is `taken` (a prefix or range, and whose it is) is given to nobody
    who has not got it."""
    return _Allocation(pools, claims, taken).given()


def contradictions(pools: Iterable[Pool], taken: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Pools that cannot be used, by name, each with a sentence: blocks that are none, and those that overlap an older
    pool or what is `taken` (a prefix or range, and whose it is)."""
    wrong: dict[str, str] = {}
    used = [*_readable(taken)]
    for pool in sorted(pools, key=lambda one: (one.age, one.name)):
        try:
            ranges = [range_of(block) for block in pool.blocks]
        except ValueError as error:
            wrong[pool.name] = f"{error}; expected prefixes, as 192.0.2.0/24, or ranges, as 192.0.2.1-192.0.2.9"
            continue
        clash = [(one, other, whose) for one in ranges for other, whose in used if one.overlaps(other)]
        if clash:
            one, other, whose = clash[0]
            wrong[pool.name] = f"its block {one} overlaps {other} of {whose}"
        else:
            used += [(one, f"VIPPool {pool.name}") for one in ranges]
    return wrong


def _readable(taken: Iterable[tuple[str, str]]) -> Iterator[tuple[Range, str]]:
    """The blocks of others; one that is none takes nothing."""
    for block, whose in taken:
        with suppress(ValueError):
            yield range_of(block), whose


class _Allocation:
    """One run of the rules. `_holders`: the claims that have an address so far."""

    def __init__(self, pools: Iterable[Pool], claims: Iterable[Claim], taken: Iterable[tuple[str, str]]) -> None:
        self._taken = [*_readable(taken)]
        self._pools = sorted(pools, key=lambda one: one.name)
        self._ranges = {pool.name: [range_of(block) for block in pool.blocks] for pool in self._pools}
        self._unused = {(pool.name, family): self._free(pool, family) for pool in self._pools for family in (4, 6)}
        self._claims = sorted(claims, key=lambda one: (one.age, one.key))
        self._holders: dict[Address, list[Claim]] = {}
        self._addresses: dict[Key, dict[int, Address]] = {one.key: {} for one in self._claims}
        self._problems: dict[Key, list[Problem]] = {one.key: [] for one in self._claims}

    def given(self) -> dict[Key, Given]:
        for step in (self._keep, self._grant, self._choose):
            for claim in self._claims:
                step(claim)
        return {
            key: Given(tuple(found[family] for family in sorted(found)), tuple(self._problems[key]))
            for key, found in self._addresses.items()
        }

    def _keep(self, claim: Claim) -> None:
        """What it has, one of a family, unless it is in no pool or somebody older has it."""
        for address in claim.has:
            if (
                self._is_in(address, "")
                and address.version not in self._addresses[claim.key]
                and self._is_free(address, claim)
            ):
                self._take(address, claim)

    def _grant(self, claim: Claim) -> None:
        """What it asks for; until it can have that it keeps what it has."""
        for asked in claim.asked:
            found = self._addresses[claim.key].get(asked.version)
            if found == asked:
                continue
            if not self._is_in(asked, claim.pool):
                which = f"VIPPool {claim.pool}" if claim.pool else "any VIPPool"
                self._problem(claim, OUTSIDE_POOL, f"{asked} is not in {which}")
            elif whose := next((whose for other, whose in self._taken if other.has(asked)), ""):
                self._problem(claim, ADDRESS_IN_USE, f"{whose} has {asked}")
            elif not self._is_free(asked, claim):
                holder = "/".join(self._holders[asked][0].key)
                self._problem(claim, ADDRESS_IN_USE, f"Service {holder} has {asked}")
            else:
                if found is not None:
                    self._release(found, claim)
                self._take(asked, claim)

    def _choose(self, claim: Claim) -> None:
        """The lowest free address of each family that it has none of, and has asked for none of."""
        pools = [pool for pool in self._pools if (pool.name == claim.pool if claim.pool else pool.auto)]
        asked = {address.version for address in claim.asked}
        for family in claim.families or self._families(claim, pools):
            if family in asked or family in self._addresses[claim.key]:
                continue
            free = (one for pool in pools if (one := next(self._unused[pool.name, family], None)) is not None)
            if (address := next(free, None)) is not None:
                self._take(address, claim)
            else:
                self._problem(claim, POOL_EXHAUSTED, self._without(claim, pools, family))

    def _families(self, claim: Claim, pools: list[Pool]) -> tuple[int, ...]:
        """Of who does not say: those of the first pool that it may use. Who has asked for addresses wants these."""
        if claim.asked:
            return ()
        if not pools:
            return (4,)
        return pools[0].families or tuple(sorted({one.family for one in self._ranges[pools[0].name]}))

    def _free(self, pool: Pool, family: int) -> Iterator[Address]:
        """From the lowest on; each is offered once, as who is offered one takes it."""
        for one in self._ranges[pool.name]:
            if one.family == family:
                value = one.first
                while value <= one.last:
                    address = _address(family, value)
                    others = [other.last for other, _ in self._taken if other.has(address)]
                    if not others and not self._holders.get(address):
                        yield address
                    value = max(others, default=value) + 1

    def _without(self, claim: Claim, pools: list[Pool], family: int) -> str:
        whose = f"VIPPool {claim.pool}" if claim.pool else "a VIPPool that gives to everybody"
        if not pools:
            return f"there is no {whose.removeprefix('a ')}"
        if not any(one.family == family for pool in pools for one in self._ranges[pool.name]):
            return f"no IPv{family} address is in {whose}"
        return f"no IPv{family} address is free in {whose}"

    def _is_in(self, address: Address, name: str) -> bool:
        """Whether it is in the pool of that name, "" = in any."""
        pools = (pool for pool in self._pools if name in {"", pool.name})
        return any(one.has(address) for pool in pools for one in self._ranges[pool.name])

    def _is_free(self, address: Address, claim: Claim) -> bool:
        """Whether nobody has it, or only who shares it: under the same key, with other ports."""
        return all(
            bool(claim.sharing) and claim.sharing == other.sharing and not claim.ports & other.ports
            for other in self._holders.get(address, ())
            if other.key != claim.key
        )

    def _take(self, address: Address, claim: Claim) -> None:
        self._addresses[claim.key][address.version] = address
        self._holders.setdefault(address, []).append(claim)

    def _release(self, address: Address, claim: Claim) -> None:
        self._holders[address] = [one for one in self._holders[address] if one.key != claim.key]

    def _problem(self, claim: Claim, reason: str, sentence: str) -> None:
        self._problems[claim.key].append(Problem(reason, sentence))
