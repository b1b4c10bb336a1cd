"""What is true of services between any two packets, or changes of them; a part of invariants.py."""

from collections import Counter
from typing import Any

import numpy as np

from nat64d.gateway.serving import REFUSALS
from tests.living import gateway_of
from translator.packet.addresses import address4, address6
from translator.session.bib import bib_hash4, member_hash
from translator.session.hosts import host_hash
from translator.session.rendezvous import member_key
from translator.session.tcp_state import State
from translator.tables.gateway import Gateway
from translator.tables.layout import LEAVING, OF_GONE, OF_SERVICE
from translator.tables.settings import Settings
from translator.tables.tables import BIBS, SESSIONS, Tables


def check_services(tables: Tables, settings: Settings, living: dict[int, list[int]]) -> None:
    """Each member is a BIB entry of one front, or of none and leaving, with sessions; lists do not overlap; indexes
    have each once; what is not answered is counted; and a session is one of a service exactly if its BIB entry is."""
    gateway = gateway_of(tables, settings)
    own = [bib for bib in living[BIBS] if tables.bibs[bib].static == OF_SERVICE]
    assert own == [bib for bib in living[BIBS] if bib < len(tables.members)], "members that do not stand where they do"
    check_lists(tables)
    listed = [bib for number in there(tables) for bib in check_front(tables, gateway, number)]
    assert len(set(listed)) == len(listed), f"members in two lists, or twice: {sorted(listed)}"
    leaving = [bib for bib in own if tables.bibs[bib].live == LEAVING]
    assert sorted(listed + leaving) == own, f"listed: {sorted(listed)}, leaving: {leaving}, BIB entries are {own}"
    assert all(tables.bibs[bib].sessions > 0 for bib in leaving), f"leaving: {leaving}, one of them without a session"
    check_found(tables, gateway, own)
    rows = tables.sessions[living[SESSIONS]]
    of_service = rows.inbound >= OF_SERVICE
    assert (of_service == (np.isin(rows.bib, own) if own else False)).all(), (
        "a session of a service without member, or the other way round"
    )
    assert not np.delete(tables.refused, REFUSALS, 1).any(), (
        "a packet to a service ends in a verdict that no metric shows"
    )
    assert ((rows.prefix == 0) | of_service).all(), "a session under a client prefix that is none of a service"
    assert (rows.prefix < len(settings.prefixes)).all(), "a session under a prefix that is none"
    lost = rows[rows.inbound == OF_GONE]
    assert (lost.protocol == 6).all(), "a flow of datagrams waits for an end"
    unanswered = int((of_service & ((rows.state == State.V4_INIT) | (rows.state == State.V6_INIT))).sum())
    assert tables.inbound[1] == unanswered, f"counts {tables.inbound[1]} sessions not answered of {unanswered}"


def there(tables: Tables) -> list[int]:
    """The numbers of the fronts there are."""
    numbers: list[int] = np.flatnonzero(tables.fronts.protocol).tolist()
    return numbers


def check_lists(tables: Tables) -> None:
    """No two fronts share a place of their lists, and none has one outside."""
    for first, count, size in (
        ("first", "count", len(tables.members)),
        ("first_source", "sources", len(tables.sources)),
    ):
        rows = tables.fronts[there(tables)]
        spans = sorted((int(row[first]), int(row[first] + row[count])) for row in rows if row[count])
        edges = [0, *(edge for span in spans for edge in span), size]
        assert edges == sorted(edges), f"lists of fronts lie at {spans}, of {size}"


def check_front(tables: Tables, gateway: Gateway, number: int) -> list[int]:
    """The members of a front are its own; returns them."""
    front, members = tables.fronts[number], tables.members
    for at in range(front.first, front.first + front.count):
        row = tables.bibs[members[at].bib]
        ends = (row.protocol, row.mapped4, row.mapped4_port, row.live)
        assert ends == (front.protocol, front.address4, front.port, 1), f"member {at}: not of front {number}"
        assert row.prefix == front.prefix, f"member {at}: prefix {row.prefix}, not {front.prefix}"
        assert members[at].front == number, f"member {at}: names front {members[at].front}, not {number}"
        assert members[at].key == member_key(gateway.settings.seed, end6(row)), f"member {at}: another key than its own"
    bibs: list[int] = members.bib[front.first : front.first + front.count].tolist()
    return bibs


def check_found(tables: Tables, gateway: Gateway, own: list[int]) -> None:
    """Fronts, members and their hosts stand in their indexes, each once and under its own hash."""
    fronts = Counter(
        bib_hash4(gateway, row.protocol, address4(row.address4, row.port)) << 32 | number + 1
        for number, row in ((number, tables.fronts[number]) for number in there(tables))
    )
    rows = [tables.bibs[bib] for bib in own]
    members = Counter(
        member_hash(gateway, row.protocol, end6(row), row.prefix) << 32 | bib + 1
        for bib, row in zip(own, rows, strict=True)
    )
    counts = Counter(int(row.host) for row in rows)
    hosts = Counter(
        host_hash(gateway, tables.hosts[host].host6_hi, tables.hosts[host].host6_lo) << 32 | host + 1 for host in counts
    )
    for name, entries in (("fronts4", fronts), ("members6", members), ("endpoints6", hosts)):
        index = getattr(tables, name)
        assert Counter(index[index != 0].tolist()) == entries, f"{name}: not each once, under its own hash"
    counted = {host: int(tables.members_of[host]) for host in np.flatnonzero(tables.members_of).tolist()}
    assert counted == counts, f"hosts count {counted} members, they have {dict(counts)}"


def end6(row: Any) -> Any:
    return address6(row.host6_hi, row.host6_lo, row.host6_port)
