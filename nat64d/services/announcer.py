"""Answers for addresses of services on the links to whose subnets they belong, and announces them there."""

import asyncio
import errno
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from nat64d.config.models import Config
from nat64d.host.errors import HostError
from nat64d.host.facts import Facts
from nat64d.host.vips import Claiming, Vip, in_order, on_links
from nat64d.services.claim import Claim, Say
from nat64d.services.messages import Address, Heard, announcements, question
from nat64d.services.wire import Wire

# LIMITS
PAUSE = 0.02  # seconds between two rounds, at least
AGAIN = 10.0  # seconds after which what failed is tried again
IDLE = 60.0  # seconds between two rounds, at most
BATCH = 64  # messages that are read at once, then there is a REST: neighbours may flood
REST = 0.1  # seconds
DROP_IN = (
    "Run 'mkdir -p /etc/systemd/system/nat64d.service.d && printf \"[Service]\\nAmbientCapabilities=CAP_NET_RAW\\n"
    'CapabilityBoundingSet=CAP_NET_RAW\\nRestrictAddressFamilies=AF_PACKET\\n" > '
    "/etc/systemd/system/nat64d.service.d/neighbours.conf && systemctl daemon-reload && systemctl restart nat64d'"
)
UNPRIVILEGED = f"nat64d lacks CAP_NET_RAW, or sockets of AF_PACKET. {DROP_IN}"
REFUSED = {errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT}


