"""The conditions that stand, and since when; the log says when one begins and when it is over."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from nat64d.host.conditions import CONDITIONS, Found, names

Row = Mapping[str, Any]  # of the API


class Board:
    """What stands now. `update` is called from one thread, the rest from any. The clock is an argument, in seconds."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._since: Mapping[Found, float] = {}

    def update(self, found: Iterable[Found], now: float) -> None:
        """Replace what stands, and log what is new and what is over."""
        before = self._since
        self._since = {one: before.get(one, now) for one in found}
        for one in self._since.keys() - before.keys():
            effect = "packets cannot pass" if one.condition.blocks else "packets pass"
            about = {"condition": one.condition.name, "blocks": one.condition.blocks, "command": one.command}
            fields = {"event": "condition", **about}
            self._log.warning("%s (%s): %s", one.condition.name, effect, one.sentence, extra=fields)
        for one in before.keys() - self._since.keys():
            name, seconds = one.condition.name, round(now - before[one])
            fields = {"event": "condition_over", "condition": name, "seconds": seconds}
            self._log.info("Over after %d s: %s: %s", seconds, name, one.sentence, extra=fields)

    def blocking(self) -> list[str]:
        """The names of what keeps packets from passing."""
        return names(self._since)

    def standing(self, now: float) -> list[Row]:
        """A row for each condition that stands."""
        return [
            {
                "condition": one.condition.name,
                "blocks": one.condition.blocks,
                "seconds": round(now - since, 3),
                "sentence": one.sentence,
                "command": one.command,
            }
            for one, since in self._since.items()
        ]

    def rows(self, now: float) -> list[Row]:
        """A row for each condition there is, with how often it stands; those that stand more than once count as many
        times."""
        standing = self.standing(now)
        return [
            {
                "condition": row.name,
                "blocks": row.blocks,
                "standing": sum(one["condition"] == row.name for one in standing),
                "help": row.help,
            }
            for row in CONDITIONS
        ]
