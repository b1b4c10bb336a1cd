"""`nat64d kubernetes --routes`: the way of a node to prefixes that gateways have, by one gateway of its own.

Rendezvous hashing chooses it among those that are alive: one that ends moves its own nodes and no others. The routes
stay when this ends, and while no gateway is alive: nobody would be served by their absence.
"""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from ipaddress import IPv6Address, IPv6Network
from socket import AF_INET6
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from nat64d.kubernetes.members import Members

PROTOCOL = 65  # marks these routes, for `ip -6 route show proto 65`; routing daemons that look for 64 leave them alone
METRIC = 0x10000  # higher (less preferred) than that of the daemon's own routes, where a gateway is a node itself
TABLE = 254  # linux/rtnetlink.h: RT_TABLE_MAIN
AGAIN = 5.0  # seconds after which routes that the kernel has dropped, as with a link, are set again

log = logging.getLogger("nat64d")


def in_order(node: str, gateways: Iterable[str]) -> list[str]:
    """Gateways, best first: by a hash of both names."""
    return sorted(gateways, key=lambda one: sha256(f"{node}\0{one}".encode()).digest(), reverse=True)


class NextHops:
    """The routes of this node; `there` says by which gateway each prefix goes."""

    def __init__(self, prefixes: Iterable[IPv6Network], node: str, members: Members) -> None:
        self.prefixes, self.node, self.members = tuple(prefixes), node, members
        self.there: dict[IPv6Network, str] = {}
        self._said: dict[IPv6Network, str] = {}  # what is wrong with one
        self._ip: Any = None
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Set them, and again where they are gone."""
        async with AsyncIPRoute() as self._ip:
            await self._tidy()
            while True:
                await self.change()
                await asyncio.sleep(AGAIN)

    async def change(self) -> None:
        """Let each prefix go by the best gateway that is alive."""
        async with self._lock:
            if self._ip is None or not self.members.alive:
                return
            set_ = await self._routes()
            for prefix in self.prefixes:
                await self._lead(prefix, set_.get(prefix))

    async def _lead(self, prefix: IPv6Network, via: str | None) -> None:
        """The first one that the kernel takes: of this host itself it does not, nor of one that is behind a router."""
        why = "no gateway has said its IPv6 address"
        for gateway in in_order(self.node, (name for name, text in self.members.alive.items() if _is_address(text))):
            address = self.members.alive[gateway]
            if via != address:
                try:
                    await self._ip.route("replace", gateway=address, **_route(prefix))
                except NetlinkError as error:
                    why = f"{gateway}, {address}: {error.args[-1]}; is it on a link of this node?"
                    continue
            self._note(prefix, gateway, address)
            return
        if self._said.get(prefix) != why:
            self._said[prefix] = why
            log.warning("%s: no next hop: %s", prefix, why, extra={"event": "no_next_hop", "prefix": str(prefix)})

    def _note(self, prefix: IPv6Network, gateway: str, address: str) -> None:
        self._said.pop(prefix, None)
        if self.there.get(prefix) != gateway:
            self.there[prefix] = gateway
            fields = {"event": "next_hop", "prefix": str(prefix), "gateway": gateway, "address": address}
            log.info("%s goes by %s, %s, from now on", prefix, gateway, address, extra=fields)

    async def _tidy(self) -> None:
        """Remove what other prefixes have left here."""
        for prefix in (await self._routes()).keys() - {*self.prefixes}:
            with suppress(NetlinkError):
                await self._ip.route("del", **_route(prefix))

    async def _routes(self) -> dict[IPv6Network, str]:
        """Ours, as they are."""
        found = {}
        async for one in await self._ip.route("dump", family=AF_INET6, table=TABLE, proto=PROTOCOL):
            if one["proto"] == PROTOCOL and one.get_attr("RTA_GATEWAY"):
                found[IPv6Network((one.get_attr("RTA_DST"), one["dst_len"]))] = one.get_attr("RTA_GATEWAY")
        return found


def _is_address(text: str) -> bool:
    """A Lease may have anything in it."""
    try:
        return "%" not in str(IPv6Address(text))
    except ValueError:
        return False


def _route(prefix: IPv6Network) -> dict[str, Any]:
    return {"dst": str(prefix), "proto": PROTOCOL, "priority": METRIC, "table": TABLE}
