"""The provider's NAT64 prefix as routers announce it (RFC 8781), before the resolver; apart, as `host_resolver`."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import IPv6Network

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from nat64d.advertise.listener import Listener, Offer
from nat64d.config.addresses import found_prefix
from nat64d.gateway.clat_prefix import Found
from nat64d.gateway.host_resolver import HostResolver
from nat64d.host import rtnetlink

BY_ROUTERS = "router advertisements (RFC 8781)"


class HostSources(HostResolver):
    """The routers and the resolver of this host. Without CAP_NET_RAW the routers are not heard, and the log says so."""

    def __init__(self, log: logging.Logger) -> None:
        super().__init__()
        self._listener: Listener | None = None
        try:
            self._listener = Listener()
        except PermissionError:
            log.info("Router advertisements are not heard, as that takes CAP_NET_RAW: the resolver alone is asked")

    def close(self) -> None:
        """Hear nothing more."""
        if self._listener:
            self._listener.close()
            self._listener = None

    async def announced(self) -> Found | None:
        """What routers announce now; nothing if that cannot be looked at: the next look does."""
        try:
            return await asyncio.to_thread(self._look)
        except (OSError, NetlinkError):
            return None

    def _look(self) -> Found | None:
        offers = self._listener.look() if self._listener else []
        if not offers:
            return None
        with IPRoute() as ip:
            return usable(offers, lambda prefix: rtnetlink.device_towards(ip, prefix))


def usable(offers: Iterable[Offer], way: Callable[[IPv6Network], int]) -> Found | None:
    """RFC 8781 section 5.1: a prefix belongs to the link that it was announced on. So it counts if the way to it, the
    index of an interface, leads there; and if it is one that a translator may have."""
    found: dict[IPv6Network, float] = {}
    for offer in offers:
        with suppress(ValueError):
            prefix = found_prefix(offer.prefix)
            if way(prefix) == offer.link:
                found[prefix] = max(offer.lifetime, found.get(prefix, 0))
    return Found(tuple(found), int(min(found.values())), BY_ROUTERS) if found else None
