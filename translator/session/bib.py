"""The Binding Information Bases (RFC 6146 section 3.1): host6 transport address <-> mapped4 transport address, per
protocol.

A BIB entry lives as long as it has sessions, a static one (`[[forward]]`) until the daemon stops, and a member of a
service until neither its front nor a session has it (members.py).
"""

from translator.jit.compile import int64, jit, rare
from translator.packet.addresses import address4, address6
from translator.session.hosts import count_bib, find_or_create_host, host_hash, release_host
from translator.session.log import Kind, is_logged, log_mapping
from translator.session.pool4 import SLOTS, mark, release_port, slot_of
from translator.session.port_blocks import join_block, leave_block, reserve_block
from translator.session.port_shares import return_port, take_port
from translator.session.unanswered import review
from translator.tables.hashing import find_candidate, first_candidate, hash2, hash3, insert, record_at, remove
from translator.tables.layout import LEAVING, NONE, OF_SERVICE
from translator.tables.slots import give_back, take
from translator.tables.tables import BIBS, MEMBERS
from translator.verdict import Event


@jit()
def bib_hash6(gateway, protocol, host6):
    """Keyed hash of a host6 transport address."""
    return hash3(gateway.settings.secret, host6.hi, host6.lo, int64(protocol) << 16 | host6.port)


@jit()
def bib_hash4(gateway, protocol, mapped4):
    """Keyed hash of a mapped4 transport address."""
    return hash2(gateway.settings.secret, mapped4.lo, int64(protocol) << 16 | mapped4.port)


@jit()
def member_hash(gateway, protocol, host6, prefix):
    """The hash that the members of an endpoint stand under in members6, those of fronts with this client prefix."""
    kind = int64(prefix) << 32 | int64(protocol) << 16 | host6.port
    return hash3(gateway.settings.secret, host6.hi, host6.lo, kind)


@jit()
def host6_of(row):
    """The host6 transport address of a BIB entry or session."""
    return address6(row.host6_hi, row.host6_lo, row.host6_port)


@jit()
def mapped4_of(row):
    """The mapped4 transport address of a BIB entry, session or held SYN."""
    return address4(row.mapped4, row.mapped4_port)


@jit()
def find_bib6(gateway, protocol, host6):
    """The BIB entry of a host6 transport address, or NONE."""
    tables, hashed = gateway.tables, bib_hash6(gateway, protocol, host6)
    at = first_candidate(tables.bibs6, hashed)
    while at != NONE:
        bib = record_at(tables.bibs6, at)
        row = tables.bibs[bib]
        is_host6 = row.host6_lo == host6.lo and row.host6_hi == host6.hi and row.host6_port == host6.port
        if is_host6 and row.protocol == protocol:
            return bib
        at = find_candidate(tables.bibs6, hashed, at + 1)
    return NONE


@jit()
def find_bib4(gateway, protocol, mapped4):
    """The BIB entry of a mapped4 transport address, or NONE."""
    tables, hashed = gateway.tables, bib_hash4(gateway, protocol, mapped4)
    at = first_candidate(tables.bibs4, hashed)
    while at != NONE:
        bib = record_at(tables.bibs4, at)
        row = tables.bibs[bib]
        if row.mapped4 == mapped4.lo and row.mapped4_port == mapped4.port and row.protocol == protocol:
            return bib
        at = find_candidate(tables.bibs4, hashed, at + 1)
    return NONE


