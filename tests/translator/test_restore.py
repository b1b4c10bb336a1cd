"""Records of tables that were, taken over into others: what lives on, what does not, and that nothing that a record may
say breaks an invariant."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from nat64d.config.settings import words
from tests import invariants
from tests.case import BEGIN, engines_of
from tests.conftest import IN_PLAIN_PYTHON
from tests.engines import Engines
from tests.packets import HOST4, HOST6, HOST6_PORT, NEIGHBOUR6, OTHER4, in6
from tests.reference import packets as make
from tests.sessions import Session, Sessions
from tests.translator.test_invariants import History
from translator.session.pool4 import NEXT, OLDEST
from translator.session.restore import NOTHING, Fate, Kept, restore
from translator.session.tcp_state import State
from translator.tables.gateway import Gateway, new_worker
from translator.verdict import Verdict

OTHER_HOST6 = "2001:db8:2::1"
SECRET = bytes(range(16))  # of the run after
TINY: dict[str, Any] = {
    "limits": {"sessions": 64, "icmp_errors_per_second": 1000},
    "pool4": [
        {"addresses": "192.0.2.1-192.0.2.2", "ports": "2000-2003"},
        {"addresses": "192.0.2.1-192.0.2.2", "ports": "2005-2006", "protocols": ["udp"]},
        {"addresses": "192.0.2.3", "ports": "2000-2001", "source": "2001:db8:2::/48"},
    ],
    "forward": [
        {"protocol": "tcp", "ipv4": "192.0.2.1:2000", "ipv6": f"[{HOST6}]:80"},
        {"protocol": "udp", "ipv4": "203.0.113.80:80", "ipv6": f"[{NEIGHBOUR6}]:81"},
    ],
}
FORWARDED = ("192.0.2.1", 2000), ("203.0.113.80", 80)


def records_of(nat64: Sessions) -> Kept:
    """Copies of what is taken over."""
    tables = nat64.tables
    return Kept(tables.sessions.copy(), tables.quarantine.copy(), int(tables.bibs.static.sum()))


def restart(
    nat64: Sessions, kept: Kept | None = None, changes: dict[str, Any] | None = None, secret: bytes = SECRET
) -> dict[Fate, int]:
    """The gateway as it is after a restart, with another secret and perhaps another configuration; `kept` is what it
    finds, otherwise the records that were there, where they were. Returns how many sessions had which fate."""
    engines = Engines(engines_of(**TINY | (changes or {})).config, secret)
    tables = engines.tables()
    if kept is None:
        kept = Kept(nat64.tables.sessions, nat64.tables.quarantine, int(nat64.tables.bibs.static.sum()))
        tables = replace(tables, sessions=kept.sessions, quarantine=kept.quarantine)
    worker = replace(new_worker(0), answer=nat64.worker.answer)
    nat64.gateway, nat64.config = Gateway(engines.predictable, tables, worker), engines.config
    fates = restore(nat64.gateway, round((BEGIN + nat64.now) * 1000), kept)
    invariants.check(nat64.tables, nat64.settings)
    return {fate: int(fates[fate]) for fate in Fate if fates[fate]}


def waiting(nat64: Sessions) -> list[tuple[int, int, int]]:
    """(address, port, until) of what is in quarantine, oldest first."""
    oldest, number = map(int, nat64.tables.quarantine_at[[OLDEST, NEXT]])
    ring = [nat64.tables.quarantine[n % len(nat64.tables.quarantine)] for n in range(oldest, number)]
    return [(int(row.mapped4), int(row.port), int(row.until)) for row in ring if row.live]


def busy() -> Sessions:
    """Sessions of every protocol and kind, and two ports that wait."""
    nat64 = Sessions(**TINY)
    nat64.opened("udp", 5010)
    nat64.wait(180)
    nat64.opened("icmp", 5000)
    nat64.wait(61)
    to = nat64.opened("udp", 5000, host=NEIGHBOUR6)
    nat64.opened("udp", 5000, host=NEIGHBOUR6, to=(OTHER4, 53))
    nat64.from4("udp", to)
    nat64.from4("udp", to, (OTHER4, 99))
    nat64.opened("udp", 5000, host=OTHER_HOST6)
    nat64.from4("tcp", nat64.opened("tcp", 90), flags="SYN-ACK")
    nat64.from4("tcp", FORWARDED[0], flags="SYN")
    nat64.from4("udp", FORWARDED[1])
    nat64.wait(60)  # the first two are over
    return nat64


def test_everything_is_there_again():
    nat64 = busy()
    sessions, bib, ports = nat64.sessions(), nat64.bib(), waiting(nat64)
    assert (len(sessions), len(ports)) == (7, 2), "the scene is not what it should be"
    assert restart(nat64) == {Fate.KEPT: 7}
    assert sorted(nat64.sessions()) == sorted(sessions)
    assert nat64.bib() == bib
    assert waiting(nat64) == ports
    assert nat64.events() == {"BIB_CREATED": 2, "BIB_RESTORED": 3, "SESSION_RESTORED": 7}


def test_it_goes_on_as_if_nothing_had_been():
    nat64 = busy()
    to = nat64.mapped("tcp", 90)
    restart(nat64)
    assert nat64.from4("tcp", to, flags="ACK").verdict == Verdict.TRANSLATED
    assert nat64.from6("tcp", 90, flags="ACK").verdict == Verdict.TRANSLATED
    assert nat64.from4("tcp", FORWARDED[0], flags="ACK").verdict == Verdict.TRANSLATED
    assert nat64.opened("tcp", 90, to=(OTHER4, 80)) == to, "another mapping for the same host6"
    nat64.wait(20000)
    assert not nat64.sessions()
    assert nat64.bib().keys() == {("tcp", HOST6, 80), ("udp", NEIGHBOUR6, 81)}


def test_a_mapping_that_was_answered_is_not_displaced():
    nat64 = busy()
    restart(nat64)
    answered = {int(row.mapped4_port): bool(row.answered) for row in nat64.tables.bibs if row.live and not row.static}
    expected = {
        nat64.mapped("udp", 5000, NEIGHBOUR6)[1]: True,
        nat64.mapped("tcp", 90)[1]: True,
        nat64.mapped("udp", 5000, OTHER_HOST6)[1]: False,
    }
    assert answered == expected


@pytest.mark.parametrize("done", range(8))
def test_broken_off_anywhere_it_can_be_done_again(done):
    nat64 = busy()
    nat64.tables.sessions.live[0] = 0  # the others move
    sessions = sorted(nat64.sessions())
    used = np.flatnonzero(nat64.tables.sessions.live)
    engines, now = Engines(nat64.config, SECRET), round((BEGIN + nat64.now) * 1000)
    gateway = Gateway(engines.settings, replace(engines.tables(), sessions=nat64.tables.sessions), new_worker(0))
    first = nat64.tables.sessions[: used[min(done, len(used) - 1)] + 1]
    restore(gateway, now, Kept(first, NOTHING.quarantine, 2))
    assert restart(nat64) == {Fate.KEPT: len(sessions)}
    assert sorted(nat64.sessions()) == sessions


def test_a_session_whose_time_is_over_ends():
    nat64 = busy()
    nat64.now += 7300  # all but the established one; that is over too, but not TCP_TRANS
    assert restart(nat64) == {Fate.EXPIRED: 6, Fate.KEPT: 1}
    (probe,) = nat64.wait(240)
    assert probe
    assert [session.state for session in nat64.sessions()] == ["TRANS"]


def test_nothing_lives_longer_than_it_can():
    nat64 = busy()
    nat64.tables.sessions.expires[:] = nat64.tables.quarantine.until[:] = 1 << 62
    assert restart(nat64) == {Fate.KEPT: 7}
    assert {(session.protocol, session.left) for session in nat64.sessions()} == {("udp", 300.0), ("tcp", 7440.0)}
    now = round((BEGIN + nat64.now) * 1000)
    assert [until - now for _, _, until in waiting(nat64)] == [120_000, 120_000]


def first(nat64: Sessions, protocol: str = "udp", inbound: int = 0) -> Any:
    """The first record of a session."""
    number = {"udp": 17, "tcp": 6}[protocol]
    return next(r for r in nat64.tables.sessions if r.live and r.protocol == number and r.inbound == inbound)


DAMAGES: dict[str, tuple[str, Any]] = {
    "live is a flag": ("live", 3),
    "inbound is a flag": ("inbound", -1),
    "protocol 0": ("protocol", 0),
    "a protocol beyond all": ("protocol", 256),
    "no IPv4 address": ("host4", 1 << 32),
    "a negative IPv4 address": ("mapped4", -1),
    "a port that is none": ("host4_port", 65536),
    "a negative port": ("host6_port", -5000),
    "another protocol, with ports": ("protocol", 50),
    "ICMP with the port of a peer": ("protocol", 1),
    "TCP without a state": ("protocol", 6),
    "UDP in a state of TCP": ("state", State.TRANS),
    "UDP in no state": ("state", -1),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_record_that_says_what_no_session_says_is_dropped(name):
    nat64 = busy()
    nat64.tables.sessions.state[nat64.tables.sessions.protocol == 17] = 0
    field, value = DAMAGES[name]
    first(nat64)[field] = value
    assert restart(nat64) == {Fate.DAMAGED: 1, Fate.KEPT: 6}


@pytest.mark.parametrize("field", ["mapped4_port", "host6_port"])
def test_of_two_that_contradict_each_other_the_first_holds(field):
    nat64 = busy()
    of_neighbour = [r for r in nat64.tables.sessions if r.live and r.protocol == 17 and r.host6_port == 5000]
    of_neighbour[1][field] ^= 2  # another mapping of the same host6, another host6 of the same mapping
    assert restart(nat64) == {Fate.DAMAGED: 1, Fate.KEPT: 6}
    assert len(nat64.sessions(lambda session: session.host4 == (OTHER4, 53))) == 0


def test_a_session_that_is_there_twice_is_kept_once():
    nat64 = busy()
    row, free = first(nat64), int(np.flatnonzero(nat64.tables.sessions.live)[-1]) + 1
    nat64.tables.sessions[free] = row
    assert restart(nat64) == {Fate.DAMAGED: 1, Fate.KEPT: 7}


def test_sessions_that_collide_are_two():
    nat64 = Sessions(**TINY)
    for port in (22456, 46129):  # as in test_hashing.py
        nat64.opened("udp", HOST6_PORT, (HOST4, port))
    assert restart(nat64, secret=bytes(16)) == {Fate.KEPT: 2}


def test_a_session_of_a_forward_is_not_one_of_a_mapping_of_its_host():
    nat64 = busy()
    nat64.tables.sessions.bib[nat64.tables.sessions.host4 == int(IPv4Address(OTHER4))] = 0
    assert restart(nat64) == {Fate.UNMAPPED: 2, Fate.KEPT: 5}


ONE_POOL = [{"addresses": "192.0.2.1-192.0.2.2", "ports": "2000-2003"}]
CHANGES: dict[str, tuple[dict[str, Any], dict[Fate, int]]] = {
    "a pool is gone": ({"pool4": TINY["pool4"][:2]}, {Fate.UNMAPPED: 1, Fate.KEPT: 6}),
    "a pool of other hosts": (
        {"pool4": [{**TINY["pool4"][2], "source": "2001:db8:3::/48"}, *TINY["pool4"][:2]]},
        {Fate.UNMAPPED: 1, Fate.KEPT: 6},
    ),
    "all hosts are without pool": (
        {"pool4": [{**pool, "source": "2001:db8:3::/48"} for pool in TINY["pool4"]]},
        {Fate.UNMAPPED: 5, Fate.KEPT: 2},
    ),
    "other ports": ({"pool4": [{**ONE_POOL[0], "ports": "3000-3003"}]}, {Fate.UNMAPPED: 5, Fate.KEPT: 2}),
    "no UDP any more": (
        {"pool4": [{**pool, "protocols": ["tcp"]} for pool in TINY["pool4"]]},
        {Fate.UNMAPPED: 4, Fate.KEPT: 3},
    ),
    "no [[forward]] any more": ({"forward": []}, {Fate.UNMAPPED: 2, Fate.KEPT: 5}),
    "a [[forward]] to another port": (
        {"forward": [{**TINY["forward"][0], "ipv6": f"[{HOST6}]:81"}, TINY["forward"][1]]},
        {Fate.UNMAPPED: 1, Fate.KEPT: 6},
    ),
    "a [[forward]] from another port": (
        {"forward": [{**TINY["forward"][0], "ipv4": "192.0.2.1:2001"}, TINY["forward"][1]]},
        {Fate.UNMAPPED: 1, Fate.KEPT: 6},
    ),
    "without sessions": ({"pool4": [], "forward": []}, {Fate.UNMAPPED: 7}),
    "a host has an [[eam]]": (
        {"eam": [{"ipv4": "198.51.100.9", "ipv6": NEIGHBOUR6}], "forward": TINY["forward"][:1]},
        {Fate.UNMAPPED: 4, Fate.KEPT: 3},
    ),
    "an [[eam]] of others": ({"eam": [{"ipv4": "198.51.100.9", "ipv6": "2001:db8:9::1"}]}, {Fate.KEPT: 7}),
    "a peer is denied": (
        {"translation": {"denylist4": [f"{OTHER4}/32"]}},
        {Fate.UNMAPPED: 2, Fate.KEPT: 5},
    ),
    "a host may have fewer sessions": ({"limits": {"per_host_sessions": 1}}, {Fate.LIMITED: 1, Fate.KEPT: 6}),
    "a host may have as many ports": ({"limits": {"per_host_ports": 1}}, {Fate.KEPT: 7}),
    "a smaller table": ({"limits": {"sessions": 16}}, {Fate.KEPT: 7}),
    "a larger table": ({"limits": {"sessions": 100}}, {Fate.KEPT: 7}),
    "another subscriber": ({"limits": {"subscriber": 128}}, {Fate.KEPT: 7}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_under_another_configuration_what_is_still_valid_lives_on(name):
    nat64 = busy()
    before, (changes, expected) = nat64.sessions(), CHANGES[name]
    changes = {key: TINY[key] | change if key == "limits" else change for key, change in changes.items()}
    assert restart(nat64, records_of(nat64), changes) == expected
    assert set(nat64.sessions()) <= set(before)


def test_what_a_forward_takes_from_others_ends_and_what_it_takes_from_its_own_host_is_its_own():
    for host, fates in ((NEIGHBOUR6, {Fate.KEPT: 7}), ("2001:db8:7::7", {Fate.UNMAPPED: 3, Fate.KEPT: 4})):
        nat64 = busy()
        address, port = nat64.mapped("udp", 5000, NEIGHBOUR6)
        forward = {"protocol": "udp", "ipv4": f"{address}:{port}", "ipv6": f"[{host}]:5000"}
        changes = {"forward": [*TINY["forward"], forward]}
        assert restart(nat64, records_of(nat64), changes) == fates
        assert sum(nat64.tables.bibs.inbound) == (5 if Fate.UNMAPPED not in fates else 2)


def test_a_host_that_may_have_fewer_ports_keeps_the_first():
    nat64 = Sessions(**TINY)
    for port in (5000, 5001):
        nat64.opened("tcp", port)
    assert restart(nat64, changes={"limits": TINY["limits"] | {"per_host_ports": 1}}) == {Fate.KEPT: 1, Fate.LIMITED: 1}


def test_a_table_that_is_too_small_keeps_the_first_and_a_quarter_from_outside():
    nat64 = Sessions(**TINY)
    to = nat64.opened("udp", 5000)
    for port in range(9):
        nat64.from4("udp", to, (OTHER4, 1 + port))
        nat64.opened("udp", 5000, (HOST4, 1 + port))
    smaller = {"limits": TINY["limits"] | {"sessions": 16}}
    assert restart(nat64, records_of(nat64), smaller) == {Fate.KEPT: 14, Fate.LIMITED: 5}
    nat64 = Sessions(**TINY)
    for port in range(20):
        nat64.opened("udp", 5000, (HOST4, 1 + port))
    assert restart(nat64, records_of(nat64), smaller) == {Fate.KEPT: 16, Fate.LIMITED: 4}


def with_two_addresses() -> Sessions:
    """A host with strict pairing has no second address; here it has, for its own was full."""
    nat64 = Sessions(**TINY | {"limits": TINY["limits"] | {"pairing": "soft"}})
    for port in range(7):
        nat64.opened("udp", 6000 + port)
    assert len({row.mapped4 for row in nat64.tables.sessions if row.live}) == 2, "the scene is not what it should be"
    return nat64


def test_with_strict_pairing_a_host_keeps_one_address():
    nat64 = with_two_addresses()
    assert restart(nat64, changes={"limits": TINY["limits"] | {"pairing": "soft"}}) == {Fate.KEPT: 7}
    assert restart(nat64) == {Fate.UNMAPPED: 1, Fate.KEPT: 6}


def test_with_strict_pairing_a_host_keeps_an_address_for_what_its_own_does_not_serve():
    pools = [
        {"addresses": "192.0.2.1", "ports": "2000-2003", "protocols": ["udp"]},
        {"addresses": "192.0.2.2", "ports": "2000-2003", "protocols": ["tcp"]},
    ]
    changes = {"pool4": pools, "forward": []}
    nat64 = Sessions(**TINY | changes)
    nat64.opened("udp", 5000)
    nat64.opened("tcp", 5000)
    assert restart(nat64, changes=changes) == {Fate.KEPT: 2}


def test_other_protocols_are_taken_over_where_they_are_allowed():
    other = {"pool4": [{"addresses": "192.0.2.1", "protocols": ["tcp", "other"]}], "forward": []}
    for changes, protocol, fates in (
        (other, 47, {Fate.KEPT: 1}),
        (other, 51, {Fate.UNMAPPED: 1}),  # AUTHENTICATION is over addresses, too
        ({"pool4": ONE_POOL, "forward": []}, 47, {Fate.UNMAPPED: 1}),
    ):
        nat64 = Sessions(**TINY | other)
        gre = make.ipv6(IPv6Address(HOST6), IPv6Address(in6(HOST4)), 47, bytes(20))
        assert nat64.send(gre, nat64.now).verdict == Verdict.TRANSLATED
        nat64.tables.sessions.protocol[0] = protocol
        assert restart(nat64, records_of(nat64), changes) == fates


def test_hosts_that_a_packet_cannot_come_from_have_no_session():
    for host in ("ff02::1", in6(HOST4)):
        nat64 = busy()
        row = first(nat64, "tcp")
        row.host6_hi, row.host6_lo = words(IPv6Address(host))
        assert restart(nat64) == {Fate.UNMAPPED: 1, Fate.KEPT: 6}


# ---- ports that wait


def test_ports_wait_in_the_order_of_their_times():
    nat64 = busy()
    rows = nat64.tables.quarantine
    rows[[0, 1]] = rows[[1, 0]]
    expected = sorted(waiting(nat64), key=lambda port: port[2])
    restart(nat64)
    assert waiting(nat64) == expected


WAITING_DAMAGES: dict[str, tuple[str, Any]] = {
    "live is a flag": ("live", 2),
    "of TCP": ("slot", 0),
    "no address": ("mapped4", 1 << 40),
    "an address outside pool4": ("mapped4", 7),
    "a port that is none": ("port", -1),
    "a port outside pool4": ("port", 9999),
    "its time is over": ("until", -5),
}


@pytest.mark.parametrize("name", WAITING_DAMAGES)
def test_a_port_that_cannot_wait_does_not(name):
    nat64, (field, value) = busy(), WAITING_DAMAGES[name]
    _, other = waiting(nat64)
    nat64.tables.quarantine[0][field] = value
    restart(nat64)
    assert waiting(nat64) == [other]


def test_a_port_that_is_in_use_does_not_wait():
    nat64 = busy()
    row, taken = nat64.tables.quarantine[0], first(nat64)
    row.mapped4, row.port, row.slot = taken.mapped4, taken.mapped4_port, nat64.tables.bibs[taken.bib].slot
    _, other = waiting(nat64)
    restart(nat64)
    assert waiting(nat64) == [other]


def test_ports_wait_on_where_their_pool_is_now():
    nat64 = busy()
    ports = waiting(nat64)
    more = [{"addresses": "192.0.2.8", "source": "2001:db8:2::/48"}, {"addresses": "192.0.2.0"}]
    restart(nat64, records_of(nat64), {"pool4": [*more, *TINY["pool4"]]})
    assert waiting(nat64) == ports


def test_no_port_waits_where_none_has_to():
    nat64 = busy()
    restart(nat64, changes={"limits": TINY["limits"] | {"port_quarantine": 0}})
    assert waiting(nat64) == []


# ---- by chance

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
        before = self.nat64.sessions()
        fates = restart(self.nat64, records_of(self.nat64), run)
        assert Fate.DAMAGED not in fates
        assert {session[:5] for session in self.nat64.sessions()} <= {session[:5] for session in before}
        self.run = run

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


Restarts.TestCase.settings = hypothesis_settings(
    max_examples=15 if IN_PLAIN_PYTHON else 40, stateful_step_count=40, deadline=None
)
TestRestarts = Restarts.TestCase
