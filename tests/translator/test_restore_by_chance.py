"""Restarts by chance: whatever a record says no invariant breaks, and under the same configuration nothing is lost."""

from typing import Any

import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from tests.case import BEGIN
from tests.histories import EXAMPLES
from tests.restarts import ONE_POOL, TINY, records_of, restart, waiting
from tests.sessions import Session, Sessions
from tests.translator.test_invariants import History
from translator.session.fates import Fate

RUNS: tuple[dict[str, Any], ...] = (
    TINY | {"limits": {"sessions": 16, "icmp_errors_per_second": 1000}},
    TINY | {"limits": {"sessions": 16, "icmp_errors_per_second": 1000, "per_host_rate": 3, "pairing": "soft"}},
    TINY | {"limits": {"sessions": 24, "icmp_errors_per_second": 1000, "per_host_sessions": 5, "per_host_ports": 2}},
    TINY | {"limits": {"sessions": 16, "icmp_errors_per_second": 1000, "subscriber": 128}, "forward": []},
    TINY | {"limits": {"sessions": 16, "icmp_errors_per_second": 1000}, "pool4": TINY["pool4"][::-1]},
    TINY | {"limits": {"sessions": 16, "icmp_errors_per_second": 1000}, "pool4": ONE_POOL},
)


class Restarts(History):
    """The packets and the time of History, and restarts in between, some of them with damaged records."""

    @initialize(run=st.sampled_from(RUNS))
    def begin(self, run):
        self.run, self.nat64 = run, Sessions(**run)
        self.nat64.check_invariants = lambda: None

    @rule()
    def the_same_again(self):
        now = round((BEGIN + self.nat64.now) * 1000)
        before = [session for session in self.nat64.sessions() if lives(session)]
        ports = [port for port in waiting(self.nat64) if port[2] > now]
        fates = restart(self.nat64, changes=self.run)
        assert fates.keys() <= {Fate.KEPT, Fate.EXPIRED}
        assert sorted(self.nat64.sessions()) == sorted(before)
        assert sorted(waiting(self.nat64)) == sorted(ports)

    @rule(run=st.sampled_from(RUNS))
    def another_configuration(self, run):
        run = self.configuration(run)
        before = self.nat64.sessions()
        fates = restart(self.nat64, records_of(self.nat64), run)
        assert Fate.DAMAGED not in fates
        assert {session[:5] for session in self.nat64.sessions()} <= {session[:5] for session in before}
        self.run = run

    def configuration(self, run):
        """One of RUNS, as it is used."""
        return run

    @rule(flips=st.lists(st.tuples(st.booleans(), st.integers(0, 1 << 20)), max_size=12), copied=st.booleans())
    def damaged(self, flips, copied):
        tables = self.nat64.tables
        for in_sessions, bit in flips:
            octets = (tables.sessions if in_sessions else tables.quarantine).view(np.uint8).reshape(-1)
            octets[bit // 8 % len(octets)] ^= 1 << bit % 8
        restart(self.nat64, records_of(self.nat64) if copied else None, self.run)


def lives(session: Session) -> bool:
    """Whether it is not over, or established and in TCP_TRANS."""
    return session.left > (-240 if session.state == "ESTABLISHED" else 0)


Restarts.TestCase.settings = hypothesis_settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None)
TestRestarts = pytest.mark.no_cover(Restarts.TestCase)
