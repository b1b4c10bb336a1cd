"""Records whose fields are attributes, one and an array of them. NumPy's own, `record` and `recarray`, find a field by
code in Python, which takes five times as long; to the compiler they are the same.
"""

from collections.abc import Callable
from typing import Any

import numpy as np


class Record(np.void):  # type: ignore[misc]  # final in NumPy's annotations, not in NumPy
    """One record."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        """A field; from the second time on Python finds it on the class, which all records have."""
        if name not in (self.dtype.names or ()):
            raise AttributeError(f"a record has no field {name}")
        setattr(Record, name, property(_reader(name)))
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        """Write a field; ValueError where there is none."""
        self[name] = value


def _reader(name: str) -> Callable[[Record], Any]:
    """What reads a field of a record; AttributeError where only other records have it."""

    def read(record: Record) -> Any:
        try:
            return record[name]
        except ValueError:
            raise AttributeError(f"a record has no field {name}") from None

    return read


class Records(np.ndarray[Any, Any]):
    """An array of records; what belongs to an array itself goes first."""

    def __getattr__(self, name: str) -> Any:
        """A field of all of them."""
        if name not in (self.dtype.names or ()):
            raise AttributeError(f"records have no field {name}")
        return self[name].view(np.ndarray)


def as_records(array: np.ndarray[Any, Any]) -> Records:
    """The same memory as Records."""
    return array.view(np.dtype((Record, array.dtype))).view(Records)
