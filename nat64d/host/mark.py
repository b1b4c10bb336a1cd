"""What of nat64d's own is nearly used up, for the conditions (conditions.py)."""

from typing import NamedTuple


class Mark(NamedTuple):
    """Something that is nearly used up: the name of the condition, and its sentence."""

    condition: str
    sentence: str
