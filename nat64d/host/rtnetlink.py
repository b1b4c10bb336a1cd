"""Links, addresses and routes over rtnetlink: what `ip link`, `ip address` and `ip route` do.

Each function takes an open IPRoute `ip` and raises pyroute2's NetlinkError, unless the kernel answers that things are
already as requested.
"""

import asyncio
import errno
import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_interface,
)
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, nla, nlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTM_DELROUTE, RTM_NEWROUTE, RTM_SETLINK

# linux/if.h, linux/if_addr.h, linux/if_link.h, linux/neighbour.h, linux/rtnetlink.h
IFF_UP, IFF_NOARP = 1, 0x80
NTF_PROXY = 8
IFA_F_NODAD = 2
ADDR_GEN_MODE_NONE = 1
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
RT_TABLE_MAIN, RT_TABLE_LOCAL = 254, 255
RTN_UNICAST, RTN_LOCAL = 1, 2
RTA_DST, RTA_OIF = 1, 4
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, number, process
_ANSWER = struct.Struct("=IHHIIi")  # the same, and a negative code
_ROUTE = struct.Struct("=8BI")  # rtmsg: family, lengths of both prefixes, TOS, table, protocol, scope, type, flags
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
# LIMITS
BATCH = 64  # routes that are asked for at once: their answers fit into the buffer of a socket
ANSWER = 1 << 16  # octets

METRIC = 0x10000  # of our default route: higher (less preferred) than the metrics of network managers
BEFORE_MAIN = 32765  # priority of a rule: that of the main table is 32766
PROTOCOL = 64  # marks our routes, for `ip route show proto 64` and for routing daemons that redistribute them

Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

EVERYTHING4 = IPv4Network("0.0.0.0/0")
EVERYTHING: dict[int, Network] = {4: EVERYTHING4, 6: IPv6Network("::/0")}
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass(frozen=True)
class Device:
    """A network device; `kind` is the word of `ip -d link` ("tun", "tap", "veth"), "" for hardware."""

    index: int
    kind: str
    persistent: bool  # exists also while no program has it open
    multi_queue: bool
    queues: int  # open queues of a multi-queue device
    mtu: int
    settings: dict[str, int]  # in the form that `change_device` takes


class _SettingsMessage(nlmsg):  # type: ignore[misc]
    """A link message that carries IPv4 settings (IPV4_DEVCONF_*); unlike sysctl it needs no writable /proc/sys."""

    fields = (("family", "B"), ("__align", "x"), ("ifi_type", "H"), ("index", "i"), ("flags", "I"), ("change", "I"))
    nla_map = ((26, "IFLA_AF_SPEC", "families"),)

    class families(nla):  # type: ignore[misc]  # noqa: N801  pyroute2 finds it by the name in nla_map
        nla_map = ((2, "AF_INET", "inet"),)

        class inet(nla):  # type: ignore[misc]  # noqa: N801
            nla_map = ((1, "IFLA_INET_CONF", "conf"),)

            class conf(nla):  # type: ignore[misc]  # noqa: N801
                nla_map = ((1, "forwarding", "uint32"), (8, "rp_filter", "uint32"), (23, "accept_local", "uint32"))


IPV4_SETTINGS = ("forwarding", "rp_filter", "accept_local")


def find_device(ip: Any, name: str) -> Device | None:
    """The device of that name, or None."""
    try:
        link = ip.get_links(socket.if_nametoindex(name))[0]
    except OSError:
        return None
    kind = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or ""
    about = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA") if kind == "tun" else None
    tun = dict(about["attrs"]) if about else {}
    ipv4 = link.get_nested("IFLA_AF_SPEC", "AF_INET") or {}
    settings = {name: int(ipv4[name]) for name in IPV4_SETTINGS if name in ipv4}
    settings["up"] = link["flags"] & IFF_UP
    settings["addr_gen_mode"] = link.get_nested("IFLA_AF_SPEC", "AF_INET6", "IFLA_INET6_ADDR_GEN_MODE") or 0
    return Device(
        index=link["index"],
        kind="tap" if tun.get("IFLA_TUN_TYPE") == 2 else kind,
        persistent=bool(tun.get("IFLA_TUN_PERSIST")),
        multi_queue=bool(tun.get("IFLA_TUN_MULTI_QUEUE")),
        queues=tun.get("IFLA_TUN_NUM_QUEUES", 0),
        mtu=link.get_attr("IFLA_MTU"),
        settings=settings,
    )


