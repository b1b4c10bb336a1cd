"""Sends router advertisements with the NAT64 prefix on the interfaces of [ra], and hears what other routers announce
there."""

import asyncio
import logging
import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from math import inf

from nat64d.advertise import wire
from nat64d.advertise.message import (
    ADVERTISEMENT,
    LONGEST,
    SOLICITATION,
    Advertisement,
    Pref64,
    built,
    is_solicitation,
    parsed,
)
from nat64d.advertise.timing import FIRST_FEW, Timing
from nat64d.config.models import Config
from nat64d.host import sysctl
from nat64d.host.conditions import Announcing
from nat64d.host.descriptors import EXHAUSTED
from nat64d.host.watch import drain, subscribe

ROUTER_LONGEST = 9000  # SPEC: RFC 4861 section 6.2.1, seconds of a default router
# LIMITS
LOOK, PAUSE = 60.0, 0.1  # seconds between two looks at the interfaces, at most and at least
AGAIN = 10.0  # seconds after which what could not be opened is tried again
BATCH = 64  # messages that are read at once, then there is a PAUSE: neighbours may flood
RIVALS = 32  # prefixes of other routers that are remembered
GONE = 32  # prefixes and name servers that are taken back at a time: a message fits into 1280 octets
UNPRIVILEGED = "nat64d lacks CAP_NET_RAW: docs/install.md has the drop-in for its unit"


@dataclass
class Link:
    """An interface that is advertised on; `gone`: prefixes and name servers that no longer hold, and how often this is
    still said; `failure`: why the last advertisement was not sent."""

    index: int
    timing: Timing
    gone: dict[IPv6Network | IPv6Address, int] = field(default_factory=dict)
    failure: str | None = None


def announcement(config: Config, forwards: bool) -> Advertisement:
    """What [ra] says of a configuration, on an interface whose packets this host forwards or does not."""
    given = config.ra
    assert given is not None
    life = min(3 * given.interval, LONGEST)  # RFC 8781 section 4.1, RFC 8106 section 5.1
    router = min(life, ROUTER_LONGEST) if given.default_router and forwards else 0  # RFC 4861 section 6.2.5
    pref64 = (Pref64(config.pool6, life),) if config.pool6 else ()
    return Advertisement(router, pref64, given.rdnss, life)


def withdrawal(one: Advertisement) -> Advertisement:
    """The same, taken back."""
    return one._replace(
        router_lifetime=0, pref64=tuple(Pref64(prefix, 0) for prefix, _ in one.pref64), rdnss_lifetime=0
    )


def _offered(config: Config) -> list[IPv6Network | IPv6Address]:
    """The prefix and the name servers that hosts take from it."""
    return [*filter(None, [config.pool6]), *(config.ra.rdnss if config.ra else ())]


