"""Sessions that an operator ends: those that are meant, and no other, whatever happened meanwhile."""

import numpy as np
import pytest

from tests.case import BEGIN
from tests.packets import HOST4, OTHER4
from tests.restarts import waiting
from tests.sessions import Sessions
from tests.translator.test_log import Logging
from tests.translator.test_port_blocks import gateway, states
from translator.session.flush import end_those
from translator.session.log import SESSIONS as LOGGED
from translator.tables.layout import SESSION, records
from translator.tables.listing import copy_live
from translator.tables.records import Records
from translator.tables.tables import SESSIONS
from translator.verdict import Event, Verdict


def copies(nat64: Sessions) -> tuple[Records, np.ndarray]:
    """Copies of all sessions, and their places."""
    out, places = records(64, SESSION), np.zeros(64, np.int64)
    _, count, more = copy_live(nat64.tables, SESSIONS, nat64.tables.sessions, 0, out, places)
    assert not more
    return out[:count], places[:count]


def end(nat64: Sessions, rows: Records, places: np.ndarray) -> int:
    ended = int(end_those(nat64.gateway, round((BEGIN + nat64.now) * 1000), rows, places))
    nat64.check_invariants()
    assert nat64.tables.lock[0] == 0
    return ended


def test_those_that_are_meant_end_and_their_mappings_with_the_last():
    nat64 = Sessions()
    for port in (6000, 6001):
        for peer in (HOST4, OTHER4):
            nat64.opened("udp", port, (peer, 53))
    nat64.opened("tcp", 6000)
    rows, places = copies(nat64)
    chosen = (rows.protocol == 17) & (rows.host6_port == 6000)
    assert end(nat64, rows[chosen], places[chosen]) == 2
    assert [(row.protocol, row.host6[1]) for row in nat64.sessions()] == [("udp", 6001), ("udp", 6001), ("tcp", 6000)]
    assert nat64.mapped("udp", 6000) is None
    assert nat64.mapped("udp", 6001)
    assert nat64.tables.events[Event.SESSION_ENDED] == 2
    assert end(nat64, *copies(nat64)) == 3
    assert nat64.sessions() == []
    assert end(nat64, rows[:0], places[:0]) == 0


def test_one_that_has_ended_meanwhile_or_whose_place_another_one_has_stays():
    nat64 = Sessions()
    nat64.opened("icmp", 6000)
    old = copies(nat64)
    nat64.wait(61)
    assert end(nat64, *old) == 0
    nat64.opened("icmp", 6001)
    new = copies(nat64)
    assert new[1].tolist() == old[1].tolist()
    assert end(nat64, *old) == 0
    assert len(nat64.sessions()) == 1
    for name in ("protocol", "host6_hi", "host6_lo", "host6_port", "mapped4", "mapped4_port", "host4", "host4_port"):
        other = new[0].copy()
        other[name] += 1
        assert end(nat64, other, new[1]) == 0
    assert end(nat64, *new) == 1
    assert end(nat64, *new) == 0


def test_a_packet_opens_the_session_anew_and_nobody_else_gets_its_port():
    nat64 = Sessions()
    first = nat64.opened("tcp", 6000)
    nat64.from4("tcp", first)
    nat64.opened("tcp", 6001, host="2001:db8:1::2")
    rows, places = copies(nat64)
    assert end(nat64, rows[:1], places[:1]) == 1
    assert nat64.from4("tcp", first, flags="ACK").verdict != Verdict.TRANSLATED
    assert nat64.opened("tcp", 6001, host="2001:db8:1::2")


def test_rfc6888_req_8_its_port_waits_from_now_on_not_from_the_end_that_it_would_have_had():
    nat64 = Sessions()
    mapped = nat64.opened("udp", 6000)
    nat64.wait(7)
    assert end(nat64, *copies(nat64)) == 1
    ((_, port, until),) = waiting(nat64)
    assert (port, until) == (mapped[1], round((BEGIN + nat64.now + 120) * 1000))


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_rfc6888_req_8_so_does_its_block(protocol):
    nat64 = gateway()
    nat64.from4(protocol, nat64.opened(protocol, 6000))
    nat64.wait(7)
    assert end(nat64, *copies(nat64)) == 1
    assert list(states(nat64).values()) == [(0, 120_000)]


def test_the_log_says_who_has_ended_it():
    nat64 = Logging(LOGGED)
    nat64.opened("udp", 6000)
    assert end(nat64, *copies(nat64)) == 1
    assert nat64.said() == [("SESSION_CREATED", "INSIDE"), ("SESSION_ENDED", "FLUSHED")]
