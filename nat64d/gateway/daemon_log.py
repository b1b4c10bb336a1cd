"""The daemon's log: to standard error from a level on, and its events for clients of the API whatever the level is."""

import logging
import os
import sys

from nat64d.config.models import Config
from nat64d.control.changes import Level
from nat64d.control.events import Events
from nat64d.control.logs import handler_for

log = logging.getLogger("nat64d")


class DaemonLog:
    """The handlers of the root logger."""

    def __init__(self) -> None:
        self.events = Events()
        self.level: Level = "info"
        self._written: logging.Handler = logging.NullHandler()

    def set_up(self, config: Config) -> None:
        """Write in the format and from the level of [log]."""
        self._written = handler_for(config.log.format, sys.stderr, os.environ)
        logging.basicConfig(handlers=[self._written, self.events], force=True)
        logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
        self._use(config.log.level)

    def change_level(self, level: Level) -> Level:
        """Write from another level on, until [log] changes; returns the one before."""
        before, told = self.level, f"The log is written from level {level} on"
        self._use(level)
        log.warning(told, extra={"event": "log_level", "before": before, "after": level})
        return before

    def _use(self, level: Level) -> None:
        self.level = level
        self._written.setLevel(level.upper())
        logging.getLogger().setLevel(min(self._written.level, self.events.level))
