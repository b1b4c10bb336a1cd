"""The daemon's side of the name server's processes: started with a plan, told when packets are translated, asked for
their counters; one that ends is started again."""

import asyncio
import json
import logging
import sys
from contextlib import suppress
from typing import Any

log = logging.getLogger("nat64d")

COMMAND = (sys.executable, "-P", "-m", "nat64d.dns64.process")  # -P: nothing is loaded from where the daemon stands
# LIMITS
PATIENCE = 5.0  # seconds a process has to open its sockets, or to report
AGAIN = 1.0  # seconds until one that ended is started again, twice as many each time
LATEST = 60.0
SILENT = 60.0  # seconds without a report, until one is ended


class Child:
    """One process."""

    def __init__(self, plan: dict[str, Any], number: int) -> None:
        self.restarts = 0
        self._plan, self._number = plan, number
        self._ready = False
        self._process: asyncio.subprocess.Process | None = None
        self._report = 0
        self._heard = 0.0
        self._reading = asyncio.Lock()

    async def run(self) -> None:
        """Keep it running until cancelled."""
        pause = AGAIN
        while True:
            begin = asyncio.get_running_loop().time()
            try:
                await self._start()
                assert self._process is not None
                code = await self._process.wait()
                log.error("name server process %d ended with code %d; it is started again", self._number, code)
            except (OSError, ValueError) as error:
                log.error("name server process %d: %s", self._number, str(error) or "no answer")  # noqa: TRY400
            finally:
                await self._end()
            self.restarts += 1
            if asyncio.get_running_loop().time() - begin > LATEST:
                pause = AGAIN
            await asyncio.sleep(pause)
            pause = min(2 * pause, LATEST)

    async def _start(self) -> None:
        async with self._reading:
            self._process = await asyncio.create_subprocess_exec(
                *COMMAND,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            self._heard = asyncio.get_running_loop().time()
            self._tell({"plan": self._plan})
            self._tell({"ready": self._ready})
            async with asyncio.timeout(PATIENCE):
                begun = await self._line()
        for problem in begun["problems"]:
            log.warning("name server: %s", problem)

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def ready(self, yes: bool) -> None:
        """Say whether packets are translated."""
        self._ready = yes
        self._tell({"ready": yes})

    def use(self, plan: dict[str, Any]) -> None:
        """Go on by another plan."""
        self._plan = plan
        self._tell({"plan": plan})

    async def report(self) -> dict[str, Any]:
        """Its counters; nothing while it does not run."""
        async with self._reading:
            self._report += 1
            self._tell({"report": self._report})
            with suppress(OSError, ValueError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    while self._process is not None:
                        line = await self._line()
                        if line.get("report") == self._report:
                            self._heard = asyncio.get_running_loop().time()
                            return line
            self._give_up()
        return {}

    def _give_up(self) -> None:
        """End one that has said nothing for too long; it is started again."""
        if self._process is not None and asyncio.get_running_loop().time() > self._heard + SILENT:
            log.error("name server process %d has not answered for %d s: it is ended", self._number, SILENT)
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
    """All of them: `plan["processes"]`, which share the sockets."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.children = [Child(plan, number) for number in range(plan["processes"])]
        self._running: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start them all."""
        self._running = [asyncio.create_task(child.run()) for child in self.children]

    async def stop(self) -> None:
        """End them all."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def ready(self, yes: bool) -> None:
        """Say whether packets are translated."""
        for child in self.children:
            child.ready(yes)

    def use(self, plan: dict[str, Any]) -> None:
        """Go on by another plan, of as many processes."""
        for child in self.children:
            child.use(plan)

    async def report(self) -> dict[str, Any]:
        """Their counters, added up."""
        reports = [report for report in await asyncio.gather(*(child.report() for child in self.children)) if report]
        total = _added([{key: value for key, value in report.items() if key != "report"} for report in reports])
        return {**total, "restarts": sum(child.restarts for child in self.children)}


def _added(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Documents of the same shape, number by number."""
    total: dict[str, Any] = {}
    for document in documents:
        for key, value in document.items():
            total[key] = _plus(total[key], value) if key in total else value
    return total


def _plus(one: Any, other: Any) -> Any:
    """Counts are added; of what is measured, the most counts; of texts, each once."""
    if isinstance(one, dict):
        return _added([one, other])
    if isinstance(one, list):
        return sorted({*one, *other})
    return one + other if isinstance(one, int) else max(one, other)
