"""Reloads by chance: packets pass while the sessions are judged by another configuration, also while they are copied.
Afterwards no invariant is broken; under the same configuration nothing is lost, and under another one nothing appears.
"""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from nat64d.gateway.takeover import STAYS, carry_counts
from tests import invariants
from tests.case import BEGIN, engines_of
from tests.histories import EXAMPLES
from tests.restarts import ONE_POOL, TINY, waiting
from tests.sessions import Sessions
from tests.translator.test_invariants import FLAG, HOSTS6, MAPPED, PEERS, PORTS, PROTOCOLS, History
from tests.translator.test_restore_by_chance import lives
from translator.session import draft
from translator.session.fates import Fate
from translator.tables.gateway import Gateway, new_worker
from translator.tables.listing import usage

LIMITS = {"sessions": 16, "icmp_errors_per_second": 1000}
RUNS: tuple[dict[str, Any], ...] = (
    TINY | {"limits": LIMITS},
    TINY | {"limits": LIMITS | {"per_host_rate": 3, "pairing": "soft"}},
    TINY | {"limits": LIMITS | {"per_host_sessions": 5, "per_host_ports": 2}},
    TINY | {"limits": LIMITS | {"port_quarantine": 0}},
    TINY | {"limits": LIMITS | {"subscriber": 128}, "forward": []},
    TINY | {"limits": LIMITS, "pool4": TINY["pool4"][::-1], "forward": TINY["forward"][::-1]},
    TINY | {"limits": LIMITS, "pool4": ONE_POOL, "forward": TINY["forward"][1:]},
)
FROM6 = st.fixed_dictionaries({"protocol": PROTOCOLS, "port": PORTS, "to": PEERS, "flags": FLAG, "host": HOSTS6})
FROM4 = st.fixed_dictionaries({"protocol": PROTOCOLS, "to": MAPPED, "peer": PEERS, "flags": FLAG})
PACKETS = st.lists(st.one_of(FROM6, FROM4), max_size=4)


class Drafts(History):
    """The packets and the time of History, and a reload that is under way part of the time."""

    def __init__(self) -> None:
        super().__init__()
        self.draft: Any = None

    @initialize(run=st.sampled_from(RUNS))
    def begin(self, run):
        self.run, self.nat64 = run, Sessions(**run)
        self.nat64.check_invariants = lambda: None

    def moment(self) -> int:
        return round((BEGIN + self.nat64.now) * 1000)

    def while_packets_pass(self, packets, step, *arguments):
        """A step of a reload; each packet passes when one more record has been copied."""
        copy_rows, coming = draft.copy_rows, list(packets)

        def copy(*arguments):
            copy_rows(*arguments)
            if coming:
                packet = coming.pop()
                (self.nat64.from6 if "host" in packet else self.nat64.from4)(**packet)

        draft.copy_rows, draft.SLICE, slice_ = copy, 1, draft.SLICE
        try:
            return step(*arguments)
        finally:
            draft.copy_rows, draft.SLICE = copy_rows, slice_

    @precondition(lambda self: self.draft is None)
    @rule(run=st.sampled_from(RUNS), packets=PACKETS)
    def a_reload_begins(self, run, packets):
        self.engines = engines_of(**run)
        before = self.nat64.tables
        self.next, self.same = run, run == self.run
        tables = replace(self.engines.tables(), **{name: getattr(before, name) for name in STAYS})
        judge = replace(self.engines.predictable, port_quarantine=0, logged=0)
        self.tables = tables
        gateway = Gateway(judge, tables, new_worker(0))
        self.draft = self.while_packets_pass(packets, draft.begin, gateway, before, self.moment())

    @precondition(lambda self: self.draft is not None)
    @rule(packets=PACKETS)
    def it_catches_up(self, packets):
        self.while_packets_pass(packets, draft.catch_up, self.draft, self.moment())
        invariants.check_sessions(self.tables, self.draft.gateway.settings, living_of(self.tables))

    @precondition(lambda self: self.draft is not None)
    @rule()
    def packets_change_over(self):
        before, opened, now = self.nat64.tables, usage(self.nat64.tables), self.moment()
        sessions = [session for session in self.nat64.sessions() if lives(session)]
        ports = [port for port in waiting(self.nat64) if port[2] > now]
        draft.catch_up(self.draft, now)
        tables = replace(self.tables, sessions=before.sessions)
        gateway = Gateway(self.engines.predictable, tables, self.nat64.worker)
        fates = draft.finish(self.draft, gateway, now).fates
        carry_counts(before, tables, opened, usage(tables))
        self.nat64.gateway, self.nat64.config, self.run = gateway, self.engines.config, self.next
        assert fates[Fate.DAMAGED] == 0
        after = [session for session in self.nat64.sessions() if lives(session)]
        assert set(after) <= set(sessions)
        if self.same:
            assert sorted(after) == sorted(sessions)
            assert sorted(waiting(self.nat64)) == sorted(ports)
        self.draft = None


def living_of(tables) -> list[int]:
    """The sessions of a draft."""
    return [number for number, row in enumerate(tables.sessions) if row.live]


Drafts.TestCase.settings = hypothesis_settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None)
TestDrafts = pytest.mark.no_cover(Drafts.TestCase)
