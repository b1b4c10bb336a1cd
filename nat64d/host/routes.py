"""Routes to our device."""

from collections.abc import Collection
from socket import if_indextoname, if_nametoindex
from typing import TYPE_CHECKING, Any

from nat64d.host import rtnetlink
from nat64d.host.errors import HostError
from nat64d.host.journal import Change
from nat64d.host.rtnetlink import Network

if TYPE_CHECKING:
    from nat64d.host.undo import Undo


def add(undo: "Undo", ip: Any, tun: str, ours: Collection[Network]) -> None:
    """Route these to the device of that name. All are noted at once, as there may be thousands; a route that stood
    already is not ours to take back. Raises NetlinkError, HostError."""
    there = {*undo.noted("route")}
    keys = [key for network in ours if (key := ("route", str(network))) not in there]
    undo.note(*(Change(*key) for key in keys))
    left = set(keys)
    try:
        for network in ours:
            if _add(ip, tun, network):
                left.discard(("route", str(network)))
    finally:
        undo.forget(left)


def _add(ip: Any, tun: str, network: Network) -> bool:
    """Whether it was not there."""
    device = if_nametoindex(tun)
    if rtnetlink.add_route(ip, device, network):
        return True
    if (other := rtnetlink.device_towards(ip, network)) != device:
        where = f"leads to {if_indextoname(other)}" if other else "discards packets"
        raise HostError(
            f"There is already a route for {network}, which {where}: remove it, or set [host] routes = false "
            f"and route {network} to {tun} yourself."
        )
    return False
