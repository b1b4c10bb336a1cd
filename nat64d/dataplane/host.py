"""The host around the TUN device: addresses, routes, masquerade, forwarding; all of it put back at the end.

What is changed is noted in the journal together with what was there before. To undo is to read the journal backwards;
what a killed process left behind is found in its journal at the next start.
"""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import (
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_interface,
    ip_network,
    summarize_address_range,
)
from pathlib import Path
from socket import if_indextoname, if_nametoindex
from typing import TYPE_CHECKING, Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from nat64d.dataplane import nft, rtnetlink, sysctl
from nat64d.dataplane.journal import Change, Journal

if TYPE_CHECKING:
    from nat64d.config import Config


IPV6_IS_LONGER = 20  # octets of the header


class HostError(Exception):
    """The host cannot be set up; one sentence that says what to do."""


class Host:
    """What the daemon sets up on the host for one TUN device.

    Like all of pyroute2's blocking calls, `setup` and `undo` want a thread without a running event loop; it need not be
    the same one.
    """

    def __init__(self, config: "Config", tun_name: str, log: logging.Logger) -> None:
        self.config = config
        self.mtu = config.tun.mtu  # after setup the device's own, which an existing device keeps
        self.masquerade: list[str] = []  # after setup the interfaces behind whose address pool4 is hidden
        self._tun = tun_name
        self._log = log
        self._journal = Journal(Path(config.api.socket).parent / f"{tun_name}.host.json", log)
        self._table: nft.Masquerade | None = None

    def setup(self) -> list[str]:
        """Prepare the host, and return a line for each thing done; raises HostError after undoing what was done."""
        try:
            with IPRoute() as ip, self._explaining(f"set up {self._tun}"):
                self._inherit(ip)
                device = self._set_up_device(ip)
                addresses = self._set_up_addresses(ip, device)
                return [
                    f"{self._tun}: up, MTU {self.mtu}, addresses {', '.join(map(str, addresses))}",
                    *self._set_up_neighbours(ip),
                    *self._set_up_routes(ip, device),
                    *self._set_up_default(ip, device),
                    *self._set_up_masquerade(ip),
                    *self._set_up_forwarding(),
                ]
        except BaseException:
            self.undo()
            raise

    def undo(self) -> None:
        """Put everything back, last change first; what resists is logged. May be repeated."""
        if self._journal.changes:
            with IPRoute() as ip:
                for change in reversed(self._journal.changes):
                    self._put_back(ip, change)
            self._journal.clear()

    def _inherit(self, ip: Any) -> None:
        """Take over from a killed process: its notes on kernel parameters are now ours, all else it made is removed."""
        left = self._journal.load()
        for change in reversed(left):
            if change.kind != "sysctl":
                self._put_back(ip, change)
        self._note(*(change for change in left if change.kind == "sysctl"))

    def _set_up_device(self, ip: Any) -> int:
        """MTU, reverse path filter, up; returns the device's index."""
        device = rtnetlink.find_device(ip, self._tun)
        if device is None:
            raise HostError(f"TUN device {self._tun} is not there: it must be open before the host is set up.")
        self._admit_ipv6()
        settings = {"up": 1}
        if not device.settings["up"]:
            settings["addr_gen_mode"] = rtnetlink.ADDR_GEN_MODE_NONE
        if self.config.host.sysctls:
            # Our ICMP errors come in by the TUN with an address of this host, translated ones with addresses that no
            # route may lead to. The kernel takes the stricter of "all" and the device's own filter, 2 being loose.
            filters = sysctl.read("net/ipv4/conf/all/rp_filter") != "0"
            settings |= {"accept_local": 1, "rp_filter": 2 if filters else 0}
            if sysctl.read(sysctl.FORWARD4) == "1":  # otherwise setting it will include this device
                settings["forwarding"] = 1
        self._note(Change("device", self._tun, {name: device.settings[name] for name in settings}))
        if device.persistent:
            self.mtu = device.mtu
        else:
            settings["mtu"] = self.mtu
        rtnetlink.change_device(ip, device.index, settings)
        return device.index

    def _admit_ipv6(self) -> None:
        """See to it that the device takes an IPv6 address: containers are often made without IPv6."""
        key = f"net/ipv6/conf/{self._tun}/disable_ipv6"
        disabled = sysctl.read(key)
        if disabled is None:
            raise HostError("This kernel runs without IPv6: start it without ipv6.disable=1.")
        if disabled != "0":
            self._set_parameters([(key, "0")])

    def _set_up_addresses(self, ip: Any, device: int) -> list[rtnetlink.Interface]:
        """The translator's own addresses, and the one of [clat] unless this host has it already."""
        clat = self.config.clat
        given = [self.config.tun.ipv4, self.config.tun.ipv6]
        if clat and _is_host(clat.ipv4) and clat.ipv4[0] not in rtnetlink.local_addresses(ip, other_than=device):
            given.append(clat.ipv4[0])
        addresses = [ip_interface(address) for address in given if address]
        for address in addresses:
            if rtnetlink.add_address(ip, device, address):  # noted afterwards: never remove what somebody else made
                self._note(Change("address", str(address)))
        return addresses

    def _set_up_neighbours(self, ip: Any) -> list[str]:
        """Answer for the IPv6 address of [clat] where routers take it for a neighbour (RFC 4861 section 7.2.8)."""
        clat = self.config.clat
        if not clat or not _is_host(clat.ipv6) or not self.config.host.routes:
            return []
        address = clat.ipv6[0]
        link = rtnetlink.link_of(ip, address)
        if link == "lo":
            raise HostError(f"[clat] ipv6 = {address} is an address of this host: choose one that nobody has.")
        if link in {None, self._tun}:
            return []
        if rtnetlink.add_proxy(ip, if_nametoindex(link), address):
            self._note(Change("proxy", str(address), link))
        parameter = (f"net/ipv6/conf/{link}/proxy_ndp", "1")
        lines = [f"neighbour discovery on {link} is answered for {address}"]
        if sysctl.read(parameter[0]) == "1":
            return lines
        if not self.config.host.sysctls:
            return [f"nobody on {link} will find {address}: '{sysctl.command([parameter])}' mends it"]
        return [*lines, *self._set_parameters([parameter])]

    def _set_up_default(self, ip: Any, device: int) -> list[str]:
        """464XLAT: IPv4 leaves by the device where there is no better way, and is 20 octets longer behind it."""
        clat = self.config.clat
        if not clat or not self.config.host.routes:
            return []
        native = rtnetlink.default_interfaces(ip)
        mtu = self.mtu - IPV6_IS_LONGER
        if not rtnetlink.add_default(ip, device, mtu, clat.ipv4[0] if _is_host(clat.ipv4) else None):
            raise HostError(
                f"There is an IPv4 default route of metric {rtnetlink.METRIC} already: remove it, or set [host] routes "
                f"= false and lead IPv4 to {self._tun} yourself."
            )
        self._note(Change("default", str(rtnetlink.METRIC)))
        kept = f"; the one by {', '.join(native)} is preferred" if native else ""
        return [f"IPv4 default route to {self._tun}, metric {rtnetlink.METRIC}, MTU {mtu}{kept}"]

    def _networks6(self) -> list[IPv6Network]:
        """What stands for IPv4 hosts; with [clat] that is the provider's, and what stands for us is ours."""
        worlds = [row.ipv6 for row in self.config.eam if row.ipv4.prefixlen == 0]
        if self.config.clat:
            return [self.config.clat.ipv6, *worlds]
        return [self.config.pool6, *worlds] if self.config.pool6 else worlds

    def _set_up_routes(self, ip: Any, device: int) -> list[str]:
        """Lead pool6, pool4, forwarded and mapped addresses to the device."""
        if not self.config.host.routes:
            return []
        forwarded = [IPv4Network(forward.address4) for forward in self.config.forward]
        mapped = [row.ipv4 for row in self.config.eam if row.ipv4.prefixlen]
        networks4 = list(collapse_addresses([*self._pool4(), *forwarded, *mapped]))
        networks: list[rtnetlink.Network] = [*self._networks6(), *networks4]
        for network in networks:
            if rtnetlink.add_route(ip, device, network):
                self._note(Change("route", str(network)))
            elif (other := rtnetlink.device_towards(ip, network)) != device:
                where = f"to {if_indextoname(other)}" if other else "nowhere"
                raise HostError(
                    f"A route for {network} leads {where} already: remove it, or set [host] routes = false and route "
                    f"{network} to {self._tun} yourself."
                )
        own = rtnetlink.local_addresses(ip, other_than=device)
        clashes = [
            f"{address} is an address of this host ({if_indextoname(index)}), packets to it never reach {self._tun}: "
            "take it out of [[pool4]], [[forward]] and [[eam]], or off the interface"
            for address, index in own.items()
            if any(address in network for network in networks4)
        ]
        return [f"routes to {self._tun}: {', '.join(map(str, networks))}", *clashes]

    def _pool4(self) -> list[IPv4Network]:
        """All pool4 addresses, in as few prefixes as possible."""
        ranges = [summarize_address_range(pool.first, pool.last) for pool in self.config.pool4]
        return list(collapse_addresses(network for networks in ranges for network in networks))

    def _set_up_masquerade(self, ip: Any) -> list[str]:
        """Hide pool4, and the translator's own address, behind the address of the interfaces they leave by."""
        wanted = self.config.host.masquerade
        sources = self._pool4()
        if wanted == "off" or not sources:
            return []
        interfaces = rtnetlink.default_interfaces(ip) if wanted == "auto" else [wanted]
        if not interfaces:
            return ["no IPv4 default route: running without masquerade"]
        if self.config.tun.ipv4:
            sources = list(collapse_addresses([*sources, IPv4Network(self.config.tun.ipv4)]))
        table = f"nat64d_{self._tun}"
        self._note(Change("table", table))
        mend = 'the kernel needs nf_tables and nft_masq; without them set [host] masquerade = "off"'
        with self._explaining("set up masquerade", mend):
            self._table = nft.Masquerade(table, sources, interfaces)
        self.masquerade = interfaces
        return [f"masquerade: {', '.join(map(str, sources))} behind the address of {', '.join(interfaces)}"]

    def _set_up_forwarding(self) -> list[str]:
        """Make the host a router, last of all: nothing passes before all is in place."""
        settings = sysctl.forwarding(self._tun)
        if self.config.host.sysctls:
            return self._set_parameters(settings)
        if settings:
            return [f"this host does not forward all packets of {self._tun}: '{sysctl.command(settings)}' mends it"]
        return []

    def _set_parameters(self, settings: list[sysctl.Setting]) -> list[str]:
        """Set kernel parameters, in this order; returns one line about all of them."""
        before = {key: sysctl.read(key) for key, _ in settings}
        # Put back in reverse: what a key sweeps along follows the key.
        notes = [setting for key in before for setting in (*sysctl.swept_along(key), (key, before[key]))]
        self._note(*(Change("sysctl", key, value) for key, value in notes))
        for number, (key, value) in enumerate(settings):
            try:
                sysctl.write(key, value)
            except OSError as error:
                raise HostError(
                    f"Cannot set {sysctl.name(key)} to {value} ({error.strerror}): "
                    f"run '{sysctl.command(settings[number:])}' where it is allowed, then start again."
                ) from error
        done = [f"{sysctl.name(key)} = {value} (was {before[key]})" for key, value in settings]
        return [f"sysctl {', '.join(done)}"] if done else []

    def _put_back(self, ip: Any, change: Change) -> None:
        """Undo one change; a thing that is gone needs no undoing."""
        try:
            if change.kind == "sysctl":
                sysctl.restore(change.key, change.before)
            elif change.kind == "table":
                if self._table:
                    table, self._table, self.masquerade = self._table, None, []
                    table.close()
                else:
                    nft.remove_table(change.key)
            elif change.kind == "proxy":
                rtnetlink.remove_proxy(ip, change.before, IPv6Address(change.key))
            elif device := rtnetlink.find_device(ip, self._tun):
                if change.kind == "device":
                    rtnetlink.change_device(ip, device.index, change.before)
                elif change.kind == "address":
                    rtnetlink.remove_address(ip, device.index, ip_interface(change.key))
                elif change.kind == "route":
                    rtnetlink.remove_route(ip, device.index, ip_network(change.key))
                elif change.kind == "default":
                    rtnetlink.remove_default(ip, device.index)
        except (NetlinkError, OSError, ValueError) as error:  # ValueError: an address in the journal that is none
            self._log.warning("could not put back %s %s: %s", change.kind, change.key, _reason(error))

    def _note(self, *changes: Change) -> None:
        try:
            self._journal.remember(*changes)
        except OSError as error:
            raise HostError(
                f"Cannot write {self._journal.path} ({error.strerror}): it notes what is changed on this host, "
                "so the folder of [api] socket must be writable."
            ) from error

    @contextmanager
    def _explaining(self, what: str, mend: str = "") -> Iterator[None]:
        """Say in one sentence what the kernel refused."""
        try:
            yield
        except (NetlinkError, OSError) as error:
            if _code(error) in {errno.EPERM, errno.EACCES}:
                raise HostError(f"No permission to {what}: run as root or with CAP_NET_ADMIN.") from error
            raise HostError(f"Cannot {what} ({_reason(error)}){mend and ': '}{mend}.") from error


def _is_host(network: rtnetlink.Network) -> bool:
    """Whether this is one address."""
    return network.prefixlen == network.max_prefixlen


def _code(error: Exception) -> int | None:
    """The errno of a NetlinkError or an OSError."""
    code: int | None = getattr(error, "code", None) or getattr(error, "errno", None)
    return code


def _reason(error: Exception) -> str:
    code = _code(error)
    return os.strerror(code) if code else str(error)
