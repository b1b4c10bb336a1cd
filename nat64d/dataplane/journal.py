"""What was changed on the host, and how it was before: on disk before the change, so that kill -9 loses nothing.

The file lives where it does not outlive a restart of the machine; where it does, it is not believed.
"""

import json
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Change:
    """A thing changed: `kind` says how to put it back, `key` which one it is, `before` what it was (JSON)."""

    kind: str
    key: str
    before: Any = None


class Journal:
    """The changes, oldest first."""

    def __init__(self, path: Path, log: logging.Logger) -> None:
        self.changes: list[Change] = []
        self.path = path
        self._log = log

    def load(self) -> list[Change]:
        """The changes of a process that could not put them back; none if there was no such process."""
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return []
        except OSError as error:
            self._log.warning("%s is not read: %s", self.path, error.strerror)
            return []
        with os.fdopen(file, encoding="utf-8") as text:
            if os.fstat(file).st_uid != os.geteuid():  # the folder may be one where others can write
                self._log.warning("%s is not ours, its content is not used", self.path)
                return []
            try:
                content = json.load(text)
                changes = [Change(kind, key, before) for kind, key, before in content["changes"]]
                here = content["where"] == _where()
                sound = all(map(_is_sound, changes))
            except (ValueError, TypeError, KeyError):
                sound = False
            if not sound:
                self._log.warning("%s is damaged: what a killed nat64d set up cannot be put back from it", self.path)
                return []
        return changes if here else []

    def remember(self, *changes: Change) -> None:
        """Note changes; raises OSError. Of two about one thing the older counts, as it is the last to be put back."""
        if changes:
            self.changes += changes
            self._write()

    def clear(self) -> None:
        """Everything is put back."""
        self.changes = []
        try:
            self.path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            pass  # it could not be written in the first place
        except OSError as error:
            self._log.warning("%s cannot be removed: %s", self.path, error.strerror)

    def _write(self) -> None:
        """Replace the file in one step."""
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
    """Whether this is a change of ours, and not of another version or out of somebody's editor."""
    match change:
        case Change("sysctl", str(key), str()):
            return key.startswith("net/") and ".." not in key.split("/")
        case Change("device", str(), dict(before)):
            return all(isinstance(value, int) for value in before.values())
        case Change("address" | "route" | "default" | "table", str(), None) | Change("proxy", str(), str()):
            return True
    return False


def _where() -> list[str | int]:
    """This run of the machine, and this network namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return [boot, Path("/proc/thread-self/ns/net").stat().st_ino]
