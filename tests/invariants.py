"""What is true of Tables between any two packets. `check` raises AssertionError with the sentence that is not.

It reads the arrays as they lie and finds nothing by the product's own lookups; only the hashes are the product's.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from translator.packet.fields import ICMP, TCP, UDP
from translator.session import bib as bibs
from translator.session import hosts, sessions
from translator.session.reassembly import REFUSED
from translator.session.tcp_state import State
from translator.tables import (
    BIBS,
    HEIGHT,
    HOSTS,
    NEVER_USED,
    NONE,
    PORTS,
    SESSIONS,
    SYN_OCTETS,
    SYNS,
    WHEEL,
    Settings,
    Tables,
)
from translator.verdict import Event

Row = Any  # a record of one of the tables
PROTOCOLS = (TCP, UDP, ICMP)  # in the order of the bitmaps of a pool row


def check(tables: Tables, settings: Settings, monotonic: bool = True) -> None:
    """Every invariant there is; some orders of time hold only as long as the clock has never gone back."""
    assert tables.lock[0] == 0, "the lock is held"
    living = {
        SESSIONS: check_records(tables, SESSIONS, tables.sessions, "session"),
        BIBS: check_records(tables, BIBS, tables.bibs, "BIB entry"),
        HOSTS: check_records(tables, HOSTS, tables.hosts, "host"),
    }
    check_indexes(tables, settings, living)
    check_bib_lists(tables, living)
    check_sessions(tables, settings, living[SESSIONS])
    check_wheel(tables, living[SESSIONS], monotonic)
    check_hosts(tables, settings, living)
    check_ports(tables, settings, living[BIBS])
    check_syns(tables, monotonic)
    check_events(tables, living)
    check_fragments(tables)


def check_records(tables: Tables, kind: int, rows: np.ndarray, name: str) -> list[int]:
    """A record is live, or on the stack of given-back ones once, or was never used. Returns the live ones."""
    height, fresh = int(tables.free[kind, HEIGHT]), int(tables.free[kind, NEVER_USED])
    assert 0 <= height <= fresh <= len(rows), f"{name}: {height} of {fresh} used records given back, of {len(rows)}"
    given_back = tables.freed[kind, :height].tolist()
    assert len(set(given_back)) == height, f"{name}: {given_back} has a record twice"
    living = np.flatnonzero(rows.live).tolist()
    expected = set(range(fresh)) - set(given_back)
    assert set(living) == expected, f"{name}: {sorted(set(living) ^ expected)} live and free, or neither"
    return living


def check_indexes(tables: Tables, settings: Settings, living: dict[int, list[int]]) -> None:
    """Each index has each live record once, under its hash and within reach, and nothing else; keys are unique."""
    s, t = settings, tables

    def bib6(row: Row) -> tuple[int, ...]:
        return row.protocol, row.host6_hi, row.host6_lo, row.host6_port

    def bib4(row: Row) -> tuple[int, ...]:
        return row.protocol, row.mapped4, row.mapped4_port

    check_index(t.bibs6, t.bibs, living[BIBS], bib6, lambda row: bibs.hash6(s, *bib6(row)), "bibs6")
    check_index(t.bibs4, t.bibs, living[BIBS], bib4, lambda row: bibs.hash4(s, *bib4(row)), "bibs4")

    def session6(row: Row) -> tuple[int, ...]:
        return *bib6(row), row.host4, row.host4_port

    def session4(row: Row) -> tuple[int, ...]:
        return *bib4(row), row.host4, row.host4_port

    active = living[SESSIONS]
    check_index(t.sessions6, t.sessions, active, session6, lambda row: sessions.hash6(s, *session6(row)), "sessions6")
    check_index(t.sessions4, t.sessions, active, session4, lambda row: sessions.hash4(s, *session4(row)), "sessions4")

    def host6(row: Row) -> tuple[int, ...]:
        return row.host6_hi, row.host6_lo

    check_index(t.hosts6, t.hosts, living[HOSTS], host6, lambda row: hosts.host_hash(s, *host6(row)), "hosts6")


def check_index(
    index: np.ndarray,
    rows: np.ndarray,
    living: list[int],
    key_of: Callable[[Row], tuple[int, ...]],
    hash_of: Callable[[Row], int],
    name: str,
) -> None:
    """One open-addressing index against the records it stands for."""
    size = len(index)
    assert size & (size - 1) == 0, f"{name}: {size} slots are no power of two"
    assert 2 * len(living) <= size, f"{name}: more than half full"
    taken = np.flatnonzero(index).tolist()
    records = [(int(index[at]) & 0xFFFFFFFF) - 1 for at in taken]
    assert sorted(records) == living, f"{name}: has {sorted(records)}, live are {living}"
    for at, record in zip(taken, records, strict=True):
        hashed = int(index[at]) >> 32
        assert hashed == hash_of(rows[record]), f"{name}: record {record} stands under another hash than its own"
        home = hashed % size
        way = range(home, home + (at - home) % size)
        assert all(index[step % size] != 0 for step in way), f"{name}: a gap between record {record} and its home"
    keys = Counter(key_of(rows[record]) for record in living)
    assert not keys or max(keys.values()) == 1, f"{name}: two records with the key {keys.most_common(1)[0][0]}"


def check_bib_lists(tables: Tables, living: dict[int, list[int]]) -> None:
    """Each session is in the list of its BIB entry and looks like it; a dynamic entry has a session."""
    listed = []
    for bib in living[BIBS]:
        entry = tables.bibs[bib]
        own = list(follow(entry.first_session, tables.links.next, tables.links.previous, f"BIB entry {bib}"))
        listed += own
        assert len(own) == entry.sessions, f"BIB entry {bib}: counts {entry.sessions} sessions, lists {own}"
        assert own or entry.static, f"BIB entry {bib}: dynamic and without session"
        for session in own:
            row = tables.sessions[session]
            assert row.bib == bib, f"session {session}: listed by BIB entry {bib}, names {row.bib}"
            for field in ("host6_hi", "host6_lo", "host6_port", "mapped4", "mapped4_port", "protocol"):
                assert row[field] == entry[field], f"session {session}: {field} is not that of BIB entry {bib}"
    assert sorted(listed) == living[SESSIONS], f"listed by BIB entries: {sorted(listed)}, live: {living[SESSIONS]}"


def follow(first: int, forth: np.ndarray, back: np.ndarray, name: str) -> Iterable[int]:
    """The records of a doubly linked list; its end is reached, and its links agree."""
    before, record = NONE, int(first)
    for _ in range(len(forth) + 1):
        if record == NONE:
            return
        assert back[record] == before, f"{name}: record {record} is linked back to {back[record]}, not {before}"
        yield record
        before, record = record, int(forth[record])
    raise AssertionError(f"{name}: the list runs in a circle")


def check_sessions(tables: Tables, settings: Settings, living: list[int]) -> None:
    """A TCP session is in a state of section 3.5.2.1, another one in none; an ICMP session has no peer's port."""
    for session in living:
        row = tables.sessions[session]
        other = settings.other_protocols and 0 < row.protocol < 256
        assert row.protocol in PROTOCOLS or other, f"session {session}: protocol {row.protocol}"
        assert row.protocol in PROTOCOLS or row.host6_port == row.host4_port == 0, f"session {session}: has ports"
        states = range(State.V4_INIT, len(State)) if row.protocol == TCP else (State.NONE,)
        assert row.state in states, f"session {session}: protocol {row.protocol} in state {row.state}"
        assert row.protocol != ICMP or row.host4_port == 0, f"session {session}: ICMP with port {row.host4_port}"


