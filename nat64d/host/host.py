"""Set up the host around the TUN device (addresses, routes, masquerade, forwarding), once and again, and undo it.

Each change is written to the journal, with the old value, before it is made (`undo`). Undoing reads the journal
backwards; the next start finds in it what a killed process left behind.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path
from socket import if_nametoindex
from typing import TYPE_CHECKING, Any

from pyroute2 import IPRoute

from nat64d.host import nft, routes, rtnetlink, ruleset, steering, sysctl, vips
from nat64d.host.changes import LOWEST_IPV6, Difference
from nat64d.host.clat4 import refuse_second_user
from nat64d.host.errors import HostError, explaining
from nat64d.host.firewall import accepts
from nat64d.host.journal import Change
from nat64d.host.standing import Standing
from nat64d.host.undo import Undo
from nat64d.host.vips import Vip
from nat64d.host.wanted import IPV6_IS_LONGER, Default, Wanted, is_host, masqueraded, networks, withdrawn

if TYPE_CHECKING:
    from nat64d.config.models import Config


class Host:
    """What the daemon sets up on the host for one TUN device.

    Call `setup`, `restore` and `undo` from a thread without a running event loop (a rule of pyroute2's blocking calls);
    it need not be the same thread.
    """

    def __init__(self, config: "Config", tun_name: str, log: logging.Logger) -> None:
        self.config = config
        self.tun = tun_name
        self.mtu = config.tun.mtu  # after setup: the MTU in effect; an existing persistent device keeps its own
        self.masquerade: list[str] = []  # after setup: interfaces that masquerade pool4
        self.wanted = Wanted(tun_name, {}, sysctls=config.host.sysctls)  # after setup: what must stand
        self._undo = Undo(tun_name, Undo.journal(Path(config.api.socket).parent, tun_name), log)

    def setup(self, adopted: bool = False) -> list[str]:
        """Prepare the host and return log lines that say what was done. `adopted`: a process before has left the
        device, and what it set up stands.

        Raises HostError; whatever was changed by then is undone.
        """
        try:
            with IPRoute() as ip, explaining(f"set up {self.tun}"):
                self._undo.begin()
                if adopted:
                    self._undo.adopt()
                    self._undo.take_back([*self._undo.noted("default"), *self._undo.noted("proxy")])
                else:
                    self._undo.inherit(ip)
                self._undo.take_back(self._turned_off())
                device = self._set_up_device(ip)
                addresses = self._set_up_addresses(ip, device)
                lines = [
                    f"Device {self.tun} is up, MTU {self.mtu}, addresses: {', '.join(map(str, addresses))}",
                    *self._set_up_neighbours(ip),
                    *self._set_up_routes(ip),
                    *self._set_up_default(ip, device),
                    *self._set_up_masquerade(ip),
                    *self._set_up_shares(ip),
                    *self._set_up_forwarding(),
                ]
                self._retract_left()
                self.wanted = replace(self.wanted, answered=vips.answered(self._undo))
                return lines
        except BaseException:
            self.undo()
            raise

    def extend(self, config: "Config") -> None:
        """Set up what another configuration wants besides, of what a reload can change. Raises HostError; then all is
        as it was."""
        before, count = (self.config, self.wanted), len(self._undo.noted())
        self.config = config
        try:
            with IPRoute() as ip, explaining(f"set up {self.tun}"):
                device = if_nametoindex(self.tun)
                self._set_up_addresses(ip, device)
                self._set_up_neighbours(ip)
                self._set_up_routes(ip)
                self._set_up_masquerade(ip)
                self._set_up_shares(ip)
        except BaseException:
            self.config, self.wanted = before
            self._undo.take_back(self._undo.noted(since=count))
            raise

    def retract(self, before: Wanted) -> None:
        """Take back what stood for the configuration before `extend`, and is wanted no more."""
        now = self.wanted
        gone = [("address", str(address)) for address in {*before.addresses} - {*now.addresses}]
        gone += [("route", str(network)) for network in {*before.networks} - {*now.networks}]
        gone += [("proxy", str(network[0])) for network in {*before.networks} - {*now.networks}]
        self._undo.take_back([*gone, *self._turned_off()])

    def _turned_off(self) -> list[tuple[str, str]]:
        """The changes there are of kinds that the configuration does without."""
        gone: list[tuple[str, str]] = []
        if not masqueraded(self.config):
            gone += self._undo.noted("table")
            self.masquerade = []
        if not steering.led(self.config):
            gone += [*self._undo.noted("steering"), *self._undo.noted("steering6")]
        if self.config.host.firewall == "off":
            gone += self._undo.noted("accept")
        if not self.config.host.sysctls:
            needed = sysctl.disable_ipv6(self.tun)
            gone += [(kind, key) for kind, key in self._undo.noted("sysctl") if key != needed]
        return gone

    def _retract_left(self) -> None:
        """Take back what the process before has left, and is not wanted any more."""
        wanted = {("address", str(address)) for address in self.wanted.addresses}
        wanted |= {("route", str(network)) for network in self.wanted.networks}
        left = [*self._undo.noted("address"), *self._undo.noted("route")]
        self._undo.take_back(set(left) - wanted)

    def answer(self, ours: Collection[Vip]) -> None:
        """Answer for these addresses of services on their links, and for no others. Raises HostError."""
        with IPRoute() as ip, explaining("answer for addresses of services"):
            vips.answer(self._undo, ip, ours, self.config.host.sysctls)
        self.wanted = replace(self.wanted, answered=frozenset(ours))

    def withdraw(self) -> None:
        """Take back what announces services, before a stop; packets still reach the device. Raises HostError."""
        with IPRoute() as ip, explaining("withdraw services"):
            vips.withdraw(self._undo, ip, self.tun, withdrawn(self.config))

    def leave(self) -> None:
        """Leave all that was set up to the next process, which adopts it."""
        self._undo.leave()
        self.masquerade = []

    def undo_left(self) -> None:
        """Undo what a process before has left, if nobody has adopted it."""
        self._undo.adopt()
        self.undo()

    def undo(self) -> None:
        """Undo every change, the last one first; a change that cannot be undone is logged. May be called again."""
        self._undo.undo()
        self.masquerade = []

    def wanted_at(self, standing: Standing) -> Wanted:
        """What must stand on the host as it is now: masquerade follows the default route, and stays where it was while
        there is none."""
        wanted = self.wanted
        if self.config.host.firewall == "auto":
            wanted = replace(wanted, accepts=accepts(self.config, self.tun, standing))
        if masqueraded(self.config):
            wish, facts = self.config.host.masquerade, standing.facts
            auto = facts.masquerading6 if self.config.clat else facts.masquerading
            there = auto or tuple(self.masquerade) if wish == "auto" else (wish,)
            wanted = replace(wanted, masquerade=there)
        return wanted

    def standing_masquerade(self) -> tuple[str, ...]:
        """The interfaces of our table; none if it is gone."""
        table = self._undo.table
        return tuple(self.masquerade) if table and table.stands() else ()

    def standing_shares(self) -> tuple[steering.Led, ...]:
        """The ports that are led to our device."""
        return steering.standing(self._undo)

    def restore(self, found: Iterable[Difference]) -> dict[str, str]:
        """Set up again what `differences` found; returns what could not be, the reason by name."""
        failures: dict[str, str] = {}
        restorers = self._restorers()
        with IPRoute() as ip:
            for difference in found:
                try:
                    with explaining(f"set up {self.tun} again"):
                        if device := rtnetlink.find_device(ip, self.tun):
                            restorers[difference.name](ip, device.index, difference.subject)
                except HostError as error:
                    failures[difference.name] = str(error)
        return failures

    def _restorers(self) -> Mapping[str, Callable[[Any, int, Any], object]]:
        """How each kind of difference is set up again: functions of (open IPRoute, index of our device, subject)."""
        return {
            "device": self._restore_device,
            "ipv6": lambda _ip, _, __: self._admit_ipv6(again=True),
            "address": self._add_address,
            "route": lambda ip, _, network: routes.add(self._undo, ip, self.tun, [network]),
            "default": self._add_default,
            "proxy": lambda ip, _, link: self._answer_neighbours(ip, link),
            "answers": lambda ip, _, vip: vips.add(self._undo, ip, vip, self.config.host.sysctls),
            "masquerade": lambda _ip, _, interfaces: self._masquerade(list(interfaces)),
            "shares": lambda ip, _, shares: steering.lead(self._undo, ip, self.tun, shares),
            "firewall": lambda _ip, _, rule: self._accept(*rule),
            "forwarding": self._restore_forwarding,
        }

    def _restore_device(self, ip: Any, index: int, settings: dict[str, int]) -> None:
        """Settings that somebody changed. Below the smallest MTU of IPv6 the kernel forgets all IPv6 settings of a
        device; while it is down none of the addresses appear that it gives to devices by default."""
        if "mtu" in settings and rtnetlink.find_device(ip, self.tun).mtu < LOWEST_IPV6:  # type: ignore[union-attr]
            rtnetlink.change_device(ip, index, {"up": 0})
            settings = {**self.wanted.settings, "addr_gen_mode": rtnetlink.ADDR_GEN_MODE_NONE, "up": 1}
            rtnetlink.change_device(ip, index, {"mtu": settings.pop("mtu")})
            self._admit_ipv6()
        rtnetlink.change_device(ip, index, settings)

    def _restore_forwarding(self, _ip: Any, _index: int, off: list[str]) -> None:
        settings = sysctl.forwarding(self.tun)
        set_already = {key for key, _ in settings}
        self._undo.set_parameters([*settings, *((key, "1") for key in off if key not in set_already)], again=True)

    def _set_up_device(self, ip: Any) -> int:
        """Set MTU and reverse path filter and bring the device up; returns its index."""
        device = rtnetlink.find_device(ip, self.tun)
        if device is None:
            raise HostError(f"TUN device {self.tun} does not exist: it must be open before the host is set up.")
        self._admit_ipv6()
        settings: dict[str, int] = {"up": 1}
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
        self._undo.note(Change("device", self.tun, {name: device.settings[name] for name in settings}))
        if device.persistent:
            self.mtu = device.mtu
        else:
            settings["mtu"] = self.mtu
        rtnetlink.change_device(ip, device.index, settings)
        kept = {name: value for name, value in settings.items() if name in {"up", "mtu", "accept_local"}}
        self.wanted = replace(self.wanted, settings=kept)
        return device.index

    def _admit_ipv6(self, again: bool = False) -> None:
        """Make sure the device accepts IPv6 addresses: containers often start with IPv6 disabled."""
        key = sysctl.disable_ipv6(self.tun)
        disabled = sysctl.read(key)
        if disabled is None:
            raise HostError("This kernel runs without IPv6: remove ipv6.disable=1 from its command line and reboot.")
        if disabled != "0":
            self._undo.set_parameters([(key, "0")], again)

    def _set_up_addresses(self, ip: Any, device: int) -> list[rtnetlink.Interface]:
        """Add the translator's own addresses, and [clat] ipv4 unless this host has it already; returns them."""
        clat = self.config.clat
        given = [self.config.tun.ipv4, self.config.tun.ipv6]
        if clat:
            others = rtnetlink.local_addresses(ip, other_than=device)
            refuse_second_user(clat.ipv4, others)
            if is_host(clat.ipv4) and clat.ipv4[0] not in others:
                given.append(clat.ipv4[0])
        addresses = [ip_interface(address) for address in given if address]
        for address in addresses:
            self._add_address(ip, device, address)
        self.wanted = replace(self.wanted, addresses=tuple(addresses))
        return addresses

    def _add_address(self, ip: Any, device: int, address: rtnetlink.Interface) -> None:
        if rtnetlink.add_address(ip, device, address):  # noted only if added: never remove what existed before
            self._undo.note_once(Change("address", str(address)))

    def _set_up_neighbours(self, ip: Any) -> list[str]:
        """Answer neighbour discovery for [clat] ipv6 on the link it belongs to (proxy, RFC 4861 section 7.2.8)."""
        clat = self.config.clat
        self.wanted = replace(self.wanted, link=None)
        if not clat or not is_host(clat.ipv6) or not self.config.host.routes or masqueraded(self.config):
            return []
        address = clat.ipv6[0]
        link = rtnetlink.link_of(ip, address)
        if link == "lo":
            raise HostError(f"[clat] ipv6 = {address} is an address of this host: choose an unused one.")
        if link in {None, self.tun}:
            return []
        if any(address in own.network for own in rtnetlink.interface_addresses(ip)):
            self.wanted = replace(self.wanted, link=link)
        return self._answer_neighbours(ip, link)

    def _answer_neighbours(self, ip: Any, link: str) -> list[str]:
        """Answer neighbour discovery for [clat] ipv6 on a link; returns log lines."""
        assert self.config.clat is not None
        address = self.config.clat.ipv6[0]
        if rtnetlink.add_proxy(ip, if_nametoindex(link), address):
            self._undo.note_once(Change("proxy", str(address), link))
        parameter = (f"net/ipv6/conf/{link}/proxy_ndp", "1")
        lines = [f"Neighbour discovery for {address} is answered on {link}"]
        if sysctl.read(parameter[0]) == "1":
            return lines
        if not self.config.host.sysctls:
            return [
                f"Hosts on {link} cannot resolve {address} (neighbour discovery): run '{sysctl.command([parameter])}'"
            ]
        return [*lines, *self._undo.set_parameters([parameter], again=True)]

    def _set_up_default(self, ip: Any, device: int) -> list[str]:
        """464XLAT: an IPv4 default route of high metric to the device; its MTU leaves 20 octets for the IPv6 header."""
        clat = self.config.clat
        if not clat or not self.config.host.routes:
            return []
        native = rtnetlink.default_interfaces(ip)
        ours = Default(self.mtu - IPV6_IS_LONGER, clat.ipv4[0] if is_host(clat.ipv4) else None)
        self._add_default(ip, device, ours)
        self.wanted = replace(self.wanted, default=ours)
        kept = f"; the one through {', '.join(native)} takes precedence" if native else ""
        return [f"IPv4 default route to {self.tun}, metric {rtnetlink.METRIC}, MTU {ours.mtu}{kept}"]

    def _add_default(self, ip: Any, device: int, ours: Default) -> None:
        if not rtnetlink.add_default(ip, device, ours.mtu, ours.source):
            raise HostError(
                f"There is already an IPv4 default route with metric {rtnetlink.METRIC}: remove it, or set [host] "
                f"routes = false and route IPv4 to {self.tun} yourself."
            )
        self._undo.note_once(Change("default", str(rtnetlink.METRIC)))

    def _set_up_routes(self, ip: Any) -> list[str]:
        """Route pool6, pool4 and the addresses of [[forward]] and [[eam]] to the device."""
        if not self.config.host.routes:
            return []
        ours = networks(self.config)
        there = {*self.wanted.networks}
        routes.add(self._undo, ip, self.tun, [network for network in ours if network not in there])
        self.wanted = replace(self.wanted, networks=tuple(ours))
        return [f"Routes to {self.tun}: {', '.join(map(str, ours))}"]

    def _set_up_masquerade(self, ip: Any) -> list[str]:
        """Masquerade pool4 and the translator's own IPv4 address, or [clat] ipv6, behind the address of the outgoing
        interface."""
        sources = masqueraded(self.config)
        wish = self.config.host.masquerade
        if not sources:
            return []
        interfaces = rtnetlink.default_interfaces(ip, sources[0].version) if wish == "auto" else [wish]
        if not interfaces:
            return []
        self._masquerade(interfaces)
        return [f"Masquerade: {', '.join(map(str, sources))} behind the address of {', '.join(interfaces)}"]

    def _masquerade(self, interfaces: list[str]) -> None:
        """Masquerade on these interfaces, and no longer on others."""
        remedy = 'the kernel needs nf_tables and nft_masq; without them set [host] masquerade = "off"'
        with explaining("set up masquerade", remedy):
            table = self._undo.table
            if table and table.stands():
                table.follow(masqueraded(self.config), interfaces)
            else:
                name = nft.table_of(self.tun)
                self._undo.note_once(Change("table", name))
                if table:
                    table.close()
                self._undo.table = nft.Masquerade(name, masqueraded(self.config), interfaces)
        self.masquerade = interfaces

    def _set_up_shares(self, ip: Any) -> list[str]:
        """Lead the ports to the device that [[pool4]] shares with this host, and what endpoints of services send."""
        shares = steering.led(self.config)
        self.wanted = replace(self.wanted, shares=shares)
        if not shares:
            return []
        with explaining("lead ports", steering.remedy(shares)):
            steering.lead(self._undo, ip, self.tun, shares)
        return [f"Ports led to {self.tun}: {steering.named(shares)}"]

    def _accept(self, chain: ruleset.Chain, match: tuple[str, str]) -> None:
        """Have a chain of somebody else accept packets of our device."""
        self._undo.note_once(Change("accept", "\t".join(chain)))
        ruleset.accept(chain, match, nft.table_of(self.tun))

    def _set_up_forwarding(self) -> list[str]:
        """Enable forwarding, as the last step: no packet passes before everything else is in place."""
        settings = sysctl.forwarding(self.tun)
        if self.config.host.sysctls:
            return self._undo.set_parameters(settings)
        if settings:
            return [f"This host does not forward all packets of {self.tun}: run '{sysctl.command(settings)}'"]
        return []