def change_device(ip: Any, index: int, settings: dict[str, int]) -> None:
    """Apply `settings`: any of mtu, addr_gen_mode, up (0 or 1) and IPV4_SETTINGS. Down is applied first, up last."""
    if settings.get("up") == 0:
        ip.link("set", index=index, state="down")
    if "mtu" in settings:
        ip.link("set", index=index, mtu=settings["mtu"])
    if "addr_gen_mode" in settings:
        mode = {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", settings["addr_gen_mode"])]}
        ip.link("set", index=index, IFLA_AF_SPEC={"attrs": [("AF_INET6", mode)]})
    ipv4 = [(name, settings[name]) for name in IPV4_SETTINGS if name in settings]
    if ipv4:
        asyncio.run(_change_ipv4(index, ipv4))
    if settings.get("up"):
        ip.link("set", index=index, state="up")


async def _change_ipv4(index: int, settings: list[tuple[str, int]]) -> None:
    message = _SettingsMessage()
    message["index"] = index
    inet = {"attrs": [("IFLA_INET_CONF", {"attrs": settings})]}
    message["attrs"] = [("IFLA_AF_SPEC", {"attrs": [("AF_INET", inet)]})]
    async with AsyncIPRoute() as ip:
        async for _ in await ip.nlm_request(message, RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK):
            pass  # the kernel acknowledges, or this raises


def add_address(ip: Any, index: int, address: Interface) -> bool:
    """Add an address to the device; False if the device already has it."""
    flags = IFA_F_NODAD if address.version == 6 else 0
    with _tolerating(errno.EEXIST) as refused:
        ip.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen, flags=flags)
    return not refused


def remove_address(ip: Any, index: int, address: Interface) -> None:
    """Remove an address from the device; nothing happens if it is not there."""
    with _tolerating(errno.EADDRNOTAVAIL, errno.ENODEV):
        ip.addr("del", index=index, address=str(address.ip), prefixlen=address.network.prefixlen)


def local_addresses(ip: Any, other_than: int) -> dict[IPv4Address, int]:
    """The IPv4 addresses of this host and the index of the device each is on, without the device `other_than`."""
    found = {}
    for message in ip.get_addr(family=socket.AF_INET):
        if message["index"] != other_than:
            found[IPv4Address(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))] = message["index"]
    return found


def interface_addresses(ip: Any) -> list[Interface]:
    """The IPv4 and IPv6 addresses of this host, with the prefix lengths of their links."""
    found = []
    for message in ip.get_addr():
        address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        found.append(ip_interface((address, message["prefixlen"])))
    return found


def add_routes(index: int, networks: Sequence[Network]) -> list[int]:
    """Route these to the device; for each 0, or why not: EEXIST where the main table has a route for exactly this
    network, whatever its target. Raises OSError."""
    return _change_routes(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, index, networks)


def remove_routes(index: int, networks: Sequence[Network]) -> list[int]:
    """Remove the routes that `add_routes` added; for each 0, also if it is gone, or why not. Raises OSError."""
    codes = _change_routes(RTM_DELROUTE, 0, index, networks)
    return [0 if code in {errno.ESRCH, errno.ENODEV} else code for code in codes]


def _change_routes(kind: int, flags: int, index: int, networks: Sequence[Network]) -> list[int]:
    """Many messages at a time, as there may be thousands of routes; IPRoute takes a millisecond for one."""
    codes = [0] * len(networks)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        for at in range(0, len(networks), BATCH):
            some = range(at, min(at + BATCH, len(networks)))
            asked = NLM_F_REQUEST | NLM_F_ACK | flags
            kernel.send(b"".join(_route_message(kind, asked, index, number, networks[number]) for number in some))
            for _ in some:
                _, _, _, number, _, code = _ANSWER.unpack_from(kernel.recv(ANSWER))
                codes[number] = -code
    return codes


