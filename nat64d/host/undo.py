"""Changes to the host that are taken back: noted in the journal before they are made, undone the last one first."""

import logging
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from ipaddress import IPv6Address, ip_interface, ip_network
from itertools import groupby
from os import strerror
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from nat64d.host import nft, rtnetlink, ruleset, steering, steering6, sysctl, vips
from nat64d.host.errors import HostError, reason
from nat64d.host.journal import Change, Journal
from nat64d.host.presence import Presence


class Undo:
    """What this process changed for the device `tun`; `table` is the masquerade, where there is one, and `steering`
    and `marking` what leads shared ports, and packets of endpoints, to it."""

    def __init__(self, tun: str, journal: Path, log: logging.Logger) -> None:
        self.table: nft.Masquerade | None = None
        self.steering: steering.Steering | None = None
        self.marking: steering6.Marking | None = None
        self._tun, self._log = tun, log
        self._journal = Journal(journal, log)
        self._noted: set[tuple[str, str]] = set()  # kind and key of every change in the journal
        self._presence = Presence(tun)
        self._routers: frozenset[tuple[str, str]] = frozenset()  # programs that needed forwarding before us

    @staticmethod
    def journal(directory: Path, tun: str) -> Path:
        """Where the journal of a device is, in the directory of the control socket."""
        return directory / f"{tun}.host.json"

    def begin(self) -> None:
        """Be seen by other instances as one that needs forwarding, and see who else does."""
        self._presence.begin()
        self._routers = ruleset.routers(ruleset.read() or {})

    def inherit(self, ip: Any) -> None:
        """Take over from a killed process: keep its record of old kernel parameters, undo all its other changes."""
        left = self._journal.load()
        self._put_all_back(ip, (change for change in reversed(left) if change.kind != "sysctl"))
        self.note(*(change for change in left if change.kind == "sysctl"))

    def adopt(self) -> None:
        """Take over from a process that has left the device: keep its record of all changes, and undo none."""
        self.note(*self._journal.load())

    def leave(self) -> None:
        """Leave all changes and their record to the next process, which adopts them; that is soon."""
        self._presence.end()
        table, self.table = self.table, None
        if table:
            table.close()
        self.let_go("steering")
        self.let_go("steering6")

    def note(self, *changes: Change) -> None:
        """Write changes that are about to be made to the journal. Raises HostError."""
        self._noted |= {(change.kind, change.key) for change in changes}
        try:
            self._journal.remember(*changes)
        except OSError as error:
            raise HostError(
                f"Cannot write {self._journal.path} ({error.strerror}), which records what is changed on this host: "
                "make the directory of [api] socket writable."
            ) from error

    def note_once(self, *changes: Change) -> None:
        """The same for what is set up again: of what was noted before, the first value is the one to go back to."""
        self.note(*(change for change in changes if (change.kind, change.key) not in self._noted))

    def forget(self, keys: AbstractSet[tuple[str, str]]) -> None:
        """What was noted and not made."""
        self._noted -= keys
        try:
            if keys:
                self._journal.forget(keys)
        except OSError as error:
            self._log.warning("Cannot write %s: %s", self._journal.path, error.strerror)

    def set_parameters(self, settings: Sequence[sysctl.Setting], again: bool = False) -> list[str]:
        """Set kernel parameters in this order; returns one log line, or none if there was nothing to set. `again`: they
        were set before. Raises HostError."""
        before = {key: sysctl.read(key) for key, _ in settings}
        # Undone in reverse order: first the key, then the values that the kernel overwrote with it.
        notes = [setting for key in before for setting in (*sysctl.swept_along(key), (key, before[key]))]
        (self.note_once if again else self.note)(*(Change("sysctl", key, value) for key, value in notes))
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

    def noted(self, kind: str | None = None, since: int = 0) -> list[tuple[str, str]]:
        """Kind and key of the changes that would be undone, of one kind, or without the first so many."""
        return [(one.kind, one.key) for one in self._journal.changes[since:] if kind in (None, one.kind)]

    def take_back(self, keys: Iterable[tuple[str, str]]) -> None:
        """Undo the changes of these kinds and keys that there are, the last one first; as `undo`."""
        wanted = self._noted & set(keys)
        taken = [one for one in self._journal.changes if (one.kind, one.key) in wanted]
        stays, _, _ = self._needed(taken)
        taken = [one for one in taken if one not in stays]
        wanted = {(one.kind, one.key) for one in taken}
        if not taken:
            return
        with IPRoute() as ip:
            self._put_all_back(ip, reversed(taken))
        self.forget(wanted)

    def undo(self) -> None:
        """Undo every change, the last one first; a change that cannot be undone is logged. Forwarding stays on for
        those who need it. May be called again."""
        self._presence.end()
        if not self._journal.changes:
            return
        stays, others, routers = self._needed(self._journal.changes)
        with IPRoute() as ip:
            self._put_all_back(ip, (change for change in reversed(self._journal.changes) if change not in stays))
            if not others:
                self._put_back_for_others(ip, routers)
        self._leave(stays, others, routers)

    def _needed(self, changes: list[Change]) -> tuple[list[Change], list[str], list[str]]:
        """Those of the changes that others need, other instances, and the tables of other programs."""
        ours = [one for one in changes if one.kind == "sysctl" and sysctl.concerns_forwarding(one.key)]
        others, routers = self._presence.others(), self._new_routers() if ours else []
        return ours if others or routers else [], others, routers

    def _new_routers(self) -> list[str]:
        """The tables of programs that came after us and need forwarding."""
        ours = {(family, nft.table_of(self._tun)) for family in ("ip", "ip6")}
        came = ruleset.routers(ruleset.read() or {}) - self._routers - ours
        return sorted(f"{family} {table}" for family, table in came)

    def _leave(self, stays: list[Change], others: list[str], routers: list[str]) -> None:
        """Forget what is undone; what stays because of other instances is put back by the last of them, or by the next
        process for this device, and what stays for other programs is theirs."""
        if stays:
            who = f"nat64d {', '.join(others)}" if others else f"nftables: {', '.join(routers)}"
            self._log.info("Forwarding stays on, others on this host need it (%s)", who)
        try:
            self._journal.keep(stays if others else [])
        except OSError as error:
            self._log.warning("Cannot write %s: %s", self._journal.path, error.strerror)
        self._noted.clear()

    def _put_back_for_others(self, ip: Any, routers: list[str]) -> None:
        """Forwarding as instances found it that stopped before this one, the last."""
        for path in sorted(self._journal.path.parent.glob("*.host.json")):
            if path == self._journal.path:
                continue
            left = Journal(path, self._log)
            changes = left.load()
            theirs = [one for one in changes if one.kind == "sysctl" and sysctl.concerns_forwarding(one.key)]
            if theirs:
                for change in reversed(theirs) if not routers else ():
                    self._put_back(ip, change)
                left.keep([one for one in changes if one not in theirs])

    def _put_all_back(self, ip: Any, changes: Iterable[Change]) -> None:
        """Undo changes in this order; of routes there may be thousands."""
        for kind, some in groupby(changes, key=lambda change: change.kind):
            if kind == "route":
                self._put_routes_back(ip, list(some))
            else:
                for change in some:
                    self._put_back(ip, change)

    def _put_routes_back(self, ip: Any, changes: list[Change]) -> None:
        sound = [(change, network) for change in changes if (network := self._network_of(change))]
        try:
            device = rtnetlink.find_device(ip, self._tun)
            networks = [network for _, network in sound]
            codes = rtnetlink.remove_routes(device.index, networks) if device else [0] * len(sound)
        except (NetlinkError, OSError) as error:
            self._log.warning("Could not undo the change of %d routes: %s", len(sound), reason(error))
            return
        for (change, _), code in zip(sound, codes, strict=True):
            if code:
                self._complain(change, strerror(code))

    def _network_of(self, change: Change) -> rtnetlink.Network | None:
        try:
            return ip_network(change.key)
        except ValueError as error:  # text in the journal that is no network
            self._complain(change, str(error))
            return None

    def _complain(self, change: Change, why: str) -> None:
        self._log.warning("Could not undo the change of %s %s: %s", change.kind, change.key, why)

    def _put_back(self, ip: Any, change: Change) -> None:
        """Undo one change; something that no longer exists is skipped."""
        try:
            if change.kind == "sysctl":
                sysctl.restore(change.key, change.before)
            elif change.kind in {"table", "steering", "steering6", "accept"}:
                self._put_back_rules(ip, change)
            elif change.kind == "proxy":
                rtnetlink.remove_proxy(ip, change.before, IPv6Address(change.key))
            elif change.kind == vips.KIND:
                vips.remove(ip, change.key)
            elif change.kind == "aside":
                rtnetlink.stop_leading_aside(ip, int(change.key))
            elif device := rtnetlink.find_device(ip, self._tun):
                if change.kind == "device":
                    rtnetlink.change_device(ip, device.index, change.before)
                elif change.kind == "address":
                    rtnetlink.remove_address(ip, device.index, ip_interface(change.key))
                elif change.kind == "default":
                    rtnetlink.remove_default(ip, device.index)
        except (NetlinkError, OSError, ValueError) as error:  # ValueError: text in the journal that is not an address
            self._complain(change, reason(error))

    def _put_back_rules(self, ip: Any, change: Change) -> None:
        """Remove what is of nftables, and what belongs to it."""
        if change.kind == "table":
            self._remove_table(change.key)
        elif change.kind in {"steering", "steering6"}:
            self.let_go(change.kind)
            steering.remove(ip, change.key, change.before, 6 if change.kind == "steering6" else 4)
        else:
            family, table, chain = change.key.split("\t")
            ruleset.remove((family, table, chain), nft.table_of(self._tun))

    def let_go(self, kind: str) -> None:
        """Close the socket of what leads packets to the device, if there is one: it stands all the same."""
        if kind == "steering" and self.steering:
            self.steering.let_go()
            self.steering = None
        if kind == "steering6" and self.marking:
            self.marking.let_go()
            self.marking = None

    def _remove_table(self, name: str) -> None:
        if self.table:
            table, self.table = self.table, None
            table.close()
        else:
            nft.remove_table(name)
