"""The Binding Information Bases (RFC 6146 section 3.1): host6 transport address <-> mapped4 transport address, per
protocol.

A BIB entry lives as long as it has sessions, a static one (`[[forward]]`) for ever.
"""

from translator.compile import int64, jit
from translator.hashing import find_candidate, hash3, insert, record_at, remove
from translator.session.hosts import find_or_create_host, release_host
from translator.session.pool4 import mark, release_port
from translator.session.slots import give_back, take
from translator.tables import BIBS, NONE
from translator.verdict import Event


@jit()
def hash6(settings, protocol, hi, lo, port):
    """Keyed hash of a host6 transport address."""
    return hash3(settings.secret, hi, lo, int64(protocol) << 16 | port)


@jit()
def hash4(settings, protocol, mapped4, port):
    """Keyed hash of a mapped4 transport address."""
    return hash3(settings.secret, mapped4, int64(protocol) << 16 | port, 0)


@jit()
def find_bib6(settings, tables, protocol, hi, lo, port):
    """The BIB entry of a host6 transport address, or NONE."""
    hashed = hash6(settings, protocol, hi, lo, port)
    at = find_candidate(tables.bibs6, hashed, hashed)
    while at != NONE:
        bib = record_at(tables.bibs6, at)
        row = tables.bibs[bib]
        if row.host6_lo == lo and row.host6_hi == hi and row.host6_port == port and row.protocol == protocol:
            return bib
        at = find_candidate(tables.bibs6, hashed, at + 1)
    return NONE


@jit()
def find_bib4(settings, tables, protocol, mapped4, port):
    """The BIB entry of a mapped4 transport address, or NONE."""
    hashed = hash4(settings, protocol, mapped4, port)
    at = find_candidate(tables.bibs4, hashed, hashed)
    while at != NONE:
        bib = record_at(tables.bibs4, at)
        row = tables.bibs[bib]
        if row.mapped4 == mapped4 and row.mapped4_port == port and row.protocol == protocol:
            return bib
        at = find_candidate(tables.bibs4, hashed, at + 1)
    return NONE


@jit()
def create_bib(settings, tables, protocol, hi, lo, port, mapped4, mapped4_port, slot, static):
    """A new BIB entry, or NONE when the table is full. `slot` is the pool bitmap of the port, NONE outside pool4
    and where there are no ports."""
    bib = take(tables, BIBS, len(tables.bibs))
    if bib == NONE:
        return bib
    host = find_or_create_host(settings, tables, hi, lo)
    tables.hosts[host].bibs += 1
    row = tables.bibs[bib]
    row.host6_hi, row.host6_lo, row.host6_port = hi, lo, port
    row.mapped4, row.mapped4_port, row.slot = mapped4, mapped4_port, slot
    row.host, row.sessions, row.first_session = host, 0, NONE
    row.protocol, row.static, row.live = protocol, static, 1
    insert(tables.bibs6, hash6(settings, protocol, hi, lo, port), bib)
    insert(tables.bibs4, hash4(settings, protocol, mapped4, mapped4_port), bib)
    if slot != NONE:
        mark(tables, slot, mapped4_port, True)
    tables.events[Event.BIB_CREATED] += 1
    return bib


@jit()
def release_bib(settings, tables, bib, ended):
    """End a dynamic BIB entry once its last session is gone, which was over at `ended`."""
    row = tables.bibs[bib]
    if row.sessions > 0 or row.static != 0:
        return
    remove(tables.bibs6, hash6(settings, row.protocol, row.host6_hi, row.host6_lo, row.host6_port), bib)
    remove(tables.bibs4, hash4(settings, row.protocol, row.mapped4, row.mapped4_port), bib)
    if row.slot != NONE:
        release_port(settings, tables, row.protocol, row.slot, row.mapped4_port, ended)
    row.live = 0
    give_back(tables, BIBS, bib)
    tables.hosts[row.host].bibs -= 1
    release_host(settings, tables, row.host)
    tables.events[Event.BIB_ENDED] += 1
