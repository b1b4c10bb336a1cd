"""What a process before has left to this one: the device, by systemd's store; the fast path at it, by that or by pins;
changes to the host, by a journal; and the sockets that systemd has opened for the name server (nat64d.socket)."""

import logging
import os
import socket
from pathlib import Path

from nat64d.dataplane.bpf.left import PROGRAM, SESSIONS
from nat64d.dataplane.bpf.left import Left as Fastpath
from nat64d.dataplane.bpf.pins import Pins
from nat64d.dataplane.tun import Tun, name_of
from nat64d.gateway import descriptor_store
from nat64d.host.errors import HostError
from translator.tables.tables import Tables

log = logging.getLogger("nat64d")


def give_up_fastpath(left: Fastpath, tables: Tables) -> None:
    """Take a fast path away that this process does not go on with, before it changes its sessions. Raises HostError:
    then the device has to go, and does with this process."""
    left.give_time(tables)
    left.give_up()


class Left:
    """It is taken over, or given up; until then nobody has it. Without a store nothing is left in this way."""

    def __init__(self) -> None:
        """Take it out of the environment."""
        passed = descriptor_store.passed(os.environ, os.getpid())
        self.fds, self.sockets = passed[descriptor_store.TUN], passed[descriptor_store.DNS]
        self.fastpath = Fastpath([*passed[SESSIONS], *passed[PROGRAM]])
        self._names = {name_of(fd) for fd in self.fds} - {""}

    def find_fastpath(self, tun: Tun) -> Fastpath:
        """The fast path of an open device, which nobody else has: also what is pinned. Where its program goes on at a
        persistent device, what was set up for that stands too."""
        pins = Pins(tun.name, log, lasts=not tun.created)
        self.fastpath.add(pins.left())
        self.fastpath.keeper = pins
        if descriptor_store.is_there(os.environ):
            pins.remove()
            self.fastpath.keeper = descriptor_store.Store()
        if not tun.created and self.fastpath.stands_at(socket.if_nametoindex(tun.name)):
            tun.left = True
        return self.fastpath

    def taken_over(self) -> None:
        """The device goes on, and what was set up for it."""
        self._names.clear()

    def give_up(self) -> None:
        """Undo what was set up, unless it was taken over, and have systemd keep the device no longer. The journals are
        in RuntimeDirectory=, whatever the configuration says now. May be called again.

        Call it from a thread without a running event loop (a rule of pyroute2's blocking calls).
        """
        if not self._names:
            return
        from nat64d.host.undo import Undo  # noqa: PLC0415  slow to import, and seldom needed

        for directory in os.environ.get("RUNTIME_DIRECTORY", "").split(":"):
            for name in self._names if directory else ():
                undo = Undo(name, Undo.journal(Path(directory), name), log)
                try:
                    undo.adopt()
                except HostError as error:  # it is read by now, and can be undone
                    log.warning(error)
                undo.undo()
        self._names.clear()
        descriptor_store.forget()
