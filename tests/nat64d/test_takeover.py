"""What becomes of the sessions when packets change over to another configuration."""

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nat64d.config.difference import Effect, difference
from nat64d.control.filters import Filters
from nat64d.dataplane.code import COMPILED_CODE
from nat64d.gateway import state_file, takeover
from nat64d.gateway.state import Live
from nat64d.gateway.state_file import take_up
from nat64d.gateway.state_header import header_in
from nat64d.gateway.takeover import Outcome, change_over, prepare
from tests.case import BEGIN, engines_of
from tests.engines import Engines
from tests.listed import rows_of
from tests.packets import HOST6, NEIGHBOUR6, OTHER4
from tests.sessions import Sessions
from translator.session.log import Cause, Kind
from translator.tables.gateway import Gateway
from translator.verdict import Event, Verdict

FORWARD = {"protocol": "tcp", "ipv4": "192.0.2.1:2000", "ipv6": f"[{HOST6}]:80"}
FORWARD_AT = ("192.0.2.1", 2000)
SECOND_FORWARDS = [{"protocol": "tcp", "ipv4": f"192.0.2.1:{n}", "ipv6": f"[2001:db8::7]:{n}"} for n in (2010, 2011)]
BASE: dict[str, Any] = {
    "limits": {"sessions": 64},
    "pool4": [
        {"addresses": "192.0.2.1", "ports": "2000-2031"},
        {"addresses": "192.0.2.9", "source": f"{NEIGHBOUR6}/128"},
    ],
    "forward": [FORWARD],
}


class Daemon:
    """A gateway with sessions, as the control plane sees it, and how it changes to another configuration."""

    def __init__(self, **changes: Any) -> None:
        self.nat64 = Sessions(**BASE | changes)
        self.live = Live(self.nat64.config)
        self.live.settings, self.live.tables = self.nat64.settings, self.nat64.tables
        self.live.state, self.live.code = "ready", COMPILED_CODE

    def change(self, **changes: Any) -> Outcome:
        """Change over to another configuration."""
        config = engines_of(**BASE | changes).config
        judges = any(change.effect is Effect.SESSIONS for change in difference(self.live.config, config))
        outcome = change_over(self.live, prepare(self.live, config, judges))
        assert self.live.config == config
        assert self.live.settings is not None
        assert self.live.tables is not None
        self.nat64.gateway = Gateway(self.live.settings, self.live.tables, self.nat64.worker)
        self.nat64.config = config
        self.nat64.check_invariants()
        return outcome

    def hosts(self) -> list[str]:
        """Who has sessions, one each."""
        return [row["host6"] for row in rows_of(self.live.sessions(Filters()))]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The moment at which the tests' packets begin."""
    for module in (state_file, takeover):
        monkeypatch.setattr(module, "now", lambda: round(BEGIN * 1000))
    monkeypatch.setattr("nat64d.gateway.state.now", lambda: round(BEGIN * 1000))


@pytest.fixture
def daemon() -> Daemon:
    """Two sessions of one host, one of another that has a pool of its own, and one from outside."""
    daemon = Daemon()
    daemon.nat64.opened("udp", 5000)
    daemon.nat64.from4("tcp", daemon.nat64.opened("tcp", 5001, (OTHER4, 80)), (OTHER4, 80))
    daemon.nat64.opened("udp", 5000, host=NEIGHBOUR6)
    daemon.nat64.from4("tcp", FORWARD_AT, flags="SYN")
    return daemon


OWN, OTHER = BASE["pool4"]
UNMAPPED, LIMITED = "that the configuration has no mapping for", "beyond its limits"


def test_what_says_nothing_about_sessions_changes_them_in_nothing(daemon):
    before, tables = daemon.nat64.sessions(), daemon.live.tables
    outcome = daemon.change(timeouts={"udp": 600})
    assert (outcome.kept, outcome.ended) == (4, {})
    assert daemon.live.tables is tables
    assert daemon.nat64.sessions() == before
    daemon.nat64.from6("udp", 5000)
    assert max(session.left for session in daemon.nat64.sessions() if session.protocol == "udp") == 600


