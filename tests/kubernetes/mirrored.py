"""A mirror between the fake API server and a daemon that is only a book of rows, but checks them as the daemon does."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from nat64d.config.errors import ConfigError
from nat64d.config.load import loads
from nat64d.config.sources import Rows, Sources, names_in, rows_in, with_changes
from nat64d.control.client import DaemonUnreachableError
from nat64d.kubernetes.cluster import client_of
from nat64d.kubernetes.daemon import Daemon, OtherVersionError, RefusedError
from nat64d.kubernetes.listwatch import Follower
from nat64d.kubernetes.mappings import MAPPINGS
from nat64d.kubernetes.mirror import Mirror
from nat64d.kubernetes.objects import SERVICES, SLICES
from nat64d.kubernetes.pace import Pace
from nat64d.kubernetes.rows import Rules, by_section, named
from nat64d.kubernetes.translators import TRANSLATORS
from tests.kubernetes.fake.server import Fake
from tests.kubernetes.objects import OUR_KINDS

SOURCE = "kubernetes"
QUICK = Pace(
    quiet=0.2,
    answer=0.3,
    connect=0.3,
    first=0.01,
    longest=0.05,
    obedient=0.3,
    outage=0.5,
    daemon=0.02,
    refused=0.1,
    absent=0.1,
)
OUTSIDE = Rules()
PATIENCE = 10.0  # real seconds, on a busy machine
FILE = 'pool6 = "64:ff9b:1::/96"\n[services]\nipv6_front = "dnat"\n'


class Book(Daemon):
    """What the daemon would have, with its rules; `gone`: whether it answers."""

    def __init__(self, file: str = FILE) -> None:
        super().__init__("/nonexistent")
        self.sources = Sources("file", loads(file, "file"), {})
        self.gone = False
        self.puts = self.patches = 0
        self.started = time.monotonic()

    @property
    def rows(self) -> dict[str, Any]:
        """The services, by name."""
        return {one.name: one for one in self.sources.rows.get(SOURCE, Rows()).service}

    @property
    def mappings(self) -> dict[str, str]:
        """IPv6 prefixes by IPv4 prefix."""
        return {str(one.ipv4): str(one.ipv6) for one in self.sources.rows.get(SOURCE, Rows()).eam}

    @property
    def pools(self) -> list[str]:
        """Addresses of [[pool4]]."""
        return sorted(one.addresses for one in self.sources.rows.get(SOURCE, Rows()).pool4)

    def ends(self, name: str = "default/web/http") -> dict[str, int]:
        """Endpoints of a row, each with its weight."""
        return {one.address: one.weight for one in self.rows[name].endpoints} if name in self.rows else {}

    def restart(self, *, forgets: bool = False) -> None:
        """A new daemon, with what the old one has kept."""
        self.started += 60
        if forgets:
            self.sources = self.sources._replace(rows={})

    async def put(self, rows: list[Any]) -> None:
        self.puts += 1
        self._take(by_section(rows), {}, Rows())

    async def patch(self, gone: list[str], rows: list[Any]) -> None:
        self.patches += 1
        there = self.sources.rows.get(SOURCE, Rows())
        if self.version != there.version:
            self.version = ""
            raise OtherVersionError
        self._take(by_section(rows), named(gone), there)

    async def said(self) -> tuple[str, list[Any]]:
        self._answer()
        rows = self.sources.rows.get(SOURCE, Rows())
        return rows.version, [row.model_dump(mode="json") for row in (*rows.service, *rows.eam, *rows.pool4)]

    async def status(self) -> dict[str, Any]:
        self._answer()
        return {"uptime": time.monotonic() - self.started, "pool6": str(self.sources.file.pool6)}

    def _answer(self) -> None:
        if self.gone:
            raise DaemonUnreachableError("/nonexistent: no daemon answers here")

    def _take(self, given: Any, gone: Any, kept: Rows) -> None:
        self._answer()
        try:
            rows = with_changes(kept, names_in(gone, "unset"), rows_in(given, "set"), SOURCE, self.sources)
            sources = self.sources._replace(rows={SOURCE: rows})
            sources.combined()
        except ConfigError as error:
            raise RefusedError(str(error)) from None
        self.sources, self.version = sources, rows.version


class Mirrored:
    """The mirror in a thread of its own."""

    def __init__(
        self,
        fake: Fake,
        daemon: Book,
        kubeconfig: Path,
        rules: Rules = OUTSIDE,
        pace: Pace = QUICK,
        *,
        kinds: bool = True,
    ) -> None:
        """`kinds`: whether the API server has ours."""
        if kinds:
            fake.kinds += OUR_KINDS
        self.fake, self.daemon, self.kubeconfig, self.rules, self.pace = fake, daemon, kubeconfig, rules, pace
        self._begun = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="mirror")
        self.failure: BaseException | None = None

    def __enter__(self) -> Self:
        write_kubeconfig(self.kubeconfig, self.fake.url)
        self._thread.start()
        assert self._begun.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.over.set)
        self._thread.join(PATIENCE)
        assert self.failure is None, self.failure

    async def _run(self) -> None:
        self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
        self.mirror = Mirror(self.daemon, self.rules, self.pace)
        self.followers = [
            Follower(kind, lambda: client_of(self.kubeconfig, self.pace), self.mirror, self.pace)
            for kind in (SERVICES, SLICES, MAPPINGS, TRANSLATORS)
        ]
        self._begun.set()
        try:
            async with asyncio.TaskGroup() as group:
                running = (*(one.run() for one in self.followers), self.mirror.run(), self.mirror.look())
                tasks = [group.create_task(one) for one in running]
                await self.over.wait()
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as group:
            self.failure = group

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something is so."""
        until(holds)

    def settle(self) -> None:
        """Until what the API server has now is in the daemon."""
        version = self.fake.store.version
        settled = self.mirror.teller
        until(
            lambda: (
                self.mirror.is_known
                and all(self.fake.watching >= 4 and one.contact.since is None for one in self.followers)
                and self.fake.store.version == version
                and settled.in_step
            )
        )


def until(holds: Callable[[], bool], patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.002)


def write_kubeconfig(path: Path, url: str, user: str = "{}") -> Path:
    path.write_text(
        f"""
apiVersion: v1
kind: Config
current-context: a
contexts: [{{name: a, context: {{cluster: a, user: a}}}}]
clusters: [{{name: a, cluster: {{server: "{url}", insecure-skip-tls-verify: true}}}}]
users: [{{name: a, user: {user}}}]
"""
    )
    return path
