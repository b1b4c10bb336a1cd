"""The process that answers queries: `python -m nat64d.dns64.service.process [RATES [SOCKET…]]`.

RATES is the file descriptor of the memory that `clients.rates` shares, SOCKET one that is open already, see
`clients.opened`. The process reads one JSON document per line
from standard input, and ends with it, so that it never outlives the daemon:

    {"plan": …}             the first line, and whenever the plan changes; the first is answered by {"problems": […]}
    {"ready": true|false}   whether packets are translated
    {"report": n}           answered by {"report": n, …} on standard output
"""

import asyncio
import gc
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from nat64d.dns64.clients.listener import Desk, Listener
from nat64d.dns64.clients.opened import opened
from nat64d.dns64.clients.rates import Rates
from nat64d.dns64.resolver import Resolver
from nat64d.dns64.rules.maps import Maps
from nat64d.dns64.rules.policy import policy_in
from nat64d.dns64.upstreams.cache import Cache
from nat64d.dns64.upstreams.exchange import server_addresses
from nat64d.dns64.upstreams.upstream import Upstreams

# LIMITS
LINE = 64 << 20  # octets of a plan; a hundred thousand [[eam]] rows fit
SWEEP = 1.0  # seconds between two runs of the garbage collector
THAW = 3600  # runs until one looks at all objects again
YOUNG = 20_000  # objects that are allocated before the youngest are looked at


class Process:
    """The resolver and the sockets of one process."""

    def __init__(self, plan: dict[str, Any], rates: int | None = None, sockets: Sequence[int] = ()) -> None:
        """`rates`: the file descriptor of the memory in which the processes count their clients' queries; `sockets`:
        those that are open already."""
        self.ready = False
        self.upstreams = Upstreams([])
        self.resolver = Resolver(self.upstreams, Cache(plan["cache"] // plan["processes"]), lambda: self.ready)
        self._pairs: list[list[str]] = []
        self._maps = Maps([])
        self.problems: list[str] = []
        self._desk, self._shared = Desk(self.resolver, Rates(plan["rate"], rates)), plan["processes"] > 1
        self._servers: dict[str, Listener] = {}
        self._opened, _ = opened(sockets)

    def know(self, plan: dict[str, Any]) -> None:
        """Adopt the policies and the upstream servers of a plan."""
        if plan["maps"] != self._pairs:
            self._pairs, self._maps = plan["maps"], Maps.of(plan["maps"])
        self.resolver.use([policy_in(each) for each in plan["policies"]], self._maps, plan["dns46"])
        self.upstreams.replace(server_addresses(plan["upstream"]))

    async def use(self, plan: dict[str, Any]) -> None:
        """Adopt a plan; sockets for addresses that stay are kept open."""
        self.know(plan)
        self.problems = []
        wanted = {str(place): place for place in server_addresses(plan["listen"])}
        for text in self._servers.keys() - wanted.keys():
            await self._servers.pop(text).close()
        for text in [text for text in wanted if text not in self._servers]:
            server = Listener(self._desk, self._shared)
            try:
                await server.listen(wanted[text].address, wanted[text].port, self._opened.get(text))
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
        """Counters since the start, and problems."""
        cache, strange, clients = self.resolver.cache, self.upstreams.counters, self.resolver.counters
        return {
            "listening": list(self._servers),
            "problems": self.problems,
            "queries": clients.counts,
            "cache": {
                "entries": len(cache),
                "octets": cache.size,
                "limit": cache.capacity,
                "hits": cache.hits,
                "misses": cache.misses,
            },
            "stranger": clients.stranger,
            "events": {
                "dns64_answer_strange": strange.strange,
                "dns64_answer_mismatched": strange.mismatched,
                "dns64_answer_case": strange.case,
                "dns64_question_displaced": self.upstreams.displaced,
                "dns64_client_turned_away": clients.turned_away,
                "dns64_client_displaced": clients.displaced,
                "dns64_client_unread": clients.unread,
                "dns64_client_overlong": clients.overlong,
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


async def _run(rates: int | None, sockets: Sequence[int]) -> None:
    reader = asyncio.StreamReader(limit=LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    process: Process | None = None
    sweep()
    while line := await reader.readline():
        word = json.loads(line)
        if process is None:
            process = Process(word["plan"], rates, sockets)
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


def sweep(number: int = 1) -> None:
    """Run the garbage collector now and every second from now on, and keep it away from the cache.

    A hundred thousand kept answers have no reference cycles, but a full collection looks at all of them, for tens of
    milliseconds. So what has lived for a second is frozen (gc.freeze); once an hour a collection looks at it again.
    """
    gc.set_threshold(YOUNG, 10, 10)
    if number % THAW == 0:
        gc.unfreeze()
    gc.collect()
    gc.freeze()
    asyncio.get_running_loop().call_later(SWEEP, sweep, number + 1)


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the daemon handles them, and closes standard input
        signal.signal(number, signal.SIG_IGN)
    numbers = list(map(int, sys.argv[1:]))
    asyncio.run(_run(numbers[0] if numbers else None, numbers[1:]))
