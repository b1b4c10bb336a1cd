"""The IPv6 address that [clat] ipv6 = "interface:eth0" stands for, made of those that the interface has. Pure."""

from hashlib import sha256
from ipaddress import IPv6Address, IPv6Interface, IPv6Network
from typing import NamedTuple

from nat64d.config.addresses import BEHIND
from nat64d.host.facts import Facts, Link

SMALLEST = 120  # length of a prefix in which an address of our own is looked for; a /127 has none to spare
PRIVATE6 = IPv6Network("fc00::/7")  # RFC 4193


class Own6(NamedTuple):
    """What [clat] ipv6 is; `behind`: the interface behind whose address it is hidden, None if it is seen itself."""

    network: IPv6Network
    behind: str | None = None


def own6(facts: Facts, interface: str, before: IPv6Network | None = None) -> Own6 | None:
    """An unused address of a prefix of the interface, the one `before` as long as its prefix is there; BEHIND where it
    has single addresses only; None while it has neither, or global ones only that pass."""
    link = next((one for one in facts.links if one.name == interface), None)
    lasting = _lasting(link) if link else []
    roomy = [own for own in lasting if own.network.prefixlen <= SMALLEST]
    if link is None or not lasting:
        return None
    if not roomy:
        return Own6(BEHIND, interface)
    if before and any(before.subnet_of(own.network) for own in roomy):
        return Own6(before)
    return Own6(_made(roomy[0].network, link))


def _lasting(link: Link) -> list[IPv6Interface]:
    """The addresses of an interface that others can reach and that stay; private ones only where no other one is, not
    even a passing one: its successor is about to come."""
    found = [own for own in link.addresses if isinstance(own, IPv6Interface) and not own.is_link_local]
    public = [own for own in found if own.ip not in PRIVATE6]
    return [own for own in public or found if own not in link.passing]


def _made(prefix: IPv6Network, link: Link) -> IPv6Network:
    """An address that is the same each time, and another one on every other host: as RFC 7217 has it, made of the
    prefix and of the link-local address, which no other host on the link has."""
    local = [own.ip for own in link.addresses if own.version == 6 and own.is_link_local]
    taken = {own.ip for own in link.addresses}
    for count in range(len(taken) + 2):
        digest = sha256(f"nat64d {prefix} {local or sorted(map(str, taken))} {count}".encode()).digest()
        address = IPv6Address(int(prefix[0]) | int.from_bytes(digest[:16], "big") & int(prefix.hostmask))
        if address not in taken and address != prefix[0]:  # RFC 4291 section 2.6.1: that is the routers'
            break
    return IPv6Network(address)
