"""What is true of subscribers and of what they have of the ports, between any two packets; a part of invariants.py."""

from collections import Counter, defaultdict

import numpy as np

from translator.session import subscribers
from translator.session.unanswered import FEW
from translator.tables.layout import NONE, OF_SERVICE
from translator.tables.settings import Settings
from translator.tables.tables import BIBS, HOSTS, SUBSCRIBERS, USES, Tables


def check_subscribers(tables: Tables, settings: Settings, living: dict[int, list[int]]) -> None:
    """A subscriber counts the hosts of its prefix, the sessions they opened, and the inbound ones of their mappings."""
    hosts_of, inbound = defaultdict(list), Counter[int]()
    for host in living[HOSTS]:
        hosts_of[int(tables.hosts[host].subscriber)].append(tables.hosts[host])
    for bib in living[BIBS]:
        entry = tables.bibs[bib]
        if entry.static != OF_SERVICE:
            inbound[int(tables.hosts[entry.host].subscriber)] += int(entry.inbound)
    assert sorted(hosts_of) == living[SUBSCRIBERS], f"of hosts: {sorted(hosts_of)}, live: {living[SUBSCRIBERS]}"
    for subscriber, own in hosts_of.items():
        row = tables.subscribers[subscriber]
        prefixes = {(host.host6_hi & settings.subscriber_hi, host.host6_lo & settings.subscriber_lo) for host in own}
        assert prefixes == {(row.host6_hi, row.host6_lo)}, f"subscriber {subscriber}: has hosts of another prefix"
        counted, sessions = (row.hosts, row.sessions, row.inbound), sum(int(host.sessions) for host in own)
        truth = len(own), sessions, inbound[subscriber]
        assert counted == truth, f"subscriber {subscriber}: counts {counted} hosts, sessions, inbound, not {truth}"
    total = sum(inbound.values())
    assert tables.inbound[0] == total, f"counts {tables.inbound[0]} inbound sessions of {total}"
    part = len(tables.sessions) // subscribers.INBOUND_PART
    assert total <= part, f"{total} inbound sessions in a table of {len(tables.sessions)}"


def check_inbound(tables: Tables, living: list[int]) -> None:
    """A BIB entry counts its sessions that count as opened from outside; of a static one all do."""
    for bib in living:
        entry = tables.bibs[bib]
        own = tables.sessions[(tables.sessions.live != 0) & (tables.sessions.bib == bib)]
        inbound = int((own.inbound != 0).sum())
        assert inbound == entry.inbound, f"BIB entry {bib}: counts {entry.inbound} inbound sessions of {inbound}"
        assert not entry.static or inbound == len(own), f"BIB entry {bib}: static, {len(own) - inbound} not inbound"


def check_uses(tables: Tables, living: dict[int, list[int]]) -> None:
    """A record for each subscriber and slot of which it has ports; it counts them, and their BIB entries name it."""
    ports = Counter[tuple[int, int]]()
    for bib in living[BIBS]:
        entry = tables.bibs[bib]
        counts = not entry.static and entry.slot != NONE
        assert (entry.use != NONE) == counts, f"BIB entry {bib}: slot {entry.slot}, use {entry.use}"
        if counts:
            key, use = (int(tables.hosts[entry.host].subscriber), int(entry.slot)), tables.uses[entry.use]
            assert (use.subscriber, use.slot) == key, f"BIB entry {bib}: use {entry.use} is not of {key}"
            ports[key] += 1
    counted = {(int(row.subscriber), int(row.slot)): int(row.ports) for row in tables.uses[living[USES]]}
    assert counted == ports, f"uses: count {counted}, not {dict(ports)}"
    check_unanswered(tables, living)


def check_unanswered(tables: Tables, living: dict[int, list[int]]) -> None:
    """The list of each slot has the dynamic entries that nobody has answered and that have few sessions, once each."""
    listed = defaultdict(list)
    for slot, (first, last, count, uses) in enumerate(tables.unanswered_of.tolist()):
        before, bib = NONE, first
        while bib != NONE and len(listed[slot]) <= len(tables.bibs):
            row = tables.unanswered[bib]
            assert row.older == before, f"unanswered: BIB entry {bib} is linked back to {row.older}, not {before}"
            listed[slot].append(bib)
            before, bib = bib, int(row.newer)
        assert (before, len(listed[slot])) == (last, count), f"unanswered: slot {slot} says {count}, to {last}"
        own = {int(tables.bibs[bib].use) for bib in listed[slot]}
        assert len(own) == uses, f"unanswered: slot {slot} is of {len(own)}, not {uses}"
    entries = {bib: tables.bibs[bib] for bib in living[BIBS]}
    due = [bib for bib, row in entries.items() if row.use != NONE and not row.answered and row.sessions <= FEW]
    said = np.flatnonzero(tables.unanswered.listed).tolist()
    assert said == due, f"unanswered: {said} say so, it should be {due}"
    right = {slot: sorted(bib for bib in due if entries[bib].slot == slot) for slot in listed}
    assert right == {slot: sorted(bibs) for slot, bibs in listed.items()}, f"unanswered: listed are {dict(listed)}"
    of_uses = Counter(int(entries[bib].use) for bib in due)
    counts = {use: int(tables.uses[use].unanswered) for use in living[USES]}
    assert counts == {use: of_uses[use] for use in living[USES]}, f"unanswered: uses count {counts}"
