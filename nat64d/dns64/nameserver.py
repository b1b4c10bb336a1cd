"""The name server as the daemon sees it: processes that answer, kept in step with the links and resolv.conf of this
host."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, NamedTuple

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from nat64d.config import Config
from nat64d.config.addresses import split_listener
from nat64d.dataplane.rtnetlink import interface_addresses
from nat64d.dns64.children import Children
from nat64d.dns64.exchange import DNS, servers_in
from nat64d.dns64.listening import obstacle
from nat64d.dns64.outcome import EVENTS
from nat64d.dns64.plan import RESOLV_CONF, listeners, non_global, plan, system_servers

log = logging.getLogger("nat64d")

# LIMITS
FOLLOW = 5.0  # seconds between two looks at the host
REPORT = 2.0  # seconds for counters, for who waits in another thread
STRANGERS = 16  # refused clients that are logged


class Facts(NamedTuple):
    """What the host says."""

    links: tuple[IPv4Network | IPv6Network, ...]  # prefixes that hosts on its links have
    addresses: tuple[IPv4Address | IPv6Address, ...]  # its own
    resolv: str  # the text of resolv.conf


def facts() -> Facts:
    """The host as it is now; wants a thread without an event loop."""
    with IPRoute() as ip:
        found = interface_addresses(ip)
    links = tuple(dict.fromkeys(one.network for one in found))
    try:
        text = RESOLV_CONF.read_text("utf-8", errors="replace")
    except OSError:
        text = ""
    return Facts(links, tuple(one.ip for one in found), text)


def planned(config: Config, found: Facts, listening: Sequence[str]) -> dict[str, Any]:
    """The plan of a name server that listens there."""
    own: list[IPv4Address | IPv6Address] = []
    for address, port in map(split_listener, listening):
        if port == DNS:
            own += [a for a in found.addresses if a.version == address.version] if address.is_unspecified else [address]
    document = plan(config, found.links, non_global(), system_servers(found.resolv, own))
    return {**document, "listen": listeners(listening)}


class NameServer:
    """Counters and problems may be asked for from any thread, all else from the event loop it was started in."""

    def __init__(self, config: Config) -> None:
        assert config.dns64 is not None
        self.config = config
        self.taken: dict[str, str] = {}  # of what is to be listened at: why that cannot be
        self.broken: list[str] = []  # of what is to be listened at: what a process says that could not
        self.failing: dict[str, str] = {}  # of the servers that answer nothing of late: what came instead
        self._counted: dict[str, tuple[int, int]] = {}  # of each server: questions answered, and asked in vain
        self._strangers: set[str] = set()
        self._wanted = config.dns64.listen
        self._ours: list[str] = []
        self._found = Facts((), (), "")
        self._planned_for: tuple[Config, Facts, tuple[str, ...]] | None = None
        self._plan: dict[str, Any] = {"upstream": []}
        self._children: Children | None = None
        self._following: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._ready = False

    async def start(self) -> None:
        """Listen where that is possible; the rest is tried again for as long as this lives."""
        await self._look()
        log.info("name server: %s", ", ".join(self._ours) or "listens nowhere")
        self._children = Children(self._plan)
        self._say([])
        self._children.ready(self._ready)
        self._children.start()
        self._following = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Give the ports back."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        if self._children is not None:
            await self._children.stop()

    def ready(self, yes: bool) -> None:
        """Say whether packets are translated: nothing is synthesised otherwise."""
        self._ready = yes
        if self._children is not None:
            self._children.ready(yes)

    def use(self, config: Config) -> None:
        """Another configuration, with the same [dns64]; it holds from the next look at the host on."""
        self.config = config

    def report(self) -> dict[str, Any]:
        """Counters; empty where the processes do not answer."""
        if self._children is None:
            return {}
        asking = asyncio.run_coroutine_threadsafe(self._children.report(), self._loop)
        with suppress(TimeoutError):
            return asking.result(REPORT)
        asking.cancel()
        return {}

    def events(self) -> list[dict[str, Any]]:
        """A row for each event."""
        report = self.report()
        counts = {**report.get("events", {}), "dns64_process_restarted": report.get("restarts", 0)}
        return [{"event": name, "count": counts.get(name, 0), "help": text} for name, text in EVENTS.items()]

    def status(self) -> dict[str, Any]:
        """Where it listens, whom it asks, what is synthesised."""
        servers = list(map(str, servers_in(self._plan["upstream"])))
        return {"listening": list(self._ours), "upstream": servers, "synthesises": self._ready}

    def warnings(self) -> list[str]:
        """A sentence for each thing that does not work as configured."""
        sentences = [f"[dns64] listen = {where}: {why}." for where, why in self.taken.items()]
        sentences += [f"[dns64] listen = {problem}." for problem in self.broken]
        sentences += [f"[dns64] upstream {server} does not answer: {why}." for server, why in self.failing.items()]
        if self._children and not self._plan["upstream"]:
            sentences.append(f"[dns64] has nobody to ask: {RESOLV_CONF} names no other name server.")
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
        """Which servers were asked since the last time, and only in vain; of those not asked nothing new is known."""
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
        """Log who was refused, a few times: a network whose prefix is missing in [dns64] clients, most likely."""
        if stranger and stranger not in self._strangers and len(self._strangers) < STRANGERS:
            self._strangers.add(stranger)
            log.warning("the name server refuses %s, which is in no [dns64] clients.", stranger)

    def _say(self, told: list[str]) -> None:
        """Log what is new about the warnings, and what is over."""
        now = self.warnings()
        for sentence in now:
            if sentence not in told:
                log.warning(sentence)
        for sentence in told:
            if sentence not in now:
                log.info("no longer so: %s", sentence)

    async def _look(self) -> None:
        """Plan anew, if there is anything new: a plan may hold a hundred thousand mappings. What is told to other
        threads is replaced, not changed."""
        try:
            self.taken, self._found = await asyncio.to_thread(self._see)
        except (OSError, NetlinkError) as error:
            log.error("the name server cannot look at this host: %s", error)  # noqa: TRY400
        self._ours += [where for where in self._wanted if where not in self._ours and where not in self.taken]
        seen = (self.config, self._found, tuple(self._ours))
        if seen != self._planned_for:
            self._planned_for, self._plan = seen, await asyncio.to_thread(planned, *seen)

    def _see(self) -> tuple[dict[str, str], Facts]:
        """Why it cannot listen where it does not yet, and the host."""
        obstacles = {where: obstacle(*split_listener(where)) for where in self._wanted if where not in self._ours}
        return {where: why for where, why in obstacles.items() if why is not None}, facts()
