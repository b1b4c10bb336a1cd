"""The journal: every change to the host with the old value, on disk before the change, so that kill -9 loses nothing.

The file lies beside the control socket and is used only in the boot and network namespace that wrote it.
"""

import json
import logging
import os
import tempfile
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Change:
    """One change: `kind` says how to undo it, `key` what was changed, `before` its old value (JSON)."""

    kind: str
    key: str
    before: Any = None


class Journal:
    """The changes of this process, oldest first, mirrored in the file `path`."""

    def __init__(self, path: Path, log: logging.Logger) -> None:
        self.changes: list[Change] = []
        self.path = path
        self._log = log

    def load(self) -> list[Change]:
        """The changes that a killed process left in the file; empty when there are none or they cannot be used."""
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return []
        except OSError as error:
            self._log.warning("Cannot read %s: %s", self.path, error.strerror)
            return []
        with os.fdopen(file, encoding="utf-8") as text:
            if os.fstat(file).st_uid != os.geteuid():  # others may be able to write to the directory
                self._log.warning("%s belongs to another user, so its content is not used", self.path)
                return []
            try:
                content = json.load(text)
                changes = [Change(kind, key, before) for kind, key, before in content["changes"]]
                here = content["where"] == _where()
                sound = all(map(_is_sound, changes))
            except (ValueError, TypeError, KeyError):
                sound = False
            if not sound:
                self._log.warning("%s is damaged: what a killed nat64d changed on this host is not undone", self.path)
                return []
        return changes if here else []

    def remember(self, *changes: Change) -> None:
        """Add changes and write the file; raises OSError.

        The same thing may be noted twice: the older entry is undone last, so its value is the one that stays.
        """
        if changes:
            self.changes += changes
            self._write()

    def forget(self, gone: AbstractSet[tuple[str, str]]) -> None:
        """The changes of these kinds and keys have been taken back. Raises OSError."""
        self.changes = [change for change in self.changes if (change.kind, change.key) not in gone]
        self._write()

    def keep(self, changes: list[Change]) -> None:
        """Leave these changes, and no others, in the file for the next process; forget all of them here. Raises
        OSError."""
        self.changes = changes
        if changes:
            self._write()
            self.changes = []
        else:
            self.clear()

    def clear(self) -> None:
        """Forget all changes and remove the file, after everything is undone."""
        self.changes = []
        try:
            self.path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            pass  # it was never written
        except OSError as error:
            self._log.warning("Cannot remove %s: %s", self.path, error.strerror)

    def _write(self) -> None:
        """Replace the file atomically."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"where": _where(), "changes": [(c.kind, c.key, c.before) for c in self.changes]}
        file, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(file, "w", encoding="utf-8") as text:
                json.dump(content, text, indent=1)
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _is_sound(change: Change) -> bool:
    """Whether this version of nat64d could have written the change."""
    match change:
        case Change("sysctl", str(key), str()):
            return key.startswith("net/") and ".." not in key.split("/")
        case Change("device", str(), dict(before)):
            return all(isinstance(value, int) for value in before.values())
        case Change("address" | "route" | "default" | "table", str(), None) | Change("proxy", str(), str()):
            return True
        case Change("steering" | "steering6", str(), int()):
            return True
        case Change("vip", str(key), None):
            return key.count("\t") == 1
        case Change("aside", str(key), None):
            return key.isdecimal()
        case Change("accept", str(key), None):
            return key.count("\t") == 2
    return False


def _where() -> list[str | int]:
    """The boot ID of the machine and the inode of the network namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return [boot, Path("/proc/thread-self/ns/net").stat().st_ino]
