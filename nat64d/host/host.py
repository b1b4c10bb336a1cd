"""Set up the host around the TUN device (addresses, routes, masquerade, forwarding) and undo it at the end.

Each change is written to the journal, with the old value, before it is made. Undoing reads the journal backwards; the
next start finds in it what a killed process left behind.
"""

import errno
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_interface,
    ip_network,
)
from pathlib import Path
from socket import if_indextoname, if_nametoindex
from typing import TYPE_CHECKING, Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from nat64d.host import nft, rtnetlink, sysctl
from nat64d.host.journal import Change, Journal

if TYPE_CHECKING:
    from nat64d.config.models import Config


IPV6_IS_LONGER = 20  # octets that an IPv6 header has more than an IPv4 header
CONTINUITY4 = IPv4Network("192.0.0.0/29")  # RFC 7335


class HostError(Exception):
    """The host cannot be set up; its text is one sentence that says why and what to do."""


class Host:
    """What the daemon sets up on the host for one TUN device.

    Call `setup` and `undo` from a thread without a running event loop (a rule of pyroute2's blocking calls); it need
    not be the same thread.
    """

    def __init__(self, config: "Config", tun_name: str, log: logging.Logger) -> None:
        self.config = config
        self.mtu = config.tun.mtu  # after setup: the MTU in effect; an existing persistent device keeps its own
        self.masquerade: list[str] = []  # after setup: interfaces that masquerade pool4
        self._tun = tun_name
        self._log = log
        self._journal = Journal(Path(config.api.socket).parent / f"{tun_name}.host.json", log)
        self._table: nft.Masquerade | None = None

    def setup(self) -> list[str]:
        """Prepare the host and return log lines that say what was done.

        Raises HostError; whatever was changed by then is undone.
        """
        try:
            with IPRoute() as ip, self._explaining(f"set up {self._tun}"):
                self._inherit(ip)
                device = self._set_up_device(ip)
                addresses = self._set_up_addresses(ip, device)
                return [
                    f"Device {self._tun} is up, MTU {self.mtu}, addresses: {', '.join(map(str, addresses))}",
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
        """Undo every change, the last one first; a change that cannot be undone is logged. May be called again."""
        if self._journal.changes:
            with IPRoute() as ip:
                for change in reversed(self._journal.changes):
                    self._put_back(ip, change)
            self._journal.clear()

    def _inherit(self, ip: Any) -> None:
        """Take over from a killed process: keep its record of old kernel parameters, undo all its other changes."""
        left = self._journal.load()
        for change in reversed(left):
            if change.kind != "sysctl":
                self._put_back(ip, change)
        self._note(*(change for change in left if change.kind == "sysctl"))

    def _set_up_device(self, ip: Any) -> int:
        """Set MTU and reverse path filter and bring the device up; returns its index."""
        device = rtnetlink.find_device(ip, self._tun)
        if device is None:
            raise HostError(f"TUN device {self._tun} does not exist: it must be open before the host is set up.")
        self._admit_ipv6()
        settings = {"up": 1}
        if not device.settings["up"]:
            settings["addr_gen_mode"] = rtnetlink.ADDR_GEN_MODE_NONE
        if self.config.host.sysctls:
            # Our own ICMP errors arrive through the TUN device with a source address of this host, translated ones with
            # sources that may have no route. The kernel applies the larger of the "all" and the device's value; 2 means
            # loose.
            filters = sysctl.read("net/ipv4/conf/all/rp_filter") != "0"
            settings |= {"accept_local": 1, "rp_filter": 2 if filters else 0}
            if sysctl.read(sysctl.FORWARD4) == "1":  # if not, setting it later includes this device
                settings["forwarding"] = 1
        self._note(Change("device", self._tun, {name: device.settings[name] for name in settings}))
        if device.persistent:
            self.mtu = device.mtu
        else:
            settings["mtu"] = self.mtu
        rtnetlink.change_device(ip, device.index, settings)
        return device.index

    def _admit_ipv6(self) -> None:
        """Make sure the device accepts IPv6 addresses: containers often start with IPv6 disabled."""
        key = f"net/ipv6/conf/{self._tun}/disable_ipv6"
        disabled = sysctl.read(key)
        if disabled is None:
            raise HostError("This kernel runs without IPv6: remove ipv6.disable=1 from its command line and reboot.")
        if disabled != "0":
            self._set_parameters([(key, "0")])

    def _set_up_addresses(self, ip: Any, device: int) -> list[rtnetlink.Interface]:
        """Add the translator's own addresses, and [clat] ipv4 unless this host has it already; returns them."""
        clat = self.config.clat
        given = [self.config.tun.ipv4, self.config.tun.ipv6]
        if clat:
            others = rtnetlink.local_addresses(ip, other_than=device)
            _refuse_second_user(clat.ipv4, others)
            if _is_host(clat.ipv4) and clat.ipv4[0] not in others:
                given.append(clat.ipv4[0])
        addresses = [ip_interface(address) for address in given if address]
        for address in addresses:
            if rtnetlink.add_address(ip, device, address):  # noted only if added: never remove what existed before
                self._note(Change("address", str(address)))
        return addresses

    def _set_up_neighbours(self, ip: Any) -> list[str]:
        """Answer neighbour discovery for [clat] ipv6 on the link it belongs to (proxy, RFC 4861 section 7.2.8)."""
        clat = self.config.clat
        if not clat or not _is_host(clat.ipv6) or not self.config.host.routes:
            return []
        address = clat.ipv6[0]
        link = rtnetlink.link_of(ip, address)
        if link == "lo":
            raise HostError(f"[clat] ipv6 = {address} is an address of this host: choose an unused one.")
        if link in {None, self._tun}:
            return []
        if rtnetlink.add_proxy(ip, if_nametoindex(link), address):
            self._note(Change("proxy", str(address), link))
        parameter = (f"net/ipv6/conf/{link}/proxy_ndp", "1")
        lines = [f"Neighbour discovery for {address} is answered on {link}"]
        if sysctl.read(parameter[0]) == "1":
            return lines
        if not self.config.host.sysctls:
            return [
                f"Hosts on {link} cannot resolve {address} (neighbour discovery): run '{sysctl.command([parameter])}'"
            ]
        return [*lines, *self._set_parameters([parameter])]

    def _set_up_default(self, ip: Any, device: int) -> list[str]:
        """464XLAT: an IPv4 default route of high metric to the device; its MTU leaves 20 octets for the IPv6 header."""
        clat = self.config.clat
        if not clat or not self.config.host.routes:
            return []
        native = rtnetlink.default_interfaces(ip)
        mtu = self.mtu - IPV6_IS_LONGER
        if not rtnetlink.add_default(ip, device, mtu, clat.ipv4[0] if _is_host(clat.ipv4) else None):
            raise HostError(
                f"There is already an IPv4 default route with metric {rtnetlink.METRIC}: remove it, or set [host] "
                f"routes = false and route IPv4 to {self._tun} yourself."
            )
        self._note(Change("default", str(rtnetlink.METRIC)))
        kept = f"; the one through {', '.join(native)} takes precedence" if native else ""
        return [f"IPv4 default route to {self._tun}, metric {rtnetlink.METRIC}, MTU {mtu}{kept}"]

    def _networks6(self) -> list[IPv6Network]:
        """The IPv6 prefixes to route to the device: pool6 and, of [[eam]], those of 0.0.0.0/0; with [clat] its own
        prefix in place of pool6, which is the provider's."""
        worlds = [row.ipv6 for row in self.config.eam if row.ipv4.prefixlen == 0]
        if self.config.clat:
            return [self.config.clat.ipv6, *worlds]
        return [self.config.pool6, *worlds] if self.config.pool6 else worlds

    def _set_up_routes(self, ip: Any, device: int) -> list[str]:
        """Route pool6, pool4 and the addresses of [[forward]] and [[eam]] to the device."""
        if not self.config.host.routes:
            return []
        forwarded = [IPv4Network(forward.end4.address) for forward in self.config.forward]
        mapped = [row.ipv4 for row in self.config.eam if row.ipv4.prefixlen]
        networks4 = list(collapse_addresses([*self._pool4(), *forwarded, *mapped]))
        networks: list[rtnetlink.Network] = [*self._networks6(), *networks4]
        for network in networks:
            if rtnetlink.add_route(ip, device, network):
                self._note(Change("route", str(network)))
            elif (other := rtnetlink.device_towards(ip, network)) != device:
                where = f"leads to {if_indextoname(other)}" if other else "discards packets"
                raise HostError(
                    f"There is already a route for {network}, which {where}: remove it, or set [host] routes = false "
                    f"and route {network} to {self._tun} yourself."
                )
        return [f"Routes to {self._tun}: {', '.join(map(str, networks))}"]

    def _pool4(self) -> list[IPv4Network]:
        """All pool4 addresses as the shortest list of prefixes."""
        return [IPv4Network(str(network)) for network in self.config.pool4_addresses.iter_cidrs()]

    def _set_up_masquerade(self, ip: Any) -> list[str]:
        """Masquerade pool4 and the translator's own IPv4 address behind the address of the outgoing interface."""
        wanted = self.config.host.masquerade
        sources = self._pool4()
        if wanted == "off" or not sources:
            return []
        interfaces = rtnetlink.default_interfaces(ip) if wanted == "auto" else [wanted]
        if not interfaces:
            return []
        if self.config.tun.ipv4:
            sources = list(collapse_addresses([*sources, IPv4Network(self.config.tun.ipv4)]))
        table = f"nat64d_{self._tun}"
        self._note(Change("table", table))
        remedy = 'the kernel needs nf_tables and nft_masq; without them set [host] masquerade = "off"'
        with self._explaining("set up masquerade", remedy):
            self._table = nft.Masquerade(table, sources, interfaces)
        self.masquerade = interfaces
        return [f"Masquerade: {', '.join(map(str, sources))} behind the address of {', '.join(interfaces)}"]

    def _set_up_forwarding(self) -> list[str]:
        """Enable forwarding, as the last step: no packet passes before everything else is in place."""
        settings = sysctl.forwarding(self._tun)
        if self.config.host.sysctls:
            return self._set_parameters(settings)
        if settings:
            return [f"This host does not forward all packets of {self._tun}: run '{sysctl.command(settings)}'"]
        return []

    def _set_parameters(self, settings: list[sysctl.Setting]) -> list[str]:
        """Set kernel parameters in this order; returns one log line, or none if there was nothing to set."""
        before = {key: sysctl.read(key) for key, _ in settings}
        # Undone in reverse order: first the key, then the values that the kernel overwrote with it.
        notes = [setting for key in before for setting in (*sysctl.swept_along(key), (key, before[key]))]
        self._note(*(Change("sysctl", key, value) for key, value in notes))
        for number, (key, value) in enumerate(settings):
            try:
                sysctl.write(key, value)
            except OSError as error:
                raise HostError(
                    f"Cannot set {sysctl.name(key)} to {value} ({error.strerror}): "
                    f"run '{sysctl.command(settings[number:])}' where that is permitted, then start nat64d again."
                ) from error
        done = [f"{sysctl.name(key)} = {value} (was {before[key]})" for key, value in settings]
        return [f"Sysctls set: {', '.join(done)}"] if done else []

    def _put_back(self, ip: Any, change: Change) -> None:
        """Undo one change; something that no longer exists is skipped."""
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
        except (NetlinkError, OSError, ValueError) as error:  # ValueError: text in the journal that is not an address
            self._log.warning("Could not undo the change of %s %s: %s", change.kind, change.key, _reason(error))

    def _note(self, *changes: Change) -> None:
        try:
            self._journal.remember(*changes)
        except OSError as error:
            raise HostError(
                f"Cannot write {self._journal.path} ({error.strerror}), which records what is changed on this host: "
                "make the directory of [api] socket writable."
            ) from error

    @contextmanager
    def _explaining(self, what: str, remedy: str = "") -> Iterator[None]:
        """Turn an error of the kernel into a HostError that says what could not be done."""
        try:
            yield
        except (NetlinkError, OSError) as error:
            if _code(error) in {errno.EPERM, errno.EACCES}:
                raise HostError(f"No permission to {what}: run as root or with CAP_NET_ADMIN.") from error
            raise HostError(f"Cannot {what} ({_reason(error)}){remedy and ': '}{remedy}.") from error


def _refuse_second_user(ipv4: IPv4Network, others: Mapping[IPv4Address, int]) -> None:
    """RFC 7335 section 4: a host has one user of 192.0.0.0/29. `others`: its addresses, and the links they are on."""
    if not ipv4.overlaps(CONTINUITY4):
        return
    for address, link in others.items():
        if address in CONTINUITY4:
            raise HostError(
                f"[clat] ipv4 = {ipv4[0]}: {if_indextoname(link)} has {address}, and only one program of a host may "
                f"use {CONTINUITY4} (RFC 7335): stop that one, or choose a private address."
            )


def _is_host(network: rtnetlink.Network) -> bool:
    """Whether the network is a single address."""
    return network.prefixlen == network.max_prefixlen


def _code(error: Exception) -> int | None:
    """The errno of a NetlinkError or an OSError, None if it has none."""
    code: int | None = getattr(error, "code", None) or getattr(error, "errno", None)
    return code


def _reason(error: Exception) -> str:
    code = _code(error)
    return os.strerror(code) if code else str(error)