def check_wheel(tables: Tables, living: list[int], monotonic: bool) -> None:
    """Each session is in one bucket of the timer wheel, and in none that is emptied later than its time.

    (Unless the wheel was so far behind that it jumped over that time: then within the turn that has begun.)
    """
    found, second = [], int(tables.wheel_at[0])
    assert second != NONE or not living, "sessions, but the wheel never started"
    for bucket in np.flatnonzero(tables.wheel != NONE).tolist():
        name = f"bucket {bucket}"
        for session in follow(tables.wheel[bucket], tables.links.older, tables.links.newer, name):
            found.append(session)
            assert tables.links[session].bucket == bucket, f"{name}: session {session} thinks it is in another"
            emptied = second + 1 + (bucket - second - 1) % WHEEL
            due = int(tables.sessions[session].expires) // 1000 + 1
            assert emptied <= due or due <= second or not monotonic, (
                f"session {session}: emptied in second {emptied}, due in {due}"
            )
    assert sorted(found) == living, f"on the wheel: {sorted(found)}, live: {living}"


def check_hosts(tables: Tables, settings: Settings, living: dict[int, list[int]]) -> None:
    """A host counts its BIB entries and sessions, is paired once it has a dynamic mapping, and keeps to its limits."""
    entries = defaultdict(list)
    for bib in living[BIBS]:
        entries[int(tables.bibs[bib].host)].append(tables.bibs[bib])
    assert sorted(entries) == living[HOSTS], f"hosts of BIB entries: {sorted(entries)}, live: {living[HOSTS]}"
    for host, own in entries.items():
        row = tables.hosts[host]
        assert all(entry.host6_hi == row.host6_hi and entry.host6_lo == row.host6_lo for entry in own), (
            f"host {host}: has a BIB entry of another address"
        )
        assert row.bibs == len(own), f"host {host}: counts {row.bibs} BIB entries of {len(own)}"
        total = sum(int(entry.sessions) for entry in own)
        assert row.sessions == total, f"host {host}: counts {row.sessions} sessions of {total}"
        assert row.mapped4 != 0 or all(entry.static for entry in own), f"host {host}: mapped, but not paired"
        assert row.mapped4 in (0, *settings.pool.address), f"host {host}: paired with an address outside pool4"
        limit = settings.per_host_sessions
        assert limit == 0 or total <= limit, f"host {host}: {total} sessions, allowed are {limit}"
        dynamic = sum(1 for entry in own if not entry.static)
        limit = settings.per_host_ports
        assert limit == 0 or dynamic <= limit, f"host {host}: {dynamic} ports, allowed are {limit}"


