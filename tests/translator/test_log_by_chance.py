"""Histories and restarts by chance: who reads the log knows at any time which sessions, or mappings, there are."""

from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant

from tests.histories import EXAMPLES
from tests.sessions import Sessions
from tests.translator.test_restore_by_chance import RUNS, Restarts
from translator.session.log import LOST, Kind, read_on

MAPPING = "host6_hi", "host6_lo", "host6_port", "mapped4", "mapped4_port", "protocol"
SESSION = (*MAPPING, "host4", "host4_port")
CREATED = Kind.SESSION_CREATED, Kind.MAPPING_CREATED


class Told(Restarts):
    """What Restarts does, with sound records, in front of somebody who only reads the log."""

    @initialize(run=st.sampled_from(RUNS), what=st.sampled_from(("sessions", "mappings")))
    def begin(self, run, what):
        self.log = {"log": {"sessions": what}}
        self.run = run | self.log
        self.nat64 = Sessions(**self.run)
        self.nat64.check_invariants = lambda: None
        self.columns = SESSION if what == "sessions" else MAPPING
        self.known, self.ring, self.seen = set(), None, 0

    def damaged(self):
        """Nobody knows what a damaged record was."""

    def configuration(self, run):
        return run | self.log

    @invariant()
    def the_log_says_what_there_is(self):
        if not hasattr(self, "nat64"):
            return
        tables = self.nat64.tables
        if self.ring is not tables.log:  # of another run
            self.ring, self.seen = tables.log, 0
        first, self.seen = self.seen, int(read_on(tables, self.seen))
        for row in (*self.nat64.ended, *tables.log[first : self.seen]):
            self.told(row)
        self.nat64.ended = self.nat64.ended[:0]
        assert tables.log_at[LOST] == 0
        living = tables.sessions if self.columns == SESSION else tables.bibs[tables.bibs.static == 0]
        assert self.known == {self.key(row) for row in living if row.live}

    def told(self, row) -> None:
        """One entry: nothing begins twice, and nothing ends that has not begun."""
        key = self.key(row)
        assert (key in self.known) != (row.kind in CREATED)
        self.known ^= {key}

    def key(self, row: Any) -> tuple[int, ...]:
        """What identifies it."""
        return tuple(int(row[name]) for name in self.columns)


Told.TestCase.settings = hypothesis_settings(max_examples=EXAMPLES * 3 // 8, stateful_step_count=40, deadline=None)
TestTold = pytest.mark.no_cover(Told.TestCase)
