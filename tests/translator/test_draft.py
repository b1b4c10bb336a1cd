"""Sessions that change while a reload judges them by another configuration (session/draft.py)."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nat64d.gateway.takeover import STAYS, carry_counts
from tests.case import BEGIN, engines_of
from tests.packets import NEIGHBOUR6, OTHER4
from tests.restarts import FORWARDED, TINY, waiting
from tests.sessions import Session, Sessions
from translator.session import draft
from translator.session.fates import Fate
from translator.session.log import MAPPINGS, SESSIONS, Cause, Kind
from translator.tables.gateway import Gateway, new_worker
from translator.tables.listing import usage
from translator.verdict import Verdict


class Reloading:
    """A gateway while it is reloaded with `changes` to TINY."""

    def __init__(self, nat64: Sessions, **changes: Any) -> None:
        self.nat64, self.engines, self.logged = nat64, engines_of(**TINY | changes), 0
        kept = {name: getattr(nat64.tables, name) for name in STAYS}
        self.tables = replace(self.engines.tables(), **kept)
        judge = Gateway(replace(self.engines.predictable, port_quarantine=0, logged=0), self.tables, new_worker(0))
        self.draft = draft.begin(judge, nat64.tables, self.now())

    def now(self) -> int:
        return round((BEGIN + self.nat64.now) * 1000)

    def finish(self) -> dict[Fate, int]:
        """Packets change over; how many sessions were judged with which fate, but for those that were kept."""
        before, opened = self.nat64.tables, usage(self.nat64.tables)
        draft.catch_up(self.draft, self.now())
        tables = replace(self.tables, sessions=before.sessions)
        settings = replace(self.engines.predictable, logged=self.logged)
        self.nat64.gateway = Gateway(settings, tables, self.nat64.worker)
        fates, self.ended = draft.finish(self.draft, self.nat64.gateway, self.now())
        self.nat64.config = self.engines.config
        carry_counts(before, tables, opened, usage(tables))
        self.nat64.check_invariants()
        return {fate: int(fates[fate]) for fate in Fate if fates[fate]}


def unchanged(nat64: Sessions, **changes: Any) -> tuple[list[Session], list[Session]]:
    """The sessions before and after a reload that nothing happens in."""
    before = nat64.sessions()
    Reloading(nat64, **changes).finish()
    return before, nat64.sessions()


@pytest.fixture
def nat64() -> Sessions:
    """Two sessions of one mapping, one of another host, and one from outside."""
    nat64 = Sessions(**TINY)
    nat64.opened("udp", 5000)
    nat64.opened("udp", 5000, to=(OTHER4, 53))
    nat64.opened("tcp", 5001, host=NEIGHBOUR6)
    nat64.from4("tcp", FORWARDED[0], flags="SYN")
    return nat64


def test_what_nothing_happens_to_is_as_it_was(nat64):
    before, after = unchanged(nat64)
    assert after == before


def test_more_forwards_move_the_numbers_of_all_others(nat64):
    more = {"protocol": "tcp", "ipv4": "203.0.113.81:80-89", "ipv6": "[2001:db8::8]:80-89"}
    before, after = unchanged(nat64, forward=[more, *TINY["forward"]])
    assert after == before
    assert nat64.from4("tcp", ("203.0.113.81", 85), flags="SYN").verdict == Verdict.TRANSLATED
    before, after = unchanged(nat64)
    assert set(before) > set(after)
    assert len(before) == len(after) + 1


def test_a_session_goes_on_in_its_entry_though_more_forwards_move_the_numbers(nat64):
    more = {"protocol": "tcp", "ipv4": "203.0.113.81:80-89", "ipv6": "[2001:db8::8]:80-89"}
    reloading = Reloading(nat64, forward=[more, *TINY["forward"]])
    nat64.from4("tcp", nat64.mapped("tcp", 5001, host=NEIGHBOUR6), flags="SYN-ACK")
    before = nat64.sessions()
    assert not reloading.finish()
    assert nat64.sessions() == before


def test_a_state_that_a_session_passes_into_is_that_it_has_afterwards(nat64):
    reloading = Reloading(nat64)
    nat64.from4("tcp", nat64.mapped("tcp", 5001, host=NEIGHBOUR6), flags="SYN-ACK")
    nat64.from4("udp", nat64.mapped("udp", 5000))
    before = nat64.sessions()
    assert not reloading.finish()
    assert nat64.sessions() == before
    assert {session.state for session in before if session.protocol == "tcp"} >= {"ESTABLISHED"}


def test_a_time_that_is_put_off_is_that_it_has_afterwards(nat64):
    nat64.wait(100)
    reloading = Reloading(nat64)
    nat64.from6("udp", 5000)
    before = nat64.sessions()
    assert not reloading.finish()
    assert nat64.sessions() == before


def test_what_is_opened_meanwhile_goes_on_if_it_may(nat64):
    reloading = Reloading(nat64, translation={"denylist4": [f"{OTHER4}/32"]})
    nat64.opened("udp", 5002)
    nat64.opened("udp", 5002, to=(OTHER4, 53))
    assert reloading.finish() == {Fate.UNMAPPED: 2}
    assert [session.host6[1] for session in nat64.sessions() if session.protocol == "udp"] == [5000, 5002]


def test_a_mapping_whose_sessions_all_end_is_free_again(nat64):
    bib = nat64.bib()
    assert Reloading(nat64, pool4=TINY["pool4"][2:]).finish() == {Fate.UNMAPPED: 3}
    assert len(bib) == len(nat64.bib()) + 2
    Reloading(nat64).finish()
    nat64.opened("udp", 5000)
    assert len(nat64.bib()) == len(bib) - 1


@pytest.mark.parametrize("logged", [SESSIONS | MAPPINGS, MAPPINGS, 0])
def test_what_ends_is_what_the_log_has_to_say(nat64, logged):
    reloading = Reloading(nat64, translation={"denylist4": [f"{OTHER4}/32"]}, pool4=TINY["pool4"][:2])
    nat64.opened("udp", 5002, to=(OTHER4, 53))
    reloading.logged = logged
    assert reloading.finish() == {Fate.UNMAPPED: 2}
    said = [(int(row.host6_port), int(row.kind), int(row.cause)) for row in reloading.ended]
    of_sessions = [(port, Kind.SESSION_ENDED, Cause.UNMAPPED) for port in (5000, 5002)]
    assert (
        said
        == {SESSIONS | MAPPINGS: of_sessions, MAPPINGS: [(5002, Kind.MAPPING_ENDED, Cause.UNMAPPED)], 0: []}[logged]
    )


def test_compiling_it_judges_nothing(nat64):
    before = nat64.sessions()
    draft.warm_up(nat64.settings)
    assert nat64.sessions() == before


def test_what_ends_meanwhile_does_not_come_back_and_its_port_waits(nat64):
    nat64.wait(200)
    nat64.from4("tcp", nat64.mapped("tcp", 5001, host=NEIGHBOUR6), flags="SYN-ACK")
    reloading = Reloading(nat64)
    nat64.wait(101)  # the datagrams' sessions are over
    ports = waiting(nat64)
    assert ports
    assert not reloading.finish()
    assert {session.protocol for session in nat64.sessions()} == {"tcp"}
    assert waiting(nat64) == ports


def test_a_record_may_be_another_sessions_by_then(nat64):
    reloading = Reloading(nat64)
    nat64.wait(301)
    for port in (5003, 5002, 5001):
        nat64.opened("udp", port, host=NEIGHBOUR6)
    before = nat64.sessions()
    assert not reloading.finish()
    assert nat64.sessions() == before


def test_what_was_refused_and_ended_is_not_counted(nat64):
    reloading = Reloading(nat64, translation={"denylist4": [f"{OTHER4}/32"]})
    nat64.wait(301)
    assert not reloading.finish()


def test_a_session_that_begins_anew_has_its_mapping(nat64):
    one = {
        "pool4": [{"addresses": "192.0.2.1", "ports": "2001-2001"}],
        "limits": {"port_quarantine": 0, "sessions": 16},
    }
    nat64 = Sessions(**TINY | one)
    nat64.opened("udp", 5000)
    reloading = Reloading(nat64, **one)
    nat64.wait(301)
    nat64.opened("udp", 5000)
    before = nat64.sessions()
    assert not reloading.finish()
    assert nat64.sessions() == before


def test_what_changes_while_it_is_copied_is_left_for_later(nat64, monkeypatch):
    copy_rows, later = draft.copy_rows, [5003, 5002]

    def copy(*arguments):
        copy_rows(*arguments)
        if later:
            nat64.from4("udp", nat64.mapped("udp", 5000))
            nat64.opened("udp", later.pop(), host=NEIGHBOUR6)

    monkeypatch.setattr(draft, "SLICE", 1)
    monkeypatch.setattr(draft, "copy_rows", copy)
    reloading = Reloading(nat64)
    left_out = np.count_nonzero(nat64.tables.sessions.live) - np.count_nonzero(reloading.tables.sessions.live)
    assert left_out == 3
    before = nat64.sessions()
    assert not reloading.finish()
    assert nat64.sessions() == before
