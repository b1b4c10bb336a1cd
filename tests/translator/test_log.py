"""What begins and ends is in the log once, with its cause; who writes never waits."""

from dataclasses import replace
from typing import Any

import pytest

from tests.packets import HOST4_PORT, NEIGHBOUR6, OTHER4
from tests.restarts import TINY, restart
from tests.sessions import Sessions
from tests.translator.test_displacement import crowd, flooded
from tests.translator.test_shares import STRANGER6
from translator.session.fates import Fate
from translator.session.log import LOST, MAPPINGS, NEXT, OLDEST, SESSIONS, Cause, Kind, read_on
from translator.tables.gateway import Gateway

FORWARDED = ("192.0.2.1", 2000)


class Logging(Sessions):
    """A gateway that logs, and what it has logged since the last look."""

    def __init__(self, logged: int, **changes: Any) -> None:
        super().__init__(**changes)
        gateway = self.gateway
        self.gateway = Gateway(replace(gateway.settings, logged=logged), gateway.tables, gateway.worker)
        self.seen = 0

    def read(self) -> list[Any]:
        """The entries, as the reader has them."""
        first, self.seen = self.seen, int(read_on(self.tables, self.seen))
        return [self.tables.log[n % len(self.tables.log)].copy() for n in range(first, self.seen)]

    def said(self) -> list[tuple[str, str]]:
        """Kind and cause of each."""
        return [(Kind(row.kind).name, Cause(row.cause).name) for row in self.read()]


def test_nothing_is_logged_unless_it_is_wanted():
    for limits in ({}, {"port_block": 8}):
        nat64 = Logging(Sessions().settings.logged, forward=[], limits={"sessions": 64, **limits})
        nat64.opened("udp", 5000)
        nat64.wait(600)
        nat64.wait(1)
        assert nat64.said() == []
        assert nat64.tables.log_at.tolist() == [0, 0, 0]
    nat64 = Logging(Sessions(log={"sessions": "mappings"}).settings.logged)
    nat64.opened("udp", 6000)
    nat64.wait(600)
    assert [kind for kind, _ in nat64.said()] == ["MAPPING_CREATED", "MAPPING_ENDED"]


def test_an_entry_has_both_ends_the_protocol_and_the_time():
    nat64 = Logging(SESSIONS)
    nat64.wait(1.5)
    mapped = nat64.opened("udp", 5000)
    (row,) = nat64.read()
    (session,) = [each for each in nat64.tables.sessions if each.live]
    assert (row.host6_hi, row.host6_lo, row.host6_port) == (session.host6_hi, session.host6_lo, 5000)
    assert (row.mapped4, row.mapped4_port) == (session.mapped4, mapped[1])
    assert (row.host4, row.host4_port, row.protocol) == (session.host4, HOST4_PORT, 17)
    assert row.time == 1_000_001_500


@pytest.mark.parametrize("protocol", ["udp", "tcp", "icmp"])
def test_a_session_whose_time_is_over_has_expired(protocol):
    nat64 = Logging(SESSIONS)
    nat64.opened(protocol, 5000)
    assert nat64.said() == [("SESSION_CREATED", "INSIDE")]
    nat64.wait(600)
    assert nat64.said() == [("SESSION_ENDED", "EXPIRED")]


@pytest.mark.parametrize("protocol", ["udp", "icmp"])
def test_a_session_that_a_packet_finds_over_has_expired(protocol):
    nat64 = Logging(SESSIONS)
    nat64.opened(protocol, 5000)
    nat64.expire = lambda at: []  # the timer wheel is late
    nat64.wait(600)
    nat64.from6(protocol, 5000)
    assert nat64.said()[1:] == [("SESSION_ENDED", "EXPIRED"), ("SESSION_CREATED", "INSIDE")]


def established(nat64: Logging) -> tuple[str, int]:
    """A connection; its mapped4."""
    mapped = nat64.opened("tcp", 5000)
    nat64.from4("tcp", mapped, flags="SYN-ACK")
    nat64.said()
    return mapped


def test_a_connection_that_both_ends_have_closed():
    nat64 = Logging(SESSIONS)
    mapped = established(nat64)
    nat64.from6("tcp", 5000, flags="FIN")
    nat64.from4("tcp", mapped, flags="FIN")
    assert nat64.said() == []
    nat64.wait(600)
    assert nat64.said() == [("SESSION_ENDED", "CLOSED")]


def test_a_connection_that_was_reset():
    nat64 = Logging(SESSIONS)
    established(nat64)
    nat64.from6("tcp", 5000, flags="RST")
    nat64.wait(600)
    assert nat64.said() == [("SESSION_ENDED", "RESET")]


