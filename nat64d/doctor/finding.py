"""What a check says: how bad it is, one sentence, the command in it, and where to read on."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, NamedTuple

from nat64d.host.conditions import command_in


class Severity(StrEnum):
    """What follows from a finding; a note is none."""

    ERROR = "error"  # packets cannot pass, or names have no address
    WARNING = "warning"  # packets pass, but not all of them, or not as they could, or not for long
    NOTE = "note"  # what is good to know, and what was not looked at


class Said(NamedTuple):
    """What a row of the table yields; `name` is that of a condition, "" that of the row."""

    severity: Severity
    sentence: str
    name: str = ""


class Check(NamedTuple):
    """A row: its name, what `find` takes after the configuration (names of readers), what it is about, where to read
    on (a page below docs/, and a heading)."""

    name: str
    needs: tuple[str, ...]
    find: Callable[..., Iterator[Said]]
    help: str
    page: str


class Finding(NamedTuple):
    """A sentence of a check, as it is printed."""

    check: str
    severity: Severity
    sentence: str
    docs: str

    @property
    def row(self) -> dict[str, Any]:
        """For JSON; `command` is what the sentence says to run, or null."""
        return {
            "check": self.check,
            "severity": self.severity.value,
            "sentence": self.sentence,
            "command": command_in(self.sentence),
            "docs": self.docs,
        }


def error(sentence: str) -> Said:
    """Packets cannot pass."""
    return Said(Severity.ERROR, sentence)


def warning(sentence: str) -> Said:
    """Packets pass, but."""
    return Said(Severity.WARNING, sentence)


def note(sentence: str) -> Said:
    """Nothing is wrong."""
    return Said(Severity.NOTE, sentence)
