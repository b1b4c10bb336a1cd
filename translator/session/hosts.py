"""The IPv6 hosts that have BIB entries: which pool address each is paired with (RFC 4787 REQ-2), and what it uses (RFC
6888)."""

from translator.compile import jit
from translator.hashing import find_candidate, hash3, insert, record_at, remove
from translator.session.slots import give_back, take
from translator.tables import HOSTS, NONE


@jit()
def host_hash(settings, hi, lo):
    """Keyed hash of a host's address."""
    return hash3(settings.secret, hi, lo, 0)


@jit()
def find_host(tables, hashed, hi, lo):
    """The host's record, or NONE."""
    at = find_candidate(tables.hosts6, hashed, hashed)
    while at != NONE:
        host = record_at(tables.hosts6, at)
        if tables.hosts[host].host6_hi == hi and tables.hosts[host].host6_lo == lo:
            return host
        at = find_candidate(tables.hosts6, hashed, at + 1)
    return NONE


@jit()
def find_or_create_host(settings, tables, hi, lo):
    """The host's record, new if need be. There are as many records as BIB entries, so one is free."""
    hashed = host_hash(settings, hi, lo)
    host = find_host(tables, hashed, hi, lo)
    if host == NONE:
        host = take(tables, HOSTS, len(tables.hosts))
        row = tables.hosts[host]
        row.host6_hi, row.host6_lo, row.mapped4, row.bibs, row.sessions, row.live = hi, lo, 0, 0, 0, 1
        insert(tables.hosts6, hashed, host)
    return host


@jit()
def release_host(settings, tables, host):
    """Forget a host once its last BIB entry is gone."""
    row = tables.hosts[host]
    if row.bibs == 0:
        remove(tables.hosts6, host_hash(settings, row.host6_hi, row.host6_lo), host)
        row.live = 0
        give_back(tables, HOSTS, host)
