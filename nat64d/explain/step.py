"""A step of an explanation."""

from typing import NamedTuple


class Step(NamedTuple):
    """One step: its name, the RFC and section it follows, and what it found, a line each."""

    name: str
    rfc: str
    found: list[str]
