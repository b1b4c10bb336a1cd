"""The interfaces that packets come in by and leave by: their offloads, and their MTUs before and after translation.

An IPv6 header has 20 octets more than an IPv4 header, and 28 with a fragment header (RFC 7915 section 1.4).
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from pyroute2.ethtool.ioctl import IoctlEthtool, NoSuchDevice, NotSupportedError

from nat64d.config.models import Config
from nat64d.doctor.finding import Said, note, warning
from nat64d.doctor.look import Look
from nat64d.host import sysctl
from nat64d.host.changes import LOWEST_IPV6
from nat64d.host.facts import Facts, Link, Route
from nat64d.host.standing import Standing
from nat64d.host.wanted import IPV6_IS_LONGER

TCP_AND_IPV4 = 40  # octets of the headers
MOST = 64  # interfaces that are asked, each costs a few system calls


class Offloads(NamedTuple):
    """What an interface joins before the kernel sees it. GRO, unlike LRO, can be undone when packets are forwarded."""

    lro: bool
    gro: bool


# ---- read


def offloads(look: Look) -> Mapping[str, Offloads]:
    """The offloads of every interface that packets may come in by."""
    there: Standing = look["host"]
    found: dict[str, Offloads] = {}
    for link in _outer(look.config, there.facts)[:MOST]:
        with suppress(NotSupportedError, NoSuchDevice):
            found[link.name] = _offloads(link.name)
    return found


def _offloads(name: str) -> Offloads:
    ethtool = IoctlEthtool(name)
    try:
        on = {feature for feature, enabled, *_ in ethtool.get_features() if enabled}
    finally:
        ethtool.close()
    return Offloads("rx-lro" in on, "rx-gro" in on)


def mtus6(look: Look) -> Mapping[str, int]:
    """The MTU that each interface has for IPv6, which router advertisements can lower."""
    there: Standing = look["host"]
    values = {link.name: sysctl.read(f"net/ipv6/conf/{link.name}/mtu") for link in there.facts.links}
    return {name: int(value) for name, value in values.items() if value}


# ---- judged


def joined(_config: Config, there: Standing, seen: Mapping[str, Offloads]) -> Iterator[Said]:
    """LRO joins segments in a way that cannot be undone: they are too large to be forwarded, and are dropped."""
    hardware = {link.name for link in there.facts.links if link.hardware}
    for name, on in seen.items():
        if on.lro:
            yield warning(
                f"{name} joins TCP segments by LRO: what comes of it is too large to be forwarded, and is dropped. "
                f"Run 'ethtool -K {name} lro off'."
            )
        elif name in hardware and not on.gro:
            yield warning(
                f"{name} does not join TCP segments (GRO is off), so each of them is translated alone, which is "
                f"several times slower. Run 'ethtool -K {name} gro on'."
            )


def sizes(config: Config, there: Standing, mtus: Mapping[str, int]) -> Iterator[Said]:
    """MTUs along the way of a packet."""
    links = {link.name: link for link in there.facts.links}
    routes4 = [_size(route, links, {}) for route in _uplinks(config, there.facts, 4)]
    routes6 = [_size(route, links, mtus) for route in _uplinks(config, there.facts, 6)]
    near6 = [(link.name, min(link.mtu, mtus.get(link.name, link.mtu))) for link in _with_ipv6(config, there.facts)]
    yield from _next_hops(config, routes4, [*routes6, *near6])
    if config.clat:
        yield from _towards_plat(config, routes6)
        yield from _ours(config, there.facts)
    elif routes4 and near6:
        yield from _narrow(config, there, min(size for _, size in (*routes4, *near6)))


def _next_hops(config: Config, ways4: list[tuple[str, int]], ways6: list[tuple[str, int]]) -> Iterator[Said]:
    """What the configuration says of the next hops, which the kernel knows better."""
    given = config.translation
    for key, value, ways in (("mtu4", given.mtu4, ways4), ("mtu6", given.mtu6, ways6)):
        for name, size in _least(ways).items():
            if value != "auto" and value > size:
                yield warning(
                    f"[translation] {key} = {value} is more than {name} carries, {size} octets: packets leave nat64d "
                    f'that the kernel refuses or cuts. Set it to "auto", or to {size}.'
                )
    for name, size in _least(ways6).items():
        if given.lowest_ipv6_mtu > size:
            yield warning(
                f"[translation] lowest_ipv6_mtu = {given.lowest_ipv6_mtu} is more than {name} carries, {size} octets: "
                f"IPv4 packets without DF, whose senders are not told, are lost there. Set it to {size} or less."
            )


def _towards_plat(config: Config, ways6: list[tuple[str, int]]) -> Iterator[Said]:
    """The first packets of every connection of a CLAT have the size of the device."""
    for name, size in _least(ways6).items():
        if config.tun.mtu > size:
            yield warning(
                f"[tun] mtu = {config.tun.mtu}, and the way to the provider's NAT64, by {name}, carries {size} octets: "
                f"large packets of every new connection are refused first. Set [tun] mtu = {max(size, LOWEST_IPV6)}."
            )


def _ours(config: Config, facts: Facts) -> Iterator[Said]:
    """IPv4 routes of this host to the device: their MTU leaves room for the longer header."""
    room = config.tun.mtu - IPV6_IS_LONGER
    for route in facts.defaults:
        if route.link != config.tun.name or route.network.version != 4:
            continue
        change = f"ip route change default dev {route.link}" + (f" metric {route.metric}" if route.metric else "")
        if not 0 < route.mtu <= room:
            yield warning(
                f"The IPv4 default route to {route.link} has {f'MTU {route.mtu}' if route.mtu else 'no MTU'}, and an "
                f"IPv6 header is {IPV6_IS_LONGER} octets longer: its largest packets are refused first. "
                f"Run '{change} mtu {room}'."
            )
        elif route.advmss > room - TCP_AND_IPV4:
            yield warning(
                f"The IPv4 default route to {route.link} announces an MSS of {route.advmss} octets, and only "
                f"{room - TCP_AND_IPV4} fit. Run '{change} mtu {route.mtu} advmss {room - TCP_AND_IPV4}'."
            )


def _narrow(config: Config, there: Standing, least: int) -> Iterator[Said]:
    """A device that is narrower than all the interfaces around it."""
    size = there.device.mtu if there.device else config.tun.mtu
    if LOWEST_IPV6 <= size < least:
        yield note(
            f"{config.tun.name} has MTU {size}, and every interface around it carries {least} octets: larger packets "
            f"are cut or refused for its sake. Set [tun] mtu = {least} to pass them whole."
        )


def _size(route: Route, links: Mapping[str, Link], mtus: Mapping[str, int]) -> tuple[str, int]:
    """What a route carries, and by which interface."""
    sizes = [links[route.link].mtu] if route.link in links else []
    sizes += [mtus[route.link]] if route.link in mtus else []
    return route.link, min([*sizes, *([route.mtu] if route.mtu else [])], default=1500)


def _least(ways: list[tuple[str, int]]) -> dict[str, int]:
    """What all ways by an interface carry."""
    return {name: min(size for other, size in ways if other == name) for name, _ in ways}


def _uplinks(config: Config, facts: Facts, version: int) -> list[Route]:
    """The default routes of a family, but for those to our device."""
    return [one for one in facts.defaults if one.network.version == version and one.link != config.tun.name]


def _outer(config: Config, facts: Facts) -> list[Link]:
    """The interfaces of this host, but loopback and our device; those with an address first."""
    return sorted(
        (link for link in facts.links if link.resolves and link.name != config.tun.name),
        key=lambda link: not link.addresses,
    )


def _with_ipv6(config: Config, facts: Facts) -> list[Link]:
    """Those behind which IPv6 hosts are."""
    return [
        link
        for link in _outer(config, facts)
        if any(address.version == 6 and not address.is_link_local for address in link.addresses)
    ]