class Advertiser:
    """`use` says what is announced, `run` announces it until it is cancelled, and takes it back then.

    To be called in the event loop, but for `announcing`, which any thread may call.
    """

    def __init__(
        self,
        log: logging.Logger,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`changed` is called when there is something new in `announcing`."""
        self._log, self._changed, self._clock, self._chance = log, changed, clock, chance
        self._config: Config | None = None
        self._links: dict[str, Link] = {}
        self._sent: dict[str, float] = {}  # when something went out last on an interface, be it gone since
        self._absent: dict[str, str] = {}  # interfaces that cannot be advertised on, and why
        self._rivals: dict[tuple[str, str, str], float] = {}  # interface, router and prefix: until when
        self._socket: socket.socket | None = None
        self._awake = asyncio.Event()

    def use(self, config: Config) -> None:
        """Announce what this configuration says from now on; without [ra], or an interface of it, nothing there."""
        before = self._config
        names = config.ra.interface if config.ra else ()
        for name in self._links.keys() - {*names}:
            self._end(name)
        self._config = config
        if before and (before.ra, before.pool6) != (config.ra, config.pool6):
            for link in self._links.values():
                self._change(link, before)
        self._rivals.clear()
        self._awake.set()

    def announcing(self) -> Announcing:
        """What stands in its way: interfaces on which nothing can be sent, and other routers with other prefixes."""
        now = self._clock()
        rivals = [rival for rival, until in list(self._rivals.items()) if until > now]
        failures = {name: link.failure for name, link in list(self._links.items()) if link.failure}
        return Announcing(tuple(sorted((self._absent | failures).items())), tuple(sorted(rivals)))

    async def run(self, goes_on: Callable[[], bool] = lambda: False) -> None:
        """Announce until cancelled, then take it back (RFC 4861 section 6.2.5), unless it `goes_on` in another process
        soon."""
        loop, changes, told = asyncio.get_running_loop(), subscribe(), Announcing()
        for one in changes:
            loop.add_reader(one, drain, one, self._awake)
        try:
            while True:
                self._awake.clear()
                self._look()
                wait = self._advertise()
                if (now := self.announcing()) != told:
                    told = now
                    self._changed()
                await asyncio.sleep(min(PAUSE, wait))
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, wait - PAUSE)):  # wait_for may forget that it was cancelled
                        await self._awake.wait()
        finally:
            for one in changes:
                loop.remove_reader(one)
                one.close()
            for name in [*self._links] if not goes_on() else []:
                self._end(name)
            self._close()

    # ---- interfaces

    def _look(self) -> None:
        """See which interfaces of [ra] are there, and can be sent on."""
        names = self._config.ra.interface if self._config and self._config.ra else ()
        why_not = self._open(bool(names))
        self._absent = dict.fromkeys(names, why_not) if why_not else {}
        for name in names if self._socket else ():
            if why := self._admitted(name):
                self._forget(name)
                self._absent[name] = why

    def _admitted(self, name: str) -> str | None:
        """The same as `_admit`; that there are no descriptors left to look with is no other reason."""
        try:
            return self._admit(name)
        except OSError as error:
            return f"it cannot be looked at: {error.strerror}" if name not in self._links else None

    def _admit(self, name: str) -> str | None:
        """Advertise on an interface from its link-local address (RFC 4861 section 4.2); returns why that cannot be."""
        assert self._socket is not None
        assert self._config is not None
        assert self._config.ra is not None
        try:
            index = socket.if_nametoindex(name)
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise
            return "there is no such interface"
        if wire.link_local(index) is None:
            return f"it is down, or has no link-local address. Run 'ip link set {name} up'"
        if name not in self._links or self._links[name].index != index:
            try:
                wire.join(self._socket, wire.ALL_ROUTERS, index)
            except OSError as error:
                return f"those who ask there cannot be heard: {error.strerror}"
            last = self._sent.get(name, -inf)  # RFC 4861 section 6.2.6: also where it was gone for a moment
            timing = Timing(self._config.ra.interval, self._clock(), self._chance, last)
            self._links[name] = Link(index, timing)
            self._log.info("Router advertisements on %s announce the NAT64 prefix", name, extra={"interface": name})
        return None

    def _open(self, wanted: bool) -> str | None:
        """Have a socket if one is wanted; returns why there is none."""
        if not wanted:
            self._close()
        elif self._socket is None:
            try:
                self._socket = wire.open_socket((SOLICITATION, ADVERTISEMENT))
            except PermissionError:
                return UNPRIVILEGED
            except OSError as error:
                return f"there is no socket to be had: {error.strerror}"
            self._listen()
        return None

    def _listen(self) -> None:
        if self._socket:
            self._socket.setblocking(False)
            asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _close(self) -> None:
        if self._socket:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
        self._socket = None

    # ---- sent

    def _advertise(self) -> float:
        """Send what is due; returns for how many seconds nothing is."""
        now = self._clock()
        for name, link in self._links.items():
            if link.timing.due <= now:
                self._send(name)
                link.gone = {each: times - 1 for each, times in link.gone.items() if times > 1}
                link.timing.sent(now)
        longest = AGAIN if self._absent else LOOK
        return max(0.0, min([longest, *(link.timing.due - now for link in self._links.values())]))

    def _content(self, name: str, link: Link) -> Advertisement:
        """What is announced, and for a while what was."""
        assert self._config is not None
        one = announcement(self._config, sysctl.read(f"net/ipv6/conf/{name}/forwarding") == "1")
        prefixes = tuple(Pref64(each, 0) for each in link.gone if isinstance(each, IPv6Network))
        servers = tuple(each for each in link.gone if isinstance(each, IPv6Address))
        return one._replace(pref64=one.pref64 + prefixes, rdnss_gone=servers)

    def _change(self, link: Link, before: Config) -> None:
        """Say soon that something else is announced than before."""
        assert self._config is not None
        assert self._config.ra is not None
        link.timing.restart(self._config.ra.interval, self._clock())
        link.gone |= dict.fromkeys(_offered(before), FIRST_FEW)
        for each in _offered(self._config):
            link.gone.pop(each, None)
        link.gone = dict([*link.gone.items()][-GONE:])

    def _end(self, name: str) -> None:
        """Take back what was announced on an interface."""
        # RFC 4861 6.2.6 says three seconds after the one before; we do not wait, because a stop does not.
        self._send(name, withdrawal)
        self._forget(name)

    def _forget(self, name: str) -> None:
        """Hear no more who asks on an interface."""
        link = self._links.pop(name, None)
        if link and self._socket:
            wire.leave(self._socket, wire.ALL_ROUTERS, link.index)

    def _send(self, name: str, changed: Callable[[Advertisement], Advertisement] = lambda one: one) -> None:
        """Send what is announced, or what that is `changed` to."""
        link = self._links[name]
        try:
            source = wire.link_local(link.index)
            if self._socket and source:
                one = changed(self._content(name, link))
                wire.send(self._socket, built(one), wire.ALL_NODES, link.index, source)
                link.failure, self._sent[name] = None, self._clock()
        except OSError as error:
            remedy = "" if error.errno in EXHAUSTED else f". Run 'ip link set {name} up'"
            link.failure = f"{error.strerror}{remedy}"

    # ---- heard

    def _read(self) -> None:
        """Take in what neighbours say; after BATCH messages there is a pause."""
        assert self._socket is not None
        for _ in range(BATCH):
            try:
                heard = wire.receive(self._socket)
            except OSError:
                return
            if heard:
                self._hear(heard)
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        loop.call_later(PAUSE, self._listen)

    def _hear(self, heard: wire.Heard) -> None:
        """A solicitation is answered, the prefixes of another router are noted (RFC 4861 sections 6.2.6 and 6.2.7)."""
        name, link = next(((name, link) for name, link in self._links.items() if link.index == heard.link), ("", None))
        if link is None:
            return
        if is_solicitation(heard.message, heard.source):
            link.timing.solicited(self._clock())
            self._awake.set()
        elif heard.source.is_link_local and (said := parsed(heard.message)):
            self._compare(name, str(heard.source), said)

    def _compare(self, name: str, router: str, said: Advertisement) -> None:
        """RFC 8781 section 5.2: other routers announce the same prefix, or the operator is told."""
        assert self._config is not None
        now = self._clock()
        for prefix, lifetime in said.pref64:
            rival = name, router, str(prefix)
            if prefix != self._config.pool6 and (rival in self._rivals or len(self._rivals) < RIVALS):
                self._awake.set()
                self._rivals[rival] = now + lifetime
        self._rivals = {rival: until for rival, until in self._rivals.items() if until > now}
