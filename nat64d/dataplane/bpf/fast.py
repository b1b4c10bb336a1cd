"""The fast path of a running gateway: attached while the queues are served, or one sentence why it is not.

The tables of sessions move into maps when the queues begin to be served, and stay there: also where the program is not
attached they are tables as any other. Link, program and maps go with the process, whatever way it ends, unless somebody
keeps the records of sessions and the link for the next one (left.py).
"""

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from nat64d.dataplane.bpf import system
from nat64d.dataplane.bpf.attach import Attached
from nat64d.dataplane.bpf.interfaces import Interfaces
from nat64d.dataplane.bpf.kept import BuildError, is_kept, kept_object
from nat64d.dataplane.bpf.left import PROGRAM, SESSIONS, Left, identity
from nat64d.dataplane.bpf.link import SECTION, LinkError, link
from nat64d.dataplane.bpf.maps import SHARED, Maps
from nat64d.dataplane.bpf.numbers import parameters_of, refusal
from nat64d.dataplane.bpf.privilege import lay_down
from nat64d.dataplane.bpf.summed import PACKETS, Summed, summed
from nat64d.dataplane.bpf.words import words
from nat64d.dataplane.worker import Queue, now
from nat64d.host.errors import HostError
from translator.fastpath.reasons import Reason
from translator.tables.settings import Settings
from translator.tables.tables import NEVER_USED, Tables
from translator.tables.tables import SESSIONS as KIND

# LIMITS
QUEUED = 128  # milliseconds: what was queued for the daemon before a start has been translated by then
SPARE = 1000  # milliseconds that it takes to attach a program, and more


class Fast:
    """Maps, program and link of the device `interface`; with `mode` "on" what goes wrong is a HostError. `left`: by a
    process before; `beside`: where else packets are taken."""

    def __init__(
        self,
        mode: str,
        interface: str,
        log: logging.Logger,
        left: Left | None = None,
        beside: Interfaces | None = None,
    ) -> None:
        self.mode, self._interface, self._log = mode, interface, log
        self.beside = beside or Interfaces((), log)
        self._left = left if left is not None else Left()
        self._keeper = self._left.keeper
        self.why: str | None = "the queues are not served"
        self._maps, self._shared = Maps(), dict[str, np.ndarray]()
        self._said: str | None = None
        self._attached: Attached | None = None
        self._was_on = False
        self._queues: int | None = None  # whose workers say how far they have got
        with suppress(OSError):
            lay_down()

    @property
    def is_on(self) -> bool:
        """Whether the program is attached."""
        return self._attached is not None

    def take_in(self, tables: Tables) -> Tables:
        """The same tables, those of sessions in maps. Raises HostError."""
        names = [name for name in SHARED if getattr(tables, name) is not self._shared.get(name)]
        if not names:
            return tables
        try:
            moved = self._maps.share(tables, names)
        except OSError as error:
            self._fail(f"no memory that the kernel shares: {words(error)}")
            return tables
        self._shared = {name: getattr(moved, name) for name in SHARED}
        if "sessions" in names:
            self._keeper.keep([self._maps.fds["sessions"]], SESSIONS)
        return moved

    def hear(self, queues: Sequence[Queue]) -> None:
        """Let the workers of the queues, which do not run yet, say how far they have got. Raises HostError."""
        if self._queues is not None or not self._shared:
            return
        try:
            rows = self._maps.hear(len(queues))
        except OSError as error:
            self._fail(f"no memory that the kernel shares: {words(error)}")
            return
        self._queues = len(queues)
        for queue in queues:
            queue.tell_in(rows, [each.fd for each in queues])

    @property
    def memory(self) -> int:
        """The number of the map that has the records of sessions."""
        return identity(self._maps.fds.get("sessions", -1))

    def succeed(self, settings: Settings, tables: Tables) -> bool:
        """Take the place of a program that a process before has left, before anything of these tables changes; returns
        False where there is none, or it had to go first. Raises HostError."""
        if not self._left.stands_at(socket.if_nametoindex(self._interface)):
            self._left.drop()
            return False
        kept = is_kept()  # if not, new flows would wait until it is built
        if not kept:
            self._left.drop()
        self._left.give_time(tables, SPARE)
        if kept:
            self.begin(settings, tables)
        return kept

    def begin(self, settings: Settings, tables: Tables) -> None:
        """Attach the program for these, if it can be, instead of one that was left. Raises HostError."""
        self.end()
        try:
            self._begin(settings, tables)
        finally:
            self._left.drop()
            self._keeper.keep(self._attached.links if self._attached else [], PROGRAM)

    def _begin(self, settings: Settings, tables: Tables) -> None:
        if self._queues is None:
            return  # take_in has said why, or hear
        if why := refusal(settings):
            self._fail(why)
            return
        try:
            self._attach(settings, tables)
        except (OSError, LinkError, BuildError) as error:
            self._fail(words(error))
            return
        self.why, self._was_on = None, True
        self._tell("Packets of established flows are translated in the kernel")

    def _attach(self, settings: Settings, tables: Tables) -> None:
        cpus = system.possible_cpus()
        self._maps.fill(settings, len(tables.sessions))
        numbers = parameters_of(settings, tables, cpus, self._queues or 0, now() + QUEUED)
        made = kept_object()

        def load(others: Mapping[str, int]) -> int:
            return system.load(link(made, SECTION, self._maps.fds, {**numbers, **others}))

        program = load({})
        try:
            self._attached = Attached(program, socket.if_nametoindex(self._interface))
        finally:
            os.close(program)  # what it is attached by has it
        self.beside.begin(load, self._interface)

    def end(self) -> None:
        """Detach the program: every packet is the daemon's. May be repeated."""
        self.beside.end()
        if self._attached is not None:
            self._attached.close()
            self._attached, self.why = None, "the queues are not served"
            self._keeper.keep([], PROGRAM)

    def close(self, goes_on: bool = False) -> None:
        """Detach the program, unless the next process is to find it, and let go of the maps."""
        if goes_on:
            self.beside.end()
            if self._attached is not None:
                self._attached.leave()
        else:
            self.end()
            self._left.drop()
            self._keeper.keep([], PROGRAM)
            if "sessions" in self._maps.fds:
                self._keeper.keep([], SESSIONS)
        self._maps.close()

    def give_back(self, tables: Tables, sessions: np.ndarray) -> None:
        """Copy the records of sessions to where they are kept over a restart; the queues stand still."""
        used = int(tables.free[KIND, NEVER_USED])
        sessions[:used] = tables.sessions[:used]

    def summed(self) -> Summed:
        """What the program has counted, since the start."""
        return summed(self._maps.counted())

    def status(self) -> dict[str, Any]:
        """For people: whether it is on, why not, and what became of packets."""
        counted = self._maps.counted()[:, PACKETS]
        return {
            "mode": self.mode,
            "state": "on" if self.is_on else "off",
            "why": self.why,
            "attached": self._attached.how if self._attached else None,
            "kept": self._keeper.where,
            "not_kept": self._keeper.why,
            "interfaces": self.beside.status(),
            "packets": {reason.name.lower(): int(counted[reason]) for reason in Reason if counted[reason]},
        }

    def _fail(self, why: str) -> None:
        self.why = why
        if self.mode == "on" and not self._was_on:  # a reload does not end a daemon that translates
            raise HostError(
                f'There is no fast path, which [fastpath] mode = "on" demands ("auto" starts without): {why}'
            )
        self._tell(f"No fast path in the kernel: {why}")

    def _tell(self, what: str) -> None:
        """Once, however often the queues pause."""
        if what != self._said:
            self._log.info(what)
        self._said = what
