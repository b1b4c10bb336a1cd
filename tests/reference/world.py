"""The hosts and ports that histories are made of: few, so that packets meet.

A packet from IPv4 only matters when it goes to a mapping, so packets are drawn with the mappings known so far.
Everything random comes from a `random.Random`: hypothesis's own in the suite, a seeded one in `make fuzz-long`.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from random import Random
from typing import Any

from tests.reference.addresses import Eamt, Mapping, embed
from tests.reference.bib import Entry, Host4
from tests.reference.reading import ESP, TCP, UDP

GRE, SCTP = 47, 132
PROTOCOLS = {"udp": UDP, "tcp": TCP, "gre": GRE, "esp": ESP, "sctp": SCTP}  # and "icmp", whose number is the family's
CARRIED = ("udp", "tcp", "icmp")
PORTS = (53, 80, 1023, 1024, 5000, 5001, 65535)
HOSTS6 = IPv6Address("2001:db8:6::1"), IPv6Address("2001:db8:6::2")
HOSTS4 = IPv4Address("8.8.8.8"), IPv4Address("9.9.9.9")
TRANSLATABLE = IPv4Address("203.0.113.50")  # an IPv6 host that has its address from pool6, RFC 6052 2.1
ELSEWHERE = IPv6Address("2001:db8:ffff::1")  # neither pool6 nor any row has it
NOBODYS = IPv4Address("10.1.2.3")  # no host of these worlds has it
# RFC 6890: what is not forwarded, not global, or for documentation only.
SPECIAL = tuple(
    IPv4Address(text)
    for text in (
        *("0.0.0.0", "0.1.2.3", "127.0.0.1", "169.254.1.1", "169.254.64.9", "224.0.0.1", "240.0.0.1"),
        *("255.255.255.255", "10.0.0.1", "100.64.0.1", "172.16.0.1", "192.0.0.1", "192.168.7.2", "198.18.0.1"),
        *("192.0.2.9", "198.51.100.9", "203.0.113.9", "192.88.99.1"),
    )
)


@dataclass(frozen=True)
class World:
    """The hosts on both sides, and who is mapped to whom: `mapped` by packets (or configured), `rows` by `[[eam]]`."""

    pool6: IPv6Network | None
    hosts6: tuple[IPv6Address, ...] = HOSTS6
    hosts4: tuple[IPv4Address, ...] = HOSTS4
    routers6: tuple[IPv6Address, ...] = (IPv6Address("2001:db8:7::1"),)
    routers4: tuple[IPv4Address, ...] = (IPv4Address("1.1.1.1"),)
    eamt: Eamt = field(default_factory=lambda: Eamt([]))
    rows: tuple[Entry, ...] = ()
    mapped: list[Entry] = field(default_factory=list)
    extensions: bool = False  # RFC 4884 in ICMP errors
    clients: tuple[IPv6Network, ...] = ()  # other prefixes that services write their clients under
    is_customer: bool = False  # RFC 6877: its IPv4 hosts are those with a row

    @property
    def targets(self) -> list[Entry]:
        return [*self.mapped, *self.rows]

    def seen_from_ipv6(self, host4: IPv4Address, rng: Random | None = None) -> IPv6Address:
        """Under pool6, as every host writes it, or by chance under another prefix; without pool6 a row has to
        know it."""
        if self.clients and rng is not None and coin(rng):
            return embed(rng.choice(self.clients), host4)
        if self.pool6 is not None:
            return embed(self.pool6, host4)
        return self.eamt.to_ipv6(host4) or ELSEWHERE


def world_of(config: Any, extensions: bool) -> World:
    """The world of a `nat64d.config.Config`, of which only attributes are read."""
    stateful = bool(config.pool4 or config.forward or config.service)
    if not config.mappings and stateful:
        given = (config.services.client_prefix, *(service.client_prefix for service in config.service))
        return World(config.pool6, extensions=extensions, clients=tuple({one for one in given if one}))
    eamt = Eamt([Mapping(row.ipv4, row.ipv6) for row in config.mappings])
    embedded = () if stateful or config.pool6 is None else tuple(embed(config.pool6, host4) for host4 in HOSTS4)
    pairs = [pair for row in config.mappings for pair in pairs_of(eamt, row)]
    if config.pool6 is not None and not stateful:
        pairs.append((TRANSLATABLE, embed(config.pool6, TRANSLATABLE)))
    entries = [
        Entry(protocol, (host6, 5000), (host4, 5000), static=True)
        for host4, host6 in pairs
        for protocol in (*CARRIED, *CARRIED, "gre", "sctp", "esp")
    ]
    return World(
        config.pool6,
        hosts6=(
            *(HOSTS6 if stateful else ()),
            *(host6 for _, host6 in pairs),
            *trailing(pairs, eamt),
            HOSTS6[0],
            *embedded,
        ),
        eamt=eamt,
        rows=tuple(entries),
        extensions=extensions,
        is_customer=config.clat is not None,
    )


def pairs_of(eamt: Eamt, row: Any) -> list[tuple[IPv4Address, IPv6Address]]:
    """Addresses of a row, its ends and one between, with what the whole table makes of them."""
    last = row.ipv4.num_addresses - 1
    found = {row.ipv4[at] for at in (0, last, min(5, last))}
    return [(host4, host6) for host4 in sorted(found) if (host6 := eamt.to_ipv6(host4)) is not None]


def trailing(pairs: list[tuple[IPv4Address, IPv6Address]], eamt: Eamt) -> list[IPv6Address]:
    """Hosts whose address has bits set that the mapping leaves out (RFC 7757 3.3.2): no packet comes back to them."""
    found = [IPv6Address(int(host6) | 5) for _, host6 in pairs]
    return [one for one in found if (mapped := eamt.to_ipv4(one)) is not None and eamt.to_ipv6(mapped) != one]


def coin(rng: Random) -> bool:
    return rng.randrange(2) == 1


def one_in(rng: Random, times: int) -> bool:
    return rng.randrange(times) == 0


def peer_of(rng: Random, world: World, entry: Entry | None) -> Host4:
    """Who talks to this mapping: the peer of one of its sessions, a host of the world, another mapping."""
    if entry is not None and entry.sessions and coin(rng):
        return rng.choice(sorted(entry.sessions))
    if world.targets and one_in(rng, 4 if world.rows else 12):
        target = rng.choice(world.targets)
        if target.mapped4 is not None:
            return target.mapped4
    return rng.choice(world.hosts4), rng.choice(PORTS)