def test_accounts_come_go_and_stay(daemon):
    """[log] accounting: sessions go on, and their accounts begin when it is switched on."""

    def counted() -> list[int | None]:
        return [row["packets_6to4"] for row in rows_of(daemon.live.sessions(Filters()))]

    assert counted() == [None] * 4
    on = {"accounting": True, "sessions": "sessions"}
    assert daemon.change(log=on).kept == 4
    daemon.nat64.from6("udp", 5000)
    daemon.nat64.from6("udp", 5000, host=NEIGHBOUR6)
    assert counted() == [1, 0, 1, 0]
    assert daemon.change(log=on, pool4=[OWN]).kept == 3
    assert daemon.live.session_log.ended[-1]["packets_6to4"].tolist() == [1]
    daemon.nat64.from6("udp", 5000)
    assert counted() == [2, 0, 0]
    daemon.change(pool4=[OWN])
    daemon.nat64.from6("udp", 5000)
    assert counted() == [None] * 3


def test_a_pool_that_goes_takes_its_sessions_with_it(daemon):
    outcome = daemon.change(pool4=[OWN])
    assert (outcome.kept, outcome.ended) == (3, {UNMAPPED: 1})
    assert daemon.hosts() == [HOST6] * 3


def test_entries_about_blocks_are_not_read_before_they_are_whole(daemon, monkeypatch):
    held, code = [], daemon.live.code

    def restore(*of: Any) -> Any:
        held.append(daemon.live.session_log.reading.locked())
        return code.restore(*of)

    monkeypatch.setattr(daemon.live, "code", code._replace(restore=restore))
    daemon.change(limits={**BASE["limits"], "port_block": 8})
    assert held == [True]


def test_more_of_everything_ends_nothing(daemon):
    before, bib = daemon.nat64.sessions(), daemon.nat64.bib()
    more = [{"addresses": "192.0.1.1"}, OWN, OTHER, {"addresses": "192.0.2.2-192.0.2.8"}]
    forward = [{**FORWARD, "ipv4": "192.0.2.1:2010-2012", "ipv6": "[2001:db8::7]:80-82"}, FORWARD]
    eam = [{"ipv4": "198.51.100.1", "ipv6": "2001:db8::e"}]
    outcome = daemon.change(pool4=more, forward=forward, eam=eam)
    assert (outcome.kept, outcome.ended) == (4, {})
    assert daemon.nat64.sessions() == before
    assert bib.items() < daemon.nat64.bib().items()
    assert daemon.nat64.from6("udp", 5000).verdict == Verdict.TRANSLATED
    assert daemon.nat64.from4("tcp", ("192.0.2.1", 2012), flags="SYN").verdict == Verdict.TRANSLATED


def test_there_and_back_leaves_all_as_it_was(daemon):
    before = daemon.nat64.sessions()
    for _ in range(3):
        daemon.change(pool4=[{"addresses": "192.0.1.1"}, OWN, OTHER], forward=[])
        daemon.nat64.from4("tcp", FORWARD_AT, flags="SYN")
        daemon.change()
    assert daemon.nat64.sessions() == [session for session in before if session.mapped4 != FORWARD_AT]


