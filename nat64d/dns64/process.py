"""The process that answers: `python -m nat64d.dns64.process` reads standard input, a JSON document a line.

    {"plan": …}   first, answered by {"problems": […]}, and again whenever it changes
    {"ready": true|false}   whether packets are being translated
    {"report": n}           answered by {"report": n, …}, on standard output

It ends when standard input does, so it never outlives the daemon.
"""

import asyncio
import json
import os
import signal
import sys
from typing import Any

from nat64d.dns64.cache import Cache
from nat64d.dns64.exchange import servers_in
from nat64d.dns64.garbage import sweep
from nat64d.dns64.maps import Maps
from nat64d.dns64.policy import policy_in
from nat64d.dns64.rates import Rates
from nat64d.dns64.resolver import Resolver
from nat64d.dns64.server import Listener
from nat64d.dns64.upstream import Upstreams

LINE = 64 << 20  # octets of a plan: a hundred thousand mappings


class Process:
    """One process's resolver and its sockets."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.ready = False
        self.upstreams = Upstreams([])
        self.resolver = Resolver(self.upstreams, Cache(plan["cache"]), lambda: self.ready)
        self._pairs: list[list[str]] = []
        self._maps = Maps([])
        self.problems: list[str] = []
        self._rates, self._shared = Rates(plan["rate"]), plan["processes"] > 1
        self._servers: dict[str, Listener] = {}

    def know(self, plan: dict[str, Any]) -> None:
        """Whom to serve, and whom to ask."""
        if plan["maps"] != self._pairs:
            self._pairs, self._maps = plan["maps"], Maps.of(plan["maps"])
        self.resolver.use([policy_in(each) for each in plan["policies"]], self._maps, plan["dns46"])
        self.upstreams.replace(servers_in(plan["upstream"]))

    async def use(self, plan: dict[str, Any]) -> None:
        """Another plan; sockets that stay are not touched."""
        self.know(plan)
        self.problems = []
        wanted = {str(place): place for place in servers_in(plan["listen"])}
        for text in self._servers.keys() - wanted.keys():
            await self._servers.pop(text).close()
        for text in [text for text in wanted if text not in self._servers]:
            server = Listener(self.resolver, self._rates, self._shared)
            try:
                await server.listen(wanted[text].address, wanted[text].port)
            except OSError as error:
                self.problems.append(f"{text}: {os.strerror(error.errno or 0)}")
            else:
                self._servers[text] = server

    async def close(self) -> None:
        """Close all sockets."""
        for server in self._servers.values():
            await server.close()
        self.upstreams.close()

    def report(self) -> dict[str, Any]:
        """Counters, since the start."""
        cache, strange = self.resolver.cache, self.upstreams.counters
        return {
            "listening": list(self._servers),
            "problems": self.problems,
            "queries": self.resolver.counters.counts,
            "cache": {"entries": len(cache), "octets": cache.size, "hits": cache.hits, "misses": cache.misses},
            "stranger": self.resolver.counters.stranger,
            "events": {
                "dns64_answer_strange": strange.strange,
                "dns64_answer_mismatched": strange.mismatched,
                "dns64_answer_case": strange.case,
                "dns64_client_turned_away": self.resolver.counters.turned_away,
                "dns64_client_unread": self.resolver.counters.unread,
            },
            "upstream": {
                str(one.server): {
                    "asked": one.asked,
                    "answered": one.answered,
                    "failed": one.failed,
                    "seconds": round(one.seconds, 4),
                    "problem": one.problem,
                }
                for one in self.upstreams.all
            },
        }


async def _run() -> None:
    reader = asyncio.StreamReader(limit=LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    process: Process | None = None
    sweep()
    while line := await reader.readline():
        word = json.loads(line)
        if process is None:
            process = Process(word["plan"])
            await process.use(word["plan"])
            _say({"problems": process.problems})
        elif "plan" in word:
            await process.use(word["plan"])
        elif "ready" in word:
            process.ready = word["ready"]
        else:
            _say({"report": word["report"], **process.report()})
    if process is not None:
        await process.close()


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # the daemon's to hear; it closes our standard input
        signal.signal(number, signal.SIG_IGN)
    asyncio.run(_run())