def check_ports(tables: Tables, settings: Settings, living: list[int]) -> None:
    """A port's bit is set when a live BIB entry has it or it waits, and only then; the entry is of that pool row."""
    taken = defaultdict(set)
    for bib in living:
        entry = tables.bibs[bib]
        other = entry.protocol not in PROTOCOLS
        assert entry.slot != NONE or entry.static or other, f"BIB entry {bib}: dynamic and outside pool4"
        if entry.slot == NONE:
            continue
        row, protocol = settings.pool[entry.slot // 3], PROTOCOLS[entry.slot % 3]
        fits = (row.address, protocol) == (entry.mapped4, entry.protocol)
        fits = fits and row.port_first <= entry.mapped4_port <= row.port_last
        assert fits, f"BIB entry {bib}: of another pool row than slot {entry.slot}"
        taken[int(entry.slot)].add(int(entry.mapped4_port))
    waiting = check_quarantine(tables)
    for slot, ports in waiting.items():
        assert not taken[slot] & ports, f"slot {slot}: ports {taken[slot] & ports} in use and in quarantine"
        taken[slot] |= ports
    for slot in range(len(tables.ports_used)):
        bits = np.flatnonzero(np.unpackbits(tables.ports_used[slot], bitorder="little")).tolist()
        assert set(bits) == taken[slot], f"slot {slot}: ports {bits} are marked, in use are {sorted(taken[slot])}"
        assert tables.ports_count[slot] == len(bits), f"slot {slot}: counts {tables.ports_count[slot]} of {len(bits)}"
        assert 0 <= tables.ports_next[slot] < PORTS, f"slot {slot}: next_ephemeral {tables.ports_next[slot]}"


def check_quarantine(tables: Tables) -> dict[int, set[int]]:
    """The ports of each slot that wait: in the ring once, and in the list of the slot, in the same order."""
    oldest, number = map(int, tables.quarantine_at)
    size = len(tables.quarantine)
    assert 0 <= oldest <= number <= oldest + size, f"quarantine: from {oldest} to {number} are more than {size}"
    ring = [n % size for n in range(oldest, number) if tables.quarantine[n % size].live]
    assert np.flatnonzero(tables.quarantine.live).tolist() == sorted(ring), "quarantine: live outside of the ring"
    listed = defaultdict(list)
    for slot, (first, last, count) in enumerate(tables.quarantine_of.tolist()):
        at = first
        while at != NONE and len(listed[slot]) < size:
            listed[slot].append(at)
            at = int(tables.quarantine[at].newer)
        own = [at for at in ring if tables.quarantine[at].slot == slot]
        assert listed[slot] == own, f"quarantine: slot {slot} lists {listed[slot]}, in the ring are {own}"
        assert (count, last) == (len(own), own[-1] if own else NONE), f"quarantine: slot {slot} ends with {last}"
        assert not own or slot % 3, f"quarantine: slot {slot} is of TCP"
    ports = {slot: [int(tables.quarantine[at].port) for at in own] for slot, own in listed.items()}
    assert all(len(set(own)) == len(own) for own in ports.values()), "quarantine: a port is there twice"
    return {slot: set(own) for slot, own in ports.items()}


def check_syns(tables: Tables, monotonic: bool) -> None:
    """The ring of waiting SYNs: its oldest one waits, all are in the order of their times, none is there twice."""
    oldest, number = map(int, tables.syns_at)
    assert 0 <= oldest <= number <= oldest + SYNS, f"SYNs: from {oldest} to {number} are more than {SYNS}"
    waiting = [n % SYNS for n in range(oldest, number) if tables.syns[n % SYNS].live]
    assert np.flatnonzero(tables.syns.live).tolist() == sorted(waiting), f"SYNs: live outside of {oldest} to {number}"
    assert oldest == number or tables.syns[oldest % SYNS].live, f"SYNs: the oldest, {oldest}, is gone"
    rows = [tables.syns[n] for n in waiting]
    times = [int(row.expires) for row in rows]
    assert times == sorted(times) or not monotonic, f"SYNs: not in the order of their times, {times}"
    keys = [(row.mapped4, row.mapped4_port, row.host4, row.host4_port) for row in rows]
    assert len(set(keys)) == len(keys), "SYNs: one waits twice"
    assert all(0 < row.length <= SYN_OCTETS for row in rows), "SYNs: one without octets, or with too many"


def check_events(tables: Tables, living: dict[int, list[int]]) -> None:
    """What was opened is live or was ended."""
    pairs = ((SESSIONS, Event.SESSION_CREATED, Event.SESSION_ENDED), (BIBS, Event.BIB_CREATED, Event.BIB_ENDED))
    for kind, created, ended in pairs:
        left = tables.events[created] - tables.events[ended]
        assert left == len(living[kind]), f"{created.name} - {ended.name} = {left}, live are {len(living[kind])}"


def check_fragments(tables: Tables) -> list[int]:
    """The rings hold the newest fragments, each in one piece; the datagrams' lists lead through those that are kept for
    them, in the order they came. Returns the numbers of these."""
    oldest, following, head = tables.stored_at.tolist()
    capacity, size = len(tables.stored_octets), len(tables.stored)
    assert 0 <= oldest <= following <= oldest + size, f"fragments {oldest} to {following} in {size} records"
    end = 0
    for number in range(oldest, following):
        one = tables.stored[number % size]
        assert one.position >= end, f"fragment {number}: begins at {one.position}, before {end}"
        assert one.position % capacity + one.octets <= capacity, f"fragment {number}: does not lie in one piece"
        assert one.header + one.length == one.octets, f"fragment {number}: {one.octets} octets"
        end = int(one.position) + int(one.octets)
    assert oldest == following or head == end, f"the head is at {head}, the last fragment ends at {end}"
    assert oldest == following or head - tables.stored[oldest % size].position <= capacity, "the ring ran over itself"
    found = [number for at in np.flatnonzero(tables.fragments["count"]).tolist() for number in kept(tables, at)]
    assert all(oldest <= number < following for number in found), f"lists name {sorted(found)}, which are forgotten"
    return sorted(found)


def kept(tables: Tables, at: int) -> list[int]:
    """The numbers of a datagram's kept fragments."""
    row, found = tables.fragments[at], []
    number = int(row.oldest)
    while number != NONE and len(found) <= row.count:
        found.append(number)
        number = int(tables.stored[number % len(tables.stored)].next)
    ones = [tables.stored[number % len(tables.stored)] for number in found]
    assert len(found) == row.count, f"datagram {at}: counts {row.count} fragments, lists {found}"
    assert found == sorted(set(found)), f"datagram {at}: lists {found}, not as they came"
    assert found[-1] == row.newest, f"datagram {at}: lists {found}, the newest is {row.newest}"
    assert all(one.datagram == at for one in ones), f"datagram {at}: has fragments of another"
    received = sum(int(one.length) for one in ones)
    assert received == row.received, f"datagram {at}: counts {row.received} octets, has {received}"
    edges = sorted((int(one.offset), int(one.offset + one.length)) for one in ones)
    assert edges[-1][1] <= row.reach, f"datagram {at}: reaches {edges[-1][1]}, says {row.reach}"
    disjoint = all(before[1] <= after[0] for before, after in pairwise(edges))
    assert disjoint or row.overlaps, f"datagram {at}: fragments {edges} overlap"
    assert row.stage != REFUSED, f"datagram {at}: refused, yet fragments are kept"
    return found
