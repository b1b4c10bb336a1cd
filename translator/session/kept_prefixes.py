"""The numbers of prefixes, which sessions of services have, when other settings number them otherwise."""

import numpy as np

from translator.tables.layout import NONE, OF_SERVICE


def renumbered(before: np.ndarray, now: np.ndarray) -> np.ndarray | None:
    """The number that each of Settings.prefixes of `before` has `now`, NONE: none; None where all keep theirs.

    What is under pool6 stays so, whatever prefix that is, unless services have the old one now.
    """
    places = {tuple(row): number for number, row in enumerate(now.tolist())}
    numbers = [places.get(tuple(row), NONE if number else 0) for number, row in enumerate(before.tolist())]
    return None if numbers == list(range(len(numbers))) else np.array(numbers, np.int16)


def renumber(sessions: np.ndarray, numbers: np.ndarray | None) -> None:
    """Give the sessions of services, SESSION, the numbers that their prefixes have now."""
    if numbers is not None:
        prefix = sessions["prefix"]
        known = (sessions["inbound"] >= OF_SERVICE) & (prefix >= 0) & (prefix < len(numbers))
        prefix[known] = numbers[prefix[known]]
