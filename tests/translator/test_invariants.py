"""Whatever is sent in whatever order, the tables stay consistent; and tests/invariants.py notices when they are not."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from scapy.layers.inet import UDP

from tests import invariants
from tests.case import BEGIN, DONE
from tests.conftest import IN_PLAIN_PYTHON, WITH_BOUNDS_CHECKS
from tests.packets import HOST4, HOST6, MAPPED4, NEIGHBOUR6, OTHER4, fragment_of, from6, whole
from tests.sessions import FLAGS, Sessions
from translator.clock import tick
from translator.tables.layout import NONE
from translator.tables.tables import BIBS, HEIGHT, HOSTS, NEVER_USED, SESSIONS
from translator.verdict import Event, Verdict

PROTOCOLS = st.sampled_from(("udp", "tcp", "icmp"))
HOSTS6 = st.sampled_from((HOST6, NEIGHBOUR6, "2001:db8:1::30", "2001:db8:2::1"))
PEERS = st.sampled_from([(HOST4, 53), (HOST4, 54), (OTHER4, 53)])
FLAG = st.sampled_from(sorted(FLAGS))
PORTS = st.sampled_from((80, 81, 5000, 5001, 5002, 5003))
# Every mapped4 that a packet can be for: the ports of the tiny pools, static or not, and some that nobody has.
MAPPED = st.tuples(
    st.sampled_from((MAPPED4, "192.0.2.2", "203.0.113.80")), st.sampled_from((80, *range(2000, 2007), 9))
)
PAUSES = st.sampled_from((0, 0.5, 1, 59.5, 61, 239, 299, 301, 7441, 20000))
TINY = {
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
FULL = (Verdict.SESSION_TABLE_FULL, Verdict.HOST_SESSIONS)


class History(RuleBasedStateMachine):
    """Packets of a few hosts, and time, over a table of 16 sessions and pools of a few ports."""

    @initialize(
        adf=st.booleans(),
        inbound=st.booleans(),
        per_host_sessions=st.sampled_from((0, 5)),
        per_host_ports=st.sampled_from((0, 2)),
        per_host_rate=st.sampled_from((0, 3)),
        pairing=st.sampled_from(("strict", "soft")),
    )
    def begin(self, adf, inbound, **limits):
        limits |= {"sessions": 16, "icmp_errors_per_second": 1000}  # no receiver comes near its part of them
        filtering = {"address_dependent": adf, "drop_inbound_tcp": inbound}
        self.nat64 = Sessions(limits=limits, filtering=filtering, **TINY)
        self.nat64.check_invariants = lambda: None  # once a step is enough: below

    @rule(protocol=PROTOCOLS, port=PORTS, to=PEERS, flags=FLAG, host=HOSTS6)
    def host6_speaks(self, **packet):
        before, displaced = set(self.nat64.sessions()), self.displaced()
        outcome = self.nat64.from6(**packet)
        self.nobody_was_evicted(before, self.displaced() - displaced)
        assert outcome.verdict not in FULL or outcome.answer, "full, and nobody was told"

    @rule(protocol=PROTOCOLS, to=MAPPED, peer=PEERS, flags=FLAG)
    def host4_speaks(self, **packet):
        before = set(self.nat64.sessions())
        self.nat64.from4(**packet)
        self.nobody_was_evicted(before)

    @rule(protocol=PROTOCOLS, port=PORTS, to=MAPPED, flags=FLAG, host=HOSTS6)
    def hairpin(self, **packet):
        self.nat64.from6(**packet)

    @rule(port=PORTS, host=HOSTS6)
    def fragments(self, port, host):
        packet = whole(from6(src=host) / UDP(sport=port, dport=53) / bytes(40))
        first = self.nat64.say(bytes(fragment_of(packet, 0, 24)))
        later = self.nat64.say(bytes(fragment_of(packet, 24, 24)))
        assert later.verdict == first.verdict or first.verdict not in DONE

    @rule(seconds=PAUSES)
    def silence(self, seconds):
        self.nat64.wait(seconds)
        assert all(session.left > -1 for session in self.nat64.sessions())

    @rule(seconds=PAUSES, quota=st.integers(1, 3))
    def silence_with_little_time_to_clean_up(self, seconds, quota):
        self.nat64.now = round(self.nat64.now + seconds, 3)
        now = round((BEGIN + self.nat64.now) * 1000)
        assert tick(self.nat64.gateway, now, quota)[0] <= quota

    def displaced(self) -> int:
        """How many mappings were displaced so far (session/displacement.py)."""
        return self.nat64.events().get("PORT_DISPLACED", 0)

    def nobody_was_evicted(self, before, displaced: int = 0) -> None:
        """Who was alive before the packet still is, whatever its state and lifetime are now; but for the sessions of as
        many mappings as were displaced."""
        living = {session[:4] for session in before if session.left > 0}
        gone = living - {session[:4] for session in self.nat64.sessions()}
        assert len({session[:3] for session in gone}) <= displaced <= 1

    @invariant()
    def tables_are_consistent(self):
        if hasattr(self, "nat64") and not WITH_BOUNDS_CHECKS:
            invariants.check(self.nat64.tables, self.nat64.settings)


History.TestCase.settings = hypothesis_settings(
    max_examples=10 if IN_PLAIN_PYTHON else 20, stateful_step_count=40, deadline=None
)
TestHistory = pytest.mark.no_cover(History.TestCase)


# ---- planted inconsistencies: each must be seen


def busy() -> Sessions:
    """Three hosts, five bindings of which one has two sessions, one record given back; two SYNs that wait."""
    nat64 = Sessions(**TINY)
    nat64.opened("icmp", 5000)
    nat64.opened("udp", 5000, host=NEIGHBOUR6)
    nat64.opened("udp", 5000, host=NEIGHBOUR6, to=(OTHER4, 53))
    nat64.opened("tcp", 80)
    nat64.wait(59)
    for port in (1, 2):
        assert nat64.from4("tcp", ("192.0.2.2", 9), (HOST4, port), "SYN").verdict == Verdict.SYN_HELD
        nat64.wait(1)
    return nat64


def live(rows) -> int:
    """The first live record."""
    return int(rows.live.argmax())


def set_(rows: Callable, field: str, value: int):
    """A corruption: `field` of the first live record."""

    def corrupt(t):
        table = rows(t)
        table[field][live(table)] = value

    return corrupt


def index_entry(name: str, change: Callable):
    """A corruption of the first entry of an index."""

    def corrupt(t):
        index = getattr(t, name)
        at = int((index != 0).argmax())
        change(index, at)

    return corrupt


def drop(index, at):
    index[at] = 0


def double(index, at):
    index[at - 1 if index[at - 1] == 0 else int((index == 0).argmax())] = index[at]


def rehash(index, at):
    index[at] ^= 1 << 40


def move(index, at):
    index[(at + len(index) // 2) % len(index)], index[at] = index[at], 0


def stack_twice(t):
    t.freed[SESSIONS, 1] = t.freed[SESSIONS, 0]
    t.free[SESSIONS, HEIGHT] += 1


def give_back_live(t):
    t.freed[BIBS, t.free[BIBS, HEIGHT]] = live(t.bibs)
    t.free[BIBS, HEIGHT] += 1


def forget_stack(t):
    t.free[HOSTS, NEVER_USED] += 1


def other_bucket(t):
    t.links.bucket[live(t.sessions)] += 1


def off_the_wheel(t):
    t.wheel[t.links.bucket[live(t.sessions)]] = NONE


def overdue(t):
    t.sessions.expires[live(t.sessions)] -= 100_000


def mark_port(t):
    t.ports_used[0, 3] |= 1


def free_word(t):
    t.ports_used[0, 3] = -1


def has_waiting_port(t):
    t.rows_lacking[0, 4, 0] = t.rows_full[0, 4, 0] = -2


def waiting_port(change: Callable):
    """A corruption of the slot with the port in quarantine."""
    return lambda t: change(t, int(t.quarantine.slot[live(t.quarantine)]))


def of_tcp(t, slot):
    t.quarantine_of[slot - slot % 3] = t.quarantine_of[slot]
    t.quarantine_of[slot] = NONE, NONE, 0
    t.quarantine.slot[live(t.quarantine)] -= slot % 3


def in_use(t, slot):
    entry = next(row for row in t.bibs if row.live and row.slot % 3 == 1)
    t.quarantine_of[entry.slot] = t.quarantine_of[slot]
    t.quarantine_of[slot] = NONE, NONE, 0
    at = live(t.quarantine)
    t.quarantine.slot[at], t.quarantine.port[at] = entry.slot, entry.mapped4_port


CORRUPTIONS: dict[str, Callable] = {
    "the lock is held": lambda t: t.lock.fill(1),
    "has a record twice": stack_twice,
    "live and free": give_back_live,
    "host: [2] live and free": forget_stack,
    "records given back": lambda t: t.free[SESSIONS].fill(-1),
    "sessions6: has": index_entry("sessions6", drop),
    "sessions4: has": index_entry("sessions4", double),
    "bibs6: record": index_entry("bibs6", rehash),
    "bibs4: a gap": index_entry("bibs4", move),
    "hosts6: has": index_entry("hosts6", drop),
    "stands under another hash": set_(lambda t: t.sessions, "host4", 7),
    "thinks it is in another": other_bucket,
    "on the wheel": off_the_wheel,
    "emptied in second": overdue,
    "sessions, but the wheel never started": lambda t: t.wheel_at.fill(NONE),
    "is linked back to": lambda t: t.links.newer.__setitem__(live(t.sessions), 7),
    "lists [": set_(lambda t: t.bibs, "sessions", 7),
    "dynamic and without session": lambda t: (t.bibs.sessions.fill(0), t.bibs.first_session.fill(NONE)),
    "listed by BIB entries": lambda t: (
        t.bibs.sessions.fill(0),
        t.bibs.first_session.fill(NONE),
        t.bibs.static.fill(1),
    ),
    "in state": set_(lambda t: t.sessions, "state", 9),
    "names": set_(lambda t: t.sessions, "bib", 7),
    "hosts of BIB entries": set_(lambda t: t.bibs, "host", 1),
    "counts 9 BIB entries": set_(lambda t: t.hosts, "bibs", 9),
    "counts 9 sessions": set_(lambda t: t.hosts, "sessions", 9),
    "counts 9 inbound": set_(lambda t: t.bibs, "inbound", 9),
    "static, 1 not inbound": lambda t: (t.sessions.inbound.fill(0), t.bibs.inbound.fill(0)),
    "of hosts: [0, 1], live: [0]": set_(lambda t: t.hosts, "subscriber", 1),
    "hosts, sessions, inbound, not": set_(lambda t: t.subscribers, "sessions", 9),
    "counts 9 inbound sessions of 1": lambda t: t.inbound.fill(9),
    "subscribers6: has": index_entry("subscribers6", drop),
    "uses: count": set_(lambda t: t.uses, "ports", 9),
    "is not of": lambda t: t.bibs.use.__setitem__(t.bibs.static == 0, 0),
    ", use 0": lambda t: t.bibs.use.fill(0),
    "uses_of: has": index_entry("uses_of", drop),
    "unanswered: BIB entry": lambda t: t.unanswered.older.fill(7),
    "unanswered: slot 1 says 9": lambda t: t.unanswered_of[1].__setitem__(2, 9),
    "say so, it should be": lambda t: t.bibs.answered.fill(1),
    "unanswered: listed are": lambda t: t.unanswered_of[:, :2].fill(NONE) or t.unanswered_of[:, 2:].fill(0),
    "unanswered: slot 1 is of 0, not 9": lambda t: t.unanswered_of[1].__setitem__(3, 9),
    "unanswered: uses count": set_(lambda t: t.uses, "unanswered", 9),
    "not paired": lambda t: t.hosts.mapped4.fill(0),
    "not mapped": lambda t: t.hosts.mapped4.fill(0xC0000201),
    "dynamic entries": lambda t: t.hosts.udp.fill(9),
    "address outside pool4": lambda t: t.hosts.mapped4.fill(7),
    "dynamic and outside pool4": lambda t: t.bibs.slot.fill(NONE),
    "another pool row": lambda t: t.bibs.slot.fill(14),
    "are marked": mark_port,
    "whose levels differ": free_word,
    "slot 0: counts": lambda t: t.ports_free.fill(7),
    "lack (0, 4)": has_waiting_port,
    "next_ephemeral": lambda t: t.ports_next.fill(-1),
    "quarantine: from -99": lambda t: t.quarantine_at.__setitem__(0, -99),
    "live outside of the ring": lambda t: t.quarantine_at.__setitem__(1, 0),
    "lists [], in the ring are": waiting_port(lambda t, slot: t.quarantine_of[slot].__setitem__(0, NONE)),
    "ends with 7": waiting_port(lambda t, slot: t.quarantine_of[slot].__setitem__(1, 7)),
    "is of TCP": waiting_port(of_tcp),
    "in use and in quarantine": waiting_port(in_use),
    "are more than 256": lambda t: t.syns_at.__setitem__(0, -300),
    "syns4: has": lambda t: t.syns4.fill(0),
    "miscounted by prefix": lambda t: t.syns_of.fill(9),
    "not in the order of their times": lambda t: t.syns.expires.__setitem__(1, 0),
    "syns4: has [0, 1], live are []": lambda t: t.syns.live.fill(0),
    "syns4: record": lambda t: t.syns.host4_port.fill(7),
    "one without octets": lambda t: t.syns.length.fill(-1),
    "SESSION_CREATED - SESSION_ENDED": lambda t: t.events.__setitem__(Event.SESSION_CREATED, 99),
    "BIB_CREATED - BIB_ENDED": lambda t: t.events.__setitem__(Event.BIB_ENDED, 99),
}


@pytest.mark.no_cover
@pytest.mark.parametrize("sentence", CORRUPTIONS)
def test_invariants_notice(sentence):
    nat64 = busy()
    nat64.check_invariants()
    CORRUPTIONS[sentence](nat64.tables)
    with pytest.raises(AssertionError) as raised:
        nat64.check_invariants()
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("limit", "sentence"), [("per_host_sessions", "sessions, allowed"), ("per_host_ports", "ports, allowed")]
)
def test_invariants_notice_a_host_beyond_its_limits(limit, sentence):
    nat64 = busy()
    for port in (5002, 5004):
        nat64.opened("tcp", port, host=NEIGHBOUR6)
    with pytest.raises(AssertionError, match=sentence):
        invariants.check(nat64.tables, replace(nat64.settings, **{limit: 1}))
