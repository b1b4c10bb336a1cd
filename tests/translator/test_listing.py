"""Slices of the tables for the control plane: every live record once, and a short look at a time."""

import numpy as np

from tests.packets import HOST6_PORT
from tests.sessions import Sessions
from translator.tables.layout import BIB, SESSION, records
from translator.tables.listing import copy_live, usage
from translator.tables.tables import BIBS, SESSIONS


def listed(nat64: Sessions, kind: int, size: int) -> tuple[list[int], list[int]]:
    """The port of host6 in every record, as slices of `size` give them, and how many there were in each slice."""
    rows, dtype = (nat64.tables.sessions, SESSION) if kind == SESSIONS else (nat64.tables.bibs, BIB)
    out, places, ports, counts, start, more = records(size, dtype), np.zeros(size, np.int64), [], [], 0, True
    while more:
        start, count, more = copy_live(nat64.tables, kind, rows, start, out, places)
        ports += out.host6_port[:count].tolist()
        assert rows.host6_port[places[:count]].tolist() == out.host6_port[:count].tolist()
        counts.append(count)
    return ports, counts


def test_slices_hold_every_live_record_once():
    nat64 = Sessions()
    for port in range(6000, 6010):
        nat64.opened("udp", port)
    for size in (1, 3, 10, 100):
        assert listed(nat64, SESSIONS, size)[0] == list(range(6000, 6010))
    assert listed(nat64, SESSIONS, 3)[1] == [3, 3, 3, 1]
    assert listed(nat64, BIBS, 4)[0] == [HOST6_PORT] * 3 + list(range(6000, 6010))
    assert usage(nat64.tables) == (10, 13)


def test_slices_skip_the_dead_and_look_at_few_of_them_at_a_time():
    nat64 = Sessions()
    for port in range(6000, 6020):
        nat64.opened("icmp", port)
    nat64.opened("udp", 7000)
    nat64.wait(61)
    assert usage(nat64.tables) == (1, 4)
    assert listed(nat64, SESSIONS, 1) == ([7000], [0, 0, 1])
    assert listed(nat64, SESSIONS, 100) == ([7000], [1])


def test_slice_of_an_empty_table_is_empty():
    nat64 = Sessions(forward=[])
    assert listed(nat64, SESSIONS, 8) == ([], [0])
    assert usage(nat64.tables) == (0, 0)


def test_slice_is_a_copy():
    nat64 = Sessions()
    nat64.opened("udp", 6000)
    out = records(1, SESSION)
    copy_live(nat64.tables, SESSIONS, nat64.tables.sessions, 0, out, np.zeros(1, np.int64))
    out.live = 0
    assert np.count_nonzero(nat64.tables.sessions.live) == 1
    assert nat64.tables.lock[0] == 0