@pytest.mark.parametrize(
    ("changes", "kept", "ended"),
    [
        ({"forward": []}, 3, {UNMAPPED: 1}),
        ({"forward": [{**FORWARD, "ipv6": f"[{NEIGHBOUR6}]:80"}]}, 3, {UNMAPPED: 1}),
        ({"eam": [{"ipv4": "198.51.100.1", "ipv6": HOST6}], "forward": []}, 1, {UNMAPPED: 3}),
        ({"pool4": [{**OWN, "protocols": ["tcp"]}, OTHER]}, 3, {UNMAPPED: 1}),
        ({"pool4": [OWN, OTHER, {"addresses": "192.0.2.8", "source": f"{HOST6}/128"}]}, 2, {UNMAPPED: 2}),
        ({"translation": {"denylist4": [f"{OTHER4}/32"]}}, 3, {UNMAPPED: 1}),
        ({"limits": {"sessions": 64, "per_host_sessions": 1}}, 3, {LIMITED: 1}),
    ],
)
def test_what_is_not_allowed_any_more_ends_and_is_counted(daemon, changes, kept, ended):
    outcome = daemon.change(**changes)
    assert (outcome.kept, outcome.ended) == (kept, ended)
    assert len(daemon.nat64.sessions()) == kept


def test_what_has_ended_is_left_for_the_log_and_what_goes_on_has_not_begun_again():
    logged = {"log": {"sessions": "sessions"}}
    daemon = Daemon(**logged)
    daemon.nat64.opened("udp", 5000)
    daemon.nat64.opened("udp", 5001, to=(OTHER4, 53))
    tables = daemon.nat64.tables
    daemon.change(**logged, translation={"denylist4": [f"{OTHER4}/32"]})
    (ended,) = daemon.live.session_log.ended
    assert [(row["host6_port"], row["kind"], row["cause"]) for row in ended] == [
        (5001, Kind.SESSION_ENDED, Cause.UNMAPPED)
    ]
    assert daemon.nat64.tables.log is tables.log
    assert daemon.nat64.tables.lock is tables.lock
    assert tables.log_at.tolist() == [0, 2, 0]


def test_a_forward_in_place_of_somebodys_port_ends_what_that_one_had(daemon):
    address, port = daemon.nat64.mapped("udp", 5000)
    taken = {"protocol": "udp", "ipv4": f"{address}:{port}", "ipv6": "[2001:db8::7]:53"}
    outcome = daemon.change(forward=[FORWARD, taken])
    assert (outcome.kept, outcome.ended) == (3, {UNMAPPED: 1})
    assert daemon.nat64.from4("udp", (address, port)).verdict == Verdict.TRANSLATED


def test_whoever_lost_a_connection_is_told_by_rst_for_a_minute(daemon):
    lost = daemon.nat64.from6("tcp", 5001, (OTHER4, 80), flags="ACK")
    assert lost.verdict == Verdict.TRANSLATED
    daemon.change(pool4=[{**OWN, "protocols": ["udp", "icmp"]}, OTHER])
    before = int(daemon.nat64.worker.events[Event.RESET_SENT])
    daemon.nat64.from6("tcp", 5001, (OTHER4, 80), flags="ACK")
    assert daemon.nat64.worker.events[Event.RESET_SENT] == before + 1
    assert daemon.live.settings.reset_until == 1000 * (BEGIN + 60)


def test_or_for_as_long_as_is_configured(daemon):
    daemon.change(pool4=[{**OWN, "protocols": ["udp", "icmp"]}, OTHER], filtering={"reset_unknown": 5})
    assert daemon.live.settings.reset_until == 1000 * (BEGIN + 5)


def test_without_a_loss_nobody_is_told_so(daemon):
    daemon.live.settings = replace(daemon.live.settings, reset_until=7)  # the end of the minute after a start
    daemon.change(pool4=[OWN, OTHER, {"addresses": "192.0.2.2"}])
    assert daemon.live.settings.reset_until == 7


def test_what_was_counted_is_counted_on(daemon):
    before = daemon.live.tables.events.copy()
    daemon.change(pool4=[OWN])
    after = daemon.live.tables.events
    assert np.all(after >= before)
    assert after[Event.SESSION_ENDED] == before[Event.SESSION_ENDED] + 1
    assert after[Event.BIB_ENDED] == before[Event.BIB_ENDED] + 1
    daemon.change(forward=[FORWARD, *SECOND_FORWARDS], pool4=[OWN])
    assert daemon.live.tables.events[Event.BIB_CREATED] == after[Event.BIB_CREATED] + 2


