"""Tables in which ports are taken by hand, thousands at once, as if packets had taken them. Nobody has these ports:
what tests/invariants.py says of ports in use does not hold afterwards, all else of the bitmaps does.
"""

from collections.abc import Callable, Iterable
from functools import cache

import numpy as np

from translator.tables.bitmaps import words_of
from translator.tables.settings import Settings
from translator.tables.tables import Tables

Ports = np.ndarray  # int64[65536]: 0, 1, 2 …
Wanted = Callable[[Ports], np.ndarray]  # bool[65536]


def nothing(ports: Ports) -> np.ndarray:
    return ports < 0


def even(ports: Ports) -> np.ndarray:
    return ports % 2 == 0


def all_but_the_last(ports: Ports) -> np.ndarray:
    return ports < 65535


def all_but_every_4096th(ports: Ports) -> np.ndarray:
    return ports % 4096 != 1


def everything(ports: Ports) -> np.ndarray:
    return ports >= 0


def occupy(tables: Tables, settings: Settings, rows: Iterable[int], wanted: Wanted) -> None:
    """Take those ports of some pool rows, for each protocol that has ports, and no others."""
    for at in rows:
        row = settings.pool[at]
        used, full, free = _slot(wanted, int(row.port_first), int(row.port_last))
        slots = slice(at * 3, at * 3 + 3)
        tables.ports_used[slots], tables.ports_full[slots], tables.ports_free[slots] = used, full, free
    for number in range(3):
        for kind in range(4):
            lacking = words_of(tables.ports_free[number::3, kind] == 0)
            tables.rows_lacking[number, kind], tables.rows_full[number, kind] = lacking, words_of(lacking == -1)


@cache
def _slot(wanted: Wanted, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both levels of the bitmap of a slot with these ports, and how many of each kind are left."""
    ports = np.arange(65536)
    within = (ports >= first) & (ports <= last)
    chosen = wanted(ports) & within
    kinds = (ports >= 1024) * 2 + ports % 2
    used = words_of(np.concatenate((chosen[::2], chosen[1::2])))
    return used, words_of(used == -1), np.bincount(kinds[within & ~chosen], minlength=4)
