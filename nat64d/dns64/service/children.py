"""The name server's processes, seen from the daemon: started with a plan, told whether packets are translated, asked
for their counters, and restarted when they end."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from nat64d.dns64.clients.rates import shared_memory

log = logging.getLogger("nat64d")

COMMAND = (
    sys.executable,
    "-P",
    "-m",
    "nat64d.dns64.service.process",
)  # -P: no modules are loaded from the current directory
# LIMITS
REPLY_WITHIN = 5.0  # seconds for a process to open its sockets, or to report
RESTART_AFTER = 1.0  # seconds until a process that ended is restarted; doubles each time
RESTART_LATEST = 60.0
SILENT = 60.0  # seconds without a report until a process is killed


class Child:
    """A process of the name server, started again when it dies."""

    def __init__(self, plan: dict[str, Any], number: int, shared: Sequence[int]) -> None:
        """`shared`: descriptors that all processes have, of the memory with the rates, and of sockets."""
        self.restarts = 0
        self._plan, self._number, self._shared = plan, number, shared
        self._ready = False
        self._process: asyncio.subprocess.Process | None = None
        self._report = 0
        self._heard = 0.0
        self._reading = asyncio.Lock()

    async def run(self) -> None:
        """Keep the process running until this is cancelled."""
        pause = RESTART_AFTER
        while True:
            begin = asyncio.get_running_loop().time()
            try:
                await self._start()
                assert self._process is not None
                code = await self._process.wait()
                log.error("Name server: process %d exited with code %d and is restarted", self._number, code)
            except (OSError, ValueError) as error:
                log.error("Name server: process %d: %s", self._number, str(error) or "no reply")  # noqa: TRY400
            finally:
                await self._end()
            self.restarts += 1
            if asyncio.get_running_loop().time() - begin > RESTART_LATEST:
                pause = RESTART_AFTER
            await asyncio.sleep(pause)
            pause = min(2 * pause, RESTART_LATEST)

    async def _start(self) -> None:
        async with self._reading:
            self._process = await asyncio.create_subprocess_exec(
                *COMMAND,
                *map(str, self._shared),
                pass_fds=self._shared,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            self._heard = asyncio.get_running_loop().time()
            self._tell({"plan": self._plan})
            self._tell({"ready": self._ready})
            async with asyncio.timeout(REPLY_WITHIN):
                begun = await self._line()
        for problem in begun["problems"]:
            log.warning("Name server: %s", problem)

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(REPLY_WITHIN):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def ready(self, yes: bool) -> None:
        """Tell the process whether packets are translated."""
        self._ready = yes
        self._tell({"ready": yes})

    def use(self, plan: dict[str, Any]) -> None:
        """Give the process another plan."""
        self._plan = plan
        self._tell({"plan": plan})

    async def report(self) -> dict[str, Any]:
        """The counters of the process; empty if it is not running or does not reply."""
        async with self._reading:
            self._report += 1
            self._tell({"report": self._report})
            with suppress(OSError, ValueError, TimeoutError):
                async with asyncio.timeout(REPLY_WITHIN):
                    while self._process is not None:
                        line = await self._line()
                        if line.get("report") == self._report:
                            self._heard = asyncio.get_running_loop().time()
                            return line
            self._give_up()
        return {}

    def _give_up(self) -> None:
        """Kill a process that has not replied for too long; `run` restarts it."""
        if self._process is not None and asyncio.get_running_loop().time() > self._heard + SILENT:
            log.error("Name server: process %d has not answered for %d s and is killed", self._number, SILENT)
            with suppress(ProcessLookupError):
                self._process.kill()

    def _tell(self, document: dict[str, Any]) -> None:
        if self._process is not None and self._process.returncode is None:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(document).encode() + b"\n")

    async def _line(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return line


class Children:
    """The processes, `plan["processes"]` of them; they share the sockets and the rates of clients."""

    def __init__(self, plan: dict[str, Any], sockets: Sequence[int] = ()) -> None:
        """`sockets`: those that are open already, see `clients.opened`; they stay open."""
        self._rates = shared_memory()
        shared = [self._rates, *sockets]
        self.children = [Child(plan, number, shared) for number in range(plan["processes"])]
        self._running: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the processes."""
        self._running = [asyncio.create_task(child.run()) for child in self.children]

    async def stop(self) -> None:
        """End the processes."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        os.close(self._rates)

    def ready(self, yes: bool) -> None:
        """Tell the processes whether packets are translated."""
        for child in self.children:
            child.ready(yes)

    def use(self, plan: dict[str, Any]) -> None:
        """Give the processes another plan, for the same number of them."""
        for child in self.children:
            child.use(plan)

    async def report(self) -> dict[str, Any]:
        """The sum of the counters of all processes."""
        reports = [report for report in await asyncio.gather(*(child.report() for child in self.children)) if report]
        total = _added([{key: value for key, value in report.items() if key != "report"} for report in reports])
        return {**total, "restarts": sum(child.restarts for child in self.children)}


def _added(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """The sum of documents of the same shape."""
    total: dict[str, Any] = {}
    for document in documents:
        for key, value in document.items():
            total[key] = _plus(total[key], value) if key in total else value
    return total


def _plus(one: Any, other: Any) -> Any:
    """Integers are added; of measured values the largest counts; lists are united."""
    if isinstance(one, dict):
        return _added([one, other])
    if isinstance(one, list):
        return sorted({*one, *other})
    return one + other if isinstance(one, int) else max(one, other)
