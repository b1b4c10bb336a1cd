"""Clients that stay with their endpoint: of services with affinity, which member a client is at.

The hash of a client's address says the same until members are added; then it moves some. A client that is noted here
stays where it is for as long as it opens flows (FRONT.affinity_time between two of them), or until its member is gone
or gets no new flows. Only first packets of flows look here.

A client has WAYS rows to be in, by a hash. Where others have all of them, only the hash of services says where it is:
nobody is refused. Those of whom one flow is known give way first, as a flood consists of them.
"""

import numpy as np

from translator.jit.compile import int64, jit, rare
from translator.session.bib import host6_of
from translator.session.rendezvous import member_key
from translator.tables.hashing import hash2
from translator.tables.layout import NONE

# LIMITS
WAYS = 8
ONCE, OFTEN = 1, 2  # AFFINITY.live
APART = 1000  # milliseconds: the clocks of two workers, each read at the beginning of a batch


@jit()
def first_way(gateway, service, client):
    """The first of the rows that a client of a service may be in."""
    groups = len(gateway.tables.affinities) // WAYS
    return (hash2(gateway.settings.secret, service, client) * groups >> 31) * WAYS


@rare()
def find_held(gateway, now, front, host4, opens):
    """The member that a client is at, a BIB entry, or NONE; `opens`: for a new flow, which needs one with a weight.

    A time that is farther away than it can be is of a service whose affinity lasts less since then: it is over.
    """
    tables, row = gateway.tables, gateway.tables.fronts[front]
    first, key = first_way(gateway, row.affinity, host4.lo), int64(NONE)
    for at in range(first, first + WAYS):
        held = tables.affinities[at]
        mine = held.live != 0 and held.service == row.affinity and held.client == host4.lo
        if mine and now < held.expires <= now + row.affinity_time + APART:
            key = int64(held.key)
    for at in range(row.first, row.first + row.count):
        member = tables.members[at]
        if member.key == key and (member.weight > 0 or (member.weight == 0 and not opens)):
            return int64(member.bib)
    return int64(NONE)


@rare()
def hold(gateway, now, front, host4, bib):
    """A client of a service is at a member, a BIB entry, from now on."""
    tables, row = gateway.tables, gateway.tables.fronts[front]
    place, is_known = find_place(gateway, now, row.affinity, host4.lo)
    if place == NONE:
        return
    held = tables.affinities[place]
    held.service, held.client, held.expires = row.affinity, host4.lo, now + row.affinity_time
    held.key = member_key(gateway.settings.seed, host6_of(tables.bibs[bib]))
    held.live = OFTEN if is_known else ONCE


@jit()
def find_place(gateway, now, service, client):
    """(the row for a client or NONE, whether it is its own already): one whose time is over, or the one of another who
    came only once, and longest ago."""
    tables, first = gateway.tables, first_way(gateway, service, client)
    place, least = int64(NONE), int64(0)
    for at in range(first, first + WAYS):
        held = tables.affinities[at]
        living = held.live != 0 and now < held.expires
        if living and held.service == service and held.client == client:
            return at, True
        until = held.expires if living else int64(0)
        if (held.live != OFTEN or not living) and (place == NONE or until < least):
            place, least = at, until
    return place, False


def take_affinities(kept: np.ndarray) -> np.ndarray:
    """The living AFFINITY records; the old ones live no more."""
    taken: np.ndarray = kept[kept["live"] != 0].copy()
    kept["live"] = 0
    return taken


@rare()
def restore_affinities(gateway, now, kept):
    """Take over rows of other tables, which may be damaged."""
    for n in range(len(kept)):
        row = kept[n]
        if (row.live == ONCE or row.live == OFTEN) and now < row.expires:
            place, is_known = find_place(gateway, now, int64(row.service), int64(row.client))
            if place != NONE and not is_known:
                gateway.tables.affinities[place] = row