@rare()
def create_bib(gateway, protocol, host6, mapped4, slot, static):
    """A new BIB entry, or NONE when the table is full. `slot` is the pool bitmap of the port, NONE outside pool4
    and where there are no ports. A member of a service (`static` OF_SERVICE) is in none of these indexes: members.py
    has its own."""
    tables = gateway.tables
    kind, last = (MEMBERS, len(tables.members)) if static == OF_SERVICE else (BIBS, len(tables.bibs))
    bib = take(tables, kind, last)
    if bib == NONE:
        return bib
    host = find_or_create_host(gateway, host6)
    tables.hosts[host].bibs += 1
    if static == 0:
        count_bib(tables.hosts[host], protocol, 1)
    row = tables.bibs[bib]
    row.host6_hi, row.host6_lo, row.host6_port = host6.hi, host6.lo, host6.port
    row.mapped4, row.mapped4_port, row.slot, row.use = mapped4.lo, mapped4.port, slot, NONE
    row.host, row.sessions, row.inbound, row.first_session = host, 0, 0, NONE
    row.protocol, row.static, row.answered, row.live, row.prefix = protocol, static, 0, 1, 0
    if static != OF_SERVICE:
        insert(tables.bibs6, bib_hash6(gateway, protocol, host6), bib)
        insert(tables.bibs4, bib_hash4(gateway, protocol, mapped4), bib)
    if slot != NONE:
        mark(tables, slot, mapped4.port, True)
        if static == 0:
            row.use = take_port(gateway, tables.hosts[host].subscriber, slot)
            review(tables, bib)
            if gateway.settings.port_block > 0:
                join_block(gateway, host6, slot // SLOTS, mapped4.port)
        else:
            reserve_block(gateway, slot // SLOTS, mapped4.port)
    tables.events[Event.BIB_CREATED] += 1
    return bib


@jit()
def create_static_bibs(gateway, rows):
    """The BIB entries of STATIC_BIB rows, in tables that have room for them."""
    for i in range(len(rows)):
        row = rows[i]
        slot = slot_of(row.pool_row, row.protocol) if row.pool_row != NONE else int64(NONE)
        for k in range(row.count):
            host6 = address6(row.host6_hi, row.host6_lo, row.host6_port + k)
            create_bib(gateway, row.protocol, host6, address4(row.mapped4, row.mapped4_port + k), slot, 1)


@rare()
def release_bib(gateway, now, bib, ended, cause):
    """End a dynamic BIB entry once its last session is gone, which was over at `ended`; `cause`: why it has ended."""
    tables, row = gateway.tables, gateway.tables.bibs[bib]
    if row.live == LEAVING:
        release_member(gateway, bib)
    if row.sessions > 0 or row.static != 0:
        return
    if is_logged(gateway, Kind.MAPPING_ENDED):
        log_mapping(gateway, now, Kind.MAPPING_ENDED, cause, bib)
    remove(tables.bibs6, bib_hash6(gateway, row.protocol, host6_of(row)), bib)
    remove(tables.bibs4, bib_hash4(gateway, row.protocol, mapped4_of(row)), bib)
    row.live = 0
    if row.slot != NONE:
        review(tables, bib)
        if gateway.settings.port_block == 0:
            release_port(gateway, row.protocol, row.slot, row.mapped4_port, ended)
        else:
            release_block_port(gateway, row, ended)
        return_port(gateway, row.use)
    give_back(tables, BIBS, bib)
    count_bib(tables.hosts[row.host], row.protocol, -1)
    leave_host(gateway, row.host)


@rare()
def release_member(gateway, bib):
    """End a member that is leaving, if no session has it any more."""
    tables, row = gateway.tables, gateway.tables.bibs[bib]
    if row.sessions > 0:
        return
    remove(tables.members6, member_hash(gateway, row.protocol, host6_of(row), row.prefix), bib)
    tables.members_of[row.host] -= 1
    if tables.members_of[row.host] == 0:
        remove(tables.endpoints6, host_hash(gateway, row.host6_hi, row.host6_lo), row.host)
    row.live = 0
    give_back(tables, MEMBERS, bib)
    leave_host(gateway, row.host)


@jit()
def leave_host(gateway, host):
    """A BIB entry of a host has ended."""
    gateway.tables.hosts[host].bibs -= 1
    release_host(gateway, host)
    gateway.tables.events[Event.BIB_ENDED] += 1


@jit()
def release_block_port(gateway, entry, ended):
    """The port of a BIB entry that ended at `ended` is its subscriber's at once: what waits is the block, unless it is
    a computed one, which is never another's (RFC 6888 REQ-8 b)."""
    mark(gateway.tables, entry.slot, entry.mapped4_port, False)
    leave_block(gateway, host6_of(entry), entry.slot // SLOTS, entry.mapped4_port, ended)
