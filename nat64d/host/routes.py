"""Routes to our device."""

import errno
from collections.abc import Collection
from os import strerror
from socket import if_indextoname, if_nametoindex
from typing import TYPE_CHECKING, Any

from pyroute2.netlink.exceptions import NetlinkError

from nat64d.host import rtnetlink
from nat64d.host.errors import HostError
from nat64d.host.journal import Change
from nat64d.host.rtnetlink import Network

if TYPE_CHECKING:
    from nat64d.host.undo import Undo


def add(undo: "Undo", ip: Any, tun: str, ours: Collection[Network]) -> None:
    """Route these to the device of that name. All are noted at once, as there may be thousands; a route that stood
    already is not ours to take back. Raises NetlinkError, OSError, HostError."""
    there = {*undo.noted("route")}
    keys = [key for network in ours if (key := ("route", str(network))) not in there]
    undo.note(*(Change(*key) for key in keys))
    left = set(keys)
    try:
        device, networks = if_nametoindex(tun), list(ours)
        codes = rtnetlink.add_routes(device, networks) if networks else []
        left -= {("route", str(network)) for network, code in zip(networks, codes, strict=True) if not code}
        for network, code in zip(networks, codes, strict=True):
            if code == errno.EEXIST:
                _refuse_other(ip, tun, device, network)
            elif code:
                raise NetlinkError(code, f"{network}: {strerror(code)}")
    finally:
        undo.forget(left)


def _refuse_other(ip: Any, tun: str, device: int, network: Network) -> None:
    """A route that was there leads to our device. Raises HostError."""
    if (other := rtnetlink.device_towards(ip, network)) != device:
        where = f"leads to {if_indextoname(other)}" if other else "discards packets"
        raise HostError(
            f"There is already a route for {network}, which {where}: remove it, or set [host] routes = false "
            f"and route {network} to {tun} yourself."
        )
