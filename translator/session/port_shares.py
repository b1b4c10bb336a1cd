"""How many ports of an IPv4 address a subscriber has (RFC 6888 REQ-4), by the rule of subscribers.py: nobody fills the
address that others are paired with.

What is shared is a slot of Tables.ports_used, a pool row and protocol. A port that waits (RFC 6888 REQ-8) is free: it
is given out when no other is. A record stands for a subscriber and a slot of which it has ports; there are no more
records than BIB entries. Of a host its ports of the protocol count, but no more than its subscriber has in the slot:
with strict pairing they are all there.
"""

from translator.jit.compile import int64, jit
from translator.session.hosts import ports_of
from translator.session.subscribers import subscriber_of, within_shares
from translator.tables.hashing import find_candidate, first_candidate, hash3, insert, record_at, remove
from translator.tables.layout import NONE
from translator.tables.slots import give_back, take
from translator.tables.tables import USES


@jit()
def may_take_port(gateway, host, t, slot, size, free):
    """Whether the source of an IPv6 tuple, the host with this record (NONE: it has none), may have a port of a slot, of
    whose `size` ports no mapping has `free`."""
    settings, tables, taken = gateway.settings, gateway.tables, size - free
    if within_shares(settings, free, taken, taken):  # whoever has them all may: no need to know who asks
        return True
    subscriber = subscriber_of(gateway, host, t.src)
    use = find_use(gateway, subscriber, slot) if subscriber != NONE else int64(NONE)
    of_subscriber = int64(tables.uses[use].ports) if use != NONE else int64(0)
    of_host = ports_of(tables.hosts[host], t.protocol) if host != NONE else int64(0)
    return within_shares(settings, free, of_subscriber, min(of_host, of_subscriber))


@jit()
def use_hash(gateway, subscriber, slot):
    """Keyed hash of a subscriber's record and a slot."""
    return hash3(gateway.settings.secret, subscriber, slot, 3)


@jit()
def find_use(gateway, subscriber, slot):
    """The record of a subscriber and a slot, or NONE."""
    tables, hashed = gateway.tables, use_hash(gateway, subscriber, slot)
    at = first_candidate(tables.uses_of, hashed)
    while at != NONE:
        use = record_at(tables.uses_of, at)
        if tables.uses[use].subscriber == subscriber and tables.uses[use].slot == slot:
            return use
        at = find_candidate(tables.uses_of, hashed, at + 1)
    return int64(NONE)


@jit()
def take_port(gateway, subscriber, slot):
    """A subscriber gets a port of a slot; returns the record that counts it."""
    tables, use = gateway.tables, find_use(gateway, subscriber, slot)
    if use == NONE:
        use = take(tables, USES, len(tables.uses))
        row = tables.uses[use]
        row.subscriber, row.slot, row.ports, row.unanswered, row.live = subscriber, slot, 0, 0, 1
        insert(tables.uses_of, use_hash(gateway, subscriber, slot), use)
    tables.uses[use].ports += 1
    return use


@jit()
def return_port(gateway, use):
    """A port is its subscriber's no more."""
    tables, row = gateway.tables, gateway.tables.uses[use]
    row.ports -= 1
    if row.ports == 0:
        remove(tables.uses_of, use_hash(gateway, row.subscriber, row.slot), use)
        row.live = 0
        give_back(tables, USES, use)
