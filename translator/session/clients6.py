"""IPv6 clients of services: their handles (tables/handles.py), and the addresses that endpoints see of them.

A client has a record as long as it has sessions, and while a packet of it is looked at. There is one for each session
there can be, so that whoever may open a session has one.
"""

from translator.jit.compile import int64, jit, rare
from translator.packet.addresses import address4, address6, is_unicast
from translator.packet.tuples import as_from_ipv4, tuple_of
from translator.tables.handles import CLIENTS, DNAT, FRONT6, FULLNAT, NUMBER, OFF, VIPS, find_vip6, is_handle, words_of
from translator.tables.hashing import find_candidate, first_candidate, hash3, insert, record_at, remove
from translator.tables.layout import NONE
from translator.tables.slots import give_back, take
from translator.tables.tables import CLIENTS6, HEIGHT, NEVER_USED


@jit()
def client_hash(gateway, hi, lo):
    """Keyed hash of an IPv6 address."""
    return hash3(gateway.settings.secret, hi, lo, 0)


@jit()
def find_client(gateway, address):
    """The record of a client, by its own address, or NONE."""
    tables, hashed = gateway.tables, client_hash(gateway, address.hi, address.lo)
    at = first_candidate(tables.clients6_by, hashed)
    while at != NONE:
        client = record_at(tables.clients6_by, at)
        if tables.clients6[client].hi == address.hi and tables.clients6[client].lo == address.lo:
            return int64(client)
        at = find_candidate(tables.clients6_by, hashed, at + 1)
    return int64(NONE)


@jit()
def find_written(gateway, hi, lo):
    """The record of a client, by the address that endpoints see, or NONE."""
    tables, hashed = gateway.tables, client_hash(gateway, hi, lo)
    at = first_candidate(tables.written6, hashed)
    while at != NONE:
        client = record_at(tables.written6, at)
        if tables.clients6[client].written_hi == hi and tables.clients6[client].written_lo == lo:
            return int64(client)
        at = find_candidate(tables.written6, hashed, at + 1)
    return int64(NONE)


@rare()
def hold_client(gateway, address):
    """The handle of a client, which it has until `let_client_go` at least; NONE where there is no record left."""
    tables, client = gateway.tables, find_client(gateway, address)
    if client == NONE:
        client = take(tables, CLIENTS6, len(tables.clients6))
        if client == NONE:
            return client
        row = tables.clients6[client]
        row.hi, row.lo, row.written_hi, row.written_lo = address.hi, address.lo, address.hi, address.lo
        if gateway.settings.front6 == FULLNAT:
            row.written_hi, row.written_lo = gateway.settings.source6_hi, free_suffix(gateway, address)
    handle = int64(CLIENTS + client)
    count_client(gateway, handle, 1)
    return handle


@jit()
def free_suffix(gateway, address):
    """The lower half of the address that stands for a client: 62 bits of its hash, the next number if another client
    has that one. 0 is no host's (RFC 4291 section 2.6.1)."""
    settings = gateway.settings
    suffix = hash3(settings.seed, address.hi, address.lo, 1) << 31 | hash3(settings.seed, address.hi, address.lo, 2)
    while suffix == 0 or find_written(gateway, settings.source6_hi, suffix) != NONE:
        suffix += 1
    return suffix


@jit()
def let_client_go(gateway, handle):
    """Hold it no longer."""
    count_client(gateway, handle, -1)


@rare()
def count_client(gateway, handle, change):
    """A host4 has one session more (`change` 1) or less (-1): an IPv6 client is found while it has some."""
    if not is_handle(handle):
        return
    tables, client = gateway.tables, int64(handle & NUMBER)
    row, before = tables.clients6[client], tables.uses6[client]
    tables.uses6[client] = before + change
    if before == 0:
        insert(tables.clients6_by, client_hash(gateway, row.hi, row.lo), client)
        insert(tables.written6, client_hash(gateway, row.written_hi, row.written_lo), client)
    elif before + change == 0:
        remove(tables.clients6_by, client_hash(gateway, row.hi, row.lo), client)
        remove(tables.written6, client_hash(gateway, row.written_hi, row.written_lo), client)
        give_back(tables, CLIENTS6, client)


@jit()
def address_of(tables, handle, port):
    """The transport address that a handle stands for, with this port."""
    hi, lo = words_of(tables, handle)
    return address6(hi, lo, port)


@jit()
def vip_of(gateway, address):
    """The handle of an IPv6 address of a service, NONE if it is none."""
    return find_vip6(gateway, address.hi, address.lo)


@jit()
def written_of(tables, handle, port):
    """The transport address that endpoints see of a client."""
    row = tables.clients6[handle & NUMBER]
    return address6(row.written_hi, row.written_lo, port)


@jit()
def is_source6(gateway, address):
    """Whether an address is one that endpoints see instead of a client's own."""
    return gateway.settings.front6 == FULLNAT and address.hi == gateway.settings.source6_hi


@jit()
def as_flow4(t, client, vip):
    """The tuple of a packet to an address of a service, as its session has it: with handles."""
    return as_from_ipv4(tuple_of(4, t.protocol, address4(client, t.src.port), address4(vip, t.dst.port)))


@jit()
def peer_of(gateway, t):
    """The handle of the client that a packet of an endpoint is for, with its port; 0: it is for none."""
    client = find_written(gateway, t.dst.hi, t.dst.lo)
    return address6(FRONT6, CLIENTS + client if client != NONE else 0, t.dst.port)


# ---- taken over


@rare()
def bring_client(gateway, clients, row):
    """Have the record of the client of a session that is about to be judged, as `clients`, records of a run before or
    of other settings, have it."""
    client, tables = row.host4 & NUMBER, gateway.tables
    if is_handle(row.host4) and client < min(len(clients), len(tables.clients6)) and tables.uses6[client] == 0:
        mine, other = tables.clients6[client], clients[client]
        mine.hi, mine.lo, mine.written_hi, mine.written_lo = other.hi, other.lo, other.written_hi, other.written_lo


@rare()
def may_have_client(gateway, row):
    """Whether a session of an IPv6 client can be one of this configuration."""
    settings, tables, client = gateway.settings, gateway.tables, int64(row.host4 & NUMBER)
    if settings.front6 == OFF or client >= len(tables.clients6):
        return False
    hi, lo = words_of(tables, row.mapped4)
    if row.mapped4 < VIPS or (hi == 0 and lo == 0):  # the service has another address, or none
        return False
    mine = tables.clients6[client]
    address = address6(mine.hi, mine.lo, 0)
    same = mine.written_hi == mine.hi and mine.written_lo == mine.lo
    as_seen = same if settings.front6 == DNAT else mine.written_hi == settings.source6_hi and mine.written_lo > 0
    if not (as_seen and is_unicast(6, address)) or vip_of(gateway, address) != NONE:
        return False
    return tables.uses6[client] > 0 or (
        find_client(gateway, address) == NONE and find_written(gateway, mine.written_hi, mine.written_lo) == NONE
    )


@rare()
def settle_clients(tables):
    """After sessions were taken over: records that no session uses are free."""
    fresh, height = 0, 0
    for client in range(len(tables.clients6)):
        if tables.uses6[client] > 0:
            for free in range(fresh, client):
                tables.freed[CLIENTS6, height] = free
                height += 1
            fresh = client + 1
    tables.free[CLIENTS6, HEIGHT], tables.free[CLIENTS6, NEVER_USED] = height, fresh
