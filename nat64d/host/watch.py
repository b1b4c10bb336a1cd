"""Watches the host while the daemon runs: a look at the start, at every change and every minute.

What nat64d set up and somebody removed is set up again; what is the operator's becomes a condition.
"""

import asyncio
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from pyroute2.netlink.exceptions import NetlinkError

from nat64d.host import standing as look
from nat64d.host.board import Board
from nat64d.host.changes import Difference, differences
from nat64d.host.conditions import Announcing, Situation, conditions
from nat64d.host.facts import Facts
from nat64d.host.host import Host
from nat64d.host.mark import Mark
from nat64d.host.standing import Standing
from nat64d.host.vips import Claiming
from nat64d.host.wanted import Wanted

# linux/rtnetlink.h, linux/netlink.h, linux/netfilter/nfnetlink.h: groups of messages, by number
LINK, ADDRESS4, ROUTE4, RULE4, ADDRESS6, ROUTE6, RULE6, PARAMETERS4, PARAMETERS6 = 1, 5, 7, 8, 9, 11, 19, 24, 25
NETLINK_ROUTE, NETLINK_NETFILTER, NFTABLES = 0, 12, 7
SUBSCRIPTIONS = (
    (NETLINK_ROUTE, (LINK, ADDRESS4, ROUTE4, RULE4, ADDRESS6, ROUTE6, RULE6, PARAMETERS4, PARAMETERS6)),
    (NETLINK_NETFILTER, (NFTABLES,)),
)
# LIMITS
EVERY = 60.0  # seconds between two looks if nothing changes
MARKS_EVERY = 5.0  # seconds between two looks at what is nearly used up
SETTLE = 0.2  # seconds from the first message to the look, for changes come in groups
SHARE = 10  # so many times the processor's time that a look took passes between two looks; others may have had more
LONGEST = 10.0  # seconds of such a pause
ROUNDS = 3  # of setting up again: an address returns only after its device is up
CONTESTED, RECENT, CALM = 5, 60.0, 2.0  # so many repairs in so many seconds: from then on one in so many seconds
FOLLOWS = {"masquerade", "firewall"}  # differences that come of the host's own changes
SHOWN = 3  # differences in a line of the log


