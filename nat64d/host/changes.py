"""What is not as it was set up: pure functions of (Wanted, Standing), one row each in FOUND.

`Host.restore` sets it up again.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from nat64d.host import sysctl
from nat64d.host.standing import Standing
from nat64d.host.vips import in_order
from nat64d.host.wanted import Wanted

LOWEST_IPV6 = 1280  # octets: below this MTU a device has no IPv6 (RFC 8200 section 5)


class Difference(NamedTuple):
    """Something that has to be set up again: which row of FOUND, what it is (for `Host.restore`), and a clause for the
    operator."""

    name: str
    subject: object
    clause: str


def device_settings(wanted: Wanted, standing: Standing) -> Iterator[Difference]:
    """Up, MTU, reverse path filter and the like."""
    assert standing.device is not None
    there = {**standing.device.settings, "mtu": standing.device.mtu}
    names = {"up": "down", "mtu": f"at MTU {there['mtu']}"}
    changed = {name: value for name, value in wanted.settings.items() if there.get(name, value) != value}
    if wanted.sysctls and sysctl.is_strict(standing.parameters, wanted.tun):
        changed["rp_filter"] = 2  # loose
    if changed:
        how = ", ".join(names.get(name, f"with {name} = {there[name]}") for name in changed)
        yield Difference("device", changed, f"{wanted.tun} was {how}")


def ipv6(wanted: Wanted, standing: Standing) -> Iterator[Difference]:
    """Without it there are no IPv6 addresses and routes of the device."""
    if not sysctl.has_ipv6(standing.parameters, wanted.tun):
        yield Difference("ipv6", None, f"{sysctl.name(sysctl.disable_ipv6(wanted.tun))} was 1")


def addresses(wanted: Wanted, standing: Standing) -> Iterator[Difference]:
    """Those of our device."""
    for address in wanted.addresses:
        if address not in standing.addresses:
            yield Difference("address", address, f"the address {address} of {wanted.tun} was gone")


def routes(wanted: Wanted, standing: Standing) -> Iterator[Difference]:
    """Those to our device."""
    for network in wanted.networks:
        if network not in standing.networks:
            yield Difference("route", network, f"the route for {network} to {wanted.tun} was gone")
    if wanted.default and not standing.default:
        yield Difference("default", wanted.default, f"the IPv4 default route to {wanted.tun} was gone")


def neighbours(wanted: Wanted, standing: Standing) -> Iterator[Difference]:
    """The answer to neighbour discovery for [clat] ipv6, on the link that the address is on now."""
    if wanted.link and standing.link and not standing.proxied:
        yield Difference("proxy", standing.link, f"nobody answered for [clat] ipv6 on {standing.link}")


def answers(wanted: Wanted, standing: Standing) -> Iterator[Difference]:
    """Those to neighbours who ask for addresses of services."""
    there = {link.name for link in standing.facts.links}
    for vip in in_order(wanted.answered - standing.facts.proxied):
        if vip.link in there:
            yield Difference("answers", vip, f"nobody answered for {vip.address} on {vip.link}")


def masquerade(wanted: Wanted, standing: Standing) -> Iterator[Difference]:
    """The table, and the interfaces in it."""
    if wanted.masquerade and standing.masquerade != wanted.masquerade:
        there = ", ".join(wanted.masquerade)
        yield Difference("masquerade", wanted.masquerade, f"packets that leave by {there} were not masqueraded")


def shares(wanted: Wanted, standing: Standing) -> Iterator[Difference]:
    """What leads ports of this host's addresses to our device."""
    if wanted.shares != standing.shares:
        there = ", ".join(sorted({str(share.address) for share in wanted.shares}))
        yield Difference("shares", wanted.shares, f"ports of {there} were not led to {wanted.tun}")


def firewall(wanted: Wanted, _standing: Standing) -> Iterator[Difference]:
    """Rules that let packets of the device pass."""
    for rule in wanted.accepts:
        (family, table, chain), (side, tun) = rule
        yield Difference("firewall", rule, f"table {family} {table}, chain {chain} dropped packets with {side} {tun}")


def forwarding(wanted: Wanted, standing: Standing) -> Iterator[Difference]:
    """Kernel parameters that must be set for packets to be forwarded."""
    off = sysctl.not_forwarding(standing.parameters, wanted.tun) if wanted.sysctls else []
    if off:
        names = ", ".join(f"{sysctl.name(key)} was {standing.parameters.get(key)}" for key in off)
        yield Difference("forwarding", off, names)


Find = Callable[[Wanted, Standing], Iterator[Difference]]

FOUND: tuple[Find, ...] = (
    device_settings,
    ipv6,
    addresses,
    routes,
    neighbours,
    answers,
    masquerade,
    shares,
    firewall,
    forwarding,
)


def differences(wanted: Wanted, standing: Standing) -> list[Difference]:
    """What has to be set up again, in this order; nothing while the device itself is gone."""
    if standing.device is None:
        return []
    return [difference for find in FOUND for difference in find(wanted, standing)]