def test_a_connection_that_went_on_after_a_rst_and_then_fell_silent_has_expired():
    nat64 = Logging(SESSIONS)
    established(nat64)
    nat64.from6("tcp", 5000, flags="RST")
    nat64.from6("tcp", 5000, flags="ACK")
    nat64.wait(7441)
    nat64.wait(240)
    assert nat64.said() == [("SESSION_ENDED", "EXPIRED")]


def test_a_session_opened_from_outside():
    nat64 = Logging(SESSIONS, **TINY)
    nat64.from4("tcp", FORWARDED, flags="SYN")
    assert nat64.said() == [("SESSION_CREATED", "OUTSIDE")]


def test_a_mapping_is_logged_once_however_many_sessions_it_has():
    nat64 = Logging(MAPPINGS, forward=[])
    nat64.opened("udp", 5000)
    nat64.opened("udp", 5000, to=(OTHER4, 53))
    assert nat64.said() == [("MAPPING_CREATED", "INSIDE")]
    nat64.wait(600)
    assert nat64.said() == [("MAPPING_ENDED", "EXPIRED")]


def test_a_static_mapping_is_none_that_begins_or_ends():
    nat64 = Logging(MAPPINGS, **TINY)
    nat64.from4("tcp", FORWARDED, flags="SYN")
    nat64.wait(600)
    assert nat64.said() == []


@pytest.mark.parametrize(("logged", "kind"), [(SESSIONS, "SESSION"), (MAPPINGS, "MAPPING")])
def test_a_mapping_whose_port_another_host_gets_is_displaced(logged, kind):
    nat64 = flooded(24, 97)
    oldest, late = nat64.mapped("udp", 6000, crowd(1)[0]), Logging(logged)
    late.gateway = Gateway(replace(nat64.gateway.settings, logged=logged), nat64.tables, nat64.worker)
    late.check_invariants = lambda: None
    mapped, port = None, 7000
    while mapped != oldest:
        late.said()
        mapped, port = late.opened("udp", port, host=STRANGER6), port + 1
    assert late.said() == [(f"{kind}_ENDED", "DISPLACED"), (f"{kind}_CREATED", "INSIDE")]


@pytest.mark.parametrize(
    "forward", [[], [{"protocol": "udp", "ipv4": "203.0.113.80:80", "ipv6": f"[{NEIGHBOUR6}]:81"}]]
)
def test_a_mapping_ends_whether_its_host_has_another_one_after_a_restart(forward):
    """A [[forward]] beside a pool that is gone: the entry is about the mapping of before."""
    nat64 = Sessions(pool4=[{"addresses": "192.0.2.1"}], forward=[])
    nat64.opened("udp", 81, host=NEIGHBOUR6)
    changes = {"pool4": [{"addresses": "192.0.2.9"}], "forward": forward, "log": {"sessions": "mappings"}}
    assert restart(nat64, changes=changes) == {Fate.UNMAPPED: 1}
    said = [(Kind(row["kind"]), Cause(row["cause"]), row["host6_port"]) for row in nat64.ended]
    assert said == [(Kind.MAPPING_ENDED, Cause.UNMAPPED, 81)]


@pytest.mark.parametrize(("logged", "said"), [("sessions", [Kind.SESSION_ENDED]), ("mappings", [])])
def test_a_mapping_that_has_another_session_after_a_restart_has_not_ended(logged, said):
    nat64 = Sessions(pool4=[{"addresses": "192.0.2.1"}], forward=[])
    nat64.opened("udp", 5000)
    nat64.wait(200)
    nat64.opened("udp", 5000, to=(OTHER4, 53))
    nat64.expire = lambda at: []  # the end of the first is seen by the restart only
    nat64.wait(150)
    changes = {"pool4": [{"addresses": "192.0.2.1"}], "forward": [], "log": {"sessions": logged}}
    assert restart(nat64, changes=changes) == {Fate.KEPT: 1, Fate.EXPIRED: 1}
    assert [Kind(row["kind"]) for row in nat64.ended] == said


@pytest.mark.parametrize("logged", [SESSIONS, MAPPINGS])
def test_what_does_not_fit_is_lost_and_counted_and_packets_pass(logged):
    nat64 = Logging(logged, forward=[])
    size = len(nat64.tables.log)
    nat64.tables.log_at[[OLDEST, NEXT]] = 7 - size, 5  # a reader that is late
    nat64.seen = 7 - size
    for port in range(5000, 5010):
        nat64.opened("udp", port)
    assert nat64.tables.log_at.tolist() == [7 - size, 7, 8]
    assert [row.host6_port for row in nat64.read()[-2:]] == [5000, 5001]
    nat64.opened("udp", 6000)
    assert nat64.tables.log_at[LOST] == 9  # read, but not yet done with
    assert nat64.read() == []
    nat64.opened("udp", 6001)
    assert [row.host6_port for row in nat64.read()] == [6001]
