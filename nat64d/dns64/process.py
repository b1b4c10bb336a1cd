"""The process that answers: `python -m nat64d.dns64.process` reads standard input, a JSON document a line.

    {"plan": …}   once, first          {"ready": true|false}   whether packets are being translated
    {"report": n} answered by one line on standard output: {"report": n, …}

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
from nat64d.dns64.policy import policy_in
from nat64d.dns64.resolver import Resolver
from nat64d.dns64.server import Rates, Server, listener_in
from nat64d.dns64.upstream import Upstreams

LINE = 64 << 20  # octets of a plan: a hundred thousand mappings


class Process:
    """One process's resolver and its sockets."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.ready = False
        self.upstreams = Upstreams(servers_in(plan))
        policies = [policy_in(each) for each in plan["policies"]]
        self.resolver = Resolver(self.upstreams, policies, Cache(plan["cache"]), lambda: self.ready, {})
        rates, shared = Rates(plan["rate"]), plan["processes"] > 1
        self.servers = [(Server(self.resolver, rates, shared), listener_in(text)) for text in plan["listen"]]

    async def listen(self) -> list[str]:
        """Open the sockets; a sentence for each that is taken."""
        problems = []
        for server, (address, port) in self.servers:
            try:
                await server.listen(address, port)
            except OSError as error:
                problems.append(f"{address} port {port}: {os.strerror(error.errno or 0)}")
        return problems

    def report(self) -> dict[str, Any]:
        """Counters, since the start."""
        cache, strange = self.resolver.cache, self.upstreams.counters
        return {
            "queries": self.resolver.counters.counts,
            "cache": {"entries": len(cache), "octets": cache.size, "hits": cache.hits, "misses": cache.misses},
            "forged": {"strange": strange.strange, "mismatched": strange.mismatched, "case": strange.case},
            "upstream": [
                {"server": str(one.server), "asked": one.asked, "failed": one.failed, "seconds": round(one.seconds, 4)}
                for one in self.upstreams.all
            ],
        }


async def _run() -> None:
    reader = asyncio.StreamReader(limit=LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    line = await reader.readline()
    if not line:
        return
    process = Process(json.loads(line)["plan"])
    _say({"problems": await process.listen()})
    while line := await reader.readline():
        word = json.loads(line)
        if "ready" in word:
            process.ready = word["ready"]
        else:
            _say({"report": word["report"], **process.report()})
    for server, _ in process.servers:
        await server.close()
    process.upstreams.close()


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # the daemon's to hear; it closes our standard input
        signal.signal(number, signal.SIG_IGN)
    asyncio.run(_run())