class Announcer:
    """`use` says which services there are, `see` how the host stands; `run` answers for them until it is cancelled, or
    until `end`. To be called in the event loop, but for `see` and `claiming`, which any thread may call."""

    def __init__(
        self,
        log: logging.Logger,
        answer: Callable[[frozenset[Vip]], None],
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`answer` has the kernel answer for these and no others, in a thread, and may raise HostError; `changed` is
        called when there is something new in `claiming`."""
        self._log, self._answer, self._changed, self._clock = log, answer, changed, clock
        self._config: Config | None = None
        self._facts: Facts | None = None
        self._claims: dict[Vip, Claim] = {}
        self._sources: dict[Vip, Address] = {}
        self._wires: dict[tuple[str, int], Wire] = {}
        self._silent: dict[tuple[str, int], str] = {}  # why nothing is said on a link, by version of IP
        self._answered: frozenset[Vip] = frozenset()
        self.ended, self._complaint = False, ""
        self._awake = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def use(self, config: Config) -> None:
        """Answer for what this configuration has from now on."""
        self._config = config
        self._awake.set()

    def see(self, facts: Facts) -> None:
        """The host stands like this now."""
        self._facts = facts
        self._loop.call_soon_threadsafe(self._awake.set)

    def end(self) -> None:
        """Say nothing more, and change nothing."""
        self.ended = True

    def claiming(self) -> Claiming:
        """What stands in the way."""
        rivals = [
            (vip.link, str(vip.address), claim.rival.hex(":"), claim.held)
            for vip, claim in list(self._claims.items())
            if claim.rival
        ]
        silent = {link: why for (link, _), why in list(self._silent.items())}
        return Claiming(tuple(sorted(silent.items())), tuple(sorted(rivals)))

    async def run(self, answered: Iterable[Vip]) -> None:
        """`answered`: what this host answers for already, as the process before has left it."""
        self._answered, told = frozenset(answered), Claiming()
        self._claims.clear()
        try:
            while not self.ended:
                self._awake.clear()
                self._look()
                await self._speak()
                if (now := self.claiming()) != told:
                    told = now
                    self._changed()
                await asyncio.sleep(PAUSE)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._wait()):  # wait_for may forget that it was cancelled
                        await self._awake.wait()
        finally:
            for key in [*self._wires]:
                self._close(key)

    # ---- links

    def _look(self) -> None:
        """Which addresses are wanted on which links now."""
        if self._config is None or self._facts is None:
            return
        now = self._clock()
        self._sources = dict(on_links(self._config, self._facts))
        for vip in self._claims.keys() - self._sources:
            del self._claims[vip]
        for vip in self._sources.keys() - self._claims:
            self._claims[vip] = Claim(now, held=vip in self._answered)
        wanted = {(vip.link, vip.address.version) for vip in self._claims}
        for key in [key for key, wire in self._wires.items() if key not in wanted or wire.is_gone()]:
            self._close(key)
        self._silent = {key: why for key, why in self._silent.items() if key in wanted}
        for key in sorted(wanted - self._wires.keys()):
            self._open(key)

    def _open(self, key: tuple[str, int]) -> None:
        """Have a socket for a link; without one addresses are answered for all the same, but not announced."""
        try:
            self._wires[key] = wire = Wire(*key)
        except OSError as error:
            self._silent[key] = UNPRIVILEGED if error.errno in REFUSED else str(error.strerror)
            return
        self._silent.pop(key, None)
        self._loop.add_reader(wire.socket, self._read, key, wire)

    def _close(self, key: tuple[str, int]) -> None:
        wire = self._wires.pop(key)
        self._loop.remove_reader(wire.socket)
        wire.close()

    # ---- said

    async def _speak(self) -> None:
        """Say what is due; before an address is announced, it is answered for."""
        now = self._clock()
        said = [(vip, say) for vip, claim in self._claims.items() if (say := claim.say(now))]
        held = frozenset(vip for vip, claim in self._claims.items() if claim.held)
        if held != self._answered:
            await self._change(held)
        for vip, say in said:
            self._send(vip, say)

    async def _change(self, held: frozenset[Vip]) -> None:
        """Have the kernel answer for these and no others."""
        before, now = self._answered, held
        try:
            await asyncio.to_thread(self._answer, held)
        except HostError as error:  # it is tried again
            if str(error) != self._complaint:
                self._complaint = str(error)
                self._log.warning("%s", error)
            return
        self._answered, self._complaint = now, ""
        for vip in in_order(now - before):
            fields = {"event": "takeover", "address": str(vip.address), "interface": vip.link}
            self._log.info("This gateway answers for %s on %s from now on", vip.address, vip.link, extra=fields)
        for vip in in_order(before - now):
            fields = {"event": "given_up", "address": str(vip.address), "interface": vip.link}
            self._log.info("This gateway no longer answers for %s on %s", vip.address, vip.link, extra=fields)

    def _send(self, vip: Vip, say: Say) -> None:
        key = vip.link, vip.address.version
        if (wire := self._wires.get(key)) is None:
            return
        own = self._sources[vip] if vip.address.version == 4 else wire.source6()
        if own is None:
            self._silent[key] = f"it is down, or has no link-local address. Run 'ip link set {vip.link} up'"
            return
        try:
            if say is Say.QUESTION:
                wire.send(question(vip.address, wire.hardware, own))
            for one in announcements(vip.address, wire.hardware, own) if say is Say.ANNOUNCEMENT else ():
                wire.send(one)
        except OSError as error:
            self._silent[key] = f"{error.strerror}. Run 'ip link set {vip.link} up'"
        else:
            self._silent.pop(key, None)

    def _wait(self) -> float:
        """Seconds until something is due."""
        longest = AGAIN if self._silent or self._complaint else IDLE
        now = self._clock()
        return max(0.0, min([longest, *(claim.due - now for claim in self._claims.values())]))

    # ---- heard

    def _read(self, key: tuple[str, int], wire: Wire) -> None:
        """Take in what neighbours say; after BATCH messages there is a pause."""
        for _ in range(BATCH):
            try:
                if said := wire.receive():
                    self._hear(key[0], wire.hardware, said)
            except OSError:
                return
        self._loop.remove_reader(wire.socket)
        self._loop.call_later(REST, partial(self._listen, key, wire))

    def _listen(self, key: tuple[str, int], wire: Wire) -> None:
        if self._wires.get(key) is wire:
            self._loop.add_reader(wire.socket, self._read, key, wire)

    def _hear(self, link: str, own: bytes, said: Heard) -> None:
        claim = self._claims.get(Vip(link, said.address))
        if claim is None or any(said.hardware == wire.hardware for wire in self._wires.values()):
            return
        if said.wants:
            claim.defend(self._clock())
        else:
            claim.hear(said.hardware, own, self._clock())
        self._awake.set()