def _route_message(kind: int, flags: int, index: int, number: int, network: Network) -> bytes:
    """As `_route`."""
    octets, route = network.network_address.packed, _route(index, network)
    place = FAMILIES[network.version], network.prefixlen, 0, 0
    body = _ROUTE.pack(*place, route["table"], route["proto"], route["scope"], RTN_UNICAST, 0)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(octets), RTA_DST) + octets
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + 4, RTA_OIF) + index.to_bytes(4, sys.byteorder)
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, number, 0) + body


def add_default(ip: Any, index: int, mtu: int, source: IPv4Address | None) -> bool:
    """Add an IPv4 default route of metric METRIC to the device; False if one of that metric exists.

    `mtu` is that of the route; `source` the address this host uses on it.
    """
    more = {"prefsrc": str(source)} if source else {}
    with _tolerating(errno.EEXIST) as refused:
        ip.route("add", **_route(index, EVERYTHING4), priority=METRIC, metrics={"mtu": mtu}, **more)
    return not refused


def remove_default(ip: Any, index: int) -> None:
    """Remove the route that `add_default` added; nothing happens if it is gone."""
    with _tolerating(errno.ESRCH, errno.ENODEV):
        ip.route("del", **_route(index, EVERYTHING4), priority=METRIC)


def is_proxied(ip: Any, index: int, address: IPv4Address | IPv6Address) -> bool:
    """Whether there is a proxy entry for an address on a link."""
    with _tolerating(errno.ENOENT) as absent:
        ip.neigh("get", dst=str(address), ifindex=index, flags=NTF_PROXY)
    return not absent


def add_proxy(ip: Any, index: int, address: IPv4Address | IPv6Address) -> bool:
    """Answer ARP, or neighbour solicitations, for an address on a link (proxy entry); False if the entry already
    exists."""
    if is_proxied(ip, index, address):
        return False
    ip.neigh("add", dst=str(address), ifindex=index, flags=NTF_PROXY)
    return True


def remove_proxy(ip: Any, name: str, address: IPv4Address | IPv6Address) -> None:
    """Remove the entry that `add_proxy` added on the interface of that name; nothing happens if it is gone."""
    with suppress(OSError), _tolerating(errno.ENOENT, errno.ENODEV):  # OSError: there is no such interface
        ip.neigh("del", dst=str(address), ifindex=socket.if_nametoindex(name), flags=NTF_PROXY)


def link_of(ip: Any, address: IPv6Address) -> str | None:
    """The interface whose link the address is on; "lo" for an address of this host, None if it is behind a router."""
    try:
        route = ip.route("get", dst=str(address))[0]
    except NetlinkError:
        return None
    if route["type"] == RTN_LOCAL:
        return "lo"
    link = ip.get_links(route.get_attr("RTA_OIF"))[0]
    near = route["type"] == RTN_UNICAST and not route.get_attr("RTA_GATEWAY") and not link["flags"] & IFF_NOARP
    return str(link.get_attr("IFLA_IFNAME")) if near else None


def device_towards(ip: Any, network: Network) -> int:
    """The index of the device through which the first address of `network` is routed; 0 if packets to it are
    discarded."""
    try:
        route = ip.route("get", dst=str(network[0]))[0]
    except NetlinkError:  # unreachable, prohibited or a black hole: each has a code of its own
        return 0
    return route.get_attr("RTA_OIF") or 0


def default_interfaces(ip: Any, version: int = 4) -> list[str]:
    """The interfaces of the default route of IPv4, or IPv6, with the lowest metric: none without such a route, several
    when it has several next hops."""
    routes = [
        route
        for route in ip.get_default_routes(socket.AF_INET if version == 4 else socket.AF_INET6)
        if route["type"] == RTN_UNICAST and route.get_attr("RTA_TABLE") == RT_TABLE_MAIN
    ]
    if not routes:
        return []
    best = min(routes, key=lambda route: route.get_attr("RTA_PRIORITY") or 0)
    hops = [hop["oif"] for hop in best.get_attr("RTA_MULTIPATH") or []] or [best.get_attr("RTA_OIF")]
    return sorted({socket.if_indextoname(hop) for hop in hops})


