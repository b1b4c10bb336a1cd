"""What is true of Tables between any two packets. `check` raises AssertionError with the sentence that is not.

It reads the arrays as they lie and finds nothing by the product's own lookups; only the hashes are the product's.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from tests.clients6 import check_clients
from tests.kept_fragments import check_fragments
from tests.living import gateway_of, living_of
from tests.port_blocks import check_blocks
from tests.services import check_services
from tests.shares import check_inbound, check_subscribers, check_uses
from translator.packet.addresses import TransportAddress, address4, address6
from translator.packet.fields import ICMP, TCP, UDP
from translator.session import bib as bibs
from translator.session import hosts, port_shares, sessions, subscribers
from translator.session.pool4 import COUNT_OF
from translator.session.simultaneous_open import count_of
from translator.session.tcp_state import State
from translator.tables.gateway import Gateway
from translator.tables.layout import FULLEST, NONE, OF_SERVICE, PORTS, SYN_OCTETS, SYNS, WHEEL
from translator.tables.settings import Settings
from translator.tables.tables import (
    BIBS,
    BLOCKS,
    HOSTS,
    SESSIONS,
    SUBSCRIBERS,
    USES,
    Tables,
)
from translator.verdict import Event

Row = Any  # a record of one of the tables
PROTOCOLS = (TCP, UDP, ICMP)  # in the order of the bitmaps of a pool row


def check(tables: Tables, settings: Settings, monotonic: bool = True) -> None:
    """Every invariant there is; some orders of time hold only as long as the clock has never gone back."""
    assert tables.lock[0] == 0, "the lock is held"
    living = living_of(tables)
    check_indexes(tables, settings, living)
    check_bib_lists(tables, living)
    check_sessions(tables, settings, living[SESSIONS])
    check_states(tables, living[SESSIONS])
    check_wheel(tables, living[SESSIONS], monotonic)
    check_inbound(tables, living[BIBS])
    check_hosts(tables, settings, living)
    check_subscribers(tables, settings, living)
    check_ports(tables, settings, living[BIBS])
    check_uses(tables, living)
    check_services(tables, settings, living)
    check_clients(tables, settings, living)
    check_blocks(tables, settings, living)
    check_syns(tables, settings, monotonic)
    check_events(tables, living)
    check_fragments(tables)


def check_indexes(tables: Tables, settings: Settings, living: dict[int, list[int]]) -> None:
    """Each index has each live record once, under its hash and within reach, and nothing else; keys are unique."""
    t, gateway = tables, gateway_of(tables, settings)

    def to6(row: Row) -> TransportAddress:
        return address6(row.host6_hi, row.host6_lo, row.host6_port)

    def to4(row: Row) -> TransportAddress:
        return address4(row.mapped4, row.mapped4_port)

    def bib6(row: Row) -> tuple[int, ...]:
        return row.protocol, row.host6_hi, row.host6_lo, row.host6_port

    def bib4(row: Row) -> tuple[int, ...]:
        return row.protocol, row.mapped4, row.mapped4_port

    mappings = [bib for bib in living[BIBS] if t.bibs[bib].static != OF_SERVICE]
    check_index(t.bibs6, t.bibs, mappings, bib6, lambda row: bibs.bib_hash6(gateway, row.protocol, to6(row)), "bibs6")
    check_index(t.bibs4, t.bibs, mappings, bib4, lambda row: bibs.bib_hash4(gateway, row.protocol, to4(row)), "bibs4")

    def session6(row: Row) -> tuple[int, ...]:
        return *bib6(row), row.prefix, row.host4, row.host4_port

    def session4(row: Row) -> tuple[int, ...]:
        return *bib4(row), row.host4, row.host4_port

    active = living[SESSIONS]
    hash6, hash4 = partial(sessions.row_hash6, gateway), partial(sessions.row_hash4, gateway)
    check_index(t.sessions6, t.sessions, active, session6, hash6, "sessions6")
    check_index(t.sessions4, t.sessions, active, session4, hash4, "sessions4")

    def host6(row: Row) -> tuple[int, ...]:
        return row.host6_hi, row.host6_lo

    check_index(t.hosts6, t.hosts, living[HOSTS], host6, lambda row: hosts.host_hash(gateway, *host6(row)), "hosts6")

    check_share_indexes(t, gateway, living)


def check_share_indexes(t: Tables, gateway: Gateway, living: dict[int, list[int]]) -> None:
    """As check_indexes, of what subscribers.py and port_shares.py find."""

    def host6(row: Row) -> tuple[int, ...]:
        return row.host6_hi, row.host6_lo

    def prefix(row: Row) -> int:
        return subscribers.subscriber_hash(gateway, *host6(row))

    check_index(t.subscribers6, t.subscribers, living[SUBSCRIBERS], host6, prefix, "subscribers6")

    def use(row: Row) -> tuple[int, ...]:
        return row.subscriber, row.slot

    check_index(t.uses_of, t.uses, living[USES], use, lambda row: port_shares.use_hash(gateway, *use(row)), "uses_of")


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
    assert 8 * len(living) <= FULLEST * size, f"{name}: fuller than an index may be"
    taken = np.flatnonzero(index).tolist()
    records = [(int(index[at]) & 0xFFFFFFFF) - 1 for at in taken]
    assert sorted(records) == living, f"{name}: has {sorted(records)}, live are {living}"
    for at, record in zip(taken, records, strict=True):
        hashed = int(index[at]) >> 32
        assert hashed == hash_of(rows[record]), f"{name}: record {record} stands under another hash than its own"
        home = hashed * size >> 31
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
        states = range(State.V4_INIT, len(State)) if row.protocol == TCP else (State.NONE, State.V4_INIT, State.V6_INIT)
        assert row.state in states, f"session {session}: protocol {row.protocol} in state {row.state}"
        assert row.protocol != ICMP or row.host4_port == 0, f"session {session}: ICMP with port {row.host4_port}"


def check_states(tables: Tables, living: list[int]) -> None:
    """The sessions of each protocol are counted by their state."""
    counted: Counter[tuple[int, int]] = Counter()
    for session in living:
        row = tables.sessions[session]
        number = PROTOCOLS.index(row.protocol) if row.protocol in PROTOCOLS else len(PROTOCOLS)
        counted[number, int(row.state)] += 1
    said = {(number, state): int(tables.sessions_in[number, state]) for number, state in np.ndindex(4, len(State))}
    assert tables.sessions_in.shape == (4, len(State)), "a state that is not counted"
    assert said == {place: counted[place] for place in said}, f"sessions counted as {said}, there are {counted}"


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
        total = sum(int(entry.sessions - entry.inbound) for entry in own)
        assert row.sessions == total, f"host {host}: counts {row.sessions} sessions of {total}"
        check_pairing(settings, host, row, [entry for entry in own if not entry.static])
        limit = settings.per_host_sessions
        assert limit == 0 or total <= limit, f"host {host}: {total} sessions, allowed are {limit}"
        dynamic = [int(entry.protocol) for entry in own if not entry.static]
        ports = [dynamic.count(protocol) for protocol in PROTOCOLS]
        counted = [row.tcp, row.udp, row.icmp, row.other]
        assert counted == [*ports, len(dynamic) - sum(ports)], f"host {host}: counts {counted} dynamic entries"
        limit = settings.per_host_ports
        assert limit == 0 or max(ports) <= limit, f"host {host}: {max(ports)} ports, allowed are {limit}"


def check_pairing(settings: Settings, host: int, row: Any, dynamic: list[Any]) -> None:
    """A host is paired while it has dynamic mappings, and with strict pairing it has no other address."""
    assert row.mapped4 in (0, *settings.pool.address), f"host {host}: paired with an address outside pool4"
    assert row.mapped4 != 0 or not dynamic, f"host {host}: mapped, but not paired"
    assert row.mapped4 == 0 or dynamic, f"host {host}: paired, but not mapped"
    others = [entry for entry in dynamic if entry.mapped4 != row.mapped4]
    assert settings.strict_pairing == 0 or not any(serves_too(settings, row, entry) for entry in others), (
        f"host {host}: has a second address"
    )


def serves_too(settings: Settings, host: Any, entry: Any) -> bool:
    """Whether the address a host is paired with would have done for an entry with another one."""
    rows = settings.pool[settings.pool.address == host.mapped4]
    names = {TCP: "tcp", UDP: "udp", ICMP: "icmp"}
    return any(row[names.get(int(entry.protocol), "other")] for row in rows)


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
    for slot, numbers in enumerate(numbers_in(tables.ports_used, tables.ports_full)):
        bits = [number % 32768 * 2 + number // 32768 for number in numbers]  # the even ports come first
        assert set(bits) == taken[slot], f"slot {slot}: ports {bits} are marked, in use are {sorted(taken[slot])}"
        assert 0 <= tables.ports_next[slot] < PORTS, f"slot {slot}: next_ephemeral {tables.ports_next[slot]}"
    check_free_ports(tables, settings, taken)


def ports_taken(tables: Tables, *slots: int) -> int:
    """How many ports are marked, in all bitmaps or in some."""
    used = tables.ports_used[list(slots)] if slots else tables.ports_used
    return int(np.bitwise_count(used.view(np.uint64)).sum())


def check_free_ports(tables: Tables, settings: Settings, taken: dict[int, set[int]]) -> None:
    """The free ports of each kind are counted, and the bitmaps of the rows say which row has none of what."""
    lacking = np.ones((4, 6, len(settings.pool)), bool)
    for at, row in enumerate(settings.pool):
        for number, name in enumerate(("tcp", "udp", "icmp")):
            slot = at * 3 + number
            free = [len(own) if row[name] else 0 for own in kinds_of(row.port_first, row.port_last)]
            for port in taken[slot]:
                free[port % 2 + (2 if port >= 1024 else 0)] -= 1
            counted = tables.ports_free[slot].tolist()
            assert counted == free, f"slot {slot}: counts {counted} free ports, there are {free}"
            lacking[number, :4, at] = np.array(free) == 0
            lacking[number, 4, at] = tables.quarantine_of[slot, COUNT_OF] == 0
        lacking[:, 5, at] = [not row[name] for name in ("tcp", "udp", "icmp", "other")]
    words = tables.rows_lacking[:, :6].reshape(24, -1)
    check_levels(words, tables.rows_full[:, :6].reshape(24, -1))
    said = bits_of(words)[:, : len(settings.pool)].reshape(lacking.shape) != 0
    for number, what in np.argwhere((said != lacking).any(axis=2)).tolist():
        rows, true = (np.flatnonzero(each[number, what]).tolist() for each in (said, lacking))
        assert (number, what < 5) == (3, True), f"rows {rows} lack {number, what}, it should be {true}"


def kinds_of(first: int, last: int) -> list[range]:
    """The ports of a range, even and odd below 1024, even and odd above."""
    halves = (first, min(last, 1023)), (max(first, 1024), last)
    return [range(low + (low + odd) % 2, high + 1, 2) for low, high in halves for odd in (0, 1)]


def numbers_in(words: np.ndarray, full: np.ndarray) -> list[list[int]]:
    """The numbers in each of several bitmaps of two levels, which agree."""
    check_levels(words, full)
    rows, places = np.nonzero(words)
    word, bit = np.nonzero(bits_of(words[rows, places].reshape(-1, 1)))
    found: list[list[int]] = [[] for _ in words]
    for row, number in zip(rows[word].tolist(), (places[word] * 64 + bit).tolist(), strict=True):
        found[row].append(number)
    return found


def check_levels(words: np.ndarray, full: np.ndarray) -> None:
    """The upper level of bitmaps of two levels says which words are full."""
    assert (bits_of(full)[:, : words.shape[1]] == (words == -1)).all(), "a bitmap whose levels differ"


def bits_of(words: np.ndarray) -> np.ndarray:
    """The bits of each row of words, the lowest first."""
    return np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little")


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


def check_syns(tables: Tables, settings: Settings, monotonic: bool) -> None:
    """The ring of waiting SYNs: all are in the order of their times, none is there twice, the index and the counts of
    prefixes have what is in it."""
    oldest, number = map(int, tables.syns_at)
    assert 0 <= oldest <= number <= oldest + SYNS, f"SYNs: from {oldest} to {number} are more than {SYNS}"
    ring = [n % SYNS for n in range(oldest, number)]
    times = [int(tables.syns[n].expires) for n in ring]
    waiting = [n for n in ring if tables.syns[n].live]
    rows = [tables.syns[n] for n in waiting]
    assert times == sorted(times) or not monotonic, f"SYNs: not in the order of their times, {times}"
    assert all(0 < row.length <= SYN_OCTETS for row in rows), "SYNs: one without octets, or with too many"

    def hash_of(row: Row) -> int:
        return sessions.session_hash4(
            gateway_of(tables, settings), TCP, bibs.mapped4_of(row), address4(row.host4, row.host4_port)
        )

    def key_of(row: Row) -> tuple[int, ...]:
        return row.mapped4, row.mapped4_port, row.host4, row.host4_port

    check_index(tables.syns4, tables.syns, sorted(waiting), key_of, hash_of, "syns4")
    counts = Counter(count_of(settings, address4(row.host4, 0)) for row in rows)
    assert tables.syns_of.tolist() == [counts[k] for k in range(len(tables.syns_of))], "SYNs: miscounted by prefix"


def check_events(tables: Tables, living: dict[int, list[int]]) -> None:
    """What was opened, or taken over, is live or was ended."""
    triples = (
        (SESSIONS, Event.SESSION_CREATED, Event.SESSION_RESTORED, Event.SESSION_ENDED),
        (BIBS, Event.BIB_CREATED, Event.BIB_RESTORED, Event.BIB_ENDED),
        (BLOCKS, Event.BLOCK_ALLOCATED, Event.BLOCK_RESTORED, Event.BLOCK_FREED),
    )
    for kind, created, restored, ended in triples:
        left = tables.events[created] + tables.events[restored] - tables.events[ended]
        assert left == len(living[kind]), f"{created.name} - {ended.name} = {left}, live are {len(living[kind])}"
