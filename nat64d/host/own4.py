"""The addresses that a [[pool4]] with addresses = "interface:eth0" shares with this host, and whether its ports are
free for that. Pure, but for `read_sockets`."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nat64d.config.problems import Finding
from nat64d.host import sysctl
from translator.static.blocks import LINK_LOCAL4

if TYPE_CHECKING:
    from nat64d.config.models import Config
    from nat64d.config.pool4 import Pool4
    from nat64d.host.facts import Facts, Link

PROC = Path("/proc/thread-self/net")
MAPPED = bytes(10) + b"\xff\xff"  # of an IPv4 address in an IPv6 socket (RFC 4291 section 2.5.5.2)
RANGE, RESERVED = "net/ipv4/ip_local_port_range", "net/ipv4/ip_local_reserved_ports"
LISTENS = {"tcp": 0x0A, "udp": 0x07}  # net/tcp_states.h: TCP_LISTEN, and of a UDP socket without a peer TCP_CLOSE


class Bound(NamedTuple):
    """A port that a program of this host receives at: of "tcp" or "udp", at one IPv4 address, or at all (None)."""

    protocol: str
    address: IPv4Address | None
    port: int


@dataclass(frozen=True)
class Sockets:
    """The ports that this host uses itself: those it may give to programs that connect, and those that are bound."""

    first: int = 32768
    last: int = 60999
    reserved: tuple[tuple[int, int], ...] = ()  # first and last of what it gives to nobody
    bound: frozenset[Bound] = frozenset()


UNKNOWN = Sockets()


@dataclass(frozen=True)
class Share:
    """Ports of an address of this host, the last included, and the protocols that they are led to our device for."""

    address: IPv4Address
    first: int
    last: int
    protocols: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.address}:{self.first}-{self.last}"


def own4(pools: Iterable["Pool4"], facts: "Facts") -> tuple["Pool4", ...]:
    """[[pool4]] with the addresses that its interfaces have now, a row for each of them; an interface that has none
    leaves its row without an address."""
    rows = dict.fromkeys(pool.at(None) if pool.interface else pool for pool in pools)
    links = {link.name: link for link in facts.links}
    return tuple(found for pool in rows for found in _settled(pool, links.get(pool.interface or "")))


def with_own4(config: "Config", read: Callable[[], "Facts"]) -> "Config":
    """The same, with the addresses that [[pool4]] has of interfaces now; the host is looked at only for that."""
    if all(pool.interface is None for pool in config.pool4):
        return config
    return config.with_pools(own4(config.pool4, read()))


def _settled(pool: "Pool4", link: "Link | None") -> list["Pool4"]:
    if pool.interface is None:
        return [pool]
    own = [one.ip for one in link.addresses if isinstance(one.ip, IPv4Address)] if link else []
    found = [address for address in dict.fromkeys(own) if address not in LINK_LOCAL4 and not address.is_loopback]
    return [pool.at(address) for address in found] or [pool]


def shares(config: "Config") -> tuple[Share, ...]:
    """What of this host's addresses is to be led to our device."""
    if not config.host.routes:
        return ()
    rows = (pool for pool in config.pool4 if pool.interface and pool.known)
    return tuple(Share(IPv4Address(pool.range.first), *pool.port_range, pool.protocols) for pool in rows)


def read_sockets() -> Sockets:
    """The ports that this host uses now. Raises OSError."""
    first, last = map(int, (sysctl.read(RANGE) or "32768 60999").split())
    bound = (one for name in LISTENS for file in (name, f"{name}6") for one in _bound(name, PROC / file))
    return Sockets(first, last, tuple(_reserved(sysctl.read(RESERVED) or "")), frozenset(bound))


def _reserved(text: str) -> Iterator[tuple[int, int]]:
    """Of "80,1000-1999"."""
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield int(first), int(last or first)


def _bound(protocol: str, table: Path) -> Iterator[Bound]:
    """The ports in a table such as /proc/net/udp, but for those of IPv6 addresses."""
    try:
        lines = table.read_text("ascii").splitlines()[1:]
    except FileNotFoundError:  # this kernel has no IPv6
        return
    for line in lines:
        _, local, _, state, *_ = line.split()
        address, _, port = local.partition(":")
        octets = _octets(address)
        everywhere = not any(octets)
        if int(state, 16) == LISTENS[protocol] and (everywhere or octets[:-4] in (b"", MAPPED)):
            yield Bound(protocol, None if everywhere else IPv4Address(octets[-4:]), int(port, 16))


def _octets(text: str) -> bytes:
    """An address of such a table: 32-bit numbers in the order of this machine, in hexadecimal."""
    numbers = (int(text[at : at + 8], 16) for at in range(0, len(text), 8))
    return b"".join(number.to_bytes(4, sys.byteorder) for number in numbers)


def ports_given_away(config: "Config", facts: "Facts") -> Iterator[Finding]:
    """This host must not give a shared port to a program: its replies would come to our device."""
    sockets = facts.sockets
    for row, pool in _rows(config):
        first, last = max(pool.port_range[0], sockets.first), min(pool.port_range[1], sockets.last)
        if first <= last and not _covered(first, last, sockets.reserved):
            told = ",".join([*(f"{a}-{b}" for a, b in sockets.reserved), f"{first}-{last}"])
            expected = (
                f"expected ports that this host gives to no program of its own; it does so with {sockets.first}-"
                f"{sockets.last} (ip_local_port_range). Run '{sysctl.command([(RESERVED, told)])}', or take others"
            )
            yield Finding(("pool4", row, "ports"), expected)


def ports_in_use(config: "Config", facts: "Facts") -> Iterator[Finding]:
    """A program that receives at a shared port gets nothing more."""
    for row, pool in ((row, pool) for row, pool in enumerate(config.pool4) if pool.interface):
        own = IPv4Address(pool.range.first) if pool.known else None
        taken = sorted(
            (one.port, one.protocol)
            for one in facts.sockets.bound
            if one.protocol in pool.protocols
            and (one.address is None or own in (None, one.address))
            and pool.port_range[0] <= one.port <= pool.port_range[1]
        )
        if taken:
            port, protocol = taken[0]
            more = f", and at {len(taken) - 1} more" if len(taken) > 1 else ""
            expected = (
                f"expected ports at which no program of this host receives; one does at {port} ({protocol}){more}, and "
                f"gets nothing there any more. Run 'ss -lnp sport = :{port}' to see which, or take others"
            )
            yield Finding(("pool4", row, "ports"), expected)


def pool4_without_address(config: "Config", facts: "Facts") -> Iterator[Finding]:
    """Without an address there is nothing to translate to."""
    names = {link.name for link in facts.links}
    for row, pool in _rows(config):
        if not pool.known:
            name = pool.interface
            what = f"run 'ip address add ADDRESS/LENGTH dev {name}'" if name in names else "there is no such interface"
            yield Finding(
                ("pool4", row, "addresses"),
                f"expected an IPv4 address on {name}; without one nothing is translated: {what}",
            )


def _rows(config: "Config") -> Iterator[tuple[int, "Pool4"]]:
    """Those of [[pool4]] that share addresses, the first of those that are of one interface and have the same ports."""
    seen = set()
    for row, pool in enumerate(config.pool4):
        if pool.interface and (unsettled := pool.at(None)) not in seen:
            seen.add(unsettled)
            yield row, pool


def _covered(first: int, last: int, spans: Iterable[tuple[int, int]]) -> bool:
    """Whether spans have all of first..last between them."""
    for begin, end in sorted(spans):
        if begin <= first:
            first = max(first, end + 1)
    return first > last