def lead_marked(ip: Any, index: int, mark: int, version: int = 4) -> None:
    """Lead packets of a family with a mark to the device, by a table of that number, even those to an address of this
    host.

    The kernel keeps rules of one priority in the order in which they came, and that of the local table has 0 from the
    start: so it is put behind ours, and at no moment there is none.
    """
    family = FAMILIES[version]
    with _tolerating(errno.EEXIST):
        ip.route("add", **_route(index, EVERYTHING[version]) | {"table": mark})
    with _tolerating(errno.EEXIST):
        ip.rule("add", **_rule(mark, family))
    rules = _first_rules(ip, family)
    local = [one.get_attr("FRA_PROTOCOL") for one in rules if one.get_attr("FRA_TABLE") == RT_TABLE_LOCAL]
    if local and not is_marked_led(ip, mark, version):
        for command, protocol in (("add", PROTOCOL), ("del", local[0]), ("add", local[0]), ("del", PROTOCOL)):
            with _tolerating(errno.EEXIST, errno.ENOENT):
                ip.rule(command, family=family, priority=0, table=RT_TABLE_LOCAL, protocol=protocol)


def is_marked_led(ip: Any, mark: int, version: int = 4) -> bool:
    """Whether `lead_marked` has done so, and nobody has undone it."""
    family = FAMILIES[version]
    first = [one.get_attr("FRA_TABLE") for one in _first_rules(ip, family)]
    before_local = first[: first.index(RT_TABLE_LOCAL)] if RT_TABLE_LOCAL in first else first
    return mark in before_local and any(
        one.get_attr("RTA_TABLE") == mark for one in ip.get_routes(family=family, table=mark)
    )


def _first_rules(ip: Any, family: int) -> list[Any]:
    """The rules of priority 0, in their order."""
    return [one for one in ip.get_rules(family=family) if not one.get_attr("FRA_PRIORITY")]


def stop_leading_marked(ip: Any, mark: int, version: int = 4) -> None:
    """Undo `lead_marked`; nothing happens if it is undone. The route goes with the device, at the latest."""
    with _tolerating(errno.ENOENT):
        ip.rule("del", **_rule(mark, FAMILIES[version]))
    with _tolerating(errno.ESRCH):
        ip.route("del", dst=str(EVERYTHING[version]), table=mark)


def lead_aside(ip: Any, index: int, table: int, networks: Iterable[Network]) -> None:
    """Lead packets to these networks to the device by a table of that number, in which the kernel looks before the main
    one."""
    for network in networks:
        with _tolerating(errno.EEXIST):
            ip.route("add", **(_route(index, network) | {"table": table}))
        with _tolerating(errno.EEXIST):
            ip.rule("add", **_before_main(table, network.version))


def stop_leading_aside(ip: Any, table: int) -> None:
    """Undo `lead_aside`; nothing happens if it is undone. The routes go with the device, at the latest."""
    for version in (4, 6):
        with _tolerating(errno.ENOENT, errno.EAFNOSUPPORT):
            ip.rule("del", **_before_main(table, version))
    for family in (socket.AF_INET, socket.AF_INET6):
        ip.flush_routes(family=family, table=table)


def _before_main(table: int, version: int) -> dict[str, Any]:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return {"priority": BEFORE_MAIN, "table": table, "protocol": PROTOCOL, "family": family}


def _rule(mark: int, family: int) -> dict[str, Any]:
    return {"family": family, "priority": 0, "fwmark": mark, "table": mark, "protocol": PROTOCOL}


def _route(index: int, network: Network) -> dict[str, Any]:
    scope = RT_SCOPE_LINK if network.version == 4 else RT_SCOPE_UNIVERSE
    return {"dst": str(network), "oif": index, "proto": PROTOCOL, "scope": scope, "table": RT_TABLE_MAIN}


@contextmanager
def _tolerating(*codes: int) -> Iterator[list[int]]:
    """Suppress a NetlinkError with one of these codes; the list then holds the code that occurred."""
    occurred: list[int] = []
    try:
        yield occurred
    except NetlinkError as error:
        if error.code not in codes:
            raise
        occurred.append(error.code)
