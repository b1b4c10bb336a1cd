"""The name server, seen from the daemon: its processes, adapted to the links and the resolv.conf of this host."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, NamedTuple

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from nat64d.config.addresses import split_listener
from nat64d.config.models import Config
from nat64d.dns64.clients.opened import opened
from nat64d.dns64.message.endings import EVENTS
from nat64d.dns64.service.children import Children
from nat64d.dns64.service.listening import obstacle
from nat64d.dns64.service.plan import RESOLV_CONF, listeners, plan, system_servers
from nat64d.dns64.upstreams.exchange import DNS, ServerAddress, server_addresses
from nat64d.host.rtnetlink import interface_addresses

log = logging.getLogger("nat64d")

# LIMITS
FOLLOW = 5.0  # seconds between two looks at the host
REPORT = 2.0  # seconds that another thread waits for counters
STRANGERS = 16  # refused clients that are logged


class Facts(NamedTuple):
    """What is known of this host."""

    links: tuple[IPv4Network | IPv6Network, ...]  # the prefixes of its links
    addresses: tuple[IPv4Address | IPv6Address, ...]  # on its interfaces
    resolv: str  # the text of resolv.conf


def facts() -> Facts:
    """The host as it is now. To be called in a thread without an event loop."""
    with IPRoute() as ip:
        found = interface_addresses(ip)
    links = tuple(dict.fromkeys(one.network for one in found))
    try:
        text = RESOLV_CONF.read_text("utf-8", errors="replace")
    except OSError:
        text = ""
    return Facts(links, tuple(one.ip for one in found), text)


def planned(config: Config, found: Facts, listening: Sequence[str]) -> dict[str, Any]:
    """The plan for a name server that listens on these addresses."""
    own: list[IPv4Address | IPv6Address] = []
    for address, port in map(split_listener, listening):
        if port == DNS:
            own += [a for a in found.addresses if a.version == address.version] if address.is_unspecified else [address]
    document = plan(config, found.links, system_servers(found.resolv, own))
    return {**document, "listen": listeners(listening)}


class NameServer:
    """The name server. `report`, `events`, `status` and `warnings` may be called from any thread, everything else from
    the event loop that it was created in."""

    def __init__(self, config: Config, sockets: Sequence[int] = ()) -> None:
        """`sockets`: those that are open already, see `clients.opened`; they stay open."""
        assert config.dns64 is not None
        self.config = config
        self._sockets = sockets
        self._opened, self._useless = opened(sockets)
        self.taken: dict[str, str] = {}  # addresses to listen on that cannot be used, and why
        self.broken: list[str] = []  # addresses that a process could not listen on, and why
        self.failing: dict[str, str] = {}  # upstream servers that do not answer at present, and the last error
        self._counted: dict[str, tuple[int, int]] = {}  # of each upstream server: questions answered, and not answered
        self._strangers: set[str] = set()
        self._wanted = config.dns64.listen
        self._ours: list[str] = []
        self._found = Facts((), (), "")
        self._planned_for: tuple[Config, Facts, tuple[str, ...]] | None = None
        self._plan: dict[str, Any] = {"upstream": []}
        self._children: Children | None = None
        self._following: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._looking = asyncio.Lock()
        self._ready = False

    async def start(self) -> None:
        """Listen on the addresses that are free; the others are tried again every few seconds."""
        await self._look()
        log.info(
            "Name server: %s", f"listening on {', '.join(self._ours)}" if self._ours else "no address to listen on"
        )
        self._children = Children(self._plan, self._sockets)
        self._say([])
        self._children.ready(self._ready)
        self._children.start()
        self._following = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """End the processes."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        if self._children is not None:
            await self._children.stop()

    def ready(self, yes: bool) -> None:
        """Tell the processes whether packets are translated; nothing is synthesised until they are."""
        self._ready = yes
        if self._children is not None:
            self._children.ready(yes)

    def use(self, config: Config) -> None:
        """Use another configuration with the same [dns64] from the next look at the host on."""
        self.config = config

    async def change_to(self, config: Config) -> None:
        """Use another configuration, with as many processes and as large a cache; when this returns they do."""
        assert config.dns64 is not None
        assert self._children is not None
        told = self.warnings()
        self.config, self._wanted = config, config.dns64.listen
        self._ours = [where for where in self._ours if where in self._wanted]
        await self._look()
        self._children.use(self._plan)
        await self._children.report()  # is answered after what was said before
        self._say(told)

    def report(self) -> dict[str, Any]:
        """The counters of all processes; empty if they do not reply."""
        if self._children is None:
            return {}
        asking = asyncio.run_coroutine_threadsafe(self._children.report(), self._loop)
        with suppress(TimeoutError):
            return asking.result(REPORT)
        asking.cancel()
        return {}

    def events(self) -> list[dict[str, Any]]:
        """A row for each event of EVENTS, with its count."""
        report = self.report()
        counts = {**report.get("events", {}), "dns64_process_restarted": report.get("restarts", 0)}
        return [{"event": name, "count": counts.get(name, 0), "help": text} for name, text in EVENTS.items()]

    def status(self) -> dict[str, Any]:
        """The addresses it listens on, the upstream servers, and whether it synthesises."""
        servers = list(map(str, server_addresses(self._plan["upstream"])))
        return {"listening": list(self._ours), "upstream": servers, "synthesises": self._ready}

    def warnings(self) -> list[str]:
        """A sentence for each thing that does not work as configured."""
        sentences = [f"[dns64] listen = {where}: {why}." for where, why in self.taken.items()]
        sentences += [f"[dns64] listen = {problem}." for problem in self.broken]
        sentences += [f"A socket that systemd has opened is of no use: {why}." for why in self._useless]
        sentences += [
            f"[dns64] upstream server {server} does not answer: {why}." for server, why in self.failing.items()
        ]
        if self._children and not self._plan["upstream"]:
            sentences.append(f"[dns64] has no upstream server: {RESOLV_CONF} lists only this host, or none.")
        return sentences

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW)
            assert self._children is not None
            before, told = self._plan, self.warnings()
            await self._look()
            report = await self._children.report()
            self.broken = report.get("problems", [])
            if self._plan is not before or self.broken:
                self._children.use(self._plan)
            self._judge(report.get("upstream", {}))
            self._tell_of(report.get("stranger", ""))
            self._say(told)

    def _judge(self, servers: dict[str, Any]) -> None:
        """Find the servers that were asked since the last time and answered nothing. Nothing new is known of those not
        asked."""
        failing = {server: why for server, why in self.failing.items() if server in servers}
        for server, row in servers.items():
            answered, failed = self._counted.get(server, (0, 0))
            self._counted[server] = row["answered"], row["failed"]
            if row["answered"] != answered:
                failing.pop(server, None)
            elif row["failed"] > failed:
                failing[server] = row["problem"]
        self.failing = failing

    def _tell_of(self, stranger: str) -> None:
        """Log a refused client, a few times: most likely its prefix is missing in [dns64] clients."""
        if stranger and stranger not in self._strangers and len(self._strangers) < STRANGERS:
            self._strangers.add(stranger)
            text = "Name server: refused %s, which is in no prefix of [dns64] clients."
            log.warning(text, stranger, extra={"client": stranger})

    def _say(self, told: list[str]) -> None:
        """Log warnings that are new, and those that are resolved."""
        now = self.warnings()
        for sentence in now:
            if sentence not in told:
                log.warning(sentence)
        for sentence in told:
            if sentence not in now:
                log.info("Resolved: %s", sentence)

    async def _look(self) -> None:
        """Look at the host, and make a new plan if anything has changed: a plan may hold a hundred thousand [[eam]]
        rows. What other threads read is replaced, never modified."""
        async with self._looking:
            try:
                self.taken, self._found = await asyncio.to_thread(self._see)
            except (OSError, NetlinkError) as error:
                log.error("Name server: cannot read the addresses of this host: %s", error)  # noqa: TRY400
            self._ours += [where for where in self._wanted if where not in self._ours and where not in self.taken]
            seen = (self.config, self._found, tuple(self._ours))
            if seen != self._planned_for:
                self._planned_for, self._plan = seen, await asyncio.to_thread(planned, *seen)

    def _see(self) -> tuple[dict[str, str], Facts]:
        """(why it cannot listen on the addresses that are not open yet, facts about the host)."""
        closed = (each for each in self._wanted if each not in self._ours and not self._is_opened(each))
        obstacles = {where: obstacle(*split_listener(where)) for where in closed}
        return {where: why for where, why in obstacles.items() if why is not None}, facts()

    def _is_opened(self, where: str) -> bool:
        """Whether there is a socket for it already."""
        return str(ServerAddress(*split_listener(where))) in self._opened
