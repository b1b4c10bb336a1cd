"""What is read for the checks: each thing once, when a check asks for it, and why it cannot be read if it cannot."""

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from nat64d.config.models import Config
from nat64d.doctor.finding import Check, Finding, Severity
from nat64d.host.errors import code_of, reason

NEEDS_ROOT = "needs root"


class UnseenError(Exception):
    """Something cannot be looked at; one clause says why."""


Reader = Callable[["Look"], Any]


class Look:
    """One look at a host with a configuration. Call it from a thread without a running event loop (a rule of
    pyroute2)."""

    def __init__(self, config: Config, readers: Mapping[str, Reader]) -> None:
        self.config = config
        self._readers = readers
        self._seen: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """What the reader of that name sees. Raises UnseenError."""
        if name not in self._seen:
            self._seen[name] = self._read(name)
        seen = self._seen[name]
        if isinstance(seen, UnseenError):
            raise seen
        return seen

    def _read(self, name: str) -> Any:
        try:
            return self._readers[name](self)
        except UnseenError as why:
            return why
        except (OSError, NetlinkError) as error:
            denied = code_of(error) in {errno.EPERM, errno.EACCES}
            return UnseenError(NEEDS_ROOT if denied else reason(error))


def examine(look: Look, checks: Iterable[Check]) -> Iterator[Finding]:
    """Apply every row; one that needs what cannot be looked at says so."""
    for check in checks:
        docs = f"docs/{check.page}"
        try:
            needed = [look[name] for name in check.needs]
        except UnseenError as why:
            yield Finding(check.name, Severity.NOTE, f"Not checked: {why}.", docs)
            continue
        for said in check.find(look.config, *needed):
            yield Finding(said.name or check.name, said.severity, said.sentence, docs)
