"""The error of a configuration that cannot be used. Needs no pydantic, so that every command can catch it."""

from collections.abc import Sequence
from dataclasses import dataclass

MANY = 100  # LIMIT: mistakes that are answered one by one


class ExpectedError(ValueError):
    """A value that does not fit; the text completes the sentence "expected ..."."""


@dataclass(frozen=True)
class Problem:
    """One mistake: the file, the key, its value ("" for a whole table), and what to write instead."""

    file: str
    key: str
    value: str
    complaint: str

    def __str__(self) -> str:
        """file: key = value: complaint; without what is not known."""
        place = f"{self.key} = {self.value}" if self.value else self.key
        return ": ".join(filter(None, (self.file, place, self.complaint)))


class ConfigError(Exception):
    """A configuration that cannot be used, with everything that is wrong with it, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = list(problems)

    @property
    def lines(self) -> str:
        """What is wrong, a mistake a line, for an answer."""
        more = len(self.problems) - MANY
        return "\n".join([*map(str, self.problems[:MANY]), *([f"and {more:,} more mistakes"] if more > 0 else [])])