class Watch:
    """`check` looks at the host and sets it right, from any thread; `run` calls it when there is a reason to."""

    def __init__(
        self,
        host: Host,
        board: Board,
        log: logging.Logger,
        read: Callable[[Host], Standing] = lambda host: look.read(
            host.config, host.tun, host.standing_masquerade(), host.standing_shares()
        ),
        marks: Callable[[], tuple[Mark, ...]] = tuple,
    ) -> None:
        self._host, self._board, self._log, self._read, self._marks = host, board, log, read, marks
        self._lock = threading.Lock()
        self._closed = False
        self._judged: Situation | None = None
        self._repairs: deque[tuple[float, str]] = deque()
        self._complaint = ""
        self._blind: str | None = None
        self._changed = asyncio.Event()
        self.looked: Callable[[Facts], None] = lambda _: None  # told of each look, in whatever thread it is taken
        self.seen: Facts | None = None  # at the last look
        self.announcing: Callable[[], Announcing] = Announcing  # what stands in the way of [ra]
        self.claiming: Callable[[], Claiming] = Claiming  # what stands in the way of [services] announce

    def close(self) -> None:
        """No further check; one that has begun is over when this returns."""
        with self._lock:
            self._closed = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """No check as long as the context lasts: what is to stand on the host changes."""
        with self._lock:
            yield

    def check(self, now: float) -> None:
        """One look: set up again what is gone, and say what else is not as it must be."""
        with self._lock:
            if self._closed:
                return
            try:
                self._look(now)
                self._complaint, self._blind = "", None
            except Exception as error:  # noqa: BLE001  whatever the kernel says, packets pass on
                self._blind = f"This host cannot be looked at, and its conditions are those of before: {error}"
                if repr(error) != self._complaint:
                    self._complaint = repr(error)
                    expected = isinstance(error, OSError | NetlinkError)
                    self._log.warning("Cannot look at this host: %s", error, exc_info=None if expected else error)

    def warnings(self) -> list[str]:
        """A sentence if the last look has failed. From any thread."""
        return [self._blind] if self._blind else []

    def _spend(self) -> float:
        """One look; returns how many seconds of a processor it took."""
        begun = time.thread_time()
        self.check(time.monotonic())
        return time.thread_time() - begun

    def _look(self, now: float) -> None:
        failures: dict[str, str] = {}
        undone: list[str] = []
        for left in reversed(range(ROUNDS)):
            standing = self._read(self._host)
            wanted = self._host.wanted_at(standing)
            found = differences(wanted, standing)
            if not found:
                failures = {}
                break
            failures = self._host.restore(found)
            undone += self._tell([difference for difference in found if difference.name not in failures])
            if not left:
                standing = self._read(self._host)
        if undone:
            self._repairs.append((now, undone[0]))
        while self._repairs and self._repairs[0][0] < now - RECENT:
            self._repairs.popleft()
        self._judge(standing, wanted, failures, now)
        self.seen = standing.facts
        self.looked(standing.facts)

    def _judge(self, standing: Standing, wanted: Wanted, failures: dict[str, str], now: float) -> None:
        """Bring the board up to date, unless all is as it was: a configuration may have 100,000 rows to compare."""
        contested = tuple(sorted({name for _, name in self._repairs})) if self.contested else ()
        situation = Situation(
            self._host.config,
            standing,
            wanted,
            failures,
            contested,
            self._marks(),
            self.announcing(),
            self.claiming(),
        )
        if situation != self._judged:
            self._board.update(conditions(situation), now)
            self._judged = situation

    def check_marks(self, now: float) -> None:
        """Say what is nearly used up now; the host is as it was at the last look."""
        with self._lock:
            if self._closed or self._judged is None or (marks := self._marks()) == self._judged.marks:
                return
            self._judged = replace(self._judged, marks=marks)
            self._board.update(conditions(self._judged), now)

    def _tell(self, done: list[Difference]) -> list[str]:
        """Log what was set up again; returns what of it somebody must have undone."""
        if done:
            more = f" and {len(done) - SHOWN:,} more" if len(done) > SHOWN else ""
            clauses = "; ".join(difference.clause for difference in done[:SHOWN])
            fields = {"differences": [difference.name for difference in done[:SHOWN]]}
            self._log.warning("Set up again: %s%s", clauses, more, extra=fields)
        return [difference.name for difference in done if difference.name not in FOLLOWS]

    @property
    def contested(self) -> bool:
        """Whether there was much to repair lately."""
        return len(self._repairs) >= CONTESTED

    async def run_marks(self) -> None:
        """Look at what is nearly used up, until cancelled."""
        while True:
            await asyncio.sleep(MARKS_EVERY)
            await asyncio.to_thread(self.check_marks, time.monotonic())

    def look_again(self) -> None:
        """There is something to see besides what the kernel tells of. To be called in the event loop."""
        self._changed.set()

    async def run(self) -> None:
        """Check at every change and every minute, until cancelled."""
        loop, changed = asyncio.get_running_loop(), self._changed
        sockets = subscribe()
        for one in sockets:
            loop.add_reader(one, drain, one, changed)
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(EVERY):  # wait_for may forget that it was cancelled
                        await changed.wait()
                await asyncio.sleep(SETTLE)
                changed.clear()
                spent = await asyncio.to_thread(self._spend)
                await asyncio.sleep(CALM if self.contested else min(SHARE * spent, LONGEST))
        finally:
            for one in sockets:
                loop.remove_reader(one)
                one.close()


def subscribe() -> list[socket.socket]:
    """Sockets that are readable after a change; what cannot be subscribed to is seen at the next look. Raises OSError.

    Not pyroute2's: nobody reads the messages, and a router may have thousands of them in a second.
    """
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    with ExitStack() as unused:
        sockets = []
        for protocol, groups in SUBSCRIPTIONS:
            one = socket.socket(socket.AF_NETLINK, kind, protocol)
            try:
                one.bind((0, sum(1 << group - 1 for group in groups)))
            except OSError:
                one.close()
                continue
            sockets.append(one)
            unused.callback(one.close)
        unused.pop_all()
    return sockets


def drain(one: socket.socket, changed: asyncio.Event) -> None:
    """Forget the messages; that there were some is what counts, also where there were too many to be kept."""
    changed.set()
    try:
        while one.recv(1 << 16):
            pass
    except OSError:  # there are no more, or some were lost
        pass