def test_ports_that_wait_wait_on(daemon):
    daemon.nat64.wait(301)  # the datagrams' sessions are over
    waiting = int(daemon.live.tables.quarantine.live.sum())
    assert waiting
    daemon.change(pool4=[OWN, OTHER, {"addresses": "192.0.2.2"}])
    assert int(daemon.live.tables.quarantine.live.sum()) == waiting


def test_a_listing_that_has_begun_goes_on_with_the_tables_it_began_with(daemon):
    lines = iter(daemon.live.bib(Filters()))
    first = rows_of([next(lines)])
    daemon.change(forward=[])
    rest = rows_of(lines)
    assert any(row["static"] for row in first)
    assert len(first) + len(rest) == 4


def start(live: Live, engines: Engines) -> None:
    """Take up what a daemon before has left."""
    live.tables, live.state_file = take_up(live.config, engines.settings, engines.tables(), lambda _: COMPILED_CODE)
    live.settings = engines.predictable


def test_what_is_kept_is_kept_for_the_next_start_too(tmp_path):
    path = tmp_path / "state"
    daemon = Daemon(state={"file": str(path)})
    start(daemon.live, Engines(daemon.live.config, os.urandom(16)))
    daemon.nat64.gateway = Gateway(daemon.live.settings, daemon.live.tables, daemon.nat64.worker)
    daemon.nat64.opened("udp", 5000)
    daemon.nat64.from4("tcp", FORWARD_AT, flags="SYN")
    forward = [*SECOND_FORWARDS, FORWARD]
    changed = {"forward": forward, "state": {"file": str(path)}}
    daemon.change(**changed)
    before = daemon.nat64.sessions()
    assert len(before) == 2
    changed["translation"] = {"clamp_mss": True}  # in the tables there are
    daemon.change(**changed)
    assert header_in(path.read_bytes()).statics == 2 * 64 + 3
    daemon.live.state_file.close()
    live = Live(engines_of(**BASE | changed).config)
    start(live, Engines(live.config, os.urandom(16)))
    assert not live.state_file.is_of_other_configuration
    live.state = "ready"
    assert len(rows_of(live.sessions(Filters()))) == 2
    live.state_file.close()


def test_the_last_pool_ends_all_sessions_and_the_first_one_begins_with_a_state_file(daemon, tmp_path):
    state = {"state": {"file": str(tmp_path / "state")}}
    assert len(daemon.hosts()) == 4
    outcome = daemon.change(pool4=[], forward=[], **state)
    assert (outcome.kept, outcome.ended) == (0, {UNMAPPED: 4})
    assert not daemon.live.settings.stateful
    assert daemon.live.state_file is None
    daemon.change(**state)
    assert daemon.live.settings.stateful
    daemon.nat64.opened("udp", 5000)
    daemon.live.close_state_file()
    live = Live(engines_of(**BASE | state).config)
    start(live, Engines(live.config, os.urandom(16)))
    live.state = "ready"
    assert [row["host6"] for row in rows_of(live.sessions(Filters()))] == [HOST6]
    live.close_state_file()


def test_the_first_pool_without_a_state_file(daemon):
    keep = {"state": {"keep": False}}
    daemon.change(pool4=[], forward=[], **keep)
    daemon.change(**keep)
    daemon.nat64.opened("udp", 5000)
    assert daemon.hosts() == [HOST6]
    assert daemon.live.state_file is None
    daemon.live.close_state_file()


def test_the_outcome_is_said():
    assert Outcome(3, {}, 0.00125).sentence == "kept 3 sessions; packets waited 1.2 ms"
    outcome = Outcome(3, {UNMAPPED: 2, LIMITED: 1}, 0.5)
    assert outcome.sentence == f"kept 3 sessions, ended 3 (2 {UNMAPPED}, 1 {LIMITED}); packets waited 500.0 ms"
