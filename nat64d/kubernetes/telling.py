"""What the daemon is told: all rows once, and from then on those that are others. A row that it refuses keeps no other
one away, and is said again after a while, as the daemon may have changed."""

import json
import logging
import re
from collections.abc import Iterable

from nat64d.kubernetes.daemon import Daemon, OtherVersionError, RefusedError
from nat64d.kubernetes.rows import Row, is_unnamed, name_of

PLACE = re.compile(
    r"kubernetes: \[\[\w+\]\](?: #\d+)? "
)  # in what the daemon says: the number is another one each time

log = logging.getLogger("nat64d")


class Teller:
    """`wanted`: the rows by name, those of older Services first where it matters; `age`: of each row. Until `maps`
    the daemon keeps the rows of [[eam]] and [[pool4]] that it has: it is not known yet what they should be."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.wanted: dict[str, Row] = {}
        self.refused: dict[str, str] = {}  # why, by name
        self.maps = False
        self.told = 0  # changes that the daemon has taken
        self._ages: dict[str, tuple[str, str]] = {}
        self._texts: dict[str, str] = {}
        self._has: dict[str, str] = {}  # what the daemon has; "" = there is one, and it is not known how it is
        self._pending: set[str] = set()

    @property
    def in_step(self) -> bool:
        """Whether the daemon has all."""
        return bool(self.daemon.version) and not self._pending

    @property
    def settled(self) -> bool:
        """Whether the daemon has all but what it was asked for and has refused."""
        return bool(self.daemon.version) and self._pending <= self.refused.keys()

    def want(self, rows: dict[str, Row], age: tuple[str, str]) -> None:
        """There are to be these rows, of a Service of this age."""
        for name, row in rows.items():
            text = _text(row)
            self.wanted[name], self._ages[name] = row, age
            if text != self._texts.get(name):
                self.refused.pop(name, None)
            self._texts[name] = text
            self._mark(name)

    def drop(self, names: Iterable[str]) -> None:
        """These are not to be there."""
        for name in names:
            for each in (self.wanted, self._ages, self._texts, self.refused):
                each.pop(name, None)
            self._mark(name)

    def forget(self) -> None:
        """It is not known any more what the daemon has."""
        self.daemon.version = ""

    def insist(self) -> None:
        """Say once more what was refused."""
        self.refused.clear()

    async def tell(self) -> None:
        """Bring the daemon to what is wanted. Raises DaemonUnreachableError."""
        if not self.daemon.version:
            await self._all()
        try:
            await self._difference()
        except OtherVersionError:
            await self._all()
            await self._difference()

    def _mark(self, name: str) -> None:
        if self._texts.get(name) == self._has.get(name):
            self._pending.discard(name)
        else:
            self._pending.add(name)

    def _took(self, gone: Iterable[str], rows: Iterable[Row]) -> None:
        self.told += 1
        for name in gone:
            self._has.pop(name, None)
            self._mark(name)
        for name in map(name_of, rows):
            self._has[name] = self._texts[name]
            self._mark(name)

    async def _all(self) -> None:
        """Say all; where that is refused, look what it has."""
        self.refused.clear()
        rows = self._oldest_first(self.wanted)
        kept = [] if self.maps else [row for row in (await self.daemon.said())[1] if is_unnamed(name_of(row))]
        try:
            await self.daemon.put([*rows, *kept])
        except RefusedError:
            self.daemon.version, there = await self.daemon.said()
            names = map(name_of, there)
            self._has = {name: "" for name in names if self.maps or not is_unnamed(name)}
        else:
            self._has = {}
            self._took((), rows)
            self._say_all(rows)
        self._pending = {
            name for name in self.wanted.keys() | self._has if self._texts.get(name) != self._has.get(name)
        }

    def _say_all(self, rows: list[Row]) -> None:
        services = [row for row in rows if not is_unnamed(name_of(row))]
        endpoints, others = sum(len(row["endpoints"]) for row in services), len(rows) - len(services)
        counts = f"{len(services)} services with {endpoints} endpoints" + f", and {others} other rows" * bool(others)
        log.info("The daemon has %s", counts, extra={"event": "mirrored"})

    async def _difference(self) -> None:
        """Say what has changed."""
        gone = [name for name in self._pending if name not in self.wanted]
        came = self._oldest_first(self._pending & self.wanted.keys() - self.refused.keys())
        if not gone and not came:
            return
        try:
            await self._patch(gone, came)
        except RefusedError:
            before = {*self.refused}
            if gone:
                await self._patch(gone, [])
            await self._halves(came)
            # What one has given up, another one may have been waiting for.
            await self._halves([row for row in came if name_of(row) in self.refused])
            await self._patch_away([row for row in came if name_of(row) in self.refused])
            for name in sorted(self.refused.keys() - before):
                about = {"event": "service_refused", "service": name}
                log.warning("%s: the daemon refuses it: %s", name, self.refused[name], extra=about)
        else:
            self._say(gone, came)

    def _say(self, gone: list[str], came: list[Row]) -> None:
        for name in gone:
            log.info("%s: is gone", name, extra={"event": "service_gone", "service": name})
        for row in came:
            front, ends = row.get("ipv4") or row.get("ipv6"), row.get("endpoints", [row.get("ipv6")])
            log.debug("%s: %s has %d endpoints", name_of(row), front, len(ends))

    async def _halves(self, rows: list[Row]) -> None:
        """Say rows, and find those that are refused."""
        if not rows:
            return
        try:
            await self._patch([], rows)
        except RefusedError as error:
            if len(rows) == 1:
                self.refused[name_of(rows[0])] = PLACE.sub("", "; ".join(str(error).splitlines()))
                return
            await self._halves(rows[: len(rows) // 2])
            await self._halves(rows[len(rows) // 2 :])

    async def _patch_away(self, refused: list[Row]) -> None:
        """A row that was there before stays as it was, unless it had another address: that is no longer its own."""
        moved = []
        for row in refused:
            before = self._has.get(name_of(row))
            if before and [json.loads(before).get(key) for key in ("ipv4", "ipv6")] != [
                row.get("ipv4"),
                row.get("ipv6"),
            ]:
                moved.append(name_of(row))
        if moved:
            await self._patch(moved, [])

    async def _patch(self, gone: list[str], rows: list[Row]) -> None:
        await self.daemon.patch(gone, rows)
        for row in rows:
            self.refused.pop(name_of(row), None)
        self._took(gone, rows)

    def _oldest_first(self, names: Iterable[str]) -> list[Row]:
        """Where two want one address, the older one gets it."""
        return [self.wanted[name] for name in sorted(names, key=lambda name: (self._ages[name], name))]


def _text(row: Row) -> str:
    return json.dumps(row, sort_keys=True)
