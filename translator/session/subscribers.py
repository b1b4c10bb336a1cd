"""What a customer may take of what all share (RFC 6888 REQ-4, REQ-5): sessions here, ports in port_shares.py.

A subscriber is a prefix of `[limits] subscriber` bits. It may take one more as long as it has less than SHARE times
what is free: the dynamic threshold of shared buffers (Choudhury and Hahne, 1998). Alone it gets four fifths; N that
take all they can get 4 / (4 N + 1) each, and what is left over is there for the next one. A host has the same threshold
in what its subscriber may still take; where subscriber = 128 the host is the subscriber.

Sessions that count as inbound are those opened from outside, and all of static mappings, which are there to be opened.
They have a quarter of the table, shared by the same rule among subscribers and then mappings, and nobody inside is
charged for them.
"""

from translator.jit.compile import jit
from translator.tables.hashing import find_candidate, first_candidate, hash3, insert, record_at, remove
from translator.tables.layout import NONE, OF_SERVICE
from translator.tables.slots import give_back, in_use, take
from translator.tables.tables import SESSIONS, SUBSCRIBERS

# LIMITS
SHARE = 4  # of what is free, that a subscriber may have
INBOUND_PART = 4  # the table's part for inbound sessions: one of so many


@jit()
def may_still_take(free, taken):
    """How many more one that has `taken` may take of `free`, if nobody else takes any."""
    return max((SHARE * free - taken + SHARE) // (SHARE + 1), 0)


@jit()
def within_shares(settings, free, of_subscriber, of_host):
    """Whether a host that has `of_host` may take one of `free`, of all that its subscriber has."""
    if settings.subscriber == 128:
        return of_subscriber < SHARE * free
    return of_host < SHARE * may_still_take(free, of_subscriber)


@jit()
def subscriber_hash(gateway, hi, lo):
    """Keyed hash of a subscriber's prefix."""
    return hash3(gateway.settings.secret, hi, lo, 2)


@jit()
def find_subscriber(gateway, host6):
    """The record of the subscriber that a host6 belongs to, or NONE."""
    settings, tables = gateway.settings, gateway.tables
    hi, lo = host6.hi & settings.subscriber_hi, host6.lo & settings.subscriber_lo
    hashed = subscriber_hash(gateway, hi, lo)
    at = first_candidate(tables.subscribers6, hashed)
    while at != NONE:
        subscriber = record_at(tables.subscribers6, at)
        if tables.subscribers[subscriber].host6_hi == hi and tables.subscribers[subscriber].host6_lo == lo:
            return subscriber
        at = find_candidate(tables.subscribers6, hashed, at + 1)
    return NONE


@jit()
def join_subscriber(gateway, host6):
    """A host6 that is new: the record of its subscriber, new if need be. There are as many records as hosts."""
    settings, tables, subscriber = gateway.settings, gateway.tables, find_subscriber(gateway, host6)
    if subscriber == NONE:
        subscriber = take(tables, SUBSCRIBERS, len(tables.subscribers))
        row = tables.subscribers[subscriber]
        row.host6_hi, row.host6_lo = host6.hi & settings.subscriber_hi, host6.lo & settings.subscriber_lo
        row.hosts, row.sessions, row.inbound, row.live = 0, 0, 0, 1
        insert(tables.subscribers6, subscriber_hash(gateway, row.host6_hi, row.host6_lo), subscriber)
    tables.subscribers[subscriber].hosts += 1
    return subscriber


@jit()
def leave_subscriber(gateway, subscriber):
    """A host is forgotten, and its subscriber with the last one."""
    tables, row = gateway.tables, gateway.tables.subscribers[subscriber]
    row.hosts -= 1
    if row.hosts == 0:
        remove(tables.subscribers6, subscriber_hash(gateway, row.host6_hi, row.host6_lo), subscriber)
        row.live = 0
        give_back(tables, SUBSCRIBERS, subscriber)


@jit()
def subscriber_of(gateway, host, host6):
    """The subscriber of a host6 with record `host`, or NONE; either may be without record."""
    return gateway.tables.hosts[host].subscriber if host != NONE else find_subscriber(gateway, host6)


@jit()
def free_sessions(tables):
    """How many more sessions the table has room for."""
    return len(tables.sessions) - in_use(tables, SESSIONS)


@jit()
def may_open_session(gateway, host, host6):
    """Whether a host6 with record `host`, NONE if it has none, may open a session from a dynamic mapping."""
    settings, tables, free = gateway.settings, gateway.tables, free_sessions(gateway.tables)
    used = in_use(tables, SESSIONS)
    if within_shares(settings, free, used, used):  # whoever has them all may: no need to know who asks
        return True
    subscriber = subscriber_of(gateway, host, host6)
    of_subscriber = tables.subscribers[subscriber].sessions if subscriber != NONE else 0
    return within_shares(settings, free, of_subscriber, tables.hosts[host].sessions if host != NONE else 0)


@jit()
def may_open_inbound(tables, bib):
    """Whether a BIB entry may have another session that counts as inbound."""
    part = len(tables.sessions) // INBOUND_PART - tables.inbound[0]
    free, entry = min(part, free_sessions(tables)), tables.bibs[bib]
    of_subscriber = tables.subscribers[tables.hosts[entry.host].subscriber].inbound
    return free > 0 and entry.inbound < SHARE * may_still_take(free, of_subscriber)


@jit()
def count_session(tables, entry, inbound, change):
    """A BIB entry has got a session (`change` 1) or lost one (-1). Nobody is charged for those of services: they have
    limits of their own (services.is_crowded)."""
    entry.sessions += change
    if inbound >= OF_SERVICE:
        entry.inbound += change
        return
    host = tables.hosts[entry.host]
    subscriber = tables.subscribers[host.subscriber]
    if inbound:
        entry.inbound += change
        subscriber.inbound += change
        tables.inbound[0] += change
    else:
        host.sessions += change
        subscriber.sessions += change
